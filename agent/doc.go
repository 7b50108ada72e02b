// Package agent is the heart of Arbor: it keeps the clones of a machine in step with those of its peers.
//
// It owns every goroutine of the running agent, the XMPP session, the links, and one actor for each clone; an actor
// alone touches git in its clone. Each actor runs one readable cycle: look, commit, announce, fetch, merge, check out.
// Signals, file events and timers only start that cycle early; it reaches the same end state from wherever it starts.
//
// It never prints, parses no command line, and knows no format of git, git-annex or XMPP itself: those belong to the
// packages below it.
package agent
