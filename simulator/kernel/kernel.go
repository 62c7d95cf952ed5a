// Package kernel is what the Linux kernel of a confidential VM shows to programs,
// simulated: the folder of attestation reports in configfs (Linux 6.7), the measurement
// registers of an Intel TD in sysfs (Linux 6.16) and the firmware's log, as files of FUSE
// whose answers come from functions. Code that talks to real hardware runs against it
// unchanged: it is pointed at [Kernel.ConfigFS] and [Kernel.Measurements], or, in a mount
// namespace of its own, [Kernel.Overlay] puts them where the kernel has them.
//
// What signs is a function, [Report]: a simulated vendor's. What this package says proves
// nothing about the machine that it runs on. Linux, and root, are required.
package kernel

import (
	"crypto/sha512"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// The errors of this package; every error returned wraps one of them.
var (
	// ErrMount: the file system cannot be mounted, or unmounted, there.
	ErrMount = errors.New("cannot mount")
	// ErrArgument: the caller's mistake: no function to sign, a name or a size that a
	// register cannot have.
	ErrArgument = errors.New("invalid argument")
	// ErrNamespace: [Kernel.Overlay] was called in the mount namespace of the system.
	ErrNamespace = errors.New("not in a mount namespace of its own")
)

// The names that drivers have in the kernel.
const (
	// SEVGuest is AMD SEV-SNP's: it knows privilege levels and gives certificates.
	SEVGuest = "sev_guest"
	// TDXGuest is Intel TDX's.
	TDXGuest = "tdx_guest"
)

// Report makes a report for what was written into a request: 64 bytes for a driver that
// there is, which refuses others with EINVAL before this is called. privlevel is 0 unless
// it was written. An error that is a [syscall.Errno] is what the reader gets, any other is
// EIO. Calls may come at once.
type Report func(inblob []byte, privlevel uint) (outblob, auxblob []byte, err error)

// Options are the machine that is simulated.
type Options struct {
	// Provider is the driver's name in the kernel, such as [SEVGuest]; empty for a machine
	// without one, on which a request cannot be made (ENXIO).
	Provider string
	// PrivLevelFloor is the least privilege level that the driver answers for, 0 to 3; for
	// [SEVGuest] only.
	PrivLevelFloor uint
	// Report makes the reports. It is required where there is a driver.
	Report Report
	// Registers are the measurement registers of a TD; nil shows none.
	Registers *Registers
	// CCEL is the data of the firmware's log; nil shows none.
	CCEL []byte
	// Interfere is called before an attribute of a request is opened to be read or written
	// ("generation", "inblob"…), with the request's path below the file system, or before one
	// is made ("mkdir") or removed ("rmdir"). What it returns, if not 0, is what the caller
	// gets. Tests misbehave with it; nil never interferes.
	Interfere func(request, attribute string) syscall.Errno
}

// registerSize is the size of every register of a TD in bytes.
const registerSize = sha512.Size384

// Registers are the measurement registers of a simulated TD: 48 bytes each, under the names
// that they have in sysfs, such as "mrtd:sha384" and "rtmr3:sha384". They are safe for
// concurrent use.
type Registers struct {
	mu     sync.Mutex
	values map[string][]byte
}

// NewRegisters returns the registers of a TD that has just been launched: all zeros but
// for those given, by their names. The error wraps [ErrArgument] for a name that a TD does
// not have, or a value that is not of 48 bytes.
func NewRegisters(initial map[string][]byte) (*Registers, error) {
	r := &Registers{values: map[string][]byte{}}
	for _, name := range registerNames() {
		r.values[name] = make([]byte, registerSize)
	}
	for name, v := range initial {
		if _, ok := r.values[name]; !ok || len(v) != registerSize {
			return nil, fmt.Errorf("register %q of %d bytes: %w", name, len(v), ErrArgument)
		}
		r.values[name] = slices.Clone(v)
	}
	return r, nil
}

// registerNames returns the names that the driver gives the registers of a TD.
func registerNames() []string {
	return []string{
		"mrconfigid", "mrowner", "mrownerconfig", "mrtd:sha384",
		"rtmr0:sha384", "rtmr1:sha384", "rtmr2:sha384", "rtmr3:sha384",
	}
}

// Value returns a register's value, 48 bytes; nil if there is none of that name.
func (r *Registers) Value(name string) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.values[name])
}

// RTMR returns a run-time register's value, 48 bytes; nil for an index above 3.
func (r *Registers) RTMR(index int) []byte {
	return r.Value(fmt.Sprintf("rtmr%d:sha384", index))
}

// Extend extends a run-time register, as TDG.MR.RTMR.EXTEND does, with a digest of 48
// bytes: its value becomes SHA-384 of what it was and the digest. The error wraps
// [ErrArgument] for any other register or size.
func (r *Registers) Extend(name string, digest []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	old, ok := r.values[name]
	if !ok || !extendable(name) || len(digest) != registerSize {
		return fmt.Errorf("extending %q with %d bytes: %w", name, len(digest), ErrArgument)
	}
	sum := sha512.Sum384(slices.Concat(old, digest))
	r.values[name] = sum[:]
	return nil
}

// extendable reports whether a register may be extended by software.
func extendable(name string) bool { return strings.HasPrefix(name, "rtmr") }
