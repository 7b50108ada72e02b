package watch

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// inside runs the calling test once more in new namespaces, in a child process, and reports whether this is that child.
// There the user has the given id, and no other rights over files than their owner when it is not 0.
func inside(t *testing.T, uid int, flags uintptr) bool {
	t.Helper()
	const variable = "ARBOR_WATCH_NAMESPACE"
	if os.Getenv(variable) != "" {
		return true
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), variable+"=1", "GORACE=atexit_sleep_ms=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | flags,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: uid, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: uid, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("in a user namespace (allow them: sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone): %v\n%s", err, out)
	}
	if !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("the test did not run in the namespace:\n%s", out)
	}
	return false
}

func sysctl(t *testing.T, path string, n int) {
	t.Helper()
	must(t, os.WriteFile("/proc/sys/"+path, []byte(strconv.Itoa(n)), 0o644))
}

func TestTooFewWatches(t *testing.T) {
	t.Parallel()
	if !inside(t, 0, 0) {
		return
	}
	const dirs, limit = 60, 20
	sysctl(t, "user/max_inotify_watches", limit)
	root := t.TempDir()
	for i := range dirs - 1 {
		write(t, root, fmt.Sprintf("d%d/f", i), "1")
	}
	r := recordWatcher(t, impatient(t, root))
	e := r.awaitKind(Limited)
	if e.Watched != limit || e.Missing != dirs-limit || e.Reason != "fs.inotify.max_user_watches" {
		t.Errorf("limited: %+v", e)
	}

	var changed, created, removed, deep []string
	for i := range dirs - 1 {
		d := fmt.Sprintf("d%d/", i)
		changed, created, removed = append(changed, d+"f"), append(created, d+"new"), append(removed, d)
		deep = append(deep, d+"sub/deep/f")
	}
	for _, set := range [][]string{changed, created, deep} {
		for _, p := range set {
			write(t, root, p, "2")
		}
		r.settled(set...)
	}
	for _, p := range changed {
		must(t, os.Remove(filepath.Join(root, p)))
	}
	r.settled(changed...)
	for i, p := range removed {
		removed[i] = strings.TrimSuffix(p, "/")
		if i%2 == 0 {
			must(t, os.RemoveAll(filepath.Join(root, p)))
		} else {
			must(t, os.Rename(filepath.Join(root, p), filepath.Join(root, "r"+strconv.Itoa(i))))
			deep = append(deep, "r"+strconv.Itoa(i)+"/new")
		}
	}
	r.settled(append(removed, deep[dirs-1:]...)...)

	// A nested repository in the part that is swept.
	write(t, root, "r57/.git/HEAD", "")
	write(t, root, "r57/deep/inner", "")
	r.flush()

	sysctl(t, "user/max_inotify_watches", 1000)
	e = r.await("enough watches", func(e Event) bool { return e.Kind == Limited && e.Missing == 0 })
	if e.Watched < dirs/2 {
		t.Errorf("not limited any more: %+v", e)
	}
	write(t, root, "r1/sub/deep/late", "")
	r.settled("r1/sub/deep/late")
}

func TestNoInotifyInstance(t *testing.T) {
	t.Parallel()
	if !inside(t, 0, 0) {
		return
	}
	sysctl(t, "user/max_inotify_instances", 0)
	root := t.TempDir()
	write(t, root, "d/f", "1")
	r := recordWatcher(t, impatient(t, root))
	if e := r.awaitKind(Limited); e.Watched != 0 || e.Missing != 2 || e.Reason != "fs.inotify.max_user_instances" {
		t.Errorf("limited: %+v", e)
	}
	write(t, root, "d/f", "2")
	write(t, root, "d/e/f", "2")
	r.settled("d/f", "d/e/f")
	must(t, os.RemoveAll(filepath.Join(root, "d/e")))
	r.settled("d/e")
	sysctl(t, "user/max_inotify_instances", 10)
	r.awaitKind(Rescan)
	r.await("watches", func(e Event) bool { return e.Kind == Limited && e.Missing == 0 })
	write(t, root, "d/f", "3")
	r.settled("d/f")
}

