package p2p

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/git-arbor/arbor/sync/annex"
)

// MaxVersion is the newest version of the protocol that is spoken here.
const MaxVersion = 4

// maxLine bounds one message without its newline, in bytes; git-annex reads no more either (P2P/IO.hs getProtocolLine).
const maxLine = 32767

// verb is the first word of a message.
type verb string

// The messages, and the version of git-annex's protocol that brought each.
const (
	verbAuth            verb = "AUTH"              // 0: uuid of the sender, token
	verbAuthSuccess     verb = "AUTH-SUCCESS"      // 0: uuid of the sender
	verbAuthFailure     verb = "AUTH-FAILURE"      // 0
	verbVersion         verb = "VERSION"           // 1: number
	verbBypass          verb = "BYPASS"            // 2: uuids
	verbCheckPresent    verb = "CHECKPRESENT"      // 0: key
	verbLockContent     verb = "LOCKCONTENT"       // 0: key
	verbUnlockContent   verb = "UNLOCKCONTENT"     // 0: nothing, whatever the page says
	verbRemove          verb = "REMOVE"            // 0: key
	verbRemoveBefore    verb = "REMOVE-BEFORE"     // 3: number of seconds, key
	verbGetTimestamp    verb = "GETTIMESTAMP"      // 3
	verbTimestamp       verb = "TIMESTAMP"         // 3: number of seconds
	verbGet             verb = "GET"               // 0: number of bytes, file, key
	verbPut             verb = "PUT"               // 0: file, key
	verbPutFrom         verb = "PUT-FROM"          // 0: number of bytes
	verbAlreadyHave     verb = "ALREADY-HAVE"      // 0
	verbAlreadyHavePlus verb = "ALREADY-HAVE-PLUS" // 2: uuids
	verbSuccess         verb = "SUCCESS"           // 0
	verbSuccessPlus     verb = "SUCCESS-PLUS"      // 2: uuids
	verbFailure         verb = "FAILURE"           // 0
	verbFailurePlus     verb = "FAILURE-PLUS"      // 2: uuids
	verbData            verb = "DATA"              // 0: number of bytes, which follow the line at once
	verbDataPresent     verb = "DATA-PRESENT"      // 4
	verbValid           verb = "VALID"             // 1
	verbInvalid         verb = "INVALID"           // 1
	verbConnect         verb = "CONNECT"           // 0: service
	verbConnectDone     verb = "CONNECTDONE"       // 0: exit code
	verbNotifyChange    verb = "NOTIFYCHANGE"      // 0
	verbChanged         verb = "CHANGED"           // 0: words
	verbError           verb = "ERROR"             // 0: text

	// Arbor's own, which others answer as any unknown message.
	verbBlocks     verb = "ARBOR-BLOCKS" // number of seconds, file, key
	verbBlockList  verb = "ARBOR-LIST"   // number of bytes, which follow the line at once; uuids
	verbBlocksFrom verb = "ARBOR-FROM"   // number of bytes; none or one more
)

// message is one line of the protocol. Which fields have a meaning depends on the verb, see shapes.
type message struct {
	verb   verb
	number int64  // offset, length, version, seconds or exit code; never negative
	file   string // as the sender named it: for people only, it never names a file here
	key    annex.Key
	words  []string // uuids, an authentication token, a service, shas
	text   string   // of an ERROR
}

// shape says what follows the verb of a message.
type shape struct {
	number, file, key, text bool
	words                   int // how many words exactly; -1 for any number
}

