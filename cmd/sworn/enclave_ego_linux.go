//go:build linux && ego

package main

import (
	"context"
	"errors"

	"github.com/sworn-run/sworn/enclave/egodev"
	"github.com/sworn-run/sworn/internal/launch/wasm"
)

// defaultEngine is that of modules: an enclave's memory is not executable, unless it was
// signed with "executableHeap".
const defaultEngine = wasm.Interpreter

// openEnclave opens the enclave that this program runs in.
func openEnclave(ctx context.Context) (enclaveDevice, error) {
	dev, err := egodev.Open(ctx)
	switch {
	case errors.Is(err, egodev.ErrOutside):
		return nil, wrap(err, "run it by \"ego run\" on a machine with SGX, not in simulation (OE_SIMULATION)")
	case errors.Is(err, egodev.ErrDebug):
		return nil, wrap(err, "set \"debug\": false in enclave.json, and sign the enclave anew: make enclave")
	case err != nil:
		return nil, wrap(err, "is the host's quoting service (aesmd, or the quote provider library) set up?")
	}
	return dev, nil
}
