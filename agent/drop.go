package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/git-arbor/arbor/agent/control"
	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/gitrepo"
	"github.com/git-arbor/arbor/sync/p2p"
	"github.com/git-arbor/arbor/sync/wanted"
)

const (
	dropsAtOnce = 8  // contents that are proven, and removed, together
	shownKept   = 10 // files that are told by name
)

// dropping is one request to remove contents, on its way.
type dropping struct {
	*clone
	request control.DropRequest
	surplus []annex.Key            // that are not wanted any more, in place of what a person asks for
	head    gitrepo.Hash           // of which files are
	files   map[annex.Key][]string // all that name a content, asked for or not
	copies  copyFinder
	wanted  *wanted.Settings
	locker  p2p.Locker
	kept    []annex.Key // what could not go
	reply   control.DropReply
}

// removable is a content that may go: it is locked here, and at enough others.
type removable struct {
	key    annex.Key
	here   *annex.Removal
	others *p2p.Locked
}

// drop removes contents from here of which there are enough other copies.
func (a *agent) drop(ctx context.Context, r control.DropRequest) (control.DropReply, error) {
	c, err := a.find(r.Clone)
	if err != nil {
		return control.DropReply{}, err
	}
	var d *dropping
	done := make(chan error, 1)
	asked := c.ask(ctx, func(context.Context) {
		if d, err = c.beginDrop(r); err != nil {
			return
		}
		c.aside(func(running context.Context) {
			running, cancel := context.WithCancelCause(running)
			defer cancel(nil)
			defer context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })()
			done <- d.run(running)
		})
	})
	if err := errors.Join(asked, err); err != nil {
		return control.DropReply{}, err
	}
	err = <-done // also when the person has gone: it ends by itself
	return d.reply, err
}

func (c *clone) beginDrop(r control.DropRequest) (*dropping, error) {
	if c.annex == nil {
		return nil, &control.Error{Code: "not-annexed", Text: "nothing in " + c.conf.Name + " is annexed: all its files are in git itself"}
	}
	d := c.newDropping()
	d.request = r
	return d, nil
}

func (c *clone) newDropping() *dropping {
	d := &dropping{clone: c, head: c.side.head, copies: c.copyFinder()}
	d.locker.Open = d.openProver
	d.reply.Kept = []control.Kept{}
	return d
}

// openProver opens a session with a peer or a remote that is to prove that it has contents.
func (d *dropping) openProver(ctx context.Context, id string) (p2p.LockSession, error) {
	if d.copies.provers[id].remote {
		return d.openRemote(ctx, id)
	}
	return d.openSession(ctx, id)
}

