package p2p_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/p2p"
)

// listOf gives the block list of content.
func listOf(t testing.TB, content []byte) *annex.BlockList {
	t.Helper()
	v := keyOf(content).Verifier()
	_, _ = v.Write(content)
	l := v.Blocks()
	if v.Check() != nil || l == nil {
		t.Fatal("no block list")
	}
	return l
}

// relay makes a server that passes on what arrives.
func relay(t testing.TB) *p2p.Server {
	t.Helper()
	s := openServer(t, newRepo(t))
	s.Arrivals = new(p2p.Arrivals)
	return s
}

// feed is content on its way to a clone.
type feed struct {
	more   chan []byte // closed when there is no more
	offset chan int64  // where it is to begin
	done   chan error
}

// errCut ends a feed in the middle.
var errCut = errors.New("cut")

// receive has a clone receive content of the list as it is fed.
func receive(t testing.TB, s *p2p.Server, list *annex.BlockList, via ...string) *feed {
	t.Helper()
	p, err := p2p.OpenPartial(s.Annex, list.Key(), "")
	if err != nil {
		t.Fatal(err)
	}
	f := &feed{make(chan []byte), make(chan int64, 1), make(chan error, 1)}
	go func() {
		err := p.FillBlocks(t.Context(), s.Arrivals, list, via, func(ctx context.Context, offset int64, w io.Writer) error {
			f.offset <- offset
			for {
				select {
				case <-ctx.Done():
					return context.Cause(ctx)
				case b, ok := <-f.more:
					if !ok {
						return nil
					}
					if b == nil {
						return errCut
					}
					if _, err := w.Write(b); err != nil {
						return err
					}
				}
			}
		})
		p.Close()
		f.done <- err
	}()
	return f
}

const mib = annex.BlockSize

func TestBlocksAgainstServer(t *testing.T) {
	s := openServer(t, newRepo(t))
	content := random(3*mib + 5)
	key := hold(t, s.Annex, content)
	c, ctx := dial(t, s, 4), t.Context()
	for _, offset := range []int64{0, 1, mib, 3*mib + 4, 3*mib + 5} {
		o, err := c.Blocks(ctx, key, "f", 0)
		if err != nil {
			t.Fatal(err)
		}
		if len(o.Via) != 1 || o.Via[0] != s.UUID || o.List.Agree(listOf(t, content)) != 4 {
			t.Errorf("offered: via %v, %d blocks", o.Via, o.List.Blocks())
		}
		if _, err := c.CheckPresent(ctx, key); err == nil || c.Err() != nil {
			t.Errorf("a request while an offer is open: %v, session %v", err, c.Err())
		}
		var got bytes.Buffer
		if n, err := o.Get(ctx, offset, &got); err != nil || n != int64(got.Len()) || !bytes.Equal(got.Bytes(), content[offset:]) {
			t.Errorf("from %d: %d bytes, %v", offset, n, err)
		}
		if _, err := o.Get(ctx, offset, &got); err == nil {
			t.Error("an offer was taken twice")
		}
	}
	o, err := c.Blocks(ctx, key, "f", 0)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := o.Decline(ctx); err != nil {
			t.Error(err)
		}
	}
	absent := keyOf(random(2*mib + 1))
	if _, err := c.Blocks(ctx, absent, "f", 0); !errors.Is(err, p2p.ErrAbsent) {
		t.Errorf("Blocks of what is not there: %v", err)
	}
	if _, err := c.Blocks(ctx, hold(t, s.Annex, random(mib)), "f", 0); !errors.Is(err, p2p.ErrUnsupported) {
		t.Errorf("Blocks of a single block: %v", err)
	}
	path, _ := s.Annex.ObjectPath(hold(t, s.Annex, content[1:]))
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content[:len(content)-1], 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Blocks(ctx, keyOf(content[1:]), "f", 0); !errors.Is(err, p2p.ErrAbsent) {
		t.Errorf("Blocks of a rotten object: %v", err)
	}
	if ok, err := c.CheckPresent(ctx, key); !ok || err != nil {
		t.Errorf("the session afterwards: %v, %v", ok, err)
	}
}

