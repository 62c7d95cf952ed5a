package nitro

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"

	"github.com/sworn-run/sworn/attest"
)

// The major types of CBOR that documents have (RFC 8949, 3.1).
const (
	majorUint  = 0
	majorBytes = 2
	majorText  = 3
	majorArray = 4
	majorMap   = 5
)

// Single bytes: the value null, and the end of what has no length (RFC 8949, 3.2.1,
// 3.3).
const (
	null   = 0xF6
	finish = 0xFF
)

// reader takes the items of a document off the front of b. It is led by what a
// document must have and never follows what the input nests; maps and arrays may
// have no length, as the hypervisor writes them, strings may not. Every length and
// number is in its shortest form (4.2.1), so that nothing has two encodings.
type reader struct{ b []byte }

// errCBOR is what does not read as wanted.
func errCBOR(format string, args ...any) error {
	return fmt.Errorf("CBOR: %s: %w", fmt.Sprintf(format, args...), attest.ErrForm)
}

// head takes the initial byte and the argument of an item of that type. Without a
// length (open), the argument is 0.
func (r *reader) head(major byte) (n uint64, open bool, err error) {
	if len(r.b) == 0 {
		return 0, false, errCBOR("cut")
	}
	if got := r.b[0] >> 5; got != major {
		return 0, false, errCBOR("major type %d, want %d", got, major)
	}
	info := r.b[0] & 31
	r.b = r.b[1:]
	switch {
	case info < 24:
		return uint64(info), false, nil
	case info == 31 && (major == majorArray || major == majorMap):
		return 0, true, nil
	case info > 27:
		return 0, false, errCBOR("additional information %d", info)
	}
	size := 1 << (info - 24)
	if len(r.b) < size {
		return 0, false, errCBOR("cut")
	}
	var word [8]byte
	copy(word[8-size:], r.b[:size])
	r.b = r.b[size:]
	n = binary.BigEndian.Uint64(word[:])
	if least := [4]uint64{24, 1 << 8, 1 << 16, 1 << 32}[info-24]; n < least {
		return 0, false, errCBOR("%d is not in the shortest form", n)
	}
	return n, false, nil
}

// uint takes an unsigned number.
func (r *reader) uint() (uint64, error) {
	n, _, err := r.head(majorUint)
	return n, err
}

// sized takes a string of that type and of least to most bytes.
func (r *reader) sized(major byte, least, most int) ([]byte, error) {
	n, _, err := r.head(major)
	if err != nil {
		return nil, err
	}
	if n < uint64(least) || n > uint64(most) || n > uint64(len(r.b)) {
		return nil, errCBOR("string of %d bytes where %d are left, want %d to %d", n, len(r.b), least, most)
	}
	s := r.b[:n:n]
	r.b = r.b[n:]
	return s, nil
}

// bytes takes a byte string of least to most bytes.
func (r *reader) bytes(least, most int) ([]byte, error) { return r.sized(majorBytes, least, most) }

// text takes a text of 1 to most bytes.
func (r *reader) text(most int) (string, error) {
	s, err := r.sized(majorText, 1, most)
	if err == nil && !utf8.Valid(s) {
		err = errCBOR("text that is not UTF-8")
	}
	return string(s), err
}

// optional takes null, which is nil, or a byte string of at most so many bytes, which
// is not.
func (r *reader) optional(most int) ([]byte, error) {
	if len(r.b) > 0 && r.b[0] == null {
		r.b = r.b[1:]
		return nil, nil
	}
	return r.bytes(0, most)
}

// each takes a map or an array of 1 to most entries; take takes one of them.
func (r *reader) each(major byte, most int, take func() error) error {
	n, open, err := r.head(major)
	if err != nil {
		return err
	}
	if !open && (n < 1 || n > uint64(most)) {
		return errCBOR("%d entries, want 1 to %d", n, most)
	}
	for i := 0; open || uint64(i) < n; i++ {
		if open && len(r.b) > 0 && r.b[0] == finish {
			r.b = r.b[1:]
			if i == 0 {
				return errCBOR("no entries, want 1 to %d", most)
			}
			return nil
		}
		if i == most {
			return errCBOR("more than %d entries", most)
		}
		if err := take(); err != nil {
			return err
		}
	}
	return nil
}

// done refuses what is left.
func (r *reader) done() error {
	if len(r.b) > 0 {
		return errCBOR("%d trailing bytes", len(r.b))
	}
	return nil
}

// appendBytes appends a byte string of less than 64 KiB in its shortest form.
func appendBytes(b, s []byte) []byte {
	switch n := len(s); {
	case n < 24:
		b = append(b, majorBytes<<5|byte(n))
	case n < 1<<8:
		b = append(b, majorBytes<<5|24, byte(n))
	default:
		b = binary.BigEndian.AppendUint16(append(b, majorBytes<<5|25), uint16(n))
	}
	return append(b, s...)
}
