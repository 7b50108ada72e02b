package p2p_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/gitrepo"
	"github.com/git-arbor/arbor/sync/p2p"
)

// openServer makes the server of a repository.
func openServer(t testing.TB, dir string) *p2p.Server {
	t.Helper()
	git, err := gitrepo.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := newServer(t.Context(), git)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.Annex.Close()
		_ = git.Close()
	})
	return s
}

// serve gives the client's end of a session with the server, and what the server's end comes to.
func serve(t testing.TB, s *p2p.Server) (net.Conn, <-chan error) {
	t.Helper()
	mine, theirs := p2p.SocketPair(t)
	done := make(chan error, 1)
	go func() { done <- s.ServeAuthed(t.Context(), theirs, clientUUID) }()
	return mine, done
}

// awaitEnd waits for the end of a session, whichever it is.
func awaitEnd(t *testing.T, done <-chan error) {
	t.Helper()
	if err := <-done; err != nil {
		t.Logf("the server's end of the session: %v", err)
	}
}

// dial gives a session of our client with our server.
func dial(t testing.TB, s *p2p.Server, version int64) *p2p.Client {
	t.Helper()
	conn, _ := serve(t, s)
	c, err := p2p.NewClient(t.Context(), conn, p2p.ClientOptions{Self: clientUUID, Greeted: true, Version: version})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestClientAgainstServer(t *testing.T) {
	s := openServer(t, newRepo(t))
	content := random(700_000)
	held := hold(t, s.Annex, content)
	for version := int64(1); version <= p2p.MaxVersion; version++ {
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			c, ctx := dial(t, s, version), t.Context()
			if c.Version() != int(version) || c.Peer() != s.UUID {
				t.Errorf("version %d, peer %s", c.Version(), c.Peer())
			}
			var got bytes.Buffer
			if _, err := c.Get(ctx, p2p.GetRequest{Key: held, Offset: 5}, &got); err != nil || !bytes.Equal(got.Bytes(), content[5:]) {
				t.Errorf("Get: %d bytes, %v", got.Len(), err)
			}
			more := random(100_000 + int(version))
			key := keyOf(more)
			if _, err := c.Get(ctx, p2p.GetRequest{Key: key}, io.Discard); !errors.Is(err, p2p.ErrAbsent) {
				t.Errorf("Get of absent content: %v", err)
			}
			put := p2p.PutRequest{Key: key, Size: int64(len(more)), Content: bytes.NewReader(more)}
			for range 2 {
				if _, err := c.Put(ctx, put); err != nil {
					t.Errorf("Put: %v", err)
				}
			}
			wrong := p2p.PutRequest{Key: keyOf([]byte("abc")), Size: 3, Content: strings.NewReader("xyz")}
			if _, err := c.Put(ctx, wrong); !errors.Is(err, p2p.ErrFailed) {
				t.Errorf("Put of wrong content: %v", err)
			}
			if version >= 2 {
				if err := c.Bypass(ctx, []string{"a", "b"}); err != nil {
					t.Errorf("Bypass: %v", err)
				}
			}
			now, err := c.Timestamp(ctx)
			if version < 3 {
				if !errors.Is(err, p2p.ErrUnsupported) {
					t.Errorf("Timestamp: %v", err)
				}
				if _, err := c.Remove(ctx, key); err != nil {
					t.Errorf("Remove: %v", err)
				}
			} else {
				if err != nil {
					t.Errorf("Timestamp: %v", err)
				}
				if _, err := c.RemoveBefore(ctx, key, now); !errors.Is(err, p2p.ErrFailed) {
					t.Errorf("RemoveBefore, too late: %v", err)
				}
				if _, err := c.RemoveBefore(ctx, key, now+3600); err != nil {
					t.Errorf("RemoveBefore: %v", err)
				}
			}
			if ok, err := c.CheckPresent(ctx, key); ok || err != nil {
				t.Errorf("CheckPresent after removal: %v, %v", ok, err)
			}
			if c.Err() != nil {
				t.Errorf("session: %v", c.Err())
			}
		})
	}
}

