package modelfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sworn-run/sworn/internal/limits"
)

// file is a GGUF file that a test puts together, right or wrong.
type file struct {
	version        uint32
	pairs, tensors []byte
	nPairs         uint64
	nTensors       uint64
	align, data    int
}

var le = binary.LittleEndian

func str(b []byte, s string) []byte { return append(le.AppendUint64(b, uint64(len(s))), s...) }

// value appends a value of its Go type's type.
func value(b []byte, v any) []byte {
	switch v := v.(type) {
	case string:
		return str(b, v)
	default:
		b, err := binary.Append(b, le, v)
		if err != nil {
			panic(err) // a mistake in the test
		}
		return b
	}
}

// raw adds a pair whose value is given in bytes.
func (f *file) raw(key string, kind uint32, v []byte) *file {
	f.pairs = append(le.AppendUint32(str(f.pairs, key), kind), v...)
	f.nPairs++
	return f
}

func (f *file) pair(key string, kind uint32, v any) *file { return f.raw(key, kind, value(nil, v)) }

func (f *file) array(key string, kind uint32, values ...any) *file {
	b := le.AppendUint64(le.AppendUint32(nil, kind), uint64(len(values)))
	for _, v := range values {
		b = value(b, v)
	}
	return f.raw(key, typeArray, b)
}

func (f *file) tensor(name string, kind uint32, offset uint64, dims ...uint64) *file {
	f.tensors = le.AppendUint32(str(f.tensors, name), uint32(len(dims)))
	for _, d := range dims {
		f.tensors = le.AppendUint64(f.tensors, d)
	}
	f.tensors = le.AppendUint64(le.AppendUint32(f.tensors, kind), offset)
	f.nTensors++
	return f
}

func (f *file) header() []byte {
	b := le.AppendUint32([]byte("GGUF"), f.version)
	b = le.AppendUint64(le.AppendUint64(b, f.nTensors), f.nPairs)
	return append(append(b, f.pairs...), f.tensors...)
}

func (f *file) bytes() []byte {
	b := f.header()
	for len(b)%f.align != 0 {
		b = append(b, 0)
	}
	return append(b, make([]byte, f.data)...)
}

// blank has no tensors and says nothing.
func blank() *file { return &file{version: 3, align: 32} }

// newGGUF is a small model with everything in it.
func newGGUF() *file {
	f := blank().
		pair("general.architecture", typeString, "llama").
		pair("general.name", typeString, "a model\x1b[0m").
		pair("general.file_type", typeUint32, uint32(15)).
		pair("llama.context_length", typeUint32, uint32(4096)).
		pair("other.context_length", typeInt64, int64(-1)).
		pair("b", typeBool, true).
		pair("f", typeFloat64, math.Pi).
		array("tokens", typeString, "a", "bc", "").
		array("scores", typeFloat32, float32(1), float32(2)).
		array("flags", typeBool, false, true).
		raw("nested", typeArray, append(le.AppendUint64(le.AppendUint32(nil, typeArray), 1),
			le.AppendUint64(le.AppendUint32(nil, typeUint8), 0)...)).
		tensor("w", 12, 0, 256, 2).
		tensor("n", 0, 288, 3).
		tensor("x", 0, 320)
	f.data = 324
	return f
}

