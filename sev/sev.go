// Package sev appraises attestation reports of AMD SEV-SNP: is this report genuine,
// and what does it state? It is the [attest.Scheme] of format 2, "sev-snp".
//
// The evidence is the ATTESTATION_REPORT as the firmware returned it, 1184 bytes,
// versions 2 to 5, of Milan, Genoa (with Bergamo and Siena) and Turin processors
// ([NewEvidence]). What AMD signed is collateral, in any order: the certificate of
// the key that signed the report, VCEK or VLEK, that of the authority above it, ASK
// or ASVK, that of the root, ARK, and the root's revocation list.
//
// # What the report proves
//
// Claims exist only if the report parses exactly, the key of a supplied certificate
// signed the bytes received, the guest cannot be debugged, and the guest asked for
// the report, not the host. Whose chip it was is a finding: the chain must end in a
// root of role "amd-ark", which roots one product. Nothing in the evidence or beside
// it is believed to be a root because it says so.
//
// # What a policy can ask for
//
// Measurements, with their sizes in bytes: measurement (48, what was launched),
// host_data (32), family_id and image_id (16), id_key_digest and author_key_digest
// (48), report_id_ma (32), chip_id (64; zeros if the host masks it).
//
// Attributes that must be 0 unless a policy says otherwise: debug (never anything
// else), migrate_ma (a migration agent may take the guest elsewhere), cxl_allow
// (memory on devices that the processor does not contain) and vmpl (0 to 3: who is
// at a higher level than 0 is below somebody else in the same guest; genuine reports
// of AWS are at 1).
//
// All others are free. Of POLICY: abi_major, abi_minor, smt, single_socket,
// mem_aes_256_xts, policy_rapl_dis, ciphertext_hiding_dram, page_swap_disable. Of
// PLATFORM_INFO: smt_en, tsme_en, ecc_en, rapl_dis, ciphertext_hiding_dram_en,
// alias_check_complete, iommu_write_safe (bit 6, which Turin sets and revision 1.58
// of the manual reserves), tio_en, and platform_info for the whole word: firmware
// has set bits there before the manual had names for them, so that none is refused.
// Whoever fears BadRAM wants alias_check_complete 1; it is free because older
// firmware never sets it. Then guest_svn, version (of the report), author_key_en,
// mask_chip_key, signing_key (0 VCEK, 1 VLEK); of version 3 and above family, model
// and stepping; of version 5 launch_mit_vector and current_mit_vector.
//
// Security versions: bootloader, tee, snp, microcode and, of Turin, fmc; each is the
// least of REPORTED_TCB, COMMITTED_TCB, CURRENT_TCB and LAUNCH_TCB.
//
// # What nothing signs
//
// Every byte of the report is covered by the signature, but for the signature. An
// ECDSA signature has a second form, (r, n-s), that verifies as well; whoever needs
// to tell the two apart must digest the evidence itself, as
// [attest.EvidenceDigest] does.
//
// Tables are those of AMD's "SEV Secure Nested Paging Firmware ABI Specification",
// 56860, revision 1.58; certificates are those of "Versioned Chip Endorsement Key
// (VCEK) Certificate and KDS Interface Specification", 57230.
package sev

import (
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/sworn-run/sworn/attest"
)

// Format is the registry number of the evidence format of this package.
const Format attest.Format = 2

// PartReport is the one part of the evidence: the ATTESTATION_REPORT, [ReportSize]
// bytes.
const PartReport = "report"

// NewEvidence makes evidence of a report for the given slot. It copies nothing, and
// adds no collateral. The error wraps [attest.ErrForm] if the report does not parse
// exactly; that it verifies is not checked.
func NewEvidence(slot uint8, report []byte) (*attest.Evidence, error) {
	if _, err := parseReport(report); err != nil {
		return nil, err
	}
	return &attest.Evidence{Slot: slot, Format: Format, Parts: []attest.Part{{Name: PartReport, Data: report}}}, nil
}

// SplitReport cuts a file of somebody else's after its report: the report, and what
// follows it and nobody signed. The error wraps [attest.ErrForm] for a file of fewer
// than [ReportSize] bytes. Evidence has no surplus; this serves whoever has to say so.
func SplitReport(b []byte) (report, surplus []byte, err error) {
	if len(b) < ReportSize {
		return nil, nil, fmt.Errorf("report of %d bytes, want %d: %w", len(b), ReportSize, attest.ErrForm)
	}
	return b[:ReportSize:ReportSize], b[ReportSize:], nil
}

// Scheme appraises SEV-SNP reports. Its zero value is ready to use, and safe for
// concurrent use.
type Scheme struct {
	// Cache remembers signatures of certificates and revocation lists that verified;
	// nil remembers none. What is found is the same.
	Cache *Cache
}

