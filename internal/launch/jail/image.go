//go:build linux

package jail

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sworn-run/sworn/internal/launch/oci"
)

// Image is a container image whose files are the job's root, read-only, beside
// the Files and Volumes of the Spec.
type Image struct {
	// Ref says where the image lies, as package oci reads it, with its digest; empty
	// with a Volume.
	Ref string `json:"ref"`
	// Volume holds the image's files, which are mounted and not unpacked; nil unpacks.
	// It has no Target.
	Volume *Volume `json:"volume,omitempty"`
	// Config is what the volume's verity.ImageFile must hold.
	Config []byte `json:"config,omitempty"`
	// Digest is the digest that the manifest must have, "sha256:<hex>", or the
	// Volume's.
	Digest string `json:"digest"`
	// MaxBytes bounds the layers, compressed and uncompressed each; 0 with a Volume.
	MaxBytes int64 `json:"max_bytes"`
	// Store keeps uncompressed layers from one launch to the next; nothing in it
	// is trusted. Empty: nothing is kept.
	Store string `json:"store"`
	// Absent are absolute paths at which the image must have nothing, not even a
	// folder or a link: what the job finds there is measured one by one.
	Absent []string `json:"absent"`
	// Mount is a folder of the launcher's that holds two empty ones, ImageRoot and
	// ImagePrivate: the root, and what it is filled from, are mounted there, in
	// init's own mount namespace.
	Mount string `json:"mount"`
}

// The folders of Image.Mount.
const (
	ImageRoot    = "root"
	ImagePrivate = "private"
)

// right reports whether the image can be meant.
func (i *Image) right() bool {
	if i.Digest == "" || !path.IsAbs(i.Mount) {
		return false
	}
	if v := i.Volume; v != nil {
		return i.Ref == "" && i.MaxBytes == 0 && i.Store == "" && len(i.Config) > 0 && path.IsAbs(v.Device) && v.Target == ""
	}
	return i.Ref != "" && i.MaxBytes > 0 && i.Config == nil
}

// Unpacked says what an image's root holds. Of one that is served from a volume it
// counts nothing.
type Unpacked struct {
	// Digest is Image.Digest.
	Digest string `json:"digest"`
	// Files is the number of regular files, Bytes the sum of their sizes.
	Files int    `json:"files"`
	Bytes uint64 `json:"bytes"`
	// Dropped are things of the layers that the root does not have, such as setuid
	// bits and extended attributes.
	Dropped []string `json:"dropped"`
}

// imageRoot fills the root with the image, if there is one.
func (p *initProcess) imageRoot(ctx context.Context) (*Unpacked, error) {
	switch img := p.cfg.Image; {
	case img == nil:
		return nil, nil
	case img.Volume != nil:
		return p.serveImage()
	default:
		return p.unpackImage(ctx)
	}
}

// unpackImage fills the root with an image's files. Every layer is verified in a
// private copy before anything of it is unpacked. What stands at the places that
// the jail keeps for itself is taken out.
func (p *initProcess) unpackImage(ctx context.Context) (*Unpacked, error) {
	img := p.cfg.Image
	dir, private := filepath.Join(img.Mount, ImageRoot), filepath.Join(img.Mount, ImagePrivate)
	if err := p.root.attachAt(dir); err != nil {
		return nil, as(failIsolation, err)
	}
	fd, _, err := newMount("tmpfs", []mountOption{{"mode", "0700"}}, "noswap", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return nil, as(failIsolation, err)
	}
	err = unix.MoveMount(fd, "", unix.AT_FDCWD, private, unix.MOVE_MOUNT_F_EMPTY_PATH)
	if err := errors.Join(err, unix.Close(fd)); err != nil {
		return nil, as(failIsolation, fmt.Errorf("mounting %s: %w", private, err))
	}
	options := oci.Options{Private: private, MaxBytes: img.MaxBytes}
	if img.Store != "" {
		options.Store = &oci.Store{Dir: img.Store}
	}
	opened, err := oci.Open(ctx, img.Ref, options)
	if err == nil && opened.ManifestDigest != img.Digest {
		err = fmt.Errorf("the image is %s, not %s: %w", opened.ManifestDigest, img.Digest, oci.ErrDigest)
	}
	if err != nil {
		return nil, as(failSource, err)
	}
	sum, err := opened.Unpack(ctx, dir)
	if err != nil {
		return nil, as(failSource, err)
	}
	if err := unix.Unmount(private, unix.MNT_DETACH); err != nil {
		return nil, fmt.Errorf("unmounting %s: %w", private, err)
	}
	if err := cleanImage(dir, img.Absent); err != nil {
		return nil, err
	}
	return &Unpacked{Digest: opened.ManifestDigest, Files: sum.Files, Bytes: uint64(sum.Bytes), Dropped: sum.Dropped}, nil
}

// CleanImage takes what stands at the places that the jail keeps for itself out of an
// image's files in a folder. Anything at one of the absolute paths given, even a folder
// or a link, is an error. It wraps ErrSource.
func CleanImage(dir string, absent []string) error {
	if err := cleanImage(dir, absent); err != nil {
		return fmt.Errorf("%w: %w", ErrSource, err)
	}
	return nil
}

func cleanImage(dir string, absent []string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("opening the image's root: %w", err)
	}
	defer root.Close()
	for _, name := range absent {
		if _, err := root.Lstat(strings.TrimPrefix(name, "/")); !errors.Is(err, fs.ErrNotExist) {
			return as(failSource, errAbsent(name))
		}
	}
	for _, own := range reserved() {
		if err := root.RemoveAll(own[1:]); err != nil {
			return fmt.Errorf("taking %s out of the image: %w", own, err)
		}
	}
	return nil
}

// attachAt attaches the root to a folder of this mount namespace.
func (r *root) attachAt(dir string) error {
	if err := unix.MoveMount(r.fd, "", unix.AT_FDCWD, dir, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("attaching the root: %w", err)
	}
	r.attached = true
	return nil
}

// lookUp resolves a program that the command names without a slash in the PATH of
// the job's environment, in the root that is entered.
func (c *Command) lookUp() error {
	if strings.Contains(c.Path, "/") {
		return nil
	}
	for _, e := range c.Env {
		list, ok := strings.CutPrefix(e, "PATH=")
		if !ok {
			continue
		}
		for dir := range strings.SplitSeq(list, ":") {
			candidate := path.Join(dir, c.Path)
			var st unix.Stat_t
			if path.IsAbs(dir) && unix.Stat(candidate, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Mode&0o111 != 0 {
				c.Path = candidate
				return nil
			}
		}
	}
	return fmt.Errorf("program %q is in no folder of the image's PATH: %w", c.Path, unix.ENOENT)
}
