package cer_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/limits"
)

const day = "2026-02-12T00:00:00.000Z"

func text(tb testing.TB, s string) cer.Value {
	tb.Helper()
	v, err := cer.TextValue(s)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func object(tb testing.TB, s string) cer.Value {
	tb.Helper()
	v, err := cer.ObjectValue([]byte(s))
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

// basic is vector p01.
func basic(tb testing.TB) cer.Snapshot {
	tb.Helper()
	return cer.Snapshot{
		ProtocolVersion: cer.Protocol120, ExecutionID: "vec-p01-basic-ascii", Timestamp: day,
		Provider: "openai", Model: "gpt-4o", Prompt: "You are a helpful assistant.",
		Input: text(tb, "What is 2+2?"), Output: text(tb, "The answer is 4."),
		Parameters: cer.Parameters{Temperature: 0.7, MaxTokens: 1024}, SDKVersion: new("0.1.0"),
	}
}

// rich uses every member.
func rich(tb testing.TB) cer.Snapshot {
	tb.Helper()
	s := basic(tb)
	s.Input = object(tb, `{"mediaType":"image/png","sha256":"ab","size":"123"}`)
	s.Output = text(tb, "naïve \u2028 <b> 😀 \x00\x1f\"\\")
	s.ModelVersion, s.AppID = new("2024-08-06"), new("")
	s.Parameters.TopP, s.Parameters.Seed = new(1e-7), new(42.0)
	s.Runtime = jsontext.Value(`{"launch":"00ff","series":[1,2.5,null],"v":1}`)
	return s
}

func seal(tb testing.TB, s cer.Snapshot) []byte {
	tb.Helper()
	b, err := cer.Seal(s, day)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// TestSealReproduces: the same facts give the hash that SDK 0.1.0 gave them.
func TestSealReproduces(t *testing.T) {
	b := seal(t, basic(t))
	want, err := cer.Canonical(bundles(t)["positive/p01-basic-ascii"])
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b, want) {
		t.Errorf("sealed:\n%s\nwant:\n%s", b, want)
	}
}

func TestSealAndOpen(t *testing.T) {
	for name, s := range map[string]cer.Snapshot{"basic": basic(t), "rich": rich(t)} {
		b := seal(t, s)
		if !cer.IsCanonical(b) {
			t.Errorf("%s: not canonical: %s", name, b)
		}
		i, err := cer.VerifyIntegrity(b)
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, b)
		}
		if i.Projection != cer.ProjectionFour || i.Uncovered != nil || i.Withheld != nil {
			t.Errorf("%s: %+v, want everything covered", name, i)
		}
		got, err := cer.ParseBundle(b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got.CertificateHash != cer.FormatHash(i.CertificateHash) || got.Snapshot.Prompt != s.Prompt {
			t.Errorf("%s: parsed %+v", name, got)
		}
		again, err := cer.Seal(got.Snapshot, got.CreatedAt)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s: sealed again: %s, %v", name, again, err)
		}
	}
	got, err := cer.ParseBundle(seal(t, rich(t)))
	if err != nil {
		t.Fatal(err)
	}
	if s, ok := got.Snapshot.Output.Text(); !ok || s != "naïve \u2028 <b> 😀 \x00\x1f\"\\" || got.Snapshot.Output.Object() != nil {
		t.Errorf("output is %q", s)
	}
	if s, ok := got.Snapshot.Input.Text(); ok || s != "" || string(got.Snapshot.Input.Object()) != `{"mediaType":"image/png","sha256":"ab","size":"123"}` {
		t.Errorf("input is %q, %s", s, got.Snapshot.Input.Object())
	}
}

