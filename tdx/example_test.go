package tdx_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/dcap/dcaptest"
	"github.com/sworn-run/sworn/tdx"
)

// A quote of a simulated platform, by itself and with what its vendor says of it.
func ExampleScheme_Verify() {
	at := time.Date(2026, 3, 15, 12, 0, 0, 0, time.UTC)
	vendor, err := dcaptest.New(at, "Intel")
	if err != nil {
		panic(err)
	}
	quote, err := vendor.Make(dcaptest.Quote{Version: 5, Body: dcaptest.TD(true, nil)})
	if err != nil {
		panic(err)
	}
	ev, err := tdx.NewEvidence(0, quote)
	if err != nil {
		panic(err)
	}

	claims, err := tdx.Scheme{}.Verify(ev, vendor.Anchors(), at)
	if err != nil {
		panic(err)
	}
	fmt.Printf("quoted %x…, RTMR3 %x…\n", claims.Quoted[:4], claims.Registers[tdx.LogRegister].Value[:4])
	fmt.Println("identity", claims.Identity.Status, "TCB", claims.TCB.Finding.Status)

	if ev.Collateral, err = vendor.Collateral(true); err != nil {
		panic(err)
	}
	if claims, err = (tdx.Scheme{}).Verify(ev, vendor.Anchors(), at); err != nil {
		panic(err)
	}
	fmt.Println("identity", claims.Identity.Status, "TCB", claims.TCB.Status, "revocation", claims.Revocation.Status)

	ev.Parts[0].Data[200] ^= 1 // another MRTD
	_, err = tdx.Scheme{}.Verify(ev, vendor.Anchors(), at)
	fmt.Println("tampered:", errors.Is(err, attest.ErrSignature))
	// Output:
	// quoted dadadada…, RTMR3 66666666…
	// identity not established TCB not established
	// identity passed TCB UpToDate revocation passed
	// tampered: true
}

// Hosts pad quotes: what is behind one is covered by nothing.
func ExampleSurplus() {
	vendor, err := dcaptest.New(time.Date(2026, 3, 15, 12, 0, 0, 0, time.UTC), "Intel")
	if err != nil {
		panic(err)
	}
	quote, err := vendor.Make(dcaptest.Quote{Version: 4, Body: dcaptest.TD(false, nil)})
	if err != nil {
		panic(err)
	}
	_, surplus, err := tdx.Surplus(append(quote, make([]byte, 70)...))
	fmt.Println(len(surplus), err)
	// Output: 70 <nil>
}
