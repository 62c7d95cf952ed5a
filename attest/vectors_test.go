package attest_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/testdata"
)

// vector holds the members of every kind of vector; testdata/vectors/sworn has
// a README.
type vector struct {
	Kind      string
	Why       string
	Expect    string
	Statement hexBytes
	Fields    struct {
		Type, Clock              uint8
		Time                     decimal
		Series, Launch, KeyID    hexBytes
		Sequence                 decimal
		Previous                 hexBytes
		LogSize                  decimal
		LogRoot                  hexBytes
		FirstRecord, RecordCount decimal
		TreeRoot, Nonce, Body    hexBytes
		Manifest                 []vectorSlot
	}
	SHA256 hexBytes
	Quoted []struct {
		Slot           uint8
		Format         uint16
		SHA256, SHA512 hexBytes
	}
	Certified      hexBytes
	Signature      json.RawMessage
	Log            hexBytes
	Register       uint32
	Banks          []string
	Root           hexBytes
	Events         []vectorEvent
	Replay         []vectorReplay
	Launches       []hexBytes
	Items          []string
	EvidenceDigest hexBytes
}

type (
	vectorSlot struct {
		Slot, Mode, Anchor uint8
		Format             uint16
		KeyID              hexBytes
		Register           *struct {
			Bank  uint16
			Index uint32
			Value hexBytes
		}
	}
	vectorSignature struct{ Seed, Public, Signed, Value hexBytes }
	vectorEvent     struct {
		Type                                 string
		Launch, Salt, Data, DataHash, Digest hexBytes
		Disclosed                            bool
	}
	vectorReplay struct {
		Bank         string
		Start, Value hexBytes
		Events       uint64
	}
)

// hexBytes is a string of hexadecimal digits in JSON.
type hexBytes []byte

// UnmarshalText decodes the digits.
func (h *hexBytes) UnmarshalText(b []byte) (err error) {
	*h, err = hex.DecodeString(string(b))
	return err
}

// decimal is a string of digits in JSON.
type decimal uint64

// UnmarshalText decodes the digits.
func (d *decimal) UnmarshalText(b []byte) error {
	n, err := strconv.ParseUint(string(b), 10, 64)
	*d = decimal(n)
	return err
}

// vectors returns the vectors of a kind by name. A vector of a kind that no
// test runs, or none at all, is an error.
func vectors(t *testing.T, kind string, outcomes ...string) map[string]*vector {
	t.Helper()
	const dir = "vectors/sworn"
	files, err := fs.Glob(testdata.Vectors, dir+"/*.json")
	if err != nil {
		t.Fatal(err)
	}
	out, seen := map[string]*vector{}, map[string]int{}
	for _, f := range files {
		b, err := fs.ReadFile(testdata.Vectors, f)
		if err != nil {
			t.Fatal(err)
		}
		v, name := &vector{}, strings.TrimSuffix(path.Base(f), ".json")
		if err := json.Unmarshal(b, v); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		switch v.Kind {
		case "merkle", "proof", "commitment", "opening": // package cer runs them
		case kind:
			out[name] = v
			seen[v.Expect]++
		case "statement", "log", "evidence":
		default:
			t.Errorf("%s is of unknown kind %q", name, v.Kind)
		}
	}
	known := 0
	for _, o := range outcomes {
		if seen[o] == 0 {
			t.Errorf("no %s vector expects %q", kind, o)
		}
		known += seen[o]
	}
	if known != len(out) || known == 0 {
		t.Fatalf("%d %s vectors, %d of them with a known outcome: %v", len(out), kind, known, seen)
	}
	return out
}

