package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/gitrepo"
	"github.com/git-arbor/arbor/sync/p2p"
)

var (
	// ErrNoAnnex says that a git repository has no contents, or that nobody there serves them.
	ErrNoAnnex = errors.New("it has no annex")
	// ErrOther says that another repository is now where the remote was.
	ErrOther = errors.New("another repository is there")
)

// A Session is a way to a remote's contents, for one goroutine at a time. Every call ends with its context. An error that wraps
// gitrepo.ErrUnreachable says nothing about what the remote has. After an error of a call, Open another.
type Session interface {
	// Has asks whether the remote has the content now.
	Has(ctx context.Context, key annex.Key) (bool, error)

	// Get brings the content into the clone's annex, from the byte on that came before, and proves it. It is p2p.ErrAbsent when the
	// remote does not have it, p2p.ErrBusy when it is coming already, annex.ErrBadContent when the remote has something else under its
	// name. file is what people call it; may be empty. progress, if it is not nil, is told how many bytes are here.
	Get(ctx context.Context, key annex.Key, file string, progress func(bytes int64)) error

	// Put brings the content, which must be in the clone's annex, to the remote. It is nil as well when the remote has it already. progress is
	// told how many bytes are there.
	Put(ctx context.Context, key annex.Key, file string, progress func(bytes int64)) error

	// Lock has the remote prove that it has the content. A git repository keeps it until unlock is called; the session takes no other call
	// meanwhile. Of a special remote, which removes nothing by itself, it is enough that the content is there: others that remove it from there
	// prove that there are other copies first. It is p2p.ErrFailed when the content is not there, or is being removed.
	Lock(ctx context.Context, key annex.Key) (unlock func(context.Context) error, err error)

	// Close ends what the session has running, and waits for it.
	Close() error
}

// Open begins a session with a remote that may be read or written and whose UUID is known. What it cannot limit to a rate (some of what
// git-annex runs) is not.
//
// Where contents have come to be is for the caller to record: of Get for the clone, of Put for the remote.
// git-annex itself (Program) has done so already, and a git repository that was put to knows it too.
func (r *Remote) Open(ctx context.Context, limits p2p.Limits) (Session, error) {
	s, err := r.open(ctx, limits)
	if err != nil {
		return nil, fmt.Errorf("open remote %s: %w", r.Name, err)
	}
	return s, nil
}

func (r *Remote) open(ctx context.Context, limits p2p.Limits) (Session, error) {
	switch {
	case r.Kind == Plain:
		return nil, ErrNoAnnex
	case !r.Read && !r.Write:
		return nil, errors.New("its contents are neither to be read nor written")
	case r.UUID == "":
		return nil, errors.New("its uuid is not known yet")
	}
	switch r.Kind {
	case SSH:
		return openShell(ctx, r, limits)
	case Path:
		return openPath(ctx, r, limits)
	case Directory:
		return openDirectory(r, limits)
	default:
		return openProgram(r, limits)
	}
}

// lockPresent is Lock for special remotes.
func lockPresent(ctx context.Context, s Session, key annex.Key) (unlock func(context.Context) error, err error) {
	present, err := s.Has(ctx, key)
	if err == nil && !present {
		err = fmt.Errorf("look for %s: %w", key, p2p.ErrFailed)
	}
	return func(context.Context) error { return nil }, err
}

// object is content of this clone's annex, on its way out.
type object struct {
	*os.File
	info os.FileInfo
}

// outgoing opens content that is to be put there; p2p.ErrAbsent when it is not here.
func (r *Remote) outgoing(key annex.Key) (object, error) {
	if !r.Write {
		return object{}, fmt.Errorf("put %s: remote %s is not to be written", key, r.Name)
	}
	path, present := r.repo.ObjectPath(key)
	if !present {
		return object{}, fmt.Errorf("put %s: it is not here: %w", key, p2p.ErrAbsent)
	}
	return openContent(key, path)
}

// openContent opens a file that should have the content of a key.
func openContent(key annex.Key, path string) (object, error) {
	// Not blocking: a pipe would wait for its writer.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return object{}, err
	}
	info, err := file.Stat()
	if err == nil {
		err = fits(key, info)
	}
	if err != nil {
		_ = file.Close()
		return object{}, fmt.Errorf("%s: %w", path, err)
	}
	return object{file, info}, nil
}

// fits is annex.ErrBadContent when a file cannot be the content of a key.
func fits(key annex.Key, info os.FileInfo) error {
	switch size, ok := key.Size(); {
	case !info.Mode().IsRegular():
		return fmt.Errorf("%w: it is no file", annex.ErrBadContent)
	case ok && info.Size() != size:
		return fmt.Errorf("%w: %d bytes instead of %d", annex.ErrBadContent, info.Size(), size)
	}
	return nil
}

// unchanged says whether the content is as it was when it was opened.
func (o object) unchanged() bool {
	now, err := o.Stat()
	return err == nil && now.Size() == o.info.Size() && now.ModTime().Equal(o.info.ModTime())
}

// arrival is content on its way into an annex.
type arrival struct {
	repo     *annex.Repo
	key      annex.Key
	from     string // uuid of where it comes from
	progress func(int64)
}

// receive has fetch write the content from an offset on, and makes it an object when it is proven. A file that should have it, if there is one,
// shares its blocks where the file system can.
func (a arrival) receive(ctx context.Context, same *os.File, fetch func(offset int64, dst io.Writer) error) error {
	repo, key := a.repo, a.key
	if repo.Has(key) {
		return nil
	}
	p, err := p2p.OpenPartial(repo, key, a.from)
	if err != nil {
		return err
	}
	defer p.Close()
	for {
		if size, ok := key.Size(); ok {
			if err := repo.Room(size - p.Size()); err != nil {
				return err
			}
		}
		if same != nil {
			_ = p.Clone(same)
		}
		resumed := p.Size()
		m := meter{done: resumed, progress: a.progress}
		m.tell()
		err := p.Fill(ctx, func(dst io.Writer) error {
			if p.Complete() {
				return nil
			}
			m.dst = dst
			return fetch(resumed, &m)
		})
		if !errors.Is(err, annex.ErrBadContent) || resumed == 0 {
			return err
		}
		same = nil // what was here before may be what was bad; it is forgotten now
	}
}

// meter counts the bytes on their way to dst.
type meter struct {
	dst      io.Writer
	done     int64
	progress func(int64)
}

func (m *meter) Write(b []byte) (int, error) {
	n, err := m.dst.Write(b)
	m.done += int64(n)
	m.tell()
	return n, err
}

func (m *meter) tell() {
	if m.progress != nil {
		m.progress(m.done)
	}
}

// unreachable says why a place on this machine is not there.
func unreachable(err error) error {
	return fmt.Errorf("%w: %w", gitrepo.ErrUnreachable, err)
}

// copy receives content from a file of this machine.
func (a arrival) copy(ctx context.Context, src object, limit p2p.Limiter) error {
	return a.receive(ctx, src.File, func(offset int64, dst io.Writer) error {
		missing := src.info.Size() - offset
		if _, ok := a.key.Size(); !ok {
			if err := a.repo.Room(missing); err != nil {
				return err
			}
		}
		_, err := p2p.Copy(ctx, dst, io.NewSectionReader(src, offset, missing), limit)
		return err
	})
}
