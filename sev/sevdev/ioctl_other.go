//go:build !linux

package sevdev

import (
	"fmt"
	"os"
)

// guestRequest refuses: there is no such device but on Linux.
func guestRequest(f *os.File, _, _, _ []byte) (uint64, error) {
	return 0, fmt.Errorf("%s on a system that is not Linux: %w", f.Name(), ErrAbsent)
}
