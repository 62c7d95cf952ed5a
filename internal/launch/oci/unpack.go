//go:build linux

package oci

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// Summary says what a root holds.
type Summary struct {
	// Files, Folders and Links count the regular files, under all their names, the
	// folders without the root itself, and the symbolic links.
	Files, Folders, Links int
	// Bytes is the sum of the sizes of the files, each counted once.
	Bytes int64
	// Dropped are the first 256 things that the layers hold and the root does not:
	// setuid, setgid and sticky bits, extended attributes, notes of tools. Names
	// in it are quoted. DroppedMore counts those after them.
	Dropped     []string
	DroppedMore int
	// Reused is the number of layers that came from the store.
	Reused int
}

// Unpack verifies the layers and unpacks them into dir, which is not there yet or
// an empty folder of the caller's that nobody else can write. The folders above
// it must be safe too.
//
// An error wraps one of the errors of this package. There is no summary beside
// it, and dir is empty or gone as far as that could be done.
func (img *Image) Unpack(ctx context.Context, dir string) (Summary, error) {
	if img == nil || img.src == nil || len(img.Layers) == 0 || len(img.names) != len(img.Layers) {
		return Summary{}, fmt.Errorf("%w: no opened image", ErrUsage)
	}
	made := os.Mkdir(dir, dirMode)
	if made != nil && !errors.Is(made, fs.ErrExist) {
		return Summary{}, ioError(made)
	}
	sum, err := img.unpackInto(ctx, dir)
	if err == nil {
		return sum, nil
	}
	if made == nil {
		err = errors.Join(err, ioError(os.Remove(dir)))
	}
	return Summary{}, fmt.Errorf("unpacking %s: %w", img.ManifestDigest, err)
}

// unpackInto unpacks into an empty folder, and empties it if that fails.
func (img *Image) unpackInto(ctx context.Context, dir string) (Summary, error) {
	root, err := openTree(dir)
	if err != nil {
		return Summary{}, err
	}
	names, err := root.list(".")
	if err == nil && len(names) > 0 {
		err = fmt.Errorf("%w: %q is not empty", ErrUsage, dir)
	}
	if err == nil {
		err = ioError(unix.Fchmod(root.fd, dirMode))
	}
	if err != nil {
		return Summary{}, errors.Join(err, root.close())
	}
	sum, err := img.unpackAll(ctx, &unpacker{root: root, buf: make([]byte, 256<<10)})
	if err != nil {
		err = errors.Join(err, root.empty("."))
	}
	return sum, errors.Join(err, root.close())
}

// unpackAll unpacks one layer after another and looks at the result.
func (img *Image) unpackAll(ctx context.Context, u *unpacker) (Summary, error) {
	var dropped report
	reused, entries, left := 0, maxEntries, img.options.MaxBytes
	for i := range img.Layers {
		f, hit, err := img.uncompressed(ctx, i, left)
		if err != nil {
			return Summary{}, fmt.Errorf("layer %d: %w", i+1, err)
		}
		size, err := f.Seek(0, io.SeekEnd)
		if err == nil {
			err = rewind(f)
		}
		if err == nil {
			left -= size
			err = u.layer(ctx, f, &entries, &dropped)
		}
		if err := errors.Join(err, ioError(f.Close())); err != nil {
			return Summary{}, fmt.Errorf("layer %d: %w", i+1, err)
		}
		if hit {
			reused++
		}
	}
	sum, err := u.root.inspect(ctx)
	if err != nil {
		return Summary{}, fmt.Errorf("looking at the result: %w", err)
	}
	sum.Dropped, sum.DroppedMore, sum.Reused = dropped.lines, dropped.more, reused
	return sum, nil
}

// unpacker writes layers into a root.
type unpacker struct {
	root tree
	buf  []byte
}

// layer scans a layer and then puts it over what is there. What the layer removes
// goes first: it means the lower layers only.
func (u *unpacker) layer(ctx context.Context, f *os.File, budget *int, dropped *report) error {
	l, err := scan(ctx, f, budget, dropped)
	if err != nil {
		return err
	}
	if err := rewind(f); err != nil {
		return err
	}
	for _, name := range l.removed {
		if err := u.root.remove(name); err != nil {
			return fmt.Errorf("removing %.200q: %w", name, err)
		}
	}
	for _, name := range l.opaque {
		if err := u.root.empty(name); err != nil {
			return fmt.Errorf("emptying %.200q: %w", name, err)
		}
	}
	t, at := tar.NewReader(f), -1
	for i := range l.entries {
		e := &l.entries[i]
		for ; at < e.at; at++ {
			if _, err := t.Next(); err != nil {
				return fmt.Errorf("%w: entry %.200q is gone: %w", ErrIO, e.path, err)
			}
		}
		if err := u.entry(ctx, e, t); err != nil {
			return fmt.Errorf("entry %.200q: %w", e.path, err)
		}
	}
	return u.times(l.entries)
}

// entry writes one entry.
func (u *unpacker) entry(ctx context.Context, e *entry, content io.Reader) error {
	dir, base := path.Split(e.path)
	parent, err := u.root.folder(path.Clean(dir))
	if err != nil {
		return err
	}
	return errors.Join(u.write(ctx, parent, base, e, content), parent.close())
}

// write writes one entry into its folder, in place of what is there.
func (u *unpacker) write(ctx context.Context, parent tree, base string, e *entry, content io.Reader) error {
	if err := parent.clear(base, e.kind == tar.TypeDir); err != nil {
		return err
	}
	switch e.kind {
	case tar.TypeDir:
		return parent.mkdir(base)
	case tar.TypeReg:
		return u.file(ctx, parent, base, e, content)
	case tar.TypeSymlink:
		if err := unix.Symlinkat(e.link, parent.fd, base); err != nil {
			return ioError(err)
		}
	case tar.TypeLink:
		return u.root.hardLink(e.link, parent, base)
	}
	return parent.setTime(base, e)
}

// file writes a regular file.
func (u *unpacker) file(ctx context.Context, parent tree, base string, e *entry, content io.Reader) error {
	fd, err := unix.Openat(parent.fd, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return ioError(err)
	}
	f := os.NewFile(uintptr(fd), base)
	n, err := io.CopyBuffer(struct{ io.Writer }{f}, &contextReader{ctx, content}, u.buf)
	if err == nil && n != e.size {
		err = io.ErrUnexpectedEOF
	}
	if err == nil {
		err = f.Chmod(fileMode(e.exec))
	}
	if err := ioError(errors.Join(err, f.Close())); err != nil {
		return err
	}
	return parent.setTime(base, e)
}

// times sets the modification times of a layer's folders, after all was written
// into them.
func (u *unpacker) times(entries []entry) error {
	for i := range entries {
		e := &entries[i]
		if e.kind != tar.TypeDir {
			continue
		}
		dir, base := path.Split(e.path)
		parent, err := u.root.at(path.Clean(dir))
		if err == nil {
			err = errors.Join(parent.setTime(base, e), parent.close())
		}
		// A later entry of the layer replaced a link that led here.
		if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) {
			return fmt.Errorf("entry %.200q: %w", e.path, ioError(err))
		}
	}
	return nil
}
