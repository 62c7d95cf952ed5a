package stamp_test

import (
	"crypto"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/simulator/tsa"
	"github.com/sworn-run/sworn/verifier/stamp"
)

// A token says that a digest existed at a time, on the word of an authority whose root the
// relying party trusts.
func Example() {
	day := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	authority, err := tsa.New(day, tsa.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	evidence := sha256.Sum256([]byte("evidence"))
	der, err := authority.Token(tsa.Order{Hash: crypto.SHA256, Imprint: evidence[:], Time: day})
	if err != nil {
		fmt.Println(err)
		return
	}

	token, err := stamp.Parse(der)
	if err != nil {
		fmt.Println(err)
		return
	}
	roots := &attest.Anchors{Roots: []attest.Root{{Role: stamp.Role, Certificate: authority.Root(), UserSupplied: true}}}
	result := token.Verify(roots, nil, day.AddDate(1, 0, 0))
	fmt.Println(result.Status, token.Covers(crypto.SHA256, evidence[:]), token.Latest())
	fmt.Println(result.Authority, result.Until)
	fmt.Println(token.Verify(nil, nil, day).Reason)
	// Output:
	// passed true 2026-06-01 12:00:00 +0000 UTC
	// Time Stamp Signer SIMULATED 2036-06-01 11:00:00 +0000 UTC
	// no roots
}
