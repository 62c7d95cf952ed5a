package sev

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sworn-run/sworn/attest"
)

// TestVerify takes every version, product and kind of key.
func TestVerify(t *testing.T) {
	for _, line := range products() {
		maker := newAMD(t, line)
		for _, s := range []signer{signerVCEK, signerVLEK} {
			for version := uint32(minVersion); version <= maxVersion; version++ {
				t.Run(fmt.Sprintf("%s %v version %d", line, s, version), func(t *testing.T) {
					c := newChip(t, maker, s, version)
					ev := c.evidence(t)
					got := verify(t, Scheme{}, ev, maker.anchors())
					if !allPassed(got) {
						t.Fatalf("claims %+v", got)
					}
					checkClaims(t, c, ev, got)
				})
			}
		}
	}
}

// checkClaims compares the claims with the report, by offsets of the manual.
func checkClaims(t *testing.T, c *chip, ev *attest.Evidence, got *attest.Claims) {
	t.Helper()
	b := ev.Parts[0].Data
	desc := Scheme{}.Describe()
	if got.Format != Format || got.KeyID != sha256.Sum256(b[0x140:0x160]) || !bytes.Equal(got.Quoted, b[0x50:0x90]) {
		t.Errorf("format %d, key id %x, quoted %x", got.Format, got.KeyID, got.Quoted)
	}
	places := map[string]int{
		"family_id": 0x10, "image_id": 0x20, "measurement": 0x90, "host_data": 0xC0, "id_key_digest": 0xE0,
		"author_key_digest": 0x110, "report_id_ma": 0x160, "chip_id": 0x1A0,
	}
	if len(got.Measurements) != len(desc.Measurements) || len(places) != len(desc.Measurements) {
		t.Fatalf("measurements %+v", got.Measurements)
	}
	for i, m := range got.Measurements {
		f, at := desc.Measurements[i], places[m.Name]
		if f.Name != m.Name || at == 0 || !bytes.Equal(m.Value, b[at:at+f.Size]) || f.Image != (m.Name == "measurement") {
			t.Errorf("measurement %+v of %+v", m, f)
		}
	}
	want := wantAttributes(c)
	fields := map[string]bool{}
	for _, f := range desc.Attributes {
		fields[f.Name] = true
	}
	have := map[string]uint64{}
	for _, a := range got.Attributes {
		if _, twice := have[a.Name]; twice || !fields[a.Name] {
			t.Errorf("attribute %s twice or undescribed", a.Name)
		}
		have[a.Name] = a.Value
	}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Error(diff)
	}
	var versions []string
	for _, v := range got.TCB.Versions {
		versions = append(versions, fmt.Sprintf("%s %d", v.Name, v.Value))
	}
	text := "bootloader 4, tee 0, snp 24, microcode 219"
	if c.maker.line == turin {
		text = "fmc 1, bootloader 2, tee 3, snp 4, microcode 200"
	}
	if strings.Join(versions, ", ") != text || got.TCB.Status != "" {
		t.Errorf("versions %v, want %s", versions, text)
	}
	var used []int
	for _, u := range got.Used {
		used = append(used, u.Index)
		if u.What == "" || !u.From.Before(testTime) || !testTime.Before(u.Until) {
			t.Errorf("used %+v", u)
		}
	}
	if !slices.Equal(used, []int{0, 1, 2, 3}) {
		t.Errorf("used %v", used)
	}
	if got.Identity.Root == nil || !got.Identity.Root.UserSupplied || !got.Identity.Root.Certificate.Equal(c.maker.ark.cert) {
		t.Errorf("root %+v", got.Identity.Root)
	}
}

// wantAttributes are those of the tests' reports.
func wantAttributes(c *chip) map[string]uint64 {
	out := map[string]uint64{
		"version": uint64(c.version), "guest_svn": 7, "abi_minor": 1, "abi_major": 0, "smt": 1, "migrate_ma": 0, "debug": 0,
		"single_socket": 1, "cxl_allow": 0, "mem_aes_256_xts": 0, "policy_rapl_dis": 0, "ciphertext_hiding_dram": 0,
		"page_swap_disable": 0, "vmpl": 0, "platform_info": 0x25, "smt_en": 1, "tsme_en": 0, "ecc_en": 1, "rapl_dis": 0,
		"ciphertext_hiding_dram_en": 0, "alias_check_complete": 1, "iommu_write_safe": 0, "tio_en": 0, "author_key_en": 0,
		"mask_chip_key": 0, "signing_key": uint64(c.signer),
	}
	if c.version >= 3 {
		cpu := map[product][2]uint64{milan: {0x19, 1}, genoa: {0x19, 0x11}, turin: {0x1A, 2}}[c.maker.line]
		out["family"], out["model"], out["stepping"] = cpu[0], cpu[1], 1
	}
	if c.version >= 5 {
		out["launch_mit_vector"], out["current_mit_vector"] = 0x3F, 0x3F
	}
	return out
}

