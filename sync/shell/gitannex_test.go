package shell_test

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/git-arbor/arbor/sync/annex/annextest"
	"github.com/git-arbor/arbor/sync/shell"
)

// TestGitAnnexAsClient has the real git-annex get, move, check, drop and sync through the server.
func TestGitAnnexAsClient(t *testing.T) { annextest.Each(t, testGitAnnexAsClient) }

func testGitAnnexAsClient(t *testing.T) {
	e := newEnvironment(t)
	served := e.newAnnex("served")
	e.add(served, "first", random(2<<20))
	clone := e.clone(served, "clone")
	annex := func(args ...string) string {
		t.Helper()
		return e.git(clone, append([]string{"annex"}, args...)...)
	}

	annex("get", "first")
	got, err := os.ReadFile(filepath.Join(clone, "first"))
	if err != nil || !bytes.Equal(got, random(2<<20)) {
		t.Fatalf("got %d bytes, %v", len(got), err)
	}
	annex("drop", "first") // the other copy is locked by LOCKCONTENT
	annex("move", "--from", "origin", "first")
	annex("move", "--to", "origin", "first")
	if in := annex("find", "--in", "origin"); in != "first" {
		t.Errorf("in origin: %q", in)
	}
	e.add(clone, "a second one 100%", random(300_000))
	annex("copy", "--to", "origin", "a second one 100%")
	annex("drop", "--from", "origin", "a second one 100%")
	if in := annex("find", "--in", "origin"); in != "first" {
		t.Errorf("in origin after drop: %q", in)
	}
	e.add(clone, "third", random(1000))
	annex("sync", "--content")
	if out := annex("fsck", "--from", "origin", "--json"); strings.Contains(out, `"success":false`) {
		t.Errorf("fsck --from: %s", out)
	}

	t.Log("what was pushed is merged by git-annex itself, and its fsck has nothing to say")
	e.git(served, "annex", "merge", "-q")
	for _, name := range []string{"first", "a second one 100%", "third"} {
		if in := e.git(served, "annex", "find", "--in", "here", "--", name); in != name {
			t.Errorf("%s is not where it was pushed: %q", name, in)
		}
	}
	for _, args := range [][]string{{"--all"}, {"--fast"}} {
		out := e.git(served, append([]string{"annex", "fsck", "--json"}, args...)...)
		if strings.Contains(out, `"success":false`) || strings.Contains(out, "fixing") {
			t.Errorf("fsck of what was served: %s", out)
		}
	}
	if out := e.git(served, "status", "--porcelain"); out != "" {
		t.Errorf("git status of what was served: %s", out)
	}
}

// TestLockOutlivesTheProcess: a client of today counts on content for ten minutes, also when git-annex-shell is killed meanwhile.
func TestLockOutlivesTheProcess(t *testing.T) {
	t.Setenv("PATH", annextest.SidPath(t))
	e := newEnvironment(t)
	served := e.newAnnex("served")
	e.add(served, "file", random(1000))
	cmd := e.command(e.home, nil, shell.Name, "p2pstdio", served, client)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(in, "VERSION 4\nLOCKCONTENT %s\n", e.git(served, "annex", "lookupkey", "file"))
	answers := bufio.NewScanner(out)
	for answers.Scan() && answers.Text() != "SUCCESS" {
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if _, complaint, err := e.try(served, nil, "git", "annex", "drop", "--force", "file"); err == nil || !strings.Contains(complaint, "content is locked") {
		t.Errorf("git annex drop of what was locked: %v %s", err, complaint)
	}
	if note := e.git(served, "annex", "fsck", "--all", "--json"); !strings.Contains(note, `"note":"checksum..."`) {
		t.Errorf("git annex fsck: %s", note)
	}
}

// TestTestremote is git-annex's own test of a remote.
func TestTestremote(t *testing.T) { annextest.Each(t, testTestremote) }

func testTestremote(t *testing.T) {
	e := newEnvironment(t)
	for _, kind := range []string{"bare", "with a work tree"} {
		t.Run(kind, func(t *testing.T) {
			served := e.newAnnex(kind)
			e.add(served, "file", random(1000))
			if kind == "bare" {
				bare := served + ".git"
				e.git("/", "clone", "-q", "--bare", served, bare)
				e.git(bare, "annex", "init", "-q", kind)
				served = bare
			}
			clone := e.clone(strings.ReplaceAll(served, " ", "%20"), "clone of "+kind)
			out := e.git(clone, "annex", "testremote", "--fast", "--size=100kb", "origin")
			if !strings.Contains(out, "All ") || strings.Contains(out, "FAIL") {
				t.Errorf("testremote:\n%s", out)
			}
		})
	}
}

// TestGitAnnexTest is the part of git-annex's test suite that is about ssh remotes. The suite runs programs from the folder that its own is in.
func TestGitAnnexTest(t *testing.T) { annextest.Each(t, testGitAnnexTest) }

func testGitAnnexTest(t *testing.T) {
	e := newEnvironment(t)
	program, err := exec.LookPath("git-annex")
	if err != nil {
		t.Fatal(err)
	}
	copyProgram(t, program, filepath.Join(e.bin, "git-annex"))
	// A script in between notes that ours was run at all.
	ours, log := filepath.Join(annextest.SSH(t, shell.Name), shell.Name), filepath.Join(e.home, "runs")
	if err := os.Remove(filepath.Join(e.bin, shell.Name)); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\necho \"$*\" >>" + log + "\nexec " + ours + " \"$@\"\n"
	if err := os.WriteFile(filepath.Join(e.bin, shell.Name), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	out, complaints, err := e.try(e.home, nil, filepath.Join(e.bin, "git-annex"), "test", "-p", "/ssh remote/")
	if err != nil {
		t.Fatalf("git annex test: %v\n%s%s", err, out, complaints)
	}
	if runs, err := os.ReadFile(log); err != nil || !bytes.Contains(runs, []byte("p2pstdio")) {
		t.Errorf("git annex test did not use the server: %q, %v\n%s", runs, err, out)
	}
}

// copyProgram gives a program another name. A script that finds what it starts by its own place stays where it is.
func copyProgram(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.HasPrefix(content, []byte("#!")) {
		err = os.Symlink(from, to)
	} else {
		err = os.WriteFile(to, content, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}
