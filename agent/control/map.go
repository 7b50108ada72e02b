package control

import "encoding/json"

// MapRequest asks for the map of the network. File, a path relative to the clone with slashes, asks for the way of its content;
// empty means any content that is here.
type MapRequest struct {
	// Clone is the clone's path or name.
	Clone string `json:"clone"`
	File  string `json:"file,omitzero"`
}

// MapReply is a map, and the content that is asked about.
type MapReply struct {
	// Problem is the network and the problem in the format that docs/netmap.md describes. Nodes are clones by their ids.
	Problem json.RawMessage `json:"problem"`
	// Names is what people call the clones.
	Names map[string]string `json:"names"`
	// Self is the clone's id.
	Self string `json:"self"`
	// Key is the content's git-annex key; empty when no file was named.
	Key string `json:"key,omitzero"`
}
