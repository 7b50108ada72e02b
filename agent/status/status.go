// Package status is the plain data that people are shown about a running agent.
//
// [Snapshot] is what the command line, the control socket and every other face read; [Store] holds the newest one
// and wakes those who wait for a newer. The package decides nothing, prints nothing and does no I/O.
//
// The JSON form is a contract: within one [Schema] fields are only ever added, and readers ignore those they do not know.
package status

import "time"

// Schema is the version of the JSON form.
const Schema = 1

// Snapshot is everything shown about one agent at one moment. It is never changed after it was handed out.
type Snapshot struct {
	Schema int `json:"schema"`
	// Version grows with every change, also across restarts of the agent. It is good for [Store.Wait] and nothing else.
	Version uint64 `json:"version"`
	// Time is when this version came to be.
	Time      time.Time  `json:"time"`
	Agent     Agent      `json:"agent"`
	Limits    Limits     `json:"limits"`
	Clones    []Clone    `json:"clones"`
	Transfers []Transfer `json:"transfers"`
	Warnings  []Warning  `json:"warnings"`
}

// Limits are the bandwidth limits in force, in bytes per second; 0 is none.
type Limits struct {
	Up   int64 `json:"up"`
	Down int64 `json:"down"`
	// LAN says that Up and Down also count for links within the local network.
	LAN bool `json:"lan"`
	// Until is when the timetable next changes Up or Down; zero when it does not.
	Until time.Time `json:"until,omitzero"`
	// Schedule is the timetable as it is written in the configuration, empty without one.
	Schedule string `json:"schedule,omitempty"`
	// Peers are limits of single machines, by name.
	Peers []PeerLimits `json:"peers"`
}

// PeerLimits are the limits of one machine, in bytes per second; 0 is none.
type PeerLimits struct {
	Name string `json:"name"`
	Up   int64  `json:"up"`
	Down int64  `json:"down"`
}

// Session is the state of the XMPP session.
type Session string

// The states of the XMPP session. Refused means that trying again is no use before a person acted.
const (
	SessionOnline     Session = "online"
	SessionConnecting Session = "connecting"
	SessionOffline    Session = "offline"
	SessionRefused    Session = "refused"
)

// Agent is the agent itself.
type Agent struct {
	// Device is the printed device ID.
	Device string `json:"device"`
	// Name is what the person calls this machine.
	Name    string  `json:"name"`
	JID     string  `json:"jid"`
	Version string  `json:"version"`
	XMPP    Session `json:"xmpp"`
	// Since is when the agent started.
	Since time.Time `json:"since"`
	PID   int       `json:"pid"`
}

// State is what a clone is doing, as one word. The set is closed: see [States].
type State string

// The states of a clone.
const (
	// StateStarting: the clone is being opened and compared with what is on disk.
	StateStarting State = "starting"
	// StateInStep: it has all that the reachable peers have.
	StateInStep State = "in-step"
	// StateCommitting: changes of the person are being taken in.
	StateCommitting State = "committing"
	// StateMerging: changes of a peer are being merged and checked out.
	StateMerging State = "merging"
	// StateFetching: commits or contents are on their way.
	StateFetching State = "fetching"
	// StateWaiting: for the person's unfinished merge or rebase, or for a file being written.
	StateWaiting State = "waiting"
	// StatePaused: the person said so.
	StatePaused State = "paused"
	// StateOffline: no peer can be reached.
	StateOffline State = "offline"
	// StateHalted: it needs the person; Detail and a Warning say why.
	StateHalted State = "halted"
)

// States lists every [State] in the order of the documentation.
func States() []State {
	return []State{
		StateStarting, StateInStep, StateCommitting, StateMerging, StateFetching,
		StateWaiting, StatePaused, StateOffline, StateHalted,
	}
}

// Clone is one clone on this machine.
type Clone struct {
	Name string `json:"name"`
	// Path is absolute and identifies the clone on this machine.
	Path string `json:"path"`
	// ID is the clone id: annex.uuid, or arbor.uuid where there is no annex.
	ID string `json:"id"`
	// Grove is the grove id, empty while the clone belongs to none.
	Grove string `json:"grove"`
	// Mode is "auto" or "commits".
	Mode string `json:"mode"`
	// Branch is the short name of the current branch, empty when HEAD is detached.
	Branch string `json:"branch"`
	// Head is the commit in hex, empty while there is none.
	Head  string `json:"head"`
	State State  `json:"state"`
	// Detail says in a few words what State leaves open; it may be empty.
	Detail string `json:"detail,omitempty"`
	Peers  []Peer `json:"peers"`
	Keys   Keys   `json:"keys"`
	// LastChange is when a change was last taken in or checked out.
	LastChange time.Time `json:"last_change,omitzero"`
}