// TestPartsAgainstServer asks for parts of a content, out of order and ahead.
func TestPartsAgainstServer(t *testing.T) {
	s := openServer(t, newRepo(t))
	content := random(3*mib + 5)
	key := hold(t, s.Annex, content)
	c, ctx := dial(t, s, 4), t.Context()
	o, err := c.Blocks(ctx, key, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.Next(ctx, io.Discard); err == nil {
		t.Error("nothing was asked for, and came")
	}
	parts := [][2]int64{{2 * mib, 3*mib + 5}, {0, mib}, {mib + 7, 2 * mib}, {5, 5}}
	for _, part := range parts {
		if err := o.Ask(ctx, part[0], part[1]); err != nil {
			t.Fatal(err)
		}
	}
	for _, part := range parts {
		var got bytes.Buffer
		if _, err := o.Next(ctx, &got); err != nil || !bytes.Equal(got.Bytes(), content[part[0]:part[1]]) {
			t.Errorf("part %v: %d bytes, %v", part, got.Len(), err)
		}
	}
	if err := o.Decline(ctx); err != nil {
		t.Error(err)
	}
	if err := o.Ask(ctx, 0, 1); err == nil {
		t.Error("an offer was taken after it was declined")
	}
	if ok, err := c.CheckPresent(ctx, key); !ok || err != nil {
		t.Errorf("the session afterwards: %v, %v", ok, err)
	}
	if o, err = c.Blocks(ctx, key, "", 0); err != nil {
		t.Fatal(err)
	}
	if err := o.Ask(ctx, 0, 4*mib); err != nil { // more than there is
		t.Fatal(err)
	}
	if _, err := o.Next(ctx, io.Discard); !errors.Is(err, p2p.ErrProtocol) || c.Err() == nil {
		t.Errorf("a part that is too short: %v, session %v", err, c.Err())
	}
}

// TestPartsOfArrival: a relay sends a part as it comes.
func TestPartsOfArrival(t *testing.T) {
	s := relay(t)
	content := random(3*mib + 5)
	list := listOf(t, content)
	f := receive(t, s, list)
	<-f.offset
	c, ctx := dial(t, s, 4), t.Context()
	o, err := c.Blocks(ctx, list.Key(), "", 0)
	if err != nil {
		t.Fatal(err)
	}
	f.more <- content[:2*mib+9]
	for _, part := range [][2]int64{{5, mib}, {mib, 2 * mib}} {
		if err := o.Ask(ctx, part[0], part[1]); err != nil {
			t.Fatal(err)
		}
	}
	for _, part := range [][2]int64{{5, mib}, {mib, 2 * mib}} {
		var got bytes.Buffer
		if _, err := o.Next(ctx, &got); err != nil || !bytes.Equal(got.Bytes(), content[part[0]:part[1]]) {
			t.Errorf("part %v: %d bytes, %v", part, got.Len(), err)
		}
	}
	if err := o.Ask(ctx, 2*mib, 3*mib); err != nil {
		t.Fatal(err)
	}
	close(f.more) // and no more comes
	if err := <-f.done; !errors.Is(err, p2p.ErrIncomplete) {
		t.Error(err)
	}
	if _, err := o.Next(ctx, io.Discard); !errors.Is(err, p2p.ErrEnded) {
		t.Errorf("a part that does not come: %v", err)
	}
}

// TestBlocksAgainstGitAnnexShell: git-annex does not know them, and the session goes on.
func TestBlocksAgainstGitAnnexShell(t *testing.T) {
	dir := newAnnex(t)
	content := random(2*mib + 1)
	key := add(t, dir, "f", content)
	c := greeted(t, annexShell(t, dir))
	for range 2 {
		if _, err := c.Blocks(t.Context(), key, "f", time.Second); !errors.Is(err, p2p.ErrUnsupported) || c.Err() != nil {
			t.Errorf("Blocks: %v, session %v", err, c.Err())
		}
	}
	var got bytes.Buffer
	if _, err := c.Get(t.Context(), p2p.GetRequest{Key: key}, &got); err != nil || !bytes.Equal(got.Bytes(), content) {
		t.Errorf("Get: %d bytes, %v", got.Len(), err)
	}
}

// TestCutThrough: what a relay has checked is sent on before the next block is there, and nothing else is.
func TestCutThrough(t *testing.T) {
	s := relay(t)
	content := random(3*mib + 5)
	list := listOf(t, content)
	f := receive(t, s, list, "source")
	if offset := <-f.offset; offset != 0 {
		t.Fatalf("the relay begins at %d", offset)
	}
	o, err := dial(t, s, 4).Blocks(t.Context(), list.Key(), "f", 0)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Join(o.Via, " ") != s.UUID+" source" {
		t.Errorf("via %v", o.Via)
	}
	came := make(chan int, 100)
	var got bytes.Buffer
	done := make(chan error, 1)
	go func() {
		_, err := o.Get(t.Context(), 0, writerFunc(func(b []byte) (int, error) {
			n, err := got.Write(b)
			came <- got.Len()
			return n, err
		}))
		done <- err
	}()
	f.more <- content[:mib+100] // a block and the beginning of the next
	for n := 0; n < mib; {
		n = <-came
		if n > mib {
			t.Fatalf("%d bytes were passed on, of which %d were not checked", n, n-mib)
		}
	}
	if s.Annex.Has(list.Key()) {
		t.Fatal("a part is an object")
	}
	f.more <- content[mib+100 : 2*mib]
	for n := 0; n < 2*mib; n = <-came {
	}
	f.more <- content[2*mib:]
	close(f.more)
	if err := <-f.done; err != nil {
		t.Fatal(err)
	}
	go func() {
		for range came {
			continue // nobody looks any more
		}
	}()
	if err := <-done; err != nil || !bytes.Equal(got.Bytes(), content) {
		t.Errorf("got %d bytes, %v", got.Len(), err)
	}
	if !s.Annex.Has(list.Key()) {
		t.Error("the relay does not have it")
	}
}

// TestWaitsForTheBeginning: who is told that a clone will receive content may ask before it does.
func TestWaitsForTheBeginning(t *testing.T) {
	s := relay(t)
	content := random(2*mib + 5)
	list := listOf(t, content)
	conn, _ := serve(t, s)
	client := talk{t, conn, bufio.NewReader(conn)}
	client.says("ARBOR-BLOCKS 99999999999 f " + list.Key().String())
	client.hears("AUTH-SUCCESS " + s.UUID)
	f := receive(t, s, list, "source")
	client.hears(fmt.Sprint("ARBOR-LIST ", 2*annex.StateSize, " source"))
	_ = conn.Close()
	close(f.more)
	if err := <-f.done; !errors.Is(err, p2p.ErrIncomplete) {
		t.Errorf("the relay: %v", err)
	}
	// Nobody begins.
	_, err := dial(t, relay(t), 4).Blocks(t.Context(), list.Key(), "f", time.Second)
	if !errors.Is(err, p2p.ErrAbsent) {
		t.Errorf("Blocks: %v", err)
	}
}

// TestRelayChangesItsSource: who reads from a relay does not notice.
func TestRelayChangesItsSource(t *testing.T) {
	s := relay(t)
	content := random(3*mib + 5)
	list := listOf(t, content)
	f := receive(t, s, list, "first")
	<-f.offset
	o, err := dial(t, s, 4).Blocks(t.Context(), list.Key(), "f", 0)
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	done := make(chan error, 1)
	go func() {
		_, err := o.Get(t.Context(), 0, &got)
		done <- err
	}()
	f.more <- content[:mib+7]
	f.more <- nil
	if err := <-f.done; !errors.Is(err, errCut) {
		t.Fatal(err)
	}
	f = receive(t, s, list, "second")
	if offset := <-f.offset; offset != mib+7 {
		t.Errorf("the second source is to begin at %d", offset)
	}
	f.more <- content[mib+7:]
	close(f.more)
	if err := errors.Join(<-f.done, <-done); err != nil || !bytes.Equal(got.Bytes(), content) {
		t.Errorf("got %d bytes, %v", got.Len(), err)
	}
}

// TestRelayLosesItsSource: who reads from a relay is told, and the session goes on.
func TestRelayLosesItsSource(t *testing.T) {
	t.Parallel()
	s := relay(t)
	content := random(3*mib + 5)
	list := listOf(t, content)
	f := receive(t, s, list, "source")
	c := dial(t, s, 4)
	<-f.offset
	o, err := c.Blocks(t.Context(), list.Key(), "f", 0)
	if err != nil {
		t.Fatal(err)
	}
	f.more <- content[:2*mib]
	f.more <- nil
	if err := <-f.done; !errors.Is(err, errCut) {
		t.Fatal(err)
	}
	n, err := o.Get(t.Context(), 5, io.Discard)
	if n != 2*mib-5 || !errors.Is(err, p2p.ErrEnded) || c.Err() != nil {
		t.Errorf("Get: %d bytes, %v, session %v", n, err, c.Err())
	}
	if _, err := c.Blocks(t.Context(), list.Key(), "f", 0); !errors.Is(err, p2p.ErrAbsent) {
		t.Errorf("Blocks of what nobody sends: %v", err)
	}
}

// TestCircular: nobody waits for himself.
func TestCircular(t *testing.T) {
	s := relay(t)
	list := listOf(t, random(2*mib+5))
	f := receive(t, s, list, "other", clientUUID, "source")
	<-f.offset
	c := dial(t, s, 4)
	if _, err := c.Blocks(t.Context(), list.Key(), "f", 0); !errors.Is(err, p2p.ErrCircular) {
		t.Errorf("Blocks: %v", err)
	}
	if _, err := c.CheckPresent(t.Context(), list.Key()); err != nil {
		t.Errorf("the session afterwards: %v", err)
	}
	close(f.more)
	if err := <-f.done; !errors.Is(err, p2p.ErrIncomplete) {
		t.Error(err)
	}
}

// TestSignsOfLife: a relay that has nothing to send is not silent.
func TestSignsOfLife(t *testing.T) {
	s := relay(t)
	s.Silence = 200 * time.Millisecond
	content := random(2*mib + 5)
	list := listOf(t, content)
	conn, _ := serve(t, s)
	client := talk{t, conn, bufio.NewReader(conn)}
	client.says("ARBOR-BLOCKS 30 f " + list.Key().String())
	client.hears("AUTH-SUCCESS " + s.UUID)
	longer := 2 * 4 // than the server waits for anybody
	for range longer {
		client.hears("DATA 0")
	}
	f := receive(t, s, list)
	client.hearsOf(list.Bytes(), fmt.Sprint("ARBOR-LIST ", len(list.Bytes())))
	client.says("ARBOR-FROM 1")
	for range longer {
		client.hears("DATA 0")
	}
	f.more <- content[:mib]
	client.hearsOf(content[1:mib], fmt.Sprint("DATA ", mib-1))
	close(f.more)
	if err := <-f.done; !errors.Is(err, p2p.ErrIncomplete) {
		t.Error(err)
	}
}

// talk is a client that is told what to say.
type talk struct {
	t    *testing.T
	conn io.ReadWriter
	r    *bufio.Reader
}

func (c talk) says(line string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, line+"\n"); err != nil {
		c.t.Fatal(err)
	}
}

