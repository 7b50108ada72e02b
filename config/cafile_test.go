package config

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"testing"
)

func TestRootCAs(t *testing.T) {
	if pool, err := new(Account).RootCAs(); pool != nil || err != nil {
		t.Errorf("without a file: got %v, %v; want nil, the system's", pool, err)
	}
	path := filepath.Join(t.TempDir(), "ca.pem")
	if _, err := (&Account{CAFile: path}).RootCAs(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: got %v", err)
	}
	if err := os.WriteFile(path, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (&Account{CAFile: path}).RootCAs(); hintOf(err) == "" {
		t.Errorf("no certificate: got %v, want a hint", err)
	}
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(nil, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	pool, err := (&Account{CAFile: path}).RootCAs()
	if err != nil || pool == nil {
		t.Errorf("a certificate: got %v, %v", pool, err)
	}
}