// converse sends lines, and checks that the answers are these, in order.
func converse(t *testing.T, conn net.Conn, lines, answers []string) {
	t.Helper()
	if _, err := io.WriteString(conn, strings.Join(lines, "\n")+"\n"); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	for _, want := range answers {
		got, err := r.ReadString('\n')
		if err != nil || got != want+"\n" {
			t.Fatalf("answer %q, %v; want %q", got, err, want)
		}
	}
}

func TestServerTranscripts(t *testing.T) {
	s := openServer(t, newRepo(t))
	key := hold(t, s.Annex, []byte("hello\n")).String()
	absent := keyOf([]byte("absent")).String()
	greeting := "AUTH-SUCCESS " + s.UUID
	readOnly, appendOnly, plain := *s, *s, *s
	readOnly.ReadOnly = true
	appendOnly.Remove = nil
	plain.Annex = nil
	for _, test := range []struct {
		name           string
		s              *p2p.Server
		lines, answers []string
		closed         bool // the server has closed after this
	}{
		// As recorded from git-annex-shell 10.20230126, but for the versions above 1.
		{"version 0", s, []string{"GET 2  " + key, "SUCCESS", "CHECKPRESENT " + key}, []string{greeting, "DATA 4", "llo", "SUCCESS"}, false},
		{"version 1", s, []string{"VERSION 1", "GET 0 f " + key, "SUCCESS"}, []string{greeting, "VERSION 1", "DATA 6", "hello", "VALID"}, false},
		{"version 9", s, []string{"VERSION 9"}, []string{greeting, "VERSION 4"}, false},
		{"absent", s, []string{"VERSION 1", "GET 0 f " + absent, "FAILURE", "CHECKPRESENT " + absent}, []string{greeting, "VERSION 1", "DATA 0", "INVALID", "FAILURE"}, false},
		{"beyond the end", s, []string{"VERSION 1", "GET 7 f " + key, "SUCCESS"}, []string{greeting, "VERSION 1", "DATA 0", "VALID"}, false},
		{"unknown", s, []string{"HELLO", "GET x y", "CHECKPRESENT " + key}, []string{greeting, "ERROR unknown command", "ERROR unknown command", "SUCCESS"}, false},
		{"unexpected", s, []string{"SUCCESS", "DATA 0", "CHECKPRESENT " + key}, []string{greeting, "ERROR unexpected command", "ERROR unexpected command", "SUCCESS"}, false},
		{"error of the client", s, []string{"ERROR I am lost", "CHECKPRESENT " + key}, []string{greeting}, true},
		{"lock", s, []string{"LOCKCONTENT " + key, "UNLOCKCONTENT", "LOCKCONTENT " + absent, "CHECKPRESENT " + key}, []string{greeting, "SUCCESS", "FAILURE", "SUCCESS"}, false},
		{"wrong unlock", s, []string{"LOCKCONTENT " + key, "UNLOCKCONTENT " + key, "CHECKPRESENT " + key}, []string{greeting, "SUCCESS", "ERROR expected UNLOCKCONTENT", "SUCCESS"}, false},
		{"notify", s, []string{"NOTIFYCHANGE", "CHECKPRESENT " + key}, []string{greeting, "ERROR change notification not available", "SUCCESS"}, false},
		{"put what is here", s, []string{"PUT f " + key}, []string{greeting, "ALREADY-HAVE"}, false},
		{"put without data", s, []string{"PUT f " + absent, "SUCCESS", "CHECKPRESENT " + key}, []string{greeting, "PUT-FROM 0", "ERROR expected DATA", "SUCCESS"}, false},
		{"put by another way", s, []string{"VERSION 4", "PUT f " + absent, "DATA-PRESENT", "CHECKPRESENT " + key}, []string{greeting, "VERSION 4", "PUT-FROM 0", "FAILURE", "SUCCESS"}, false},
		{"put by another way, too early", s, []string{"VERSION 3", "PUT f " + absent, "DATA-PRESENT"}, []string{greeting, "VERSION 3", "PUT-FROM 0", "ERROR expected DATA"}, false},
		{"put too much", s, []string{"PUT f " + absent, "DATA 1000000000000"}, []string{greeting, "PUT-FROM 0"}, true},
		{"remove what is gone", s, []string{"REMOVE " + absent}, []string{greeting, "SUCCESS"}, false},
		{"read-only", &readOnly, []string{"PUT f " + absent, "REMOVE " + key, "CHECKPRESENT " + key}, []string{
			greeting, "ERROR this repository is read-only; write access denied",
			"ERROR this repository is read-only; write access denied", "SUCCESS",
		}, false},
		{"append-only", &appendOnly, []string{"REMOVE " + key, "CHECKPRESENT " + key}, []string{greeting, "ERROR this repository is append-only; removal denied", "SUCCESS"}, false},
		{"no annex", &plain, []string{"CHECKPRESENT " + key, "PUT f " + key, "LOCKCONTENT " + key, "VERSION 1", "GET 0 f " + key, "FAILURE"}, []string{
			greeting, "FAILURE", "ERROR this repository has no annex", "FAILURE", "VERSION 1", "DATA 0", "INVALID",
		}, false},
		{"no receive-pack", s, []string{"CONNECT git-receive-pack"}, []string{greeting, "ERROR this repository does not serve git-receive-pack"}, true},
		{"no such service", s, []string{"CONNECT sh"}, []string{greeting, "ERROR this repository does not serve sh"}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			conn, done := serve(t, test.s)
			converse(t, conn, test.lines, test.answers)
			if test.closed {
				if rest, err := io.ReadAll(conn); len(rest) > 0 && err == nil {
					t.Errorf("said after the end: %q", rest)
				}
			}
			_ = conn.Close()
			awaitEnd(t, done)
		})
	}
}

