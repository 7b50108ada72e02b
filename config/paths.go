package config

import (
	"errors"
	"path/filepath"
)

// Paths are the places where Arbor keeps its files on this machine. All are absolute.
type Paths struct {
	Config  string // the file config.toml
	State   string // directory: device key, groves, lock
	Runtime string // directory of the socket
	Socket  string // the control socket
}

// DefaultPaths derives the places from the environment as the XDG base directory specification says, with the state
// directory in place of a missing XDG_RUNTIME_DIR. As the specification asks, a variable that holds a relative path is
// ignored. Nothing is created.
func DefaultPaths(getenv func(string) string) (Paths, error) {
	home := getenv("HOME")
	base := func(variable string, fallback ...string) (string, error) {
		if dir := getenv(variable); filepath.IsAbs(dir) {
			return filepath.Join(dir, "arbor"), nil
		}
		if !filepath.IsAbs(home) {
			return "", errors.New("find the home directory: $HOME is not set to an absolute path")
		}
		return filepath.Join(append(append([]string{home}, fallback...), "arbor")...), nil
	}
	configDir, err := base("XDG_CONFIG_HOME", ".config")
	if err != nil {
		return Paths{}, err
	}
	state, err := base("XDG_STATE_HOME", ".local", "state")
	if err != nil {
		return Paths{}, err
	}
	runtime := state
	if dir := getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		runtime = filepath.Join(dir, "arbor")
	}
	return Paths{
		Config:  filepath.Join(configDir, "config.toml"),
		State:   state,
		Runtime: runtime,
		Socket:  filepath.Join(runtime, "agent.sock"),
	}, nil
}
