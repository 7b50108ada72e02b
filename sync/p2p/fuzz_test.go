package p2p_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/p2p"
)

// canned is a connection on which all that is ever said is known.
type canned struct {
	io.Reader
	io.Writer
}

func (canned) Close() error { return nil }

// FuzzServer: whatever a client says, the server ends, and no wrong content is placed.
func FuzzServer(f *testing.F) {
	s := openServer(f, newRepo(f))
	s.Upload, s.Stored, s.Remove = nil, nil, nil
	key := keyOf([]byte("abc")).String()
	cut := hold(f, s.Annex, random(mib+9)).String()
	for _, seed := range []string{
		"VERSION 4\nPUT f " + key + "\nDATA 3\nabcVALID\nGET 0 f " + key + "\nSUCCESS\n",
		"PUT f " + key + "\nDATA 3\nxyz", "PUT f " + key + "\nDATA 2\nab", "LOCKCONTENT " + key + "\nUNLOCKCONTENT\n",
		"VERSION 1\nPUT f " + key + "\nDATA 0\nINVALID\n", "REMOVE-BEFORE 1 " + key + "\n", "CONNECT git-upload-pack\n\n\n", "ERROR\n",
		"ARBOR-BLOCKS 0 f " + cut + "\nARBOR-FROM 5\nGET 0 f " + cut + "\nSUCCESS\n", "ARBOR-BLOCKS 0 f " + cut + "\nFAILURE\n",
		"ARBOR-BLOCKS 9 f " + key + "\n", "ARBOR-BLOCKS 0 f " + cut + "\nARBOR-FROM 9223372036854775807\n",
		"ARBOR-BLOCKS 0 f " + cut + "\nARBOR-FROM 5 1048576\nARBOR-FROM 9 0\nFAILURE\n", "ARBOR-BLOCKS 0 f " + cut + "\nARBOR-FROM 9 9223372036854775807\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		// When all is said the client is gone; content it has locked would stay locked for minutes.
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		end := readerFunc(func([]byte) (int, error) {
			cancel()
			return 0, io.EOF
		})
		_ = s.ServeAuthed(ctx, canned{io.MultiReader(bytes.NewReader(said), end), io.Discard}, "fuzz")
		checkObjects(t, s.Annex)
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// checkObjects checks that every object is what its key says.
func checkObjects(t *testing.T, repo *annex.Repo) {
	t.Helper()
	err := repo.Keys(func(key annex.Key) error {
		path, _ := repo.ObjectPath(key)
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		v := key.Verifier()
		_, _ = v.Write(content)
		if err := v.Check(); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// FuzzClient: whatever a server says, every call ends.
func FuzzClient(f *testing.F) {
	for _, seed := range []string{
		"AUTH-SUCCESS u\nVERSION 1\nSUCCESS\nDATA 3\nabcVALID\nPUT-FROM 2\nSUCCESS\nSUCCESS\nTIMESTAMP 3\nDATA 3\nabcCONNECTDONE 0\n",
		"AUTH-SUCCESS u\nVERSION 4\nFAILURE-PLUS a\nDATA 3\nabINVALID\n", "AUTH-SUCCESS u\nERROR unknown command\nDATA 99999999999\n",
		"AUTH-SUCCESS u\nVERSION 4\nSUCCESS\nDATA 3\nabcPUT-FROM 9\nSUCCESS\nARBOR-LIST 32 a b\n" + strings.Repeat("x", 32) + "DATA 0\nDATA 1\nxINVALID\n",
		"AUTH-FAILURE\n", "AUTH-SUCCESS u\nVERSION 5\n", "AUTH-SUCCESS u\nVERSION 0\nSUCCESS\nDATA 3\nabcPUT-FROM 9\nSUCCESS\n",
	} {
		f.Add([]byte(seed))
	}
	key, large := keyOf([]byte("abc")), keyOf(random(mib+9))
	f.Fuzz(func(t *testing.T, said []byte) {
		c, err := p2p.NewClient(t.Context(), canned{bytes.NewReader(said), io.Discard}, p2p.ClientOptions{Self: "me", Token: "t"})
		if err != nil {
			return
		}
		defer c.Close()
		ctx := t.Context()
		_, _ = c.CheckPresent(ctx, key)
		var got bytes.Buffer
		if n, err := c.Get(ctx, p2p.GetRequest{Key: key}, &got); n != int64(got.Len()) || n > 3 {
			t.Errorf("Get: %d of %d bytes, %v", n, got.Len(), err)
		}
		_, _ = c.Put(ctx, p2p.PutRequest{Key: key, Size: 3, Content: strings.NewReader("abc")})
		if o, err := c.Blocks(ctx, large, "f", 0); err == nil {
			got.Reset()
			if n, err := o.Get(ctx, mib, &got); n != int64(got.Len()) || n > 9 {
				t.Errorf("Get: %d of %d bytes, %v", n, got.Len(), err)
			}
		}
		_ = c.Ask(ctx, p2p.GetRequest{Key: key})
		_, _ = c.Next(ctx, io.Discard)
		if unlock, err := c.Lock(ctx, key); err == nil {
			_ = unlock(ctx)
		}
		_, _ = c.Timestamp(ctx)
		if conn, err := c.Connect(ctx, p2p.UploadPack); err == nil {
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
		}
	})
}
