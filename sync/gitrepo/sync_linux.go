package gitrepo

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncAll makes the whole file system of dir durable.
func syncAll(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Syncfs(int(f.Fd()))
}
