package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sworn-run/sworn/internal/launch"
)

// hasImage reports whether any flag names a container image.
func (j *jobFlags) hasImage() bool { return j.image+j.imageArchive+j.imageVolume != "" }

// imageReference returns the reference, as package oci reads it, of an image that one of
// two flags names; empty for none.
func imageReference(image, archive string) (string, error) {
	switch {
	case image == "" && archive == "":
		return "", nil
	case image != "" && archive != "":
		return "", usage("give one of them", "--image and --image-archive exclude each other")
	case image != "" && !strings.HasPrefix(image, "oci:"):
		return "", usage("--image oci:DIR for a layout, --image-archive FILE for an archive", "image %q: want oci:DIR", image)
	}
	prefix, rest := "", archive
	if image != "" {
		prefix, rest = "oci:", strings.TrimPrefix(image, "oci:")
	}
	path, err := absolute(rest)
	if err != nil {
		return "", wrap(err, "give an absolute path")
	}
	return prefix + path, nil
}

// useImage enters the container image that the flags name.
func (j *jobFlags) useImage(job *launch.Job) error {
	if j.imageVolume != "" {
		return j.useVolume(job)
	}
	var err error
	if job.Image, err = imageReference(j.image, j.imageArchive); err != nil || job.Image == "" {
		return err
	}
	switch j.imageStore {
	case "none":
	case "":
		// Without a cache folder of the user's own nothing is kept.
		if dir, err := os.UserCacheDir(); err == nil && writable(dir) {
			job.ImageStore = filepath.Join(dir, "sworn", "images")
		}
	default:
		dir, err := filepath.Abs(j.imageStore)
		if err != nil {
			return wrap(err, "--image-store DIR")
		}
		if st, err := os.Stat(dir); err == nil && !st.IsDir() {
			return usage("--image-store DIR, or none", "%s is no folder to keep layers in", j.imageStore)
		}
		if !writable(dir) {
			return usage("--image-store DIR, a folder of your own, or none", "this user cannot keep layers in %s", j.imageStore)
		}
		job.ImageStore = dir
	}
	return nil
}

// useVolume enters the image's volume.
func (j *jobFlags) useVolume(job *launch.Job) error {
	description := j.imageVolume
	switch {
	case j.image+j.imageArchive != "":
		return usage("give one of them", "--image-volume excludes --image and --image-archive")
	case j.imageStore != "":
		return usage("leave --image-store out", "a volume is not unpacked, so there are no layers to keep")
	case j.protect == launch.ProtectSealed:
		return usage("--protect auto", "image %s: a volume is not copied, as --protect sealed wants", description)
	case filepath.Ext(description) == ".img":
		return usage("--image-volume "+description+".json", "%s is the volume itself, not its description", description)
	}
	job.ImageVolume = description
	return nil
}

// writable reports whether this user can write to a folder, or make it.
func writable(dir string) bool {
	for {
		err := unix.Access(dir, unix.W_OK|unix.X_OK)
		if !errors.Is(err, unix.ENOENT) || dir == filepath.Dir(dir) {
			return err == nil
		}
		dir = filepath.Dir(dir)
	}
}

// absolute makes the path that a reference begins with absolute: the image is
// opened a second time by a process in another folder.
func absolute(reference string) (string, error) {
	if reference == "" || filepath.IsAbs(reference) {
		return reference, nil
	}
	dir, err := os.Getwd()
	return filepath.Join(dir, reference), err
}