// TestFlips changes every bit of a sealed bundle. What the hashes let pass is
// another spelling of the same record (1E-7, \u001F), which cannot stand in a
// capsule.
func TestFlips(t *testing.T) {
	b := seal(t, rich(t))
	sealed := bytes.Clone(b)
	for i := range b {
		for bit := range 8 {
			b[i] ^= 1 << bit
			if _, err := cer.VerifyIntegrity(b); err == nil {
				if c, err := cer.Canonical(b); err != nil || !bytes.Equal(c, sealed) {
					t.Errorf("bit %d of byte %d (%q): another record, but intact", bit, i, b[i])
				}
				if got, err := cer.ParseBundle(b); !errors.Is(err, cer.ErrStrict) || got != nil {
					t.Errorf("bit %d of byte %d (%q): %v, want ErrStrict alone", bit, i, b[i], err)
				}
			}
			b[i] ^= 1 << bit
		}
	}
}

// TestInsertions adds one member each, at every level, to a sealed bundle.
func TestInsertions(t *testing.T) {
	b := string(seal(t, rich(t)))
	for _, at := range []string{`{"bundleType"`, `{"appId"`, `{"maxTokens"`} {
		for _, m := range []string{`"A":1`, `"":null`} {
			in := strings.Replace(b, at, `{`+m+`,`+at[1:], 1)
			if in == b {
				t.Fatalf("no %s", at)
			}
			if got, err := cer.ParseBundle([]byte(in)); !errors.Is(err, cer.ErrSchema) || got != nil {
				t.Errorf("%s before %s: %v, want ErrSchema alone", m, at, err)
			}
		}
	}
	// Outside of the hash NexArt's rules let a member in, but it is named.
	in := strings.Replace(b, `"version":"0.1"}`, `"version":"0.1","~/":{"checked":true}}`, 1)
	i, err := cer.VerifyIntegrity([]byte(in))
	if err != nil || len(i.Uncovered) != 1 || i.Uncovered[0] != "/~0~1" {
		t.Errorf("inserted at the top: %+v, %v", i, err)
	}
}

