package hcl

import (
	"bytes"
	"crypto/sha512"
	"encoding/binary"
	"fmt"

	"github.com/sworn-run/sworn/attest"
)

// Offsets in an attestation report of SEV-SNP (SNP ABI 1.58, table 23).
const (
	offVMPL          = 0x30
	offSNPReportData = 0x50
)

// VMPL returns the privilege level that an attestation report of SEV-SNP was made for. The
// error wraps [attest.ErrForm] for a report of another size.
func VMPL(report []byte) (uint32, error) {
	if len(report) != SNPSize {
		return 0, fmt.Errorf("attestation report of %d bytes, want %d: %w", len(report), SNPSize, attest.ErrForm)
	}
	return binary.LittleEndian.Uint32(report[offVMPL:]), nil
}

// Offsets and sizes in a TDREPORT (Intel TDX Module ABI: TDREPORT_STRUCT): REPORTMACSTRUCT,
// TEE_TCB_INFO with padding, TDINFO.
const (
	offTCBHash    = 32
	offInfoHash   = 80
	offReportData = 128
	offReserved   = 192
	offTCB        = 256
	sizeTCB       = 239
	offTCBSVN2    = offTCB + 128
	offInfo       = 512
	sizeInfo      = 512
	offServiceTD  = offInfo + 400
	typeTDX       = 0x81
)

// The quotes of a TD (Intel TDX DCAP Quoting Library API, A.3): the header, and the body
// as version 4 and, behind a type and a size, version 5 have it.
const (
	quoteHeader = 48
	bodyPrefix  = 6
	body10      = 584
	body15      = 648
)

// MatchQuote reports whether a TD quote is over this very TDREPORT: the body of the quote
// is what the quoting enclave makes of it. So are the hashes in the TDREPORT that cover its
// other parts. What a quote leaves out, nothing compares: CPUSVN, MAC and, in the body
// of TDX 1.0, TEE_TCB_SVN2 and SERVTD_HASH. Nothing is verified here: the quote's signature
// is its scheme's part.
//
// The error wraps [attest.ErrForm] for a TDREPORT or a quote of another layout, or
// [attest.ErrSignature] if the quote is over something else.
func MatchQuote(tdreport, quote []byte) error {
	if err := checkTDReport(tdreport); err != nil {
		return fmt.Errorf("reading a TDREPORT: %w", err)
	}
	body, err := quoteBody(quote)
	if err != nil {
		return fmt.Errorf("reading a TD quote: %w", err)
	}
	if !bytes.Equal(body, wantBody(tdreport, len(body))) {
		return fmt.Errorf("the TD quote is over another TDREPORT: %w", attest.ErrSignature)
	}
	return nil
}

// checkTDReport refuses what is no TDREPORT or contradicts itself.
func checkTDReport(r []byte) error {
	if len(r) != TDXSize {
		return fmt.Errorf("%d bytes, want %d: %w", len(r), TDXSize, attest.ErrForm)
	}
	version := byte(0)
	if !zero(r[offServiceTD : offServiceTD+48]) {
		version = 1 // a service TD is bound
	}
	tcb, info := sha512.Sum384(r[offTCB:offTCB+sizeTCB]), sha512.Sum384(r[offInfo:offInfo+sizeInfo])
	switch {
	case r[0] != typeTDX || r[1] != 0 || r[2] != version || !zero(r[3:16]):
		return fmt.Errorf("report type %x: %w", r[:4], attest.ErrForm)
	case !zero(r[offReserved : offReserved+32]), !zero(r[offTCB+sizeTCB : offInfo]):
		return fmt.Errorf("reserved fields are not zero: %w", attest.ErrForm)
	case !bytes.Equal(r[offTCBHash:offTCBHash+48], tcb[:]), !bytes.Equal(r[offInfoHash:offInfoHash+48], info[:]):
		return fmt.Errorf("its hashes are not those of its parts: %w", attest.ErrForm)
	}
	return nil
}

// quoteBody returns the body of a quote, of 584 or 648 bytes.
func quoteBody(q []byte) ([]byte, error) {
	if len(q) < quoteHeader+bodyPrefix {
		return nil, fmt.Errorf("%d bytes: %w", len(q), attest.ErrForm)
	}
	start, size := quoteHeader, body10
	switch version := binary.LittleEndian.Uint16(q); version {
	case 4:
	case 5:
		start += bodyPrefix
		kind, n := binary.LittleEndian.Uint16(q[quoteHeader:]), binary.LittleEndian.Uint32(q[quoteHeader+2:])
		size = map[uint16]int{2: body10, 3: body15}[kind]
		if size == 0 || int64(n) != int64(size) {
			return nil, fmt.Errorf("body of type %d and %d bytes: %w", kind, n, attest.ErrForm)
		}
	default:
		return nil, fmt.Errorf("version %d, want 4 or 5: %w", version, attest.ErrForm)
	}
	if len(q) < start+size {
		return nil, fmt.Errorf("%d bytes: %w", len(q), attest.ErrForm)
	}
	return q[start : start+size], nil
}

// wantBody returns the body that a quote over the TDREPORT has.
func wantBody(r []byte, size int) []byte {
	var out []byte
	out = append(out, r[offTCB+8:offTCB+128]...)            // TEE_TCB_SVN, MRSEAM, MRSIGNERSEAM, SEAMATTRIBUTES
	out = append(out, r[offInfo:offServiceTD]...)           // TDATTRIBUTES to RTMR3
	out = append(out, r[offReportData:offReportData+64]...) // REPORTDATA
	if size == body15 {
		out = append(out, r[offTCBSVN2:offTCBSVN2+16]...)
		out = append(out, r[offServiceTD:offServiceTD+48]...)
	}
	return out
}

// QuoteBody returns what of a TDREPORT a quote of TDX 1.5 has as its body, 648 bytes. The
// error wraps [attest.ErrForm] for what is no TDREPORT or contradicts itself.
func QuoteBody(tdreport []byte) ([]byte, error) {
	if err := checkTDReport(tdreport); err != nil {
		return nil, fmt.Errorf("reading a TDREPORT: %w", err)
	}
	return wantBody(tdreport, body15), nil
}
