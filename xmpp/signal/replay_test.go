package signal_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/git-arbor/arbor/xmpp/signal"
)

func numbered(clone string, epoch, seq uint64, vector bool) signal.Signal {
	s := signal.Signal{Clone: clone, Epoch: epoch, Seq: seq, Body: signal.SyncRequest{}}
	if vector {
		s.Body = signal.Vector{}
	}
	return s
}

func TestReplay(t *testing.T) {
	type step struct {
		epoch, seq uint64
		vector     bool
		want       bool
	}
	tests := []struct {
		name  string
		steps []step
	}{
		{"once", []step{{1, 1, false, true}, {1, 1, false, false}}},
		{"overtaken message", []step{{1, 5, false, true}, {1, 4, false, true}, {1, 4, false, false}}},
		{"overtaken vector", []step{{1, 5, false, true}, {1, 4, true, true}, {1, 6, true, true}, {1, 5, true, false}}},
		{"last vector again", []step{{1, 9, true, true}, {1, 80, false, true}, {1, 9, true, true}, {1, 10, true, false}}},
		{"stale vector", []step{{1, 9, true, true}, {1, 8, true, false}, {1, 8, false, true}}},
		{"last value again", []step{{1, 9, true, true}, {1, 9, true, true}}},
		{"window", []step{{1, 100, false, true}, {1, 37, false, true}, {1, 36, false, false}, {1, 37, false, false}}},
		{"far ahead", []step{{1, 1, false, true}, {1, 1 << 60, false, true}, {1, 2, false, false}, {1, 1<<60 - 1, false, true}}},
		{"new epoch", []step{{1, 50, true, true}, {2, 1, true, true}, {1, 51, true, false}, {2, 1, true, true}}},
		{"never 0", []step{{1, 0, false, false}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var r signal.Replay
			for i, s := range tt.steps {
				if got := r.Accept(numbered("c", s.epoch, s.seq, s.vector)); got != s.want {
					t.Errorf("step %d %+v: accepted %v", i, s, got)
				}
			}
		})
	}
}

func TestReplayTellsDevicesAndClonesApart(t *testing.T) {
	var r signal.Replay
	a, b, c := numbered("x", 1, 1, false), numbered("y", 1, 1, false), numbered("x", 1, 1, false)
	c.Device = [32]byte{1}
	for i, s := range []signal.Signal{a, b, c} {
		if !r.Accept(s) {
			t.Errorf("signal %d was taken for another", i)
		}
	}
}

func TestReplayBoundsClones(t *testing.T) {
	var r signal.Replay
	for i := range 100 {
		if !r.Accept(numbered(fmt.Sprint(i), uint64(i+1), 1, false)) {
			t.Fatalf("clone %d refused", i)
		}
	}
	for i := range 100 {
		if r.Accept(numbered(fmt.Sprint(i), uint64(i+1), 1, false)) {
			t.Fatalf("signal of clone %d was accepted again", i)
		}
	}
}

// Whatever the order, the repetitions and the restarts in between: no signal is
// accepted twice but the last vector, and no vector after a newer one.
func TestReplayNeverTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := new(signal.Replay)
		type id struct {
			clone      string
			epoch, seq uint64
		}
		accepted := map[id]bool{}
		last := map[string]id{}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			if rapid.IntRange(0, 9).Draw(t, "restart") == 0 {
				data, err := r.MarshalBinary()
				if err != nil {
					t.Fatal(err)
				}
				r = new(signal.Replay)
				if err := r.UnmarshalBinary(data); err != nil {
					t.Fatal(err)
				}
			}
			i := id{
				clone: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "clone"),
				epoch: rapid.Uint64Range(0, 3).Draw(t, "epoch"), seq: rapid.Uint64Range(1, 90).Draw(t, "seq"),
			}
			vector := i.seq%3 == 0
			if !r.Accept(numbered(i.clone, i.epoch, i.seq, vector)) {
				continue
			}
			if accepted[i] && (!vector || last[i.clone] != i) {
				t.Fatalf("%+v accepted twice", i)
			}
			accepted[i] = true
			if p := last[i.clone]; vector && (i.epoch < p.epoch || i.epoch == p.epoch && i.seq < p.seq) {
				t.Fatalf("vector %+v accepted after %+v", i, p)
			}
			if vector {
				last[i.clone] = i
			}
		}
	})
}

func TestReplayForget(t *testing.T) {
	var r signal.Replay
	s := numbered("c", 1, 1, false)
	r.Accept(s)
	r.Forget(s.Device)
	if !r.Accept(s) {
		t.Error("still remembered")
	}
}

func TestCounter(t *testing.T) {
	c := signal.NewCounter(7)
	for want := uint64(1); want < 4; want++ {
		if epoch, seq := c.Next(); epoch != 7 || seq != want {
			t.Errorf("got %d.%d, want 7.%d", epoch, seq, want)
		}
	}
}

func FuzzReplayUnmarshal(f *testing.F) {
	var r signal.Replay
	r.Accept(numbered("c", 1, 1, true))
	data, err := r.MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte{0xa1, 0x40, 0xf6})
	f.Fuzz(func(t *testing.T, data []byte) {
		var r signal.Replay
		if r.UnmarshalBinary(data) == nil {
			r.Accept(numbered("c", 2, 1, false))
			r.Accept(numbered("d", 2, 1, false))
		}
	})
}