func TestParseBundleRefuses(t *testing.T) {
	b := string(seal(t, rich(t)))
	for name, e := range map[string]struct {
		old, new string
		want     error
	}{
		"space":                {`,"version"`, `, "version"`, cer.ErrStrict},
		"final newline":        {`"0.1"}`, "\"0.1\"}\n", cer.ErrStrict},
		"order":                {`"bundleType":"cer.ai.execution.v1",`, ``, cer.ErrSchema},
		"context":              {`"createdAt"`, `"context":{},"createdAt"`, cer.ErrSchema},
		"meta":                 {`"snapshot"`, `"meta":{},"snapshot"`, cer.ErrSchema},
		"extra in snapshot":    {`"timestamp"`, `"stepIndex":1,"timestamp"`, cer.ErrSchema},
		"extra in parameters":  {`"topP"`, `"topK":1,"topP"`, cer.ErrSchema},
		"no topP":              {`,"topP":1e-7`, ``, cer.ErrSchema},
		"no prompt":            {`"prompt":"You are a helpful assistant.",`, ``, cer.ErrSchema},
		"empty prompt":         {`"You are a helpful assistant."`, `""`, cer.ErrSchema},
		"other bundleType":     {`"cer.ai.execution.v1"`, `"cer.ai.execution.v2"`, cer.ErrSchema},
		"other version":        {`"0.1"}`, `"0.2"}`, cer.ErrSchema},
		"other protocol":       {`"1.2.0"`, `"1.3.0"`, cer.ErrSchema},
		"null protocol":        {`"1.2.0"`, `null`, cer.ErrSchema},
		"other type":           {`"ai.execution.v1"`, `"ai.execution.v2"`, cer.ErrSchema},
		"other surface":        {`"ai",`, `"codemode",`, cer.ErrSchema},
		"upper-case hash":      {`"certificateHash":"sha256:`, `"certificateHash":"sha256:A`, cer.ErrSchema},
		"hash without prefix":  {`"inputHash":"sha256:`, `"inputHash":"md5:`, cer.ErrSchema},
		"hash of another form": {`"outputHash":"sha256:`, `"outputHash":"sha256: `, cer.ErrSchema},
		"time in words":        {`"createdAt":"` + day, `"createdAt":"yesterday`, cer.ErrSchema},
		"time without ms":      {`"timestamp":"` + day, `"timestamp":"2026-02-12T00:00:00Z`, cer.ErrSchema},
		"no such day":          {`"timestamp":"2026-02-12`, `"timestamp":"2026-02-30`, cer.ErrSchema},
		"array input":          {`{"mediaType":"image/png","sha256":"ab","size":"123"}`, `[1]`, cer.ErrSchema},
		"number input":         {`{"mediaType":"image/png","sha256":"ab","size":"123"}`, `1`, cer.ErrSchema},
		"null input":           {`{"mediaType":"image/png","sha256":"ab","size":"123"}`, `null`, cer.ErrSchema},
		"runtime an array":     {`{"launch":"00ff","series":[1,2.5,null],"v":1}`, `[]`, cer.ErrSchema},
		"runtime null":         {`{"launch":"00ff","series":[1,2.5,null],"v":1}`, `null`, cer.ErrSchema},
		"number in runtime":    {`[1,2.5,null]`, `[9007199254740992]`, cer.ErrStrict},
		"spelling in runtime":  {`[1,2.5,null]`, `[1.0,2.5,null]`, cer.ErrStrict},
		"too deep":             {`[1,2.5,null]`, strings.Repeat("[", 62) + strings.Repeat("]", 62), cer.ErrStrict},
	} {
		in := strings.Replace(b, e.old, e.new, 1)
		if in == b {
			t.Fatalf("%s: nothing to replace", name)
		}
		if got, err := cer.ParseBundle([]byte(in)); !errors.Is(err, e.want) || got != nil {
			t.Errorf("%s: %v, want %v alone", name, err, e.want)
		}
	}
	// Vectors of others have members of their own, or whitespace.
	for name, in := range bundles(t) {
		if got, err := cer.ParseBundle(in); err == nil || got != nil {
			t.Errorf("%s: accepted as the bundle of a capsule", name)
		}
	}
}

