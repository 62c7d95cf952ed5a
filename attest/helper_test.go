package attest_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/sworn-run/sworn/attest"
)

// cat assembles bytes from SPEC's notation: strings and byte slices as they
// are, integers big-endian in the size of their type. It shares nothing with
// the package's own encoders.
func cat(parts ...any) []byte {
	var b bytes.Buffer
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			b.WriteString(p)
		case []byte:
			b.Write(p)
		case [32]byte:
			b.Write(p[:])
		case uint8, uint16, uint32, uint64:
			if err := binary.Write(&b, binary.BigEndian, p); err != nil {
				panic(err)
			}
		default:
			panic("cat: unknown type")
		}
	}
	return b.Bytes()
}

// filled returns 32 bytes of the same value.
func filled(v byte) [32]byte { return [32]byte(bytes.Repeat([]byte{v}, 32)) }

// wantForm fails unless err wraps ErrForm.
func wantForm(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, attest.ErrForm) {
		t.Errorf("error %v, want one that wraps ErrForm", err)
	}
}

// statement returns a valid statement that uses every part of the encoding: a
// nonce, a slot with a register and one without.
func statement() *attest.Statement {
	return &attest.Statement{
		Type: attest.TypeRun, Clock: attest.ClockHost, Time: 1_795_000_000_123,
		Series: filled(0x11), Launch: filled(0x22), KeyID: filled(0x33),
		LogSize: 141, LogRoot: filled(0x44), RecordCount: 1, TreeRoot: filled(0x55),
		Nonce: []byte("\x00\x01\x02\x03\x04\x05\x06\xff"),
		Manifest: []attest.Slot{
			{
				Number: 0, Format: 1, Mode: attest.ModeDirect, Anchor: attest.AnchorRegister, KeyID: filled(0x66),
				Register: &attest.RegisterDescriptor{Bank: attest.SHA384, Index: 13, Value: bytes.Repeat([]byte{0x77}, 48)},
			},
			{Number: 1, Format: 0x0203, Mode: attest.ModeViaAK, Anchor: attest.AnchorStatementOnly, KeyID: filled(0x88)},
		},
	}
}

// raw writes a statement field by field (SPEC, section 4) and checks nothing.
func raw(s *attest.Statement) []byte {
	b := cat("sworn.run/statement/v1\x00\x00", uint8(s.Type), uint8(s.Clock), s.Time,
		s.Series, s.Launch, s.KeyID, s.Sequence, s.Previous, s.LogSize, s.LogRoot,
		s.FirstRecord, s.RecordCount, s.TreeRoot,
		uint8(len(s.Nonce)), s.Nonce, uint16(len(s.Body)), s.Body, uint8(len(s.Manifest)))
	for _, m := range s.Manifest {
		b = cat(b, m.Number, uint16(m.Format), uint8(m.Mode), uint8(m.Anchor), m.KeyID)
		if m.Register == nil {
			b = cat(b, uint8(0))
			continue
		}
		r := m.Register
		b = cat(b, uint8(6+len(r.Value)), uint16(r.Bank), r.Index, r.Value)
	}
	return b
}

// ev is one event of a test log: type and launch tag (0 for zeros).
type ev struct {
	typ attest.EventType
	tag byte
}

// logOf builds a log in two banks whose events carry "data N", with salts that
// differ.
func logOf(events ...ev) *attest.Log {
	l := &attest.Log{Register: 13, Banks: []attest.Alg{attest.SHA256, attest.SHA384}}
	for i, e := range events {
		data := cat("data ", uint8('0'+i%10))
		l.Events = append(l.Events, attest.NewEvent(uint64(i), e.typ, filled(e.tag), filled(byte(0x80+i%64)), data))
	}
	return l
}

// The events of a launch, in short.
const (
	origin    = attest.EventOrigin
	begin     = attest.EventLaunchBegin
	key       = attest.EventKey
	component = attest.EventComponent
	environ   = attest.EventEnvironment
	separator = attest.EventSeparator
	commit    = attest.EventCommit
	end       = attest.EventEnd
)

// run returns a log of one whole launch.
func run() *attest.Log {
	return logOf(ev{origin, 0}, ev{begin, 1}, ev{key, 1}, ev{component, 1}, ev{component, 1},
		ev{environ, 1}, ev{separator, 1}, ev{commit, 1}, ev{end, 1})
}

// mustEncode returns the encoding of a log.
func mustEncode(tb testing.TB, l *attest.Log) []byte {
	tb.Helper()
	b, err := l.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	return b
}
