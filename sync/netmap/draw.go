package netmap

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Labels says how a picture names things. Both functions are required.
type Labels struct {
	Node func(id string) string
	Hop  func(h Hop) string // may return ""
}

// branch is a node of a plan as pictures show it.
type branch struct {
	id    string
	hop   Hop // by which it gets the content; none for a root
	below []*branch
}

// forest is the plan by its roots, with children by ID.
func (p *Plan) forest() []*branch {
	branches := make(map[string]*branch, len(p.Hops)+1)
	for _, h := range p.Hops {
		branches[h.To] = &branch{id: h.To, hop: h}
	}
	var roots []*branch
	for _, id := range p.Roots() {
		roots = append(roots, &branch{id: id})
		branches[id] = roots[len(roots)-1]
	}
	for _, h := range p.Hops {
		parent := branches[h.From]
		parent.below = append(parent.below, branches[h.To])
	}
	return roots
}

// Text draws the plan as a tree of lines: below each node those that get the content from it.
func (p *Plan) Text(l Labels) string {
	type line struct{ name, hop string }
	var lines []line
	var add func(b *branch, first, rest string)
	add = func(b *branch, first, rest string) {
		text := line{name: first + l.Node(b.id)}
		if b.hop.To != "" {
			text.hop = l.Hop(b.hop)
		}
		lines = append(lines, text)
		for i, child := range b.below {
			if i < len(b.below)-1 {
				add(child, rest+"|-- ", rest+"|   ")
			} else {
				add(child, rest+"`-- ", rest+"    ")
			}
		}
	}
	for _, root := range p.forest() {
		add(root, "", "")
	}
	width := 0
	for _, line := range lines {
		width = max(width, utf8.RuneCountInString(line.name))
	}
	var b strings.Builder
	for _, line := range lines {
		if line.hop != "" {
			line.name += strings.Repeat(" ", width-utf8.RuneCountInString(line.name)+2) + line.hop
		}
		fmt.Fprintln(&b, line.name)
	}
	for _, id := range p.Unreachable {
		fmt.Fprintf(&b, "%s cannot be reached\n", l.Node(id))
	}
	return b.String()
}

// DOT draws the plan in the language of Graphviz.
func (p *Plan) DOT(l Labels) string {
	quote := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
	var b strings.Builder
	b.WriteString("digraph plan {\n\trankdir=LR;\n\tnode [shape=box];\n")
	nodes := 0
	var add func(branch *branch, attributes string) int
	add = func(branch *branch, attributes string) int {
		n := nodes
		nodes++
		fmt.Fprintf(&b, "\tn%d [label=\"%s\"%s];\n", n, quote.Replace(l.Node(branch.id)), attributes)
		for _, child := range branch.below {
			fmt.Fprintf(&b, "\tn%d -> n%d [label=\"%s\"];\n", n, add(child, ""), quote.Replace(l.Hop(child.hop)))
		}
		return n
	}
	for _, root := range p.forest() {
		add(root, ", style=bold")
	}
	for _, id := range p.Unreachable {
		add(&branch{id: id}, ", style=dashed")
	}
	b.WriteString("}\n")
	return b.String()
}
