package tpm

import "encoding/binary"

// reader takes big-endian fields off a byte slice, as TPM 2.0 structures are
// marshalled (Part 2, 4.10). After the first short read it returns zeros and
// short is set; the caller asks done once, at the end.
type reader struct {
	b     []byte
	short bool
}

// take returns the next n bytes, which alias the input.
func (r *reader) take(n int) []byte {
	if n < 0 || len(r.b) < n {
		r.short, r.b = true, nil
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) u8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// sized returns the content of a TPM2B of at most limit bytes.
func (r *reader) sized(limit int) []byte {
	n := int(r.u16())
	if n > limit {
		r.short, r.b = true, nil
		return nil
	}
	return r.take(n)
}

// done reports whether everything was there and nothing is left.
func (r *reader) done() bool { return !r.short && len(r.b) == 0 }

// appendSized appends b as a TPM2B; b is at most 64 KiB.
func appendSized(out, b []byte) []byte {
	out = binary.BigEndian.AppendUint16(out, uint16(len(b)))
	return append(out, b...)
}
