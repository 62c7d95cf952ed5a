package sev

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/sworn-run/sworn/attest"
)

// ReportSize is the size of an ATTESTATION_REPORT in bytes, whatever its version.
const ReportSize = 1184

// signedSize is how much of the report the signature covers.
const signedSize = 0x2A0

// The versions of the report that are read.
const (
	minVersion = 2
	maxVersion = 5
)

// signer is SIGNING_KEY: which key signed the report.
type signer uint8

// The keys that sign reports (Table 23, SIGNING_KEY).
const (
	signerVCEK signer = 0
	signerVLEK signer = 1
	signerNone signer = 7
)

// String returns the key's name in the manual.
func (s signer) String() string {
	switch s {
	case signerVCEK:
		return "VCEK"
	case signerVLEK:
		return "VLEK"
	case signerNone:
		return "none"
	default:
		return fmt.Sprintf("reserved %d", uint8(s))
	}
}

// The bits of POLICY (Table 10) that are not an ABI version.
const (
	policySMT          = 1 << 16
	policyReservedOne  = 1 << 17
	policyMigrateMA    = 1 << 18
	policyDebug        = 1 << 19
	policySingleSocket = 1 << 20
	policyCXL          = 1 << 21
	policyXTS          = 1 << 22
	policyRAPL         = 1 << 23
	policyCiphertext   = 1 << 24
	policyPageSwap     = 1 << 25
	policyKnown        = 1<<26 - 1
)

// The word at 0x48: AUTHOR_KEY_EN, MASK_CHIP_KEY, SIGNING_KEY.
const (
	flagAuthorKey = 1 << 0
	flagMaskKey   = 1 << 1
	flagsKnown    = 1<<5 - 1
)

// hostVMPL is the VMPL of a report that the host asked for (SNP_HV_REPORT_REQ).
const hostVMPL = 0xFFFFFFFF

// maxVMPL is the least privileged level.
const maxVMPL = 3

// build is a version of the firmware.
type build struct{ build, minor, major uint8 }

// String returns the version as AMD writes it, with its build.
func (b build) String() string { return fmt.Sprintf("%d.%d build %d", b.major, b.minor, b.build) }

// report is an ATTESTATION_REPORT, parsed (Table 23). Its slices are parts of raw.
type report struct {
	raw          []byte
	version      uint32
	guestSVN     uint32
	policy       uint64
	familyID     []byte
	imageID      []byte
	vmpl         uint32
	currentTCB   tcbVersion
	platformInfo uint64
	authorKey    bool
	maskKey      bool
	signer       signer
	reportData   []byte
	measurement  []byte
	hostData     []byte
	idKey        []byte
	author       []byte
	reportID     []byte
	reportIDMA   []byte
	reportedTCB  tcbVersion
	// family, model and stepping are of version 3 and above.
	family, model, stepping uint8
	chipID                  []byte
	committedTCB            tcbVersion
	current, committed      build
	launchTCB               tcbVersion
	// launchMit and currentMit are of version 5.
	launchMit, currentMit uint64
	// r and s are big-endian, 48 bytes each.
	r, s [48]byte
}

// parseReport parses exactly the bytes of a report. It keeps its own copy of b.
// Every error wraps ErrForm.
func parseReport(b []byte) (*report, error) {
	if len(b) != ReportSize {
		return nil, fmt.Errorf("report of %d bytes, want %d: %w", len(b), ReportSize, attest.ErrForm)
	}
	b = bytes.Clone(b)
	le := binary.LittleEndian
	flags := le.Uint32(b[0x48:])
	p := &report{
		raw:          b,
		version:      le.Uint32(b),
		guestSVN:     le.Uint32(b[0x04:]),
		policy:       le.Uint64(b[0x08:]),
		familyID:     b[0x10:0x20:0x20],
		imageID:      b[0x20:0x30:0x30],
		vmpl:         le.Uint32(b[0x30:]),
		currentTCB:   tcbVersion(b[0x38:0x40]),
		platformInfo: le.Uint64(b[0x40:]),
		authorKey:    flags&flagAuthorKey != 0,
		maskKey:      flags&flagMaskKey != 0,
		signer:       signer(flags >> 2 & 7),
		reportData:   b[0x50:0x90:0x90],
		measurement:  b[0x90:0xC0:0xC0],
		hostData:     b[0xC0:0xE0:0xE0],
		idKey:        b[0xE0:0x110:0x110],
		author:       b[0x110:0x140:0x140],
		reportID:     b[0x140:0x160:0x160],
		reportIDMA:   b[0x160:0x180:0x180],
		reportedTCB:  tcbVersion(b[0x180:0x188]),
		family:       b[0x188],
		model:        b[0x189],
		stepping:     b[0x18A],
		chipID:       b[0x1A0:0x1E0:0x1E0],
		committedTCB: tcbVersion(b[0x1E0:0x1E8]),
		current:      build{b[0x1E8], b[0x1E9], b[0x1EA]},
		committed:    build{b[0x1EC], b[0x1ED], b[0x1EE]},
		launchTCB:    tcbVersion(b[0x1F0:0x1F8]),
		launchMit:    le.Uint64(b[0x1F8:]),
		currentMit:   le.Uint64(b[0x200:]),
	}
	if err := p.check(flags, le.Uint32(b[0x34:])); err != nil {
		return nil, err
	}
	for i := range p.r {
		p.r[47-i], p.s[47-i] = b[signedSize+i], b[signedSize+72+i]
	}
	return p, nil
}

