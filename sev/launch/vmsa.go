package launch

import "encoding/binary"

// resetVector is where the first processor begins.
const resetVector = 0xFFFFFFF0

// segment is the state of a segment register in a save area: selector, attributes,
// limit and base.
type segment struct {
	at       int
	selector uint16
	attrib   uint16
	base     uint64
}

// quirks are what hypervisors set differently.
type quirks struct {
	cs, ss, tr uint16
	pat        uint64
	rdx        uint64
	mxcsr      uint32
	fcw        uint16
}

// quirks returns what the machine's host sets, for a processor that begins at entry.
func (m *Machine) quirks(entry uint32) quirks {
	const pat = 0x0007040600070406 // as after a reset
	switch m.Host {
	case EC2:
		q := quirks{cs: 0x9B, ss: 0x92, tr: 0x83, pat: pat, rdx: 0x600}
		if entry == resetVector {
			q.cs = 0x9A
		}
		return q
	case GCE:
		return quirks{cs: 0x9B, ss: 0x93, tr: 0x8B, pat: 0x00070106, rdx: 0x600}
	case QEMU:
		fallthrough
	default:
		return quirks{cs: 0x9B, ss: 0x93, tr: 0x8B, pat: pat, rdx: uint64(m.Signature), mxcsr: 0x1F80, fcw: 0x37F}
	}
}

// saveArea returns the page of a processor's first state (APM volume 2, table B-4):
// after a reset, but that it begins at entry.
func saveArea(m *Machine, entry uint32) []byte {
	page, q := make([]byte, pageSize), m.quirks(entry)
	le := binary.LittleEndian
	for _, s := range []segment{
		{at: 0x00, attrib: 0x93}, // ES
		{at: 0x10, selector: 0xF000, attrib: q.cs, base: uint64(entry &^ 0xFFFF)}, // CS
		{at: 0x20, attrib: q.ss}, // SS
		{at: 0x30, attrib: 0x93}, // DS
		{at: 0x40, attrib: 0x93}, // FS
		{at: 0x50, attrib: 0x93}, // GS
		{at: 0x60},               // GDTR
		{at: 0x70, attrib: 0x82}, // LDTR
		{at: 0x80},               // IDTR
		{at: 0x90, attrib: q.tr}, // TR
	} {
		le.PutUint16(page[s.at:], s.selector)
		le.PutUint16(page[s.at+2:], s.attrib)
		le.PutUint32(page[s.at+4:], 0xFFFF)
		le.PutUint64(page[s.at+8:], s.base)
	}
	for _, r := range []struct {
		at    int
		value uint64
	}{
		{0xD0, 0x1000},                  // EFER: SVME, as KVM has it
		{0x148, 0x40},                   // CR4: MCE, as KVM has it
		{0x158, 0x10},                   // CR0: ET
		{0x160, 0x400},                  // DR7
		{0x168, 0xFFFF0FF0},             // DR6
		{0x170, 2},                      // RFLAGS
		{0x178, uint64(entry & 0xFFFF)}, // RIP
		{0x268, q.pat},                  // G_PAT
		{0x310, q.rdx},                  // RDX
		{0x3B0, m.Features},             // SEV_FEATURES
		{0x3E8, 1},                      // XCR0
	} {
		le.PutUint64(page[r.at:], r.value)
	}
	le.PutUint32(page[0x408:], q.mxcsr)
	le.PutUint16(page[0x410:], q.fcw)
	return page
}

// Signature returns EAX of CPUID function 1 for a family, model and stepping as AMD
// counts them (25481): family up to 270, model up to 255, stepping up to 15. What is
// above is cut off.
func Signature(family, model, stepping uint32) uint32 {
	low := min(family, 15)
	return (family-low)&0xFF<<20 | model>>4&0xF<<16 | low<<8 | model&0xF<<4 | stepping&0xF
}

// CPU returns the signature of a processor type by QEMU's name for it, without the
// version, such as "EPYC-Milan"; false if it is not known.
func CPU(name string) (uint32, bool) {
	switch name {
	case "EPYC", "EPYC-IBPB":
		return Signature(23, 1, 2), true
	case "EPYC-Rome":
		return Signature(23, 49, 0), true
	case "EPYC-Milan":
		return Signature(25, 1, 1), true
	case "EPYC-Genoa":
		return Signature(25, 17, 0), true
	case "EPYC-Turin":
		return Signature(26, 0, 0), true
	}
	return 0, false
}
