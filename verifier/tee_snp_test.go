package verifier_test

import (
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/sev"
	"github.com/sworn-run/sworn/simulator/amd"
	"github.com/sworn-run/sworn/verifier"
)

// teeDeed is one thing that is wrong with evidence of a confidential VM though its vendor
// signed it; check names what refuses it, or is empty where a policy allows it.
type teeDeed struct {
	name, check, status string
	policy              func(rules map[string]any)
	capsule             func() []byte
}

// refuse verifies the capsule of a deed under its policy.
func (d *teeDeed) refuse(t *testing.T, in verifier.Input) {
	t.Helper()
	r := verify(t, d.capsule(), in)
	if d.check == "" {
		if !r.Trusted {
			t.Errorf("%s: %s", d.name, r.Headline)
		}
		return
	}
	if !slices.Contains(blocking(r), d.check) || r.Trusted || find(t, r, d.check).Status != d.status {
		t.Errorf("%s: %s is %s, want %s (%s; blocked by %v)", d.name, d.check, find(t, r, d.check).Status, d.status, r.Headline, blocking(r))
	}
}

// TestSNPForged: reports that AMD's key signed and that are not what the policy wants.
func TestSNPForged(t *testing.T) {
	f := newTEEForger(t)
	vendor := f.amd.Vendor()
	report := func(change func(*amd.Report)) func() []byte {
		return func() []byte { return f.snp(t, change, nil) }
	}
	list := func(c amd.CRL) func() []byte {
		return func() []byte {
			b, err := vendor.CRL(c, f.at)
			return f.snp(t, nil, instead(t, attest.CollateralCRL, nil, b, err))
		}
	}
	attribute := func(name string, v int) func(map[string]any) {
		return func(rules map[string]any) { member(rules, "attributes")[name] = v }
	}
	minimum := func(name string, v int) func(map[string]any) {
		return func(rules map[string]any) { member(member(rules, "tcb"), "minimum")[name] = v }
	}
	older := f.amd.TCB
	older.SNP--
	low := older.Version(amd.Milan)
	vlek := func(r *amd.Report) { r.SigningKey, r.ChipID = amd.VLEK, [64]byte{} }
	for _, d := range []teeDeed{
		{"nothing", "", "", nil, report(nil)},
		{"debug policy", "slot.mode", "failed", nil, report(func(r *amd.Report) { r.Policy |= amd.PolicyDebug })},
		{"debug policy, which the policy allows", "slot.mode", "failed", attribute("debug", 1), report(func(r *amd.Report) { r.Policy |= amd.PolicyDebug })},
		{"a migration agent", "slot.mode", "failed", nil, report(func(r *amd.Report) { r.Policy |= amd.PolicyMigrateMA })},
		{"VMPL 1", "slot.mode", "failed", nil, report(func(r *amd.Report) { r.VMPL = 1 })},
		{"VMPL 1, as the policy wants", "", "", attribute("vmpl", 1), report(func(r *amd.Report) { r.VMPL = 1 })},
		{"VMPL 0 where the policy wants 1", "slot.mode", "failed", attribute("vmpl", 1), report(nil)},
		{"signed by no key", "slot.mode", "failed", nil, report(func(r *amd.Report) { r.SigningKey = amd.None })},
		{"a masked key", "slot.mode", "failed", nil, report(func(r *amd.Report) { r.MaskChipKey = true })},
		{"SMT, where the policy wants none", "slot.mode", "failed", attribute("smt", 0), report(func(r *amd.Report) { r.Policy |= amd.PolicySMT })},
		{"no alias check, where the policy wants it", "slot.mode", "failed", attribute("alias_check_complete", 1), report(func(r *amd.Report) { r.PlatformInfo &^= amd.PlatformAliasCheck })},
		{"a number that its version does not have", "slot.mode", "not established", attribute("current_mit_vector", 0), report(func(r *amd.Report) { r.Version = 3 })},
		{"another image", "slot.measurement", "failed", nil, report(func(r *amd.Report) { r.Measurement[0] ^= 1 })},
		{"another image: the launcher", "launcher.rooted", "not established", nil, report(func(r *amd.Report) { r.Measurement[0] ^= 1 })},
		{"another image: others' quotes", "log.sole", "not established", nil, report(func(r *amd.Report) { r.Measurement[0] ^= 1 })},
		{"report data that a caller chose", "slot.binding", "failed", nil, report(func(r *amd.Report) { r.ReportData = [64]byte{1: 7} })},
		{"report data of another slot", "slot.binding", "failed", nil, report(func(r *amd.Report) { r.ReportData = quotedAs(t, "sev-snp", 1, sev.Format) })},
		{"report data of another format", "slot.binding", "failed", nil, report(func(r *amd.Report) { r.ReportData = quotedAs(t, "sev-snp", 0, tdxFormat) })},
		{"report data of another record", "slot.binding", "failed", nil, report(func(r *amd.Report) { r.ReportData = quotedAs(t, "sev-snp.first", 0, sev.Format) })},
		{"another guest", "slot.binding", "failed", nil, report(func(r *amd.Report) { r.ReportID[0] ^= 1 })},
		{"reported TCB below the certificate's", "slot.tcb", "failed", nil, report(func(r *amd.Report) { r.ReportedTCB = low })},
		{"committed TCB below the minimum", "slot.tcb", "failed", nil, report(func(r *amd.Report) { r.CommittedTCB = low })},
		{"launch TCB below the minimum", "slot.tcb", "failed", nil, report(func(r *amd.Report) { r.LaunchTCB = low })},
		{"current TCB below the minimum", "slot.tcb", "failed", nil, report(func(r *amd.Report) { r.CurrentTCB = low })},
		{"a higher minimum", "slot.tcb", "failed", minimum("snp", int(f.amd.TCB.SNP)+1), report(nil)},
		{"a minimum of what only Turin has", "slot.tcb", "not established", minimum("fmc", 0), report(nil)},
		{"another chip", "slot.identity", "failed", nil, report(func(r *amd.Report) { r.ChipID[0] ^= 1 })},
		{"a chip that the policy does not list", "slot.measurement", "failed", func(rules map[string]any) {
			member(rules, "measurements")["chip_id"] = []any{strings.Repeat("5", 128)}
		}, report(nil)},
		{"a VLEK, which hides the chip", "", "", nil, report(vlek)},
		{"a VLEK, where the policy lists chips", "slot.measurement", "failed", func(rules map[string]any) {
			member(rules, "measurements")["chip_id"] = []any{strings.Repeat("5", 128)}
		}, report(vlek)},
		{"a VLEK, where the policy wants a VCEK", "slot.mode", "failed", attribute("signing_key", 0), report(vlek)},
		{"a revoked ASK", "slot.revocation", "failed", nil, list(amd.CRL{Revoked: []*x509.Certificate{vendor.ASK()}})},
		{"a revoked ASVK, which is another's", "", "", nil, list(amd.CRL{Revoked: []*x509.Certificate{vendor.ASVK()}})},
		{"an expired list", "slot.revocation", "not established", nil, list(amd.CRL{ThisUpdate: f.at.AddDate(0, -2, 0), NextUpdate: f.at.AddDate(0, -1, 0)})},
		{"a list of tomorrow", "slot.revocation", "not established", nil, list(amd.CRL{ThisUpdate: f.at.AddDate(0, 0, 1), NextUpdate: f.at.AddDate(0, 0, 2)})},
		{"a forged list", "slot.revocation", "not established", nil, list(amd.CRL{Forged: true})},
	} {
		d.refuse(t, f.input(t, "sev-snp", d.policy))
	}
	// A key's certificate is of one TCB: who rolled back gets another certificate.
	newer := f.amd.TCB
	f.amd.TCB = older
	t.Cleanup(func() { f.amd.TCB = newer })
	d := teeDeed{"everything rolled back", "slot.tcb", "failed", nil, report(nil)}
	d.refuse(t, f.input(t, "sev-snp", nil))
	in := f.input(t, "sev-snp", nil)
	in.Policy = teePolicy(t, "sev-snp", func(map[string]any) {})
	wantRefused(t, verify(t, f.snp(t, nil, nil), in), "slot.identity")
}

