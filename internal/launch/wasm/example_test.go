package wasm_test

import (
	"errors"
	"fmt"

	"github.com/sworn-run/sworn/internal/launch/wasm"
)

// A file is looked at before anything is launched.
func ExampleCheck() {
	err := wasm.Check([]byte("#!/bin/sh\n"), wasm.DefaultPages)
	fmt.Println(errors.Is(err, wasm.ErrModule))
	// Output: true
}
