package control

// WantRequest asks what a repository is set to want, and with Set sets it.
type WantRequest struct {
	// Clone is the clone's path or name, in whose git-annex branch the settings are.
	Clone string `json:"clone"`
	// Repository is the name of a remote or another machine, or a git-annex description or UUID; empty means the clone itself.
	Repository string `json:"repository,omitzero"`
	Set        bool   `json:"set,omitzero"`
	// Want is a preferred content expression or the name of a group that says what its members want; empty unsets the expression.
	Want string `json:"want,omitzero"`
}

// WantReply is what is set for a repository.
type WantReply struct {
	Repository string   `json:"repository"`
	UUID       string   `json:"uuid"`
	Groups     []string `json:"groups"`
	// Wanted and Required are expressions; empty where none is set. Where both are empty, everything is wanted.
	Wanted   string `json:"wanted"`
	Required string `json:"required"`
	// Means is Wanted with what standard and groupwanted stand for in their place; empty where it has neither.
	Means string `json:"means,omitzero"`
	// Problems say why what is set does not do what it says.
	Problems []string `json:"problems"`
}

// WhyRequest asks about one file, by its path relative to the clone, with slashes.
type WhyRequest struct {
	// Clone is the clone's path or name.
	Clone string `json:"clone"`
	File  string `json:"file"`
}

// WhyState is where a content is on its way.
type WhyState string

// The first that holds is given.
const (
	WhyInGit     WhyState = "in-git"      // the file is not annexed
	WhyHere      WhyState = "here"        // in the clone, and in the file
	WhyUnfilled  WhyState = "unfilled"    // here, and the file will have it next
	WhyDropped   WhyState = "dropped"     // it was dropped, and stays away until it is asked for
	WhyHeld      WhyState = "held"        // the person has paused or cancelled it
	WhyUnwanted  WhyState = "unwanted"    // as it is set, it is not wanted here
	WhyComing    WhyState = "coming"      // it is being transferred
	WhyPaused    WhyState = "paused"      // the person has paused all contents
	WhyUnreached WhyState = "unreachable" // nobody has it, as far as is known, who can be reached
	WhyQueued    WhyState = "queued"      // it waits for its turn
	WhyUnknown   WhyState = "unknown"     // it is missing, and not in the queue
)

// WhyReply is what is known of a file's content. Of a file in git itself there is only File and State.
type WhyReply struct {
	File  string   `json:"file"`
	State WhyState `json:"state"`
	Key   string   `json:"key,omitzero"`
	Size  int64    `json:"size"` // in bytes; -1 when it is not known
	// Holders are the other repositories that have the content, by what they or the location log say.
	Holders []Holder `json:"holders"`
	// Wanted says whether this clone is to have the content as it is set, and Reasons which terms decided that. WantedAs is the
	// file that was judged, if it is another one with the same content.
	Wanted   bool     `json:"wanted"`
	Reasons  []Reason `json:"reasons"`
	WantedAs string   `json:"wanted_as,omitzero"`
	// Asked says that the person has asked for the content: if it is missing it comes first, if it is not wanted it stays all the same.
	Asked bool `json:"asked,omitzero"`

	// From are those that send it now, with Bytes that are here of what is coming.
	From  []Source `json:"from,omitempty"`
	Bytes int64    `json:"bytes,omitzero"`
	// Position in the queue; the first has 1.
	Position int `json:"position,omitzero"`

	// Required says that what is here must stay. Else it may go when Needed others have proven to have a copy: those of Certain count
	// unasked, those of Provable when they say so at that moment, those of Uncertain, with the reason in brackets, not now.
	Required  bool     `json:"required,omitzero"`
	Needed    int      `json:"needed,omitzero"`
	Certain   []string `json:"certain,omitempty"`
	Provable  []string `json:"provable,omitempty"`
	Uncertain []string `json:"uncertain,omitempty"`
}

// Holder is another repository that has a content.
type Holder struct {
	Name string `json:"name"`
	// Online says that it is a machine that can be asked now; Note, what else it is, or why it is not asked.
	Online bool   `json:"online"`
	Note   string `json:"note,omitzero"`
}

// Source is who sends a content. Name is empty for a copy in the clone itself.
type Source struct {
	Name string `json:"name"`
	Why  string `json:"why,omitzero"` // it is this one
}

// Reason is a term of an expression, and whether it matches. A Term that is empty is something else that decided: Why.
type Reason struct {
	Term  string `json:"term,omitzero"`
	Match bool   `json:"match"`
	Why   string `json:"why,omitzero"`
}
