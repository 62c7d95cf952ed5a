package verifier_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/verifier"
)

// committed makes a record after the golden page that commits to its fields, and what
// opens it. Its input and output are those of the page, which declares seed and note.
func (f *forger) committed(tb testing.TB, x forgery) (file []byte, o *cer.Opening) {
	tb.Helper()
	series := [32]byte(goldenSeries(tb))
	o = &cer.Opening{Type: cer.OpeningType}
	commit := func(field cer.OpenField) string {
		salt := sha256.Sum256([]byte("salt of " + field.Name))
		field.Salt = hex.EncodeToString(salt[:])
		value, err := field.Bytes()
		if err != nil {
			tb.Fatal(err)
		}
		o.Fields = append(o.Fields, field)
		c := cer.Commit(series, salt, field.Name, value)
		return hex.EncodeToString(c[:])
	}
	stream := func(field string, b []byte) string {
		s := cer.NewStream(sha256.Sum256(b), uint64(len(b)), true)
		return commit(cer.OpenField{Name: field, Stream: &s})
	}
	input, output := stream(cer.FieldInput, golden(tb, "page.input")), stream(cer.FieldOutput, golden(tb, "page.output"))
	parameters := []cer.Parameter{
		{Name: "note", Commitment: commit(cer.OpenField{Name: "param:note", Value: new("declared")})},
		{Name: "seed", Commitment: commit(cer.OpenField{Name: "param:seed", Value: new("7")})},
	}
	stderr := stream(cer.FieldStderr, nil)
	made := x
	made.events = func(l *attest.Log) {
		commitEvents(tb, l, parameters)
		if x.events != nil {
			x.events(l)
		}
	}
	made.runtime = func(r *cer.Runtime) {
		r.V, r.Disclosure, r.Parameters = cer.RuntimeVersion2, cer.DiscloseCommit, slices.Clone(parameters)
		r.Input, r.Output, r.Stderr = cer.Stream{Commitment: input}, cer.Stream{Commitment: output, Complete: true}, cer.Stream{Commitment: stderr}
		r.NotApplicable = []string{"parameters.maxTokens", "parameters.temperature", "prompt"}
		if x.runtime != nil {
			x.runtime(r)
		}
	}
	made.snapshot = func(s *cer.Snapshot) {
		c := goldenCapsule(tb, "page")
		b, err := cer.ParseBundle(c.CER)
		if err != nil {
			tb.Fatal(err)
		}
		s.SDKVersion, s.Timestamp = new(cer.SDKVersion2), b.CreatedAt
		if x.snapshot != nil {
			x.snapshot(s)
		}
	}
	file = f.record(tb, made)
	o.CertificateHash = certificateOf(tb, file)
	return file, o
}

// commitEvents puts commitments in the place of the last launch's parameters, and says
// nothing of when it began.
func commitEvents(tb testing.TB, l *attest.Log, parameters []cer.Parameter) {
	tb.Helper()
	var facts []cer.Fact
	for _, p := range parameters {
		facts = append(facts, cer.Fact{Name: p.Name, Value: p.Commitment})
	}
	data, err := cer.NewEnvironment(cer.KindCommitments, facts).Encode()
	if err != nil {
		tb.Fatal(err)
	}
	for i, v := range slices.Backward(l.Events) {
		if env, err := cer.ParseEnvironment(v.Data); err == nil && env.Kind == cer.KindParameters {
			setData(l, i, data)
			break
		}
	}
	setClock(tb, l, "0")
}

// setClock changes the last launch-begin.
func setClock(tb testing.TB, l *attest.Log, clock string) {
	tb.Helper()
	i := lastOf(l, attest.EventLaunchBegin)
	begin, err := cer.ParseBegin(l.Events[i].Data)
	if err != nil {
		tb.Fatal(err)
	}
	begin.Clock = clock
	data, err := begin.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	setData(l, i, data)
}

// goldenSeries is the series of the golden page.
func goldenSeries(tb testing.TB) []byte {
	tb.Helper()
	st, err := attest.ParseStatement(goldenCapsule(tb, "page").Statement)
	if err != nil {
		tb.Fatal(err)
	}
	return st.Series[:]
}

// certificateOf returns a record's certificateHash.
func certificateOf(tb testing.TB, file []byte) string {
	tb.Helper()
	c, err := cer.ParseCapsule(file)
	if err != nil {
		tb.Fatal(err)
	}
	b, err := cer.ParseBundle(c.CER)
	if err != nil {
		tb.Fatal(err)
	}
	return b.CertificateHash
}

