package canon

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/sworn-run/sworn/internal/limits"
)

// maxNesting is how deep a text may be nested, whatever the caller allows.
const maxNesting = 10000

// Parse reads one JSON text, nested at most depth deep, and refuses with an error
// that wraps [ErrStrict]:
//
//   - text longer than limits.CapsuleFile, empty text, a byte order mark,
//     anything but whitespace after the value;
//   - invalid UTF-8 and escaped surrogates without a partner (RFC 7493, 2.1);
//   - member names that occur twice in an object, compared after unescaping
//     (RFC 7493, 2.3);
//   - numbers that do not survive as an IEEE 754 double (RFC 7493, 2.2), and with
//     small those of magnitude 2^53 and more.
//
// Objects nested no deeper than keep can be looked into afterwards.
func Parse(b []byte, depth int, small bool, keep int) (*Doc, error) {
	d := &Doc{}
	if err := d.Read(b, depth, small, keep); err != nil {
		return nil, err
	}
	return d, nil
}

// Check is Parse without a result.
func Check(b []byte, depth int, small bool) error {
	_, err := IsExact(b, depth, small)
	return err
}

// IsExact is [Parse] and then [Doc.Exact], and remembers nothing on the way but
// the members of what is open.
func IsExact(b []byte, depth int, small bool) (bool, error) {
	var d Doc
	if err := d.Read(b, depth, small, judge); err != nil {
		return false, err
	}
	return d.Exact(), nil
}

// judge is how many levels to keep if not even the canonical form is wanted.
const judge = -1

// room is how many members memory is set aside for: those of a record.
const room = 32

// Read is [Parse] into a Doc that is there already.
func (d *Doc) Read(b []byte, depth int, small bool, keep int) error {
	if len(b) > limits.CapsuleFile {
		return fmt.Errorf("reading JSON: %w: %d bytes, at most %d", ErrStrict, len(b), limits.CapsuleFile)
	}
	p := parser{b: b, maxDepth: min(depth, maxNesting), small: small, keep: keep}
	p.stack, p.kids, p.nodes = d.open[:0], d.room[:0], d.rooms[:0]
	start := skipSpace(b, 0)
	end := p.value(start, 0)
	if end >= 0 {
		if last := skipSpace(b, end); last != len(b) {
			end = p.fail(last, "data after the value")
		}
	}
	if end < 0 {
		return p.error()
	}
	d.text, d.kids, d.nodes, d.names = b, p.kids, p.nodes, p.names
	d.root = kid{start: uint32(start), end: uint32(end), node: p.node, state: p.state}
	return nil
}

// parser is the reading of one text. Its methods return the index after what
// they read, or -1 after a call of fail.
type parser struct {
	b        []byte
	maxDepth int
	keep     int
	small    bool

	stack []kid // of the objects and arrays that are open
	kids  []kid // of those that are closed and remembered
	nodes []node
	names [][]byte

	// What the last call of value found.
	state state
	node  int32
	// What the last call of str found.
	escaped, plain bool

	failedAt int
	failure  string
	err      error
}

// fail notes what is wrong at byte i.
func (p *parser) fail(i int, what string) int {
	p.failedAt, p.failure = i, what
	return -1
}

func (p *parser) error() error {
	if p.err != nil {
		return fmt.Errorf("reading JSON number at byte %d: %w", p.failedAt, p.err)
	}
	return fmt.Errorf("reading JSON: %w: %s at byte %d", ErrStrict, p.failure, p.failedAt)
}

// skipSpace returns the index of the first byte from i on that is no whitespace.
// RFC 8259, 2.
func skipSpace(b []byte, i int) int {
	for i < len(b) && b[i] <= ' ' {
		if c := b[i]; c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			break
		}
		i++
	}
	return i
}

// value reads the value at i, which is nested level deep.
func (p *parser) value(i, level int) int {
	if i >= len(p.b) {
		return p.fail(i, "no value")
	}
	p.state, p.node = exact, 0
	switch c := p.b[i]; {
	case c == '"':
		end := p.str(i)
		if !p.plain {
			p.state = ordered
		}
		return end
	case c == '{':
		return p.object(i, level+1)
	case c == '[':
		return p.array(i, level+1)
	case c == '-' || (c >= '0' && c <= '9'):
		return p.number(i)
	case c == 't':
		return p.literal(i, "true")
	case c == 'f':
		return p.literal(i, "false")
	case c == 'n':
		return p.literal(i, "null")
	}
	return p.fail(i, "no value")
}

