//go:build ignore

// Command genvectors writes the project's own vectors, testdata/vectors/sworn:
// statements, event logs, evidence digests, Merkle trees, commitments and openings with the one
// outcome that each must have. What it writes is the same bytes wherever and
// whenever it runs. "go generate ./testdata" runs it by the names of its files; no
// build includes it.
package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
)

func main() { os.Exit(run(os.Args[1:], os.Stderr)) }

func run(args []string, stderr io.Writer) int {
	if len(args) != 1 {
		fmt.Fprintln(stderr, "usage: go run main.go FOLDER")
		return 2
	}
	g := &generator{dir: args[0], names: map[string]bool{}}
	g.clean()
	g.statements()
	g.logs()
	g.structures()
	g.digests()
	g.trees()
	g.commitments()
	if g.err != nil {
		fmt.Fprintln(stderr, "error:", g.err)
		return 1
	}
	return 0
}

// generator keeps the first error.
type generator struct {
	dir   string
	names map[string]bool
	err   error
}

func (g *generator) fail(err error) {
	if g.err == nil {
		g.err = err
	}
}

// bytes keeps the error of a step that cannot fail.
func (g *generator) bytes(b []byte, err error) []byte {
	if err != nil {
		g.fail(err)
	}
	return b
}

// clean removes what an earlier run wrote.
func (g *generator) clean() {
	old, err := filepath.Glob(filepath.Join(g.dir, "*.json"))
	if err != nil {
		g.fail(err)
	}
	for _, f := range old {
		if err := os.Remove(f); err != nil {
			g.fail(err)
		}
	}
}

// head begins every vector.
type head struct {
	Kind   string `json:"kind"`
	Why    string `json:"why"`
	Expect string `json:"expect"`
}

func (g *generator) write(name string, v any) {
	if g.names[name] {
		g.fail(errors.New(name + " is written twice"))
	}
	g.names[name] = true
	b, err := json.MarshalIndent(v, "", "  ")
	if err == nil {
		err = os.WriteFile(filepath.Join(g.dir, name+".json"), append(b, '\n'), 0o644)
	}
	if err != nil {
		g.fail(err)
	}
}

func hexOf(b []byte) string { return hex.EncodeToString(b) }

func u64(n uint64) string { return strconv.FormatUint(n, 10) }

// named returns 32 bytes that a name stands for: in place of random ones.
func named(name string) [32]byte { return sha256.Sum256([]byte("vector " + name)) }

// seed is the launch key's; it is in every vector that needs it.
func seed() []byte { s := named("launch key"); return s[:] }

// event is an event to come; withhold leaves its data out of the log.
type event struct {
	typ      attest.EventType
	tag      string // empty: zeros
	data     []byte
	withhold bool
}

// origin returns the origin of a log in these banks, all of them found zero.
func (g *generator) origin(banks ...attest.Alg) event {
	o := &cer.Origin{
		V: 1, ResetCount: "3", RestartCount: "0", Firmware: "2024012500120000", Identity: cer.SHA256Digest(named("identity")),
	}
	for _, a := range banks {
		o.Start = append(o.Start, cer.OriginValue{Bank: a.String(), Value: hexOf(make([]byte, a.Size()))})
	}
	return event{attest.EventOrigin, "", g.bytes(o.Encode()), false}
}

// launch returns the events of one launch up to its separator.
func (g *generator) launch(tag string) []event {
	begin := &cer.Begin{V: 1, Series: fmt.Sprintf("%x", named("series "+tag)), Clock: "100"}
	binary := &cer.Component{
		Role: cer.RoleBinary, Name: "/usr/bin/true", Path: "/usr/bin/true",
		Digest: []string{cer.SHA256Digest(named("program"))}, Size: "39256", Protection: cer.ProtectionSealed,
	}
	argv, err := cer.NewArgv([]string{"true"})
	if err != nil {
		g.fail(err)
		return nil
	}
	host := cer.NewEnvironment(cer.KindHost, []cer.Fact{{Name: "machine", Value: "x86_64"}})
	key := g.bytes(x509.MarshalPKIXPublicKey(ed25519.NewKeyFromSeed(seed()).Public()))
	return []event{
		{attest.EventLaunchBegin, tag, g.bytes(begin.Encode()), false},
		{attest.EventKey, tag, key, false},
		{attest.EventComponent, tag, g.bytes(binary.Encode()), false},
		{attest.EventComponent, tag, g.bytes(argv.Encode()), false},
		{attest.EventEnvironment, tag, g.bytes(host.Encode()), false},
		{attest.EventSeparator, tag, nil, false},
	}
}

