package annex

import (
	"context"
	"slices"
	"strings"

	"github.com/git-arbor/arbor/sync/wanted"
)

const trustLog = "trust.log"

// Trusts gives how far repositories are trusted, by UUID; those not in it are wanted.Semitrusted. As in git-annex a remote's annex-trustlevel in git's
// configuration comes before trust.log, and a special remote whose contents others may overwrite is never more than Untrusted.
func (r *Repo) Trusts(ctx context.Context) (map[string]wanted.Trust, error) {
	log, err := r.valueLog(ctx, trustLog, uuidLogFormat)
	if err != nil {
		return nil, err
	}
	trusts := make(map[string]wanted.Trust, len(log.lines))
	for _, line := range log.lines {
		trusts[line.subject] = parseTrust(line.value)
	}
	for _, remote := range r.git.ConfigSections("remote") {
		if level, ok := wanted.ParseTrust(remote["annex-trustlevel"]); ok && remote["annex-uuid"] != "" {
			trusts[remote["annex-uuid"]] = level
		}
	}
	remotes, err := r.RemoteConfigs(ctx)
	if err != nil {
		return nil, err
	}
	for uuid, config := range remotes {
		is := func(name string) bool { return config[name] == "yes" || config[name] == "true" }
		if (is("exporttree") || is("importtree")) && !is("versioning") { // files of a tree, whose old versions are gone
			trusts[uuid] = min(trusts[uuid], wanted.Untrusted)
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
		case uuid == r.uuid || trust == wanted.Dead:
		case trust == wanted.Untrusted:
			h.Untrusted = append(h.Untrusted, uuid)
		case trust == wanted.Trusted && slices.Contains(logged, uuid):
			h.Trusted = append(h.Trusted, uuid)
		default:
			h.Provable = append(h.Provable, uuid)
		}
	}
	return h, nil
}

// parseTrust reads a value of trust.log (Logs/Trust/Pure.hs).
func parseTrust(value string) wanted.Trust {
	word, _, _ := strings.Cut(strings.TrimSpace(value), " ")
	switch word {
	case "1":
		return wanted.Trusted
	case "0":
		return wanted.Untrusted
	case "X":
		return wanted.Dead
	}
	return wanted.Semitrusted
}
