package tpmdev

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sworn-run/sworn/attest"
)

func TestQuote(t *testing.T) {
	d := open(t, startTPM(t).unix, Options{})
	banks, err := d.Banks(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]attest.Alg{attest.SHA256, attest.SHA384}, banks); diff != "" {
		t.Fatalf("banks (-want +got):\n%s", diff)
	}
	if err := d.Extend(t.Context(), digests(t, d, "event")); err != nil {
		t.Fatalf("Extend: %v", err)
	}
	values, err := d.Read(t.Context())
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	for i, b := range banks {
		want := b.Sum(make([]byte, b.Size()), b.Sum([]byte("event")))
		if values[i].Bank != b || values[i].Index != DefaultRegister || !bytes.Equal(values[i].Value, want) {
			t.Errorf("register %+v, want %x", values[i], want)
		}
	}
	_, claims := attestOne(t, d)
	if len(claims.Registers) != 32 {
		t.Errorf("%d registers are quoted, want 32", len(claims.Registers))
	}
}
