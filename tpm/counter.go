package tpm

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"

	"github.com/sworn-run/sworn/attest"
)

// The NV indices that a counter may have: those that the TCG leaves to the
// owner of the TPM (Registry of Reserved TPM 2.0 Handles and Localities 1.1,
// table 3).
const (
	// FirstCounterIndex is the first such index.
	FirstCounterIndex uint32 = 0x01800000
	// LastCounterIndex is the last.
	LastCounterIndex uint32 = 0x01BFFFFF
)

// CounterAttributes is the one TPMA_NV (Part 2, 13.4) of a counter before it has
// counted: TPM_NT_COUNTER, OWNERWRITE, AUTHREAD, NO_DA. A TPM lets nobody write
// a counter but by adding one, and not even whoever undefines and defines it
// again gets an old value. ORDERLY is not among them: it would let values be
// skipped after a loss of power.
const CounterAttributes uint32 = 1<<25 | 1<<18 | nvCounter<<4 | 1<<1

const (
	// nvCounter is TPM_NT_COUNTER (Part 2, 13.2), bits 7 to 4 of TPMA_NV.
	nvCounter = 1
	// nvWritten is TPMA_NV_WRITTEN, which a counter has once it has counted.
	nvWritten = 1 << 29
	// counterSize is the size of a counter in bytes.
	counterSize = 8
)

// CounterPublic returns the TPMS_NV_PUBLIC (Part 2, 13.5) of the counter at an
// index once it has counted, the only one that this package accepts there. The
// error wraps [attest.ErrArgument] for an index that is not the owner's.
func CounterPublic(index uint32) ([]byte, error) {
	if index < FirstCounterIndex || index > LastCounterIndex {
		return nil, fmt.Errorf("NV index 0x%08x, want 0x%08x to 0x%08x: %w", index, FirstCounterIndex, LastCounterIndex, attest.ErrArgument)
	}
	p := nvPublic{index: index, nameAlg: attest.SHA256, attributes: CounterAttributes | nvWritten, size: counterSize}
	return p.marshal(), nil
}

// CounterName returns the Name of the counter at an index once it has counted:
// what the body of a statement names. The error is that of [CounterPublic].
func CounterName(index uint32) ([34]byte, error) {
	b, err := CounterPublic(index)
	if err != nil {
		return [34]byte{}, err
	}
	return [34]byte(appendDigest(attest.SHA256, b)), nil
}

// nvPublic is a TPMS_NV_PUBLIC without a policy.
type nvPublic struct {
	index      uint32
	nameAlg    attest.Alg
	attributes uint32
	size       uint16
}

// parseNVPublic parses exactly the bytes of a TPMS_NV_PUBLIC.
func parseNVPublic(b []byte) (*nvPublic, error) {
	r := reader{b: b}
	p := &nvPublic{index: r.u32(), nameAlg: attest.Alg(r.u16()), attributes: r.u32()}
	policy := r.sized(maxDigest)
	p.size = r.u16()
	if !r.done() || len(policy) != 0 {
		return nil, fmt.Errorf("truncated, with trailing bytes or with a policy: %w", attest.ErrForm)
	}
	if p.nameAlg != attest.SHA256 {
		return nil, fmt.Errorf("nameAlg %v, want sha256: %w", p.nameAlg, attest.ErrForm)
	}
	if !bytes.Equal(p.marshal(), b) {
		return nil, fmt.Errorf("does not marshal back to itself: %w", attest.ErrForm)
	}
	return p, nil
}

// marshal writes the fields back as a TPMS_NV_PUBLIC.
func (p *nvPublic) marshal() []byte {
	b := binary.BigEndian.AppendUint32(nil, p.index)
	b = binary.BigEndian.AppendUint16(b, uint16(p.nameAlg))
	b = binary.BigEndian.AppendUint32(b, p.attributes)
	b = append(b, 0, 0)
	return binary.BigEndian.AppendUint16(b, p.size)
}

// name returns the Name of the index (Part 1, 16: nameAlg and digest of the
// public area).
func (p *nvPublic) name() []byte { return appendDigest(p.nameAlg, p.marshal()) }

// checkMode refuses an index that is not exactly a counter of the owner's: one
// of another type holds whatever was written to it, or what whoever defines it
// anew repeats.
func (p *nvPublic) checkMode() error {
	want, err := CounterPublic(p.index)
	if err != nil {
		return fmt.Errorf("NV index 0x%08x is not one of the owner's: %w", p.index, attest.ErrMode)
	}
	if !bytes.Equal(p.marshal(), want) {
		return fmt.Errorf("NV index 0x%08x with attributes 0x%08x and %d bytes is no launch counter, which has 0x%08x and %d: %w",
			p.index, p.attributes, p.size, CounterAttributes|nvWritten, counterSize, attest.ErrMode)
	}
	return nil
}

