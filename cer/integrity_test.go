package cer_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/limits"
)

// resealed writes a bundle with the members given as JSON text, and a
// certificateHash over bundleType, version, createdAt and the members that
// covered names; a name of the form "context=TEXT" covers TEXT in its place.
func resealed(t *testing.T, members map[string]string, covered ...string) []byte {
	t.Helper()
	join := func(m map[string]string, extra ...string) []byte {
		parts := append([]string{`"bundleType":"cer.ai.execution.v1"`, `"version":"0.1"`, `"createdAt":"x"`}, extra...)
		for name, value := range m {
			parts = append(parts, `"`+name+`":`+value)
		}
		return []byte("{" + strings.Join(parts, ",") + "}")
	}
	hashed := map[string]string{}
	for _, name := range covered {
		name, value, given := strings.Cut(name, "=")
		if !given {
			value = members[name]
		}
		hashed[name] = value
	}
	c, err := cer.Canonical(join(hashed))
	if err != nil {
		t.Fatal(err)
	}
	return join(members, `"certificateHash":"`+cer.FormatHash(sha256.Sum256(c))+`"`)
}

// snapshotText is the snapshot of vector p01.
func snapshotText(t *testing.T) string {
	t.Helper()
	b := string(seal(t, basic(t)))
	_, b, _ = strings.Cut(b, `"snapshot":`)
	return strings.TrimSuffix(b, `,"version":"0.1"}`)
}

func TestProjections(t *testing.T) {
	signals := `{"signals":[{"type":"a"}]}`
	noted := `{"a":1,"signals":[{"type":"a"}],"z~":2}`
	for name, e := range map[string]struct {
		members   map[string]string
		covered   []string
		want      cer.Projection // ProjectionUnknown: refused
		uncovered []string
	}{
		"nothing but four":       {nil, nil, cer.ProjectionFour, nil},
		"meta is never covered":  {map[string]string{"meta": "{}"}, nil, cer.ProjectionFour, []string{"/meta"}},
		"meta cannot be covered": {map[string]string{"meta": "{}"}, []string{"meta"}, cer.ProjectionUnknown, nil},
		"context not covered":    {map[string]string{"context": noted}, nil, cer.ProjectionFour, []string{"/context"}},
		"signals covered":        {map[string]string{"context": noted}, []string{"context=" + signals}, cer.ProjectionSignals, []string{"/context/a", "/context/z~0"}},
		"names and texts with punctuation": {
			map[string]string{"context": `{"a\"]}/":"x\\\"{[,","b":[{"c":"]"},"}"],"signals":[1],"t":-1}`, "{": "[]", "}": `"\\"`},
			[]string{`context={"signals":[1]}`},
			cer.ProjectionSignals,
			[]string{`/context/a"]}~1`, "/context/b", "/context/t", "/{", "/}"},
		},
		"signals are all":         {map[string]string{"context": signals}, []string{"context"}, cer.ProjectionSignals, nil},
		"context covered":         {map[string]string{"context": noted}, []string{"context"}, cer.ProjectionContext, nil},
		"text context covered":    {map[string]string{"context": `"c"`}, []string{"context"}, cer.ProjectionContext, nil},
		"empty signals covered":   {map[string]string{"context": `{"signals":[]}`}, []string{"context"}, cer.ProjectionContext, nil},
		"summary covered":         {map[string]string{"contextSummary": `"s"`}, []string{"contextSummary"}, cer.ProjectionContext, nil},
		"summary not covered":     {map[string]string{"contextSummary": `"s"`}, nil, cer.ProjectionFour, []string{"/contextSummary"}},
		"summary beside signals":  {map[string]string{"context": signals, "contextSummary": `"s"`}, []string{"context"}, cer.ProjectionSignals, []string{"/contextSummary"}},
		"summary without context": {map[string]string{"context": signals, "contextSummary": `"s"`}, []string{"contextSummary"}, cer.ProjectionUnknown, nil},
		"policy covered": {
			map[string]string{"context": noted, "contextSummary": `"s"`, "policyEvaluation": "1"},
			[]string{"context", "contextSummary", "policyEvaluation"},
			cer.ProjectionPolicy, nil,
		},
		"policy alone": {map[string]string{"policyEvaluation": "{}"}, []string{"policyEvaluation"}, cer.ProjectionPolicy, nil},
		"policy not covered": {
			map[string]string{"context": noted, "policyEvaluation": "{}"}, []string{"context"}, cer.ProjectionContext, []string{"/policyEvaluation"},
		},
		"policy covered, context not": {
			map[string]string{"context": noted, "policyEvaluation": "{}"}, []string{"policyEvaluation"}, cer.ProjectionUnknown, nil,
		},
	} {
		members := map[string]string{"snapshot": snapshotText(t)}
		maps.Copy(members, e.members)
		got, err := cer.VerifyIntegrity(resealed(t, members, append(e.covered, "snapshot")...))
		if e.want == cer.ProjectionUnknown {
			if code := codeOf(t, got, err); code != cer.CodeCertificateHash {
				t.Errorf("%s: %v, want %v", name, code, cer.CodeCertificateHash)
			}
			continue
		}
		if err != nil || got.Projection != e.want || !slices.Equal(got.Uncovered, e.uncovered) {
			t.Errorf("%s: %+v, %v; want %v, %v", name, got, err, e.want, e.uncovered)
		}
	}
}

