package sev

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sworn-run/sworn/attest"
)

// measurement is a digest of the report: what it is called, and where it stands.
type measurement struct {
	attest.MeasurementField
	of func(*report) []byte
}

// measurements lists the report's digests in its order. Only MEASUREMENT is what was
// launched: the host sets HOST_DATA, FAMILY_ID and IMAGE_ID, and the digests of keys
// say who signed an ID block.
func measurements() []measurement {
	field := func(name string, size int, image bool, of func(*report) []byte) measurement {
		return measurement{attest.MeasurementField{Name: name, Size: size, Image: image}, of}
	}
	return []measurement{
		field("family_id", 16, false, func(p *report) []byte { return p.familyID }),
		field("image_id", 16, false, func(p *report) []byte { return p.imageID }),
		field("measurement", 48, true, func(p *report) []byte { return p.measurement }),
		field("host_data", 32, false, func(p *report) []byte { return p.hostData }),
		field("id_key_digest", 48, false, func(p *report) []byte { return p.idKey }),
		field("author_key_digest", 48, false, func(p *report) []byte { return p.author }),
		field("report_id_ma", 32, false, func(p *report) []byte { return p.reportIDMA }),
		field("chip_id", 64, false, func(p *report) []byte { return p.chipID }),
	}
}

// attribute is a number of the report: what it is called, and where it stands.
type attribute struct {
	attest.AttributeField
	of func(*report) (uint64, bool)
}

// attributes lists the report's numbers in its order.
func attributes() []attribute {
	free := func(name string, of func(*report) uint64) attribute {
		return attribute{attest.AttributeField{Name: name, Free: true}, func(p *report) (uint64, bool) { return of(p), true }}
	}
	zero := func(name string, of func(*report) uint64) attribute {
		a := free(name, of)
		a.Free = false
		return a
	}
	since := func(has func(*report) bool, a attribute) attribute {
		of := a.of
		a.of = func(p *report) (uint64, bool) {
			v, _ := of(p)
			return v, has(p)
		}
		return a
	}
	policy := func(mask uint64) func(*report) uint64 {
		return func(p *report) uint64 { return bit(p.policy&mask != 0) }
	}
	platform := func(n int) func(*report) uint64 {
		return func(p *report) uint64 { return p.platformInfo >> n & 1 }
	}
	return []attribute{
		free("version", func(p *report) uint64 { return uint64(p.version) }),
		free("guest_svn", func(p *report) uint64 { return uint64(p.guestSVN) }),
		free("abi_minor", func(p *report) uint64 { return p.policy & 0xFF }),
		free("abi_major", func(p *report) uint64 { return p.policy >> 8 & 0xFF }),
		free("smt", policy(policySMT)),
		zero("migrate_ma", policy(policyMigrateMA)),
		zero("debug", policy(policyDebug)),
		free("single_socket", policy(policySingleSocket)),
		zero("cxl_allow", policy(policyCXL)),
		free("mem_aes_256_xts", policy(policyXTS)),
		free("policy_rapl_dis", policy(policyRAPL)),
		free("ciphertext_hiding_dram", policy(policyCiphertext)),
		free("page_swap_disable", policy(policyPageSwap)),
		zero("vmpl", func(p *report) uint64 { return uint64(p.vmpl) }),
		free("platform_info", func(p *report) uint64 { return p.platformInfo }),
		free("smt_en", platform(0)),
		free("tsme_en", platform(1)),
		free("ecc_en", platform(2)),
		free("rapl_dis", platform(3)),
		free("ciphertext_hiding_dram_en", platform(4)),
		free("alias_check_complete", platform(5)),
		free("iommu_write_safe", platform(6)),
		free("tio_en", platform(7)),
		free("author_key_en", func(p *report) uint64 { return bit(p.authorKey) }),
		free("mask_chip_key", func(p *report) uint64 { return bit(p.maskKey) }),
		free("signing_key", func(p *report) uint64 { return uint64(p.signer) }),
		since((*report).hasCPU, free("family", func(p *report) uint64 { return uint64(p.family) })),
		since((*report).hasCPU, free("model", func(p *report) uint64 { return uint64(p.model) })),
		since((*report).hasCPU, free("stepping", func(p *report) uint64 { return uint64(p.stepping) })),
		since((*report).hasMitigations, free("launch_mit_vector", func(p *report) uint64 { return p.launchMit })),
		since((*report).hasMitigations, free("current_mit_vector", func(p *report) uint64 { return p.currentMit })),
	}
}

