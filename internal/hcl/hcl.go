// Package hcl reads the report that the paravisor of an Azure confidential VM (HCL,
// host compatibility layer) keeps in its virtual TPM: in NV index 0x01400001.
//
// The report joins two things. One is what the hardware said at boot: an attestation
// report of AMD SEV-SNP, or a TDREPORT of Intel TDX. The other is the runtime data, a JSON
// object with the public keys of the virtual TPM that the paravisor runs. Its hash is the
// report data of the hardware's report, so that the hardware names the attestation key
// (AK), and the AK's quotes carry what is to be attested.
//
// All integers are little-endian. The layout is that of OpenHCL's
// IgvmAttestRequest, versions 1 and 2 of its header.
package hcl

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/sworn-run/sworn/attest"
)

// The evidence formats that carry such a report (docs/SPEC.md, section 3.6).
const (
	// FormatSNP is format 5, "azure-snp".
	FormatSNP attest.Format = 5
	// FormatTDX is format 6, "azure-tdx".
	FormatTDX attest.Format = 6
)

// The names of the parts that these formats have before those of the TPM's quote.
const (
	// PartReport is the report as NV memory holds it.
	PartReport = "hcl"
	// PartQuote is the TD quote over the TDREPORT in it; of FormatTDX alone.
	PartQuote = "quote"
)

// Index is the NV index of the report.
const Index uint32 = 0x01400001

// MaxSize bounds a report with the zeros after it, in bytes. Azure's index has 2,600.
const MaxSize = 16384

// Sizes in bytes.
const (
	// SNPSize is that of an attestation report of SEV-SNP.
	SNPSize = 1184
	// TDXSize is that of a TDREPORT.
	TDXSize = 1024

	headerSize  = 32
	areaSize    = SNPSize // the larger of the two; a TDREPORT is followed by zeros
	requestSize = 20
	maxRuntime  = MaxSize - headerSize - areaSize - requestSize
)

// Type is the kind of hardware report (report type of the request).
type Type uint32

// The kinds of hardware report.
const (
	// SNP is an attestation report of AMD SEV-SNP.
	SNP Type = 2
	// TDX is a TDREPORT of Intel TDX.
	TDX Type = 4
)

// size returns the size of the hardware report; 0 for an unknown type.
func (t Type) size() int {
	switch t {
	case SNP:
		return SNPSize
	case TDX:
		return TDXSize
	default:
		return 0
	}
}

// The other constants of the layout.
const (
	signature      = "HCLA"
	requestAK      = 2 // request type: certify the AK
	requestVersion = 1
)

// hashes are the report hash types 1 to 3, in order.
func hashes() []attest.Alg { return []attest.Alg{attest.SHA256, attest.SHA384, attest.SHA512} }

// Report is a report of the paravisor. What of it is signed, the hardware's report
// signs: itself and, by its hash, Runtime.
type Report struct {
	// Version is the version of the header, 1 or 2. Nothing signs it.
	Version uint32
	// Type is the kind of Hardware.
	Type Type
	// Hardware is the hardware's report: 1,184 bytes (SNP) or 1,024 (TDX).
	Hardware []byte
	// Hash is what Runtime is hashed with: SHA-256, SHA-384 or SHA-512.
	Hash attest.Alg
	// Runtime is the runtime data, the very bytes that are hashed.
	Runtime []byte
	// Padding is the number of zeros after the report. Nothing signs it.
	Padding int
	// AK is the attestation key of the virtual TPM, HCLAkPub in Runtime.
	AK Key
	// EK is its endorsement key, HCLEkPub; nil if Runtime has none.
	EK *Key
	// UserData is what the guest had put into the report, 64 bytes; nil if Runtime has no
	// member for it. Not used here.
	UserData []byte
	// Configuration is the JSON of the member vm-configuration; nil if there is none.
	Configuration []byte
}

// Parse reads a report, exactly: the sizes in it must be those of what is there, what is
// reserved must be zero, and so must all bytes after the report, up to [MaxSize]. The error
// wraps [attest.ErrForm]. b is not kept.
func Parse(b []byte) (*Report, error) {
	r, err := parse(bytes.Clone(b))
	if err != nil {
		return nil, fmt.Errorf("parsing an HCL report: %w", err)
	}
	return r, nil
}

