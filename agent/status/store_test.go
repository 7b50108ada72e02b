package status

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestStoreRows(t *testing.T) {
	s := NewStore()
	s.UpdateAgent(func(a *Agent) { a.Name = "laptop"; a.XMPP = SessionConnecting })
	s.SetClone(Clone{Path: "/b", State: StateStarting})
	s.SetClone(Clone{Path: "/a", State: StateStarting})
	s.SetClone(Clone{Path: "/b", State: StateInStep})
	s.SetTransfer(Transfer{Key: "K", Clone: "/a", Peer: "nas", Direction: Down, Bytes: 1})
	s.SetTransfer(Transfer{Key: "K", Clone: "/a", Peer: "nas", Direction: Up, Bytes: 1})
	s.SetTransfer(Transfer{Key: "K", Clone: "/a", Peer: "nas", Direction: Down, Bytes: 2})
	s.SetTransfer(Transfer{Key: "K", Clone: "/b", Peer: "nas", Direction: Down, Bytes: 3})
	s.Raise(Warning{Code: "full", Text: "disk full", Clone: "/a"})
	s.Raise(Warning{Code: "xmpp", Text: "refused"})

	got := s.Snapshot()
	if states := []State{got.Clones[0].State, got.Clones[1].State}; !slices.Equal(states, []State{StateStarting, StateInStep}) {
		t.Errorf("clones are %+v", got.Clones)
	}
	if len(got.Transfers) != 3 || got.Transfers[0].Bytes != 2 {
		t.Errorf("transfers are %+v", got.Transfers)
	}
	if len(got.Warnings) != 2 || got.Warnings[0].Code != "xmpp" {
		t.Errorf("warnings are %+v, want those of the agent first", got.Warnings)
	}

	s.RemoveTransfer(Transfer{Key: "K", File: "renamed since", Clone: "/a", Peer: "nas", Direction: Down})
	s.RemoveClone("/b")
	s.Clear("xmpp", "")
	after := s.Snapshot()
	if len(after.Clones) != 1 || len(after.Transfers) != 1 || len(after.Warnings) != 1 {
		t.Errorf("after the removals: %+v", after)
	}
	if len(got.Clones) != 2 || len(got.Transfers) != 3 || len(got.Warnings) != 2 {
		t.Errorf("a snapshot handed out has changed: %+v", got)
	}
}

func TestStoreVersion(t *testing.T) {
	s := NewStore()
	version := s.Snapshot().Version
	step := func(what string, want uint64, change func()) {
		t.Helper()
		change()
		if got := s.Snapshot().Version - version; got != want {
			t.Errorf("%s: the version went up by %d, want %d", what, got, want)
		}
		version = s.Snapshot().Version
	}
	step("new clone", 1, func() { s.SetClone(Clone{Path: "/a", Peers: []Peer{{Name: "nas"}}}) })
	step("same clone", 0, func() { s.SetClone(Clone{Path: "/a", Peers: []Peer{{Name: "nas"}}}) })
	step("other peer", 1, func() { s.SetClone(Clone{Path: "/a", Peers: []Peer{{Name: "nas", Online: true}}}) })
	step("new warning", 1, func() { s.Raise(Warning{Code: "c"}) })
	step("same warning", 0, func() { s.Raise(Warning{Code: "c"}) })
	step("other text", 1, func() { s.Raise(Warning{Code: "c", Text: "worse"}) })
	step("unknown warning", 0, func() { s.Clear("d", "") })
	step("same agent", 0, func() { s.UpdateAgent(func(*Agent) {}) })
	step("unknown clone", 0, func() { s.RemoveClone("/b") })
}

func TestStoreVersionGrowsAcrossRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old := NewStore()
		for range 50 {
			old.UpdateAgent(func(a *Agent) { a.PID++ })
		}
		<-time.After(time.Second) // of the bubble's clock
		if before, after := old.Snapshot().Version, NewStore().Snapshot().Version; after <= before {
			t.Errorf("version %d after a restart, %d before", after, before)
		}
	})
}

func TestRaiseKeepsSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewStore()
		first := time.Now()
		s.Raise(Warning{Code: "c"})
		<-time.After(time.Hour) // of the bubble's clock
		s.Raise(Warning{Code: "c", Text: "still"})
		if got := s.Snapshot().Warnings[0].Since; !got.Equal(first) {
			t.Errorf("since %v, want %v", got, first)
		}
		s.Clear("c", "")
		s.Raise(Warning{Code: "c"})
		if got := s.Snapshot().Warnings[0].Since; got.Equal(first) {
			t.Error("a warning that was taken back kept its time")
		}
	})
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewStore()
		now := s.Snapshot()
		if got, err := s.Wait(t.Context(), 1); err != nil || got.Version != now.Version {
			t.Errorf("an old version: got %d, %v", got.Version, err)
		}
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if got, err := s.Wait(t.Context(), now.Version); err != nil || got.Agent.Name != "b" {
					t.Errorf("got %+v, %v", got.Agent, err)
				}
			})
		}
		synctest.Wait()
		s.UpdateAgent(func(a *Agent) { a.Name = "b" })
		wg.Wait()

		ctx, cancel := context.WithCancelCause(t.Context())
		gone := errors.New("the client is gone")
		wg.Go(func() {
			if _, err := s.Wait(ctx, s.Snapshot().Version); !errors.Is(err, gone) {
				t.Errorf("got %v, want the cause of the context's end", err)
			}
		})
		synctest.Wait()
		cancel(gone)
		wg.Wait()
	})
}

// TestJSON is the contract with programs that read the JSON: fields may be added here, never changed or removed.
func TestJSON(t *testing.T) {
	at := time.Date(2026, 11, 22, 14, 0, 0, 0, time.UTC)
	s := Snapshot{
		Schema: Schema, Version: 7, Time: at,
		Agent: Agent{Device: "D", Name: "laptop", JID: "a@b", Version: "1", XMPP: SessionOnline, Since: at, PID: 3},
		Limits: Limits{
			Up: 5, LAN: true, Until: at, Schedule: "18:00,off", Peers: []PeerLimits{{Name: "nas", Down: 6}},
		},
		Clones: []Clone{{
			Name: "notes", Path: "/notes", ID: "u", Grove: "g", Mode: "auto", Branch: "main", Head: "h", State: StateInStep,
			Peers: []Peer{{
				Device: "E", Name: "nas", Clone: "v", JID: "c@d", Online: true, Head: "h", InStep: true, Link: "lan", LastSeen: at, RTT: 1500,
			}},
			Keys: Keys{Present: 1, Wanted: 2, Missing: 1}, LastChange: at,
		}},
		Transfers: []Transfer{{Key: "K", File: "f", Clone: "/notes", Peer: "nas", Direction: Down, Bytes: 1, Size: 2, Rate: 3, State: TransferRunning}},
		Warnings:  []Warning{{Code: "c", Text: "t", Hint: "h", Clone: "/notes", Since: at}},
	}
	const want = `{
 "schema": 1,
 "version": 7,
 "time": "2026-11-22T14:00:00Z",
 "agent": {
  "device": "D",
  "name": "laptop",
  "jid": "a@b",
  "version": "1",
  "xmpp": "online",
  "since": "2026-11-22T14:00:00Z",
  "pid": 3
 },
 "limits": {
  "up": 5,
  "down": 0,
  "lan": true,
  "until": "2026-11-22T14:00:00Z",
  "schedule": "18:00,off",
  "peers": [
   {
    "name": "nas",
    "up": 0,
    "down": 6
   }
  ]
 },
 "clones": [
  {
   "name": "notes",
   "path": "/notes",
   "id": "u",
   "grove": "g",
   "mode": "auto",
   "branch": "main",
   "head": "h",
   "state": "in-step",
   "peers": [
    {
     "device": "E",
     "name": "nas",
     "clone": "v",
     "jid": "c@d",
     "online": true,
     "head": "h",
     "in_step": true,
     "link": "lan",
     "last_seen": "2026-11-22T14:00:00Z",
     "rtt_ns": 1500
    }
   ],
   "keys": {
    "present": 1,
    "wanted": 2,
    "missing": 1
   },
   "last_change": "2026-11-22T14:00:00Z"
  }
 ],
 "transfers": [
  {
   "key": "K",
   "file": "f",
   "clone": "/notes",
   "peer": "nas",
   "direction": "down",
   "bytes": 1,
   "size": 2,
   "rate": 3,
   "state": "running"
  }
 ],
 "warnings": [
  {
   "code": "c",
   "text": "t",
   "hint": "h",
   "clone": "/notes",
   "since": "2026-11-22T14:00:00Z"
  }
 ]
}`
	got, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
	empty, err := json.Marshal(NewStore().Snapshot().Clones)
	if err != nil || string(empty) != "[]" {
		t.Errorf("no clones are %s, %v; want []", empty, err)
	}
}

