//go:build linux

// Package verity has to do with the two ways in which Linux itself holds what is
// read from a disk against a digest: fs-verity, for one file, and dm-verity, for a
// block device.
//
// Both can answer falsely. Any FUSE server may answer fs-verity's ioctl as it
// likes, and a dm-verity device may have been told to look at each block once only,
// or to let corruption pass. What this package reports counts: it was asked of the
// kernel about what is held open, and read back.
package verity

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The sentinels of this package; every error it returns wraps one of them.
var (
	// ErrNone: the file has no fs-verity that counts.
	ErrNone = errors.New("no fs-verity that counts")
	// ErrUnsupported: this kernel, or this user, cannot have it.
	ErrUnsupported = errors.New("verity is not available")
	// ErrVolume: a dm-verity volume's description is wrong, its image is not what
	// the description says, or the device is not what was asked for.
	ErrVolume = errors.New("unusable dm-verity volume")
)

// BlockSize is the size in bytes of the blocks that digests are made over, data
// and hash blocks alike.
const BlockSize = 4096

// The magic numbers (statfs(2)) of the file systems that implement fs-verity
// themselves. Whatever else answers the ioctl, such as FUSE, virtiofs or an
// overlay, speaks for somebody else.
const (
	magicExt4  = 0xEF53
	magicBtrfs = 0x9123683E
	magicF2FS  = 0xF2F52010
)

// fsverity_descriptor (Linux, include/uapi/linux/fsverity.h): the parts that are
// looked at.
const (
	descriptorSize    = 256
	offsetVersion     = 0
	offsetAlgorithm   = 1
	offsetLogBlock    = 2
	offsetSaltSize    = 3
	offsetDataSize    = 8
	descriptorVersion = 1
	logBlockSize      = 12
)

// Measure returns the fs-verity digest that the kernel enforces on an open file:
// SHA-256, blocks of 4,096 bytes, no salt, so that it is the digest of scheme
// fsverity-sha256;block=4096. It costs the same whatever the file's size.
//
// The error wraps [ErrNone] if the file has none, if its file system is not ext4,
// btrfs or f2fs, if STATX_ATTR_VERITY is not in the mask and the value that statx
// gives for the descriptor, or if the digest was made with other parameters.
func Measure(f *os.File) ([32]byte, error) {
	var none [32]byte
	fd := int(f.Fd())
	if err := enforced(fd); err != nil {
		return none, fmt.Errorf("measuring %s: %w", f.Name(), err)
	}
	digest, err := measureIoctl(fd)
	if err != nil {
		return none, fmt.Errorf("measuring %s: %w", f.Name(), err)
	}
	if err := checkDescriptor(fd, digest); err != nil {
		return none, fmt.Errorf("measuring %s: %w", f.Name(), err)
	}
	return digest, nil
}

// enforced reports whether the kernel's own file system says that reads of the
// file are checked.
func enforced(fd int) error {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return fmt.Errorf("%w: %w", ErrNone, err)
	}
	switch uint32(fs.Type) {
	case magicExt4, magicBtrfs, magicF2FS:
	default:
		return fmt.Errorf("%w: file system 0x%x", ErrNone, uint32(fs.Type))
	}
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS, &st); err != nil {
		return fmt.Errorf("%w: %w", ErrNone, err)
	}
	if st.Attributes_mask&unix.STATX_ATTR_VERITY == 0 || st.Attributes&unix.STATX_ATTR_VERITY == 0 {
		return fmt.Errorf("%w: statx does not say so", ErrNone)
	}
	return nil
}

// measureIoctl asks for the digest. FS_IOC_MEASURE_VERITY, fsverity.rst.
func measureIoctl(fd int) ([32]byte, error) {
	// struct fsverity_digest: algorithm, size in, size out, digest.
	var arg struct {
		algorithm, size uint16
		digest          [64]byte
	}
	arg.size = uint16(len(arg.digest))
	if err := ioctl(fd, unix.FS_IOC_MEASURE_VERITY, unsafe.Pointer(&arg)); err != nil {
		return [32]byte{}, fmt.Errorf("%w: %w", ErrNone, err)
	}
	if arg.algorithm != unix.FS_VERITY_HASH_ALG_SHA256 || arg.size != sha256.Size {
		return [32]byte{}, fmt.Errorf("%w: hash algorithm %d", ErrNone, arg.algorithm)
	}
	return [32]byte(arg.digest[:sha256.Size]), nil
}

// checkDescriptor reads the descriptor back: the digest is one of it, so that the
// parameters that it states are those of the digest.
func checkDescriptor(fd int, digest [32]byte) error {
	var d [descriptorSize + 1]byte
	// struct fsverity_read_metadata_arg.
	arg := struct{ kind, offset, length, buffer, reserved uint64 }{
		kind: unix.FS_VERITY_METADATA_TYPE_DESCRIPTOR, length: uint64(len(d)), buffer: uint64(uintptr(unsafe.Pointer(&d[0]))),
	}
	n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.FS_IOC_READ_VERITY_METADATA, uintptr(unsafe.Pointer(&arg)))
	if errno != 0 {
		return fmt.Errorf("%w: reading the descriptor: %w", ErrNone, errno)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("%w: %w", ErrNone, err)
	}
	if n != descriptorSize || sha256.Sum256(d[:descriptorSize]) != digest {
		return fmt.Errorf("%w: the descriptor is not that of the digest", ErrNone)
	}
	if d[offsetVersion] != descriptorVersion || d[offsetAlgorithm] != unix.FS_VERITY_HASH_ALG_SHA256 ||
		d[offsetLogBlock] != logBlockSize || d[offsetSaltSize] != 0 {
		return fmt.Errorf("%w: it was enabled with a salt or other blocks than %d bytes", ErrNone, BlockSize)
	}
	if binary.LittleEndian.Uint64(d[offsetDataSize:]) != uint64(st.Size) {
		return fmt.Errorf("%w: the descriptor is of another size", ErrNone)
	}
	return nil
}

// Enable enables fs-verity on a file that nobody has open for writing: SHA-256,
// blocks of 4,096 bytes, no salt. From then on the file cannot be written to. It
// is no error if it is enabled so already. The kernel reads the file whole. The
// error wraps [ErrUnsupported] where file system or kernel have no fs-verity,
// else [ErrNone].
func Enable(f *os.File) error {
	// struct fsverity_enable_arg.
	var arg struct {
		version, algorithm, blockSize, saltSize uint32
		salt                                    uint64
		sigSize, reserved1                      uint32
		sig                                     uint64
		reserved2                               [11]uint64
	}
	arg.version, arg.algorithm, arg.blockSize = 1, unix.FS_VERITY_HASH_ALG_SHA256, BlockSize
	const enable = 0x40806685 // FS_IOC_ENABLE_VERITY
	err := ioctl(int(f.Fd()), enable, unsafe.Pointer(&arg))
	switch {
	case err == nil, errors.Is(err, unix.EEXIST):
		_, err := Measure(f)
		return err
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOTTY):
		return fmt.Errorf("enabling fs-verity on %s: %w: %w", f.Name(), ErrUnsupported, err)
	default:
		return fmt.Errorf("enabling fs-verity on %s: %w: %w", f.Name(), ErrNone, err)
	}
}

// ioctl makes an ioctl with a pointer.
func ioctl(fd int, request uint, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}

// cstring returns the bytes before the first zero.
func cstring(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}
