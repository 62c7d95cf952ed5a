//go:build linux

package jail

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const (
	// copyBuffer is the size of one buffer; a large file has two in flight, one
	// being hashed while the other is filled and written.
	copyBuffer = 1 << 20
	// copyWorkers bounds the files in flight.
	copyWorkers = 4
	// pageSize is what tmpfs rounds every file up to.
	pageSize = 4096
)

// errChanged says that a source is not what it was when the copy began.
var errChanged = errors.New("file changed while it was copied")

// source is one file to be copied, and what it was when it was planned.
type source struct {
	path   string // resolved, free of symbolic links
	target string // relative to the root, empty where nothing is copied
	mode   uint32
	stat   unix.Stat_t
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
		wanted = append(slices.Clip(wanted), File{Source: cfg.Input, Target: InputTarget})
	}
	type inode struct{ dev, ino uint64 }
	known := make(map[inode]int)
	for i, f := range wanted {
		s := source{target: f.Target[1:], mode: 0o444, first: i}
		if s.path, err = filepath.EvalSymlinks(f.Source); err != nil {
			return nil, 0, fmt.Errorf("resolving %s: %w", f.Source, err)
		}
		if err := unix.Lstat(s.path, &s.stat); err != nil {
			return nil, 0, fmt.Errorf("examining %s: %w", s.path, err)
		}
		if s.stat.Mode&unix.S_IFMT != unix.S_IFREG || s.stat.Size < 0 {
			return nil, 0, fmt.Errorf("%s is not a regular file", s.path)
		}
		if first, found := known[inode{s.stat.Dev, s.stat.Ino}]; found {
			s.first = first
		} else {
			known[inode{s.stat.Dev, s.stat.Ino}] = i
			total += uint64(s.stat.Size)
		}
		files = append(files, s)
		if f.Executable {
			files[s.first].mode = 0o555
		}
	}
	return files, total, nil
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

// measure copies all files with open, which gives the copy to write to or nil,
// and returns their digests in order. done counts bytes as they are hashed.
func measure(files []source, done *atomic.Uint64, open func(*source) (*os.File, error)) ([]fileDigest, error) {
	var order []int
	for i := range files {
		if files[i].first == i {
			order = append(order, i)
		}
	}
	// The largest first, so that no worker is left alone with it at the end.
	slices.SortStableFunc(order, func(a, b int) int {
		return int(min(1, max(-1, files[b].stat.Size-files[a].stat.Size)))
	})
	var (
		digests = make([]fileDigest, len(files))
		errs    = make([]error, len(files))
		next    atomic.Int64
		failed  atomic.Bool
		wg      sync.WaitGroup
	)
	for range min(copyWorkers, runtime.NumCPU(), len(order)) {
		wg.Go(func() {
			for n := next.Add(1) - 1; int(n) < len(order) && !failed.Load(); n = next.Add(1) - 1 {
				i := order[n]
				if digests[i], errs[i] = measureOne(&files[i], done, open); errs[i] != nil {
					failed.Store(true)
				}
			}
		})
	}
	wg.Wait()
	for i := range files {
		digests[i] = digests[files[i].first]
	}
	return digests, errors.Join(errs...)
}

// measureOne copies one file.
func measureOne(s *source, done *atomic.Uint64, open func(*source) (*os.File, error)) (d fileDigest, err error) {
	in, err := s.open()
	if err != nil {
		return d, err
	}
	defer in.Close()
	out, err := open(s)
	if err != nil {
		return d, err
	}
	h := sha256.New()
	size, err := copyHash(out, in, h, uint64(s.stat.Size), done)
	if out != nil {
		err = errors.Join(err, out.Close())
	}
	if err != nil {
		return d, fmt.Errorf("copying %s: %w", s.path, err)
	}
	if err := s.unchanged(in); err != nil {
		return d, err
	}
	if size != uint64(s.stat.Size) {
		return d, fmt.Errorf("%w: %s", errChanged, s.path)
	}
	return fileDigest{SHA256: h.Sum(nil), Size: size}, nil
}

// copyHash copies in to out, which may be nil, and hashes what it wrote. It
// reads at most one byte more than size, so that growth shows.
func copyHash(out *os.File, in io.Reader, h hash.Hash, size uint64, done *atomic.Uint64) (uint64, error) {
	full, free := make(chan []byte), make(chan []byte, 2)
	hashed := make(chan struct{})
	go func() {
		defer close(hashed)
		for b := range full {
			h.Write(b)
			done.Add(uint64(len(b)))
			free <- b[:cap(b)]
		}
	}()
	defer func() { close(full); <-hashed }()
	length := min(copyBuffer, size+1)
	free <- make([]byte, length)
	free <- make([]byte, length)
	in = io.LimitReader(in, int64(size)+1)
	for n := uint64(0); ; {
		b := <-free
		got, err := io.ReadFull(in, b)
		n += uint64(got)
		if got > 0 && out != nil {
			if _, err := out.Write(b[:got]); err != nil {
				return n, err
			}
		}
		full <- b[:got]
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}
