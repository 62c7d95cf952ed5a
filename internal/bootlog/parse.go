package bootlog

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/limits"
)

// The header of a crypto-agile log: a TCG_PCR_EVENT of no action whose data is a
// TCG_EfiSpecIDEvent (PFP, 10.4.5.1).
const (
	signatureAgile = "Spec ID Event03\x00"
	sizeSHA1       = 20
	maxDigest      = 64
)

// reader takes little-endian fields off a byte slice. After the first short read
// it returns zeros and short is set.
type reader struct {
	b     []byte
	short bool
}

// take returns the next n bytes, which alias the input.
func (r *reader) take(n uint64) []byte {
	if uint64(len(r.b)) < n {
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
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if b := r.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// done reports whether everything was there and nothing is left.
func (r *reader) done() bool { return !r.short && len(r.b) == 0 }

// Parse parses a whole log whose indices count registers of the given kind: of at
// most 16 MiB, with at most 65,536 events of 5 algorithms and 1 MiB of data each.
// Bytes after the last event must be padding, all 0x00 or all 0xFF. Whatever it
// accepts, [Log.Marshal] writes back unchanged.
//
// Logs of confidential computing are crypto-agile; a log in the older format is
// refused for them. The error wraps [attest.ErrForm], or [attest.ErrArgument] for
// an unknown kind of register.
func Parse(b []byte, registers Registers) (*Log, error) {
	if _, ok := registers.last(); !ok {
		return nil, fmt.Errorf("parsing a boot log of registers %d: %w", registers, attest.ErrArgument)
	}
	if len(b) == 0 || len(b) > limits.BootLog {
		return nil, fmt.Errorf("boot log of %d bytes, want 1 to %d: %w", len(b), limits.BootLog, attest.ErrForm)
	}
	b = bytes.Clone(b)
	l := &Log{Registers: registers}
	r := reader{b: b}
	if err := l.parseHeader(&r); err != nil {
		return nil, err
	}
	if !l.Agile && registers != PCRs {
		return nil, fmt.Errorf("boot log is not crypto-agile: %w", attest.ErrForm)
	}
	pad := padding(b)
	for len(r.b) > pad {
		if len(l.Events) == limits.BootEvents {
			return nil, fmt.Errorf("boot log of more than %d events: %w", limits.BootEvents, attest.ErrForm)
		}
		e, err := l.parseEvent(&r)
		if err != nil {
			return nil, fmt.Errorf("boot log, event %d: %w", len(l.Events), err)
		}
		l.Events = append(l.Events, e)
	}
	if l.Padding = len(r.b); l.Padding > 0 {
		l.padByte = r.b[0]
	}
	if len(l.Events) == 0 {
		return nil, fmt.Errorf("boot log without events: %w", attest.ErrForm)
	}
	return l, nil
}

// padding returns how many bytes at the end of b are all 0x00 or all 0xFF. Where
// an event ends among them, the rest is padding: no event begins with 12 such
// bytes, because a crypto-agile one has digests and its index is small.
func padding(b []byte) int {
	last := b[len(b)-1]
	if last != 0x00 && last != 0xFF {
		return 0
	}
	n := 0
	for n < len(b) && b[len(b)-1-n] == last {
		n++
	}
	return n
}

// parseHeader reads the first event if it is the header of a crypto-agile log.
// Else nothing is taken: the log is in the older format.
func (l *Log) parseHeader(r *reader) error {
	whole := r.b
	h := *r
	index, kind, digest := h.u32(), h.u32(), h.take(sizeSHA1)
	size := h.u32()
	data := h.take(uint64(size))
	if h.short || kind != NoAction || !bytes.HasPrefix(data, []byte(signatureAgile)) {
		l.Algs = []AlgSize{{attest.SHA1, sizeSHA1}}
		return nil
	}
	if last, _ := l.Registers.last(); index > last || !bytes.Equal(digest, make([]byte, sizeSHA1)) {
		return fmt.Errorf("boot log header of index %d or with a digest: %w", index, attest.ErrForm)
	}
	d := reader{b: data[len(signatureAgile):]}
	// platformClass, then the versions and uintnSize.
	d.take(4 + 4)
	n := d.u32()
	if d.short || n < 1 || n > limits.BootAlgs {
		return fmt.Errorf("boot log header of %d algorithms, want 1 to %d: %w", n, limits.BootAlgs, attest.ErrForm)
	}
	for range n {
		a := AlgSize{attest.Alg(d.u16()), int(d.u16())}
		if a.Size < 1 || a.Size > maxDigest || a.Alg.Known() && a.Size != a.Alg.Size() || l.Has(a.Alg) {
			return fmt.Errorf("boot log header: digests of %v of %d bytes, or twice: %w", a.Alg, a.Size, attest.ErrForm)
		}
		l.Algs = append(l.Algs, a)
	}
	d.take(uint64(d.u8()))
	if !d.done() {
		return fmt.Errorf("boot log header is truncated or has trailing bytes: %w", attest.ErrForm)
	}
	l.Agile = true
	*r = h
	l.header = whole[:len(whole)-len(h.b)]
	return nil
}

// parseEvent reads one event.
func (l *Log) parseEvent(r *reader) (Event, error) {
	e := Event{Index: r.u32(), Type: r.u32()}
	if err := l.parseDigests(r, &e); err != nil {
		return Event{}, err
	}
	size := r.u32()
	if size > limits.BootEventData {
		return Event{}, fmt.Errorf("%d bytes of data, limit %d: %w", size, limits.BootEventData, attest.ErrForm)
	}
	e.Data = r.take(uint64(size))
	if r.short {
		return Event{}, fmt.Errorf("truncated: %w", attest.ErrForm)
	}
	if last, _ := l.Registers.last(); e.Extends() && e.Index > last {
		return Event{}, fmt.Errorf("register %d, the last is %d: %w", e.Index, last, attest.ErrForm)
	}
	return e, nil
}

// parseDigests reads the digests: each algorithm of the header once.
func (l *Log) parseDigests(r *reader, e *Event) error {
	if !l.Agile {
		e.Digests = []Digest{{attest.SHA1, r.take(sizeSHA1)}}
		return nil
	}
	if n := r.u32(); r.short || uint64(n) != uint64(len(l.Algs)) {
		return fmt.Errorf("%d digests, want %d: %w", n, len(l.Algs), attest.ErrForm)
	}
	e.Digests = make([]Digest, 0, len(l.Algs))
	for range l.Algs {
		alg := attest.Alg(r.u16())
		if r.short || !l.Has(alg) || e.Digest(alg) != nil {
			return fmt.Errorf("digest of %v, twice or not in the header: %w", alg, attest.ErrForm)
		}
		for _, a := range l.Algs {
			if a.Alg == alg {
				e.Digests = append(e.Digests, Digest{alg, r.take(uint64(a.Size))})
			}
		}
	}
	return nil
}

// Marshal writes the log as it was received. The error wraps
// [attest.ErrArgument] for a log that does not come from [Parse].
func (l *Log) Marshal() ([]byte, error) {
	if _, ok := l.Registers.last(); !ok || len(l.Events) == 0 {
		return nil, fmt.Errorf("marshalling a boot log that was not parsed: %w", attest.ErrArgument)
	}
	out := bytes.Clone(l.header)
	for i := range l.Events {
		e := &l.Events[i]
		out = binary.LittleEndian.AppendUint32(out, e.Index)
		out = binary.LittleEndian.AppendUint32(out, e.Type)
		if l.Agile {
			out = binary.LittleEndian.AppendUint32(out, uint32(len(e.Digests)))
		}
		for _, d := range e.Digests {
			if l.Agile {
				out = binary.LittleEndian.AppendUint16(out, uint16(d.Alg))
			}
			out = append(out, d.Value...)
		}
		out = binary.LittleEndian.AppendUint32(out, uint32(len(e.Data)))
		out = append(out, e.Data...)
	}
	return append(out, bytes.Repeat([]byte{l.padByte}, l.Padding)...), nil
}
