package attest

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"fmt"
)

// Labels: every digest and signature of Sworn starts with one of these ASCII
// strings and a NUL, so that none can be taken for another (SPEC, section 2).
const (
	labelStatement = "sworn.run/statement/v1\x00\x00"
	labelSignature = "sworn.run/sig/v1\x00"
	labelQuote     = "sworn.run/quote/v1\x00"
	labelEvidence  = "sworn.run/evidence/v1\x00"
	labelLaunch    = "sworn.run/launch/v1\x00"
	labelEvent     = "sworn.run/event/v1\x00"
	labelCounter   = "sworn.run/nv/v1\x00"
)

// Bounds of the statement (SPEC, section 4).
const (
	// MaxStatement is the largest statement in bytes.
	MaxStatement = 4096
	// MinNonce and MaxNonce bound a nonce that is present, in bytes.
	MinNonce = 8
	// MaxNonce is the longest nonce in bytes.
	MaxNonce = 64
	// MaxSlots is the largest number of manifest slots.
	MaxSlots = 8
	// MaxBatch is the largest number of records of one statement.
	MaxBatch = 1 << 20
	// maxRecord is the largest number of a record, an exact double.
	maxRecord = 1 << 53
)

// StatementType is field 2 of a statement.
type StatementType uint8

// The types of statements.
const (
	// TypeRun is the statement of one `sworn run`: one record, sequence 0.
	TypeRun StatementType = 1
	// TypeBatch is a statement over several records of a launch, of which it is not the
	// first statement.
	TypeBatch StatementType = 3
)

// String returns the type as reports spell it.
func (t StatementType) String() string {
	switch t {
	case TypeRun:
		return "run"
	case TypeBatch:
		return "batch"
	default:
		return "unknown"
	}
}

// ClockSource is field 3 of a statement: where the claimed time comes from.
type ClockSource uint8

// ClockHost is the host's clock: a claim and nothing more.
const ClockHost ClockSource = 0

// RegisterDescriptor names the register that anchors the log, and its value
// before the commit of this statement.
type RegisterDescriptor struct {
	// Bank is the bank; SHA-1 is refused.
	Bank Alg
	// Index is the register's number.
	Index uint32
	// Value is the register's value before the commit, the size of Bank.
	Value []byte
}

// Slot is one entry of the manifest: a piece of evidence that must be there.
type Slot struct {
	// Number is the slot's number; slots ascend from 0 without a gap.
	Number uint8
	// Format is the evidence format.
	Format Format
	// Mode is the format's binding mode.
	Mode Mode
	// Anchor is what keeps the log.
	Anchor AnchorKind
	// KeyID is SHA-256 of the AK's Name for a TPM, SHA-256 of REPORT_ID for
	// SEV-SNP, else zeros.
	KeyID [32]byte
	// Register is the anchoring register; nil exactly if Anchor is
	// AnchorStatementOnly.
	Register *RegisterDescriptor
}

// Statement is the binding statement, version 1 (SPEC, section 4): what the
// launch key signs and every quote covers. The zero Statement does not encode.
type Statement struct {
	// Type is the statement's type; this version knows TypeRun and TypeBatch.
	Type StatementType
	// Clock is where Time comes from.
	Clock ClockSource
	// Time is the claimed time in milliseconds since the Unix epoch.
	Time uint64
	// Series is the random id of the series, also in the launch-begin event.
	Series [32]byte
	// Launch is the launch id (see LaunchID).
	Launch [32]byte
	// KeyID is SHA-256 of the launch key's SubjectPublicKeyInfo in DER.
	KeyID [32]byte
	// Sequence numbers the statements of a launch; 0 for TypeRun.
	Sequence uint64
	// Previous is SHA-256 of the previous statement; zeros iff Sequence is 0.
	Previous [32]byte
	// LogSize is the number of events before this statement's own commit.
	LogSize uint64
	// LogRoot is the RFC 6962 root over their digests.
	LogRoot [32]byte
	// FirstRecord is the number of the first record of the batch.
	FirstRecord uint64
	// RecordCount is the number of records; the tree has as many leaves.
	RecordCount uint64
	// TreeRoot is the RFC 6962 root over the 32-byte certificate hashes.
	TreeRoot [32]byte
	// Nonce is the relying party's nonce, 8 to 64 bytes, or nil for none.
	Nonce []byte
	// Body depends on the type; for TypeRun it is empty or a [Counter], else empty.
	Body []byte
	// Manifest lists the evidence that must be there, 1 to 8 slots.
	Manifest []Slot
}