// Keys counts the annexed contents of a clone; all zero in a plain git repository.
type Keys struct {
	Present int `json:"present"`
	Wanted  int `json:"wanted"`
	// Missing is how many of the wanted are not present.
	Missing int `json:"missing"`
	// Paused is how many of the missing are not transferred for now, because the person paused or cancelled them.
	Paused int `json:"paused,omitzero"`
	// Dropped is how many of the missing were dropped, so that they do not come before they are asked for.
	Dropped int `json:"dropped,omitzero"`
	// Unwanted is how many more are neither here nor wanted here.
	Unwanted int `json:"unwanted,omitzero"`
	// Surplus is how many are here, are not wanted any more, and go in a moment if enough others are proven to have them.
	Surplus int `json:"surplus,omitzero"`
}

// Peer is another clone of the grove.
type Peer struct {
	Device string `json:"device"`
	Name   string `json:"name"`
	// Clone is the peer's clone id.
	Clone string `json:"clone"`
	JID   string `json:"jid"`
	// Online says that the peer's agent is announced on XMPP.
	Online bool `json:"online"`
	// Head is the newest commit the peer announced, in hex.
	Head string `json:"head"`
	// InStep says that the peer announced what this clone has.
	InStep bool `json:"in_step"`
	// Paused says that no contents are exchanged with it, because the person said so.
	Paused bool `json:"paused,omitzero"`
	// PausedThere says that the peer exchanges no contents with this clone, because its person said so.
	PausedThere bool `json:"paused_there,omitzero"`
	// Link is the kind of the link in use ("host", "lan", "static"), empty without one.
	Link     string    `json:"link,omitempty"`
	LastSeen time.Time `json:"last_seen,omitzero"`
	// RTT is the round trip time of the link in nanoseconds, zero while unknown.
	RTT time.Duration `json:"rtt_ns,omitzero"`
}

// Direction of a [Transfer], seen from this machine.
type Direction string

// The directions of a transfer.
const (
	Down Direction = "down"
	Up   Direction = "up"
)

// TransferState is where a transfer stands.
type TransferState string

// The states of a transfer.
const (
	TransferQueued  TransferState = "queued"
	TransferRunning TransferState = "running"
	TransferFailed  TransferState = "failed"
	// TransferPaused: the person paused or cancelled it. Only the first ones are shown.
	TransferPaused TransferState = "paused"
)

// Transfer is one content on its way.
type Transfer struct {
	// Key is the git-annex key.
	Key string `json:"key"`
	// File is one path that uses the key, relative to the clone.
	File string `json:"file"`
	// Clone is the path of the clone on this machine.
	Clone string `json:"clone"`
	// Peer is the name of the other side, empty while it is queued or paused.
	Peer      string    `json:"peer"`
	Direction Direction `json:"direction"`
	// Bytes of Size have been moved.
	Bytes int64 `json:"bytes"`
	// Size is -1 when it is not known.
	Size int64 `json:"size"`
	// Rate is in bytes per second.
	Rate  int64         `json:"rate"`
	State TransferState `json:"state"`
	// Position is the place in the clone's queue, from 1; 0 when it is not queued. Only the first ones are shown.
	Position int `json:"position,omitzero"`
	// Asked says that the person asked for it, so that it goes before all others.
	Asked bool `json:"asked,omitzero"`
	// Why says in a few words why it comes from this peer; it may be empty.
	Why string `json:"why,omitempty"`
}

// Left is the time until the transfer is done if its rate holds; negative when that cannot be said.
func (t Transfer) Left() time.Duration {
	if t.State != TransferRunning || t.Rate <= 0 || t.Size < t.Bytes {
		return -1
	}
	return time.Duration(float64(t.Size-t.Bytes) / float64(t.Rate) * float64(time.Second))
}

// Warning is something that lasts and that a person should know. Code and Clone identify it.
type Warning struct {
	// Code is stable and documented, such as "xmpp-not-authorized".
	Code string `json:"code"`
	Text string `json:"text"`
	// Hint is the next step for the person; it may be empty.
	Hint string `json:"hint,omitempty"`
	// Clone is the path of the clone concerned, empty when the whole agent is.
	Clone string    `json:"clone,omitempty"`
	Since time.Time `json:"since"`
}
