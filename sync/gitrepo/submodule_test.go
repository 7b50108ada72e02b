package gitrepo

import "testing"

// TestSubmodulesAreLeftAlone has a submodule that is not checked out, and one that is.
func TestSubmodulesAreLeftAlone(t *testing.T) {
	c := newClone(t)
	c.write("f", "1")
	h := c.commit("f")
	c.run("init", "-q", "inside")
	c.run("-C", "inside", "commit", "-q", "--allow-empty", "-m", "x")
	for _, name := range []string{"inside", "absent"} {
		c.run("update-index", "--add", "--cacheinfo", "160000,"+h.String()+","+name)
	}
	c.run("commit", "-q", "-m", "submodules")
	c.write("absent/file", "x")
	c.write("inside/file", "x")
	if res := c.snapshot("", "absent/file", "inside/file", "absent", "inside"); len(res.Changes) > 0 {
		t.Errorf("changes %q", paths(res.Changes))
	}
	from := c.head()
	to := c.make([]Hash{from}, map[string]string{"f": "2", "inside": "", "absent": ""})
	c.checkout(to)
	if !c.exists("inside/file") || !c.exists("absent/file") || c.read("f") != "2" {
		t.Error("files of a submodule are gone")
	}
	c.checkout(from)
}
