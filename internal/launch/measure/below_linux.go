package measure

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// Below opens each regular file below a folder, or the one file that top is, and
// hands it to visit with its path, in the order of the names; visit must not close
// it. Whoever can write to the folder meanwhile cannot lead it to a file elsewhere:
// top is opened once, and everything below from the folder that holds it, following
// no symbolic link. Links are left out; what was something else when it was found
// and is one when it is opened is refused with [ErrChanged], what is neither a
// folder nor a regular file with [ErrUnfit].
func Below(top string, visit func(name string, h *Held) error) error {
	fd, err := unix.Open(top, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening %s: %w: %w", top, ErrIO, err)
	}
	found := os.NewFile(uintptr(fd), top)
	defer found.Close()
	st, err := found.Stat()
	switch {
	case err != nil:
		return fmt.Errorf("examining %s: %w: %w", top, ErrIO, err)
	case st.IsDir():
		return below(fd, ".", top, visit)
	}
	h, err := OpenFile(top)
	if err != nil {
		return err
	}
	return errors.Join(visit(top, h), h.Close())
}

// below visits what is in the folder that an open folder has under a name.
func below(parent int, name, path string, visit func(string, *Held) error) error {
	fd, err := openIn(parent, name, path, unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	dir := os.NewFile(uintptr(fd), path)
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("listing %s: %w: %w", path, ErrIO, err)
	}
	slices.Sort(names)
	for _, name := range names {
		inside := filepath.Join(path, name)
		var st unix.Stat_t
		if err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return fmt.Errorf("examining %s: %w: %w", inside, ErrIO, err)
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			err = below(fd, name, inside, visit)
		case unix.S_IFLNK:
		case unix.S_IFREG:
			err = visitIn(fd, name, inside, visit)
		default:
			err = fmt.Errorf("%w: %s is not a regular file", ErrUnfit, inside)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// visitIn visits the file that an open folder has under a name.
func visitIn(parent int, name, path string, visit func(string, *Held) error) error {
	fd, err := openIn(parent, name, path, unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), path)
	h, err := Hold(f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	return errors.Join(visit(path, h), h.Close())
}

// openIn opens for reading what an open folder has under a name, which is no path,
// unless it is a link.
func openIn(parent int, name, path string, flags int) (int, error) {
	fd, err := unix.Openat(parent, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC|flags, 0)
	switch {
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR):
		return -1, fmt.Errorf("%w: %s is another kind of file now", ErrChanged, path)
	case err != nil:
		return -1, fmt.Errorf("opening %s: %w: %w", path, ErrIO, err)
	}
	return fd, nil
}