func TestServeAuth(t *testing.T) {
	s := openServer(t, newRepo(t))
	refused := errors.New("no such clone")
	choose := func(client, token string) (*p2p.Server, error) {
		if client != clientUUID || token != s.UUID {
			return nil, refused
		}
		return s, nil
	}
	begin := func() (net.Conn, <-chan error) {
		mine, theirs := p2p.SocketPair(t)
		done := make(chan error, 1)
		go func() { done <- p2p.ServeAuth(t.Context(), theirs, p2p.AuthOptions{}, choose) }()
		return mine, done
	}

	conn, _ := begin()
	c, err := p2p.NewClient(t.Context(), conn, p2p.ClientOptions{Self: clientUUID, Token: s.UUID})
	if err != nil || c.Peer() != s.UUID {
		t.Fatalf("NewClient: %v", err)
	}
	_ = c.Close()

	conn, _ = begin()
	if _, err := p2p.NewClient(t.Context(), conn, p2p.ClientOptions{Self: clientUUID, Token: "other"}); !errors.Is(err, p2p.ErrRefused) {
		t.Errorf("a wrong token: %v", err)
	}

	conn, done := begin()
	key := keyOf(nil).String()
	converse(t, conn, []string{"CHECKPRESENT " + key, "AUTH a b", "AUTH c d", "AUTH " + clientUUID + " " + s.UUID},
		[]string{"ERROR unexpected command", "AUTH-FAILURE", "AUTH-FAILURE"})
	if err := <-done; !errors.Is(err, p2p.ErrRefused) {
		t.Errorf("after three tries: %v", err)
	}

	conn, done = begin()
	converse(t, conn, []string{"AUTH " + clientUUID + " " + s.UUID, "CHECKPRESENT " + key}, []string{"AUTH-SUCCESS " + s.UUID, "FAILURE"})
	_ = conn.Close()
	if err := <-done; err != nil {
		t.Errorf("after an orderly end: %v", err)
	}
}

