package dcap

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"fmt"

	"github.com/sworn-run/sworn/attest"
)

// Sizes and numbers of the structures (SGX-QL, A.3 and A.4).
const (
	headerSize  = 48
	reportSize  = 384
	td10Size    = 584
	td15Size    = 648
	keySize     = 64
	sigSize     = 64
	certHeader  = 6
	keyTypeP256 = 2

	bodySGX  = 1
	bodyTD10 = 2
	bodyTD15 = 3

	certChain    = 5
	certQEReport = 6
)

// vendorID returns the UUID of Intel's QE.
func vendorID() [16]byte {
	return [16]byte{0x93, 0x9A, 0x72, 0x33, 0xF7, 0x9C, 0x4C, 0xA9, 0x94, 0x0A, 0x0D, 0xB3, 0x95, 0x7F, 0x06, 0x07}
}

// Quote is a parsed quote. Nothing in it is believed before [Quote.Appraise] has
// returned without an error. Its slices must not be changed.
type Quote struct {
	// Version is 3, 4 or 5.
	Version uint16
	// TEE is what the body describes.
	TEE TEE
	// QESVN and PCESVN are what the header of version 3 says of both; 0 in others.
	QESVN, PCESVN uint16
	// UserData is the header's field of the QE; its first 16 bytes identify the QE.
	UserData [20]byte
	// Enclave is the body of an SGX quote, else nil.
	Enclave *Report
	// TD is the body of a TDX quote, else nil.
	TD *TDReport
	// QE is the report of the enclave that made the quote.
	QE *Report
	// PCK is what the first certificate says of the platform.
	PCK *PCK

	signed      []byte // header and body
	signature   []byte // r||s by the attestation key
	key         []byte // attestation key, X||Y
	qeReport    []byte
	qeSignature []byte // r||s by the PCK
	qeAuth      []byte
	chain       []*x509.Certificate // PCK, its CA, the root
}

// Length returns how many of the bytes of b are the quote that b begins with, by the
// lengths that stand in it. The rest of b is covered by nothing. The error wraps
// [attest.ErrForm].
func Length(b []byte) (int, error) {
	start, size, err := body(b)
	if err != nil {
		return 0, err
	}
	end := start + size
	if len(b) < end+4 {
		return 0, short("signature data")
	}
	n := binary.LittleEndian.Uint32(b[end:])
	if uint64(n) > uint64(len(b)-end-4) || n > MaxQuote {
		return 0, fmt.Errorf("signature data of %d bytes, of which %d are there, limit %d: %w", n, len(b)-end-4, MaxQuote, attest.ErrForm)
	}
	return end + 4 + int(n), nil
}

// body returns where the body begins and its size, from the header and, in version
// 5, the body descriptor (SGX-QL, A.3.2). The body itself may be cut.
func body(b []byte) (start, size int, err error) {
	if len(b) < headerSize {
		return 0, 0, short("header")
	}
	version, tee := binary.LittleEndian.Uint16(b), TEE(binary.LittleEndian.Uint32(b[4:]))
	switch {
	case version == 3:
		// The type has its place among reserved bytes there.
		if tee != SGX {
			return 0, 0, fmt.Errorf("quote version 3 with reserved bytes 0x%08x: %w", uint32(tee), attest.ErrForm)
		}
		return headerSize, reportSize, nil
	case version != 4 && version != 5:
		return 0, 0, fmt.Errorf("quote version %d, want 3, 4 or 5: %w", version, attest.ErrForm)
	case tee != SGX && tee != TDX:
		return 0, 0, fmt.Errorf("quote of TEE type 0x%08x: %w", uint32(tee), attest.ErrForm)
	case version == 4 && tee == SGX:
		return headerSize, reportSize, nil
	case version == 4:
		return headerSize, td10Size, nil
	}
	if len(b) < headerSize+6 {
		return 0, 0, short("body descriptor")
	}
	kind, declared := binary.LittleEndian.Uint16(b[headerSize:]), binary.LittleEndian.Uint32(b[headerSize+2:])
	switch {
	case kind == bodySGX && tee == SGX:
		size = reportSize
	case kind == bodyTD10 && tee == TDX:
		size = td10Size
	case kind == bodyTD15 && tee == TDX:
		size = td15Size
	default:
		return 0, 0, fmt.Errorf("body of type %d in a quote of %v: %w", kind, tee, attest.ErrForm)
	}
	if declared != uint32(size) {
		return 0, 0, fmt.Errorf("body of type %d with %d bytes, want %d: %w", kind, declared, size, attest.ErrForm)
	}
	return headerSize + 6, size, nil
}

// short returns the error for a quote that ends in a part of it.
func short(part string) error {
	return fmt.Errorf("quote ends within its %s: %w", part, attest.ErrForm)
}

