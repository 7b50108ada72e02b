package watch

import "strconv"

// Kind says what an Event is about.
type Kind int

// The kinds of events.
const (
	// Settled: Paths changed or vanished, and nobody has them open for writing. Each names what is a file, a link or
	// nothing when it is reported, never a directory; so whatever was known below it is gone as well. It may name what
	// never was of interest, as an editor's temporary file that came and went.
	Settled Kind = iota + 1
	// Rescan: events for Dir and what is below it may be missing, for Reason. Compare it with what is known by stat, and
	// hand what differs to Settle, so that a file somebody is writing is not taken.
	Rescan
	// Lost: Dir cannot be seen (Err says why). Nothing below it may be taken for deleted. A Rescan of Dir follows when it
	// is back.
	Lost
	// Limited: the table of watches is full: Watched directories are watched, Missing are only swept slowly by stat.
	// Reason names the sysctl to raise. Missing is 0 when all are watched again.
	Limited
	// Refs: Paths in the git directory changed (see NewRefs).
	Refs
)

var kindNames = [...]string{Settled: "settled", Rescan: "rescan", Lost: "lost", Limited: "limited", Refs: "refs"}

func (k Kind) String() string {
	if k < Settled || k > Refs {
		return "Kind(" + strconv.Itoa(int(k)) + ")"
	}
	return kindNames[k]
}

// Event is one thing to act on. Only the fields its Kind names are set.
type Event struct {
	Kind Kind
	// Paths are relative to the root with slashes, raw bytes, sorted, each once.
	Paths []string
	// Dir is relative to the root; the root itself is "".
	Dir string
	// Reason is for people: what made the Rescan necessary, or the sysctl that limits the watches.
	Reason string
	// Watched and Missing count directories.
	Watched, Missing int
	// Err is why Dir is lost.
	Err error
}
