package signer

import (
	"encoding/binary"
	"fmt"
	"math/big"
)

// reader reads SSH's data types (RFC 4251, section 5), and keeps the first failure.
type reader struct {
	b   []byte
	bad bool
}

// take returns the next n bytes.
func (r *reader) take(n int) []byte {
	if r.bad || n < 0 || n > len(r.b) {
		r.bad = true
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

// uint32 reads a number.
func (r *reader) uint32() uint32 {
	b := r.take(4)
	if r.bad {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}

// string reads a string; its length is bounded by what is there.
func (r *reader) string() []byte {
	n := r.uint32()
	if r.bad || uint64(n) > uint64(len(r.b)) {
		r.bad = true
		return nil
	}
	return r.take(int(n))
}

// mpint reads a positive number in its shortest form.
func (r *reader) mpint() *big.Int {
	b := r.string()
	switch {
	case r.bad || len(b) == 0 || b[0]&0x80 != 0, b[0] == 0 && (len(b) == 1 || b[1]&0x80 == 0):
		r.bad = true
		return new(big.Int)
	}
	return new(big.Int).SetBytes(b)
}

// end reports an error unless everything was read, exactly.
func (r *reader) end(what string) error {
	if r.bad || len(r.b) != 0 {
		return fmt.Errorf("%w: %s does not parse", ErrForm, what)
	}
	return nil
}

// appendString appends a string as SSH has it.
func appendString[T ~string | ~[]byte](dst []byte, s T) []byte {
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(s))), s...)
}

// appendMpint appends a positive number as SSH has it.
func appendMpint(dst []byte, n *big.Int) []byte {
	b := n.Bytes()
	if len(b) > 0 && b[0]&0x80 != 0 {
		b = append([]byte{0}, b...)
	}
	return appendString(dst, b)
}
