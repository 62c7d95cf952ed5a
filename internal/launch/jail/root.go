//go:build linux

package jail

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sworn-run/sworn/cer"
)

// slackBytes is what the root's tmpfs may take beyond files and folders.
const slackBytes = 1 << 20

// scratchInodes bounds the files the job can make in /scratch.
const scratchInodes = 1 << 16

// root is a job's root under construction: a detached tmpfs, filled while the
// old root is still there to copy from, and entered when it is complete.
type root struct {
	fd   int
	dirs map[string]bool
	// volumes are detached mounts of the volumes, in their order.
	volumes []int
	// attached: the root stands in the mount tree already.
	attached bool
	// devices are detached mounts of device nodes, by name.
	devices map[string]int
	// numbers are those of the devices that the Spec names, in its order.
	numbers []string
}

// deviceNumbers are the devices that a job can open.
func deviceNumbers() map[string]uint64 {
	return map[string]uint64{"null": unix.Mkdev(1, 3), "urandom": unix.Mkdev(1, 9)}
}

// mountOption is one option of a file system; without a value it is a flag.
type mountOption struct{ key, value string }

// newMount makes a detached mount of a new file system of the given type. Of
// the options, optional ones may be refused: the State says so.
func newMount(fstype string, options []mountOption, optional string, attrs int) (int, State, error) {
	fs, err := unix.Fsopen(fstype, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, No, fmt.Errorf("opening a new %s: %w", fstype, err)
	}
	defer unix.Close(fs)
	for _, o := range options {
		if err := unix.FsconfigSetString(fs, o.key, o.value); err != nil {
			return -1, No, fmt.Errorf("setting %s=%s of %s: %w", o.key, o.value, fstype, err)
		}
	}
	state := No
	if optional != "" {
		state = stateOf(unix.FsconfigSetFlag(fs, optional))
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, state, fmt.Errorf("making a %s: %w", fstype, err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, attrs)
	if err != nil {
		return -1, state, fmt.Errorf("mounting a %s: %w", fstype, err)
	}
	return fd, state, nil
}

// newRoot makes the empty root, large enough for the files, and says whether
// it is kept out of swap.
func newRoot(files []source, total uint64) (*root, State, error) {
	// One page of rounding and one of overhead for each file.
	size := total + 2*pageSize*uint64(len(files)) + slackBytes
	fd, noswap, err := newMount("tmpfs", []mountOption{
		{"size", strconv.FormatUint(size, 10)}, {"mode", "0755"}, {"nr_inodes", "0"},
	}, "noswap", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
	if err != nil {
		return nil, noswap, err
	}
	return &root{fd: fd, dirs: map[string]bool{".": true}, devices: map[string]int{}}, noswap, nil
}

// mkdir makes a folder of the root and those above it.
func (r *root) mkdir(dir string) error {
	if r.dirs[dir] {
		return nil
	}
	if err := r.mkdir(path.Dir(dir)); err != nil {
		return err
	}
	err := unix.Mkdirat(r.fd, dir, 0o755)
	if errors.Is(err, unix.EEXIST) {
		// An image may have it, but not as a link to somewhere else.
		var st unix.Stat_t
		if err = unix.Fstatat(r.fd, dir, &st, unix.AT_SYMLINK_NOFOLLOW); err == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
			err = unix.ENOTDIR
		}
	}
	if err != nil {
		return fmt.Errorf("making folder /%s: %w", dir, err)
	}
	r.dirs[dir] = true
	return nil
}

// mkdirs makes the folders of all files and those of the jail itself.
func (r *root) mkdirs(files []source, proc bool) error {
	for i := range files {
		if err := r.mkdir(path.Dir(files[i].target)); err != nil {
			return err
		}
	}
	own := []string{ScratchDir[1:], "dev"}
	if proc {
		own = append(own, "proc")
	}
	for _, dir := range own {
		if err := r.mkdir(dir); err != nil {
			return err
		}
	}
	return nil
}

// create opens the copy of one source for writing. Its folder is there.
func (r *root) create(s *source) (*os.File, error) {
	fd, err := unix.Openat(r.fd, s.target, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("making /%s: %w", s.target, err)
	}
	f := os.NewFile(uintptr(fd), s.target)
	if err := unix.Fchmod(fd, s.mode); err != nil {
		return nil, errors.Join(fmt.Errorf("setting the mode of /%s: %w", s.target, err), f.Close())
	}
	return f, nil
}

// link gives the copy of one source its other names.
func (r *root) link(files []source) error {
	for i := range files {
		if files[i].first == i || files[i].first < 0 {
			continue
		}
		first := files[files[i].first].target
		if err := unix.Linkat(r.fd, first, r.fd, files[i].target, 0); err != nil {
			return fmt.Errorf("linking /%s to /%s: %w", files[i].target, first, err)
		}
	}
	return nil
}

// lock locks all copies into memory, for as long as init lives.
func (r *root) lock(files []source) error {
	for i := range files {
		if files[i].stat.Size == 0 || files[i].first != i {
			continue
		}
		fd, err := unix.Openat(r.fd, files[i].target, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("opening /%s: %w", files[i].target, err)
		}
		b, err := unix.Mmap(fd, 0, int(files[i].stat.Size), unix.PROT_READ, unix.MAP_SHARED)
		if err == nil {
			err = unix.Mlock(b)
		}
		if err := errors.Join(err, unix.Close(fd)); err != nil {
			return fmt.Errorf("locking /%s: %w", files[i].target, err)
		}
	}
	return nil
}

// takeDevices takes hold of the machine's device nodes while they can be seen.
// It reports false if any is missing or not what its name says.
func (r *root) takeDevices() bool {
	for name, number := range deviceNumbers() {
		fd, err := unix.OpenTree(unix.AT_FDCWD, "/dev/"+name, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_SYMLINK_NOFOLLOW)
		if err != nil {
			return false
		}
		r.devices[name] = fd
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != number {
			return false
		}
	}
	return true
}

// errDevice: the Spec names a device that is none. No other isolation mends that.
var errDevice = errors.New("no such device")

// takeDevice takes hold of one device node that the Spec names.
func (r *root) takeDevice(name string) error {
	if _, taken := r.devices[name]; taken {
		return nil
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, "/dev/"+name, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return fmt.Errorf("/dev/%s: %w", name, errDevice)
	}
	if err != nil {
		return fmt.Errorf("taking device /dev/%s: %w", name, err)
	}
	r.devices[name] = fd
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("taking device /dev/%s: %w", name, err)
	}
	if kind := st.Mode & unix.S_IFMT; kind != unix.S_IFCHR && kind != unix.S_IFBLK {
		return fmt.Errorf("/dev/%s is a file of another kind: %w", name, errDevice)
	}
	for _, memory := range []uint32{1, 2, 4} { // mem, kmem, port
		if st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == unix.Mkdev(1, memory) {
			return fmt.Errorf("/dev/%s is the machine's memory by another name: %w", name, unix.EPERM)
		}
	}
	if isTPM(&st) {
		return fmt.Errorf("/dev/%s is a TPM by another name: %w", name, unix.EPERM)
	}
	if own := kernelName(sysDevices, &st); cer.LauncherDevice(own) {
		return fmt.Errorf("/dev/%s is the launcher's %s by another name: %w", name, own, unix.EPERM)
	}
	d := cer.Device{Kind: 'c', Major: unix.Major(st.Rdev), Minor: unix.Minor(st.Rdev)}
	if st.Mode&unix.S_IFMT == unix.S_IFBLK {
		d.Kind = 'b'
	}
	r.numbers = append(r.numbers, d.Number())
	return nil
}

