package config

import (
	"crypto/x509"
	"fmt"
	"os"
)

// RootCAs returns the certificates to trust for the XMPP server: those of CAFile, or nil, which means the system's.
func (a *Account) RootCAs() (*x509.CertPool, error) {
	if a.CAFile == "" {
		return nil, nil
	}
	data, err := os.ReadFile(a.CAFile)
	if err != nil {
		return nil, fmt.Errorf("read certificates to trust: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, &Error{Path: a.CAFile, Key: "account.ca_file", Msg: "there is no PEM certificate in the file", Fix: "copy the server's ca.pem there"}
	}
	return pool, nil
}
