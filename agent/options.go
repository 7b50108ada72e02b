package agent

import (
	"log/slog"
	"time"

	"github.com/git-arbor/arbor/config"
)

// DefaultProbeAfter is the default of Options.ProbeAfter.
const DefaultProbeAfter = 30 * time.Second

// Options say where an agent lives and whom it tells of its state.
type Options struct {
	Paths   config.Paths
	Version string          // of the program, shown in status
	Log     *slog.Logger    // required
	Reload  <-chan struct{} // each receive reloads the configuration (SIGHUP); may be nil
	Ready   func()          // called once, when the control socket answers; may be nil
	State   func(string)    // one line for the service manager whenever it changes; may be nil

	ProbeAfter time.Duration // quiet after which a link that was not used yet is measured; 0 is DefaultProbeAfter

	// Now is the clock that the timetable of limits goes by; nil is time.Now.
	Now func() time.Time
}

// InitOptions say which repository becomes a clone of a new grove.
type InitOptions struct {
	Dir   string // created, with a git repository in it, where it is missing
	Name  string // shown to people; the folder's name when empty
	Plain bool   // plain git, without git-annex's formats, when the repository is new
	Bare  bool   // make a bare repository when it is new
	Mode  string // "auto" or "commits"; "auto" when empty
	Paths config.Paths
}

// InitResult tells what Init made.
type InitResult struct {
	Path, Clone, Grove string
	Annex              bool
}

// JoinOptions say which invitation is taken up and where the clone goes.
type JoinOptions struct {
	URI      string // as printed by git arbor invite
	Dir      string // must not exist, or be empty
	Name     string // shown to people; the folder's name when empty
	Bare     bool
	Mode     string // "auto" or "commits"; "auto" when empty
	Paths    config.Paths
	Log      *slog.Logger
	Progress func(step string) // may be nil
}

// JoinResult tells what Join made.
type JoinResult struct {
	Path, Clone, Grove string
	Annex              bool
}
