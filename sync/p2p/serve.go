package p2p

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/git-arbor/arbor/sync/annex"
)

// farewell is how long the server waits for the client to close, after a service has ended: closing first, with bytes of
// the client unread, would make the kernel throw away what is still on its way to it.
const farewell = 5 * time.Second

// get sends content. What is not here is an empty, invalid content.
func (s *session) get(ctx context.Context, m message) error {
	file, fi, err := s.open(m.key)
	if err != nil {
		s.log.Warn("content cannot be read", "key", m.key, "err", err)
	}
	var missing int64
	if file != nil {
		defer file.Close()
		missing = max(fi.Size()-m.number, 0)
	}
	progress := s.sending(m, m.number, m.number+missing)
	defer progress.end()
	if err := s.w.sendData(ctx, missing, progress.of(io.NewSectionReader(file, m.number, missing))); err != nil {
		return err
	}
	if s.version >= 1 {
		verdict := message{verb: verbInvalid}
		if file != nil && unchanged(file, fi) {
			verdict.verb = verbValid
		}
		if err := s.w.send(verdict); err != nil {
			return err
		}
	}
	// Whether the client liked it changes nothing here.
	answer, err := s.w.readMessage(s.w.silence + time.Duration(missing/verifyRate)*time.Second)
	switch {
	case errors.Is(err, errUnknownMessage) || err == nil && answer.verb != verbSuccess && answer.verb != verbFailure:
		if answer.verb == verbError {
			return &RemoteError{answer.text}
		}
		return s.refuse("expected SUCCESS or FAILURE")
	case errors.Is(err, io.EOF):
		return errDone
	}
	return err
}

// open opens content that is here; nil when it is not.
func (s *session) open(key annex.Key) (*os.File, os.FileInfo, error) {
	if s.Annex == nil {
		return nil, nil, nil
	}
	path, present := s.Annex.ObjectPath(key)
	if !present {
		return nil, nil, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	fi, err := file.Stat()
	if size, ok := key.Size(); err == nil && ok && size != fi.Size() {
		err = fmt.Errorf("the object has %d bytes", fi.Size())
	}
	if err != nil {
		_ = file.Close()
		return nil, nil, err
	}
	return file, fi, nil
}

// put receives content.
func (s *session) put(ctx context.Context, m message) error {
	switch {
	case s.ReadOnly:
		return s.refuse(textReadOnly)
	case s.Annex == nil:
		return s.refuse("this repository has no annex")
	case s.Annex.Has(m.key):
		return s.w.send(message{verb: verbAlreadyHave})
	}
	p, err := OpenPartial(s.Annex, m.key, s.client)
	if err != nil {
		s.log.Info("content cannot be received", "key", m.key, "err", err)
		return s.refuse("transfer already in progress, or unable to take transfer lock")
	}
	defer p.Close()
	if err := s.w.send(message{verb: verbPutFrom, number: p.Size()}); err != nil {
		return err
	}
	d, err := s.w.readMessage(s.w.silence)
	switch {
	case errors.Is(err, errUnknownMessage):
		return s.refuse("expected DATA")
	case err != nil:
		return err
	case d.verb == verbDataPresent && s.version >= 4:
		return s.success(s.Annex.Has(m.key))
	case d.verb == verbError:
		return &RemoteError{d.text}
	case d.verb != verbData:
		return s.refuse("expected DATA")
	}
	if size, ok := m.key.Size(); ok && d.number > size-p.Size() {
		return s.w.breach("%d bytes of %s after byte %d", d.number, m.key, p.Size())
	}
	if err := s.Annex.Room(d.number); err != nil {
		// The bytes are on their way: closing the session is the only way to say no.
		s.log.Warn("content cannot be stored", "key", m.key, "err", err)
		return err
	}
	err = p.Fill(ctx, func(dst io.Writer) error {
		if _, err := s.w.readData(ctx, d.number, dst); err != nil {
			return err
		}
		return s.verdict(d.number)
	})
	if s.w.err() != nil {
		return err
	}
	p.Close() // before the client may ask for the same again
	if err == nil && s.Stored != nil {
		err = s.Stored(ctx, m.key, s.client)
	}
	if err != nil {
		s.log.Info("content was not stored", "key", m.key, "err", err)
	}
	return s.success(err == nil)
}

// verdict reads whether the client says that what it sent is whole. Only that nothing was sent at all matters: what came
// is proven anyhow.
func (s *session) verdict(n int64) error {
	if s.version < 1 {
		return nil
	}
	m, err := s.w.readMessage(s.w.silence)
	switch {
	case err != nil && !errors.Is(err, errUnknownMessage):
		return err
	case m.verb == verbInvalid && n == 0:
		return ErrAbsent
	case m.verb != verbValid && m.verb != verbInvalid:
		return s.w.breach("%q instead of VALID or INVALID", m.verb)
	}
	return nil
}

// unchanged says whether the file is as it was when it was opened: with annex.thin a person can write to an object.
func unchanged(file *os.File, before os.FileInfo) bool {
	now, err := file.Stat()
	return err == nil && now.Size() == before.Size() && now.ModTime().Equal(before.ModTime())
}

// connect runs a service for the client; the session is over then.
func (s *session) connect(ctx context.Context, service string) error {
	var serve func(context.Context, io.ReadWriteCloser) error
	switch service {
	case UploadPack:
		serve = s.Upload
	case ReceivePack:
		if s.ReadOnly {
			return errors.Join(s.refuse(textReadOnly), errDone)
		}
		serve = s.Receive
	}
	if serve == nil {
		return errors.Join(s.refuse("this repository does not serve "+service), errDone)
	}

	st := newStream(ctx, s.w)
	defer st.stop()
	// What the client sends is read here, until it closes: the service's own reading ends with the service.
	in, feed := io.Pipe()
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		_, err := io.Copy(feed, st)
		_ = feed.CloseWithError(err)
		if errors.Is(err, io.ErrClosedPipe) {
			_, _ = io.Copy(io.Discard, st)
		}
	}()
	err := serve(ctx, serviceConn{in, st})
	_ = in.Close()
	done := message{verb: verbConnectDone}
	if err != nil {
		s.log.Info("service failed", "service", service, "err", err)
		done.number = 1
		if exit := new(exec.ExitError); errors.As(err, &exit) && exit.ExitCode() > 0 {
			done.number = int64(exit.ExitCode())
		}
	}
	sent := st.send(done)
	goodbye := time.AfterFunc(farewell, func() { s.w.close(ErrClosed) })
	defer goodbye.Stop()
	<-fed
	return errors.Join(sent, errDone)
}

// serviceConn is what a service has of the session.
type serviceConn struct {
	*io.PipeReader
	st *stream
}

func (c serviceConn) Write(p []byte) (int, error) { return c.st.Write(p) }
