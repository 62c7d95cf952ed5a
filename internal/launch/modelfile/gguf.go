package modelfile

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"

	"github.com/sworn-run/sworn/internal/limits"
)

const (
	ggufMagic = "GGUF"
	// ggufAlignment is the alignment of tensors in a file that names none.
	ggufAlignment = 32
	// ggufDims is the largest number of dimensions that ggml has.
	ggufDims = 4
	// ggufNesting is how deep arrays may be nested. The readers in use know no
	// array in an array; the format does.
	ggufNesting = 4
	// ggufKey and ggufTensorName are the longest names that the format allows.
	ggufKey        = 65535
	ggufTensorName = 64
)

// The types of values.
const (
	typeUint8 = iota
	typeInt8
	typeUint16
	typeInt16
	typeUint32
	typeInt32
	typeFloat32
	typeBool
	typeString
	typeArray
	typeUint64
	typeInt64
	typeFloat64
)

// valueSize returns the size of a value in bytes; 0 for a string, an array, and
// what is no type.
func valueSize(kind uint32) uint64 {
	switch kind {
	case typeUint8, typeInt8, typeBool:
		return 1
	case typeUint16, typeInt16:
		return 2
	case typeUint32, typeInt32, typeFloat32:
		return 4
	case typeUint64, typeInt64, typeFloat64:
		return 8
	default:
		return 0
	}
}

// ggufReader reads a GGUF file from its start. After an error every read yields
// zero; the error is the first one.
type ggufReader struct {
	r    *bufio.Reader
	at   uint64 // where the next byte is
	end  uint64 // where reading ends: the file's end, or the bound of headers
	size uint64
	err  error
}

// fail notes the first error.
func (g *ggufReader) fail(err error) {
	if g.err == nil {
		g.err = err
	}
}

func (g *ggufReader) malformed(format string, args ...any) {
	g.fail(fmt.Errorf("%w: GGUF: at byte %d: "+format, append([]any{ErrMalformed, g.at}, args...)...))
}

// room reports whether n more bytes may be read.
func (g *ggufReader) room(n uint64) bool {
	switch {
	case g.err != nil:
	case n > g.size-g.at:
		g.malformed("%d bytes, and the file ends after %d", n, g.size-g.at)
	case n > g.end-g.at:
		g.malformed("the header is longer than %d bytes", limits.ModelHeader)
	default:
		return true
	}
	return false
}

