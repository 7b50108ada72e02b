package xmppserver

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// The state directory:
//
//	lock          held by the one Server that uses the directory
//	accounts.json the credentials of all accounts
//	users/NAME    roster, requests and messages kept for one account
//
// Every file is replaced as a whole by rename after fsync: after a crash it is
// the old or the new one.

// maxStateFile bounds the files that are read.
const maxStateFile = 64 << 20

const tempPrefix = ".tmp-"

// accountsFile is the content of accounts.json.
type accountsFile struct {
	Version  int                   `json:"version"`
	Decoy    []byte                `json:"decoy"` // secret that salts of accounts which do not exist are made from
	Accounts map[string]credential `json:"accounts"`
}

// userFile is the content of users/NAME.
type userFile struct {
	Roster   map[string]*contact `json:"roster,omitempty"`
	Requests map[string]string   `json:"requests,omitempty"` // bare JID to presence stanza
	Offline  []string            `json:"offline,omitempty"`  // message stanzas, oldest first
}

// user is an account and its sessions. Guarded by Server.mu, but for the names.
type user struct {
	name string
	bare string
	cred credential

	sessions     map[string]*session // by resource
	roster       map[string]*contact // by bare JID
	requests     map[string]*element // subscribe stanzas not answered, by bare JID
	offline      []*element
	offlineBytes int
	invitations  map[string]time.Time // token to its end; not kept over a restart
}

func (s *Server) newUser(name string, cred credential) *user {
	return &user{
		name: name, bare: name + "@" + s.domain, cred: cred,
		sessions: map[string]*session{}, roster: map[string]*contact{}, requests: map[string]*element{}, invitations: map[string]time.Time{},
	}
}

// load reads the state directory, which it makes and locks.
func (s *Server) load() error {
	if err := os.MkdirAll(filepath.Join(s.opts.Dir, "users"), 0o700); err != nil {
		return fmt.Errorf("make state directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(s.opts.Dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("open lock: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return fmt.Errorf("lock %s, which another server may be using: %w", s.opts.Dir, err)
	}
	s.lock = lock
	if err := s.tidy(); err != nil {
		return err
	}
	f, err := readAccounts(s.accountsPath())
	if err != nil {
		return err
	}
	s.secret = f.Decoy
	for name, cred := range f.Accounts {
		u := s.newUser(name, cred)
		if err := s.loadUser(u); err != nil {
			return err
		}
		s.users[name] = u
	}
	return nil
}

// tidy removes what a server that was killed had not renamed yet.
func (s *Server) tidy() error {
	for _, dir := range []string{s.opts.Dir, filepath.Join(s.opts.Dir, "users")} {
		files, err := os.ReadDir(dir)
		if err != nil {
			return fmt.Errorf("read state directory: %w", err)
		}
		for _, f := range files {
			if strings.HasPrefix(f.Name(), tempPrefix) {
				os.Remove(filepath.Join(dir, f.Name()))
			}
		}
	}
	return nil
}

func (s *Server) accountsPath() string { return filepath.Join(s.opts.Dir, "accounts.json") }

// readAccounts makes the file where there is none.
func readAccounts(path string) (accountsFile, error) {
	b, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		f := accountsFile{Version: 1, Decoy: make([]byte, 32), Accounts: map[string]credential{}}
		rand.Read(f.Decoy)
		return f, writeJSON(path, f)
	}
	if err != nil {
		return accountsFile{}, fmt.Errorf("read accounts: %w", err)
	}
	f, err := parseAccounts(b)
	if err != nil {
		return f, fmt.Errorf("read %s: %w", path, err)
	}
	return f, nil
}

// parseAccounts checks everything, so that nothing wrong is found out at log in.
func parseAccounts(b []byte) (accountsFile, error) {
	var f accountsFile
	if err := decodeJSON(b, &f); err != nil {
		return f, err
	}
	if f.Version != 1 {
		return f, fmt.Errorf("version %d is not known", f.Version)
	}
	if len(f.Decoy) < 16 {
		return f, errors.New("decoy secret is missing")
	}
	for name, cred := range f.Accounts {
		if !validName(name) {
			return f, fmt.Errorf("account %q: %w", name, ErrBadUser)
		}
		if err := cred.valid(); err != nil {
			return f, fmt.Errorf("account %q: %w", name, err)
		}
	}
	return f, nil
}