// ParseQuote parses exactly the bytes of a quote, whose certification data must be a
// chain of three certificates (type 5), in versions 4 and 5 inside the data of the
// QE's report (type 6). It keeps its own copy of b. The error wraps
// [attest.ErrForm].
func ParseQuote(b []byte) (*Quote, error) {
	if len(b) > MaxQuote {
		return nil, fmt.Errorf("quote of %d bytes, limit %d: %w", len(b), MaxQuote, attest.ErrForm)
	}
	start, size, err := body(b)
	if err != nil {
		return nil, err
	}
	n, err := Length(b)
	if err != nil {
		return nil, err
	}
	if n != len(b) {
		return nil, fmt.Errorf("%d bytes after the quote: %w", len(b)-n, attest.ErrForm)
	}
	b = bytes.Clone(b)
	q := &Quote{signed: b[: start+size : start+size]}
	if err := q.parseHeader(b); err != nil {
		return nil, err
	}
	if q.TEE == TDX {
		q.TD = parseTD(b[start : start+size])
	} else if q.Enclave, err = parseReport(b[start : start+size]); err != nil {
		return nil, fmt.Errorf("parsing the enclave's report: %w", err)
	}
	if err := q.parseSignatureData(&reader{b: b[start+size+4:]}); err != nil {
		return nil, err
	}
	return q, nil
}

// parseHeader reads the header (SGX-QL, A.3.1 and A.4.1); version and type have been
// judged.
func (q *Quote) parseHeader(b []byte) error {
	q.Version, q.TEE = binary.LittleEndian.Uint16(b), TEE(binary.LittleEndian.Uint32(b[4:]))
	if kind := binary.LittleEndian.Uint16(b[2:]); kind != keyTypeP256 {
		return fmt.Errorf("attestation key of type %d, want %d, ECDSA with P-256: %w", kind, keyTypeP256, attest.ErrForm)
	}
	q.QESVN, q.PCESVN = binary.LittleEndian.Uint16(b[8:]), binary.LittleEndian.Uint16(b[10:])
	if q.Version != 3 && q.QESVN|q.PCESVN != 0 {
		return fmt.Errorf("reserved bytes of the header are not zero: %w", attest.ErrForm)
	}
	if [16]byte(b[12:28]) != vendorID() {
		return fmt.Errorf("qe vendor id %x is not Intel's: %w", b[12:28], attest.ErrForm)
	}
	q.UserData = [20]byte(b[28:48])
	return nil
}

// parseSignatureData reads what follows the body (SGX-QL, A.3.8 and A.4.4). Every
// nested part fills the one around it.
func (q *Quote) parseSignatureData(r *reader) error {
	q.signature, q.key = r.take(sigSize), r.take(keySize)
	if q.Version != 3 {
		kind, size := r.u16(), r.u32()
		if kind != certQEReport || uint64(size) != uint64(len(r.b)) {
			return fmt.Errorf("certification data of type %d with %d of %d bytes, want type %d and all: %w",
				kind, size, len(r.b), certQEReport, attest.ErrForm)
		}
	}
	q.qeReport, q.qeSignature = r.take(reportSize), r.take(sigSize)
	q.qeAuth = r.take(int(r.u16()))
	kind, size := r.u16(), r.u32()
	if r.short {
		return short("signature data")
	}
	if uint64(size) != uint64(len(r.b)) {
		return fmt.Errorf("certification data of %d bytes, of which %d are there: %w", size, len(r.b), attest.ErrForm)
	}
	if kind != certChain {
		return fmt.Errorf("certification data of type %d, want %d, a chain of certificates: %s: %w", kind, certChain, otherThanChain(kind), attest.ErrForm)
	}
	var err error
	if q.QE, err = parseReport(q.qeReport); err != nil {
		return fmt.Errorf("parsing the QE's report: %w", err)
	}
	if q.chain, err = parseChain(r.b); err != nil {
		return fmt.Errorf("parsing the certificate chain: %w", err)
	}
	if q.PCK, err = parsePCK(q.chain[0]); err != nil {
		return fmt.Errorf("parsing the PCK certificate: %w", err)
	}
	return nil
}

// otherThanChain says why certification data of another type do not do (SGX-QL, A.4.11).
func otherThanChain(kind uint16) string {
	switch kind {
	case 1, 2, 3:
		return "it has the platform's id and security versions, by which the PCK's certificate would have to be asked for at Intel's service"
	case 4:
		return "it has the PCK's certificate alone, without those that vouch for it"
	case certQEReport:
		return "it is the report of a QE, which version 3 has elsewhere and which does not stand in another"
	case 7:
		return "it is the manifest of a platform that is not registered yet"
	default:
		return "the type is not known"
	}
}

// reader takes little-endian fields off a byte slice. After the first short read it
// returns zeros and short is set.
type reader struct {
	b     []byte
	short bool
}

// take returns the next n bytes, which alias the input.
func (r *reader) take(n int) []byte {
	if n < 0 || len(r.b) < n {
		r.short, r.b = true, nil
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) u16() uint16 {
	if b := r.take(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}
