// Package simulator is the vendors of attestation hardware, simulated whole,
// so that the code that runs against real hardware runs on any machine.
//
// # The simulated TPM maker
//
// A [Maker] does what the makers of TPMs and the clouds that host them do: it
// has a root of its own, certifies the endorsement key (EK) of a TPM when it
// makes one, and, as Google and Azure do, certifies an attestation key (AK)
// after credential activation, leaving template and certificate in the TPM's
// NV memory where Google's machines keep them. Whoever trusts its root, by
// putting it into a folder of roots, trusts nothing else: no root of a
// simulator is built in anywhere, and every certificate has the word SIMULATED
// in its common name.
//
// [StartSWTPM] runs swtpm with a maker beside it (Linux; the program swtpm must
// be installed); [OpenInProcess] is the reference implementation of the TPM
// inside this process (build tag simulator, cgo). Both are provisioned by the
// same code, [Maker.Provision].
//
// # What a simulated TPM proves
//
// Nothing about the machine it runs on. Its seeds and the maker's private keys
// lie in files that their owner can copy. It serves to try everything else.
//
// Clauses are those of the TPM 2.0 Library Specification, revision 1.59 ("Part
// 3, 12.5"), and of the TCG EK Credential Profile, version 2.6.
package simulator

import (
	"errors"
	"fmt"
)

// The errors of this package; every error returned wraps one of them,
// [attest.ErrArgument], or that of the context if it ended first.
var (
	// ErrNotInstalled reports that a program that has to be there is not:
	// swtpm.
	ErrNotInstalled = errors.New("not installed")
	// ErrNotBuilt reports that this binary was built without the in-process
	// TPM: it takes the build tag simulator, and cgo.
	ErrNotBuilt = errors.New("not built into this binary")
	// ErrDir reports a directory that cannot be used: it cannot be written, or
	// what lies in it is not what this package put there.
	ErrDir = errors.New("unusable directory")
	// ErrSocketPath reports a path too long for a unix socket: with the suffix
	// of the control socket, more than 107 bytes. It wraps ErrDir.
	ErrSocketPath = fmt.Errorf("%w: socket path too long", ErrDir)
	// ErrRunning reports that the simulated TPM of that directory, or the one
	// of this process, is already running.
	ErrRunning = errors.New("already running")
	// ErrTPM reports a TPM that does not do what it should: that does not
	// start, fails a command, or holds what this maker did not put there and
	// may not replace.
	ErrTPM = errors.New("TPM failed")
	// ErrActivation reports that credential activation failed: the AK does not
	// live in the TPM whose EK was certified, or is not of the kind certified.
	ErrActivation = errors.New("credential activation refused")
)
