// Package egodev is the device side of package enclave: inside an Intel SGX enclave that
// EGo runs, it has statements quoted, and seals what the launcher keeps. What it produces,
// package enclave appraises.
//
// All but this comment and the sentinels is built with the tag ego, and needs cgo: EGo's
// toolchain builds the enclave ("make enclave"). A plain C compiler builds it too, so that
// it is checked where no SGX is; the program then refuses to do anything.
//
// # Nothing before a self-report
//
// Outside of SGX, and in EGo's simulation mode, EGo's functions for sealing return a key of
// zeros and no error, and a report that they could not get is one whose TCB is said to be up
// to date. [Open] therefore asks for a report of this enclave itself first, has the CPU
// verify it, and refuses where there is none, where it is empty, or where the key is zeros.
// A debug enclave is refused as well: its host reads its memory.
//
// # What can be quoted
//
// A statement, and nothing else: no function here takes report data. The quoting service of
// the host, outside of the enclave, makes the quote; what it returns must be over this
// enclave and this statement. Whether it is genuine, the device side does not judge.
package egodev

import "errors"

// The sentinels of this package. Every error wraps one of them, or is that of the context
// that ended the call.
var (
	// ErrOutside: this process is in no enclave, or in one that is simulated.
	ErrOutside = errors.New("not in an SGX enclave")
	// ErrDebug: the enclave was built for debugging, and its host reads its memory.
	ErrDebug = errors.New("debug enclave")
	// ErrDevice: the platform failed, or gave what was not asked for.
	ErrDevice = errors.New("SGX platform failed")
	// ErrSealed: what shall be unsealed was not sealed by this enclave on this platform, for
	// this purpose, or was changed.
	ErrSealed = errors.New("not sealed by this enclave")
	// ErrUsage: the caller's mistake: a statement that does not encode or is for another
	// slot, too much to seal, an enclave that is not open.
	ErrUsage = errors.New("invalid use of the enclave")
)
