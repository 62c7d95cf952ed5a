//go:build linux

package verity

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// CheckFilesystem reads the beginning of a volume's data and reports whether it is
// of the file system and of no other that a volume may hold. A root digest says
// nothing of how the data are to be read: the same bytes can be squashfs with one
// content and EROFS or ext4, which leave the first kilobyte alone, with another. Nor
// does it say anything of other devices: EROFS and ext4 that name any are refused.
// The error wraps [ErrVolume].
func CheckFilesystem(data io.ReaderAt, filesystem string) error {
	// The superblocks' magic numbers (Linux: fs/erofs/erofs_fs.h, fs/ext4/ext4.h,
	// fs/squashfs/squashfs_fs.h), all little-endian.
	magics := map[string]struct {
		at    int
		bytes []byte
	}{
		"erofs":    {1024, []byte{0xe2, 0xe1, 0xf5, 0xe0}},
		"ext4":     {1024 + 56, []byte{0x53, 0xef}},
		"squashfs": {0, []byte("hsqs")},
	}
	var head [BlockSize]byte
	if _, err := data.ReadAt(head[:], 0); err != nil {
		return fmt.Errorf("reading the superblock: %w: %w", ErrVolume, err)
	}
	for _, name := range filesystems() {
		m := magics[name]
		switch there := bytes.HasPrefix(head[m.at:], m.bytes); {
		case name == filesystem && !there:
			return fmt.Errorf("the volume holds no %s: %w", name, ErrVolume)
		case name != filesystem && there:
			return fmt.Errorf("the volume could be read as %s and as %s: %w", filesystem, name, ErrVolume)
		}
	}
	if _, known := magics[filesystem]; !known {
		return fmt.Errorf("unknown file system %q: %w", filesystem, ErrVolume)
	}
	return onOneDevice(head[:], filesystem)
}

// onOneDevice refuses a superblock that has the kernel open other devices, by paths that
// it holds: what is read from there is covered by no root digest.
func onOneDevice(head []byte, filesystem string) error {
	// EROFS_FEATURE_INCOMPAT_DEVICE_TABLE and EXT4_FEATURE_INCOMPAT_JOURNAL_DEV say so;
	// ext4 names the device of an outer journal beside (s_journal_dev).
	const (
		erofsIncompat, erofsDevices = 1024 + 80, 0x8
		ext4Incompat, ext4Outer     = 1024 + 0x60, 0x8
		ext4JournalDevice           = 1024 + 0xe4
	)
	word := func(at int) uint32 { return binary.LittleEndian.Uint32(head[at:]) }
	switch {
	case filesystem == "erofs" && word(erofsIncompat)&erofsDevices != 0,
		filesystem == "ext4" && (word(ext4Incompat)&ext4Outer != 0 || word(ext4JournalDevice) != 0):
		return fmt.Errorf("the volume's %s names further devices, which nothing protects: %w", filesystem, ErrVolume)
	}
	return nil
}
