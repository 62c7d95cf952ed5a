package bootlog

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/sworn-run/sworn/attest"
)

func FuzzParse(f *testing.F) {
	seeds, err := filepath.Glob(filepath.Join("testdata", "run-*", "eventlog"))
	if err != nil || len(seeds) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, name := range seeds {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, true)
	}
	f.Add(build([]attest.Alg{attest.SHA256}, append(secureBoot(1, 1), separator(1), opaque(3, "x"))...), false)
	f.Add(append(build([]attest.Alg{attest.SHA384, attest.SHA256}, separator(4)), 0, 0, 0), false)
	f.Fuzz(func(t *testing.T, b []byte, pcrs bool) {
		kind := MRs
		if pcrs {
			kind = PCRs
		}
		l, err := Parse(b, kind)
		if err != nil {
			if l != nil || !errors.Is(err, attest.ErrForm) {
				t.Fatalf("%v, %v", l, err)
			}
			return
		}
		if out, err := l.Marshal(); err != nil || !bytes.Equal(out, b) {
			t.Fatalf("does not marshal back to itself: %v", err)
		}
		for _, bank := range []attest.Alg{attest.SHA256, attest.SHA384} {
			values, err := l.Replay(bank, nil)
			if err != nil {
				if values != nil || !errors.Is(err, attest.ErrForm) && (!errors.Is(err, attest.ErrArgument) || l.Has(bank)) {
					t.Fatalf("replay: %v, %v", values, err)
				}
				continue
			}
			checkFacts(t, l, bank, values)
		}
	})
}

// checkFacts wants each event of a confirmed register in one place, and nothing from
// registers that the quote does not confirm.
func checkFacts(t *testing.T, l *Log, bank attest.Alg, values []Value) {
	t.Helper()
	f, err := l.Appraise(bank, nil, Options{})
	if err != nil || len(f.all) != 0 || f.SecureBoot.Established || f.Variables.Established || f.Authorities.Established ||
		f.Sections.Established || len(f.Images)+len(f.Rest)+len(f.Disks)+len(f.Commands)+len(f.Separators) != 0 {
		t.Fatalf("without a quote: %+v, %v", f, err)
	}
	var quoted []attest.RegisterValue
	events := 0
	for _, v := range values {
		quoted = append(quoted, attest.RegisterValue{Bank: bank, Index: v.Index, Value: v.Value})
		events += v.Events
	}
	f, err = l.Appraise(bank, quoted, Options{})
	if err != nil || len(f.all) != events {
		t.Fatalf("%d events of %d: %v", len(f.all), events, err)
	}
	for _, r := range f.Registers {
		if r.Status != Confirmed {
			t.Fatalf("register %d: %v", r.Index, r.Status)
		}
	}
	for _, m := range f.all {
		if m.Coverage != CoversNothing && !bytes.Equal(bank.Sum(m.Covered), m.Digest) {
			t.Fatalf("event %d: covered bytes that are not", m.Event)
		}
	}
	if s := f.SecureBoot; s.Established != (s.State != Unknown) || s.Established == (s.Reason != "") {
		t.Fatalf("%+v", s)
	}
	if v := f.Variables; !v.Established && len(v.PK)+len(v.KEK)+len(v.DB)+len(v.DBX) != 0 {
		t.Fatalf("%+v", v)
	}
}

func FuzzParseSignatures(f *testing.F) {
	l := parse(f, read(f, "run-llmsb", "eventlog"), PCRs)
	seeds := 0
	for i := range l.Events {
		if v, err := parseVariable(l.Events[i].Data); err == nil && l.Events[i].Index == 7 {
			f.Add(v.Value)
			seeds++
		}
	}
	if seeds < 5 {
		f.Fatal("no seeds")
	}
	f.Add(append(list(nil), list(make([]byte, 32))...))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseSignatures(b)
		if err != nil {
			if s != nil || !errors.Is(err, attest.ErrForm) {
				t.Fatalf("%v, %v", s, err)
			}
			return
		}
		size := 0
		for _, x := range s {
			size += 16 + len(x.Data)
		}
		if size > len(b) {
			t.Fatalf("%d bytes of signatures in %d", size, len(b))
		}
	})
}

func FuzzVariable(f *testing.F) {
	f.Add(variableData(globalVariable(), "SecureBoot", []byte{1}))
	f.Add(read(f, "run-llmsb", "eventlog"))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := parseVariable(b)
		if err != nil {
			if v != nil || !errors.Is(err, attest.ErrForm) {
				t.Fatalf("%v, %v", v, err)
			}
		} else if !bytes.Equal(v.marshal(), b) {
			t.Fatal("does not marshal back to itself")
		}
		if d, err := parseDisk(b); (d == nil) == (err == nil) || err != nil && !errors.Is(err, attest.ErrForm) {
			t.Fatalf("%v, %v", d, err)
		}
	})
}
