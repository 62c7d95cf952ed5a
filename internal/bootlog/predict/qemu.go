package predict

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/bootlog"
	"github.com/sworn-run/sworn/internal/limits"
)

// Offsets in the setup header of a Linux kernel for x86 (boot protocol 2.15), and what
// QEMU writes there.
const (
	offVersion     = 0x206
	offLoader      = 0x210
	offFlags       = 0x211
	offInitrd      = 0x218
	offInitrdSize  = 0x21C
	offHeap        = 0x224
	offCommandLine = 0x228
	minVersion     = 0x20C

	qemuLoader      = 0xB0
	canUseHeap      = 0x80
	commandLineAt   = 0x20000
	realModeAt      = 0x10000
	acpiData        = 0x28000
	pageMask        = 4095
	minDirectMemory = 16 << 20
)

// QEMUKernel returns the kernel as QEMU hands it to the firmware with -kernel and
// -initrd: with its setup header filled in. What the firmware extends into PCR 4 is the
// [Authenticode] digest of that, not of the file. low is the guest's memory below 4 GiB
// in bytes, all of it in a small guest; initrd is the size of the initial file system in
// bytes, 0 for none.
//
// QEMU 7.2 does so; later versions, and those that fill in more, may differ. The error
// wraps [attest.ErrForm] for what is no such kernel, or [attest.ErrArgument] for memory
// that does not hold the initial file system.
func QEMUKernel(kernel []byte, low, initrd uint64) ([]byte, error) {
	le := binary.LittleEndian
	if len(kernel) < offCommandLine+4 || len(kernel) > limits.BootImage || !bytes.Equal(kernel[0x202:0x206], []byte("HdrS")) ||
		le.Uint16(kernel[offVersion:]) < minVersion {
		return nil, fmt.Errorf("a kernel of %d bytes without a setup header of protocol 2.12: %w", len(kernel), attest.ErrForm)
	}
	if low < minDirectMemory || low > 1<<32 || initrd > low-minDirectMemory {
		return nil, fmt.Errorf("%d bytes of memory for an initial file system of %d: %w", low, initrd, attest.ErrArgument)
	}
	out := bytes.Clone(kernel)
	out[offLoader] = qemuLoader
	out[offFlags] |= canUseHeap
	le.PutUint16(out[offHeap:], commandLineAt-realModeAt-0x200)
	le.PutUint32(out[offCommandLine:], commandLineAt)
	if initrd > 0 {
		le.PutUint32(out[offInitrd:], uint32((low-acpiData-1-initrd)&^pageMask))
		le.PutUint32(out[offInitrdSize:], uint32(initrd))
	}
	return out, nil
}

// QEMU predicts a kernel that QEMU boots with -kernel, -append and, unless it is empty,
// -initrd, under UEFI firmware: Digest for PCR 4; CommandLines, of which there is one,
// and Initrd for PCR 9, in this order. QEMU tells the kernel the name of the initial file
// system at the end of the command line. Low is as for [QEMUKernel], and so is the error;
// it wraps [attest.ErrForm] also for a kernel that [Authenticode] refuses, and
// [attest.ErrArgument] for a bank that is not [attest.Alg.Accepted].
func QEMU(kernel, initrd []byte, commandLine string, low uint64, bank attest.Alg) (*Image, error) {
	patched, err := QEMUKernel(kernel, low, uint64(len(initrd)))
	if err != nil {
		return nil, err
	}
	out := &Image{}
	if out.Digest, err = Authenticode(patched, bank); err != nil {
		return nil, err
	}
	if len(initrd) > 0 {
		commandLine += " initrd=initrd"
		out.Initrd = bank.Sum(initrd)
	}
	out.CommandLines = [][]byte{bank.Sum(bootlog.UTF16(commandLine))}
	return out, nil
}
