//go:build !linux

package tpmdev

import (
	"fmt"
	"os"
)

// openDevice refuses: TPM devices are opened on Linux only.
func openDevice(path string) (*os.File, error) {
	return nil, fmt.Errorf("TPM device %q on a system that is not Linux: %w", path, ErrUsage)
}