// TestSNPOthersCertificate: certificates that AMD issued, and that are not of this report.
func TestSNPOthersCertificate(t *testing.T) {
	f := newTEEForger(t)
	k, err := f.amd.EndorsementKey(amd.VCEK, f.at)
	if err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct {
		change func(k *amd.EndorsementKey)
		check  string
	}{
		"nothing":              {func(*amd.EndorsementKey) {}, ""},
		"another chip":         {func(k *amd.EndorsementKey) { k.HWID = make([]byte, 64) }, "slot.tcb"},
		"another TCB":          {func(k *amd.EndorsementKey) { k.TCB.Microcode++ }, "slot.tcb"},
		"another product":      {func(k *amd.EndorsementKey) { k.ProductName = "Genoa-B0" }, "collateral.coherent"},
		"that has expired":     {func(k *amd.EndorsementKey) { k.NotAfter = f.at.Add(-time.Minute) }, "collateral.coherent"},
		"that begins tomorrow": {func(k *amd.EndorsementKey) { k.NotBefore = f.at.AddDate(0, 0, 1) }, "collateral.coherent"},
		"of a VLEK":            {func(k *amd.EndorsementKey) { k.Kind = amd.VLEK }, "slot.signature"},
	} {
		one := k
		x.change(&one)
		der, err := f.amd.Vendor().Certify(one)
		first := true
		r := verify(t, f.snp(t, nil, instead(t, attest.CollateralCertificate, func([]byte) bool { f := first; first = false; return f }, der, err)), f.input(t, "sev-snp", nil))
		if r.Trusted != (x.check == "") || x.check != "" && !slices.Contains(blocking(r), x.check) {
			t.Errorf("%s: %s, blocked by %v", name, r.Headline, blocking(r))
		}
	}
}
