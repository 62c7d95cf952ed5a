package ledger

import (
	"bytes"
	"crypto/rand"
	"testing"

	"github.com/sworn-run/sworn/attest"
)

// entry returns an entry that is about evidence of that format.
func entry(id string, class Class, format string) Entry {
	return Entry{
		ID: id, Title: "a title", Class: class, UnlessStampedBefore: "2026-05-13", Reason: "a reason",
		References: []string{"https://example.com/1"}, Match: Selector{Formats: []string{format}},
	}
}

// document returns a document of all classes.
func document() *Document {
	return &Document{
		Type: Type, Name: "example.com/distrust", Version: "7", Issued: "2026-11-29",
		Entries: []Entry{entry("A-1", ClassSoftware, "tpm"), entry("B.2", ClassPhysical, "tdx"), entry("c_3", ClassSuspected, "sgx")},
	}
}

// newKey makes a key.
func newKey(tb testing.TB, name string) (private string, public *Key) {
	tb.Helper()
	private, public, err := GenerateKey(rand.Reader, name)
	if err != nil {
		tb.Fatal(err)
	}
	return private, public
}

// signed returns the file of a document, and the key.
func signed(tb testing.TB, d *Document) ([]byte, *Key) {
	tb.Helper()
	private, public := newKey(tb, "example.com/key")
	file, err := Sign(d, private)
	if err != nil {
		tb.Fatal(err)
	}
	return file, public
}

// flips calls f with b, one bit changed at a time.
func flips(b []byte, f func(i int, b []byte)) {
	for i := range 8 * len(b) {
		c := bytes.Clone(b)
		c[i/8] ^= 1 << (i % 8)
		f(i, c)
	}
}

// subject is one of a TPM.
func subject() *Subject {
	return &Subject{
		Format: "tpm", Root: spkiText("a"), Keys: []string{spkiText("b"), spkiText("c")}, KeyID: hexText("d"), Device: hexText("e"),
		Product: "Milan", Manufacturer: "STM", Firmware: "0049000800010002", KeyType: KeyECDSA, Weaknesses: []string{WeaknessROCA},
		Versions: map[string]uint64{"snp": 20, "tee": 0}, Attributes: map[string]uint64{"vmpl": 1},
		Measurements: map[string][]byte{"chip_id": {1, 2}},
	}
}

func hexText(digit string) string  { return string(bytes.Repeat([]byte(digit), 64)) }
func spkiText(digit string) string { return "sha256:" + hexText(digit) }

// claims are empty but for a root.
func claims(change func(*attest.Claims)) *attest.Claims {
	c := &attest.Claims{}
	if change != nil {
		change(c)
	}
	return c
}