// encoded returns an opening's file, without judging it.
func openingFile(tb testing.TB, o *cer.Opening) []byte {
	tb.Helper()
	b, err := cer.MarshalCanonical(o)
	if err != nil {
		tb.Fatal(err)
	}
	return append(b, '\n')
}

// committedInput is the input under which a committed record is trusted.
func (f *forger) committedInput(tb testing.TB, opening []byte) verifier.Input {
	tb.Helper()
	in := f.input(tb, nil)
	in.Opening = opening
	return in
}

// TestCommitted: a record that commits is trusted like any other; what it is about is
// established by an opening, and by nothing else.
func TestCommitted(t *testing.T) {
	f := newForger(t)
	file, o := f.committed(t, forgery{})
	if _, err := cer.VerifyIntegrity(mustCapsule(t, file).CER); err != nil {
		t.Errorf("NexArt's hashes: %v", err)
	}
	r := verify(t, file, f.committedInput(t, nil))
	if !r.Trusted {
		t.Fatal(r.Headline)
	}
	if s, ok := r.Summary.Input.Stated(); ok || s.SHA256 != "" || r.Summary.Input.Commitment == "" || r.Summary.Input.Opened {
		t.Errorf("input %+v", r.Summary.Input)
	}
	if c := r.Summary.Output.Complete; c == nil || !*c {
		t.Error("the output is not whole")
	}
	for _, p := range r.Summary.Parameters {
		if p.Value != nil || p.Commitment == "" || p.Opened {
			t.Errorf("parameter %+v", p)
		}
	}
	if find(t, r, "record.opening").Status != "not applicable" {
		t.Error("an opening was asked for")
	}
	for disclosure, check := range map[string]string{"commit": "", "hash": "record.disclosure", "full": "record.disclosure"} {
		in := f.input(t, func(p map[string]any) { p["disclosure"] = []any{disclosure} })
		if r := verify(t, file, in); r.Trusted != (check == "") || named(r) != check {
			t.Errorf("a policy that wants %s: %s", disclosure, r.Headline)
		}
	}
	wantText(t, r, `"note" committed, not opened`, "input committed, not opened", "output committed, not opened, exit 0")

	in := f.committedInput(t, nil)
	in.InputFile, in.OutputFile = goldenFile(t, "page.input"), goldenFile(t, "page.output")
	r = verify(t, file, in)
	wantRefused(t, r, "input.file")
	for _, id := range []string{"input.file", "output.file"} {
		if c := find(t, r, id); c.Status != "not established" {
			t.Errorf("%s is %s without an opening", id, c.Status)
		}
	}
	in.Opening = openingFile(t, o)
	r = verify(t, file, in)
	if !r.Trusted || r.Summary.Input.SHA256 == "" || !r.Summary.Input.Opened || !r.Summary.Parameters[0].Opened || *r.Summary.Parameters[1].Value != "7" {
		t.Errorf("%s: %+v", r.Headline, r.Summary)
	}
	wantText(t, r, `"note"="declared" (opened), "seed"="7" (opened)`, "(opened) = the file given", "(opened) = the file given, exit 0")
	in.InputFile = goldenFile(t, "golden.input")
	wantRefused(t, verify(t, file, in), "input.file")
	for _, r := range []*verifier.Report{r, verify(t, file, f.committedInput(t, nil)), verify(t, file, f.committedInput(t, []byte{}))} {
		reportJSON(t, reportSchema(t), r)
	}
}

// wantText wants each text in a report for people.
func wantText(t *testing.T, r *verifier.Report, texts ...string) {
	t.Helper()
	var b bytes.Buffer
	if err := r.WriteText(&b, false); err != nil {
		t.Fatal(err)
	}
	for _, s := range texts {
		if !strings.Contains(b.String(), s) {
			t.Errorf("the report has no %q:\n%s", s, &b)
		}
	}
}

