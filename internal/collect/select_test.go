package collect

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/signer"
)

// picky is a scheme that relies on the newest valid revocation list of a trusted root's,
// on that root's certificate, and on TCB info, if any.
type picky struct {
	format attest.Format
	// fickle makes it rely on all items but the last, each time.
	fickle bool
}

const pickyRole = "amd-ark"

func (p picky) Describe() attest.Description {
	return attest.Description{Format: p.format, RootRole: pickyRole}
}

// Verify refuses evidence whose first part is "bad".
func (p picky) Verify(ev *attest.Evidence, anchors *attest.Anchors, at time.Time) (*attest.Claims, error) {
	if string(ev.Parts[0].Data) == "bad" {
		return nil, fmt.Errorf("bad evidence: %w", attest.ErrSignature)
	}
	c := &attest.Claims{Format: p.format}
	if p.fickle {
		c.Used = []attest.Use{{Index: 99}, {Index: -1}}
		for i := range len(ev.Collateral) - 1 {
			c.Used = append(c.Used, attest.Use{Index: i})
		}
		return c, nil
	}
	best, from := -1, time.Time{}
	for _, r := range anchors.Role(pickyRole) {
		for i, item := range ev.Collateral {
			switch item.Kind {
			case attest.CollateralCertificate:
				if bytes.Equal(item.Data, r.Certificate.Raw) {
					c.Identity.Status = attest.Passed
					c.Used = append(c.Used, attest.Use{Index: i})
				}
			case attest.CollateralCRL:
				l, err := x509.ParseRevocationList(item.Data)
				if err == nil && l.CheckSignatureFrom(r.Certificate) == nil && at.Before(l.NextUpdate) && l.ThisUpdate.After(from) {
					best, from = i, l.ThisUpdate
				}
			case attest.CollateralTCBInfo:
				c.Used = append(c.Used, attest.Use{Index: i})
			}
		}
	}
	if best >= 0 {
		c.Used = append(c.Used, attest.Use{Index: best})
	}
	return c, nil
}

func crl(b []byte) attest.Collateral {
	return attest.Collateral{Kind: attest.CollateralCRL, Data: b}
}

// trusting returns anchors with one root.
func trusting(a *authority) *attest.Anchors {
	return &attest.Anchors{Roots: []attest.Root{{Role: pickyRole, Certificate: a.cert, UserSupplied: true}}}
}

