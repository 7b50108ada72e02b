package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// ignoreRules asks one long-lived `git check-ignore`, which is started anew when a file with rules changes.
type ignoreRules struct {
	start func() (*child, error)

	mu      sync.Mutex
	child   *child
	sources watchedFiles
}

func (g *ignoreRules) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stop()
}

func (g *ignoreRules) stop() {
	if g.child != nil {
		g.child.stop()
		g.child = nil
	}
	g.sources = nil
}

// Ignored reports which of the paths the ignore rules exclude; that of a directory ends with a slash. What HEAD has is never ignored, and false is the
// answer when git cannot tell. Any goroutine may call it.
func (r *Repo) Ignored(paths ...string) []bool {
	ctx := context.Background()
	ignored := make([]bool, len(paths))
	if r.bare {
		return ignored
	}
	valid := slices.DeleteFunc(slices.Clone(paths), func(p string) bool { return ValidPath(strings.TrimSuffix(p, "/")) != nil })
	excluded, err := r.excluded(ctx, valid...)
	if err != nil || len(excluded) == 0 {
		return ignored
	}
	_, head, err := r.Head(ctx)
	if err != nil {
		return ignored
	}
	for i, p := range paths {
		ignored[i] = excluded[p] && !r.has(head, strings.TrimSuffix(p, "/"))
	}
	return ignored
}

// has reports whether a commit, or the zero hash, has a path; true when that cannot be told.
func (r *Repo) has(commit Hash, path string) bool {
	if commit.IsZero() {
		return false
	}
	_, err := r.Entry(commit, path)
	return !errors.Is(err, ErrNotFound)
}

// excluded gives those of the paths that the rules exclude, whatever is tracked.
func (r *Repo) excluded(ctx context.Context, paths ...string) (map[string]bool, error) {
	if len(paths) == 0 {
		return nil, nil
	}
	g := &r.ignore
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.ready(r.ignoreSources(paths)); err != nil {
		return nil, err
	}
	excluded := make(map[string]bool)
	err := g.ask(ctx, paths, excluded)
	if err == nil || ctx.Err() != nil {
		return excluded, ctx.Err()
	}
	for _, p := range paths { // git ends on some: which?
		if err := g.ready(r.ignoreSources([]string{p})); err != nil {
			return nil, err
		}
		err := g.ask(ctx, []string{p}, excluded)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err == nil:
		// Nothing that is ours.
		case strings.Contains(err.Error(), "is beyond a symbolic link"), strings.Contains(err.Error(), "is in submodule"):
		default:
			return nil, fmt.Errorf("ignore rules of %q: %w", p, err)
		}
	}
	return excluded, nil
}

// ready has a child answer by the rules that are in sources now. g.mu is held.
func (g *ignoreRules) ready(sources []string) (err error) {
	changed := false
	if g.sources != nil {
		if changed, err = g.sources.changed(sources); err != nil {
			return fmt.Errorf("read ignore rules: %w", err)
		}
	}
	if !changed && g.child != nil {
		return nil
	}
	g.stop()
	g.sources = make(watchedFiles)
	if _, err := g.sources.changed(sources); err != nil {
		return fmt.Errorf("read ignore rules: %w", err)
	}
	g.child, err = g.start()
	return err
}

// ask adds those of the paths to excluded that are. The child has ended when there is an error. g.mu is held.
func (g *ignoreRules) ask(ctx context.Context, paths []string, excluded map[string]bool) error {
	defer g.child.bounded(ctx)()
	for len(paths) > 0 {
		n, err := g.child.askIgnored(paths, excluded)
		if err != nil {
			g.stop()
			return err
		}
		paths = paths[n:]
	}
	return nil
}

// askIgnored asks check-ignore about as many of the paths as go in one request, at least one: it answers "source NUL line NUL pattern NUL path NUL".
func (c *child) askIgnored(paths []string, excluded map[string]bool) (int, error) {
	request, asked := Request("./", paths) // with ./ a name beginning with a colon is not pathspec magic
	if err := c.send(request); err != nil {
		return 0, err
	}
	for _, p := range paths[:asked] {
		var f [4]string
		for i := range f {
			var err error
			if f[i], err = c.field(0); err != nil {
				return 0, err
			}
		}
		if f[3] != "./"+p {
			return 0, c.failed(fmt.Errorf("%w: answered about %q", ErrMalformed, f[3]))
		}
		if f[2] != "" && f[2][0] != '!' {
			excluded[p] = true
		}
	}
	return asked, nil
}

// ignoreSources lists the files whose rules apply to paths.
func (r *Repo) ignoreSources(paths []string) []string {
	files := []string{
		filepath.Join(r.gitDir, "info", "exclude"),
		r.personal("core.excludesfile", "ignore"),
		filepath.Join(r.dir, ".gitignore"),
	}
	listed := make(map[string]bool)
	for _, p := range paths {
		for i := len(p) - 1; i >= 0; i-- {
			if p[i] != '/' {
				continue
			}
			if listed[p[:i]] { // and all above
				break
			}
			listed[p[:i]] = true
			files = append(files, filepath.Join(r.dir, filepath.FromSlash(p[:i]), ".gitignore"))
		}
	}
	return files
}
