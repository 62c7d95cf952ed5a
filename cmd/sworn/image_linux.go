package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sworn-run/sworn/internal/launch"
)

// useImage enters the container image that the flags name.
func (j *jobFlags) useImage(job *launch.Job) error {
	switch {
	case j.image == "" && j.imageArchive == "":
		return nil
	case j.image != "" && j.imageArchive != "":
		return usage("give one of them", "--image and --image-archive exclude each other")
	case j.image != "" && !strings.HasPrefix(j.image, "oci:"):
		return usage("--image oci:DIR for a layout, --image-archive FILE for an archive", "image %q: want oci:DIR", j.image)
	}
	prefix, rest := "", j.imageArchive
	if j.image != "" {
		prefix, rest = "oci:", strings.TrimPrefix(j.image, "oci:")
	}
	path, err := absolute(rest)
	if err != nil {
		return wrap(err, "give an absolute path")
	}
	job.Image = prefix + path
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