// TestPutResumes: what came before the client vanished is the beginning of the next try, whatever the client was.
func TestPutResumes(t *testing.T) {
	s := openServer(t, newRepo(t))
	content := random(3 << 20)
	key := keyOf(content)
	tmp := s.Annex.TmpPath(key)
	const part = 2 << 20

	conn, done := serve(t, s)
	converse(t, conn, []string{"VERSION 1", "PUT f " + key.String()}, []string{"AUTH-SUCCESS " + s.UUID, "VERSION 1", "PUT-FROM 0"})
	fmt.Fprintf(conn, "DATA %d\n", len(content))
	_, _ = conn.Write(content[:part])
	_ = conn.Close()
	if err := <-done; err == nil {
		t.Error("the server took half a file for an orderly end")
	}
	if fi, err := os.Stat(tmp); err != nil || fi.Size() != part {
		t.Fatalf("kept: %v, %v", fi, err)
	}
	if s.Annex.Has(key) {
		t.Fatal("half a file was placed")
	}

	rest := &countReaderAt{content: content}
	if _, err := dial(t, s, 1).Put(t.Context(), p2p.PutRequest{Key: key, Size: int64(len(content)), Content: rest}); err != nil {
		t.Fatal(err)
	}
	if rest.read != int64(len(content)-part) {
		t.Errorf("%d bytes were sent again", rest.read-int64(len(content)-part))
	}
	path, present := s.Annex.ObjectPath(key)
	if got, err := os.ReadFile(path); !present || err != nil || !bytes.Equal(got, content) {
		t.Errorf("placed: %d bytes, %v", len(got), err)
	}
	if _, err := os.Stat(tmp); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the temporary file is still there: %v", err)
	}
}

