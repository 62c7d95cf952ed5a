//go:build linux

package jail

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Harden closes the calling process, the launcher, to its neighbours: no
// ptrace, /proc/PID/mem or core (PR_SET_DUMPABLE 0), no core file
// (RLIMIT_CORE 1), and no page of it swapped out (mlockall with MCL_CURRENT,
// MCL_FUTURE and MCL_ONFAULT). Each is tried, and reported as
// "launcher_non_dumpable", "launcher_no_core" and "launcher_locked". Start works
// before and after it, for root and for others.
func Harden() []Fact {
	const locks = unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT
	return []Fact{
		{"launcher_non_dumpable", nonDumpable()},
		{"launcher_no_core", noCore()},
		{"launcher_locked", stateOf(unix.Mlockall(locks))},
	}
}

// nonDumpable makes the calling process non-dumpable and reads that back.
func nonDumpable() State {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return Refused(err)
	}
	return isNonDumpable()
}

// isNonDumpable reports whether the calling process is non-dumpable.
func isNonDumpable() State {
	v, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err != nil {
		return Refused(err)
	}
	if v != 0 {
		return No
	}
	return Yes
}

// coreLimit is the RLIMIT_CORE that stops every core dump: no core file is as
// small as one byte, and one byte is the value at which the kernel does not
// start the program of a piped core_pattern either (core(5), fs/coredump.c). A
// limit of 0 stops the file and not the program.
const coreLimit = 1

// noCore sets RLIMIT_CORE to coreLimit and reads that back. Where the hard limit
// is 0 already and cannot be raised, a piped core_pattern would still get the
// memory: that is not "yes".
func noCore() State {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: coreLimit, Max: coreLimit}); err != nil {
		return Refused(err)
	}
	var now unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &now); err != nil {
		return Refused(err)
	}
	if now.Cur != coreLimit || now.Max != coreLimit {
		return No
	}
	return Yes
}

// setLimit sets both values of a resource limit and reads them back. A hard
// limit that is lower already is left.
func setLimit(resource int, value uint64) error {
	var now unix.Rlimit
	if err := unix.Prlimit(0, resource, nil, &now); err != nil {
		return fmt.Errorf("reading limit %d: %w", resource, err)
	}
	want := unix.Rlimit{Cur: min(value, now.Max), Max: min(value, now.Max)}
	if err := unix.Prlimit(0, resource, &want, &now); err != nil {
		return fmt.Errorf("setting limit %d to %d: %w", resource, value, err)
	}
	if err := unix.Prlimit(0, resource, nil, &now); err != nil || now != want {
		return fmt.Errorf("limit %d is %v, wanted %v: %w", resource, now, want, unix.EPERM)
	}
	return nil
}
