// Package remote reaches the places that have no agent: git repositories by ssh or by path, with or without an annex, and the special
// remotes of git-annex.
//
// It owns what a remote is (List) and how contents travel there and back (Session): by git-annex's P2P protocol through git-annex-shell, from
// file to file where the place is a directory, and through the git-annex program for everything else. It never records where
// contents are, never decides what goes where, never drops anything, and does nothing between two calls. git's own fetching and pushing is
// gitrepo's, by the name of the remote.
package remote
