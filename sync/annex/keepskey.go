package annex

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/git-arbor/arbor/sync/gitrepo"
)

// isObject says whether content of this size is that of the key's object, for keys of backends that Arbor cannot compute (WORM, URL, external
// ones): a file that nobody has changed keeps its key. write writes the content. It is false for all other keys.
func (r *Repo) isObject(k Key, size int64, write func(io.Writer) error) (bool, error) {
	if _, computed := newBackendHash(k.Backend()); computed || k.IsZero() {
		return false, nil
	}
	path, present := r.ObjectPath(k)
	if !present {
		return false, nil
	}
	object, err := os.Open(path)
	if err != nil {
		return false, fmt.Errorf("compare with object: %w", err)
	}
	defer object.Close()
	st, err := object.Stat()
	if err != nil || st.Size() != size {
		return false, err
	}
	switch err := write(&comparer{with: object}); {
	case errors.Is(err, errDiffers):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("compare with object: %w", err)
	}
	return true, nil
}

var errDiffers = errors.New("content differs")

// comparer is written content, and compares it with what it reads.
type comparer struct {
	with io.Reader
	buf  []byte
}

func (c *comparer) Write(p []byte) (int, error) {
	if len(c.buf) < len(p) {
		c.buf = make([]byte, len(p))
	}
	n, err := io.ReadFull(c.with, c.buf[:len(p)])
	if err == nil && bytes.Equal(c.buf[:n], p) {
		return n, nil
	}
	return 0, errDiffers
}

// keepsKey says whether a file of the work tree, which was seen with st, still has the content of a key, as isObject does. It is false for a file
// that is the object itself (annex.thin), and so proves nothing.
func (r *Repo) keepsKey(ctx context.Context, path string, st gitrepo.Stat, k Key) (bool, error) {
	if k.IsZero() {
		return false, nil
	}
	object, _ := r.ObjectPath(k)
	var its unix.Stat_t
	if unix.Lstat(object, &its) == nil && sameInode(&its, st) {
		return false, nil
	}
	same, err := r.isObject(k, st.Size, func(w io.Writer) error {
		f, err := os.OpenFile(r.workPath(path), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		n, err := copyContent(ctx, w, f)
		if err == nil && n != st.Size {
			err = errDiffers
		}
		return err
	})
	if !same || err != nil {
		return false, err
	}
	_, err = r.unchanged(path, st, false)
	return err == nil, err
}
