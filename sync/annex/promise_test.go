package annex

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/git-arbor/arbor/sync/annex/annextest"
)

// TestPromise: what was promised is kept, in every version of repositories, and git-annex has nothing to remark at any time.
func TestPromise(t *testing.T) {
	annextest.Each(t, func(t *testing.T) {
		for _, version := range []string{"9", "10", "10 bare"} {
			t.Run(version, func(t *testing.T) { testPromise(t, version) })
		}
	})
}

func testPromise(t *testing.T, version string) {
	version, bare, _ := strings.Cut(version, " ")
	dir := annextest.TempDir(t)
	init := []string{"init", "-q"}
	if bare != "" {
		init = append(init, "--bare")
	}
	run(t, dir, "git", init...)
	r := initAnnex(t, dir, "laptop")
	run(t, dir, "git", "config", "annex.autoupgraderepository", "false")
	setConfig(t, r, "annex.version", version)
	content := filepath.Join(t.TempDir(), "content")
	if err := os.WriteFile(content, []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
	k := mustKey(t, strings.TrimSpace(run(t, dir, "git-annex", "calckey", content)))
	run(t, dir, "git-annex", "setkey", k.String(), content)
	object, _ := r.ObjectPath(k)
	promise := func(keep time.Duration) *Promise {
		t.Helper()
		p, ok, err := r.PromiseContent(t.Context(), k, keep)
		if !ok || err != nil {
			t.Fatalf("promise: %v, %v", ok, err)
		}
		return p
	}
	clean := func(when string, want bool) {
		t.Helper()
		left, err := os.ReadDir(filepath.Dir(object))
		if err != nil || (len(left) == 1) != want {
			t.Errorf("%s there are %v, %v beside the object", when, left, err)
		}
		for _, line := range gitAnnex(t, dir, "fsck", "--all") {
			note, _ := line["note"].(string)
			if line["success"] != true || strings.ReplaceAll(strings.Trim(note, "() "), "checksum...", "") != "" {
				t.Errorf("%s git annex fsck says %v", when, line)
			}
		}
	}
	removable := func() bool {
		t.Helper()
		l, err := r.LockForRemoval(k)
		if err != nil && !errors.Is(err, ErrInUse) {
			t.Fatal(err)
		}
		if l != nil {
			l.Release()
		}
		return err == nil
	}

	p := promise(time.Hour)
	if removable() {
		t.Error("what is promised can be removed")
	}
	if out, err := try(t, dir, "git-annex", "drop", "--force", "--key="+k.String()); err == nil {
		t.Fatalf("git annex drop of what is promised: %s", out)
	}
	clean("while it is promised", version == "9")
	second := promise(2 * time.Hour)
	p.Release()
	p.Release()
	if removable() {
		t.Error("what is still promised can be removed")
	}
	second.Release()
	clean("after all was released", true)
	p, second = promise(2*time.Hour), promise(time.Hour)
	second.Release()
	p.Release()
	clean("after all was released, the later first", true)
	promise(0).Leave()
	clean("after nothing was promised", true)
	if !removable() {
		t.Error("what is not promised any more cannot be removed")
	}

	p, second = promise(time.Hour), promise(time.Hour)
	p.Leave()
	second.Release()
	if version == "9" {
		run(t, dir, "git-annex", "drop", "--force", "--key="+k.String())
		return
	}
	clean("when somebody counts on it without a lock", false)
	promise(2 * time.Hour).Release()
	clean("after another promise meanwhile", false)
	if removable() {
		t.Error("what somebody counts on can be removed")
	}
	// Only newer versions of git-annex know.
	t.Setenv("PATH", annextest.SidPath(t))
	if out, err := try(t, dir, "git-annex", "drop", "--force", "--key="+k.String()); err == nil || !strings.Contains(err.Error(), "content is locked") {
		t.Errorf("git annex drop of what somebody counts on: %v %s", err, out)
	}
	rtm := object + ".rtm"
	past := func() error { return os.WriteFile(rtm, []byte(clockAt(time.Now().Add(-time.Minute)).String()), 0o644) }
	if err := r.intoKeyDir(filepath.Dir(object), past); err != nil {
		t.Fatal(err)
	}
	if !removable() {
		t.Error("it cannot be removed when the time has passed")
	}
	promise(time.Minute).Release()
	clean("after the time has passed", true)
}

// TestPromiseOfOthers: a promise of git-annex's own is kept beside ours, and ours beside that.
func TestPromiseOfOthers(t *testing.T) {
	t.Setenv("PATH", annextest.SidPath(t))
	r := newAnnex(t)
	write(t, r, "f", "content", 0o644)
	k := addFile(t, r, "f", AddOptions{Locked: true}).Key
	object, _ := r.ObjectPath(k)
	shellLocks(t, r, k)
	if until := retention(object); until.known {
		t.Errorf("git-annex has let go and left %s", until)
	}
	p, ok, err := r.PromiseContent(t.Context(), k, time.Second)
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	if !shellLocks(t, r, k) {
		t.Error("git-annex-shell cannot lock what is promised")
	}
	theirs := retention(object)
	if !theirs.follows(time.Now().Add(9 * time.Minute)) {
		t.Errorf("git-annex has promised it until %s", theirs)
	}
	p.Release()
	if now := retention(object); now != theirs {
		t.Errorf("what git-annex has promised until %s is kept until %s", theirs, now)
	}
}
