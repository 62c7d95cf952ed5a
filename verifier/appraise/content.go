package appraise

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/bootlog"
	"github.com/sworn-run/sworn/nitro"
	"github.com/sworn-run/sworn/tpm"
)

// content is what a file is, by what it begins with and holds.
type content int

const (
	unknown content = iota
	isQuote
	isSignature
	isArea
	isParent
	isKey
	isCertificate
	isJSON
	isValues
	isAttestation
	isTextAttestation
	isLog
	isList
	isASCIIList
	isNonce
	isDocument
)

// Marks at the beginning of files.
var (
	beginQuote = []byte("\xffTCG\x80\x18")
	beginPEM   = []byte("-----BEGIN ")
)

// contentOf tells what a file is. Only a quote, a signature, a key and registers
// are told by trying to parse them: they are small.
func contentOf(f *File) content {
	b := f.Data
	switch {
	case bytes.HasPrefix(b, beginQuote), len(b) > 2 && bytes.HasPrefix(b[2:], beginQuote):
		return isQuote
	case nitro.IsDocument(b):
		return isDocument
	case bytes.HasPrefix(b, beginPEM):
		return pemContent(b)
	case jsonLike(b):
		return isJSON
	case isEventLog(b):
		return isLog
	case looksASCII(b):
		return isASCIIList
	case looksIMA(b):
		return isList
	}
	if _, ok := publicArea(b); ok {
		return isArea
	}
	if parentName(b) != nil {
		return isParent
	}
	if c := smallContent(b); c != unknown {
		return c
	}
	if len(b) > 0 && b[0] == 0x30 {
		if _, err := x509.ParsePKIXPublicKey(b); err == nil {
			return isKey
		}
		// The bytes of a bare signature may begin so too.
		if isSequence(b) || slices.Contains([]string{".crt", ".cer", ".der"}, path.Ext(f.Name)) {
			return isCertificate
		}
	}
	return namedContent(f)
}

// isSequence reports whether b is one DER SEQUENCE with at most zeros after it, and
// no signature, which is one of two numbers.
func isSequence(b []byte) bool {
	var v asn1.RawValue
	rest, err := asn1.Unmarshal(b, &v)
	if err != nil || v.Tag != asn1.TagSequence || !bytes.Equal(rest, make([]byte, len(rest))) {
		return false
	}
	return len(v.Bytes) > 0 && v.Bytes[0] != asn1.TagInteger
}

// unfilled cuts the zeros that fill an NV index after a DER value, which may end in zeros
// itself; what is no such value is left as it is.
func unfilled(b []byte) []byte {
	var v asn1.RawValue
	if rest, err := asn1.Unmarshal(b, &v); err == nil && bytes.Equal(rest, make([]byte, len(rest))) {
		return b[:len(b)-len(rest)]
	}
	return b
}

// namedContent is for what has no mark of its own.
func namedContent(f *File) content {
	if f.Name == "nonce" && len(f.Data) <= 64 {
		return isNonce
	}
	if _, err := parseAttestation(f.Data); err == nil {
		return isAttestation
	}
	if bytes.Contains(f.Data, []byte("ak_pub")) && bytes.Contains(f.Data, []byte("quotes")) {
		return isTextAttestation
	}
	// A broken one still is one, and says why.
	if strings.HasSuffix(f.Name, ".pb") || strings.HasSuffix(f.Name, ".binpb") {
		return isAttestation
	}
	return unknown
}

// smallContent tells signatures and register values.
func smallContent(b []byte) content {
	if len(b) >= 8 {
		switch binary.BigEndian.Uint16(b) {
		case 0x0014, 0x0016, 0x0018: // RSASSA, RSAPSS, ECDSA
			if attest.Alg(binary.BigEndian.Uint16(b[2:])).Known() {
				return isSignature
			}
		}
	}
	if _, err := toolValues(b); err == nil {
		return isValues
	}
	return unknown
}

func pemContent(b []byte) content {
	block, _ := pem.Decode(b)
	switch {
	case block == nil:
		return unknown
	case block.Type == "CERTIFICATE":
		return isCertificate
	case block.Type == "PUBLIC KEY":
		return isKey
	default:
		return unknown
	}
}

func jsonLike(b []byte) bool {
	b = bytes.TrimLeft(b, " \t\r\n")
	return len(b) > 0 && (b[0] == '{' || b[0] == '[')
}

// isEventLog reports whether b begins with a crypto-agile log's header or with the
// first event of the older format: of SHA-1, with a register and a size in bounds.
func isEventLog(b []byte) bool {
	if len(b) >= 48 && bytes.Equal(b[32:47], []byte("Spec ID Event03")) {
		return true
	}
	if len(b) < 32 {
		return false
	}
	index, kind, size := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:]), binary.LittleEndian.Uint32(b[28:])
	return index < 24 && (kind < 0x20 || kind>>28 == 8) && uint64(size) <= uint64(len(b)-32) &&
		!looksIMA(b)
}

