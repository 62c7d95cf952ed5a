package cer

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sworn-run/sworn/cer/internal/canon"
	"github.com/sworn-run/sworn/internal/limits"
)

// OpeningType is the type and version of an opening file.
const OpeningType = "sworn.opening/v1"

// ErrOpening is an opening that does not open the record: it is of another one, names
// a field that the record does not commit to, or has not the value and salt that were
// committed to.
var ErrOpening = errors.New("the opening does not open the record")

// Opening is what opens commitments of one record: the salts, and the values. Whoever
// has it knows the values; whoever has the record alone does not.
type Opening struct {
	// Type is OpeningType.
	Type string `json:"type"`
	// CertificateHash names the record, "sha256:<hex>".
	CertificateHash string `json:"certificateHash"`
	// Fields are the fields opened, at least one and at most 1,024, in ascending order
	// of their names.
	Fields []OpenField `json:"fields"`
}

// OpenField opens one field.
type OpenField struct {
	// Name is the field: FieldInput, FieldOutput, FieldStderr, or ParameterField of a
	// parameter's name.
	Name string `json:"name"`
	// Salt is the commitment's salt, 64 hexadecimal digits.
	Salt string `json:"salt"`
	// Stream is digest, size and completeness of a stream, with its bytes as Content
	// where the opening carries them; nil for a parameter.
	Stream *Stream `json:"stream,omitzero"`
	// Value is the value of a parameter, at most 64 KiB; nil for a stream.
	Value *string `json:"value,omitzero"`
}

// Bytes returns the value that the field's commitment is over. The error wraps
// ErrSchema.
func (f *OpenField) Bytes() ([]byte, error) {
	if f.Stream != nil {
		return StreamBytes(*f.Stream)
	}
	if f.Value == nil {
		return nil, fmt.Errorf("field %q without a value: %w", f.Name, ErrSchema)
	}
	return []byte(*f.Value), nil
}

// check checks one field by itself.
func (f *OpenField) check() error {
	bad := func(what string) error { return fmt.Errorf("field %q: %s: %w", f.Name, what, ErrSchema) }
	if err := checkHex32(f.Salt); err != nil {
		return fmt.Errorf("field %q: salt: %w", f.Name, err)
	}
	if f.Name != FieldInput && f.Name != FieldOutput && f.Name != FieldStderr {
		_, ok := FieldParameter(f.Name)
		switch {
		case !ok || len(f.Name) > maxFieldName:
			return bad("no such field")
		case f.Value == nil || f.Stream != nil:
			return bad("a parameter has a value and no stream")
		case len(*f.Value) > limits.ParameterValue:
			return bad("the value is too long")
		}
		return nil
	}
	if f.Stream == nil || f.Value != nil {
		return bad("a stream has digest and size, and no value")
	}
	if err := f.Stream.checkPlain(); err != nil {
		return fmt.Errorf("field %q: %w", f.Name, err)
	}
	if f.Stream.Content == nil {
		return nil
	}
	if _, carried, err := Content(f.Stream.Content); err != nil || !carried {
		return bad("content that carries nothing")
	}
	if err := CheckContent(f.Stream.Content, *f.Stream, DiscloseFull); err != nil {
		return fmt.Errorf("field %q: %w", f.Name, err)
	}
	return nil
}

func (o *Opening) check() error {
	if o.Type != OpeningType {
		return fmt.Errorf("opening of type %q: %w", o.Type, ErrSchema)
	}
	if err := CheckDigest(o.CertificateHash); err != nil {
		return fmt.Errorf("opening: %w", err)
	}
	if len(o.Fields) == 0 || len(o.Fields) > limits.OpeningFields {
		return fmt.Errorf("opening of %d fields, want 1 to %d: %w", len(o.Fields), limits.OpeningFields, ErrSchema)
	}
	for i := range o.Fields {
		if i > 0 && o.Fields[i-1].Name >= o.Fields[i].Name {
			return fmt.Errorf("opening: fields are not in ascending order: %w", ErrSchema)
		}
		if err := o.Fields[i].check(); err != nil {
			return fmt.Errorf("opening: %w", err)
		}
	}
	return nil
}

