package annex

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/git-arbor/arbor/sync/gitrepo"
)

// AddOptions say how Add adds.
type AddOptions struct {
	// Locked replaces the file by a symbolic link to its object, except where git has a pointer, and where its content is what it was: a person
	// has unlocked that, and git annex unlock tells git of it only when it is done with all files.
	Locked bool
}

// ToAdd is a file of the work tree that is to be added.
type ToAdd struct {
	Path string
	AddOptions
}

// Added is a file that Add has taken into the annex.
type Added struct {
	Key     Key
	Mode    gitrepo.Mode
	Content []byte       // what git is to hold: the pointer, or the target of the link
	Stat    gitrepo.Stat // of the file as it now is in the work tree
	Here    bool         // the content is here, which is to be recorded; false only for a pointer whose content is elsewhere
	Err     error        // why AddAll has not added it
}

// Add is AddAll for one file.
func (r *Repo) Add(ctx context.Context, path string, opts AddOptions) (Added, error) {
	added := r.AddAll(ctx, []ToAdd{{path, opts}})[0]
	return added, added.Err
}

// AddAll copies regular files of the work tree into the annex, hashing them on the way, or makes them the objects themselves where annex.thin says so.
// All contents become durable together, before a file is touched, and the others are added when one cannot be. An error wraps gitrepo.ErrChanged when
// the file changed meanwhile, or somebody has it open for writing; nothing but an object that nobody refers to may have been left behind then. A file that is a pointer stays that
// pointer. The location log is not touched: Record that.
func (r *Repo) AddAll(ctx context.Context, files []ToAdd) []Added {
	b := r.NewBatch()
	defer b.Close()
	adding := make([]adding, len(files))
	_, head, err := r.git.Head(ctx)
	attrs, failed := r.attrs.all(ctx, validPaths(files))
	err = cmp.Or(err, failed)
	gitrepo.Each(len(files), func(i int) {
		if adding[i].Err = err; err == nil {
			adding[i].Err = adding[i].ingest(ctx, b, files[i], attrs[files[i].Path], head)
		}
	})
	for i := range adding {
		if a := &adding[i]; a.Err == nil && a.content.path != "" {
			a.content.placed = func(err error) { a.Err = err }
			b.waiting = append(b.waiting, a.content)
		}
	}
	_ = b.Place() // each is told
	added := make([]Added, len(files))
	gitrepo.Each(len(files), func(i int) {
		a := &adding[i]
		if a.Err == nil {
			a.Err = a.finish(ctx, b, files[i].Path)
		}
		if a.Err != nil {
			a.Added = Added{Err: fmt.Errorf("add %s: %w", files[i].Path, a.Err)}
		}
		added[i] = a.Added
	})
	return added
}

// validPaths gives those of the paths that git can be asked about.
func validPaths(files []ToAdd) (paths []string) {
	for _, f := range files {
		if gitrepo.ValidPath(f.Path) == nil {
			paths = append(paths, f.Path)
		}
	}
	return paths
}

// adding is a file on its way into the annex.
type adding struct {
	Added
	content waiting // that is to become an object; none when its path is ""
	locked  bool    // a link is to take its place
}

// ingest makes the content of a file, which is in the commit head or new, ready to become an object.
func (a *adding) ingest(ctx context.Context, b *Batch, f ToAdd, attrs fileAttributes, head gitrepo.Hash) error {
	r := b.repo
	if err := cmp.Or(ctx.Err(), gitrepo.ValidPath(f.Path)); err != nil {
		return err
	}
	st, pointer, err := r.readPointer(f.Path)
	if err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return errors.New("not a regular file")
	}
	old, err := r.entryOf(head, f.Path)
	if err != nil {
		return err
	}
	a.Added = Added{Mode: r.gitMode(st, old), Stat: st, Here: true}
	if k, ok := ParsePointer(pointer); ok {
		a.Key, a.Content, a.Here = k, pointer, r.Has(k)
		return nil
	}
	if f.Locked {
		unlocked, err := r.unlocked(f.Path, old)
		if err != nil {
			return err
		}
		a.locked = !unlocked
	}
	oldKey, _ := EntryKey(r.git, old)
	kept, err := r.keepsKey(ctx, f.Path, st, oldKey)
	if err != nil {
		return err
	}
	if a.Key = oldKey; !kept {
		maker, err := r.keyMaker(f.Path, attrs, oldKey)
		if err != nil {
			return err
		}
		if a.content, err = b.ingest(ctx, f.Path, st, maker, a.locked); err != nil {
			return err
		}
		a.Key = a.content.key
	}
	a.locked = a.locked && a.Key != oldKey
	a.Content = Pointer(a.Key)
	return nil
}

