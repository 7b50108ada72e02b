package annex

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// randomBytes gives n bytes that are the same in every run.
func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)}).Read(b)
	return b
}

func keyOfContent(content []byte) Key {
	return KeyFor(sha256.Sum256(content), int64(len(content)), "", DefaultMaxExtensionLength)
}

// blockListFor makes the list of content.
func blockListFor(t testing.TB, content []byte) *BlockList {
	t.Helper()
	v := keyOfContent(content).Verifier()
	_, _ = v.Write(content)
	if err := v.Check(); err != nil {
		t.Fatal(err)
	}
	l := v.Blocks()
	if l == nil {
		t.Fatalf("no block list for %d bytes", len(content))
	}
	return l
}

func TestStatesAreKnown(t *testing.T) {
	if !statesKnown() {
		t.Fatal("this version of Go hides the state of SHA-256: contents are passed on whole only")
	}
}

func TestBlocks(t *testing.T) {
	sum := "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	for text, want := range map[string]int64{
		"SHA256E-s0--" + sum: 0, "SHA256E-s1--" + sum: 1, "SHA256-s1048576--" + sum: 1, "SHA256E-s1048577--" + sum + ".txt": 2,
		"SHA256E-s9223372036854775807--" + sum: 1 << 43, "SHA256E--" + sum: 0, "SHA256E-s3000000-S1000-C2--" + sum: 0,
		"SHA1-s3000000--a9993e364706816aba3e25717850c26c9cd0d89d": 0, "WORM-s3000000-m123--a": 0, "SHA256E-s3000000--ab": 0,
	} {
		if got := mustKey(t, text).Blocks(); got != want {
			t.Errorf("%s has %d blocks, want %d", text, got, want)
		}
	}
}

// TestBlockList: each block of the content checks alone, and no other bytes do.
func TestBlockList(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, BlockSize - 1, BlockSize, BlockSize + 1, 2 * BlockSize, 3*BlockSize + 100} {
		content := randomBytes(size)
		made := blockListFor(t, content)
		l, err := NewBlockList(made.Key(), made.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if l.Agree(made) != l.Blocks() || l.End(-1) != 0 || l.End(l.Blocks()-1) != int64(size) {
			t.Errorf("%d bytes: list of %d blocks", size, l.Blocks())
		}
		for i := range l.Blocks() {
			if err := l.Check(i, bytes.NewReader(content)); err != nil {
				t.Errorf("%d bytes, block %d: %v", size, i, err)
			}
			if err := l.Check(i, bytes.NewReader(content[:l.End(i)-1])); err == nil || errors.Is(err, ErrBadContent) {
				t.Errorf("%d bytes, block %d without its last byte: %v", size, i, err)
			}
			content[l.End(i)-1] ^= 1
			for other := range l.Blocks() {
				if err := l.Check(other, bytes.NewReader(content)); errors.Is(err, ErrBadContent) != (other == i) {
					t.Errorf("%d bytes, block %d, with %d wrong: %v", size, other, i, err)
				}
			}
			content[l.End(i)-1] ^= 1
		}
		for i := range l.Blocks() - 1 {
			lie := bytes.Clone(l.Bytes())
			lie[i*StateSize] ^= 1
			liar, err := NewBlockList(l.Key(), lie)
			if err != nil {
				t.Fatal(err)
			}
			if got := l.Agree(liar); got != i {
				t.Errorf("%d blocks agree, not %d", got, i)
			}
			for other := range l.Blocks() {
				if err := liar.Check(other, bytes.NewReader(content)); errors.Is(err, ErrBadContent) != (other == i || other == i+1) {
					t.Errorf("block %d by a list that is wrong after %d: %v", other, i, err)
				}
			}
		}
	}
}

// TestBlockListVector is that of docs/protocol.md.
func TestBlockListVector(t *testing.T) {
	content := make([]byte, BlockSize+1)
	if key := keyOfContent(content).String(); key != "SHA256E-s1048577--2cb74edba754a81d121c9db6833704a8e7d417e5b13d1a19f4a52f007d644264" {
		t.Errorf("key %s", key)
	}
	list := hex.EncodeToString(blockListFor(t, content).Bytes())
	if list != "de6e9901b3239712266dbc96d0f48d6fb7bc330c30ff1e76298ae3b8f5d1275e" {
		t.Errorf("block list %s", list)
	}
}

