package sev

import (
	"encoding/asn1"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"fmt"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/limits"
)

// tableEntry is the size of an entry in the head of a certificate table: a GUID of 16
// bytes, offset and length of 4 bytes each, little-endian.
const tableEntry = 24

// TableEntry is one entry of a certificate table.
type TableEntry struct {
	// GUID is the entry's identifier, in the usual notation.
	GUID string
	// Name is what AMD's GHCB specification (56421, section 4.1.8.1) has under that
	// GUID: "VCEK", "VLEK", "ASK" (also of an ASVK), "ARK" or "CRL"; empty for others.
	Name string
	// Data is the entry as it stands in the table, of which it is a part.
	Data []byte
	// DER are the certificates or the revocation list in it: one, or several if the
	// entry is PEM. There is none if Name is empty or nothing in Data is DER.
	DER [][]byte
	// PEM tells that the entry is PEM where DER belongs.
	PEM bool
	// Surplus counts the bytes of Data that follow what is in DER: all of them if
	// there is none.
	Surplus int
}

// ParseCertTable parses the table of certificates that a host hands to its guests
// beside a report (GHCB specification, section 4.1.8.1): configfs-tsm's auxblob. The
// host can put there what it likes; nothing in it is trusted, and that an entry holds
// a certificate is not checked.
//
// A table is at most 1 MiB, with at most 64 entries of 64 KiB each, no GUID twice.
// Every entry lies within the table and behind its head, which an entry of zeros
// ends. No bytes at all are no table: nil, without an error. The error wraps
// [attest.ErrForm].
func ParseCertTable(b []byte) ([]TableEntry, error) {
	if len(b) == 0 {
		return nil, nil
	}
	if len(b) > limits.EvidencePart {
		return nil, fmt.Errorf("certificate table of %d bytes, limit %d: %w", len(b), limits.EvidencePart, attest.ErrForm)
	}
	heads, err := splitHead(b)
	if err != nil {
		return nil, err
	}
	after := (len(heads) + 1) * tableEntry
	var out []TableEntry
	seen := map[string]bool{}
	for i, h := range heads {
		guid := guidText(h[:16])
		offset, length := binary.LittleEndian.Uint32(h[16:]), binary.LittleEndian.Uint32(h[20:])
		end := uint64(offset) + uint64(length)
		switch {
		case seen[guid]:
			return nil, fmt.Errorf("entry %d: %s stands there twice: %w", i, guid, attest.ErrForm)
		case uint64(offset) < uint64(after) || end > uint64(len(b)):
			return nil, fmt.Errorf("entry %d: bytes %d to %d of %d, behind a head of %d: %w", i, offset, end, len(b), after, attest.ErrForm)
		case length == 0 || length > limits.Certificate:
			return nil, fmt.Errorf("entry %d of %d bytes, want 1 to %d: %w", i, length, limits.Certificate, attest.ErrForm)
		}
		seen[guid] = true
		out = append(out, readEntry(guid, b[offset:end:end]))
	}
	return out, nil
}

// splitHead returns the entries of the head, without the one that ends it.
func splitHead(b []byte) ([][]byte, error) {
	var out [][]byte
	for at := 0; ; at += tableEntry {
		if len(b)-at < tableEntry {
			return nil, fmt.Errorf("certificate table of %d bytes whose head does not end: %w", len(b), attest.ErrForm)
		}
		h := b[at : at+tableEntry]
		if isZero(h) {
			return out, nil
		}
		if len(out) == limits.EvidenceParts {
			return nil, fmt.Errorf("certificate table of more than %d entries: %w", limits.EvidenceParts, attest.ErrForm)
		}
		out = append(out, h)
	}
}

// guidText returns 16 bytes in the notation of a GUID, in their order.
func guidText(b []byte) string {
	s := hex.EncodeToString(b)
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// entryName returns what the specification has under a GUID.
func entryName(guid string) string {
	switch guid {
	case "63da758d-e664-4564-adc5-f4b93be8accd":
		return "VCEK"
	case "a8074bc2-a25a-483e-aae6-39c045a0b8a1":
		return "VLEK"
	case "4ab7b379-bbac-4fe4-a02f-05aef327c782":
		return "ASK"
	case "c0b406a4-a803-4952-9743-3fb6014cd0ae":
		return "ARK"
	case "92f81bc3-5811-4d3d-97ff-d19f88dc67ea":
		return "CRL"
	}
	return ""
}

// readEntry finds what is DER in an entry.
func readEntry(guid string, data []byte) TableEntry {
	e := TableEntry{GUID: guid, Name: entryName(guid), Data: data}
	if e.Name == "" {
		return e // Of what is not known, nothing is surplus either.
	}
	// Only a SEQUENCE: the dashes of PEM are ASN.1 too.
	var first asn1.RawValue
	if rest, err := asn1.Unmarshal(data, &first); err == nil && data[0] == 0x30 {
		e.DER, e.Surplus = [][]byte{first.FullBytes}, len(rest)
		return e
	}
	e.Surplus = len(data)
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		e.PEM = true
		e.DER = append(e.DER, block.Bytes)
		e.Surplus = len(rest)
	}
	return e
}

// Collateral returns what the entry holds as collateral items of evidence.
func (e *TableEntry) Collateral() []attest.Collateral {
	kind := attest.CollateralCertificate
	if e.Name == "CRL" {
		kind = attest.CollateralCRL
	}
	var out []attest.Collateral
	for _, der := range e.DER {
		out = append(out, attest.Collateral{Kind: kind, Data: der})
	}
	return out
}