// Encode returns the statement's bytes. The error wraps ErrForm if a field
// breaks a rule of SPEC, section 4.
func (s *Statement) Encode() ([]byte, error) {
	if s == nil {
		return nil, fmt.Errorf("encoding a nil statement: %w", ErrArgument)
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	b := make([]byte, 0, 512)
	b = append(b, labelStatement...)
	b = append(b, byte(s.Type), byte(s.Clock))
	b = binary.BigEndian.AppendUint64(b, s.Time)
	b = append(b, s.Series[:]...)
	b = append(b, s.Launch[:]...)
	b = append(b, s.KeyID[:]...)
	b = binary.BigEndian.AppendUint64(b, s.Sequence)
	b = append(b, s.Previous[:]...)
	b = binary.BigEndian.AppendUint64(b, s.LogSize)
	b = append(b, s.LogRoot[:]...)
	b = binary.BigEndian.AppendUint64(b, s.FirstRecord)
	b = binary.BigEndian.AppendUint64(b, s.RecordCount)
	b = append(b, s.TreeRoot[:]...)
	b = append(b, byte(len(s.Nonce)))
	b = append(b, s.Nonce...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(s.Body)))
	b = append(b, s.Body...)
	b = append(b, byte(len(s.Manifest)))
	for i := range s.Manifest {
		b = s.Manifest[i].append(b)
	}
	if len(b) > MaxStatement {
		return nil, fmt.Errorf("statement of %d bytes, limit %d: %w", len(b), MaxStatement, ErrForm)
	}
	return b, nil
}

// append writes field 16 for one slot.
func (t *Slot) append(b []byte) []byte {
	b = append(b, t.Number)
	b = binary.BigEndian.AppendUint16(b, uint16(t.Format))
	b = append(b, byte(t.Mode), byte(t.Anchor))
	b = append(b, t.KeyID[:]...)
	if t.Register == nil {
		return append(b, 0)
	}
	b = append(b, byte(6+len(t.Register.Value)))
	b = binary.BigEndian.AppendUint16(b, uint16(t.Register.Bank))
	b = binary.BigEndian.AppendUint32(b, t.Register.Index)
	return append(b, t.Register.Value...)
}

// check enforces the rules that hold for encoder and parser alike.
func (s *Statement) check() error {
	if err := s.checkType(); err != nil {
		return err
	}
	switch {
	case s.Clock != ClockHost:
		return fmt.Errorf("clock source %d is not one this version knows: %w", s.Clock, ErrForm)
	case s.Series == [32]byte{} || s.Launch == [32]byte{} || s.KeyID == [32]byte{}:
		return fmt.Errorf("statement without series, launch or key: %w", ErrForm)
	case s.LogSize == 0:
		return fmt.Errorf("statement over an empty log: %w", ErrForm)
	case s.Time == 0 || s.Time > 1<<53:
		return fmt.Errorf("claimed time %d ms out of range: %w", s.Time, ErrForm)
	case len(s.Nonce) != 0 && (len(s.Nonce) < MinNonce || len(s.Nonce) > MaxNonce):
		return fmt.Errorf("nonce of %d bytes, want %d to %d: %w", len(s.Nonce), MinNonce, MaxNonce, ErrForm)
	case len(s.Manifest) < 1 || len(s.Manifest) > MaxSlots:
		return fmt.Errorf("manifest of %d slots, want 1 to %d: %w", len(s.Manifest), MaxSlots, ErrForm)
	}
	for i := range s.Manifest {
		if err := s.Manifest[i].check(i); err != nil {
			return fmt.Errorf("manifest slot %d: %w", i, err)
		}
	}
	return nil
}

// checkType enforces the rules of the statement's type.
func (s *Statement) checkType() error {
	switch s.Type {
	case TypeRun:
		if s.Sequence != 0 || s.Previous != [32]byte{} {
			return fmt.Errorf("a run statement has sequence 0 and no previous: %w", ErrForm)
		}
		if s.FirstRecord != 0 || s.RecordCount != 1 {
			return fmt.Errorf("a run statement holds record 0 and no other: %w", ErrForm)
		}
		if len(s.Body) != 0 {
			_, err := ParseCounter(s.Body)
			return err
		}
		return nil
	case TypeBatch:
		if s.Sequence == 0 || s.Previous == [32]byte{} {
			return fmt.Errorf("a batch statement follows another: %w", ErrForm)
		}
		if s.RecordCount < 1 || s.RecordCount > MaxBatch || s.FirstRecord > maxRecord-s.RecordCount {
			return fmt.Errorf("a batch statement holds 1 to %d records, up to number 2^53-1: %w", MaxBatch, ErrForm)
		}
		if len(s.Body) != 0 {
			return fmt.Errorf("a batch statement with a body: %w", ErrForm)
		}
		return nil
	default:
		return fmt.Errorf("statement type %d is not one this version knows: %w", s.Type, ErrForm)
	}
}

