package gitrepo

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// TestSnapshotOfHalf never records a file that a program has written half of, and pauses.
func TestSnapshotOfHalf(t *testing.T) {
	c := newClone(t)
	c.write(".gitattributes", "*.git ident\n")
	for name, half := range map[string]string{
		"small": "half", "large": strings.Repeat("half", snapshotInMemory/4+1), "by.git": "$Id$ half",
	} {
		f, err := os.Create(c.path(name))
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteString(half)
		c.ok(err)
		if res := c.snapshot(name); len(res.Changes) > 0 || len(res.Skipped) != 1 {
			t.Errorf("%s: half a file was recorded: %+v", name, res)
		}
		_, err = f.WriteString(" and half\n")
		c.ok(errors.Join(err, f.Close()))
		if res := c.snapshot(name); len(res.Changes) != 1 || len(res.Skipped) > 0 {
			t.Errorf("%s: the whole file was not recorded: %+v", name, res)
		}
	}
}
