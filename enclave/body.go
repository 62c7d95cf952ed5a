package enclave

import (
	"encoding/binary"
	"fmt"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/dcap"
)

// The flags of an enclave's attributes (SDM, 36.7.1), and what is always set.
const (
	flagInit        = 1 << 0
	flagDebug       = 1 << 1
	flagMode64      = 1 << 2
	flagProvision   = 1 << 4
	flagEINITToken  = 1 << 5
	flagCET         = 1 << 6
	flagKSS         = 1 << 7
	flagAEXNotify   = 1 << 10
	flagsKnown      = flagInit | flagDebug | flagMode64 | flagProvision | flagEINITToken | flagCET | flagKSS | flagAEXNotify
	bitsX87AndSSE   = 3
	miscSelectKnown = 3 // EXINFO and CPINFO (SDM, 36.7.2).
)

// versionName is the name of ISVSVN among the security versions.
const versionName = "security_version"

// flags and xfrm are the two halves of the attributes.
func flags(r *dcap.Report) uint64 { return binary.LittleEndian.Uint64(r.Attributes[:]) }

func xfrm(r *dcap.Report) uint64 { return binary.LittleEndian.Uint64(r.Attributes[8:]) }

// checkReserved refuses what a CPU never reports. The error wraps [attest.ErrForm].
func checkReserved(r *dcap.Report) error {
	switch {
	case flags(r)&^flagsKnown != 0:
		return fmt.Errorf("reserved bits 0x%016x of the enclave's attributes are set: %w", flags(r)&^flagsKnown, attest.ErrForm)
	case flags(r)&flagInit == 0:
		return fmt.Errorf("attributes 0x%016x of an enclave that was not initialised: %w", flags(r), attest.ErrForm)
	case xfrm(r)&bitsX87AndSSE != bitsX87AndSSE:
		return fmt.Errorf("xfrm 0x%016x without the bits that are always set: %w", xfrm(r), attest.ErrForm)
	case r.MiscSelect&^miscSelectKnown != 0:
		return fmt.Errorf("reserved bits of miscselect 0x%08x are set: %w", r.MiscSelect, attest.ErrForm)
	default:
		return nil
	}
}

// checkMode refuses an enclave that its host may look into. The error wraps
// [attest.ErrMode].
func checkMode(r *dcap.Report) error {
	if flags(r)&flagDebug != 0 {
		return fmt.Errorf("the enclave is a debug enclave: %w", attest.ErrMode)
	}
	return nil
}

// measurement is one digest or identifier of the body.
type measurement struct {
	name  string
	size  int
	image bool
	with  []string
	of    func(*dcap.Report) []byte
}

// measurements are in the body's order. The two ids of a product are the signer's choice,
// CONFIGID is the host's.
func measurements() []measurement {
	return []measurement{
		{"ext_product_id", 16, false, nil, func(r *dcap.Report) []byte { return r.ISVExtProdID[:] }},
		{"unique_id", 32, true, nil, func(r *dcap.Report) []byte { return r.MREnclave[:] }},
		{"signer_id", 32, true, []string{"product_id", versionName}, func(r *dcap.Report) []byte { return r.MRSigner[:] }},
		{"config_id", 64, false, nil, func(r *dcap.Report) []byte { return r.ConfigID[:] }},
		{"family_id", 16, false, nil, func(r *dcap.Report) []byte { return r.ISVFamilyID[:] }},
	}
}

// attribute is one number of the body. One that is not free must be 0.
type attribute struct {
	name string
	free bool
	of   func(*dcap.Report) uint64
}

// attributes are the numbers in the body's order. An enclave with the provisioning key can
// tell platforms from each other and ask for keys that stay the same whoever owns the
// platform; one with the key of launch tokens decides what may be launched. Neither is for
// a job.
func attributes() []attribute {
	bit := func(mask uint64) func(*dcap.Report) uint64 {
		return func(r *dcap.Report) uint64 {
			if flags(r)&mask != 0 {
				return 1
			}
			return 0
		}
	}
	return []attribute{
		{"misc_select", true, func(r *dcap.Report) uint64 { return uint64(r.MiscSelect) }},
		{"cet_attributes", true, func(r *dcap.Report) uint64 { return uint64(r.CETAttributes) }},
		{"debug", false, bit(flagDebug)},
		{"mode64", true, bit(flagMode64)},
		{"provision_key", false, bit(flagProvision)},
		{"einittoken_key", false, bit(flagEINITToken)},
		{"cet", true, bit(flagCET)},
		{"kss", true, bit(flagKSS)},
		{"aex_notify", true, bit(flagAEXNotify)},
		{"xfrm", true, xfrm},
		{"product_id", true, func(r *dcap.Report) uint64 { return uint64(r.ISVProdID) }},
		{"config_version", true, func(r *dcap.Report) uint64 { return uint64(r.ConfigSVN) }},
	}
}

// states returns the measurements.
func states(r *dcap.Report) []attest.Measurement {
	var out []attest.Measurement
	for _, m := range measurements() {
		out = append(out, attest.Measurement{Name: m.name, Value: m.of(r)})
	}
	return out
}

// numbers returns the attributes.
func numbers(r *dcap.Report) []attest.Attribute {
	var out []attest.Attribute
	for _, a := range attributes() {
		out = append(out, attest.Attribute{Name: a.name, Value: a.of(r)})
	}
	return out
}