// check enforces the rules of one slot at position i.
func (t *Slot) check(i int) error {
	if int(t.Number) != i {
		return fmt.Errorf("number %d, slots ascend from 0: %w", t.Number, ErrForm)
	}
	if t.Format == 0 {
		return fmt.Errorf("format 0: %w", ErrForm)
	}
	if t.Mode < ModeDirect || t.Mode > ModeSVSM {
		return fmt.Errorf("binding mode %d: %w", t.Mode, ErrForm)
	}
	switch t.Anchor {
	case AnchorStatementOnly:
		if t.Register != nil {
			return fmt.Errorf("a statement-only anchor has no register: %w", ErrForm)
		}
		return nil
	case AnchorRegister:
		r := t.Register
		if r == nil || !r.Bank.Accepted() || len(r.Value) != r.Bank.Size() {
			return fmt.Errorf("register descriptor: %w", ErrForm)
		}
		return nil
	default:
		return fmt.Errorf("anchor %d: %w", t.Anchor, ErrForm)
	}
}

// ParseStatement parses the exact bytes of a statement. Whatever it accepts,
// Encode writes back unchanged; every error wraps ErrForm.
func ParseStatement(b []byte) (*Statement, error) {
	if len(b) > MaxStatement {
		return nil, fmt.Errorf("statement of %d bytes, limit %d: %w", len(b), MaxStatement, ErrForm)
	}
	r := reader{b: b}
	if string(r.take(len(labelStatement))) != labelStatement {
		return nil, fmt.Errorf("statement label: %w", ErrForm)
	}
	s := &Statement{Type: StatementType(r.u8()), Clock: ClockSource(r.u8()), Time: r.u64()}
	s.Series, s.Launch, s.KeyID = r.hash(), r.hash(), r.hash()
	s.Sequence, s.Previous = r.u64(), r.hash()
	s.LogSize, s.LogRoot = r.u64(), r.hash()
	s.FirstRecord, s.RecordCount, s.TreeRoot = r.u64(), r.u64(), r.hash()
	if n := int(r.u8()); n > 0 {
		s.Nonce = bytes.Clone(r.take(n))
	}
	if n := int(r.u16()); n > 0 {
		s.Body = bytes.Clone(r.take(n))
	}
	n := int(r.u8())
	if n < 1 || n > MaxSlots {
		return nil, fmt.Errorf("manifest of %d slots, want 1 to %d: %w", n, MaxSlots, ErrForm)
	}
	for range n {
		s.Manifest = append(s.Manifest, readSlot(&r))
	}
	if r.short || len(r.b) != 0 {
		return nil, fmt.Errorf("statement is truncated or has trailing bytes: %w", ErrForm)
	}
	out, err := s.Encode()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(out, b) {
		return nil, fmt.Errorf("statement does not re-encode to itself: %w", ErrForm)
	}
	return s, nil
}

// readSlot reads field 16 of one slot; the caller checks r.short.
func readSlot(r *reader) Slot {
	t := Slot{Number: r.u8(), Format: Format(r.u16()), Mode: Mode(r.u8()), Anchor: AnchorKind(r.u8()), KeyID: r.hash()}
	n := int(r.u8())
	if n == 0 {
		return t
	}
	d := reader{b: r.take(n)}
	reg := &RegisterDescriptor{Bank: Alg(d.u16()), Index: d.u32()}
	reg.Value = bytes.Clone(d.b)
	r.short = r.short || d.short
	t.Register = reg
	return t
}

// SignedBytes returns what the launch key signs for the given statement bytes.
func SignedBytes(statement []byte) []byte {
	return append([]byte(labelSignature), statement...)
}

// Quoted returns the data that the quote of one slot must carry over the given
// statement bytes: 32 bytes of SHA-256 for alg SHA256 (TPM extraData), 64
// bytes of SHA-512 for alg SHA512 (report data). It returns nil for any other.
func Quoted(alg Alg, slot uint8, format Format, statement []byte) []byte {
	p := append([]byte(labelQuote), slot, byte(format>>8), byte(format))
	p = append(p, statement...)
	switch alg {
	case SHA256:
		h := sha256.Sum256(p)
		return h[:]
	case SHA512:
		h := sha512.Sum512(p)
		return h[:]
	default:
		return nil
	}
}

// EvidenceDigest returns E, which time tokens cover (SPEC, section 6): over the
// statement, its signature and every evidence item exactly as the capsule
// carries it, in slot order. It covers signature values, because a token over
// a statement alone would prove no signature's age.
func EvidenceDigest(statement, signature []byte, items [][]byte) [32]byte {
	st, sig := sha256.Sum256(statement), sha256.Sum256(signature)
	p := append([]byte(labelEvidence), st[:]...)
	p = append(p, sig[:]...)
	p = binary.BigEndian.AppendUint16(p, uint16(len(items)))
	for _, it := range items {
		h := sha256.Sum256(it)
		p = append(p, h[:]...)
	}
	return sha256.Sum256(p)
}

// reader takes big-endian fields off a byte slice. After the first short read
// it returns zeros and short is set.
type reader struct {
	b     []byte
	short bool
}

func (r *reader) take(n int) []byte {
	if n < 0 || len(r.b) < n {
		r.short, r.b = true, nil
		return nil
	}
	out := r.b[:n]
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

func (r *reader) hash() (h [32]byte) {
	copy(h[:], r.take(32))
	return h
}
