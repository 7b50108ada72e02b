package xmppserver

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/text/secure/precis"
)

// iterations of PBKDF2 for new passwords; RFC 7677 asks for 4096 at least.
const iterations = 10_000

// maxPassword bounds the bytes of a password.
const maxPassword = 1024

var errNotAuthorized = errors.New("not authorized")

// credential is what SCRAM-SHA-256 keeps of a password (RFC 5802 §3). Neither
// the password nor anything to log in with can be had from it.
type credential struct {
	Salt       []byte `json:"salt"`
	Iterations int    `json:"iterations"`
	StoredKey  []byte `json:"stored_key"`
	ServerKey  []byte `json:"server_key"`
}

func newCredential(password string) (credential, error) {
	c := credential{Salt: make([]byte, 16), Iterations: iterations}
	rand.Read(c.Salt)
	var err error
	c.StoredKey, c.ServerKey, err = c.derive(password)
	return c, err
}

// decoy is what an account that does not exist answers with: always the same
// salt, so that asking tells nothing, and keys that no password has.
func decoy(secret []byte, user string) credential {
	return credential{Salt: mac(secret, user)[:16], Iterations: iterations, StoredKey: make([]byte, sha256.Size), ServerKey: make([]byte, sha256.Size)}
}

func (c credential) derive(password string) (storedKey, serverKey []byte, err error) {
	if len(password) > maxPassword {
		return nil, nil, fmt.Errorf("password has more than %d bytes", maxPassword)
	}
	password, err = precis.OpaqueString.String(password) // RFC 8265 §4
	if err != nil {
		return nil, nil, fmt.Errorf("prepare password: %w", err)
	}
	salted, err := pbkdf2.Key(sha256.New, password, c.Salt, c.Iterations, sha256.Size)
	if err != nil {
		return nil, nil, fmt.Errorf("derive key: %w", err)
	}
	stored := sha256.Sum256(mac(salted, "Client Key"))
	return stored[:], mac(salted, "Server Key"), nil
}

// verify reports whether password is the one c was made from.
func (c credential) verify(password string) bool {
	stored, _, err := c.derive(password)
	return err == nil && subtle.ConstantTimeCompare(stored, c.StoredKey) == 1
}

// valid checks what was read from a file.
func (c credential) valid() error {
	switch {
	case len(c.Salt) < 8 || len(c.Salt) > 64:
		return fmt.Errorf("salt of %d bytes", len(c.Salt))
	case c.Iterations < 4096 || c.Iterations > 10_000_000:
		return fmt.Errorf("%d iterations", c.Iterations)
	case len(c.StoredKey) != sha256.Size || len(c.ServerKey) != sha256.Size:
		return errors.New("keys that are not of SHA-256")
	}
	return nil
}

// scram is the server's side of one SCRAM-SHA-256 exchange (RFC 5802, RFC 7677)
// without channel binding.
type scram struct {
	user    string // as the client wrote it
	authzid string
	cred    credential

	header string // gs2-header
	nonce  string
	bare   string // client-first-message-bare
	first  string // server-first-message
}

// challenge takes the client-first-message and returns the server's.
func (x *scram) challenge(msg string, lookup func(user string) credential) (string, error) {
	flag, rest, ok1 := strings.Cut(msg, ",")
	authzid, bare, ok2 := strings.Cut(rest, ",")
	fields := strings.Split(bare, ",")
	if !ok1 || !ok2 || flag != "n" && flag != "y" || len(fields) < 2 {
		return "", errNotAuthorized
	}
	x.header, x.bare = flag+","+authzid+",", bare
	var ok bool
	if authzid != "" {
		if x.authzid, ok = saslname(authzid, "a="); !ok {
			return "", errNotAuthorized
		}
	}
	if x.user, ok = saslname(fields[0], "n="); !ok {
		return "", errNotAuthorized
	}
	nonce, ok := strings.CutPrefix(fields[1], "r=")
	if !ok || nonce == "" {
		return "", errNotAuthorized
	}
	x.cred = lookup(x.user)
	x.nonce = nonce + rand.Text()
	x.first = "r=" + x.nonce + ",s=" + base64.StdEncoding.EncodeToString(x.cred.Salt) + ",i=" + strconv.Itoa(x.cred.Iterations)
	return x.first, nil
}

// verify takes the client-final-message and returns the server's, which proves
// that the server knows the account too.
func (x *scram) verify(msg string) (string, error) {
	i := strings.LastIndex(msg, ",p=")
	if i < 0 {
		return "", errNotAuthorized
	}
	want := "c=" + base64.StdEncoding.EncodeToString([]byte(x.header)) + ",r=" + x.nonce
	if msg[:i] != want && !strings.HasPrefix(msg[:i], want+",") {
		return "", errNotAuthorized
	}
	proof, err := base64.StdEncoding.DecodeString(msg[i+len(",p="):])
	if err != nil || len(proof) != sha256.Size {
		return "", errNotAuthorized
	}
	auth := x.bare + "," + x.first + "," + msg[:i]
	key := make([]byte, sha256.Size)
	subtle.XORBytes(key, proof, mac(x.cred.StoredKey, auth))
	stored := sha256.Sum256(key)
	if subtle.ConstantTimeCompare(stored[:], x.cred.StoredKey) != 1 {
		return "", errNotAuthorized
	}
	return "v=" + base64.StdEncoding.EncodeToString(mac(x.cred.ServerKey, auth)), nil
}

// saslname undoes the escapes of a name (RFC 5802 §5.1).
func saslname(field, prefix string) (string, bool) {
	s, ok := strings.CutPrefix(field, prefix)
	if !ok || strings.Contains(strings.NewReplacer("=2C", "", "=3D", "").Replace(s), "=") {
		return "", false
	}
	return strings.NewReplacer("=2C", ",", "=3D", "=").Replace(s), s != ""
}

func mac(key []byte, message string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(message))
	return h.Sum(nil)
}
