package ledger_test

import (
	"crypto/rand"
	"fmt"
	"time"

	"github.com/sworn-run/sworn/verifier/ledger"
)

// A ledger is signed by whoever keeps it, and opened by who chose to trust that key.
func Example() {
	private, public, err := ledger.GenerateKey(rand.Reader, "example.com/security")
	if err != nil {
		fmt.Println(err)
		return
	}
	file, err := ledger.Sign(&ledger.Document{
		Type: ledger.Type, Name: "example.com/distrust", Version: "1", Issued: "2026-11-29",
		Entries: []ledger.Entry{{
			ID: "STOLEN-1", Title: "a machine that was stolen", Class: ledger.ClassPhysical,
			UnlessStampedBefore: "2026-11-03", Reason: "it left our hands on that day", References: []string{},
			Match: ledger.Selector{Measurements: []ledger.Digests{{Name: "chip_id", Values: []string{"0a0b"}}}},
		}},
	}, private)
	if err != nil {
		fmt.Println(err)
		return
	}
	l, err := ledger.Open(file, []*ledger.Key{public})
	if err != nil {
		fmt.Println(err)
		return
	}
	evidence := &ledger.Subject{Format: "sev-snp", Measurements: map[string][]byte{"chip_id": {0x0a, 0x0b}}}
	fmt.Println(l, len(l.Matches(evidence, time.Time{})), len(l.Matches(evidence, time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC))))
	// Output: example.com/distrust version 1 of 2026-11-29 1 0
}
