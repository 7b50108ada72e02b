// Package watch turns what the file system says about a work tree into settled paths: files that changed or vanished and
// that nobody is writing to any more.
//
// It owns the watches of one work tree (or of the references of one git directory) and the decision when a change is
// complete. Directories are watched before they are listed, so that a new tree is never seen in part. A file is settled
// when nobody has it open for writing, which a read lease tells (fcntl(2), F_SETLEASE); where leases do not exist, when
// it was quiet for a while and its stat stands still. A vanished path is held a moment for the re-creation that editors
// and git do. What events cannot tell (a full event queue, a full table of watches, a mount that went away, a write
// through a mapping) ends in a Rescan, a slow sweep by stat, or in Lost; it is never silently missing.
//
// It never opens a file for writing, never reads content, never follows a symbolic link, never looks into .git or into a
// repository nested in the work tree, and never decides what a change means: whoever reads the events looks at the path
// again, because it may have changed since. Writing through a mapping to a file that was not touched for a long time
// raises no event at all; a slow audit by the caller finds it.
package watch