var shapes = map[verb]shape{
	verbAuth:            {words: 2},
	verbAuthSuccess:     {words: 1},
	verbAuthFailure:     {},
	verbVersion:         {number: true},
	verbBypass:          {words: -1},
	verbCheckPresent:    {key: true},
	verbLockContent:     {key: true},
	verbUnlockContent:   {},
	verbRemove:          {key: true},
	verbRemoveBefore:    {number: true, key: true},
	verbGetTimestamp:    {},
	verbTimestamp:       {number: true},
	verbGet:             {number: true, file: true, key: true},
	verbPut:             {file: true, key: true},
	verbPutFrom:         {number: true},
	verbAlreadyHave:     {},
	verbAlreadyHavePlus: {words: -1},
	verbSuccess:         {},
	verbSuccessPlus:     {words: -1},
	verbFailure:         {},
	verbFailurePlus:     {words: -1},
	verbData:            {number: true},
	verbDataPresent:     {},
	verbValid:           {},
	verbInvalid:         {},
	verbConnect:         {words: 1},
	verbConnectDone:     {number: true},
	verbNotifyChange:    {},
	verbChanged:         {words: -1},
	verbError:           {text: true},
	verbBlocks:          {number: true, file: true, key: true},
	verbBlockList:       {number: true, words: -1},
	verbBlocksFrom:      {number: true, words: -1},
}

// errUnknownMessage is the error of a line that is no message known here. A server answers it and goes on, which is how
// the protocol grows.
var errUnknownMessage = errors.New("unknown message")

// parseMessage reads one line, without its newline.
func parseMessage(line string) (message, error) {
	name, rest, more := strings.Cut(line, " ")
	m := message{verb: verb(name)}
	s, known := shapes[m.verb]
	if !known {
		return message{}, errUnknownMessage
	}
	next := func() (string, bool) {
		if !more {
			return "", false
		}
		var word string
		word, rest, more = strings.Cut(rest, " ")
		return word, true
	}
	if s.number {
		word, ok := next()
		if !ok || !parseNumber(word, &m.number) {
			return message{}, fmt.Errorf("%w: %s without its number", errUnknownMessage, name)
		}
	}
	if s.file {
		word, ok := next()
		if !ok {
			return message{}, fmt.Errorf("%w: %s without a file", errUnknownMessage, name)
		}
		m.file = unescapeFile(word)
	}
	switch {
	case s.key:
		// The key comes last, so it may hold spaces.
		key, err := annex.ParseKey(rest)
		if !more || err != nil {
			return message{}, fmt.Errorf("%w: %s without a key", errUnknownMessage, name)
		}
		m.key = key
	case s.text:
		m.text = rest
	case s.words != 0:
		m.words = strings.Fields(rest)
		if s.words > 0 && len(m.words) != s.words {
			return message{}, fmt.Errorf("%w: %s with %d words", errUnknownMessage, name, len(m.words))
		}
	case more && strings.TrimSpace(rest) != "":
		return message{}, fmt.Errorf("%w: %s says more than it may", errUnknownMessage, name)
	}
	return m, nil
}

// parseNumber takes plain decimal digits that fit an int64.
func parseNumber(s string, n *int64) bool {
	v, err := strconv.ParseUint(s, 10, 64)
	if err != nil || v > math.MaxInt64 {
		return false
	}
	*n = int64(v)
	return true
}

// appendTo appends the message as a line with its newline. What would break the line is replaced, so that a message is
// always one line.
func (m message) appendTo(line []byte) []byte {
	line = append(line, m.verb...)
	s := shapes[m.verb]
	if s.number {
		line = append(line, ' ')
		line = strconv.AppendInt(line, m.number, 10)
	}
	if s.file {
		line = append(line, ' ')
		line = append(line, escapeFile(m.file)...)
	}
	if s.key {
		line = append(line, ' ')
		line = append(line, m.key.String()...)
	}
	for _, word := range m.words {
		line = append(line, ' ')
		line = append(line, word...)
	}
	if s.text {
		text := strings.NewReplacer("\n", " ", "\r", " ").Replace(m.text)
		line = append(line, ' ')
		line = append(line, text[:min(len(text), maxErrorText)]...)
	}
	return append(line, '\n')
}

// maxErrorText bounds what is said in an ERROR, in bytes.
const maxErrorText = 1024