// literal reads one of JSON's three words.
func (p *parser) literal(i int, word string) int {
	end := i + len(word)
	if end > len(p.b) || string(p.b[i:end]) != word {
		return p.fail(i, "no value")
	}
	return end
}

// object reads the object at i, which is nested level deep itself.
func (p *parser) object(i, level int) int {
	if level > p.maxDepth {
		return p.fail(i, "nested too deep")
	}
	base, worst, sorted, names := len(p.stack), exact, true, len(p.names)
	for i++; ; i++ { // behind the brace, or a comma
		at := skipSpace(p.b, i)
		if at != i {
			worst = max(worst, ordered)
		}
		if at < len(p.b) && p.b[at] == '}' && len(p.stack) == base {
			return p.close(at, level, base, worst)
		}
		k, end := p.member(at, level, &worst)
		if end < 0 {
			return -1
		}
		if sorted && len(p.stack) > base {
			c := p.compare(&p.stack[len(p.stack)-1], &k)
			if c == 0 {
				return p.fail(at, "a name that occurs twice")
			}
			if c > 0 {
				sorted, worst = false, shuffled
			}
		}
		p.stack = append(p.stack, k)
		if i = skipSpace(p.b, end); i != end {
			worst = max(worst, ordered)
		}
		switch {
		case i < len(p.b) && p.b[i] == ',':
		case i >= len(p.b) || p.b[i] != '}':
			return p.fail(i, "neither comma nor end of object")
		case !sorted && !p.sort(base):
			return p.fail(at, "a name that occurs twice")
		default:
			end = p.close(i, level, base, worst)
			if p.node == 0 { // Nothing in it is remembered either.
				p.names = p.names[:names]
			}
			return end
		}
	}
}

// member reads the name and the value of a member at i.
func (p *parser) member(i, level int, worst *state) (k kid, end int) {
	if i >= len(p.b) || p.b[i] != '"' {
		return k, p.fail(i, "no name of a member")
	}
	end = p.str(i)
	if end < 0 {
		return k, -1
	}
	k = kid{name: uint32(i), nameEnd: uint32(end), plain: p.plain}
	if p.escaped {
		p.names = append(p.names, appendUnquoted(nil, p.b[i:end]))
		k.alias = int32(len(p.names))
	}
	colon := skipSpace(p.b, end)
	if colon >= len(p.b) || p.b[colon] != ':' {
		return k, p.fail(colon, "no colon")
	}
	start := skipSpace(p.b, colon+1)
	if !k.plain || colon != end || start != colon+1 {
		*worst = max(*worst, ordered)
	}
	if end = p.value(start, level); end < 0 {
		return k, -1
	}
	k.start, k.end, k.node, k.state = uint32(start), uint32(end), p.node, p.state
	*worst = max(*worst, p.state)
	return k, end
}

// close ends an object or array whose last byte is at i: its kids leave the
// stack, for good unless they are needed.
func (p *parser) close(i, level, base int, worst state) int {
	p.state, p.node = worst, 0
	if p.keep != judge && (worst == shuffled || (level <= p.keep && len(p.stack) > base)) {
		p.nodes = append(p.nodes, node{uint32(len(p.kids)), uint32(len(p.stack) - base)})
		p.kids = append(p.kids, p.stack[base:]...)
		p.node = int32(len(p.nodes))
	}
	p.stack = p.stack[:base]
	return i + 1
}

