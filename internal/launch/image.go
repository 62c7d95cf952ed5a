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

// image is what a plan knows of its container image.
type image struct {
	// digest is the component's, of the manifest or of the volume, and size what it
	// is over, in bytes.
	digest string
	size   uint64
	config oci.Config
	// volume holds the image's files, and says config; nil where they are unpacked.
	volume *volume
	said   []byte
}

// openImage reads what the image says about the program to run.
func (p *Plan) openImage() error {
	open := p.openLayers
	switch {
	case p.job.Image != "" && p.job.ImageVolume != "":
		return fmt.Errorf("two images: %w", ErrUsage)
	case p.job.ImageVolume != "":
		open = p.openImageVolume
	case p.job.Image == "":
		return nil
	}
	var err error
	if p.image, err = open(); err != nil {
		return fmt.Errorf("image: %w", err)
	}
	c := &p.image.config
	if len(p.job.Command) == 0 {
		p.job.Command = slices.Concat(c.Entrypoint, c.Cmd)
	}
	// The image's variables, unless one is given by name.
	for _, e := range c.Env {
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

// openLayers opens an image that is to be unpacked. Its manifest and its configuration
// are verified; the layers are when the job's root is filled.
func (p *Plan) openLayers() (*image, error) {
	// No layer is opened: nothing is written into this folder.
	img, err := oci.Open(context.Background(), p.job.Image, oci.Options{Private: os.TempDir(), MaxBytes: imageBytes()})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	if err := settleDir(&img.Config); err != nil {
		return nil, err
	}
	return &image{digest: img.ManifestDigest, size: uint64(len(img.Manifest)), config: img.Config}, nil
}

// settleDir makes the working folder absolute.
func settleDir(c *oci.Config) error {
	if c.WorkingDir == "" {
		c.WorkingDir = "/"
	}
	if dir := c.WorkingDir; !path.IsAbs(dir) || path.Clean(dir) != dir {
		return fmt.Errorf("its working directory is %q: %w", dir, ErrUsage)
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
	sweepFolders(state, imagePrefix, time.Now())
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

// sweepFolders takes away the folders in another, with names that begin with prefix, of
// launchers that were killed.
func sweepFolders(in, prefix string, now time.Time) {
	entries, err := os.ReadDir(in)
	if err != nil {
		return
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !e.IsDir() || !strings.HasPrefix(e.Name(), prefix) || now.Sub(info.ModTime()) <= leftAfter {
			continue
		}
		dir := filepath.Join(in, e.Name())
		if lock, err := lockFolder(dir); err == nil {
			_ = os.RemoveAll(dir)
			_ = lock.Close()
		}
	}
}

// imageComponent is the component of the image.
func (p *Plan) imageComponent() *cer.Component {
	c := &cer.Component{
		Role: cer.RoleImage, Name: imageName, Path: "/", Digest: []string{p.image.digest}, Size: strconv.FormatUint(p.image.size, 10),
	}
	if p.image.volume != nil {
		c.Protection = cer.ProtectionDMVerity
	}
	return c
}

// imageSpec is what the jail needs of the image, but for its device; nil without one.
func (p *Plan) imageSpec() *jail.Image {
	i := p.image
	if i == nil {
		return nil
	}
	s := &jail.Image{Digest: i.digest, Absent: absent()}
	if i.volume != nil {
		s.Config = i.said
	} else {
		s.Ref, s.MaxBytes, s.Store = p.job.Image, imageBytes(), p.job.ImageStore
	}
	return s
}

// absent are the places where an image has nothing.
func absent() []string { return []string{modelDir, configDir} }
