package agent_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/git-arbor/arbor/agent/control"
)

// step takes one step, of a kind that can be taken now.
func (w *interleaving) step(i int) {
	w.t.Helper()
	kinds := []struct {
		name   string
		weight int
		take   func(m *machine) (what string)
	}{
		{"create", 14, w.create},
		{"overwrite", 10, w.overwrite},
		{"append", 6, w.append},
		{"rename", 6, w.rename},
		{"git mv", 3, w.gitMove},
		{"move folder", 2, w.moveFolder},
		{"copy", 5, w.copy},
		{"delete", 4, w.delete},
		{"make folder", 2, w.makeFolder},
		{"commit", 3, w.commit},
		{"conflict", 4, w.conflict},
		{"annex add", 3, w.annexAdd},
		{"annex lock", 4, w.annexLock},
		{"annex unlock", 4, w.annexUnlock},
		{"annex drop", 4, w.annexDrop},
		{"annex get", 3, w.annexGet},
		{"annex metadata", 2, w.annexMetadata},
		{"annex sync", 2, w.annexSync},
		{"annex move", 1, w.annexMove},
		{"numcopies", 1, w.numCopies},
		{"trust", 1, w.trust},
		{"wanted", 2, w.wanted},
		{"arbor drop", 4, w.arborDrop},
		{"arbor get", 3, w.arborGet},
		{"pause", 1, w.pause},
		{"resume", 2, w.resume},
		{"stop", 2, w.stopAgent},
		{"kill", 3, w.killAgent},
		{"start", 5, w.startAgent},
	}
	sum := 0
	for _, k := range kinds {
		sum += k.weight
	}
	for {
		m := w.all[w.rng.IntN(len(w.all))]
		at := w.rng.IntN(sum)
		for _, k := range kinds {
			if at -= k.weight; at >= 0 {
				continue
			}
			if what := k.take(m); what != "" {
				w.t.Logf("step %d, %.1f s: %s: %s: %s", i, time.Since(w.began).Seconds(), m.name, k.name, what)
				w.done[k.name]++
				return
			}
			break
		}
	}
}

// Names and contents.

func (w *interleaving) name(m *machine) string {
	folders := []string{"", "a/", "b/", "b/c/", "d e/f/"}
	extensions := []string{".txt", ".bin", ".iso", ".tar.gz", ""}
	w.made++
	return fmt.Sprintf("%s/%s%03d%s", m.name, folders[w.rng.IntN(len(folders))], w.made, extensions[w.rng.IntN(len(extensions))])
}

// content is like no other.
func (w *interleaving) content() string {
	w.made++
	head := fmt.Sprintf("content %d\n", w.made)
	if w.rng.IntN(2) == 0 {
		return head
	}
	data := make([]byte, 101_000+w.rng.IntN(100_000))
	for i := range data {
		data[i] = byte(w.rng.Uint32())
	}
	return head + string(data)
}

