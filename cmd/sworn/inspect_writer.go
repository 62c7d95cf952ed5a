package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/sworn-run/sworn/verifier"
)

// inspectType is the type of what `sworn inspect --json` prints.
const inspectType = "sworn.inspect/v1"

// node is one row of a tree: a name, a value, and the rows below it.
type node struct {
	Name   string  `json:"name"`
	Value  string  `json:"value,omitempty"`
	Fields []*node `json:"fields,omitempty"`
}

// treeWriter collects a tree, to be written as text or JSON.
type treeWriter struct {
	sections []*node
	// open are the rows that further ones may stand below, a section first.
	open []*node
	// rowsUsed counts the rows of all sections.
	rowsUsed int
}

// head begins a section; what it is, without what varies, is its name.
func (t *treeWriter) head(name, detail string) {
	n := &node{Name: line(name), Value: line(detail)}
	t.sections = append(t.sections, n)
	t.open = []*node{n}
}

// row adds a row at a depth, 1 for the rows of a section.
func (t *treeWriter) row(depth int, name, value string) {
	if len(t.open) == 0 {
		t.head("file", "")
	}
	depth = min(depth, len(t.open))
	n := &node{Name: line(name), Value: line(value)}
	above := t.open[depth-1]
	above.Fields = append(above.Fields, n)
	t.open = append(t.open[:depth], n)
	t.rowsUsed++
}

// rows writes names and values in pairs, below a head.
func (t *treeWriter) rows(rows [][2]string) {
	for _, r := range rows {
		t.row(1, r[0], r[1])
	}
}

// writeText writes the tree for people.
func (t *treeWriter) writeText(w io.Writer) error {
	var b strings.Builder
	for _, s := range t.sections {
		b.WriteString(s.Name)
		if s.Value != "" {
			b.WriteString(" (" + s.Value + ")")
		}
		b.WriteByte('\n')
		writeNodes(&b, s.Fields, 1)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeNodes writes rows, each below its own one column deeper.
func writeNodes(b *strings.Builder, nodes []*node, depth int) {
	for _, n := range nodes {
		l := fmt.Sprintf("%*s%-*s %s", 2*depth, "", max(1, 24-2*depth), n.Name, n.Value)
		b.WriteString(strings.TrimRight(l, " ") + "\n")
		writeNodes(b, n.Fields, depth+1)
	}
}

// writeJSON writes the tree for programs.
func (t *treeWriter) writeJSON(w io.Writer, kind string) error {
	enc := json.NewEncoder(verifier.PrintableJSON(w))
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(inspectJSON{inspectType, kind, t.sections})
}

// inspectJSON is a tree for programs.
type inspectJSON struct {
	Type     string  `json:"type"`
	Kind     string  `json:"kind"`
	Sections []*node `json:"sections"`
}