func TestUnreadable(t *testing.T) {
	t.Parallel()
	if !inside(t, 1000, 0) {
		return
	}
	root := t.TempDir()
	in := func(p string) string { return filepath.Join(root, p) }
	write(t, root, "early/f", "")
	write(t, root, "late/sub/f", "")
	must(t, os.Chmod(in("early"), 0))
	t.Cleanup(func() {
		for _, d := range []string{"early", "late", ""} {
			must(t, os.Chmod(in(d), 0o755))
		}
	})
	w := impatient(t, root)
	r := run(t, w)
	if e := r.next(); e.Kind != Lost || e.Dir != "early" || !os.IsPermission(e.Err) {
		t.Errorf("a directory that is unreadable at the start: %+v", e)
	}
	if e := r.next(); e.Kind != Rescan || e.Dir != "" {
		t.Errorf("start: %+v", e)
	}
	must(t, os.Chmod(in("early"), 0o755))
	if e := r.awaitKind(Rescan); e.Dir != "early" {
		t.Errorf("readable again: %+v", e)
	}
	write(t, root, "early/g", "")
	r.settled("early/f", "early/g")

	must(t, os.Chmod(in("late"), 0))
	if e := r.awaitKind(Lost); e.Dir != "late" {
		t.Errorf("a directory that becomes unreadable: %+v", e)
	}
	r.w.Settle("late/sub/f")
	r.nothing(func(p string) bool { return strings.HasPrefix(p, "late") })
	must(t, os.Chmod(in("late"), 0o755))
	if e := r.awaitKind(Rescan); e.Dir != "late" {
		t.Errorf("readable again: %+v", e)
	}
	r.settled("late/sub/f")

	must(t, os.Chmod(root, 0))
	if e := r.awaitKind(Lost); e.Dir != "" {
		t.Errorf("an unreadable root: %+v", e)
	}
	must(t, os.Chmod(root, 0o755))
	if e := r.awaitKind(Rescan); e.Dir != "" {
		t.Errorf("root readable again: %+v", e)
	}

	// A file that cannot be read is reported: the reader tells the person.
	write(t, root, "secret", "1")
	must(t, os.Chmod(in("secret"), 0))
	r.settled("secret")
}

func TestUnmount(t *testing.T) {
	t.Parallel()
	if !inside(t, 0, syscall.CLONE_NEWNS) {
		return
	}
	root := t.TempDir()
	mount := func(p string) {
		t.Helper()
		must(t, os.MkdirAll(p, 0o755))
		must(t, syscall.Mount("tmpfs", p, "tmpfs", 0, ""))
	}
	sub := filepath.Join(root, "sub")
	mount(root)
	write(t, root, ".git/HEAD", "")
	mount(sub)
	write(t, root, "sub/d/f", "")
	r := recordWatcher(t, impatient(t, root))
	write(t, root, "sub/d/g", "")
	r.settled("sub/d/g")

	must(t, syscall.Unmount(sub, syscall.MNT_DETACH))
	r.w.Settle("sub/d/f", "sub/d/g")
	if e := r.awaitKind(Lost); e.Dir != "sub" || e.Err == nil {
		t.Errorf("an unmounted directory: %+v", e)
	}
	r.nothing(func(p string) bool { return p == "sub/d/f" })
	mount(sub)
	write(t, root, "sub/d/f", "")
	if e := r.awaitKind(Rescan); e.Dir != "sub" {
		t.Errorf("mounted again: %+v", e)
	}
	r.settled("sub/d/f", "sub/d/g")
	write(t, root, "sub/d/h", "")
	r.settled("sub/d/h")

	r.got = nil
	must(t, syscall.Unmount(sub, syscall.MNT_DETACH))
	must(t, syscall.Unmount(root, syscall.MNT_DETACH))
	r.w.Settle("other")
	r.await("lost root", func(e Event) bool { return e.Kind == Lost && e.Dir == "" })
	mount(root) // an empty one is not it
	t.Cleanup(func() { must(t, syscall.Unmount(root, syscall.MNT_DETACH)) })
	select {
	case e := <-r.w.Events():
		t.Errorf("an empty root: %+v", e)
	case <-time.After(100 * ms):
	}
	write(t, root, ".git/HEAD", "")
	r.await("root", func(e Event) bool { return e.Kind == Rescan && e.Dir == "" })
	write(t, root, "x/y", "")
	r.settled("x/y", "other")
}

// TestBindMount: a directory that is in the tree twice can be watched by one name only.
func TestBindMount(t *testing.T) {
	t.Parallel()
	if !inside(t, 0, syscall.CLONE_NEWNS) {
		return
	}
	root := t.TempDir()
	write(t, root, "a/f", "")
	must(t, os.Mkdir(filepath.Join(root, "b"), 0o755))
	must(t, syscall.Mount(filepath.Join(root, "a"), filepath.Join(root, "b"), "", syscall.MS_BIND, ""))
	t.Cleanup(func() { must(t, syscall.Unmount(filepath.Join(root, "b"), syscall.MNT_DETACH)) })
	r := recordWatcher(t, impatient(t, root))
	write(t, root, "a/g", "")
	r.settled("a/g", "b/g")
	write(t, root, "b/h", "")
	r.settled("a/h", "b/h")
	for _, e := range r.got {
		if e.Kind == Limited {
			t.Errorf("%+v", e)
		}
	}
}
