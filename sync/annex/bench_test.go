package annex

import (
	"crypto/rand"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// keysBefore is how many keys the branch has before a measurement.
const keysBefore = 10_000

func manyKeys(b *testing.B) *Repo {
	b.Helper()
	r := newAnnex(b)
	var all []Location
	for n := range keysBefore {
		all = append(all, Location{Key: keyOf(b, n), UUID: r.UUID(), Present: true})
	}
	record(b, r, all...)
	return r
}

// BenchmarkRecord records 1,000 new keys in one commit, in a branch that has 10,000.
func BenchmarkRecord(b *testing.B) {
	r := manyKeys(b)
	next := keysBefore
	for b.Loop() {
		var news []Location
		for range 1000 {
			news = append(news, Location{Key: keyOf(b, next), UUID: r.UUID(), Present: true})
			next++
		}
		record(b, r, news...)
	}
}

// BenchmarkRecordOne records one key in a branch that has 10,000.
func BenchmarkRecordOne(b *testing.B) {
	r := manyKeys(b)
	next := keysBefore
	for b.Loop() {
		record(b, r, Location{Key: keyOf(b, next), UUID: r.UUID(), Present: true})
		next++
	}
}

// BenchmarkLocations asks for all of 10,000 keys after one has changed.
func BenchmarkLocations(b *testing.B) {
	r := manyKeys(b)
	next := keysBefore
	for b.Loop() {
		record(b, r, Location{Key: keyOf(b, next), UUID: r.UUID(), Present: true})
		next++
		for n := range keysBefore {
			locations(b, r, keyOf(b, n))
		}
	}
}

// BenchmarkAdd adds a file of 256 MiB.
func BenchmarkAdd(b *testing.B) {
	const size = 256 << 20
	r := newAnnex(b)
	f, err := os.Create(r.workPath("file"))
	if err != nil {
		b.Fatal(err)
	}
	if _, err := io.CopyN(f, rand.Reader, size); err != nil {
		b.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(size)
	for b.Loop() {
		if _, err := r.Add(b.Context(), "file", AddOptions{}); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := os.RemoveAll(filepath.Join(r.dir, "objects")); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
