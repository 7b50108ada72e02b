package annex

import (
	"context"
	"slices"
	"strings"
)

const trustLog = "trust.log"

// Trust says how far a repository is relied on to have what the location log says (git-annex-trust(1)).
type Trust int

// The levels of trust, lowest first.
const (
	Dead        Trust = iota - 2 // lost for good: what it had counts nowhere
	Untrusted                    // its copies never count
	Semitrusted                  // its copies count when they are proven; what is not known is this
	Trusted                      // its copies count unproven
)

// Trusts gives how far repositories are trusted, by UUID; those not in it are Semitrusted. As in git-annex a remote's annex-trustlevel in git's
// configuration comes before trust.log, and a special remote whose contents others may overwrite is never more than Untrusted.
func (r *Repo) Trusts(ctx context.Context) (map[string]Trust, error) {
	log, err := r.valueLog(ctx, trustLog, uuidLogFormat)
	if err != nil {
		return nil, err
	}
	trusts := make(map[string]Trust, len(log.lines))
	for _, line := range log.lines {
		trusts[line.subject] = parseTrust(line.value)
	}
	for _, remote := range r.git.Remotes() {
		if level, ok := trustLevels[remote["annex-trustlevel"]]; ok && remote["annex-uuid"] != "" {
			trusts[remote["annex-uuid"]] = level
		}
	}
	special, err := r.valueLog(ctx, remoteLog, uuidLogFormat)
	if err != nil {
		return nil, err
	}
	for _, line := range special.lines {
		if overwritten(strings.Fields(line.value)) {
			trusts[line.subject] = min(trusts[line.subject], Untrusted)
		}
	}
	return trusts, nil
}

// Holders are the other repositories that may have a content, as UUIDs, by what their copies count when it is to be removed here. Those that are Dead
// are not among them.
type Holders struct {
	Trusted   []string // have it by the location log, which is enough
	Provable  []string // count when they prove to have it
	Untrusted []string // never count
}

// Holders gives who has a content by the location log, or by what they have said themselves.
func (r *Repo) Holders(ctx context.Context, k Key, said ...string) (Holders, error) {
	logged, err := r.Locations(ctx, k)
	if err != nil {
		return Holders{}, err
	}
	trusts, err := r.Trusts(ctx)
	if err != nil {
		return Holders{}, err
	}
	var h Holders
	all := slices.Concat(logged, said)
	slices.Sort(all)
	for _, uuid := range slices.Compact(all) {
		switch trust := trusts[uuid]; {
		case uuid == r.uuid || trust == Dead:
		case trust == Untrusted:
			h.Untrusted = append(h.Untrusted, uuid)
		case trust == Trusted && slices.Contains(logged, uuid):
			h.Trusted = append(h.Trusted, uuid)
		default:
			h.Provable = append(h.Provable, uuid)
		}
	}
	return h, nil
}

// trustLevels are the values of remote.<name>.annex-trustlevel.
var trustLevels = map[string]Trust{"trusted": Trusted, "untrusted": Untrusted, "semitrusted": Semitrusted, "dead": Dead}

// parseTrust reads a value of trust.log (Logs/Trust/Pure.hs).
func parseTrust(value string) Trust {
	word, _, _ := strings.Cut(strings.TrimSpace(value), " ")
	switch word {
	case "1":
		return Trusted
	case "0":
		return Untrusted
	case "X":
		return Dead
	}
	return Semitrusted
}

// overwritten says whether the settings of a special remote, as remote.log has them, make it a tree of files that is exported or imported, and
// that keeps no old versions.
func overwritten(settings []string) bool {
	is := make(map[string]bool)
	for _, s := range settings {
		name, value, _ := strings.Cut(s, "=")
		is[name] = value == "yes" || value == "true"
	}
	return (is["exporttree"] || is["importtree"]) && !is["versioning"]
}