// any gives a file that is the machine's own, or of any owner.
func (w *interleaving) any(by *machine) string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(w.files)) {
		if by == nil || w.files[name].by == by {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return names[w.rng.IntN(len(names))]
}

// own is any for a person at a work tree.
func (w *interleaving) own(m *machine) string {
	if m == w.bare {
		return ""
	}
	return w.any(m)
}

// whole is own for what needs the content.
func (w *interleaving) whole(m *machine) string {
	name := w.own(m)
	if name == "" {
		return ""
	}
	if got, err := os.ReadFile(m.path(name)); err != nil || string(got) != w.files[name].content {
		return ""
	}
	return name
}

// write saves a file in place, or, where that is not one's own to write to, by replacing it.
func (w *interleaving) write(m *machine, name, content string) {
	w.t.Helper()
	w.written[fmt.Sprintf("%x", sha256.Sum256([]byte(content)))] = true
	var st unix.Stat_t
	if err := unix.Lstat(m.path(name), &st); err != nil || st.Mode&unix.S_IFMT == unix.S_IFREG && st.Nlink == 1 {
		m.save(name, content)
		return
	}
	beside := filepath.Join(m.home, "saved")
	if err := os.WriteFile(beside, []byte(content), 0o644); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(beside, filepath.Join(m.dir, filepath.FromSlash(name))); err != nil {
		w.t.Fatal(err)
	}
}

// try runs git, again while the agent has the index locked; one that was killed may have left it so. Git may refuse, too.
func (w *interleaving) try(m *machine, args ...string) (said string) {
	w.t.Helper()
	m.eventually("git "+strings.Join(args, " "), func() error {
		out, err := m.tryGit(args...)
		if err != nil && m.pid != 0 && strings.Contains(out, "index.lock") {
			return err
		}
		said = strings.Join(args, " ")
		if err != nil {
			said += ": refused: " + strings.ReplaceAll(out, "\n", " | ")
		}
		return nil
	})
	return said
}

// What a person does with files.

func (w *interleaving) create(m *machine) string {
	if m == w.bare {
		return ""
	}
	name := w.name(m)
	w.files[name] = &owned{m, w.content()}
	w.write(m, name, w.files[name].content)
	return name
}

func (w *interleaving) overwrite(m *machine) string {
	name := w.own(m)
	if name != "" {
		w.files[name].content = w.content()
		w.write(m, name, w.files[name].content)
	}
	return name
}

func (w *interleaving) append(m *machine) string {
	name := w.whole(m)
	if name != "" {
		w.made++
		w.files[name].content += fmt.Sprintf("more %d\n", w.made)
		w.write(m, name, w.files[name].content)
	}
	return name
}

func (w *interleaving) renamed(from, to string) {
	w.files[to] = w.files[from]
	delete(w.files, from)
}

func (w *interleaving) rename(m *machine) string {
	from := w.own(m)
	if from == "" {
		return ""
	}
	to := w.name(m)
	w.parents(m, to)
	m.rename(from, to)
	w.renamed(from, to)
	return from + " to " + to
}

func (w *interleaving) parents(m *machine, name string) {
	w.t.Helper()
	if err := os.MkdirAll(filepath.Dir(m.path(name)), 0o755); err != nil {
		w.t.Fatal(err)
	}
}

func (w *interleaving) gitMove(m *machine) string {
	from := w.own(m)
	if from == "" {
		return ""
	}
	to := w.name(m)
	w.parents(m, to)
	said := w.try(m, "mv", from, to)
	if _, err := os.Lstat(m.path(to)); err == nil {
		w.renamed(from, to)
	}
	return said
}

func (w *interleaving) moveFolder(m *machine) string {
	name := w.own(m)
	if name == "" {
		return ""
	}
	from := path.Dir(name)
	if from == m.name {
		return ""
	}
	w.made++
	to := fmt.Sprintf("%s/moved %d", m.name, w.made)
	m.rename(from, to)
	for _, name := range slices.Sorted(maps.Keys(w.files)) {
		if rest, ok := strings.CutPrefix(name, from+"/"); ok {
			w.renamed(name, to+"/"+rest)
		}
	}
	return from + " to " + to
}

func (w *interleaving) copy(m *machine) string {
	from := w.whole(m)
	if from == "" {
		return ""
	}
	to := w.name(m)
	w.files[to] = &owned{m, w.files[from].content}
	w.write(m, to, w.files[to].content)
	return from + " to " + to
}

func (w *interleaving) delete(m *machine) string {
	name := w.own(m)
	if name == "" || len(w.files) < 10 {
		return ""
	}
	m.remove(name)
	delete(w.files, name)
	return name
}

func (w *interleaving) makeFolder(m *machine) string {
	if m == w.bare {
		return ""
	}
	name := w.name(m) + " empty"
	if err := os.MkdirAll(m.path(name), 0o755); err != nil {
		w.t.Fatal(err)
	}
	return name
}

func (w *interleaving) commit(m *machine) string {
	name := w.overwrite(m)
	if name == "" {
		return ""
	}
	return w.try(m, "add", name) + ", " + w.try(m, "commit", "-q", "-m", "by hand")
}

// conflict has two people give a file different contents: one that is new, or one that both have.
func (w *interleaving) conflict(m *machine) string {
	other := w.desk[w.rng.IntN(len(w.desk))]
	if m == w.bare || m == other {
		return ""
	}
	name := "shared/" + path.Base(w.name(m))
	if old := w.whole(m); old != "" && w.rng.IntN(2) == 0 {
		if got, err := os.ReadFile(other.path(old)); err != nil || string(got) != w.files[old].content {
			return ""
		}
		w.renamed(old, name) // nobody's from now on
		w.parents(m, name)
		m.rename(old, name)
		delete(w.files, name)
	}
	for _, writer := range []*machine{m, other} {
		content := w.content()
		w.fought[content] = name
		w.write(writer, name, content)
	}
	return name + " with " + other.name
}

// What a person does with git-annex.

func (w *interleaving) annexAdd(m *machine) string {
	name := w.overwrite(m)
	if name == "" {
		return ""
	}
	return w.try(m, "annex", "add", name)
}

func (w *interleaving) annexLock(m *machine) string {
	if name := w.own(m); name != "" {
		return w.try(m, "annex", "lock", name)
	}
	return ""
}

func (w *interleaving) annexUnlock(m *machine) string {
	if name := w.own(m); name != "" {
		return w.try(m, "annex", "unlock", name)
	}
	return ""
}

// one are the arguments for one file; in a bare repository, which has none, those for all.
func (w *interleaving) one(m *machine) []string {
	if m == w.bare {
		return w.scope(m)
	}
	return []string{w.any(nil)}
}

func (w *interleaving) annexDrop(m *machine) string {
	return w.try(m, append([]string{"annex", "drop"}, w.one(m)...)...)
}

func (w *interleaving) annexGet(m *machine) string {
	return w.try(m, append([]string{"annex", "get"}, w.one(m)...)...)
}

func (w *interleaving) annexMove(m *machine) string {
	if m == w.bare {
		return ""
	}
	other := w.all[w.rng.IntN(len(w.all))]
	if other == m {
		return ""
	}
	direction := []string{"--to", "--from"}[w.rng.IntN(2)]
	return w.try(m, "annex", "move", direction, "at-"+other.name, w.any(nil))
}

func (w *interleaving) annexMetadata(m *machine) string {
	if m == w.bare {
		return ""
	}
	w.made++
	return w.try(m, "annex", "metadata", "-t", fmt.Sprint("tag", w.made), w.any(nil))
}

func (w *interleaving) annexSync(m *machine) string {
	if m == w.bare {
		return ""
	}
	return w.try(m, "annex", "sync", "--no-content", "--no-pull", "--no-push")
}

func (w *interleaving) numCopies(m *machine) string {
	return w.try(m, "annex", "numcopies", []string{"2", "3"}[w.rng.IntN(2)])
}

func (w *interleaving) trust(m *machine) string {
	other := w.all[w.rng.IntN(len(w.all))].git("config", "annex.uuid")
	return w.try(m, "annex", []string{"untrust", "semitrust", "semitrust"}[w.rng.IntN(3)], other)
}

// wanted is for the machines but the two that keep all.
func (w *interleaving) wanted(m *machine) string {
	if m == w.all[0] || m == w.bare {
		return ""
	}
	wishes := []string{"", "anything", "exclude=*.iso", "include=*.bin or include=*.txt", "largerthan=150kb", "not copies=3", "present"}
	return w.try(m, "annex", "wanted", ".", wishes[w.rng.IntN(len(wishes))])
}

// What a person does with the agent.

// ask has the agent do something, which it may refuse.
func (w *interleaving) ask(m *machine, what string, do func(context.Context) error) string {
	if m.pid == 0 {
		return ""
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	if err := do(ctx); err != nil {
		what += ": refused: " + err.Error()
	}
	return what
}

// arborDrop has at most one drop of those that want all: a person who lets both do without has too few copies in the end.
func (w *interleaving) arborDrop(m *machine) string {
	name := w.any(nil)
	if f := w.files[name]; f != nil && (m == w.all[0] || m == w.bare) {
		if other := w.without[f.content]; other != nil && other != m {
			return ""
		}
		w.without[f.content] = m
	}
	return w.ask(m, name, func(ctx context.Context) error {
		_, err := m.client().Drop(ctx, control.DropRequest{FilesRequest: m.named(name)})
		return err
	})
}

func (w *interleaving) arborGet(m *machine) string {
	name := w.any(nil)
	return w.ask(m, name, func(ctx context.Context) error {
		return m.client().Get(ctx, control.GetRequest{FilesRequest: m.named(name)}, func(control.GetProgress) error { return nil })
	})
}

func (w *interleaving) pause(m *machine) string {
	return w.ask(m, "all", func(ctx context.Context) error { return m.client().Pause(ctx, control.PauseRequest{Clone: m.dir}) })
}

func (w *interleaving) resume(m *machine) string {
	return w.ask(m, "all", func(ctx context.Context) error { return m.client().Resume(ctx, control.PauseRequest{Clone: m.dir}) })
}

func (w *interleaving) stopAgent(m *machine) string {
	if m.pid == 0 {
		return ""
	}
	m.stop()
	return "in peace"
}

// killAgent kills the agent a moment after something was saved, which is when it has most to lose.
func (w *interleaving) killAgent(m *machine) string {
	if m.pid == 0 {
		return ""
	}
	what := w.create(m)
	strike := time.NewTimer(time.Duration(w.rng.IntN(60)) * time.Millisecond)
	<-strike.C // the moment of the kill is what the test varies
	m.kill()
	return "after " + what
}

func (w *interleaving) startAgent(m *machine) string {
	if m.pid != 0 {
		return ""
	}
	m.spawn()
	return "again"
}
