package annex

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"

	"github.com/git-arbor/arbor/sync/gitrepo"
)

// FilterProcess is git's long-running filter process (gitattributes(5), "Long Running Filter Process") for filter=annex, for machines without
// git-annex. It serves in until its end. Content that annex.largefiles matches is annexed and becomes its pointer in git; pointers are checked
// out as they are, and noted for Repo.Smudged. It never touches the index, which git has locked meanwhile.
func FilterProcess(ctx context.Context, git *gitrepo.Repo, in io.Reader, out io.Writer) error {
	repo, err := Open(ctx, git)
	if err != nil {
		return err
	}
	f := &filter{
		repo:  repo,
		in:    &pktReader{in: bufio.NewReaderSize(in, maxPktData+4)},
		out:   &pktWriter{out: bufio.NewWriterSize(out, maxPktData+4)},
		index: &indexReader{dir: git.Dir()},
	}
	err = f.serve(ctx)
	return errors.Join(err, f.record(ctx), repo.Close())
}

// filter is one session with git.
type filter struct {
	repo   *Repo
	in     *pktReader
	out    *pktWriter
	index  *indexReader
	added  []Location
	failed []error // what went wrong with single files; git goes on with the next one
}

func (f *filter) serve(ctx context.Context) error {
	if err := f.greet(); err != nil {
		return fmt.Errorf("greet git: %w", err)
	}
	for ctx.Err() == nil {
		request, err := f.in.list()
		if errors.Is(err, io.EOF) {
			return errors.Join(f.failed...)
		}
		if err != nil {
			return fmt.Errorf("read request of git: %w", err)
		}
		if err := f.answer(ctx, request); err != nil {
			return errors.Join(append(f.failed, fmt.Errorf("answer git: %w", err))...)
		}
	}
	return ctx.Err()
}

// greet agrees with git on version 2 of the protocol and on what is offered.
func (f *filter) greet() error {
	hello, err := f.in.list()
	if err != nil {
		return noEOF(err)
	}
	if len(hello) == 0 || hello[0] != "git-filter-client" || !slices.Contains(hello, "version=2") {
		return fmt.Errorf("not git's filter protocol, version 2: %q", hello)
	}
	if err := f.out.lines("git-filter-server", "version=2"); err != nil {
		return err
	}
	if _, err := f.in.list(); err != nil {
		return noEOF(err)
	}
	return f.out.lines("capability=clean", "capability=smudge")
}

// answer serves one request. Its content is read to the end before anything is written, since git does not read before it has written all.
func (f *filter) answer(ctx context.Context, request []string) error {
	var command, path string
	for _, line := range request {
		switch key, value, _ := strings.Cut(line, "="); key {
		case "command":
			command = value
		case "pathname":
			path = value
		}
	}
	c := &cleaning{filter: f, path: path}
	content, err := f.repo.spoolContent(ctx, f.in.content(), func() (hash.Hash, error) {
		if command != "clean" {
			return nil, nil
		}
		err := c.begin(ctx)
		return c.hash(), err
	})
	if err != nil {
		return err
	}
	defer content.close()
	var replacement []byte
	switch command {
	case "clean":
		replacement, err = c.finish(ctx, content)
	case "smudge":
		err = f.smudge(ctx, path, content)
	default:
		err = fmt.Errorf("%w: command %q", errors.ErrUnsupported, command)
	}
	if err != nil {
		f.failed = append(f.failed, fmt.Errorf("%s %s: %w", command, path, err))
		return f.out.lines("status=error")
	}
	if err := f.out.lines("status=success"); err != nil {
		return err
	}
	if replacement != nil {
		_, err = f.out.Write(replacement)
	} else {
		err = content.writeTo(ctx, f.out)
	}
	if err != nil {
		return err
	}
	if err := f.out.flush(); err != nil {
		return err
	}
	return f.out.flush()
}

// smudge notes a pointer; content goes out as it is in git.
func (f *filter) smudge(ctx context.Context, path string, content *spool) error {
	if content.file != nil {
		return nil
	}
	k, ok := ParsePointer(content.head)
	if !ok {
		return nil
	}
	return f.repo.noteSmudged(ctx, k, path)
}

// record writes to the location log what the session has annexed.
func (f *filter) record(ctx context.Context) error {
	if len(f.added) == 0 {
		return nil
	}
	_, err := f.repo.Record(ctx, f.added)
	return err
}
