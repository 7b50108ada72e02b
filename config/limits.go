package config

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/BurntSushi/toml"
)

// Limits bound the bandwidth that all links of this machine use together.
type Limits struct {
	Up   Rate `toml:"up"`
	Down Rate `toml:"down"`
	// LAN says that links within this host and its local networks count too.
	LAN bool `toml:"lan"`
	// Schedule takes the place of Up and Down, which are both 0 where there is one.
	Schedule Schedule `toml:"schedule"`
	// Peers are bounds for single machines, by name, wherever they are; they hold beside those of the whole.
	Peers map[string]PeerLimits `toml:"peers"`
}

// PeerLimits bound what is exchanged with one machine.
type PeerLimits struct {
	Up   Rate `toml:"up"`
	Down Rate `toml:"down"`
}

// At gives the limits of the whole that hold at a time, and when other ones will; zero when never.
func (l Limits) At(now time.Time) (up, down Rate, until time.Time) {
	if len(l.Schedule) > 0 {
		return l.Schedule.At(now)
	}
	return l.Up, l.Down, time.Time{}
}

func (l Limits) check() []fault {
	var faults []fault
	if len(l.Schedule) > 0 && (l.Up != 0 || l.Down != 0) {
		faults = append(faults, fault{key: "limits.schedule", msg: "there is an up or down too", fix: "keep either schedule, or up and down"})
	}
	for name := range l.Peers {
		if name == "" || !validName(name) {
			faults = append(faults, fault{key: peerTable(name).String(), msg: strconv.Quote(name) + " cannot name a machine", fix: want("account.name")})
		}
	}
	return faults
}

func peerTable(name string) toml.Key { return toml.Key{"limits", "peers", name} }

// checkPeers finds unknown keys and wrong types below [limits.peers].
func checkPeers(peers map[string]any) []fault {
	var faults []fault
	for name, value := range peers {
		table, isTable := value.(map[string]any)
		if !isTable {
			faults = append(faults, fault{key: peerTable(name).String(), msg: "wrong type", fix: want("limits.peers")})
		}
		for key, value := range table {
			at := append(peerTable(name), key).String()
			switch {
			case key != "up" && key != "down":
				faults = append(faults, fault{key: at, msg: "unknown key", fix: "the keys of a peer's limits are up, down"})
			case !is[string](value):
				faults = append(faults, fault{key: at, msg: "wrong type", fix: want("limits." + key)})
			}
		}
	}
	return faults
}

// ChangeLimits changes the limits in the file at path, which is made when it is missing; comments and everything else stay
// as they are. The new text is checked before it replaces the old file at once.
func ChangeLimits(path string, change func(*Limits)) error {
	var limits Limits
	return rewrite(path, func(data []byte, old *Config) ([]byte, error) {
		limits = old.Limits
		limits.Peers = maps.Clone(limits.Peers)
		if limits.Peers == nil {
			limits.Peers = make(map[string]PeerLimits)
		}
		change(&limits)
		if faults := limits.check(); len(faults) > 0 {
			return nil, &Error{Path: path, Key: faults[0].key, Msg: faults[0].msg, Fix: faults[0].fix}
		}
		data = setTable(data, toml.Key{"limits"}, limits.lines())
		names := slices.Collect(maps.Keys(old.Limits.Peers))
		names = append(names, slices.Collect(maps.Keys(limits.Peers))...)
		slices.Sort(names)
		for _, name := range slices.Compact(names) {
			p := limits.Peers[name]
			data = setTable(data, peerTable(name), []field{{"up", p.Up.field()}, {"down", p.Down.field()}})
		}
		return data, nil
	}, func(old, got *Config) bool {
		kept := *got
		kept.Limits = old.Limits
		return got.Limits.equal(limits) && equal(&kept, old)
	})
}

func (l Limits) lines() []field {
	fields := []field{{"up", l.Up.field()}, {"down", l.Down.field()}, {"lan", ""}, {"schedule", ""}}
	if l.LAN {
		fields[2].value = "true"
	}
	if len(l.Schedule) > 0 {
		fields[3].value = strconv.Quote(l.Schedule.String())
	}
	return fields
}

// field gives the rate as a value of the file; "" for none.
func (r Rate) field() string {
	if r == 0 {
		return ""
	}
	return strconv.Quote(r.String())
}

// equal tells whether two limits mean the same.
func (l Limits) equal(m Limits) bool {
	for _, peers := range []map[string]PeerLimits{l.Peers, m.Peers} {
		for name := range peers {
			if l.Peers[name] != m.Peers[name] {
				return false
			}
		}
	}
	return l.Up == m.Up && l.Down == m.Down && l.LAN == m.LAN && slices.Equal(l.Schedule, m.Schedule)
}
