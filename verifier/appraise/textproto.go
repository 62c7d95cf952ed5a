package appraise

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sworn-run/sworn/attest"
)

// Bounds on text: how deep messages stand in each other, and how many fields there
// are in all.
const (
	textDepth  = 16
	textFields = 4096
)

// textField is one field of a message in protobuf's text format: a message, or a
// scalar whose text is kept: that of a string decoded.
type textField struct {
	name    string
	message []textField
	scalar  string
	isText  bool
}

// textReader reads the text format: fields with ":" or a message in braces or angle
// brackets, strings with C's escapes, adjacent ones joined, lists in brackets,
// comments to the end of a line. Extensions and Any are refused.
type textReader struct {
	b      []byte
	fields int
}

func (t *textReader) fail(what string) error {
	return fmt.Errorf("text format, %d bytes before the end: %s: %w", len(t.b), what, attest.ErrForm)
}

// space skips white space and comments.
func (t *textReader) space() {
	for len(t.b) > 0 {
		switch t.b[0] {
		case ' ', '\t', '\n', '\r', '\v', '\f':
			t.b = t.b[1:]
		case '#':
			for len(t.b) > 0 && t.b[0] != '\n' {
				t.b = t.b[1:]
			}
		default:
			return
		}
	}
}

// next skips white space and returns the byte that follows; 0 at the end.
func (t *textReader) next() byte {
	t.space()
	if len(t.b) == 0 {
		return 0
	}
	return t.b[0]
}

// word takes a name, a number or the name of a value.
func (t *textReader) word() string {
	n := 0
	for n < len(t.b) && n < 64 {
		c := t.b[n]
		if c != '_' && c != '.' && c != '-' && c != '+' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			break
		}
		n++
	}
	w := string(t.b[:n])
	t.b = t.b[n:]
	return w
}

// message reads fields up to the closing byte, or to the end if that is 0.
func (t *textReader) message(closing byte, depth int) ([]textField, error) {
	if depth > textDepth {
		return nil, t.fail("messages are nested too deep")
	}
	var out []textField
	for {
		switch t.next() {
		case closing:
			if closing != 0 {
				t.b = t.b[1:]
			}
			return out, nil
		case 0:
			return nil, t.fail("cut short")
		}
		name := t.word()
		if name == "" {
			return nil, t.fail("no name of a field")
		}
		list, err := t.values(name, depth)
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
		if c := t.next(); c == ',' || c == ';' {
			t.b = t.b[1:]
		}
	}
}

// values reads what follows a field's name: one value or a list of them.
func (t *textReader) values(name string, depth int) ([]textField, error) {
	colon := t.next() == ':'
	if colon {
		t.b = t.b[1:]
	}
	if t.next() != '[' {
		f, err := t.value(name, colon, depth)
		return []textField{f}, err
	}
	t.b = t.b[1:]
	var out []textField
	for t.next() != ']' {
		f, err := t.value(name, colon, depth)
		if err != nil {
			return nil, err
		}
		out = append(out, f)
		switch t.next() {
		case ',':
			t.b = t.b[1:]
		case ']':
		default:
			return nil, t.fail("a list without its end")
		}
	}
	t.b = t.b[1:]
	return out, nil
}

// value reads one value.
func (t *textReader) value(name string, colon bool, depth int) (textField, error) {
	if t.fields++; t.fields > textFields {
		return textField{}, t.fail("too many fields")
	}
	f := textField{name: name}
	var err error
	switch c := t.next(); {
	case c == '{' || c == '<':
		t.b = t.b[1:]
		closing := byte('}')
		if c == '<' {
			closing = '>'
		}
		f.message, err = t.message(closing, depth+1)
	case !colon:
		err = t.fail("neither a value nor a message")
	case c == '"' || c == '\'':
		f.isText = true
		for c := t.next(); err == nil && (c == '"' || c == '\''); c = t.next() {
			var s string
			s, err = t.text()
			f.scalar += s
		}
	default:
		if f.scalar = t.word(); f.scalar == "" {
			err = t.fail("no value")
		}
	}
	return f, err
}

// text reads one string.
func (t *textReader) text() (string, error) {
	quote := t.b[0]
	t.b = t.b[1:]
	var out strings.Builder
	for {
		if len(t.b) == 0 || t.b[0] == '\n' {
			return "", t.fail("a string without its end")
		}
		c := t.b[0]
		t.b = t.b[1:]
		switch c {
		case quote:
			return out.String(), nil
		case '\\':
			if err := t.escape(&out); err != nil {
				return "", err
			}
		default:
			out.WriteByte(c)
		}
	}
}

