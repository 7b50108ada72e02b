package annex

import (
	"cmp"
	"iter"
	"slices"
	"strings"
	"time"
)

// maxLogSize bounds one log of the git-annex branch that is read, in bytes.
const maxLogSize = 16 << 20

// status is the second word of a line of a location log.
type status byte

const (
	present status = '1'
	missing status = '0'
	dead    status = 'X' // will never be there again; counts as missing
)

// presenceLine is one line of a location log: CLOCK STATUS UUID.
type presenceLine struct {
	clock  clock
	status status
	uuid   string
}

// presenceLog is a location log as git-annex reads it (Logs/Presence/Pure.hs): for each repository its newest line.
type presenceLog struct {
	lines   []presenceLine // sorted by uuid
	unknown []string       // lines of a form not known here, kept as they are
}

// logLines yields the lines of a log. git-annex ends a line at either of CR and LF; empty lines say nothing.
func logLines(content []byte) iter.Seq[string] {
	return func(yield func(string) bool) {
		for line := range strings.FieldsFuncSeq(string(content), func(r rune) bool { return r == '\n' || r == '\r' }) {
			if !yield(line) {
				return
			}
		}
	}
}

// parsePresenceLog reads a location log. Of two lines of one repository with the same clock the first wins; since a union merge sorts
// lines, that makes a tie between two clones resolve to missing.
func parsePresenceLog(content []byte) presenceLog {
	var log presenceLog
	newest := make(map[string]presenceLine)
	for text := range logLines(content) {
		line, ok := parsePresenceLine(text)
		if !ok {
			log.unknown = append(log.unknown, text)
			continue
		}
		if old, seen := newest[line.uuid]; !seen || line.clock.compare(old.clock) > 0 {
			newest[line.uuid] = line
		}
	}
	for _, line := range newest {
		log.lines = append(log.lines, line)
	}
	slices.SortFunc(log.lines, func(a, b presenceLine) int { return cmp.Compare(a.uuid, b.uuid) })
	return log
}

func parsePresenceLine(text string) (presenceLine, bool) {
	stamp, rest, ok := strings.Cut(text, " ")
	if !ok || len(rest) < 3 || rest[1] != ' ' {
		return presenceLine{}, false
	}
	c, ok := parseClock(stamp)
	if !ok {
		return presenceLine{}, false
	}
	switch s := status(rest[0]); s {
	case present, missing, dead:
		return presenceLine{clock: c, status: s, uuid: rest[2:]}, true
	default:
		return presenceLine{}, false
	}
}

// set records a repository's status with the clock that follows from now. It is false, and nothing changes, when the newest line
// already says so: logs only grow by news.
func (log *presenceLog) set(uuid string, s status, now time.Time) bool {
	at, found := log.find(uuid)
	if !found {
		log.lines = slices.Insert(log.lines, at, presenceLine{clock: nextClock(clock{}, now), status: s, uuid: uuid})
		return true
	}
	line := &log.lines[at]
	if line.status == s {
		return false
	}
	line.clock, line.status = nextClock(line.clock, now), s
	return true
}

// saysSince reports whether the newest line of a repository is of the second of at, or of a later one.
func (log *presenceLog) saysSince(uuid string, at time.Time) bool {
	i, found := log.find(uuid)
	return found && log.lines[i].clock.compare(clock{known: true, seconds: at.Unix()}) >= 0
}

// find gives the place of a repository's line, or that where it is to be.
func (log *presenceLog) find(uuid string) (at int, found bool) {
	return slices.BinarySearchFunc(log.lines, uuid, func(line presenceLine, uuid string) int { return cmp.Compare(line.uuid, uuid) })
}

// present gives the repositories that hold the key, sorted.
func (log *presenceLog) present() []string {
	var uuids []string
	for _, line := range log.lines {
		if line.status == present {
			uuids = append(uuids, line.uuid)
		}
	}
	return uuids
}

// bytes gives the log as it is written: no line that a newer one has overtaken, and every line not understood.
func (log *presenceLog) bytes() []byte {
	var b []byte
	for _, line := range log.lines {
		b = append(b, line.clock.String()...)
		b = append(b, ' ', byte(line.status), ' ')
		b = append(b, line.uuid...)
		b = append(b, '\n')
	}
	for _, text := range log.unknown {
		b = append(b, text...)
		b = append(b, '\n')
	}
	return b
}
