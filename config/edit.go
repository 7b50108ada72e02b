package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
)

// newFile heads a configuration that Arbor makes.
const newFile = "# Arbor's configuration. Every key is described in docs/configuration.md.\n"

// AddClone adds the clone to the file at path, which is made when it is missing; everything else in it stays as it
// is. A path that is listed already is left alone. The new text is checked before it replaces the old file at once.
func AddClone(path string, c Clone) error {
	return rewrite(path, func(data []byte, old *Config) ([]byte, error) {
		if slices.ContainsFunc(old.Clones, func(have Clone) bool { return have.Path == filepath.Clean(c.Path) }) {
			return data, nil
		}
		var lines strings.Builder
		for _, f := range []field{{"path", c.Path}, {"mode", c.Mode}, {"name", c.Name}} {
			if f.value == "" {
				continue
			}
			value, err := quote(f.value)
			if err != nil {
				return nil, &Error{Path: path, Key: "clones." + f.key, Msg: err.Error(), Fix: "rename the folder"}
			}
			fmt.Fprintf(&lines, "%s = %s\n", f.key, value)
		}
		return appendTable(data, "[["+clonesTable+"]]", lines.String()), nil
	}, func(old, got *Config) bool {
		listed := slices.ContainsFunc(got.Clones, func(have Clone) bool { return have.Path == filepath.Clean(c.Path) })
		kept := *got
		kept.Clones = kept.Clones[:min(len(old.Clones), len(got.Clones))]
		return listed && len(got.Clones) <= len(old.Clones)+1 && equal(&kept, old)
	})
}

// SetAccount replaces the values of the [account] table of the file at path, which is made when it is missing; comments
// and everything else stay as they are. The new text is checked before it replaces the old file at once.
func SetAccount(path string, a Account) error {
	return rewrite(path, func(data []byte, _ *Config) ([]byte, error) {
		fields, err := a.lines(path)
		if err != nil {
			return nil, err
		}
		return setTable(data, toml.Key{"account"}, fields), nil
	}, func(old, got *Config) bool {
		want := Config{Account: a}
		if want.resolve(filepath.Dir(path)) != nil {
			return false
		}
		kept := *got
		kept.Account = old.Account
		return got.Account == want.Account && equal(&kept, old)
	})
}

// rewrite edits the file under a lock. intended compares what the old and the new text mean.
func rewrite(path string, edit func([]byte, *Config) ([]byte, error), intended func(old, got *Config) bool) error {
	// A configuration kept elsewhere and linked here stays so.
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	unlock, err := lockDir(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("lock configuration: %w", err)
	}
	defer unlock()
	data, err := read(path)
	if errors.Is(err, fs.ErrNotExist) {
		data, err = []byte(newFile), nil
	}
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	old, err := parse(path, data)
	if err != nil {
		return err
	}
	text, err := edit(data, old)
	if err != nil {
		return err
	}
	got, err := parse(path, text)
	if err != nil {
		return fmt.Errorf("edit configuration: %w", err)
	}
	if !intended(old, got) {
		return &Error{Path: path, Msg: "the file is written in a form that Arbor does not edit", Fix: "make the change by hand, as docs/configuration.md says"}
	}
	if bytes.Equal(text, data) {
		return nil
	}
	mode := fs.FileMode(0o600)
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
	}
	if err := replace(path, text, mode); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return nil
}

func equal(a, b *Config) bool {
	if len(a.Clones) == 0 && len(b.Clones) == 0 {
		x, y := *a, *b
		x.Clones, y.Clones = nil, nil
		return reflect.DeepEqual(x, y)
	}
	return reflect.DeepEqual(a, b)
}

