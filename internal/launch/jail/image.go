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
	// Ref says where the image lies, as package oci reads it, with its digest.
	Ref string `json:"ref"`
	// Digest is the digest that the manifest must have, "sha256:<hex>".
	Digest string `json:"digest"`
	// MaxBytes bounds the layers, compressed and uncompressed each.
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

// Unpacked says what an image's root holds.
type Unpacked struct {
	// Digest is the manifest's, "sha256:<hex>".
	Digest string `json:"digest"`
	// Files is the number of regular files, Bytes the sum of their sizes.
	Files int    `json:"files"`
	Bytes uint64 `json:"bytes"`
	// Dropped are things of the layers that the root does not have, such as setuid
	// bits and extended attributes.
	Dropped []string `json:"dropped"`
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
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the image's root: %w", err)
	}
	for _, name := range img.Absent {
		if _, err := root.Lstat(strings.TrimPrefix(name, "/")); !errors.Is(err, fs.ErrNotExist) {
			return nil, errors.Join(as(failSource, fmt.Errorf("the image has %s: what a job finds there is measured file by file, and comes from no image", name)), root.Close())
		}
	}
	for _, own := range reserved() {
		if err := root.RemoveAll(own[1:]); err != nil {
			return nil, errors.Join(fmt.Errorf("taking %s out of the image: %w", own, err), root.Close())
		}
	}
	return &Unpacked{Digest: opened.ManifestDigest, Files: sum.Files, Bytes: uint64(sum.Bytes), Dropped: sum.Dropped}, root.Close()
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
