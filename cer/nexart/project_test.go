package nexart_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/sworn-run/sworn/cer/nexart"
)

// project is a project of three steps, the third of which follows both others.
func project(tb testing.TB, n *node) object {
	tb.Helper()
	var registry []any
	embedded := object{}
	previous := any(nil)
	for i, id := range []string{"s/1", "s2", "s3"} {
		s := merged(snapshot(), object{"executionId": "e-" + id, "stepIndex": i, "prevStepHash": previous})
		record := sealed(tb, s)
		if n != nil {
			receipt := n.receipt(record["certificateHash"].(string), "1.2.0")
			envelope, signature := n.envelope(tb, record, "1.2.0", four...)
			record = merged(record, object{
				"receipt": receipt, "signature": n.sign(canonical(tb, receipt)),
				"verificationEnvelope": envelope, "verificationEnvelopeSignature": signature,
			})
		}
		entry := object{"stepId": id, "sequence": i, "executionId": "e-" + id, "certificateHash": record["certificateHash"], "stepLabel": "x"}
		if i == 2 {
			entry["parentStepIds"] = []any{"s/1", "s2"}
		}
		registry, embedded[id], previous = append(registry, entry), record, record["certificateHash"]
	}
	return reproject(tb, object{
		"bundleType": "cer.project.bundle.v1", "version": "0.1", "protocolVersion": "1.2.0", "projectBundleId": "p", "projectTitle": "t",
		"startedAt": "x", "completedAt": "y", "totalSteps": 3, "stepRegistry": registry, "embeddedBundles": embedded,
		"projectGoal": "g", "tags": []any{"a"},
	})
}

// reproject gives a project its hash, as whoever edits it can.
func reproject(tb testing.TB, p object) object {
	tb.Helper()
	c, some := clone(tb, p), object{}
	for name, v := range c {
		if name != "embeddedBundles" && name != "integrity" && name != "finalOutputSummary" && name != "x" {
			some[name] = v
		}
	}
	if tags, ok := some["tags"].([]any); ok && len(tags) == 0 {
		delete(some, "tags")
	}
	c["integrity"] = object{"algorithm": "sha256-canonical-json", "projectHash": hashOf(canonical(tb, some))}
	return c
}

// in sets a member deep inside a copy of o.
func in(tb testing.TB, o object, value any, path ...any) object {
	tb.Helper()
	c := clone(tb, o)
	at := any(c)
	for _, p := range path[:len(path)-1] {
		switch p := p.(type) {
		case string:
			at = at.(object)[p]
		case int:
			at = at.([]any)[p]
		}
	}
	switch p := path[len(path)-1].(type) {
	case string:
		if value == nil {
			delete(at.(object), p)
		} else {
			at.(object)[p] = value
		}
	case int:
		at.([]any)[p] = value
	}
	return c
}

func TestProject(t *testing.T) {
	n := newNode(1)
	p := project(t, nil)
	r := verify(t, "whole", p, nil, plain)
	if len(r.Steps) != 3 || r.Steps[1].ID != "s2" || len(r.Notes) > 0 {
		t.Errorf("%+v", r)
	}
	signed := project(t, n)
	unsigned := noted(plain, nexart.NoteSteps) // Nobody signed the project.
	verify(t, "receipts of all steps", signed, n.keys(t), unsigned)
	verify(t, "keys of another", signed, newNode(2).keys(t), outcome{nexart.VerdictFailed, pass, fail, fail, []nexart.Code{nexart.CodeKeyNotFound}, nil})
	some := in(t, in(t, signed, nil, "embeddedBundles", "s2", "receipt"), nil, "embeddedBundles", "s2", "signature")
	verify(t, "receipts of some", some, n.keys(t), unsigned)
	verify(t, "a bad one", in(t, signed, "x", "embeddedBundles", "s2", "signature"), n.keys(t),
		outcome{nexart.VerdictFailed, pass, fail, skip, []nexart.Code{nexart.CodeInvalidSignature}, nil})
	verify(t, "its own receipt", n.signProject(t, p), n.keys(t), attested)
	verify(t, "its own, and a bad one of a step", n.signProject(t, in(t, signed, "x", "embeddedBundles", "s2", "signature")), n.keys(t),
		outcome{nexart.VerdictFailed, pass, fail, skip, []nexart.Code{nexart.CodeInvalidSignature}, nil})
	// Signed records under another title are no signed project.
	verify(t, "put together by somebody else", reproject(t, in(t, signed, "x", "projectTitle")), n.keys(t), unsigned)
}

