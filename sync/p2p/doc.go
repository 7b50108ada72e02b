// Package p2p speaks git-annex's P2P protocol, versions 0 to 4, as client and as server, over any io.ReadWriteCloser:
// a link to a peer's agent, or the standard input and output of git-annex-shell p2pstdio.
//
// The protocol is that of https://git-annex.branchable.com/design/p2p_protocol/, read together with git-annex's
// P2P/Protocol.hs, P2P/IO.hs and P2P/Annex.hs where the page says less than the program does.
//
// It owns the messages and their bounds, the deadlines on a silent peer, and the file of a key's content on its way in
// (Partial), which both a server's PUT and a client's GET write: nothing becomes content of the repository before its
// hash is proven. It never dials, never decides what is wanted, and never writes a location log: those are told by
// function fields when something has changed.
package p2p
