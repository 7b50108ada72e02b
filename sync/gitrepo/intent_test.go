package gitrepo

import (
	"errors"
	"os"
	"testing"
)

func TestIntent(t *testing.T) {
	c := newClone(t)
	none := func() {
		t.Helper()
		if u, err := c.Intended(t.Context()); !errors.Is(err, ErrNotFound) {
			t.Errorf("intended is %+v, %v", u, err)
		}
	}
	none()
	c.ok(c.ForgetIntent())
	old := c.make(nil, map[string]string{"a": "0", "b": "0"})
	next := c.make([]Hash{old}, map[string]string{"a": "1", "b": "0"})
	u := Intent{RefUpdate{Name: "refs/heads/a branch", New: next, Old: old}, true}
	c.ok(c.Intend(Intent{RefUpdate{Name: u.Name, New: old}, false}))
	c.ok(c.Intend(u))
	c = c.reopen()
	if got, err := c.Intended(t.Context()); err != nil || got != u {
		t.Errorf("intended is %+v, %v", got, err)
	}
	blob, err := c.Entry(next, "a")
	c.ok(err)
	object := loosePath(c.objects.dirs[0], blob.Hash)
	c.ok(os.Chmod(object, 0o600))
	c.ok(os.Truncate(object, 0)) // as a loss of power leaves it
	none()
	c.ok(os.Remove(object))
	none()
	c.ok(c.Intend(u))
	c.ok(c.ForgetIntent())
	none()
}