// signProject gives a project a receipt of its own.
func (n *node) signProject(tb testing.TB, p object) object {
	tb.Helper()
	receipt := n.receipt(p["integrity"].(object)["projectHash"].(string), "1.2.0")
	return merged(p, object{"receipt": receipt, "signature": n.sign(canonical(tb, receipt))})
}

// TestProjectRules breaks each rule, with the hash made to fit where it covers
// the place.
func TestProjectRules(t *testing.T) {
	p := project(t, nil)
	registry, schema, hash := nexart.CodeStepRegistry, nexart.CodeSchema, nexart.CodeProjectHash
	for name, e := range map[string]struct {
		file object
		want []nexart.Code
	}{
		"title":                     {in(t, p, "other", "projectTitle"), []nexart.Code{hash}},
		"goal gone":                 {in(t, p, nil, "projectGoal"), []nexart.Code{hash}},
		"label":                     {in(t, p, "other", "stepRegistry", 0, "stepLabel"), []nexart.Code{hash}},
		"title empty":               {reproject(t, in(t, p, "", "projectTitle")), []nexart.Code{schema}},
		"version":                   {reproject(t, in(t, p, "0.2", "version")), []nexart.Code{hash, schema}},
		"protocol":                  {in(t, p, "1.3.0", "protocolVersion"), []nexart.Code{schema}},
		"algorithm":                 {in(t, p, "md5", "integrity", "algorithm"), []nexart.Code{schema}},
		"no hash":                   {in(t, p, nil, "integrity", "projectHash"), []nexart.Code{hash, schema}},
		"no integrity":              {in(t, p, nil, "integrity"), []nexart.Code{hash, schema}},
		"registry an object":        {reproject(t, in(t, p, object{}, "stepRegistry")), []nexart.Code{schema}},
		"embedded a list":           {in(t, p, []any{}, "embeddedBundles"), []nexart.Code{registry, schema}},
		"totalSteps":                {reproject(t, in(t, p, 4, "totalSteps")), []nexart.Code{registry}},
		"totalSteps a text":         {reproject(t, in(t, p, "3", "totalSteps")), []nexart.Code{registry}},
		"stepId twice":              {reproject(t, in(t, p, "s/1", "stepRegistry", 1, "stepId")), []nexart.Code{registry}},
		"executionId twice":         {reproject(t, in(t, p, "e-s/1", "stepRegistry", 1, "executionId")), []nexart.Code{registry}},
		"sequence twice":            {reproject(t, in(t, p, 0, "stepRegistry", 1, "sequence")), []nexart.Code{registry}},
		"sequence negative":         {reproject(t, in(t, p, -1, "stepRegistry", 1, "sequence")), []nexart.Code{registry}},
		"sequence a fraction":       {reproject(t, in(t, p, 0.5, "stepRegistry", 1, "sequence")), []nexart.Code{registry}},
		"hash of a step":            {reproject(t, in(t, p, hashOf(nil), "stepRegistry", 1, "certificateHash")), []nexart.Code{registry}},
		"hash of no form":           {reproject(t, in(t, p, "x", "stepRegistry", 1, "certificateHash")), []nexart.Code{registry}},
		"a parent that is not":      {reproject(t, in(t, p, []any{"s9"}, "stepRegistry", 1, "parentStepIds")), []nexart.Code{registry}},
		"its own parent":            {reproject(t, in(t, p, []any{"s2"}, "stepRegistry", 1, "parentStepIds")), []nexart.Code{registry}},
		"parents a text":            {reproject(t, in(t, p, "s/1", "stepRegistry", 1, "parentStepIds")), []nexart.Code{registry}},
		"parents in a circle":       {reproject(t, in(t, p, []any{"s3"}, "stepRegistry", 1, "parentStepIds")), []nexart.Code{registry}},
		"a parent a number":         {reproject(t, in(t, p, []any{1}, "stepRegistry", 1, "parentStepIds")), []nexart.Code{registry}},
		"record missing":            {in(t, p, nil, "embeddedBundles", "s2"), []nexart.Code{registry}},
		"record changed":            {in(t, p, "x", "embeddedBundles", "s2", "snapshot", "output"), []nexart.Code{nexart.CodeOutputHash}},
		"record's prompt changed":   {in(t, p, "x", "embeddedBundles", "s2", "snapshot", "prompt"), []nexart.Code{nexart.CodeCertificateHash}},
		"record of another":         {in(t, p, p["embeddedBundles"].(object)["s3"], "embeddedBundles", "s2"), []nexart.Code{registry}},
		"record of another type":    {in(t, p, "x", "embeddedBundles", "s2", "bundleType"), []nexart.Code{schema}},
		"a project within":          {in(t, p, p, "embeddedBundles", "s2"), []nexart.Code{registry, schema}},
		"title, and record missing": {in(t, in(t, p, nil, "embeddedBundles", "s2"), "x", "projectTitle"), []nexart.Code{hash, registry}},
	} {
		verify(t, name, e.file, nil, bad(e.want...))
	}
}