// TestWrongBeginningIsDiscarded: a beginning that is not the content's costs one try.
func TestWrongBeginningIsDiscarded(t *testing.T) {
	s := openServer(t, newRepo(t))
	content := random(2 << 20)
	key := keyOf(content)
	if err := os.MkdirAll(filepath.Dir(s.Annex.TmpPath(key)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.Annex.TmpPath(key), make([]byte, 1<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	c := dial(t, s, 4)
	put := p2p.PutRequest{Key: key, Size: int64(len(content)), Content: bytes.NewReader(content)}
	if _, err := c.Put(t.Context(), put); !errors.Is(err, p2p.ErrFailed) || s.Annex.Has(key) {
		t.Errorf("Put after a wrong beginning: %v", err)
	}
	if _, err := c.Put(t.Context(), put); err != nil || !s.Annex.Has(key) {
		t.Errorf("Put again: %v", err)
	}
}

// TestOneAtATime: a key is received by one session alone.
func TestOneAtATime(t *testing.T) {
	s := openServer(t, newRepo(t))
	content := random(1000)
	key := keyOf(content)
	first, done := serve(t, s)
	converse(t, first, []string{"PUT f " + key.String()}, []string{"AUTH-SUCCESS " + s.UUID, "PUT-FROM 0"})
	put := p2p.PutRequest{Key: key, Size: int64(len(content)), Content: bytes.NewReader(content)}
	c := dial(t, s, 1)
	var refusal *p2p.RemoteError
	if _, err := c.Put(t.Context(), put); !errors.As(err, &refusal) {
		t.Errorf("a second Put: %v", err)
	}
	_ = first.Close()
	awaitEnd(t, done)
	if _, err := c.Put(t.Context(), put); err != nil {
		t.Errorf("Put when the other is gone: %v", err)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(s.Annex.TmpPath(key)), "../transfer/download/*/*"))
	if err != nil || len(left) > 0 {
		t.Errorf("locks are left: %v, %v", left, err)
	}
}

func TestNoRoom(t *testing.T) {
	dir := newRepo(t)
	git(t, dir, "config", "annex.diskreserve", "1000 petabytes")
	s := openServer(t, dir)
	content := random(1000)
	c := dial(t, s, 1)
	if _, err := c.Put(t.Context(), p2p.PutRequest{Key: keyOf(content), Size: 1000, Content: bytes.NewReader(content)}); err == nil {
		t.Error("Put with no room")
	}
	if s.Annex.Has(keyOf(content)) {
		t.Error("content was placed with no room")
	}
}

// TestChangedWhileSent: content that is written to meanwhile, as annex.thin allows, is not called valid.
func TestChangedWhileSent(t *testing.T) {
	s := openServer(t, newRepo(t))
	s.Limits.Up = p2p.NewLimiter(8 << 20)
	key := hold(t, s.Annex, random(2<<20))
	path, _ := s.Annex.ObjectPath(key)
	c := dial(t, s, 1)
	_, err := c.Get(t.Context(), p2p.GetRequest{Key: key}, writerFunc(func(p []byte) (int, error) {
		if err := os.Chmod(path, 0o644); err != nil {
			return 0, err
		}
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			return 0, err
		}
		defer file.Close()
		_, err = file.Write([]byte("x"))
		return len(p), err
	}))
	if !errors.Is(err, p2p.ErrChanged) || c.Err() != nil {
		t.Errorf("Get: %v, session %v", err, c.Err())
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestLockOutlivesTheSession: from version 3 on, a client may count on a lock although the line broke.
func TestLockOutlivesTheSession(t *testing.T) {
	dir := newAnnex(t)
	key := add(t, dir, "f", random(1000))
	dropped := func() bool {
		cmd := exec.Command("git", "annex", "drop", "--force", "f")
		cmd.Dir, cmd.Env = dir, gitEnv(t)
		return cmd.Run() == nil
	}
	s := openServer(t, dir)
	lock := func(version string) (cancel func(), done <-chan error) {
		mine, theirs := p2p.SocketPair(t)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.ServeAuthed(ctx, theirs, clientUUID) }()
		converse(t, mine, []string{"VERSION " + version, "LOCKCONTENT " + key.String()}, []string{"AUTH-SUCCESS " + s.UUID, "VERSION " + version, "SUCCESS"})
		_ = mine.Close()
		return cancel, ended
	}
	end, done := lock("3")
	if dropped() {
		t.Fatal("dropped although it was locked")
	}
	end()
	awaitEnd(t, done)
	if _, err := s.Annex.LockForRemoval(key); !errors.Is(err, annex.ErrInUse) {
		t.Errorf("removal after the server has ended: %v", err)
	}
	_, done = lock("2")
	awaitEnd(t, done)
	if !dropped() {
		t.Fatal("not dropped although the session of version 2 was over")
	}
}

func TestConnect(t *testing.T) {
	dir := newAnnex(t)
	add(t, dir, "f", random(1000))
	s := openServer(t, dir)
	conn, err := dial(t, s, 1).Connect(t.Context(), p2p.UploadPack)
	if err != nil {
		t.Fatal(err)
	}
	lsRefs(t, conn, git(t, dir, "rev-parse", "main"))
}

// TestConnectCarriesMuch: both directions at once, and the exit code at the end.
func TestConnectCarriesMuch(t *testing.T) {
	for _, code := range []int{0, 3} {
		s := &p2p.Server{UUID: "u", Log: openServer(t, newRepo(t)).Log, Receive: func(_ context.Context, conn io.ReadWriteCloser) error {
			n, err := io.CopyN(conn, conn, 5<<20)
			if err != nil {
				return fmt.Errorf("after %d bytes: %w", n, err)
			}
			if code != 0 {
				return exec.Command("sh", "-c", fmt.Sprint("exit ", code)).Run()
			}
			return conn.Close()
		}}
		conn, err := dial(t, s, 1).Connect(t.Context(), p2p.ReceivePack)
		if err != nil {
			t.Fatal(err)
		}
		content := random(5 << 20)
		sent := make(chan error, 1)
		go func() {
			_, err := conn.Write(content)
			sent <- err
		}()
		got, err := io.ReadAll(conn)
		if sendErr := <-sent; sendErr != nil || !bytes.Equal(got, content) {
			t.Errorf("%d bytes came back, %v", len(got), sendErr)
		}
		if code == 0 && err != nil || code != 0 && (err == nil || !strings.Contains(err.Error(), fmt.Sprint("code ", code))) {
			t.Errorf("exit code %d: %v", code, err)
		}
		_ = conn.Close()
	}
}

// TestStallingClient: a client that stops within a request, or asks nothing for long, is let go.
func TestStallingClient(t *testing.T) {
	s := openServer(t, newRepo(t))
	s.Silence, s.Idle = 50*time.Millisecond, 50*time.Millisecond
	content := random(1000)
	for _, lines := range [][]string{nil, {"VERSION 1", "PUT f " + keyOf(content).String(), "DATA 1000", "half"}, {"CHECKPRES"}} {
		conn, done := serve(t, s)
		_, _ = io.WriteString(conn, strings.Join(lines, "\n"))
		if err := <-done; !errors.Is(err, p2p.ErrSilent) {
			t.Errorf("after %q: %v", lines, err)
		}
	}
}
