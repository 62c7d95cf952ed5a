package attest_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sworn-run/sworn/attest"
)

func TestStatementEncoding(t *testing.T) {
	plain := statement()
	plain.Nonce, plain.Manifest = nil, plain.Manifest[:1]
	longest := statement()
	longest.Nonce = bytes.Repeat([]byte{9}, attest.MaxNonce)
	longest.Time = 1 << 53
	for len(longest.Manifest) < attest.MaxSlots {
		m := longest.Manifest[0]
		m.Number = uint8(len(longest.Manifest))
		m.Register = &attest.RegisterDescriptor{Bank: attest.SHA512, Index: 1<<32 - 1, Value: bytes.Repeat([]byte{1}, 64)}
		longest.Manifest = append(longest.Manifest, m)
	}
	for name, s := range map[string]*attest.Statement{"two slots": statement(), "no nonce": plain, "longest": longest} {
		t.Run(name, func(t *testing.T) {
			b, err := s.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if want := raw(s); !bytes.Equal(b, want) {
				t.Errorf("encoding\n got %x\nwant %x", b, want)
			}
			got, err := attest.ParseStatement(b)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(s, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// The offsets that SPEC, section 4, gives.
func TestStatementOffsets(t *testing.T) {
	b, err := statement().Encode()
	if err != nil {
		t.Fatal(err)
	}
	for offset, want := range map[int][]byte{
		0:                     []byte("sworn.run/statement/v1\x00\x00"),
		24:                    {1},
		25:                    {0},
		26:                    cat(uint64(1_795_000_000_123)),
		34:                    bytes.Repeat([]byte{0x11}, 32),
		66:                    bytes.Repeat([]byte{0x22}, 32),
		98:                    bytes.Repeat([]byte{0x33}, 32),
		130:                   make([]byte, 8),
		138:                   make([]byte, 32),
		170:                   cat(uint64(141)),
		178:                   bytes.Repeat([]byte{0x44}, 32),
		210:                   make([]byte, 8),
		218:                   cat(uint64(1)),
		226:                   bytes.Repeat([]byte{0x55}, 32),
		258:                   {8, 0, 1, 2, 3, 4, 5, 6, 0xff},
		259 + 8:               {0, 0},
		261 + 8:               {2},
		262 + 8:               cat(uint8(0), uint16(1), uint8(1), uint8(1), filled(0x66), uint8(54), uint16(0x000C), uint32(13)),
		262 + 8 + 38 + 54:     cat(uint8(1), uint16(0x0203), uint8(2), uint8(2), filled(0x88), uint8(0)),
		262 + 8 + 38 + 54 + 5: bytes.Repeat([]byte{0x88}, 32),
	} {
		if got := b[offset:min(len(b), offset+len(want))]; !bytes.Equal(got, want) {
			t.Errorf("offset %d: got %x, want %x", offset, got, want)
		}
	}
	if len(b) != 262+8+2*38+54 {
		t.Errorf("%d bytes", len(b))
	}
}

// statementRules has one statement for every rule of SPEC, section 4, that it
// breaks.
var statementRules = map[string]func(*attest.Statement){
	"type 0":                    func(s *attest.Statement) { s.Type = 0 },
	"type open":                 func(s *attest.Statement) { s.Type = 2 },
	"type requote":              func(s *attest.Statement) { s.Type = 7 },
	"type 8":                    func(s *attest.Statement) { s.Type = 8 },
	"batch that is first":       func(s *attest.Statement) { batch(s); s.Sequence = 0 },
	"batch after nothing":       func(s *attest.Statement) { batch(s); s.Previous = [32]byte{} },
	"batch of no record":        func(s *attest.Statement) { batch(s); s.RecordCount = 0 },
	"batch of 2^20+1":           func(s *attest.Statement) { batch(s); s.RecordCount = attest.MaxBatch + 1 },
	"batch of 2^64-1":           func(s *attest.Statement) { batch(s); s.RecordCount = 1<<64 - 1 },
	"batch up to 2^53":          func(s *attest.Statement) { batch(s); s.FirstRecord = 1<<53 - s.RecordCount + 1 },
	"batch from 2^64-1":         func(s *attest.Statement) { batch(s); s.FirstRecord = 1<<64 - 1 },
	"batch with a counter":      func(s *attest.Statement) { batch(s); s.Body = counterBody(7) },
	"secure clock":              func(s *attest.Statement) { s.Clock = 1 },
	"clock 255":                 func(s *attest.Statement) { s.Clock = 255 },
	"sequence":                  func(s *attest.Statement) { s.Sequence = 1 },
	"previous":                  func(s *attest.Statement) { s.Previous[31] = 1 },
	"first record":              func(s *attest.Statement) { s.FirstRecord = 1 },
	"no record":                 func(s *attest.Statement) { s.RecordCount = 0 },
	"two records":               func(s *attest.Statement) { s.RecordCount = 2 },
	"record count 2^64-1":       func(s *attest.Statement) { s.RecordCount = 1<<64 - 1 },
	"body":                      func(s *attest.Statement) { s.Body = []byte{0} },
	"body of 41":                func(s *attest.Statement) { s.Body = counterBody(7)[:41] },
	"body of 43":                func(s *attest.Statement) { s.Body = append(counterBody(7), 0) },
	"counter 0":                 func(s *attest.Statement) { s.Body = counterBody(0) },
	"counter of SHA-1":          func(s *attest.Statement) { s.Body = counterBody(7); s.Body[1] = 4 },
	"no series":                 func(s *attest.Statement) { s.Series = [32]byte{} },
	"no launch":                 func(s *attest.Statement) { s.Launch = [32]byte{} },
	"no key":                    func(s *attest.Statement) { s.KeyID = [32]byte{} },
	"empty log":                 func(s *attest.Statement) { s.LogSize = 0 },
	"no time":                   func(s *attest.Statement) { s.Time = 0 },
	"time above 2^53":           func(s *attest.Statement) { s.Time = 1<<53 + 1 },
	"nonce of 1":                func(s *attest.Statement) { s.Nonce = s.Nonce[:1] },
	"nonce of 7":                func(s *attest.Statement) { s.Nonce = s.Nonce[:7] },
	"nonce of 65":               func(s *attest.Statement) { s.Nonce = make([]byte, 65) },
	"no manifest":               func(s *attest.Statement) { s.Manifest = nil },
	"nine slots":                func(s *attest.Statement) { s.Manifest = slots(9) },
	"255 slots":                 func(s *attest.Statement) { s.Manifest = slots(255) },
	"first slot 1":              func(s *attest.Statement) { s.Manifest = s.Manifest[1:] },
	"slot twice":                func(s *attest.Statement) { s.Manifest[1].Number = 0 },
	"slot left out":             func(s *attest.Statement) { s.Manifest[1].Number = 2 },
	"slots descending":          func(s *attest.Statement) { s.Manifest[0], s.Manifest[1] = s.Manifest[1], s.Manifest[0] },
	"format 0":                  func(s *attest.Statement) { s.Manifest[1].Format = 0 },
	"mode 0":                    func(s *attest.Statement) { s.Manifest[1].Mode = 0 },
	"mode 4":                    func(s *attest.Statement) { s.Manifest[1].Mode = 4 },
	"anchor 0":                  func(s *attest.Statement) { s.Manifest[1].Anchor = 0 },
	"anchor 3":                  func(s *attest.Statement) { s.Manifest[1].Anchor = 3 },
	"register missing":          func(s *attest.Statement) { s.Manifest[0].Register = nil },
	"register surplus":          func(s *attest.Statement) { s.Manifest[1].Register = s.Manifest[0].Register },
	"register surplus and last": func(s *attest.Statement) { s.Manifest[0].Anchor = attest.AnchorStatementOnly },
	"register bank sha1":        func(s *attest.Statement) { register(s, attest.SHA1, 20) },
	"register bank 0":           func(s *attest.Statement) { register(s, 0, 0) },
	"register bank sm3":         func(s *attest.Statement) { register(s, 0x0012, 32) },
	"register value empty":      func(s *attest.Statement) { register(s, attest.SHA256, 0) },
	"register value short":      func(s *attest.Statement) { register(s, attest.SHA256, 31) },
	"register value long":       func(s *attest.Statement) { register(s, attest.SHA256, 33) },
}

// batch makes a statement one of a batch.
func batch(s *attest.Statement) {
	s.Type, s.Sequence, s.Previous, s.FirstRecord, s.RecordCount = attest.TypeBatch, 7, [32]byte{31: 1}, 5, 100
	s.Body = nil
}

// counterBody returns the body of a statement with a counter.
func counterBody(value uint64) []byte {
	c := attest.Counter{Name: [34]byte{0, 0x0B, 1}, Value: value}
	return c.Body()
}

// TestCounter: a body is a counter or empty, and what the TPM certifies over a
// statement is neither what it quotes nor what another statement has.
func TestCounter(t *testing.T) {
	s := statement()
	if s.Counter() != nil {
		t.Error("a statement without a body has a counter")
	}
	s.Body = counterBody(7)
	b, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	p, err := attest.ParseStatement(b)
	if err != nil {
		t.Fatal(err)
	}
	if c := p.Counter(); c == nil || c.Value != 7 || c.Name != [34]byte{0, 0x0B, 1} || !bytes.Equal(c.Body(), s.Body) {
		t.Errorf("counter %+v", c)
	}
	st := sha256.Sum256(b)
	want := sha256.Sum256(cat("sworn.run/nv/v1\x00", st))
	if got := attest.QuotedCounter(b); !bytes.Equal(got, want[:]) {
		t.Errorf("certified over %x, want %x", got, want)
	}
	if c, err := attest.ParseCounter(nil); c != nil || !errors.Is(err, attest.ErrForm) {
		t.Errorf("no bytes: %v, %v", c, err)
	}
}

// slots returns n statement-only slots.
func slots(n int) []attest.Slot {
	var out []attest.Slot
	for i := range n {
		out = append(out, attest.Slot{Number: uint8(i), Format: 1, Mode: 1, Anchor: attest.AnchorStatementOnly})
	}
	return out
}

// register sets bank and size of the first slot's register.
func register(s *attest.Statement, bank attest.Alg, size int) {
	s.Manifest[0].Register = &attest.RegisterDescriptor{Bank: bank, Index: 13, Value: make([]byte, size)}
}

func TestStatementRules(t *testing.T) {
	for name, change := range statementRules {
		t.Run(name, func(t *testing.T) {
			s := statement()
			change(s)
			b, err := s.Encode()
			wantForm(t, err)
			if b != nil {
				t.Error("bytes beside an error")
			}
			got, err := attest.ParseStatement(raw(s))
			wantForm(t, err)
			if got != nil {
				t.Error("a statement beside an error")
			}
		})
	}
}

func TestStatementRefusals(t *testing.T) {
	good := raw(statement())
	bad := map[string][]byte{
		"nothing":                 nil,
		"trailing zero":           cat(good, uint8(0)),
		"twice":                   cat(good, good),
		"over 4,096 bytes":        cat(good, make([]byte, attest.MaxStatement)),
		"another label":           cat("sworn.run/statement/v2\x00\x00", good[24:]),
		"label with one NUL less": cat("sworn.run/statement/v1\x00", good[24:]),
		"register length 5":       cat(good[:262+8+37], uint8(5), good[262+8+38:]),
		"register length 255":     cat(good[:262+8+37], uint8(255), good[262+8+38:]),
		"manifest of one":         cat(good[:261+8], uint8(1), good[262+8:]),
		"manifest of three":       cat(good[:261+8], uint8(3), good[262+8:]),
		"nonce length 9":          cat(good[:258], uint8(9), good[259:]),
		"body length 65535":       cat(good[:267], uint16(65535), good[269:]),
	}
	for name, b := range bad {
		t.Run(name, func(t *testing.T) {
			s, err := attest.ParseStatement(b)
			wantForm(t, err)
			if s != nil {
				t.Error("a statement beside an error")
			}
		})
	}
}

func TestStatementTruncated(t *testing.T) {
	good := raw(statement())
	for n := range good {
		if s, err := attest.ParseStatement(good[:n]); s != nil || !errors.Is(err, attest.ErrForm) {
			t.Errorf("first %d bytes: %v, %v", n, s, err)
		}
	}
}

// Every bit of a statement means something: with another bit it is refused, or
// it is another statement that encodes to just those bytes.
func TestStatementBits(t *testing.T) {
	good := raw(statement())
	same, refused := statement(), 0
	for i := range len(good) * 8 {
		b := bytes.Clone(good)
		b[i/8] ^= 1 << (i % 8)
		s, err := attest.ParseStatement(b)
		if err != nil {
			if s != nil || !errors.Is(err, attest.ErrForm) {
				t.Errorf("bit %d: %v, %v", i, s, err)
			}
			refused++
			continue
		}
		if cmp.Equal(s, same) {
			t.Errorf("bit %d makes no difference", i)
		}
		if again, err := s.Encode(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("bit %d: encodes to %x, %v", i, again, err)
		}
	}
	if refused < 24*8 || refused == len(good)*8 {
		t.Errorf("%d of %d refused", refused, len(good)*8)
	}
}

// A parsed statement does not refer to the bytes it came from.
func TestStatementCopies(t *testing.T) {
	b := raw(statement())
	s, err := attest.ParseStatement(b)
	if err != nil {
		t.Fatal(err)
	}
	clear(b)
	if d := cmp.Diff(statement(), s); d != "" {
		t.Error(d)
	}
}

func TestStatementZero(t *testing.T) {
	_, err := (&attest.Statement{}).Encode()
	wantForm(t, err)
	if _, err := (*attest.Statement)(nil).Encode(); !errors.Is(err, attest.ErrArgument) {
		t.Errorf("nil statement: %v", err)
	}
}

func TestSignedBytes(t *testing.T) {
	b := raw(statement())
	if got, want := attest.SignedBytes(b), cat("sworn.run/sig/v1\x00", b); !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
	got := attest.SignedBytes(b)
	got[len(got)-1] ^= 1
	if !bytes.Equal(b, raw(statement())) {
		t.Error("the statement was changed")
	}
}

func TestQuoted(t *testing.T) {
	b := raw(statement())
	pre := cat("sworn.run/quote/v1\x00", uint8(3), uint16(0x0102), b)
	h256, h512 := sha256.Sum256(pre), sha512.Sum512(pre)
	if got := attest.Quoted(attest.SHA256, 3, 0x0102, b); !bytes.Equal(got, h256[:]) {
		t.Errorf("SHA-256: %x", got)
	}
	if got := attest.Quoted(attest.SHA512, 3, 0x0102, b); !bytes.Equal(got, h512[:]) {
		t.Errorf("SHA-512: %x", got)
	}
	for _, alg := range []attest.Alg{0, attest.SHA1, attest.SHA384, 0xffff} {
		if got := attest.Quoted(alg, 3, 0x0102, b); got != nil {
			t.Errorf("%v: %x, want none", alg, got)
		}
	}
}

// What is quoted for one slot and format is not what is quoted for another.
func TestQuotedDiffers(t *testing.T) {
	b := raw(statement())
	seen := map[string]bool{}
	for _, slot := range []uint8{0, 1, 255} {
		for _, f := range []attest.Format{1, 2, 0x0100, 0xffff} {
			seen[string(attest.Quoted(attest.SHA256, slot, f, b))] = true
		}
	}
	if len(seen) != 12 {
		t.Errorf("%d different values, want 12", len(seen))
	}
}

func TestEvidenceDigest(t *testing.T) {
	st, sig := raw(statement()), bytes.Repeat([]byte{7}, 64)
	items := [][]byte{[]byte(`{"slot":0}`), []byte(`{"slot":1}`)}
	hash := func(b []byte) [32]byte { return sha256.Sum256(b) }
	for n := range 3 {
		pre := cat("sworn.run/evidence/v1\x00", hash(st), hash(sig), uint16(n))
		for _, it := range items[:n] {
			pre = cat(pre, hash(it))
		}
		if got, want := attest.EvidenceDigest(st, sig, items[:n]), hash(pre); got != want {
			t.Errorf("%d items: got %x, want %x", n, got, want)
		}
	}
	all := attest.EvidenceDigest(st, sig, items)
	for name, other := range map[string][32]byte{
		"items swapped":     attest.EvidenceDigest(st, sig, [][]byte{items[1], items[0]}),
		"item left out":     attest.EvidenceDigest(st, sig, items[:1]),
		"items joined":      attest.EvidenceDigest(st, sig, [][]byte{cat(items[0], items[1])}),
		"another signature": attest.EvidenceDigest(st, sig[1:], items),
		"another statement": attest.EvidenceDigest(st[1:], sig, items),
		"parts exchanged":   attest.EvidenceDigest(sig, st, items),
	} {
		if other == all {
			t.Errorf("%s: the digest is the same", name)
		}
	}
}
