package annex

import (
	"context"
	"strconv"
	"strings"
	"unicode"
)

// remoteLog has the configuration of special remotes (Logs/Remote/Pure.hs).
const remoteLog = "remote.log"

// RemoteConfigs gives what special remotes were set up with, such as their type, encryption and chunk, by UUID. It holds
// keys of encrypted ones: nothing of it belongs into a log.
func (r *Repo) RemoteConfigs(ctx context.Context) (map[string]map[string]string, error) {
	log, err := r.valueLog(ctx, remoteLog, uuidLogFormat)
	if err != nil {
		return nil, err
	}
	configs := make(map[string]map[string]string, len(log.lines))
	for _, line := range log.lines {
		configs[line.subject] = parseRemoteConfig(line.value)
	}
	return configs, nil
}

// Chunked says whether a special remote has, or had, the content of the key in chunks (Logs/Chunk.hs: CLOCK UUID:SIZE COUNT).
func (r *Repo) Chunked(ctx context.Context, k Key, uuid string) (bool, error) {
	content, err := r.readLog(ctx, k.logPath()+".cnk")
	if err != nil {
		return false, err
	}
	for line := range logLines(content) {
		if words := strings.Fields(line); len(words) > 1 && strings.HasPrefix(words[1], uuid+":") {
			return true, nil
		}
	}
	return false, nil
}

// parseRemoteConfig reads NAME=VALUE words; in values, white space and & are written as &NUMBER; with the number of the character.
func parseRemoteConfig(text string) map[string]string {
	config := make(map[string]string)
	for _, word := range strings.FieldsFunc(text, isHaskellSpace) {
		name, value, _ := strings.Cut(word, "=")
		config[name] = unescapeRemoteValue(value)
	}
	return config
}

func unescapeRemoteValue(s string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, "&")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		digits, rest, ended := strings.Cut(after, ";")
		c, ok := parseCharacter(digits)
		if !ended || !ok {
			b.WriteByte('&')
			s = after
			continue
		}
		b.WriteRune(c)
		s = rest
	}
}

// parseCharacter reads the decimal number of a character.
func parseCharacter(digits string) (rune, bool) {
	for _, c := range []byte(digits) {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	return rune(n), err == nil && n <= unicode.MaxRune
}

// isHaskellSpace says what separates words for git-annex, which is written in Haskell: there U+0085 is no space.
func isHaskellSpace(c rune) bool {
	return c >= '\t' && c <= '\r' || unicode.Is(unicode.Zs, c)
}