// TestSelect keeps what a scheme relies on, and no more.
func TestSelect(t *testing.T) {
	root, other := issue(t, "root", nil, nil), issue(t, "root", nil, nil)
	old, now := crl(root.list(t, day0.AddDate(0, 0, -20))), crl(root.list(t, day0.AddDate(0, 0, -2)))
	gone, foreign := crl(root.list(t, day0.AddDate(0, -3, 0))), crl(other.list(t, day0.AddDate(0, 0, -1)))
	junk := attest.Collateral{Kind: "model-signature", Data: []byte("x")}
	ev := &attest.Evidence{Parts: []attest.Part{{Data: []byte("good")}}, Collateral: []attest.Collateral{old}}
	for name, c := range map[string]struct {
		from, want []attest.Collateral
		anchors    *attest.Anchors
	}{
		"nothing":             {nil, nil, trusting(root)},
		"the newest":          {[]attest.Collateral{old, cert(root), gone, now, cert(root), junk, now}, []attest.Collateral{cert(root), now}, trusting(root)},
		"the only one":        {[]attest.Collateral{old, cert(root)}, []attest.Collateral{old, cert(root)}, trusting(root)},
		"of the trusted root": {[]attest.Collateral{cert(other), foreign, cert(root), now}, []attest.Collateral{cert(root), now}, trusting(root)},
		"of any root":         {[]attest.Collateral{cert(root), now, junk}, []attest.Collateral{cert(root), now}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Select(picky{format: 2}, ev, c.from, c.anchors, day0)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
	bad := &attest.Evidence{Parts: []attest.Part{{Data: []byte("bad")}}}
	if got, err := Select(picky{format: 2}, bad, []attest.Collateral{now}, nil, day0); got != nil || !errors.Is(err, attest.ErrSignature) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := Select(nil, ev, nil, nil, day0); !errors.Is(err, ErrArgument) {
		t.Error(err)
	}
	if _, err := Select(picky{format: 2}, nil, nil, nil, day0); !errors.Is(err, ErrArgument) {
		t.Error(err)
	}
	many := []attest.Collateral{old, now, gone, foreign, cert(root), cert(other)}
	if got, err := Select(picky{format: 2, fickle: true}, ev, many, nil, day0); got != nil || !errors.Is(err, ErrArgument) {
		t.Errorf("%v, %v", kinds(got), err)
	}
}

// record returns the golden record with evidence of one more format, and collateral.
func record(t *testing.T, report []byte, items ...attest.Collateral) []byte {
	t.Helper()
	b, err := os.ReadFile("../../testdata/golden/page.cer.json")
	if err != nil {
		t.Fatal(err)
	}
	c, err := cer.ParseCapsule(b)
	if err != nil {
		t.Fatal(err)
	}
	c.Evidence = append(c.Evidence, attest.Evidence{Slot: 1, Format: 2, Parts: []attest.Part{{Name: partReport, Data: report}}})
	c.Collateral = items
	if b, err = c.Encode(); err != nil {
		t.Fatal(err)
	}
	return b
}

// collateral returns that of a record.
func collateral(t *testing.T, file []byte) []attest.Collateral {
	t.Helper()
	c, err := cer.ParseCapsule(file)
	if err != nil {
		t.Fatal(err)
	}
	return c.Collateral
}

// TestAttach puts what was got between signatures of models and logs, once, renews what is old and
// changes nothing else.
func TestAttach(t *testing.T) {
	v, a := newVendor(t), newAMD(t, "Milan", 3)
	a.publish(v, "Milan")
	client, now, _ := testClient(t, v, nil)
	c := &Collector{Client: client, Schemes: []attest.Scheme{picky{format: 2}}, Anchors: trusting(a.ark), Now: func() time.Time { return *now }}
	signature, ima := attest.Collateral{Kind: "model-signature", Data: []byte("{}")}, attest.Collateral{Kind: kindIMA, Data: []byte("i")}
	ccel := attest.Collateral{Kind: attest.CollateralCCEL, Data: []byte("c")}
	ssh, x509 := attest.Collateral{Kind: signer.KindSSH, Data: []byte("s")}, attest.Collateral{Kind: signer.KindX509, Data: []byte("x")}
	// What is in it and serves nothing goes.
	file := record(t, a.report, signature, cert(a.asvk), ccel, ima, ssh, x509)
	got, err := c.Attach(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	noProblems(t, got.Problems)
	if got.Added != 2 || got.Removed != 1 || got.Kept != 0 {
		t.Errorf("%d added, %d removed, %d kept", got.Added, got.Removed, got.Kept)
	}
	if d := cmp.Diff([]attest.Collateral{signature, cert(a.ark), crl(a.crl), ccel, ima, ssh, x509}, collateral(t, got.File)); d != "" {
		t.Error(d)
	}
	before, after := strip(t, file), strip(t, got.File)
	if !bytes.Equal(before, after) {
		t.Error("more than the collateral changed")
	}
	again, err := c.Attach(t.Context(), got.File)
	if err != nil || !bytes.Equal(again.File, got.File) || again.Added != 0 || again.Removed != 0 || again.Kept != 2 {
		t.Errorf("a second time: %+v, %v", again, err)
	}
	// Two months later there is a newer list.
	*now = day0.AddDate(0, 2, 0)
	newer := a.ark.list(t, *now)
	v.on("/vcek/v1/Milan/crl", body(newer))
	renewed, err := c.Attach(t.Context(), got.File)
	if err != nil || renewed.Added != 1 || renewed.Removed != 1 || renewed.Kept != 1 {
		t.Fatalf("%+v, %v", renewed, err)
	}
	if d := cmp.Diff([]attest.Collateral{signature, cert(a.ark), crl(newer), ccel, ima, ssh, x509}, collateral(t, renewed.File)); d != "" {
		t.Error(d)
	}
	// A stamped record has a verdict as of then, which needs the old one too.
	stamped, err := cer.ParseCapsule(got.File)
	if err != nil {
		t.Fatal(err)
	}
	stamped.Tokens = [][]byte{{1}}
	if file, err = stamped.Encode(); err != nil {
		t.Fatal(err)
	}
	renewed, err = c.Attach(t.Context(), file)
	if err != nil || renewed.Added != 1 || renewed.Removed != 0 || renewed.Kept != 2 {
		t.Fatalf("%+v, %v", renewed, err)
	}
	if d := cmp.Diff([]attest.Collateral{signature, cert(a.ark), crl(a.crl), crl(newer), ccel, ima, ssh, x509}, collateral(t, renewed.File)); d != "" {
		t.Error(d)
	}
}

// strip returns the record without collateral.
func strip(t *testing.T, file []byte) []byte {
	t.Helper()
	c, err := cer.ParseCapsule(file)
	if err != nil {
		t.Fatal(err)
	}
	c.Collateral = nil
	b, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestAttachPartly attaches what there is, and names what there is not.
func TestAttachPartly(t *testing.T) {
	v, a := newVendor(t), newAMD(t, "Milan", 3)
	a.publish(v, "Milan")
	v.on("/vcek/v1/Milan/crl", nil)
	client, now, _ := testClient(t, v, nil)
	c := &Collector{Client: client, Schemes: []attest.Scheme{picky{format: 2}}, Now: func() time.Time { return *now }}
	got, err := c.Attach(t.Context(), record(t, a.report))
	if err != nil {
		t.Fatal(err)
	}
	onlyProblem(t, got.Problems, "revocation list of ARK-Milan", ErrUnavailable)
	if kinds(collateral(t, got.File)) != "certificate" {
		t.Errorf("attached %s", kinds(collateral(t, got.File)))
	}
	// A list that somebody brought serves as well.
	c.More = []attest.Collateral{crl(a.crl)}
	got, err = c.Attach(t.Context(), got.File)
	if err != nil || got.Added != 1 || len(got.Problems) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestAttachRefuses leaves alone what is no record, or does not verify.
func TestAttachRefuses(t *testing.T) {
	c := &Collector{Schemes: []attest.Scheme{picky{format: 2}}, Now: func() time.Time { return day0 }}
	if _, err := c.Attach(t.Context(), []byte("{}\n")); !errors.Is(err, cer.ErrStrict) && !errors.Is(err, cer.ErrSchema) {
		t.Error(err)
	}
	item := crl([]byte("x"))
	if _, err := c.Attach(t.Context(), record(t, []byte("bad"), item)); !errors.Is(err, attest.ErrSignature) {
		t.Error(err)
	}
	if _, err := (&Collector{}).Attach(t.Context(), record(t, []byte("good"))); !errors.Is(err, ErrArgument) {
		t.Error(err)
	}
	// A record of formats without collateral stays as it is.
	b, err := os.ReadFile("../../testdata/golden/page.cer.json")
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Attach(t.Context(), b)
	if err != nil || !bytes.Equal(got.File, b) {
		t.Error(err)
	}
}

// TestCollect selects for a launch, and loses nothing of what is at hand.
func TestCollect(t *testing.T) {
	v, a := newVendor(t), newAMD(t, "Milan", 3)
	a.publish(v, "Milan")
	client, now, _ := testClient(t, v, nil)
	var said bytes.Buffer
	c := &Collector{
		Client: client, Schemes: []attest.Scheme{picky{format: 2}, picky{format: 3}}, Now: func() time.Time { return *now },
		Timeout: time.Minute, Log: slog.New(slog.NewTextHandler(&said, nil)),
	}
	hand := []attest.Collateral{cert(a.vcek), cert(a.asvk)}
	slots := []attest.Evidence{
		{Format: 2, Parts: []attest.Part{{Name: partReport, Data: a.report}}, Collateral: hand},
		{Format: 1, Parts: []attest.Part{{Name: "attest"}}, Collateral: hand},
	}
	if got := c.Collect(t.Context(), slots); !cmp.Equal(got, []attest.Collateral{cert(a.ark), crl(a.crl)}) || said.Len() > 0 {
		t.Errorf("%s; %s", kinds(got), said.String())
	}
	// Evidence that does not verify: what the machine has may be to be had nowhere else.
	slots[1] = attest.Evidence{Slot: 1, Format: 3, Parts: []attest.Part{{Name: "x", Data: []byte("bad")}}}
	got := c.Collect(t.Context(), slots)
	for _, item := range append(slices.Clone(hand), cert(a.ark), crl(a.crl)) {
		if !has(got, item.Kind, item.Data) {
			t.Errorf("%s is missing", item.Kind)
		}
	}
	if !strings.Contains(said.String(), "does not verify") {
		t.Errorf("said %q", said.String())
	}
	if got := (*Collector)(nil).Collect(t.Context(), slots); !cmp.Equal(got, hand) {
		t.Errorf("nobody collected %s", kinds(got))
	}
}
