package cer

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sworn-run/sworn/cer/internal/canon"
	"github.com/sworn-run/sworn/internal/limits"
)

// UnmarshalCanonical decodes b into v, a non-nil pointer, and accepts nothing
// but the one text that v stands for:
//
//   - b passes [Strict] at maxDepth, holds no number of magnitude 2^53 or
//     more, and is its own RFC 8785 form, else the error wraps [ErrStrict];
//   - names are matched by case, none is unknown, null stands only where the
//     Go value is a pointer, and v encodes to b again, so that no member is
//     missing and none was read into something smaller; else the error wraps
//     [ErrSchema].
//
// A member that may be absent has the option omitzero in its tag. 64-bit
// quantities are decimal strings in JSON, never numbers. On error v is as it
// was; on success nothing of its former content is left.
func UnmarshalCanonical(b []byte, maxDepth int, v any) error {
	if err := checkCanonical(b, maxDepth); err != nil {
		return fmt.Errorf("decoding %T: %w", v, err)
	}
	fresh, err := decodeClosed(b, v)
	if err != nil {
		return err
	}
	again, err := marshalCanonical(fresh.Interface(), maxDepth)
	if err != nil {
		return err
	}
	if !bytes.Equal(again, b) {
		return fmt.Errorf("decoding %T: %w: a member is missing or not of its only form", v, ErrSchema)
	}
	reflect.ValueOf(v).Elem().Set(fresh.Elem())
	return nil
}

// UnmarshalStrict decodes b, JSON that a person may have written, into v, a
// non-nil pointer. Whitespace, the order of members and the spelling of
// numbers are free and members may be absent; all else is as strict as in
// [UnmarshalCanonical] (a Go integer still wants plain digits): no duplicate, no unknown name, no other case, no null
// where the Go value is not a pointer, no trailing data, no number of
// magnitude 2^53 or more. On error v is as it was; on success nothing of its
// former content is left. The error wraps [ErrStrict] or [ErrSchema].
func UnmarshalStrict(b []byte, maxDepth int, v any) error {
	if err := canon.Check(b, maxDepth, true); err != nil {
		return fmt.Errorf("decoding %T: %w", v, err)
	}
	fresh, err := decodeClosed(b, v)
	if err != nil {
		return err
	}
	reflect.ValueOf(v).Elem().Set(fresh.Elem())
	return nil
}

// MarshalCanonical returns the RFC 8785 form of v. It refuses what
// [UnmarshalCanonical] would refuse to read at depth 64: text that is not
// UTF-8, numbers of magnitude 2^53 or more, a negative zero, NaN. The error
// wraps [ErrStrict] or [ErrSchema].
func MarshalCanonical(v any) ([]byte, error) {
	return marshalCanonical(v, limits.CapsuleDepth)
}

func marshalCanonical(v any, maxDepth int) ([]byte, error) {
	b, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("encoding %T: %w: %w", v, ErrSchema, err)
	}
	d, err := canon.Parse(b, maxDepth, true, 0)
	if err != nil {
		return nil, fmt.Errorf("encoding %T: %w", v, err)
	}
	return d.Root().Canonical(), nil
}

// errNull is what refuseNull tells json; it reaches callers inside ErrSchema.
var errNull = errors.New("null where a value is wanted")

// decodeClosed decodes b, which is strict already, into a fresh value of the
// type that v points to, and returns the pointer to it.
func decodeClosed(b []byte, v any) (reflect.Value, error) {
	p := reflect.ValueOf(v)
	if p.Kind() != reflect.Pointer || p.IsNil() {
		return reflect.Value{}, fmt.Errorf("decoding %T: %w: not a non-nil pointer", v, ErrSchema)
	}
	fresh := reflect.New(p.Type().Elem())
	err := json.Unmarshal(b, fresh.Interface(),
		json.RejectUnknownMembers(true),
		json.MatchCaseInsensitiveNames(false),
		json.WithUnmarshalers(json.UnmarshalFromFunc(refuseNull)))
	if err != nil {
		return reflect.Value{}, fmt.Errorf("decoding %T: %w: %w", v, ErrSchema, err)
	}
	return fresh, nil
}

// refuseNull is called for every Go value before it is decoded, with a pointer
// to it, and leaves the decoding to json. json itself would turn null into
// the zero value.
func refuseNull(d *jsontext.Decoder, v any) error {
	if d.PeekKind() == jsontext.KindNull && reflect.TypeOf(v).Elem().Kind() != reflect.Pointer {
		return errNull
	}
	return errors.ErrUnsupported
}
