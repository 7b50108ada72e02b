package netmap

import (
	"encoding/xml"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Measures of the picture, in its units; a letter is as wide as the widest of most fonts.
const (
	svgLetter = 8
	svgBox    = 26 // height
	svgRow    = 40 // from box to box downwards
	svgMargin = 16
	svgGap    = 48 // between columns, without the labels
	svgLabel  = 40 // letters; longer names are cut, and shown whole when pointed at
)

const svgStyle = `text{font:13px sans-serif;fill:#222}
rect{fill:#fff;stroke:#888}
.holder rect{stroke:#222;stroke-width:2.5}
.missed rect{stroke-dasharray:4 3}
path{fill:none;stroke:#888;stroke-width:1.5}
.hop{font-size:11px;fill:#666}
@media(prefers-color-scheme:dark){text{fill:#eee}rect{fill:#222;stroke:#999}.holder rect{stroke:#eee}.hop{fill:#aaa}}
`

// SVG draws the plan from left to right: the holders in the first column, then those that get the content from them. Wanters
// that cannot be reached stand below with dashed lines. It is a whole document that can also be put into a page.
func (p *Plan) SVG(l Labels) string {
	d := drawing{labels: l}
	forest := p.forest()
	for _, root := range forest {
		d.measure(root)
	}
	for _, id := range p.Unreachable {
		d.measure(&branch{id: id})
	}
	for _, root := range forest {
		d.draw(root, "holder", 0)
	}
	for _, id := range p.Unreachable {
		d.draw(&branch{id: id}, "missed", 0)
	}
	width := svgMargin*2 + d.depth*d.column() + d.box
	height := svgMargin*2 + max(0, d.rows-1)*svgRow + svgBox
	return fmt.Sprintf("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %[1]d %[2]d\" role=\"img\">\n"+
		"<title>Who gets the content from whom</title>\n<style>\n%s</style>\n%s%s</svg>\n",
		width, height, svgStyle, d.lines.String(), d.boxes.String())
}

// drawing is a picture in the making.
type drawing struct {
	labels       Labels
	box          int // width
	label        int // width of the widest of a hop
	rows         int // that were used
	depth        int // of the deepest column
	lines, boxes strings.Builder
}

func (d *drawing) column() int { return d.box + svgGap + d.label }

func (d *drawing) measure(b *branch) {
	d.box = max(d.box, (utf8.RuneCountInString(cut(d.labels.Node(b.id)))+2)*svgLetter)
	for _, child := range b.below {
		d.label = max(d.label, utf8.RuneCountInString(d.labels.Hop(child.hop))*svgLetter)
		d.measure(child)
	}
}

// draw draws a node beside the middle of those below it, and returns its height in the picture.
func (d *drawing) draw(b *branch, class string, depth int) (y int) {
	d.depth = max(d.depth, depth)
	x := svgMargin + depth*d.column()
	var ends []int
	for _, child := range b.below {
		ends = append(ends, d.draw(child, "node", depth+1))
	}
	if len(ends) == 0 {
		y = svgMargin + d.rows*svgRow + svgBox/2
		d.rows++
	} else {
		y = (ends[0] + ends[len(ends)-1]) / 2
	}
	for i, child := range b.below {
		from, to := x+d.box, x+d.column()
		fmt.Fprintf(&d.lines, "<path d=\"M%d %dC%d %d %d %d %d %d\"/>\n", from, y, from+svgGap/2, y, from+svgGap/4, ends[i], from+svgGap*3/4, ends[i])
		fmt.Fprintf(&d.lines, "<path d=\"M%d %dH%d\"/>\n", from+svgGap*3/4, ends[i], to)
		if label := d.labels.Hop(child.hop); label != "" {
			fmt.Fprintf(&d.lines, "<text class=\"hop\" x=\"%d\" y=\"%d\">%s</text>\n", from+svgGap*3/4, ends[i]-4, escape(label))
		}
	}
	name := d.labels.Node(b.id)
	fmt.Fprintf(&d.boxes, "<g class=\"%s\"><title>%s</title><rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"5\"/>"+
		"<text x=\"%d\" y=\"%d\">%s</text></g>\n",
		class, escape(name), x, y-svgBox/2, d.box, svgBox, x+svgLetter, y+5, escape(cut(name)))
	return y
}

func cut(name string) string {
	if utf8.RuneCountInString(name) <= svgLabel {
		return name
	}
	return string([]rune(name)[:svgLabel-1]) + "…"
}

func escape(text string) string {
	var b strings.Builder
	if err := xml.EscapeText(&b, []byte(text)); err != nil {
		panic(err) // a Builder takes everything
	}
	return b.String()
}
