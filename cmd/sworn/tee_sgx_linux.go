package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/launch"
	"github.com/sworn-run/sworn/simulator/intel"
)

// sgxSimulator begins a value of --sgx; the folder of the simulated vendors follows.
const sgxSimulator = "simulator:"

// simulatedLauncher is the name of the enclave that a simulated platform quotes.
const simulatedLauncher = "sworn"

// checkSGX refuses what would have an enclave's evidence say what is not so: a process that
// is started runs outside of the enclave.
func (d *deviceFlags) checkSGX() error {
	asked := slices.Contains(d.tee, teeSGX)
	dir, simulated := strings.CutPrefix(d.sgx, sgxSimulator)
	switch {
	case !asked && d.sgx != "":
		return usage("add --tee sgx, or leave --sgx out", "--sgx says which platform quotes an enclave, and --tee sgx is not given")
	case d.sgx != "" && (!simulated || dir == ""):
		return usage("--sgx simulator:DIR, with the DIR of sworn simulate vendor --intel", "--sgx %q is no simulated platform; a real one needs no --sgx", d.sgx)
	case asked && !d.module:
		return usage("give the job as a WebAssembly module: --wasm FILE", "--tee sgx: a program that is started runs outside of the enclave, whose evidence would say nothing of it")
	case asked && d.strict:
		return usage("leave --isolation out", "--isolation strict: within an enclave a job has no namespace, uid or filter of its own")
	default:
		return nil
	}
}

// enclaveDevice is an enclave, or a simulated one.
type enclaveDevice interface {
	attest.Attester
	io.Closer
	UniqueID() [32]byte
}

// addSGX opens the enclave that this process runs in, or a simulated platform, which says so
// in every name below its root.
func (o *opened) addSGX(ctx context.Context, d *deviceFlags, first bool) error {
	dev, err := d.openSGX(ctx)
	if err != nil {
		return err
	}
	o.closers = append(o.closers, dev)
	program := dev.UniqueID()
	if first {
		o.device = launch.Device{Attester: dev, Program: &program}
		return nil
	}
	o.device.Program = &program
	o.device.Beside = append(o.device.Beside, launch.Beside{Attester: dev})
	return nil
}

func (d *deviceFlags) openSGX(ctx context.Context) (enclaveDevice, error) {
	dir, simulated := strings.CutPrefix(d.sgx, sgxSimulator)
	if !simulated {
		return openEnclave(ctx)
	}
	dev, err := intel.OpenEnclave(dir, simulatedLauncher, time.Now, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, wrap(err, "make the simulated vendor first: sworn simulate vendor --dir "+dir+" --intel")
	}
	if err != nil {
		return nil, wrap(err, "--sgx simulator:DIR, with the DIR of sworn simulate vendor --intel")
	}
	return dev, nil
}
