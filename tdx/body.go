package tdx

import (
	"encoding/binary"
	"fmt"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/dcap"
)

// The bits of TD attributes (ABI, 3.4.1).
const (
	bitDebug = 1 << 0
	// bitsTUD are all by which a TD is under debug or profiling.
	bitsTUD        = 0xFF
	bitICSSD       = 1 << 16
	bitLASS        = 1 << 27
	bitSEPTVE      = 1 << 28
	bitMigratable  = 1 << 29
	bitPKS         = 1 << 30
	bitKL          = 1 << 31
	bitTPA         = 1 << 62
	bitPerfmon     = 1 << 63
	bitsKnown      = bitsTUD | bitICSSD | bitLASS | bitSEPTVE | bitMigratable | bitPKS | bitKL | bitTPA | bitPerfmon
	bitsX87AndSSE  = 3
	unusedVersions = 3
)

// checkReserved refuses what a TDX module never reports. The error wraps
// [attest.ErrForm].
func checkReserved(t *dcap.TDReport) error {
	if r := t.TDAttributes &^ bitsKnown; r != 0 {
		return fmt.Errorf("reserved bits 0x%016x of the TD's attributes are set: %w", r, attest.ErrForm)
	}
	if t.XFAM&bitsX87AndSSE != bitsX87AndSSE {
		return fmt.Errorf("xfam 0x%016x without the bits that are always set: %w", t.XFAM, attest.ErrForm)
	}
	for _, svn := range [][16]byte{t.TEETCBSVN, t.TEETCBSVN2} {
		for _, b := range svn[unusedVersions:] {
			if b != 0 {
				return fmt.Errorf("reserved bytes of the TDX module's security version are not zero: %w", attest.ErrForm)
			}
		}
	}
	return nil
}

// checkMode refuses a TD that its host may look into, and a TDX module that is not in
// production. The error wraps [attest.ErrMode].
func checkMode(t *dcap.TDReport) error {
	switch {
	case t.TDAttributes&bitDebug != 0:
		return fmt.Errorf("the TD is a debug TD: %w", attest.ErrMode)
	case t.TDAttributes&bitsTUD != 0:
		return fmt.Errorf("the TD is under debug: attributes 0x%016x: %w", t.TDAttributes, attest.ErrMode)
	case t.SEAMAttributes != [8]byte{}:
		return fmt.Errorf("the TDX module has attributes %x: %w", t.SEAMAttributes, attest.ErrMode)
	default:
		return nil
	}
}

// measurement is one digest of the body.
type measurement struct {
	name, manual string
	image        bool
	of           func(*dcap.TDReport) *[48]byte
}

// measurements are the digests in the body's order. MRSERVICETD is zeros in a quote
// that has no place for it.
func measurements() []measurement {
	rtmr := func(i int) func(*dcap.TDReport) *[48]byte {
		return func(t *dcap.TDReport) *[48]byte { return &t.RTMR[i] }
	}
	return []measurement{
		{"mrseam", "MRSEAM", false, func(t *dcap.TDReport) *[48]byte { return &t.MRSEAM }},
		{"mrsignerseam", "MRSIGNERSEAM", false, func(t *dcap.TDReport) *[48]byte { return &t.MRSignerSEAM }},
		{"mrtd", "MRTD", true, func(t *dcap.TDReport) *[48]byte { return &t.MRTD }},
		{"mrconfigid", "MRCONFIGID", false, func(t *dcap.TDReport) *[48]byte { return &t.MRConfigID }},
		{"mrowner", "MROWNER", false, func(t *dcap.TDReport) *[48]byte { return &t.MROwner }},
		{"mrownerconfig", "MROWNERCONFIG", false, func(t *dcap.TDReport) *[48]byte { return &t.MROwnerConfig }},
		{"rtmr0", "RTMR0", true, rtmr(0)},
		{"rtmr1", "RTMR1", true, rtmr(1)},
		{"rtmr2", "RTMR2", true, rtmr(2)},
		{"rtmr3", "RTMR3", false, rtmr(3)},
		{"mrservicetd", "MRSERVICETD", false, func(t *dcap.TDReport) *[48]byte { return &t.MRServiceTD }},
	}
}

