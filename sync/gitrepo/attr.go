package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// maxAttributes bounds a .gitattributes file that is read in process; git has the same bound.
const maxAttributes = 100 << 20

// attributes answers whether git converts the content of a path between repository and work tree: clean and smudge
// filters, line ends, ident, encodings. Almost no repository asks for that; in those that do not, no process is
// started. filter=annex counts as no conversion, for annexed files are handled by the caller.
type attributes struct {
	start func() (*child, error)

	mu      sync.Mutex
	child   *child
	sources watchedFiles
	plain   map[string]fileStamp // attribute files that say nothing about conversion
}

// close ends the process.
func (a *attributes) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stop()
}

func (a *attributes) stop() {
	if a.child != nil {
		a.child.stop()
		a.child = nil
	}
}

// watchedFiles remembers the state of files that a long-lived process has read.
type watchedFiles map[string]fileStamp

// changed reports whether a file is not as it was when it was first named, and remembers those named first.
func (w watchedFiles) changed(paths []string) (bool, error) {
	for _, p := range paths {
		now, err := stampFile(p)
		if err != nil {
			return false, err
		}
		then, known := w[p]
		if !known {
			w[p] = now
			continue
		}
		sure := then.trustworthy || !then.present
		then.trustworthy, now.trustworthy = false, false
		if now != then || !sure {
			return true, nil
		}
	}
	return false, nil
}

// conversion is what lies between a blob and the work-tree file it stands for.
type conversion uint8

const (
	asIs     conversion = iota // the same bytes
	lineEnds                   // CR LF in the file may become LF in the blob; a file without CR is the blob
	byGit                      // only git can tell
)

// conversions returns the paths whose content git may convert; those that are missing are asIs.
func (r *Repo) conversions(ctx context.Context, paths []string) (map[string]conversion, error) {
	a := &r.attrs
	a.mu.Lock()
	defer a.mu.Unlock()
	found := make(map[string]conversion)
	if v := strings.ToLower(r.Config("core.autocrlf")); v == "input" || parseBool(v, false) {
		for _, p := range paths {
			found[p] = byGit
		}
		return found, nil
	}
	sources, suspect, err := r.attributeSources(ctx, paths)
	if err != nil {
		return nil, fmt.Errorf("read attributes: %w", err)
	}
	if len(suspect) == 0 {
		return found, nil
	}
	changed, err := a.sources.changed(sources)
	if err != nil {
		return nil, fmt.Errorf("read attributes: %w", err)
	}
	if changed || a.child == nil {
		a.stop()
		a.sources = make(watchedFiles)
		if _, err := a.sources.changed(sources); err != nil {
			return nil, fmt.Errorf("read attributes: %w", err)
		}
		if a.child, err = a.start(); err != nil {
			return nil, err
		}
	}
	defer a.child.bounded(ctx)()
	crlf := strings.EqualFold(r.Config("core.eol"), "crlf")
	for _, p := range suspect {
		c, err := a.child.askConversion(p)
		if err != nil {
			a.stop()
			return nil, fmt.Errorf("read attributes of %q: %w", p, err)
		}
		if c == lineEnds && crlf {
			c = byGit
		}
		if c != asIs {
			found[p] = c
		}
	}
	return found, nil
}

// conversionAttributes are what check-attr is asked for, in this order.
var conversionAttributes = []string{"filter", "text", "crlf", "eol", "ident", "working-tree-encoding"}

// askConversion asks check-attr about one path: it answers "path NUL attribute NUL value NUL" per attribute.
func (c *child) askConversion(path string) (conversion, error) {
	if err := c.send([]byte(path + "\x00")); err != nil {
		return byGit, err
	}
	conv := asIs
	for _, want := range conversionAttributes {
		var f [3]string
		for i := range f {
			var err error
			if f[i], err = c.field(0); err != nil {
				return byGit, err
			}
		}
		if f[0] != path || f[1] != want {
			return byGit, c.failed(fmt.Errorf("%w: answered about %q", ErrMalformed, f[0]))
		}
		switch v := f[2]; {
		case v == "unspecified", v == "unset", want == "filter" && v == "annex":
		case want == "text", want == "crlf", want == "eol" && v == "lf":
			conv = max(conv, lineEnds)
		default:
			conv = byGit
		}
	}
	return conv, nil
}