func TestBlockListLength(t *testing.T) {
	k := keyOfContent(randomBytes(2*BlockSize + 1))
	for _, n := range []int{0, 1, StateSize, 2*StateSize - 1, 2*StateSize + 1, 3 * StateSize} {
		if l, err := NewBlockList(k, make([]byte, n)); err == nil {
			t.Errorf("a list of %d bytes was taken: %d blocks", n, l.Blocks())
		}
	}
	if _, err := NewBlockList(mustKey(t, "WORM-s3-m1--a"), nil); err == nil {
		t.Error("a list was taken for a key that has none")
	}
}

// TestBlockListOfAnyWrites: how the bytes were cut when they were hashed is not seen in the list.
func TestBlockListOfAnyWrites(t *testing.T) {
	content := randomBytes(3*BlockSize + 7)
	want := blockListFor(t, content)
	rapid.Check(t, func(t *rapid.T) {
		v := want.Key().Verifier()
		for rest := content; len(rest) > 0; {
			n := rapid.OneOf(rapid.IntRange(1, 2*BlockSize), rapid.Just(BlockSize)).Draw(t, "n")
			n = min(n, len(rest))
			_, _ = v.Write(rest[:n])
			rest = rest[n:]
		}
		if got := v.Blocks(); v.Check() != nil || got == nil || got.Agree(want) != want.Blocks() {
			t.Fatal("another list")
		}
	})
}

// placeContent makes content an object without anybody having seen its blocks.
func placeContent(t testing.TB, r *Repo, content []byte) Key {
	t.Helper()
	k := keyOfContent(content)
	tmp := r.TmpPath(k)
	if err := os.MkdirAll(filepath.Dir(tmp), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tmp, content, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := r.PlaceVerified(k, tmp); err != nil {
		t.Fatal(err)
	}
	return k
}

// TestBlockListIsFree: what was added or placed here needs no second reading.
func TestBlockListIsFree(t *testing.T) {
	t.Parallel()
	r := newAnnex(t)
	content := randomBytes(2*BlockSize + 5)
	write(t, r, "file", string(content), 0o644)
	added, err := r.Add(t.Context(), "file", AddOptions{})
	if err != nil {
		t.Fatal(err)
	}
	placed := keyOfContent(content[1:])
	tmp := r.TmpPath(placed)
	if err := os.MkdirAll(filepath.Dir(tmp), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tmp, content[1:], 0o644); err != nil {
		t.Fatal(err)
	}
	if err := r.Place(t.Context(), placed, tmp); err != nil {
		t.Fatal(err)
	}
	for k, content := range map[Key][]byte{added.Key: content, placed: content[1:]} {
		object, _ := r.ObjectPath(k)
		if err := errors.Join(os.Chmod(filepath.Dir(object), 0o755), os.Remove(object)); err != nil {
			t.Fatal(err)
		}
		l, err := r.BlockList(t.Context(), k)
		if err != nil {
			t.Errorf("%s: %v", k, err)
			continue
		}
		if l.Agree(blockListFor(t, content)) != l.Blocks() {
			t.Errorf("%s has another list", k)
		}
	}
}

// TestBlockListOnDemand: content that came in another way is read for its list, and then it is remembered.
func TestBlockListOnDemand(t *testing.T) {
	t.Parallel()
	r := newAnnex(t)
	content := randomBytes(2*BlockSize + 6)
	k := placeContent(t, r, content)
	want := blockListFor(t, content)
	var asking sync.WaitGroup
	for range 8 {
		asking.Go(func() {
			if l, err := r.BlockList(t.Context(), k); err != nil || l.Agree(want) != want.Blocks() {
				t.Errorf("list %v, %v", l, err)
			}
		})
	}
	asking.Wait()
	object, _ := r.ObjectPath(k)
	rot(t, object)
	if _, err := r.BlockList(t.Context(), k); err != nil {
		t.Errorf("a list that was remembered: %v", err)
	}
	rotten := placeContent(t, r, randomBytes(2*BlockSize+7))
	object, _ = r.ObjectPath(rotten)
	rot(t, object)
	for range 2 {
		if _, err := r.BlockList(t.Context(), rotten); !errors.Is(err, ErrBadContent) {
			t.Errorf("list of a rotten object: %v", err)
		}
	}
	if _, err := r.BlockList(t.Context(), keyOfContent(content[1:])); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("list of what is not here: %v", err)
	}
}