// looksIMA reports whether b begins with an entry of a binary IMA list: register,
// SHA-1, the length of a template's name, and a name.
func looksIMA(b []byte) bool {
	if len(b) < 32 {
		return false
	}
	n := binary.LittleEndian.Uint32(b[24:])
	if binary.LittleEndian.Uint32(b) > 23 || n < 3 || n > 32 || uint64(28+n) > uint64(len(b)) {
		return false
	}
	return bytes.HasPrefix(b[28:28+n], []byte("ima"))
}

// looksASCII reports whether b begins with a line of an ASCII IMA list.
func looksASCII(b []byte) bool {
	line, _, _ := bytes.Cut(b[:min(len(b), 512)], []byte("\n"))
	words := bytes.Fields(line)
	if len(words) < 4 || len(words[0]) > 2 || !bytes.HasPrefix(words[2], []byte("ima")) {
		return false
	}
	_, err := unhex(string(words[1]))
	return err == nil
}

// parentName returns the Name of a storage key from TPMT_PUBLIC or TPM2B_PUBLIC;
// nil for anything else.
func parentName(b []byte) []byte {
	for _, area := range [][]byte{b, unsized(b)} {
		if name, err := tpm.ParentName(area); err == nil {
			return name
		}
	}
	return nil
}

// toolValues reads the file in which tpm2-tools keep register values: a
// TPML_PCR_SELECTION of 132 bytes, the number of lists, and TPML_DIGESTs of 532
// bytes with 8 buffers of 64, in the byte order of a little-endian host.
func toolValues(b []byte) ([]attest.RegisterValue, error) {
	bad := fmt.Errorf("not the register values of tpm2-tools: %w", attest.ErrForm)
	const head, list = 132 + 4, 4 + 8*66
	if len(b) < head+list || (len(b)-head)%list != 0 || len(b) > head+20*list {
		return nil, bad
	}
	var digests [][]byte
	if binary.LittleEndian.Uint32(b[132:]) != uint32((len(b)-head)/list) {
		return nil, bad
	}
	for l := b[head:]; len(l) > 0; l = l[list:] {
		n := binary.LittleEndian.Uint32(l)
		if n > 8 {
			return nil, bad
		}
		for i := range int(n) {
			d := l[4+66*i:]
			size := binary.LittleEndian.Uint16(d)
			if size > 64 {
				return nil, bad
			}
			digests = append(digests, d[2:2+size])
		}
	}
	var out []attest.RegisterValue
	n := binary.LittleEndian.Uint32(b)
	if n < 1 || n > 16 {
		return nil, bad
	}
	for i := range int(n) {
		s := b[4+8*i:]
		bank, size := attest.Alg(binary.LittleEndian.Uint16(s)), s[2]
		if size > 4 {
			return nil, bad
		}
		for index := range uint32(size) * 8 {
			if s[3+index/8]>>(index%8)&1 == 0 {
				continue
			}
			if len(digests) == 0 || len(digests[0]) != bank.Size() {
				return nil, bad
			}
			out = append(out, attest.RegisterValue{Bank: bank, Index: index, Value: digests[0]})
			digests = digests[1:]
		}
	}
	if len(digests) != 0 || len(out) == 0 {
		return nil, bad
	}
	return sorted(out)
}

// tell tells the kind of a set of files.
func tell(files []File) (Kind, error) {
	seen := map[content][]*File{}
	for i := range files {
		c := contentOf(&files[i])
		seen[c] = append(seen[c], &files[i])
	}
	for _, f := range seen[isJSON] {
		if m, err := object(f.Data); err == nil && jsonForm(m) != "" {
			if hasDocument(m) {
				return NitroTPM, nil
			}
			return TPM, nil
		}
	}
	if kind := azureKind(files); kind != "" {
		return kind, nil
	}
	if kind := teeKind(files); kind != "" {
		return kind, nil
	}
	switch {
	case seen[isDocument] != nil:
		return documentKind(seen[isDocument][0]), nil
	case seen[isQuote] != nil, seen[isAttestation] != nil, seen[isTextAttestation] != nil:
		return TPM, nil
	case seen[isLog] != nil:
		return logKind(seen[isLog][0])
	case seen[isList] != nil, seen[isASCIIList] != nil:
		return IMA, nil
	default:
		return "", fmt.Errorf("no file tells what kind of evidence this is: %w", attest.ErrArgument)
	}
}

// logKind tells a log of measurement registers from one of a TPM's: it has SHA-384
// alone and none of the registers that it does not count.
func logKind(f *File) (Kind, error) {
	l, err := bootlog.Parse(f.Data, bootlog.PCRs)
	if err != nil || len(l.Algs) != 1 || l.Algs[0].Alg != attest.SHA384 {
		return EventLog, nil //nolint:nilerr // One that is malformed is taken for such, which says why it is none.
	}
	separated := map[uint32]bool{}
	zeros := attest.SHA384.Sum([]byte{0, 0, 0, 0})
	for i := range l.Events {
		e := &l.Events[i]
		if e.Extends() && e.Index > 4 {
			return EventLog, nil
		}
		if bytes.Equal(e.Digest(attest.SHA384), zeros) {
			separated[e.Index] = true
		}
	}
	if separated[0] {
		return "", fmt.Errorf("%s could be of kind %s or %s: %w", f.Name, EventLog, CCEL, attest.ErrArgument)
	}
	return CCEL, nil
}
