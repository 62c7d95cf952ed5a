package sevdev

import (
	"bytes"
	"encoding/asn1"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/limits"
)

// FuzzTable: items and error exclude each other, the error is ErrDevice, each item is one
// value of DER of a known kind, no two are the same, and a table of the same items reads as
// they are.
func FuzzTable(f *testing.F) {
	one := []attest.Collateral{{Kind: attest.CollateralCertificate, Data: []byte{0x30, 1, 0}}}
	two := append(one, attest.Collateral{Kind: attest.CollateralCRL, Data: []byte{0x30, 0}})
	for _, items := range [][]attest.Collateral{nil, one, two} {
		f.Add(encode(items))
	}
	f.Add(append(encode(one), "-----BEGIN X-----\nMAA=\n-----END X-----\n"...))
	f.Add(encode(two)[:40])
	f.Fuzz(func(t *testing.T, b []byte) {
		items, err := readTable(b)
		if err != nil {
			if items != nil || !errors.Is(err, ErrDevice) {
				t.Fatalf("%v, %v", items, err)
			}
			return
		}
		if len(items) > limits.Certificates {
			t.Fatalf("%d items", len(items))
		}
		for i, item := range items {
			var raw asn1.RawValue
			rest, err := asn1.Unmarshal(item.Data, &raw)
			if err != nil || len(rest) != 0 || item.Kind != attest.CollateralCertificate && item.Kind != attest.CollateralCRL {
				t.Fatalf("item %d: %+v, %v", i, item, err)
			}
		}
		again, err := readTable(encode(items))
		if err != nil || len(again) != len(items) {
			t.Fatalf("%v again: %v, %v", items, again, err)
		}
		for i := range items {
			if items[i].Kind != again[i].Kind || !bytes.Equal(items[i].Data, again[i].Data) {
				t.Fatalf("%v again: %v", items, again)
			}
		}
	})
}

// encode returns a table of these items.
func encode(items []attest.Collateral) []byte {
	b := make([]byte, entrySize*(len(items)+1))
	for i, item := range items {
		guid := "63da758de6644564adc5f4b93be8accd"
		if item.Kind == attest.CollateralCRL {
			guid = "92f81bc358114d3d97ffd19f88dc67ea"
		}
		entry := b[i*entrySize:]
		_, _ = hex.Decode(entry, []byte(guid))
		binary.LittleEndian.PutUint32(entry[16:], uint32(len(b)))
		binary.LittleEndian.PutUint32(entry[20:], uint32(len(item.Data)))
		b = append(b, item.Data...)
	}
	return b
}