var _ attest.Scheme = Scheme{}

// Describe returns the constants of the format: direct binding in 64 bytes of
// SHA-512, no register, identities of role "amd-ark", no word of AMD on the state of
// platforms.
func (Scheme) Describe() attest.Description {
	d := attest.Description{
		Format:        Format,
		Name:          "sev-snp",
		Mode:          attest.ModeDirect,
		Anchor:        attest.AnchorStatementOnly,
		QuotedHash:    attest.SHA512,
		RootRole:      Role,
		NotApplicable: []string{"slot.counters"},
		Versions:      []string{"fmc", "bootloader", "tee", "snp", "microcode"},
	}
	for _, m := range measurements() {
		d.Measurements = append(d.Measurements, m.MeasurementField)
	}
	for _, a := range attributes() {
		d.Attributes = append(d.Attributes, a.AttributeField)
	}
	return d
}

// Verify checks the report in ev and returns what it states. Collateral is read as
// the package comment says; identity and revocation are judged against the roots and
// pins of role "amd-ark" in anchors at time at, and nil anchors leave them not
// established.
//
// The error wraps [attest.ErrArgument] for nil evidence or a zero time,
// [attest.ErrForm] for a report that does not parse exactly or is not of the form
// that its certificate's product has, [attest.ErrSignature] if no key of a supplied
// certificate signed it, [attest.ErrNoKey] if none was supplied, and [attest.ErrMode] for a
// report that names no key as its signer or a masked one, of a guest that may be
// debugged, or that the host asked for.
func (s Scheme) Verify(ev *attest.Evidence, anchors *attest.Anchors, at time.Time) (*attest.Claims, error) {
	if ev == nil {
		return nil, fmt.Errorf("verifying nil evidence: %w", attest.ErrArgument)
	}
	if at.IsZero() {
		return nil, fmt.Errorf("verifying a report at the zero time: %w", attest.ErrArgument)
	}
	p, err := reportOf(ev)
	if err != nil {
		return nil, err
	}
	if p.signer == signerNone {
		return nil, fmt.Errorf("SIGNING_KEY is none: %w", attest.ErrMode)
	}
	if p.unsigned() {
		return nil, fmt.Errorf("the signature is zero (MASK_CHIP_KEY %v): %w", p.maskKey, attest.ErrSignature)
	}
	m, err := gather(ev.Collateral, anchors, s.Cache, at)
	if err != nil {
		return nil, err
	}
	all, err := m.candidates(p)
	if err != nil {
		return nil, fmt.Errorf("verifying the report's signature: %w", err)
	}
	if err := p.checkMode(); err != nil {
		return nil, fmt.Errorf("checking the report: %w", err)
	}
	claims := p.claims(m, m.chain(all, anchors), all)
	if m.checked > maxChecked {
		return nil, fmt.Errorf("the collateral asks for more than %d signatures to be verified: %w", maxChecked, attest.ErrForm)
	}
	return claims, nil
}

// reportOf parses the one part.
func reportOf(ev *attest.Evidence) (*report, error) {
	if ev.Format != Format {
		return nil, fmt.Errorf("evidence of format %d, want %d: %w", ev.Format, Format, attest.ErrForm)
	}
	if len(ev.Parts) != 1 || ev.Parts[0].Name != PartReport {
		return nil, fmt.Errorf("%d parts, want the one part %q: %w", len(ev.Parts), PartReport, attest.ErrForm)
	}
	p, err := parseReport(ev.Parts[0].Data)
	if err != nil {
		return nil, fmt.Errorf("parsing part %q: %w", PartReport, err)
	}
	return p, nil
}

// claims judges the chain and puts everything together.
func (p *report) claims(m *material, c *chain, all []candidate) *attest.Claims {
	identity := c.identity(p)
	established := identity.Status == attest.Passed
	coherent := c.leaf.fits(p)
	if !established && coherent.Status == attest.Passed {
		coherent = attest.Finding{Detail: "no established chain above the certificate that the report fits"}
	}
	revocation, list := m.revocation(c)
	used := c.used(list)
	return &attest.Claims{
		Format:       Format,
		KeyID:        sha256.Sum256(p.reportID),
		Quoted:       p.reportData,
		Keys:         c.keys(),
		Product:      string(c.leaf.product),
		Identity:     identity,
		Revocation:   revocation,
		Coherent:     coherent,
		TCB:          p.appraiseTCB(c.leaf.vek, established),
		Measurements: p.measured(),
		Attributes:   p.stated(),
		Used:         used,
		Spare:        m.spares(c, all, used),
		Details:      append(p.details(c.leaf.product), c.leaf.details()...),
	}
}
