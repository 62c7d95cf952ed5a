// Package measure computes the digests by which policies name files, in one pass
// over each file: SHA-256 over its bytes, the fs-verity digest and the dm-verity
// root hash. The blocks of one file and the files of one call are shared out to
// as many workers as there are processors, in bounded memory whatever the sizes.
//
// A pass may copy: each byte of the source is then read once, and what is hashed
// is what was written to the destination, out of the same buffer.
//
//	sums, err := measure.Copy(ctx, in, out, size, measure.Wanted{FSVerity: true, Flat: measure.FlatSmall}, measure.Options{})
//	for _, digest := range sums.Digests() { … }
//
// Many files go into one call of [Files], so that no more of them are hashed at a
// time than there are processors.
package measure

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"sync/atomic"
)

const (
	// BlockSize is the size in bytes of a data block and of a block of hashes, for
	// fs-verity and for dm-verity.
	BlockSize = 4096
	// FlatLimit is the size in bytes, inclusive, up to which [FlatSmall] asks for
	// the digest over a file's bytes: 256 MiB. It cannot be computed in parallel.
	FlatLimit = 256 << 20
	// MaxSalt is the longest dm-verity salt in bytes.
	MaxSalt = 256
	// MaxWorkers is the largest number of workers; more are not started.
	MaxWorkers = 256
)

// maxSize is the largest file, with room for the sums of offsets.
const maxSize = math.MaxInt64 - 1<<30

// The errors; every error of this package wraps one of them, or what ended the
// context.
var (
	// ErrChanged: the file is not what it was when the pass began, or does not
	// have the size that was given.
	ErrChanged = errors.New("file changed while it was measured")
	// ErrUnfit: not a regular file, or what is wanted of it cannot be had: no
	// digest at all, a salt that is too long, a dm-verity root of what is not a
	// whole number of blocks.
	ErrUnfit = errors.New("cannot be measured")
	// ErrIO: reading or writing failed. It is joined by the cause.
	ErrIO = errors.New("input or output failed")
)

// Flat says whether the digest over a file's bytes is wanted.
type Flat uint8

// The values of Flat.
const (
	// FlatNever asks for none.
	FlatNever Flat = iota
	// FlatSmall asks for it if the file has at most [FlatLimit] bytes.
	FlatSmall
	// FlatAlways asks for it whatever the size.
	FlatAlways
)

// Wanted says which digests to compute. The zero value asks for none, which is
// refused.
type Wanted struct {
	// FSVerity asks for the fs-verity digest: version 1, SHA-256, blocks of
	// [BlockSize], no salt, no signature.
	FSVerity bool
	// DMVerity asks for the dm-verity root hash, nil for none.
	DMVerity *DMVerity
	// Flat asks for SHA-256 over the bytes.
	Flat Flat
}

// flat reports whether a file of the size gets a digest over its bytes.
func (w Wanted) flat(size uint64) bool {
	return w.Flat == FlatAlways || w.Flat == FlatSmall && size <= FlatLimit
}

// check refuses what cannot be computed of a file of the size.
func (w Wanted) check(size uint64) error {
	switch {
	case w.Flat > FlatAlways:
		return fmt.Errorf("%w: flat digest of kind %d", ErrUnfit, w.Flat)
	case !w.FSVerity && w.DMVerity == nil && !w.flat(size):
		return fmt.Errorf("%w: no digest is wanted of it", ErrUnfit)
	case size > maxSize:
		return fmt.Errorf("%w: %d bytes", ErrUnfit, size)
	case w.DMVerity == nil:
		return nil
	case len(w.DMVerity.Salt) > MaxSalt:
		return fmt.Errorf("%w: a salt of %d bytes, want at most %d", ErrUnfit, len(w.DMVerity.Salt), MaxSalt)
	case size == 0 || size%BlockSize != 0:
		return fmt.Errorf("%w: dm-verity covers whole blocks of %d bytes, and this is %d bytes", ErrUnfit, BlockSize, size)
	}
	return nil
}

