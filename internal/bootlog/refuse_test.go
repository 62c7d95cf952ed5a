package bootlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/limits"
)

// TestParseRefuses hands the parser what is no log.
func TestParseRefuses(t *testing.T) {
	le := binary.LittleEndian
	banks := []attest.Alg{attest.SHA1, attest.SHA256}
	good := func() []byte { return build(banks, whole(7, []byte("one")), separator(7)) }
	header := len(build(banks))
	change := func(at int, b ...byte) []byte {
		out := good()
		copy(out[at:], b)
		return out
	}
	// The spec of the header stands behind 32 bytes; its count of algorithms
	// behind 24 more.
	const count = 32 + 24
	first := header + 12
	for name, b := range map[string][]byte{
		"empty":                      {},
		"one byte":                   {0},
		"zeros":                      make([]byte, 4096),
		"ones":                       bytes.Repeat([]byte{0xFF}, 4096),
		"header alone":               build(banks),
		"header and padding":         append(build(banks), make([]byte, 64)...),
		"header, index 24":           change(0, 24),
		"header with a digest":       change(8, 1),
		"header, no algorithm":       change(count, 0),
		"header, 6 algorithms":       change(count, 6),
		"header, 2^32-1 algorithms":  change(count, 0xFF, 0xFF, 0xFF, 0xFF),
		"header, SHA-1 of 32 bytes":  change(count+6, 32),
		"header, SHA-1 twice":        change(count+8, 4, 0, 20),
		"header, digests of nothing": change(count+8, 0x12, 0, 0),
		"header, digests of 65":      change(count+8, 0x12, 0, 65),
		"header, vendor info":        change(count+12, 1),
		"register 24":                change(header, 24),
		"register 2^32-1":            change(header, 0xFF, 0xFF, 0xFF, 0xFF),
		"one digest":                 change(header+8, 1),
		"2^32-1 digests":             change(header+8, 0xFF, 0xFF, 0xFF, 0xFF),
		"a digest not in the header": change(first, 0x0C),
		"a digest twice":             change(first+22, 4, 0),
		"more data than there is":    change(first+22+34, 200),
		"2^32-1 bytes of data":       change(first+22+34, 0xFF, 0xFF, 0xFF, 0xFF),
		"trailing bytes":             append(good(), 1, 2, 3),
		"mixed padding":              append(append(good(), make([]byte, 20)...), 0xFF),
		"padding, then an event":     append(append(good(), make([]byte, 20)...), good()[header:]...),
		"too much":                   make([]byte, limits.BootLog+1),
		"data of more than 1 MiB":    build(banks, whole(7, make([]byte, limits.BootEventData+1))),
	} {
		if l, err := Parse(b, PCRs); !errors.Is(err, attest.ErrForm) || l != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for n := header; n < len(good()); n++ {
		if n == len(build(banks, whole(7, []byte("one")))) {
			continue
		}
		if _, err := Parse(good()[:n], PCRs); !errors.Is(err, attest.ErrForm) {
			t.Errorf("%d bytes of %d: %v", n, len(good()), err)
		}
	}
	if _, err := Parse(build(banks, whole(5, []byte("x"))), MRs); !errors.Is(err, attest.ErrForm) {
		t.Errorf("register 5 of a TD: %v", err)
	}
	old := le.AppendUint32(le.AppendUint32(nil, 7), 1)
	old = append(append(old, make([]byte, 20)...), 1, 0, 0, 0, 'x')
	if l, err := Parse(old, PCRs); err != nil || l.Agile || len(l.Events) != 1 {
		t.Errorf("the older format: %v", err)
	}
	if _, err := Parse(old, MRs); !errors.Is(err, attest.ErrForm) {
		t.Errorf("the older format for a TD: %v", err)
	}
	for _, kind := range []Registers{0, 3} {
		if _, err := Parse(good(), kind); !errors.Is(err, attest.ErrArgument) {
			t.Errorf("registers %d: %v", kind, err)
		}
	}
	if _, err := (&Log{}).Marshal(); !errors.Is(err, attest.ErrArgument) {
		t.Errorf("the zero value: %v", err)
	}
	if _, err := (&Log{}).Replay(attest.SHA256, nil); !errors.Is(err, attest.ErrArgument) {
		t.Errorf("the zero value: %v", err)
	}
	if f := (Facts{}); f.SecureBoot.State != Unknown || f.SecureBoot.Established || f.Variables.Established || f.Sections.Established {
		t.Errorf("the zero value establishes %+v", f)
	}
}

// TestPadding accepts the unused rest of a log's area, and reports it.
func TestPadding(t *testing.T) {
	b := build([]attest.Alg{attest.SHA256}, whole(7, []byte("one")))
	for _, pad := range []byte{0x00, 0xFF} {
		for _, n := range []int{0, 1, 12, 1000} {
			raw := append(bytes.Clone(b), bytes.Repeat([]byte{pad}, n)...)
			l := parse(t, raw, PCRs)
			if out, err := l.Marshal(); l.Padding != n || len(l.Events) != 1 || err != nil || !bytes.Equal(out, raw) {
				t.Errorf("%d bytes of 0x%02x: %d, %v", n, pad, l.Padding, err)
			}
		}
	}
	// Data that ends as padding would.
	l := parse(t, append(build([]attest.Alg{attest.SHA256}, separator(7), separator(7)), make([]byte, 9)...), PCRs)
	if len(l.Events) != 2 || l.Padding != 9 {
		t.Errorf("%d events, %d bytes of padding", len(l.Events), l.Padding)
	}
}

// TestLimits takes a log of as many events as there may be, and one more.
func TestLimits(t *testing.T) {
	events := make([]made, limits.BootEvents+1)
	for i := range events {
		events[i] = separator(3)
	}
	b := build([]attest.Alg{attest.SHA256}, events...)
	if _, err := Parse(b, PCRs); !errors.Is(err, attest.ErrForm) {
		t.Errorf("%d events: %v", len(events), err)
	}
	one := (len(b) - len(build([]attest.Alg{attest.SHA256}))) / len(events)
	l := parse(t, b[:len(b)-one], PCRs)
	if f := appraise(t, l, truth(t, l, attest.SHA256), Options{}); len(f.Separators) != limits.BootEvents {
		t.Errorf("%d separators", len(f.Separators))
	}
}

// TestQuotedArguments refuses what the caller must not hand over.
func TestQuotedArguments(t *testing.T) {
	l := of256(t, PCRs, separator(7))
	value := attest.RegisterValue{Bank: attest.SHA256, Index: 7, Value: make([]byte, 32)}
	short := value
	short.Value = short.Value[:31]
	for name, c := range map[string]struct {
		bank   attest.Alg
		quoted []attest.RegisterValue
	}{
		"SHA-1":          {attest.SHA1, nil},
		"not in the log": {attest.SHA384, nil},
		"none":           {0, nil},
		"twice":          {attest.SHA256, []attest.RegisterValue{value, value}},
		"short":          {attest.SHA256, []attest.RegisterValue{short}},
	} {
		if f, err := l.Appraise(c.bank, c.quoted, Options{}); !errors.Is(err, attest.ErrArgument) || f != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Other banks and registers that no log has are not looked at.
	other := []attest.RegisterValue{{Bank: attest.SHA384, Index: 7, Value: nil}, {Bank: attest.SHA256, Index: 1 << 31, Value: nil}}
	if f := appraise(t, l, append(truth(t, l, attest.SHA256), other...), Options{}); f.Registers[0].Status != Confirmed {
		t.Errorf("%+v", f.Registers)
	}
}

// TestParseSignatures refuses what is no list of signatures.
func TestParseSignatures(t *testing.T) {
	good := list(make([]byte, 32))
	two := append(bytes.Clone(good), list(make([]byte, 20))...)
	if s, err := ParseSignatures(two); err != nil || len(s) != 2 || len(s[1].Data) != 20 || s[0].Type.String() != CertSHA256 {
		t.Errorf("two lists: %v", err)
	}
	if s, err := ParseSignatures(nil); err != nil || len(s) != 0 {
		t.Errorf("no list: %v", err)
	}
	change := func(at int, b ...byte) []byte {
		out := bytes.Clone(good)
		copy(out[at:], b)
		return out
	}
	for name, b := range map[string][]byte{
		"truncated":                  good[:len(good)-1],
		"trailing":                   append(bytes.Clone(good), 0),
		"a list shorter than itself": change(16, 27, 0, 0, 0),
		"a list longer":              change(16, 0xFF, 0xFF, 0xFF, 0xFF),
		"a header longer":            change(20, 0xFF, 0xFF, 0xFF, 0xFF),
		"signatures of no size":      change(24, 0, 0, 0, 0),
		"signatures without data":    change(24, 16, 0, 0, 0),
		"a part of a signature":      change(24, 47, 0, 0, 0),
		"too much":                   make([]byte, limits.BootEventData+1),
	} {
		if s, err := ParseSignatures(b); !errors.Is(err, attest.ErrForm) || s != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
