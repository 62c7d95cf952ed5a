package cer

import (
	"bytes"
	"crypto/sha256"
	"fmt"

	"github.com/sworn-run/sworn/cer/internal/canon"
	"github.com/sworn-run/sworn/internal/limits"
)

// Shared is what the capsules of one statement have in common: everything but the
// record and its inclusion proof. It is immutable, and may be used by several
// goroutines at a time.
type Shared struct {
	capsule Capsule // without record and inclusion
	// before and after are the capsule file's text around the inclusion proof.
	before, after []byte
	values        int
	digest        [32]byte
}

// What the text of a capsule file begins with, and what stands for an inclusion proof
// where there is none yet.
const (
	beforeRecord = `{"cer":`
	noRecord     = `{}`
	noInclusion  = `{"index":"0","path":[],"size":"0"}`
)

// Shared returns what the capsule shares with others of its statement. The error wraps
// ErrStrict or ErrSchema, as that of [Capsule.Encode].
func (c *Capsule) Shared() (*Shared, error) {
	rest := *c
	rest.CER, rest.Inclusion = []byte(noRecord), Inclusion{}
	file, err := rest.Encode()
	if err != nil {
		return nil, err
	}
	_, _, before, after, err := splitCapsule(file)
	if err != nil {
		return nil, err
	}
	return newShared(before, after)
}

// newShared parses the texts that stand around an inclusion proof in a capsule file.
func newShared(before, after []byte) (*Shared, error) {
	s := &Shared{before: bytes.Clone(before), after: bytes.Clone(after)}
	file := s.AppendFile(nil, []byte(noRecord), []byte(noInclusion))
	c, err := ParseCapsule(file)
	if err != nil {
		return nil, err
	}
	s.capsule = *c
	s.capsule.CER, s.capsule.Inclusion = nil, Inclusion{}
	s.digest = sha256.Sum256(append(append(bytes.Clone(before), 0), after...))
	s.values = canon.Values(file) - canon.Values([]byte(noInclusion))
	return s, nil
}

// Split takes a capsule file apart: its record, its inclusion proof, both as they
// stand in the file, and what it shares with others. [Shared.AppendFile] puts them
// together again. It accepts what [ParseCapsule] accepts; the error wraps ErrStrict or
// ErrSchema.
//
// The texts around the inclusion proof of the capsule before are as good a name for
// what is shared as any: known is such a Shared, or nil, and is returned again if the
// file has the same.
func Split(file []byte, known *Shared) (record, inclusion []byte, s *Shared, err error) {
	record, inclusion, before, after, err := splitCapsule(file)
	if err != nil {
		return nil, nil, nil, err
	}
	s = known
	if s == nil || !bytes.Equal(s.before, before) || !bytes.Equal(s.after, after) {
		if s, err = newShared(before, after); err != nil {
			return nil, nil, nil, err
		}
	}
	if _, err := s.Capsule(record, inclusion); err != nil {
		return nil, nil, nil, err
	}
	return record, inclusion, s, nil
}

// splitCapsule finds record and inclusion proof in the file of a capsule.
func splitCapsule(file []byte) (record, inclusion, before, after []byte, err error) {
	if len(file) > limits.CapsuleFile {
		return nil, nil, nil, nil, fmt.Errorf("capsule of %d bytes, limit %d: %w", len(file), limits.CapsuleFile, ErrStrict)
	}
	body, ok := bytes.CutSuffix(file, []byte("\n"))
	if !ok {
		return nil, nil, nil, nil, fmt.Errorf("capsule does not end in one line feed: %w", ErrStrict)
	}
	if !canon.FewValues(body, limits.CapsuleValues) {
		return nil, nil, nil, nil, fmt.Errorf("capsule of more than %d values: %w", limits.CapsuleValues, ErrSchema)
	}
	var d canon.Doc
	if err := d.Read(body, limits.CapsuleDepth, true, 1); err != nil {
		return nil, nil, nil, nil, fmt.Errorf("capsule: %w", err)
	}
	if !d.Exact() {
		return nil, nil, nil, nil, fmt.Errorf("capsule: %w: not in canonical form (RFC 8785)", ErrStrict)
	}
	r, i := d.Root().Get("cer"), d.Root().Get("inclusion")
	if r.Kind() != '{' || i.Kind() != '{' || r.Offset() != len(beforeRecord) {
		return nil, nil, nil, nil, fmt.Errorf("capsule without record or inclusion: %w", ErrSchema)
	}
	record, inclusion = r.Raw(), i.Raw()
	end := i.Offset() + len(inclusion)
	return record, inclusion, file[r.Offset()+len(record) : i.Offset()], file[end:], nil
}