// Sums are the digests of one file. The zero value has none.
type Sums struct {
	// Size is the file's size in bytes.
	Size uint64
	// HasFlat, HasFSVerity and HasDMVerity say which of the digests are there; the
	// others are zero.
	HasFlat, HasFSVerity, HasDMVerity bool
	// Flat is SHA-256 over the file's bytes.
	Flat [32]byte
	// FSVerity is the fs-verity digest, SHA-256 over the file's fsverity_descriptor.
	FSVerity [32]byte
	// DMVerity is the root hash of the dm-verity tree, and Salt the salt of it.
	DMVerity [32]byte
	// Salt is the salt that DMVerity was computed with, at most [MaxSalt] bytes.
	Salt []byte
}

// Digests returns the digests as policies name them, in this order, each that is
// there, with digest and salt in lower-case hexadecimal:
//
//	sha256:<hex>
//	fsverity-sha256;block=4096:<hex>
//	dmverity-sha256;block=4096;salt=<hex, or "-" for none>:<hex>
func (s Sums) Digests() []string {
	var list []string
	if s.HasFlat {
		list = append(list, fmt.Sprintf("sha256:%x", s.Flat))
	}
	if s.HasFSVerity {
		list = append(list, fmt.Sprintf("fsverity-sha256;block=%d:%x", BlockSize, s.FSVerity))
	}
	if s.HasDMVerity {
		salt := "-"
		if len(s.Salt) > 0 {
			salt = hex.EncodeToString(s.Salt)
		}
		list = append(list, fmt.Sprintf("dmverity-sha256;block=%d;salt=%s:%x", BlockSize, salt, s.DMVerity))
	}
	return list
}

// Options says how to work. The zero value is right for most callers.
type Options struct {
	// Workers is the number of workers, and so of processors that hash at a time;
	// zero and less for as many as Go uses, and never more than [MaxWorkers].
	Workers int
	// Done, if not nil, counts the bytes that are hashed, while they are: it is
	// added to, from several goroutines.
	Done *atomic.Uint64

	// chunk is the size of a buffer, for tests; zero for one that suits.
	chunk int
}

// Open is an open file of a call of [Files].
type Open struct {
	// Source is what is read, at several places at a time.
	Source io.ReaderAt
	// Target, if not nil, gets every byte at the place where it was read, from
	// several goroutines and in no order.
	Target io.WriterAt
	// Close, if not nil, is called once when the pass over the file has ended, well
	// or not. It releases what Open holds, and its error is an error of the pass:
	// here the caller says that the source is not what it was. An error that wraps
	// [ErrChanged] is kept as it is, any other becomes an [ErrIO].
	Close func() error
}

// File is one file of a call of [Files].
type File struct {
	// Name stands in errors; empty for none.
	Name string
	// Size is how many bytes the file must have: no more are read but one, which
	// shows that it grew.
	Size uint64
	// Wanted says which digests to compute.
	Wanted Wanted
	// Open opens the file when its turn comes. It is called once, or not at all if
	// another file failed before. Its error is treated as that of Close.
	Open func() (Open, error)
}

// Copy reads size bytes of src once, writes them to dst, and hashes what it
// wrote; with a nil dst it only hashes. Blocks are read, written and hashed in
// parallel and in no order; no more than 64 MiB are held. When it returns,
// nothing reads src or writes dst any more.
//
// It fails with [ErrChanged] if src has less or more than size bytes,
// [ErrUnfit] if what is wanted cannot be computed, [ErrIO] if reading or writing
// fails, and the cause of ctx if that ends. Sums are zero beside an error.
func Copy(ctx context.Context, src io.ReaderAt, dst io.WriterAt, size uint64, w Wanted, o Options) (Sums, error) {
	sums, err := Files(ctx, []File{{
		Size: size, Wanted: w,
		Open: func() (Open, error) { return Open{Source: src, Target: dst}, nil },
	}}, o)
	if err != nil {
		return Sums{}, err
	}
	return sums[0], nil
}
