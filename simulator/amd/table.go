package amd

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// The GUIDs of the items of a certificate table (56421, 4.1.8.1). The guest's kernel
// hands the table out as auxblob. There is none for the ASVK: it stands under that
// of the ASK.
const (
	GUIDVCEK = "63da758d-e664-4564-adc5-f4b93be8accd"
	GUIDVLEK = "a8074bc2-a25a-483e-aae6-39c045a0b8a1"
	GUIDASK  = "4ab7b379-bbac-4fe4-a02f-05aef327c782"
	GUIDARK  = "c0b406a4-a803-4952-9743-3fb6014cd0ae"
	GUIDCRL  = "92f81bc3-5811-4d3d-97ff-d19f88dc67ea"
)

// entrySize is the size of an entry of the table in bytes: GUID, offset, length.
const entrySize = 24

// TableEntry is one item of a certificate table.
type TableEntry struct {
	// GUID says what it is; one of the constants, or any other.
	GUID string
	// Data is the item: certificates in DER.
	Data []byte
}

// MarshalTable encodes a certificate table: the entries, an entry of zeros, and the
// items in their order (56421, table 7). GUIDs stand as bytes in the order of their
// text. The error wraps [ErrIssue].
func MarshalTable(entries []TableEntry) ([]byte, error) {
	var head, body []byte
	offset := entrySize * (len(entries) + 1)
	for _, e := range entries {
		guid, err := hex.DecodeString(strings.ReplaceAll(e.GUID, "-", ""))
		if err != nil || len(guid) != 16 {
			return nil, fmt.Errorf("GUID %q: %w", e.GUID, ErrIssue)
		}
		head = append(head, guid...)
		head = binary.LittleEndian.AppendUint32(head, uint32(offset+len(body)))
		head = binary.LittleEndian.AppendUint32(head, uint32(len(e.Data)))
		body = append(body, e.Data...)
	}
	return append(append(head, make([]byte, entrySize)...), body...), nil
}

// Table returns the certificate table that a host gives its guests: the certificate
// of the VCEK or the VLEK, of its issuer and of the ARK. The error wraps
// [ErrIssue].
func (p *Platform) Table(kind SigningKey, now time.Time) ([]byte, error) {
	leaf, err := p.Certificate(kind, now)
	if err != nil {
		return nil, err
	}
	guid, issuer := GUIDVCEK, p.vendor.ASK()
	if kind == VLEK {
		guid, issuer = GUIDVLEK, p.vendor.ASVK()
	}
	return MarshalTable([]TableEntry{{guid, leaf}, {GUIDASK, issuer.Raw}, {GUIDARK, p.vendor.ARK().Raw}})
}
