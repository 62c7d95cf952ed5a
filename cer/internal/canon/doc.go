// Package canon reads JSON in one pass: it refuses whatever two readers could
// understand differently, and finds out meanwhile what of the text is in
// canonical form (RFC 8785) already. From that follow the canonical form, its
// hash and the members of objects, with as little copied as the text allows.
//
// A value of a text is in one of three states. An exact one is its own canonical
// form. One that is in order holds no object whose members would have to move:
// going through its tokens once writes its canonical form. Only for the rest, and
// for objects that a caller wants to look into, are members remembered.
package canon

import (
	"bytes"
	"errors"
)

// ErrStrict is wrapped by every error of this package: the bytes are not JSON of
// the one strict form that may be hashed.
var ErrStrict = errors.New("not strict JSON")

// A state says what stands between a value and its canonical form.
type state uint8

const (
	exact    state = iota // nothing
	ordered               // whitespace, and the spelling of strings and numbers
	shuffled              // the order of members somewhere inside
)

// kid is a member of an object, or a part of an array: either one element that
// is shuffled, or a run of elements that are not. Offsets are into the text,
// whose length limits.CapsuleFile keeps within 32 bits.
type kid struct {
	name, nameEnd uint32 // the quoted name; both 0 in an array
	start, end    uint32 // the value
	alias         int32  // the name has escapes: 1 + its index in Doc.names
	node          int32  // the value's kids are known: 1 + its index in Doc.nodes
	state         state
	plain         bool // the name is its own canonical form
}

// node is the kids of one value.
type node struct{ first, count uint32 }

// A Doc is a JSON text that has been read. It refers to the text, which must
// not change while the Doc is in use.
type Doc struct {
	text  []byte
	kids  []kid
	nodes []node
	names [][]byte // what names with escapes stand for
	root  kid

	// Memory for the small texts that records are.
	open  [room]kid
	room  [room]kid
	rooms [8]node
}

// Text returns the text as it was given.
func (d *Doc) Text() []byte { return d.text }

// Exact reports whether the text is byte for byte its own canonical form.
func (d *Doc) Exact() bool {
	return d.root.state == exact && d.root.start == 0 && int(d.root.end) == len(d.text)
}

// Root returns the text's value.
func (d *Doc) Root() Value { return Value{d, &d.root} }

// name returns what a member's name stands for.
func (d *Doc) name(k *kid) []byte {
	if k.alias > 0 {
		return d.names[k.alias-1]
	}
	return d.text[k.name+1 : k.nameEnd-1]
}

// A Value is a value within a Doc. The zero Value is no value; its Kind is 0.
type Value struct {
	d *Doc
	k *kid
}

// Kind returns the first byte of the value: one of '{', '[', '"', '0' (any
// number), 't', 'f' and 'n', or 0 if there is no value.
func (v Value) Kind() byte {
	if v.d == nil {
		return 0
	}
	c := v.d.text[v.k.start]
	if c == '-' || (c >= '0' && c <= '9') {
		return '0'
	}
	return c
}

// Raw returns the value as it stands in the text, without whitespace around it.
// It shares the text's memory.
func (v Value) Raw() []byte {
	if v.d == nil {
		return nil
	}
	return v.d.text[v.k.start:v.k.end:v.k.end]
}

// Offset returns where in the text the value begins.
func (v Value) Offset() int {
	if v.d == nil {
		return 0
	}
	return int(v.k.start)
}

// members returns the kids of an object that were kept.
func (v Value) members() []kid {
	if v.d == nil || v.k.node == 0 || v.d.text[v.k.start] != '{' {
		return nil
	}
	n := v.d.nodes[v.k.node-1]
	return v.d.kids[n.first : n.first+n.count]
}

// Len returns the number of members of an object that was kept, else 0.
func (v Value) Len() int { return len(v.members()) }

// Member returns the name and the value of an object's i-th member in canonical
// order.
func (v Value) Member(i int) (name string, value Value) {
	k := &v.members()[i]
	return string(v.d.name(k)), Value{v.d, k}
}

// MemberName returns the name of an object's i-th member in canonical order. It
// shares the text's memory where it can.
func (v Value) MemberName(i int) []byte { return v.d.name(&v.members()[i]) }

// Get returns an object's member, or the zero Value.
func (v Value) Get(name string) Value {
	members := v.members()
	for i := range members {
		k := &members[i]
		if k.alias == 0 && int(k.nameEnd-k.name) != len(name)+2 {
			continue
		}
		if string(v.d.name(k)) == name {
			return Value{v.d, k}
		}
	}
	return Value{}
}

// AppendString appends what a string stands for, as UTF-8; nothing if the value
// is not a string.
func (v Value) AppendString(dst []byte) []byte {
	if v.Kind() != '"' {
		return dst
	}
	return appendUnquoted(dst, v.Raw())
}

// String returns what a string stands for, or "" if the value is not a string.
func (v Value) String() string { return string(v.Bytes()) }

// Is reports whether the value is the string s.
func (v Value) Is(s string) bool { return v.Kind() == '"' && string(v.Bytes()) == s }

// IsEmpty reports whether the value is no string, or the empty one.
func (v Value) IsEmpty() bool { return v.Kind() != '"' || v.k.end-v.k.start == 2 }

// HasPrefix reports whether the value is a string that begins with s.
func (v Value) HasPrefix(s string) bool { return bytes.HasPrefix(v.Bytes(), []byte(s)) }

// Bytes returns what a string stands for, as UTF-8; nil if the value is not a
// string. It shares the text's memory where it can.
func (v Value) Bytes() []byte {
	if v.Kind() != '"' {
		return nil
	}
	raw := v.Raw()
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1]
	}
	return appendUnquoted(make([]byte, 0, len(raw)), raw)
}

// HasElements reports whether the value is an array that is not empty.
func (v Value) HasElements() bool {
	raw := v.Raw()
	return v.Kind() == '[' && raw[skipSpace(raw, 1)] != ']'
}

// IsBytes reports whether the value is the string b.
func (v Value) IsBytes(b []byte) bool { return v.Kind() == '"' && bytes.Equal(v.Bytes(), b) }

// Elements reads the elements of an array again, and keeps the given number of
// levels, of which the array is the first. It returns nil if the value is no
// array, or has more than limit elements.
func (v Value) Elements(limit, keep int) []Value {
	if v.Kind() != '[' {
		return nil
	}
	raw := v.Raw()
	p := parser{b: raw, maxDepth: maxNesting, keep: keep}
	var roots []kid
	for i := skipSpace(raw, 1); raw[i] != ']'; {
		if len(roots) == limit {
			return nil
		}
		start := i
		if i = p.value(i, 1); i < 0 {
			return nil // Not reached: the text has been read before.
		}
		roots = append(roots, kid{start: uint32(start), end: uint32(i), node: p.node, state: p.state})
		if i = skipSpace(raw, i); raw[i] == ',' {
			i = skipSpace(raw, i+1)
		}
	}
	d := &Doc{text: raw, kids: p.kids, nodes: p.nodes, names: p.names}
	out := make([]Value, len(roots))
	for i := range roots {
		out[i] = Value{d, &roots[i]}
	}
	return out
}
