package cer

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer/internal/canon"
	"github.com/sworn-run/sworn/internal/limits"
)

// Capsule is the file people keep (SPEC, section 7): the record and everything
// that is needed to check it, one JSON object in RFC 8785 form and one LF.
type Capsule struct {
	// CER is the canonical bytes of the NexArt bundle.
	CER []byte
	// Statement is the exact bytes of the binding statement.
	Statement []byte
	// Signature is the launch key's signature, 64 bytes (Ed25519).
	Signature []byte
	// Inclusion proves that the record is a leaf of the statement's tree.
	Inclusion Inclusion
	// Evidence is what the manifest announced, in slot order.
	Evidence []attest.Evidence
	// Items are the evidence items exactly as carried, in the same order.
	Items [][]byte
	// Log is the event log in CEL-TLV.
	Log []byte
	// Collateral is vendor-signed material.
	Collateral []attest.Collateral
	// Tokens are RFC 3161 time-stamp tokens in DER, in the order in which they were made;
	// none stands twice.
	Tokens [][]byte
}

// Inclusion is an RFC 6962 inclusion proof.
type Inclusion struct {
	// Index is the leaf's index, the record number less the statement's first.
	Index uint64
	// Size is the number of leaves.
	Size uint64
	// Path are the sibling hashes from the leaf up.
	Path [][32]byte
}

// The wire forms: member names and order of nesting as SPEC, section 7 has them.
type (
	wireCapsule struct {
		CER        jsontext.Value   `json:"cer"`
		Statement  string           `json:"statement"`
		Signature  string           `json:"signature"`
		Inclusion  wireInclusion    `json:"inclusion"`
		Evidence   []jsontext.Value `json:"evidence"`
		Log        string           `json:"log"`
		Collateral []wireCollateral `json:"collateral"`
		Tokens     []string         `json:"tokens"`
	}
	wireInclusion struct {
		Index string   `json:"index"`
		Size  string   `json:"size"`
		Path  []string `json:"path"`
	}
	wireEvidence struct {
		Slot   int        `json:"slot"`
		Format int        `json:"format"`
		Parts  []wirePart `json:"parts"`
	}
	wirePart struct {
		Name string `json:"name"`
		Data string `json:"data"`
	}
	wireCollateral struct {
		Kind string `json:"kind"`
		Data string `json:"data"`
	}
)

// Encode returns the capsule file: RFC 8785 bytes and one LF. Items is derived
// from Evidence. The error wraps ErrSchema or ErrStrict.
func (c *Capsule) Encode() ([]byte, error) {
	w := wireCapsule{
		CER: c.CER, Statement: b64(c.Statement), Signature: b64(c.Signature), Log: b64(c.Log),
		Inclusion: wireInclusion{
			Index: fmt.Sprint(c.Inclusion.Index), Size: fmt.Sprint(c.Inclusion.Size), Path: []string{},
		},
		Evidence: []jsontext.Value{}, Collateral: []wireCollateral{}, Tokens: []string{},
	}
	for _, p := range c.Inclusion.Path {
		w.Inclusion.Path = append(w.Inclusion.Path, b64(p[:]))
	}
	for i := range c.Evidence {
		it, err := EncodeEvidence(&c.Evidence[i])
		if err != nil {
			return nil, err
		}
		w.Evidence = append(w.Evidence, it)
	}
	for _, x := range c.Collateral {
		w.Collateral = append(w.Collateral, wireCollateral{x.Kind, b64(x.Data)})
	}
	for _, t := range c.Tokens {
		w.Tokens = append(w.Tokens, b64(t))
	}
	b, err := MarshalCanonical(&w)
	if err != nil {
		return nil, fmt.Errorf("encoding the capsule: %w", err)
	}
	b = append(b, '\n')
	if _, err := ParseCapsule(b); err != nil {
		return nil, fmt.Errorf("encoding the capsule: %w", err)
	}
	return b, nil
}

// EncodeEvidence returns one evidence item as the capsule carries it.
func EncodeEvidence(ev *attest.Evidence) ([]byte, error) {
	w := wireEvidence{Slot: int(ev.Slot), Format: int(ev.Format), Parts: []wirePart{}}
	for _, p := range ev.Parts {
		w.Parts = append(w.Parts, wirePart{p.Name, b64(p.Data)})
	}
	b, err := MarshalCanonical(&w)
	if err != nil {
		return nil, fmt.Errorf("encoding evidence of slot %d: %w", ev.Slot, err)
	}
	return b, nil
}

// signatureSize is the size of a statement's signature in bytes (Ed25519, RFC
// 8032, 5.1.6).
const signatureSize = 64

