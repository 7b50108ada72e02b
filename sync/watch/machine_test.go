package watch

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

const ms = time.Millisecond

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// world is a file system of sights: what a look at each path finds from a moment on.
type world struct {
	m     *machine
	now   time.Time
	seen  map[string]sight
	print map[string]fingerprint
	out   []string // "12ms a b", one a batch
	looks int
}

func newWorld() *world {
	return &world{m: newMachine(workTreeTiming), now: epoch, seen: map[string]sight{}, print: map[string]fingerprint{}}
}

func (w *world) sight(p string) sight {
	if s, ok := w.seen[p]; ok {
		return s
	}
	return gone
}

// step answers what is due at this moment.
func (w *world) step() (settled []string) {
	for {
		paths := w.m.due(w.now, 3)
		if len(paths) == 0 {
			break
		}
		for _, p := range paths {
			w.looks++
			w.m.answer(p, w.sight(p), w.print[p], w.now)
		}
	}
	for _, p := range w.m.sweep(w.now) {
		w.m.observe(p, w.print[p], w.now)
	}
	set, rebuilt, flooded := w.m.take()
	settled = slices.Sorted(maps.Keys(set))
	line := slices.Clone(settled)
	for _, d := range slices.Sorted(maps.Keys(rebuilt)) {
		line = append(line, d+"/")
	}
	if flooded {
		line = append(line, "everything")
	}
	if len(line) > 0 {
		w.out = append(w.out, fmt.Sprintf("%dms %s", w.now.Sub(epoch).Milliseconds(), strings.Join(line, " ")))
	}
	return settled
}

// run lets time pass until t, or as long as something is to be done before.
func (w *world) run(t time.Time, each func(settled []string)) {
	for {
		next, ok := w.m.next()
		if !ok || next.After(t) {
			break
		}
		if next.After(w.now) {
			w.now = next
		}
		if settled := w.step(); each != nil {
			each(settled)
		}
	}
	w.now = t
}

