package xmppserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

const (
	authorityLife   = 20 * 365 * 24 * time.Hour
	certificateLife = 365 * 24 * time.Hour
	renewBefore     = 30 * 24 * time.Hour
	clockSkew       = 24 * time.Hour // clients on a LAN have odd clocks
)

// SelfSigned returns a certificate for hosts (DNS names or IP addresses) issued
// by a private authority kept in dir, and that authority's certificate as PEM,
// which is also the file dir/ca.pem for clients to trust. The authority is made
// once and stays; the certificate is made anew when hosts change or its end is
// near. For one process at a time.
func SelfSigned(dir string, hosts []string) (cert tls.Certificate, caPEM []byte, err error) {
	if len(hosts) == 0 {
		return cert, nil, errors.New("no host to make a certificate for")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return cert, nil, fmt.Errorf("make certificate directory: %w", err)
	}
	now := time.Now()
	// Key and certificate are one file each, so that a crash never leaves one without the other.
	ca, err := loadPair(filepath.Join(dir, "ca.key"))
	if errors.Is(err, fs.ErrNotExist) {
		ca, err = issue(filepath.Join(dir, "ca.key"), &x509.Certificate{
			Subject:   pkix.Name{CommonName: "Arbor private authority"},
			NotBefore: now.Add(-clockSkew), NotAfter: now.Add(authorityLife),
			IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
			KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		}, nil)
	}
	if err != nil {
		return cert, nil, err
	}
	caPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Certificate[0]})
	if err := writeFile(filepath.Join(dir, "ca.pem"), caPEM, 0o644); err != nil {
		return cert, nil, err
	}
	path := filepath.Join(dir, "server.key")
	cert, err = loadPair(path)
	if err == nil && serves(cert.Leaf, ca.Leaf, hosts, now.Add(renewBefore)) {
		return cert, caPEM, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return cert, nil, err
	}
	t := &x509.Certificate{
		Subject:   pkix.Name{CommonName: hosts[0]},
		NotBefore: now.Add(-clockSkew), NotAfter: now.Add(certificateLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	cert, err = issue(path, t, &ca)
	return cert, caPEM, err
}

// serves reports whether a certificate is ca's and good for exactly hosts until then.
func serves(leaf, ca *x509.Certificate, hosts []string, then time.Time) bool {
	if leaf.CheckSignatureFrom(ca) != nil || then.After(leaf.NotAfter) || len(hosts) != len(leaf.DNSNames)+len(leaf.IPAddresses) {
		return false
	}
	for _, h := range hosts {
		if leaf.VerifyHostname(h) != nil {
			return false
		}
	}
	return true
}

// issue makes a key and a certificate signed by ca, or by itself, and writes both to path.
func issue(path string, t *x509.Certificate, ca *tls.Certificate) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make key: %w", err)
	}
	if t.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return tls.Certificate{}, fmt.Errorf("make serial number: %w", err)
	}
	parent, signer := t, any(key)
	if ca != nil {
		parent, signer = ca.Leaf, ca.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, t, parent, key.Public(), signer)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("sign certificate: %w", err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("encode key: %w", err)
	}
	both := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	if err := writeFile(path, both, 0o600); err != nil {
		return tls.Certificate{}, err
	}
	return loadPair(path)
}

// loadPair reads a key and its certificate from one file.
func loadPair(path string) (tls.Certificate, error) {
	b, err := readFile(path)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("read certificate: %w", err)
	}
	cert, err := tls.X509KeyPair(b, b)
	if err != nil {
		return cert, fmt.Errorf("read %s: %w", path, err)
	}
	return cert, nil
}
