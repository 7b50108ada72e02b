// Package annex reads and writes what git-annex keeps in a repository: keys and the objects they name, pointers and links in
// the work tree, and the logs of the git-annex branch. No git-annex program is needed for it, and one may run in the same
// repository at the same time.
//
// It owns `.git/annex` and refs/heads/git-annex, and shares both with git-annex under git-annex's own locks. It writes nothing
// there that git-annex would not accept and keep: the formats are those of https://git-annex.branchable.com/internals/, and where
// that page is silent, what git-annex 10.20230126 does. What Arbor cannot keep sound together with git-annex (adjusted branches,
// tuned hash directories, pid locks and so on) is refused when a repository is opened.
//
// Content of a SHA256 key can be checked in blocks, each alone (BlockList); the lists fall out of the hashing that is done anyway.
//
// It never moves a branch of the person, never writes the index, and never asks another machine for anything. So it is its caller who, with what this
// package gives, records what has come, puts the entries of Populate into the index, populates after a checkout by git (Repo.Smudged) and
// makes links anew when locked files move to another depth (ParseLink, LinkTarget).
package annex
