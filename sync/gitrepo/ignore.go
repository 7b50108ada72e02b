package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
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

// Ignored reports whether the ignore rules exclude path; dir says that it is a directory. What HEAD has is never
// ignored, and false is the answer when git cannot tell. Any goroutine may call it.
func (r *Repo) Ignored(path string, dir bool) bool {
	ignored, err := r.ignored(context.Background(), path, dir)
	return err == nil && ignored
}

func (r *Repo) ignored(ctx context.Context, path string, dir bool) (bool, error) {
	if r.bare || ValidPath(path) != nil {
		return false, nil
	}
	_, head, err := r.Head(ctx)
	if err != nil {
		return false, err
	}
	if !head.IsZero() {
		_, err := r.Entry(head, path)
		if err == nil {
			return false, nil
		}
		if !errors.Is(err, ErrNotFound) {
			return false, err
		}
	}
	return r.excluded(ctx, path, dir)
}

// excluded asks for the rules alone, whatever is tracked.
func (r *Repo) excluded(ctx context.Context, path string, dir bool) (bool, error) {
	g := &r.ignore
	g.mu.Lock()
	defer g.mu.Unlock()
	sources := r.ignoreSources(path)
	changed, err := false, error(nil)
	if g.sources != nil {
		if changed, err = g.sources.changed(sources); err != nil {
			return false, fmt.Errorf("read ignore rules: %w", err)
		}
	}
	if changed || g.child == nil {
		g.stop()
		g.sources = make(watchedFiles)
		if _, err := g.sources.changed(sources); err != nil {
			return false, fmt.Errorf("read ignore rules: %w", err)
		}
		if g.child, err = g.start(); err != nil {
			return false, err
		}
	}
	defer g.child.bounded(ctx)()
	if dir {
		path += "/"
	}
	yes, err := g.child.askIgnored(path)
	if err != nil {
		// It ends on a path beyond a symbolic link or inside a submodule: nothing that is ours.
		g.stop()
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		if strings.Contains(err.Error(), "is beyond a symbolic link") || strings.Contains(err.Error(), "is in submodule") {
			return false, nil
		}
		return false, fmt.Errorf("ignore rules of %q: %w", path, err)
	}
	return yes, nil
}

// askIgnored asks check-ignore about one path: it answers "source NUL line NUL pattern NUL path NUL".
func (c *child) askIgnored(path string) (bool, error) {
	path = "./" + path // a name beginning with a colon is not pathspec magic then
	if err := c.send([]byte(path + "\x00")); err != nil {
		return false, err
	}
	var f [4]string
	for i := range f {
		var err error
		if f[i], err = c.field(0); err != nil {
			return false, err
		}
	}
	if f[3] != path {
		return false, c.failed(fmt.Errorf("%w: answered about %q", ErrMalformed, f[3]))
	}
	return f[2] != "" && f[2][0] != '!', nil
}

// ignoreSources lists the files whose rules apply to path.
func (r *Repo) ignoreSources(path string) []string {
	files := []string{
		filepath.Join(r.gitDir, "info", "exclude"),
		r.personal("core.excludesfile", "ignore"),
		filepath.Join(r.dir, ".gitignore"),
	}
	for i, c := range path {
		if c == '/' {
			files = append(files, filepath.Join(r.dir, filepath.FromSlash(path[:i]), ".gitignore"))
		}
	}
	return files
}