// attributeSources finds the attribute files that apply to paths, and the paths for which one of them says anything about
// conversion. The files in the work tree and, where they are missing there, the ones in HEAD count.
func (r *Repo) attributeSources(ctx context.Context, paths []string) (sources, suspect []string, err error) {
	if r.attrs.plain == nil {
		r.attrs.plain = make(map[string]fileStamp)
		r.attrs.sources = make(watchedFiles)
	}
	everywhere := false
	sources = r.globalAttributes()
	for _, p := range sources {
		harmless, err := r.harmlessFile(p)
		if err != nil {
			return nil, nil, err
		}
		everywhere = everywhere || !harmless
	}
	_, head, err := r.Head(ctx)
	if err != nil {
		return nil, nil, err
	}
	root, err := r.rootTree(head)
	if err != nil {
		return nil, nil, err
	}
	// Whether anything in a directory or above it speaks of conversion.
	dirs := make(map[string]bool)
	var look func(dir string) (bool, error)
	look = func(dir string) (bool, error) {
		if v, ok := dirs[dir]; ok {
			return v, nil
		}
		above := everywhere
		if dir != "" {
			parent, _, _ := splitDir("/" + dir)
			var err error
			if above, err = look(strings.TrimPrefix(parent, "/")); err != nil {
				return false, err
			}
		}
		file := filepath.Join(r.dir, filepath.FromSlash(dir), ".gitattributes")
		sources = append(sources, file)
		harmless, err := r.harmlessFile(file)
		if err == nil && harmless {
			harmless, err = r.harmlessBlob(root, dir)
		}
		dirs[dir] = above || !harmless
		return dirs[dir], err
	}
	for _, p := range paths {
		dir, _, ok := splitDir(p)
		if !ok {
			dir = ""
		}
		yes, err := look(dir)
		if err != nil {
			return nil, nil, err
		}
		if yes {
			suspect = append(suspect, p)
		}
	}
	return sources, suspect, nil
}

// harmlessFile reports whether an attribute file does not exist or says nothing about conversion. The answer is
// kept while the file stays as it is.
func (r *Repo) harmlessFile(path string) (bool, error) {
	st, err := stampFile(path)
	if err != nil {
		return false, err
	}
	if !st.present {
		return true, nil
	}
	if then, ok := r.attrs.plain[path]; ok && then == st && st.trustworthy {
		return true, nil
	}
	data, err := readSmall(path, min(st.size, maxAttributes))
	if err != nil {
		return false, nil // a directory, a link to nowhere, too big: git shall decide
	}
	if !harmlessAttributes(string(data)) {
		return false, nil
	}
	r.attrs.plain[path] = st
	return true, nil
}

// harmlessBlob is harmlessFile for a .gitattributes that only HEAD has.
func (r *Repo) harmlessBlob(root Hash, dir string) (bool, error) {
	path := ".gitattributes"
	if dir != "" {
		path = dir + "/" + path
	}
	e, err := r.objects.lookup(root, path)
	if errors.Is(err, ErrNotFound) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	data, err := r.Blob(e.Hash, maxAttributes)
	if err != nil {
		return false, nil
	}
	return harmlessAttributes(string(data)), nil
}

// harmlessAttributes reports whether no line sets an attribute that may convert content.
func harmlessAttributes(text string) bool {
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if line[0] == '"' || strings.HasPrefix(line, "[attr]") {
			return false // a quoted pattern or a macro: not worth a parser
		}
		for i, attr := range strings.Fields(line) {
			if i > 0 && !harmlessAttribute(attr) {
				return false
			}
		}
	}
	return true
}

func harmlessAttribute(attr string) bool {
	if attr == "filter=annex" || strings.HasPrefix(attr, "-") || strings.HasPrefix(attr, "!") {
		return true
	}
	name, _, _ := strings.Cut(attr, "=")
	switch name {
	case "filter", "text", "crlf", "eol", "ident", "working-tree-encoding":
		return false
	}
	// A name that is not git's own may be a macro defined elsewhere, except those that git-annex reads.
	switch name {
	case "diff", "merge", "whitespace", "export-ignore", "export-subst", "delta", "encoding", "conflict-marker-size":
		return true
	}
	return strings.HasPrefix(name, "annex.") || strings.HasPrefix(name, "linguist-")
}

// globalAttributes lists the attribute files outside the work tree: info/attributes, the person's, the system's.
func (r *Repo) globalAttributes() []string {
	files := []string{filepath.Join(r.gitDir, "info", "attributes"), "/etc/gitattributes"}
	if os.Getenv("GIT_ATTR_NOSYSTEM") != "" {
		files = files[:1]
	}
	return append(files, r.personal("core.attributesfile", "attributes"))
}

// personal resolves a file of the person that git's configuration may name, else $XDG_CONFIG_HOME/git/NAME.
func (r *Repo) personal(key, name string) string {
	home := os.Getenv("HOME")
	if p := r.Config(key); p != "" {
		if rest, ok := strings.CutPrefix(p, "~/"); ok {
			return filepath.Join(home, rest)
		}
		if filepath.IsAbs(p) {
			return p
		}
		return filepath.Join(r.dir, p)
	}
	xdg := os.Getenv("XDG_CONFIG_HOME")
	if xdg == "" {
		xdg = filepath.Join(home, ".config")
	}
	return filepath.Join(xdg, "git", name)
}
