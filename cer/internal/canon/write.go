package canon

import (
	"crypto/sha256"
	"hash"
)

// AppendCanonical appends the value's canonical form. RFC 8785.
func (v Value) AppendCanonical(dst []byte) []byte {
	if v.d == nil {
		return dst
	}
	w := Writer{buf: dst}
	w.value(v.d, v.k)
	return w.buf
}

// Canonical returns the value's canonical form. It shares the text's memory if
// that is exact.
func (v Value) Canonical() []byte {
	if v.d == nil || v.k.state == exact {
		return v.Raw()
	}
	return v.AppendCanonical(make([]byte, 0, v.k.end-v.k.start))
}

// A Writer hashes canonical text that is written piece by piece. Call Init
// before anything else.
type Writer struct {
	h     hash.Hash // nil: everything goes to buf
	buf   []byte
	small [flushAt]byte
	sum   [sha256.Size]byte
}

// flushAt is how much is gathered before it is hashed, and from what length on a
// piece is hashed where it stands.
const flushAt = 512

// Init makes the Writer compute SHA-256.
func (w *Writer) Init() {
	w.h = sha256.New()
	w.buf = w.small[:0]
}

// Text writes a piece of canonical text.
func (w *Writer) Text(s string) {
	if w.h != nil && len(w.buf)+len(s) > cap(w.buf) {
		w.write([]byte(s))
		return
	}
	w.buf = append(w.buf, s...)
}

// Bytes writes a piece of canonical text.
func (w *Writer) Bytes(b []byte) { w.write(b) }

// Value writes the canonical form of a value.
func (w *Writer) Value(v Value) {
	if v.d != nil {
		w.value(v.d, v.k)
	}
}

// StringOf writes what a string stands for, which is not canonical text.
func (w *Writer) StringOf(v Value) { w.write(v.Bytes()) }

// Member writes the name of v's i-th member, a colon and the value.
func (w *Writer) Member(v Value, i int) {
	w.member(v.d, &v.members()[i])
}

// Sum returns the hash of what was written, and begins anew.
func (w *Writer) Sum() [32]byte {
	_, _ = w.h.Write(w.buf)
	w.h.Sum(w.sum[:0])
	w.h.Reset()
	w.buf = w.buf[:0]
	return w.sum
}

func (w *Writer) write(b []byte) {
	if w.h == nil {
		w.buf = append(w.buf, b...)
		return
	}
	if len(w.buf)+len(b) > cap(w.buf) {
		_, _ = w.h.Write(w.buf)
		w.buf = w.buf[:0]
		if len(b) >= flushAt {
			_, _ = w.h.Write(b)
			return
		}
	}
	w.buf = append(w.buf, b...)
}

// member writes a member's name, a colon and the value.
func (w *Writer) member(d *Doc, k *kid) {
	if k.plain && k.state == exact && k.start == k.nameEnd+1 {
		w.write(d.text[k.name:k.end])
		return
	}
	if k.plain {
		w.write(d.text[k.name:k.nameEnd])
	} else {
		w.requote(d.text[k.name:k.nameEnd])
	}
	w.Text(":")
	w.value(d, k)
}

func (w *Writer) value(d *Doc, k *kid) {
	switch k.state {
	case exact:
		w.write(d.text[k.start:k.end])
	case ordered:
		w.tokens(d.text[k.start:k.end])
	case shuffled:
		n := d.nodes[k.node-1]
		kids := d.kids[n.first : n.first+n.count]
		brackets := "[]"
		if d.text[k.start] == '{' {
			brackets = "{}"
		}
		separator := brackets[:1]
		for i := range kids {
			w.Text(separator)
			if brackets == "{}" {
				w.member(d, &kids[i])
			} else {
				w.value(d, &kids[i])
			}
			separator = ","
		}
		w.Text(brackets[1:])
	}
}

// tokens writes text that is in order: every token in its canonical form, and no
// whitespace.
func (w *Writer) tokens(b []byte) {
	p := parser{b: b}
	for i := 0; i < len(b); {
		switch c := b[i]; {
		case c == '"':
			end := p.str(i)
			if p.plain {
				w.write(b[i:end])
			} else {
				w.requote(b[i:end])
			}
			i = end
		case c == '-' || (c >= '0' && c <= '9'):
			p.state = exact
			end := p.number(i)
			if p.state == exact {
				w.write(b[i:end])
			} else {
				f, _ := checkNumber(b[i:end], false) // It has been read before.
				var spelled [32]byte
				w.write(AppendNumber(spelled[:0], f))
			}
			i = end
		case c == ' ' || c == '\n' || c == '\t' || c == '\r':
			i++
		default:
			end := i + 1
			for end < len(b) && b[end] > ' ' && b[end] != '"' && b[end] != '-' && (b[end] < '0' || b[end] > '9') {
				end++
			}
			w.write(b[i:end])
			i = end
		}
	}
}

// requote writes the canonical form of a string.
func (w *Writer) requote(quoted []byte) {
	text := appendUnquoted(nil, quoted)
	q, _ := AppendQuoted(make([]byte, 0, len(quoted)), string(text)) // It is UTF-8: it has been read before.
	w.write(q)
}

// AppendMember appends the name of an object's i-th member, a colon and the value
// in their canonical form.
func (v Value) AppendMember(dst []byte, i int) []byte {
	w := Writer{buf: dst}
	w.member(v.d, &v.members()[i])
	return w.buf
}
