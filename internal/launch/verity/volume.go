//go:build linux

package verity

import (
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
)

// VolumeType is the type member of a description.
const VolumeType = "sworn.dm-verity/v1"

// maxSalt is the longest salt in bytes (cryptsetup, VERITY_MAX_SALT).
const maxSalt = 256

// filesystems are those that a volume may hold: read-only by nature, or mounted
// so.
func filesystems() []string { return []string{"erofs", "squashfs", "ext4"} }

// Volume describes a file system on a dm-verity device. It is the configuration
// that is measured: the superblock which tools write before the hash tree is
// never read.
type Volume struct {
	// Type is VolumeType.
	Type string `json:"type"`
	// Image is the path of the file with data and hash tree; in a description
	// file, relative to its folder.
	Image string `json:"image"`
	// Filesystem is "erofs", "squashfs" or "ext4".
	Filesystem string `json:"filesystem"`
	// DataBlocks is the number of data blocks of 4,096 bytes, from the image's
	// beginning.
	DataBlocks uint64 `json:"data_blocks"`
	// HashOffset is where the hash tree's first block stands in the image, in
	// bytes, a multiple of 4,096: after the superblock, if there is one.
	HashOffset uint64 `json:"hash_offset"`
	// Root is the root digest, 64 hexadecimal digits.
	Root string `json:"root"`
	// Salt is the salt in hexadecimal; may be empty.
	Salt string `json:"salt"`
	// OCI is there if the volume holds a container image, which is of EROFS; nil for
	// weights.
	OCI *Image `json:"oci,omitempty"`
}

// maxDescription is the longest description in bytes.
const maxDescription = 64 << 10

// ParseVolume parses a description of at most 64 KiB: one JSON object with no
// unknown member, and none twice. The error wraps [ErrVolume].
func ParseVolume(b []byte) (*Volume, error) {
	if len(b) > maxDescription {
		return nil, fmt.Errorf("%w: description of %d bytes, at most %d", ErrVolume, len(b), maxDescription)
	}
	v := new(Volume)
	if err := json.Unmarshal(b, v, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("%w: description: %w", ErrVolume, err)
	}
	if err := v.check(); err != nil {
		return nil, fmt.Errorf("%w: description: %w", ErrVolume, err)
	}
	if i := v.OCI; i != nil {
		for _, list := range []*[]string{&i.Entrypoint, &i.Cmd, &i.Env} {
			if len(*list) == 0 {
				*list = nil // as it is written
			}
		}
	}
	return v, nil
}

func (v *Volume) check() error {
	root, err := hex.DecodeString(v.Root)
	switch {
	case v.Type != VolumeType:
		return fmt.Errorf("type is %q, want %q", v.Type, VolumeType)
	case v.Image == "" || strings.ContainsRune(v.Image, 0):
		return errors.New("image is missing")
	case !slices.Contains(filesystems(), v.Filesystem):
		return fmt.Errorf("filesystem is %q, want one of %s", v.Filesystem, strings.Join(filesystems(), ", "))
	case err != nil || len(root) != 32 || hex.EncodeToString(root) != v.Root:
		return errors.New("root is not 64 lower-case hexadecimal digits")
	case v.DataBlocks == 0 || v.DataBlocks > 1<<40:
		return fmt.Errorf("data_blocks is %d", v.DataBlocks)
	case v.HashOffset%BlockSize != 0 || v.HashOffset < v.DataBlocks*BlockSize || v.HashOffset > 1<<53:
		return fmt.Errorf("hash_offset is %d, want a multiple of %d behind the data", v.HashOffset, BlockSize)
	}
	salt, err := hex.DecodeString(v.Salt)
	if err != nil || len(salt) > maxSalt || hex.EncodeToString(salt) != v.Salt {
		return errors.New("salt is not lower-case hexadecimal of at most 256 bytes")
	}
	if v.OCI == nil {
		return nil
	}
	if v.Filesystem != "erofs" {
		return fmt.Errorf("an image on %s, want erofs", v.Filesystem)
	}
	return v.OCI.check()
}

// Digest returns root digest and salt.
func (v *Volume) Digest() (root [32]byte, salt []byte, err error) {
	if err := v.check(); err != nil {
		return root, nil, fmt.Errorf("%w: %w", ErrVolume, err)
	}
	b, _ := hex.DecodeString(v.Root)
	salt, _ = hex.DecodeString(v.Salt)
	return [32]byte(b), salt, nil
}

// Size is the size of the data in bytes.
func (v *Volume) Size() uint64 { return v.DataBlocks * BlockSize }

// path returns the image's path, for a description that stands in dir.
func (v *Volume) path(dir string) string {
	if filepath.IsAbs(v.Image) {
		return v.Image
	}
	return filepath.Join(dir, v.Image)
}

// table returns the parameters of the target "verity" for a device that holds
// data and hash tree (Linux, admin-guide/device-mapper/verity.rst). There are no
// optional ones: a block that does not verify is an I/O error, each time it is
// read.
func (v *Volume) table(device string) string {
	salt := v.Salt
	if salt == "" {
		salt = "-"
	}
	return strings.Join([]string{
		"1", device, device, strconv.Itoa(BlockSize), strconv.Itoa(BlockSize),
		strconv.FormatUint(v.DataBlocks, 10), strconv.FormatUint(v.HashOffset/BlockSize, 10),
		"sha256", v.Root, salt,
	}, " ")
}
