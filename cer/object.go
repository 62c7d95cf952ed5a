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
	var out object
	for i := 1; i < len(c) && c[i] == '"'; i++ { // after the brace or a comma
		name := skipString(c, i)
		value := skipValue(c, name+1)
		m := member{quoted: c[i:name:name], value: jsontext.Value(c[name+1 : value : value])}
		m.name = unquote(m.quoted)
		out = append(out, m)
		i = value
	}
	return out, nil
}

// skipValue returns the index after the value that begins at i.
func skipValue(c []byte, i int) int {
	for level := 0; i < len(c); {
		switch c[i] {
		case '"':
			i = skipString(c, i)
			if level == 0 {
				return i
			}
			continue
		case '{', '[':
			level++
		case '}', ']':
			if level--; level < 0 {
				return i // of what encloses a literal
			}
			if level == 0 {
				return i + 1
			}
		case ',':
			if level == 0 {
				return i
			}
		}
		i++
	}
	return i
}

// unquote returns what a string of a text that has passed [Strict] stands for.
func unquote(quoted []byte) string {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1 : len(quoted)-1])
	}
	text, err := jsontext.AppendUnquote(nil, quoted)
	if err != nil {
		return "" // not reached: the text is valid
	}
	return string(text)
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
	return unquote(raw)
}