func mustCapsule(tb testing.TB, file []byte) *cer.Capsule {
	tb.Helper()
	c, err := cer.ParseCapsule(file)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// TestCommittedDeeds: a producer whom somebody trusts makes a record that commits, and
// does one thing otherwise.
func TestCommittedDeeds(t *testing.T) {
	f := newForger(t)
	other := strings.Repeat("5a", 32)
	rt := func(name, check string, edit func(r *cer.Runtime)) deed {
		return deed{name, check, forgery{runtime: edit}}
	}
	for _, d := range []deed{
		rt("a parameter's commitment", "runtime.claims", func(r *cer.Runtime) { r.Parameters[0].Commitment = other }),
		rt("a parameter's name", "runtime.claims", func(r *cer.Runtime) { r.Parameters[0].Name = "nota" }),
		rt("a parameter applied", "runtime.claims", func(r *cer.Runtime) { r.Parameters[0].Applied = true }),
		rt("parameters left out", "runtime.claims", func(r *cer.Runtime) { r.Parameters = r.Parameters[:1] }),
		rt("output cut short", "job.exit", func(r *cer.Runtime) { r.Output.Complete = false }),
		rt("notApplicable", "runtime.claims", func(r *cer.Runtime) { r.NotApplicable = []string{"prompt"} }),
		{"input that is no descriptor of the commitment", "runtime.claims", forgery{snapshot: func(s *cer.Snapshot) {
			s.Input = streamValue(t, cer.NewStream([32]byte{1}, 4, true))
		}}},
		{"output of another commitment", "runtime.claims", forgery{snapshot: func(s *cer.Snapshot) {
			s.Output = streamValue(t, cer.Stream{Commitment: other})
		}}},
		{"input as text", "runtime.claims", forgery{snapshot: func(s *cer.Snapshot) {
			v, err := cer.TextValue("yes")
			if err != nil {
				t.Fatal(err)
			}
			s.Input = v
		}}},
		{"a parameter stated", "runtime.claims", forgery{snapshot: func(s *cer.Snapshot) { s.Parameters.Seed = new(7.0) }}},
		{"a temperature stated", "runtime.claims", forgery{snapshot: func(s *cer.Snapshot) { s.Parameters.Temperature = 1 }}},
		{"sdkVersion of version 1", "runtime.claims", forgery{snapshot: func(s *cer.Snapshot) { s.SDKVersion = new(cer.SDKVersion) }}},
		{"when it began", "runtime.claims", forgery{snapshot: func(s *cer.Snapshot) { s.Timestamp = "2020-01-01T00:00:00.000Z" }}},
		{"a clock at its beginning", "runtime.claims", forgery{events: func(l *attest.Log) { setClock(t, l, "1") }}},
		withEvents("parameters in the log besides", "log.launch", func(l *attest.Log) { addParameters(t, l) }),
		withEvents("no commitments in the log", "log.launch", func(l *attest.Log) { dropEnvironment(l, cer.KindCommitments) }),
		withEvents("parameters in the log instead", "runtime.claims", func(l *attest.Log) {
			dropEnvironment(l, cer.KindCommitments)
			addParameters(t, l)
		}),
		withEvents("the commitments withheld", "log.launch", func(l *attest.Log) { withholdKind(l, cer.KindCommitments) }),
		withEvents("another commitment in the log", "runtime.claims", func(l *attest.Log) {
			editEnvironment(t, l, cer.KindCommitments, setFact("seed", other))
		}),
		withEvents("a parameter more in the log", "runtime.claims", func(l *attest.Log) {
			editEnvironment(t, l, cer.KindCommitments, setFact("more", other))
		}),
	} {
		t.Run(d.name, func(t *testing.T) {
			file, _ := f.committed(t, d.x)
			wantRefused(t, verify(t, file, f.committedInput(t, nil)), d.check)
		})
	}
	// A record that states its fields, under a log that commits, and the other way round.
	t.Run("version 1 under commitments", func(t *testing.T) {
		file := f.record(t, forgery{events: func(l *attest.Log) {
			commitEvents(t, l, []cer.Parameter{{Name: "note", Commitment: other}, {Name: "seed", Commitment: other}})
		}})
		wantRefused(t, verify(t, file, f.input(t, nil)), "runtime.claims")
	})
}

// addParameters adds the event of the golden page's parameters to the last launch.
func addParameters(tb testing.TB, l *attest.Log) {
	tb.Helper()
	data, err := cer.NewEnvironment(cer.KindParameters, []cer.Fact{{Name: "note", Value: "declared"}, {Name: "seed", Value: "7"}}).Encode()
	if err != nil {
		tb.Fatal(err)
	}
	at := lastOf(l, attest.EventEnvironment) + 1
	l.Events = slices.Insert(l.Events, at, attest.NewEvent(0, attest.EventEnvironment, l.Events[at-1].Launch, [32]byte{8}, data))
}

// withholdKind withholds the last environment of a kind.
func withholdKind(l *attest.Log, kind string) {
	for i, v := range slices.Backward(l.Events) {
		if env, err := cer.ParseEnvironment(v.Data); err == nil && env.Kind == kind {
			l.Events[i] = v.Withhold()
			return
		}
	}
}

// TestOpeningMutated: no member of an opening can be taken out, put in or changed, and
// each bit of it counts.
func TestOpeningMutated(t *testing.T) {
	f := newForger(t)
	file, o := f.committed(t, forgery{})
	whole := openingFile(t, o)
	refuse := func(name string, opening []byte) {
		t.Helper()
		r := verify(t, file, f.committedInput(t, opening))
		if r.Trusted || named(r) != "record.opening" || r.Genuine() == nil {
			t.Errorf("%s: %s", name, r.Headline)
		}
		if r.Summary.Input.Opened || slices.ContainsFunc(r.Summary.Parameters, func(p verifier.Parameter) bool { return p.Opened }) {
			t.Errorf("%s: a field counts as opened", name)
		}
	}
	n, fewer := 0, 0
	for _, m := range structural(t, bytes.TrimSuffix(whole, []byte("\n")), 1) {
		if m.at == "/fields" && strings.HasPrefix(m.name, "without element") {
			fewer++ // an opening of fewer fields is one
			if r := verify(t, file, f.committedInput(t, append(m.file, '\n'))); !r.Trusted {
				t.Errorf("%s: %s", m.name, r.Headline)
			}
			continue
		}
		n++
		refuse(m.at+" "+m.name, append(m.file, '\n'))
	}
	if n < 300 || fewer != len(o.Fields) {
		t.Errorf("%d mutants, %d of fewer fields", n, fewer)
	}
	for i := 0; i < 8*len(whole); i += 13 * mutantStride() { // every bit of a byte in turn
		flipped := bytes.Clone(whole)
		flipped[i/8] ^= 1 << (i % 8)
		refuse("bit "+hex.EncodeToString([]byte{byte(i >> 16), byte(i >> 8), byte(i)}), flipped)
	}
	for name, opening := range map[string][]byte{
		"empty": {}, "a record": file, "text": []byte("yes\n"), "half": whole[:len(whole)/2], "twice": slices.Concat(whole, whole),
		"an object": []byte("{}\n"), "null": []byte("null\n"), "no line feed": bytes.TrimSuffix(whole, []byte("\n")),
	} {
		refuse(name, opening)
	}
	// Of a record that states its fields, nothing can be opened.
	in := f.input(t, nil)
	in.Opening = whole
	wantRefused(t, verify(t, f.record(t, forgery{}), in), "record.opening")
}

// TestOpeningsExchanged: what opens one record, one field or one salt opens no other.
func TestOpeningsExchanged(t *testing.T) {
	f := newForger(t)
	first, o := f.committed(t, forgery{})
	second, p := f.committed(t, forgery{runtime: func(r *cer.Runtime) { r.Exit = cer.Exit{} }, created: "2026-01-01T00:00:00.000Z"})
	if certificateOf(t, first) == certificateOf(t, second) {
		t.Fatal("one record")
	}
	for _, x := range []struct {
		name    string
		file    []byte
		opening *cer.Opening
	}{{"of the second", first, p}, {"of the first", second, o}} {
		r := verify(t, x.file, f.committedInput(t, openingFile(t, x.opening)))
		if find(t, r, "record.opening").Status != "failed" || r.Trusted {
			t.Errorf("%s: %s", x.name, r.Headline)
		}
	}
	// The same fields and salts with the other's name: another series makes it another.
	st, err := attest.ParseStatement(goldenCapsule(t, "golden").Statement)
	if err != nil {
		t.Fatal(err)
	}
	foreign := *o
	foreign.Fields = slices.Clone(o.Fields)
	value, err := foreign.Fields[0].Bytes()
	if err != nil {
		t.Fatal(err)
	}
	salt, err := hex.DecodeString(foreign.Fields[0].Salt)
	if err != nil {
		t.Fatal(err)
	}
	if cer.Commit(st.Series, [32]byte(salt), "input", value) == cer.Commit([32]byte(goldenSeries(t)), [32]byte(salt), "input", value) {
		t.Error("a commitment opens in two series")
	}
	for i := range o.Fields {
		for j := range i {
			swapped := *o
			swapped.Fields = slices.Clone(o.Fields)
			swapped.Fields[i].Salt, swapped.Fields[j].Salt = o.Fields[j].Salt, o.Fields[i].Salt
			r := verify(t, first, f.committedInput(t, openingFile(t, &swapped)))
			wantRefused(t, r, "record.opening")
			if !strings.Contains(find(t, r, "record.opening").Detail, o.Fields[j].Name) {
				t.Errorf("%s does not name %s", find(t, r, "record.opening").Detail, o.Fields[j].Name)
			}
		}
	}
	in := f.committedInput(t, openingFile(t, o))
	if _, err := verifier.VerifySeries([][]byte{first, second}, in); err == nil {
		t.Error("one opening for two records")
	}
}

// TestNothingGainedByOpening: with fewer fields, with fewer bytes, or without an
// opening, no check passes that did not with all of it, and the verdict is no better.
func TestNothingGainedByOpening(t *testing.T) {
	f := newForger(t)
	file, o := f.committed(t, forgery{})
	for _, files := range []string{"page", "golden"} { // the record's files, and others
		in := f.committedInput(t, openingFile(t, o))
		in.InputFile, in.OutputFile = goldenFile(t, files+".input"), goldenFile(t, files+".output")
		best := verify(t, file, in)
		names := o.Names()
		for set := range 1 << len(names) {
			var wanted []string
			for i, name := range names {
				if set&(1<<i) != 0 {
					wanted = append(wanted, name)
				}
			}
			in.Opening = nil
			if len(wanted) > 0 {
				less, err := o.Only(wanted, false)
				if err != nil {
					t.Fatal(err)
				}
				in.Opening = openingFile(t, less)
			}
			r := verify(t, file, in)
			if r.Trusted && !best.Trusted {
				t.Errorf("%s, opening %v alone: %s", files, wanted, r.Headline)
			}
			for i, c := range r.Checks {
				if c.Status == "passed" && best.Checks[i].Status != "passed" {
					t.Errorf("%s, opening %v alone: %s passes", files, wanted, c.ID)
				}
			}
		}
		if best.Trusted != (files == "page") {
			t.Errorf("%s: %s", files, best.Headline)
		}
	}
}

// TestCommittedStructure: no member of a record that commits can be taken out of the
// file, put into it or changed, sealed again or not.
func TestCommittedStructure(t *testing.T) {
	f := newForger(t)
	file, o := f.committed(t, forgery{})
	in := f.committedInput(t, openingFile(t, o))
	c := mustCapsule(t, file)
	var mutants []mutant
	for _, m := range structural(t, c.CER, 3*mutantStride()) {
		if strings.HasPrefix(m.name, "twice") {
			continue
		}
		changed := *c
		changed.CER = m.file
		m.file = nil
		if b, err := changed.Encode(); err == nil {
			m.file = b
		}
		mutants = append(mutants, m)
		bundle, ok := tree(t, changed.CER).(map[string]any)
		if !ok {
			continue
		}
		reseal(t, bundle)
		if changed.CER = text(t, bundle); bytes.Equal(changed.CER, c.CER) {
			continue
		}
		if b, err := changed.Encode(); err == nil {
			mutants = append(mutants, mutant{m.name + ", sealed again", m.at, b})
		}
	}
	refuseAll(t, in, mutants, func(mutant) []string {
		return []string{"capsule.strict", "cer.canonical", "cer.hash", "cer.runtime", "statement.record", "statement.inclusion", "runtime.claims", "record.opening"}
	})
}

// TestCommittedReport: a report on a record that commits decodes to itself, and has no
// value that nothing opened.
func TestCommittedReport(t *testing.T) {
	f := newForger(t)
	file, o := f.committed(t, forgery{})
	for _, opening := range [][]byte{nil, openingFile(t, o)} {
		b := reportJSON(t, reportSchema(t), verify(t, file, f.committedInput(t, opening)))
		var again verifier.Report
		if err := json.Unmarshal(b, &again); err != nil {
			t.Fatal(err)
		}
		if twice, err := json.Marshal(&again); err != nil || !bytes.Equal(twice, b) {
			t.Errorf("does not decode to itself: %v", err)
		}
		if told := bytes.Contains(b, []byte(`"value":"declared"`)); told != (opening != nil) {
			t.Errorf("the value is told: %v", told)
		}
	}
}
