package transfer_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/gitrepo"
	"github.com/git-arbor/arbor/sync/p2p"
	"github.com/git-arbor/arbor/sync/remote"
	"github.com/git-arbor/arbor/sync/transfer"
)

// drive is git-annex's special remote of type directory.
type drive struct {
	*remote.Remote
	dir string
}

func newDrive(t *testing.T, c *clone) drive {
	t.Helper()
	dir := t.TempDir()
	gitRun(t, c.dir, "config", "user.name", "somebody")
	gitRun(t, c.dir, "config", "user.email", "somebody@arbor.test")
	gitRun(t, c.dir, "annex", "initremote", "drive", "type=directory", "directory="+dir, "encryption=none")
	c = openClone(t, c.dir)
	remotes, err := remote.List(t.Context(), c.git, c.Repo)
	if err != nil || len(remotes) != 1 {
		t.Fatalf("%d remotes, %v", len(remotes), err)
	}
	return drive{remotes[0], dir}
}

// uploads are uploads to one drive under way, and what they tell.
type uploads struct {
	*transfer.Uploads
	events chan transfer.Event
}

func startUploads(t *testing.T, d drive) uploads {
	t.Helper()
	u := uploads{events: make(chan transfer.Event, 1000)}
	u.Uploads = transfer.NewUploads(transfer.UploadOptions{
		Open:  func(ctx context.Context, _ string) (remote.Session, error) { return d.Open(ctx, p2p.Limits{}) },
		Event: func(e transfer.Event) { u.events <- e },
		Retry: transfer.Retry{First: time.Hour, Longest: time.Hour},
		Log:   slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- u.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	})
	return u
}

// next gives the next event that is none of progress.
func (u uploads) next(t *testing.T) transfer.Event {
	t.Helper()
	for {
		select {
		case e := <-u.events:
			if e.State != transfer.Running {
				return e
			}
		case <-time.After(time.Minute):
			t.Fatal("nothing happens")
		}
	}
}

// TestUploads: contents come to a drive, small ones first; while it is not plugged in nothing is lost, and what is wanted there no more does
// not come.
func TestUploads(t *testing.T) {
	c := newClone(t)
	keys := c.put(t, random(300_000, 1), random(2_000_000, 2), random(1000, 3), random(50_000, 4))
	d := newDrive(t, c)
	unplugged := d.dir + ".away"
	if err := os.Rename(d.dir, unplugged); err != nil {
		t.Fatal(err)
	}
	u := startUploads(t, d)
	u.Add("drive", jobs(keys...)...)
	if e := u.next(t); e.State != transfer.Failed || !errors.Is(e.Err, gitrepo.ErrUnreachable) || e.Clone != "drive" {
		t.Fatalf("without the drive: %+v", e)
	}
	u.Cancel("drive", func(k annex.Key) bool { return k == keys[3] })
	if err := os.Rename(unplugged, d.dir); err != nil {
		t.Fatal(err)
	}
	u.Retry()
	var came []annex.Key
	for range 3 {
		e := u.next(t)
		if e.State != transfer.Present {
			t.Fatalf("%+v", e)
		}
		came = append(came, e.Job.Key)
	}
	if want := []annex.Key{keys[2], keys[0], keys[1]}; !slices.Equal(came, want) {
		t.Errorf("they came in the order %v, not %v", came, want)
	}
	stored := 0
	_ = filepath.WalkDir(d.dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			stored++
			if key, err := annex.ParseKeyFile(e.Name()); err != nil || !slices.Contains(came, key) {
				t.Errorf("%s is on the drive", path)
			}
		}
		return nil
	})
	if stored != 3 {
		t.Errorf("%d files are on the drive", stored)
	}
	u.Add("drive", jobs(keys[0])...) // it is there
	if e := u.next(t); e.State != transfer.Present {
		t.Errorf("%+v", e)
	}
}

// TestFromRemote gets contents from a drive, as the queue gets them from clones.
func TestFromRemote(t *testing.T) {
	from := newClone(t)
	keys := from.put(t, random(300_000, 1), random(3_000_000, 2))
	d := newDrive(t, from)
	u := startUploads(t, d)
	u.Add("drive", jobs(keys...)...)
	for range keys {
		if e := u.next(t); e.State != transfer.Present {
			t.Fatalf("%+v", e)
		}
	}
	for _, key := range keys { // now only the drive has them
		path, _ := from.ObjectPath(key)
		for _, p := range []string{filepath.Dir(path), path} {
			if err := os.Chmod(p, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	o := optionsFor(from, newNetwork(t, nil))
	o.Holders = each(func(annex.Key) []transfer.Holder { return []transfer.Holder{{Clone: "drive", Remote: true}} })
	o.Remote = func(ctx context.Context, id string) (remote.Session, error) {
		if id != "drive" {
			return nil, fmt.Errorf("no remote %q", id)
		}
		return d.Open(ctx, p2p.Limits{})
	}
	q := startQueue(t, o)
	q.Add(jobs(keys...)...)
	q.awaitPresent(t, len(keys))
	q.stop()
	from.check(t, keys...)
}
