package agent_test

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// only waits until the machines have exactly these files, and are settled.
func only(t testing.TB, want map[string]string, machines ...*machine) {
	t.Helper()
	for _, m := range machines {
		m.eventually("have exactly what is wanted", func() error { return sameFiles(m.tree(), want) })
	}
	settled(t, machines...)
	for _, m := range machines {
		if err := sameFiles(m.tree(), want); err != nil {
			t.Errorf("%s, settled: %v", m.name, err)
		}
	}
}

func sameFiles(got, want map[string]string) error {
	for name, content := range want {
		if have, ok := got[name]; !ok || have != content {
			return fmt.Errorf("%q is %.40q (there: %v), want %.40q", name, have, ok, content)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			return fmt.Errorf("%q should not be there", name)
		}
	}
	return nil
}

// many gives n small files.
func many(n int, folder, content string) map[string]string {
	files := make(map[string]string, n)
	for i := range n {
		files[fmt.Sprintf("%s/%03d", folder, i)] = fmt.Sprintf("%s %d\n", content, i)
	}
	return files
}

func (m *machine) saveAll(files map[string]string) {
	m.t.Helper()
	for name, content := range files {
		m.save(name, content)
	}
}

// apart stops the second machine's agent, has both people work, and brings the agent back.
func apart(b *machine, work func()) {
	b.t.Helper()
	b.stop()
	work()
	b.start()
}

func (m *machine) remove(name string) {
	m.t.Helper()
	if err := os.RemoveAll(m.path(name)); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) symlink(target, name string) {
	m.t.Helper()
	if err := os.Symlink(target, m.path(name)); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) rename(from, to string) {
	m.t.Helper()
	if err := os.Rename(m.path(from), m.path(to)); err != nil {
		m.t.Fatal(err)
	}
}

// tree is files, with links shown as where they lead, and of a moment in which it may change.
func (m *machine) tree() map[string]string {
	found := make(map[string]string)
	_ = filepath.WalkDir(m.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		name, _ := filepath.Rel(m.dir, path)
		if name == ".git" {
			return filepath.SkipDir
		}
		if target, err := os.Readlink(path); err == nil {
			found[name] = "-> " + target
		} else if b, err := os.ReadFile(path); err == nil {
			found[name] = string(b)
		}
		return nil
	})
	return found
}

// noise gives n bytes that nothing compresses.
func noise(n int) string {
	data := make([]byte, n)
	rand.Read(data)
	return string(data)
}

// configure adds lines to the configuration of a machine, and has the agent take them when it runs.
func (m *machine) configure(lines string) {
	m.t.Helper()
	old, err := os.ReadFile(m.paths.Config)
	if err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(m.paths.Config, append(old, lines...), 0o600); err != nil {
		m.t.Fatal(err)
	}
	if err := m.client().Reload(m.t.Context()); err != nil {
		m.t.Fatal(err)
	}
}
