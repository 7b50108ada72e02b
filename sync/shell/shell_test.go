package shell_test

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/annex/annextest"
	"github.com/git-arbor/arbor/sync/p2p"
	"github.com/git-arbor/arbor/sync/shell"
)

const client = "11111111-2222-4333-8444-555555555555"

// shell runs git-annex-shell, ours.
func (e *environment) shell(vars []string, args ...string) (stdout, stderr string, err error) {
	e.t.Helper()
	return e.try(e.home, vars, shell.Name, args...)
}

// TestConfigList: the directory in every form that ssh urls have, options that the client adds, and a login shell's one word.
func TestConfigList(t *testing.T) {
	e := newEnvironment(t)
	dir := e.newAnnex("it's here")
	uuid := e.git(dir, "config", "annex.uuid")
	want := "annex.uuid=" + uuid + "\ncore.gcrypt-id=\n"
	for _, args := range [][]string{
		{"configlist", dir},
		{"configlist", dir + "/"},
		{"configlist", "it's here"},
		{"configlist", "~/it's here"},
		{"configlist", "/~/it's here"},
		{"configlist", dir, "--debug", "--uuid", uuid},
		{"configlist", dir, "--uuid=" + uuid, "--", "remoteuuid=x", "--", "rsync", "--server"},
		{"-c", "configlist", dir},
		{"-c", `git-annex-shell 'configlist' 'it'"'"'s here' --uuid ` + uuid},
	} {
		out, complaints, err := e.shell(nil, args...)
		if err != nil || out != want {
			t.Errorf("%q: %q, %v: %s", args, out, err, complaints)
		}
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "bad parameters"},
		{[]string{"configlist"}, "bad parameters"},
		{[]string{"-c", "git-annex-shell "}, "bad parameters"},
		{[]string{"configlist", dir, "--uuid", client}, "expected repository UUID " + client + " but found UUID " + uuid},
		{[]string{"configlist", dir, "--frobnicate"}, "Invalid option `--frobnicate'"},
		{[]string{"configlist", "nowhere"}, "failed to read git config of git repository in "},
		{[]string{"p2pstdio", dir}, "missing UUID parameter"},
		{[]string{"rm -rf /"}, "git-shell failed"},
	} {
		out, complaints, err := e.shell(nil, c.args...)
		if err == nil || out != "" || !strings.Contains(complaints, "git-annex-shell: "+c.want) {
			t.Errorf("%q: %q, %v: %s", c.args, out, err, complaints)
		}
	}
}

// TestConfigListInitialises: a repository becomes an annex when the client asks for it, or a git-annex branch has been pushed to it, and not when
// only reading is allowed.
func TestConfigListInitialises(t *testing.T) {
	e := newEnvironment(t)
	source := e.newAnnex("source")
	bare := func(name string) string {
		dir := filepath.Join(e.home, name)
		e.git("/", "init", "-q", "--bare", dir)
		return dir
	}
	const none = "annex.uuid=\ncore.gcrypt-id=\n"
	plain := bare("plain")
	if out, complaints, err := e.shell(nil, "configlist", plain); err != nil || out != none {
		t.Errorf("plain: %q, %v: %s", out, err, complaints)
	}
	if _, complaints, err := e.shell(nil, "p2pstdio", plain, client); err == nil || !strings.Contains(complaints, "Not a git-annex or gcrypt repository.") {
		t.Errorf("p2pstdio of a plain repository: %v: %s", err, complaints)
	}
	pushed := bare("pushed")
	e.git(source, "push", "-q", pushed, "git-annex:synced/git-annex")
	if out, complaints, err := e.shell([]string{"GIT_ANNEX_SHELL_READONLY=1"}, "configlist", pushed); err != nil || out != none {
		t.Errorf("read-only: %q, %v: %s", out, err, complaints)
	}
	for _, args := range [][]string{{"configlist", pushed}, {"configlist", plain, "--", "autoinit=1", "--"}} {
		out, complaints, err := e.shell(nil, args...)
		if err != nil || out == none || out != "annex.uuid="+e.git(args[1], "config", "annex.uuid")+"\ncore.gcrypt-id=\n" {
			t.Errorf("%q: %q, %v: %s", args, out, err, complaints)
		}
		e.git(args[1], "annex", "info", "--fast")
	}
}