// bit returns 1 for true.
func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// measured returns the report's digests.
func (p *report) measured() []attest.Measurement {
	all := measurements()
	out := make([]attest.Measurement, len(all))
	for i := range all {
		out[i] = attest.Measurement{Name: all[i].Name, Value: all[i].of(p)}
	}
	return out
}

// stated returns the report's numbers, those that its version has.
func (p *report) stated() []attest.Attribute {
	all := attributes()
	out := make([]attest.Attribute, 0, len(all))
	for i := range all {
		if v, ok := all[i].of(p); ok {
			out = append(out, attest.Attribute{Name: all[i].Name, Value: v})
		}
	}
	return out
}

// details returns the decoded fields under the names of Table 23 and in its order, with
// the security versions as the product has them.
func (p *report) details(line product) []attest.Detail {
	d := []attest.Detail{
		{Name: "VERSION", Value: decimal(p.version)},
		{Name: "GUEST_SVN", Value: decimal(p.guestSVN)},
		{Name: "POLICY", Value: p.policyText()},
		{Name: "FAMILY_ID", Value: hex.EncodeToString(p.familyID)},
		{Name: "IMAGE_ID", Value: hex.EncodeToString(p.imageID)},
		{Name: "VMPL", Value: decimal(p.vmpl)},
		{Name: "SIGNATURE_ALGO", Value: "ECDSA P-384 with SHA-384"},
		{Name: "CURRENT_TCB", Value: p.currentTCB.text(line)},
		{Name: "PLATFORM_INFO", Value: p.platformText()},
		{Name: "AUTHOR_KEY_EN", Value: strconv.FormatBool(p.authorKey)},
		{Name: "MASK_CHIP_KEY", Value: strconv.FormatBool(p.maskKey)},
		{Name: "SIGNING_KEY", Value: p.signer.String()},
		{Name: "REPORT_DATA", Value: hex.EncodeToString(p.reportData)},
		{Name: "MEASUREMENT", Value: hex.EncodeToString(p.measurement)},
		{Name: "HOST_DATA", Value: hex.EncodeToString(p.hostData)},
		{Name: "ID_KEY_DIGEST", Value: hex.EncodeToString(p.idKey)},
		{Name: "AUTHOR_KEY_DIGEST", Value: hex.EncodeToString(p.author)},
		{Name: "REPORT_ID", Value: hex.EncodeToString(p.reportID)},
		{Name: "REPORT_ID_MA", Value: hex.EncodeToString(p.reportIDMA)},
		{Name: "REPORTED_TCB", Value: p.reportedTCB.text(line)},
	}
	if p.hasCPU() {
		d = append(d, attest.Detail{Name: "CPUID", Value: fmt.Sprintf("family 0x%02x, model 0x%02x, stepping %d", p.family, p.model, p.stepping)})
	}
	d = append(d, []attest.Detail{
		{Name: "CHIP_ID", Value: hex.EncodeToString(p.chipID)},
		{Name: "COMMITTED_TCB", Value: p.committedTCB.text(line)},
		{Name: "CURRENT version", Value: p.current.String()},
		{Name: "COMMITTED version", Value: p.committed.String()},
		{Name: "LAUNCH_TCB", Value: p.launchTCB.text(line)},
	}...)
	if p.hasMitigations() {
		d = append(d, []attest.Detail{
			{Name: "LAUNCH_MIT_VECTOR", Value: fmt.Sprintf("0x%x", p.launchMit)},
			{Name: "CURRENT_MIT_VECTOR", Value: fmt.Sprintf("0x%x", p.currentMit)},
		}...)
	}
	return d
}