// closing returns commit and end of a launch.
func closing(tag string) []event {
	commit := named("statement of " + tag)
	return []event{{attest.EventCommit, tag, commit[:], false}, {attest.EventEnd, tag, []byte(attest.EndCompleted), false}}
}

// log builds a log; salts follow from the index.
func log(banks []attest.Alg, groups ...[]event) *attest.Log {
	l := &attest.Log{Register: 13, Banks: banks}
	for i, e := range slices.Concat(groups...) {
		tag := [32]byte{}
		if e.tag != "" {
			tag = named("tag " + e.tag)
		}
		x := attest.NewEvent(uint64(i), e.typ, tag, named("salt "+strconv.Itoa(i)), e.data)
		if e.withhold {
			x = x.Withhold()
		}
		l.Events = append(l.Events, x)
	}
	return l
}

// base is a run: its log before the commit, and the statement over it.
func (g *generator) base() (*attest.Log, *attest.Statement) {
	l := log([]attest.Alg{attest.SHA256}, []event{g.origin(attest.SHA256)}, g.launch("one"))
	key := sha256.Sum256(l.Events[2].Data)
	n := uint64(len(l.Events))
	return l, &attest.Statement{
		Type: attest.TypeRun, Clock: attest.ClockHost, Time: 1_795_321_200_000, Series: named("series one"),
		Launch: attest.LaunchID(l.Events[1:]), KeyID: key, LogSize: n, LogRoot: cer.LogRoot(l.Digests(n)),
		RecordCount: 1, TreeRoot: cer.Root([][32]byte{named("record")}), Nonce: []byte("\x01\x23\x45\x67\x89\xab\xcd\xef"),
		Manifest: []attest.Slot{{
			Format: 1, Mode: attest.ModeDirect, Anchor: attest.AnchorRegister, KeyID: named("AK name"),
			Register: &attest.RegisterDescriptor{Bank: attest.SHA256, Index: 13, Value: l.Replay(attest.SHA256, make([]byte, 32), n)},
		}},
	}
}

// The vectors of statements.
type (
	statementVector struct {
		head
		Statement string           `json:"statement"`
		Fields    *statementFields `json:"fields,omitempty"`
		Digest    string           `json:"sha256,omitempty"`
		Quoted    []quoted         `json:"quoted,omitempty"`
		Certified string           `json:"certified,omitempty"`
		Signature *signature       `json:"signature,omitempty"`
	}
	statementFields struct {
		Type        int     `json:"type"`
		Clock       int     `json:"clock"`
		Time        string  `json:"time"`
		Series      string  `json:"series"`
		Launch      string  `json:"launch"`
		KeyID       string  `json:"keyId"`
		Sequence    string  `json:"sequence"`
		Previous    string  `json:"previous"`
		LogSize     string  `json:"logSize"`
		LogRoot     string  `json:"logRoot"`
		FirstRecord string  `json:"firstRecord"`
		RecordCount string  `json:"recordCount"`
		TreeRoot    string  `json:"treeRoot"`
		Nonce       string  `json:"nonce"`
		Body        string  `json:"body"`
		Manifest    []field `json:"manifest"`
	}
	field struct {
		Slot     int      `json:"slot"`
		Format   int      `json:"format"`
		Mode     int      `json:"mode"`
		Anchor   int      `json:"anchor"`
		KeyID    string   `json:"keyId"`
		Register *descrip `json:"register,omitempty"`
	}
	descrip struct {
		Bank  int    `json:"bank"`
		Index uint32 `json:"index"`
		Value string `json:"value"`
	}
	quoted struct {
		Slot   int    `json:"slot"`
		Format int    `json:"format"`
		SHA256 string `json:"sha256"`
		SHA512 string `json:"sha512"`
	}
	signature struct {
		Seed   string `json:"seed"`
		Public string `json:"public"`
		Signed string `json:"signed"`
		Value  string `json:"value"`
	}
)