func TestSealRefuses(t *testing.T) {
	for name, e := range map[string]struct {
		edit func(*cer.Snapshot)
		want error
	}{
		"zero":                  {func(s *cer.Snapshot) { *s = cer.Snapshot{} }, cer.ErrSchema},
		"no protocol":           {func(s *cer.Snapshot) { s.ProtocolVersion = "" }, cer.ErrSchema},
		"unknown protocol":      {func(s *cer.Snapshot) { s.ProtocolVersion = "1.4.0" }, cer.ErrSchema},
		"other type":            {func(s *cer.Snapshot) { s.Type = "x" }, cer.ErrSchema},
		"other surface":         {func(s *cer.Snapshot) { s.ExecutionSurface = "x" }, cer.ErrSchema},
		"empty prompt":          {func(s *cer.Snapshot) { s.Prompt = "" }, cer.ErrSchema},
		"empty model":           {func(s *cer.Snapshot) { s.Model = "" }, cer.ErrSchema},
		"long model":            {func(s *cer.Snapshot) { s.Model = strings.Repeat("m", limits.RecordText+1) }, cer.ErrSchema},
		"long app":              {func(s *cer.Snapshot) { s.AppID = new(strings.Repeat("m", limits.RecordText+1)) }, cer.ErrSchema},
		"long prompt":           {func(s *cer.Snapshot) { s.Prompt = strings.Repeat("m", limits.EmbeddedContent+1) }, cer.ErrSchema},
		"not UTF-8":             {func(s *cer.Snapshot) { s.Provider = "\xff" }, cer.ErrSchema},
		"no input":              {func(s *cer.Snapshot) { s.Input = cer.Value{} }, cer.ErrSchema},
		"no output":             {func(s *cer.Snapshot) { s.Output = cer.Value{} }, cer.ErrSchema},
		"wrong inputHash":       {func(s *cer.Snapshot) { s.InputHash = cer.FormatHash([32]byte{}) }, cer.ErrHash},
		"wrong outputHash":      {func(s *cer.Snapshot) { s.OutputHash = "sha256:" }, cer.ErrHash},
		"temperature 2^53":      {func(s *cer.Snapshot) { s.Parameters.Temperature = 1 << 53 }, cer.ErrStrict},
		"runtime not an object": {func(s *cer.Snapshot) { s.Runtime = jsontext.Value(`[]`) }, cer.ErrSchema},
		"runtime empty":         {func(s *cer.Snapshot) { s.Runtime = jsontext.Value{} }, cer.ErrSchema},
		"runtime malformed":     {func(s *cer.Snapshot) { s.Runtime = jsontext.Value(`{"a":1,"a":1}`) }, cer.ErrSchema},
		"local time":            {func(s *cer.Snapshot) { s.Timestamp = "2026-02-12T00:00:00.000+01:00" }, cer.ErrSchema},
	} {
		s := basic(t)
		e.edit(&s)
		if b, err := cer.Seal(s, day); !errors.Is(err, e.want) || b != nil {
			t.Errorf("%s: %v, want %v alone", name, err, e.want)
		}
	}
	if b, err := cer.Seal(basic(t), "2026-02-12"); !errors.Is(err, cer.ErrSchema) || b != nil {
		t.Errorf("createdAt a day: %v, want ErrSchema alone", err)
	}
	for _, p := range []string{cer.Protocol130, cer.Protocol131} {
		s := basic(t)
		s.ProtocolVersion = p
		if i, err := cer.VerifyIntegrity(seal(t, s)); err != nil || i.ProtocolVersion != p {
			t.Errorf("%s: %+v, %v", p, i, err)
		}
	}
}

func TestValues(t *testing.T) {
	for in, want := range map[string]error{
		`{"b":1,"a":2}`: cer.ErrStrict, `{} `: cer.ErrStrict, `{"a":1e400}`: cer.ErrStrict, ``: cer.ErrStrict,
		`{"a":9007199254740993}`: cer.ErrStrict, `{"a":1e+21}`: cer.ErrStrict, `{"a":1,"a":1}`: cer.ErrStrict,
		`[]`: cer.ErrSchema, `"a"`: cer.ErrSchema, `null`: cer.ErrSchema, `1`: cer.ErrSchema,
		strings.Repeat(" ", limits.EmbeddedObject+1): cer.ErrSchema,
	} {
		v, err := cer.ObjectValue([]byte(in))
		if _, isText := v.Text(); !errors.Is(err, want) || isText || v.Object() != nil {
			t.Errorf("ObjectValue(%.20q): %v, want %v alone", in, err, want)
		}
	}
	if _, err := cer.TextValue("\xed\xa0\x80"); !errors.Is(err, cer.ErrStrict) {
		t.Errorf("a surrogate: %v, want ErrStrict", err)
	}
	if _, err := cer.TextValue(strings.Repeat("a", limits.EmbeddedContent+1)); !errors.Is(err, cer.ErrSchema) {
		t.Errorf("16 MiB and one byte: %v, want ErrSchema", err)
	}
	if s, ok := text(t, "").Text(); !ok || s != "" {
		t.Error("empty text is text")
	}
	if _, ok := (cer.Value{}).Text(); ok {
		t.Error("the zero Value is text")
	}
	b := []byte(`{"a":1}`)
	v := object(t, string(b))
	v.Object()[2] = 'x'
	if !bytes.Equal(v.Object(), b) {
		t.Error("Object gives its own bytes away")
	}
}