func (s *Server) userPath(u *user) string { return filepath.Join(s.opts.Dir, "users", u.name) }

func (s *Server) loadUser(u *user) error {
	b, err := readFile(s.userPath(u))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = u.parse(b)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", s.userPath(u), err)
	}
	return nil
}

func (u *user) parse(b []byte) error {
	var f userFile
	if err := decodeJSON(b, &f); err != nil {
		return err
	}
	for bare, c := range f.Roster {
		if c == nil {
			return fmt.Errorf("contact %q is empty", bare)
		}
		u.roster[bare] = c
	}
	for bare, x := range f.Requests {
		e, err := parseStanza(x)
		if err != nil {
			return fmt.Errorf("request of %q: %w", bare, err)
		}
		u.requests[bare] = e
	}
	for _, x := range f.Offline {
		e, err := parseStanza(x)
		if err != nil {
			return fmt.Errorf("message: %w", err)
		}
		u.offline = append(u.offline, e)
		u.offlineBytes += len(x)
	}
	return nil
}

// parseStanza reads what element.bytes wrote.
func parseStanza(x string) (*element, error) {
	d := xml.NewDecoder(strings.NewReader(x))
	d.DefaultSpace = nsClient
	tok, err := d.Token()
	if err != nil {
		return nil, err
	}
	start, ok := tok.(xml.StartElement)
	if !ok {
		return nil, errors.New("no element")
	}
	return parseElement(d, start, 0)
}

// save writes what is kept for an account, as it is by then.
func (s *Server) save(u *user) error {
	s.disk.Lock()
	defer s.disk.Unlock()
	s.mu.Lock()
	f := userFile{Roster: u.roster, Requests: map[string]string{}}
	for bare, e := range u.requests {
		f.Requests[bare] = string(e.bytes())
	}
	for _, e := range u.offline {
		f.Offline = append(f.Offline, string(e.bytes()))
	}
	b, err := json.Marshal(f)
	s.mu.Unlock()
	if err != nil {
		return fmt.Errorf("encode state of %s: %w", u.name, err)
	}
	return writeFile(s.userPath(u), b, 0o600)
}

// setPassword makes (create) or changes an account, durably.
func (s *Server) setPassword(name, password string, create bool) error {
	if !validName(name) {
		return ErrBadUser
	}
	cred, err := newCredential(password)
	if err != nil {
		return err
	}
	s.disk.Lock()
	defer s.disk.Unlock()
	f := accountsFile{Version: 1, Decoy: s.secret, Accounts: map[string]credential{name: cred}}
	s.mu.Lock()
	old := s.users[name]
	for n, u := range s.users {
		if n != name {
			f.Accounts[n] = u.cred
		}
	}
	s.mu.Unlock()
	switch {
	case create && old != nil:
		return ErrAccountExists
	case len(f.Accounts) > s.limits.accounts:
		return fmt.Errorf("%d accounts are the most", s.limits.accounts)
	}
	if err := writeJSON(s.accountsPath(), f); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if old != nil {
		old.cred = cred
	} else {
		s.users[name] = s.newUser(name, cred)
	}
	return nil
}

// validName reports whether name can be a user: always one JID, one file name.
func validName(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		case i > 0 && (c == '.' || c == '_' || c == '-'):
		default:
			return false
		}
	}
	return name != "" && len(name) <= 64
}

func decodeJSON(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the end")
	}
	return nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxStateFile+1))
	if err == nil && len(b) > maxStateFile {
		return nil, fmt.Errorf("%s has more than %d bytes", path, maxStateFile)
	}
	return b, err
}

func writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	return writeFile(path, append(b, '\n'), 0o600)
}

// writeFile replaces a file, durably or not at all.
func writeFile(path string, b []byte, mode fs.FileMode) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, tempPrefix)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("write %s: %w", path, err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