func fieldsOf(s *attest.Statement) *statementFields {
	f := &statementFields{
		Type: int(s.Type), Clock: int(s.Clock), Time: u64(s.Time), Series: hexOf(s.Series[:]), Launch: hexOf(s.Launch[:]),
		KeyID: hexOf(s.KeyID[:]), Sequence: u64(s.Sequence), Previous: hexOf(s.Previous[:]), LogSize: u64(s.LogSize),
		LogRoot: hexOf(s.LogRoot[:]), FirstRecord: u64(s.FirstRecord), RecordCount: u64(s.RecordCount),
		TreeRoot: hexOf(s.TreeRoot[:]), Nonce: hexOf(s.Nonce), Body: hexOf(s.Body),
	}
	for _, m := range s.Manifest {
		x := field{Slot: int(m.Number), Format: int(m.Format), Mode: int(m.Mode), Anchor: int(m.Anchor), KeyID: hexOf(m.KeyID[:])}
		if r := m.Register; r != nil {
			x.Register = &descrip{int(r.Bank), r.Index, hexOf(r.Value)}
		}
		f.Manifest = append(f.Manifest, x)
	}
	return f
}

// statement writes a statement that is accepted.
func (g *generator) statement(name, why string, s *attest.Statement) {
	b := g.bytes(s.Encode())
	digest, private := sha256.Sum256(b), ed25519.NewKeyFromSeed(seed())
	v := statementVector{
		head: head{"statement", why, "ok"}, Statement: hexOf(b), Fields: fieldsOf(s), Digest: hexOf(digest[:]),
		Signature: &signature{
			hexOf(seed()), hexOf(private.Public().(ed25519.PublicKey)), hexOf(attest.SignedBytes(b)),
			hexOf(ed25519.Sign(private, attest.SignedBytes(b))),
		},
	}
	for _, m := range s.Manifest {
		v.Quoted = append(v.Quoted, quoted{
			int(m.Number), int(m.Format),
			hexOf(attest.Quoted(attest.SHA256, m.Number, m.Format, b)), hexOf(attest.Quoted(attest.SHA512, m.Number, m.Format, b)),
		})
	}
	if s.Counter() != nil {
		v.Certified = hexOf(attest.QuotedCounter(b))
	}
	g.write("statement-"+name, v)
}

// counter returns the body of a statement with a counter.
func counter(value uint64) []byte {
	c := attest.Counter{Value: value}
	name := named("counter")
	copy(c.Name[:], append([]byte{0, 0x0B}, name[:]...))
	return c.Body()
}

// slot returns a slot with a register.
func slot(n int, bank attest.Alg) attest.Slot {
	return attest.Slot{
		Number: uint8(n), Format: 1, Mode: attest.ModeDirect, Anchor: attest.AnchorRegister, KeyID: named("AK " + strconv.Itoa(n)),
		Register: &attest.RegisterDescriptor{Bank: bank, Index: 13, Value: bytes.Repeat([]byte{byte(n + 1)}, bank.Size())},
	}
}

