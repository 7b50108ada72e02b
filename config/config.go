// Package config owns config.toml and the places where Arbor keeps its files.
//
// It reads, checks and edits the one configuration file of a machine, and says where state, runtime files and
// the control socket live. Every mistake in the file is reported as an [*Error] that names file, line, key and remedy.
// It never creates state, never talks to the network, never looks into a clone, and never writes the file except
// through [AddClone], [SetAccount] and [ChangeLimits], which keep what a person wrote in it.
package config

import (
	"time"
)

// Config is a whole, valid configuration. The zero Config is not valid: use [Load].
type Config struct {
	Account Account `toml:"account"`
	Clones  []Clone `toml:"clones"`
	Link    Link    `toml:"link"`
	Limits  Limits  `toml:"limits"`
	Hooks   Hooks   `toml:"hooks"`
	Sync    Sync    `toml:"sync"`
}

// Account is the Jabber account of this machine.
type Account struct {
	// JID is the bare address, "alice@example.org"; empty while no account is set.
	JID string `toml:"jid"`
	// Name is what people call this machine; empty means its host name.
	Name string `toml:"name"`
	// PasswordFile is the path of a file that only its owner may read and whose first line is the password.
	PasswordFile string `toml:"password_file"`
	// PasswordCommand is a shell command line whose first line of output is the password.
	PasswordCommand string `toml:"password_command"`
	// Server is the host:port to connect to; empty means what the domain's SRV records say.
	Server string `toml:"server"`
	// CAFile is a PEM file of the certificates to trust instead of the system's.
	CAFile string `toml:"ca_file"`
	// DirectTLS speaks TLS from the first byte (RFC 7590, XEP-0368) instead of STARTTLS. It matters only when Server is set.
	DirectTLS bool `toml:"direct_tls"`
	// Shared says that a person also chats from this account: the agent then never takes messages meant for them.
	Shared bool `toml:"shared"`
}

// Modes of a [Clone].
const (
	// ModeAuto watches the work tree and commits what is saved in it.
	ModeAuto = "auto"
	// ModeCommits leaves committing to the person and propagates their commits.
	ModeCommits = "commits"
)

// Clone is one repository on this machine that the agent keeps in step.
type Clone struct {
	// Path is the absolute path of the work tree, or of the bare repository.
	Path string `toml:"path"`
	// Mode is [ModeAuto] or [ModeCommits].
	Mode string `toml:"mode"`
	// Name is what the person calls the clone; the last element of Path where the file has none.
	Name string `toml:"name"`
}

// Link says how peers reach this machine.
type Link struct {
	// Listen has the host:port addresses to listen on; port 0 lets the system choose.
	Listen []string `toml:"listen"`
	// Advertise has further host:port addresses under which peers reach this machine, such as a forwarded port.
	Advertise []string `toml:"advertise"`
}

// Hooks are programs run around each sync.
type Hooks struct {
	// Before and After are shell command lines; empty means none.
	Before string `toml:"before"`
	After  string `toml:"after"`
	// Timeout is how long each may run.
	Timeout Duration `toml:"timeout"`
}

// Sync has the slow timer.
type Sync struct {
	// Interval is the mean time between two periodic syncs with every peer; the agent jitters it.
	Interval Duration `toml:"interval"`
}

// Defaults of the keys that the file leaves out.
const (
	DefaultInterval    = Duration(15 * time.Minute)
	DefaultHookTimeout = Duration(time.Minute)
	DefaultListen      = ":0"
)