func TestHashForm(t *testing.T) {
	digest := [32]byte{0: 0xab, 31: 0xcd}
	s := cer.FormatHash(digest)
	if got, err := cer.ParseHash(s); err != nil || got != digest {
		t.Errorf("ParseHash(%s) = %x, %v", s, got, err)
	}
	for _, bad := range []string{"", "sha256:", s[7:], s + "0", s[:70], strings.ToUpper(s), "sha256:" + strings.ToUpper(s[7:]), "SHA256:" + s[7:], "sha512:" + s[7:], s[:70] + "g"} {
		if got, err := cer.ParseHash(bad); !errors.Is(err, cer.ErrSchema) || got != [32]byte{} {
			t.Errorf("ParseHash(%q) = %x, %v; want ErrSchema alone", bad, got, err)
		}
	}
}

func TestFormatTime(t *testing.T) {
	at := time.Date(2026, 2, 12, 1, 0, 0, 1999999, time.FixedZone("", 3600))
	if got := cer.FormatTime(at); got != "2026-02-12T00:00:00.001Z" {
		t.Errorf("FormatTime = %s", got)
	}
}

// TestProtocolRules seals the same facts under what protocolVersion may be.
func TestProtocolRules(t *testing.T) {
	redacted := `{"_redacted":true,"commitment":"hmac-sha256:00","commitmentScheme":"hmac-sha256-v1","mode":"confidential"}`
	plain := `"What is 2+2?"`
	for name, e := range map[string]struct {
		protocol, input string
		code            cer.Code
		withheld        []string
		confidential    bool
	}{
		"absent counts as 1.2.0": {``, plain, cer.CodeOK, nil, false},
		"null counts as 1.2.0":   {`"protocolVersion":null,`, plain, cer.CodeOK, nil, false},
		"1.3.1":                  {`"protocolVersion":"1.3.1",`, plain, cer.CodeOK, nil, false},
		"1.4.0 is not known":     {`"protocolVersion":"1.4.0",`, plain, cer.CodeSchema, nil, false},
		"a number is not known":  {`"protocolVersion":1.2,`, plain, cer.CodeSchema, nil, false},
		"commitment in 1.3.1":    {`"protocolVersion":"1.3.1",`, redacted, cer.CodeOK, []string{"/snapshot/input"}, true},
		"commitment in 1.2.0":    {`"protocolVersion":"1.2.0",`, redacted, cer.CodeInputHash, nil, false},
		"no commitment in 1.3.1": {`"protocolVersion":"1.3.1",`, `{"_redacted":true}`, cer.CodeInputHash, nil, false},
		"not redacted in 1.3.1":  {`"protocolVersion":"1.3.1",`, `{"_redacted":false,"commitment":"x"}`, cer.CodeInputHash, nil, false},
		"another input in 1.3.1": {`"protocolVersion":"1.3.1",`, `"What is 2+3?"`, cer.CodeInputHash, nil, false},
	} {
		snapshot := `{"type":"ai.execution.v1",` + e.protocol + `"executionSurface":"ai","executionId":"e","timestamp":"t",` +
			`"provider":"p","model":"m","prompt":"p","input":` + e.input +
			`,"inputHash":"sha256:52cb6b5e4a038af1756708f98afb718a08c75b87b2f03dbee4dd9c8139c15c5e",` +
			`"output":"The answer is 4.","outputHash":"sha256:ae758477f843049bd252ceb5498aa33f190326589ee92cbe5a1ab563f54bc05b",` +
			`"parameters":{"temperature":0,"maxTokens":0,"topP":null,"seed":null}}`
		b := resealed(t, map[string]string{"snapshot": snapshot}, "snapshot")
		got, err := cer.VerifyIntegrity(b)
		if code := codeOf(t, got, err); code != e.code {
			t.Errorf("%s: %v (%v), want %v", name, code, err, e.code)
			continue
		}
		if err == nil && (strings.Join(got.Withheld, " ") != strings.Join(e.withheld, " ") || got.Confidential != e.confidential) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