// finish has a file be what git is told of it, now that there is an object.
func (a *adding) finish(ctx context.Context, b *Batch, path string) error {
	switch {
	case a.locked:
		group, err := b.tmpGroup(ctx)
		if err != nil {
			return err
		}
		a.Added, err = b.repo.lockFile(group.dir, path, a.Key, a.Stat)
		return err
	case a.content.thin:
		var err error
		a.Stat, err = b.repo.unchanged(path, a.Stat, true)
		return err
	}
	return nil
}

// unlocked says whether git has a pointer at path: in the index or, where that has nothing, in the current commit, which has old.
func (r *Repo) unlocked(path string, old gitrepo.Entry) (bool, error) {
	entry, err := r.git.Staged(path)
	if err != nil {
		return false, fmt.Errorf("look for %s in the index: %w", path, err)
	}
	if entry.IsZero() {
		entry = old
	}
	_, annexed := EntryKey(r.git, entry)
	return annexed && entry.Mode.IsRegular(), nil
}

// gitMode gives the mode that git has for a regular file which now has old. Where the file system has no permission to execute, old has it.
func (r *Repo) gitMode(st gitrepo.Stat, old gitrepo.Entry) gitrepo.Mode {
	executable := st.Mode&0o100 != 0
	if !r.git.ConfigBool("core.filemode", true) {
		executable = old.Mode == gitrepo.ModeExecutable
	}
	if executable {
		return gitrepo.ModeExecutable
	}
	return gitrepo.ModeFile
}

// ingest takes the content of a file, which was seen with st. Any goroutine may call it.
func (b *Batch) ingest(ctx context.Context, path string, st gitrepo.Stat, maker *keyMaker, locked bool) (w waiting, err error) {
	r := b.repo
	src, err := os.OpenFile(r.workPath(path), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return w, err
	}
	defer func() { _ = src.Close() }()
	var opened unix.Stat_t
	if err := unix.Fstat(int(src.Fd()), &opened); err != nil {
		return w, err
	}
	if !sameInode(&opened, st) || gitrepo.BeingWritten(src) {
		return w, gitrepo.ErrChanged
	}
	group, err := b.tmpGroup(ctx)
	if err != nil {
		return w, err
	}
	if !locked {
		w.path = r.linkFile(group.dir, path, &opened, maker.old)
	}
	var size int64
	if w.thin = w.path != ""; w.thin {
		size, err = copyContent(ctx, maker.hash, src)
	} else if err = r.Room(st.Size); err == nil {
		if w.path, size, err = copyIn(ctx, group.dir, 0o600, src, maker.hash); err == nil {
			err = os.Chmod(w.path, fs.FileMode(st.Mode&0o777|0o400))
		}
	}
	if err == nil {
		_, err = r.unchanged(path, st, w.thin)
	}
	if err == nil && (size != st.Size || gitrepo.BeingWritten(src)) { // the rest may be about to be written
		err = gitrepo.ErrChanged
	}
	if err != nil {
		if w.path != "" {
			_ = os.Remove(w.path)
		}
		return waiting{}, err
	}
	w.key = maker.key(size)
	w.blocks = blockListOf(w.key, maker.hash)
	return w, nil
}

// unchanged gives the stat of a file that is as it was when it was seen with st; it is gitrepo.ErrChanged when it is not. A thin one has got another
// name since.
func (r *Repo) unchanged(path string, st gitrepo.Stat, thin bool) (gitrepo.Stat, error) {
	now, err := r.git.Stat(path)
	if thin {
		st.Ctime = now.Ctime
	}
	if err != nil || now != st {
		return now, gitrepo.ErrChanged
	}
	return now, nil
}

// lockFile puts a link to its object, which is made in dir, in the place of a file that is as it was when it was seen with st, and that nobody writes to.
func (r *Repo) lockFile(dir, path string, k Key, st gitrepo.Stat) (Added, error) {
	return r.placeLink(dir, path, k, st, idle)
}

// placeLink puts a link to the key's object, which is made in dir, in the place of what was seen at path with st, if same says that it still is that.
func (r *Repo) placeLink(dir, path string, k Key, st gitrepo.Stat, same func(replaced string) bool) (Added, error) {
	target := LinkTarget(path, k)
	link, err := tempLink(dir, target)
	if err != nil {
		return Added{}, err
	}
	if err := r.replace(path, link, st, same); err != nil {
		return Added{}, err
	}
	now, err := r.git.Stat(path)
	if err != nil {
		return Added{}, err
	}
	return Added{Key: k, Mode: gitrepo.ModeSymlink, Content: []byte(target), Stat: now, Here: r.Has(k)}, nil
}

// tempLink makes a symbolic link under a name of its own in dir.
func tempLink(dir, target string) (string, error) {
	name := filepath.Join(dir, "link"+rand.Text())
	return name, os.Symlink(target, name)
}
