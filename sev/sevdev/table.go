package sevdev

import (
	"bytes"
	"encoding/asn1"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"slices"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/limits"
)

// The table of certificates (GHCB, 4.1.8.1): entries of a GUID, an offset from the table's
// start and a length, up to one of zeros; the data come after it.
const (
	entrySize  = 24
	maxEntries = 64
)

// kindOf returns the kind of what stands under a GUID; "" for what is not known, which a
// host may put there for others. GUIDs stand in the order in which they are written.
func kindOf(guid []byte) string {
	switch hex.EncodeToString(guid) {
	case "63da758de6644564adc5f4b93be8accd", // VCEK
		"a8074bc2a25a483eaae639c045a0b8a1", // VLEK
		"4ab7b379bbac4fe4a02f05aef327c782", // ASK, or ASVK
		"c0b406a4a803495297433fb6014cd0ae": // ARK
		return attest.CollateralCertificate
	case "92f81bc358114d3d97ffd19f88dc67ea": // CRL
		return attest.CollateralCRL
	}
	return ""
}

// readTable returns the certificates and lists of a table in its order, each once. The
// error wraps ErrDevice.
func readTable(table []byte) ([]attest.Collateral, error) {
	if len(table) == 0 {
		return nil, nil
	}
	if len(table) > maxTable {
		return nil, fmt.Errorf("a table of %d bytes, limit %d: %w", len(table), maxTable, ErrDevice)
	}
	var items []attest.Collateral
	for i := 0; ; i++ {
		at := i * entrySize
		if i == maxEntries || at+entrySize > len(table) {
			return nil, fmt.Errorf("a table without an end, or of more than %d entries: %w", maxEntries, ErrDevice)
		}
		entry := table[at : at+entrySize]
		if bytes.Equal(entry, make([]byte, entrySize)) {
			return items, nil
		}
		offset := uint64(binary.LittleEndian.Uint32(entry[16:]))
		length := uint64(binary.LittleEndian.Uint32(entry[20:]))
		if offset+length > uint64(len(table)) {
			return nil, fmt.Errorf("entry %d goes beyond the table: %w", i, ErrDevice)
		}
		kind := kindOf(entry[:16])
		if kind == "" {
			continue
		}
		blobs, err := split(table[offset : offset+length])
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", i, err)
		}
		for _, b := range blobs {
			if items, err = add(items, attest.Collateral{Kind: kind, Data: b}); err != nil {
				return nil, err
			}
		}
	}
}

// add appends an item unless it is there already.
func add(items []attest.Collateral, item attest.Collateral) ([]attest.Collateral, error) {
	same := func(c attest.Collateral) bool { return c.Kind == item.Kind && bytes.Equal(c.Data, item.Data) }
	if slices.ContainsFunc(items, same) {
		return items, nil
	}
	limit := limits.Certificate
	if item.Kind == attest.CollateralCRL {
		limit = limits.CollateralItem
	}
	if len(item.Data) > limit || len(items) == limits.Certificates {
		return nil, fmt.Errorf("more than %d items in the table, or one of more than %d bytes: %w", limits.Certificates, limit, ErrDevice)
	}
	return append(items, item), nil
}

// split returns the DER that an entry holds: as it should be, DER; or PEM, as some hosts
// put there, perhaps several. What fills an entry up, zeros or white space, is no part of
// it.
func split(b []byte) ([][]byte, error) {
	if rest := bytes.TrimLeft(b, " \t\r\n"); bytes.HasPrefix(rest, []byte("-----BEGIN ")) {
		return splitPEM(rest)
	}
	return splitDER(b)
}

// splitDER returns each value.
func splitDER(b []byte) ([][]byte, error) {
	var out [][]byte
	for len(bytes.Trim(b, "\x00")) > 0 {
		var raw asn1.RawValue
		rest, err := asn1.Unmarshal(b, &raw)
		if err != nil || raw.Class != asn1.ClassUniversal || raw.Tag != asn1.TagSequence || !raw.IsCompound {
			return nil, fmt.Errorf("neither DER nor PEM: %w", ErrDevice)
		}
		out, b = append(out, bytes.Clone(raw.FullBytes)), rest
	}
	return out, nil
}

// splitPEM returns the DER of each block.
func splitPEM(b []byte) ([][]byte, error) {
	var out [][]byte
	for {
		block, rest := pem.Decode(b)
		if block == nil {
			break
		}
		der, err := splitDER(block.Bytes)
		if err != nil || len(der) != 1 || len(der[0]) != len(block.Bytes) {
			return nil, fmt.Errorf("PEM that holds no DER: %w", ErrDevice)
		}
		out, b = append(out, der[0]), rest
	}
	if len(out) == 0 || len(bytes.Trim(b, "\x00 \t\r\n")) > 0 {
		return nil, fmt.Errorf("PEM that does not end: %w", ErrDevice)
	}
	return out, nil
}
