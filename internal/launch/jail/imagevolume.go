//go:build linux

package jail

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/sworn-run/sworn/internal/launch/verity"
)

// maxServed bounds what is put into the root one by one.
const maxServed = 16384

// folderIn opens folders below one that is open, by their own names.
var folderIn = unix.OpenHow{
	Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC,
	Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV,
}

// serveImage puts what an image's volume holds into the root, without copying it: the
// root stays the jail's own, and each thing of the image's top folder is mounted into
// it, read-only. What stands at the places that the jail keeps for itself is left out.
func (p *initProcess) serveImage() (*Unpacked, error) {
	img := p.cfg.Image
	fd, err := img.Volume.mount(0)
	if err != nil {
		return nil, as(failLaunch, fmt.Errorf("mounting %s: %w", img.Volume.Device, err))
	}
	if err := p.root.attachAt(filepath.Join(img.Mount, ImageRoot)); err != nil {
		return nil, as(failIsolation, err)
	}
	// Parts can be taken of what is in the mount tree only. It goes with the old root.
	at := filepath.Join(img.Mount, ImagePrivate)
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return nil, as(failIsolation, errors.Join(fmt.Errorf("mounting %s: %w", at, err), unix.Close(fd)))
	}
	err = as(failSource, p.serveVolume(fd))
	if err := errors.Join(err, unix.Close(fd)); err != nil {
		return nil, err
	}
	return &Unpacked{Digest: img.Digest}, nil
}

// serveVolume checks what a mounted volume says of itself and serves its tree.
func (p *initProcess) serveVolume(volume int) error {
	img := p.cfg.Image
	if err := holdsText(volume, verity.ImageFile, img.Config); err != nil {
		return err
	}
	fd, err := unix.Openat2(volume, verity.ImageTree, &folderIn)
	if err != nil {
		return fmt.Errorf("opening the image's folder %s: %w", verity.ImageTree, err)
	}
	tree := os.NewFile(uintptr(fd), verity.ImageTree)
	defer tree.Close()
	for _, name := range img.Absent {
		var st unix.Stat_t
		if err := unix.Fstatat(fd, name[1:], &st, unix.AT_SYMLINK_NOFOLLOW); !errors.Is(err, unix.ENOENT) {
			return errAbsent(name)
		}
	}
	s := server{root: p.root, device: img.Volume.Number, through: map[string]bool{".": true}, left: maxServed}
	for i := range p.sources {
		for dir := path.Dir(p.sources[i].target); dir != "."; dir = path.Dir(dir) {
			s.through[dir] = true
		}
	}
	return s.folder(tree, ".")
}

// errAbsent says that an image has something where it may have nothing.
func errAbsent(name string) error {
	return fmt.Errorf("the image has %s: what a job finds there is measured file by file, and comes from no image", name)
}

// holdsText reports whether a file of a folder is a regular one with a text.
func holdsText(dir int, name string, want []byte) error {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening the volume's %s: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	got, err := io.ReadAll(io.LimitReader(f, int64(len(want))+1))
	if err != nil {
		return fmt.Errorf("reading the volume's %s: %w", name, err)
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("the volume's description says another command, environment, working folder or manifest than the volume")
	}
	return nil
}

// server mounts parts of a volume into a root that is attached.
type server struct {
	root   *root
	device uint64
	// through are the folders into which the jail puts something itself: they are the
	// root's own, and what the volume has in them is mounted one by one.
	through map[string]bool
	left    int
}

// folder serves what a folder of the volume holds in the root's folder of that path.
func (s *server) folder(from *os.File, dir string) error {
	names, err := from.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("reading the image's /%s: %w", dir, err)
	}
	for _, name := range names {
		at := path.Join(dir, name)
		if slices.Contains(reserved(), "/"+at) {
			continue
		}
		if s.left--; s.left < 0 {
			return fmt.Errorf("the image has more than %d files and folders beside what is put into it: add files elsewhere", maxServed)
		}
		if err := s.entry(from, name, at); err != nil {
			return fmt.Errorf("the image's /%s: %w", at, err)
		}
	}
	return nil
}

// entry serves one file, folder or link.
func (s *server) entry(from *os.File, name, at string) error {
	dir := int(from.Fd())
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		if err := s.root.mkdir(at); err != nil {
			return err
		}
		if !s.through[at] {
			return s.bind(dir, name, at, st.Ino)
		}
		fd, err := unix.Openat2(dir, name, &folderIn)
		if err != nil {
			return err
		}
		sub := os.NewFile(uintptr(fd), at)
		return errors.Join(s.folder(sub, at), sub.Close())
	case unix.S_IFREG:
		fd, err := unix.Openat(s.root.fd, at, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o444)
		if err != nil {
			return err
		}
		return errors.Join(unix.Close(fd), s.bind(dir, name, at, st.Ino))
	case unix.S_IFLNK:
		to := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(dir, name, to)
		if err != nil {
			return err
		}
		return unix.Symlinkat(string(to[:n]), s.root.fd, at)
	default:
		return fmt.Errorf("neither file nor folder nor link: %w", unix.EPERM)
	}
}

// bind mounts a file or folder of the volume at a path of the root, read-only, and
// reads that back.
func (s *server) bind(dir int, name, at string, inode uint64) error {
	fd, err := unix.OpenTree(dir, name, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return fmt.Errorf("taking it from the volume: %w", err)
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	var st unix.Stat_t
	var fs unix.Statfs_t
	if err := errors.Join(unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr), unix.Fstat(fd, &st), unix.Fstatfs(fd, &fs)); err != nil {
		return errors.Join(err, unix.Close(fd))
	}
	const flags = unix.ST_RDONLY | unix.ST_NOSUID | unix.ST_NODEV
	if st.Dev != s.device || st.Ino != inode || fs.Flags&flags != flags {
		return errors.Join(fmt.Errorf("it is not mounted from the volume, read-only: %w", unix.ENODEV), unix.Close(fd))
	}
	return s.root.place(fd, at)
}
