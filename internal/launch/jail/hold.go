//go:build linux

package jail

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/sworn-run/sworn/internal/launch/verity"
)

// otherBits are the permissions that the job needs on a file that it gets as it
// is: it has neither the owner's uid nor its group.
const (
	otherRead    = 0o004
	otherExecute = 0o001
)

// hold decides for every file that may be taken where it is whether it is, and
// keeps those open: what is held is measured, and is what the job gets.
func hold(files []source) error {
	for i := range files {
		s := &files[i]
		if s.first != i || s.protect == ProtectSealed {
			continue
		}
		if err := s.hold(); err != nil {
			return err
		}
	}
	return nil
}

// hold opens the file and asks the kernel for its digest.
func (s *source) hold() error {
	f, err := s.open()
	if err != nil {
		return err
	}
	need := uint32(otherRead)
	if s.mode&0o111 != 0 {
		need |= otherExecute
	}
	readable := s.stat.Mode&need == need
	digest, err := verity.Measure(f)
	switch {
	case s.protect == ProtectNone && !readable, s.protect == ProtectVerity && err == nil && !readable:
		return errors.Join(fmt.Errorf("%s cannot be read by others: the job has a uid of its own (chmod o+r)", s.path), f.Close())
	case s.protect == ProtectNone:
		s.held = f
	case err == nil && readable:
		s.held, s.digest = f, fileDigest{FSVerity: digest[:], Size: uint64(s.stat.Size), Protection: "fs-verity"}
		if s.describe {
			s.digest.Described = describe(f, s.stat.Size)
		}
	case s.protect == ProtectVerity:
		return errors.Join(err, f.Close())
	default:
		return f.Close() // it is copied
	}
	return nil
}

// checked reports whether the kernel checks every read of the file: it is held,
// and need not be read to be measured.
func (s *source) checked() bool { return s.digest.FSVerity != nil }

// copies returns the files that are copied, with the sum of their sizes.
func copies(files []source) (copied []source, total uint64) {
	for i := range files {
		s := files[i]
		if files[s.first].held != nil {
			s.stat.Size, s.first = 0, -1
		} else if s.first == i {
			total += uint64(s.stat.Size)
		}
		copied = append(copied, s)
	}
	return copied, total
}

// closeHeld closes what is held.
func closeHeld(files []source) {
	for i := range files {
		if files[i].held != nil {
			_ = files[i].held.Close()
			files[i].held = nil
		}
	}
}

// bind puts the files that are held into the root, each as a read-only mount of
// the very file that was measured. The root is attached.
func (r *root) bind(files []source) error {
	for i := range files {
		held := files[files[i].first].held
		if held == nil {
			continue
		}
		if err := r.bindOne(held, &files[i], files[files[i].first].mode); err != nil {
			return fmt.Errorf("binding %s: %w", files[i].path, err)
		}
	}
	return nil
}

func (r *root) bindOne(held *os.File, s *source, mode uint32) error {
	fd, err := unix.OpenTree(int(held.Fd()), "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		return err
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	if mode&0o111 == 0 {
		attr.Attr_set |= unix.MOUNT_ATTR_NOEXEC
	}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return errors.Join(err, unix.Close(fd))
	}
	var got, want unix.Stat_t
	if err := errors.Join(unix.Fstat(fd, &got), unix.Fstat(int(held.Fd()), &want)); err != nil || got.Dev != want.Dev || got.Ino != want.Ino {
		return errors.Join(err, errChanged, unix.Close(fd))
	}
	at, err := unix.Openat(r.fd, s.target, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o444)
	if err != nil {
		return errors.Join(err, unix.Close(fd))
	}
	return errors.Join(unix.Close(at), r.place(fd, s.target))
}

// takeVolumes makes a detached mount of each volume, read-only, from the device
// with the number that was checked, while its node can be seen.
func (r *root) takeVolumes(volumes []Volume) error {
	for _, v := range volumes {
		fd, err := v.mount(unix.MOUNT_ATTR_NOEXEC)
		if err != nil {
			return fmt.Errorf("mounting %s: %w", v.Device, err)
		}
		r.volumes = append(r.volumes, fd)
	}
	return nil
}

// mount makes the detached mount, with further attributes.
func (v *Volume) mount(attrs int) (int, error) {
	var st unix.Stat_t
	if err := unix.Lstat(v.Device, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFBLK || st.Rdev != v.Number {
		return -1, errors.Join(err, fmt.Errorf("it is not block device %d:%d: %w", unix.Major(v.Number), unix.Minor(v.Number), unix.ENODEV))
	}
	if err := v.checkFilesystem(); err != nil {
		return -1, err
	}
	attrs |= unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV
	fd, ro, err := newMount(v.Filesystem, []mountOption{{"source", v.Device}}, "ro", attrs)
	if err != nil {
		return -1, err
	}
	if ro != Yes {
		return -1, errors.Join(fmt.Errorf("read-only is %s: %w", ro, unix.EROFS), unix.Close(fd))
	}
	// What is mounted is on that device: its root says so.
	if err := unix.Fstat(fd, &st); err != nil || st.Dev != v.Number {
		return -1, errors.Join(err, fmt.Errorf("the file system is on another device: %w", unix.ENODEV), unix.Close(fd))
	}
	return fd, nil
}

// placeVolumes puts the volumes into the root, which is attached.
func (r *root) placeVolumes(volumes []Volume) error {
	for i, v := range volumes {
		if err := r.mkdir(v.Target[1:]); err != nil {
			return err
		}
		if err := r.place(r.volumes[i], v.Target[1:]); err != nil {
			return err
		}
	}
	return nil
}

// checkFilesystem checks, through the device, that its data are of no other file
// system too.
func (v *Volume) checkFilesystem() error {
	fd, err := unix.Open(v.Device, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	device := os.NewFile(uintptr(fd), v.Device)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Rdev != v.Number {
		return errors.Join(err, unix.ENODEV, device.Close())
	}
	return errors.Join(verity.CheckFilesystem(device, v.Filesystem), device.Close())
}
