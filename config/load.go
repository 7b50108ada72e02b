package config

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// maxFile bounds the configuration file, in bytes.
const maxFile = 1 << 20

// Load reads and checks the file at path. A missing file is an [*Error] that wraps [fs.ErrNotExist] and whose hint says
// how to make one. What the file leaves out gets its default. A leading "~/" is the home directory; other relative paths
// are taken from the file's directory.
func Load(path string) (*Config, error) {
	data, err := read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &Error{Path: path, Msg: "there is no configuration yet", Fix: "git arbor account JID", Err: fs.ErrNotExist}
	}
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return parse(path, data)
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, &Error{Path: path, Msg: "the file is larger than 1 MiB"}
	}
	return data, nil
}

// parse makes a checked Config of the file's text. path is for messages and to resolve relative paths.
func parse(path string, data []byte) (*Config, error) {
	var tree map[string]any
	if _, err := toml.Decode(string(data), &tree); err != nil {
		e := &Error{Path: path, Msg: err.Error(), Fix: "the file is TOML, see https://toml.io", Err: err}
		if at, ok := errors.AsType[toml.ParseError](err); ok {
			e.Line, e.Key, e.Msg = at.Position.Line, at.LastKey, at.Message
		}
		return nil, e
	}
	src := scan(data)
	if faults := checkShape(tree); len(faults) > 0 {
		return nil, src.firstError(path, faults)
	}
	c := Config{
		Link:  Link{Listen: []string{DefaultListen}},
		Hooks: Hooks{Timeout: DefaultHookTimeout},
		Sync:  Sync{Interval: DefaultInterval},
	}
	if _, err := toml.Decode(string(data), &c); err != nil {
		e := &Error{Path: path, Msg: err.Error(), Err: err}
		if at, ok := errors.AsType[toml.ParseError](err); ok {
			e.Line, e.Key, e.Msg, e.Fix = at.Position.Line, at.LastKey, at.Message, want(at.LastKey)
		}
		return nil, e
	}
	if faults := c.check(); len(faults) > 0 {
		return nil, src.firstError(path, faults)
	}
	if err := c.resolve(filepath.Dir(path)); err != nil {
		return nil, err
	}
	return &c, nil
}

// firstError returns the fault that stands first in the file.
func (s *source) firstError(path string, faults []fault) *Error {
	first := slices.MinFunc(faults, func(a, b fault) int {
		return cmp.Or(cmp.Compare(s.line(a.key, a.element), s.line(b.key, b.element)), cmp.Compare(a.key, b.key))
	})
	return &Error{Path: path, Line: s.line(first.key, first.element), Key: first.key, Msg: first.msg, Fix: first.fix}
}

// resolve makes every path absolute and names the clones that have no name.
func (c *Config) resolve(dir string) error {
	paths := []*string{&c.Account.PasswordFile, &c.Account.CAFile}
	for i := range c.Clones {
		paths = append(paths, &c.Clones[i].Path)
	}
	for _, path := range paths {
		switch rest, home := strings.CutPrefix(*path, "~/"); {
		case *path == "":
		case home:
			dir, err := os.UserHomeDir()
			if err != nil {
				return fmt.Errorf("expand %q: %w", *path, err)
			}
			*path = filepath.Join(dir, rest)
		case filepath.IsAbs(*path):
			*path = filepath.Clean(*path)
		default:
			*path = filepath.Join(dir, *path)
		}
	}
	for i := range c.Clones {
		clone := &c.Clones[i]
		if clone.Mode == "" {
			clone.Mode = ModeAuto
		}
		if clone.Name == "" {
			clone.Name = filepath.Base(clone.Path)
		}
	}
	return nil
}
