package measure

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Held is an open regular file, and what it was when it was opened.
type Held struct {
	*os.File
	stat unix.Stat_t
}

// OpenFile opens a regular file to be measured, following symbolic links. It
// waits for nobody: what is a FIFO, a device, a socket or a folder is refused
// with [ErrUnfit]; [ErrIO] says that the file cannot be opened.
func OpenFile(name string) (*Held, error) {
	// To open a device can do something to it.
	var before unix.Stat_t
	if err := unix.Stat(name, &before); err != nil {
		return nil, fmt.Errorf("opening %s: %w: %w", name, ErrIO, err)
	}
	if before.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, fmt.Errorf("%w: %s is not a regular file", ErrUnfit, name)
	}
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrIO, err)
	}
	h, err := Hold(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	// More is read ahead; that it fails says nothing.
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_SEQUENTIAL)
	return h, nil
}

// Hold remembers what an open file is. The error wraps [ErrUnfit] if it is not a
// regular file, [ErrIO] if it cannot be examined.
func Hold(f *os.File) (*Held, error) {
	h := &Held{File: f}
	if err := unix.Fstat(int(f.Fd()), &h.stat); err != nil {
		return nil, fmt.Errorf("examining %s: %w: %w", f.Name(), ErrIO, err)
	}
	if h.stat.Mode&unix.S_IFMT != unix.S_IFREG || h.stat.Size < 0 {
		return nil, fmt.Errorf("%w: %s is not a regular file", ErrUnfit, f.Name())
	}
	return h, nil
}

// Size returns the file's size in bytes when it was opened.
func (h *Held) Size() uint64 { return uint64(h.stat.Size) }

// Unchanged fails with [ErrChanged] if the file has another size, or was written
// to, since it was opened, as its times say: the change time is among them,
// because the modification time can be set back. A kernel whose times are coarse
// shows no second change within one of its ticks, some milliseconds.
func (h *Held) Unchanged() error {
	var now unix.Stat_t
	if err := unix.Fstat(int(h.Fd()), &now); err != nil {
		return fmt.Errorf("examining %s: %w: %w", h.Name(), ErrIO, err)
	}
	was := &h.stat
	if was.Dev != now.Dev || was.Ino != now.Ino || was.Mode != now.Mode || was.Size != now.Size ||
		was.Mtim != now.Mtim || was.Ctim != now.Ctim {
		return fmt.Errorf("%w: %s", ErrChanged, h.Name())
	}
	return nil
}

// done is the end of a pass over the file.
func (h *Held) done() error { return errors.Join(h.Unchanged(), h.Close()) }

// Paths measures the regular files that the names lead to, as [Files] does, and
// checks that none of them changes meanwhile. The errors are those of [OpenFile]
// and of [Files].
func Paths(ctx context.Context, names []string, w Wanted, o Options) ([]Sums, error) {
	files := make([]File, len(names))
	for i, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrIO, err)
		}
		if !info.Mode().IsRegular() {
			return nil, fmt.Errorf("%w: %s is not a regular file", ErrUnfit, name)
		}
		files[i] = File{Name: name, Size: uint64(info.Size()), Wanted: w, Open: func() (Open, error) {
			h, err := OpenFile(name)
			if err != nil {
				return Open{}, err
			}
			if h.Size() != uint64(info.Size()) {
				return Open{}, errors.Join(fmt.Errorf("%w: %s", ErrChanged, name), h.Close())
			}
			return Open{Source: h, Close: h.done}, nil
		}}
	}
	return Files(ctx, files, o)
}