// check refuses versions, algorithms and values that the manual does not know, and
// reserved fields that are not zero.
func (p *report) check(flags, algorithm uint32) error {
	switch {
	case p.version < minVersion || p.version > maxVersion:
		return fmt.Errorf("report version %d, want %d to %d: %w", p.version, minVersion, maxVersion, attest.ErrForm)
	case algorithm != 1:
		return fmt.Errorf("SIGNATURE_ALGO %d, want 1 (ECDSA P-384 with SHA-384): %w", algorithm, attest.ErrForm)
	case flags&^flagsKnown != 0:
		return fmt.Errorf("reserved bits beside SIGNING_KEY, 0x%x: %w", flags, attest.ErrForm)
	case p.policy&policyReservedOne == 0 || p.policy&^policyKnown != 0:
		return fmt.Errorf("POLICY 0x%x, reserved bits: %w", p.policy, attest.ErrForm)
	case p.vmpl > maxVMPL && p.vmpl != hostVMPL:
		return fmt.Errorf("VMPL %d: %w", p.vmpl, attest.ErrForm)
	case p.signer > signerVLEK && p.signer != signerNone:
		return fmt.Errorf("SIGNING_KEY %d: %w", p.signer, attest.ErrForm)
	}
	for _, f := range p.reserved() {
		for i := f.from; i < f.to; i++ {
			if p.raw[i] != 0 {
				return fmt.Errorf("reserved byte at 0x%03x is 0x%02x: %w", i, p.raw[i], attest.ErrForm)
			}
		}
	}
	return nil
}

// span is the bytes from from to before to.
type span struct{ from, to int }

// reserved returns the bytes that must be zero in this version of the report.
func (p *report) reserved() []span {
	out := []span{
		{0x4C, 0x50},
		{0x18B, 0x1A0},
		{0x1EB, 0x1EC},
		{0x1EF, 0x1F0},
		{0x208, signedSize},
		// The signature: R and S are 72 bytes each, of which P-384 needs 48.
		{signedSize + 48, signedSize + 72},
		{signedSize + 120, signedSize + 144},
		{signedSize + 144, ReportSize},
	}
	if !p.hasCPU() {
		out = append(out, span{0x188, 0x18B})
	}
	if !p.hasMitigations() {
		out = append(out, span{0x1F8, 0x208})
	}
	return out
}

// hasCPU reports whether this version has family, model and stepping.
func (p *report) hasCPU() bool { return p.version >= 3 }

// hasMitigations reports whether this version has the mitigation vectors.
func (p *report) hasMitigations() bool { return p.version >= 5 }

// signed returns the bytes that the signature covers.
func (p *report) signed() []byte { return p.raw[:signedSize] }

// unsigned reports whether the signature is all zero.
func (p *report) unsigned() bool { return p.r == [48]byte{} && p.s == [48]byte{} }

// checkMode refuses genuine reports of kinds that prove nothing to anybody else.
func (p *report) checkMode() error {
	switch {
	case p.policy&policyDebug != 0:
		return fmt.Errorf("POLICY allows debugging: the host may read and write the guest: %w", attest.ErrMode)
	case p.vmpl == hostVMPL:
		return fmt.Errorf("the host asked for the report, not the guest: %w", attest.ErrMode)
	case p.signer == signerVCEK && p.maskKey:
		return fmt.Errorf("MASK_CHIP_KEY: the chip's key must not sign, and SIGNING_KEY names it: %w", attest.ErrMode)
	}
	return nil
}
