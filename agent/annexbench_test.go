package agent_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/git-arbor/arbor/agent"
	"github.com/git-arbor/arbor/agent/status"
	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/gitrepo"
)

const (
	annexedFiles = 100_000 // in the repositories that agents start in
	smallFiles   = 2000    // that are added and got
)

// elsewhere is a repository of git-annex that never comes.
const elsewhere = "6d1e4a52-7a0c-4f0e-9d37-1f5a2b3c4d5e"

// clockTick is what /proc counts processor time in.
const clockTick = 10 * time.Millisecond

// cpu is the processor time that the agent has used, without its children.
func (m *machine) cpu() time.Duration {
	m.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", m.pid))
	if err != nil {
		m.t.Fatal(err)
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	var ticks time.Duration
	for _, field := range fields[11:13] { // utime and stime, proc_pid_stat(5)
		n, err := strconv.Atoi(field)
		if err != nil {
			m.t.Fatal(err)
		}
		ticks += time.Duration(n)
	}
	return ticks * clockTick
}

// memory gives a field of the agent's /proc/PID/status, in MB.
func (m *machine) memory(field string) float64 {
	m.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.pid))
	if err != nil {
		m.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), field+":")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		m.t.Fatal(err)
	}
	return float64(kb) / 1000
}

// idle waits until the agent has used no processor time for a second.
func (m *machine) idle() {
	m.t.Helper()
	used, since := m.cpu(), time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for time.Since(since) < time.Second {
		<-tick.C
		if now := m.cpu(); now > used+clockTick {
			used, since = now, time.Now()
		}
	}
}

// timedGit runs git in the clone, and gives how long it took and its processor time.
func (m *machine) timedGit(args ...string) (wall, cpu time.Duration) {
	m.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = m.dir
	t0 := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		m.t.Fatalf("git %q: %v\n%.2000s", args, err, out)
	}
	return time.Since(t0), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

// fabricate commits annexed files, and makes objects of the contents of the first of them.
func (m *machine) fabricate(files, present int, locked bool) {
	m.t.Helper()
	uuid := m.git("config", "annex.uuid")
	cmd := exec.Command("git", "fast-import", "--quiet", "--force")
	cmd.Dir = m.dir
	in, err := cmd.StdinPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	cmd.Stderr = logWriter{m.t, m.name}
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	var tree, logs bytes.Buffer
	file := func(to *bytes.Buffer, mode gitrepo.Mode, path, content string) {
		fmt.Fprintf(to, "M %o inline %s\ndata %d\n%s\n", uint32(mode), path, len(content), content)
	}
	for i := range files {
		content := fmt.Sprintf("content %d\n", i)
		k := annex.KeyFor(sha256.Sum256([]byte(content)), int64(len(content)), "f.bin", annex.DefaultMaxExtensionLength)
		path := fmt.Sprintf("tree/%04d/%06d.bin", i/100, i)
		if locked {
			file(&tree, gitrepo.ModeSymlink, path, annex.LinkTarget(path, k))
		} else {
			file(&tree, gitrepo.ModeFile, path, string(annex.Pointer(k)))
		}
		log := fmt.Sprintf("1700%06ds 1 %s\n", i, elsewhere)
		if i < present {
			log += fmt.Sprintf("1700%06ds 1 %s\n", i, uuid)
			object := filepath.Join(m.dir, ".git/annex/objects", k.HashDirMixed(), k.File(), k.File())
			if err := os.MkdirAll(filepath.Dir(object), 0o755); err != nil {
				m.t.Fatal(err)
			}
			if err := os.WriteFile(object, []byte(content), 0o444); err != nil {
				m.t.Fatal(err)
			}
		}
		file(&logs, gitrepo.ModeFile, k.HashDirLower()+k.File()+".log", log)
	}
	for ref, changes := range map[string]*bytes.Buffer{m.git("symbolic-ref", "HEAD"): &tree, "refs/heads/git-annex": &logs} {
		fmt.Fprintf(in, "commit %s\ncommitter x <x@arbor.test> 1700000000 +0000\ndata 4\nfill\nfrom %s^0\n", ref, ref)
		if _, err := io.Copy(in, changes); err != nil {
			m.t.Fatal(err)
		}
	}
	if err := in.Close(); err != nil {
		m.t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		m.t.Fatal(err)
	}
	m.git("-c", "filter.annex.process=", "-c", "filter.annex.smudge=", "-c", "filter.annex.required=false", "reset", "-q", "--hard")
}

// knows waits until the agent knows how many contents are wanted and missing, and is done.
func (m *machine) knows(wanted, missing int) {
	m.t.Helper()
	m.eventually("know what is missing", func() error {
		c, err := m.clone()
		if err == nil && (c.State != status.StateOffline && c.State != status.StateInStep && c.State != status.StateFetching ||
			c.Keys.Wanted != wanted || c.Keys.Missing != missing) {
			err = fmt.Errorf("it is %s, of %+v", c.State, c.Keys)
		}
		return err
	})
}

