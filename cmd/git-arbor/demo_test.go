package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// TestDemo runs the demo whole: what it promises, it checks itself.
func TestDemo(t *testing.T) {
	h := newHome(t)
	h.env = append(h.env, "TMPDIR=/tmp") // below it are sockets, whose paths must be short
	cmd := h.command(t, "demo", "--json")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s%s", err, stdout.Bytes(), stderr.Bytes())
	}
	steps := 0
	for line := range strings.Lines(stdout.String()) {
		var r struct {
			Schema int
			Step   string
			MS     float64
			OK     bool
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil || r.Schema != 1 || !r.OK || r.Step == "" || r.MS <= 0 {
			t.Errorf("%v: %s", err, line)
		}
		steps++
	}
	if steps != 10 {
		t.Errorf("%d steps were printed, want 10:\n%s", steps, stdout.Bytes())
	}
}

// TestDemoFindsFaults: what the demo takes for right is right to the byte.
func TestDemoFindsFaults(t *testing.T) {
	m := &machine{name: "laptop", clone: t.TempDir()}
	d := &demo{machines: []*machine{m}, files: make(map[string][]byte)}
	check := func(what, want string) {
		t.Helper()
		if got := d.difference(m); got != want {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
	if _, err := d.save(m, "a", []byte("one")); err != nil {
		t.Fatal(err)
	}
	check("the same", "")
	d.files["a"] = []byte("two")
	check("another byte", "\n  \"a\" has other bytes (3, not 3)")
	d.files["b"] = nil
	check("a file too few", "\n  \"a\" has other bytes (3, not 3)\n  \"b\" is missing")
	delete(d.files, "a")
	delete(d.files, "b")
	check("a file too many", "\n  \"a\" should not be there")

	has := func(files ...string) bool {
		t.Helper()
		ok, err := d.hasFiles(m, files)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if has("a") || !has("gone") {
		t.Error("a deleted file counts as arrived while it is there, or not when it is gone")
	}
	d.files["a"] = []byte("one")
	if !has("a") || has("a", "gone") == false {
		t.Error("a file that is there does not count as arrived")
	}
	d.files["a"] = []byte("two")
	if has("a") {
		t.Error("other bytes count as arrived")
	}

	kept := func(versions ...string) bool {
		t.Helper()
		ok, err := d.keptAll(m, versions...)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	for name, content := range map[string]string{"n": "mine", "n.variant": "theirs"} {
		if _, err := d.save(m, name, []byte(content)); err != nil {
			t.Fatal(err)
		}
		delete(d.files, name)
	}
	if !kept("mine", "theirs") || kept("mine") || kept("mine", "theirs", "more") || kept("mine", "mine") {
		t.Error("not both versions, each once")
	}
}
