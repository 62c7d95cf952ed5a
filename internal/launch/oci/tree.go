//go:build linux

package oci

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// dirMode is the mode of every folder in a root.
const dirMode = 0o755

// fileMode is the mode of every file in a root.
func fileMode(exec bool) os.FileMode {
	if exec {
		return 0o755
	}
	return 0o644
}

// ioError wraps an error of the file system.
func ioError(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrIO, err)
}

// tree is an open folder that paths are looked up in; none leads out of it.
type tree struct{ fd int }

// openTree opens a folder. The folder itself must not be a link.
func openTree(dir string) (tree, error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return tree{-1}, ioError(&os.PathError{Op: "open", Path: dir, Err: err})
	}
	return tree{fd}, nil
}

func (t tree) close() error { return ioError(unix.Close(t.fd)) }

// at opens the folder that a clean relative path leads to, as if t were the root
// of the file system.
func (t tree) at(name string) (tree, error) {
	how := unix.OpenHow{
		Flags:   openFolder | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	}
	for try := 0; ; try++ {
		fd, err := unix.Openat2(t.fd, name, &how)
		// Something was renamed meanwhile, anywhere on the machine.
		if try < maxTries && (errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR)) {
			continue
		}
		return tree{fd}, err
	}
}

// maxTries bounds the attempts to resolve a path.
const maxTries = 1000

const openFolder = unix.O_RDONLY | unix.O_DIRECTORY

// folder opens the folder that a path leads to and makes what is missing of it.
func (t tree) folder(name string) (tree, error) {
	f, err := t.at(name)
	if errors.Is(err, unix.ENOENT) {
		return t.makeFolder(name)
	}
	return f, folderError(name, err)
}

// folderError tells a path that is no folder from one that cannot be opened.
func folderError(name string, err error) error {
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EEXIST), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		return fmt.Errorf("%w: %.200q leads to no folder: %w", ErrUnsafe, name, err)
	case err != nil:
		return ioError(&os.PathError{Op: "open", Path: name, Err: err})
	}
	return nil
}

// makeFolder makes the folders of a path that are missing. A link that leads to
// nothing is not followed.
func (t tree) makeFolder(name string) (tree, error) {
	for end := 0; end < len(name); end++ {
		next := strings.IndexByte(name[end:], '/')
		if next < 0 {
			next = len(name) - end
		}
		end += next
		f, err := t.at(name[:end])
		if errors.Is(err, unix.ENOENT) {
			f, err = t.makeLast(name[:end])
		}
		if err != nil {
			return f, folderError(name[:end], err)
		}
		if end == len(name) {
			return f, nil
		}
		if err := f.close(); err != nil {
			return tree{-1}, err
		}
	}
	return tree{-1}, folderError(name, unix.ENOENT)
}

// makeLast makes the last folder of a path and opens it.
func (t tree) makeLast(name string) (tree, error) {
	dir, base := path.Split(name)
	parent, err := t.at(path.Clean(dir))
	if err != nil {
		return parent, err
	}
	err = unix.Mkdirat(parent.fd, base, dirMode)
	if err == nil {
		err = unix.Fchmodat(parent.fd, base, dirMode, 0)
	}
	if err := errors.Join(err, unix.Close(parent.fd)); err != nil {
		return tree{-1}, err
	}
	return t.at(name)
}

// mkdir makes a folder in this one, if it is not there.
func (t tree) mkdir(base string) error {
	err := unix.Mkdirat(t.fd, base, dirMode)
	if err == nil {
		err = unix.Fchmodat(t.fd, base, dirMode, 0)
	} else if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return ioError(err)
}

// lstat examines a name in this folder.
func (t tree) lstat(base string) (st unix.Stat_t, err error) {
	err = unix.Fstatat(t.fd, base, &st, unix.AT_SYMLINK_NOFOLLOW)
	return st, err
}

// clear removes what has a name in this folder, if there is anything; a folder
// stays if keepFolder says so.
func (t tree) clear(base string, keepFolder bool) error {
	st, err := t.lstat(base)
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil
	case err != nil:
		return ioError(err)
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return ioError(unix.Unlinkat(t.fd, base, 0))
	case keepFolder:
		return nil
	}
	return t.removeFolder(base)
}

// removeFolder removes a folder in this one and all it holds.
func (t tree) removeFolder(base string) error {
	fd, err := unix.Openat(t.fd, base, openFolder|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return ioError(err)
	}
	f := tree{fd}
	if err := errors.Join(f.empty("."), f.close()); err != nil {
		return err
	}
	return ioError(unix.Unlinkat(t.fd, base, unix.AT_REMOVEDIR))
}

