package intel_test

import (
	"fmt"
	"time"

	"github.com/sworn-run/sworn/simulator/intel"
)

// A machine of a simulated vendor quotes a TD that could be migrated, and the vendor
// says that the machine is out of date.
func Example() {
	now := time.Now()
	vendor, err := intel.New(now)
	if err != nil {
		fmt.Println(err)
		return
	}
	machine, err := vendor.Platform("one")
	if err != nil {
		fmt.Println(err)
		return
	}
	td := machine.TD("guest", [64]byte{1, 2, 3})
	td.Attributes |= intel.TDMigratable
	quote, err := machine.TDQuote(td, 5, now)
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := quote.Marshal(); err != nil {
		fmt.Println(err)
		return
	}
	info := machine.TCBInfo(intel.TEETDX, now)
	info.Levels[0].Status = intel.OutOfDate
	if _, err := vendor.SignTCBInfo(info); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("a quote of version", quote.Version, "below", vendor.Root().Subject.CommonName)
	// Output: a quote of version 5 below Intel SGX Root CA SIMULATED
}
