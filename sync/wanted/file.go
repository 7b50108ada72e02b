package wanted

// A File is what an expression is asked about: content, and a path under which the annex has it. The functions are asked only when an
// expression needs them; where one is nil there is nothing to tell, but without Used there is no verdict.
type File struct {
	Path string // relative to the top of the work tree, with slashes; "" for a key that no file has
	Size int64  // of the content, in bytes; -1 when it is not known
	Key  string // serialised

	// Locations are the UUIDs of the repositories that have the content: what the location log says, and for a repository that can
	// be looked at what is there.
	Locations []string

	// NumCopies gives annex.numcopies of the path's .gitattributes; 0 where they say nothing.
	NumCopies func(path string) (int, error)
	// Metadata gives the key's values by field, in lower case.
	Metadata func() (map[string][]string, error)
	// URLs gives where the web has the content.
	URLs func() ([]string, error)
	// Unused says whether `git annex unused` found that no branch has the key.
	Unused func() (bool, error)
	// Used gives what the repositories have, by UUID. The map is not changed.
	Used func() (map[string]Use, error)
	// Type and Encoding give libmagic's names of the content's MIME type and character set. Only annex.largefiles may ask them.
	Type, Encoding func() (string, error)
}

// Use is how many bytes of contents a repository has, with those that are on their way to it: now, and when those that are to go have gone.
type Use struct{ Now, Then int64 }

// Facts are what a verdict follows from. As long as they are the same, so is the verdict.
type Facts uint16

// The first of these are facts about a file; the rest are about all repositories.
const (
	Path Facts = 1 << iota
	Locations
	NumCopies
	Metadata
	URLs
	Unused
	Groups
	Trusts
	Sizes // what repositories have, and may have
)