// TestRestrictions: what the environment forbids is refused with git-annex's words, and nothing else.
func TestRestrictions(t *testing.T) {
	e := newEnvironment(t)
	dir := e.newAnnex("repo")
	e.add(dir, "file", random(1000))
	other := e.newAnnex("other")
	push := func(vars ...string) (string, error) {
		e.git(dir, "branch", "-f", "new", "main")
		clone := filepath.Join(e.home, "clone")
		if _, err := os.Stat(clone); err != nil {
			e.git("/", "clone", "-q", dir, clone)
		}
		e.git(clone, "commit", "-q", "--allow-empty", "-m", "more")
		_, complaints, err := e.try(clone, vars, "git", "push", "-q", "ssh://here"+dir, "HEAD:refs/heads/pushed")
		return complaints, err
	}
	if complaints, err := push(); err != nil {
		t.Errorf("push: %v: %s", err, complaints)
	}
	receive := "git-receive-pack '" + dir + "'"
	upload := "git-upload-pack '~/repo'"
	for _, c := range []struct {
		vars, args []string
		want       string // in what it complains of; "" when it is allowed
	}{
		{nil, []string{"-c", upload}, ""},
		{nil, []string{"-c", receive}, ""},
		{[]string{"GIT_ANNEX_SHELL_LIMITED="}, []string{"-c", upload}, ""},
		{[]string{"GIT_ANNEX_SHELL_LIMITED=1"}, []string{"-c", upload}, "Action blocked by GIT_ANNEX_SHELL_LIMITED"},
		{[]string{"GIT_ANNEX_SHELL_LIMITED=1"}, []string{"configlist", dir}, ""},
		{[]string{"GIT_ANNEX_SHELL_DIRECTORY=" + dir}, []string{"-c", upload}, ""},
		{[]string{"GIT_ANNEX_SHELL_DIRECTORY=repo"}, []string{"-c", receive}, ""},
		{[]string{"GIT_ANNEX_SHELL_DIRECTORY=~/repo"}, []string{"configlist", "/~/repo"}, ""},
		{[]string{"GIT_ANNEX_SHELL_DIRECTORY=" + dir}, []string{"configlist", other}, "Only allowed to access " + dir + " not " + other},
		{[]string{"GIT_ANNEX_SHELL_DIRECTORY=" + dir}, []string{"configlist", dir + "/../other"}, "Only allowed to access " + dir + " not " + other},
		{[]string{"GIT_ANNEX_SHELL_DIRECTORY=" + dir}, []string{"-c", "git-upload-pack '" + other + "'"}, "Only allowed to access " + dir + " not " + other},
		{[]string{"GIT_ANNEX_SHELL_DIRECTORY=" + dir}, []string{"-c", ""}, "Only allowed to access " + dir + " and could not determine directory from command line"},
	} {
		cmd := e.command(e.home, c.vars, shell.Name, c.args...)
		cmd.Stdin = strings.NewReader("0000") // the client of git's services takes leave
		var complaints bytes.Buffer
		cmd.Stderr = &complaints
		err := cmd.Run()
		if (err == nil) != (c.want == "") || !strings.Contains(complaints.String(), c.want) {
			t.Errorf("%q %q: %v: %s", c.vars, c.args, err, complaints.String())
		}
	}

	key, err := annex.ParseKey(e.git(dir, "annex", "lookupkey", "file"))
	if err != nil {
		t.Fatal(err)
	}
	content := []byte("new")
	for _, c := range []struct {
		variable    string
		put, remove bool
	}{{"GIT_ANNEX_SHELL_READONLY", false, false}, {"GIT_ANNEX_SHELL_APPENDONLY", true, false}} {
		s := e.session(dir, c.variable+"=1")
		_, err := s.Put(t.Context(), p2p.PutRequest{Key: keyOf(content), Size: int64(len(content)), Content: bytes.NewReader(content)})
		if (err == nil) != c.put {
			t.Errorf("%s: PUT: %v", c.variable, err)
		}
		if _, err := s.Remove(t.Context(), key); err == nil {
			t.Errorf("%s: content was removed", c.variable)
		}
		if ok, err := s.CheckPresent(t.Context(), key); !ok || err != nil {
			t.Errorf("%s: CHECKPRESENT: %v, %v", c.variable, ok, err)
		}
	}
}

// TestPutPopulates: unlocked files get what is put, and git sees them as unmodified.
func TestPutPopulates(t *testing.T) {
	e := newEnvironment(t)
	dir := e.newAnnex("repo")
	content := random(300_000)
	e.git(dir, "config", "annex.addunlocked", "true")
	e.add(dir, "file", content)
	e.add(dir, "twin", content)
	key, err := annex.ParseKey(e.git(dir, "annex", "lookupkey", "file"))
	if err != nil {
		t.Fatal(err)
	}
	e.git(dir, "annex", "drop", "--force", "file", "twin")
	s := e.session(dir)
	if _, err := s.Put(t.Context(), p2p.PutRequest{Key: key, Size: int64(len(content)), Content: bytes.NewReader(content)}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"file", "twin"} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s has %d bytes, %v", name, len(got), err)
		}
	}
	if out := e.git(dir, "-c", "filter.annex.process=false", "-c", "filter.annex.clean=false", "status", "--porcelain"); out != "" {
		t.Errorf("git status: %s", out)
	}
	if out := e.git(dir, "annex", "fsck", "--json"); strings.Contains(out, `"success":false`) || strings.Contains(out, "fixing") {
		t.Errorf("fsck: %s", out)
	}
}

// TestNotifyChanges: the client hears of branches and tags that move after READY, by hash, and of nothing else.
func TestNotifyChanges(t *testing.T) {
	e := newEnvironment(t)
	dir := e.newAnnex("repo")
	e.git(dir, "commit", "-q", "--allow-empty", "-m", "first")
	cmd := e.command(e.home, nil, shell.Name, "notifychanges", dir)
	in, out := annextest.Start(t, cmd)
	lines := bufio.NewReader(out)
	expect := func(want string) {
		t.Helper()
		if line, err := lines.ReadString('\n'); err != nil || line != want+"\n" {
			t.Fatalf("%q, %v instead of %q", line, err, want)
		}
	}
	expect("READY")
	e.git(dir, "update-ref", "refs/annex/last-index", "HEAD") // nobody's business
	e.git(dir, "commit", "-q", "--allow-empty", "-m", "second")
	expect("CHANGED " + e.git(dir, "rev-parse", "main"))
	e.git(dir, "pack-refs", "--all")
	e.git(dir, "branch", "-q", "other", "main^")
	expect("CHANGED " + e.git(dir, "rev-parse", "other"))
	e.git(dir, "tag", "-a", "-m", "tagged", "v1")
	expect("CHANGED " + e.git(dir, "rev-parse", "v1"))
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(lines); err != nil || len(rest) > 0 {
		t.Errorf("at the end: %q, %v", rest, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("exit: %v", err)
	}
}
