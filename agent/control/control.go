// Package control is how other programs of the same person talk to the running agent: HTTP with JSON bodies on a Unix
// socket, handler and typed client side by side.
//
// [Serve] owns the socket and the wire form; what a request does is in the functions of [Actions], wired by package agent.
// The package never prints, keeps no state, and lets nobody in but the owner of the socket's directory.
package control

import (
	"context"
	"time"

	"github.com/git-arbor/arbor/agent/status"
)

// Actions are what an agent can be asked to do. All functions must be set, and are called concurrently. The context ends
// when the client goes away or the agent stops. An error that is (or wraps) an [*Error] reaches the client whole; of any
// other its text does, and its hint when it has a Hint() string method.
type Actions struct {
	// Status returns the newest snapshot; with since > 0 it waits for a version other than since.
	Status func(ctx context.Context, since uint64) (status.Snapshot, error)
	// Sync starts a sync with every peer.
	Sync func(context.Context, SyncRequest) (SyncReply, error)
	// Notify makes the agent look at the work tree and the references now.
	Notify func(context.Context, NotifyRequest) error
	Pause  func(context.Context, PauseRequest) error
	Resume func(context.Context, PauseRequest) error
	// Get has the contents of files transferred before all others, and tells how far that is until a last time, which is Done.
	Get func(ctx context.Context, r GetRequest, tell func(GetProgress) error) error
	// Prioritise does the same without waiting.
	Prioritise func(context.Context, FilesRequest) (FilesReply, error)
	// PauseFiles ends the transfer of the contents of files until ResumeFiles, Get or Prioritise. What has come is kept; Cancel
	// forgets that too.
	PauseFiles  func(context.Context, FilesRequest) (FilesReply, error)
	ResumeFiles func(context.Context, FilesRequest) (FilesReply, error)
	Cancel      func(context.Context, FilesRequest) (FilesReply, error)
	// Drop removes the contents of files from here, of which others have proven to have enough copies, and has them stay away.
	Drop func(context.Context, DropRequest) (DropReply, error)
	// Want gives, or sets, what a repository wants; Why says where the content of a file is and comes from.
	Want func(context.Context, WantRequest) (WantReply, error)
	Why  func(context.Context, WhyRequest) (WhyReply, error)
	// Map gives the network as the clone knows it.
	Map    func(context.Context, MapRequest) (MapReply, error)
	Invite func(context.Context, InviteRequest) (InviteReply, error)
	Forget func(context.Context, ForgetRequest) error
	// Reload reads the configuration file again.
	Reload func(context.Context) error
}

// SyncRequest names the clone by path or name. With Wait the reply comes when the clone and all peers that are online
// are in step.
type SyncRequest struct {
	Clone string `json:"clone"`
	Wait  bool   `json:"wait"`
}

// SyncReply says how far a sync got.
type SyncReply struct {
	// InStep says that the clone and all peers that are online have the same.
	InStep bool `json:"in_step"`
	// Head is the clone's commit in hex.
	Head string `json:"head"`
	// Peers is the number of peers that are online.
	Peers int `json:"peers"`
}

// NotifyRequest names the clone by path or name.
type NotifyRequest struct {
	Clone string `json:"clone"`
}

// PauseRequest names the clone by path or name; empty means all. Peer is the name of a peer, or its device's ID or the
// start of that, where only the exchange with it is meant. Accept, with Resume, says that the person has looked at what
// halted the clone and wants it taken as it is.
type PauseRequest struct {
	Clone  string `json:"clone"`
	Accept bool   `json:"accept,omitzero"`
	Peer   string `json:"peer,omitzero"`
}

// InviteRequest names the clone by path or name.
type InviteRequest struct {
	Clone string `json:"clone"`
}

// InviteReply is one invitation, good for one device.
type InviteReply struct {
	URI     string    `json:"uri"`
	Expires time.Time `json:"expires"`
}

// ForgetRequest names the clone by path or name, and the device by its ID, the start of it, or its name.
type ForgetRequest struct {
	Clone  string `json:"clone"`
	Device string `json:"device"`
}
