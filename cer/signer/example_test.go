package signer_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/sworn-run/sworn/cer/signer"
)

// An auditor signs a record by its evidence digest; whoever reads it sees whose key it
// was, and that it is over this record.
func ExampleSignSSH() {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	claim := &signer.Claim{
		Role: signer.RoleCountersigner, Evidence: sha256.Sum256([]byte("the record's evidence")),
		Time: time.Date(2026, 11, 29, 8, 0, 0, 0, time.UTC), Comment: "seen at the audit",
	}
	item, err := signer.SignSSH(nil, claim, key)
	if err != nil {
		fmt.Println(err)
		return
	}
	s, err := signer.Parse(item.Kind, item.Data)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(s.Role, s.Key.Fingerprint())
	fmt.Println(s.Verify(claim.Evidence))
	fmt.Println(s.Verify(sha256.Sum256([]byte("another"))) == nil)
	// Output:
	// countersigner SHA256:tAXFyTXI8xtDaujAEcwJslAYc9/6FKcUkd2Lw0xDhPo
	// <nil>
	// false
}