// setTable edits the lines of a table so that it has these fields, or appends the table. One that is left with nothing in it,
// not even a comment, goes.
func setTable(data []byte, table toml.Key, fields []field) []byte {
	src := scan(data)
	header := slices.IndexFunc(src.items, func(it item) bool { return it.header && it.key.String() == table.String() })
	var added strings.Builder
	add := func(f field) {
		if f.value != "" {
			fmt.Fprintf(&added, "%s = %s\n", f.key, f.value)
		}
	}
	if header < 0 {
		for _, f := range fields {
			add(f)
		}
		if added.Len() == 0 {
			return data
		}
		return appendTable(data, "["+table.String()+"]", added.String())
	}
	end := header + 1
	for end < len(src.items) && !src.items[end].header {
		end++
	}
	var edits []edit
	for _, f := range fields {
		i := slices.IndexFunc(src.items[header:end], func(it item) bool { return it.key.String() == append(slices.Clone(table), f.key).String() })
		if i >= 0 {
			edits = append(edits, src.items[header+i].change(data, f.value))
		} else {
			add(f)
		}
	}
	at := src.items[end-1].end
	text := added.String()
	if text != "" && data[at-1] != '\n' {
		text = "\n" + text
	}
	out := apply(data, append(edits, edit{at, at, text}))
	if text == "" {
		out = dropEmpty(out, table)
	}
	return out
}

// dropEmpty takes away the header of a table that has nothing below it.
func dropEmpty(data []byte, table toml.Key) []byte {
	src := scan(data)
	for i, it := range src.items {
		if !it.header || it.key.String() != table.String() {
			continue
		}
		end := len(data)
		if i+1 < len(src.items) {
			if !src.items[i+1].header {
				return data
			}
			end = src.items[i+1].start
		}
		if line := bytes.TrimSpace(data[it.start:end]); bytes.HasSuffix(line, []byte{']'}) && !bytes.ContainsAny(line, "#\n") {
			return apply(data, []edit{{it.start, end, ""}})
		}
	}
	return data
}

// field is a key of a table and its value in TOML; an empty value leaves the key out.
type field struct{ key, value string }

func (a *Account) lines(path string) ([]field, error) {
	var fields []field
	for _, f := range []field{
		{"jid", a.JID},
		{"name", a.Name},
		{"password_file", a.PasswordFile},
		{"password_command", a.PasswordCommand},
		{"server", a.Server},
		{"ca_file", a.CAFile},
	} {
		if f.value != "" {
			value, err := quote(f.value)
			if err != nil {
				return nil, &Error{Path: path, Key: "account." + f.key, Msg: err.Error()}
			}
			f.value = value
		}
		fields = append(fields, f)
	}
	for _, b := range []struct {
		key string
		set bool
	}{{"direct_tls", a.DirectTLS}, {"shared", a.Shared}} {
		f := field{key: b.key}
		if b.set {
			f.value = "true"
		}
		fields = append(fields, f)
	}
	return fields, nil
}

// edit replaces data[start:end].
type edit struct {
	start, end int
	text       string
}

func apply(data []byte, edits []edit) []byte {
	slices.SortStableFunc(edits, func(a, b edit) int { return cmp.Compare(a.start, b.start) })
	var out []byte
	at := 0
	for _, e := range edits {
		out = append(append(out, data[at:e.start]...), e.text...)
		at = e.end
	}
	return append(out, data[at:]...)
}

// change gives the key a new value. An empty one takes the key away, and its line unless there is a comment on it.
func (it item) change(data []byte, value string) edit {
	switch {
	case value != "":
		return edit{it.value, it.valueEnd, value}
	case len(bytes.TrimSpace(data[it.valueEnd:it.end])) > 0:
		return edit{it.start, skipBlank(data, it.valueEnd), ""}
	default:
		return edit{it.start, it.end, ""}
	}
}

func appendTable(data []byte, header, lines string) []byte {
	out := slices.Clone(data)
	if len(out) > 0 && out[len(out)-1] != '\n' {
		out = append(out, '\n')
	}
	if len(out) > 0 {
		out = append(out, '\n')
	}
	return append(out, header+"\n"+lines...)
}

// quote writes s as a basic string (TOML 1.0.0, "String").
func quote(s string) (string, error) {
	if !utf8.ValidString(s) {
		return "", errors.New(strconv.Quote(s) + " is not UTF-8, which a configuration file must be")
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String(), nil
}