// rot changes the first byte of an object.
func rot(t testing.TB, object string) {
	t.Helper()
	if err := os.Chmod(object, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(object, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte("x"), 0)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestBlockListsAreBounded: the oldest go first, and whatever its size the newest stays.
func TestBlockListsAreBounded(t *testing.T) {
	b := newBlockLists()
	list := func(n, size int) *BlockList {
		k := mustKey(t, keyOf(t, n).String())
		return &BlockList{key: k, states: make([]byte, size)}
	}
	const each = 1 << 20
	for n := range 2 * blockListMemory / each {
		b.keep(list(n, each))
		b.keep(list(n, each))
		if b.bytes > blockListMemory || len(b.lists) != len(b.order) || b.lists[keyOf(t, n)] == nil {
			t.Fatalf("%d lists in %d bytes", len(b.lists), b.bytes)
		}
	}
	b.keep(list(1000, 2*blockListMemory))
	if len(b.lists) != 1 || b.lists[keyOf(t, 1000)] == nil {
		t.Errorf("%d lists after a very large one", len(b.lists))
	}
}

// FuzzBlockList: whatever a stranger says a list is, content of which all blocks check is the key's.
func FuzzBlockList(f *testing.F) {
	content := randomBytes(2*BlockSize + 3)
	list := blockListFor(f, content)
	f.Add(list.Bytes(), uint32(0), byte(0))
	f.Add(list.Bytes(), uint32(BlockSize), byte(1))
	f.Add(list.Bytes()[:StateSize], uint32(0), byte(0))
	f.Add(make([]byte, 2*StateSize), uint32(5), byte(3))
	f.Fuzz(func(t *testing.T, states []byte, at uint32, flip byte) {
		l, err := NewBlockList(list.Key(), states)
		if err != nil {
			return
		}
		changed := bytes.Clone(content)
		changed[int(at)%len(changed)] ^= flip
		for i := range l.Blocks() {
			if err := l.Check(i, bytes.NewReader(changed)); err != nil {
				return
			}
		}
		if flip != 0 || l.Agree(list) != list.Blocks() {
			t.Fatal("other content, or another list, checked")
		}
	})
}

// The next three are to be compared with each other: what hashing costs, what it costs to note the blocks as well, and what
// to check each block alone.

func BenchmarkSHA256(b *testing.B) {
	content := randomBytes(64 * BlockSize)
	b.SetBytes(int64(len(content)))
	for b.Loop() {
		h := sha256.New()
		for i := 0; i < len(content); i += checkBuffer {
			h.Write(content[i : i+checkBuffer])
		}
		h.Sum(nil)
	}
}

func BenchmarkVerifier(b *testing.B) {
	content := randomBytes(64 * BlockSize)
	k := keyOfContent(content)
	b.SetBytes(int64(len(content)))
	for b.Loop() {
		v := k.Verifier()
		for i := 0; i < len(content); i += checkBuffer {
			_, _ = v.Write(content[i : i+checkBuffer])
		}
		if err := v.Check(); err != nil || v.Blocks() == nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCheckBlocks(b *testing.B) {
	content := randomBytes(64 * BlockSize)
	l := blockListFor(b, content)
	b.SetBytes(int64(len(content)))
	for b.Loop() {
		for i := range l.Blocks() {
			if err := l.Check(i, bytes.NewReader(content)); err != nil {
				b.Fatal(err)
			}
		}
	}
}
