package cer

import (
	"bytes"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sworn-run/sworn/cer/internal/canon"
	"github.com/sworn-run/sworn/internal/limits"
)

// A record is read by the thousand, and in one form. What follows reads that form and
// nothing else, of a text that is known to be canonical: there is one place for every
// member, and no space. Whatever it does not expect is left to [UnmarshalCanonical], which
// accepts more of what may stand there and says what is wrong; it accepts nothing that
// [UnmarshalCanonical] would not, and reads it alike.

// scanner reads a canonical JSON text from its beginning. After the first thing that it
// does not expect, bad is set and it reads nothing more.
type scanner struct {
	b   []byte
	bad bool
}

// lit expects this text.
func (s *scanner) lit(text string) {
	if len(s.b) < len(text) || string(s.b[:len(text)]) != text {
		s.bad, s.b = true, nil
		return
	}
	s.b = s.b[len(text):]
}

// is reports whether this text follows, and skips it if so.
func (s *scanner) is(text string) bool {
	if len(s.b) < len(text) || string(s.b[:len(text)]) != text {
		return false
	}
	s.b = s.b[len(text):]
	return true
}

// quoted returns the string that follows as it stands, and whether it has escapes.
func (s *scanner) quoted() (raw []byte, escaped bool) {
	if len(s.b) == 0 || s.b[0] != '"' {
		s.bad, s.b = true, nil
		return nil, false
	}
	for i := 1; i < len(s.b); i++ {
		switch s.b[i] {
		case '\\':
			escaped = true
			i++
		case '"':
			raw, s.b = s.b[:i+1:i+1], s.b[i+1:]
			return raw, escaped
		}
	}
	s.bad, s.b = true, nil
	return nil, false
}

// text reads a string.
func (s *scanner) text() string {
	raw, escaped := s.quoted()
	switch {
	case raw == nil:
		return ""
	case escaped:
		out, err := jsontext.AppendUnquote(nil, raw)
		s.bad = s.bad || err != nil
		return string(out)
	default:
		return string(raw[1 : len(raw)-1])
	}
}

// optional reads a string, or null.
func (s *scanner) optional() *string {
	if s.is("null") {
		return nil
	}
	out := s.text()
	return &out
}

// member expects a name and its colon, and reads the string that follows.
func (s *scanner) member(name string) string {
	s.lit(name)
	return s.text()
}

// raw reads an object as it stands.
func (s *scanner) raw() []byte {
	if len(s.b) == 0 || s.b[0] != '{' {
		s.bad, s.b = true, nil
		return nil
	}
	depth := 0
	for i := 0; i < len(s.b); i++ {
		switch s.b[i] {
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				out := s.b[: i+1 : i+1]
				s.b = s.b[i+1:]
				return out
			}
		case '"':
			for i++; i < len(s.b) && s.b[i] != '"'; i++ {
				if s.b[i] == '\\' {
					i++
				}
			}
		}
	}
	s.bad, s.b = true, nil
	return nil
}

// digits returns the text of the number that follows.
func (s *scanner) digits() string {
	n := 0
	for n < len(s.b) && bytes.IndexByte([]byte("+-.0123456789e"), s.b[n]) >= 0 {
		n++
	}
	out := string(s.b[:n])
	s.b = s.b[n:]
	return out
}

// integer reads an integer.
func (s *scanner) integer() int {
	n, err := strconv.Atoi(s.digits())
	s.bad = s.bad || err != nil
	return n
}

// number reads a number.
func (s *scanner) number() float64 {
	x, err := strconv.ParseFloat(s.digits(), 64)
	s.bad = s.bad || err != nil
	return x
}

// maybe reads a number, or null.
func (s *scanner) maybe() *float64 {
	if s.is("null") {
		return nil
	}
	x := s.number()
	return &x
}

// yes reads true or false.
func (s *scanner) yes() bool {
	if s.is("true") {
		return true
	}
	s.lit("false")
	return false
}

// value reads input or output: a string, or an object.
func (s *scanner) value() Value {
	var v Value
	var err error
	if len(s.b) > 0 && s.b[0] == '"' {
		v, err = TextValue(s.text())
	} else if raw := s.raw(); len(raw) <= limits.EmbeddedObject {
		v = Value{object: bytes.Clone(raw), set: true}
	} else {
		s.bad = true
	}
	s.bad = s.bad || err != nil
	return v
}

// list reads an array, element by element.
func list[T any](s *scanner, element func() T) []T {
	s.lit("[")
	out := []T{}
	if s.is("]") {
		return out
	}
	for !s.bad {
		out = append(out, element())
		if s.is("]") {
			break
		}
		s.lit(",")
	}
	return out
}

// end reports whether everything was read, and was what was expected.
func (s *scanner) end() bool { return !s.bad && len(s.b) == 0 }

// exact reports whether a text is its own canonical form, as [checkCanonical] wants it.
func exact(b []byte, depth int) bool {
	ok, err := canon.IsExact(b, depth, true)
	return ok && err == nil
}

