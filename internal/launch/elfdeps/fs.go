package elfdeps

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// maxLinks bounds the symbolic links of one lookup, as the kernel does.
const maxLinks = 40

// files looks paths up below a root, symbolic links included.
type files struct{ root string }

// resolve follows all symbolic links of an absolute path and returns the path of
// what they lead to, as seen from inside the root, and its information.
func (f files) resolve(name string) (string, fs.FileInfo, error) {
	rest := strings.Split(path.Clean(name), "/")
	at := "/"
	var info fs.FileInfo
	for links := 0; len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			at = path.Dir(at)
			continue
		}
		next := path.Join(at, part)
		var err error
		if info, err = os.Lstat(f.outside(next)); err != nil {
			return "", nil, readError(err)
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return "", nil, fmt.Errorf("%w: %s has too many symbolic links", ErrRead, name)
		}
		to, err := os.Readlink(f.outside(next))
		if err != nil {
			return "", nil, readError(err)
		}
		if path.IsAbs(to) {
			at = "/"
		}
		rest = append(strings.Split(to, "/"), rest...)
	}
	info, err := os.Lstat(f.outside(at))
	if err != nil {
		return "", nil, readError(err)
	}
	return at, info, nil
}

// readError tells what is not there from what cannot be read. A file in the
// place of a folder counts as not there.
func readError(err error) error {
	if errors.Is(err, fs.ErrNotExist) || isNotDir(err) {
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return fmt.Errorf("%w: %w", ErrRead, err)
}

// outside returns the path that the operating system knows a path by.
func (f files) outside(name string) string { return filepath.Join(f.root, name) }

// open opens a regular file and returns its resolved path as well.
func (f files) open(name string) (*os.File, fs.FileInfo, string, error) {
	real, info, err := f.resolve(name)
	if err != nil {
		return nil, nil, "", err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, "", fmt.Errorf("%w: %s is not a regular file", ErrUnsupported, name)
	}
	file, err := os.Open(f.outside(real))
	if err != nil {
		return nil, nil, "", readError(err)
	}
	return file, info, real, nil
}

// object parses the ELF file at a path.
func (f files) object(name string) (*object, string, error) {
	file, info, real, err := f.open(name)
	if err != nil {
		return nil, "", err
	}
	defer file.Close()
	o, err := parse(file, info.Size())
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", name, err)
	}
	return o, real, nil
}

// read reads a file of at most limit bytes.
func (f files) read(name string, limit int64) ([]byte, error) {
	file, info, _, err := f.open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if info.Size() > limit {
		return nil, fmt.Errorf("%w: %s has %d bytes, at most %d", ErrFormat, name, info.Size(), limit)
	}
	b, err := io.ReadAll(io.LimitReader(file, limit))
	if err != nil {
		return nil, readError(err)
	}
	return b, nil
}

// head returns the first bytes of a file, at most n.
func (f files) head(name string, n int) ([]byte, error) {
	file, _, _, err := f.open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, int64(n)))
	if err != nil {
		return nil, readError(err)
	}
	return b, nil
}