// isTPM reports whether a node is a TPM whatever it is called: the first one has a
// number of its own (Linux, admin-guide/devices.txt), of the others sysfs knows.
func isTPM(st *unix.Stat_t) bool {
	if st.Mode&unix.S_IFMT != unix.S_IFCHR {
		return false
	}
	if st.Rdev == unix.Mkdev(10, 224) {
		return true
	}
	subsystem, err := os.Readlink(fmt.Sprintf("/sys/dev/char/%d:%d/subsystem", unix.Major(st.Rdev), unix.Minor(st.Rdev)))
	return err == nil && strings.HasPrefix(path.Base(subsystem), "tpm")
}

// sysDevices is where sysfs has character devices by number.
const sysDevices = "/sys/dev/char"

// kernelName returns what the kernel calls a character device: those of confidential VMs
// have numbers that are given out as they come. Empty where sysfs does not know it.
func kernelName(devices string, st *unix.Stat_t) string {
	if st.Mode&unix.S_IFMT != unix.S_IFCHR {
		return ""
	}
	device, err := os.Readlink(fmt.Sprintf("%s/%d:%d", devices, unix.Major(st.Rdev), unix.Minor(st.Rdev)))
	if err != nil {
		return ""
	}
	return path.Base(device)
}

// place attaches a detached mount at a path of the root and closes it.
func (r *root) place(fd int, at string) error {
	err := unix.MoveMount(fd, "", r.fd, at, unix.MOVE_MOUNT_F_EMPTY_PATH)
	if err := errors.Join(err, unix.Close(fd)); err != nil {
		return fmt.Errorf("mounting /%s: %w", at, err)
	}
	return nil
}

