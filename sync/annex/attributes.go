package annex

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/git-arbor/arbor/sync/gitrepo"
)

// attributeNames are the attributes asked for, in the order of fileAttributes' fields.
var attributeNames = []string{"annex.largefiles", "annex.backend", "annex.numcopies", "annex.mincopies"}

// fileAttributes are the values for one file; "" where git says that there is none.
type fileAttributes struct{ largefiles, backend, numcopies, mincopies string }

// attributes asks git for the attributes of files: one long-lived git check-attr, which is started again when a file of attributes on the way to
// a path has changed, because git reads these once.
type attributes struct {
	git *gitrepo.Repo

	mu    sync.Mutex
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
	files map[string]attributeFile // as the running process may have seen them
}

// attributeFile is what tells one version of a file from another; zero when there is no file.
type attributeFile struct {
	size int64
	time time.Time
}

func newAttributes(git *gitrepo.Repo) *attributes { return &attributes{git: git} }

func (a *attributes) close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stop()
}

func (a *attributes) stop() error {
	if a.cmd == nil {
		return nil
	}
	cmd := a.cmd
	a.cmd = nil
	err := a.in.Close()
	if wait := cmd.Wait(); wait != nil {
		err = errors.Join(err, wait)
	}
	if err != nil {
		return fmt.Errorf("end git check-attr: %w", err)
	}
	return nil
}

func (a *attributes) start(ctx context.Context) error {
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "git", append([]string{"check-attr", "-z", "--stdin"}, attributeNames...)...)
	cmd.Dir = a.git.Dir()
	cmd.Env = gitEnv()
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	a.cmd, a.in, a.out = cmd, in, bufio.NewReader(out)
	a.files = make(map[string]attributeFile)
	return nil
}

// of gives the attributes of a path.
func (a *attributes) of(ctx context.Context, path string) (fileAttributes, error) {
	found, err := a.all(ctx, []string{path})
	if err != nil {
		return fileAttributes{}, err
	}
	return found[path], nil
}

// all gives the attributes of many paths, which costs less than asking for one after the other.
func (a *attributes) all(ctx context.Context, paths []string) (map[string]fileAttributes, error) {
	found := make(map[string]fileAttributes, len(paths))
	if err := ctx.Err(); err != nil || len(paths) == 0 {
		return found, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cmd != nil && a.changed(paths) {
		if err := a.stop(); err != nil {
			return nil, err
		}
	}
	if a.cmd == nil {
		if err := a.start(ctx); err != nil {
			return nil, fmt.Errorf("start git check-attr: %w", err)
		}
		a.changed(paths)
	}
	for left := paths; len(left) > 0; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n, err := a.ask(left, found)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("ask git check-attr: %w", err), a.stop())
		}
		left = left[n:]
	}
	return found, nil
}

// ask asks about as many of the paths as go in one request, at least one.
func (a *attributes) ask(paths []string, found map[string]fileAttributes) (int, error) {
	request, asked := gitrepo.Request("", paths)
	if _, err := a.in.Write(request); err != nil {
		return 0, err
	}
	for _, path := range paths[:asked] {
		attrs, err := a.answer()
		if err != nil {
			return 0, err
		}
		found[path] = attrs
	}
	return asked, nil
}

// answer reads what git says of one path.
func (a *attributes) answer() (fileAttributes, error) {
	values := make([]string, len(attributeNames))
	for i := range values {
		for range 3 { // path, name, value
			field, err := a.out.ReadString(0)
			if err != nil {
				return fileAttributes{}, err
			}
			values[i] = strings.TrimSuffix(field, "\x00")
		}
		if values[i] == "unspecified" {
			values[i] = ""
		}
	}
	return fileAttributes{largefiles: values[0], backend: values[1], numcopies: values[2], mincopies: values[3]}, nil
}

// changed says whether a file of attributes for the paths is not as it was when first looked at since the process began.
func (a *attributes) changed(paths []string) bool {
	changed := a.fileChanged(filepath.Join(a.git.GitDir(), "info", "attributes"))
	looked := make(map[string]bool)
	for _, path := range paths {
		for dir := path; dir != "." && dir != "/"; {
			dir = filepath.Dir(dir)
			if looked[dir] { // and all above
				break
			}
			looked[dir] = true
			changed = a.fileChanged(filepath.Join(a.git.Dir(), dir, ".gitattributes")) || changed
		}
	}
	return changed
}

func (a *attributes) fileChanged(name string) bool {
	var now attributeFile
	if st, err := os.Lstat(name); err == nil {
		now = attributeFile{st.Size(), st.ModTime()}
	}
	was, seen := a.files[name]
	a.files[name] = now
	return seen && was != now
}
