package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/p2p"
)

// placer makes objects of small contents: while some become durable, more gather, which are the next that become durable together. So one content
// waits for nothing, and many cost little each.
type placer struct {
	mu      sync.Mutex
	batch   *annex.Batch // of those that gather; nil: none
	placing bool         // somebody calls run
}

// put takes proven content, and tells placed what has become of it. It says whether run must be called.
func (p *placer) put(ctx context.Context, repo *annex.Repo, key annex.Key, content []byte, placed func(error)) (start bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.batch == nil {
		p.batch = repo.NewBatch()
	}
	if err := p.batch.Put(ctx, key, content, placed); err != nil {
		return false, err
	}
	start = !p.placing
	p.placing = true
	return start, nil
}

// run places until there is nothing more.
func (p *placer) run() {
	for {
		p.mu.Lock()
		batch := p.batch
		p.batch = nil
		p.placing = batch != nil
		p.mu.Unlock()
		if batch == nil {
			return
		}
		_ = batch.Place() // each content is told
		batch.Close()
	}
}

// inMemory says whether content comes into memory: it is small, and nothing of it is here.
func (q *Queue) inMemory(j *job) bool {
	if !j.isSmall() {
		return false
	}
	_, err := os.Lstat(q.o.Repo.TmpPath(j.Key))
	return errors.Is(err, fs.ErrNotExist)
}

// getSmall receives content that was asked for. It may come to its place, and the job to its end, only after others.
func (w *worker) getSmall(ctx context.Context, a *arrival) {
	content, err := w.receive(ctx, a)
	if err == nil {
		err = w.place(ctx, a, content)
	}
	if err != nil {
		w.finish(ctx, a, err)
	}
}

// receive reads content into memory, and proves it. What came of it when it did not come whole is kept on disk.
func (w *worker) receive(ctx context.Context, a *arrival) ([]byte, error) {
	size, _ := a.Key.Size()
	content := bytes.NewBuffer(make([]byte, 0, size))
	_, err := w.client.Next(ctx, w.meter(a, content))
	if err == nil && int64(content.Len()) < size {
		err = fmt.Errorf("%w: %d of %d bytes", p2p.ErrIncomplete, content.Len(), size)
	}
	if err != nil {
		if content.Len() > 0 && !errors.Is(err, p2p.ErrChanged) {
			err = errors.Join(err, w.keep(a, content.Bytes()))
		}
		return nil, err
	}
	sum := a.Key.Verifier()
	_, _ = sum.Write(content.Bytes()) // never fails
	return content.Bytes(), sum.Check()
}

// keep stores the beginning of content, for the next time to go on from.
func (w *worker) keep(a *arrival, begun []byte) error {
	p, err := p2p.OpenPartial(w.q.o.Repo, a.Key, w.h.clone)
	if err != nil {
		return err
	}
	defer p.Close()
	if p.Size() > 0 { // somebody else has begun
		return nil
	}
	_, err = p.Write(begun)
	return err
}

// place has proven content become an object.
func (w *worker) place(ctx context.Context, a *arrival, content []byte) error {
	q := w.q
	q.mu.Lock()
	w.drop(a.transfer)
	q.placing[a.transfer] = struct{}{}
	q.mu.Unlock()
	start, err := q.placer.put(ctx, q.o.Repo, a.Key, content, func(err error) {
		if err != nil {
			a.unsaved = err
			w.failed(a, err)
			return
		}
		w.arrived(a)
	})
	if err != nil {
		a.unsaved = err
		return err
	}
	if start {
		q.running.Go(q.placer.run)
	}
	return nil
}
