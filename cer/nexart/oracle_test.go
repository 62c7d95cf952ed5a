package nexart_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/nexart"
)

// An oracle judges again, slowly and by other means, what a report says passed: it
// decodes the whole text, builds what must have been hashed or signed as the
// documents describe it, and compares.
type oracle struct {
	testing.TB
	n *node
}

// check fails the test where a layer passed that must not.
func (o oracle) check(file []byte, r *nexart.Report) {
	o.Helper()
	if r.Integrity != pass && r.Receipt != pass && r.Envelope != pass {
		return
	}
	var top object
	if json.Unmarshal(file, &top) != nil {
		o.Fatalf("something passes in what is no object: %q", file)
	}
	record := top
	if inner, ok := top["cer"].(object); ok {
		record = inner
	}
	if r.Integrity == pass && !o.intact(record, r) {
		o.Fatalf("integrity passes, and must not: %s\n%v", file, r)
	}
	claimed, _ := record["certificateHash"].(string)
	if record["bundleType"] == "cer.project.bundle.v1" {
		integrity, _ := record["integrity"].(object)
		claimed, _ = integrity["projectHash"].(string)
	}
	if r.Receipt == pass && !o.received(top, record, claimed) {
		o.Fatalf("the receipt passes, and must not: %s\n%v", file, r)
	}
	if r.Envelope == pass && !o.enveloped(top, record, claimed) {
		o.Fatalf("the envelope passes, and must not: %s\n%v", file, r)
	}
	if r.Verdict.Verified() && !sameRecord(o, top, record) {
		o.Fatalf("verified, and another record stands around it: %s", file)
	}
}

func (o oracle) hash(v any) string { return hashOf(canonical(o, v)) }

// picked is an object with those members, of those that are there.
func picked(from object, names ...string) object {
	out := object{}
	for _, name := range names {
		if v, ok := from[name]; ok {
			out[name] = v
		}
	}
	return out
}

// sameRecord: a package repeats its record's members, or has none of that name.
func sameRecord(tb testing.TB, top, record object) bool {
	tb.Helper()
	for _, name := range []string{"bundleType", "snapshot", "certificateHash", "stepRegistry", "step", "evidence"} {
		if v, ok := top[name]; ok && !bytes.Equal(canonical(tb, v), canonical(tb, record[name])) {
			return false
		}
	}
	return true
}

// intact recomputes the hashes.
func (o oracle) intact(record object, r *nexart.Report) bool {
	claimed, _ := record["certificateHash"].(string)
	switch record["bundleType"] {
	case "cer.ai.execution.v1", "signed-redacted-reseal":
		var of []string
		context, _ := record["context"].(object)
		for _, p := range [][]string{four, append([]string{"context", "contextSummary"}, four...), append([]string{"context", "contextSummary", "policyEvaluation"}, four...)} {
			of = append(of, o.hash(picked(record, p...)))
		}
		of = append(of, o.hash(merged(picked(record, four...), object{"context": picked(context, "signals")})))
		snapshot, _ := record["snapshot"].(object)
		return claimed == r.CertificateHash && slices.Contains(of, claimed) && o.contents(snapshot, r)
	case "cer.project.bundle.v1":
		return o.project(record, r)
	case "cer.governed.execution.v1", "cer.governed.execution.step.v1":
		all := maps.Clone(record)
		delete(all, "certificateHash")
		set, _ := record["protectedSet"].(object)
		listed, _ := set["protectedFields"].([]any)
		names := []string{"protectedSet"}
		for _, v := range listed {
			name, _ := v.(string)
			names = append(names, name)
		}
		for _, must := range []string{"bundleType", "version"} {
			if !slices.Contains(names, must) {
				return false
			}
		}
		return claimed == r.CertificateHash && (claimed == o.hash(all) || claimed == o.hash(picked(record, names...)))
	}
	return false
}

// contents recomputes inputHash and outputHash of what is there and not withheld.
func (o oracle) contents(snapshot object, r *nexart.Report) bool {
	for _, name := range []string{"input", "output"} {
		v, ok := snapshot[name]
		if withheld := (nexart.Note{Kind: nexart.NoteWithheld, Text: "/snapshot/" + name}); slices.Contains(r.Notes, withheld) {
			commitment, _ := v.(object)
			if ok && commitment["_redacted"] != true {
				return false
			}
			continue
		}
		want := ""
		if text, isText := v.(string); isText {
			want = hashOf([]byte(text))
		} else if ok {
			want = o.hash(v)
		}
		if snapshot[name+"Hash"] != want {
			return false
		}
	}
	return true
}

