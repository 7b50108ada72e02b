package gitrepo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// maxUpdaters bounds how many update-ref processes are kept: one per reflog message, for the message is given at
// their start.
const maxUpdaters = 4

// datedFor is how long an update-ref process is used after its first transaction: git dates all entries that a process
// makes in reflogs by the first.
const datedFor = time.Second

// updater is an update-ref process for one reflog message.
type updater struct {
	*child
	first time.Time // when it began its first transaction; zero before that
}

// RefUpdate moves one reference from Old to New. A zero New deletes; a zero Old says that it must not exist.
type RefUpdate struct {
	Name     string
	New, Old Hash
}

// UpdateRefs moves all the references or none. ErrRefMoved when one no longer has its Old value. reason goes into the
// reflog. Hooks run as for any git command. Any goroutine may call it.
func (r *Repo) UpdateRefs(ctx context.Context, updates []RefUpdate, reason string) error {
	if len(updates) == 0 {
		return nil
	}
	t, err := r.beginRefs(ctx, updates, reason)
	if err != nil {
		return err
	}
	return t.commit()
}

// refTransaction is a prepared transaction: git holds the locks of all its references and has verified their old values.
// It ends with commit or abort.
type refTransaction struct {
	r    *Repo
	c    *updater
	done func()
}

// beginRefs prepares a transaction. The mutex of the updaters is held until it ends.
func (r *Repo) beginRefs(ctx context.Context, updates []RefUpdate, reason string) (*refTransaction, error) {
	var req bytes.Buffer
	req.WriteString("start\x00")
	for _, u := range updates {
		if !validRef(u.Name) {
			return nil, fmt.Errorf("update reference %q: %w: bad name", u.Name, ErrMalformed)
		}
		switch {
		case u.New == u.Old && u.New.IsZero():
			continue
		case u.New.IsZero():
			fmt.Fprintf(&req, "delete %s\x00%s\x00", u.Name, u.Old)
		default:
			fmt.Fprintf(&req, "update %s\x00%s\x00%s\x00", u.Name, u.New, u.Old)
		}
	}
	req.WriteString("prepare\x00")
	if err := r.objects.flush(); err != nil {
		return nil, err
	}
	r.updatersMu.Lock()
	c, err := r.updater(reason)
	if err != nil {
		r.updatersMu.Unlock()
		return nil, err
	}
	if c.first.IsZero() {
		c.first = time.Now()
		time.AfterFunc(datedFor, func() { r.renewUpdater(reason, c) })
	}
	t := &refTransaction{r: r, c: c, done: c.bounded(ctx)}
	err = c.send(req.Bytes())
	for _, want := range []string{"start: ok", "prepare: ok"} {
		if err == nil {
			err = c.expect(want)
		}
	}
	if err != nil {
		t.fail()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, r.refError(updates, err)
	}
	return t, nil
}

// expect reads one line of update-ref's answers.
func (c *child) expect(want string) error {
	line, err := c.field('\n')
	if err == nil && line != want {
		err = c.failed(fmt.Errorf("answered %q, not %q", line, want))
	}
	return err
}

// commit moves the references.
func (t *refTransaction) commit() error {
	err := t.c.send([]byte("commit\x00"))
	if err == nil {
		err = t.c.expect("commit: ok")
	}
	if err != nil {
		t.fail()
		return fmt.Errorf("update references: %w", err)
	}
	t.end()
	return nil
}

// abort lets the references go unchanged.
func (t *refTransaction) abort() {
	err := t.c.send([]byte("abort\x00"))
	if err == nil {
		err = t.c.expect("abort: ok")
	}
	if err != nil {
		t.fail()
		return
	}
	t.end()
}

func (t *refTransaction) end() {
	t.done()
	t.c.quiet()
	t.r.updatersMu.Unlock()
}

// fail puts the process away: git ends after an error, with all locks released.
func (t *refTransaction) fail() {
	t.done()
	for reason, c := range t.r.updaters {
		if c == t.c {
			delete(t.r.updaters, reason)
		}
	}
	t.c.stop()
	t.r.updatersMu.Unlock()
}

// updater returns the process for a reflog message. The caller holds updatersMu.
func (r *Repo) updater(reason string) (*updater, error) {
	if c := r.updaters[reason]; c != nil {
		if c.first.IsZero() || time.Since(c.first) < datedFor {
			return c, nil
		}
		delete(r.updaters, reason)
		c.stop()
	}
	if len(r.updaters) >= maxUpdaters {
		for old, c := range r.updaters {
			delete(r.updaters, old)
			c.stop()
			break
		}
	}
	return r.startUpdater(reason)
}

// startUpdater starts the process for a reflog message. The caller holds updatersMu.
func (r *Repo) startUpdater(reason string) (*updater, error) {
	// References become durable when they move: a reference that a crash takes back would let two commits be
	// made where one was announced.
	args := []string{"-c", "core.fsync=reference", "-c", "core.warnAmbiguousRefs=false", "update-ref", "--stdin", "-z"}
	if reason != "" {
		args = append(args, "-m", strings.ReplaceAll(reason, "\n", " "))
	}
	c, err := r.startChild(args...)
	if err != nil {
		return nil, err
	}
	if r.updaters == nil {
		r.updaters = make(map[string]*updater)
	}
	r.updaters[reason] = &updater{child: c}
	return r.updaters[reason], nil
}

// renewUpdater has a process that was used take turns with a new one, so that nobody waits for that to start.
func (r *Repo) renewUpdater(reason string, used *updater) {
	r.updatersMu.Lock()
	defer r.updatersMu.Unlock()
	if r.updaters[reason] != used {
		return
	}
	delete(r.updaters, reason)
	used.stop()
	_, _ = r.startUpdater(reason) // whoever needs it tries again, and is told
}

// refError tells a lost race from other failures by looking at the references again.
func (r *Repo) refError(updates []RefUpdate, err error) error {
	for _, u := range updates {
		now, readErr := r.Ref(u.Name)
		if readErr != nil {
			now = Hash{}
		}
		if now != u.Old {
			return fmt.Errorf("update %s: %w: it is %s, not %s", u.Name, ErrRefMoved, now, u.Old)
		}
	}
	if msg := err.Error(); strings.Contains(msg, ".lock': File exists") {
		for _, u := range updates {
			if strings.HasPrefix(u.Name, "refs/remotes/") { // for the next time
				err = errors.Join(err, removeLock(filepath.Join(r.gitDir, filepath.FromSlash(u.Name)+".lock"), time.Now().Add(-abandonedAfter)))
			}
		}
		return fmt.Errorf("update references: %w: %w", ErrRefMoved, err)
	}
	return fmt.Errorf("update references: %w", err)
}