// TestWithheld removes members and seals again.
func TestWithheld(t *testing.T) {
	full := snapshotText(t)
	cut := func(members ...string) string {
		s := full
		for _, m := range members {
			if !strings.Contains(s, m) {
				t.Fatalf("no %s", m)
			}
			s = strings.Replace(s, m, "", 1)
		}
		return s
	}
	const prompt, input, output = `"prompt":"You are a helpful assistant.",`, `"input":"What is 2+2?",`, `"output":"The answer is 4.",`
	all := []string{"/snapshot/prompt", "/snapshot/input", "/snapshot/output"}
	for name, e := range map[string]struct {
		snapshot string
		withheld []string
	}{
		"nothing": {full, nil},
		"prompt":  {cut(prompt), all[:1]},
		"input":   {cut(input), all[1:2]},
		"output":  {cut(output), all[2:]},
		"all":     {cut(prompt, input, output), all},
	} {
		b := resealed(t, map[string]string{"snapshot": e.snapshot}, "snapshot")
		got, err := cer.VerifyIntegrity(b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(e.withheld, got.Withheld); diff != "" || got.Confidential {
			t.Errorf("%s: %+v", name, got)
		}
		// Every hash that nothing recomputes has the form of one.
		for _, h := range []string{"input", "output"} {
			bad := strings.Replace(e.snapshot, `"`+h+`Hash":"sha256:`, `"`+h+`Hash":"sha256:0`, 1)
			got, err := cer.VerifyIntegrity(resealed(t, map[string]string{"snapshot": bad}, "snapshot"))
			if code := codeOf(t, got, err); code == cer.CodeOK || code == cer.CodeCertificateHash {
				t.Errorf("%s: %sHash of 65 digits: %v", name, h, code)
			}
			gone := strings.Replace(e.snapshot, `"`+h+`Hash":`, `"x`+h+`Hash":`, 1)
			got, err = cer.VerifyIntegrity(resealed(t, map[string]string{"snapshot": gone}, "snapshot"))
			if code := codeOf(t, got, err); code != cer.CodeInvalidFormat {
				t.Errorf("%s: no %sHash: %v", name, h, code)
			}
		}
	}
	redacted := strings.Replace(string(seal(t, basic(t))), full, cut(prompt, input, output), 1)
	got, err := cer.VerifyIntegrity([]byte(redacted))
	if code := codeOf(t, got, err); code != cer.CodeCertificateHash {
		t.Errorf("removed after sealing: %v, want %v", code, cer.CodeCertificateHash)
	}
}

func TestVerifyIntegrityShapes(t *testing.T) {
	for in, want := range map[string]cer.Code{
		``: cer.CodeCanonicalization, `{}`: cer.CodeSchema, `[]`: cer.CodeSchema, `"x"`: cer.CodeSchema, `1`: cer.CodeSchema,
		`{"bundleType":null}`: cer.CodeSchema,
		`{"snapshot":{}}`:     cer.CodeCanonicalization,
		`{"snapshot":[]}`:     cer.CodeCanonicalization,
		strings.Repeat("[", 1001) + strings.Repeat("]", 1001): cer.CodeCanonicalization,
	} {
		got, err := cer.VerifyIntegrity([]byte(in))
		if code := codeOf(t, got, err); code != want {
			t.Errorf("%.30s: %v (%v), want %v", in, code, err, want)
		}
	}
	if got := cer.Code(0).String() + cer.Code(200).String() + cer.Projection(0).String() + cer.Projection(9).String(); got != "UNKNOWN_ERRORUNKNOWN_ERRORunknownunknown" {
		t.Errorf("names of what is not: %s", got)
	}
}

func FuzzVerifyIntegrity(f *testing.F) {
	seeds := 0
	for _, b := range bundles(f) {
		if len(b) < 10000 {
			f.Add(b)
			seeds++
		}
	}
	f.Add(seal(f, rich(f)))
	if seeds == 0 {
		f.Fatal("empty seed corpus")
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := cer.VerifyIntegrity(b)
		code := codeOf(t, got, err)
		bundle, parseErr := cer.ParseBundle(b)
		if (bundle == nil) != (parseErr != nil) {
			t.Fatalf("%v and error %v", bundle, parseErr)
		}
		if parseErr != nil {
			if !errors.Is(parseErr, cer.ErrStrict) && !errors.Is(parseErr, cer.ErrSchema) {
				t.Fatalf("unclassified error: %v", parseErr)
			}
			return
		}
		if !cer.IsCanonical(b) {
			t.Fatalf("parsed, but not canonical: %q", b)
		}
		again, err := cer.MarshalCanonical(bundle)
		if err != nil || string(again) != string(b) {
			t.Fatalf("%q encodes to %q, %v", b, again, err)
		}
		sealed, err := cer.Seal(bundle.Snapshot, bundle.CreatedAt)
		if code == cer.CodeOK && (err != nil || string(sealed) != string(b)) {
			t.Fatalf("intact, but seals to %q, %v", sealed, err)
		}
		if code != cer.CodeOK && err == nil && string(sealed) == string(b) {
			t.Fatalf("code %v of what seals to itself: %q", code, b)
		}
		if got != nil && (got.Uncovered != nil || got.Withheld != nil) {
			t.Fatalf("a bundle of five members with gaps: %+v", got)
		}
	})
}

