//go:build linux && !ego

package main

import (
	"context"

	"github.com/sworn-run/sworn/attest"
)

// openEnclave refuses: this program was not built to run in an enclave.
func openEnclave(context.Context) (attest.Attester, error) {
	return nil, usage("run the enclave that \"make enclave\" builds, or a simulated platform: --sgx simulator:DIR", "--tee sgx: this program was not built to run in an enclave")
}
