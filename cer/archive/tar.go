package archive

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
)

// The tar format, as POSIX.1-1988 has it (ustar).
const (
	// blockSize is the size of a header, and what members are padded to.
	blockSize = 512
	// nameSize is the longest name of a member here; the prefix field stays empty.
	nameSize = 100
	// maxMember is the largest member: 11 octal digits.
	maxMember = 1<<33 - 1
	// trailer is the size of the zeros that end an archive.
	trailer = 2 * blockSize
)

// header returns the one header that a member of that name and size has here: a
// regular file of nobody's and of no time that all may read.
func header(name string, size int64) [blockSize]byte {
	var h [blockSize]byte
	copy(h[0:nameSize], name)
	copy(h[100:], "0000644\x00"+"0000000\x00"+"0000000\x00") // mode, uid, gid
	copy(h[124:], fmt.Sprintf("%011o\x00", size))
	copy(h[136:], "00000000000\x00") // mtime
	copy(h[148:], "        ")        // checksum, as it is summed
	h[156] = '0'                     // a regular file
	copy(h[257:], "ustar\x00"+"00")
	copy(h[329:], "0000000\x00"+"0000000\x00") // no device
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	return h
}

// padding returns the number of zeros behind a member of that size.
func padding(size int64) int64 { return -size & (blockSize - 1) }

// tarWriter writes members.
type tarWriter struct{ w io.Writer }

// begin writes the header of a member, whose content the caller writes.
func (t *tarWriter) begin(name string, size int64) error {
	if len(name) > nameSize || size < 0 || size > maxMember {
		return fmt.Errorf("member %q of %d bytes: %w", name, size, ErrAdd)
	}
	h := header(name, size)
	_, err := t.w.Write(h[:])
	return err
}

// end writes what follows the content of a member of that size.
func (t *tarWriter) end(size int64) error {
	_, err := t.w.Write(make([]byte, padding(size)))
	return err
}

// member writes a member.
func (t *tarWriter) member(name string, data []byte) error {
	if err := t.begin(name, int64(len(data))); err != nil {
		return err
	}
	if _, err := t.w.Write(data); err != nil {
		return err
	}
	return t.end(int64(len(data)))
}

// close ends the archive.
func (t *tarWriter) close() error {
	_, err := t.w.Write(make([]byte, trailer))
	return err
}

// tarReader reads members one after the other, and accepts only what tarWriter writes.
type tarReader struct {
	r    io.ReaderAt
	size int64
	// at is where the next header stands.
	at int64
}

// peek returns the next header's name and size. It wants the header to be the one that
// a member of that name and size has; the error wraps ErrForm, or is the reader's.
func (t *tarReader) peek() (name string, size int64, err error) {
	var h [blockSize]byte
	if t.size-t.at < blockSize {
		return "", 0, fmt.Errorf("the archive is cut off at byte %d: %w", t.at, ErrForm)
	}
	if err := readAt(t.r, h[:], t.at); err != nil {
		return "", 0, err
	}
	begin, _, _ := bytes.Cut(h[:nameSize], []byte{0})
	name = string(begin)
	size, err = strconv.ParseInt(string(h[124:135]), 8, 64)
	if err != nil || size < 0 || h != header(name, size) {
		return "", 0, fmt.Errorf("the header at byte %d is not one that an archive of capsules has: %w", t.at, ErrForm)
	}
	if size > t.size-t.at-blockSize {
		return "", 0, fmt.Errorf("member %.100q is cut off: %w", name, ErrForm)
	}
	return name, size, nil
}

// next wants the next member to have that name and at most limit bytes, and returns
// where its content begins and its size. What follows it must be zeros up to the next.
func (t *tarReader) next(name string, limit int64) (at, size int64, err error) {
	got, size, err := t.peek()
	switch {
	case err != nil:
		return 0, 0, err
	case got != name:
		return 0, 0, fmt.Errorf("member %.100q stands where %q has to: %w", got, name, ErrForm)
	case size > limit:
		return 0, 0, fmt.Errorf("member %q of %d bytes, at most %d: %w", name, size, limit, ErrForm)
	}
	at = t.at + blockSize
	t.at = at + size
	return at, size, t.zeros(padding(size))
}

// zeros wants n zeros.
func (t *tarReader) zeros(n int64) error {
	var b [trailer]byte
	if n > t.size-t.at {
		return fmt.Errorf("the archive is cut off at its end: %w", ErrForm)
	}
	if err := readAt(t.r, b[:n], t.at); err != nil {
		return err
	}
	if bytes.Count(b[:n], []byte{0}) != int(n) {
		return fmt.Errorf("bytes between members, before %d: %w", t.at+n, ErrForm)
	}
	t.at += n
	return nil
}

// close wants the archive to end here.
func (t *tarReader) close() error {
	if err := t.zeros(trailer); err != nil {
		return err
	}
	if t.at != t.size {
		return fmt.Errorf("%d bytes behind the archive's end: %w", t.size-t.at, ErrForm)
	}
	return nil
}

// readAt fills b from an offset that is within the file.
func readAt(r io.ReaderAt, b []byte, at int64) error {
	n, err := r.ReadAt(b, at)
	if n == len(b) {
		return nil
	}
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("reading the archive: %w", err)
}
