package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"

	"github.com/klauspost/compress/zstd"

	"github.com/sworn-run/sworn/cer"
)

// errInitrd is an initial file system that cannot be looked into. Every error of
// lookInto wraps it.
var errInitrd = errors.New("cannot look into the initial file system")

// Bounds of what is read from an initial file system.
const (
	maxInitrdFiles = 1 << 20
	maxInitrdName  = 4096
	maxInitrdBytes = 16 << 30 // unpacked
	maxZstdWindow  = 256 << 20
)

// newc header of a cpio archive (Linux, Documentation/driver-api/early-userspace/
// buffer-format.rst): a magic number and 13 fields of 8 hexadecimal digits.
const (
	newcHeader = 110
	newcMode   = 6 + 1*8
	newcLinks  = 6 + 4*8
	newcSize   = 6 + 6*8
	newcName   = 6 + 11*8
	fileMask   = 0o170000
	fileMode   = 0o100000
)

// lookInto returns the paths of the regular files of an initial file system that have
// one of the digests ("sha256:…"), in order: archives one after the other, each plain
// or compressed with gzip or zstd. A later file of the same path takes the place of the
// earlier, as in the kernel. The error wraps errInitrd.
func lookInto(initrd []byte, digests []string) (map[string]string, error) {
	wanted := map[string]bool{}
	for _, d := range digests {
		wanted[d] = true
	}
	found := map[string]string{}
	w := &initrdWalk{wanted: wanted, found: found, left: maxInitrdBytes}
	// bytes.Reader is an io.ByteReader, so that gzip takes no byte beyond its member.
	r := bytes.NewReader(initrd)
	for {
		kind, err := nextArchive(r)
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errInitrd, err)
		}
		if err := w.archive(r, kind); err != nil {
			return nil, fmt.Errorf("%w: %w", errInitrd, err)
		}
	}
}

// nextArchive skips the zeros between archives and returns the first two bytes of the
// next, which it leaves in place; io.EOF at the end.
func nextArchive(r *bytes.Reader) (uint16, error) {
	for {
		b, err := r.ReadByte()
		if err != nil {
			return 0, io.EOF
		}
		if b == 0 {
			continue
		}
		second, err := r.ReadByte()
		if err != nil {
			return 0, io.ErrUnexpectedEOF
		}
		_, err = r.Seek(-2, io.SeekCurrent)
		return uint16(b)<<8 | uint16(second), err
	}
}

// initrdWalk is the state of one walk.
type initrdWalk struct {
	wanted map[string]bool
	found  map[string]string
	files  int
	left   int64
}

// archive reads one archive off r.
func (w *initrdWalk) archive(r *bytes.Reader, kind uint16) error {
	switch kind {
	case 0x3037: // "07"
		return w.cpio(r)
	case 0x1f8b:
		z, err := gzip.NewReader(r)
		if err != nil {
			return err
		}
		z.Multistream(false)
		return w.compressed(z)
	case 0x28b5:
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxZstdWindow))
		if err != nil {
			return err
		}
		defer z.Close()
		return w.compressed(z)
	default:
		return fmt.Errorf("an archive that begins with %#04x is neither cpio nor compressed with gzip or zstd", kind)
	}
}

// compressed reads the archives in one compressed stream to its end.
func (w *initrdWalk) compressed(z io.Reader) error {
	b := bufio.NewReader(io.LimitReader(z, w.left))
	for {
		switch c, err := b.Peek(1); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case c[0] == 0:
			if _, err := b.Discard(1); err != nil {
				return err
			}
		default:
			if err := w.cpio(b); err != nil {
				return err
			}
		}
	}
}

// cpio reads one archive to its trailer.
func (w *initrdWalk) cpio(r io.Reader) error {
	for {
		name, mode, links, size, err := w.header(r)
		if err != nil || name == "TRAILER!!!" {
			return err
		}
		h := sha256.New()
		if _, err := io.CopyN(h, r, size); err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
		if _, err := io.CopyN(io.Discard, r, -size&3); err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
		at := path.Clean("/" + name)
		delete(w.found, at)
		if mode&fileMask != fileMode {
			continue
		}
		if links > 1 {
			continue // the content of a file with several names stands with one of them
		}
		if d := cer.SHA256Digest([32]byte(h.Sum(nil))); w.wanted[d] {
			w.found[at] = d
		}
	}
}

// header reads one header with its name.
func (w *initrdWalk) header(r io.Reader) (name string, mode, links uint64, size int64, err error) {
	var h [newcHeader]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return "", 0, 0, 0, err
	}
	if magic := string(h[:6]); magic != "070701" && magic != "070702" {
		return "", 0, 0, 0, fmt.Errorf("%q is no header of a cpio archive in format newc", magic)
	}
	var fields [4]uint64
	for i, at := range []int{newcMode, newcLinks, newcSize, newcName} {
		if fields[i], err = strconv.ParseUint(string(h[at:at+8]), 16, 32); err != nil {
			return "", 0, 0, 0, err
		}
	}
	w.files++
	w.left -= newcHeader + int64(fields[2]) + int64(fields[3])
	if w.files > maxInitrdFiles || w.left < 0 || fields[3] == 0 || fields[3] > maxInitrdName {
		return "", 0, 0, 0, fmt.Errorf("more than %d files, %d bytes, or a name of %d bytes", maxInitrdFiles, int64(maxInitrdBytes), fields[3])
	}
	b := make([]byte, int64(fields[3])+(-(newcHeader+int64(fields[3]))&3))
	if _, err := io.ReadFull(r, b); err != nil {
		return "", 0, 0, 0, err
	}
	text, rest, ok := bytes.Cut(b[:fields[3]], []byte{0})
	if !ok || len(rest) != 0 {
		return "", 0, 0, 0, fmt.Errorf("a name that does not end with its NUL")
	}
	return string(text), fields[0], fields[1], int64(fields[2]), nil
}
