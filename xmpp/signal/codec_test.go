package signal

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"testing"
	"time"
)

// sealPayload is what a hostile member can do: seal and sign any bytes.
func sealPayload(t testing.TB, k GroveKey, data []byte) []byte {
	dev := ed25519.NewKeyFromSeed(make([]byte, 32))
	aead, err := k.aead()
	if err != nil {
		t.Fatal(err)
	}
	inner, err := frame(dev, signed(domainSign, "m@x", k.ID[:], data), data, sealOverhead, MaxSealed)
	if err != nil {
		t.Skip("does not fit")
	}
	header := append([]byte{Version}, k.ID[:]...)
	nonce := make([]byte, aead.NonceSize())
	return aead.Seal(append(header, nonce...), nonce, inner, bind(domainAAD, "m@x", header))
}

func TestHostileMember(t *testing.T) {
	item := func(kind byte, body ...byte) []byte {
		return append([]byte{0xa6, 1, 0x41, 'c', 2, 1, 3, 1, 4, 0, 5, kind, 6}, body...)
	}
	deep := append(bytes.Repeat([]byte{0x81}, 20000), 0)
	tests := []struct {
		name string
		data []byte
		want error
	}{
		{"nothing", nil, ErrMalformed},
		{"garbage", []byte("garbage"), ErrMalformed},
		{"deep", deep, ErrMalformed},
		{"deep body", item(2, deep...), ErrMalformed},
		{"deep unknown field", item(8, append([]byte{0xa1, 0x18, 99}, deep...)...), ErrMalformed},
		{"array said to be huge", item(3, 0xa1, 1, 0x9a, 0xff, 0xff, 0xff, 0xff), ErrMalformed},
		{"string said to be huge", item(7, 0xa1, 1, 0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), ErrMalformed},
		{"map said to be huge", item(1, 0xa1, 2, 0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), ErrMalformed},
		{"indefinite length", item(3, 0xa1, 1, 0x9f, 0x41, 'k', 0xff), ErrMalformed},
		{"tagged", item(3, 0xa1, 1, 0xc1, 0x80), ErrMalformed},
		{"double key", item(3, 0xa2, 1, 0x80, 1, 0x80), ErrMalformed},
		{"short hash", item(1, 0xa1, 4, 0x41, 1), ErrMalformed},
		{"hash as array", item(1, 0xa1, 4, 0x81, 1), ErrMalformed},
		{"float", item(1, 0xa1, 7, 0xfb, 0, 0, 0, 0, 0, 0, 0, 0), ErrMalformed},
		{"negative count", item(1, 0xa1, 7, 0x20), ErrMalformed},
		{"trailing bytes", append(item(8, 0xa0), 0), ErrMalformed},
		{"unknown kind", item(23, 0xa0), ErrUnknownBody},
		{"no body", []byte{0xa5, 1, 0x41, 'c', 2, 1, 3, 1, 4, 0, 5, 8}, ErrMalformed},
		{"year 300000", append([]byte{0xa6, 1, 0x41, 'c', 2, 1, 3, 1, 4, 0x1b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 5, 8, 6, 0xa0), ErrMalformed},
		{"unknown field", item(8, 0xa1, 0x18, 99, 1), nil},
	}
	k := GroveKey{}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Open([]GroveKey{k}, "m@x", sealPayload(t, k, tt.data)); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

// A member re-encrypts what another member signed for another key or sender.
func TestSignatureCannotBeMoved(t *testing.T) {
	dev := ed25519.NewKeyFromSeed(make([]byte, 32))
	data, err := encode(Signal{Clone: "c", Seq: 1, Time: time.UnixMilli(0), Body: SyncRequest{}})
	if err != nil {
		t.Fatal(err)
	}
	k := GroveKey{ID: [8]byte{1}}
	for _, message := range [][]byte{
		signed(domainSign, "a@x", k.ID[:], data),
		signed(domainSign, "m@x", make([]byte, 8), data),
		signed(domainSignTo, "m@x", k.ID[:], data),
	} {
		aead, err := k.aead()
		if err != nil {
			t.Fatal(err)
		}
		inner, err := frame(dev, message, data, sealOverhead, MaxSealed)
		if err != nil {
			t.Fatal(err)
		}
		header := append([]byte{Version}, k.ID[:]...)
		nonce := make([]byte, aead.NonceSize())
		sealed := aead.Seal(append(header, nonce...), nonce, inner, bind(domainAAD, "m@x", header))
		if _, err := Open([]GroveKey{k}, "m@x", sealed); !errors.Is(err, ErrForged) {
			t.Errorf("got %v, want ErrForged", err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, b := range []Body{
		Vector{Head: "h", Heads: map[string]Hash{"h": {1}}, Links: []Link{{Kind: "lan", Addr: "a:1"}}, Want: []string{"k"}, Came: []string{"k"}},
		Announce{Ref: "r", Pack: []byte("P"), Keys: []string{"k"}, Merged: []Hash{{1}}},
		Have{},
		Drop{Keys: []string{"k"}},
		NoDialBack{Ticket: Ticket{1}},
		Pushed{Remote: "r", Heads: map[string]Hash{"h": {1}}},
		DialBack{Service: "s"},
		LogRequest{},
		Log{Entries: []byte("e")},
		SyncRequest{},
	} {
		data, err := encode(Signal{Clone: "c", Epoch: 1, Seq: 1, Time: time.UnixMilli(5), Body: b})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := decode(data)
		if err != nil {
			return
		}
		again, err := encode(s)
		if err != nil {
			t.Fatalf("decoded signal cannot be encoded: %v", err)
		}
		if _, err := decode(again); err != nil {
			t.Fatalf("encoded again, it cannot be decoded: %v", err)
		}
	})
}

func FuzzOpen(f *testing.F) {
	k := GroveKey{}
	f.Add(sealPayload(f, k, []byte{0xa0}))
	f.Fuzz(func(t *testing.T, sealed []byte) {
		if _, err := Open([]GroveKey{k}, "m@x", sealed); err == nil {
			t.Fatal("opened what nobody sealed")
		}
	})
}
