package nexart_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/cer/nexart"
)

func bad(codes ...nexart.Code) outcome {
	return outcome{nexart.VerdictFailed, fail, skip, skip, codes, []nexart.NoteKind{nexart.NoteFailed}}
}

// TestShapes: what is no record at all.
func TestShapes(t *testing.T) {
	for text, want := range map[string]outcome{
		``:                       bad(nexart.CodeCanonicalization),
		`{`:                      bad(nexart.CodeCanonicalization),
		"\xef\xbb\xbf{}":         bad(nexart.CodeCanonicalization),
		`{"a":1,"a":1}`:          bad(nexart.CodeCanonicalization),
		`{"a":9007199254740993}`: bad(nexart.CodeCanonicalization),
		`null`:                   bad(nexart.CodeSchema),
		`[]`:                     bad(nexart.CodeSchema),
		`{}`:                     bad(nexart.CodeSchema),
		`{"cer":{}}`:             bad(nexart.CodeSchema),
		`{"bundleType":"cer.codemode.render.v1"}`: bad(nexart.CodeSchema, nexart.CodeUnsupportedType),
		`{"bundleType":"legacy"}`:                 bad(nexart.CodeSchema, nexart.CodeUnsupportedType),
		`{"bundleType":"cer.ai.execution.v1"}`:    bad(nexart.CodeSchema),
	} {
		verify(t, text, []byte(text), nil, want)
	}
}

func TestExecution(t *testing.T) {
	record := sealed(t, snapshot())
	verify(t, "sealed", record, nil, plain)
	verify(t, "meta", merged(record, object{"meta": object{"source": "x"}}), nil, noted(plain, nexart.NoteUncovered))
	signals := object{"context": object{"signals": []any{object{"type": "a"}}}}
	verify(t, "signals beside", merged(record, signals), nil,
		outcome{nexart.VerdictSupplemental, pass, skip, skip, []nexart.Code{nexart.CodeContextNotProtected}, []nexart.NoteKind{nexart.NoteUncovered}})
	verify(t, "signals covered", rehash(t, merged(record, signals), append([]string{"context"}, four...)...), nil, plain)
	unknown := with(t, record["snapshot"].(object), object{"protocolVersion": "1.4.0"})
	verify(t, "unknown protocol", rehash(t, merged(record, object{"snapshot": unknown}), four...), nil, bad(nexart.CodeSchema, nexart.CodeSchemaVersion))
	key := with(t, snapshot(), object{"input": object{"publicKey": "x"}})
	if r := verify(t, "a key that the execution was about", sealed(t, key), nil, plain); len(r.Notes) > 0 {
		t.Errorf("notes %v", r.Notes)
	}
}

// TestConfidential: values that a node replaced by commitments.
func TestConfidential(t *testing.T) {
	for _, commitment := range []object{
		{"_redacted": true, "scheme": "hmac-sha256-v1", "commitment": "sha256:00"},
		{"_redacted": true, "commitment": "hmac-sha256:00", "commitmentScheme": "hmac-sha256-v1", "mode": "confidential"},
	} {
		record := sealed(t, merged(snapshot(), object{"protocolVersion": "1.3.1"}))
		record["snapshot"].(object)["output"] = commitment
		file := rehash(t, record, four...)
		confidential := outcome{nexart.VerdictConfidential, pass, skip, skip, nil, []nexart.NoteKind{nexart.NoteWithheld}}
		verify(t, "confidential", file, nil, confidential)
		n := newNode(1)
		confidential.receipt, confidential.envelope = pass, pass
		verify(t, "certified", n.certify(t, file, "1.3.1", four...), n.keys(t), confidential)
		verify(t, "changed", with(t, file, object{"createdAt": "x"}), nil, bad(nexart.CodeCertificateHash))
		certified := n.certify(t, file, "1.3.1", four...)
		certified["verificationEnvelopeSignature"] = n.sign(nil)
		verify(t, "with an envelope of something else", certified, n.keys(t),
			outcome{nexart.VerdictFailed, pass, pass, fail, []nexart.Code{nexart.CodeInvalidSignature}, nil})
		record["snapshot"].(object)["protocolVersion"] = "1.3.0"
		verify(t, "in 1.3.0", rehash(t, record, four...), nil, bad(nexart.CodeOutputHash))
	}
}

