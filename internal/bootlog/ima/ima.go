// Package ima reads the list of files that the Linux kernel measured while it ran
// (IMA), and finds out how much of it a quote confirms.
//
// It is the binary list of securityfs, in the templates ima-ng, ima-sig and ima-buf;
// entries of other templates are replayed and not interpreted. An entry's template
// data is what the kernel hashes and extends, so that all of an entry is covered,
// once [List.Confirmed] finds it in the quoted register.
//
// Only the bank of SHA-256 is replayed: a kernel that has no other hash at hand
// extends the other banks with a SHA-1 padded with zeros, which proves nothing.
package ima

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/limits"
)

const (
	// Register is the PCR that the kernel extends, unless it was built for
	// another one.
	Register = 10

	// Aggregate is the path of the first entry: no file, but a digest of the
	// registers that the firmware extended.
	Aggregate = "boot_aggregate"

	bank     = attest.SHA256
	sizeSHA1 = 20
	lastPCR  = 23
)

// List is a parsed list, in the order received.
type List struct {
	// Entries is never empty.
	Entries []Entry
}

// Entry is one entry. Its slices alias the list's one copy of what was received.
type Entry struct {
	// Index is the register, 0 to 23.
	Index uint32
	// Template is the name of the format of Data.
	Template string
	// Data is the template data, at most 1 MiB: what the register's digest is of.
	Data []byte
	// Violation is true if the file was written to while it was measured: the
	// kernel then extends 0xFF bytes, and nothing below is known to be so.
	Violation bool

	// The following are set for the templates ima-ng, ima-sig and ima-buf.

	// Alg names the hash of the file, such as "sha256".
	Alg string
	// Digest is the digest of the file, or of the buffer.
	Digest []byte
	// Path is the file as the process named it, or what the buffer is. It is
	// any bytes but NUL.
	Path string
	// Signature is the file's extended attribute, empty if there was none.
	// Nobody has verified it here.
	Signature []byte
	// Buffer is what was measured, for ima-buf.
	Buffer []byte

	sha1 []byte
}

// reader takes fields off a byte slice, little-endian as the kernels write them
// that Sworn runs on. After the first short read it returns zeros.
type reader struct {
	b     []byte
	short bool
}

