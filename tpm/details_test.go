package tpm

import (
	"crypto/elliptic"
	"errors"
	"slices"
	"testing"

	"github.com/sworn-run/sworn/attest"
)

// A quote by itself has the fields that the evidence of it begins with.
func TestQuoteDetails(t *testing.T) {
	ev := capture(t, "run-llm", attest.SHA256)
	claims, err := Scheme{}.Verify(ev, nil, testTime)
	if err != nil {
		t.Fatal(err)
	}
	raw := ev.Parts[0].Data
	got, err := QuoteDetails(raw)
	if err != nil || len(got) != 10 || !slices.Equal(got, claims.Details[:len(got)]) {
		t.Errorf("got %v, %v\nwant %v", got, err, claims.Details)
	}
	for n := range raw {
		if got, err := QuoteDetails(raw[:n]); got != nil || !errors.Is(err, attest.ErrForm) {
			t.Fatalf("%d of %d bytes: %v, %v", n, len(raw), got, err)
		}
	}
	for _, b := range [][]byte{append(slices.Clone(raw), 0), make([]byte, maxAttest+1)} {
		if got, err := QuoteDetails(b); got != nil || !errors.Is(err, attest.ErrForm) {
			t.Errorf("%d bytes: %v, %v", len(b), got, err)
		}
	}
}

// A TPM that lost power quotes like any other, and says so.
func TestUncleanShutdown(t *testing.T) {
	ak := newECC(t, elliptic.P256(), attest.SHA256)
	q, values := ak.newQuote()
	q.safe = false
	claims, err := Scheme{}.Verify(ak.evidence(t, q, values), nil, testTime)
	if err != nil {
		t.Fatal(err)
	}
	if claims.Counters.Safe || claims.Counters.ResetCount != 5 {
		t.Errorf("counters %+v", claims.Counters)
	}
}
