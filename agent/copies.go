package agent

import (
	"encoding/binary"
	"sync"

	"github.com/git-arbor/arbor/sync/annex"
)

// copies finds contents that are here under another key: git-annex puts a file's extension into the key, so that what was copied or
// renamed to another extension is another key of the same bytes. Any goroutine may use it.
type copies struct {
	mu   sync.Mutex
	here map[uint64]annex.Key // by the first bytes of the sum
}

// add takes in that the content of a key is here. A file that names the key no more changes nothing: the content stays.
func (c *copies) add(k annex.Key) {
	sum, ok := k.VerifiableHash()
	if !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.here == nil {
		c.here = make(map[uint64]annex.Key)
	}
	c.here[binary.BigEndian.Uint64(sum[:])] = k
}

// of returns the path of an object that has the content of a key, if there is one.
func (c *copies) of(k annex.Key, repo *annex.Repo) []string {
	sum, ok := k.VerifiableHash()
	if !ok {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	at := binary.BigEndian.Uint64(sum[:])
	other := c.here[at]
	if otherSum, ok := other.VerifiableHash(); !ok || otherSum != sum {
		return nil
	}
	path, present := repo.ObjectPath(other)
	if !present {
		delete(c.here, at)
		return nil
	}
	return []string{path}
}
