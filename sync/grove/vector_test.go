package grove

import (
	"bytes"
	"encoding/hex"
	"testing"
)

// The vectors of docs/protocol.md.
func TestVectors(t *testing.T) {
	d := testDevice(t, 0) // seed of 32 bytes 01
	key, err := newKey([32]byte(bytes.Repeat([]byte{2}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	inv := Invitation{Secret: [16]byte(bytes.Repeat([]byte{3}, 16))}
	public := d.publicHPKE()
	for _, v := range []struct{ what, got, want string }{
		{"device id", d.ID().String(), "rkeohxlubhyzl7ks3mwtzos5olfgocn7dwkbeg7toseadnapn5oa"},
		{"HPKE public key", hex.EncodeToString(public[:]), "8272905907609891303ecb779471f690280da766ac35c4938f6cbdd159db8b5b"},
		{"grove key id", hex.EncodeToString(key.ID[:]), "68e3adfaa8b7de4b"},
		{"invitation tag", inv.Tag(), "ec39b1d4eb01eb13"},
		{"invitation token", inv.Token(), "f5a70c0ef7721b22"},
	} {
		if v.got != v.want {
			t.Errorf("%s is %s, want %s", v.what, v.got, v.want)
		}
	}
}
