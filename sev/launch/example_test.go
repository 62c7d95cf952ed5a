package launch_test

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/sworn-run/sworn/sev/launch"
)

// What a report's MEASUREMENT will be is computed from the firmware and what it boots.
func ExampleDigest() {
	cpu, _ := launch.CPU("EPYC-Milan")
	m := &launch.Machine{
		Host:      launch.QEMU,
		Firmware:  make([]byte, 4096), // the bytes of an OVMF image
		Boot:      &launch.Boot{Kernel: sha256.Sum256([]byte("vmlinuz")), Initrd: launch.NoInitrd(), Cmdline: "console=ttyS0"},
		CPUs:      4,
		Signature: cpu,
		Features:  launch.SNPActive,
	}
	_, err := launch.Digest(m)
	fmt.Println("an image of zeros:", errors.Is(err, launch.ErrImage))
	fmt.Printf("signature %#x\n", cpu)
	// Output:
	// an image of zeros: true
	// signature 0xa00f11
}