// project recomputes a project: its hash, and the records that it names.
func (o oracle) project(p object, r *nexart.Report) bool {
	covered := picked(p, "projectBundleId", "projectTitle", "startedAt", "completedAt", "totalSteps", "stepRegistry",
		"projectGoal", "projectSummary", "appName", "frameworkName", "tags")
	if tags, ok := covered["tags"].([]any); ok && len(tags) == 0 {
		delete(covered, "tags")
	}
	maps.Copy(covered, object{"bundleType": "cer.project.bundle.v1", "version": "0.1", "protocolVersion": "1.2.0"})
	registry, _ := p["stepRegistry"].([]any)
	embedded, _ := p["embeddedBundles"].(object)
	if p["integrity"].(object)["projectHash"] != o.hash(covered) || r.CertificateHash != o.hash(covered) ||
		p["totalSteps"] != float64(len(registry)) || len(r.Steps) != len(registry) {
		return false
	}
	seen := map[any]bool{}
	for i, e := range registry {
		step := e.(object)
		id, sequence := step["stepId"], step["sequence"]
		record, ok := embedded[id.(string)].(object)
		if !ok || seen[id] || seen[sequence] || r.Steps[i].ID != id || record["certificateHash"] != step["certificateHash"] ||
			!o.intact(record, r.Steps[i].Report) {
			return false
		}
		seen[id], seen[sequence] = true, true
	}
	return true
}

// signedBy reports whether the node signed a message.
func (o oracle) signedBy(signature any, message []byte) bool {
	text, _ := signature.(string)
	b, err := base64.RawURLEncoding.DecodeString(text)
	return err == nil && ed25519.Verify(o.n.key.Public().(ed25519.PublicKey), message, b)
}

// received wants every receipt to be of this record and by the node, and one at
// least.
func (o oracle) received(top, record object, claimed string) bool {
	found := 0
	for _, in := range []object{top, record} {
		meta, _ := in["meta"].(object)
		for _, place := range []any{in, in["attestation"], in["proof"], in["certification"], in["seal"], meta["attestation"]} {
			at, _ := place.(object)
			receipt := at["receipt"]
			if receipt == nil {
				continue
			}
			found++
			var message []byte
			fields, _ := receipt.(object)
			signature := at["signature"]
			for _, name := range []string{"signatureB64Url", "receiptSignature"} {
				if signature == nil {
					signature = at[name]
				}
			}
			if text, ok := receipt.(string); ok {
				message = []byte(text)
				if json.Unmarshal(message, &fields) != nil {
					return false
				}
			} else {
				if payload, ok := fields["payload"].(object); ok {
					if signature == nil {
						signature = fields["signature"]
					}
					fields = payload
				}
				message = canonical(o, fields)
			}
			if claimed == "" || fields["certificateHash"] != claimed || fields["envelopeType"] != nil || !o.signedBy(signature, message) {
				return false
			}
		}
	}
	return found > 0
}

// enveloped wants every envelope to sign this record, and one at least.
func (o oracle) enveloped(top, record object, claimed string) bool {
	found := 0
	meta, _ := record["meta"].(object)
	for _, in := range []object{top, record, meta} {
		env, ok := in["verificationEnvelope"].(object)
		if !ok {
			continue
		}
		found++
		var message []byte
		switch {
		case env["scope"] == "whitelist":
			fields, _ := env["signedFields"].(object)
			listed, _ := fields["bundle"].([]any)
			bundle := object{}
			for _, v := range listed {
				bundle[v.(string)] = record[v.(string)]
			}
			if bundle["bundleType"] == nil || bundle["version"] == nil || len(bundle) != len(listed) ||
				(bundle["snapshot"] == nil && bundle["step"] == nil && bundle["evidence"] == nil && bundle["certificateHash"] == nil) {
				return false
			}
			message = canonical(o, object{"attestation": env["attestation"], "bundle": bundle})
		case env["envelopeType"] == "nexart.verification.envelope.v1":
			if env["certificateHash"] != claimed {
				return false
			}
			message = canonical(o, env)
		default:
			bare := maps.Clone(record)
			for name := range bare {
				if strings.HasPrefix(name, "verificationEnvelope") {
					delete(bare, name)
				}
			}
			if meta != nil {
				rest := maps.Clone(meta)
				maps.DeleteFunc(rest, func(name string, _ any) bool { return strings.HasPrefix(name, "verificationEnvelope") })
				if bare["meta"] = rest; len(rest) == 0 {
					delete(bare, "meta")
				}
			}
			message = canonical(o, object{"attestation": env["attestation"], "bundle": bare, "envelopeType": "nexart.verification.envelope.v2"})
		}
		if !o.signedBy(in["verificationEnvelopeSignature"], message) {
			return false
		}
	}
	return found > 0
}

