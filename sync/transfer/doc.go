// Package transfer runs the queue of content that a clone wants: it gets each key's content from clones that hold it, over
// P2P sessions, and has it proven before it is placed.
//
// It owns the order (what a person asked for first, small before large, the cheapest holder first), the sessions with each
// holder and how many of them there are, what happens after a failure (the next holder at once, each failed one again after
// a while and behind those that failed less, the bytes that came are kept), and the room on the disk. A holder that
// stalls, lies, vanishes or brings less than half of what was promised for it costs time only. Content of more than one block
// comes in blocks where the holder can, so that a holder may be one that is still receiving it, and this clone another. Large
// content is brought by several holders at once, where these have all of it over equally good lines.
//
// Small content comes into memory, and becomes durable and gets its place together with what else has come. Only what is cut off goes to the
// temporary file that larger content is received in.
//
// It does not decide what is wanted, nor who holds it and at which cost: that is asked, key by key, of Options.Holders. It
// never writes a location log, never touches the work tree, and never drops content; Options.Event tells when content has
// come.
package transfer