// escape reads what follows a backslash.
func (t *textReader) escape(out *strings.Builder) error {
	if len(t.b) == 0 {
		return t.fail("a string without its end")
	}
	c := t.b[0]
	if i := strings.IndexByte("abfnrtv\\'\"?", c); i >= 0 {
		out.WriteByte("\a\b\f\n\r\t\v\\'\"?"[i])
		t.b = t.b[1:]
		return nil
	}
	digits, base, longest := t.b, 8, 3
	switch c {
	case 'x', 'X':
		digits, base, longest = t.b[1:], 16, 2
	case 'u':
		digits, base, longest = t.b[1:], 16, 4
	case 'U':
		digits, base, longest = t.b[1:], 16, 8
	}
	n := 0
	for n < len(digits) && n < longest {
		if _, err := strconv.ParseUint(string(digits[n:n+1]), base, 8); err != nil {
			break
		}
		n++
	}
	v, err := strconv.ParseUint(string(digits[:n]), base, 32)
	switch {
	case err != nil, longest > 3 && (n != longest || !utf8.ValidRune(rune(v))), longest <= 3 && v > 0xFF:
		return t.fail("an escape that is none")
	case longest > 3:
		out.WriteRune(rune(v))
	default:
		out.WriteByte(byte(v))
	}
	t.b = digits[n:]
	return nil
}

// parseTextAttestation reads the text format of an attest.Attestation, with the
// strictness of parseAttestation.
func parseTextAttestation(b []byte) (*attestation, error) {
	t := textReader{b: b}
	list, err := t.message(0, 1)
	if err != nil {
		return nil, err
	}
	a := &attestation{}
	for _, f := range list {
		once := map[string]*[]byte{"ak_pub": &a.akPub, "event_log": &a.eventLog, "ak_cert": &a.akCert}[f.name]
		switch {
		case once != nil:
			err = f.once(once)
		case f.name == "quotes":
			err = a.addTextQuote(&f)
		case f.name == "intermediate_certs":
			var der []byte
			if err = f.once(&der); err == nil {
				err = a.addIntermediate(der)
			}
		default:
			a.unread = append(a.unread, f.name)
		}
		if err != nil {
			return nil, err
		}
	}
	return a, a.check()
}

// once sets what may stand once.
func (f *textField) once(to *[]byte) error {
	if *to != nil || !f.isText {
		return fmt.Errorf("text format: %s stands twice or is no string: %w", f.name, attest.ErrForm)
	}
	*to = []byte(f.scalar)
	return nil
}

// addTextQuote reads a tpm.Quote.
func (a *attestation) addTextQuote(f *textField) error {
	if len(a.quotes) == maxQuotes || f.message == nil {
		return fmt.Errorf("text format: more than %d quotes, or one that is empty: %w", maxQuotes, attest.ErrForm)
	}
	var q pbQuote
	var err error
	for _, m := range f.message {
		switch m.name {
		case "quote":
			err = m.once(&q.quote)
		case "raw_sig":
			err = m.once(&q.sig)
		case "pcrs":
			if q.registers != nil {
				err = fmt.Errorf("text format: pcrs stands twice: %w", attest.ErrForm)
			} else {
				q.registers, err = textPCRs(m.message)
			}
		}
		if err != nil {
			return err
		}
	}
	a.quotes = append(a.quotes, q)
	return nil
}

// textPCRs reads a tpm.PCRs.
func textPCRs(list []textField) ([]attest.RegisterValue, error) {
	var bank attest.Alg
	var out []attest.RegisterValue
	for _, f := range list {
		switch {
		case f.name == "hash" && bank == 0 && !f.isText:
			var ok bool
			if bank, ok = bankName(f.scalar); !ok {
				n, err := strconv.ParseUint(f.scalar, 0, 16)
				if err != nil {
					return nil, fmt.Errorf("text format: hash %.40q: %w", f.scalar, attest.ErrForm)
				}
				bank = attest.Alg(n)
			}
		case f.name == "pcrs" && f.message != nil:
			var v attest.RegisterValue
			for _, e := range f.message {
				n, err := strconv.ParseUint(e.scalar, 0, 5)
				switch {
				case e.name == "key" && err == nil && !e.isText:
					v.Index = uint32(n)
				case e.name == "value" && e.isText && v.Value == nil:
					v.Value = []byte(e.scalar)
				default:
					return nil, fmt.Errorf("text format: %s of a register: %w", e.name, attest.ErrForm)
				}
			}
			out = append(out, v)
		default:
			return nil, fmt.Errorf("text format: %s of registers: %w", f.name, attest.ErrForm)
		}
	}
	return labelled(out, bank)
}
