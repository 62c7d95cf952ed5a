package stamp

import (
	"encoding/asn1"
	"math/big"
)

// The tags that are read (X.690, 8.1.2). [n] is a context-specific tag.
const (
	tagBoolean   = 0x01
	tagInteger   = 0x02
	tagBits      = 0x03
	tagOctets    = 0x04
	tagNull      = 0x05
	tagOID       = 0x06
	tagUTF8      = 0x0c
	tagTime      = 0x18 // GeneralizedTime
	tagSequence  = 0x30
	tagSet       = 0x31
	tagPlain0    = 0x80 // [0], primitive
	tagPlain1    = 0x81
	tagExplicit0 = 0xa0 // [0], constructed
	tagExplicit1 = 0xa1
)

// maxInteger bounds an integer in bytes: a serial number has 20, and a nonce of 64 has
// been seen.
const maxInteger = 64

// value is one DER value: its tag, its contents, and all of its bytes.
type value struct {
	tag       byte
	body, raw []byte
}

// cut takes one value off the front of b. It wants DER (X.690, 10.1): a tag of one byte
// and the shortest definite length. What is inside is not looked at.
func cut(b []byte) (v value, rest []byte, ok bool) {
	if len(b) < 2 || b[0]&0x1f == 0x1f {
		return value{}, nil, false
	}
	head, size := 2, int(b[1])
	if size >= 0x80 {
		n := size - 0x80
		if n < 1 || n > 3 || len(b) < 2+n {
			return value{}, nil, false
		}
		size = 0
		for _, x := range b[2 : 2+n] {
			size = size<<8 | int(x)
		}
		if size < 0x80 || size>>(8*(n-1)) == 0 {
			return value{}, nil, false
		}
		head += n
	}
	if len(b)-head < size {
		return value{}, nil, false
	}
	end := head + size
	return value{tag: b[0], body: b[head:end:end], raw: b[:end:end]}, b[end:], true
}

// reader reads DER values one after the other. The first thing that is wrong stays, for
// this reader and all that came from it; after it every read returns nothing.
type reader struct {
	rest []byte
	err  **Error
}

// newReader returns a reader of b, and where to find what was wrong.
func newReader(b []byte) (*reader, **Error) {
	err := new(*Error)
	return &reader{rest: b, err: err}, err
}

// inside returns a reader of a part of what r reads.
func (r *reader) inside(b []byte) *reader { return &reader{rest: b, err: r.err} }

// fail keeps the first thing that is wrong.
func (r *reader) fail(reason Reason, format string, args ...any) {
	if *r.err == nil {
		*r.err = fault(reason, format, args...)
	}
}

// failed reports whether anything was wrong.
func (r *reader) failed() bool { return *r.err != nil }

// more reports whether there is another value to read.
func (r *reader) more() bool { return !r.failed() && len(r.rest) > 0 }

// at reports whether the next value has that tag.
func (r *reader) at(tag byte) bool { return r.more() && r.rest[0] == tag }

// any reads one value of any tag.
func (r *reader) any(what string) value {
	if r.failed() {
		return value{}
	}
	v, rest, ok := cut(r.rest)
	if !ok {
		r.fail(ReasonForm, "%s is missing or no DER", what)
		return value{}
	}
	r.rest = rest
	return v
}

// take reads one value of a tag.
func (r *reader) take(tag byte, what string) value {
	v := r.any(what)
	if v.tag != tag {
		r.fail(ReasonForm, "%s has tag %#02x, want %#02x", what, v.tag, tag)
		return value{}
	}
	return v
}

// open reads one value of a tag and returns a reader of its contents.
func (r *reader) open(tag byte, what string) *reader {
	return r.inside(r.take(tag, what).body)
}

// end says that there must be nothing more.
func (r *reader) end(what string) {
	if r.more() {
		r.fail(ReasonForm, "%s has %d bytes too many", what, len(r.rest))
	}
}

// oid reads an object identifier.
func (r *reader) oid(what string) string {
	v := r.take(tagOID, what)
	if r.failed() {
		return ""
	}
	var id asn1.ObjectIdentifier
	if rest, err := asn1.Unmarshal(v.raw, &id); err != nil || len(rest) > 0 {
		r.fail(ReasonForm, "%s is no object identifier", what)
		return ""
	}
	return id.String()
}

// natural reads an integer that is not negative.
func (r *reader) natural(tag byte, what string) *big.Int {
	b := r.take(tag, what).body
	switch {
	case r.failed():
		return new(big.Int)
	case len(b) == 0 || len(b) > maxInteger || b[0] >= 0x80 || len(b) > 1 && b[0] == 0 && b[1] < 0x80:
		r.fail(ReasonForm, "%s is no DER integer from 0 to %d bytes", what, maxInteger)
	}
	return new(big.Int).SetBytes(b)
}

// small reads an integer from 0 to top.
func (r *reader) small(tag byte, top int64, what string) int64 {
	n := r.natural(tag, what)
	if !n.IsInt64() || n.Int64() > top {
		r.fail(ReasonForm, "%s is more than %d", what, top)
		return 0
	}
	return n.Int64()
}

// truth reads a boolean that is true: DER leaves out one that is false by default.
func (r *reader) truth(what string) bool {
	b := r.take(tagBoolean, what).body
	if !r.failed() && (len(b) != 1 || b[0] != 0xff) {
		r.fail(ReasonForm, "%s is no DER boolean that is true", what)
	}
	return !r.failed()
}
