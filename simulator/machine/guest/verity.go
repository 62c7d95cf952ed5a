//go:build linux

package main

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sworn-run/sworn/simulator/machine/internal/wire"
)

// verityBlock is the size of a block of fs-verity and dm-verity here, in bytes,
// and sector that of the device mapper's unit.
const (
	verityBlock = 4096
	sector      = 512
)

// enableVerity puts a file under fs-verity and returns the digest that the
// kernel gives it (Documentation/filesystems/fsverity.rst).
func enableVerity(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	arg := unix.FsverityEnableArg{Version: 1, Hash_algorithm: unix.FS_VERITY_HASH_ALG_SHA256, Block_size: verityBlock}
	if err := ioctl(f, unix.FS_IOC_ENABLE_VERITY, unsafe.Pointer(&arg)); err != nil {
		return nil, fmt.Errorf("putting %s under fs-verity: %w", name, err)
	}
	// struct fsverity_digest: algorithm and size, 2 bytes each, then the digest.
	digest := make([]byte, 4+64)
	binary.NativeEndian.PutUint16(digest[2:], 64)
	if err := ioctl(f, unix.FS_IOC_MEASURE_VERITY, unsafe.Pointer(&digest[0])); err != nil {
		return nil, fmt.Errorf("measuring %s: %w", name, err)
	}
	n := int(binary.NativeEndian.Uint16(digest[2:]))
	if n > 64 {
		return nil, fmt.Errorf("a digest of %d bytes: %w", n, errGuest)
	}
	return digest[4 : 4+n], nil
}

// ioctl calls ioctl(2) with a pointer.
func ioctl(f *os.File, request uintptr, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), request, uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}

// The device mapper's calls (linux/dm-ioctl.h): _IOWR(0xfd, n, 312 bytes).
const (
	dmCreate  = 0xc138fd03
	dmRemove  = 0xc138fd04
	dmSuspend = 0xc138fd06 // without a flag: resume
	dmLoad    = 0xc138fd09

	dmReadOnly = 1
)

// dmHeader is struct dm_ioctl; a target may follow.
type dmHeader struct {
	Version                     [3]uint32
	DataSize, DataStart         uint32
	TargetCount                 uint32
	OpenCount                   int32
	Flags, EventNumber, Padding uint32
	Device                      uint64
	Name                        [128]byte
	UUID                        [129]byte
	Data                        [7]byte
}

// dmTarget is struct dm_target_spec; its parameters follow.
type dmTarget struct {
	Start, Length uint64
	Status        int32
	Next          uint32
	Type          [16]byte
}

// mapVerity makes a device of which no block can be read that does not have the
// hash that the root hash vouches for, and returns its path.
func mapVerity(v *wire.Verity) (string, error) {
	if v == nil || v.Name == "" || len(v.Name) > 100 || v.Blocks == 0 || v.Blocks > 1<<40 {
		return "", fmt.Errorf("no name or no blocks: %w", errGuest)
	}
	root, err := hex.DecodeString(v.Root)
	if err != nil || len(root) != 32 {
		return "", fmt.Errorf("root hash %q: %w", v.Root, errGuest)
	}
	salt := v.Salt
	if salt == "" {
		salt = "-"
	}
	params := fmt.Sprintf("1 %s %s %d %d %d 1 sha256 %s %s", v.Data, v.Hash, verityBlock, verityBlock, v.Blocks, v.Root, salt)
	control, err := os.OpenFile("/dev/mapper/control", os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer control.Close()
	h, err := deviceMapper(control, dmCreate, v.Name, 0, nil)
	if err != nil {
		return "", fmt.Errorf("making %q: %w", v.Name, err)
	}
	target, err := verityTarget(v.Blocks, params)
	if err == nil {
		_, err = deviceMapper(control, dmLoad, v.Name, dmReadOnly, target)
	}
	if err == nil {
		_, err = deviceMapper(control, dmSuspend, v.Name, 0, nil)
	}
	if err != nil {
		_, _ = deviceMapper(control, dmRemove, v.Name, 0, nil)
		return "", fmt.Errorf("mapping %q: %w", v.Name, err)
	}
	return filepath.Join("/dev", "dm-"+strconv.FormatUint(uint64(unix.Minor(h.Device)), 10)), nil
}

// verityTarget returns a target that covers the whole device.
func verityTarget(blocks uint64, params string) ([]byte, error) {
	t := dmTarget{Length: blocks * verityBlock / sector}
	copy(t.Type[:], "verity")
	var b bytes.Buffer
	if err := binary.Write(&b, binary.NativeEndian, &t); err != nil {
		return nil, err
	}
	b.WriteString(params)
	// A NUL ends the parameters, and eight bytes are the unit.
	b.Write(make([]byte, 8-b.Len()%8))
	return b.Bytes(), nil
}

// deviceMapper makes one call to the device mapper, with a target or none.
func deviceMapper(control *os.File, call uintptr, name string, flags uint32, target []byte) (*dmHeader, error) {
	h := dmHeader{Version: [3]uint32{4, 0, 0}, Flags: flags}
	size := binary.Size(&h)
	h.DataSize, h.DataStart = uint32(size+len(target)), uint32(size)
	if target != nil {
		h.TargetCount = 1
	}
	copy(h.Name[:len(h.Name)-1], name)
	var b bytes.Buffer
	if err := binary.Write(&b, binary.NativeEndian, &h); err != nil {
		return nil, err
	}
	b.Write(target)
	buffer := b.Bytes()
	if err := ioctl(control, call, unsafe.Pointer(&buffer[0])); err != nil {
		return nil, err
	}
	if err := binary.Read(bytes.NewReader(buffer[:size]), binary.NativeEndian, &h); err != nil {
		return nil, err
	}
	return &h, nil
}
