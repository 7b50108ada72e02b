package gitrepo

import (
	"fmt"
	"testing"
)

// bigClone has 10,000 files in 1,000 folders.
func bigClone(b *testing.B) clone {
	c := newClone(b)
	n := NewCommit{Message: "m"}
	for i := range 10000 {
		h, err := c.WriteBlob(fmt.Appendf(nil, "file %d\n", i))
		if err != nil {
			b.Fatal(err)
		}
		n.Changes = append(n.Changes, Change{Path: fmt.Sprintf("d%02d/s%02d/f%d", i%100, i/100%10, i), New: Entry{ModeFile, h}})
	}
	h, err := c.NewCommit(b.Context(), n)
	if err != nil {
		b.Fatal(err)
	}
	c.checkout(h)
	c.run("repack", "-adq")
	return c
}

// BenchmarkCommit makes commits of one changed file: the part before a change can be announced, and the rest.
func BenchmarkCommit(b *testing.B) {
	c := bigClone(b)
	c.write("d01/s00/f1", "warm\n")
	head := c.commit("d01/s00/f1")
	var res SnapshotResult
	var err error
	step := func(i int) Hash {
		c.write("d01/s00/f1", fmt.Sprintln("change", i))
		if res, err = c.Snapshot(b.Context(), head, []string{"d01/s00/f1"}, nil); err != nil {
			b.Fatal(err)
		}
		h, err := c.NewCommit(b.Context(), NewCommit{Base: head, Parents: []Hash{head}, Changes: res.Changes, Message: "m"})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := c.Pack(b.Context(), h, []Hash{head}, 8<<10); err != nil {
			b.Fatal(err)
		}
		return h
	}
	i := 0
	b.Run("announce", func(b *testing.B) {
		for b.Loop() {
			i++
			step(i)
		}
	})
	b.Run("all", func(b *testing.B) {
		for b.Loop() {
			i++
			h := step(i)
			c.advance(head, h, res.Index)
			head = h
		}
	})
}

// BenchmarkSnapshotAll looks at 10,000 files of which none changed.
func BenchmarkSnapshotAll(b *testing.B) {
	c := bigClone(b)
	c.run("update-index", "--refresh")
	for b.Loop() {
		if res := c.snapshot(""); len(res.Changes) > 0 {
			b.Fatal("there are changes")
		}
	}
}

// BenchmarkReceive unpacks, merges and checks out a commit of one file.
func BenchmarkReceive(b *testing.B) {
	c := bigClone(b)
	head := c.head()
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		next := c.make([]Hash{head}, map[string]string{"d05/s00/f5": fmt.Sprintln("theirs", i)})
		pack, err := c.Pack(b.Context(), next, []Hash{head}, 8<<10)
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if _, err := c.Unpack(b.Context(), pack, 1<<20); err != nil {
			b.Fatal(err)
		}
		if err := c.Complete(b.Context(), next); err != nil {
			b.Fatal(err)
		}
		m, err := c.Merge(b.Context(), head, next, nil)
		if err != nil {
			b.Fatal(err)
		}
		c.checkout(m.Commit)
		head = m.Commit
	}
}
