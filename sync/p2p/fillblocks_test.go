package p2p_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/git-arbor/arbor/sync/annex"
	"github.com/git-arbor/arbor/sync/p2p"
)

// forge makes a list of the key that says what other content of the same size would come to, as a liar would make it.
func forge(t testing.TB, key annex.Key, other []byte) *annex.BlockList {
	t.Helper()
	l, err := annex.NewBlockList(key, listOf(t, other).Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// kept gives the temporary file of a key.
func kept(t testing.TB, s *p2p.Server, key annex.Key) []byte {
	t.Helper()
	b, err := os.ReadFile(s.Annex.TmpPath(key))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return b
}

// fill feeds content at once, and gives what came of it.
func fill(t testing.TB, s *p2p.Server, list *annex.BlockList, content []byte) (offset int64, err error) {
	t.Helper()
	f := receive(t, s, list)
	select {
	case err := <-f.done:
		return 0, err
	case offset = <-f.offset:
	}
	select {
	case f.more <- content[min(offset, int64(len(content))):]:
		close(f.more)
		return offset, <-f.done
	case err := <-f.done:
		return offset, err
	}
}

func flipped(content []byte, at int) []byte {
	b := bytes.Clone(content)
	b[at] ^= 1
	return b
}

// TestLies: whoever lies is found out, nothing wrong becomes an object, and what was right is kept.
func TestLies(t *testing.T) {
	content := random(4*mib + 5)
	other := random(4*mib + 6)[:4*mib+5]
	key, list := keyOf(content), listOf(t, content)
	last := bytes.Clone(list.Bytes())
	last[3*annex.StateSize] ^= 1
	gap, err := annex.NewBlockList(key, last)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		list *annex.BlockList
		sent []byte
		kept int64
	}{
		{"a wrong block", list, flipped(content, 2*mib+9), 2 * mib},
		{"a wrong first block", list, flipped(content, 9), 0},
		{"a wrong last block", list, flipped(content, 4*mib+4), 0},
		{"the list of another key, and its content", forge(t, key, other), other, 0},
		{"the list of another key", forge(t, key, other), content, 0},
		{"a list that is wrong at the end", gap, content, 3 * mib},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := relay(t)
			if _, err := fill(t, s, test.list, test.sent); !errors.Is(err, p2p.ErrLied) || errors.Is(err, annex.ErrBadContent) {
				t.Errorf("FillBlocks: %v", err)
			}
			if s.Annex.Has(key) {
				t.Fatal("it is an object")
			}
			if got := kept(t, s, key); int64(len(got)) != test.kept || !bytes.Equal(got, content[:test.kept]) {
				t.Errorf("%d bytes are kept", len(got))
			}
			if offset, err := fill(t, s, list, content); err != nil || offset != test.kept {
				t.Errorf("from an honest one: from %d, %v", offset, err)
			}
			checkObjects(t, s.Annex)
			if !s.Annex.Has(key) {
				t.Error("it has not come")
			}
		})
	}
}

// TestLieIsNotPassedOn: a block that is not what the list says reaches nobody, and who reads on after a lie was found out
// is told so.
func TestLieIsNotPassedOn(t *testing.T) {
	t.Parallel()
	content := random(3*mib + 5)
	list := listOf(t, content)
	for name, test := range map[string]struct {
		sent []byte
		most int64
	}{
		"a block in the middle": {flipped(content, 2*mib), 2 * mib},
		"the last block":        {flipped(content, 3*mib), 3 * mib},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := relay(t)
			f := receive(t, s, list)
			<-f.offset
			o, err := dial(t, s, 4).Blocks(t.Context(), list.Key(), "f", 0)
			if err != nil {
				t.Fatal(err)
			}
			f.more <- test.sent
			close(f.more)
			if err := <-f.done; !errors.Is(err, p2p.ErrLied) {
				t.Errorf("the relay: %v", err)
			}
			var got bytes.Buffer
			if n, err := o.Get(t.Context(), 0, &got); n > test.most || !bytes.Equal(got.Bytes(), content[:n]) || !errors.Is(err, p2p.ErrEnded) {
				t.Errorf("%d bytes, %v", n, err)
			}
		})
	}
}

// TestBeginningIsChecked: what was in the file before, from whomever, is kept as far as it is right, and who goes on from it is
// not blamed for what is wrong with it.
func TestBeginningIsChecked(t *testing.T) {
	content := random(3*mib + 5)
	key, list := keyOf(content), listOf(t, content)
	for _, test := range []struct {
		name  string
		there []byte
		from  int64
		mixed bool // the block that was begun is wrong
	}{
		{"nothing", nil, 0, false},
		{"a part of a block", content[:7], 7, false},
		{"blocks and a part", content[:2*mib+7], 2*mib + 7, false},
		{"blocks and a wrong part", flipped(content, 2*mib+1)[:2*mib+7], 2*mib + 7, true},
		{"a wrong part", make([]byte, 7), 7, true},
		{"a wrong block", flipped(content, mib)[:2*mib+7], mib, false},
		{"all but the last byte, wrong", flipped(content, 3*mib)[:3*mib+4], 3*mib + 4, true},
		{"all, of which the last block is wrong", flipped(content, 3*mib), 3 * mib, false},
		{"too much", append(bytes.Clone(content), 1), 0, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := relay(t)
			tmp := s.Annex.TmpPath(key)
			if err := os.MkdirAll(filepath.Dir(tmp), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(tmp, test.there, 0o644); err != nil {
				t.Fatal(err)
			}
			offset, err := fill(t, s, list, content)
			if offset != test.from || test.mixed != errors.Is(err, annex.ErrBadContent) || errors.Is(err, p2p.ErrLied) {
				t.Errorf("from %d: %v", offset, err)
			}
			if test.mixed {
				if offset, err = fill(t, s, list, content); err != nil || offset != test.from/mib*mib {
					t.Errorf("again, from %d: %v", offset, err)
				}
			}
			checkObjects(t, s.Annex)
			if !s.Annex.Has(key) {
				t.Error("it has not come")
			}
		})
	}
}

