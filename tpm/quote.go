package tpm

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/sworn-run/sworn/attest"
)

// Constants of TPMS_ATTEST.
const (
	// tpmGenerated is TPM_GENERATED_VALUE (Part 2, 6.2): a restricted key
	// signs nothing from outside that starts with it.
	tpmGenerated = 0xFF544347
	// stAttestQuote is TPM_ST_ATTEST_QUOTE (Part 2, 6.9).
	stAttestQuote = 0x8018
	// stAttestNV is TPM_ST_ATTEST_NV.
	stAttestNV = 0x8014
)

// header is what every TPMS_ATTEST begins with (Part 2, 10.12.12), after magic
// and type.
type header struct {
	qualifiedSigner []byte
	extraData       []byte
	clock           uint64
	resetCount      uint32
	restartCount    uint32
	safe            bool
	firmware        uint64
}

// quote is a TPMS_ATTEST with a TPMS_QUOTE_INFO (Part 2, 10.12.12 and 10.12.4).
type quote struct {
	raw []byte
	header
	selection []bankSelection
	digest    []byte
}

// bankSelection is a TPMS_PCR_SELECTION (Part 2, 10.6.2).
type bankSelection struct {
	bank   attest.Alg
	bitmap []byte
}

// indices returns the selected registers in ascending order, the order in
// which a TPM concatenates their values (Part 1, 17.5).
func (s *bankSelection) indices() []uint32 {
	var out []uint32
	for i := range uint32(len(s.bitmap)) * 8 {
		if s.bitmap[i/8]>>(i%8)&1 == 1 {
			out = append(out, i)
		}
	}
	return out
}

// parseQuote parses exactly the bytes of a TPMS_ATTEST. It keeps its own copy
// of b.
func parseQuote(b []byte) (*quote, error) {
	q := &quote{raw: bytes.Clone(b)}
	r := reader{b: q.raw}
	if err := q.parseHeader(&r, stAttestQuote); err != nil {
		return nil, err
	}
	if err := q.parseSelection(&r); err != nil {
		return nil, err
	}
	q.digest = r.sized(maxDigest)
	if !r.done() {
		return nil, fmt.Errorf("truncated or with trailing bytes: %w", attest.ErrForm)
	}
	if !bytes.Equal(q.marshal(), b) {
		return nil, fmt.Errorf("does not marshal back to itself: %w", attest.ErrForm)
	}
	return q, nil
}

// parseHeader reads magic, the wanted type and what follows, up to the part that
// depends on the type; r.short is the caller's to ask for.
func (h *header) parseHeader(r *reader, want uint16) error {
	if magic := r.u32(); magic != tpmGenerated {
		return fmt.Errorf("magic 0x%08x is not TPM_GENERATED: %w", magic, attest.ErrForm)
	}
	if tag := r.u16(); tag != want {
		return fmt.Errorf("type 0x%04x is not 0x%04x, %s: %w", tag, want, attestType(want), attest.ErrForm)
	}
	h.qualifiedSigner = r.sized(maxName)
	h.extraData = r.sized(maxData)
	// TPMS_CLOCK_INFO (Part 2, 10.11.1), then firmwareVersion.
	h.clock, h.resetCount, h.restartCount = r.u64(), r.u32(), r.u32()
	safe := r.u8()
	h.firmware = r.u64()
	if safe > 1 {
		return fmt.Errorf("clockInfo.safe %d is not a TPMI_YES_NO: %w", safe, attest.ErrForm)
	}
	h.safe = safe == 1
	return nil
}

// attestType returns the name of a TPMI_ST_ATTEST that this package reads.
func attestType(tag uint16) string {
	if tag == stAttestNV {
		return "TPM_ST_ATTEST_NV"
	}
	return "TPM_ST_ATTEST_QUOTE"
}

// appendHeader writes magic, type and the header back.
func (h *header) appendHeader(b []byte, tag uint16) []byte {
	b = binary.BigEndian.AppendUint32(b, tpmGenerated)
	b = binary.BigEndian.AppendUint16(b, tag)
	b = appendSized(b, h.qualifiedSigner)
	b = appendSized(b, h.extraData)
	b = binary.BigEndian.AppendUint64(b, h.clock)
	b = binary.BigEndian.AppendUint32(b, h.resetCount)
	b = binary.BigEndian.AppendUint32(b, h.restartCount)
	if h.safe {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	return binary.BigEndian.AppendUint64(b, h.firmware)
}

// parseSelection reads the TPML_PCR_SELECTION (Part 2, 10.9.7): 1 to 4 banks,
// none twice, none without a register, none of SHA-1.
func (q *quote) parseSelection(r *reader) error {
	n := r.u32()
	if n < 1 || n > maxBanks {
		return fmt.Errorf("pcrSelect of %d banks, want 1 to %d: %w", n, maxBanks, attest.ErrForm)
	}
	for range n {
		s := bankSelection{bank: attest.Alg(r.u16())}
		if !s.bank.Accepted() {
			return fmt.Errorf("pcrSelect of bank %v: %w", s.bank, attest.ErrForm)
		}
		size := int(r.u8())
		if size < 1 || size > maxSelect {
			return fmt.Errorf("sizeofSelect %d, want 1 to %d: %w", size, maxSelect, attest.ErrForm)
		}
		s.bitmap = r.take(size)
		if r.short || len(s.indices()) == 0 {
			return fmt.Errorf("bank %v without a register: %w", s.bank, attest.ErrForm)
		}
		for i := range q.selection {
			if q.selection[i].bank == s.bank {
				return fmt.Errorf("bank %v twice: %w", s.bank, attest.ErrForm)
			}
		}
		q.selection = append(q.selection, s)
	}
	return nil
}

// marshal writes the fields back as a TPMS_ATTEST.
func (q *quote) marshal() []byte {
	b := q.appendHeader(make([]byte, 0, maxAttest), stAttestQuote)
	b = binary.BigEndian.AppendUint32(b, uint32(len(q.selection)))
	for i := range q.selection {
		s := &q.selection[i]
		b = binary.BigEndian.AppendUint16(b, uint16(s.bank))
		b = append(b, byte(len(s.bitmap)))
		b = append(b, s.bitmap...)
	}
	return appendSized(b, q.digest)
}

// split cuts the concatenated values into the registers that the signed
// selection names; the length must fit to the byte.
func (q *quote) split(values []byte) ([]attest.RegisterValue, error) {
	r := reader{b: bytes.Clone(values)}
	var out []attest.RegisterValue
	for i := range q.selection {
		s := &q.selection[i]
		for _, index := range s.indices() {
			out = append(out, attest.RegisterValue{Bank: s.bank, Index: index, Value: r.take(s.bank.Size())})
		}
	}
	if !r.done() {
		return nil, fmt.Errorf("%d bytes are not the %d registers of pcrSelect: %w", len(values), len(out), attest.ErrForm)
	}
	return out, nil
}

// counters returns what the TPM says of its clock and firmware.
func (h *header) counters() *attest.Counters {
	return &attest.Counters{
		Clock:        h.clock,
		ResetCount:   h.resetCount,
		RestartCount: h.restartCount,
		Safe:         h.safe,
		Firmware:     h.firmware,
	}
}
