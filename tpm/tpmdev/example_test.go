package tpmdev_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/tpm/tpmdev"
)

// A launcher's use of the TPM, from the first event to the evidence.
func Example() {
	launch := func(ctx context.Context, event []byte, st *attest.Statement) (*attest.Evidence, error) {
		t, err := tpmdev.Open(ctx, "/dev/tpmrm0", tpmdev.Options{})
		if err != nil {
			return nil, err
		}
		defer t.Close()
		banks, err := t.Banks(ctx)
		if err != nil {
			return nil, err
		}
		var digests [][]byte
		for _, b := range banks {
			digests = append(digests, b.Sum(event))
		}
		slot, err := t.Manifest(ctx)
		if err != nil {
			return nil, err
		}
		st.Manifest = []attest.Slot{slot}
		if err := t.Extend(ctx, digests); err != nil {
			return nil, err
		}
		return t.Attest(ctx, 0, st)
	}
	_ = launch
}

func ExampleOpen() {
	ctx := context.Background()
	_, err := tpmdev.Open(ctx, "unix:no-such-socket", tpmdev.Options{})
	fmt.Println("absent:", errors.Is(err, tpmdev.ErrAbsent))
	_, err = tpmdev.Open(ctx, "/dev/tpmrm0", tpmdev.Options{Register: new(uint32(16))})
	fmt.Println("a register that can be reset:", errors.Is(err, tpmdev.ErrUsage))
	// Output:
	// absent: true
	// a register that can be reset: true
}