// TestReseal: copies with members taken out.
func TestReseal(t *testing.T) {
	n, record := newNode(1), sealed(t, snapshot())
	envelope, signature := n.envelope(t, record, "1.2.0", four...)
	reseal := rehash(t, with(t, record, object{"snapshot": with(t, record["snapshot"].(object), object{"prompt": nil, "input": nil, "output": nil})}), four...)
	receipt := n.receipt(reseal["certificateHash"].(string), "1.2.0")
	file := merged(enclose(merged(reseal, object{"meta": object{"provenance": object{"kind": "redacted_reseal", "originalCertificateHash": "sha256:00"}}}), envelope, signature),
		object{"receipt": receipt, "signature": n.sign(canonical(t, receipt))})
	verify(t, "with the envelope of the whole", file, n.keys(t),
		noted(attested, nexart.NoteRedacted, nexart.NoteWithheld, nexart.NoteUncovered))
	left, over := n.envelope(t, reseal, "1.2.0", four...)
	for name, e := range map[string][2]object{
		"that of the whole first": {enclose(nil, envelope, signature), enclose(nil, left, over)},
		"that of the whole last":  {enclose(nil, left, over), enclose(nil, envelope, signature)},
	} {
		both := merged(e[0], object{"cer": merged(reseal, with(t, e[1], object{"cer": nil}))})
		verify(t, name, both, n.keys(t), outcome{nexart.VerdictFailed, pass, skip, fail, []nexart.Code{nexart.CodeInvalidSignature}, nil})
	}
	verify(t, "by an unknown key", file, newNode(2).keys(t),
		outcome{nexart.VerdictFailed, pass, fail, fail, []nexart.Code{nexart.CodeKeyNotFound}, nil})

	// The type that only documents have.
	typed := rehash(t, merged(reseal, object{"bundleType": "signed-redacted-reseal", "provenance": object{"reason": "x"}}), four...)
	verify(t, "typed", typed, nil, noted(plain, nexart.NoteLegacy, nexart.NoteRedacted, nexart.NoteWithheld, nexart.NoteUncovered))
	verify(t, "typed, changed", with(t, typed, object{"createdAt": "x"}), nil, bad(nexart.CodeCertificateHash))
	whole := rehash(t, merged(record, object{"bundleType": "signed-redacted-reseal"}), four...)
	verify(t, "typed, whole", whole, nil, plain)
	for name, e := range map[string]struct {
		members, snapshot object
		want              nexart.Code
	}{
		"version":  {object{"version": "1.0"}, nil, nexart.CodeSchema},
		"created":  {object{"createdAt": ""}, nil, nexart.CodeSchema},
		"type":     {nil, object{"type": "x"}, nexart.CodeSchema},
		"protocol": {nil, object{"protocolVersion": "9"}, nexart.CodeSchema},
		"input":    {nil, object{"input": "x"}, nexart.CodeInputHash},
		"output":   {nil, object{"output": object{}}, nexart.CodeOutputHash},
	} {
		edited := with(t, whole, e.members)
		edited["snapshot"] = with(t, edited["snapshot"].(object), e.snapshot)
		verify(t, name, rehash(t, edited, four...), nil, bad(e.want))
	}
	verify(t, "hash of no form", with(t, typed, object{"certificateHash": "x"}), nil, bad(nexart.CodeInvalidFormat))
	verify(t, "hash a number", with(t, typed, object{"certificateHash": 1}), nil, bad(nexart.CodeSchema))
}

