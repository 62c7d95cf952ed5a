package verifier

import (
	"bytes"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// policyColumns is the longest line that Encode keeps together: a component
// with one digest fits.
const policyColumns = 160

// Encode returns the policy as a file for people: JSON in a fixed order and
// layout, two spaces to a level, one component to a line, a line feed at the
// end, every default spelt out. [ParsePolicy] reads it back to an equal policy.
// It refuses what ParsePolicy would refuse; the error wraps ErrPolicy.
func (p *Policy) Encode() ([]byte, error) {
	if err := p.valid(); err != nil {
		return nil, err
	}
	v, err := json.Marshal(p, json.Deterministic(true), jsontext.SpaceAfterColon(true), jsontext.SpaceAfterComma(true))
	if err != nil {
		return nil, fmt.Errorf("%w: encoding: %w", ErrPolicy, err)
	}
	b, err := layout(nil, v, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: encoding: %w", ErrPolicy, err)
	}
	b = append(b, '\n')
	if _, err := ParsePolicy(b); err != nil {
		return nil, fmt.Errorf("encoding: %w", err)
	}
	return b, nil
}

// layout appends a value that is on one line, and breaks it into the lines of
// its elements where it is too long; the outermost value always. The nesting
// is that of a Policy, so the recursion is bounded.
func layout(dst []byte, v jsontext.Value, level int) ([]byte, error) {
	kind := v.Kind()
	composite := kind == jsontext.KindBeginObject || kind == jsontext.KindBeginArray
	if !composite || level > 0 && 2*level+len(v) <= policyColumns {
		return append(dst, v...), nil
	}
	d := jsontext.NewDecoder(bytes.NewReader(v))
	if _, err := d.ReadToken(); err != nil {
		return nil, err
	}
	dst = append(dst, v[0])
	for n := 0; d.PeekKind() != jsontext.KindEndObject && d.PeekKind() != jsontext.KindEndArray; n++ {
		if n > 0 {
			dst = append(dst, ',')
		}
		dst = newLine(dst, level+1)
		if kind == jsontext.KindBeginObject {
			name, err := d.ReadValue()
			if err != nil {
				return nil, err
			}
			dst = append(append(dst, name...), ": "...)
		}
		element, err := d.ReadValue()
		if err != nil {
			return nil, err
		}
		if dst, err = layout(dst, element, level+1); err != nil {
			return nil, err
		}
	}
	dst = newLine(dst, level)
	return append(dst, v[len(v)-1]), nil
}

// newLine appends a line feed and the indentation of a level.
func newLine(dst []byte, level int) []byte {
	return append(append(dst, '\n'), bytes.Repeat([]byte("  "), level)...)
}