// run is the work beside the actor.
func (d *dropping) run(ctx context.Context) error {
	defer d.locker.Close()
	keys, err := d.keysOf(ctx, d.request.Files)
	if err != nil {
		return err
	}
	if d.wanted, err = d.annex.Wanted(ctx); err != nil {
		return fmt.Errorf("read what is wanted: %w", err)
	}
	for _, k := range d.surplus {
		keys[k] = true
	}
	if d.files, err = d.annex.FilesOf(ctx, d.head, keys); err != nil {
		return err
	}
	here := make([]annex.Key, 0, len(keys))
	var absent []annex.Key
	for k := range keys {
		if d.annex.Has(k) {
			here = append(here, k)
		} else {
			absent = append(absent, k)
		}
	}
	if d.surplus == nil {
		asked := d.askWhole(ctx, func(context.Context) {
			d.reply.Cancelled = d.keepAway(absent)
			err = d.write()
		})
		if err := errors.Join(asked, err); err != nil {
			return err
		}
	}
	here = slices.DeleteFunc(here, func(k annex.Key) bool { return len(d.files[k]) == 0 }) // by now no file names it
	slices.SortFunc(here, func(a, b annex.Key) int { return strings.Compare(d.files[a][0], d.files[b][0]) })
	for batch := range slices.Chunk(here, dropsAtOnce) {
		if err := d.batch(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

// keysOf gives the contents that files, and those in folders, name.
func (d *dropping) keysOf(ctx context.Context, files []string) (map[annex.Key]bool, error) {
	keys := make(map[annex.Key]bool)
	for _, file := range files {
		e, err := d.entry(d.head, file)
		if err != nil {
			return nil, err
		}
		if e.Mode != gitrepo.ModeDir {
			k, annexed := annex.EntryKey(d.git, e)
			if !annexed {
				return nil, &control.Error{Code: "not-annexed", Text: fmt.Sprintf("%q is not annexed: it is in git itself, and cannot be dropped", file)}
			}
			keys[k] = true
			continue
		}
		err = d.git.Files(d.head, func(p string, e gitrepo.Entry) error {
			if isBelow(p, file) {
				if k, annexed := annex.EntryKey(d.git, e); annexed {
					keys[k] = true
				}
			}
			return ctx.Err()
		})
		if err != nil {
			return nil, fmt.Errorf("look into %q: %w", file, err)
		}
	}
	return keys, nil
}

// batch proves that there are enough copies of some contents, and removes those of which there are.
func (d *dropping) batch(ctx context.Context, keys []annex.Key) (err error) {
	var mu sync.Mutex
	var proving sync.WaitGroup
	var proven []removable
	for _, k := range keys {
		proving.Go(func() {
			content, kept, failed := d.prove(ctx, k)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case failed != nil:
				err = errors.Join(err, failed)
			case kept != nil:
				d.kept = append(d.kept, k)
				d.reply.KeptContents++
				if len(d.reply.Kept) < shownKept {
					d.reply.Kept = append(d.reply.Kept, *kept)
				}
			case content.here != nil:
				proven = append(proven, content)
			}
		})
	}
	proving.Wait()
	defer func() {
		for _, content := range proven {
			content.here.Release()
			content.others.Unlock()
		}
	}()
	if err != nil || len(proven) == 0 {
		return err
	}
	asked := d.askWhole(ctx, func(actor context.Context) {
		err = d.remove(context.WithoutCancel(actor), proven, d.surplus == nil, &d.reply)
	})
	return errors.Join(asked, err)
}

// prove locks a content here, and at others as often as there must be other copies. kept says why it cannot go. Neither that nor anything
// locked means that it has gone meanwhile.
func (d *dropping) prove(ctx context.Context, k annex.Key) (content removable, kept *control.Kept, err error) {
	file := d.files[k][0]
	required, err := d.wanted.Requires(d.id, d.annex.WantedFile(ctx, k, file, d.logged(d.annex, k)), d.files[k]...)
	if err != nil || required {
		return content, &control.Kept{File: file, Required: true}, err
	}
	copies, err := d.annex.Copies(ctx, d.files[k], d.request.NumCopies)
	if err != nil {
		return content, nil, fmt.Errorf("how many copies of %q there must be: %w", file, err)
	}
	here, err := d.annex.LockForRemoval(k)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return content, nil, nil
	case errors.Is(err, annex.ErrInUse):
		return content, &control.Kept{File: file, InUse: true}, nil
	case err != nil:
		return content, nil, err
	}
	found, err := d.copies.find(ctx, k)
	if err != nil {
		here.Release()
		return content, nil, err
	}
	need := copies.Elsewhere()
	others := d.locker.Lock(ctx, k, need-len(found.trusted), found.ask, found.remotes)
	if have := len(found.trusted) + len(others.Held); have < need {
		here.Release()
		others.Unlock()
		return content, &control.Kept{
			File: file, Needed: need, Found: found.names(slices.Concat(found.trusted, others.Held)), Unproven: found.unproven(others),
		}, nil
	}
	return removable{k, here, others}, nil, nil
}

// keepAway has contents stay away until they are asked for, and gives how many would have come.
func (c *clone) keepAway(keys []annex.Key) int {
	n := 0
	for _, k := range keys {
		if c.want.missing[k] && !c.want.held[k] {
			n++
		}
		c.want.dropped[k] = true
		delete(c.want.kept, k)
	}
	c.queue.Discard(keys...)
	c.hold(keys)
	c.showQueue()
	return n
}

// remove removes contents that are proven to be at enough others: asked says whether a person wants it, who then has to ask for them to
// come back.
func (c *clone) remove(ctx context.Context, proven []removable, asked bool, reply *control.DropReply) error {
	if c.side.unfinished != "" {
		return &control.Error{Code: "unfinished", Text: fmt.Sprintf("a %s is unfinished in %s", c.side.unfinished, c.conf.Name), Fix: "finish it first"}
	}
	// Should we die in the middle, what is gone then is not to come back.
	keys := make([]annex.Key, len(proven))
	for i, content := range proven {
		keys[i] = content.key
	}
	if asked {
		c.keepAway(keys)
		if err := c.write(); err != nil {
			c.stays(keys...)
			return fmt.Errorf("note what is dropped: %w", err)
		}
	}
	var index []gitrepo.IndexEntry
	var gone []annex.Key
	var failed error
	for _, content := range proven {
		entries, err := content.here.Remove(ctx, c.want.named[content.key])
		index = append(index, entries...)
		if err != nil {
			failed = errors.Join(failed, err)
		}
		if c.annex.Has(content.key) {
			c.stays(content.key)
			for _, p := range c.want.named[content.key] {
				note(c.want.behind, content.key, p)
			}
			continue
		}
		gone = append(gone, content.key)
		size, _ := content.key.Size()
		reply.Contents++
		reply.Size += size
	}
	c.remember(index)
	if err := c.refreshEntries(ctx, index); err != nil {
		c.agenda.in(taskRetry, retryDelay)
		c.log.Warn("drop", "err", err)
	}
	c.gone(ctx, gone)
	if !asked {
		c.consider(gone...)
	}
	return errors.Join(failed, c.record(ctx)) // before the locks are released
}

// stays takes back keepAway of contents that could not be removed.
func (c *clone) stays(keys ...annex.Key) {
	for _, k := range keys {
		delete(c.want.held, k)
		delete(c.want.dropped, k)
	}
}

// gone takes in that contents, which files name, are here no more.
func (c *clone) gone(ctx context.Context, keys []annex.Key) {
	for _, k := range keys {
		delete(c.want.behind, k)
		if len(c.want.named[k]) > 0 {
			c.want.missing[k] = true
		}
		c.want.records = append(c.want.records, annex.Location{Key: k, UUID: c.id})
	}
	c.tellGone(ctx, keys)
	c.recordSoon()
	c.want.requeued = true
	c.side.changed = time.Now()
}