// empty removes all that is in the folder that a path leads to. It is no error if
// the path leads to no folder.
func (t tree) empty(name string) error {
	f, err := t.at(name)
	if err := folderError(name, err); errors.Is(err, ErrUnsafe) {
		return nil
	} else if err != nil {
		return err
	}
	names, err := f.list(".")
	for _, base := range names {
		if err == nil {
			err = f.clear(base, false)
		}
	}
	return errors.Join(err, f.close())
}

// remove removes what a path leads to, the last name not followed.
func (t tree) remove(name string) error {
	dir, base := path.Split(name)
	parent, err := t.at(path.Clean(dir))
	if err := folderError(name, err); errors.Is(err, ErrUnsafe) {
		return nil
	} else if err != nil {
		return err
	}
	return errors.Join(parent.clear(base, false), parent.close())
}

// list returns the names in the folder that a path leads to.
func (t tree) list(name string) ([]string, error) {
	f, err := t.at(name)
	if err != nil {
		return nil, ioError(err)
	}
	d := os.NewFile(uintptr(f.fd), name)
	names, err := d.Readdirnames(-1)
	return names, ioError(errors.Join(err, d.Close()))
}

// hardLink makes a further name for a file of the root.
func (t tree) hardLink(target string, parent tree, base string) error {
	dir, last := path.Split(target)
	from, err := t.at(path.Clean(dir))
	if err != nil {
		return fmt.Errorf("hard link to %.200q: %w", target, folderError(target, err))
	}
	st, err := from.lstat(last)
	switch {
	case errors.Is(err, unix.ENOENT), err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG:
		err = fmt.Errorf("%w: a hard link to %.200q, which is no file", ErrUnsafe, target)
	case err == nil:
		err = unix.Linkat(from.fd, last, parent.fd, base, 0)
		fallthrough
	default:
		err = ioError(err)
	}
	return errors.Join(err, from.close())
}

// setTime sets the modification time of a name in this folder.
func (t tree) setTime(base string, e *entry) error {
	mtime := e.mtime
	if mtime.IsZero() {
		mtime = time.Unix(0, 0)
	}
	ts, err := unix.TimeToTimespec(mtime)
	if err == nil {
		err = unix.UtimesNanoAt(t.fd, base, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
	}
	return ioError(err)
}

// inspection is a walk over a finished root.
type inspection struct {
	ctx      context.Context
	sum      Summary
	uid, gid uint32
	dev      uint64
	seen     map[uint64]bool // files of several names, by inode
}

// inspect walks over a root and checks that nothing is in it but what this
// package writes.
func (t tree) inspect(ctx context.Context) (Summary, error) {
	var st unix.Stat_t
	if err := unix.Fstat(t.fd, &st); err != nil {
		return Summary{}, ioError(err)
	}
	w := inspection{ctx: ctx, uid: uint32(os.Geteuid()), gid: uint32(os.Getegid()), dev: st.Dev, seen: map[uint64]bool{}}
	if err := w.check(&st, "."); err != nil {
		return Summary{}, err
	}
	w.sum = Summary{}
	if err := w.folder(t); err != nil {
		return Summary{}, err
	}
	return w.sum, nil
}

// folder checks all in a folder.
func (w *inspection) folder(t tree) error {
	names, err := t.list(".")
	if err != nil {
		return err
	}
	for _, base := range names {
		if err := w.ctx.Err(); err != nil {
			return ioError(err)
		}
		st, err := t.lstat(base)
		if err != nil {
			return ioError(err)
		}
		if err := w.check(&st, base); err != nil {
			return err
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			continue
		}
		fd, err := unix.Openat(t.fd, base, openFolder|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return ioError(err)
		}
		sub := tree{fd}
		if err := errors.Join(w.folder(sub), sub.close()); err != nil {
			return err
		}
	}
	return nil
}

// check checks one file, folder or link and counts it.
func (w *inspection) check(st *unix.Stat_t, base string) error {
	mode := st.Mode &^ unix.S_IFMT
	right := st.Uid == w.uid && st.Gid == w.gid && st.Dev == w.dev
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		w.sum.Folders++
		right = right && mode == dirMode
	case unix.S_IFREG:
		w.sum.Files++
		if st.Nlink == 1 || !w.seen[st.Ino] {
			w.sum.Bytes += st.Size
		}
		if st.Nlink > 1 {
			w.seen[st.Ino] = true
		}
		right = right && (mode == uint32(fileMode(false)) || mode == uint32(fileMode(true)))
	case unix.S_IFLNK:
		w.sum.Links++
	default:
		right = false
	}
	if !right {
		return fmt.Errorf("%w: %.200q came out as mode %o of %d:%d: %w", ErrUnsafe, base, st.Mode, st.Uid, st.Gid, fs.ErrInvalid)
	}
	return nil
}