// TestOracle: the independent judgement agrees that what verifies does, and that a
// signature over something else does not.
func TestOracle(t *testing.T) {
	n := newNode(1)
	o := oracle{t, n}
	for i, file := range subjects(t, n) {
		b := canonical(t, file)
		r := nexart.Verify(b, n.keys(t))
		if !r.Verdict.Verified() {
			t.Errorf("subject %d: %+v", i, r)
		}
		o.check(b, r)
		// The same report is no report of a file that somebody else signed.
		record, ok := file["cer"].(object)
		if !ok {
			record = file
		}
		other := oracle{t, newNode(2)}
		if r.Receipt == pass && other.received(file, record, r.CertificateHash) || r.Envelope == pass && other.enveloped(file, record, r.CertificateHash) {
			t.Errorf("subject %d: the oracle takes any signature", i)
		}
	}
	record := sealed(t, snapshot())
	r := nexart.Verify(canonical(t, record), nil)
	for _, edit := range []object{{"createdAt": "x"}, {"certificateHash": hashOf(nil)}, {"bundleType": "x"}} {
		if o.intact(merged(record, edit), r) {
			t.Errorf("the oracle takes %v", edit)
		}
	}
	gone := in(t, record, "x", "snapshot", "inputHash")
	if o.contents(gone["snapshot"].(object), r) {
		t.Error("the oracle takes any inputHash")
	}
}

// FuzzReceipt: the node signs whatever text, and only a receipt of this record, by
// this key, passes.
func FuzzReceipt(f *testing.F) {
	n, record := newNode(1), sealed(f, snapshot())
	hash := record["certificateHash"].(string)
	keys := n.keys(f)
	receipt := n.receipt(hash, "1.2.0")
	for _, members := range []object{
		{}, {"kid": n.kid}, {"receiptVersion": nil}, {"certificateHash": hashOf(nil)}, {"envelopeType": "x"}, {"protocolVersion": "1.3.0"}, {"payload": receipt},
	} {
		f.Add(canonical(f, with(f, receipt, members)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if cer.Strict(b, 32) != nil {
			return
		}
		quoted := canonical(t, string(b))
		asText := []byte(`{"cer":` + string(canonical(t, record)) + `,"receipt":` + string(quoted) + `,"signature":"` + n.sign(b) + `"}`)
		c, err := cer.Canonical(b)
		if err != nil {
			t.Fatal(err)
		}
		asObject := []byte(`{"cer":` + string(canonical(t, record)) + `,"receipt":` + string(b) + `,"signature":"` + n.sign(c) + `"}`)
		for _, file := range [][]byte{asText, asObject} {
			r := nexart.Verify(file, keys)
			consistent(t, r)
			oracle{t, n}.check(file, r)
			if r.Receipt != pass {
				continue
			}
			fields := parsed(t, b)
			version, protocol := fields["receiptVersion"], fields["protocolVersion"]
			named := fields["attestorKeyId"]
			if named == nil {
				named = fields["kid"]
			}
			if fields["certificateHash"] != hash || named != n.kid || (version != nil && version != "attestation.receipt.v1") || (protocol != nil && protocol != "1.2.0") {
				t.Fatalf("passes: %s", b)
			}
		}
	})
}

// FuzzEnvelope: the node signs what an envelope lists, whatever that is, and only
// one that lists what makes up the record passes.
func FuzzEnvelope(f *testing.F) {
	n, record := newNode(1), sealed(f, snapshot())
	record["meta"] = object{"source": "x"}
	keys := n.keys(f)
	envelope, _ := n.envelope(f, record, "1.2.0", four...)
	for _, fields := range [][]string{four, four[:3], append([]string{"meta"}, four...), append([]string{"snapshot"}, four...), {}} {
		f.Add(canonical(f, merged(envelope, object{"signedFields": object{
			"attestation": []string{"attestationId", "attestedAt", "kid", "nodeRuntimeHash", "protocolVersion"}, "bundle": fields,
		}})))
	}
	f.Add(canonical(f, with(f, envelope, object{"scope": nil})))
	f.Add(canonical(f, with(f, envelope, object{"kid": "k2"})))
	f.Fuzz(func(t *testing.T, b []byte) {
		var env object
		if cer.Strict(b, 32) != nil || json.Unmarshal(b, &env) != nil {
			return
		}
		bundle := object{}
		fields, _ := env["signedFields"].(object)
		listed, _ := fields["bundle"].([]any)
		for _, v := range listed {
			if name, ok := v.(string); ok {
				bundle[name] = record[name]
			}
		}
		file := canonical(t, enclose(record, env, n.sign(canonical(t, object{"attestation": env["attestation"], "bundle": bundle}))))
		r := nexart.Verify(file, keys)
		consistent(t, r)
		oracle{t, n}.check(file, r)
		if r.Envelope != pass {
			return
		}
		attestation := env["attestation"].(object)
		for _, name := range four {
			if _, ok := bundle[name]; !ok {
				t.Fatalf("passes without %s: %s", name, b)
			}
		}
		if len(bundle) != len(listed) || len(attestation) != 5 || attestation["kid"] != n.kid || env["kid"] != n.kid ||
			attestation["protocolVersion"] != "1.2.0" || env["specVersion"] != "v0.16.1" || env["algorithm"] != "Ed25519" || env["canonicalization"] != "jcs" {
			t.Fatalf("passes: %s", b)
		}
	})
}
