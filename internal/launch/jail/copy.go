//go:build linux

package jail

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/sworn-run/sworn/internal/launch/measure"
	"github.com/sworn-run/sworn/internal/launch/modelfile"
)

// pageSize is what tmpfs rounds every file up to.
const pageSize = 4096

// errChanged says that a source is not what it was when the copy began.
var errChanged = errors.New("file changed while it was copied")

// source is one file to be copied, and what it was when it was planned.
type source struct {
	path   string // clean, free of symbolic links
	target string // relative to the root, empty where nothing is copied
	mode   uint32
	stat   unix.Stat_t
	// protect, verity and flat are the File's.
	protect                string
	verity, flat, describe bool
	// held is the open file, and digest what the kernel said of it, if the job
	// gets the file itself and no copy.
	held   *os.File
	digest fileDigest
	// first is the index of the source that is the same file, copied once: its
	// own where it is the first. A loader knows a library that it meets under two
	// names by its inode, so the copies must have one inode too.
	first int
}

// planSources resolves and examines all files, the input last where there is
// one, and returns them with the sum of their sizes. All copies of a file are
// executable if one is.
func planSources(cfg *config) (files []source, total uint64, err error) {
	wanted := cfg.Files
	if cfg.Input != "" {
		wanted = append(slices.Clip(wanted), File{Source: cfg.Input, Target: InputTarget, Flat: true})
	}
	// A file that is to be copied is, also where another takes it where it is.
	type inode struct {
		dev, ino uint64
		protect  string
	}
	known := make(map[inode]int)
	for i, f := range wanted {
		s := source{target: f.Target[1:], mode: 0o444, first: i, protect: f.Protect, verity: f.Verity, flat: f.Flat, describe: f.Describe}
		s.path = filepath.Clean(f.Source)
		if err := s.examine(); err != nil {
			return nil, 0, fmt.Errorf("examining %s: %w", s.path, err)
		}
		if s.stat.Mode&unix.S_IFMT != unix.S_IFREG || s.stat.Size < 0 {
			return nil, 0, fmt.Errorf("%s is not a regular file", s.path)
		}
		id := inode{s.stat.Dev, s.stat.Ino, f.Protect}
		if first, found := known[id]; found {
			s.first = first
			files[first].verity = files[first].verity || f.Verity
			files[first].flat = files[first].flat || f.Flat
			files[first].describe = files[first].describe || f.Describe
		} else {
			known[id] = i
			total += uint64(s.stat.Size)
		}
		files = append(files, s)
		if f.Executable {
			files[s.first].mode = 0o555
		}
	}
	return files, total, nil
}

// examine says what the path leads to. It follows no link: the caller has, when it
// looked whether the file is one that it may give away, and whoever owns the
// folder can have put one there since.
func (s *source) examine() error {
	fd, err := unix.Openat2(unix.AT_FDCWD, s.path, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return err
	}
	return errors.Join(unix.Fstat(fd, &s.stat), unix.Close(fd))
}

