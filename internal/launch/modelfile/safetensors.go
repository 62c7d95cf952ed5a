package modelfile

import (
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/limits"
)

const (
	// metadataName is the one member of the header that is no tensor.
	metadataName = "__metadata__"
	// safetensorsDims is the largest number of dimensions. The format names none.
	safetensorsDims = 64
	// safetensorsNesting is how deep its JSON goes.
	safetensorsNesting = 3
)

// wireTensor is the description of one tensor. Every member must be there.
type wireTensor struct {
	DType   *string   `json:"dtype"`
	Shape   *[]uint64 `json:"shape"`
	Offsets *[]uint64 `json:"data_offsets"`
}

// readSafetensors reads a file whose first eight bytes may be the length of a
// header, and that goes on as an object.
func readSafetensors(r io.ReaderAt, size int64) (*Info, error) {
	var head [8]byte
	if err := readAt(r, head[:], 0); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint64(head[:])
	if n > limits.ModelJSON || n > uint64(size)-8 {
		return nil, fmt.Errorf("%w: safetensors: a header of %d bytes in a file of %d, at most %d", ErrMalformed, n, size, limits.ModelJSON)
	}
	header := make([]byte, n)
	if err := readAt(r, header, 8); err != nil {
		return nil, err
	}
	// Padding stands behind the object, never before it.
	if n == 0 || header[0] != '{' {
		return nil, fmt.Errorf("%w: safetensors: the header does not begin with an object", ErrMalformed)
	}
	var members map[string]jsontext.Value
	if err := cer.UnmarshalStrict(header, safetensorsNesting, &members); err != nil {
		return nil, fmt.Errorf("%w: safetensors: %w", ErrMalformed, err)
	}
	return describe(members, uint64(size)-8-n)
}

// describe reads the members of a header; data bytes follow it.
func describe(members map[string]jsontext.Value, data uint64) (*Info, error) {
	var metadata map[string]string
	if raw, ok := members[metadataName]; ok {
		if err := cer.UnmarshalStrict(raw, safetensorsNesting, &metadata); err != nil {
			return nil, fmt.Errorf("%w: safetensors: %s: %w", ErrMalformed, metadataName, err)
		}
		delete(members, metadataName)
	}
	if len(members) > limits.ModelTensors {
		return nil, fmt.Errorf("%w: safetensors: %d tensors, at most %d", ErrMalformed, len(members), limits.ModelTensors)
	}
	var s summary
	spans := make([]span, 0, len(members))
	for _, name := range slices.Sorted(maps.Keys(members)) {
		t, err := s.tensor(name, members[name])
		if err != nil {
			return nil, err
		}
		spans = append(spans, t)
	}
	if err := disjoint(spans, data); err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	// No byte of the data may be of no tensor.
	at := uint64(0)
	for _, t := range spans {
		if t.start != at {
			return nil, fmt.Errorf("%w: safetensors: %d bytes before tensor %.80q are of no tensor", ErrMalformed, t.start-at, t.name)
		}
		at = t.end
	}
	if at != data {
		return nil, fmt.Errorf("%w: safetensors: %d bytes at the end are of no tensor", ErrMalformed, data-at)
	}
	return s.info(Safetensors, Fact{factArchitecture, metadata["modelspec.architecture"]}, Fact{factName, metadata["modelspec.title"]}), nil
}

// tensor reads the description of one tensor.
func (s *summary) tensor(name string, raw []byte) (span, error) {
	bad := func(what string) (span, error) {
		return span{}, fmt.Errorf("%w: safetensors: tensor %.80q: %s", ErrMalformed, name, what)
	}
	var w wireTensor
	if err := cer.UnmarshalStrict(raw, safetensorsNesting, &w); err != nil {
		return span{}, fmt.Errorf("%w: safetensors: tensor %.80q: %w", ErrMalformed, name, err)
	}
	if w.DType == nil || w.Shape == nil || w.Offsets == nil || len(*w.Offsets) != 2 || len(*w.Shape) > safetensorsDims {
		return bad("no dtype, no shape, no two data_offsets, or too many dimensions")
	}
	bits, ok := dtypeBits(*w.DType)
	if !ok {
		return bad("unknown dtype")
	}
	elements, ok := product(*w.Shape)
	if !ok || elements > (1<<63-1)/bits || elements*bits%8 != 0 || !s.add(*w.DType, elements) {
		return bad("too many elements, or no whole number of bytes")
	}
	t := span{start: (*w.Offsets)[0], end: (*w.Offsets)[1], name: name}
	if t.end < t.start || t.end-t.start != elements*bits/8 {
		return bad("data_offsets are not as far apart as dtype and shape want")
	}
	return t, nil
}
