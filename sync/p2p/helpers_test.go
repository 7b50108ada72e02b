package p2p_test

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/git-arbor/arbor/sync/annex"
)

// newRepo makes a repository that git-annex would take for one of its own, without asking it.
func newRepo(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "repo")
	for _, args := range [][]string{{"init", "-q", dir}, {"-C", dir, "config", "annex.uuid", serverUUID}, {"-C", dir, "config", "annex.version", "10"}} {
		if out, err := exec.Command("git", args...).CombinedOutput(); err != nil {
			t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	t.Cleanup(func() { thaw(dir) })
	return dir
}

// serverUUID names the repositories of newRepo.
const serverUUID = "66666666-7777-4888-8999-aaaaaaaaaaaa"

// hold places content.
func hold(t testing.TB, repo *annex.Repo, content []byte) annex.Key {
	t.Helper()
	key := keyOf(content)
	tmp := repo.TmpPath(key)
	if err := os.MkdirAll(filepath.Dir(tmp), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tmp, content, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := repo.PlaceVerified(key, tmp); err != nil {
		t.Fatal(err)
	}
	return key
}

// waitFor polls for a condition that another process brings about.
func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		case <-tick.C:
		}
	}
}

// cutReaderAt calls cut when the content is read beyond a point, and gives an error then.
type cutReaderAt struct {
	content []byte
	at      int64
	cut     func()
}

func (r *cutReaderAt) ReadAt(p []byte, offset int64) (int, error) {
	if offset >= r.at {
		r.cut()
		return 0, errors.New("cut")
	}
	return copy(p, r.content[offset:min(offset+int64(len(p)), int64(len(r.content)))]), nil
}

// countReaderAt counts the bytes that are read.
type countReaderAt struct {
	content []byte
	read    int64
}

func (r *countReaderAt) ReadAt(p []byte, offset int64) (int, error) {
	if offset >= int64(len(r.content)) {
		return 0, io.EOF
	}
	n := copy(p, r.content[offset:])
	r.read += int64(n)
	return n, nil
}

// lsRefs reads the advertisement of git-upload-pack, checks that it names the hash, and ends the service in order.
func lsRefs(t *testing.T, conn io.ReadWriteCloser, hash string) {
	t.Helper()
	defer conn.Close()
	r := bufio.NewReader(conn)
	var advertised strings.Builder
	for {
		var size [4]byte
		if _, err := io.ReadFull(r, size[:]); err != nil {
			t.Fatal(err)
		}
		n, err := strconv.ParseUint(string(size[:]), 16, 16)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
		if _, err := io.CopyN(&advertised, r, int64(n)-4); err != nil {
			t.Fatal(err)
		}
	}
	if !strings.Contains(advertised.String(), hash+" refs/heads/main") {
		t.Errorf("advertised:\n%s", advertised.String())
	}
	if _, err := io.WriteString(conn, "0000"); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
		t.Errorf("after the end of the service: %q, %v", rest, err)
	}
}
