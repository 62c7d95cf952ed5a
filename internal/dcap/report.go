package dcap

import (
	"encoding/binary"
	"fmt"

	"github.com/sworn-run/sworn/attest"
)

// Report is the body of an enclave's report (SGX-QL, A.4.3; Intel SDM, volume 3D,
// 40.15).
type Report struct {
	// CPUSVN is the platform's security version as the CPU packs it.
	CPUSVN [16]byte
	// MiscSelect are the extended features of the state save area.
	MiscSelect uint32
	// CETAttributes are the enclave's attributes of control flow enforcement.
	CETAttributes uint8
	// ISVExtProdID is the extended product id.
	ISVExtProdID [16]byte
	// Attributes are the enclave's flags (8 bytes) and XFRM (8 bytes).
	Attributes [16]byte
	// MREnclave is the digest of the enclave, SHA-256.
	MREnclave [32]byte
	// MRSigner is SHA-256 of the modulus of the key that signed the enclave.
	MRSigner [32]byte
	// ConfigID is the configuration that the platform's software launched it with.
	ConfigID [64]byte
	// ISVProdID, ISVSVN and ConfigSVN are the numbers of product, security version
	// and configuration.
	ISVProdID, ISVSVN, ConfigSVN uint16
	// ISVFamilyID is the product family.
	ISVFamilyID [16]byte
	// ReportData is what the enclave reports.
	ReportData [64]byte
}

// parseReport reads the 384 bytes of a report; reserved bytes must be zero.
func parseReport(b []byte) (*Report, error) {
	if len(b) != reportSize {
		return nil, fmt.Errorf("report of %d bytes, want %d: %w", len(b), reportSize, attest.ErrForm)
	}
	for _, span := range [][2]int{{21, 32}, {96, 128}, {160, 192}, {262, 304}} {
		if !zero(b[span[0]:span[1]]) {
			return nil, fmt.Errorf("reserved bytes %d to %d of a report are not zero: %w", span[0], span[1]-1, attest.ErrForm)
		}
	}
	return &Report{
		CPUSVN:        [16]byte(b),
		MiscSelect:    binary.LittleEndian.Uint32(b[16:]),
		CETAttributes: b[20],
		ISVExtProdID:  [16]byte(b[32:]),
		Attributes:    [16]byte(b[48:]),
		MREnclave:     [32]byte(b[64:]),
		MRSigner:      [32]byte(b[128:]),
		ConfigID:      [64]byte(b[192:]),
		ISVProdID:     binary.LittleEndian.Uint16(b[256:]),
		ISVSVN:        binary.LittleEndian.Uint16(b[258:]),
		ConfigSVN:     binary.LittleEndian.Uint16(b[260:]),
		ISVFamilyID:   [16]byte(b[304:]),
		ReportData:    [64]byte(b[320:]),
	}, nil
}

// TDReport is the body of a trust domain's report (SGX-QL, A.3.3 for TDX 1.0, A.3.4
// for TDX 1.5). Digests are SHA-384.
type TDReport struct {
	// TEETCBSVN are the security versions of the TDX module: minor, major, that of
	// the microcode as loaded late, and 13 bytes of which Intel uses none today.
	TEETCBSVN [16]byte
	// MRSEAM is the digest of the TDX module.
	MRSEAM [48]byte
	// MRSignerSEAM is the digest of the key that signed the module, zero for Intel's.
	MRSignerSEAM [48]byte
	// SEAMAttributes are the module's attributes.
	SEAMAttributes [8]byte
	// TDAttributes are the trust domain's attributes, little-endian.
	TDAttributes uint64
	// XFAM are the extended features that the TD may use, little-endian.
	XFAM uint64
	// MRTD is the digest of the TD's initial content.
	MRTD [48]byte
	// MRConfigID, MROwner and MROwnerConfig are the host's choice.
	MRConfigID, MROwner, MROwnerConfig [48]byte
	// RTMR are the registers that the TD extends at run time.
	RTMR [4][48]byte
	// ReportData is what the TD reports.
	ReportData [64]byte
	// Is15 tells a report of TDX 1.5, which has the two fields below.
	Is15 bool
	// TEETCBSVN2 are the versions of the module that runs now, when TEETCBSVN are
	// those at the TD's launch.
	TEETCBSVN2 [16]byte
	// MRServiceTD is the digest over the service TDs that are bound to this one.
	MRServiceTD [48]byte
}

// parseTD reads the 584 or 648 bytes of a TD report.
func parseTD(b []byte) *TDReport {
	t := &TDReport{
		TEETCBSVN:      [16]byte(b),
		MRSEAM:         [48]byte(b[16:]),
		MRSignerSEAM:   [48]byte(b[64:]),
		SEAMAttributes: [8]byte(b[112:]),
		TDAttributes:   binary.LittleEndian.Uint64(b[120:]),
		XFAM:           binary.LittleEndian.Uint64(b[128:]),
		MRTD:           [48]byte(b[136:]),
		MRConfigID:     [48]byte(b[184:]),
		MROwner:        [48]byte(b[232:]),
		MROwnerConfig:  [48]byte(b[280:]),
		ReportData:     [64]byte(b[520:]),
	}
	for i := range t.RTMR {
		t.RTMR[i] = [48]byte(b[328+48*i:])
	}
	if len(b) == td15Size {
		t.Is15, t.TEETCBSVN2, t.MRServiceTD = true, [16]byte(b[584:]), [48]byte(b[600:])
	}
	return t
}

// zero reports whether all bytes are zero.
func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// ParseTDReport reads the 584 or 648 bytes of a TD report. It keeps its own copy of b.
// The error wraps [attest.ErrForm] for another size.
func ParseTDReport(b []byte) (*TDReport, error) {
	if len(b) != td10Size && len(b) != td15Size {
		return nil, fmt.Errorf("td report of %d bytes, want %d or %d: %w", len(b), td10Size, td15Size, attest.ErrForm)
	}
	return parseTD(b), nil
}
