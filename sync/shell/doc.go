// Package shell is git-annex-shell: what git-annex runs over ssh where its remote is, to ask for the repository's name, to exchange contents
// and to hear of changes, and what a login shell for such accounts may be. It is for clients that have git-annex, not Arbor.
//
// It owns the command line, as CmdLine/GitAnnexShell.hs of git-annex has it with its words for what is refused, and the restrictions of the
// environment. It writes nothing but what the client is to read, and changes nothing in the repository but contents, their location log, and
// unlocked files that lacked the content which is put. A running agent, or git-annex, takes in what was pushed. git's own services are
// git-shell's.
package shell