func TestGGUF(t *testing.T) {
	got, err := readBytes(t, newGGUF().bytes())
	if err != nil {
		t.Fatal(err)
	}
	sound(t, got)
	want := &Info{GGUF, []Fact{
		{factArchitecture, "llama"},
		{factContext, "4096"},
		{factName, "a model [0m"},
		{factParameters, "516"},
		{factQuantisation, "Q4_K_M"},
		{factTypes, "F32 2, Q4_K 1"},
		{factTensors, "3"},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	nothing := &Info{GGUF, []Fact{{factParameters, "0"}, {factTensors, "0"}}}
	for name, f := range map[string]*file{
		"empty":       blank(),
		"version 2":   {version: 2, align: 1},
		"bool is odd": blank().pair("x.context_length", typeBool, true).pair("general.file_type", typeString, "x"),
		"array":       blank().array("x.context_length", typeUint8, uint8(1)),
	} {
		got, err := readBytes(t, f.bytes())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(nothing, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// The tensors' data is not read, and neither is the vocabulary kept.
func TestReadsNoData(t *testing.T) {
	f := newGGUF()
	f.data += 1 << 20
	r := &inside{tb: t, b: f.bytes()}
	if _, err := Read(r, int64(len(r.b))); err != nil {
		t.Fatal(err)
	}
	if most := int64(len(f.header()) + 64<<10); r.most > most {
		t.Errorf("read up to byte %d, the header ends at %d", r.most, len(f.header()))
	}
}

func TestFileTypes(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "F32", 1: "F16", 7: "Q8_0", 15: "Q4_K_M", 1024 + 15: "Q4_K_M", 32: "BF16", 39: "NVFP4",
		5: "5", 1024 + 5: "1029", 99: "99", math.MaxUint64: "18446744073709551615",
	} {
		if got := fileType(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

// Every type: a tensor of one block fits exactly.
func TestTypes(t *testing.T) {
	known := 0
	for id := range uint32(50) {
		kind, ok := ggmlType(id)
		if !ok {
			continue
		}
		known++
		f := blank().tensor("t", id, 0, kind.block)
		f.data = int(kind.size)
		info, err := readBytes(t, f.bytes())
		if err != nil {
			t.Errorf("%s: %v", kind.name, err)
			continue
		}
		want := &Info{GGUF, []Fact{{factParameters, fmt.Sprint(kind.block)}, {factTypes, kind.name + " 1"}, {factTensors, "1"}}}
		if diff := cmp.Diff(want, info); diff != "" {
			t.Error(diff)
		}
		f.data--
		if info, err := readBytes(t, f.bytes()); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s with a byte less: %+v, %v", kind.name, info, err)
		}
	}
	if known != 35 {
		t.Errorf("%d types", known)
	}
}

func TestAlignment(t *testing.T) {
	for align, want := range map[uint32]error{0: ErrMalformed, 1: nil, 8: nil, 24: ErrMalformed, 64: nil, 4096: nil, 1 << 31: ErrMalformed} {
		f := blank().pair("general.alignment", typeUint32, align).tensor("a", 24, 0, 1).tensor("b", 24, uint64(max(align, 1)), 1)
		if align > 0 && align < 1<<20 {
			f.align, f.data = int(align), int(align)+1
		}
		if _, err := readBytes(t, f.bytes()); !errors.Is(err, want) {
			t.Errorf("%d: %v", align, err)
		}
	}
}

func TestGGUFMalformed(t *testing.T) {
	two := func(offset uint64) *file {
		f := blank().tensor("a", 0, 0, 8).tensor("b", 0, offset, 8)
		f.data = 64
		return f
	}
	if _, err := readBytes(t, two(32).bytes()); err != nil {
		t.Fatal(err)
	}
	if _, err := readBytes(t, blank().tensor("a", 0, 0, 0, 1<<63).bytes()); err != nil {
		t.Errorf("a tensor of nothing: %v", err)
	}
	deep := le.AppendUint64(le.AppendUint32(nil, typeUint8), 0)
	for range 4 {
		deep = append(le.AppendUint64(le.AppendUint32(nil, typeArray), 1), deep...)
	}
	many := blank()
	many.nPairs = limits.ModelValues + 1
	manyTensors := blank()
	manyTensors.nTensors = limits.ModelTensors + 1
	missing := blank()
	missing.nPairs = 1
	missingTensor := blank()
	missingTensor.nTensors = 1
	for name, f := range map[string]*file{
		"version 0":              {version: 0, align: 32},
		"version 1":              {version: 1, align: 32},
		"version 4":              {version: 4, align: 32},
		"big-endian":             {version: 3 << 24, align: 32},
		"many pairs":             many,
		"many tensors":           manyTensors,
		"a pair missing":         missing,
		"a tensor missing":       missingTensor,
		"a key twice":            blank().pair("a", typeBool, true).pair("a", typeUint8, uint8(1)),
		"no key":                 blank().pair("", typeBool, true),
		"a long key":             blank().pair(strings.Repeat("k", 65536), typeBool, true),
		"a key not UTF-8":        blank().pair("\xff", typeBool, true),
		"unknown type":           blank().raw("a", 13, make([]byte, 64)),
		"boolean 2":              blank().pair("a", typeBool, uint8(2)),
		"booleans 2":             blank().array("a", typeBool, uint8(1), uint8(2)),
		"architecture no string": blank().pair("general.architecture", typeUint32, uint32(1)),
		"name not UTF-8":         blank().pair("general.name", typeString, "\xff"),
		"a long name":            blank().pair("general.name", typeString, strings.Repeat("n", limits.ModelString+1)),
		"a long string":          blank().pair("a", typeString, strings.Repeat("n", limits.ModelString+1)),
		"a string over the end":  blank().raw("a", typeString, le.AppendUint64(nil, 1000)),
		"a string of 2^64-1":     blank().raw("a", typeString, le.AppendUint64(nil, math.MaxUint64)),
		"alignment uint64":       blank().pair("general.alignment", typeUint64, uint64(32)),
		"an array over the end":  blank().raw("a", typeArray, le.AppendUint64(le.AppendUint32(nil, typeUint64), 1000)),
		"an array that wraps":    blank().raw("a", typeArray, le.AppendUint64(le.AppendUint32(nil, typeUint64), 1<<61)),
		"strings of 2^64-1":      blank().raw("a", typeArray, le.AppendUint64(le.AppendUint32(nil, typeString), math.MaxUint64)),
		"booleans of 2^64-1":     blank().raw("a", typeArray, le.AppendUint64(le.AppendUint32(nil, typeBool), math.MaxUint64)),
		"an array of no type":    blank().array("a", 99),
		"deep arrays":            blank().raw("a", typeArray, deep),
		"five dimensions":        blank().tensor("a", 0, 0, 1, 1, 1, 1, 1),
		"an unknown type":        blank().tensor("a", 4, 0, 0),
		"a type beyond":          blank().tensor("a", math.MaxUint32, 0, 0),
		"part of a block":        blank().tensor("a", 2, 0, 16, 2),
		"elements that wrap":     blank().tensor("a", 0, 0, 1<<32, 1<<32),
		"bytes that wrap":        blank().tensor("a", 28, 0, 1<<62),
		"a tensor over the end":  blank().tensor("a", 0, 0, 9),
		"an offset beyond":       blank().tensor("a", 0, 1<<40, 1),
		"an offset of 2^64-32":   blank().tensor("a", 0, math.MaxUint64-31, 1),
		"a long tensor name":     blank().tensor(strings.Repeat("n", 65), 0, 0, 0),
		"not aligned":            two(33),
		"an overlap":             two(0),
		"a tensor twice":         blank().tensor("a", 0, 0, 0).tensor("a", 0, 0, 0),
	} {
		if info, err := readBytes(t, f.bytes()); info != nil || !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, info, err)
		}
	}
}

// Cut off anywhere, the file is refused.
func TestGGUFCutOff(t *testing.T) {
	whole := newGGUF().bytes()
	for n := range len(whole) {
		want := ErrMalformed
		if n < 9 {
			want = ErrUnknown
		}
		if info, err := readBytes(t, whole[:n]); info != nil || !errors.Is(err, want) {
			t.Errorf("%d bytes: %+v, %v", n, info, err)
		}
	}
}

// zeros is a large file that begins with some bytes.
type zeros struct{ head []byte }

func (z zeros) ReadAt(p []byte, at int64) (int, error) {
	clear(p)
	if at < int64(len(z.head)) {
		copy(p, z.head[at:])
	}
	return len(p), nil
}

// The header is bounded whatever the file's size: strings without an end cost no
// more than that.
func TestGGUFHeaderBound(t *testing.T) {
	f := blank().raw("a", typeArray, le.AppendUint64(le.AppendUint32(nil, typeUint8), limits.ModelHeader))
	if info, err := Read(zeros{f.header()}, 1<<40); info != nil || !errors.Is(err, ErrMalformed) {
		t.Errorf("%+v, %v", info, err)
	}
	f = blank().raw("a", typeArray, le.AppendUint64(le.AppendUint32(nil, typeUint8), 1<<20)).tensor("t", 0, 1<<39, 1<<37)
	f.pairs = append(f.pairs, make([]byte, 1<<20)...)
	if info, err := Read(zeros{f.header()}, 1<<41); err != nil || info.Facts[0].Value != "137438953472" {
		t.Errorf("%+v, %v", info, err)
	}
}

func FuzzGGUF(f *testing.F) {
	f.Add(newGGUF().bytes())
	f.Add(blank().bytes())
	f.Add(blank().pair("general.alignment", typeUint32, uint32(8)).tensor("a", 24, 8, 1).tensor("b", 24, 0, 1).bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		info, err := readBytes(t, b)
		if len(b) >= 9 && bytes.HasPrefix(b, []byte(ggufMagic)) && err != nil && !errors.Is(err, ErrMalformed) {
			t.Fatalf("of GGUF's magic, and %v", err)
		}
		if err != nil {
			return
		}
		sound(t, info)
		if info.Format != GGUF {
			return
		}
		more, err := readBytes(t, append(bytes.Clone(b), 0))
		if err != nil || fmt.Sprint(more) != fmt.Sprint(info) {
			t.Fatalf("a byte after the end changes the result: %+v, %v", more, err)
		}
	})
}
