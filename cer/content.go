package cer

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// mediaType is the media type of every descriptor: Sworn does not guess.
const mediaType = "application/octet-stream"

// descriptor stands for content that is not carried as a string.
type descriptor struct {
	Base64    *string `json:"base64,omitzero"`
	MediaType string  `json:"mediaType"`
	SHA256    string  `json:"sha256"`
	Size      string  `json:"size"`
}

// NewStream returns what a record says of a stream.
func NewStream(sum [32]byte, size uint64, complete bool) Stream {
	return Stream{SHA256: hex.EncodeToString(sum[:]), Size: strconv.FormatUint(size, 10), Complete: complete}
}

// ContentHash returns the canonical JSON of a descriptor for a stream whose
// bytes the record does not carry. The error wraps ErrSchema.
func ContentHash(s Stream) (jsontext.Value, error) {
	return MarshalCanonical(&descriptor{MediaType: mediaType, SHA256: s.SHA256, Size: s.Size})
}

// ContentFull returns the canonical JSON of content carried whole: a string
// where it is UTF-8, else a descriptor with base64. The error wraps ErrSchema or
// ErrStrict.
func ContentFull(content []byte) (jsontext.Value, error) {
	if utf8.Valid(content) {
		return MarshalCanonical(string(content))
	}
	sum := sha256.Sum256(content)
	enc := base64.StdEncoding.EncodeToString(content)
	s := NewStream(sum, uint64(len(content)), true)
	return MarshalCanonical(&descriptor{Base64: &enc, MediaType: mediaType, SHA256: s.SHA256, Size: s.Size})
}

// Raw returns the value as canonical JSON: a JSON string or the object. The
// error wraps ErrStrict.
func (v Value) Raw() (jsontext.Value, error) {
	if s, ok := v.Text(); ok {
		return MarshalCanonical(s)
	}
	return v.Object(), nil
}

// RawToValue returns a JSON string or object as a Value. The error wraps
// ErrSchema or ErrStrict.
func RawToValue(raw jsontext.Value) (Value, error) {
	if raw.Kind() != '"' {
		return ObjectValue(raw)
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return Value{}, fmt.Errorf("content: %w", ErrStrict)
	}
	return TextValue(s)
}

// Content returns the bytes that a content value carries, and whether it
// carries any. The error wraps ErrStrict or ErrSchema.
func Content(v jsontext.Value) ([]byte, bool, error) {
	if v.Kind() == '"' {
		var s string
		if err := json.Unmarshal(v, &s); err != nil {
			return nil, false, fmt.Errorf("content: %w", ErrStrict)
		}
		return []byte(s), true, nil
	}
	var d descriptor
	if err := UnmarshalCanonical(v, eventDepth, &d); err != nil {
		return nil, false, fmt.Errorf("content: %w", err)
	}
	if d.Base64 == nil {
		return nil, false, nil
	}
	b, err := base64.StdEncoding.Strict().DecodeString(*d.Base64)
	if err != nil || base64.StdEncoding.EncodeToString(b) != *d.Base64 {
		return nil, false, fmt.Errorf("content base64: %w", ErrSchema)
	}
	return b, true, nil
}

// describedBy reports whether a content value is the descriptor of a stream that is not
// carried, in its one form.
func (s *Stream) describedBy(v jsontext.Value) bool {
	if checkHex32(s.SHA256) != nil {
		return false
	}
	if _, err := ParseUint(s.Size); err != nil {
		return false
	}
	return string(v) == `{"mediaType":"`+mediaType+`","sha256":"`+s.SHA256+`","size":"`+s.Size+`"}`
}

// CheckContent checks that a content value is what the stream says and no more
// than the disclosure allows. The error wraps ErrStrict, ErrSchema or ErrHash.
func CheckContent(v jsontext.Value, s Stream, disclosure string) error {
	if (disclosure == DiscloseHash || disclosure == DiscloseFull) && s.describedBy(v) {
		return nil
	}
	b, carried, err := Content(v)
	if err != nil {
		return err
	}
	if carried {
		if disclosure != DiscloseFull {
			return fmt.Errorf("content is carried though the disclosure is %s: %w", disclosure, ErrSchema)
		}
		sum := sha256.Sum256(b)
		if hex.EncodeToString(sum[:]) != s.SHA256 || strconv.Itoa(len(b)) != s.Size {
			return fmt.Errorf("content: %w", ErrHash)
		}
		if v.Kind() == '"' {
			return nil
		}
		if utf8.Valid(b) {
			return fmt.Errorf("text is carried as base64: %w", ErrSchema)
		}
	}
	var d descriptor
	if err := UnmarshalCanonical(v, eventDepth, &d); err != nil {
		return fmt.Errorf("descriptor: %w", err)
	}
	if d.MediaType != mediaType || d.SHA256 != s.SHA256 || d.Size != s.Size {
		return fmt.Errorf("descriptor is not that of the stream: %w", ErrHash)
	}
	return nil
}
