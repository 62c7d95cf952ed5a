//go:build simulator && cgo

package simulator

import (
	"context"
	"errors"
	"fmt"

	ms "github.com/google/go-tpm-tools/simulator"
	"github.com/google/go-tpm/tpm2/transport"
)

// OpenInProcess starts the reference implementation of the TPM inside this
// process and has the maker in dir provision it, see [OpenMaker] and
// [Maker.Provision]. Its state is lost when it is closed: the maker persists,
// the TPM does not. There is one per process; as long as another is open, it
// waits, and returns an error that wraps [ErrRunning] and the context's error
// when the context ends. Otherwise the error wraps [ErrDir], [ErrTPM] or
// [ErrActivation].
func OpenInProcess(ctx context.Context, dir string) (transport.TPMCloser, error) {
	maker, err := OpenMaker(dir)
	if err != nil {
		return nil, err
	}
	t, err := takeInProcess(ctx)
	if err != nil {
		return nil, fmt.Errorf("opening an in-process TPM: %w", err)
	}
	if err := maker.Provision(ctx, t); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// takeInProcess gets the one TPM of this process as soon as nobody has it.
func takeInProcess(ctx context.Context) (transport.TPMCloser, error) {
	type result struct {
		tpm *ms.Simulator
		err error
	}
	got := make(chan result)
	go func() {
		s, err := ms.Get()
		select {
		case got <- result{s, err}:
		case <-ctx.Done():
			// Nobody waits any more: the next one shall have it.
			if err == nil {
				_ = s.Close()
			}
		}
	}()
	select {
	case r := <-got:
		if r.err != nil {
			return nil, fmt.Errorf("%w: %w", ErrTPM, r.err)
		}
		return transport.FromReadWriteCloser(r.tpm), nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrRunning, ctx.Err())
	}
}