func TestStatementVectors(t *testing.T) {
	for name, v := range vectors(t, "statement", "ok", "statement.form") {
		t.Run(name, func(t *testing.T) {
			s, err := attest.ParseStatement(v.Statement)
			if v.Expect != "ok" {
				if s != nil {
					t.Error("accepted")
				}
				wantForm(t, err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(v.statement(), s); d != "" {
				t.Error(d)
			}
			if b, err := v.statement().Encode(); err != nil || !bytes.Equal(b, v.Statement) {
				t.Errorf("the fields encode to %x, %v", b, err)
			}
			checkCovered(t, v)
		})
	}
}

// statement returns the fields as a statement.
func (v *vector) statement() *attest.Statement {
	f := &v.Fields
	s := &attest.Statement{
		Type: attest.StatementType(f.Type), Clock: attest.ClockSource(f.Clock), Time: uint64(f.Time),
		Series: [32]byte(f.Series), Launch: [32]byte(f.Launch), KeyID: [32]byte(f.KeyID),
		Sequence: uint64(f.Sequence), Previous: [32]byte(f.Previous), LogSize: uint64(f.LogSize), LogRoot: [32]byte(f.LogRoot),
		FirstRecord: uint64(f.FirstRecord), RecordCount: uint64(f.RecordCount), TreeRoot: [32]byte(f.TreeRoot),
	}
	if len(f.Body) > 0 {
		s.Body = f.Body
	}
	if len(f.Nonce) > 0 {
		s.Nonce = f.Nonce
	}
	for _, m := range f.Manifest {
		x := attest.Slot{
			Number: m.Slot, Format: attest.Format(m.Format), Mode: attest.Mode(m.Mode),
			Anchor: attest.AnchorKind(m.Anchor), KeyID: [32]byte(m.KeyID),
		}
		if r := m.Register; r != nil {
			x.Register = &attest.RegisterDescriptor{Bank: attest.Alg(r.Bank), Index: r.Index, Value: r.Value}
		}
		s.Manifest = append(s.Manifest, x)
	}
	return s
}

// checkCovered checks what is quoted, signed and committed.
func checkCovered(t *testing.T, v *vector) {
	t.Helper()
	if sum := sha256.Sum256(v.Statement); !bytes.Equal(sum[:], v.SHA256) {
		t.Errorf("digest %x", sum)
	}
	if len(v.Quoted) != len(v.Fields.Manifest) {
		t.Errorf("%d values for %d slots", len(v.Quoted), len(v.Fields.Manifest))
	}
	for _, q := range v.Quoted {
		a, b := attest.Quoted(attest.SHA256, q.Slot, attest.Format(q.Format), v.Statement), attest.Quoted(attest.SHA512, q.Slot, attest.Format(q.Format), v.Statement)
		if !bytes.Equal(a, q.SHA256) || !bytes.Equal(b, q.SHA512) {
			t.Errorf("slot %d: quoted %x, %x", q.Slot, a, b)
		}
	}
	var s vectorSignature
	if err := json.Unmarshal(v.Signature, &s); err != nil {
		t.Fatal(err)
	}
	private := ed25519.NewKeyFromSeed(s.Seed)
	if !bytes.Equal(private.Public().(ed25519.PublicKey), s.Public) {
		t.Errorf("public key %x", private.Public())
	}
	if !bytes.Equal(attest.SignedBytes(v.Statement), s.Signed) || !ed25519.Verify(ed25519.PublicKey(s.Public), s.Signed, s.Value) {
		t.Error("the signature does not verify")
	}
}

func TestLogVectors(t *testing.T) {
	for name, v := range vectors(t, "log", "ok", "log.replay", "log.launch") {
		t.Run(name, func(t *testing.T) {
			l, err := attest.ParseLog(v.Log)
			if v.Expect == "log.replay" {
				if l != nil {
					t.Error("accepted")
				}
				wantForm(t, err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			s, err := l.Structure()
			if v.Expect == "log.launch" {
				if s != nil {
					t.Error("accepted")
				}
				wantForm(t, err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			checkLog(t, v, l, s)
		})
	}
}

// checkLog compares a log with what its vector says.
func checkLog(t *testing.T, v *vector, l *attest.Log, s *attest.Structure) {
	t.Helper()
	if l.Register != v.Register || len(l.Events) != len(v.Events) || len(l.Banks) != len(v.Banks) || len(v.Replay) < 8*len(l.Banks) {
		t.Fatalf("register %d, %d events, banks %v", l.Register, len(l.Events), l.Banks)
	}
	for i, name := range v.Banks {
		if l.Banks[i].String() != name {
			t.Errorf("bank %d is %v", i, l.Banks[i])
		}
	}
	for i, e := range l.Events {
		w, digest := v.Events[i], e.Digest()
		if e.Type.String() != w.Type || e.Disclosed != w.Disclosed || !bytes.Equal(e.Launch[:], w.Launch) ||
			!bytes.Equal(e.Data, w.Data) || !bytes.Equal(e.DataHash[:], w.DataHash) || !bytes.Equal(digest[:], w.Digest) ||
			e.Disclosed && !bytes.Equal(e.Salt[:], w.Salt) {
			t.Errorf("event %d is %+v", i, e)
		}
	}
	for _, r := range v.Replay {
		alg, err := attest.ParseAlg(r.Bank)
		if err != nil {
			t.Fatal(err)
		}
		if got := l.Replay(alg, r.Start, r.Events); !bytes.Equal(got, r.Value) {
			t.Errorf("%s, %d events: %x", r.Bank, r.Events, got)
		}
	}
	if len(s.Segments) != len(v.Launches) {
		t.Fatalf("%d segments", len(s.Segments))
	}
	for i := range s.Segments {
		if !bytes.Equal(s.Segments[i].Launch[:], v.Launches[i]) {
			t.Errorf("launch %d is %x", i, s.Segments[i].Launch)
		}
	}
}

func TestEvidenceVectors(t *testing.T) {
	for name, v := range vectors(t, "evidence", "ok") {
		var sig hexBytes
		if err := json.Unmarshal(v.Signature, &sig); err != nil {
			t.Fatal(err)
		}
		var items [][]byte
		for _, it := range v.Items {
			items = append(items, []byte(it))
		}
		if e := attest.EvidenceDigest(v.Statement, sig, items); !bytes.Equal(e[:], v.EvidenceDigest) {
			t.Errorf("%s: %x", name, e)
		}
	}
}

// Whoever reads the vectors by the words of docs/SPEC.md comes to the same
// outcomes and the same values.
func TestVectorsBySpec(t *testing.T) {
	for name, v := range vectors(t, "statement", "ok", "statement.form") {
		s, err := specStatement(v.Statement)
		if (err == nil) != (v.Expect == "ok") {
			t.Errorf("%s: %v, expected %s", name, err, v.Expect)
		}
		if err == nil {
			specCompareStatement(t, name, s, v)
		}
	}
	for name, v := range vectors(t, "log", "ok", "log.replay", "log.launch") {
		l, err := specLog(v.Log)
		outcome := "ok"
		switch {
		case errors.Is(err, errSpecGrammar):
			outcome = "log.launch"
		case err != nil:
			outcome = "log.replay"
		}
		if outcome != v.Expect {
			t.Errorf("%s: %v, expected %s", name, err, v.Expect)
		}
		if err == nil {
			specCompareLog(t, name, l, v)
		}
	}
}
