package cer

import (
	"bytes"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
)

// A member of an object in canonical text.
type member struct {
	name   string
	quoted []byte         // the name as it stands in the text
	value  jsontext.Value // the value as it stands in the text
}

// An object is the members of a canonical object, in their order there. The
// slices refer to the text.
type object []member

// splitObject splits c, which has passed [Strict] and is in canonical form or
// a part of a text that is. It fails if c is not an object.
func splitObject(c []byte) (object, error) {
	if len(c) == 0 || c[0] != '{' {
		return nil, fmt.Errorf("splitting an object: %w: not an object", ErrSchema)
	}
	d := jsontext.NewDecoder(bytes.NewBuffer(c), jsontext.AllowDuplicateNames(true))
	if _, err := d.ReadToken(); err != nil {
		return nil, fmt.Errorf("splitting an object: %w: %w", ErrStrict, err)
	}
	var out object
	for d.PeekKind() == jsontext.KindString {
		quoted, err := span(d, c)
		if err != nil {
			return nil, err
		}
		name, err := jsontext.AppendUnquote(nil, quoted)
		if err != nil {
			return nil, fmt.Errorf("splitting an object: %w: %w", ErrStrict, err)
		}
		value, err := span(d, c)
		if err != nil {
			return nil, err
		}
		out = append(out, member{string(name), quoted, value})
	}
	return out, nil
}

// span reads the next value and returns it as a part of c.
func span(d *jsontext.Decoder, c []byte) (jsontext.Value, error) {
	v, err := d.ReadValue()
	if err != nil {
		return nil, fmt.Errorf("splitting an object: %w: %w", ErrStrict, err)
	}
	end := int(d.InputOffset())
	return jsontext.Value(c[end-len(v) : end : end]), nil
}

// get returns the value of a member, or nil, whose Kind is that of no JSON.
func (o object) get(name string) jsontext.Value {
	for i := range o {
		if o[i].name == name {
			return o[i].value
		}
	}
	return nil
}

// text returns the value of a member that is a string, else "".
func (o object) text(name string) string {
	raw := o.get(name)
	if raw.Kind() != jsontext.KindString {
		return ""
	}
	text, err := jsontext.AppendUnquote(nil, raw)
	if err != nil {
		return ""
	}
	return string(text)
}