// TestIntegrityManyValues: what is remembered of a text is bounded, whatever its
// members are.
func TestIntegrityManyValues(t *testing.T) {
	array := func(unit string, size int) []byte {
		b := append([]byte("["), strings.Repeat(unit+",", size/(len(unit)+1))...)
		return append(b[:len(b)-1], ']')
	}
	zeros := func(commas int) []byte { return array("0", 2*(commas+1)) }
	for name, e := range map[string]struct {
		text []byte
		want cer.Code
	}{
		"as many":                 {zeros(limits.BundleValues), cer.CodeSchema},
		"one more":                {zeros(limits.BundleValues + 1), cer.CodeCanonicalization},
		"members to be sorted":    {array(`{"b":0,"a":0}`, 32<<20), cer.CodeCanonicalization},
		"names with escapes":      {array(`{"\n":0}`, 32<<20), cer.CodeCanonicalization},
		"members, as many":        {array(`{"b":0,"a":0}`, 14*limits.BundleValues/4), cer.CodeSchema},
		"escapes, as many":        {array(`{"\n":0}`, 9*limits.BundleValues/2), cer.CodeSchema},
		"both, as many":           {array(`{"b":0,"\n":0}`, 15*limits.BundleValues/4), cer.CodeSchema},
		"in a string":             {[]byte(`"` + strings.Repeat(`,:\"`, limits.BundleValues) + `"`), cer.CodeSchema},
		"one object to be sorted": {reversed(limits.BundleValues / 2), cer.CodeSchema},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got, err := cer.VerifyIntegrity(e.text)
		runtime.ReadMemStats(&after)
		if code := codeOf(t, got, err); code != e.want {
			t.Errorf("%s: %v (%v), want %v", name, code, err, e.want)
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > 256<<20 {
			t.Errorf("%s: %d bytes allocated for a text of %d", name, got, len(e.text))
		}
		again, err := cer.Canonical(e.text)
		if refused := e.want == cer.CodeCanonicalization; refused != errors.Is(err, cer.ErrStrict) || refused != (again == nil) {
			t.Errorf("%s: canonical form of %d bytes, %v", name, len(again), err)
		}
	}
}

// reversed is an object of n members in the wrong order.
func reversed(n int) []byte {
	b := []byte("{")
	for i := n; i > 0; i-- {
		b = fmt.Appendf(b, `"%07d":0,`, i)
	}
	return append(b[:len(b)-1], '}')
}