// bytes returns the next n bytes, which the caller has bounded.
func (g *ggufReader) bytes(n uint64) []byte {
	if !g.room(n) {
		return nil
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(g.r, b); err != nil {
		g.fail(fmt.Errorf("%w: %d bytes at %d: %w", ErrRead, n, g.at, err))
		return nil
	}
	g.at += n
	return b
}

// skip passes over n bytes.
func (g *ggufReader) skip(n uint64) {
	if !g.room(n) {
		return
	}
	if _, err := g.r.Discard(int(n)); err != nil { // at most limits.ModelHeader
		g.fail(fmt.Errorf("%w: %d bytes at %d: %w", ErrRead, n, g.at, err))
		return
	}
	g.at += n
}

// uint reads an integer of n bytes, at most 8.
func (g *ggufReader) uint(n int) uint64 {
	if !g.room(uint64(n)) {
		return 0
	}
	var b [8]byte
	if _, err := io.ReadFull(g.r, b[:n]); err != nil {
		g.fail(fmt.Errorf("%w: %d bytes at %d: %w", ErrRead, n, g.at, err))
		return 0
	}
	g.at += uint64(n)
	return binary.LittleEndian.Uint64(b[:])
}

func (g *ggufReader) uint32() uint32 { return uint32(g.uint(4)) }

// length reads the length of a string.
func (g *ggufReader) length(limit uint64, what string) uint64 {
	n := g.uint(8)
	if n > limit {
		g.malformed("%s of %d bytes, at most %d", what, n, limit)
		return 0
	}
	return n
}

// text reads a string, which is to be UTF-8.
func (g *ggufReader) text(limit uint64, what string) string {
	b := g.bytes(g.length(limit, what))
	if !utf8.Valid(b) {
		g.malformed("%s is not UTF-8", what)
	}
	if g.err != nil {
		return ""
	}
	return string(b)
}

// values passes over n values of one type. A boolean is 0 or 1.
func (g *ggufReader) values(kind uint32, n uint64, depth int) {
	switch size := valueSize(kind); {
	case kind == typeBool:
		g.booleans(n)
	case size > 0:
		if n > g.size/size {
			g.malformed("an array of %d values of %d bytes", n, size)
			return
		}
		g.skip(n * size)
	case kind == typeString:
		for ; n > 0 && g.err == nil; n-- {
			g.skip(g.length(limits.ModelString, "a string"))
		}
	case kind == typeArray && depth < ggufNesting:
		for ; n > 0 && g.err == nil; n-- {
			of, count := g.uint32(), g.uint(8)
			g.values(of, count, depth+1)
		}
	case kind == typeArray:
		g.malformed("arrays nested deeper than %d", ggufNesting)
	default:
		g.malformed("a value of unknown type %d", kind)
	}
}

// booleans passes over n booleans, of one byte each.
func (g *ggufReader) booleans(n uint64) {
	for g.room(n) && n > 0 {
		b := g.bytes(min(n, 4096))
		if bytes.ContainsFunc(b, func(r rune) bool { return r > 1 }) {
			g.malformed("a boolean that is neither 0 nor 1")
		}
		n -= uint64(len(b))
	}
}

// ggufHeader is what of the key-value pairs is of use.
type ggufHeader struct {
	text      map[string]string // general.architecture and general.name
	number    map[string]uint64 // *.context_length and general.file_type
	alignment uint64
}

// pair reads one key-value pair.
func (g *ggufReader) pair(h *ggufHeader, seen map[string]struct{}) {
	key := g.text(ggufKey, "a key")
	if g.err != nil {
		return
	}
	if _, twice := seen[key]; twice || key == "" {
		g.malformed("the key %.80q is empty, or occurs twice", key)
		return
	}
	seen[key] = struct{}{}
	kind := g.uint32()
	switch {
	case key == "general.alignment":
		n := uint64(g.uint32())
		if kind != typeUint32 || n == 0 || n&(n-1) != 0 {
			g.malformed("general.alignment is no uint32, or no power of two")
			return
		}
		h.alignment = n
	case key == "general.architecture" || key == "general.name":
		if kind != typeString {
			g.malformed("%s is no string", key)
			return
		}
		h.text[key] = g.text(limits.ModelString, key)
	case key == "general.file_type" || hasContext(key):
		if n, ok := g.number(kind); ok {
			h.number[key] = n
		}
	default:
		g.values(kind, 1, 0)
	}
}

const contextKey = ".context_length"

// hasContext reports whether a key is ARCHITECTURE.context_length.
func hasContext(key string) bool {
	n := len(key) - len(contextKey)
	return n > 0 && n <= maxValue && key[n:] == contextKey
}

// number reads a value, and reports whether it is an integer and not negative.
// Writers differ in the type that they take.
func (g *ggufReader) number(kind uint32) (uint64, bool) {
	size := valueSize(kind)
	switch kind {
	case typeUint8, typeUint16, typeUint32, typeUint64:
		n := g.uint(int(size))
		return n, g.err == nil
	case typeInt8, typeInt16, typeInt32, typeInt64:
		n := g.uint(int(size))
		return n, g.err == nil && n>>(8*size-1) == 0
	default:
		g.values(kind, 1, 0)
		return 0, false
	}
}

// tensor reads the description of one tensor.
func (g *ggufReader) tensor(h *ggufHeader, s *summary) span {
	name := g.text(ggufTensorName, "the name of a tensor")
	n := g.uint32()
	if n > ggufDims {
		g.malformed("tensor %q has %d dimensions, at most %d", name, n, ggufDims)
		return span{}
	}
	dims := make([]uint64, 0, ggufDims)
	for range n {
		dims = append(dims, g.uint(8))
	}
	id, offset := g.uint32(), g.uint(8)
	if g.err != nil {
		return span{}
	}
	kind, ok := ggmlType(id)
	if !ok {
		g.malformed("tensor %q is of unknown type %d", name, id)
		return span{}
	}
	// A row is a whole number of blocks.
	elements, fits := product(dims)
	row := uint64(1)
	if len(dims) > 0 {
		row = dims[0]
	}
	if !fits || row%kind.block != 0 || !s.add(kind.name, elements) {
		g.malformed("tensor %q, %v of %s, has too many elements, or part of a block in a row", name, dims, kind.name)
		return span{}
	}
	blocks := elements / kind.block
	if blocks > g.size/kind.size || offset > g.size || offset%h.alignment != 0 {
		g.malformed("tensor %q is larger than the file, begins behind its end, or is not aligned to %d", name, h.alignment)
		return span{}
	}
	return span{start: offset, end: offset + blocks*kind.size, name: name}
}

// readGGUF reads a file that begins with GGUF's magic.
func readGGUF(r io.ReaderAt, size int64) (*Info, error) {
	g := &ggufReader{
		r:    bufio.NewReaderSize(io.NewSectionReader(r, 0, size), 64<<10),
		size: uint64(size), end: uint64(min(size, limits.ModelHeader)),
	}
	g.skip(uint64(len(ggufMagic)))
	version := g.uint32()
	if g.err == nil && version != 2 && version != 3 {
		if version != 0 && version&0xffff == 0 {
			return nil, fmt.Errorf("%w: GGUF: big-endian", ErrMalformed)
		}
		return nil, fmt.Errorf("%w: GGUF: version %d, want 2 or 3", ErrMalformed, version)
	}
	tensors, pairs := g.uint(8), g.uint(8)
	if pairs > limits.ModelValues || tensors > limits.ModelTensors {
		g.malformed("%d key-value pairs and %d tensors, at most %d and %d", pairs, tensors, limits.ModelValues, limits.ModelTensors)
	}
	h := &ggufHeader{text: map[string]string{}, number: map[string]uint64{}, alignment: ggufAlignment}
	seen := map[string]struct{}{}
	for ; pairs > 0 && g.err == nil; pairs-- {
		g.pair(h, seen)
	}
	var s summary
	spans, err := g.tensors(h, &s, tensors)
	if err != nil {
		return nil, err
	}
	if err := g.place(h, spans); err != nil {
		return nil, err
	}
	return s.info(GGUF, h.facts()...), nil
}

// tensors reads the descriptions of n tensors.
func (g *ggufReader) tensors(h *ggufHeader, s *summary, n uint64) ([]span, error) {
	// The list grows with what was read: each tensor takes 24 bytes at least.
	var spans []span
	names := map[string]struct{}{}
	for ; n > 0 && g.err == nil; n-- {
		t := g.tensor(h, s)
		if g.err != nil {
			break
		}
		if _, twice := names[t.name]; twice {
			g.malformed("two tensors have the name %q", t.name)
			break
		}
		names[t.name] = struct{}{}
		spans = append(spans, t)
	}
	return spans, g.err
}

// place checks where the tensors' data lies: behind the header and padding.
func (g *ggufReader) place(h *ggufHeader, spans []span) error {
	if len(spans) == 0 {
		return nil
	}
	start := (g.at + h.alignment - 1) / h.alignment * h.alignment
	if start > g.size {
		return fmt.Errorf("%w: GGUF: the file ends before the tensors begin", ErrMalformed)
	}
	if err := disjoint(spans, g.size-start); err != nil {
		return fmt.Errorf("GGUF: %w", err)
	}
	return nil
}

// facts returns what the key-value pairs say.
func (h *ggufHeader) facts() []Fact {
	architecture := h.text["general.architecture"]
	facts := []Fact{{factArchitecture, architecture}, {factName, h.text["general.name"]}}
	if n, ok := h.number[architecture+contextKey]; ok {
		facts = append(facts, Fact{factContext, strconv.FormatUint(n, 10)})
	}
	if n, ok := h.number["general.file_type"]; ok {
		facts = append(facts, Fact{factQuantisation, fileType(n)})
	}
	return facts
}
