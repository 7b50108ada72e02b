package p2p

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/git-arbor/arbor/sync/annex"
)

const (
	// maxWait bounds how long a client may have the server wait for content that nobody sends yet.
	maxWait = 30 * time.Second
	// signsOfLife is how often, within its own silence, the server tells a client that it has nothing to send for now.
	signsOfLife = 4
)

// source is where blocks are sent from: an object, or content that is still arriving.
type source struct {
	list     *annex.BlockList
	file     *os.File
	opened   os.FileInfo // of an object
	arriving *arriving   // nil for an object
}

func (s *source) close() {
	if s.arriving != nil {
		s.arriving.close()
		return
	}
	_ = s.file.Close()
}

// via gives the clones that the content still comes through.
func (s *source) via() []string {
	if s.arriving == nil {
		return nil
	}
	return s.arriving.via
}

// more waits until there is more than this many bytes, and gives how many there are.
func (s *source) more(ctx context.Context, than int64) (int64, error) {
	if s.arriving == nil {
		return s.list.End(s.list.Blocks() - 1), nil
	}
	return s.arriving.more(ctx, than)
}

// blocks sends content block by block, as far as it is checked, with the list that it can be checked by.
func (s *session) blocks(ctx context.Context, m message) error {
	wait := maxWait
	if m.number < int64(maxWait/time.Second) {
		wait = time.Duration(m.number) * time.Second
	}
	var src *source
	err := s.while(ctx, func(ctx context.Context) (err error) {
		src, err = s.source(ctx, m.key, wait)
		return err
	})
	if src != nil {
		defer src.close()
	}
	switch broken := s.w.err(); {
	case broken != nil:
		return broken
	case err != nil:
		s.log.Warn("content cannot be sent in blocks", "key", m.key, "err", err)
		return s.success(false)
	case src == nil:
		return s.success(false)
	}
	list := src.list.Bytes()
	if err := s.w.sendWith(ctx, message{verb: verbBlockList, number: int64(len(list)), words: src.via()}, bytes.NewReader(list)); err != nil {
		return err
	}
	return s.sendParts(ctx, m, src)
}

// sendParts sends the parts that the client asks for, or all from an offset on, until it wants no more.
func (s *session) sendParts(ctx context.Context, m message, src *source) error {
	size := src.list.End(src.list.Blocks() - 1)
	var progress *sending
	defer func() { progress.end() }()
	for {
		// The client may have to read all that it has before it knows.
		answer, err := s.w.readMessage(s.w.silence + time.Duration(size/verifyRate)*time.Second)
		switch {
		case errors.Is(err, errUnknownMessage):
			return s.refuse("expected ARBOR-FROM or FAILURE")
		case errors.Is(err, io.EOF):
			return errDone
		case err != nil:
			return err
		case answer.verb == verbFailure:
			return nil
		case answer.verb == verbError:
			return &RemoteError{answer.text}
		case answer.verb != verbBlocksFrom:
			return s.refuse("expected ARBOR-FROM or FAILURE")
		}
		to, part := size, len(answer.words) > 0
		if part {
			var length int64
			if len(answer.words) > 1 || !parseNumber(answer.words[0], &length) {
				return s.refuse("expected ARBOR-FROM OFFSET BYTES")
			}
			to = answer.number + min(length, max(size-answer.number, 0))
		}
		if progress == nil {
			progress = s.sending(m, answer.number, size)
		}
		valid, err := s.sendBlocks(ctx, src, answer.number, to, progress)
		if err != nil || !valid || !part {
			return err
		}
	}
}

// source finds content of the key, waiting that long for it to begin to come; nil when there is none.
func (s *session) source(ctx context.Context, key annex.Key, wait time.Duration) (*source, error) {
	if s.Annex == nil || key.Blocks() < 2 {
		return nil, nil
	}
	src, err := s.object(ctx, key)
	if src != nil || err != nil || s.Arrivals == nil {
		return src, err
	}
	a, err := s.Arrivals.open(ctx, key, wait)
	if err != nil {
		return nil, err
	}
	if a != nil {
		return &source{list: a.list, file: a.file, arriving: a}, nil
	}
	return s.object(ctx, key) // it may have come meanwhile
}

// object finds content that is here; nil when there is none.
func (s *session) object(ctx context.Context, key annex.Key) (*source, error) {
	file, fi, err := s.open(key)
	if file == nil {
		return nil, err
	}
	list, err := s.Annex.BlockList(ctx, key)
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return &source{list: list, file: file, opened: fi}, nil
}

// sendBlocks sends what is there of a part, and what comes, until all is sent or, which is not valid, no more comes.
func (s *session) sendBlocks(ctx context.Context, src *source, from, to int64, progress *sending) (valid bool, err error) {
	for from < to {
		var until int64
		err := s.while(ctx, func(ctx context.Context) (err error) {
			until, err = src.more(ctx, from)
			return err
		})
		switch {
		case errors.Is(err, ErrEnded):
			return false, s.w.send(message{verb: verbInvalid})
		case err != nil:
			return false, err
		}
		until = min(until, to)
		if err := s.w.sendData(ctx, until-from, progress.of(io.NewSectionReader(src.file, from, until-from))); err != nil {
			return false, err
		}
		from = until
	}
	if src.arriving == nil && !unchanged(src.file, src.opened) {
		return false, s.w.send(message{verb: verbInvalid})
	}
	return true, s.w.send(message{verb: verbValid})
}

// while lets something take its time, and has the client know that the server lives.
func (s *session) while(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var result error
	done := make(chan struct{})
	go func() {
		defer close(done)
		result = do(ctx)
	}()
	life := time.NewTicker(s.w.silence / signsOfLife)
	defer life.Stop()
	for {
		select {
		case <-done:
			return result
		case <-life.C:
			if err := s.w.send(message{verb: verbData}); err != nil {
				cancel(err)
				<-done
				return err
			}
		}
	}
}
