package enclave_test

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/enclave"
)

// An enclave's report, as EGo hands it out, made by a simulated vendor: the quote in it is
// genuine. Whose platform that is depends on the roots that the relying party trusts.
func ExampleScheme_Verify() {
	read := func(name string) []byte {
		b, err := os.ReadFile("testdata/example/" + name)
		if err != nil {
			panic(err)
		}
		return b
	}
	quote, err := enclave.Unwrap(read("report.bin"))
	if err != nil {
		panic(err)
	}
	ev, err := enclave.NewEvidence(0, quote)
	if err != nil {
		panic(err)
	}
	for _, item := range []struct{ kind, name string }{
		{attest.CollateralTCBInfo, "tcb-info.json"},
		{attest.CollateralQEIdentity, "qe-identity.json"},
		{attest.CollateralCertificate, "tcb-signing.der"},
		{attest.CollateralCRL, "root.crl"},
		{attest.CollateralCRL, "pck.crl"},
	} {
		ev.Collateral = append(ev.Collateral, attest.Collateral{Kind: item.kind, Data: read(item.name)})
	}

	at := time.Date(2026, 3, 15, 12, 0, 0, 0, time.UTC)
	claims, err := enclave.Scheme{}.Verify(ev, &attest.Anchors{}, at)
	if err != nil {
		panic(err)
	}
	fmt.Println("under nobody's root:", claims.Identity.Status)

	root, err := x509.ParseCertificate(read("root.der"))
	if err != nil {
		panic(err)
	}
	trusted := &attest.Anchors{Roots: []attest.Root{{Role: enclave.Role, Certificate: root, UserSupplied: true}}}
	claims, err = enclave.Scheme{}.Verify(ev, trusted, at)
	if err != nil {
		panic(err)
	}
	fmt.Println("under the simulated vendor's:", claims.Identity.Status)
	fmt.Println("TCB:", claims.TCB.Status, claims.TCB.Versions)
	for _, m := range claims.Measurements {
		if m.Name == "unique_id" {
			fmt.Printf("%s %x\n", m.Name, m.Value[:4])
		}
	}

	ev.Parts[0].Data[48+64] ^= 1 // another MRENCLAVE
	_, err = enclave.Scheme{}.Verify(ev, trusted, at)
	fmt.Println("tampered:", errors.Is(err, attest.ErrSignature))
	// Output:
	// under nobody's root: not established
	// under the simulated vendor's: passed
	// TCB: UpToDate [{security_version 1} {pce 13} {qe 8}]
	// unique_id 22222222
	// tampered: true
}

// Of a file that somebody else wrote, the quote is what counts; what is around it is not
// signed.
func ExampleSurplus() {
	b, err := os.ReadFile("testdata/example/report.bin")
	if err != nil {
		panic(err)
	}
	quote, surplus, err := enclave.Surplus(append(b, 0, 0, 0, 0))
	fmt.Println(len(b)-len(quote), len(surplus), err)
	_, err = enclave.Unwrap(append(b, 0))
	fmt.Println(errors.Is(err, attest.ErrForm))
	// Output:
	// 16 4 <nil>
	// true
}
