package sev

import (
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sworn-run/sworn/attest"
)

// The fields of a report by itself are those of its claims, and need no certificate.
func TestDetails(t *testing.T) {
	for _, line := range products() {
		for _, s := range []signer{signerVCEK, signerVLEK} {
			maker := newAMD(t, line)
			c := newChip(t, maker, s, 3)
			ev := c.evidence(t)
			list, err := Details(ev.Parts[0].Data)
			if err != nil {
				t.Fatal(err)
			}
			whole := verify(t, Scheme{}, ev, maker.anchors()).Details
			n := len(list) - 2 // the signature
			if d := cmp.Diff(whole[:n], list[:n]); d != "" {
				t.Errorf("%s, %v: %s", line, s, d)
			}
			if list[n].Name != "SIGNATURE R" || len(list[n].Value) != 96 || len(list[n+1].Value) != 96 {
				t.Errorf("the signature is %+v", list[n:])
			}
			fields, err := CertificateDetails(c.issue(t))
			if err != nil {
				t.Fatal(err)
			}
			want := "cspID"
			if s == signerVCEK {
				want = "hwID"
			}
			if i := slices.IndexFunc(fields, func(d attest.Detail) bool { return d.Name == "productName" }); i < 0 || !strings.HasPrefix(fields[i].Value, string(line)) || fields[len(fields)-1].Name != want {
				t.Errorf("%s, %v: %+v", line, s, fields)
			}
		}
	}
	if list, err := Details(make([]byte, ReportSize-1)); list != nil || !errors.Is(err, attest.ErrForm) {
		t.Errorf("%v, %v", list, err)
	}
}

// Security versions of a processor that is not known are bytes.
func TestDetailsOfUnknownProduct(t *testing.T) {
	b := newChip(t, newAMD(t, genoa), signerVCEK, 3).report(t)
	b[0x188] = 0x77
	list, err := Details(b)
	if err != nil {
		t.Fatal(err)
	}
	if want := (attest.Detail{Name: "REPORTED_TCB", Value: hex.EncodeToString(b[0x180:0x188])}); !slices.Contains(list, want) {
		t.Errorf("no %+v in %+v", want, list)
	}
}

// A certificate without extensions of AMD's has no fields; of one with unknown ones,
// nothing is said.
func TestCertificateDetails(t *testing.T) {
	maker := newAMD(t, milan)
	if list, err := CertificateDetails(maker.anchors().Roots[0].Certificate); list != nil || err != nil {
		t.Errorf("%v, %v", list, err)
	}
	c := newChip(t, maker, signerVCEK, 3).issue(t)
	for i := range c.Extensions {
		if c.Extensions[i].Id.Equal(amdID(arcProduct)) {
			c.Extensions[i].Value = []byte{1, 2, 3}
		}
	}
	list, err := CertificateDetails(c)
	if want := (attest.Detail{Name: "productName", Value: "010203, not of the form that it should have"}); err != nil || !slices.Contains(list, want) {
		t.Errorf("%v, %v", list, err)
	}
	for i := range c.Extensions {
		if c.Extensions[i].Id.Equal(amdID(arcProduct)) {
			c.Extensions[i].Id = amdID(77)
		}
	}
	if list, err := CertificateDetails(c); list != nil || !errors.Is(err, attest.ErrForm) {
		t.Errorf("%v, %v", list, err)
	}
}
