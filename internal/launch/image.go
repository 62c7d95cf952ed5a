//go:build linux

package launch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/launch/jail"
	"github.com/sworn-run/sworn/internal/launch/oci"
)

// imageName is the name of the component of an image: a job has one.
const imageName = "image"

// imageBytes bounds the layers of an image: what its root may take of the memory.
func imageBytes() int64 {
	const otherwise = 1 << 40
	if n := availableMemory(); n > 0 {
		return int64(min(n, otherwise))
	}
	return otherwise
}

// openImage reads what the image says about the program to run. Its manifest and
// its configuration are verified; the layers are when the job's root is filled.
func (p *Plan) openImage() error {
	// No layer is opened: nothing is written into this folder.
	img, err := oci.Open(context.Background(), p.job.Image, oci.Options{Private: os.TempDir(), MaxBytes: imageBytes()})
	if err != nil {
		return fmt.Errorf("image: %w: %w", ErrUsage, err)
	}
	p.image = img
	if len(p.job.Command) == 0 {
		p.job.Command = slices.Concat(img.Config.Entrypoint, img.Config.Cmd)
	}
	if dir := img.Config.WorkingDir; dir == "" {
		p.image.Config.WorkingDir = "/"
	} else if !path.IsAbs(dir) || path.Clean(dir) != dir {
		return fmt.Errorf("image: its working directory is %q: %w", dir, ErrUsage)
	}
	// The image's variables, unless one is given by name.
	for _, e := range img.Config.Env {
		name, _, ok := strings.Cut(e, "=")
		given := slices.ContainsFunc(p.job.Env, func(g string) bool { return strings.HasPrefix(g, name+"=") })
		if ok && !given {
			p.env = append(p.env, e)
		}
	}
	if !slices.ContainsFunc(p.env, isPath) && !slices.ContainsFunc(p.job.Env, isPath) {
		p.env = append(p.env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	}
	return nil
}

// isPath reports whether a variable is PATH.
func isPath(e string) bool { return strings.HasPrefix(e, "PATH=") }

// imageMount makes the folders that the image's root is mounted at while it is
// filled, and returns how to remove them.
func imageMount(spec *jail.Spec, state string) (remove func(), err error) {
	if spec.Image == nil {
		return func() {}, nil
	}
	sweepImages(state, time.Now())
	dir, err := os.MkdirTemp(state, imagePrefix)
	if err != nil {
		return nil, fmt.Errorf("making a folder for the image: %w: %w", ErrState, err)
	}
	spec.Image.Mount = dir
	lock, err := lockFolder(dir)
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, fmt.Errorf("making a folder for the image: %w: %w", ErrState, err)
	}
	remove = func() { _ = os.RemoveAll(dir); _ = lock.Close() }
	for _, name := range []string{jail.ImageRoot, jail.ImagePrivate} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			remove()
			return nil, fmt.Errorf("making a folder for the image: %w: %w", ErrState, err)
		}
	}
	if spec.Image.Store != "" {
		if err := os.MkdirAll(spec.Image.Store, 0o700); err != nil {
			remove()
			return nil, fmt.Errorf("making the image store: %w: %w", ErrState, err)
		}
	}
	return remove, nil
}

// imagePrefix begins the names of the folders that images are mounted at, and
// leftAfter is the age at which one that nobody has locked is no longer one that is
// being made.
const (
	imagePrefix = "image-"
	leftAfter   = 10 * time.Minute
)

// lockFolder locks a folder as long as this process lives.
func lockFolder(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", dir, err)
	}
	f := os.NewFile(uintptr(fd), dir)
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("locking %s: %w", dir, err), f.Close())
	}
	return f, nil
}

// sweepImages takes away the folders of launchers that were killed.
func sweepImages(state string, now time.Time) {
	entries, err := os.ReadDir(state)
	if err != nil {
		return
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !e.IsDir() || !strings.HasPrefix(e.Name(), imagePrefix) || now.Sub(info.ModTime()) <= leftAfter {
			continue
		}
		dir := filepath.Join(state, e.Name())
		if lock, err := lockFolder(dir); err == nil {
			_ = os.RemoveAll(dir)
			_ = lock.Close()
		}
	}
}

// imageComponent is the component of the image; nil without one.
func (p *Plan) imageComponent(size uint64) *cer.Component {
	if p.image == nil {
		return nil
	}
	return &cer.Component{
		Role: cer.RoleImage, Name: imageName, Path: "/", Digest: []string{p.image.ManifestDigest}, Size: strconv.FormatUint(size, 10),
	}
}