// TestDescribe: what an attacker gains by is not free.
func TestDescribe(t *testing.T) {
	d := Scheme{}.Describe()
	if d.Format != 2 || d.Name != "sev-snp" || d.Mode != attest.ModeDirect || d.Anchor != attest.AnchorStatementOnly ||
		d.QuotedHash != attest.SHA512 || d.RootRole != "amd-ark" || d.VendorStatus || d.Register != 0 || d.RegisterBank != 0 {
		t.Errorf("description %+v", d)
	}
	var bound []string
	for _, f := range d.Attributes {
		if f.Default != 0 {
			t.Errorf("%s wants %d", f.Name, f.Default)
		}
		if !f.Free {
			bound = append(bound, f.Name)
		}
	}
	if want := []string{"migrate_ma", "debug", "cxl_allow", "vmpl"}; !slices.Equal(bound, want) {
		t.Errorf("not free: %v, want %v", bound, want)
	}
}

// TestBits sets every bit of POLICY and PLATFORM_INFO that has a name.
func TestBits(t *testing.T) {
	maker := newAMD(t, turin)
	c := newChip(t, maker, signerVCEK, 5)
	c.change = func(b []byte) {
		b[0x08], b[0x09] = 55, 1
		b[0x0A], b[0x0B] = 0xFF&^(policyDebug>>16), 3
		b[0x30], b[0x40], b[0x47], b[0x48] = 3, 0xFF, 0x80, 1
	}
	got := verify(t, Scheme{}, c.evidence(t), maker.anchors())
	have := map[string]uint64{}
	for _, a := range got.Attributes {
		have[a.Name] = a.Value
	}
	for name := range strings.FieldsSeq("smt migrate_ma single_socket cxl_allow mem_aes_256_xts policy_rapl_dis ciphertext_hiding_dram " +
		"page_swap_disable smt_en tsme_en ecc_en rapl_dis ciphertext_hiding_dram_en alias_check_complete iommu_write_safe tio_en author_key_en abi_major") {
		if have[name] != 1 {
			t.Errorf("%s is %d", name, have[name])
		}
	}
	if have["platform_info"] != 0x80000000000000FF || have["vmpl"] != 3 || have["abi_minor"] != 55 {
		t.Errorf("attributes %v", have)
	}
	details := map[string]string{}
	for _, d := range got.Details {
		details[d.Name] = d.Value
	}
	if !strings.Contains(details["PLATFORM_INFO"], "ALIAS_CHECK_COMPLETE") || !strings.Contains(details["PLATFORM_INFO"], "bit 63") ||
		!strings.Contains(details["POLICY"], "MIGRATE_MA") || !strings.Contains(details["POLICY"], "at least 1.55") {
		t.Errorf("details %v", details)
	}
}

// TestVersionsLeast: every security version is the least of the four.
func TestVersionsLeast(t *testing.T) {
	maker := newAMD(t, milan)
	for i, at := range []int{0x38, 0x1E0, 0x1F0} {
		c := newChip(t, maker, signerVCEK, 3)
		c.change = func(b []byte) { b[at], b[at+6], b[at+7] = 3, 23, 218 }
		got := verify(t, Scheme{}, c.evidence(t), maker.anchors())
		want := []attest.Attribute{{Name: "bootloader", Value: 3}, {Name: "tee", Value: 0}, {Name: "snp", Value: 23}, {Name: "microcode", Value: 218}}
		if diff := cmp.Diff(want, got.TCB.Versions); diff != "" || got.TCB.Finding.Status != attest.Passed {
			t.Errorf("%d: %s, %+v", i, diff, got.TCB.Finding)
		}
	}
	// What is above the others counts for nothing.
	c := newChip(t, maker, signerVCEK, 3)
	c.change = func(b []byte) { b[0x3F], b[0x1F7] = 255, 255 }
	if got := verify(t, Scheme{}, c.evidence(t), maker.anchors()); got.TCB.Versions[3].Value != 219 {
		t.Errorf("versions %+v", got.TCB.Versions)
	}
}

