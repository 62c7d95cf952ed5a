package canon_test

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/cer"
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

// agree wants one judgement of a text from this package and from package cer,
// which reads it another way: both refuse it, or both give one canonical form.
func agree(tb testing.TB, b []byte) {
	tb.Helper()
	want, wantErr := cer.Canonical(b)
	d, err := canon.Parse(b, limits.BundleDepth, false, 2)
	switch {
	case (err == nil) != (wantErr == nil):
		tb.Errorf("%.200q: %v, package cer says %v", b, err, wantErr)
	case err != nil:
		if !errors.Is(err, canon.ErrStrict) || d != nil {
			tb.Errorf("%.200q: %v, document %v", b, err, d)
		}
	case !bytes.Equal(d.Root().Canonical(), want):
		tb.Errorf("%.200q: %.200q, package cer says %.200q", b, d.Root().Canonical(), want)
	case d.Exact() != bytes.Equal(b, want):
		tb.Errorf("%.200q: exact is %v", b, d.Exact())
	}
}

// TestAgrees holds the reader against package cer's on every text, cut and
// changed at random places.
func TestAgrees(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, b := range texts(t) {
		agree(t, b)
		for range 40 {
			m := bytes.Clone(b)
			m[r.IntN(len(m))] ^= 1 << r.IntN(8)
			agree(t, m)
			agree(t, b[:r.IntN(len(b))])
		}
	}
}

// FuzzAgrees is TestAgrees on whatever is found.
func FuzzAgrees(f *testing.F) {
	for _, b := range texts(f) {
		if len(b) < 4096 {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) { agree(t, b) })
}
