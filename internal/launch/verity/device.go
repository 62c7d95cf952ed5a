//go:build linux

package verity

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The device mapper's interface (Linux, include/uapi/linux/dm-ioctl.h), version 4.
const (
	dmControl   = "/dev/mapper/control"
	dmHeader    = 312 // sizeof(struct dm_ioctl)
	dmLeast     = 305 // offsetof(struct dm_ioctl, data): a reply without data
	dmSpec      = 40  // sizeof(struct dm_target_spec)
	dmBuffer    = 16 << 10
	dmBase      = 0xc138fd00 // _IOWR(0xfd, …, struct dm_ioctl)
	dmList      = 2
	dmCreate    = 3
	dmRemove    = 4
	dmSuspend   = 6 // without DM_SUSPEND_FLAG: resume
	dmTableLoad = 9
	dmStatus    = 12

	dmReadOnly    = 1 << 0
	dmStatusTable = 1 << 4
	dmDeferred    = 1 << 17

	// Offsets in struct dm_ioctl.
	dmOffSize, dmOffStart, dmOffCount, dmOffFlags, dmOffDev, dmOffName = 12, 16, 20, 28, 40, 48
	dmNameSize                                                         = 128
)

// sectorSize is the unit in which the device mapper counts.
const sectorSize = 512

// Device is a live dm-verity device of a volume. Close takes it away.
type Device struct {
	volume *Volume
	image  *os.File
	loop   *os.File
	name   string
	rdev   uint64
	node   string
	dir    string
	// held keeps the device in use as long as this process lives, so that Sweep
	// leaves it.
	held *os.File
}

// Open makes a read-only dm-verity device of a volume whose description stands in
// dir, in the default mode: a read that does not verify fails, every time. It
// needs root, loop devices and the kernel's dm-verity. The error wraps
// [ErrUnsupported] or [ErrVolume].
func Open(v *Volume, dir string) (*Device, error) {
	if err := v.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrVolume, err)
	}
	d := &Device{volume: v}
	if err := d.open(v.path(dir)); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *Device) open(image string) error {
	fd, err := unix.Open(image, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return fmt.Errorf("opening %s: %w: %w", image, ErrVolume, err)
	}
	d.image = os.NewFile(uintptr(fd), image)
	st, err := d.image.Stat()
	if err != nil || !st.Mode().IsRegular() || uint64(st.Size()) < d.volume.HashOffset {
		return fmt.Errorf("%s is no regular file that reaches to hash_offset: %w", image, ErrVolume)
	}
	if err := d.attach(); err != nil {
		return err
	}
	return d.create()
}

// attach attaches the image to a loop device, read-only, which goes when nothing
// uses it any more.
func (d *Device) attach() error {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("loop devices: %w: %w", ErrUnsupported, err)
	}
	defer control.Close()
	for range 16 {
		n, _, errno := unix.Syscall(unix.SYS_IOCTL, control.Fd(), unix.LOOP_CTL_GET_FREE, 0)
		if errno != 0 {
			return fmt.Errorf("loop devices: %w: %w", ErrUnsupported, errno)
		}
		loop, err := os.OpenFile("/dev/loop"+strconv.Itoa(int(n)), os.O_RDONLY, 0)
		if err != nil {
			return fmt.Errorf("loop devices: %w: %w", ErrUnsupported, err)
		}
		cfg := unix.LoopConfig{Fd: uint32(d.image.Fd()), Size: BlockSize}
		cfg.Info.Flags = unix.LO_FLAGS_READ_ONLY | unix.LO_FLAGS_AUTOCLEAR
		err = unix.IoctlLoopConfigure(int(loop.Fd()), &cfg)
		if err == nil {
			d.loop = loop
			return d.checkLoop()
		}
		_ = loop.Close()
		if !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("attaching the image: %w: %w", ErrUnsupported, err)
		}
	}
	return fmt.Errorf("attaching the image: %w: every loop device is taken", ErrUnsupported)
}

