package signal

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"testing"
	"time"

	"golang.org/x/crypto/chacha20poly1305"
)

// The vectors of docs/protocol.md.
func TestVectors(t *testing.T) {
	dev := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	k := GroveKey{ID: [8]byte{0xde, 0xad, 0xbe, 0xef, 0, 1, 2, 3}, Secret: [32]byte(bytes.Repeat([]byte{2}, 32))}
	data, err := encode(Signal{Clone: "c1", Epoch: 1764000000000, Seq: 7, Time: time.UnixMilli(1764000000123), Body: Have{Keys: []string{"SHA256E-s1--aa"}}})
	if err != nil {
		t.Fatal(err)
	}
	inner, err := frame(dev, signed(domainSign, "Alice@example.org", k.ID[:], data), data, sealOverhead, MaxSealed)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := k.aead()
	if err != nil {
		t.Fatal(err)
	}
	header := append([]byte{Version}, k.ID[:]...)
	nonce := bytes.Repeat([]byte{3}, chacha20poly1305.NonceSizeX)
	sealed := aead.Seal(append(header, nonce...), nonce, inner, bind(domainAAD, "Alice@example.org", header))
	for _, v := range []struct{ what, got, want string }{
		{"payload", hex.EncodeToString(data), "a601426331021b0000019ab697e8000307041b0000019ab697e87b050306a101814e534841323536452d73312d2d6161"},
		{"signature", hex.EncodeToString(inner[32:96]), "3001dfac5e5c19a30e7971bd31134dbb9c2500f8ee98e83b67c06e051f1cdfdcc183b1f10da4ac926dd6a915cf70836d9d2bd84d9cb47b80088d10086c8f6304"},
		{"sealed", hex.EncodeToString(sealed), "01deadbeef0001020303030303030303030303030303030303030303030303030308a612ae1ba2aacdad49a50112cd62447894d05bf7ac7463d14e88ab02b11626291df382eb77daed5de328cfe84ec6a923dcfc2e5a48e8bacbb2bfee74d543b00f223b144c7461d3f681dfab7494594477fe82cceebf61a1759d4f3a212d828c4dc94d2099921c115042aa0db61e3dc0394377c2b76cbbad5e445e01a6f706f0d7e578d90d77afaa213f158e7d2084540fadca674d3d16eb9ceef860d43b212b033c4fe4b0b926723ce3169762b141d9c83946f8b6df681f98a899e8aac945da1a17e33ba99ce42839b96421bc3d6c632a7fd9d3273de2030307756447930d"},
		{"device tag", DeviceTag(bytes.Repeat([]byte{4}, 32)), "5683d1356c2a8d42"},
		{"digest of references", RefsDigest(map[string]Hash{"refs/heads/main": {5}, "refs/tags/v1": {6}}).String(), "f03bcfd3596e06cc9d3ac3a2d2b1b2f76f68b5172db9183bdb422aa4f890153f"},
	} {
		if v.got != v.want {
			t.Errorf("%s is %s, want %s", v.what, v.got, v.want)
		}
	}
}
