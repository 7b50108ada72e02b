package config

import (
	"slices"
	"strings"
)

// knownKey is a key of the file with the values it takes.
type knownKey struct {
	name string // dotted
	kind func(any) bool
	want string // completes "want …"
}

// clonesTable is the one table that is a list.
const clonesTable = "clones"

// knownKeys lists every key in the order of the documentation.
func knownKeys() []knownKey {
	return []knownKey{
		{"account.jid", is[string], `an address without resource, as "alice@example.org"`},
		{"account.name", is[string], `a name in quotes, without slash or control character`},
		{"account.password_file", is[string], `a path in quotes`},
		{"account.password_command", is[string], `a shell command line in quotes`},
		{"account.server", is[string], `a host and port, as "xmpp.example.org:5222"`},
		{"account.direct_tls", is[bool], `true or false`},
		{"account.ca_file", is[string], `a path in quotes`},
		{"account.shared", is[bool], `true or false`},
		{"clones.path", is[string], `an absolute path in quotes`},
		{"clones.mode", is[string], `"auto" or "commits"`},
		{"clones.name", is[string], `a name in quotes, without slash or control character`},
		{"link.listen", isStrings, `a list of addresses, as [":0"] or ["192.0.2.7:4711"]`},
		{"link.advertise", isStrings, `a list of addresses, as ["home.example.org:4711"]`},
		{"limits.up", is[string], `bytes per second in quotes, as "512k", "10M" or "off"`},
		{"limits.down", is[string], `bytes per second in quotes, as "512k", "10M" or "off"`},
		{"limits.lan", is[bool], `true or false`},
		{"limits.schedule", is[string], `times and rates in quotes, as "08:00,512k 18:00,off" or "Mon-08:00,512k:10M Sat-00:00,off"`},
		{"limits.peers", is[map[string]any], `tables headed [limits.peers."NAME"]`},
		{"hooks.before", is[string], `a shell command line in quotes`},
		{"hooks.after", is[string], `a shell command line in quotes`},
		{"hooks.timeout", is[string], `a time span in quotes, as "30s" or "5m"`},
		{"sync.interval", is[string], `a time span in quotes of at least one second, as "15m"`},
	}
}

func is[T any](v any) bool {
	_, ok := v.(T)
	return ok
}

func isStrings(v any) bool {
	list, ok := v.([]any)
	return ok && !slices.ContainsFunc(list, func(v any) bool { return !is[string](v) })
}

// want is the hint for a key or table that has a wrong value.
func want(key string) string {
	if strings.HasPrefix(key, "limits.peers.") {
		key = "limits" + key[strings.LastIndexByte(key, '.'):]
	}
	for _, k := range knownKeys() {
		if k.name == key {
			return "want " + k.want
		}
	}
	if key == clonesTable {
		return "want tables headed [[" + key + "]]"
	}
	return "want a table headed [" + key + "]"
}

// fault is what is wrong with one key.
type fault struct {
	key     string // dotted
	element int    // of clones, from 0
	msg     string
	fix     string
}

// checkShape finds unknown keys and wrong types in a decoded file.
func checkShape(tree map[string]any) []fault {
	var faults []fault
	for name, value := range tree {
		if !slices.ContainsFunc(knownKeys(), func(k knownKey) bool { return strings.HasPrefix(k.name, name+".") }) {
			faults = append(faults, fault{key: name, msg: "unknown table or key", fix: "the tables are " + tableNames()})
			continue
		}
		table, isTable := value.(map[string]any)
		list, isList := value.([]map[string]any)
		switch {
		case name == clonesTable && isList:
			for i, clone := range list {
				faults = append(faults, checkTable(name, i, clone)...)
			}
		case name != clonesTable && isTable:
			faults = append(faults, checkTable(name, 0, table)...)
		default:
			faults = append(faults, fault{key: name, msg: "wrong type", fix: want(name)})
		}
	}
	return faults
}

func checkTable(name string, element int, table map[string]any) []fault {
	var faults []fault
	for key, value := range table {
		key = name + "." + key
		i := slices.IndexFunc(knownKeys(), func(k knownKey) bool { return k.name == key })
		switch {
		case i < 0:
			faults = append(faults, fault{key, element, "unknown key", "the keys of " + name + " are " + keyNames(name)})
		case !knownKeys()[i].kind(value):
			faults = append(faults, fault{key, element, "wrong type", want(key)})
		case key == "limits.peers":
			faults = append(faults, checkPeers(value.(map[string]any))...)
		}
	}
	return faults
}

func keyNames(table string) string {
	var names []string
	for _, k := range knownKeys() {
		if t, name, _ := strings.Cut(k.name, "."); t == table {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

func tableNames() string {
	var names []string
	for _, k := range knownKeys() {
		t, _, _ := strings.Cut(k.name, ".")
		names = append(names, t)
	}
	return strings.Join(slices.Compact(names), ", ")
}
