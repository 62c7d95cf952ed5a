package nitro_test

import (
	"crypto/x509"
	"fmt"
	"os"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/nitro"
)

// The document of an enclave, made by a simulated vendor, is genuine, and its key was
// certified by the root that is trusted; hours later nobody vouches for it any more.
func ExampleScheme_Verify() {
	document, err := os.ReadFile("testdata/document.cbor")
	if err != nil {
		panic(err)
	}
	der, err := os.ReadFile("testdata/root.der")
	if err != nil {
		panic(err)
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	ev, err := nitro.NewEvidence(0, document)
	if err != nil {
		panic(err)
	}
	anchors := &attest.Anchors{Roots: []attest.Root{{Role: nitro.Role, Certificate: root, UserSupplied: true}}}
	at := time.Date(2026, 2, 3, 10, 12, 2, 0, time.UTC)
	for _, at := range []time.Time{at, at.Add(4 * time.Hour)} {
		claims, err := nitro.Scheme{}.Verify(ev, anchors, at)
		if err != nil {
			panic(err)
		}
		fmt.Println("identity:", claims.Identity.Status, "- revocation:", claims.Revocation.Status)
	}
	// Output:
	// identity: passed - revocation: not established
	// identity: failed - revocation: not established
}
