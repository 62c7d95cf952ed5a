//go:build !simulator || !cgo

package simulator

import (
	"context"
	"fmt"

	"github.com/google/go-tpm/tpm2/transport"
)

// OpenInProcess returns an error that wraps [ErrNotBuilt]: the TPM inside this
// process is C code, and this binary was built without it, because it takes the
// build tag simulator and cgo. [StartSWTPM] needs neither.
func OpenInProcess(_ context.Context, _ string) (transport.TPMCloser, error) {
	return nil, fmt.Errorf("opening an in-process TPM: %w: rebuild with -tags simulator, or use `sworn simulate tpm`", ErrNotBuilt)
}
