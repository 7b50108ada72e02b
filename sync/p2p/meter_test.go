package p2p_test

import (
	"context"
	"errors"
	"io"
	"math"
	"testing"
	"time"

	"github.com/git-arbor/arbor/sync/p2p"
)

// TestSentIsTold: whoever asks is told how far a content is that a client is sent, as a whole or in blocks, a few times a second
// and when it is over, also when the client is gone. What takes no time is not told.
func TestSentIsTold(t *testing.T) {
	content := random(3*mib + 5)
	const offset = mib
	get := func(ctx context.Context, c *p2p.Client, r p2p.GetRequest, dst io.Writer) error {
		_, err := c.Get(ctx, r, dst)
		return err
	}
	blocks := func(ctx context.Context, c *p2p.Client, r p2p.GetRequest, dst io.Writer) error {
		o, err := c.Blocks(ctx, r.Key, r.File, 0)
		if err != nil {
			return err
		}
		_, err = o.Get(ctx, r.Offset, dst)
		return err
	}
	errEnough := errors.New("enough")
	for _, test := range []struct {
		name string
		get  func(context.Context, *p2p.Client, p2p.GetRequest, io.Writer) error
		dst  io.Writer
		want error
	}{
		{"whole", get, io.Discard, nil},
		{"in blocks", blocks, io.Discard, nil},
		{"whole, by half", get, &failing{after: mib, err: errEnough}, errEnough},
		{"in blocks, by half", blocks, &failing{after: mib, err: errEnough}, errEnough},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := openServer(t, newRepo(t))
			s.Limits.Up = p2p.NewLimiter(4 * mib) // so that it takes half a second
			told := make(chan p2p.Sent, 1000)
			s.Sent = func(sent p2p.Sent) { told <- sent }
			key, short := hold(t, s.Annex, content), hold(t, s.Annex, random(10))
			c := dial(t, s, 4)
			if err := get(t.Context(), c, p2p.GetRequest{Key: short, File: "short"}, io.Discard); err != nil {
				t.Fatal(err)
			}
			begun := time.Now()
			err := test.get(t.Context(), c, p2p.GetRequest{Key: key, File: "a file", Offset: offset}, test.dst)
			if !errors.Is(err, test.want) {
				t.Fatal(err)
			}
			before, n := int64(offset), 0
			for sent := range told {
				n++
				if sent.Key != key || sent.File != "a file" || sent.Size != int64(len(content)) || sent.Bytes < before || sent.Bytes > sent.Size || sent.Rate <= 0 {
					t.Errorf("after %d bytes it is %+v", before, sent)
				}
				before = sent.Bytes
				if sent.Done {
					break
				}
			}
			if test.want == nil && before != int64(len(content)) {
				t.Errorf("it ended at %d of %d bytes", before, len(content))
			}
			if most := 2 + int(math.Ceil(time.Since(begun).Seconds()*10)); n < 2 || n > most {
				t.Errorf("told %d times, at least twice and at most %d", n, most)
			}
		})
	}
}

// failing takes some bytes, and then none.
type failing struct {
	after int
	err   error
}

func (f *failing) Write(b []byte) (int, error) {
	if f.after -= len(b); f.after < 0 {
		return 0, f.err
	}
	return len(b), nil
}
