package verifier_test

import (
	"bytes"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/simulator/tsa"
	"github.com/sworn-run/sworn/verifier"
)

// reportJSON is a report as programs get it.
func jsonOf(tb testing.TB, r *verifier.Report) string {
	tb.Helper()
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}

// newSession returns a session.
func newSession(tb testing.TB, in verifier.Input) *verifier.Session {
	tb.Helper()
	s, err := verifier.NewSession(in)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// sameInSession wants a session to say of a file what Verify says of it alone.
func sameInSession(tb testing.TB, s *verifier.Session, file []byte, in verifier.Input) *verifier.Report {
	tb.Helper()
	want, err := verifier.Verify(file, in)
	if err != nil {
		tb.Fatal(err)
	}
	// Twice: once the evidence is found out, and once remembered.
	for range 2 {
		got, err := s.Verify(file)
		if err != nil {
			tb.Fatal(err)
		}
		if d := cmp.Diff(jsonOf(tb, want), jsonOf(tb, got)); d != "" {
			tb.Fatalf("alone and in a session:\n%s", d)
		}
		if a, b := fmt.Sprint(want.Genuine(), want.Sealed()), fmt.Sprint(got.Genuine(), got.Sealed()); a != b {
			tb.Fatalf("alone %s, in a session %s", a, b)
		}
	}
	record, inclusion, shared, err := cer.Split(file, nil)
	if err != nil {
		return want
	}
	brief, err := s.JudgeShared(shared, record, inclusion)
	if err != nil {
		tb.Fatal(err)
	}
	less := *want
	less.Summary, less.Capsule = verifier.Summary{}, ""
	if d := cmp.Diff(jsonOf(tb, &less), jsonOf(tb, brief)); d != "" {
		tb.Fatalf("in brief:\n%s", d)
	}
	return want
}

// inputs are a relying party's input, and what it may bring besides or instead.
func inputs(in verifier.Input) map[string]verifier.Input {
	out := map[string]verifier.Input{"as it is": in}
	add := func(name string, change func(*verifier.Input)) {
		x := in
		change(&x)
		out[name] = x
	}
	add("without a policy", func(x *verifier.Input) { x.Policy = nil })
	add("without roots", func(x *verifier.Input) { x.Roots = nil })
	add("without pins", func(x *verifier.Input) { x.RootsOnly = true })
	add("without a nonce", func(x *verifier.Input) { x.Nonce = nil })
	add("with another nonce", func(x *verifier.Input) { x.Nonce = make([]byte, 16) })
	add("in twenty years", func(x *verifier.Input) { x.Now = x.Now.AddDate(20, 0, 0) })
	add("as of then", func(x *verifier.Input) { x.Now, x.At = x.Now.AddDate(20, 0, 0), x.Now })
	add("as of then, allowed", func(x *verifier.Input) {
		p := *x.Policy
		p.AllowAt = true
		x.Policy, x.Now, x.At = &p, x.Now.AddDate(20, 0, 0), x.Now
	})
	add("with a series", func(x *verifier.Input) {
		p := *x.Policy
		p.Series = verifier.SeriesCounter
		x.Policy = &p
	})
	return out
}

// TestSessionGolden: known-good records, whatever the relying party brings, one after the
// other in one session.
func TestSessionGolden(t *testing.T) {
	for name, in := range inputs(goldenInput(t, "page")) {
		in.InputFile, in.OutputFile = goldenFile(t, "page.input"), goldenFile(t, "page.output")
		in.Weights = []verifier.NamedFile{{Name: "default", File: *goldenFile(t, "weights.bin")}}
		t.Run(name, func(t *testing.T) {
			s := newSession(t, in)
			for _, record := range []string{"page", "golden", "full", "page"} {
				sameInSession(t, s, golden(t, record+".cer.json"), in)
			}
		})
	}
	for kind := range teeKinds() {
		for name, in := range inputs(teeInput(t, kind)) {
			if kind != "tpm-sev-snp" && name != "as it is" && name != "as of then, allowed" {
				continue
			}
			t.Run(kind+" "+name, func(t *testing.T) {
				s := newSession(t, in)
				for _, record := range []string{kind, kind + ".first", kind} {
					sameInSession(t, s, golden(t, "tee/"+record+".cer.json"), in)
				}
			})
		}
	}
}

// TestSessionDeeds: records in which one fact is not acceptable.
func TestSessionDeeds(t *testing.T) {
	f := newForger(t)
	in := f.input(t, nil)
	in.InputFile, in.OutputFile = goldenFile(t, "page.input"), goldenFile(t, "page.output")
	s := newSession(t, in)
	refused := 0
	for _, d := range slices.Concat(statementDeeds(f), logDeeds(t), launchDeeds(t), earlierDeeds(), recordDeeds(), quoteDeeds()) {
		if !sameInSession(t, s, f.record(t, d.x), in).Trusted {
			refused++
		}
	}
	if refused < 100 {
		t.Errorf("only %d records were refused", refused)
	}
}

// TestSessionBits: a record with a flipped bit, beside the record itself.
func TestSessionBits(t *testing.T) {
	for _, tc := range []struct {
		name string
		in   verifier.Input
	}{{"page", goldenInput(t, "page")}, {"tee/tpm-sev-snp", teeInput(t, "tpm-sev-snp")}} {
		file := golden(t, tc.name+".cer.json")
		s := newSession(t, tc.in)
		if !sameInSession(t, s, file, tc.in).Trusted {
			t.Fatal("the record is not trusted before")
		}
		stride := 1 + len(file)*8/150
		if raceEnabled {
			stride *= 20
		}
		for bit := 0; bit < len(file)*8; bit += stride {
			mutant := bytes.Clone(file)
			mutant[bit/8] ^= 1 << (bit % 8)
			sameInSession(t, s, mutant, tc.in)
		}
		sameInSession(t, s, file, tc.in)
	}
}

// TestSessionStamps: what is judged as of several times, with tokens over the evidence,
// over one record as a whole, and over nothing.
func TestSessionStamps(t *testing.T) {
	scene := newStampScene(t)
	hour := func(n int) time.Time { return scene.at.Add(time.Duration(n) * time.Hour) }
	one := stamp(t, scene.file, scene.tsa, order(t, scene.file, hour(1)))
	files := map[string][]byte{
		"none": scene.file, "one": one,
		"two":         stamp(t, one, scene.tsa, order(t, one, hour(2))),
		"archive":     stamp(t, scene.file, scene.tsa, archiveOrder(t, scene.file, crypto.SHA384, hour(1))),
		"and archive": stamp(t, one, scene.tsa, archiveOrder(t, one, crypto.SHA512, hour(2))),
		"of another":  stamp(t, scene.file, scene.tsa, tsa.Order{Hash: crypto.SHA256, Imprint: make([]byte, 32), Time: hour(1)}),
		"to come":     stamp(t, scene.file, scene.tsa, order(t, scene.file, hour(100))),
	}
	c, err := cer.ParseCapsule(one)
	if err != nil {
		t.Fatal(err)
	}
	c.Tokens[0] = c.Tokens[0][:len(c.Tokens[0])-1]
	files["unreadable"] = encodeCapsule(t, c)
	trusted := 0
	for _, in := range []verifier.Input{scene.in, scene.later(scene.in, 1), scene.later(scene.in, 30), scene.trusting(t)} {
		s := newSession(t, in)
		for _, name := range slices.Sorted(maps.Keys(files)) {
			if sameInSession(t, s, files[name], in).Trusted {
				trusted++
			}
		}
	}
	if trusted < 10 || trusted > 4*len(files)-10 {
		t.Errorf("%d of %d are trusted", trusted, 4*len(files))
	}
}

// TestSessionBatch: the records of batches, mixed and changed, in one session.
func TestSessionBatch(t *testing.T) {
	f := newForger(t)
	in := f.input(t, nil)
	s := newSession(t, in)
	a, b := f.batch(t, 5, forgery{}), f.batch(t, 4, forgery{})
	for i, file := range slices.Concat(a, b, a[:2], b) {
		if !sameInSession(t, s, file, in).Trusted {
			t.Errorf("record %d is not trusted", i)
		}
	}
	for _, x := range []forgery{
		{snapshot: func(s *cer.Snapshot) { s.ExecutionID += "0" }},
		{runtime: func(r *cer.Runtime) { r.Exit.Code = 3 }},
		{runtime: func(r *cer.Runtime) { r.Record = "6" }},
		{capsule: func(c *cer.Capsule) { c.Inclusion.Path = nil }},
		{capsule: func(c *cer.Capsule) { c.Signature[0] ^= 1 }},
		{capsule: func(c *cer.Capsule) { c.CER = []byte(`{}`) }},
		{capsule: func(c *cer.Capsule) { c.Evidence = nil }},
	} {
		files := f.batch(t, 3, x)
		for _, file := range slices.Concat(files, a[:1]) {
			sameInSession(t, s, file, in)
		}
	}
	// Evidence of one batch with records of the other.
	_, _, other, err := cer.Split(b[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range a {
		record, inclusion, _, err := cer.Split(file, nil)
		if err != nil {
			t.Fatal(err)
		}
		if sameInSession(t, s, other.AppendFile(nil, record, inclusion), in).Trusted {
			t.Error("trusted with another batch's evidence")
		}
	}
}

// TestSessionCommitted: records that commit to what they hold, with and without an opening,
// their own or another's.
func TestSessionCommitted(t *testing.T) {
	f := newForger(t)
	file, o := f.committed(t, forgery{})
	other, p := f.committed(t, forgery{})
	for _, opening := range [][]byte{nil, openingFile(t, o), openingFile(t, p), []byte("x")} {
		in := f.committedInput(t, opening)
		s := newSession(t, in)
		for _, record := range [][]byte{file, other, golden(t, "page.cer.json"), file} {
			sameInSession(t, s, record, in)
		}
	}
}

// TestSessionConcurrently: several goroutines use one session, with more statements than
// it remembers.
func TestSessionConcurrently(t *testing.T) {
	f := newForger(t)
	in := f.input(t, nil)
	s := newSession(t, in)
	var files [][]byte
	for i := range 80 {
		x := forgery{statement: func(s *attest.Statement) { s.Previous[1] = byte(i) }}
		if i%3 == 0 {
			x.capsule = func(c *cer.Capsule) { c.Signature[5] ^= 1 }
		}
		files = append(files, f.batch(t, 2, x)...)
	}
	want := make([]string, len(files))
	for i, file := range files {
		want[i] = jsonOf(t, verify(t, file, in))
	}
	var group sync.WaitGroup
	for g := range 4 {
		group.Go(func() {
			for i := range files {
				n := (i + g*17) % len(files)
				r, err := s.Verify(files[n])
				if err != nil {
					t.Error(err)
					return
				}
				if jsonOf(t, r) != want[n] {
					t.Errorf("record %d is another in a session of several goroutines", n)
					return
				}
			}
		})
	}
	group.Wait()
}

// TestSessionCost: the evidence of a batch is appraised once.
func TestSessionCost(t *testing.T) {
	f := newForger(t)
	in := f.input(t, nil)
	file := f.batch(t, 2, forgery{})[1]
	record, inclusion, shared, err := cer.Split(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := newSession(t, in)
	alone := testing.AllocsPerRun(2, func() { verify(t, file, in) })
	again := testing.AllocsPerRun(2, func() {
		if r, err := s.JudgeShared(shared, record, inclusion); err != nil || !r.Trusted {
			t.Error(r.Headline, err)
		}
	})
	if again > alone/4 {
		t.Errorf("%v allocations for a record whose evidence is known, alone %v", again, alone)
	}
}

// TestSessionRefuses: callers' mistakes.
func TestSessionRefuses(t *testing.T) {
	if s, err := verifier.NewSession(verifier.Input{}); s != nil || !errors.Is(err, verifier.ErrInput) {
		t.Errorf("no time: %v", err)
	}
	in := goldenInput(t, "page")
	in.Policy = &verifier.Policy{}
	if s, err := verifier.NewSession(in); s != nil || !errors.Is(err, verifier.ErrPolicy) {
		t.Errorf("a policy of nothing: %v", err)
	}
	file := golden(t, "page.cer.json")
	record, inclusion, shared, err := cer.Split(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*verifier.Session{nil, {}} {
		if r, err := s.Verify(file); r != nil || !errors.Is(err, verifier.ErrInput) {
			t.Errorf("no session: %v", err)
		}
		if r, err := s.Verify(nil); r != nil || !errors.Is(err, verifier.ErrInput) {
			t.Errorf("no session: %v", err)
		}
		if r, err := s.VerifyShared(shared, record, inclusion); r != nil || !errors.Is(err, verifier.ErrInput) {
			t.Errorf("no session: %v", err)
		}
	}
	s := newSession(t, goldenInput(t, "page"))
	if r, err := s.JudgeShared(nil, record, inclusion); r != nil || !errors.Is(err, verifier.ErrInput) {
		t.Errorf("nothing shared: %v", err)
	}
	for _, hostile := range [][]byte{nil, []byte("x"), file[:len(file)-1]} {
		sameInSession(t, s, hostile, goldenInput(t, "page"))
	}
	sameInSession(t, s, shared.AppendFile(nil, record, []byte(`{}`)), goldenInput(t, "page"))
	r, err := s.VerifyShared(shared, record, []byte(`{}`))
	if err != nil || r.Trusted || named(r) != "capsule.strict" {
		t.Errorf("an inclusion proof of nothing: %v, %v", r, err)
	}
	if r, err := s.VerifyShared(shared, nil, nil); err != nil || r.Trusted {
		t.Errorf("no record: %v, %v", r, err)
	}
}

// BenchmarkSession judges one record of a batch whose evidence is known, beside a plain
// reading of its JSON.
func BenchmarkSession(b *testing.B) {
	f := newForger(b)
	in := f.input(b, nil)
	record, inclusion, shared, err := cer.Split(f.batch(b, 100, forgery{})[50], nil)
	if err != nil {
		b.Fatal(err)
	}
	s := newSession(b, in)
	b.Run("judge", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if r, err := s.JudgeShared(shared, record, inclusion); err != nil || !r.Trusted {
				b.Fatal(err)
			}
		}
	})
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(record)))
		for b.Loop() {
			var v any
			if err := json.Unmarshal(record, &v); err != nil {
				b.Fatal(err)
			}
		}
	})
}
