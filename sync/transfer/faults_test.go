package transfer_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/p2p"
	"github.com/git-arbor/arbor/sync/transfer"
)

// scripted is a peer that answers each GET as say does, and everything else well. After an error of say, and after a few
// answers, it vanishes.
func scripted(say func(w io.Writer, offset int64, key annex.Key) error) peer {
	return func(_ context.Context, conn net.Conn) {
		if _, err := io.WriteString(conn, "AUTH-SUCCESS peer\n"); err != nil {
			return
		}
		lines, answers := bufio.NewScanner(conn), 5
		for lines.Scan() {
			verb, rest, _ := strings.Cut(lines.Text(), " ")
			switch verb {
			case "VERSION":
				_, _ = io.WriteString(conn, "VERSION 1\n")
			case "GET":
				var offset int64
				_, _ = fmt.Sscan(rest, &offset)
				words := strings.SplitN(rest, " ", 3)
				key, err := annex.ParseKey(words[2])
				if err != nil || say(conn, offset, key) != nil || answers == 0 {
					return
				}
				answers--
			case "SUCCESS", "FAILURE":
			default:
				_, _ = io.WriteString(conn, "ERROR unknown command\n")
			}
		}
	}
}

// faults are peers that are of no use, by what they do.
func faults(contents map[annex.Key][]byte) map[string]peer {
	rest := func(key annex.Key, offset int64) []byte {
		content := contents[key]
		return content[min(offset, int64(len(content))):]
	}
	return map[string]peer{
		"unreachable": nil,
		"vanishes":    func(context.Context, net.Conn) {},
		"garbage": func(_ context.Context, conn net.Conn) {
			_, _ = conn.Write(random(100_000, 77))
		},
		"refuses": func(_ context.Context, conn net.Conn) {
			_, _ = io.WriteString(conn, "AUTH-FAILURE\n")
			_, _ = io.Copy(io.Discard, conn)
		},
		"says nothing": func(_ context.Context, conn net.Conn) { _, _ = io.Copy(io.Discard, conn) },
		"garbage for content": scripted(func(w io.Writer, _ int64, _ annex.Key) error {
			_, err := w.Write(random(10_000, 78))
			return err
		}),
		"error": scripted(func(w io.Writer, _ int64, _ annex.Key) error {
			_, err := io.WriteString(w, "ERROR not today\n")
			return err
		}),
		"absent": scripted(func(w io.Writer, _ int64, _ annex.Key) error {
			_, err := io.WriteString(w, "DATA 0\nINVALID\n")
			return err
		}),
		"empty and valid": scripted(func(w io.Writer, _ int64, _ annex.Key) error {
			_, err := io.WriteString(w, "DATA 0\nVALID\n")
			return err
		}),
		"wrong bytes": scripted(func(w io.Writer, offset int64, key annex.Key) error {
			bytes := make([]byte, len(rest(key, offset)))
			_, err := fmt.Fprintf(w, "DATA %d\n%sVALID\n", len(bytes), bytes)
			return err
		}),
		"one wrong byte": scripted(func(w io.Writer, offset int64, key annex.Key) error {
			bytes := append([]byte(nil), rest(key, offset)...)
			if len(bytes) > 0 {
				bytes[len(bytes)/2] ^= 1
			}
			_, err := fmt.Fprintf(w, "DATA %d\n%sVALID\n", len(bytes), bytes)
			return err
		}),
		"invalid": scripted(func(w io.Writer, offset int64, key annex.Key) error {
			bytes := rest(key, offset)
			_, err := fmt.Fprintf(w, "DATA %d\n%sINVALID\n", len(bytes), bytes)
			return err
		}),
		"too much": scripted(func(w io.Writer, offset int64, key annex.Key) error {
			bytes := append(rest(key, offset), "more"...)
			_, err := fmt.Fprintf(w, "DATA %d\n%sVALID\n", len(bytes), bytes)
			return err
		}),
		"endless": scripted(func(w io.Writer, _ int64, _ annex.Key) error {
			_, err := io.WriteString(w, "DATA 9223372036854775807\n")
			return err
		}),
		"less": scripted(func(w io.Writer, offset int64, key annex.Key) error {
			bytes := rest(key, offset)
			bytes = bytes[:len(bytes)/2]
			_, err := fmt.Fprintf(w, "DATA %d\n%sVALID\n", len(bytes), bytes)
			return err
		}),
		"half": scripted(func(w io.Writer, offset int64, key annex.Key) error {
			bytes := rest(key, offset)
			_, _ = fmt.Fprintf(w, "DATA %d\n%s", len(bytes), bytes[:len(bytes)/2])
			return io.ErrClosedPipe
		}),
		"half, and wrong": scripted(func(w io.Writer, offset int64, key annex.Key) error {
			n := len(rest(key, offset))
			_, _ = fmt.Fprintf(w, "DATA %d\n%s", n, make([]byte, n/2))
			return io.ErrClosedPipe
		}),
		"no verdict": scripted(func(w io.Writer, offset int64, key annex.Key) error {
			bytes := rest(key, offset)
			_, _ = fmt.Fprintf(w, "DATA %d\n%s", len(bytes), bytes)
			return io.ErrClosedPipe
		}),
	}
}