func (g *generator) statements() {
	_, run := g.base()
	g.statement("run", "a run with a nonce, anchored in PCR 13 of the SHA-256 bank", run)
	for _, x := range []struct {
		name, why string
		change    func(*attest.Statement)
	}{
		{"no-nonce", "no nonce is its own encoding", func(s *attest.Statement) { s.Nonce = nil }},
		{"nonce-64", "the longest nonce", func(s *attest.Statement) { s.Nonce = bytes.Repeat([]byte{0xa5}, 64) }},
		{"time-1", "the smallest time", func(s *attest.Statement) { s.Time = 1 }},
		{"time-2-53", "the largest time", func(s *attest.Statement) { s.Time = 1 << 53 }},
		{"counter", "a launch counter", func(s *attest.Statement) { s.Body = counter(7) }},
		{"counter-max", "the largest value of a counter", func(s *attest.Statement) { s.Body = counter(1<<64 - 1) }},
		{"batch", "a batch of three records, from number 5", func(s *attest.Statement) {
			s.Type, s.Sequence, s.Previous = attest.TypeBatch, 1, named("statement before")
			s.FirstRecord, s.RecordCount = 5, 3
			s.TreeRoot = cer.Root([][32]byte{named("record 5"), named("record 6"), named("record 7")})
		}},
		{"batch-longest", "a batch of as many records as there can be, up to the largest number", func(s *attest.Statement) {
			s.Type, s.Sequence, s.Previous = attest.TypeBatch, 1<<64-1, named("statement before")
			s.FirstRecord, s.RecordCount = 1<<53-attest.MaxBatch, attest.MaxBatch
		}},
		{"sha384", "a register of the SHA-384 bank", func(s *attest.Statement) { s.Manifest = []attest.Slot{slot(0, attest.SHA384)} }},
		{"sha512", "a register of the SHA-512 bank", func(s *attest.Statement) { s.Manifest = []attest.Slot{slot(0, attest.SHA512)} }},
		{"two-slots", "a second slot without a register, of a format this version does not appraise", func(s *attest.Statement) {
			s.Manifest = append(s.Manifest, attest.Slot{Number: 1, Format: 0xfffe, Mode: attest.ModeSVSM, Anchor: attest.AnchorStatementOnly})
		}},
		{"eight-slots", "the longest manifest", func(s *attest.Statement) {
			s.Manifest = nil
			for i := range attest.MaxSlots {
				s.Manifest = append(s.Manifest, slot(i, attest.SHA512))
			}
		}},
	} {
		_, s := g.base()
		x.change(s)
		g.statement(x.name, x.why, s)
	}
	g.refusedStatements(g.bytes(run.Encode()))
}

// put returns b with v in place of the bytes from at on.
func put(b []byte, at int, v ...byte) []byte { return slices.Concat(b[:at], v, b[at+len(v):]) }

// put64 is put with an integer of 8 bytes.
func put64(b []byte, at int, v uint64) []byte {
	return put(b, at, binary.BigEndian.AppendUint64(nil, v)...)
}

// batch returns a run as a batch: number 1, after a statement.
func batch(b []byte) []byte { return put(put64(put(b, 24, 3), 130, 1), 138, 1) }