func parse(b []byte) (*Report, error) {
	const least = headerSize + areaSize + requestSize
	if len(b) < least || len(b) > MaxSize {
		return nil, fmt.Errorf("%d bytes, want %d to %d: %w", len(b), least, MaxSize, attest.ErrForm)
	}
	header, area, request := b[:headerSize], b[headerSize:headerSize+areaSize], b[headerSize+areaSize:least]
	word := func(b []byte, i int) uint32 { return binary.LittleEndian.Uint32(b[4*i:]) }
	r := &Report{Version: word(header, 1), Type: Type(word(request, 2))}
	switch {
	case string(header[:4]) != signature:
		return nil, fmt.Errorf("signature %q: %w", header[:4], attest.ErrForm)
	case r.Version != 1 && r.Version != 2:
		return nil, fmt.Errorf("version %d, want 1 or 2: %w", r.Version, attest.ErrForm)
	case word(header, 3) != requestAK:
		return nil, fmt.Errorf("request type %d, want %d: %w", word(header, 3), requestAK, attest.ErrForm)
	case !zero(header[16:]):
		return nil, fmt.Errorf("status or reserved fields of the header are not zero: %w", attest.ErrForm)
	case word(request, 1) != requestVersion:
		return nil, fmt.Errorf("version %d of the request, want %d: %w", word(request, 1), requestVersion, attest.ErrForm)
	case r.Type.size() == 0:
		return nil, fmt.Errorf("report type %d, want %d (SEV-SNP) or %d (TDX): %w", r.Type, SNP, TDX, attest.ErrForm)
	case word(request, 3) < 1 || word(request, 3) > 3:
		return nil, fmt.Errorf("hash type %d, want 1 to 3: %w", word(request, 3), attest.ErrForm)
	}
	r.Hash = hashes()[word(request, 3)-1]
	r.Hardware = area[:r.Type.size()]
	if !zero(area[len(r.Hardware):]) {
		return nil, fmt.Errorf("bytes after the hardware's report are not zero: %w", attest.ErrForm)
	}
	n := word(request, 4)
	if int64(n) > int64(len(b)-least) {
		return nil, fmt.Errorf("runtime data of %d bytes, %d are left: %w", n, len(b)-least, attest.ErrForm)
	}
	if word(request, 0) != requestSize+n || word(header, 2) != least+n {
		return nil, fmt.Errorf("sizes %d and %d do not fit runtime data of %d bytes: %w", word(header, 2), word(request, 0), n, attest.ErrForm)
	}
	rest := b[least+n:]
	r.Runtime, r.Padding = b[least:least+n], len(rest)
	if !zero(rest) {
		return nil, fmt.Errorf("bytes after the report are not zero: %w", attest.ErrForm)
	}
	if err := r.parseRuntime(); err != nil {
		return nil, fmt.Errorf("runtime data: %w", err)
	}
	return r, nil
}

// Marshal writes the report back: of Version, Type, Hardware, Hash, Runtime and Padding.
// The error wraps [attest.ErrArgument] for fields that no report has.
func (r *Report) Marshal() ([]byte, error) {
	kind := uint32(0)
	for i, a := range hashes() {
		if a == r.Hash {
			kind = uint32(i) + 1
		}
	}
	if kind == 0 || r.Type.size() == 0 || len(r.Hardware) != r.Type.size() || len(r.Runtime) > maxRuntime ||
		r.Padding < 0 || r.Padding > maxRuntime-len(r.Runtime) {
		return nil, fmt.Errorf("writing an HCL report of type %d, hash %v, with %d, %d and %d bytes: %w",
			r.Type, r.Hash, len(r.Hardware), len(r.Runtime), r.Padding, attest.ErrArgument)
	}
	n := uint32(len(r.Runtime))
	out := []byte(signature)
	for _, v := range []uint32{r.Version, headerSize + areaSize + requestSize + n, requestAK, 0, 0, 0, 0} {
		out = binary.LittleEndian.AppendUint32(out, v)
	}
	out = append(out, r.Hardware...)
	out = append(out, make([]byte, areaSize-len(r.Hardware))...)
	for _, v := range []uint32{requestSize + n, requestVersion, uint32(r.Type), kind, n} {
		out = binary.LittleEndian.AppendUint32(out, v)
	}
	out = append(out, r.Runtime...)
	return append(out, make([]byte, r.Padding)...), nil
}

// ReportData returns what the report data of the hardware's report must be, 64 bytes: the
// hash of the runtime data, and zeros.
func (r *Report) ReportData() []byte {
	out := make([]byte, 64)
	copy(out, r.Hash.Sum(r.Runtime))
	return out
}

// Covered reports whether the report data of Hardware is [Report.ReportData]. Whether the
// hardware made it, is another question.
func (r *Report) Covered() bool {
	at := offSNPReportData
	if r.Type == TDX {
		at = offReportData
	}
	return len(r.Hardware) >= at+64 && bytes.Equal(r.Hardware[at:at+64], r.ReportData())
}

// zero reports whether b holds nothing but zeros, or nothing.
func zero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }
