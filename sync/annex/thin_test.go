package annex

import (
	"os"
	"strings"
	"testing"
)

// With annex.thin a file is its object under another name. What a person has written to is nothing that others may count on.
func TestLockContentThin(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"9", "10"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			r := newAnnex(t)
			dir := r.git.Dir()
			run(t, dir, "git", "config", "annex.thin", "true")
			run(t, dir, "git", "config", "annex.autoupgraderepository", "false")
			if err := r.git.SetConfig(t.Context(), "annex.version", version); err != nil {
				t.Fatal(err)
			}
			write(t, r, "f", strings.Repeat("1", 200_000), 0o644)
			run(t, dir, "git-annex", "add", "-q", "f")
			k := mustKey(t, strings.TrimSpace(run(t, dir, "git-annex", "lookupkey", "f")))
			object, _ := r.ObjectPath(k)
			if st, err := os.Stat(object); err != nil || st.Mode().Perm()&0o200 == 0 {
				t.Fatalf("the object is not thin: %v, %v", st, err)
			}
			release, ok, err := r.LockContent(k)
			if err != nil || !ok {
				t.Fatalf("LockContent: %v, %v", ok, err)
			}
			release()
			f, err := os.OpenFile(r.workPath("f"), os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err = f.WriteString("2"); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			if _, ok, err := r.LockContent(k); ok || err != nil {
				t.Errorf("LockContent of what a person has changed: %v, %v", ok, err)
			}
			if out, err := try(t, dir, "git-annex", "drop", "--force", "--key="+k.String()); err != nil {
				t.Errorf("the lock stayed: %v %s", err, out)
			}
		})
	}
}
