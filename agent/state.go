package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// cloneState is what an actor remembers across restarts. All of it can be lost without harm to anything a person wrote.
type cloneState struct {
	Paused bool                  `json:"paused,omitempty"`
	Replay []byte                `json:"replay,omitempty"` // signal.Replay
	Peers  map[string]*peerState `json:"peers,omitempty"`  // by peerID.String
	// Deleted are the branches that were deleted, and where they were: a peer that was away brings none of them back.
	Deleted map[string]string `json:"deleted,omitempty"`
	// PausedPeers are the devices with which no contents are exchanged.
	PausedPeers []string `json:"paused_peers,omitempty"`
	// Asked and Held are the keys of contents that are missing, and that the person wants first, or not now.
	Asked []string `json:"asked,omitempty"`
	Held  []string `json:"held,omitempty"`
	// Dropped are those of Held that were dropped.
	Dropped []string `json:"dropped,omitempty"`
	// Kept are not wanted here, but the person has asked for them.
	Kept []string `json:"kept,omitempty"`
	// Unneeded are missing, and no file names or wants them any more: what has come of them is to go.
	Unneeded []string `json:"unneeded,omitempty"`
}

// peerState is what is known of a peer when it says nothing.
type peerState struct {
	Links    []savedLink `json:"links,omitempty"`
	LastSeen time.Time   `json:"last_seen,omitzero"`
}

// savedLink is a link.Candidate.
type savedLink struct {
	Kind     string `json:"kind"`
	Addr     string `json:"addr"`
	Priority int    `json:"priority"`
	HostID   string `json:"host,omitempty"`
}

// save replaces the file at path, so that a crash leaves either the old or the new one.
func (s *cloneState) save(path string) error {
	b, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode state: %w", err)
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(f.Name()) // gone already when all went well
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
