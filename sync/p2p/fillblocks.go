package p2p

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"

	"github.com/git-arbor/arbor/sync/annex"
)

// ErrLied says that a peer has sent a block which is not what its own list says, or a list that does not lead to the key. It
// should not be asked for this content again.
var ErrLied = errors.New("the peer sent other content than it promised")

// FillBlocks is Fill for content that comes with a block list, through the clones via. What is here and not what the list
// says goes first; fetch then writes from the offset on. Each block is checked as soon as it is whole, and those that read from
// in are sent it.
//
// The list is a claim. Where it is false the last block, at the latest, cannot be what the key says; when that one is right too,
// the content is proven, and only then is it put in place. ErrLied when list or content are false: then nothing stays that fetch
// brought and that this list alone vouches for. annex.ErrBadContent when a block that was begun before is false: it goes, and
// nobody is to blame.
func (p *Partial) FillBlocks(ctx context.Context, in *Arrivals, list *annex.BlockList, via []string,
	fetch func(ctx context.Context, offset int64, w io.Writer) error,
) error {
	defer p.dropDraft()
	blocks, err := p.agree(ctx, in, list)
	if err != nil {
		return err
	}
	p.draft.Until(list.End(blocks - 1))
	f := &filling{p: p, in: in, list: list, start: p.Size(), blocks: blocks}
	f.a = in.begin(p.file, list, via, list.End(blocks-1))
	err = f.run(ctx, fetch)
	if err == nil {
		err = p.place()
	}
	switch {
	case err == nil:
		p.repo.KeepBlocks(list)
		in.finish(f.a)
	case f.lie:
		in.disown(f.a)
	default:
		in.interrupt(f.a)
	}
	return err
}

// agree forgets what the file has from the first block on that is not what the list says, and gives how many blocks are.
func (p *Partial) agree(ctx context.Context, in *Arrivals, list *annex.BlockList) (int64, error) {
	blocks := in.known(p.file, list)
	for ; blocks < list.Blocks() && list.End(blocks) <= p.Size(); blocks++ {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		err := list.Check(blocks, p.file)
		if errors.Is(err, annex.ErrBadContent) {
			return blocks, p.cut(list.End(blocks - 1))
		}
		if err != nil {
			return 0, err
		}
	}
	return blocks, nil
}

// filling is one attempt.
type filling struct {
	p      *Partial
	in     *Arrivals
	list   *annex.BlockList
	a      *arrival
	start  int64 // where fetch began
	blocks int64 // that are checked

	rejected bool
	keep     int64 // bytes, when a block was rejected
	lie      bool  // the list does not lead to the key
}

func (f *filling) run(ctx context.Context, fetch func(ctx context.Context, offset int64, w io.Writer) error) error {
	fetching, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := partialWriter{f.p, make(chan struct{}, 1)}
	whole := make(chan struct{})
	var checking errgroup.Group
	checking.Go(func() error {
		err := f.follow(w.more, whole)
		if err != nil {
			cancel(err)
		}
		return err
	})
	err := fetch(fetching, f.start, w)
	close(whole)
	err = cmp.Or(checking.Wait(), err)
	switch {
	case f.rejected:
		return errors.Join(err, f.p.cut(f.keep))
	case err == nil && f.blocks < f.list.Blocks():
		return fmt.Errorf("%w: %d of %d blocks", ErrIncomplete, f.blocks, f.list.Blocks())
	}
	return err
}

// follow checks the blocks of the file as it grows, until all that came before whole was closed is checked.
func (f *filling) follow(more, whole <-chan struct{}) error {
	for last := false; ; {
		for f.blocks < f.list.Blocks() && f.list.End(f.blocks) <= f.p.Size() {
			if err := f.list.Check(f.blocks, f.p.file); err != nil {
				return f.reject(err)
			}
			f.blocks++
			f.in.advance(f.a, f.list.End(f.blocks-1))
			f.p.draft.Until(f.list.End(f.blocks - 1))
		}
		if last || f.blocks == f.list.Blocks() {
			return nil
		}
		select {
		case <-more:
		case <-whole:
			last = true
		}
	}
}

// reject draws the conclusions from a block that is not what the list says.
func (f *filling) reject(err error) error {
	if !errors.Is(err, annex.ErrBadContent) {
		return err
	}
	f.rejected, f.keep = true, f.list.End(f.blocks-1)
	if f.start > f.keep {
		return err
	}
	if f.blocks == f.list.Blocks()-1 {
		f.lie, f.keep = true, f.start/annex.BlockSize*annex.BlockSize
	}
	return fmt.Errorf("%w: block %d of %d", ErrLied, f.blocks, f.list.Blocks())
}
