package sev_test

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/sev"
)

// A report of a maker that exists in tests only is genuine: the key of the
// certificate beside it signed it. Whose chip that is depends on the roots that the
// relying party trusts.
func ExampleScheme_Verify() {
	read := func(name string) []byte {
		b, err := os.ReadFile("testdata/example/" + name)
		if err != nil {
			panic(err)
		}
		return b
	}
	ev, err := sev.NewEvidence(0, read("report.bin"))
	if err != nil {
		panic(err)
	}
	for _, name := range []string{"vcek.der", "ask.der", "ark.der"} {
		ev.Collateral = append(ev.Collateral, attest.Collateral{Kind: attest.CollateralCertificate, Data: read(name)})
	}
	ev.Collateral = append(ev.Collateral, attest.Collateral{Kind: attest.CollateralCRL, Data: read("ark.crl")})

	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	claims, err := sev.Scheme{}.Verify(ev, &attest.Anchors{Pins: sev.Pins()}, at)
	if err != nil {
		panic(err)
	}
	fmt.Println("under AMD's roots:", claims.Identity.Status)

	root, err := x509.ParseCertificate(read("ark.der"))
	if err != nil {
		panic(err)
	}
	trusted := &attest.Anchors{Roots: []attest.Root{{Role: sev.Role, Product: "Milan", Certificate: root, UserSupplied: true}}}
	claims, err = sev.Scheme{Cache: sev.NewCache(64)}.Verify(ev, trusted, at)
	if err != nil {
		panic(err)
	}
	fmt.Println("under the maker's own:", claims.Identity.Status)
	fmt.Println("revocation:", claims.Revocation.Status)
	fmt.Println("versions:", claims.TCB.Versions)

	ev.Parts[0].Data[0x90] ^= 1 // another MEASUREMENT
	_, err = sev.Scheme{}.Verify(ev, trusted, at)
	fmt.Println("tampered:", errors.Is(err, attest.ErrSignature))
	// Output:
	// under AMD's roots: failed
	// under the maker's own: passed
	// revocation: passed
	// versions: [{bootloader 4} {tee 0} {snp 24} {microcode 219}]
	// tampered: true
}

// The certificates that a host hands to its guests may be in the place of DER what
// they like; what is found is reported.
func ExampleParseCertTable() {
	entries, err := sev.ParseCertTable(make([]byte, 4096)) // A host that has none.
	fmt.Println(len(entries), err)
	_, err = sev.ParseCertTable([]byte("not a table"))
	fmt.Println(errors.Is(err, attest.ErrForm))
	// Output:
	// 0 <nil>
	// true
}
