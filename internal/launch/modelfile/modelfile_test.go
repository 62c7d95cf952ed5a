package modelfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// inside is a file that tells when something outside of it is read.
type inside struct {
	tb   testing.TB
	b    []byte
	most int64 // where the last byte read ends
}

func (r *inside) ReadAt(p []byte, at int64) (int, error) {
	if at < 0 || at > int64(len(r.b)) {
		r.tb.Errorf("read at %d of %d", at, len(r.b))
	}
	n, err := bytes.NewReader(r.b).ReadAt(p, at)
	r.most = max(r.most, at+int64(n))
	return n, err
}

func readBytes(tb testing.TB, b []byte) (*Info, error) {
	tb.Helper()
	info, err := Read(&inside{tb: tb, b: b}, int64(len(b)))
	if (info == nil) != (err != nil) {
		tb.Fatalf("%+v beside %v", info, err)
	}
	if err != nil {
		n := 0
		for _, class := range []error{ErrUnknown, ErrMalformed, ErrRead} {
			if errors.Is(err, class) {
				n++
			}
		}
		if n != 1 {
			tb.Fatalf("%v is of %d classes", err, n)
		}
	}
	return info, err
}

// sound checks what holds for every Info.
func sound(tb testing.TB, info *Info) {
	tb.Helper()
	if info.Format != GGUF && info.Format != Safetensors {
		tb.Errorf("format %q", info.Format)
	}
	known := []string{factArchitecture, factContext, factName, factParameters, factQuantisation, factTypes, factTensors}
	value := map[string]string{}
	for i, f := range info.Facts {
		if i > 0 && info.Facts[i-1].Name >= f.Name || !slices.Contains(known, f.Name) {
			tb.Errorf("fact %q is unknown, or out of order", f.Name)
		}
		if f.Value == "" || len(f.Value) > 256 || !utf8.ValidString(f.Value) || strings.ContainsFunc(f.Value, func(r rune) bool { return !unicode.IsPrint(r) }) {
			tb.Errorf("%s: %q", f.Name, f.Value)
		}
		value[f.Name] = f.Value
	}
	for _, name := range []string{factParameters, factTensors} {
		if n, err := strconv.ParseUint(value[name], 10, 64); err != nil || n > 1<<63 && name == factTensors {
			tb.Errorf("%s is %q", name, value[name])
		}
	}
	if (value[factTensors] == "0") != (value[factTypes] == "") {
		tb.Errorf("%s tensors of types %q", value[factTensors], value[factTypes])
	}
}