// scanBundle reads the bundle of a capsule; false if it takes [UnmarshalCanonical].
func scanBundle(b []byte) (*Bundle, bool) {
	if !exact(b, limits.CapsuleDepth) {
		return nil, false
	}
	s := &scanner{b: b}
	out := &Bundle{}
	out.BundleType = s.member(`{"bundleType":`)
	out.CertificateHash = s.member(`,"certificateHash":`)
	out.CreatedAt = s.member(`,"createdAt":`)
	s.lit(`,"snapshot":`)
	s.snapshot(&out.Snapshot)
	out.Version = s.member(`,"version":`)
	s.lit("}")
	return out, s.end()
}

// snapshot reads a snapshot.
func (s *scanner) snapshot(out *Snapshot) {
	s.lit(`{"appId":`)
	out.AppID = s.optional()
	out.ExecutionID = s.member(`,"executionId":`)
	out.ExecutionSurface = s.member(`,"executionSurface":`)
	s.lit(`,"input":`)
	out.Input = s.value()
	out.InputHash = s.member(`,"inputHash":`)
	out.Model = s.member(`,"model":`)
	s.lit(`,"modelVersion":`)
	out.ModelVersion = s.optional()
	s.lit(`,"output":`)
	out.Output = s.value()
	out.OutputHash = s.member(`,"outputHash":`)
	s.lit(`,"parameters":{"maxTokens":`)
	out.Parameters.MaxTokens = s.number()
	s.lit(`,"seed":`)
	out.Parameters.Seed = s.maybe()
	s.lit(`,"temperature":`)
	out.Parameters.Temperature = s.number()
	s.lit(`,"topP":`)
	out.Parameters.TopP = s.maybe()
	out.Prompt = s.member(`},"prompt":`)
	out.ProtocolVersion = s.member(`,"protocolVersion":`)
	out.Provider = s.member(`,"provider":`)
	if s.is(`,"runtime":`) {
		out.Runtime = jsontext.Value(bytes.Clone(s.raw()))
	}
	s.lit(`,"sdkVersion":`)
	out.SDKVersion = s.optional()
	out.Timestamp = s.member(`,"timestamp":`)
	out.Type = s.member(`,"type":`)
	s.lit("}")
}

// scanRuntime reads a runtime of version 1; false if it takes [UnmarshalCanonical].
func scanRuntime(b []byte) (*Runtime, bool) {
	if !exact(b, eventDepth) {
		return nil, false
	}
	s := &scanner{b: b}
	out := &Runtime{}
	s.lit(`{"after":`)
	out.After = list(s, s.fact)
	out.Disclosure = s.member(`,"disclosure":`)
	s.lit(`,"exit":{"code":`)
	out.Exit.Code = s.integer()
	s.lit(`,"signal":`)
	out.Exit.Signal = s.optional()
	s.lit(`,"timeout":`)
	out.Exit.Timeout = s.yes()
	s.lit(`},"input":`)
	out.Input = s.stream()
	s.lit(`,"isolation":`)
	out.Isolation = list(s, s.fact)
	out.Key = s.member(`,"key":`)
	out.Launch = s.member(`,"launch":`)
	s.lit(`,"nonce":`)
	out.Nonce = s.optional()
	s.lit(`,"notApplicable":`)
	out.NotApplicable = list(s, s.text)
	s.lit(`,"output":`)
	out.Output = s.stream()
	s.lit(`,"parameters":`)
	out.Parameters = list(s, s.parameter)
	out.Record = s.member(`,"record":`)
	out.Series = s.member(`,"series":`)
	s.lit(`,"stderr":`)
	out.Stderr = s.stream()
	s.lit(`,"v":1}`)
	out.V = RuntimeVersion
	return out, s.end()
}

// fact reads a fact.
func (s *scanner) fact() Fact {
	f := Fact{Name: s.member(`{"name":`), Value: s.member(`,"value":`)}
	s.lit("}")
	return f
}

// parameter reads a parameter.
func (s *scanner) parameter() Parameter {
	s.lit(`{"applied":`)
	p := Parameter{Applied: s.yes(), Name: s.member(`,"name":`), Value: s.member(`,"value":`)}
	s.lit("}")
	return p
}

// stream reads a stream.
func (s *scanner) stream() Stream {
	s.lit(`{"complete":`)
	out := Stream{Complete: s.yes()}
	if s.is(`,"content":`) {
		raw, _ := s.quoted()
		if raw == nil {
			s.bad = true // An object is left to the other.
		}
		out.Content = bytes.Clone(raw)
	}
	out.SHA256, out.Size = s.member(`,"sha256":`), s.member(`,"size":`)
	s.lit("}")
	return out
}

// scanInclusion reads an inclusion proof; false if it takes [UnmarshalCanonical].
func scanInclusion(b []byte, out *wireInclusion) bool {
	if !exact(b, limits.CapsuleDepth-1) {
		return false
	}
	s := &scanner{b: b}
	out.Index = s.member(`{"index":`)
	s.lit(`,"path":`)
	out.Path = list(s, s.text)
	out.Size = s.member(`,"size":`)
	s.lit("}")
	return s.end()
}
