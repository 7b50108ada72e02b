package wanted

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