// placeDevices puts the devices into /dev: the machine's own nodes by bind
// mount or, where these cannot be had, new ones. It returns the way taken. The
// devices that the Spec names are bound, or it fails.
func (r *root) placeDevices(named []string) (string, error) {
	if !r.takeDevices() {
		if len(named) > 0 {
			return "", fmt.Errorf("device %s cannot be bound: this kernel or user cannot bind /dev/null either: %w", named[0], unix.EPERM)
		}
		return "mknod", r.makeDevices()
	}
	for _, name := range named {
		if err := r.takeDevice(name); err != nil {
			return "", err
		}
	}
	for name, fd := range r.devices {
		at := "dev/" + name
		if err := r.mkdir(path.Dir(at)); err != nil {
			return "", err
		}
		node, err := unix.Openat(r.fd, at, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o444)
		if err != nil {
			return "", fmt.Errorf("making /%s: %w", at, err)
		}
		attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC | unix.MOUNT_ATTR_RDONLY}
		if err := errors.Join(unix.Close(node), unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr)); err != nil {
			return "", fmt.Errorf("restricting /%s: %w", at, err)
		}
		if err := r.place(fd, at); err != nil {
			return "", err
		}
	}
	return "bind", nil
}

// makeDevices makes device nodes in a tmpfs of their own, at /dev.
func (r *root) makeDevices() error {
	fd, _, err := newMount("tmpfs", []mountOption{{"size", "64k"}, {"mode", "0755"}}, "", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return err
	}
	for name, number := range deviceNumbers() {
		if err := unix.Mknodat(fd, name, unix.S_IFCHR|0o666, int(number)); err != nil {
			return errors.Join(fmt.Errorf("making /dev/%s: %w", name, err), unix.Close(fd))
		}
		if err := unix.Fchmodat(fd, name, 0o666, 0); err != nil {
			return errors.Join(fmt.Errorf("setting the mode of /dev/%s: %w", name, err), unix.Close(fd))
		}
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return errors.Join(fmt.Errorf("making /dev read-only: %w", err), unix.Close(fd))
	}
	return r.place(fd, "dev")
}

// placeScratch mounts the job's writable folder, for the job's uid or, where the
// user namespace does not know that, for init's own. It reports nothing about
// swap: what the job writes there is its own.
func (r *root) placeScratch(cfg *config) error {
	uid, gid := unix.Geteuid(), unix.Getegid()
	if cfg.UID >= 0 && uid == 0 {
		uid, gid = cfg.UID, cfg.GID
	}
	fd, err := newScratch(cfg.Scratch, uid, gid)
	if errors.Is(err, unix.EINVAL) {
		fd, err = newScratch(cfg.Scratch, unix.Geteuid(), unix.Getegid())
	}
	if err != nil {
		return err
	}
	return r.place(fd, ScratchDir[1:])
}

// newScratch makes the tmpfs of /scratch.
func newScratch(size uint64, uid, gid int) (int, error) {
	fd, _, err := newMount("tmpfs", []mountOption{
		{"size", strconv.FormatUint(size, 10)},
		{"mode", "0700"},
		{"nr_inodes", strconv.Itoa(scratchInodes)},
		{"uid", strconv.Itoa(uid)},
		{"gid", strconv.Itoa(gid)},
	}, "noswap", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	return fd, err
}

// placeProc mounts a read-only /proc of the PID namespace, in which a user sees
// no other's processes.
func (r *root) placeProc() error {
	const attrs = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC
	fd, _, err := newMount("proc", []mountOption{{"hidepid", "invisible"}}, "", attrs)
	if err != nil {
		return err
	}
	return r.place(fd, "proc")
}

// attach puts the root somewhere into the mount tree. Where does not matter: the
// tree is left a moment later, and nothing of it is needed any more.
func (r *root) attach() error {
	if r.attached {
		return nil
	}
	var errs []error
	for _, dir := range []string{"/tmp", "/run", "/mnt", "/var", "/etc", "/usr"} {
		err := unix.MoveMount(r.fd, "", unix.AT_FDCWD, dir, unix.MOVE_MOUNT_F_EMPTY_PATH)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return fmt.Errorf("attaching the root: %w", errors.Join(errs...))
}

// seal makes the tmpfs itself and its mount read-only, and reads that back.
func (r *root) seal() State {
	fs, err := unix.Fspick(r.fd, "", unix.FSPICK_EMPTY_PATH|unix.FSPICK_CLOEXEC)
	if err != nil {
		return Refused(err)
	}
	err = unix.FsconfigSetFlag(fs, "ro")
	if err == nil {
		err = unix.FsconfigReconfigure(fs)
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	err = errors.Join(err, unix.MountSetattr(r.fd, "", unix.AT_EMPTY_PATH, &attr), unix.Close(fs))
	if err == nil {
		err = r.writable()
	}
	return stateOf(err)
}

// writable returns nil if a file cannot be made in the root for the one right
// reason.
func (r *root) writable() error {
	err := unix.Mkdirat(r.fd, "sealed?", 0o700)
	switch {
	case errors.Is(err, unix.EROFS):
		return nil
	case err == nil:
		return unix.EPERM
	default:
		return err
	}
}

// enter makes the root this mount namespace's, for every process in it, and
// lets go of the old one.
func (r *root) enter() error {
	if err := unix.Fchdir(r.fd); err != nil {
		return fmt.Errorf("entering the root: %w", err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivoting to the root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("detaching the old root: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return fmt.Errorf("entering the root: %w", err)
	}
	return unix.Close(r.fd)
}