// TestHashOnly: nothing but a hash, which only a receipt can make good.
func TestHashOnly(t *testing.T) {
	n := newNode(1)
	hash := hashOf([]byte("x"))
	record := object{"bundleType": "hash-only-timestamp", "certificateHash": hash, "snapshot": nil}
	receipt := n.receipt(hash, "1.2.0")
	signed := object{"cer": record, "receipt": receipt, "signature": n.sign(canonical(t, receipt))}
	alone := outcome{nexart.VerdictFailed, skip, skip, skip, nil, []nexart.NoteKind{nexart.NoteWithheld}}
	verify(t, "without a receipt", record, n.keys(t), alone)
	r := verify(t, "with a receipt", signed, n.keys(t), outcome{nexart.VerdictVerified, skip, pass, skip, nil, []nexart.NoteKind{nexart.NoteWithheld}})
	if r.CertificateHash != hash {
		t.Errorf("hash %q", r.CertificateHash)
	}
	verify(t, "a receipt of another", merged(signed, object{"cer": merged(record, object{"certificateHash": hashOf(nil)})}), n.keys(t),
		outcome{nexart.VerdictFailed, skip, fail, skip, []nexart.Code{nexart.CodeReceiptHash}, nil})
	verify(t, "with a snapshot", merged(record, object{"snapshot": object{}}), nil, bad(nexart.CodeSchema))
	verify(t, "no hash", merged(record, object{"certificateHash": "sha256:00"}), nil, bad(nexart.CodeInvalidFormat))
}

// governedStep is a record of the governed family of steps.
func governedStep(tb testing.TB) object {
	tb.Helper()
	fields := []string{"bundleType", "version", "schema", "bundleId", "threadId", "step"}
	return rehash(tb, object{
		"bundleType": "cer.governed.execution.step.v1", "version": "1", "schema": object{"step": "s"}, "bundleId": "b", "threadId": "t",
		"step": object{"stepId": "1", "durationMs": 0.017417012713849545},
		"protectedSet": object{
			"stabilitySchemeId": "jcs-v1", "protectedSetId": "nexart.governed.execution.step.v1.protected-set.v1", "protectedFields": fields,
		},
	}, append([]string{"protectedSet"}, fields...)...)
}

func TestGoverned(t *testing.T) {
	n, record := newNode(1), governedStep(t)
	fields := []string{"bundleType", "version", "schema", "bundleId", "threadId", "step", "protectedSet"}
	verify(t, "certified", n.certify(t, record, "1", fields...), n.keys(t), verified)
	verify(t, "of another protocol", n.certify(t, record, "1.2.0", fields...), n.keys(t),
		outcome{nexart.VerdictFailed, pass, fail, fail, []nexart.Code{nexart.CodeSchemaVersion}, nil})
	r := nexart.Verify(canonical(t, n.certify(t, record, "1", fields[:6]...)), n.keys(t))
	if r.Envelope != fail {
		t.Error("an envelope without protectedSet passes")
	}
	verify(t, "a member added", merged(record, object{"x": 1}), nil, noted(plain, nexart.NoteUncovered))
	r = verify(t, "a member added and hashed", rehash(t, merged(record, object{"x": 1}), append([]string{"x"}, fields...)...), nil, plain)
	if len(r.Notes) > 0 {
		t.Errorf("notes %v", r.Notes)
	}
	set := record["protectedSet"].(object)
	for name, e := range map[string]struct {
		edit object
		want []nexart.Code
	}{
		"step changed":          {object{"step": object{}}, []nexart.Code{nexart.CodeCertificateHash}},
		"hash of another":       {object{"certificateHash": hashOf(nil)}, []nexart.Code{nexart.CodeCertificateHash}},
		"hash in upper case":    {object{"certificateHash": "sha256:" + string(bytes.ToUpper([]byte(record["certificateHash"].(string)[7:])))}, []nexart.Code{nexart.CodeInvalidFormat}},
		"version":               {object{"version": "2"}, []nexart.Code{nexart.CodeSchema, nexart.CodeSchemaVersion}},
		"no set":                {object{"protectedSet": nil}, []nexart.Code{nexart.CodeSchema}},
		"a member gone":         {object{"schema": nil}, []nexart.Code{nexart.CodeSchema}},
		"a member null":         {object{"schema": 0}, []nexart.Code{nexart.CodeCertificateHash}},
		"set: scheme":           {object{"protectedSet": merged(set, object{"stabilitySchemeId": "x"})}, []nexart.Code{nexart.CodeSchemaVersion}},
		"set: id":               {object{"protectedSet": merged(set, object{"protectedSetId": "x"})}, []nexart.Code{nexart.CodeSchemaVersion}},
		"set: a member more":    {object{"protectedSet": merged(set, object{"x": 1})}, []nexart.Code{nexart.CodeSchema}},
		"set: fewer fields":     {object{"protectedSet": merged(set, object{"protectedFields": fields[:5]})}, []nexart.Code{nexart.CodeSchema}},
		"set: a field twice":    {object{"protectedSet": merged(set, object{"protectedFields": append([]string{"step"}, fields[:6]...)})}, []nexart.Code{nexart.CodeSchema}},
		"set: the hash":         {object{"protectedSet": merged(set, object{"protectedFields": append([]string{"certificateHash"}, fields[:6]...)})}, []nexart.Code{nexart.CodeSchema}},
		"set: fields no list":   {object{"protectedSet": merged(set, object{"protectedFields": "x"})}, []nexart.Code{nexart.CodeSchema}},
		"set: a field not here": {object{"protectedSet": merged(set, object{"protectedFields": append([]string{"y"}, fields[:6]...)})}, []nexart.Code{nexart.CodeSchema}},
	} {
		verify(t, name, with(t, record, e.edit), nil, bad(e.want...))
	}
}

