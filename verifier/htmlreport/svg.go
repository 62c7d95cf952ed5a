package htmlreport

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// The figure's measures, in its own units: boxes in a main column and one beside it.
const (
	figureWidth = 380
	boxHeight   = 44
	boxGap      = 42
	mainLeft    = 16
	mainWidth   = 200
	sideLeft    = 252
	sideWidth   = 124
	lineAt      = mainLeft + 18
	lineBeside  = sideLeft + 14
	rowHeight   = boxHeight + boxGap
)

// svg draws the chain.
func (d *document) svg(g *drawing) {
	rows := len(g.trunk) + 3*len(g.slots)
	height := rows*rowHeight - boxGap + 8
	d.vector = true
	d.in(elSVG, func() {
		d.with(elTitle, "The chain from the record to the hardware's maker", ident(d.name("svgt")))
		d.with(elDesc, g.described(), ident(d.name("svgd")))
		for i := range g.links {
			d.down(i, &g.links[i])
		}
		for i := range g.slots {
			row := len(g.trunk) + 3*i
			if i > 0 {
				d.around(row, g.slots[i].links[0].look)
			}
			for j := range g.slots[i].links {
				d.down(row-1+j, &g.slots[i].links[j])
			}
		}
		for i, n := range g.trunk {
			d.box(mainLeft, i, mainWidth, n)
		}
		d.in(elG, func() { d.mark(g.whole.look, mainLeft+mainWidth-18, top(0)+boxHeight/2) }, class(g.whole.look))
		for i := range g.slots {
			for j, n := range g.slots[i].nodes {
				d.box(mainLeft, len(g.trunk)+3*i+j, mainWidth, n)
			}
		}
		d.beside(len(g.trunk)-1, &g.bootBy)
		d.box(sideLeft, len(g.trunk)-1, sideWidth, g.boot)
		d.beside(len(g.trunk), &g.stampBy)
		d.box(sideLeft, len(g.trunk), sideWidth, g.stamp)
		if !g.clock.gone {
			d.below(len(g.trunk), &g.clockBy)
			d.box(sideLeft, len(g.trunk)+1, sideWidth, g.clock)
		}
	}, attribute{"viewBox", "0 0 " + strconv.Itoa(figureWidth) + " " + strconv.Itoa(height)}, attribute{"role", "img"},
		labels(d.name("svgt")), attribute{"aria-describedby", d.name("svgd")})
	d.vector = false
}

// described is the figure in one sentence.
func (g *drawing) described() string {
	parts := make([]string, 0, 12)
	for _, l := range g.all() {
		parts = append(parts, l.from+" to "+l.to+": "+l.status)
	}
	return strings.Join(parts, "; ") + "."
}

// top is the upper edge of a row's box.
func top(row int) int { return 4 + row*rowHeight }

// path draws a line of a link.
func (d *document) path(l, look string) {
	d.tag(elPath, []attribute{{"d", l}, class("edge " + look)})
	d.b = append(d.b, "</path>"...)
}

// down draws the link from a row to the next.
func (d *document) down(row int, l *link) {
	y := top(row) + boxHeight
	mid := y + boxGap/2
	d.in(elG, func() {
		if !strings.HasPrefix(l.to, "quote ") || l.to == "quote 0" {
			d.path(placed("m0 0v"+strconv.Itoa(boxGap), lineAt, y), l.look)
		}
		d.mark(l.look, lineAt, mid)
		d.label(lineAt+18, mid+4, l.status, "t3", 28)
	}, class(l.look))
}

// around draws how a further slot's quote hangs on the log as well.
func (d *document) around(row int, look string) {
	from, to := top(3)+boxHeight/2, top(row)-boxGap/2
	line := "M" + strconv.Itoa(mainLeft) + " " + strconv.Itoa(from) + "H6V" + strconv.Itoa(to) + "H" + strconv.Itoa(lineAt) + "V" + strconv.Itoa(top(row))
	d.in(elG, func() { d.path(line, look) }, class(look))
}

// beside draws the link from a row's box to the one beside it.
func (d *document) beside(row int, l *link) {
	y := top(row) + boxHeight/2
	d.in(elG, func() {
		d.path(placed("m0 0h"+strconv.Itoa(sideLeft-mainLeft-mainWidth), mainLeft+mainWidth, y), l.look)
		d.mark(l.look, (mainLeft+mainWidth+sideLeft)/2, y)
		d.label(sideLeft, top(row)-7, l.status, "t3", 18)
	}, class(l.look))
}

// below draws the link from the time stamp to its authority.
func (d *document) below(row int, l *link) {
	y := top(row) + boxHeight
	d.in(elG, func() {
		d.path(placed("m0 0v"+strconv.Itoa(boxGap), lineBeside, y), l.look)
		d.mark(l.look, lineBeside, y+boxGap/2)
		d.label(lineBeside+18, y+boxGap/2+4, l.status, "t3", 15)
	}, class(l.look))
}

// box draws a node.
func (d *document) box(x, row, width int, n node) {
	look := "box"
	if n.gone {
		look = "box gone"
	}
	y := top(row)
	d.tag(elRect, []attribute{at("x", x), at("y", y), at("width", width), at("height", boxHeight), at("rx", 3), class(look)})
	d.b = append(d.b, "</rect>"...)
	title := y + 18
	if n.line == "" {
		title = y + 27
	}
	d.label(x+9, title, n.title, "t1", width/7)
	if n.line != "" {
		d.label(x+9, y+34, n.line, "t2", (width-12)/6)
	}
}

// label writes a text of at most so many characters.
func (d *document) label(x, y int, s, look string, limit int) {
	if utf8.RuneCountInString(s) > limit {
		s = string([]rune(s)[:limit-1]) + "…"
	}
	d.with(elText, s, at("x", x), at("y", y), class(look))
}

// placed makes a path of relative commands begin at a point.
func placed(d string, x, y int) string {
	// The path's first command moves: what it moves by is added to the point.
	rest := strings.TrimLeft(d, "mM")
	return "M" + strconv.Itoa(x) + " " + strconv.Itoa(y) + "m" + rest
}
