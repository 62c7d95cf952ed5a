package verifier_test

import (
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/verifier"
)

// TestTEEStripping: of whatever collateral a record is stripped, no check passes that does
// not with all of it, but that there is no item which nothing uses; and what is trusted
// without an item was so because the same certificate is in the evidence, or the root in
// the relying party's folder.
func TestTEEStripping(t *testing.T) {
	for kind := range teeKinds() {
		in, full := teeInput(t, kind), teeCapsule(t, kind).Collateral
		before := passedChecks(verify(t, encodeCapsule(t, teeCapsule(t, kind)), in))
		copies := map[int]bool{}
		for i, item := range full {
			if x, err := x509.ParseCertificate(item.Data); err == nil {
				name := x.Subject.CommonName
				copies[i] = strings.HasPrefix(name, "ARK-") || strings.Contains(name, "Root CA") || strings.Contains(name, "Platform CA")
			}
		}
		step := 1
		if len(full) > 4 && flipStride() > 1 {
			step = 5
		}
		for set := 0; set < 1<<len(full)-1; set += step {
			c := teeCapsule(t, kind)
			c.Collateral = nil
			essential := true
			for i := range full {
				if set>>i&1 == 1 {
					c.Collateral = append(c.Collateral, full[i])
				} else {
					essential = essential && copies[i]
				}
			}
			r := verify(t, encodeCapsule(t, c), in)
			if r.Trusted && !essential {
				t.Errorf("%s, items %b: %s", kind, set, r.Headline)
			}
			for _, id := range passedChecks(r) {
				if !slices.Contains(before, id) && id != "evidence.set" {
					t.Errorf("%s, items %b: %s passes", kind, set, id)
				}
			}
		}
	}
}

// TestTEEMissing: what is missing is not established, by the check that wanted it.
func TestTEEMissing(t *testing.T) {
	for _, x := range []struct{ kind, item, check string }{
		{"sev-snp", attest.CollateralCRL, "slot.revocation"},
		{"sev-snp", attest.CollateralCertificate, "slot.signature"},
		{"azure-snp", attest.CollateralCRL, "slot.revocation"},
		{"azure-snp", attest.CollateralCertificate, "slot.signature"},
		{"tpm-sev-snp", attest.CollateralCRL, "slot.revocation"},
		{"tdx", attest.CollateralCRL, "slot.revocation"},
		{"tdx", attest.CollateralTCBInfo, "slot.tcb"},
		{"tdx", attest.CollateralQEIdentity, "slot.identity"},
		{"tdx", attest.CollateralCertificate, "slot.identity"},
		{"azure-tdx", attest.CollateralCRL, "slot.revocation"},
		{"azure-tdx", attest.CollateralTCBInfo, "collateral.coherent"},
		{"azure-tdx", attest.CollateralQEIdentity, "slot.identity"},
	} {
		c := teeCapsule(t, x.kind)
		c.Collateral = slices.DeleteFunc(c.Collateral, func(i attest.Collateral) bool { return i.Kind == x.item })
		r := verify(t, encodeCapsule(t, c), teeInput(t, x.kind))
		ok := slices.ContainsFunc(r.Checks, func(k verifier.Check) bool { return k.ID == x.check && k.Status == "not established" })
		if r.Trusted || !ok || !slices.Contains(blocking(r), x.check) {
			t.Errorf("%s without %s: %s, blocked by %v", x.kind, x.item, r.Headline, blocking(r))
		}
	}
}

// TestTEEStale: collateral past its date establishes nothing, and the report says which
// date that was.
func TestTEEStale(t *testing.T) {
	for kind, checks := range map[string][]string{
		"sev-snp": {"slot.revocation"}, "tdx": {"slot.revocation", "collateral.coherent"}, "tpm-sev-snp": {"slot.revocation"},
		"azure-snp": {"slot.revocation"}, "azure-tdx": {"slot.revocation", "collateral.coherent"},
	} {
		in := teeInput(t, kind)
		file := encodeCapsule(t, teeCapsule(t, kind))
		in.Now = in.Now.AddDate(1, 1, 0)
		r := verify(t, file, in)
		for _, id := range checks {
			i := slices.IndexFunc(r.Checks, func(k verifier.Check) bool { return k.ID == id && k.Status == "not established" })
			if r.Trusted || i < 0 || !strings.Contains(r.Checks[i].Detail, "20") {
				t.Errorf("%s: %s (%s)", kind, id, r.Headline)
				continue
			}
			if d := r.Checks[i].Detail; !strings.Contains(d, "2026-") && !strings.Contains(d, "2027-") {
				t.Errorf("%s: %s names no date: %s", kind, id, d)
			}
		}
		// The verdict as of then is another question, and decides only where the policy says so.
		in.At = teeTime(t)
		if r = verify(t, file, in); r.Trusted || r.Hypothetical == nil || r.Hypothetical.Status != "trusted" {
			t.Errorf("%s: %s, as of then %+v", kind, r.Headline, r.Hypothetical)
		}
		in.Now, in.At = teeTime(t).Add(-48*time.Hour), time.Time{}
		if r = verify(t, file, in); r.Trusted {
			t.Errorf("%s: before anything was issued: %s", kind, r.Headline)
		}
	}
}