// Encode returns the opening file: canonical JSON and one line feed, at most 64 MiB.
// The error wraps ErrSchema, ErrStrict or ErrHash.
func (o *Opening) Encode() ([]byte, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	b, err := marshalCanonical(o, eventDepth)
	if err != nil {
		return nil, err
	}
	if len(b) >= limits.OpeningFile {
		return nil, fmt.Errorf("opening of %d bytes, limit %d: %w", len(b)+1, limits.OpeningFile, ErrSchema)
	}
	return append(b, '\n'), nil
}

// ParseOpening parses an opening file. Whatever it accepts, Encode writes back
// unchanged. It says what the file states, not that it is true: [Opening.Check]. The
// error wraps ErrStrict, ErrSchema or ErrHash, the last for content that has not its
// digest.
func ParseOpening(file []byte) (*Opening, error) {
	if len(file) > limits.OpeningFile {
		return nil, fmt.Errorf("opening of %d bytes, limit %d: %w", len(file), limits.OpeningFile, ErrStrict)
	}
	b, ok := bytes.CutSuffix(file, []byte("\n"))
	if !ok {
		return nil, fmt.Errorf("opening without its line feed: %w", ErrStrict)
	}
	if !canon.FewValues(b, limits.OpeningValues) {
		return nil, fmt.Errorf("opening with more than %d commas and colons: %w", limits.OpeningValues, ErrStrict)
	}
	o := new(Opening)
	if err := UnmarshalCanonical(b, eventDepth, o); err != nil {
		return nil, fmt.Errorf("opening: %w", err)
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	return o, nil
}

// Field returns the field with the given name; nil if the opening has it not.
func (o *Opening) Field(name string) *OpenField {
	for i := range o.Fields {
		if o.Fields[i].Name == name {
			return &o.Fields[i]
		}
	}
	return nil
}

// Names returns the names of the fields in their order.
func (o *Opening) Names() []string {
	var out []string
	for i := range o.Fields {
		out = append(out, o.Fields[i].Name)
	}
	return out
}

// Check checks that the opening is of the record with that certificateHash and
// runtime, and that every field in it is what the record commits to. The error wraps
// ErrOpening and names the field.
func (o *Opening) Check(certificateHash string, r *Runtime) error {
	if !r.Committed() {
		return fmt.Errorf("%w: the record states its fields, and commits to none", ErrOpening)
	}
	if o.CertificateHash != certificateHash {
		return fmt.Errorf("%w: it is of the record %s, and this is %s", ErrOpening, o.CertificateHash, certificateHash)
	}
	series, err := hex.DecodeString(r.Series)
	if err != nil || len(series) != 32 {
		return fmt.Errorf("%w: the record has no series", ErrOpening)
	}
	for i := range o.Fields {
		f := &o.Fields[i]
		want, ok := r.Commitment(f.Name)
		if !ok {
			return fmt.Errorf("%w: the record does not commit to %q", ErrOpening, f.Name)
		}
		value, err := f.Bytes()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrOpening, err)
		}
		salt, err := hex.DecodeString(f.Salt)
		if err != nil || len(salt) != 32 {
			return fmt.Errorf("%w: %q has no salt", ErrOpening, f.Name)
		}
		if Commit([32]byte(series), [32]byte(salt), f.Name, value) != want {
			return fmt.Errorf("%w: %q is not what was committed to", ErrOpening, f.Name)
		}
	}
	return nil
}

// Only returns the opening with the named fields alone, with the bytes of streams
// only if content is true. The error wraps ErrOpening and names a field that is not
// there.
func (o *Opening) Only(names []string, content bool) (*Opening, error) {
	wanted := make(map[string]bool, len(names))
	for _, name := range names {
		if o.Field(name) == nil {
			return nil, fmt.Errorf("%w: it has no field %q", ErrOpening, name)
		}
		wanted[name] = true
	}
	out := &Opening{Type: o.Type, CertificateHash: o.CertificateHash}
	for _, f := range o.Fields {
		if !wanted[f.Name] {
			continue
		}
		if f.Stream != nil && !content {
			s := *f.Stream
			s.Content = nil
			f.Stream = &s
		}
		out.Fields = append(out.Fields, f)
	}
	slices.SortFunc(out.Fields, func(a, b OpenField) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}
