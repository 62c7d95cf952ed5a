//go:build linux

package jail

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What Landlock knows how to govern by the version of its interface
// (Linux, userspace-api/landlock.rst): the file system's access rights from the
// first, and what later ones add.
const (
	landlockRead  = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	landlockFirst = 1<<13 - 1
)

// landlockRights returns the rights that a version of the interface governs.
func landlockRights(version int) (fs, net, scoped uint64) {
	fs = landlockFirst
	if version >= 2 {
		fs |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if version >= 3 {
		fs |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if version >= 4 {
		net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
	}
	if version >= 5 {
		fs |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	if version >= 6 {
		scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
	}
	return fs, net, scoped
}

// restrict puts the calling thread under a Landlock ruleset: it reads and executes
// its root, writes to /scratch and to its devices. The thread must have
// no_new_privs and stand in the job's root.
func restrict(network, devices bool) error {
	version, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return errno
	}
	var attr unix.LandlockRulesetAttr
	attr.Access_fs, attr.Access_net, attr.Scoped = landlockRights(int(version))
	if network {
		attr.Access_net = 0
	}
	// An older kernel refuses an attribute that is longer than the one it knows,
	// unless the rest is zero.
	fd, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	if errno != 0 {
		return errno
	}
	ruleset := int(fd)
	deviceRights := attr.Access_fs & (unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR | unix.LANDLOCK_ACCESS_FS_TRUNCATE)
	if devices {
		deviceRights |= attr.Access_fs & unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	const never = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	err := errors.Join(
		allowBeneath(ruleset, "/", landlockRead),
		allowBeneath(ruleset, ScratchDir, attr.Access_fs&^never),
		allowBeneath(ruleset, "/dev", deviceRights),
		rawCall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(ruleset), 0, 0),
	)
	return errors.Join(err, unix.Close(ruleset))
}

// allowBeneath adds a rule to a ruleset.
func allowBeneath(ruleset int, dir string, rights uint64) error {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_CLOEXEC|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return fmt.Errorf("opening %s: %w", dir, err)
	}
	// struct landlock_path_beneath_attr is packed: 12 bytes.
	attr := unix.LandlockPathBeneathAttr{Allowed_access: rights, Parent_fd: int32(fd)}
	_, _, errno := unix.RawSyscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&attr)), 0, 0, 0)
	if errno != 0 {
		return errors.Join(fmt.Errorf("allowing %s: %w", dir, errno), unix.Close(fd))
	}
	return unix.Close(fd)
}
