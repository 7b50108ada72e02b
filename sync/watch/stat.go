package watch

// fileID names a file or directory for as long as it exists. The zero value is unknown.
type fileID struct{ dev, ino uint64 }

// fileStat is the part of lstat(2) the watcher goes by. Its sight is directory, special, or complete for files and links:
// only a lease can tell more.
type fileStat struct {
	fileID
	sight   sight
	regular bool
	print   fingerprint
}
