package netmap

import "fmt"

// Network is a map as it is told: any order will do.
type Network struct {
	Nodes []Node
	Sites []Site
	Edges []Edge
}

// Node is a clone or a remote.
type Node struct {
	ID    string
	Relay bool // may take part in plans for content that it neither holds nor wants

	// Bytes a second that the node can send and receive, over all its edges; 0 is no limit.
	Up, Down float64

	Site string // the ID of the site it is in; empty for none
}

// Site is a place with one line to the rest of the world: clones behind one public address, or of one LAN.
type Site struct {
	ID string

	// Bytes a second over all edges that leave the site, and over all that enter it; 0 is no limit.
	Up, Down float64
}

// Edge is a way for content from one node to another. The way back is an edge of its own.
type Edge struct {
	From, To string
	Cost     float64 // of one content; as git-annex counts, or money
	Rate     float64 // bytes a second; 0 is no limit
	RTT      float64 // seconds
}

// Problem is one content, or several that the same nodes hold and want.
type Problem struct {
	Holders   []string // at least one
	Wanters   []string // those among them that hold it already are left out
	Objective Objective
	Size      int64 // bytes
}

// Objective is what a plan is best in.
type Objective string

// Objectives.
const (
	Cost Objective = "cost" // the smallest sum of the edges' costs
	Time Objective = "time" // the last wanter has all of it as early as possible
)

// Error says what is wrong with a network or a problem, and where.
type Error struct {
	Place  string // a path such as edges[3].cost, or a line and column of a file
	Reason string
}

func (e *Error) Error() string {
	if e.Place == "" {
		return e.Reason
	}
	return e.Place + ": " + e.Reason
}

func wrong(place, format string, args ...any) error {
	return &Error{Place: place, Reason: fmt.Sprintf(format, args...)}
}