// TestCheckedIsRemembered: when one source follows another nothing is read again, unless somebody else wrote to the file.
func TestCheckedIsRemembered(t *testing.T) {
	content := random(3*mib + 5)
	list := listOf(t, content)
	for name, touched := range map[string]bool{"as it was left": false, "written to": true} {
		t.Run(name, func(t *testing.T) {
			s := relay(t)
			f := receive(t, s, list)
			<-f.offset
			f.more <- content[:2*mib]
			close(f.more)
			if err := <-f.done; !errors.Is(err, p2p.ErrIncomplete) {
				t.Fatal(err)
			}
			tmp := s.Annex.TmpPath(list.Key())
			if touched {
				if err := os.WriteFile(tmp, flipped(content, 3)[:2*mib+1], 0o644); err != nil {
					t.Fatal(err)
				}
			}
			before, err := os.Stat(tmp)
			if err != nil {
				t.Fatal(err)
			}
			offset, err := fill(t, s, list, content)
			if want := map[bool]int64{false: before.Size(), true: 0}[touched]; err != nil || offset != want {
				t.Errorf("from %d, not %d: %v", offset, want, err)
			}
			checkObjects(t, s.Annex)
		})
	}
}

// TestListsThatDiffer: the list of who is asked now counts, as far as it agrees nothing is got again, and who reads by the other
// list is told that no more comes.
func TestListsThatDiffer(t *testing.T) {
	t.Parallel()
	content := random(3*mib + 5)
	key, list := keyOf(content), listOf(t, content)
	s := relay(t)
	lie := bytes.Clone(list.Bytes())
	lie[2*annex.StateSize] ^= 1
	gap, err := annex.NewBlockList(key, lie)
	if err != nil {
		t.Fatal(err)
	}
	f := receive(t, s, gap)
	<-f.offset
	o, err := dial(t, s, 4).Blocks(t.Context(), key, "f", 0)
	if err != nil {
		t.Fatal(err)
	}
	f.more <- content[:2*mib]
	close(f.more)
	if err := <-f.done; !errors.Is(err, p2p.ErrIncomplete) {
		t.Fatal(err)
	}
	if offset, err := fill(t, s, list, content); err != nil || offset != 2*mib {
		t.Errorf("from %d: %v", offset, err)
	}
	if n, err := o.Get(t.Context(), 0, io.Discard); n > 2*mib || !errors.Is(err, p2p.ErrEnded) {
		t.Errorf("by the other list: %d bytes, %v", n, err)
	}
}

// TestClone takes what a file has, whatever was there before; a file system that cannot share blocks changes nothing but that.
func TestClone(t *testing.T) {
	s := openServer(t, newRepo(t))
	content := random(2*mib + 5)
	key := keyOf(content)
	path := filepath.Join(filepath.Dir(s.Annex.TmpPath(key)), "other")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, there := range [][]byte{flipped(content, 1), content} {
		if err := os.WriteFile(path, there, 0o644); err != nil {
			t.Fatal(err)
		}
		from, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer from.Close()
		p, err := p2p.OpenPartial(s.Annex, key, "")
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		cloned := p.Clone(from) == nil
		err = p.Fill(t.Context(), func(w io.Writer) error {
			if cloned {
				return nil
			}
			_, err := w.Write(there)
			return err
		})
		if errors.Is(err, annex.ErrBadContent) == bytes.Equal(there, content) {
			t.Errorf("Fill: %v", err)
		}
		p.Close()
	}
	checkObjects(t, s.Annex)
	if !s.Annex.Has(key) {
		t.Error("it has not come")
	}
}

// FuzzFillBlocks: whatever list and bytes come, and whatever was there before, only the key's content becomes an object.
func FuzzFillBlocks(f *testing.F) {
	content := random(mib + 9)
	list := listOf(f, content)
	f.Add(list.Bytes(), uint32(0), uint32(0), byte(0), uint32(0))
	f.Add(list.Bytes(), uint32(7), uint32(3), byte(1), uint32(0))
	f.Add(list.Bytes(), uint32(mib+3), uint32(mib+5), byte(1), uint32(1))
	f.Add(make([]byte, annex.StateSize), uint32(0), uint32(9), byte(1), uint32(5))
	s := relay(f)
	f.Fuzz(func(t *testing.T, states []byte, there, at uint32, flip byte, short uint32) {
		claimed, err := annex.NewBlockList(list.Key(), states)
		if err != nil {
			return
		}
		b := bytes.Clone(content)
		b[int(at)%len(b)] ^= flip
		tmp := s.Annex.TmpPath(list.Key())
		if err := os.MkdirAll(filepath.Dir(tmp), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(tmp, b[:int(there)%(len(b)+1)], 0o644); err != nil {
			t.Fatal(err)
		}
		_, err = fill(t, s, claimed, b[:len(b)-int(short)%len(b)])
		checkObjects(t, s.Annex)
		if s.Annex.Has(list.Key()) != (err == nil) {
			t.Fatalf("FillBlocks: %v", err)
		}
		path, _ := s.Annex.ObjectPath(list.Key())
		_ = os.Chmod(filepath.Dir(path), 0o755)
		_ = os.RemoveAll(filepath.Dir(path))
		_ = os.Remove(tmp)
	})
}