// AppendFile appends the file of the capsule that has this record and this inclusion
// proof, each as it stands in a capsule file.
func (s *Shared) AppendFile(dst, record, inclusion []byte) []byte {
	dst = append(append(dst, beforeRecord...), record...)
	dst = append(append(dst, s.before...), inclusion...)
	return append(dst, s.after...)
}

// Size returns the size in bytes of the file that [Shared.AppendFile] appends.
func (s *Shared) Size(record, inclusion []byte) int {
	return len(beforeRecord) + len(record) + len(s.before) + len(inclusion) + len(s.after)
}

// Capsule returns the capsule that has this record and this inclusion proof, as
// [ParseCapsule] returns it of the file that [Shared.AppendFile] makes; it shares
// memory with s and record, and must not be changed. Capsule and error exclude each
// other; the error wraps ErrStrict or ErrSchema.
func (s *Shared) Capsule(record, inclusion []byte) (*Capsule, error) {
	if n := s.Size(record, inclusion); n > limits.CapsuleFile {
		return nil, fmt.Errorf("capsule of %d bytes, limit %d: %w", n, limits.CapsuleFile, ErrStrict)
	}
	if s.values+canon.Values(record)+canon.Values(inclusion) > limits.CapsuleValues {
		return nil, fmt.Errorf("capsule of more than %d values: %w", limits.CapsuleValues, ErrSchema)
	}
	if err := checkCanonical(record, limits.CapsuleDepth-1); err != nil {
		return nil, fmt.Errorf("capsule: %w", err)
	}
	if record[0] != '{' {
		return nil, fmt.Errorf("capsule member cer is not an object: %w", ErrSchema)
	}
	c := s.capsule
	c.CER = record
	if err := c.readInclusion(inclusion); err != nil {
		return nil, err
	}
	return &c, nil
}

// Digest identifies what is shared. It is for those who remember: no document knows it.
func (s *Shared) Digest() [32]byte { return s.digest }

// Empty returns the capsule without record and inclusion proof. It must not be changed.
func (s *Shared) Empty() *Capsule {
	c := s.capsule
	return &c
}

// readInclusion reads an inclusion proof as it stands in a capsule file.
func (c *Capsule) readInclusion(text []byte) error {
	var w wireInclusion
	if !scanInclusion(text, &w) {
		if err := UnmarshalCanonical(text, limits.CapsuleDepth-1, &w); err != nil {
			return fmt.Errorf("inclusion: %w", err)
		}
	}
	if len(w.Path) > limits.Inclusion {
		return fmt.Errorf("inclusion path of %d nodes, at most %d: %w", len(w.Path), limits.Inclusion, ErrSchema)
	}
	d := decoder{}
	in, err := w.decode(&d)
	if err == nil {
		err = d.err
	}
	if err != nil {
		return err
	}
	c.Inclusion = in
	return nil
}

// Encode returns the inclusion proof as a capsule file has it.
func (in *Inclusion) Encode() ([]byte, error) {
	w := wireInclusion{Index: fmt.Sprint(in.Index), Size: fmt.Sprint(in.Size), Path: []string{}}
	for _, p := range in.Path {
		w.Path = append(w.Path, b64(p[:]))
	}
	return MarshalCanonical(&w)
}

// decode decodes an inclusion proof.
func (w *wireInclusion) decode(d *decoder) (Inclusion, error) {
	in := Inclusion{Index: d.uint(w.Index), Size: d.uint(w.Size)}
	for _, p := range w.Path {
		h := d.b64(p, 32)
		if len(h) != 32 {
			return Inclusion{}, fmt.Errorf("inclusion path: %w", ErrSchema)
		}
		in.Path = append(in.Path, [32]byte(h))
	}
	return in, nil
}
