//go:build linux

package jail

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Descriptors of the stage, beside the job's 0 and 1. Its own standard error is
// init's until the last moment: what the Go runtime may have to say does not
// belong to the job.
const (
	stageControl = 3
	stageProgram = 4 // the sealed program of an open run, else unused
	stageStderr  = 5 // the job's standard error
)

// The bytes of the execution. Init sends stageGo. The stage answers with
// stageExecuting right before execve, and with stageFailed and an errno, low byte
// first, if it fails; the socket closes with a successful execve.
const (
	stageGo        = 'g'
	stageExecuting = 'x'
	stageFailed    = 'e'
)

// defaultOpenFiles is the soft RLIMIT_NOFILE where Limits.OpenFiles is zero.
const defaultOpenFiles = 1024

// stageMain is the process that becomes the job: it says that it is there, waits
// for its orders, drops all privileges, reports, waits for one byte, and
// executes. It returns only on failure.
//
// Credentials, capabilities, no_new_privs and seccomp belong to a thread, and
// execve keeps those of the calling one: so all is done on one locked thread, by
// raw system calls that touch no other.
func stageMain() error {
	runtime.LockOSThread()
	unix.CloseOnExec(stageControl)
	unix.CloseOnExec(stageProgram) // unused in the closed root; see keepScript
	c := &conn{rw: os.NewFile(stageControl, "control")}
	if err := c.send(stageReport{}); err != nil {
		return err
	}
	var cfg stageConfig
	if err := c.receive(&cfg); err != nil {
		return err
	}
	report, err := drop(&cfg)
	if err != nil {
		return errors.Join(err, c.send(stageReport{Error: err.Error()}))
	}
	x, err := prepareExecution(&cfg)
	if err != nil {
		return errors.Join(err, c.send(stageReport{Error: err.Error()}))
	}
	debug.SetGCPercent(-1)
	if err := c.send(report); err != nil {
		return err
	}
	var b [1]byte
	if n, err := unix.Read(stageControl, b[:]); err != nil || n != 1 || b[0] != stageGo {
		return fmt.Errorf("waiting for the order to execute: %w", errWire)
	}
	errno := x.run()
	failed := [3]byte{stageFailed, byte(errno), byte(errno >> 8)}
	_, _ = unix.Write(stageControl, failed[:])
	unix.Exit(exitInternal)
	return nil
}

// drop gives up everything that the job must not have and says what was
// established. Only what makes the job unsafe to start is an error; the rest is
// in the report.
func drop(cfg *stageConfig) (*stageReport, error) {
	if err := unix.Chdir(cfg.Command.Dir); err != nil {
		return nil, fmt.Errorf("changing to %s: %w", cfg.Command.Dir, err)
	}
	unix.Umask(0o022)
	r := &stageReport{NoCore: noCore()}
	r.Keyring = stateOf(rawCall(unix.SYS_KEYCTL, unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0))
	boundErr := dropBounding()
	r.GroupsDropped, r.OwnUID = stateOf(dropGroups()), No
	if cfg.UID >= 0 {
		r.OwnUID = stateOf(becomeUser(cfg.UID, cfg.GID))
	}
	r.UID, r.GID = unix.Getuid(), unix.Getgid()
	r.CapsDropped = stateOf(errors.Join(dropCaps(), boundErr))
	if r.CapsDropped == Yes && !noCaps() {
		r.CapsDropped = Refused(unix.EPERM)
	}
	err := rawCall(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0)
	if v, _ := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err == nil && v != 1 {
		err = unix.EPERM
	}
	r.NoNewPrivs = stateOf(err)
	r.Landlock = No
	if cfg.Closed {
		r.Landlock = stateOf(restrict(cfg.Network, cfg.Devices))
	}
	r.Seccomp = stateOf(installFilter())
	return r, nil
}

// rawCall makes a system call on the calling thread only.
func rawCall(nr, a, b, c uintptr) error {
	if _, _, errno := unix.RawSyscall6(nr, a, b, c, 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// dropBounding empties the bounding and ambient sets and makes uid 0 an
// ordinary one for ever (capabilities(7), "securebits").
func dropBounding() error {
	const secure = 0x01 | 0x02 | // NOROOT and its lock
		0x08 | 0x20 | // NO_SETUID_FIXUP and KEEP_CAPS locked, both off
		0x40 | 0x80 // NO_CAP_AMBIENT_RAISE and its lock
	if err := rawCall(unix.SYS_PRCTL, unix.PR_SET_SECUREBITS, secure, 0); err != nil {
		return fmt.Errorf("setting securebits: %w", err)
	}
	for capability := range uintptr(64) {
		err := rawCall(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, capability, 0)
		if errors.Is(err, unix.EINVAL) {
			break // beyond the kernel's last capability
		}
		if err != nil {
			return fmt.Errorf("dropping capability %d: %w", capability, err)
		}
	}
	return nil
}

// dropGroups gives up the supplementary groups.
func dropGroups() error {
	return rawCall(unix.SYS_SETGROUPS, 0, 0, 0)
}

// becomeUser takes another uid and gid and reads them back.
func becomeUser(uid, gid int) error {
	g, u := uintptr(gid), uintptr(uid)
	if err := rawCall(unix.SYS_SETRESGID, g, g, g); err != nil {
		return fmt.Errorf("taking gid %d: %w", gid, err)
	}
	if err := rawCall(unix.SYS_SETRESUID, u, u, u); err != nil {
		return fmt.Errorf("taking uid %d: %w", uid, err)
	}
	ruid, euid, suid := unix.Getresuid()
	rgid, egid, sgid := unix.Getresgid()
	got := []int{ruid, euid, suid, rgid, egid, sgid}
	if want := []int{uid, uid, uid, gid, gid, gid}; !slices.Equal(got, want) {
		return fmt.Errorf("ids are %v, wanted %v: %w", got, want, unix.EPERM)
	}
	return nil
}

// dropCaps empties the effective, permitted, inheritable and ambient sets.
func dropCaps() error {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := rawCall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&head)), uintptr(unsafe.Pointer(&none)), 0); err != nil {
		return fmt.Errorf("emptying capabilities: %w", err)
	}
	if err := rawCall(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0); err != nil {
		return fmt.Errorf("emptying ambient capabilities: %w", err)
	}
	return nil
}

