package measure

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
)

// job is one file in a pass.
type job struct {
	file  *File
	index int
	held  Open
	// chunks is the number of the file's pieces, each but the last of the size
	// piece.
	chunks, piece uint64

	// The pass's lock is for these: how many chunks were taken by workers, how many
	// of them did not come to their end yet, and how many did, in order; what waits
	// for its turn; and whether a worker is at that.
	taken, drained uint64
	flying         int
	ready          []*chunk
	draining       bool

	// These belong to the worker that drains. nil for what is not wanted.
	fs, dm *tree
	flat   hash.Hash
}

// newJob prepares the file with the index.
func newJob(p *pass, index int) *job {
	f := &p.files[index]
	piece := uint64(p.o.chunk)
	j := &job{file: f, index: index, chunks: (f.Size + piece - 1) / piece, piece: piece, ready: make([]*chunk, p.window)}
	if f.Wanted.FSVerity {
		j.fs = newTree(blocks(f.Size), nil, nil, 0)
	}
	if d := f.Wanted.DMVerity; d != nil {
		base := uint64(0)
		if d.Superblock {
			base = superblockSize
		}
		j.dm = newTree(blocks(f.Size), d.Salt, d.Tree, base)
	}
	if f.Wanted.flat(f.Size) {
		j.flat = sha256.New()
	}
	return j
}

// open opens the file.
func (j *job) open() error {
	if j.file.Open == nil {
		return fmt.Errorf("%w: no function opens it", ErrUnfit)
	}
	held, err := j.file.Open()
	if err != nil {
		return classed(err)
	}
	j.held = held
	if held.Source == nil {
		return errors.Join(fmt.Errorf("%w: nothing to read from", ErrUnfit), j.release())
	}
	return nil
}

// classed makes an error of the caller's functions one of this package.
func classed(err error) error {
	if err == nil || errors.Is(err, ErrChanged) || errors.Is(err, ErrUnfit) || errors.Is(err, ErrIO) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrIO, err)
}

// release closes the file, once.
func (j *job) release() error {
	f := j.held.Close
	j.held.Close = nil
	if f == nil {
		return nil
	}
	return classed(f())
}

// process reads a chunk, writes it and hashes its blocks.
func (j *job) process(c *chunk) error {
	offset := c.index * j.piece
	c.n = int(min(j.piece, j.file.Size-offset))
	data := c.data[:c.n]
	n, err := j.held.Source.ReadAt(data, int64(offset))
	switch {
	case n < c.n && errors.Is(err, io.EOF):
		return fmt.Errorf("%w: it ends after %d of %d bytes", ErrChanged, offset+uint64(max(0, n)), j.file.Size)
	case n < c.n && err == nil:
		return fmt.Errorf("reading: %w: %w", ErrIO, io.ErrNoProgress)
	case n < c.n:
		return fmt.Errorf("reading: %w: %w", ErrIO, err)
	}
	if j.held.Target != nil {
		if _, err := j.held.Target.WriteAt(data, int64(offset)); err != nil {
			return fmt.Errorf("writing: %w: %w", ErrIO, err)
		}
	}
	whole := c.data[:blocks(uint64(c.n))*BlockSize]
	clear(whole[c.n:])
	if j.fs != nil {
		c.fs = leaves(c.fs, whole, blockHasher{})
	}
	if j.dm != nil {
		if c.hasher == nil && len(j.dm.hasher.salt) > 0 {
			c.hasher = sha256.New()
		}
		h := blockHasher{salt: j.dm.hasher.salt}
		if len(h.salt) > 0 {
			h.h = c.hasher
		}
		c.dm = leaves(c.dm, whole, h)
	}
	return nil
}

// leaves returns the digests of the blocks of data, in the space of dst if that
// is large enough.
func leaves(dst, data []byte, h blockHasher) []byte {
	n := len(data) / fanout
	if cap(dst) < n {
		dst = make([]byte, cap(data)/fanout)
	}
	dst = dst[:n]
	for i := 0; i < n; i += hashSize {
		h.sum(dst[i:i+hashSize], data[i*fanout:][:BlockSize])
	}
	return dst
}

// drain does with a chunk what must be done in the file's order.
func (j *job) drain(c *chunk) error {
	if j.flat != nil {
		j.flat.Write(c.data[:c.n])
	}
	if j.fs != nil {
		if err := j.fs.push(c.fs); err != nil {
			return err
		}
	}
	if j.dm != nil {
		return j.dm.push(c.dm)
	}
	return nil
}

// finish checks that the file ends where it should, and returns its sums.
func (j *job) finish() (Sums, error) {
	var more [1]byte
	switch n, err := j.held.Source.ReadAt(more[:], int64(j.file.Size)); {
	case n > 0:
		return Sums{}, fmt.Errorf("%w: it has more than %d bytes", ErrChanged, j.file.Size)
	case err == nil:
		return Sums{}, fmt.Errorf("reading: %w: %w", ErrIO, io.ErrNoProgress)
	case !errors.Is(err, io.EOF):
		return Sums{}, fmt.Errorf("reading: %w: %w", ErrIO, err)
	}
	s := Sums{Size: j.file.Size}
	if j.flat != nil {
		s.HasFlat = true
		j.flat.Sum(s.Flat[:0])
	}
	if j.fs != nil {
		root, err := j.fs.close()
		if err != nil {
			return Sums{}, err
		}
		s.HasFSVerity, s.FSVerity = true, fsverityDigest(s.Size, root)
	}
	if d := j.file.Wanted.DMVerity; d != nil {
		root, err := j.dm.close()
		if err != nil {
			return Sums{}, err
		}
		// Last, so that a tree with a superblock is a whole one.
		if d.Superblock && d.Tree != nil {
			if _, err := d.Tree.WriteAt(d.superblock(s.Size), 0); err != nil {
				return Sums{}, fmt.Errorf("writing the superblock: %w: %w", ErrIO, err)
			}
		}
		s.HasDMVerity, s.DMVerity, s.Salt = true, root, d.Salt
	}
	return s, nil
}
