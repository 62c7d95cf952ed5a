//go:build ego

package egodev_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/enclave/egodev"
)

// A launcher's use of the enclave that it runs in.
func Example() {
	launch := func(ctx context.Context, st *attest.Statement) (*attest.Evidence, error) {
		d, err := egodev.Open(ctx)
		if err != nil {
			return nil, err
		}
		defer d.Close()
		slot, err := d.Manifest(ctx)
		if err != nil {
			return nil, err
		}
		st.Manifest = []attest.Slot{slot}
		return d.Attest(ctx, 0, st)
	}
	_ = launch
}

// Outside of SGX nothing is opened, and so nothing is sealed with EGo's key of zeros.
func ExampleOpen() {
	_, err := egodev.Open(context.Background())
	fmt.Println("outside:", errors.Is(err, egodev.ErrOutside))
	// Output: outside: true
}
