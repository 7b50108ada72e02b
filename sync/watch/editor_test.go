package watch

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestEditorSavesAreOneChange(t *testing.T) {
	tool := func(name string, args ...string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			if _, err := exec.LookPath(name); err != nil {
				t.Fatalf("install %s: %v", name, err)
			}
			cmd := exec.CommandContext(t.Context(), name, args...)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "HOME="+dir, "GIT_CONFIG_NOSYSTEM=1", "LC_ALL=C")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", name, err, out)
			}
		}
	}
	for name, save := range map[string]func(t *testing.T, dir string){
		"vim with a backup": tool("vim", "-N", "-u", "NONE", "-n", "-es",
			"-c", "set nocp wb nobk backupcopy=no bdir=.", "-c", "%s/.*/vim/", "-c", "wq", "f"),
		"vim's steps": func(t *testing.T, dir string) {
			in := func(n string) string { return filepath.Join(dir, n) }
			must(t, os.WriteFile(in("4913"), nil, 0o644))
			must(t, os.Chmod(in("4913"), 0o644))
			must(t, os.Remove(in("4913")))
			must(t, os.Rename(in("f"), in("f~")))
			f, err := os.OpenFile(in("f"), os.O_CREATE|os.O_WRONLY, 0o644)
			must(t, err)
			_, err = f.WriteString("new")
			must(t, err)
			must(t, f.Sync())
			must(t, f.Close())
			must(t, os.Chmod(in("f"), 0o644))
			must(t, os.Remove(in("f~")))
		},
		"in place": func(t *testing.T, dir string) {
			write(t, dir, "f", "written in place")
		},
		"sed -i": tool("sed", "-i", "s/.*/sed/", "f"),
		"ed":     tool("sh", "-c", `printf '1c\ned\n.\nw\nq\n' | ed -s f`),
		"rename over": func(t *testing.T, dir string) {
			write(t, dir, ".f.tmp", "renamed over")
			must(t, os.Rename(filepath.Join(dir, ".f.tmp"), filepath.Join(dir, "f")))
		},
		"rename from outside": func(t *testing.T, dir string) {
			write(t, filepath.Dir(dir), "outside", "renamed from outside")
			must(t, os.Rename(filepath.Join(filepath.Dir(dir), "outside"), filepath.Join(dir, "f")))
		},
		"rsync":  tool("sh", "-c", `d=$(mktemp -d) && echo rsync >$d/f && rsync -a $d/f ./f && rm -r $d`),
		"cp -p":  tool("sh", "-c", `d=$(mktemp -d) && echo cp >$d/f && chmod 755 $d/f && touch -d yesterday $d/f && cp -p $d/f ./f && rm -r $d`),
		"tar -x": tool("sh", "-c", `d=$(mktemp -d) && echo tar >$d/f && tar -C $d -cf - f | tar -xf - && rm -r $d`),
		"deleted and made again": func(t *testing.T, dir string) {
			must(t, os.Remove(filepath.Join(dir, "f")))
			write(t, dir, "f", "made again")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := filepath.Join(t.TempDir(), "root")
			write(t, root, "f", "1\n")
			r := recordWatcher(t, patient(t, root))
			before, err := os.ReadFile(filepath.Join(root, "f"))
			must(t, err)
			// The content at each report is what a commit would take.
			phantom := 0
			save(t, root)
			counts := r.settledWith("f", func() {
				if now, err := os.ReadFile(filepath.Join(root, "f")); err != nil || string(now) == string(before) {
					phantom++
				}
			})
			for p, n := range r.flush() {
				counts[p] += n
			}
			if counts["f"] != 1 || phantom > 0 {
				t.Errorf("f was reported %d times, %d times absent or as before; all: %v", counts["f"], phantom, counts)
			}
		})
	}
}

// settledWith is settled for one path, and calls at for every report of it.
func (r *recorder) settledWith(path string, at func()) map[string]int {
	r.t.Helper()
	counts := map[string]int{}
	r.await("settled "+path, func(e Event) bool {
		for _, p := range e.Paths {
			counts[p]++
			if p == path {
				at()
			}
		}
		return counts[path] > 0
	})
	return counts
}

func TestGitCheckoutIsNoDeletion(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	git := func(args ...string) {
		t.Helper()
		if out, err := gitIn(t, root, args...); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	git("init", "-q")
	var paths []string
	for i := range 50 {
		paths = append(paths, fmt.Sprintf("d%d/f%d", i%5, i))
		write(t, root, paths[i], "one")
	}
	git("add", ".")
	git("commit", "-qm", "one")
	git("switch", "-qc", "two")
	for _, p := range paths {
		write(t, root, p, "two")
	}
	git("commit", "-qam", "two")
	r := record(t, Options{Root: root})
	for _, branch := range []string{"-", "-", "-"} {
		git("switch", "-q", branch)
		r.settled(paths...)
	}
	r.flush()
	for _, e := range r.got {
		if e.Kind != Settled && e.Reason != "start" {
			t.Errorf("unexpected %+v", e)
		}
		for _, p := range e.Paths {
			if strings.HasPrefix(p, ".git/") {
				t.Errorf("reported %q", p)
			}
		}
	}
}