func (c talk) hears(line string) {
	c.t.Helper()
	if got, err := c.r.ReadString('\n'); err != nil || got != line+"\n" {
		c.t.Fatalf("heard %q, %v; want %q", got, err, line)
	}
}

// hearsOf skips signs of life, and hears a line and bytes.
func (c talk) hearsOf(data []byte, line string) {
	c.t.Helper()
	const life = "DATA 0\n"
	for {
		if next, err := c.r.Peek(len(life)); err != nil || string(next) != life {
			break
		}
		_, _ = c.r.Discard(len(life))
	}
	c.hears(line)
	got := make([]byte, len(data))
	if _, err := io.ReadFull(c.r, got); err != nil || !bytes.Equal(got, data) {
		c.t.Fatalf("other bytes after %q, %v", line, err)
	}
}

// TestBlockListIsBounded: a list of another length than the key's is not read.
func TestBlockListIsBounded(t *testing.T) {
	key := keyOf(random(3*mib + 5))
	for _, answer := range []string{"ARBOR-LIST 0", "ARBOR-LIST 95", "ARBOR-LIST 128", "ARBOR-LIST 9223372036854775807", "DATA 5", "SUCCESS", "nonsense"} {
		c, err := p2p.NewClient(t.Context(), canned{strings.NewReader("AUTH-SUCCESS u\nVERSION 4\n" + answer + "\n" + strings.Repeat("x", 1000)), io.Discard},
			p2p.ClientOptions{Self: "me", Greeted: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Blocks(t.Context(), key, "f", 0); !errors.Is(err, p2p.ErrProtocol) {
			t.Errorf("after %q: %v", answer, err)
		}
	}
}
