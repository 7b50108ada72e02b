package p2p_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/annex/annextest"
	"github.com/git-arbor/arbor/sync/gitrepo"
	"github.com/git-arbor/arbor/sync/p2p"
)

// random gives n bytes that are the same in every run.
func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n)}).Read(b)
	return b
}

func keyOf(content []byte) annex.Key {
	return annex.KeyFor(sha256.Sum256(content), int64(len(content)), "", annex.DefaultMaxExtensionLength)
}

func greeted(t *testing.T, conn io.ReadWriteCloser) *p2p.Client {
	t.Helper()
	c, err := p2p.NewClient(t.Context(), conn, p2p.ClientOptions{Self: clientUUID, Greeted: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestClientAgainstGitAnnexShell(t *testing.T) { annextest.Each(t, testClientAgainstGitAnnexShell) }

func testClientAgainstGitAnnexShell(t *testing.T) {
	dir := newAnnex(t)
	big := random(3 << 20)
	bigKey := add(t, dir, "big file 100%", big)
	empty := add(t, dir, "empty.txt", nil)
	absent := keyOf([]byte("never stored"))

	conn := annexShell(t, dir)
	c := greeted(t, conn)
	if c.Peer() != uuid(t, dir) {
		t.Errorf("Peer() = %s", c.Peer())
	}
	if c.Version() < 1 {
		t.Errorf("Version() = %d", c.Version())
	}

	ctx := t.Context()
	for key, want := range map[annex.Key]bool{bigKey: true, empty: true, absent: false} {
		if got, err := c.CheckPresent(ctx, key); err != nil || got != want {
			t.Errorf("CheckPresent(%s) = %v, %v", key, got, err)
		}
	}

	for _, offset := range []int64{0, 1, 2<<20 + 7, int64(len(big))} {
		var got bytes.Buffer
		n, err := c.Get(ctx, p2p.GetRequest{Key: bigKey, File: "big file 100%", Offset: offset}, &got)
		if err != nil || n != int64(len(big))-offset || !bytes.Equal(got.Bytes(), big[offset:]) {
			t.Errorf("Get from %d: %d bytes, %v", offset, n, err)
		}
	}
	if n, err := c.Get(ctx, p2p.GetRequest{Key: empty}, io.Discard); n != 0 || err != nil {
		t.Errorf("Get of an empty file: %d, %v", n, err)
	}
	if _, err := c.Get(ctx, p2p.GetRequest{Key: absent}, io.Discard); !errors.Is(err, p2p.ErrAbsent) {
		t.Errorf("Get of absent content: %v", err)
	}

	unlock, err := c.Lock(ctx, bigKey)
	if err != nil {
		t.Fatal(err)
	}
	drop := exec.Command("git", "annex", "drop", "--force", "big file 100%")
	drop.Dir, drop.Env = dir, gitEnv(t)
	if out, err := drop.CombinedOutput(); err == nil {
		t.Errorf("locked content was dropped: %s", out)
	}
	if _, err := c.CheckPresent(ctx, bigKey); err == nil || c.Err() != nil {
		t.Errorf("request while locked: %v, session %v", err, c.Err())
	}
	if err := unlock(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Lock(ctx, absent); !errors.Is(err, p2p.ErrFailed) {
		t.Errorf("Lock of absent content: %v", err)
	}

	stored := random(300_000)
	storedKey := keyOf(stored)
	put := p2p.PutRequest{Key: storedKey, File: "a b", Size: int64(len(stored)), Content: bytes.NewReader(stored)}
	for range 2 { // the second is ALREADY-HAVE
		if _, err := c.Put(ctx, put); err != nil {
			t.Fatal(err)
		}
	}
	git(t, dir, "annex", "readpresentkey", storedKey.String(), uuid(t, dir))
	wrong := p2p.PutRequest{Key: keyOf([]byte("abc")), Size: 3, Content: bytes.NewReader([]byte("xyz"))}
	if _, err := c.Put(ctx, wrong); !errors.Is(err, p2p.ErrFailed) || c.Err() != nil {
		t.Errorf("Put of wrong content: %v, session %v", err, c.Err())
	}
	if _, err := c.Remove(ctx, storedKey); err != nil {
		t.Fatal(err)
	}
	if got, err := c.CheckPresent(ctx, storedKey); err != nil || got {
		t.Errorf("CheckPresent after Remove = %v, %v", got, err)
	}
	now, err := c.Timestamp(ctx)
	if c.Version() < 3 {
		if !errors.Is(err, p2p.ErrUnsupported) {
			t.Errorf("Timestamp: %v", err)
		}
		return
	}
	if _, late := c.RemoveBefore(ctx, bigKey, now); err != nil || !errors.Is(late, p2p.ErrFailed) {
		t.Errorf("RemoveBefore, too late: %v, %v", err, late)
	}
	if _, err := c.RemoveBefore(ctx, bigKey, now+3600); err != nil {
		t.Errorf("RemoveBefore: %v", err)
	}
	for key, want := range map[annex.Key]bool{bigKey: false, empty: true} {
		if got, err := c.CheckPresent(ctx, key); err != nil || got != want {
			t.Errorf("CheckPresent(%s) after RemoveBefore = %v, %v", key, got, err)
		}
	}
}

// TestRetentionByGitAnnexShell: what a client had locked when the server died is still not removed by ours, where the server has promised so.
func TestRetentionByGitAnnexShell(t *testing.T) { annextest.Each(t, testRetentionByGitAnnexShell) }

func testRetentionByGitAnnexShell(t *testing.T) {
	dir := newAnnex(t)
	key := add(t, dir, "file", random(1000))
	conn := annexShell(t, dir)
	c := greeted(t, conn)
	if _, err := c.Lock(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	promised := c.Version() >= 3
	if err := conn.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = conn.cmd.Wait()
	r, err := gitrepo.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	repo, err := annex.Open(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	defer repo.Close()
	err = repo.RemoveAsked(t.Context(), key, clientUUID, func() bool { return true })
	if promised != errors.Is(err, annex.ErrInUse) || repo.Has(key) != promised {
		t.Errorf("removal of what was locked: %v", err)
	}
}

// TestAskAgainstGitAnnexShell: answers sent ahead are in order for the real server.
func TestAskAgainstGitAnnexShell(t *testing.T) { annextest.Each(t, testAskAgainstGitAnnexShell) }

func testAskAgainstGitAnnexShell(t *testing.T) {
	dir := newAnnex(t)
	var contents [][]byte
	var keys []annex.Key
	for i := range 12 {
		content := random(1000 * i)
		contents = append(contents, content)
		keys = append(keys, keyOf(content))
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("f", i)), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	git(t, dir, "annex", "add", "-q", ".")
	keys[5] = keyOf([]byte("absent"))
	c := greeted(t, annexShell(t, dir))
	for _, key := range keys {
		if err := c.Ask(t.Context(), p2p.GetRequest{Key: key}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range keys {
		var got bytes.Buffer
		_, err := c.Next(t.Context(), &got)
		switch {
		case i == 5 && !errors.Is(err, p2p.ErrAbsent):
			t.Errorf("absent content: %v", err)
		case i != 5 && (err != nil || !bytes.Equal(got.Bytes(), contents[i])):
			t.Errorf("content %d: %d bytes, %v", i, got.Len(), err)
		}
	}
	if ok, err := c.CheckPresent(t.Context(), keys[0]); !ok || err != nil {
		t.Errorf("session after the answers: %v, %v", ok, err)
	}
}

// TestPutResumesAgainstGitAnnexShell: half a PUT is kept, and the rest is asked for.
func TestPutResumesAgainstGitAnnexShell(t *testing.T) {
	annextest.Each(t, testPutResumesAgainstGitAnnexShell)
}

func testPutResumesAgainstGitAnnexShell(t *testing.T) {
	dir := newAnnex(t)
	content := random(1 << 20)
	key := keyOf(content)
	c := greeted(t, annexShell(t, dir))
	ctx, cancel := context.WithCancelCause(t.Context())
	cut := &cutReaderAt{content: content, at: 512 << 10, cut: func() { cancel(errors.New("cut")) }}
	if _, err := c.Put(ctx, p2p.PutRequest{Key: key, Size: int64(len(content)), Content: cut}); err == nil {
		t.Fatal("Put was not cut")
	}
	tmp := filepath.Join(dir, ".git/annex/tmp", key.File())
	waitFor(t, "the server to keep a part", func() bool {
		fi, err := os.Stat(tmp)
		return err == nil && fi.Size() > 0
	})
	part, err := os.Stat(tmp)
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the server to let go of the key", func() bool {
		rest := &countReaderAt{content: content}
		c := greeted(t, annexShell(t, dir))
		defer c.Close()
		_, err := c.Put(t.Context(), p2p.PutRequest{Key: key, Size: int64(len(content)), Content: rest})
		if err == nil && rest.read > int64(len(content))-part.Size() {
			t.Errorf("%d bytes were sent again", rest.read)
		}
		return err == nil
	})
}

// TestConnectAgainstGitAnnexShell: newer ones serve git over other connections only, and end the session.
func TestConnectAgainstGitAnnexShell(t *testing.T) {
	annextest.Each(t, testConnectAgainstGitAnnexShell)
}

func testConnectAgainstGitAnnexShell(t *testing.T) {
	dir := newAnnex(t)
	add(t, dir, "file", random(1000))
	c := greeted(t, annexShell(t, dir))
	conn, err := c.Connect(t.Context(), p2p.UploadPack)
	if err != nil {
		t.Fatal(err)
	}
	if c.Version() >= 4 {
		if n, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) && c.Err() == nil {
			t.Errorf("%d bytes, %v, session %v", n, err, c.Err())
		}
		return
	}
	lsRefs(t, conn, git(t, dir, "rev-parse", "main"))
}