// open opens the file that was planned and no other.
func (s *source) open() (*os.File, error) {
	fd, err := unix.Open(s.path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", s.path, err)
	}
	f := os.NewFile(uintptr(fd), s.path)
	if err := s.unchanged(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// unchanged checks that the open file is the planned one, unmodified, and that
// the path still leads to it.
func (s *source) unchanged(f *os.File) error {
	var held, named unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &held); err != nil {
		return fmt.Errorf("examining %s: %w", s.path, err)
	}
	if err := unix.Lstat(s.path, &named); err != nil {
		return fmt.Errorf("%w: %s: %w", errChanged, s.path, err)
	}
	if !sameFile(&s.stat, &held) || !sameFile(&s.stat, &named) {
		return fmt.Errorf("%w: %s", errChanged, s.path)
	}
	return nil
}

// sameFile compares what changes when a file is replaced or written to. The
// change time is in it because the modification time can be set back.
func sameFile(a, b *unix.Stat_t) bool {
	return a.Dev == b.Dev && a.Ino == b.Ino && a.Mode == b.Mode && a.Size == b.Size &&
		a.Mtim == b.Mtim && a.Ctim == b.Ctim
}

// measureAll copies all files with open, which gives the copy to write to or nil,
// measures those that are held, and returns their digests in order. done counts
// bytes as they are hashed.
func measureAll(files []source, done *atomic.Uint64, open func(*source) (*os.File, error)) ([]fileDigest, error) {
	digests := make([]fileDigest, len(files))
	var order []int
	var passes []measure.File
	for i := range files {
		s := &files[i]
		switch {
		case s.first != i:
		case s.checked() && !s.flat:
			done.Add(uint64(s.stat.Size))
			digests[i] = s.digest
		default:
			order = append(order, i)
			passes = append(passes, s.pass(&digests[i], open))
		}
	}
	if len(passes) > 0 {
		sums, err := measure.Files(context.Background(), passes, measure.Options{Done: done})
		if err != nil {
			if errors.Is(err, measure.ErrChanged) && !errors.Is(err, errChanged) {
				err = fmt.Errorf("%w: %w", errChanged, err)
			}
			return nil, err
		}
		for n, i := range order {
			if err := files[i].result(&digests[i], &sums[n]); err != nil {
				return nil, err
			}
		}
	}
	for i := range files {
		digests[i] = digests[files[i].first]
	}
	return digests, nil
}

// pass is how one file is measured: while it is copied or, if it is held, where it
// is. It notes in d how the bytes are kept, and what the model says of itself.
func (s *source) pass(d *fileDigest, open func(*source) (*os.File, error)) measure.File {
	wanted := measure.Wanted{FSVerity: s.verity || s.checked(), Flat: measure.FlatSmall}
	if s.flat || !wanted.FSVerity {
		wanted.Flat = measure.FlatAlways
	}
	f := measure.File{Name: s.path, Size: uint64(s.stat.Size), Wanted: wanted}
	if s.held != nil {
		f.Open = func() (measure.Open, error) {
			d.Protection = ProtectNone
			return measure.Open{Source: s.held, Close: func() error {
				if s.describe {
					d.Described = describe(s.held, s.stat.Size)
				}
				return s.unchanged(s.held)
			}}, nil
		}
		return f
	}
	f.Open = func() (measure.Open, error) {
		in, err := s.open()
		if err != nil {
			return measure.Open{}, err
		}
		out, err := open(s)
		if err != nil {
			return measure.Open{}, errors.Join(err, in.Close())
		}
		// A nil *os.File is no nil io.WriterAt.
		if out == nil {
			d.Protection = ProtectNone
			return measure.Open{Source: in, Close: func() error { return errors.Join(s.unchanged(in), in.Close()) }}, nil
		}
		d.Protection = "sealed"
		return measure.Open{Source: in, Target: out, Close: func() error {
			if s.describe {
				d.Described = describe(out, s.stat.Size)
			}
			return errors.Join(s.unchanged(in), in.Close(), out.Close())
		}}, nil
	}
	return f
}

// result takes the digests of a file.
func (s *source) result(d *fileDigest, sums *measure.Sums) error {
	d.Size = sums.Size
	if sums.HasFlat {
		d.SHA256 = sums.Flat[:]
	}
	if sums.HasFSVerity {
		d.FSVerity = sums.FSVerity[:]
	}
	if !s.checked() {
		return nil
	}
	if string(d.FSVerity) != string(s.digest.FSVerity) {
		return fmt.Errorf("%s: the kernel's fs-verity digest is not that of the content: %w", s.path, errChanged)
	}
	d.Protection = s.digest.Protection
	return nil
}

// describe returns what the header of a model file says of the model, read from
// the bytes that were measured; nil if it says nothing that is understood.
func describe(f io.ReaderAt, size int64) []modelfile.Fact {
	info, err := modelfile.Read(f, size)
	if err != nil {
		return nil
	}
	return append([]modelfile.Fact{{Name: "format", Value: info.Format}}, info.Facts...)
}
