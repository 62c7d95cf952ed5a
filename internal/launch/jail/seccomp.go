//go:build linux

package jail

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Offsets in struct seccomp_data (seccomp(2)).
const (
	seccompNr   = 0
	seccompArch = 4
	seccompArg0 = 16
)

// x32Bit marks system calls of the x32 ABI on x86-64.
const x32Bit = 0x40000000

// ret returns a filter instruction that ends with the given action.
func ret(action uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: action}
}

// load returns a filter instruction that loads a 32-bit word of seccomp_data.
func load(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}

// unless returns a filter instruction that skips the next n ones if the test
// (BPF_JEQ or BPF_JSET) of the loaded word against k fails.
func unless(test uint16, k uint32, n uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | test | unix.BPF_K, K: k, Jf: n}
}

// refuse returns the action that makes a system call fail with errno.
func refuse(errno unix.Errno) uint32 {
	return unix.SECCOMP_RET_ERRNO | uint32(errno)
}

// nativeArch returns the AUDIT_ARCH value of the running program, or 0 where no
// filter is known.
func nativeArch() uint32 {
	switch runtime.GOARCH {
	case "amd64":
		return unix.AUDIT_ARCH_X86_64
	case "arm64":
		return unix.AUDIT_ARCH_AARCH64
	default:
		return 0
	}
}

// deniedCalls are the system calls that the job is refused whatever their
// arguments: they reach state that namespaces do not divide, or set up mounts.
func deniedCalls() []uint32 {
	return []uint32{
		unix.SYS_IO_URING_SETUP, unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD,
		unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY,
		unix.SYS_SETNS, unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT,
		unix.SYS_OPEN_TREE, unix.SYS_MOVE_MOUNT, unix.SYS_FSOPEN, unix.SYS_FSCONFIG,
		unix.SYS_FSMOUNT, unix.SYS_FSPICK, unix.SYS_MOUNT_SETATTR,
	}
}

// socketFamilies are the address families that the job may have: those that an
// empty network namespace holds in. vsock is not among them, it passes by all
// namespaces to the host.
func socketFamilies() []uint32 {
	return []uint32{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK}
}

// filter builds the job's seccomp filter.
func filter(arch uint32) []unix.SockFilter {
	allow := ret(unix.SECCOMP_RET_ALLOW)
	noCall := ret(refuse(unix.ENOSYS))
	denied := ret(refuse(unix.EPERM))
	p := []unix.SockFilter{
		load(seccompArch), unless(unix.BPF_JEQ, arch, 1),
		{Code: unix.BPF_JMP | unix.BPF_JA, K: 1},
		noCall,
		load(seccompNr),
	}
	if arch == unix.AUDIT_ARCH_X86_64 {
		p = append(p, unless(unix.BPF_JSET, x32Bit, 1), noCall)
	}
	for _, nr := range deniedCalls() {
		p = append(p, unless(unix.BPF_JEQ, nr, 1), denied)
	}
	// clone3's flags are in memory, where a filter cannot see them; C libraries
	// go back to clone.
	p = append(p, unless(unix.BPF_JEQ, unix.SYS_CLONE3, 1), noCall)
	for _, nr := range []uint32{unix.SYS_CLONE, unix.SYS_UNSHARE} {
		p = append(p, unless(unix.BPF_JEQ, nr, 4),
			load(seccompArg0), unless(unix.BPF_JSET, unix.CLONE_NEWUSER, 1), denied, allow)
	}
	families := socketFamilies()
	for _, nr := range []uint32{unix.SYS_SOCKET, unix.SYS_SOCKETPAIR} {
		p = append(p, unless(unix.BPF_JEQ, nr, uint8(2*len(families)+2)), load(seccompArg0))
		for _, family := range families {
			p = append(p, unless(unix.BPF_JEQ, family, 1), allow)
		}
		p = append(p, ret(refuse(unix.EAFNOSUPPORT)))
	}
	return append(p, allow)
}

// installFilter sets the filter on the calling thread, which must have
// no_new_privs. SPEC_ALLOW leaves speculation as it is: without it, older
// kernels slow the job down.
func installFilter() error {
	arch := nativeArch()
	if arch == 0 {
		return unix.ENOSYS
	}
	p := filter(arch)
	prog := unix.SockFprog{Len: uint16(len(p)), Filter: &p[0]}
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(p)
	if errno != 0 {
		return errno
	}
	return nil
}
