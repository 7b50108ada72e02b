package remote_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/annex/annextest"
	"github.com/git-arbor/arbor/sync/gitrepo"
	"github.com/git-arbor/arbor/sync/p2p"
	"github.com/git-arbor/arbor/sync/remote"
)

const large = 8 << 20

// TestResume interrupts transfers both ways; the next one goes on where they were.
func TestResume(t *testing.T) {
	for _, k := range kinds[:4] {
		t.Run(k.name, func(t *testing.T) {
			dir := newAnnex(t)
			k.make(t, dir)
			c := openClone(t, dir)
			r := c.remote(t, "r")
			if err := r.Identify(t.Context()); err != nil {
				t.Fatal(err)
			}
			content := random(7, large)
			key := c.hold(t, content)
			limit := p2p.NewLimiter(200 << 20) // small pieces, so that there is a middle
			// attempt stops a transfer after a quarter, and checks that the next one does not begin at its beginning.
			attempt := func(what string, transfer func(remote.Session, context.Context, func(int64)) error) {
				t.Helper()
				s, err := r.Open(t.Context(), p2p.Limits{Up: limit, Down: limit})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				reached := int64(0)
				err = transfer(s, ctx, func(n int64) {
					if reached = n; n >= large/4 {
						cancel()
					}
				})
				cancel()
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				if err == nil && what == "get" && k.kind != remote.SSH && reached == large {
					return // the file system let the two share the blocks: there is no middle
				}
				if !errors.Is(err, context.Canceled) || reached >= large {
					t.Fatalf("%s was not interrupted: %v, %d bytes", what, err, reached)
				}
				begin := int64(-1)
				if err := transfer(c.open(t, "r"), t.Context(), func(n int64) {
					if begin < 0 {
						begin = n
					}
				}); err != nil {
					t.Fatalf("%s again: %v", what, err)
				}
				if begin < 1<<20 {
					t.Errorf("%s began again at %d bytes, after %d", what, begin, reached)
				}
			}
			attempt("put", func(s remote.Session, ctx context.Context, progress func(int64)) error {
				return s.Put(ctx, key, "", progress)
			})
			c.record(t, key, r.UUID, true)
			c.annex(t, "fsck", "-q", "--from=r", "--key="+key.String())
			c.forget(t, key)
			attempt("get", func(s remote.Session, ctx context.Context, progress func(int64)) error {
				return s.Get(ctx, key, "", progress)
			})
			if !bytes.Equal(c.content(t, key), content) {
				t.Error("other content")
			}
		})
	}
}

