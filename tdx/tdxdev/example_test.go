package tdxdev_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/tdx/tdxdev"
)

// A launcher's use of the TDX module, from an event to the evidence.
func Example() {
	launch := func(ctx context.Context, event []byte, st *attest.Statement) (*attest.Evidence, error) {
		d, err := tdxdev.Open(ctx, tdxdev.Options{})
		if err != nil {
			return nil, err
		}
		defer d.Close()
		slot, err := d.Manifest(ctx)
		if err != nil {
			return nil, err
		}
		st.Manifest = []attest.Slot{slot}
		if err := d.Extend(ctx, [][]byte{attest.SHA384.Sum(event)}); err != nil {
			return nil, err
		}
		return d.Attest(ctx, 0, st)
	}
	_ = launch
}

func ExampleOpen() {
	_, err := tdxdev.Open(context.Background(), tdxdev.Options{ConfigFS: "/no/such/folder"})
	fmt.Println("absent:", errors.Is(err, tdxdev.ErrAbsent))
	// Output: absent: true
}