// attribute is one number of the body.
type attribute struct {
	name string
	free bool
	want uint64
	of   func(*dcap.TDReport) uint64
}

// attributes are the numbers in the body's order. Without SEPT_VE_DISABLE a host can
// have the TD's exception handler run at any access to memory; a migratable TD is as
// trustworthy as the service TD that moves it, and a TPA as the devices that it admits.
func attributes() []attribute {
	bit := func(mask uint64) func(*dcap.TDReport) uint64 {
		return func(t *dcap.TDReport) uint64 {
			if t.TDAttributes&mask != 0 {
				return 1
			}
			return 0
		}
	}
	return []attribute{
		{"debug", false, 0, bit(bitDebug)},
		{"icssd", true, 0, bit(bitICSSD)},
		{"lass", true, 0, bit(bitLASS)},
		{"sept_ve_disable", false, 1, bit(bitSEPTVE)},
		{"migratable", false, 0, bit(bitMigratable)},
		{"pks", true, 0, bit(bitPKS)},
		{"kl", true, 0, bit(bitKL)},
		{"tpa", false, 0, bit(bitTPA)},
		{"perfmon", true, 0, bit(bitPerfmon)},
		{"xfam", true, 0, func(t *dcap.TDReport) uint64 { return t.XFAM }},
	}
}

// states returns the measurements.
func states(t *dcap.TDReport) []attest.Measurement {
	var out []attest.Measurement
	for _, m := range measurements() {
		out = append(out, attest.Measurement{Name: m.name, Value: m.of(t)[:]})
	}
	return out
}

// numbers returns the attributes.
func numbers(t *dcap.TDReport) []attest.Attribute {
	var out []attest.Attribute
	for _, a := range attributes() {
		out = append(out, attest.Attribute{Name: a.name, Value: a.of(t)})
	}
	return out
}

// registers returns RTMR0 to RTMR3.
func registers(t *dcap.TDReport) []attest.RegisterValue {
	var out []attest.RegisterValue
	for i := range t.RTMR {
		out = append(out, attest.RegisterValue{Bank: attest.SHA384, Index: uint32(i), Value: t.RTMR[i][:]})
	}
	return out
}

// versions returns the least security versions of the TDX module that the report
// states: of the one at the TD's launch and of the one that runs now.
func versions(t *dcap.TDReport) []attest.Attribute {
	// Major version, then minor: bytes 1 and 0.
	module, late := uint64(binary.LittleEndian.Uint16(t.TEETCBSVN[:])), uint64(t.TEETCBSVN[2])
	if t.Is15 {
		module = min(module, uint64(binary.LittleEndian.Uint16(t.TEETCBSVN2[:])))
		late = min(late, uint64(t.TEETCBSVN2[2]))
	}
	return []attest.Attribute{{Name: "tdx_module", Value: module}, {Name: "tdx_late_microcode", Value: late}}
}

// details returns the body's fields under the names of the manual.
func details(t *dcap.TDReport) []attest.Detail {
	d := func(name, format string, value any) attest.Detail {
		return attest.Detail{Name: name, Value: fmt.Sprintf(format, value)}
	}
	out := []attest.Detail{
		d("TEE_TCB_SVN", "%x", t.TEETCBSVN),
		d("SEAMATTRIBUTES", "%x", t.SEAMAttributes),
		d("TDATTRIBUTES", "0x%016x", t.TDAttributes),
		d("XFAM", "0x%016x", t.XFAM),
	}
	for _, m := range measurements() {
		if m.name != "mrservicetd" || t.Is15 {
			out = append(out, d(m.manual, "%x", m.of(t)[:]))
		}
	}
	if t.Is15 {
		out = append(out, d("TEE_TCB_SVN_2", "%x", t.TEETCBSVN2))
	}
	return append(out, d("REPORTDATA", "%x", t.ReportData))
}
