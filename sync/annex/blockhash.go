package annex

import (
	"bytes"
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"hash"
	"sync"
)

// blockHash is SHA-256 that notes its state after each block, which costs it next to nothing.
type blockHash struct {
	hash.Hash
	written int64
	states  []byte
}

func (b *blockHash) Write(p []byte) (int, error) {
	written := len(p)
	for len(p) > 0 {
		n := min(int64(len(p)), BlockSize-b.written%BlockSize)
		b.Hash.Write(p[:n])
		b.written += n
		p = p[n:]
		if b.written%BlockSize == 0 && statesKnown() {
			b.states = appendState(b.states, b.Hash)
		}
	}
	return written, nil
}

// blockListOf gives the list of k from a hash through which all of its content went; nil when there is none.
func blockListOf(k Key, h hash.Hash) *BlockList {
	b, ok := h.(*blockHash)
	if !ok || k.Blocks() == 0 {
		return nil
	}
	l, err := NewBlockList(k, b.states[:min(int64(len(b.states)), (k.Blocks()-1)*StateSize)])
	if err != nil {
		return nil
	}
	return l
}

// What crypto/sha256 makes of itself in binary: a word, the state, the bytes that do not fill 64 yet, and how many there were.
const (
	stateMagic = "sha\x03"
	stateEnd   = len(stateMagic) + sha256.Size
	stateRest  = sha256.BlockSize
	stateBytes = stateEnd + stateRest + 8
)

// appendState appends the state of SHA-256, a multiple of 64 bytes having been written to it.
func appendState(to []byte, h hash.Hash) []byte {
	var room [stateBytes]byte
	all, err := h.(encoding.BinaryAppender).AppendBinary(room[:0])
	if err != nil || len(all) != stateBytes {
		return to
	}
	return append(to, all[len(stateMagic):stateEnd]...)
}

// restoreState brings SHA-256 to the state that it had after this many bytes, a multiple of 64.
func restoreState(h hash.Hash, state []byte, written int64) error {
	all := make([]byte, 0, stateBytes)
	all = append(all, stateMagic...)
	all = append(all, state...)
	all = append(all, make([]byte, stateRest)...)
	all = binary.BigEndian.AppendUint64(all, uint64(written))
	return h.(encoding.BinaryUnmarshaler).UnmarshalBinary(all)
}

// statesKnown says whether crypto/sha256 still shows its state as it did when this was written, which it does not promise. By
// definition, the sum of a message is the state after the message with its padding; going on from there must work too.
var statesKnown = sync.OnceValue(func() bool {
	h := sha256.New()
	appender, out := h.(encoding.BinaryAppender)
	if _, in := h.(encoding.BinaryUnmarshaler); !in || !out {
		return false
	}
	padded := append([]byte("abc\x80"), make([]byte, sha256.BlockSize-4)...)
	padded[sha256.BlockSize-1] = 3 * 8
	h.Write(padded)
	all, err := appender.AppendBinary(nil)
	if sum := sha256.Sum256([]byte("abc")); err != nil || len(all) != stateBytes || !bytes.Equal(appendState(nil, h), sum[:]) {
		return false
	}
	again := sha256.New()
	if restoreState(again, appendState(nil, h), sha256.BlockSize) != nil {
		return false
	}
	h.Write([]byte("more"))
	again.Write([]byte("more"))
	return bytes.Equal(h.Sum(nil), again.Sum(nil))
})