// The real model is not part of the project; what it holds is known.
func TestRealModel(t *testing.T) {
	dir := os.Getenv("SWORN_SHARED")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "shared")
	}
	name := filepath.Join(dir, "models", "stories260K.gguf")
	f, err := os.Open(name)
	if err != nil {
		t.Skipf("the model stories260K is absent: %v", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Read(f, st.Size())
	if err != nil {
		t.Fatal(err)
	}
	want := &Info{Format: GGUF, Facts: []Fact{
		{factArchitecture, "llama"},
		{factContext, "512"},
		{factName, "stories260K"},
		{factParameters, "292800"},
		{factQuantisation, "F32"},
		{factTypes, "F32 48"},
		{factTensors, "48"},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestUnknown(t *testing.T) {
	for name, b := range map[string][]byte{
		"nothing":        nil,
		"short":          []byte("GGUF\x03\x00\x00\x00"),
		"text":           []byte("#!/bin/sh\nexit 0\n"),
		"JSON":           []byte(`{"a": {"b": [1, 2, 3]}}`),
		"text and brace": []byte("function{ return 1 }"),
		"another magic":  []byte("ggml\x03\x00\x00\x00\x00\x00\x00\x00"),
		"zip":            []byte("PK\x03\x04\x00\x00\x00\x00\x00\x00\x00\x00"),
	} {
		if info, err := readBytes(t, b); info != nil || !errors.Is(err, ErrUnknown) {
			t.Errorf("%s: %+v, %v", name, info, err)
		}
	}
	if _, err := Read(bytes.NewReader(nil), -1); !errors.Is(err, ErrUnknown) {
		t.Errorf("negative size: %v", err)
	}
}

// A file that is shorter than it was said to be.
func TestUnreadable(t *testing.T) {
	for _, whole := range [][]byte{newGGUF().bytes(), safetensors(`{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}`, 4)} {
		info, err := Read(bytes.NewReader(whole[:5]), int64(len(whole)))
		if info != nil || !errors.Is(err, ErrRead) || !errors.Is(err, io.EOF) {
			t.Errorf("%+v, %v", info, err)
		}
		info, err = Read(bytes.NewReader(whole[:20]), int64(len(whole)))
		if info != nil || !errors.Is(err, ErrRead) {
			t.Errorf("%+v, %v", info, err)
		}
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"":                              "",
		"  Llama 3\t8B\r\n":             "Llama 3 8B",
		"a\x1b[31mb":                    "a [31mb",
		"a\u202eb":                      "a b",
		"\x00\xff":                      "",
		"Größe 大":                       "Größe 大",
		strings.Repeat("é", 200):        strings.Repeat("é", 128),
		strings.Repeat("x", 255) + "é":  strings.Repeat("x", 255),
		strings.Repeat("x", 256) + " ":  strings.Repeat("x", 256),
		strings.Repeat("x", 255) + " y": strings.Repeat("x", 255),
	} {
		if got := printable(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// safetensors is a file with this header and so many bytes behind it.
func safetensors(header string, data int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, data)...)
}

func TestSafetensors(t *testing.T) {
	for header, tc := range map[string]struct {
		data int
		want []Fact
	}{
		`{}`:     {0, []Fact{{factParameters, "0"}, {factTensors, "0"}}},
		`{}    `: {0, []Fact{{factParameters, "0"}, {factTensors, "0"}}},
		`{"__metadata__":{"format":"pt","modelspec.title":"My \u001b model","modelspec.architecture":"gpt"},` +
			`"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[16,28]},"a":{"data_offsets":[0,16],"dtype":"F32","shape":[4]},` +
			`"c":{"dtype":"BF16","shape":[],"data_offsets":[28,30]}}`: {30, []Fact{
			{factArchitecture, "gpt"}, {factName, "My model"}, {factParameters, "11"}, {factTypes, "BF16 2, F32 1"}, {factTensors, "3"},
		}},
		`{"a":{"dtype":"F4","shape":[2,3],"data_offsets":[0,3]},"z":{"dtype":"I64","shape":[0,9007199254740991],"data_offsets":[3,3]}}`: {3, []Fact{
			{factParameters, "6"}, {factTypes, "F4 1, I64 1"}, {factTensors, "2"},
		}},
	} {
		got, err := readBytes(t, safetensors(header, tc.data))
		if err != nil {
			t.Errorf("%s: %v", header, err)
			continue
		}
		sound(t, got)
		if diff := cmp.Diff(&Info{Safetensors, tc.want}, got); diff != "" {
			t.Errorf("%s: %s", header, diff)
		}
	}
}

func TestSafetensorsMalformed(t *testing.T) {
	good := `{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`
	if _, err := readBytes(t, safetensors(good, 8)); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, old, text string
		data            int
	}{
		{"a byte more", "", "", 9},
		{"a byte less", "", "", 7},
		{"no data", "", "", 0},
		{"a hole", "[4,8]", "[5,9]", 9},
		{"a hole at the start", "[0,4]", "[1,5]", 9},
		{"an overlap", "[4,8]", "[3,7]", 8},
		{"a size that is not the shape's", `"shape":[1]`, `"shape":[2]`, 8},
		{"turned around", "[4,8]", "[8,4]", 8},
		{"three offsets", "[4,8]", "[4,8,8]", 8},
		{"negative", "[0,4]", "[-1,3]", 8},
		{"no integer", "[0,4]", "[0,4.5]", 8},
		{"unknown dtype", `"U8"`, `"U9"`, 8},
		{"no dtype", `"dtype":"U8",`, ``, 8},
		{"no shape", `"shape":[4],`, ``, 8},
		{"null", `"shape":[4]`, `"shape":null`, 8},
		{"more members", `"dtype":"U8"`, `"dtype":"U8","x":1`, 8},
		{"other case", `"dtype":"U8"`, `"DType":"U8"`, 8},
		{"twice", `"b":`, `"a":`, 8},
		{"twice, escaped", `"b":`, `"\u0061":`, 8},
		{"too many elements", `"shape":[4]`, `"shape":[9007199254740991,9007199254740991]`, 8},
		{"too many bits", `"U8","shape":[4]`, `"F64","shape":[9007199254740991,1023]`, 8},
		{"half a byte", `"U8","shape":[4]`, `"F4","shape":[7]`, 8},
		{"many dimensions", `"shape":[4]`, `"shape":[4` + strings.Repeat(",1", 64) + `]`, 8},
		{"metadata of numbers", `{"a"`, `{"__metadata__":{"x":1},"a"`, 8},
		{"metadata null", `{"a"`, `{"__metadata__":null,"a"`, 8},
		{"cut off", `}}`, `}`, 8},
		{"more behind", `}}`, `}}{}`, 8},
		{"not UTF-8", `"b"`, "\"\xff\"", 8},
	} {
		header := strings.Replace(good, tc.old, tc.text, 1)
		if info, err := readBytes(t, safetensors(header, tc.data)); info != nil || !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v", tc.name, info, err)
		}
	}
	for name, n := range map[string]uint64{"no header": 0, "behind the end": 500, "too long": 32<<20 + 1} {
		b := safetensors(good, 8)
		binary.LittleEndian.PutUint64(b, n)
		if n > 1000 {
			b = append(b, make([]byte, n)...)
		}
		if info, err := readBytes(t, b); info != nil || !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, info, err)
		}
	}
}

func FuzzSafetensors(f *testing.F) {
	f.Add([]byte(`{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}`), uint16(4))
	f.Add([]byte(`{"__metadata__":{"modelspec.title":"t"},"a":{"dtype":"F4","shape":[2,2],"data_offsets":[0,2]}}  `), uint16(2))
	f.Fuzz(func(t *testing.T, header []byte, data uint16) {
		b := safetensors(string(header), int(data))
		info, err := readBytes(t, b)
		if err != nil {
			return
		}
		sound(t, info)
		if info.Format != Safetensors {
			t.Fatalf("format %s", info.Format)
		}
		if info, err := readBytes(t, append(bytes.Clone(b), 0)); info != nil || !errors.Is(err, ErrMalformed) {
			t.Fatalf("a byte more: %+v, %v", info, err)
		}
		padded, err := readBytes(t, safetensors(string(header)+" \n", int(data)))
		if err != nil || fmt.Sprint(padded) != fmt.Sprint(info) {
			t.Fatalf("padding changes the result: %+v, %v", padded, err)
		}
	})
}
