package annex

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
)

// BlockSize is the size in bytes of the blocks in which content can be checked; the last one may be shorter.
const BlockSize = 1 << 20

// StateSize is the size in bytes of what a block list says of each block.
const StateSize = sha256.Size

// checkBuffer is how much of a block is read at once, in bytes.
const checkBuffer = 64 << 10

// Blocks gives in how many blocks content of the key can be checked; 0 when it can only be checked as a whole, because it is
// empty, its size is unknown or its backend is not SHA256.
func (k Key) Blocks() int64 {
	size, sized := k.Size()
	if _, ok := k.VerifiableHash(); !ok || !sized || size == 0 || !statesKnown() {
		return 0
	}
	return (size-1)/BlockSize + 1
}

// A BlockList lets each block of a key's content be checked alone: it is the state of SHA-256 after each block but the last,
// which is where the key itself must come out. When all blocks are what the list says, the content is the key's. A list from
// a stranger is no more than a claim: one that lies has a block for which nothing will do.
type BlockList struct {
	key    Key
	size   int64
	sum    [sha256.Size]byte
	states []byte
}

// NewBlockList makes the list of k from its bytes, which it keeps.
func NewBlockList(k Key, states []byte) (*BlockList, error) {
	if blocks := k.Blocks(); blocks == 0 || int64(len(states)) != (blocks-1)*StateSize {
		return nil, fmt.Errorf("a block list of %d bytes for %s, which has %d blocks", len(states), k, blocks)
	}
	l := &BlockList{key: k, states: states}
	l.size, _ = k.Size()
	l.sum, _ = k.VerifiableHash()
	return l, nil
}

// Key gives the key whose blocks these are.
func (l *BlockList) Key() Key { return l.key }

// Blocks gives the number of blocks.
func (l *BlockList) Blocks() int64 { return int64(len(l.states))/StateSize + 1 }

// Bytes gives what NewBlockList reads. It must not be changed.
func (l *BlockList) Bytes() []byte { return l.states }

// End gives the offset at which block i ends, 0 for -1.
func (l *BlockList) End(i int64) int64 { return min((i+1)*BlockSize, l.size) }

// Agree gives how many blocks, from the first on, two lists of one key say the same of.
func (l *BlockList) Agree(other *BlockList) int64 {
	var i int64
	for ; i < l.Blocks()-1; i++ {
		if !bytes.Equal(l.state(i), other.state(i)) {
			return i
		}
	}
	return i + 1
}

// state gives what the list says of SHA-256 after block i.
func (l *BlockList) state(i int64) []byte { return l.states[i*StateSize : (i+1)*StateSize] }

// Check is ErrBadContent when block i of content is not what the list says.
func (l *BlockList) Check(i int64, content io.ReaderAt) error {
	h := sha256.New()
	if i > 0 {
		if err := restoreState(h, l.state(i-1), i*BlockSize); err != nil {
			return err
		}
	}
	length := l.End(i) - i*BlockSize
	n, err := io.CopyBuffer(h, io.NewSectionReader(content, i*BlockSize, length), make([]byte, checkBuffer))
	if err == nil && n < length {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("read block %d of %s: %w", i, l.key, err)
	}
	var is []byte
	want := l.sum[:]
	if i == l.Blocks()-1 {
		is = h.Sum(nil)
	} else {
		is, want = appendState(nil, h), l.state(i)
	}
	if !bytes.Equal(is, want) {
		return fmt.Errorf("block %d: %w", i, ErrBadContent)
	}
	return nil
}