// certification is a TPMS_ATTEST with a TPMS_NV_CERTIFY_INFO (Part 2, 10.12.12
// and 10.12.8) over the whole of a counter.
type certification struct {
	raw []byte
	header
	indexName []byte
	value     uint64
}

// parseCertification parses exactly the bytes of such a TPMS_ATTEST. It keeps
// its own copy of b.
func parseCertification(b []byte) (*certification, error) {
	c := &certification{raw: bytes.Clone(b)}
	r := reader{b: c.raw}
	if err := c.parseHeader(&r, stAttestNV); err != nil {
		return nil, err
	}
	c.indexName = r.sized(maxName)
	offset := r.u16()
	contents := r.sized(counterSize)
	if !r.done() || offset != 0 || len(contents) != counterSize {
		return nil, fmt.Errorf("not exactly the %d bytes of a counter: %w", counterSize, attest.ErrForm)
	}
	c.value = binary.BigEndian.Uint64(contents)
	if !bytes.Equal(c.marshal(), b) {
		return nil, fmt.Errorf("does not marshal back to itself: %w", attest.ErrForm)
	}
	return c, nil
}

// marshal writes the fields back as a TPMS_ATTEST.
func (c *certification) marshal() []byte {
	b := c.appendHeader(make([]byte, 0, maxAttest), stAttestNV)
	b = appendSized(b, c.indexName)
	b = append(b, 0, 0, 0, counterSize)
	return binary.BigEndian.AppendUint64(b, c.value)
}

// counter is the three parts of a certified counter, parsed.
type counter struct {
	public        *nvPublic
	certification *certification
	signature     *signature
}

// parseCounter parses the parts of a counter; nil if there are none.
func parseCounter(p *Parts) (*counter, error) {
	if p.NVPublic == nil && p.NVAttest == nil && p.NVSignature == nil {
		return nil, nil
	}
	if p.NVPublic == nil || p.NVAttest == nil || p.NVSignature == nil {
		return nil, fmt.Errorf("parts %q, %q and %q are not all there: %w", PartNVPublic, PartNVAttest, PartNVSignature, attest.ErrForm)
	}
	c := &counter{}
	var err error
	if c.public, err = parseNVPublic(p.NVPublic); err != nil {
		return nil, fmt.Errorf("parsing part %q: %w", PartNVPublic, err)
	}
	if c.certification, err = parseCertification(p.NVAttest); err != nil {
		return nil, fmt.Errorf("parsing part %q: %w", PartNVAttest, err)
	}
	if c.signature, err = parseSignature(p.NVSignature); err != nil {
		return nil, fmt.Errorf("parsing part %q: %w", PartNVSignature, err)
	}
	return c, nil
}

// verifyCounter establishes that the AK, whose own kind has been established,
// certified a counter.
func (e *evidence) verifyCounter() error {
	c := e.counter
	if err := c.signature.verify(e.public, c.certification.raw); err != nil {
		return fmt.Errorf("its signature: %w", err)
	}
	if !bytes.Equal(c.public.name(), c.certification.indexName) {
		return fmt.Errorf("the signed Name is not that of the public area: %w", attest.ErrSignature)
	}
	if !bytes.Equal(e.qualifiedName(), c.certification.qualifiedSigner) {
		return fmt.Errorf("qualifiedSigner is not this AK in the endorsement hierarchy: %w", attest.ErrMode)
	}
	return c.public.checkMode()
}

// claim returns what the TPM says of its counter; nil for nil.
func (c *counter) claim() *attest.CertifiedCounter {
	if c == nil {
		return nil
	}
	return &attest.CertifiedCounter{
		Counter:  attest.Counter{Name: [34]byte(c.public.name()), Value: c.certification.value},
		Quoted:   c.certification.extraData,
		Counters: *c.certification.counters(),
	}
}

// details returns the decoded fields; none for nil.
func (c *counter) details() []attest.Detail {
	if c == nil {
		return nil
	}
	d := []attest.Detail{
		{Name: "NV index", Value: fmt.Sprintf("0x%08x, TPM_NT_COUNTER, attributes 0x%08x", c.public.index, c.public.attributes)},
		{Name: "NV counter", Value: strconv.FormatUint(c.certification.value, 10)},
		{Name: "NV sigAlg", Value: fmt.Sprintf("%v with %v", c.signature.alg, c.signature.hash)},
	}
	for _, f := range c.certification.details() {
		d = append(d, attest.Detail{Name: "NV " + f.Name, Value: f.Value})
	}
	return d
}

// details returns the decoded fields of the certification.
func (c *certification) details() []attest.Detail {
	return append(c.header.details(stAttestNV),
		attest.Detail{Name: "indexName", Value: hex.EncodeToString(c.indexName)},
		attest.Detail{Name: "offset", Value: "0"},
		attest.Detail{Name: "nvContents", Value: strconv.FormatUint(c.value, 10)})
}
