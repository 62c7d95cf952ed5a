package hcl

import (
	"bytes"
	"errors"
	"testing"

	"github.com/sworn-run/sworn/attest"
)

func FuzzParse(f *testing.F) {
	for _, typ := range []Type{SNP, TDX} {
		b := sample(f, typ)
		if _, err := Parse(b); err != nil {
			f.Fatalf("no seed: %v", err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Parse(b)
		if err != nil {
			if r != nil || !errors.Is(err, attest.ErrForm) {
				t.Fatalf("%v, %v", r, err)
			}
			return
		}
		again, err := r.Marshal()
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("does not marshal back to itself: %v", err)
		}
		if len(r.ReportData()) != 64 || len(r.AK.Modulus) < 256 || r.AK.Exponent < 3 || !r.AK.Equal(r.AK.Public()) {
			t.Fatalf("report data %x, AK %+v", r.ReportData(), r.AK)
		}
	})
}

func FuzzMatchQuote(f *testing.F) {
	r := tdreport(make([]byte, 64))
	seeds := 0
	for _, kind := range [][2]uint16{{4, 0}, {5, 2}, {5, 3}} {
		q := quote(r, kind[0], kind[1])
		if err := MatchQuote(r, q); err != nil {
			f.Fatalf("no seed: %v", err)
		}
		f.Add(r, q)
		seeds++
	}
	if seeds == 0 {
		f.Fatal("no seeds")
	}
	f.Fuzz(func(t *testing.T, r, q []byte) {
		err := MatchQuote(r, q)
		if err != nil {
			if !errors.Is(err, attest.ErrForm) && !errors.Is(err, attest.ErrSignature) {
				t.Fatal(err)
			}
			return
		}
		if body, err := QuoteBody(r); err != nil || len(body) != body15 || !bytes.Contains(body, r[offReportData:offReportData+64]) {
			t.Fatalf("body %x: %v", body, err)
		}
		// A match is one of these bytes: the quote's report data is the TDREPORT's.
		if !bytes.Contains(q, r[offReportData:offReportData+64]) {
			t.Fatal("matched another report data")
		}
	})
}
