package annex

import (
	"io"
	"os"
)

// writeBackSize is how many bytes begin to go to the disk at once.
const writeBackSize = 8 << 20

// A diskWriter writes a file that is to become durable as soon as it is whole: what is written begins to go to the disk while more comes, so that
// little is left to wait for then.
type diskWriter struct {
	*os.File
	written, begun int64 // bytes
}

func (w *diskWriter) Write(b []byte) (int, error) {
	n, err := w.File.Write(b)
	w.wrote(int64(n))
	return n, err
}

// ReadFrom lets the system copy from file to file.
func (w *diskWriter) ReadFrom(from io.Reader) (int64, error) {
	n, err := w.File.ReadFrom(from)
	w.wrote(n)
	return n, err
}

func (w *diskWriter) wrote(bytes int64) {
	if w.written += bytes; w.written-w.begun >= writeBackSize {
		beginWriteBack(w.File, w.begun, w.written-w.begun)
		w.begun = w.written
	}
}
