package annex

import (
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Replacing says whether git-annex is, at this moment, removing the content of the key, or putting content or pointers into files of the work tree:
// it takes a file away before it puts another in its place, and a file that is missing then is not deleted. Removals of Arbor's own count too.
func (r *Repo) Replacing(k Key) bool {
	object, _ := r.ObjectPath(k)
	if _, held := lockHolder(object+".lck", unix.F_RDLCK); held {
		return true
	}
	if holder, held := lockHolder(filepath.Join(r.dir, "othertmp.lck"), unix.F_WRLCK); held && holder > 0 {
		return true
	}
	return false
}

// KeysOpen says whether a git-annex process has its keys database open, as whatever puts contents or pointers into files of the work tree has from
// before it takes the first one away until the last is in its place. SQLite keeps the log that is looked for as long as anybody has the database open;
// that of a process that was killed stays until git-annex runs again (https://www.sqlite.org/walformat.html, section 1.1).
func (r *Repo) KeysOpen() bool {
	dir := r.dir
	if databases := r.git.Config("annex.dbdir"); databases != "" {
		dir = filepath.Join(databases, r.uuid)
	}
	_, err := os.Lstat(filepath.Join(dir, "keysdb", "db-wal"))
	return err == nil
}

// lockHolder gives the process that has a lock on a file which excludes one of a kind; not a positive number when it is a lock as Arbor takes them,
// which belong to no process.
func lockHolder(path string, kind int16) (pid int32, held bool) {
	f, err := os.Open(path)
	if err != nil {
		return 0, false
	}
	defer func() { _ = f.Close() }()
	lock := unix.Flock_t{Type: kind, Whence: io.SeekStart}
	if err := unix.FcntlFlock(f.Fd(), getLock, &lock); err != nil {
		return 0, false
	}
	return lock.Pid, lock.Type != unix.F_UNLCK
}
