package canon_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io/fs"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/cer/internal/canon"
	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/testdata"
)

// texts returns every JSON text of the vectors, and some small ones.
func texts(tb testing.TB) [][]byte {
	tb.Helper()
	out := [][]byte{
		[]byte(`{}`), []byte(`[1,2.50,-0,1e3,1e400,9007199254740993,"\u00e9\ud83d\ude00","\ud800"]`),
		[]byte(`{"b":1,"a":{"é":[],"` + "\U0001F600" + `":null,"\ue000":true}}`), []byte(" [ 1 , 2 ] "), []byte(`{"a":1,"\u0061":2}`),
		[]byte(`[{"b":0,"a":1},]`), []byte(`[0,{"b":0,"a":1},1,2,[{"d":0,"c":[{"b":0,"a":1}]}],{}]`), []byte(`[,]`), []byte(`[[],]`),
	}
	err := fs.WalkDir(testdata.Vectors, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".json") {
			return err
		}
		b, err := fs.ReadFile(testdata.Vectors, name)
		out = append(out, b)
		return err
	})
	if err != nil || len(out) < 50 {
		tb.Fatalf("%d texts, %v", len(out), err)
	}
	return out
}

// check holds a text's reading against itself: whatever is kept of it, and in
// whatever way its canonical form is had, it is one form, which is read again
// as exact. Package cer's tests hold it against another reader.
func check(tb testing.TB, b []byte) {
	tb.Helper()
	d, err := canon.Parse(b, limits.BundleDepth, false, 0)
	exact, exactErr := canon.IsExact(b, limits.BundleDepth, false)
	if (exactErr == nil) != (err == nil) || (err == nil && exact != d.Exact()) {
		tb.Errorf("%.200q: %v, without a result %v, %v", b, err, exact, exactErr)
	}
	if err != nil {
		if !errors.Is(err, canon.ErrStrict) || d != nil {
			tb.Errorf("%.200q: %v, document %v", b, err, d)
		}
		if canon.Check(b, limits.BundleDepth, true) == nil {
			tb.Errorf("%.200q: refused, but not if numbers have to be small", b)
		}
		return
	}
	want := d.Root().Canonical()
	if again, err := canon.Parse(want, limits.BundleDepth, false, 0); err != nil || !again.Exact() {
		tb.Errorf("%.200q has the form %.200q, which is not exact: %v", b, want, err)
	}
	if d.Exact() != bytes.Equal(b, want) {
		tb.Errorf("%.200q: exact is %v", b, d.Exact())
	}
	for keep := 1; keep <= 3; keep++ {
		kept, err := canon.Parse(b, limits.BundleDepth, false, keep)
		if err != nil {
			tb.Errorf("%.200q: with %d levels kept: %v", b, keep, err)
			continue
		}
		var w canon.Writer
		w.Init()
		w.Value(kept.Root())
		if w.Sum() != sha256.Sum256(want) || !bytes.Equal(rebuilt(tb, kept.Root(), keep), want) {
			tb.Errorf("%.200q: with %d levels kept, another form", b, keep)
		}
	}
}

// rebuilt writes a value of which levels of objects are kept from its members
// and elements.
func rebuilt(tb testing.TB, v canon.Value, levels int) []byte {
	tb.Helper()
	var parts [][]byte
	brackets := "{}"
	switch {
	case v.Kind() == '"':
		out, ok := canon.AppendQuoted(nil, v.String())
		if !ok || !v.Is(v.String()) || v.IsEmpty() != (v.String() == "") {
			tb.Errorf("%q stands for %q", v.Raw(), v.String())
		}
		return out
	case v.Kind() == '{' && levels > 0:
		for i := range v.Len() {
			name, value := v.Member(i)
			if i > 0 && canon.CompareNames(string(v.MemberName(i-1)), name) >= 0 {
				tb.Errorf("%q stands before %q", v.MemberName(i-1), name)
			}
			if got := v.Get(name); !bytes.Equal(got.Raw(), value.Raw()) {
				tb.Errorf("member %q is %q by place, %q by name", name, value.Raw(), got.Raw())
			}
			part := v.AppendMember(nil, i)
			quoted, _ := canon.AppendQuoted(nil, name)
			if !bytes.Equal(part, append(append(quoted, ':'), rebuilt(tb, value, levels-1)...)) {
				tb.Errorf("member %q is written as %q", name, part)
			}
			parts = append(parts, part)
		}
	case v.Kind() == '[':
		brackets = "[]"
		elements := v.Elements(1<<20, 0)
		if v.HasElements() != (len(elements) > 0) {
			tb.Errorf("%q has %d elements", v.Raw(), len(elements))
		}
		for _, e := range elements {
			parts = append(parts, e.Canonical())
		}
	default:
		return v.Canonical()
	}
	return append(append([]byte(brackets[:1]), bytes.Join(parts, []byte{','})...), brackets[1])
}

// TestParse reads every text, cut and changed at random places.
func TestParse(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, b := range texts(t) {
		check(t, b)
		for range 40 {
			m := bytes.Clone(b)
			m[r.IntN(len(m))] ^= 1 << r.IntN(8)
			check(t, m)
			check(t, b[:r.IntN(len(b))])
		}
	}
}

// FuzzParse is TestParse on whatever is found.
func FuzzParse(f *testing.F) {
	seeds := 0
	for _, b := range texts(f) {
		if len(b) < 4096 {
			f.Add(b)
			seeds++
		}
	}
	if seeds == 0 {
		f.Fatal("empty seed corpus")
	}
	f.Fuzz(func(t *testing.T, b []byte) { check(t, b) })
}