// array reads the array at i. What it keeps of the elements is what is needed to
// write them: elements in order, one after the other, are one run.
func (p *parser) array(i, level int) int {
	if level > p.maxDepth {
		return p.fail(i, "nested too deep")
	}
	base, worst := len(p.stack), exact
	run := kid{}
	first := i + 1
	for i++; ; i++ {
		at := skipSpace(p.b, i)
		spaced := at != i
		if at < len(p.b) && p.b[at] == ']' && i == first {
			if spaced {
				worst = ordered
			}
			return p.close(at, p.keep+1, base, worst)
		}
		end := p.value(at, level)
		if end < 0 {
			return -1
		}
		i = skipSpace(p.b, end)
		if p.state == shuffled {
			p.part(run)
			p.part(kid{start: uint32(at), end: uint32(end), node: p.node, state: shuffled})
			run, worst = kid{}, shuffled
		} else {
			if run.end == 0 {
				run.start = uint32(at)
			} else if spaced || p.b[run.end] != ',' {
				run.state = ordered
			}
			run.end = uint32(end)
			run.state = max(run.state, p.state)
		}
		if spaced || i != end {
			worst = max(worst, ordered)
		}
		worst = max(worst, run.state)
		if i < len(p.b) && p.b[i] == ',' {
			continue
		}
		if i >= len(p.b) || p.b[i] != ']' {
			return p.fail(i, "neither comma nor end of array")
		}
		if worst == shuffled {
			p.part(run)
		}
		return p.close(i, p.keep+1, base, worst)
	}
}

// part remembers a part of an array, if there is one and it will be wanted.
func (p *parser) part(k kid) {
	if p.keep != judge && k.end > 0 {
		p.stack = append(p.stack, k)
	}
}

// sort puts the members on the stack from base on in canonical order. It reports
// whether no name occurs twice.
func (p *parser) sort(base int) bool {
	members := p.stack[base:]
	if len(members) <= room {
		p.sortFew(members)
	} else {
		slices.SortFunc(members, func(a, b kid) int { return p.compare(&a, &b) })
	}
	for i := 1; i < len(members); i++ {
		if p.compare(&members[i-1], &members[i]) == 0 {
			return false
		}
	}
	return true
}

// sortFew sorts at most room members: the heads of their names first, which cost
// less to move.
func (p *parser) sortFew(members []kid) {
	type key struct {
		head uint64
		at   uint8
	}
	var keys [room]key
	for i := range members {
		head, ok := p.head(&members[i])
		if !ok {
			slices.SortFunc(members, func(a, b kid) int { return p.compare(&a, &b) })
			return
		}
		j := i
		for ; j > 0; j-- {
			last := &keys[j-1]
			if last.head < head || (last.head == head && p.compare(&members[last.at], &members[i]) <= 0) {
				break
			}
			keys[j] = *last
		}
		keys[j] = key{head, uint8(i)}
	}
	var sorted [room]kid
	for i := range members {
		sorted[i] = members[keys[i].at]
	}
	copy(members, sorted[:])
}

// compare compares the names of two members by their UTF-16 code units. RFC
// 8785, 3.2.3.
func (p *parser) compare(a, b *kid) int {
	x, ok := p.head(a)
	y, also := p.head(b)
	if ok && also && x != y {
		if x < y {
			return -1
		}
		return 1
	}
	return compareNames(p.nameOf(a), p.nameOf(b))
}

// head returns the first eight bytes of a name as a number that sorts as the name
// does: a name of ASCII, in which no byte is zero.
func (p *parser) head(k *kid) (x uint64, ok bool) {
	at := int(k.name) + 1
	if k.alias > 0 || at+8 > len(p.b) {
		return 0, false
	}
	x = binary.BigEndian.Uint64(p.b[at:])
	if n := int(k.nameEnd) - 1 - at; n < 8 {
		x &^= ^uint64(0) >> (8 * n)
	}
	return x, x&(0x80*each) == 0
}

// compareNames compares two names. The order of UTF-16 is that of the UTF-8 but
// where one of two characters is of the last 8,192 of the basic plane, and the
// other beyond it.
func compareNames(x, y []byte) int {
	for i := range min(len(x), len(y)) {
		c, d := x[i], y[i]
		if c == d {
			continue
		}
		less := c < d
		if c >= 0xee && d >= 0xee && (c >= 0xf0) != (d >= 0xf0) {
			less = !less
		}
		if less {
			return -1
		}
		return 1
	}
	return len(x) - len(y)
}

func (p *parser) nameOf(k *kid) []byte {
	if k.alias > 0 {
		return p.names[k.alias-1]
	}
	return p.b[k.name+1 : k.nameEnd-1]
}

// CompareNames compares two names of members by their UTF-16 code units. RFC
// 8785, 3.2.3. Both must be UTF-8.
func CompareNames(x, y string) int { return compareNames([]byte(x), []byte(y)) }
