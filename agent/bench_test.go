package agent_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/git-arbor/arbor/agent"
	"github.com/git-arbor/arbor/agent/status"
)

// readable waits, looking each millisecond, until the file holds these bytes, and returns how long that was since t0.
func readable(b *testing.B, path string, want []byte, t0 time.Time) time.Duration {
	b.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		st, err := os.Stat(path)
		if err == nil && st.Size() == int64(len(want)) {
			now := time.Now()
			if got, err := os.ReadFile(path); err == nil && bytes.Equal(got, want) {
				return now.Sub(t0)
			}
		}
		if time.Since(t0) > patience {
			b.Fatalf("%s does not arrive", path)
		}
		<-tick.C
	}
}

func median(ds []time.Duration) time.Duration {
	slices.Sort(ds)
	return ds[len(ds)/2]
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// inStep waits until both agents are at one commit, another than before, and done with it. It returns the commit.
func inStep(before string, x, y *machine) (head string) {
	x.eventually("be in step", func() error {
		a, err := x.clone()
		if err != nil {
			return err
		}
		b, err := y.clone()
		if err == nil && (a.Head != b.Head || a.Head == before || a.State != status.StateInStep || b.State != status.StateInStep) {
			err = fmt.Errorf("%s is %s at %.8s, %s %s at %.8s", x.name, a.State, a.Head, y.name, b.State, b.Head)
		}
		head = a.Head
		return err
	})
	return head
}

// fill makes n files of 1 KiB in folders of 100.
func fill(b *testing.B, dir string, n int) {
	b.Helper()
	for i := range n {
		path := filepath.Join(dir, fmt.Sprintf("tree/%04d/%06d", i/100, i))
		if i%100 == 0 {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				b.Fatal(err)
			}
		}
		if err := os.WriteFile(path, []byte(strings.Repeat(fmt.Sprintf("%015d\n", i), 64)), 0o644); err != nil {
			b.Fatal(err)
		}
	}
}

// pair starts two machines, each agent in its own process, over ejabberd, whose repository has n files.
func pair(b *testing.B, opt agent.InitOptions, n int) (*machine, *machine) {
	b.Helper()
	net := ejabberd(b)
	x, y := net.machine(b, "laptop"), net.machine(b, "desktop")
	x.init(opt)
	fill(b, x.dir, n)
	if n > 0 {
		x.git("add", ".")
		x.git("commit", "-q", "-m", "fill")
	}
	x.spawn()
	x.online(0)
	y.join(x, agent.JoinOptions{})
	y.spawn()
	x.online(1)
	y.online(1)
	return x, y
}

// BenchmarkSave is the time from the close of a file of 1 KiB on one machine to the same bytes readable on the other, over
// ejabberd on loopback, in repositories of several sizes. Beside it, what a person does by hand: add, commit, push, pull.
func BenchmarkSave(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("files=%d", n), func(b *testing.B) {
			x, y := pair(b, agent.InitOptions{Plain: true}, n)
			const saves = 100
			save := func(name string) time.Duration {
				data := []byte(rand.Text() + strings.Repeat("x", 1024-26))
				x.save(name, string(data))
				return readable(b, y.path(name), data, time.Now())
			}
			var create, modify, busy, hand []time.Duration
			head := ""
			for i := range 5 + saves {
				d := save(fmt.Sprintf("new/%d", i))
				if i >= 5 {
					create = append(create, d)
				}
				head = inStep(head, x, y)
			}
			for i := range saves {
				modify = append(modify, save(fmt.Sprintf("new/%d", i)))
				head = inStep(head, x, y)
			}
			for i := range saves { // each at once after the one before: both agents still write their index
				busy = append(busy, save(fmt.Sprintf("busy/%d", i)))
			}
			x.stop()
			y.stop()
			hand = byHand(b, x, y)
			b.ReportMetric(ms(median(create)), "create-ms")
			b.ReportMetric(ms(median(modify)), "modify-ms")
			b.ReportMetric(ms(median(busy)), "back-to-back-ms")
			b.ReportMetric(ms(median(hand)), "by-hand-ms")
			b.ReportMetric(ms(median(hand))/ms(median(create)), "times-faster")
		})
	}
}

// byHand measures git add, commit, push to a bare repository, pull.
func byHand(b *testing.B, x, y *machine) []time.Duration {
	b.Helper()
	hub := filepath.Join(b.TempDir(), "hub.git")
	if out, err := exec.Command("git", "clone", "-q", "--bare", x.dir, hub).CombinedOutput(); err != nil {
		b.Fatalf("clone: %v\n%s", err, out)
	}
	branch := x.git("symbolic-ref", "--short", "HEAD")
	for _, m := range []*machine{x, y} {
		m.git("remote", "add", "hub", hub)
		m.git("fetch", "-q", "hub")
	}
	var ds []time.Duration
	for i := range 10 {
		name := fmt.Sprintf("hand/%d", i)
		data := []byte(rand.Text())
		x.save(name, string(data))
		t0 := time.Now()
		x.git("add", name)
		x.git("commit", "-q", "-m", name)
		x.git("push", "-q", "hub", branch)
		y.git("pull", "-q", "--no-rebase", "hub", branch)
		ds = append(ds, readable(b, y.path(name), data, t0))
	}
	return ds
}

// BenchmarkBurst is 1,000 files of 1 KiB saved at once.
func BenchmarkBurst(b *testing.B) {
	x, y := pair(b, agent.InitOptions{Plain: true}, 0)
	for b.Loop() {
		want := make(map[string]string)
		for i := range 1000 {
			want[fmt.Sprintf("burst%s/%d/%d", rand.Text()[:6], i/100, i)] = rand.Text() + strings.Repeat("z", 1024-26)
		}
		for name, content := range want {
			x.save(name, content)
		}
		t0 := time.Now()
		for name, content := range want {
			readable(b, y.path(name), []byte(content), t0)
		}
		b.ReportMetric(time.Since(t0).Seconds(), "s/1000-files")
	}
}

// BenchmarkBulk is one file of 1 GiB in the annex, beside cp in the same run.
func BenchmarkBulk(b *testing.B) {
	x, y := pair(b, agent.InitOptions{}, 0)
	const size = 1 << 30
	block := make([]byte, 1<<20)
	for b.Loop() {
		rand.Read(block)
		path := x.path("bulk.bin")
		f, err := os.Create(path)
		if err != nil {
			b.Fatal(err)
		}
		for i := range size / len(block) {
			block[i%len(block)]++
			if _, err := f.Write(block); err != nil {
				b.Fatal(err)
			}
		}
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
		t0 := time.Now()
		y.eventually("get the file", func() error {
			st, err := os.Stat(y.path("bulk.bin"))
			if err == nil && st.Size() != size {
				err = fmt.Errorf("it has %d bytes", st.Size())
			}
			return err
		})
		took := time.Since(t0)
		t0 = time.Now()
		if out, err := exec.Command("cp", "--reflink=never", path, x.home+"/copy").CombinedOutput(); err != nil {
			b.Fatalf("cp: %v\n%s", err, out)
		}
		cp := time.Since(t0)
		if out, err := exec.Command("cmp", path, y.path("bulk.bin")).CombinedOutput(); err != nil {
			b.Fatalf("cmp: %v\n%s", err, out)
		}
		b.ReportMetric(size/1e6/took.Seconds(), "MB/s")
		b.ReportMetric(size/1e6/cp.Seconds(), "cp-MB/s")
		b.ReportMetric(took.Seconds()/cp.Seconds(), "times-cp")
	}
}