// TestBadPartial has a transfer go on from what is not the content's beginning.
func TestBadPartial(t *testing.T) {
	dir, store := newAnnex(t), annextest.TempDir(t)
	run(t, dir, "git", "annex", "initremote", "-q", "r", "type=directory", "directory="+store, "encryption=none")
	c := openClone(t, dir)
	content := random(8, 1<<20)
	key := c.hold(t, content)
	partial := filepath.Join(store, "tmp", "arbor-"+c.repo.UUID(), key.File())
	if err := os.MkdirAll(filepath.Dir(partial), 0o777); err != nil {
		t.Fatal(err)
	}
	// What a loss of power leaves: a file of the right size with zeros at its end; write-protected, as it is before it is moved.
	if err := os.WriteFile(partial, append(bytes.Clone(content[:700_000]), make([]byte, 400_000)...), 0o444); err != nil {
		t.Fatal(err)
	}
	s := c.open(t, "r")
	if err := s.Put(t.Context(), key, "", nil); err != nil {
		t.Fatal(err)
	}
	stored := filepath.Join(store, key.HashDirLower(), key.File(), key.File())
	if got, err := os.ReadFile(stored); err != nil || !bytes.Equal(got, content) {
		t.Errorf("stored %d bytes, %v", len(got), err)
	}
	if _, err := os.Lstat(filepath.Dir(partial)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the temporary directory is still there: %v", err)
	}
	c.forget(t, key)
	if err := os.WriteFile(c.repo.TmpPath(key), make([]byte, 300_000), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.Get(t.Context(), key, "", nil); err != nil || !bytes.Equal(c.content(t, key), content) {
		t.Errorf("get after bad bytes: %v", err)
	}
}

// TestBroken has content that is not what its key says, on either side.
func TestBroken(t *testing.T) {
	dir, store := newAnnex(t), annextest.TempDir(t)
	run(t, dir, "git", "annex", "initremote", "-q", "r", "type=directory", "directory="+store, "encryption=none")
	c := openClone(t, dir)
	content := random(9, 100_000)
	key := c.hold(t, content)
	s := c.open(t, "r")
	object, _ := c.repo.ObjectPath(key)
	stored := filepath.Join(store, key.HashDirLower(), key.File(), key.File())
	bad := append([]byte("X"), content[1:]...)
	overwrite := func(path string, content []byte) {
		t.Helper()
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	overwrite(object, bad)
	if err := s.Put(t.Context(), key, "", nil); !errors.Is(err, annex.ErrBadContent) {
		t.Errorf("put of broken content: %v", err)
	}
	there(t, s, key, false)
	overwrite(object, content)
	if err := s.Put(t.Context(), key, "", nil); err != nil {
		t.Fatal(err)
	}
	c.forget(t, key)
	overwrite(stored, bad)
	if err := s.Get(t.Context(), key, "", nil); !errors.Is(err, annex.ErrBadContent) || c.repo.Has(key) {
		t.Errorf("get of broken content: %v", err)
	}
	overwrite(stored, content[:99_999])
	there(t, s, key, false) // a copy that is not whole does not count
	if err := s.Get(t.Context(), key, "", nil); !errors.Is(err, annex.ErrBadContent) {
		t.Errorf("get of short content: %v", err)
	}
	c.hold(t, content)
	if err := s.Put(t.Context(), key, "", nil); err != nil {
		t.Errorf("put over short content: %v", err)
	}
	there(t, s, key, true)
	c.record(t, key, c.remote(t, "r").UUID, true)
	c.annex(t, "fsck", "-q", "--from=r", "--key="+key.String())
}

// TestUnplugged takes away what is there: nothing may follow from that about contents.
func TestUnplugged(t *testing.T) {
	for _, k := range kinds[2:] {
		t.Run(k.name, func(t *testing.T) {
			dir := newAnnex(t)
			k.make(t, dir)
			c := openClone(t, dir)
			r := c.remote(t, "r")
			if err := r.Identify(t.Context()); err != nil {
				t.Fatal(err)
			}
			key, other := c.hold(t, random(10, 10_000)), c.hold(t, random(11, 10_000))
			s := c.open(t, "r")
			if err := s.Put(t.Context(), key, "", nil); err != nil {
				t.Fatal(err)
			}
			c.record(t, key, r.UUID, true)
			top := run(t, dir, "sh", "-c", `git config remote.r.annex-directory || git config remote.r.url || echo "$SHELF"`)
			top = strings.TrimPrefix(top, "file://")
			if err := os.Rename(top, top+".unplugged"); err != nil {
				t.Fatal(err)
			}
			expect := func(what string, err error) {
				t.Helper()
				if err == nil || errors.Is(err, p2p.ErrAbsent) || r.Kind != remote.Program && !errors.Is(err, gitrepo.ErrUnreachable) {
					t.Errorf("%s: %v", what, err)
				}
			}
			gone := func(s remote.Session) {
				t.Helper()
				_, err := s.Has(t.Context(), key)
				expect("has", err)
				expect("put", s.Put(t.Context(), other, "", nil))
				c.forget(t, key)
				expect("get", s.Get(t.Context(), key, "", nil))
				c.hold(t, random(10, 10_000))
			}
			gone(s) // the session was open
			if again, err := r.Open(t.Context(), p2p.Limits{}); err != nil {
				expect("open", err)
			} else {
				gone(again)
			}
			if _, err := os.Lstat(top); !errors.Is(err, os.ErrNotExist) {
				t.Error("something was made where the drive should be")
			}
			if r.Kind == remote.Directory {
				// An empty mount point.
				if err := os.Mkdir(top, 0o777); err != nil {
					t.Fatal(err)
				}
				_, err := c.open(t, "r").Has(t.Context(), key)
				expect("has in an empty directory", err)
			}
		})
	}
}

// TestNoRoom keeps annex.diskreserve free on either side.
func TestNoRoom(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			dir := newAnnex(t)
			k.make(t, dir)
			c := openClone(t, dir)
			key := c.hold(t, random(12, 10_000))
			s := c.open(t, "r")
			if err := s.Put(t.Context(), key, "", nil); err != nil {
				t.Fatal(err)
			}
			c.forget(t, key)
			run(t, dir, "git", "config", "annex.diskreserve", "1000000tb")
			if err := c.git.ReloadConfig(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := s.Get(t.Context(), key, "", nil); !p2p.IsDiskFull(err) {
				t.Errorf("get: %v", err)
			}
			if k.kind == remote.Directory {
				if err := s.Put(t.Context(), c.hold(t, random(13, 10_000)), "", nil); !p2p.IsDiskFull(err) {
					t.Errorf("put: %v", err)
				}
			}
		})
	}
}

