package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/p2p"
)

// copyAll gets content from files on this machine.
func (w *worker) copyAll(ctx context.Context) {
	for a := w.next(ctx, false); a != nil; a = w.next(ctx, false) {
		err := w.copy(ctx, a)
		if errors.Is(err, annex.ErrBadContent) && a.offset > 0 {
			a.offset = 0
			err = w.copy(ctx, a)
		}
		w.finish(ctx, a, err)
	}
}

func (w *worker) copy(ctx context.Context, a *arrival) error {
	err := fmt.Errorf("%w on this machine", p2p.ErrAbsent)
	for _, path := range w.q.o.Local(a.Key) {
		if err = w.copyFile(ctx, a, path); err == nil {
			return nil
		}
	}
	return err
}

func (w *worker) copyFile(ctx context.Context, a *arrival, path string) error {
	// Only a regular file: opening a pipe would wait for its writer.
	fi, err := os.Stat(path)
	if err != nil {
		return err
	}
	if size, ok := a.Key.Size(); !fi.Mode().IsRegular() || ok && fi.Size() != size {
		return fmt.Errorf("%s: %w", path, annex.ErrBadContent)
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := a.partial.Clone(file); err == nil {
		a.meter.Start(a.partial.Size(), time.Now())
		return a.partial.Fill(ctx, func(io.Writer) error { return nil })
	}
	return a.partial.Fill(ctx, func(dst io.Writer) error {
		dst = w.meter(a, dst)
		from := a.partial.Size()
		_, err := p2p.Copy(ctx, dst, io.NewSectionReader(file, from, fi.Size()-from), nil)
		return err
	})
}