// TestEachFault: beside one peer of each kind, and first in line, an honest one brings everything.
func TestEachFault(t *testing.T) {
	contents := map[annex.Key][]byte{}
	from := newClone(t)
	for i, size := range []int{0, 1, 1000, 60_000, 2 << 20, 3<<20 + 1} {
		content := random(size, byte(i))
		contents[from.put(t, content)[0]] = content
	}
	for name, fault := range faults(contents) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			to := newClone(t)
			n := newNetwork(t, map[string]peer{"bad": fault, "good": honest(from, p2p.Limits{})})
			n.costs["good"] = 1
			n.silence = 200 * time.Millisecond
			q := startQueue(t, optionsFor(to, n))
			var keys []annex.Key
			for key := range contents {
				keys = append(keys, key)
			}
			q.Add(jobs(keys...)...)
			q.awaitPresent(t, len(keys))
			to.check(t, keys...)
		})
	}
}

// TestFaultsAtRandom: peers that change what they do with every content, and one that is honest now and then.
func TestFaultsAtRandom(t *testing.T) {
	contents := map[annex.Key][]byte{}
	from := newClone(t)
	var keys []annex.Key
	for i, size := range []int{0, 10, 500, 5000, 50_000, 1 << 20, 1<<20 + 500_000} {
		content := random(size, byte(i))
		key := from.put(t, content)[0]
		contents[key] = content
		keys = append(keys, key)
	}
	all := faults(contents)
	var names []string
	for name := range all {
		if name != "says nothing" { // costs a deadline each time
			names = append(names, name)
		}
	}
	serve := honest(from, p2p.Limits{})
	rapid.Check(t, func(rt *rapid.T) {
		behaviours := rapid.SliceOfN(rapid.SampledFrom(names), 1, 12).Draw(rt, "behaviours")
		to := newClone(t)
		n := newNetwork(t, map[string]peer{})
		var turn int
		next := func(ctx context.Context, conn net.Conn) {
			n.mu.Lock()
			p := serve
			if turn < len(behaviours) {
				p = all[behaviours[turn]]
			}
			turn++
			n.mu.Unlock()
			if p != nil {
				p(ctx, conn)
			}
		}
		n.set("a", next)
		n.set("b", next)
		q := startQueue(t, transfer.Options{
			Repo: to.Repo, Holders: each(n.holders), Open: n.dial,
			Retry: transfer.Retry{First: time.Millisecond, Longest: 4 * time.Millisecond},
		})
		q.Add(jobs(keys...)...)
		q.awaitPresent(rt, len(keys))
		q.stop()
		to.check(rt, keys...)
	})
}

// TestTrickle: a peer that is alive but brings nothing to speak of loses to one that does.
func TestTrickle(t *testing.T) {
	from, to := newClone(t), newClone(t)
	keys := from.put(t, random(2<<20, 1))
	trickle := honest(from, p2p.Limits{Up: p2p.NewLimiter(2000)})
	n := newNetwork(t, map[string]peer{"slow": trickle, "good": honest(from, p2p.Limits{})})
	n.costs["good"] = 1
	q := startQueue(t, transfer.Options{Repo: to.Repo, Holders: each(n.holders), Open: n.dial, Patience: 300 * time.Millisecond, Retry: transfer.Retry{First: time.Hour, Longest: time.Hour}})
	q.Add(jobs(keys...)...)
	q.awaitPresent(t, 1)
	to.check(t, keys...)
	if e := q.told(transfer.Present)[0]; e.Clone != "good" {
		t.Errorf("came from %s", e.Clone)
	}
}

// TestHalfIsKept: what a vanished peer brought is not got again.
func TestHalfIsKept(t *testing.T) {
	from, to := newClone(t), newClone(t)
	content := random(4<<20, 1)
	keys := from.put(t, content)
	contents := map[annex.Key][]byte{keys[0]: content}
	var offset int64 = -1
	serve := scripted(func(w io.Writer, at int64, key annex.Key) error {
		offset = at
		_, err := fmt.Fprintf(w, "DATA %d\n%sVALID\n", int64(len(content))-at, content[at:])
		return err
	})
	n := newNetwork(t, map[string]peer{"bad": faults(contents)["half"], "good": serve})
	n.costs["good"] = 1
	q := startQueue(t, transfer.Options{Repo: to.Repo, Holders: each(n.holders), Open: n.dial, Retry: transfer.Retry{First: time.Hour, Longest: time.Hour}})
	q.Add(jobs(keys...)...)
	q.awaitPresent(t, 1)
	to.check(t, keys...)
	if offset != 2<<20 {
		t.Errorf("went on from byte %d", offset)
	}
}
