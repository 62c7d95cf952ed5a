package cer_test

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sworn-run/sworn/cer"
)

// node is a JSON value as it stands in a text: names in their order.
type node struct {
	kind  jsontext.Kind
	text  string // of a leaf
	names []string
	kids  []*node
}

// parseNode reads the next value.
func parseNode(tb testing.TB, d *jsontext.Decoder) *node {
	tb.Helper()
	n := &node{kind: d.PeekKind()}
	if n.kind != '{' && n.kind != '[' {
		v, err := d.ReadValue()
		if err != nil {
			tb.Fatal(err)
		}
		n.text = string(v)
		return n
	}
	next := func() jsontext.Token {
		tok, err := d.ReadToken()
		if err != nil {
			tb.Fatal(err)
		}
		return tok
	}
	next()
	for d.PeekKind() != '}' && d.PeekKind() != ']' {
		if n.kind == '{' {
			n.names = append(n.names, next().String())
		}
		n.kids = append(n.kids, parseNode(tb, d))
	}
	next()
	return n
}

// write appends the text of n.
func (n *node) write(b *strings.Builder) {
	if n.kind != '{' && n.kind != '[' {
		b.WriteString(n.text)
		return
	}
	b.WriteByte(byte(n.kind))
	for i, k := range n.kids {
		if i > 0 {
			b.WriteByte(',')
		}
		if n.kind == '{' {
			b.WriteString(strconv.Quote(n.names[i]) + ":")
		}
		k.write(b)
	}
	b.WriteByte(byte(n.kind) + 2)
}

// mutation is one change of a text: where, what, and the text that came of it.
type mutation struct{ path, what, text string }

// mutations returns every single change that a closed, canonical form must
// refuse, at every place of a text that is in canonical form.
func mutations(tb testing.TB, text []byte) []mutation {
	tb.Helper()
	m := &mutator{t: tb, root: parseNode(tb, jsontext.NewDecoder(bytes.NewReader(text)))}
	if m.now() != string(text) {
		tb.Fatal("the text is not what its tree says")
	}
	m.visit("", m.root)
	return m.out
}

type mutator struct {
	t    testing.TB
	root *node
	out  []mutation
}

func (m *mutator) now() string {
	var b strings.Builder
	m.root.write(&b)
	return b.String()
}

// add records the tree as it is now; in canonical form if asked.
func (m *mutator) add(path, what string, canonical bool) {
	m.t.Helper()
	text := m.now()
	if canonical {
		c, err := cer.Canonical([]byte(text))
		if err != nil {
			m.t.Fatal(path, what, err)
		}
		text = string(c)
	}
	m.out = append(m.out, mutation{path, what, text})
}

func (m *mutator) visit(path string, n *node) {
	for i, k := range n.kids {
		name := strconv.Itoa(i)
		if n.kind == '{' {
			name = n.names[i]
		}
		m.replace(path+"/"+name, n, i)
		m.visit(path+"/"+name, k)
	}
	if n.kind == '{' {
		m.members(path, n)
	}
}

// replace puts another value in the place of kid i.
func (m *mutator) replace(path string, n *node, i int) {
	old := n.kids[i]
	for _, other := range []string{"null", "true", "0", `"x"`, "[]", "{}"} {
		if kind := jsontext.Value(other).Kind(); kind != old.kind && (kind != 't' || old.kind != 'f') {
			n.kids[i] = &node{kind: 'x', text: other}
			m.add(path, "is "+other, true)
		}
	}
	if old.kind == '0' {
		spellings := []string{old.text + ".0", old.text + "e0", "0" + old.text, old.text + "E+0", "+" + old.text}
		if old.text == "0" {
			spellings = append(spellings, "-0")
		}
		for _, spelling := range spellings {
			n.kids[i] = &node{kind: 'x', text: spelling}
			m.add(path, "is spelled "+spelling, false)
		}
	}
	n.kids[i] = &node{kind: 'x', text: " " + textOf(old)}
	m.add(path, "space before", false)
	n.kids[i] = &node{kind: 'x', text: textOf(old) + "\n"}
	m.add(path, "newline after", false)
	n.kids[i] = old
}

