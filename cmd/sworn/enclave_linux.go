//go:build linux && !ego

package main

import (
	"context"

	"github.com/sworn-run/sworn/internal/launch/wasm"
)

// defaultEngine is that of modules.
const defaultEngine = wasm.Compiler

// openEnclave refuses: this program was not built to run in an enclave.
func openEnclave(context.Context) (enclaveDevice, error) {
	return nil, usage("run the enclave that \"make enclave\" builds, or a simulated platform: --sgx simulator:DIR", "--tee sgx: this program was not built to run in an enclave")
}
