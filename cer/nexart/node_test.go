package nexart_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/nexart"
)

// object is a JSON object that a test puts together.
type object = map[string]any

// node is an attestation node: it signs what NexArt's does, in its forms.
type node struct {
	key ed25519.PrivateKey
	kid string
}

func newNode(seed byte) *node {
	return &node{ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize)), fmt.Sprintf("k%d", seed)}
}

// canonical is the RFC 8785 form of a value.
func canonical(tb testing.TB, v any) []byte {
	tb.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	c, err := cer.Canonical(b)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// parsed is the object that a text stands for.
func parsed(tb testing.TB, b []byte) object {
	tb.Helper()
	var o object
	if err := json.Unmarshal(b, &o); err != nil {
		tb.Fatal(err)
	}
	return o
}

// clone copies an object deeply.
func clone(tb testing.TB, o object) object {
	tb.Helper()
	return parsed(tb, canonical(tb, o))
}

// with returns a copy of o with members set, or removed where the value is nil.
func with(tb testing.TB, o object, members object) object {
	tb.Helper()
	c := clone(tb, o)
	for name, v := range members {
		if v == nil {
			delete(c, name)
		} else {
			c[name] = v
		}
	}
	return c
}

func (n *node) sign(message []byte) string {
	return base64.RawURLEncoding.EncodeToString(ed25519.Sign(n.key, message))
}

// publicKey is the node's key as its document spells it.
func (n *node) publicKey() string {
	return base64.RawURLEncoding.EncodeToString(n.key.Public().(ed25519.PublicKey))
}

// document is the node's key document.
func (n *node) document() object {
	return object{"nodeId": "node-1", "activeKid": n.kid, "keys": []any{object{
		"kid": n.kid, "alg": "Ed25519", "use": "sig", "status": "active", "revoked": false, "publicKey": n.publicKey(),
		"validFrom": "2026-01-01T00:00:00.000Z", "validTo": nil,
	}}}
}

func (n *node) keys(tb testing.TB) *nexart.Keys {
	tb.Helper()
	return keysOf(tb, n.document())
}

func keysOf(tb testing.TB, document object) *nexart.Keys {
	tb.Helper()
	k, err := nexart.ParseKeys(canonical(tb, document))
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

const attestedAt = "2026-11-22T01:02:03.456Z"

// receipt is the receipt of a record.
func (n *node) receipt(hash, protocol string) object {
	return object{
		"attestationId": "a-1", "attestedAt": attestedAt, "attestorKeyId": n.kid, "certificateHash": hash,
		"nodeId": "node-1", "nodeRuntimeHash": "sha256:00", "protocolVersion": protocol,
		"receiptVersion": "attestation.receipt.v1", "timestampType": "node-issued",
	}
}

// attestation are the five members of an envelope's attestation.
func (n *node) attestation(protocol string) object {
	return object{
		"attestationId": "a-1", "attestedAt": attestedAt, "kid": n.kid, "nodeRuntimeHash": "sha256:00", "protocolVersion": protocol,
	}
}

// envelope is an envelope v2 over those members of the record, and its
// signature.
func (n *node) envelope(tb testing.TB, record object, protocol string, fields ...string) (object, string) {
	tb.Helper()
	attestation := n.attestation(protocol)
	bundle := object{}
	for _, f := range fields {
		bundle[f] = record[f]
	}
	return object{
		"algorithm": "Ed25519", "attestation": attestation, "canonicalization": "jcs",
		"envelopeType": "nexart.verification.envelope.v2", "kid": n.kid, "scope": "whitelist",
		"signedFields": object{
			"attestation": []string{"attestationId", "attestedAt", "kid", "nodeRuntimeHash", "protocolVersion"},
			"bundle":      fields,
		},
		"specVersion": "v0.16.1",
	}, n.sign(canonical(tb, object{"attestation": attestation, "bundle": bundle}))
}

// four are the members that an envelope of an execution signs at the least.
var four = []string{"bundleType", "version", "createdAt", "snapshot"}

// certify puts a record into a package with the node's signatures.
func (n *node) certify(tb testing.TB, record object, protocol string, fields ...string) object {
	tb.Helper()
	hash, _ := record["certificateHash"].(string)
	receipt := n.receipt(hash, protocol)
	envelope, signature := n.envelope(tb, record, protocol, fields...)
	return object{
		"cer": record, "receipt": receipt, "signature": n.sign(canonical(tb, receipt)),
		"verificationEnvelope": envelope, "verificationEnvelopeSignature": signature,
	}
}

// snapshot is what the tests seal.
func snapshot() object {
	return object{
		"executionId": "e-1", "provider": "p", "model": "m", "prompt": "say it", "input": "what", "output": object{"b": 1, "a": "é"},
		"parameters": object{"temperature": 0.5, "maxTokens": 100},
	}
}

// sealed is a record made of a snapshot.
func sealed(tb testing.TB, snapshot object) object {
	tb.Helper()
	b, err := nexart.Seal(canonical(tb, snapshot), nexart.SealOptions{CreatedAt: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)})
	if err != nil {
		tb.Fatal(err)
	}
	return parsed(tb, b)
}

// rehash gives a record the hash over those members, as whoever edits it can.
func rehash(tb testing.TB, record object, fields ...string) object {
	tb.Helper()
	c, some := clone(tb, record), object{}
	for _, f := range fields {
		some[f] = c[f]
	}
	c["certificateHash"] = hashOf(canonical(tb, some))
	return c
}

// outcome is what a test wants of a report.
type outcome struct {
	verdict                      nexart.Verdict
	integrity, receipt, envelope nexart.Status
	codes                        []nexart.Code
	notes                        []nexart.NoteKind // that must be there; others may be
}

// verify judges and compares.
func verify(t *testing.T, name string, file any, keys *nexart.Keys, want outcome) *nexart.Report {
	t.Helper()
	b, ok := file.([]byte)
	if !ok {
		b = canonical(t, file)
	}
	r := nexart.Verify(b, keys)
	consistent(t, r)
	got := outcome{r.Verdict, r.Integrity, r.Receipt, r.Envelope, r.Codes, nil}
	if got.verdict != want.verdict || got.integrity != want.integrity || got.receipt != want.receipt || got.envelope != want.envelope ||
		!slices.Equal(got.codes, want.codes) {
		t.Errorf("%s: %v, integrity %v, receipt %v, envelope %v, %v; want %v, %v, %v, %v, %v\n%v", name,
			r.Verdict, r.Integrity, r.Receipt, r.Envelope, r.Codes,
			want.verdict, want.integrity, want.receipt, want.envelope, want.codes, r.Notes)
	}
	kinds := map[nexart.NoteKind]bool{}
	for _, n := range r.Notes {
		kinds[n.Kind] = true
	}
	for _, k := range want.notes {
		if !kinds[k] {
			t.Errorf("%s: no note of kind %v: %v", name, k, r.Notes)
		}
	}
	return r
}

// consistent checks what holds of every report.
func consistent(t *testing.T, r *nexart.Report) {
	t.Helper()
	fails := r.Integrity == nexart.StatusFail || r.Receipt == nexart.StatusFail || r.Envelope == nexart.StatusFail
	passes := r.Integrity == nexart.StatusPass || r.Receipt == nexart.StatusPass
	switch {
	case r.Verdict == nexart.VerdictUnknown || r.Integrity == nexart.StatusUnknown || r.Receipt == nexart.StatusUnknown || r.Envelope == nexart.StatusUnknown:
		t.Fatalf("an outcome that is none: %+v", r)
	case r.Verdict.Verified() != (!fails && passes):
		t.Fatalf("the verdict does not follow from the layers: %+v", r)
	case fails && len(r.Codes) == 0:
		t.Fatalf("failed without a code: %+v", r)
	case r.Integrity == nexart.StatusPass && r.CertificateHash == "":
		t.Fatalf("integrity without a hash: %+v", r)
	case r.Integrity == nexart.StatusFail && r.CertificateHash != "":
		t.Fatalf("a hash without integrity: %+v", r)
	}
	seen := map[nexart.Code]bool{}
	for _, c := range r.Codes {
		if seen[c] || c == nexart.CodeUnknown {
			t.Fatalf("codes %v", r.Codes)
		}
		seen[c] = true
	}
	for _, n := range r.Notes {
		if n.Kind == nexart.NoteUnknown || n.Text == "" {
			t.Fatalf("an empty note: %+v", r)
		}
	}
	for _, s := range r.Steps {
		consistent(t, s.Report)
		if r.Integrity == nexart.StatusPass && s.Report.Integrity != nexart.StatusPass {
			t.Fatalf("a project is intact without its step %q", s.ID)
		}
	}
}

// merged is a with the members of b.
func merged(a, b object) object {
	c := object{}
	maps.Copy(c, a)
	maps.Copy(c, b)
	return c
}
