package gitrepo

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// Signature is who and when, as a commit says it.
type Signature struct {
	Name, Email string
	When        time.Time
}

// CommitInfo is a decoded commit.
type CommitInfo struct {
	Tree              Hash
	Parents           []Hash
	Author, Committer Signature
	Message           string
}

// Commit reads a commit. Any goroutine may call it.
func (r *Repo) Commit(h Hash) (CommitInfo, error) {
	data, err := r.objects.readKind(h, plumbing.CommitObject, maxCommitSize)
	if err != nil {
		return CommitInfo{}, err
	}
	c, err := parseCommit(data)
	if err != nil {
		return CommitInfo{}, fmt.Errorf("commit %s: %w", h, err)
	}
	return c, nil
}

// parseCommit decodes what this package needs of a commit object: tree, parents, author, committer, message. Other
// headers (encoding, gpgsig, mergetag) are passed over.
func parseCommit(data []byte) (CommitInfo, error) {
	var c CommitInfo
	header, message, _ := bytes.Cut(data, []byte("\n\n"))
	c.Message = string(message)
	for i, line := range strings.Split(string(header), "\n") {
		key, value, _ := strings.Cut(line, " ")
		if i == 0 && key != "tree" {
			return CommitInfo{}, fmt.Errorf("%w: no tree", ErrMalformed)
		}
		switch key {
		case "tree", "parent":
			h, err := ParseHash(value)
			if err != nil {
				return CommitInfo{}, fmt.Errorf("%w: %w", ErrMalformed, err)
			}
			if key == "parent" {
				c.Parents = append(c.Parents, h)
			} else if i > 0 {
				return CommitInfo{}, fmt.Errorf("%w: two trees", ErrMalformed)
			} else {
				c.Tree = h
			}
		case "author":
			c.Author = parseSignature(value)
		case "committer":
			c.Committer = parseSignature(value)
		}
	}
	return c, nil
}

// parseSignature decodes "Name <email> seconds zone". What is missing stays zero: broken dates occur in old histories.
func parseSignature(s string) Signature {
	name, rest, ok := strings.Cut(s, "<")
	if !ok {
		return Signature{}
	}
	end := strings.LastIndexByte(rest, '>')
	if end < 0 {
		return Signature{Name: strings.TrimSpace(name)}
	}
	sig := Signature{Name: strings.TrimSpace(name), Email: rest[:end]}
	fields := strings.Fields(rest[end+1:])
	if len(fields) == 0 {
		return sig
	}
	secs, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		return sig
	}
	zone := time.UTC
	if len(fields) > 1 && len(fields[1]) == 5 {
		if n, err := strconv.Atoi(fields[1][1:]); err == nil {
			offset := n/100*3600 + n%100*60
			if fields[1][0] == '-' {
				offset = -offset
			}
			zone = time.FixedZone("", offset)
		}
	}
	sig.When = time.Unix(secs, 0).In(zone)
	return sig
}

func (s Signature) encode() string {
	return fmt.Sprintf("%s <%s> %d %s", cleanIdent(s.Name), cleanIdent(s.Email), s.When.Unix(), s.When.Format("-0700"))
}

func encodeCommit(c CommitInfo) []byte {
	var buf bytes.Buffer
	fmt.Fprintf(&buf, "tree %s\n", c.Tree)
	for _, p := range c.Parents {
		fmt.Fprintf(&buf, "parent %s\n", p)
	}
	fmt.Fprintf(&buf, "author %s\ncommitter %s\n\n%s", c.Author.encode(), c.Committer.encode(), c.Message)
	return buf.Bytes()
}
