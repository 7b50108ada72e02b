// Package p2p speaks git-annex's P2P protocol, versions 0 to 4, as client and as server, over any io.ReadWriteCloser:
// a link to a peer's agent, or the standard input and output of git-annex-shell p2pstdio.
//
// The protocol is that of https://git-annex.branchable.com/design/p2p_protocol/, read together with git-annex's
// P2P/Protocol.hs, P2P/IO.hs and P2P/Annex.hs where the page says less than the program does. Agents add one request that
// git-annex never sees answered (docs/protocol.md §8.6): contents in blocks, each checked alone, which a clone passes on while
// it is still receiving them (Arrivals).
//
// It owns the messages and their bounds, the deadlines on a silent peer, and the file of a key's content on its way in
// (Partial), which a server's PUT, a client's GET and an Offer write: nothing becomes content of the repository before its
// hash is proven. It never dials, never decides what is wanted, and never writes a location log: those are told by
// function fields when something has changed.
package p2p
