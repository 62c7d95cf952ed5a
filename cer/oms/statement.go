package oms

import (
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/internal/canon"
	"github.com/sworn-run/sworn/internal/limits"
)

type (
	wireSubject struct {
		Name   string            `json:"name"`
		Digest map[string]string `json:"digest"`
		// Only predicate type Digests/v0.1 has it.
		Annotations map[string]string `json:"annotations,omitzero"`
	}
	wireSerialization struct {
		Method   string   `json:"method"`
		HashType string   `json:"hash_type"`
		Symlinks *bool    `json:"allow_symlinks"`
		Ignore   []string `json:"ignore_paths,omitzero"`
	}
	wireResource struct {
		Name      string `json:"name"`
		Algorithm string `json:"algorithm"`
		Digest    string `json:"digest"`
	}
	wireStatement struct {
		Type          string        `json:"_type"`
		Subject       []wireSubject `json:"subject"`
		PredicateType string        `json:"predicateType"`
		Predicate     wirePredicate `json:"predicate"`
	}
	wirePredicate struct {
		Serialization wireSerialization `json:"serialization"`
		Resources     []wireResource    `json:"resources"`
	}
)

// members decodes an object whose other members are ignored, as the format wants
// it for a statement and its predicate: all of them must be there.
func members(what string, b []byte, into map[string]any) error {
	var all map[string]jsontext.Value
	if err := cer.UnmarshalStrict(b, limits.CapsuleDepth, &all); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrMalformed, what, err)
	}
	for name, v := range into {
		value, ok := all[name]
		if !ok {
			return fmt.Errorf("%w: %s: no member %s", ErrMalformed, what, name)
		}
		if err := cer.UnmarshalStrict(value, limits.CapsuleDepth, v); err != nil {
			return fmt.Errorf("%w: %s: %s: %w", ErrMalformed, what, name, err)
		}
	}
	return nil
}

// parseStatement parses a payload whose signature has been verified. compat says
// that it was signed as releases before 1.0 did.
func parseStatement(payload []byte, compat bool) (*Manifest, error) {
	var (
		kind, predicate string
		subjects        []wireSubject
		body            jsontext.Value
	)
	if !canon.FewValues(payload, limits.BundleValues) {
		return nil, fmt.Errorf("%w: statement of more than %d commas and colons", ErrMalformed, limits.BundleValues)
	}
	if err := members("statement", payload, map[string]any{
		"_type": &kind, "predicateType": &predicate, "subject": &subjects, "predicate": &body,
	}); err != nil {
		return nil, err
	}
	switch {
	case kind != statementType:
		return nil, fmt.Errorf("%w: statement of type %.100q", ErrUnsupported, kind)
	case predicate == compatType:
		return compatManifest(subjects)
	case predicate != predicateType:
		return nil, fmt.Errorf("%w: predicate of type %.100q", ErrUnsupported, predicate)
	case compat:
		return nil, fmt.Errorf("%w: signed as only predicate type %s may be", ErrUntrusted, compatType)
	}
	return parsePredicate(subjects, body)
}

// parsePredicate reads predicate type signature/v1.0. The one subject's digest is
// over the resources.
func parsePredicate(subjects []wireSubject, body []byte) (*Manifest, error) {
	var serialization jsontext.Value
	var list jsontext.Value
	if err := members("predicate", body, map[string]any{"serialization": &serialization, "resources": &list}); err != nil {
		return nil, err
	}
	opts, err := parseSerialization(serialization)
	if err != nil {
		return nil, err
	}
	var resources []wireResource
	if err := cer.UnmarshalStrict(list, limits.CapsuleDepth, &resources); err != nil {
		return nil, fmt.Errorf("%w: resources: %w", ErrMalformed, err)
	}
	if len(subjects) != 1 || len(subjects[0].Digest) != 1 || subjects[0].Annotations != nil {
		return nil, fmt.Errorf("%w: want one subject with a name and one digest", ErrMalformed)
	}
	root, err := parseDigest(subjects[0].Digest[hashSHA256])
	if err != nil {
		return nil, fmt.Errorf("subject: %w", err)
	}
	opts.Name = subjects[0].Name
	files := make([]File, 0, len(resources))
	for i, r := range resources {
		if r.Algorithm != hashSHA256 {
			return nil, fmt.Errorf("%w: resource %d: algorithm %.100q, want sha256", ErrMalformed, i, r.Algorithm)
		}
		sum, err := parseDigest(r.Digest)
		if err != nil {
			return nil, fmt.Errorf("resource %d: %w", i, err)
		}
		files = append(files, File{Path: r.Name, SHA256: sum})
	}
	m, err := NewManifest(files, opts)
	if err != nil {
		return nil, err
	}
	// In another order the same files would have another root digest.
	if !slices.Equal(m.files, files) {
		return nil, fmt.Errorf("%w: resources are not in the order of their paths", ErrMalformed)
	}
	if m.root != root {
		return nil, fmt.Errorf("%w: the subject's digest is %x, the resources make %x", ErrMalformed, root, m.root)
	}
	return m, nil
}

// parseSerialization reads how the model was hashed. Other methods have other
// members.
func parseSerialization(b []byte) (Options, error) {
	var method, hash string
	if err := members("serialization", b, map[string]any{"method": &method, "hash_type": &hash}); err != nil {
		return Options{}, err
	}
	if method != methodFiles || hash != hashSHA256 {
		return Options{}, fmt.Errorf("%w: hashed by %.100q with %.100q, want files with sha256", ErrUnsupported, method, hash)
	}
	var w wireSerialization
	if err := cer.UnmarshalStrict(b, limits.CapsuleDepth, &w); err != nil {
		return Options{}, fmt.Errorf("%w: serialization: %w", ErrMalformed, err)
	}
	if w.Symlinks == nil {
		return Options{}, fmt.Errorf("%w: serialization: no member allow_symlinks", ErrMalformed)
	}
	return Options{Ignore: w.Ignore, Symlinks: *w.Symlinks}, nil
}

// compatManifest reads predicate type Digests/v0.1: one subject for each file,
// in any order, since no digest is over them.
func compatManifest(subjects []wireSubject) (*Manifest, error) {
	files := make([]File, 0, len(subjects))
	for i, s := range subjects {
		if how := s.Annotations["actual_hash_algorithm"]; how != "file-sha256" {
			return nil, fmt.Errorf("%w: subject %d: hashed with %.100q, want file-sha256", ErrUnsupported, i, how)
		}
		if len(s.Digest) != 1 {
			return nil, fmt.Errorf("%w: subject %d: %d digests, want 1", ErrMalformed, i, len(s.Digest))
		}
		sum, err := parseDigest(s.Digest[hashSHA256])
		if err != nil {
			return nil, fmt.Errorf("subject %d: %w", i, err)
		}
		files = append(files, File{Path: s.Name, SHA256: sum})
	}
	return NewManifest(files, Options{})
}

// parseDigest parses 64 lower-case hexadecimal digits.
func parseDigest(text string) (sum [32]byte, err error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(sum) || hex.EncodeToString(b) != text {
		return sum, fmt.Errorf("%w: digest %.100q, want sha256 in 64 lower-case hexadecimal digits", ErrMalformed, text)
	}
	return [32]byte(b), nil
}