// TestTEECollateralEdited: items repeated, exchanged or inserted. Order is free, and a copy
// of an item says nothing new; anything else is refused.
func TestTEECollateralEdited(t *testing.T) {
	for kind := range teeKinds() {
		in, n := teeInput(t, kind), len(teeCapsule(t, kind).Collateral)
		was := verify(t, encodeCapsule(t, teeCapsule(t, kind)), in)
		try := func(name string, trusted bool, edit func(c *cer.Capsule)) {
			t.Helper()
			c := teeCapsule(t, kind)
			edit(c)
			if r := verify(t, encodeCapsule(t, c), in); r.Trusted != trusted || trusted && r.Headline != was.Headline {
				t.Errorf("%s: %s: %s", kind, name, r.Headline)
			}
		}
		try("in reverse", true, func(c *cer.Capsule) { slices.Reverse(c.Collateral) })
		for i := range n {
			try("an item twice", true, func(c *cer.Capsule) { c.Collateral = append(c.Collateral, c.Collateral[i]) })
			try("an item emptied", false, func(c *cer.Capsule) { c.Collateral[i].Data = []byte{} })
			for _, other := range []string{attest.CollateralCertificate, attest.CollateralCRL, attest.CollateralTCBInfo, attest.CollateralQEIdentity, attest.CollateralCCEL, verifier.CollateralModelSignature, verifier.CollateralEventLog, "note"} {
				if teeCapsule(t, kind).Collateral[i].Kind != other {
					try("an item of kind "+other, false, func(c *cer.Capsule) { c.Collateral[i].Kind = other })
					try("the same as "+other, false, func(c *cer.Capsule) {
						c.Collateral = append(c.Collateral, attest.Collateral{Kind: other, Data: c.Collateral[i].Data})
					})
				}
			}
		}
		for _, other := range []string{"tdx", "sev-snp"} {
			if strings.HasSuffix(kind, other[len(other)-3:]) {
				continue
			}
			for _, item := range teeCapsule(t, other).Collateral {
				try("an item of "+other, false, func(c *cer.Capsule) { c.Collateral = append(c.Collateral, item) })
			}
		}
	}
}

// TestTEEEvidenceEdited: evidence dropped, added, moved between slots, records and formats.
func TestTEEEvidenceEdited(t *testing.T) {
	for kind := range teeKinds() {
		in := teeInput(t, kind)
		try := func(name, check string, edit func(c *cer.Capsule)) {
			t.Helper()
			c := teeCapsule(t, kind)
			edit(c)
			r := verify(t, encodeCapsule(t, c), in)
			if r.Trusted || !slices.Contains(blocking(r), check) {
				t.Errorf("%s: %s: %s, blocked by %v", kind, name, r.Headline, blocking(r))
			}
		}
		try("no evidence", "evidence.set", func(c *cer.Capsule) { c.Evidence = nil })
		for i := range teeCapsule(t, kind).Evidence {
			try("one dropped", "evidence.set", func(c *cer.Capsule) { c.Evidence = slices.Delete(c.Evidence, i, i+1) })
			try("one twice", "evidence.set", func(c *cer.Capsule) { c.Evidence = append(c.Evidence, c.Evidence[i]) })
			try("in another slot", "evidence.set", func(c *cer.Capsule) { c.Evidence[i].Slot++ })
			for format := range attest.Format(9) {
				if format > 0 && teeCapsule(t, kind).Evidence[i].Format != format {
					try("of another format", "evidence.set", func(c *cer.Capsule) { c.Evidence[i].Format = format })
				}
			}
			try("of the record before", "slot.binding", func(c *cer.Capsule) { c.Evidence = teeCapsule(t, kind+".first").Evidence })
			try("a part more", "slot.form", func(c *cer.Capsule) {
				c.Evidence[i].Parts = append(c.Evidence[i].Parts, attest.Part{Name: "note", Data: []byte{1}})
			})
		}
		for other := range teeKinds() {
			if other != kind {
				try("all of "+other, "evidence.set", func(c *cer.Capsule) {
					o := teeCapsule(t, other)
					c.Evidence, c.Collateral = o.Evidence, o.Collateral
				})
			}
		}
		try("the statement before", "log.commit", func(c *cer.Capsule) {
			o := teeCapsule(t, kind+".first")
			c.Statement, c.Signature, c.Evidence, c.Collateral = o.Statement, o.Signature, o.Evidence, o.Collateral
		})
	}
	// The slots of a composite, exchanged; and the manifest of one slot of it.
	in, c := teeInput(t, "tpm-sev-snp"), teeCapsule(t, "tpm-sev-snp")
	slices.Reverse(c.Evidence)
	wantRefused(t, verify(t, encodeCapsule(t, c), in), "evidence.set")
	c.Evidence[0].Slot, c.Evidence[1].Slot = 0, 1
	wantRefused(t, verify(t, encodeCapsule(t, c), in), "evidence.set")
	alone := teeInput(t, "sev-snp")
	if r := verify(t, golden(t, "tee/tpm-sev-snp.cer.json"), alone); r.Trusted || !slices.Contains(blocking(r), "slot.policy") {
		t.Errorf("two slots where one is asked for: %s", r.Headline)
	}
	if r := verify(t, golden(t, "tee/sev-snp.cer.json"), in); r.Trusted || !slices.Contains(blocking(r), "slot.policy") {
		t.Errorf("one slot where two are asked for: %s", r.Headline)
	}
}
