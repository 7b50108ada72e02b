package control

// FilesRequest names files and folders of a clone.
type FilesRequest struct {
	// Clone is the clone's path or name.
	Clone string `json:"clone"`
	// Files are relative to the clone, with slashes; "" is the whole clone. A folder stands for all below it.
	Files []string `json:"files"`
}

// FilesReply says how much of what was named is concerned.
type FilesReply struct {
	// Contents is how many contents are missing and were moved, paused, resumed or cancelled.
	Contents int `json:"contents"`
}

// GetRequest asks for the contents of files. With Wait the progress is told until they are here.
type GetRequest struct {
	FilesRequest
	Wait bool `json:"wait"`
}

// GetProgress says how far a [GetRequest] is.
type GetProgress struct {
	// Contents were missing, Left of them still are; not counted are the Unreachable.
	Contents int `json:"contents"`
	Left     int `json:"left"`
	// Paused of the contents will not come for now, because the person paused or cancelled them meanwhile.
	Paused int `json:"paused"`
	// Bytes of Size have come, as far as sizes are known.
	Bytes int64 `json:"bytes"`
	Size  int64 `json:"size"`
	// Rate is in bytes per second.
	Rate int64 `json:"rate"`
	// From names the peers that send at this moment.
	From []string `json:"from"`
	// Lacking is how many contents no peer has that can be reached; Unreachable has the first of them.
	Lacking     int           `json:"lacking"`
	Unreachable []Unreachable `json:"unreachable,omitempty"`
	// Done says that no more is to come.
	Done bool `json:"done"`
}

// Unreachable is a file whose content no peer has that can be reached now. It comes as soon as one can.
type Unreachable struct {
	File string `json:"file"`
	// Holders names who has it, as far as is known, and in brackets why it is not asked.
	Holders []string `json:"holders"`
}

// DropRequest names files whose contents shall go from here.
type DropRequest struct {
	FilesRequest
	// NumCopies is how many copies of each there must be elsewhere in place of what is configured, if it is positive. Less than
	// mincopies it never is.
	NumCopies int `json:"numcopies,omitzero"`
}

// DropReply says what has gone.
type DropReply struct {
	// Contents have gone from here, of Size bytes as far as sizes are known.
	Contents int   `json:"contents"`
	Size     int64 `json:"size"`
	// Cancelled were not here yet, and will not come.
	Cancelled int `json:"cancelled"`
	// KeptContents stay because too few copies elsewhere were proven; Kept has the first of them.
	KeptContents int    `json:"kept_contents"`
	Kept         []Kept `json:"kept"`
}

// Kept is a file whose content could not be dropped.
type Kept struct {
	File string `json:"file"`
	// InUse says that another repository counts on the copy here at this moment; the rest is empty then.
	InUse bool `json:"in_use,omitzero"`
	// Required says that this clone must keep the content, as it is set (git annex required); the rest is empty then.
	Required bool `json:"required,omitzero"`
	// Needed is how many copies there must be elsewhere, Found who has proven to have one or is trusted to.
	Needed int      `json:"needed"`
	Found  []string `json:"found"`
	// Unproven names who may have one, and in brackets why that does not count.
	Unproven []string `json:"unproven"`
}