// details returns what the certificate of the key says.
func (v *vek) details() []attest.Detail {
	d := []attest.Detail{
		{Name: "certificate productName", Value: v.name},
		{Name: "certificate TCB", Value: v.tcb.text(v.product)},
	}
	if v.signer == signerVLEK {
		return append(d, attest.Detail{Name: "certificate CSP id", Value: v.csp})
	}
	return append(d, attest.Detail{Name: "certificate HWID", Value: hex.EncodeToString(v.hwid)})
}

// decimal returns n in decimal.
func decimal(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

// policyText returns POLICY and the names of its bits.
func (p *report) policyText() string {
	out := []string{fmt.Sprintf("0x%x: ABI at least %d.%d", p.policy, p.policy>>8&0xFF, p.policy&0xFF)}
	for _, b := range []struct {
		bit  uint64
		name string
	}{
		{policySMT, "SMT"},
		{policyMigrateMA, "MIGRATE_MA"},
		{policyDebug, "DEBUG"},
		{policySingleSocket, "SINGLE_SOCKET"},
		{policyCXL, "CXL_ALLOW"},
		{policyXTS, "MEM_AES_256_XTS"},
		{policyRAPL, "RAPL_DIS"},
		{policyCiphertext, "CIPHERTEXT_HIDING_DRAM"},
		{policyPageSwap, "PAGE_SWAP_DISABLE"},
	} {
		if p.policy&b.bit != 0 {
			out = append(out, b.name)
		}
	}
	return strings.Join(out, ", ")
}

// platformText returns PLATFORM_INFO and the names of its bits.
func (p *report) platformText() string {
	out := []string{fmt.Sprintf("0x%x", p.platformInfo)}
	names := []string{
		"SMT_EN", "TSME_EN", "ECC_EN", "RAPL_DIS", "CIPHERTEXT_HIDING_DRAM_EN", "ALIAS_CHECK_COMPLETE", "IOMMU_WRITE_SAFE", "TIO_EN",
	}
	for i := range 64 {
		switch {
		case p.platformInfo>>i&1 == 0:
		case i < len(names):
			out = append(out, names[i])
		default:
			out = append(out, fmt.Sprintf("bit %d", i))
		}
	}
	return strings.Join(out, ", ")
}

// keys returns the key that signed, and those of the certificates above it.
func (c *chain) keys() []attest.Key {
	out := []attest.Key{{What: c.leaf.signer.String(), SPKI: c.leaf.cert.RawSubjectPublicKeyInfo}}
	if c.issuer != nil {
		out = append(out, attest.Key{What: subject(c.issuer.Certificate), SPKI: c.issuer.RawSubjectPublicKeyInfo})
	}
	if c.root != nil {
		out = append(out, attest.Key{What: subject(c.root.Certificate), SPKI: c.root.Certificate.RawSubjectPublicKeyInfo})
	}
	return out
}

// used returns the collateral items that the findings rest on.
func (c *chain) used(l *list) []attest.Use {
	var out []attest.Use
	add := func(index int, what string, from, until time.Time) {
		if index != notCollateral {
			out = append(out, attest.Use{Index: index, What: what, From: from, Until: until})
		}
	}
	add(c.leaf.index, fmt.Sprintf("certificate of the %v (%s)", c.leaf.signer, c.leaf.name), c.leaf.cert.NotBefore, c.leaf.cert.NotAfter)
	if c.issuer != nil {
		add(c.issuer.index, "certificate of "+subject(c.issuer.Certificate), c.issuer.NotBefore, c.issuer.NotAfter)
	}
	if c.root != nil {
		add(c.root.index, "certificate of "+subject(c.root.Certificate), c.root.Certificate.NotBefore, c.root.Certificate.NotAfter)
	}
	if l != nil {
		add(l.index, "revocation list of "+subject(c.root.Certificate), l.ThisUpdate, l.NextUpdate)
	}
	slices.SortFunc(out, func(a, b attest.Use) int { return cmp.Compare(a.Index, b.Index) })
	return out
}
