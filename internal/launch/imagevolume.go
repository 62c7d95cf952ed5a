//go:build linux

package launch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sworn-run/sworn/internal/launch/jail"
	"github.com/sworn-run/sworn/internal/launch/oci"
	"github.com/sworn-run/sworn/internal/launch/verity"
)

// openImageVolume reads the description of an image's volume. What it says of the
// command is held against the volume when that is mounted.
func (p *Plan) openImageVolume() (*image, error) {
	v, err := readVolume(p.job.ImageVolume, true)
	if err != nil {
		return nil, err
	}
	said := v.description.OCI
	i := &image{volume: v, size: v.description.Size(), config: oci.Config{
		Entrypoint: said.Entrypoint, Cmd: said.Cmd, Env: said.Env, WorkingDir: said.WorkingDir,
	}}
	if i.said, err = said.Encode(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	if i.digest, err = v.digest(); err != nil {
		return nil, err
	}
	return i, nil
}

// unpackPrefix begins the names of the folders that images for volumes are unpacked into.
const unpackPrefix = ".sworn-image-"

// MakeImageVolume verifies a container image that a reference names as package oci
// reads it, unpacks it as a launch does into a folder beside out that nobody else can
// enter, and writes it into a volume at out. The same image and salt give the same
// volume. The error wraps ErrUsage or one of package oci, jail or verity.
func MakeImageVolume(ctx context.Context, ref, out string, salt []byte) (*verity.Volume, error) {
	sweepFolders(filepath.Dir(out), unpackPrefix, time.Now())
	dir, err := os.MkdirTemp(filepath.Dir(out), unpackPrefix)
	if err != nil {
		return nil, fmt.Errorf("making a folder for the image: %w: %w", ErrUsage, err)
	}
	defer os.RemoveAll(dir)
	lock, err := lockFolder(dir)
	if err != nil {
		return nil, fmt.Errorf("making a folder for the image: %w: %w", ErrUsage, err)
	}
	defer lock.Close()
	// A folder above may hand its group down.
	if err := errors.Join(os.Chown(dir, -1, os.Getegid()), os.Chmod(dir, 0o700)); err != nil { //nolint:gosec // A folder.
		return nil, fmt.Errorf("making a folder for the image: %w: %w", ErrUsage, err)
	}
	private, folder := filepath.Join(dir, "private"), filepath.Join(dir, "volume")
	if err := errors.Join(os.Mkdir(private, 0o700), os.Mkdir(folder, 0o700)); err != nil {
		return nil, fmt.Errorf("making a folder for the image: %w: %w", ErrUsage, err)
	}
	img, err := unpackImage(ctx, ref, private, filepath.Join(folder, verity.ImageTree))
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	c := &img.Config
	return verity.MakeImage(ctx, out, folder, &verity.Image{
		Manifest: img.ManifestDigest, Entrypoint: c.Entrypoint, Cmd: c.Cmd, Env: c.Env, WorkingDir: c.WorkingDir,
	}, salt)
}

// unpackImage unpacks an image into a new folder, and refuses what a launch refuses.
func unpackImage(ctx context.Context, ref, private, tree string) (*oci.Image, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(private, &st); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	const most = 1 << 40
	left := min(st.Bavail, most/uint64(st.Bsize)) * uint64(st.Bsize)
	img, err := oci.Open(ctx, ref, oci.Options{Private: private, MaxBytes: int64(max(left, 1))})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	if err := settleDir(&img.Config); err != nil {
		return nil, err
	}
	if _, err := img.Unpack(ctx, tree); err != nil {
		return nil, err
	}
	if err := jail.CleanImage(tree, absent()); err != nil {
		return nil, err
	}
	return img, nil
}