func textOf(n *node) string {
	var b strings.Builder
	n.write(&b)
	return b.String()
}

// members adds, removes, doubles and renames members.
func (m *mutator) members(path string, n *node) {
	names, kids := slices.Clone(n.names), slices.Clone(n.kids)
	restore := func() { n.names, n.kids = slices.Clone(names), slices.Clone(kids) }
	for _, name := range []string{"", "zz", "__proto__", "constructor"} {
		n.names, n.kids = append(n.names, name), append(n.kids, &node{kind: 'x', text: `"x"`})
		m.add(path, "unknown member "+strconv.Quote(name), true)
		restore()
	}
	for i := range names {
		at := path + "/" + names[i]
		n.names, n.kids = slices.Delete(n.names, i, i+1), slices.Delete(n.kids, i, i+1)
		m.add(at, "is missing", true)
		restore()
		n.names, n.kids = slices.Insert(n.names, i, names[i]), slices.Insert(n.kids, i, kids[i])
		m.add(at, "stands twice", false)
		restore()
		n.names[i] = strings.ToUpper(names[i][:1]) + names[i][1:]
		m.add(at, "has another case", true)
		restore()
		n.names, n.kids = append(n.names, strings.ToUpper(names[i])), append(n.kids, kids[i])
		m.add(at, "has a double in another case", true)
		restore()
		if i > 0 {
			n.names[i-1], n.names[i], n.kids[i-1], n.kids[i] = names[i], names[i-1], kids[i], kids[i-1]
			m.add(at, "stands before its time", false)
			restore()
		}
	}
}

// framings returns texts that hold more, or less, than text.
func framings(text string) []mutation {
	out := []mutation{
		{"", "nothing", ""},
		{"", "byte order mark", "\xef\xbb\xbf" + text},
		{"", "space before", " " + text},
		{"", "space after", text + " "},
		{"", "tab after", text + "\t"},
		{"", "NUL after", text + "\x00"},
		{"", "twice", text + text},
		{"", "null", "null"},
		{"", "true", "true"},
		{"", "number", "0"},
		{"", "string", `"x"`},
		{"", "array around it", "[" + text + "]"},
		{"", "empty object", "{}"},
		{"", "empty array", "[]"},
	}
	for _, n := range []int{1, len(text) / 2, len(text) - 1} {
		out = append(out, mutation{"", "cut at " + strconv.Itoa(n), text[:n]})
	}
	return out
}

// wantRefused runs a parser over the mutations and wants each refused with
// ErrStrict or ErrSchema and without a value; those in spare may pass (path and
// what, or a path alone).
func wantRefused(t *testing.T, list []mutation, spare []string, parse func([]byte) (any, error)) {
	t.Helper()
	used := map[string]bool{}
	for _, m := range list {
		v, err := parse([]byte(m.text))
		if err == nil {
			for _, s := range []string{m.path, m.path + " " + m.what} {
				if slices.Contains(spare, s) {
					used[s] = true
				}
			}
			if !slices.Contains(spare, m.path) && !slices.Contains(spare, m.path+" "+m.what) {
				t.Errorf("%s %s: accepted", m.path, m.what)
			}
			continue
		}
		if v != nil {
			t.Errorf("%s %s: a value beside an error", m.path, m.what)
		}
		if !errors.Is(err, cer.ErrStrict) && !errors.Is(err, cer.ErrSchema) {
			t.Errorf("%s %s: error %v wraps neither ErrStrict nor ErrSchema", m.path, m.what, err)
		}
	}
	for _, s := range spare {
		if !used[s] {
			t.Errorf("%s: spared, and not accepted", s)
		}
	}
	if len(list) < 10 {
		t.Errorf("%d mutations only", len(list))
	}
}

// orNil makes a typed nil pointer an untyped one.
func orNil[T any](v *T, err error) (any, error) {
	if v == nil {
		return nil, err
	}
	return v, err
}