func (r *reader) take(n uint32) []byte {
	if uint64(len(r.b)) < uint64(n) {
		r.short, r.b = true, nil
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

// field returns a field of template data: a length and that many bytes.
func (r *reader) field() []byte { return r.take(r.u32()) }

// Parse parses a whole list, as read from binary_runtime_measurements: of at most
// 16 MiB, 131,072 entries of 1 MiB each. Each entry's SHA-1 must be that of its data,
// or zeros for a violation. Whatever it accepts, [List.Marshal] writes back
// unchanged; every error wraps [attest.ErrForm].
func Parse(b []byte) (*List, error) {
	if len(b) == 0 || len(b) > limits.BootLog {
		return nil, fmt.Errorf("ima list of %d bytes, want 1 to %d: %w", len(b), limits.BootLog, attest.ErrForm)
	}
	r := reader{b: bytes.Clone(b)}
	l := &List{}
	for len(r.b) > 0 {
		if len(l.Entries) == limits.IMAEntries {
			return nil, fmt.Errorf("ima list of more than %d entries: %w", limits.IMAEntries, attest.ErrForm)
		}
		e, err := parseEntry(&r)
		if err != nil {
			return nil, fmt.Errorf("ima list, entry %d: %w", len(l.Entries), err)
		}
		l.Entries = append(l.Entries, e)
	}
	return l, nil
}

// parseEntry reads one entry.
func parseEntry(r *reader) (Entry, error) {
	e := Entry{Index: r.u32(), sha1: r.take(sizeSHA1)}
	name := r.u32()
	if r.short || e.Index > lastPCR || name < 1 || name > limits.IMAName {
		return Entry{}, fmt.Errorf("register %d, template name of %d bytes: %w", e.Index, name, attest.ErrForm)
	}
	e.Template = string(r.take(name))
	size := r.u32()
	if size > limits.BootEventData {
		return Entry{}, fmt.Errorf("%d bytes of data, limit %d: %w", size, limits.BootEventData, attest.ErrForm)
	}
	e.Data = r.take(size)
	if r.short {
		return Entry{}, fmt.Errorf("truncated: %w", attest.ErrForm)
	}
	// The first template, of 2005, has another form of data.
	if e.Template == "ima" || strings.ContainsFunc(e.Template, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return Entry{}, fmt.Errorf("template %q: %w", e.Template, attest.ErrForm)
	}
	e.Violation = bytes.Equal(e.sha1, make([]byte, sizeSHA1))
	if !e.Violation && !bytes.Equal(e.sha1, attest.SHA1.Sum(e.Data)) {
		return Entry{}, fmt.Errorf("template digest is not that of the data: %w", attest.ErrForm)
	}
	if err := e.interpret(); err != nil {
		return Entry{}, err
	}
	return e, nil
}

// interpret reads the template data of the templates that are known.
func (e *Entry) interpret() error {
	r := reader{b: e.Data}
	var digest, name []byte
	switch e.Template {
	case "ima-ng":
		digest, name = r.field(), r.field()
	case "ima-sig":
		digest, name, e.Signature = r.field(), r.field(), r.field()
	case "ima-buf":
		digest, name, e.Buffer = r.field(), r.field(), r.field()
	default:
		return nil
	}
	alg, value, ok := bytes.Cut(digest, []byte(":\x00"))
	path, ended := bytes.CutSuffix(name, []byte{0})
	if r.short || len(r.b) != 0 || !ok || !ended || len(alg) == 0 || bytes.IndexByte(path, 0) >= 0 {
		return fmt.Errorf("data is not of template %s: %w", e.Template, attest.ErrForm)
	}
	e.Alg, e.Digest, e.Path = string(alg), value, string(path)
	if a, err := attest.ParseAlg(e.Alg); err == nil && len(value) != a.Size() {
		return fmt.Errorf("digest of %d bytes for %s: %w", len(value), e.Alg, attest.ErrForm)
	}
	return nil
}

// Marshal writes the list as it was received.
func (l *List) Marshal() []byte {
	var out []byte
	for i := range l.Entries {
		e := &l.Entries[i]
		out = binary.LittleEndian.AppendUint32(out, e.Index)
		out = append(out, e.sha1...)
		out = binary.LittleEndian.AppendUint32(out, uint32(len(e.Template)))
		out = append(out, e.Template...)
		out = binary.LittleEndian.AppendUint32(out, uint32(len(e.Data)))
		out = append(out, e.Data...)
	}
	return out
}

// Extended returns what the kernel extends the bank of SHA-256 with, 32 bytes.
func (e *Entry) Extended() []byte {
	if e.Violation {
		return bytes.Repeat([]byte{0xFF}, bank.Size())
	}
	return bank.Sum(e.Data)
}

// Confirmed returns how many entries of the list a quoted value of a register in the
// bank of SHA-256 confirms, counted over all entries: the longest beginning of the
// list that gives it. A list read after the quote is longer than what the quote
// covers; what is beyond proves nothing, nor do entries of other registers. The error
// wraps [attest.ErrArgument] for a register above 23 or a value that is not 32 bytes.
//
// Zero entries are confirmed by a register that nothing extended, and where no
// beginning gives the value: a list that was shortened at its front, or of another
// boot.
func (l *List) Confirmed(index uint32, quoted []byte) (int, error) {
	if index > lastPCR || len(quoted) != bank.Size() {
		return 0, fmt.Errorf("an ima list against %d bytes of register %d: %w", len(quoted), index, attest.ErrArgument)
	}
	n := 0
	value := make([]byte, bank.Size())
	for i := range l.Entries {
		e := &l.Entries[i]
		if e.Index != index {
			continue
		}
		if value = bank.Sum(value, e.Extended()); bytes.Equal(value, quoted) {
			n = i + 1
		}
	}
	return n, nil
}

// CheckAggregate reports whether the first entry is the digest of the quoted
// registers 0 to 9 in the bank of SHA-256, given in order: that the list belongs to
// the boot that the quote is of. Kernels before 5.8 take registers 0 to 7. False for
// a list that begins with anything else, in another hash, or with a violation, and for
// registers of another number or size.
func (l *List) CheckAggregate(registers [][]byte) bool {
	if len(l.Entries) == 0 || len(registers) != 10 {
		return false
	}
	for _, r := range registers {
		if len(r) != bank.Size() {
			return false
		}
	}
	e := &l.Entries[0]
	if e.Path != Aggregate || e.Alg != bank.String() || e.Violation {
		return false
	}
	return bytes.Equal(e.Digest, bank.Sum(registers...)) || bytes.Equal(e.Digest, bank.Sum(registers[:8]...))
}
