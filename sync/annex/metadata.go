package annex

import (
	"context"
	"encoding/base64"
	"maps"
	"slices"
	"strings"
	"time"
)

// metadataValue is one value of one field of a key's metadata.
type metadataValue struct{ field, value string }

// Metadata gives the values of a key's metadata by field, in lower case and sorted, as git-annex does: with the fields that it makes up, "lastchanged" and
// "FIELD-lastchanged".
func (r *Repo) Metadata(ctx context.Context, k Key) (map[string][]string, error) {
	content, err := r.readLog(ctx, k.logPath()+".met")
	if err != nil {
		return nil, err
	}
	return parseMetadata(content), nil
}

// URLs gives where the web has the content of a key, sorted.
func (r *Repo) URLs(ctx context.Context, k Key) ([]string, error) {
	content, err := r.readLog(ctx, k.logPath()+".web")
	if err != nil {
		return nil, err
	}
	log := parsePresenceLog(content)
	return log.present(), nil
}

// parseMetadata reads a log of metadata: CLOCK FIELD +VALUE -VALUE … FIELD …, where the newest line that names a value says whether the field
// has it (Types/MetaData.hs). Of two lines with the same clock the last wins.
func parseMetadata(content []byte) map[string][]string {
	type state struct {
		clock clock
		set   bool
	}
	newest := make(map[metadataValue]state)
	changed := make(map[string]clock) // by field
	var last clock
	for text := range logLines(content) {
		stamp, rest, _ := strings.Cut(text, " ")
		c, ok := parseClock(stamp)
		if !ok {
			continue
		}
		if c.compare(last) > 0 {
			last = c
		}
		field := ""
		for word := range strings.FieldsSeq(rest) {
			if word[0] != '+' && word[0] != '-' {
				field = strings.ToLower(word)
				continue
			}
			value, ok := metadataText(word[1:])
			if !ok {
				continue
			}
			if c.compare(changed[field]) > 0 {
				changed[field] = c
			}
			v := metadataValue{field, value}
			if old, seen := newest[v]; !seen || c.compare(old.clock) >= 0 {
				newest[v] = state{c, word[0] == '+'}
			}
		}
	}
	values := make(map[string][]string)
	for v, s := range newest {
		if s.set && v.field != "" {
			values[v.field] = append(values[v.field], v.value)
		}
	}
	for _, field := range slices.Collect(maps.Keys(values)) { // of a copy: more are added
		slices.Sort(values[field])
		values[field+"-lastchanged"] = []string{metadataDate(changed[field])}
	}
	if last.known {
		values["lastchanged"] = []string{metadataDate(last)}
	}
	return values
}

// metadataText decodes a value, which is in base64 behind a "!" where it would not be one word otherwise.
func metadataText(word string) (value string, ok bool) {
	encoded, ok := strings.CutPrefix(word, "!")
	if !ok {
		return word, true
	}
	decoded, err := base64.StdEncoding.DecodeString(encoded)
	return string(decoded), err == nil
}

func metadataDate(c clock) string { return time.Unix(c.seconds, 0).UTC().Format("2006-01-02@15-04-05") }