// BenchmarkAnnexStart is the start of an agent in a repository of 100,000 annexed files until it knows what is missing, its
// processor time and memory when it has come to rest, and, beside it, git-annex that finds out the same.
func BenchmarkAnnexStart(b *testing.B) {
	for _, present := range []int{0, annexedFiles / 100, annexedFiles} {
		b.Run(fmt.Sprintf("here=%d", present), func(b *testing.B) {
			m := newNetwork(b).machine(b, "laptop")
			m.init(agent.InitOptions{})
			m.git("commit", "-q", "--allow-empty", "-m", "begin")
			m.fabricate(annexedFiles, present, present == annexedFiles) // unlocked, all would be given to the files first
			m.spawn()
			m.knows(annexedFiles, annexedFiles-present)
			m.idle()
			m.stop()
			for b.Loop() {
				t0 := time.Now()
				m.spawn()
				m.knows(annexedFiles, annexedFiles-present)
				took := time.Since(t0)
				m.idle()
				b.ReportMetric(took.Seconds(), "start-s")
				b.ReportMetric(m.cpu().Seconds(), "cpu-s")
				b.ReportMetric(m.memory("VmRSS"), "RSS-MB")
				b.ReportMetric(m.memory("VmHWM"), "peak-MB")
				m.stop()
				m.timedGit("annex", "find", "tree/0000") // it brings its database up to date
				find, cpu := m.timedGit("annex", "find", "--not", "--in", "here")
				b.ReportMetric(find.Seconds(), "git-annex-s")
				b.ReportMetric(cpu.Seconds(), "git-annex-cpu-s")
				b.ReportMetric(find.Seconds()/took.Seconds(), "times-faster")
			}
		})
	}
}

// smallContents makes files of 10 kB with different contents.
func smallContents(b *testing.B, dir string, n int) {
	b.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.Fatal(err)
	}
	for i := range n {
		sum := sha256.Sum256(fmt.Append(nil, dir, i))
		content := strings.Repeat(hex.EncodeToString(sum[:]), 160)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%04d.bin", i)), []byte(content), 0o644); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAnnexSmall is 2,000 files of 10 kB that are saved on one machine: until they are committed on both, and until all contents
// are on the other and in its files. Beside it, git annex add and git commit of as many, and git annex get in a clone by path. Where much was
// deleted in the last minutes, as by the run before, ext4 looks at all those inodes for each that it makes (find_inode_bit): figures say
// something on a fresh file system only.
func BenchmarkAnnexSmall(b *testing.B) {
	for _, form := range []string{"unlocked", "locked"} {
		b.Run(form, func(b *testing.B) { benchSmall(b, form == "unlocked") })
	}
}

func benchSmall(b *testing.B, unlocked bool) {
	x, y := pair(b, agent.InitOptions{}, 0)
	x.git("config", "annex.largefiles", "anything")
	x.git("config", "annex.addunlocked", strconv.FormatBool(unlocked))
	x.save(".gitignore", "*.tmp\n")
	head := inStep("", x, y)
	for b.Loop() {
		cpuX, cpuY := x.cpu(), y.cpu()
		smallContents(b, x.home+"/small", smallFiles)
		t0 := time.Now()
		if err := os.Rename(x.home+"/small", x.path("small")); err != nil {
			b.Fatal(err)
		}
		listed := func(m *machine) func() error {
			seen := head
			return func() error {
				// Git is not asked again and again: it would take the processor that the agents need.
				at, err := os.ReadFile(m.path(".git/refs/heads/main"))
				if err != nil || string(at) == seen {
					return errors.Join(err, errors.New("nothing new"))
				}
				seen = string(at)
				out, err := m.tryGit("ls-tree", "-r", "--name-only", "HEAD", "small/")
				if n := len(strings.Fields(out)); err == nil && n != smallFiles {
					err = fmt.Errorf("%d files", n)
				}
				return err
			}
		}
		x.eventually("commit", listed(x))
		committed := time.Since(t0)
		y.eventually("have the commit", listed(y))
		told := time.Since(t0)
		y.eventually("have the contents", func() error {
			c, err := y.clone()
			if err == nil && (c.Keys.Wanted != smallFiles || c.Keys.Missing != 0) {
				err = fmt.Errorf("%+v", c.Keys)
			}
			return err
		})
		for i := range smallFiles {
			name := fmt.Sprintf("small/%04d.bin", i)
			want, err := os.ReadFile(x.path(name))
			if err != nil {
				b.Fatal(err)
			}
			readable(b, y.path(name), want, t0)
		}
		got := time.Since(t0)
		head = inStep(head, x, y)
		x.idle()
		y.idle()
		b.ReportMetric(committed.Seconds(), "commit-s")
		b.ReportMetric(told.Seconds(), "told-s")
		b.ReportMetric(got.Seconds(), "got-s")
		b.ReportMetric((x.cpu() - cpuX).Seconds(), "saver-cpu-s")
		b.ReportMetric((y.cpu() - cpuY).Seconds(), "getter-cpu-s")
		b.ReportMetric(y.memory("VmHWM"), "getter-peak-MB")
		x.stop()
		y.stop()

		smallContents(b, x.path("hand"), smallFiles)
		add, addCPU := x.timedGit("annex", "add", "--quiet", "hand")
		commit, _ := x.timedGit("commit", "-q", "-m", "hand")
		by := filepath.Join(b.TempDir(), "by-hand")
		if out, err := exec.Command("git", "clone", "-q", x.dir, by).CombinedOutput(); err != nil {
			b.Fatalf("clone: %v\n%s", err, out)
		}
		z := &machine{t: b, dir: by}
		z.timedGit("annex", "init", "-q")
		get, getCPU := z.timedGit("annex", "get", "--quiet", "hand")
		b.ReportMetric((add + commit).Seconds(), "git-annex-add-s")
		b.ReportMetric(addCPU.Seconds(), "git-annex-add-cpu-s")
		b.ReportMetric(get.Seconds(), "git-annex-get-s")
		b.ReportMetric(getCPU.Seconds(), "git-annex-get-cpu-s")
		b.ReportMetric((add+commit).Seconds()/committed.Seconds(), "add-times-faster")
		b.ReportMetric(get.Seconds()/(got-committed).Seconds(), "get-times-faster")
	}
}
