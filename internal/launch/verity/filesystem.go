//go:build linux

package verity

import (
	"bytes"
	"fmt"
	"io"
)

// CheckFilesystem reads the beginning of a volume's data and reports whether it is
// of the file system and of no other that a volume may hold. A root digest says
// nothing of how the data are to be read: the same bytes can be squashfs with one
// content and EROFS or ext4, which leave the first kilobyte alone, with another.
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
	return nil
}