// refusedStatements writes one vector for each rule of SPEC, section 4; b is
// "run", whose nonce of 8 bytes puts the body at 267, the manifest's count at
// 269, its slot at 270 and the slot's register length at 307.
func (g *generator) refusedStatements(b []byte) {
	without, zeros := slices.Concat(b[:307], []byte{0}), make([]byte, 32)
	only := put(without, 274, 2)
	for _, x := range []struct {
		name, why string
		b         []byte
	}{
		{"empty", "no bytes", nil},
		{"label-v2", "another version's label", put(b, 21, '2')},
		{"label-nul", "the label ends in one NUL", slices.Delete(slices.Clone(b), 23, 24)},
		{"truncated", "the last byte is missing", b[:len(b)-1]},
		{"trailing", "a byte too many", append(slices.Clone(b), 0)},
		{"too-long", "4,097 bytes", append(slices.Clone(b), make([]byte, 4097-len(b))...)},
		{"type-0", "no type", put(b, 24, 0)},
		{"type-batch", "a batch is not number 0, and follows a statement", put(b, 24, 3)},
		{"type-open", "a type that this version does not know", put(b, 24, 2)},
		{"batch-after-nothing", "a batch follows a statement", put64(put(b, 24, 3), 130, 1)},
		{"batch-sequence-0", "a batch is not number 0", put(put(b, 24, 3), 138, 1)},
		{"batch-count-0", "a batch of no record", put64(batch(b), 218, 0)},
		{"batch-count-2-20-1", "a batch of more records than 2^20", put64(batch(b), 218, 1<<20+1)},
		{"batch-first-2-53", "a record whose number is no exact double", put64(put64(batch(b), 210, 1<<53), 218, 1)},
		{"batch-counter", "a batch has no counter", slices.Concat(batch(b)[:267], []byte{0, 42}, counter(7), b[269:])},
		{"clock-1", "a clock that this version does not know", put(b, 25, 1)},
		{"time-0", "no time", put64(b, 26, 0)},
		{"time-2-53-1", "a time that is no exact double", put64(b, 26, 1<<53+1)},
		{"series-0", "no series", put(b, 34, zeros...)},
		{"launch-0", "no launch", put(b, 66, zeros...)},
		{"key-0", "no key", put(b, 98, zeros...)},
		{"sequence-1", "a run is number 0", put64(b, 130, 1)},
		{"previous", "a run follows nothing", put(b, 138, 1)},
		{"log-0", "an empty log", put64(b, 170, 0)},
		{"first-1", "a run holds record 0", put64(b, 210, 1)},
		{"count-0", "a run holds one record, not none", put64(b, 218, 0)},
		{"count-2", "a run holds one record, not two", put64(b, 218, 2)},
		{"nonce-7", "a nonce of 7 bytes", slices.Concat(b[:258], []byte{7}, b[259:266], b[267:])},
		{"nonce-65", "a nonce of 65 bytes", slices.Concat(b[:258], []byte{65}, make([]byte, 65), b[267:])},
		{"nonce-length", "the nonce's length is one too large", put(b, 258, 9)},
		{"body", "a body that is no counter", slices.Concat(b[:267], []byte{0, 1, 0}, b[269:])},
		{"counter-0", "a counter that has counted nothing", slices.Concat(b[:267], []byte{0, 42}, counter(0), b[269:])},
		{"counter-short", "a counter one byte short", slices.Concat(b[:267], []byte{0, 41}, counter(7)[:41], b[269:])},
		{"counter-long", "a counter and a byte more", slices.Concat(b[:267], []byte{0, 43}, counter(7), []byte{0}, b[269:])},
		{"counter-sha384", "a counter whose Name is not of SHA-256", slices.Concat(b[:267], []byte{0, 42, 0, 0x0C}, counter(7)[2:], b[269:])},
		{"counter-alone", "a counter, and nothing after it", slices.Concat(b[:267], []byte{0, 42}, counter(7))},
		{"manifest-0", "no slot", slices.Concat(b[:269], []byte{0})},
		{"manifest-9", "nine slots", slices.Concat(b[:269], []byte{9}, ninth(only[270:]))},
		{"manifest-short", "a slot less than announced", put(b, 269, 2)},
		{"slot-1", "the first slot is number 0", put(b, 270, 1)},
		{"slot-twice", "slot 0 twice", slices.Concat(put(b, 269, 2), b[270:])},
		{"format-0", "no format", put(b, 271, 0, 0)},
		{"mode-0", "no binding mode", put(b, 273, 0)},
		{"mode-4", "an unknown binding mode", put(b, 273, 4)},
		{"anchor-0", "no anchor", put(b, 274, 0)},
		{"anchor-3", "an unknown anchor", put(b, 274, 3)},
		{"register-missing", "a register is the anchor, and none is described", without},
		{"register-surplus", "a register is described, and it is not the anchor", put(b, 274, 2)},
		{"register-5", "a register descriptor that ends in its index", slices.Concat(put(b, 307, 5)[:308], b[308:313])},
		{"register-short", "a value one byte shorter than its bank's digests", slices.Concat(put(b, 307, 37)[:308], b[308:345])},
		{"register-sha1", "the SHA-1 bank", slices.Concat(b[:307], []byte{26, 0, 4}, b[310:334])},
		{"register-bank", "an unknown bank", put(b, 308, 0, 0x12)},
	} {
		g.write("statement-refused-"+x.name, statementVector{head: head{"statement", x.why, "statement.form"}, Statement: hexOf(x.b)})
	}
}

// ninth repeats a slot nine times, numbered from 0.
func ninth(slot []byte) []byte {
	var out []byte
	for i := range 9 {
		out = append(out, put(slot, 0, byte(i))...)
	}
	return out
}
