package dcap

import (
	"slices"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/dcap/dcaptest"
)

// testTime is when everything made up is valid.
var testTime = time.Date(2026, 3, 15, 12, 0, 0, 0, time.UTC)

// fixture is a made-up vendor, a quote of it and what the quote needs.
type fixture struct {
	*dcaptest.Vendor
	quote []byte
	items []attest.Collateral
}

// must returns v, and fails on err.
func must[T any](v T, err error) func(testing.TB) T {
	return func(tb testing.TB) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
}

// newFixture makes a quote of a TD of version 1.5, or of an enclave.
func newFixture(tb testing.TB, td bool) *fixture {
	tb.Helper()
	v := must(dcaptest.New(testTime, "Intel"))(tb)
	q := dcaptest.Quote{Version: 3, Body: dcaptest.Enclave(nil)}
	if td {
		q = dcaptest.Quote{Version: 5, Body: dcaptest.TD(true, nil)}
	}
	return &fixture{Vendor: v, quote: must(v.Make(q))(tb), items: must(v.Collateral(td))(tb)}
}

// with replaces the TCB info and the QE identity by changed ones.
func (f *fixture) with(tb testing.TB, change func(*dcaptest.TCBInfo, *dcaptest.QEIdentity)) []attest.Collateral {
	tb.Helper()
	td := f.quote[4] == 0x81
	info, qe := f.NewTCBInfo(td), f.NewQEIdentity(td)
	change(info, qe)
	items := slices.Clone(f.items)
	items[0].Data = must(dcaptest.Answer(f.Signer, memberTCBInfo, info.JSON()))(tb)
	items[1].Data = must(dcaptest.Answer(f.Signer, memberQEIdentity, qe.JSON()))(tb)
	return items
}

// appraise appraises a quote that verifies.
func (f *fixture) appraise(tb testing.TB, items []attest.Collateral) *Appraisal {
	tb.Helper()
	q := must(ParseQuote(f.quote))(tb)
	return must(q.Appraise(items, f.Anchors(), testTime))(tb)
}

// passes reports whether everything passed.
func (a *Appraisal) passes() bool {
	return a.Identity.Status == attest.Passed && a.Revocation.Status == attest.Passed && a.Coherent.Status == attest.Passed &&
		a.TCB.Finding.Status == attest.Passed && a.TCB.Status == UpToDate
}