// TestHostile: a file of very many members costs no more than in proportion, and
// the report stays one that can be read.
func TestHostile(t *testing.T) {
	record := string(canonical(t, sealed(t, snapshot())))
	step := string(canonical(t, governedStep(t)))
	whole := string(canonical(t, project(t, nil)))
	for name, e := range map[string]struct {
		file func(many string) string
		want bool
	}{
		"record":   {func(many string) string { return "{" + many + record[1:] }, true},
		"package":  {func(many string) string { return "{" + many + `"cer":` + record + "}" }, true},
		"governed": {func(many string) string { return "{" + many + step[1:] }, true},
		"project":  {func(many string) string { return "{" + many + whole[1:] }, true},
		"embedded": {func(many string) string {
			return strings.Replace(whole, `"embeddedBundles":{`, `"embeddedBundles":{`+many, 1)
		}, false},
		"meta": {func(many string) string {
			return `{"meta":{` + many + `"verificationEnvelope":{"envelopeType":"nexart.verification.envelope.v2"},"verificationEnvelopeSignature":"x"},` + record[1:]
		}, false},
	} {
		took := func(members int) time.Duration {
			var many strings.Builder
			for i := range members {
				fmt.Fprintf(&many, `"m%d":0,`, i)
			}
			file := []byte(e.file(many.String()))
			began := time.Now()
			r := nexart.Verify(file, nil)
			took := time.Since(began)
			consistent(t, r)
			if r.Verdict.Verified() != e.want || len(r.Notes) > 512 || (e.want && r.Notes[len(r.Notes)-1].Kind != nexart.NoteMore) {
				t.Errorf("%s: %v, %d notes", name, r.Verdict, len(r.Notes))
			}
			return took
		}
		inProportion(t, name, took)
	}
}

// inProportion wants eight times the members to take eight times as long, and not
// sixty-four times. What else the machine does takes its time once, and not four
// times in a row.
func inProportion(t *testing.T, name string, took func(members int) time.Duration) {
	t.Helper()
	for range 4 {
		few, many := took(10_000), took(80_000)
		if many <= 24*few {
			return
		}
		t.Logf("%s took %v, and with eight times the members %v", name, few, many)
	}
	t.Errorf("%s: the cost is not in proportion", name)
}

// TestNames: every status, verdict, code and kind has a name of its own, and what
// is none has that of a failure.
func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for c := nexart.CodeCanonicalization; c.String() != "UNKNOWN_ERROR"; c++ {
		if seen[c.String()] {
			t.Errorf("%v occurs twice", c)
		}
		seen[c.String()] = true
		if (c.Reason() == "") != (c == nexart.CodeContextNotProtected) {
			t.Errorf("%v: reason %q", c, c.Reason())
		}
	}
	if len(seen) != 21 {
		t.Errorf("%d codes", len(seen))
	}
	for k := nexart.NoteFailed; k.String() != "unknown"; k++ {
		if seen[k.String()] {
			t.Errorf("%v occurs twice", k)
		}
		seen[k.String()] = true
	}
	var zero nexart.Report
	if zero.Verdict.Verified() || zero.Verdict.String() != "FAILED" || zero.Integrity.String() != "FAIL" || nexart.Verdict(200).Verified() {
		t.Errorf("the zero report: %v, %v", zero.Verdict, zero.Integrity)
	}
}
