package annex

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// valueLine is one line of a log that gives each subject its newest value.
type valueLine struct {
	subject string // a UUID, or the name of a setting
	value   string
	clock   clock
}

// valueLog is a log of newest values: uuid.log, trust.log and their like (Logs/UUIDBased.hs), or config.log and its like
// (Logs/MapLog.hs). They differ only in how a line is spelt.
type valueLog struct {
	lines   []valueLine // sorted by subject
	unknown []string
	format  valueFormat
}

// valueFormat says how a line of a valueLog is spelt.
type valueFormat struct {
	parse  func(text string) (valueLine, bool)
	append func(b []byte, line valueLine) []byte
}

// uuidLogFormat is UUID VALUE timestamp=CLOCK, where very old lines have no timestamp.
var uuidLogFormat = valueFormat{
	parse: func(text string) (valueLine, bool) {
		uuid, value, _ := strings.Cut(text, " ")
		if uuid == "" {
			return valueLine{}, false
		}
		line := valueLine{subject: uuid, value: value}
		if at := strings.LastIndexByte(value, ' ') + 1; strings.HasPrefix(value[at:], "timestamp=") {
			c, ok := parseClock(value[at+len("timestamp="):])
			if !ok {
				return valueLine{}, false
			}
			line.clock, line.value = c, strings.TrimSuffix(value[:at], " ")
		}
		return line, true
	},
	append: func(b []byte, line valueLine) []byte {
		b = append(b, line.subject...)
		if line.value != "" {
			b = append(append(b, ' '), line.value...)
		}
		if line.clock.known {
			b = append(append(b, " timestamp="...), line.clock.String()...)
		}
		return b
	},
}

// configLogFormat is CLOCK SETTING VALUE.
var configLogFormat = valueFormat{
	parse: func(text string) (valueLine, bool) {
		stamp, rest, ok := strings.Cut(text, " ")
		if !ok {
			return valueLine{}, false
		}
		c, ok := parseClock(stamp)
		if !ok {
			return valueLine{}, false
		}
		name, value, _ := strings.Cut(rest, " ")
		return valueLine{subject: name, value: value, clock: c}, name != ""
	},
	append: func(b []byte, line valueLine) []byte {
		b = append(append(b, line.clock.String()...), ' ')
		b = append(append(b, line.subject...), ' ')
		return append(b, line.value...)
	},
}

// parseValueLog reads a log. Of two lines of one subject with the same clock the last wins.
func parseValueLog(content []byte, format valueFormat) valueLog {
	log := valueLog{format: format}
	newest := make(map[string]valueLine)
	for text := range logLines(content) {
		line, ok := format.parse(text)
		if !ok {
			log.unknown = append(log.unknown, text)
			continue
		}
		if old, seen := newest[line.subject]; !seen || line.clock.compare(old.clock) >= 0 {
			newest[line.subject] = line
		}
	}
	for _, line := range newest {
		log.lines = append(log.lines, line)
	}
	slices.SortFunc(log.lines, func(a, b valueLine) int { return cmp.Compare(a.subject, b.subject) })
	return log
}

func (log *valueLog) find(subject string) (int, bool) {
	return slices.BinarySearchFunc(log.lines, subject, func(line valueLine, s string) int { return cmp.Compare(line.subject, s) })
}

// get gives a subject's newest value.
func (log *valueLog) get(subject string) (string, bool) {
	at, found := log.find(subject)
	if !found {
		return "", false
	}
	return log.lines[at].value, true
}

// values gives all newest values by subject.
func (log *valueLog) values() map[string]string {
	values := make(map[string]string, len(log.lines))
	for _, line := range log.lines {
		values[line.subject] = line.value
	}
	return values
}

// set gives a subject a value with the clock that follows from now; false when it has that value already.
func (log *valueLog) set(subject, value string, now time.Time) bool {
	at, found := log.find(subject)
	if !found {
		log.lines = slices.Insert(log.lines, at, valueLine{subject, value, nextClock(clock{}, now)})
		return true
	}
	line := &log.lines[at]
	if line.value == value {
		return false
	}
	line.clock, line.value = nextClock(line.clock, now), value
	return true
}

// bytes gives the log as it is written.
func (log *valueLog) bytes() []byte {
	var b []byte
	for _, line := range log.lines {
		b = append(log.format.append(b, line), '\n')
	}
	for _, text := range log.unknown {
		b = append(append(b, text...), '\n')
	}
	return b
}