// TestOrder: collateral may come in any order, and what serves no purpose is not used.
func TestOrder(t *testing.T) {
	maker := newAMD(t, genoa)
	c := newChip(t, maker, signerVCEK, 3)
	ev := c.evidence(t)
	slices.Reverse(ev.Collateral)
	ev.Collateral = slices.Concat([]attest.Collateral{
		{Kind: attest.CollateralCertificate, Data: maker.asvk.cert.Raw},
		{Kind: attest.CollateralCertificate, Data: []byte("no certificate")},
		{Kind: attest.CollateralCRL, Data: []byte("no list")},
		{Kind: "something-else", Data: ev.Parts[0].Data},
	}, ev.Collateral, []attest.Collateral{ev.Collateral[3]})
	got := verify(t, Scheme{}, ev, maker.anchors())
	var used []int
	for _, u := range got.Used {
		used = append(used, u.Index)
	}
	if !allPassed(got) || !slices.Equal(used, []int{4, 5, 6, 7}) {
		t.Errorf("used %v of %+v", used, got)
	}
}

// TestNewest: of several certificates of one key the newest valid one is used.
func TestNewest(t *testing.T) {
	maker := newAMD(t, milan)
	c := newChip(t, maker, signerVCEK, 3)
	certificate := func(from, until time.Time) []byte {
		c.template = func(t *x509.Certificate) { t.NotBefore, t.NotAfter = from, until }
		return c.issue(t).Raw
	}
	day := 24 * time.Hour
	ders := [][]byte{
		certificate(testTime.Add(-9*day), testTime.Add(-day)),
		certificate(testTime.Add(-9*day), testTime.Add(day)),
		certificate(testTime.Add(-8*day), testTime.Add(day)),
		certificate(testTime.Add(-1*day), testTime.Add(-day/2)),
		certificate(testTime.Add(day), testTime.Add(2*day)),
	}
	ev := withCollateral(c.report(t), append(ders, maker.ask.cert.Raw, maker.ark.cert.Raw))
	got := verify(t, Scheme{}, ev, maker.anchors())
	if got.Identity.Status != attest.Passed || len(got.Used) != 3 || got.Used[0].Index != 2 {
		t.Errorf("used %+v, %+v", got.Used, got.Identity)
	}
	if got, err := (Scheme{}).Verify(ev, maker.anchors(), testTime.Add(3*day)); err != nil || got.Identity.Status != attest.Failed {
		t.Errorf("after all: %+v, %v", got, err)
	}
}

// TestArguments refuses what is the caller's mistake, and other evidence.
func TestArguments(t *testing.T) {
	maker := newAMD(t, milan)
	c := newChip(t, maker, signerVCEK, 3)
	good := c.evidence(t)
	part := good.Parts[0]
	for name, test := range map[string]struct {
		ev   *attest.Evidence
		at   time.Time
		want error
	}{
		"nil evidence":   {nil, testTime, attest.ErrArgument},
		"zero time":      {good, time.Time{}, attest.ErrArgument},
		"zero evidence":  {&attest.Evidence{}, testTime, attest.ErrForm},
		"other format":   {&attest.Evidence{Format: 1, Parts: good.Parts}, testTime, attest.ErrForm},
		"no part":        {&attest.Evidence{Format: Format}, testTime, attest.ErrForm},
		"two parts":      {&attest.Evidence{Format: Format, Parts: []attest.Part{part, part}}, testTime, attest.ErrForm},
		"another part":   {&attest.Evidence{Format: Format, Parts: []attest.Part{{Name: "quote", Data: part.Data}}}, testTime, attest.ErrForm},
		"no certificate": {&attest.Evidence{Format: Format, Parts: good.Parts}, testTime, attest.ErrNoKey},
		"much collateral": {
			&attest.Evidence{Format: Format, Parts: good.Parts, Collateral: make([]attest.Collateral, 513)}, testTime, attest.ErrForm,
		},
	} {
		claims, err := Scheme{}.Verify(test.ev, maker.anchors(), test.at)
		if claims != nil || !errors.Is(err, test.want) {
			t.Errorf("%s: %v, %v", name, claims, err)
		}
	}
	if ev, err := NewEvidence(3, part.Data); err != nil || ev.Slot != 3 || ev.Format != Format || !bytes.Equal(ev.Parts[0].Data, part.Data) {
		t.Errorf("evidence %+v, %v", ev, err)
	}
	if ev, err := NewEvidence(3, part.Data[1:]); ev != nil || !errors.Is(err, attest.ErrForm) {
		t.Errorf("evidence of a cut report: %v, %v", ev, err)
	}
}
