package amd_test

import (
	"fmt"
	"net/http/httptest"
	"time"

	"github.com/sworn-run/sworn/simulator/amd"
)

// A machine of a simulated vendor signs a report for a guest that may be debugged, and
// the vendor's service certifies its key.
func Example() {
	now := time.Now()
	vendor, err := amd.NewSize(amd.Milan, now, 2048) // New makes keys of AMD's own size
	if err != nil {
		fmt.Println(err)
		return
	}
	machine, err := vendor.Platform("one")
	if err != nil {
		fmt.Println(err)
		return
	}
	report := machine.Report("guest", [64]byte{1, 2, 3})
	report.Policy |= amd.PolicyDebug
	signed, err := machine.Sign(report)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(signed), "bytes, signed below", vendor.ARK().Subject.CommonName)

	service := httptest.NewServer(&amd.KDS{Vendors: []*amd.Vendor{vendor}})
	defer service.Close()
	// Output: 1184 bytes, signed below ARK-Milan SIMULATED
}
