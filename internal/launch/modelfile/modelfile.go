// Package modelfile reads the headers of model files, GGUF and safetensors, to
// tell what kind of model a file holds: its architecture, its parameters, how
// they are quantised.
//
// What it finds are the words of whoever made the file, checked for consistency
// with the file's size and with each other, and for nothing else. They describe;
// the file's digest identifies.
//
// All input is taken for hostile: every count and length is bounded before
// anything is allocated, every offset must lie within the file, and no tensor may
// overlap another.
package modelfile

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Every error of this package wraps exactly one of these.
var (
	// ErrUnknown: the file does not look like one of a known format.
	ErrUnknown = errors.New("unknown model file format")

	// ErrMalformed: the file begins as one of a known format, and is not of it:
	// cut off, contradicting itself, of a version that is not known, or beyond a
	// bound.
	ErrMalformed = errors.New("malformed model file")

	// ErrRead: the file cannot be read.
	ErrRead = errors.New("unreadable model file")
)

// The formats.
const (
	// GGUF is the format of ggml and llama.cpp, version 2 or 3, little-endian.
	GGUF = "gguf"
	// Safetensors is Hugging Face's format.
	Safetensors = "safetensors"
)

// maxValue is the longest value of a fact, in bytes.
const maxValue = 256

// The names of the facts.
const (
	factArchitecture = "architecture"
	factContext      = "context-length"
	factName         = "name"
	factParameters   = "parameters"
	factQuantisation = "quantisation"
	factTensors      = "tensors"
	factTypes        = "tensor-types"
)

// Fact is one thing that a header says.
type Fact struct {
	// Name is one of architecture, context-length, name, parameters,
	// quantisation, tensor-types and tensors.
	Name string
	// Value is printable UTF-8, 1 to 256 bytes. Numbers are decimal. Tensor types
	// are "TYPE COUNT", the most frequent first, separated by ", ".
	Value string
}

// Info is what a header says.
type Info struct {
	// Format is [GGUF] or [Safetensors].
	Format string
	// Facts are in ascending order of their names, each name at most once.
	// Parameters, tensors and, if there is a tensor, tensor-types are always
	// among them; the others if the header has them.
	Facts []Fact
}

// Read reads the header of a model file of the given size in bytes. It tells the
// format by what the file begins with: for GGUF its magic, for safetensors eight
// bytes of length and an opening brace. Nothing of the tensors' data is read. The
// error wraps [ErrUnknown], [ErrMalformed] or [ErrRead]; then the Info is nil.
func Read(r io.ReaderAt, size int64) (*Info, error) {
	var head [9]byte
	if size < int64(len(head)) {
		return nil, fmt.Errorf("%w: %d bytes", ErrUnknown, size)
	}
	if err := readAt(r, head[:], 0); err != nil {
		return nil, err
	}
	switch {
	case string(head[:4]) == ggufMagic:
		return readGGUF(r, size)
	case head[8] == '{' && looksLikeLength(head[:8], size):
		return readSafetensors(r, size)
	default:
		return nil, fmt.Errorf("%w: it begins with % x", ErrUnknown, head[:8])
	}
}

// looksLikeLength reports whether the first eight bytes of a file can be meant as
// the length of a header: so that a file of JSON, or of text, is not taken for a
// safetensors file that lies.
func looksLikeLength(b []byte, size int64) bool {
	const most = 100_000_000 // bytes: the longest header that the format allows
	n := binary.LittleEndian.Uint64(b)
	return n <= most || n <= uint64(size)
}

// readAt fills b. A file that ends too early has changed its size, or has none.
func readAt(r io.ReaderAt, b []byte, at int64) error {
	n, err := r.ReadAt(b, at)
	if n == len(b) {
		return nil
	}
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%w: %d bytes at %d: %w", ErrRead, len(b), at, err)
}

// summary collects what there is to say about the tensors.
type summary struct {
	parameters uint64
	tensors    int
	types      map[string]int
}

// add counts a tensor of n elements. It reports false if there are more elements
// than can be counted.
func (s *summary) add(kind string, n uint64) bool {
	if s.types == nil {
		s.types = map[string]int{}
	}
	s.types[kind]++
	s.tensors++
	s.parameters += n
	return s.parameters >= n
}

// info returns the facts, the given ones included; those without a printable
// value are left out.
func (s *summary) info(format string, facts ...Fact) *Info {
	facts = append(
		facts,
		Fact{factParameters, strconv.FormatUint(s.parameters, 10)},
		Fact{factTensors, strconv.Itoa(s.tensors)},
		Fact{factTypes, s.kinds()},
	)
	info := &Info{Format: format}
	for _, f := range facts {
		if f.Value = printable(f.Value); f.Value != "" {
			info.Facts = append(info.Facts, f)
		}
	}
	slices.SortFunc(info.Facts, func(a, b Fact) int { return strings.Compare(a.Name, b.Name) })
	return info
}

// kinds lists the types of the tensors, the most frequent first.
func (s *summary) kinds() string {
	names := make([]string, 0, len(s.types))
	for name := range s.types {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(s.types[b], s.types[a]), strings.Compare(a, b))
	})
	for i, name := range names {
		names[i] += " " + strconv.Itoa(s.types[name])
	}
	return strings.Join(names, ", ")
}

// printable returns s with every run of what is not printable replaced by one
// space, without space at its ends, and cut off at 256 bytes.
func printable(s string) string {
	var b strings.Builder
	gap := false
	for _, r := range s {
		if r == utf8.RuneError || r == ' ' || !unicode.IsPrint(r) {
			gap = b.Len() > 0
			continue
		}
		need := utf8.RuneLen(r)
		if gap {
			need++
		}
		if b.Len()+need > maxValue {
			break
		}
		if gap {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
		gap = false
	}
	return b.String()
}

// product multiplies dimensions, and reports whether the result fits.
func product(dims []uint64) (n uint64, ok bool) {
	n, ok = 1, true
	for _, d := range dims {
		if d == 0 {
			return 0, true
		}
		if n > (1<<63-1)/d {
			ok = false
		} else {
			n *= d
		}
	}
	return n, ok
}

// span is where a tensor's data lies, from the start of all of it.
type span struct {
	start, end uint64
	name       string
}

// disjoint returns an error unless spans, which it sorts, do not overlap and end
// within size.
func disjoint(spans []span, size uint64) error {
	slices.SortFunc(spans, func(a, b span) int {
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.end, b.end))
	})
	before := span{}
	for _, s := range spans {
		switch {
		case s.end > size:
			return fmt.Errorf("%w: tensor %.80q ends %d bytes behind the file's end", ErrMalformed, s.name, s.end-size)
		case s.start < before.end:
			return fmt.Errorf("%w: tensor %.80q overlaps %.80q", ErrMalformed, s.name, before.name)
		}
		before = s
	}
	return nil
}
