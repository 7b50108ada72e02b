package link

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"time"

	"github.com/git-arbor/arbor/sync/grove"
)

// certificate returns the self-signed certificate of a device. It only carries the
// key: nothing else in it is ever looked at, so it is valid for ever (RFC 5280,
// section 4.1.2.5, has this date for that).
func certificate(key ed25519.PrivateKey) (tls.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// serverName returns what a client says in SNI to be shown the certificate of a
// device. A scanner that does not know the device learns not even that Arbor is
// there. It is no secret: who watches the network sees it.
func serverName(id grove.DeviceID) string {
	sum := sha256.Sum256(append([]byte("arbor link name v1\x00"), id[:]...))
	return hex.EncodeToString(sum[:16]) + ".arbor.invalid"
}

// serverConfig accepts whoever is trusted, for the services that have a handler.
func (n *Node) serverConfig() *tls.Config {
	config := &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{n.cert},
		NextProtos:   slices.Sorted(maps.Keys(n.services())),
		ClientAuth:   tls.RequireAnyClientCert,
		// A resumed session would be one whose keys were checked long ago.
		SessionTicketsDisabled: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			peer, err := peerOf(s)
			if err != nil {
				return err
			}
			if !n.trusted(peer) {
				return ErrNotTrusted
			}
			return nil
		},
	}
	name := serverName(n.device.ID())
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if hello.ServerName != name {
			return nil, errors.New("asked for another device")
		}
		return nil, nil
	}
	return config
}

// services returns the services that can be asked for: those with a handler, and
// those in which a dial back can come.
func (n *Node) services() map[string]bool {
	services := map[string]bool{ServiceP2P: true, ServiceArbor: true}
	for s := range n.handlers {
		services[s] = true
	}
	return services
}

// clientConfig accepts the one peer.
func (n *Node) clientConfig(peer grove.DeviceID, service string) *tls.Config {
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{n.cert},
		NextProtos:   []string{service},
		ServerName:   serverName(peer),
		// There is no authority to ask: VerifyConnection compares the key itself,
		// and the handshake proves that the peer has it.
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			id, err := peerOf(s)
			if err != nil {
				return err
			}
			if id != peer {
				return fmt.Errorf("%w: %s", ErrWrongPeer, id.Short())
			}
			return nil
		},
	}
}

// peerOf returns the device at the other end of a handshake.
func peerOf(s tls.ConnectionState) (grove.DeviceID, error) {
	if len(s.PeerCertificates) != 1 {
		return grove.DeviceID{}, fmt.Errorf("%d certificates instead of one", len(s.PeerCertificates))
	}
	key, ok := s.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
	if !ok {
		return grove.DeviceID{}, errors.New("certificate without an Ed25519 key")
	}
	if s.NegotiatedProtocol == "" {
		return grove.DeviceID{}, errors.New("no service was asked for")
	}
	return grove.DeviceID(key), nil
}
