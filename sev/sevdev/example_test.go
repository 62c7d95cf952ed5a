package sevdev_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/sev/sevdev"
)

// A launcher's use of the secure processor.
func Example() {
	launch := func(ctx context.Context, st *attest.Statement) (*attest.Evidence, error) {
		d, err := sevdev.Open(ctx, sevdev.Options{})
		if err != nil {
			return nil, err
		}
		defer d.Close()
		slot, err := d.Manifest(ctx)
		if err != nil {
			return nil, err
		}
		st.Manifest = []attest.Slot{slot}
		ev, err := d.Attest(ctx, 0, st)
		if err != nil {
			return nil, err
		}
		ev.Collateral, err = d.Collateral(ctx)
		return ev, err
	}
	_ = launch
}

func ExampleOpen() {
	_, err := sevdev.Open(context.Background(), sevdev.Options{ConfigFS: "/no/such/folder", Device: "/no/such/device"})
	fmt.Println("absent:", errors.Is(err, sevdev.ErrAbsent))
	// Output: absent: true
}