// noCaps reads back that all five sets of the calling thread are empty.
func noCaps() bool {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var have [2]unix.CapUserData
	if err := unix.Capget(&head, &have[0]); err != nil || have != [2]unix.CapUserData{} {
		return false
	}
	for capability := range uintptr(64) {
		bound, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, capability, 0, 0, 0)
		if err != nil {
			return errors.Is(err, unix.EINVAL)
		}
		ambient, err := unix.PrctlRetInt(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_IS_SET, capability, 0, 0)
		if bound != 0 || ambient != 0 || err != nil {
			return false
		}
	}
	return true
}

// execution is all that execve needs, made before the resource limits hold: the
// Go runtime may not get a page of memory any more after that.
type execution struct {
	path      *byte
	argv, env []*byte
	sealed    bool
	limits    Limits
}

// prepareExecution makes it.
func prepareExecution(cfg *stageConfig) (*execution, error) {
	x := &execution{sealed: cfg.Sealed, limits: cfg.Limits}
	path := cfg.Command.Path
	if x.sealed {
		path = "" // AT_EMPTY_PATH
	}
	var err error
	if x.path, err = syscall.BytePtrFromString(path); err != nil {
		return nil, fmt.Errorf("preparing the path: %w", err)
	}
	if x.argv, err = syscall.SlicePtrFromStrings(cfg.Command.Argv); err != nil {
		return nil, fmt.Errorf("preparing arguments: %w", err)
	}
	if x.env, err = syscall.SlicePtrFromStrings(cfg.Command.Env); err != nil {
		return nil, fmt.Errorf("preparing environment: %w", err)
	}
	if x.sealed {
		return x, keepScript()
	}
	return x, nil
}

// keepScript keeps the sealed program open over execve if it is a script: its
// interpreter opens it again by its descriptor.
func keepScript() error {
	var start [2]byte
	keep := 0
	if n, err := unix.Pread(stageProgram, start[:], 0); err != nil {
		return fmt.Errorf("reading the sealed program: %w", err)
	} else if n != 2 || start != [2]byte{'#', '!'} {
		keep = unix.FD_CLOEXEC
	}
	if _, err := unix.FcntlInt(stageProgram, unix.F_SETFD, keep); err != nil {
		return fmt.Errorf("marking the sealed program: %w", err)
	}
	return nil
}

// run gives the job its standard error and its limits, and executes it. It
// returns only on failure. From the limits on it allocates nothing.
func (x *execution) run() unix.Errno {
	if err := unix.Dup3(stageStderr, 2, 0); err != nil {
		return errnoOf(err)
	}
	if err := unix.CloseRange(stageStderr, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return errnoOf(err)
	}
	if err := x.limit(); err != nil {
		return errnoOf(err)
	}
	at := [1]byte{stageExecuting}
	if _, err := unix.Write(stageControl, at[:]); err != nil {
		return errnoOf(err)
	}
	argv, env := uintptr(unsafe.Pointer(&x.argv[0])), uintptr(unsafe.Pointer(&x.env[0]))
	var errno unix.Errno
	if x.sealed {
		_, _, errno = unix.RawSyscall6(unix.SYS_EXECVEAT, stageProgram, uintptr(unsafe.Pointer(x.path)), argv, env, unix.AT_EMPTY_PATH, 0)
	} else {
		_, _, errno = unix.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(x.path)), argv, env)
	}
	runtime.KeepAlive(x)
	return errno
}

// limit sets the resource limits, that on memory last.
func (x *execution) limit() error {
	if x.limits.OpenFiles == 0 {
		// The Go runtime has raised the soft limit.
		var l unix.Rlimit
		if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, nil, &l); err != nil {
			return err
		}
		l.Cur = min(defaultOpenFiles, l.Max)
		if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, &l, nil); err != nil {
			return err
		}
	}
	for _, l := range [...]struct {
		resource int
		value    uint64
	}{
		{unix.RLIMIT_NOFILE, x.limits.OpenFiles},
		{unix.RLIMIT_FSIZE, x.limits.FileSize},
		{unix.RLIMIT_CPU, x.limits.CPUSeconds},
		{unix.RLIMIT_NPROC, x.limits.Processes},
		{unix.RLIMIT_AS, x.limits.AddressSpace},
	} {
		if l.value == 0 {
			continue
		}
		if err := setLimit(l.resource, l.value); err != nil {
			return err
		}
	}
	return nil
}

// errnoOf returns the errno in an error, EIO where there is none.
func errnoOf(err error) unix.Errno {
	if errno, ok := errors.AsType[unix.Errno](err); ok {
		return errno
	}
	return unix.EIO
}