// ParseCapsule parses a capsule file exactly: its bytes are their own RFC 8785
// form and one LF, its member set is closed at every level outside of cer,
// every bound holds. It judges nothing else: cer is any JSON object, for
// [ParseBundle]. Capsule and error exclude each other; the error wraps
// ErrStrict or ErrSchema.
func ParseCapsule(file []byte) (*Capsule, error) {
	if len(file) > limits.CapsuleFile {
		return nil, fmt.Errorf("capsule of %d bytes, limit %d: %w", len(file), limits.CapsuleFile, ErrStrict)
	}
	body, ok := bytes.CutSuffix(file, []byte("\n"))
	if !ok {
		return nil, fmt.Errorf("capsule does not end in one line feed: %w", ErrStrict)
	}
	if !canon.FewValues(body, limits.CapsuleValues) {
		return nil, fmt.Errorf("capsule of more than %d values: %w", limits.CapsuleValues, ErrSchema)
	}
	var w wireCapsule
	if err := UnmarshalCanonical(body, limits.CapsuleDepth, &w); err != nil {
		return nil, fmt.Errorf("capsule: %w", err)
	}
	if len(w.Evidence) > limits.EvidenceSlots || len(w.Inclusion.Path) > limits.Inclusion ||
		len(w.Collateral) > limits.CollateralItems || len(w.Tokens) > limits.Tokens {
		return nil, fmt.Errorf("capsule has more items than this version carries: %w", ErrSchema)
	}
	if w.CER.Kind() != jsontext.KindBeginObject {
		return nil, fmt.Errorf("capsule member cer is not an object: %w", ErrSchema)
	}
	c := &Capsule{CER: w.CER}
	d := decoder{}
	c.Statement, c.Signature = d.b64(w.Statement, limits.Statement), d.b64(w.Signature, signatureSize)
	c.Log = d.b64(w.Log, limits.Log)
	var err error
	if c.Inclusion, err = w.Inclusion.decode(&d); err != nil {
		return nil, err
	}
	for _, x := range w.Collateral {
		c.Collateral = append(c.Collateral, attest.Collateral{Kind: x.Kind, Data: d.b64(x.Data, limits.CollateralItem)})
	}
	for i, t := range w.Tokens {
		if t == "" || slices.Contains(w.Tokens[:i], t) {
			return nil, fmt.Errorf("token %d is empty or stands twice: %w", i, ErrSchema)
		}
		c.Tokens = append(c.Tokens, d.b64(t, limits.Token))
	}
	for i, raw := range w.Evidence {
		ev, err := parseEvidence(raw, &d)
		if err != nil {
			return nil, fmt.Errorf("evidence item %d: %w", i, err)
		}
		c.Evidence, c.Items = append(c.Evidence, *ev), append(c.Items, raw)
	}
	if d.err != nil {
		return nil, d.err
	}
	return c, nil
}

// ParseEvidence parses one evidence item as a capsule carries it (SPEC, section 7). The
// error wraps ErrStrict or ErrSchema.
func ParseEvidence(item []byte) (*attest.Evidence, error) {
	d := decoder{}
	ev, err := parseEvidence(item, &d)
	if err == nil {
		err = d.err
	}
	if err != nil {
		return nil, fmt.Errorf("evidence item: %w", err)
	}
	return ev, nil
}

// parseEvidence parses one evidence item.
func parseEvidence(raw []byte, d *decoder) (*attest.Evidence, error) {
	var w wireEvidence
	if err := UnmarshalCanonical(raw, limits.CapsuleDepth, &w); err != nil {
		return nil, err
	}
	if w.Slot < 0 || w.Slot > 255 || w.Format < 1 || w.Format > 0xFFFF || len(w.Parts) > limits.EvidenceParts {
		return nil, fmt.Errorf("slot, format or number of parts out of range: %w", ErrSchema)
	}
	ev := &attest.Evidence{Slot: uint8(w.Slot), Format: attest.Format(w.Format)}
	for _, p := range w.Parts {
		ev.Parts = append(ev.Parts, attest.Part{Name: p.Name, Data: d.b64(p.Data, limits.EvidencePart)})
	}
	return ev, nil
}

// decoder decodes strings and keeps the first error.
type decoder struct{ err error }

// b64 decodes unpadded base64url in its one spelling, of at most limit bytes.
func (d *decoder) b64(s string, limit int) []byte {
	if n := base64.RawURLEncoding.DecodedLen(len(s)); n > limit {
		if d.err == nil {
			d.err = fmt.Errorf("base64url of %d bytes, limit %d: %w", n, limit, ErrSchema)
		}
		return nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || b64(b) != s {
		if d.err == nil {
			d.err = fmt.Errorf("base64url: %w", ErrSchema)
		}
		return nil
	}
	return b
}

// uint decodes a decimal u64.
func (d *decoder) uint(s string) uint64 {
	n, err := ParseUint(s)
	if err != nil && d.err == nil {
		d.err = err
	}
	return n
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
