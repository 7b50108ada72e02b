// Package wanted reads git-annex's matching expressions, git-annex-matching-expression(1) and git-annex-preferred-content(1), and says
// which content each repository wants, which it must keep, and which files go into the annex at all.
//
// All here is pure: what an expression asks for is handed in as a File, and what the repositories are set to as Logs. Nothing is read,
// written or remembered, so a verdict can be asked again at any time and from any goroutine, and Depends says when that is needed.
//
// The words are those of git-annex 10.20230126 and its successors, up to 10.20261026; TestVerdictsByGitAnnex and TestSizeVerdictsByGitAnnex compare.
// An older one that does not know balanced= and its kin, or groups with + and -, treats an expression with them as any that is not understood: the repository
// keeps what it has and wants nothing more. A `not present`, which would get and drop the same content for ever, makes an expression match nothing, as it
// does since git-annex 10.20240927.
package wanted