// checkLoop reads back that the loop device is of the image that is held open.
func (d *Device) checkLoop() error {
	info, err := unix.IoctlLoopGetStatus64(int(d.loop.Fd()))
	if err != nil {
		return fmt.Errorf("reading the loop device back: %w: %w", ErrVolume, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(d.image.Fd()), &st); err != nil {
		return fmt.Errorf("reading the loop device back: %w: %w", ErrVolume, err)
	}
	if info.Device != st.Dev || info.Inode != st.Ino || info.Offset != 0 || info.Sizelimit != 0 || info.Flags&unix.LO_FLAGS_READ_ONLY == 0 {
		return fmt.Errorf("the loop device is of another file: %w", ErrVolume)
	}
	return nil
}

// create makes the mapped device and its node.
func (d *Device) create() error {
	var id [8]byte
	_, _ = rand.Read(id[:])
	name := deviceName(time.Now(), id)
	reply, err := dm(dmCreate, name, dmReadOnly, nil)
	if err != nil {
		return err
	}
	d.name, d.rdev = name, binary.LittleEndian.Uint64(reply[dmOffDev:])
	if _, err := dm(dmTableLoad, name, dmReadOnly, target(d.volume, d.loopNumber())); err != nil {
		return err
	}
	if _, err := dm(dmSuspend, name, 0, nil); err != nil {
		return err
	}
	if err := d.Check(); err != nil {
		return err
	}
	if err := d.makeNode(); err != nil {
		return err
	}
	if d.held, err = os.Open(d.node); err != nil {
		return fmt.Errorf("opening the device: %w: %w", ErrUnsupported, err)
	}
	return nil
}

// loopNumber names the loop device as "major:minor".
func (d *Device) loopNumber() string {
	var st unix.Stat_t
	if err := unix.Fstat(int(d.loop.Fd()), &st); err != nil {
		return ""
	}
	return fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
}

// makeNode finds the device's node, which the kernel makes where /dev is its own,
// or makes one in a folder of /dev: elsewhere devices may not be opened (nodev).
func (d *Device) makeNode() error {
	_, minor := dmNumber(d.rdev)
	d.node = "/dev/dm-" + strconv.FormatUint(uint64(minor), 10)
	var st unix.Stat_t
	if unix.Lstat(d.node, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFBLK && st.Rdev == d.Number() {
		return nil
	}
	dir := filepath.Join("/dev", nodePrefix+d.name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("making the device's node: %w: %w", ErrUnsupported, err)
	}
	d.dir, d.node = dir, dir+"/device"
	if err := unix.Mknod(d.node, unix.S_IFBLK|0o600, int(d.Number())); err != nil {
		return fmt.Errorf("making the device's node: %w: %w", ErrUnsupported, err)
	}
	return nil
}

// dmNumber decodes a device number as the device mapper spells it
// (huge_encode_dev: Linux, include/linux/kdev_t.h).
func dmNumber(dev uint64) (major, minor uint32) {
	return uint32(dev>>8) & 0xfff, uint32(dev)&0xff | uint32(dev>>12)&0xfff00
}

// Path is the path of the device's node.
func (d *Device) Path() string { return d.node }

// Number is the device's number, as stat(2) has it.
func (d *Device) Number() uint64 {
	major, minor := dmNumber(d.rdev)
	return unix.Mkdev(major, minor)
}

// Check reads the live table back: it must be the volume's and nothing else,
// read-only, with no optional parameter. Somebody who may do so can have loaded
// another one. The error wraps [ErrVolume].
func (d *Device) Check() error {
	reply, err := dm(dmStatus, d.name, dmStatusTable, nil)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrVolume, err)
	}
	flags := binary.LittleEndian.Uint32(reply[dmOffFlags:])
	count := binary.LittleEndian.Uint32(reply[dmOffCount:])
	start := binary.LittleEndian.Uint32(reply[dmOffStart:])
	if flags&dmReadOnly == 0 || count != 1 || int(start)+dmSpec > len(reply) {
		return fmt.Errorf("the live device is writable or has %d targets: %w", count, ErrVolume)
	}
	spec := reply[start:]
	begin, length := binary.LittleEndian.Uint64(spec), binary.LittleEndian.Uint64(spec[8:])
	kind, params := cstring(spec[24:dmSpec]), cstring(spec[dmSpec:])
	if begin != 0 || length != d.volume.Size()/sectorSize || kind != "verity" || params != d.volume.table(d.loopNumber()) {
		return fmt.Errorf("the live device's table is another than the volume's: %w", ErrVolume)
	}
	return d.checkLoop()
}

// Close takes the device away, as soon as nothing has it mounted.
func (d *Device) Close() error {
	var errs []error
	if d.held != nil {
		errs, d.held = append(errs, d.held.Close()), nil
	}
	if d.name != "" {
		// A mount that is just going may hold the device for a moment.
		var err error
		for range 20 {
			if _, err = dm(dmRemove, d.name, 0, nil); !errors.Is(err, unix.EBUSY) {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if errors.Is(err, unix.EBUSY) {
			_, err = dm(dmRemove, d.name, dmDeferred, nil)
		}
		errs, d.name = append(errs, err), ""
	}
	for _, f := range []*os.File{d.loop, d.image} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	d.loop, d.image = nil, nil
	if d.dir != "" {
		errs = append(errs, os.RemoveAll(d.dir))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("taking a dm-verity device away: %w: %w", ErrVolume, err)
	}
	return nil
}

// target returns the one target of a volume's table.
func target(v *Volume, loop string) []byte {
	params := append([]byte(v.table(loop)), 0)
	for len(params)%8 != 0 {
		params = append(params, 0)
	}
	b := make([]byte, dmSpec, dmSpec+len(params))
	binary.LittleEndian.PutUint64(b[8:], v.Size()/sectorSize)
	copy(b[24:], "verity")
	return append(b, params...)
}

// dm makes one call to the device mapper and returns its reply. The error wraps
// [ErrUnsupported] where there is none.
func dm(command uint, name string, flags uint32, payload []byte) ([]byte, error) {
	f, err := os.OpenFile(dmControl, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("device mapper: %w: %w", ErrUnsupported, err)
	}
	defer f.Close()
	b := make([]byte, dmBuffer)
	binary.LittleEndian.PutUint32(b, 4)
	binary.LittleEndian.PutUint32(b[dmOffSize:], dmBuffer)
	binary.LittleEndian.PutUint32(b[dmOffStart:], dmHeader)
	binary.LittleEndian.PutUint32(b[dmOffFlags:], flags)
	copy(b[dmOffName:dmOffName+dmNameSize-1], name)
	if payload != nil {
		binary.LittleEndian.PutUint32(b[dmOffCount:], 1)
		if copy(b[dmHeader:], payload) != len(payload) {
			return nil, fmt.Errorf("device mapper: a table of %d bytes: %w", len(payload), ErrVolume)
		}
	}
	if err := ioctl(int(f.Fd()), dmBase|command, unsafe.Pointer(&b[0])); err != nil {
		if command == dmTableLoad && errors.Is(err, unix.EINVAL) {
			err = fmt.Errorf("%w (does this kernel have dm-verity?)", err)
		}
		return nil, fmt.Errorf("device mapper, command %d: %w: %w", command, ErrUnsupported, err)
	}
	if n := binary.LittleEndian.Uint32(b[dmOffSize:]); n < dmLeast || n > dmBuffer {
		return nil, fmt.Errorf("device mapper: a reply of %d bytes: %w", n, ErrVolume)
	}
	return bytes.Clone(b), nil
}