// TestUnreadable has something in the way on the drive.
func TestUnreadable(t *testing.T) {
	for _, k := range kinds[2:4] {
		t.Run(k.name, func(t *testing.T) {
			dir := newAnnex(t)
			k.make(t, dir)
			c := openClone(t, dir)
			key := c.hold(t, random(14, 10_000))
			top := run(t, dir, "sh", "-c", "git config remote.r.annex-directory || git config remote.r.url")
			if rest, ok := strings.CutPrefix(top, "file://"); ok {
				top = filepath.Join(rest, "annex", "objects")
			}
			if err := os.MkdirAll(top, 0o777); err != nil {
				t.Fatal(err)
			}
			// A link that leads to itself cannot be read, not even by root.
			hash := filepath.Join(top, key.HashDirLower()[:3])
			if err := os.Symlink(filepath.Base(hash), hash); err != nil {
				t.Fatal(err)
			}
			s := c.open(t, "r")
			if present, err := s.Has(t.Context(), key); err == nil {
				t.Errorf("what cannot be read is there: %v", present)
			}
			if s.Put(t.Context(), key, "", nil) == nil {
				t.Error("put where nothing can be written")
			}
			c.forget(t, key)
			if err := s.Get(t.Context(), key, "", nil); err == nil || errors.Is(err, p2p.ErrAbsent) {
				t.Errorf("get: %v", err)
			}
		})
	}
}

