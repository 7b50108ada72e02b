package wanted

import (
	"regexp"
	"slices"
	"strings"
)

const (
	clientWants = "(include=* and ((exclude=*/archive/* and exclude=archive/*) or (not (copies=archive:1 or copies=smallarchive:1))))" +
		" or approxlackingcopies=1"
	archiveWants = "(not (copies=archive:1 or copies=smallarchive:1)) or approxlackingcopies=1"
)

// standardGroup gives what the word standard stands for in a repository of one of git-annex's standard groups (Types/StandardGroups.hs,
// https://git-annex.branchable.com/preferred_content/standard_groups/).
func standardGroup(name string) (expression string, ok bool) {
	switch name {
	case "client":
		return clientWants, true
	case "transfer":
		return "(not (inallgroup=client and copies=client:2) and (" + clientWants + ")) or approxlackingcopies=1", true
	case "backup":
		return "anything", true
	case "incrementalbackup":
		return "((not copies=backup:1) and (not copies=incrementalbackup:1)) or approxlackingcopies=1", true
	case "smallarchive":
		return "((include=*/archive/* or include=archive/*) and (" + archiveWants + ")) or approxlackingcopies=1", true
	case "archive":
		return archiveWants, true
	case "source":
		return "not (copies=1)", true
	case "manual":
		return "present and (" + clientWants + ")", true
	case "public":
		return "inpreferreddir", true
	case "unwanted":
		return "not anything", true
	}
	return "", false
}

// StandardGroups gives the names of the groups of which git-annex knows what their repositories want.
func StandardGroups() []string {
	return []string{"client", "transfer", "backup", "incrementalbackup", "smallarchive", "archive", "source", "manual", "public", "unwanted"}
}

// in says which repositories are members of a group.
func (r *reader) in(group string) func(uuid string) bool {
	members := r.members[group]
	return func(uuid string) bool { return slices.Contains(members, uuid) }
}

var limitParts = regexp.MustCompile(`([+-]?)([^+-]+)`)

// limit says which repositories a limit of groups such as a+b-c allows: those that are in one with a + in front, as the first may have, or in one of
// those besides, and in none with a -. Where none has a +, all others are allowed.
func (r *reader) limit(text string, besides ...string) func(uuid string) bool {
	var among, except []func(uuid string) bool
	for _, part := range limitParts.FindAllStringSubmatch(text, -1) {
		if part[1] == "-" {
			except = append(except, r.in(part[2]))
		} else {
			among = append(among, r.in(part[2]))
		}
	}
	if len(among) > 0 {
		for _, group := range besides {
			among = append(among, r.in(group))
		}
	}
	return func(uuid string) bool {
		has := func(in func(string) bool) bool { return in(uuid) }
		return (len(among) == 0 || slices.ContainsFunc(among, has)) && !slices.ContainsFunc(except, has)
	}
}

// cutNumber takes a number apart from the group, level or limit in front of it. how is what stands between them; "" where there is nothing.
func cutNumber(value string) (name, number, how string) {
	for _, how := range []string{":", "="} {
		if name, number, ok := strings.Cut(value, how); ok {
			return name, number, how
		}
	}
	return "", value, ""
}