// TestProjectNotes: what the hash leaves out, and steps that do not follow.
func TestProjectNotes(t *testing.T) {
	p := project(t, nil)
	for name, e := range map[string]struct {
		file object
		want nexart.Note
	}{
		"summary":              {in(t, p, "x", "finalOutputSummary"), nexart.Note{Kind: nexart.NoteUncovered, Text: "/finalOutputSummary"}},
		"unknown":              {in(t, p, "x", "x"), nexart.Note{Kind: nexart.NoteUncovered, Text: "/x"}},
		"in integrity":         {in(t, p, "x", "integrity", "x"), nexart.Note{Kind: nexart.NoteUncovered, Text: "/integrity/x"}},
		"tags empty":           {reproject(t, in(t, p, []any{}, "tags")), nexart.Note{Kind: nexart.NoteUncovered, Text: "/tags"}},
		"another record":       {in(t, p, object{}, "embeddedBundles", "s9"), nexart.Note{Kind: nexart.NoteUncovered, Text: "/embeddedBundles/s9"}},
		"meta of a record":     {in(t, p, object{}, "embeddedBundles", "s/1", "meta"), nexart.Note{Kind: nexart.NoteUncovered, Text: "/embeddedBundles/s~11/meta"}},
		"comes before":         {reproject(t, in(t, in(t, p, []any{"s/1"}, "stepRegistry", 2, "parentStepIds"), []any{"s3"}, "stepRegistry", 1, "parentStepIds")), nexart.Note{Kind: nexart.NoteChain}},
		"a gap":                {reproject(t, in(t, p, 7, "stepRegistry", 2, "sequence")), nexart.Note{Kind: nexart.NoteChain, Text: "sequence 7 follows 1: what was between them is not here"}},
		"order exchanged":      {reproject(t, in(t, in(t, p, 1, "stepRegistry", 0, "sequence"), 0, "stepRegistry", 1, "sequence")), nexart.Note{Kind: nexart.NoteChain}},
		"says to be a stamped": {in(t, p, object{"attestation": object{"verified": true}}, "embeddedBundles", "s2", "meta"), nexart.Note{Kind: nexart.NoteStamp}},
	} {
		r := nexart.Verify(canonical(t, e.file), nil)
		consistent(t, r)
		found := slices.ContainsFunc(r.Notes, func(n nexart.Note) bool { return n.Kind == e.want.Kind && (n.Text == e.want.Text || e.want.Text == "") })
		if !r.Verdict.Verified() || !found {
			t.Errorf("%s: %v, want %v", name, r, e.want)
		}
	}
}

// TestProjectSize: more steps than are judged are refused, and as many are not
// slow.
func TestProjectSize(t *testing.T) {
	for _, n := range []int{4096, 4097} {
		var registry []any
		for i := range n {
			registry = append(registry, object{"stepId": fmt.Sprint(i), "sequence": i, "executionId": fmt.Sprint(i), "certificateHash": hashOf(nil)})
		}
		p := reproject(t, merged(project(t, nil), object{"stepRegistry": registry, "totalSteps": n, "embeddedBundles": object{}}))
		r := nexart.Verify(canonical(t, p), nil)
		if r.Verdict.Verified() || len(r.Codes) != 1 || (r.Codes[0] == nexart.CodeSchema) != (n > 4096) {
			t.Errorf("%d steps: %v, %v", n, r.Verdict, r.Codes)
		}
	}
}