// TestOther has another repository where the remote was.
func TestOther(t *testing.T) {
	c := openClone(t, newAnnex(t))
	one, two := newAnnex(t, "--bare"), newAnnex(t, "--bare")
	for name, url := range map[string]string{"ssh": "ssh://here" + two, "path": two} {
		run(t, c.dir, "git", "remote", "add", name, url)
		run(t, c.dir, "git", "config", "remote."+name+".annex-uuid", run(t, one, "git", "config", "annex.uuid"))
		if s, err := c.remote(t, name).Open(t.Context(), p2p.Limits{}); !errors.Is(err, remote.ErrOther) {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
}

// TestIdentify finds uuids out, and what has none.
func TestIdentify(t *testing.T) {
	c := openClone(t, newAnnex(t))
	annexed, plain := newAnnex(t, "--bare"), t.TempDir()
	run(t, plain, "git", "init", "-q", "--bare")
	uuid := run(t, annexed, "git", "config", "annex.uuid")
	for i, test := range []struct {
		url, uuid string
		err       error
	}{
		{annexed, uuid, nil},
		{"ssh://here" + annexed, uuid, nil},
		{"here:" + annexed, uuid, nil},
		{c.dir, c.repo.UUID(), nil},
		{plain, "", remote.ErrNoAnnex},
		{"ssh://here" + plain, "", remote.ErrNoAnnex},
		{"ssh://forge" + annexed, "", remote.ErrNoAnnex},
		{"https://example.invalid/x", "", remote.ErrNoAnnex},
		{plain + "/not/mounted", "", gitrepo.ErrUnreachable},
		{c.dir + "/.git/annex", "", gitrepo.ErrUnreachable}, // within a repository, but none
		{"ssh://off" + annexed, "", gitrepo.ErrUnreachable},
		{"ssh://here" + plain + "/not/mounted", "", gitrepo.ErrUnreachable},
	} {
		name := string(rune('a' + i))
		run(t, c.dir, "git", "remote", "add", name, test.url)
		r := c.remote(t, name)
		if err := r.Identify(t.Context()); !errors.Is(err, test.err) || r.UUID != test.uuid {
			t.Errorf("%s is %q, %v", test.url, r.UUID, err)
		}
		if usable := test.uuid == uuid; !errors.Is(test.err, gitrepo.ErrUnreachable) && (r.Read != usable || r.Write != usable) {
			t.Errorf("%s: %+v", test.url, r)
		}
		if !r.Fetch || !r.Push {
			t.Errorf("git cannot reach %s", test.url)
		}
		if written := run(t, c.dir, "sh", "-c", "git config remote."+name+".annex-uuid || true"); written != "" {
			t.Errorf("%s was written down as %s", test.url, written)
		}
	}
	run(t, c.dir, "git", "remote", "add", "stranger", "stranger:x")
	r := c.remote(t, "stranger")
	var hinted interface{ Hint() string }
	if err := r.Identify(t.Context()); errors.Is(err, remote.ErrNoAnnex) || !errors.As(err, &hinted) || !strings.Contains(hinted.Hint(), "by hand") || !r.Read {
		t.Errorf("a host whose key is not known: %v", err)
	}
}

// TestSSHOptions has annex-ssh-options, annex-shell and the port reach ssh.
func TestSSHOptions(t *testing.T) {
	c := openClone(t, newAnnex(t))
	log := filepath.Join(t.TempDir(), "log")
	t.Setenv("SSH_LOG", log)
	run(t, c.dir, "git", "remote", "add", "r", "ssh://me@here:2222"+newAnnex(t))
	run(t, c.dir, "git", "config", "remote.r.annex-ssh-options", "-o Compression=no")
	run(t, c.dir, "git", "config", "remote.r.annex-shell", "env git-annex-shell")
	key := c.hold(t, random(15, 1000))
	if err := c.open(t, "r").Put(t.Context(), key, "it's a file", nil); err != nil {
		t.Fatal(err)
	}
	said, err := os.ReadFile(log)
	for _, want := range []string{"-o BatchMode=yes", "-o Compression=no", "-p 2222", "-T me@here env git-annex-shell 'p2pstdio'"} {
		if !strings.Contains(string(said), want) {
			t.Errorf("ssh was called without %s, %v:\n%s", want, err, said)
		}
	}
}

// TestBusy sends content that another process of this clone is sending already, by git-annex's own lock.
func TestBusy(t *testing.T) {
	for _, k := range kinds[3:5] {
		dir := newAnnex(t)
		k.make(t, dir)
		c := openClone(t, dir)
		key := c.hold(t, random(17, 1000))
		unlock, err := p2p.LockUpload(c.repo, key, c.remote(t, "r").UUID)
		if err != nil {
			t.Fatal(err)
		}
		s := c.open(t, "r")
		if err := s.Put(t.Context(), key, "", nil); !errors.Is(err, p2p.ErrBusy) {
			t.Errorf("%s: put twice at once: %v", k.name, err)
		}
		unlock()
		if err := s.Put(t.Context(), key, "", nil); err != nil {
			t.Errorf("%s: put afterwards: %v", k.name, err)
		}
	}
}

// TestLimits has contents wait for the caller's buckets.
func TestLimits(t *testing.T) {
	for _, k := range kinds[:4] {
		dir := newAnnex(t)
		k.make(t, dir)
		c := openClone(t, dir)
		r := c.remote(t, "r")
		if err := r.Identify(t.Context()); err != nil {
			t.Fatal(err)
		}
		up, down := &counter{Limiter: p2p.NewLimiter(1 << 30)}, &counter{Limiter: p2p.NewLimiter(1 << 30)}
		s, err := r.Open(t.Context(), p2p.Limits{Up: up, Down: down})
		if err != nil {
			t.Fatal(err)
		}
		key := c.hold(t, random(18, 1<<20))
		if err := s.Put(t.Context(), key, "", nil); err != nil || up.bytes < 1<<20 {
			t.Errorf("%s: put: %v, %d bytes counted", k.name, err, up.bytes)
		}
		c.forget(t, key)
		shared := false // by the file system, between two directories of this machine
		if err := s.Get(t.Context(), key, "", func(n int64) { shared = shared || n == 1<<20 && down.bytes == 0 }); err != nil || down.bytes < 1<<20 && !shared {
			t.Errorf("%s: get: %v, %d bytes counted", k.name, err, down.bytes)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// counter counts what passes a bucket.
type counter struct {
	p2p.Limiter
	bytes int
}

func (c *counter) WaitN(ctx context.Context, n int) error {
	c.bytes += n
	return c.Limiter.WaitN(ctx, n)
}

// TestReadOnly puts nothing where nothing is to be put.
func TestReadOnly(t *testing.T) {
	for _, k := range kinds[:5] {
		dir := newAnnex(t)
		k.make(t, dir)
		c := openClone(t, dir)
		key := c.hold(t, random(19, 1000))
		run(t, dir, "git", "config", "remote.r.annex-readonly", "true")
		s := c.open(t, "r")
		if err := s.Put(t.Context(), key, "", nil); err == nil {
			t.Errorf("%s: put", k.name)
		}
		there(t, s, key, false)
		run(t, dir, "git", "config", "remote.r.annex-ignore", "true")
		if _, err := c.remote(t, "r").Open(t.Context(), p2p.Limits{}); err == nil {
			t.Errorf("%s: open", k.name)
		}
	}
}

// TestOnceChunked reads what was stored in chunks before that was turned off.
func TestOnceChunked(t *testing.T) {
	dir, store := newAnnex(t), annextest.TempDir(t)
	run(t, dir, "git", "annex", "initremote", "-q", "r", "type=directory", "directory="+store, "encryption=none", "chunk=100kb")
	c := openClone(t, dir)
	content := random(16, 300_000)
	key := c.hold(t, content)
	c.annex(t, "copy", "-q", "--to=r", "--key="+key.String())
	run(t, dir, "git", "annex", "enableremote", "-q", "r", "directory="+store, "chunk=0")
	if r := c.remote(t, "r"); r.Kind != remote.Directory {
		t.Fatalf("the remote is of kind %s", r.Kind)
	}
	s := c.open(t, "r")
	there(t, s, key, true)
	c.forget(t, key)
	if err := s.Get(t.Context(), key, "", nil); err != nil || !bytes.Equal(c.content(t, key), content) {
		t.Errorf("get: %v", err)
	}
}