func TestMachine(t *testing.T) {
	type step struct {
		at time.Duration
		do func(*world)
	}
	write := func(p string) func(*world) {
		return func(w *world) {
			w.seen[p] = complete
			w.m.touch(p, changed, w.now)
		}
	}
	open := func(p string) func(*world) {
		return func(w *world) {
			w.seen[p] = busy
			w.m.touch(p, changed, w.now)
		}
	}
	is := func(p string, s sight) func(*world) { return func(w *world) { w.seen[p] = s } }
	remove := func(p string) func(*world) {
		return func(w *world) {
			delete(w.seen, p)
			w.m.touch(p, vanished, w.now)
		}
	}
	rename := func(from, to string) func(*world) {
		return func(w *world) {
			w.seen[to] = w.seen[from]
			delete(w.seen, from)
			w.m.touch(from, vanished, w.now)
			w.m.touch(to, changed, w.now)
			w.m.pair(from, to, false, w.now)
		}
	}
	all := func(fs ...func(*world)) func(*world) {
		return func(w *world) {
			for _, f := range fs {
				f(w)
			}
		}
	}
	var often []step
	for i := range 40 {
		often = append(often, step{time.Duration(i) * 50 * ms, write("log")})
	}
	for name, test := range map[string]struct {
		steps []step
		until time.Duration
		want  []string
	}{
		"one write": {
			steps: []step{{0, write("f")}},
			want:  []string{"5ms f"},
		},
		"a copy sets mode and times after": {
			steps: []step{{0, write("f")}, {1 * ms, write("f")}, {3 * ms, write("f")}},
			want:  []string{"8ms f"},
		},
		"many files in one batch": {
			steps: []step{{0, write("b")}, {0, write("a")}, {500 * time.Microsecond, write("c")}},
			want:  []string{"5ms a b c"},
		},
		"open is not taken": {
			steps: []step{{0, open("f")}, {30 * ms, open("f")}, {31 * ms, write("f")}},
			want:  []string{"36ms f"},
		},
		"closed without an event": {
			steps: []step{{0, open("f")}, {22 * ms, is("f", complete)}},
			want:  []string{"25ms f"},
		},
		"closed long after without an event": {
			steps: []step{{0, open("f")}, {10 * time.Second, is("f", complete)}},
			want:  []string{"10194ms f"},
		},
		"a steady stream is taken now and then": {
			steps: often, until: 5 * time.Second,
			want: []string{"5ms log", "105ms log", "305ms log", "705ms log", "1505ms log", "3105ms log"},
		},
		"a person's saves never wait": {
			steps: []step{{0, write("f")}, {500 * ms, write("f")}, {time.Second, write("f")}, {1500 * ms, write("f")}, {2 * time.Second, write("f")}},
			want:  []string{"5ms f", "505ms f", "1005ms f", "1505ms f", "2005ms f"},
		},
		"gone is held": {
			steps: []step{{0, remove("f")}},
			want:  []string{"25ms f"},
		},
		"git checkout deletes and creates": {
			steps: []step{{0, remove("f")}, {2 * ms, write("f")}},
			want:  []string{"7ms f"},
		},
		"a rename goes out in one piece": {
			steps: []step{{0, is("a", complete)}, {0, rename("a", "b")}},
			want:  []string{"5ms a b"},
		},
		"a save by rename": {
			steps: []step{{0, open("f.tmp123")}, {3 * ms, is("f.tmp123", complete)}, {4 * ms, rename("f.tmp123", "f")}},
			want:  []string{"9ms f f.tmp123"},
		},
		"vim moves the old version aside": {
			steps: []step{{0, is("f", complete)}, {0, rename("f", "f~")}, {8 * ms, write("f")}, {9 * ms, remove("f~")}},
			want:  []string{"13ms f", "50ms f~"},
		},
		"a backup that stays": {
			steps: []step{{0, is("f", complete)}, {0, rename("f", "f.bak")}},
			want:  []string{"50ms f f.bak"},
		},
		"deleted after a report": {
			steps: []step{{0, write("f")}, {8 * ms, remove("f")}},
			want:  []string{"5ms f", "105ms f"},
		},
		"a directory in place of what vanished": {
			steps: []step{{0, all(remove("d"), is("d", directory))}},
			want:  []string{"5ms d/"},
		},
		"a directory is not settled": {
			steps: []step{{0, all(write("d"), is("d", directory))}},
		},
		"a pipe in place of a file": {
			steps: []step{{0, all(remove("f"), is("f", special), write("p"), is("p", special))}},
			want:  []string{"5ms f"},
		},
		"what cannot be looked at is not gone": {
			steps: []step{{0, all(remove("f"), is("f", failed))}, {400 * ms, is("f", complete)}},
			want:  []string{"400ms f"},
		},
		"without leases a file must stand still": {
			steps: []step{{0, all(write("f"), is("f", untold))}, {200 * ms, write("f")}, {200 * ms, is("f", untold)}},
			want:  []string{"700ms f"},
		},
		"without leases a changing stat counts like an event": {
			steps: []step{
				{0, all(write("f"), is("f", untold))},
				{400 * ms, func(w *world) { w.print["f"] = fingerprint{size: 1} }},
			},
			want: []string{"1005ms f"},
		},
		"a write through a mapping after a report": {
			steps: []step{{0, write("f")}, {time.Second, func(w *world) { w.print["f"] = fingerprint{mtime: 1} }}},
			until: time.Minute,
			want:  []string{"5ms f", "2010ms f"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			for _, s := range test.steps {
				w.run(epoch.Add(s.at), nil)
				s.do(w)
			}
			until := test.until
			if until == 0 {
				until = 15 * time.Second
			}
			w.run(epoch.Add(until), nil)
			if diff := cmp.Diff(test.want, w.out); diff != "" {
				t.Errorf("settled (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMachineFloodsIntoARescan(t *testing.T) {
	w := newWorld()
	w.m.maxPending = 10
	for i := range 11 {
		w.m.touch(fmt.Sprint(i), changed, w.now)
	}
	w.run(epoch.Add(time.Second), nil)
	w.step()
	w.seen["after"] = complete
	w.m.touch("after", changed, w.now)
	w.run(epoch.Add(2*time.Second), nil)
	if want := []string{"1000ms everything", "1005ms after"}; !slices.Equal(w.out, want) {
		t.Errorf("got %q, want %q", w.out, want)
	}
}

func TestMachineForgets(t *testing.T) {
	w := newWorld()
	for i := range 3 * workTreeTiming.maxRecent {
		p := fmt.Sprint(i)
		w.seen[p] = complete
		w.m.touch(p, changed, w.now)
	}
	w.run(epoch.Add(time.Second), nil)
	if n := len(w.m.paths); n != workTreeTiming.maxRecent {
		t.Errorf("remembers %d paths after the batch, want %d", n, workTreeTiming.maxRecent)
	}
	w.run(epoch.Add(time.Hour), nil)
	if _, ok := w.m.next(); ok || len(w.m.paths) != 0 {
		t.Errorf("an hour later %d paths are left, and a timer: %v", len(w.m.paths), ok)
	}
}

func TestMachineDrops(t *testing.T) {
	w := newWorld()
	for _, p := range []string{"d", "d/a", "d/b/c", "da"} {
		w.seen[p] = complete
		w.m.touch(p, changed, w.now)
	}
	w.m.drop("d", func(string) bool { return true })
	w.run(epoch.Add(time.Second), nil)
	if want := []string{"5ms d da"}; !slices.Equal(w.out, want) {
		t.Errorf("got %q, want %q", w.out, want)
	}
}

// TestMachineAgainstAModel lets programs write, close, delete and rename at random, with the events the kernel would give,
// and checks that nothing is taken early, nothing is missed, and nothing is reported too often.
func TestMachineAgainstAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		type file struct {
			open     int
			version  int // 0: absent
			reported int
			last     time.Time // of the last report
			absent   time.Time
		}
		files := map[string]*file{}
		names := []string{"a", "a~", "b", "c", "dir/a"}
		for _, n := range names {
			files[n] = &file{}
		}
		version := 0
		look := func(n string) {
			f := files[n]
			switch {
			case f.version == 0:
				delete(w.seen, n)
			case f.open > 0:
				w.seen[n] = busy
			default:
				w.seen[n] = complete
			}
			w.print[n] = fingerprint{size: int64(f.version)}
		}
		settled := func(paths []string) {
			for _, p := range paths {
				f := files[p]
				if f.open > 0 {
					t.Fatalf("%v: %s reported while it is open for writing", w.now.Sub(epoch), p)
				}
				if f.version == 0 && w.now.Sub(f.absent) < workTreeTiming.edge*4/5 {
					t.Fatalf("%v: %s reported gone after %v", w.now.Sub(epoch), p, w.now.Sub(f.absent))
				}
				if !f.last.IsZero() && w.now.Sub(f.last) < workTreeTiming.minInterval-workTreeTiming.edge/5 {
					t.Fatalf("%v: %s reported %v after its last report", w.now.Sub(epoch), p, w.now.Sub(f.last))
				}
				f.reported, f.last = f.version, w.now
			}
		}
		pause := rapid.OneOf(
			rapid.Int64Range(0, int64(2*ms)), rapid.Int64Range(0, int64(60*ms)), rapid.Int64Range(0, int64(3*time.Second)))
		for range rapid.IntRange(1, 60).Draw(t, "operations") {
			w.run(w.now.Add(time.Duration(pause.Draw(t, "pause"))), settled)
			n := rapid.SampledFrom(names).Draw(t, "name")
			f := files[n]
			switch rapid.SampledFrom([]string{"open", "write", "close", "remove", "rename", "map"}).Draw(t, "operation") {
			case "open":
				f.open++
				if f.version == 0 {
					version++
					f.version = version
					w.m.touch(n, changed, w.now)
				}
			case "write":
				if f.open == 0 {
					continue
				}
				version++
				f.version = version
				w.m.touch(n, changed, w.now)
			case "close":
				f.open = max(0, f.open-1)
			case "remove":
				if f.version == 0 {
					continue
				}
				*f = file{reported: f.reported, last: f.last, absent: w.now}
				w.m.touch(n, vanished, w.now)
			case "rename":
				to := rapid.SampledFrom(names).Draw(t, "to")
				if f.version == 0 || to == n {
					continue
				}
				g := files[to]
				g.version, g.open = f.version, f.open
				*f = file{reported: f.reported, last: f.last, absent: w.now}
				w.m.touch(n, vanished, w.now)
				w.m.touch(to, changed, w.now)
				w.m.pair(n, to, false, w.now)
				look(to)
			case "map": // changes without an event, seen by the sweep when the path was reported before
				if f.version == 0 || f.last.IsZero() {
					continue
				}
				version++
				f.version = version
			}
			look(n)
		}
		for _, n := range names {
			files[n].open = 0
			look(n)
		}
		w.run(w.now.Add(time.Minute), settled)
		for _, n := range names {
			if f := files[n]; f.reported != f.version {
				t.Fatalf("%s is at version %d and was last reported at %d", n, f.version, f.reported)
			}
		}
		if bound := 200 * 60; w.looks > bound {
			t.Fatalf("%d looks", w.looks)
		}
	})
}

func TestOutbox(t *testing.T) {
	set := func(paths ...string) map[string]struct{} {
		s := map[string]struct{}{}
		for _, p := range paths {
			s[p] = struct{}{}
		}
		return s
	}
	o := outbox{kind: Settled}
	o.settle(set("b", "a"))
	o.settle(set("c", "a"))
	o.tell(Event{Kind: Rescan, Dir: "d", Reason: "one"})
	o.tell(Event{Kind: Limited, Missing: 3})
	o.tell(Event{Kind: Rescan, Dir: "d", Reason: "two"})
	o.tell(Event{Kind: Lost, Dir: "d"})
	o.tell(Event{Kind: Rescan, Dir: "d", Reason: "three"})
	o.tell(Event{Kind: Limited, Missing: 4})
	var got []Event
	for e, ok := o.next(); ok; e, ok = o.next() {
		got = append(got, e)
	}
	want := []Event{
		{Kind: Rescan, Dir: "d", Reason: "one"},
		{Kind: Lost, Dir: "d"},
		{Kind: Rescan, Dir: "d", Reason: "three"},
		{Kind: Limited, Missing: 4},
		{Kind: Settled, Paths: []string{"a", "b", "c"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	for i := range 3 * maxRescans {
		o.tell(Event{Kind: Rescan, Dir: fmt.Sprint(i)})
	}
	if len(o.news) > maxRescans {
		t.Errorf("%d rescans wait", len(o.news))
	}
	if !slices.ContainsFunc(o.news, func(e Event) bool { return e.Dir == "" }) {
		t.Error("too many rescans did not become one of everything")
	}
}

func TestDifference(t *testing.T) {
	print := func(n int64) fingerprint { return fingerprint{size: n} }
	old := []listed{{"a", print(1), false}, {"b", print(1), false}, {"c", print(1), false}, {"d", fingerprint{}, true}, {"e", print(1), false}}
	now := []listed{{"a", print(1), false}, {"aa", print(1), false}, {"c", print(2), false}, {"d", fingerprint{}, true}, {"e", fingerprint{}, true}}
	changed, vanished := difference(old, now)
	var names []string
	for _, l := range changed {
		names = append(names, l.name)
	}
	if want := []string{"aa", "c", "d", "e"}; !slices.Equal(names, want) {
		t.Errorf("changed %q, want %q", names, want)
	}
	if want := []string{"b", "e"}; !slices.Equal(vanished, want) {
		t.Errorf("vanished %q, want %q", vanished, want)
	}
}