func TestLimits(t *testing.T) {
	s := NewStore()
	if peers := s.Snapshot().Limits.Peers; peers == nil {
		t.Error("no peers are null, not a list")
	}
	before := s.Snapshot().Version
	s.SetLimits(Limits{})
	if s.Snapshot().Version != before {
		t.Error("the same limits made a new version")
	}
	s.SetLimits(Limits{Up: 1, Peers: []PeerLimits{{Name: "b"}, {Name: "a"}}})
	got := s.Snapshot()
	if diff := cmp.Diff(Limits{Up: 1, Peers: []PeerLimits{{Name: "a"}, {Name: "b"}}}, got.Limits); diff != "" || got.Version == before {
		t.Errorf("version %d after %d: %s", got.Version, before, diff)
	}
}

// TestQueue: what is queued is replaced as a whole, for one clone, and what runs is queued no more.
func TestQueue(t *testing.T) {
	s := NewStore()
	queued := func(clone string, keys ...string) []Transfer {
		var rows []Transfer
		for i, k := range keys {
			rows = append(rows, Transfer{Key: k, Clone: clone, State: TransferQueued, Position: i + 1, Direction: Down})
		}
		return rows
	}
	shown := func() (rows []string) {
		for _, r := range s.Snapshot().Transfers {
			rows = append(rows, r.Clone+" "+r.Key+" "+string(r.State))
		}
		return rows
	}
	s.SetQueue("/notes", queued("/notes", "3", "1", "2"))
	s.SetQueue("/photos", queued("/photos", "1"))
	s.SetTransfer(Transfer{Key: "1", Clone: "/notes", Peer: "nas", State: TransferRunning, Direction: Down})
	s.SetTransfer(Transfer{Key: "2", Clone: "/notes", Peer: "nas", State: TransferRunning, Direction: Up})
	s.RemoveTransfer(Transfer{Key: "2", Clone: "/notes", Peer: "nas", Direction: Up})
	want := []string{"/notes 1 running", "/notes 2 queued", "/notes 3 queued", "/photos 1 queued"}
	if diff := cmp.Diff(want, shown()); diff != "" {
		t.Error(diff)
	}
	version := s.Snapshot().Version
	s.SetQueue("/photos", queued("/photos", "1"))
	if s.Snapshot().Version != version {
		t.Error("the same queue made a new version")
	}
	s.SetQueue("/notes", nil)
	if diff := cmp.Diff([]string{"/notes 1 running", "/photos 1 queued"}, shown()); diff != "" {
		t.Error(diff)
	}
}

func TestLeft(t *testing.T) {
	running := Transfer{Bytes: 100, Size: 1100, Rate: 10, State: TransferRunning}
	if got := running.Left(); got != 100*time.Second {
		t.Errorf("got %v, want 100 s", got)
	}
	for _, spoil := range []func(*Transfer){
		func(t *Transfer) { t.State = TransferQueued },
		func(t *Transfer) { t.Rate = 0 },
		func(t *Transfer) { t.Size = -1 },
	} {
		other := running
		spoil(&other)
		if got := other.Left(); got >= 0 {
			t.Errorf("%+v: got %v", other, got)
		}
	}
}
