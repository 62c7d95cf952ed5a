//go:build simulator && cgo

package simulator

import (
	"context"
	"errors"
	"fmt"
	"sync"

	reference "github.com/google/go-tpm-tools/simulator"
	"github.com/google/go-tpm/tpm2/transport"
)

// OpenInProcess starts the reference implementation of the TPM inside this
// process, with PCR banks SHA-256 and SHA-384, and has the maker in dir
// provision it, see [OpenMaker] and [Maker.Provision]. Its state is lost when
// it is closed: the maker persists, the TPM does not. There is one per process:
// while another is open, it waits, and if the context ends first, returns an
// error that wraps [ErrRunning] and the context's. Otherwise the error wraps
// [ErrDir], [ErrTPM] or [ErrActivation].
func OpenInProcess(ctx context.Context, dir string) (transport.TPMCloser, error) {
	maker, err := OpenMaker(dir)
	if err != nil {
		return nil, err
	}
	t, err := takeInProcess(ctx)
	if err != nil {
		return nil, fmt.Errorf("opening an in-process TPM: %w", err)
	}
	if err := t.allocate(); err != nil {
		return nil, errors.Join(fmt.Errorf("allocating the banks of an in-process TPM: %w", err), t.Close())
	}
	if err := maker.Provision(ctx, t); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// inProcess is the one TPM of this process, as long as it is open.
type inProcess struct {
	transport.TPM
	simulator *reference.Simulator
	close     func() error
}

// Close ends the TPM. More calls do nothing and return the same error.
func (p *inProcess) Close() error { return p.close() }

// takeInProcess gets the TPM as soon as nobody has it.
func takeInProcess(ctx context.Context) (*inProcess, error) {
	type result struct {
		simulator *reference.Simulator
		err       error
	}
	got := make(chan result)
	go func() {
		s, err := reference.Get()
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
		return newInProcess(r.simulator), nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrRunning, ctx.Err())
	}
}

// newInProcess wraps the simulator.
func newInProcess(s *reference.Simulator) *inProcess {
	return &inProcess{
		TPM:       transport.FromReadWriter(s),
		simulator: s,
		close: sync.OnceValue(func() error {
			if err := s.Close(); err != nil {
				return fmt.Errorf("closing an in-process TPM: %w: %w", ErrTPM, err)
			}
			return nil
		}),
	}
}

// allocate sets the banks up and restarts the TPM, with which that takes
// effect.
func (p *inProcess) allocate() error {
	if err := allocateBanks(p); err != nil {
		return err
	}
	if err := p.simulator.Reset(); err != nil {
		return fmt.Errorf("restarting: %w: %w", ErrTPM, err)
	}
	return nil
}
