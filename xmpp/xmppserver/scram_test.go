package xmppserver

import (
	"bytes"
	"testing"

	"mellium.im/sasl"
)

func TestScramAgainstMellium(t *testing.T) {
	cred, err := newCredential("pencil, =ß")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		password string
		want     bool
	}{{"pencil, =ß", true}, {"pencil", false}, {"", false}} {
		client := sasl.NewClient(sasl.ScramSha256, sasl.Credentials(func() (user, password, identity []byte) {
			return []byte("us,e=r"), []byte(tc.password), nil
		}))
		_, first, err := client.Step(nil)
		if err != nil {
			t.Fatal(err)
		}
		x := &scram{}
		challenge, err := x.challenge(string(first), func(string) credential { return cred })
		if err != nil || x.user != "us,e=r" {
			t.Fatalf("challenge of %q: %v", x.user, err)
		}
		_, final, err := client.Step([]byte(challenge))
		if err != nil {
			t.Fatal(err)
		}
		success, err := x.verify(string(final))
		if (err == nil) != tc.want {
			t.Errorf("password %q: %v", tc.password, err)
		}
		if err != nil {
			continue
		}
		if _, _, err := client.Step([]byte(success)); err != nil {
			t.Errorf("client does not believe the server: %v", err)
		}
		if cred.verify(tc.password) != tc.want {
			t.Errorf("verify %q", tc.password)
		}
	}
}

func TestScramRefusesDowngrades(t *testing.T) {
	cred, err := newCredential("pw")
	if err != nil {
		t.Fatal(err)
	}
	lookup := func(string) credential { return cred }
	for _, first := range []string{
		"", ",", "n", "n,,", "n,,n=u", "n,,n=u,r=", "n,,n=,r=x", "n,,n=a=b,r=x", "n,,m=ext,n=u,r=x",
		"p=tls-unique,,n=u,r=x", "n,b=x,n=u,r=x", "x,,n=u,r=x", "n,,r=x,n=u",
	} {
		if _, err := (&scram{}).challenge(first, lookup); err == nil {
			t.Errorf("took %q", first)
		}
	}
	x := &scram{}
	if _, err := x.challenge("y,a=u,n=u,r=abc", lookup); err != nil {
		t.Fatal(err)
	}
	for _, final := range []string{"", "c=biws,r=" + x.nonce + ",p=", "c=biws,p=AAAA", "c=eSxhPXUs,r=other,p=AAAA", ",p=" + "AAAA"} {
		if _, err := x.verify(final); err == nil {
			t.Errorf("took %q", final)
		}
	}
}

func TestDecoyIsSteady(t *testing.T) {
	a, b, c := decoy([]byte("secret"), "u"), decoy([]byte("secret"), "u"), decoy([]byte("secret"), "v")
	if !bytes.Equal(a.Salt, b.Salt) || bytes.Equal(a.Salt, c.Salt) {
		t.Error("an account that does not exist can be told from others")
	}
	if a.verify("") {
		t.Error("a decoy has a password")
	}
}

func FuzzScram(f *testing.F) {
	f.Add("n,,n=user,r=nonce", "c=biws,r=nonce,p=AAAA")
	f.Add("y,a=x,n=a=2Cb=3D,r=n,ext=1", ",p=")
	f.Fuzz(func(t *testing.T, first, final string) {
		x := &scram{}
		if _, err := x.challenge(first, func(u string) credential { return decoy([]byte("k"), u) }); err != nil {
			return
		}
		if _, err := x.verify(final); err == nil {
			t.Errorf("%q, %q logged in", first, final)
		}
	})
}
