//go:build unix

package tsm

import (
	"errors"
	"syscall"
)

// gone reports whether there is no process of that id.
func gone(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }
