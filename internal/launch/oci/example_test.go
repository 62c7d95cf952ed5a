//go:build linux

package oci_test

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/sworn-run/sworn/internal/launch/oci"
)

// Without a private folder and a limit nothing is opened.
func ExampleOpen() {
	_, err := oci.Open(context.Background(), "oci:image:latest", oci.Options{})
	fmt.Println(errors.Is(err, oci.ErrUsage))
	_, err = oci.Open(context.Background(), "image.tar", oci.Options{Private: os.TempDir(), MaxBytes: 1 << 30})
	fmt.Println(errors.Is(err, oci.ErrIO))
	// Output:
	// true
	// true
}
