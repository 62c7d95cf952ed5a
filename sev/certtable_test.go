package sev

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/limits"
)

// The GUIDs of the GHCB specification.
const (
	guidVCEK = "63da758d-e664-4564-adc5-f4b93be8accd"
	guidVLEK = "a8074bc2-a25a-483e-aae6-39c045a0b8a1"
	guidASK  = "4ab7b379-bbac-4fe4-a02f-05aef327c782"
	guidARK  = "c0b406a4-a803-4952-9743-3fb6014cd0ae"
	guidCRL  = "92f81bc3-5811-4d3d-97ff-d19f88dc67ea"
)

// entry is one that a test puts into a table.
type entry struct {
	guid string
	data []byte
}

// table writes a certificate table.
func table(tb testing.TB, entries ...entry) []byte {
	tb.Helper()
	var head, body []byte
	for _, e := range entries {
		guid, err := hex.DecodeString(strings.ReplaceAll(e.guid, "-", ""))
		if err != nil {
			tb.Fatal(err)
		}
		head = append(head, guid...)
		head = binary.LittleEndian.AppendUint32(head, uint32((len(entries)+1)*tableEntry+len(body)))
		head = binary.LittleEndian.AppendUint32(head, uint32(len(e.data)))
		body = append(body, e.data...)
	}
	return append(append(head, make([]byte, tableEntry)...), body...)
}

func TestCertTable(t *testing.T) {
	maker := newAMD(t, milan)
	c := newChip(t, maker, signerVCEK, 3)
	ders, crl := c.chain(t), maker.crl(t)
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ders[1]}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ders[2]})...)
	unknown := "ecae0c0f-9502-43b1-afa2-0ae2e0d565b6"
	padded := append(slices.Clone(ders[2]), 0, 0, 0)
	b := table(t, entry{guidVCEK, ders[0]}, entry{guidASK, append(text, "\n\n"...)}, entry{unknown, []byte{0x30, 0}},
		entry{guidARK, padded}, entry{guidCRL, crl}, entry{guidVLEK, []byte("nonsense")})
	got, err := ParseCertTable(b)
	if err != nil {
		t.Fatal(err)
	}
	want := []TableEntry{
		{GUID: guidVCEK, Name: "VCEK", Data: ders[0], DER: ders[:1]},
		{GUID: guidASK, Name: "ASK", Data: append(text, "\n\n"...), DER: ders[1:], PEM: true, Surplus: 2},
		{GUID: unknown, Data: []byte{0x30, 0}},
		{GUID: guidARK, Name: "ARK", Data: padded, DER: ders[2:], Surplus: 3},
		{GUID: guidCRL, Name: "CRL", Data: crl, DER: [][]byte{crl}},
		{GUID: guidVLEK, Name: "VLEK", Data: []byte("nonsense"), Surplus: 8},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// The table is collateral enough.
	ev := withCollateral(c.report(t), nil)
	for i := range got {
		ev.Collateral = append(ev.Collateral, got[i].Collateral()...)
	}
	if claims := verify(t, Scheme{}, ev, maker.anchors()); !allPassed(claims) || len(claims.Used) != 4 {
		t.Errorf("used %+v of %d", claims.Used, len(ev.Collateral))
	}
	for name, none := range map[string][]byte{"nothing": nil, "a page of zeros": make([]byte, 4096)} {
		if got, err := ParseCertTable(none); got != nil || err != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestCertTableRefused(t *testing.T) {
	good := table(t, entry{guidVCEK, []byte{0x30, 0}}, entry{guidASK, []byte{0x30, 0}})
	put := func(at int, v uint32) []byte {
		b := slices.Clone(good)
		binary.LittleEndian.PutUint32(b[at:], v)
		return b
	}
	many := make([]entry, limits.EvidenceParts+1)
	for i := range many {
		many[i] = entry{guidText(bytes.Repeat([]byte{byte(i + 1)}, 16)), []byte{0x30, 0}}
	}
	if got, err := ParseCertTable(table(t, many[1:]...)); err != nil || len(got) != limits.EvidenceParts {
		t.Errorf("%d entries, %v", len(got), err)
	}
	for name, b := range map[string][]byte{
		"no end":                good[:2*tableEntry],
		"half a head":           good[:20],
		"within the head":       put(16, 2*tableEntry),
		"at the beginning":      put(16, 0),
		"behind the table":      put(16, uint32(len(good))),
		"across its end":        put(20, 5),
		"far behind":            put(16, 0xFFFFFFFF),
		"an offset that wraps":  put(20, 0xFFFFFFFF),
		"empty":                 put(20, 0),
		"twice":                 table(t, entry{guidVCEK, []byte{0x30, 0}}, entry{guidVCEK, []byte{0x30, 0}}),
		"too many":              table(t, many...),
		"a large entry":         table(t, entry{guidVCEK, make([]byte, limits.Certificate+1)}),
		"a large table":         make([]byte, limits.EvidencePart+1),
		"entry of another size": good[:len(good)-1],
	} {
		if got, err := ParseCertTable(b); got != nil || !errors.Is(err, attest.ErrForm) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}
