package nexart_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"testing"

	"github.com/sworn-run/sworn/cer/nexart"
)

func badEnvelope(codes ...nexart.Code) outcome {
	return outcome{nexart.VerdictFailed, pass, skip, fail, codes, []nexart.NoteKind{nexart.NoteFailed}}
}

var enveloped = outcome{verdict: nexart.VerdictVerified, integrity: pass, receipt: skip, envelope: pass}

// enclose puts a record and an envelope into a package.
func enclose(record, envelope object, signature any) object {
	return object{"cer": record, "verificationEnvelope": envelope, "verificationEnvelopeSignature": signature}
}

func TestPackage(t *testing.T) {
	n, record := newNode(1), sealed(t, snapshot())
	file := n.certify(t, record, "1.2.0", four...)
	r := verify(t, "certified", file, n.keys(t), verified)
	if !r.Package || r.CertificateHash != record["certificateHash"] || len(r.Notes) > 0 {
		t.Errorf("certified: %+v", r)
	}
	verify(t, "without keys", file, nil, outcome{nexart.VerdictFailed, pass, fail, fail, []nexart.Code{nexart.CodeKeyNotFound}, nil})
	verify(t, "other keys", file, newNode(2).keys(t), outcome{nexart.VerdictFailed, pass, fail, fail, []nexart.Code{nexart.CodeKeyNotFound}, nil})
	verify(t, "a member beside", merged(file, object{"x": 1}), n.keys(t), noted(verified, nexart.NoteUncovered))
	verify(t, "meta", merged(file, object{"cer": with(t, record, object{"meta": object{"source": "x"}})}), n.keys(t), noted(verified, nexart.NoteUncovered))
	verify(t, "cer null", merged(file, object{"cer": nil}), n.keys(t),
		outcome{nexart.VerdictFailed, fail, fail, fail, []nexart.Code{nexart.CodeSchema, nexart.CodeReceiptHash}, nil})
	for _, name := range []string{"verificationEnvelope", "verificationEnvelopeSignature", "verificationEnvelopeVerification", "verificationEnvelopeType"} {
		meta := with(t, record, object{"meta": object{name: "x"}})
		r := nexart.Verify(canonical(t, merged(file, object{"cer": meta})), n.keys(t))
		if r.Envelope != fail || r.Integrity != pass || r.Receipt != pass {
			t.Errorf("meta.%s: %+v", name, r)
		}
	}
	// An edit that is sealed again breaks the signatures, and nothing else.
	forged := sealed(t, with(t, snapshot(), object{"output": "else"}))
	verify(t, "forged", merged(file, object{"cer": forged}), n.keys(t),
		outcome{nexart.VerdictFailed, pass, fail, fail, []nexart.Code{nexart.CodeReceiptHash, nexart.CodeInvalidSignature}, nil})
}

func TestEnvelopes(t *testing.T) {
	n := newNode(1)
	record := sealed(t, snapshot())
	context := rehash(t, with(t, record, object{"context": object{"signals": []any{object{"type": "a"}}}}), append([]string{"context"}, four...)...)
	envelope, signature := n.envelope(t, record, "1.2.0", four...)
	edit := func(members object) object { return enclose(record, with(t, envelope, members), signature) }
	attestation := func(members object) object {
		return edit(object{"attestation": with(t, n.attestation("1.2.0"), members)})
	}
	of := func(record object, protocol string, fields ...string) object {
		e, s := n.envelope(t, record, protocol, fields...)
		return enclose(record, e, s)
	}
	fields := func(attestation, bundle []string) object {
		return edit(object{"signedFields": object{"attestation": attestation, "bundle": bundle}})
	}
	five := []string{"attestationId", "attestedAt", "kid", "nodeRuntimeHash", "protocolVersion"}
	for name, e := range map[string]struct {
		file object
		want outcome
	}{
		"right":                  {enclose(record, envelope, signature), enveloped},
		"in another order":       {of(record, "1.2.0", "snapshot", "createdAt", "version", "bundleType"), enveloped},
		"with the context":       {of(context, "1.2.0", append([]string{"context"}, four...)...), enveloped},
		"without the context":    {of(context, "1.2.0", four...), noted(enveloped, nexart.NoteUnsigned)},
		"with the hash":          {of(record, "1.2.0", append([]string{"certificateHash"}, four...)...), enveloped},
		"at the top of a record": {merged(record, object{"verificationEnvelope": envelope, "verificationEnvelopeSignature": signature}), enveloped},
		"in meta of a record":    {with(t, record, object{"meta": object{"verificationEnvelope": envelope, "verificationEnvelopeSignature": signature}}), enveloped},

		"without the snapshot":       {of(record, "1.2.0", "bundleType", "version", "createdAt"), badEnvelope(nexart.CodeSchema)},
		"without the bundleType":     {of(record, "1.2.0", "version", "createdAt", "snapshot"), badEnvelope(nexart.CodeSchema)},
		"nothing":                    {of(record, "1.2.0"), badEnvelope(nexart.CodeSchema)},
		"a name twice":               {fields(five, append([]string{"snapshot"}, four...)), badEnvelope(nexart.CodeSchema)},
		"a name that is not there":   {fields(five, append([]string{"context"}, four...)), badEnvelope(nexart.CodeSchema)},
		"four of the attestation":    {fields(five[:4], four), badEnvelope(nexart.CodeSchema)},
		"a name more":                {fields(append([]string{"x"}, five...), four), badEnvelope(nexart.CodeSchema)},
		"names as a text":            {edit(object{"signedFields": object{"attestation": five, "bundle": "*"}}), badEnvelope(nexart.CodeSchema)},
		"a name that is a number":    {edit(object{"signedFields": object{"attestation": five, "bundle": []any{1}}}), badEnvelope(nexart.CodeSchema)},
		"no names":                   {edit(object{"signedFields": nil}), badEnvelope(nexart.CodeSchema)},
		"a list more":                {edit(object{"signedFields": object{"attestation": five, "bundle": four, "x": five}}), badEnvelope(nexart.CodeSchema)},
		"another protocol":           {of(record, "1.3.0", four...), badEnvelope(nexart.CodeSchemaVersion)},
		"another attestation":        {attestation(object{"attestationId": "a-2"}), badEnvelope(nexart.CodeInvalidSignature)},
		"attestation with more":      {attestation(object{"x": 1}), badEnvelope(nexart.CodeSchema)},
		"attestation by another key": {attestation(object{"kid": "k2"}), badEnvelope(nexart.CodeSchema)},
		"attestation missing":        {edit(object{"attestation": nil}), badEnvelope(nexart.CodeSchema)},
		"attestation a text":         {edit(object{"attestation": "x"}), badEnvelope(nexart.CodeSchema)},
		"another key":                {edit(object{"kid": "k2"}), badEnvelope(nexart.CodeSchema)},
		"a member more":              {edit(object{"x": 1}), badEnvelope(nexart.CodeSchema)},
		"algorithm":                  {edit(object{"algorithm": "none"}), badEnvelope(nexart.CodeSchema)},
		"canonicalization":           {edit(object{"canonicalization": "x"}), badEnvelope(nexart.CodeSchema)},
		"specVersion":                {edit(object{"specVersion": "v0.17.0"}), badEnvelope(nexart.CodeSchemaVersion)},
		"envelopeType":               {edit(object{"envelopeType": "nexart.verification.envelope.v3"}), badEnvelope(nexart.CodeSchemaVersion)},
		"envelopeType a number":      {edit(object{"envelopeType": 2}), badEnvelope(nexart.CodeSchemaVersion)},
		"scope":                      {edit(object{"scope": "x"}), noted(badEnvelope(nexart.CodeSchema), nexart.NoteLegacy)},
		"no signature":               {enclose(record, envelope, nil), badEnvelope(nexart.CodeSignatureMissing)},
		"signature of the receipt":   {enclose(record, envelope, n.sign(canonical(t, n.receipt("x", "1.2.0")))), badEnvelope(nexart.CodeInvalidSignature)},
		"signature alone":            {object{"cer": record, "verificationEnvelopeSignature": signature}, badEnvelope(nexart.CodeAttestationMissing)},
		"envelope a text":            {object{"cer": record, "verificationEnvelope": "x", "verificationEnvelopeSignature": signature}, badEnvelope(nexart.CodeAttestationMissing)},
	} {
		verify(t, name, e.file, n.keys(t), e.want)
	}
}

// TestEnvelopeFull: the form before v0.16.1, which signs the whole bundle.
func TestEnvelopeFull(t *testing.T) {
	n, record := newNode(1), sealed(t, snapshot())
	record["meta"] = object{"source": "x"}
	const v2 = "nexart.verification.envelope.v2"
	attestation := n.attestation("1.2.0")
	sign := func(bundle, attestation object) string {
		return n.sign(canonical(t, object{"attestation": attestation, "bundle": bundle, "envelopeType": v2}))
	}
	envelope := object{
		"envelopeType": v2, "scope": "full_bundle", "signedFields": "*", "attestation": attestation,
		"excludedFields": []string{"meta.verificationEnvelopeSignature", "meta.verificationEnvelope"},
	}
	in := func(record, envelope object, signature string) object {
		meta, _ := record["meta"].(object)
		return with(t, record, object{"meta": merged(meta, object{"verificationEnvelope": envelope, "verificationEnvelopeSignature": signature, "verificationEnvelopeType": v2})})
	}
	bare := with(t, record, object{"meta": nil})
	edit := func(members object) object { return in(record, with(t, envelope, members), sign(record, attestation)) }
	good := noted(enveloped, nexart.NoteLegacy)
	for name, e := range map[string]struct {
		file object
		want outcome
	}{
		"right":                {in(record, envelope, sign(record, attestation)), good},
		"meta left empty":      {in(bare, envelope, sign(bare, attestation)), good},
		"type in meta alone":   {edit(object{"envelopeType": nil}), good},
		"meta changed":         {in(with(t, record, object{"meta": object{"source": "y"}}), envelope, sign(record, attestation)), badEnvelope(nexart.CodeInvalidSignature)},
		"a member added":       {in(with(t, record, object{"x": 1}), envelope, sign(record, attestation)), badEnvelope(nexart.CodeInvalidSignature)},
		"leaves out more":      {edit(object{"excludedFields": []string{"snapshot"}}), badEnvelope(nexart.CodeSchema)},
		"leaves out no list":   {edit(object{"excludedFields": "x"}), badEnvelope(nexart.CodeSchema)},
		"signs a part":         {edit(object{"signedFields": []string{"version"}}), badEnvelope(nexart.CodeSchema)},
		"another scope":        {edit(object{"scope": "part"}), badEnvelope(nexart.CodeSchema)},
		"attestation unsigned": {edit(object{"attestation": merged(attestation, object{"x": 1})}), badEnvelope(nexart.CodeSchema)},
		"no attestation":       {edit(object{"attestation": nil}), badEnvelope(nexart.CodeSchema)},
	} {
		verify(t, name, e.file, n.keys(t), e.want)
	}
}

// TestEnvelopeV1: the first form, which signs itself, with either algorithm.
func TestEnvelopeV1(t *testing.T) {
	n, record := newNode(1), sealed(t, snapshot())
	p, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := p.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	document := n.document()
	document["keys"] = append(document["keys"].([]any), object{"kid": "p1", "alg": "ES256", "publicKeyJwk": object{
		"kty": "EC", "crv": "P-256", "x": base64.RawURLEncoding.EncodeToString(point[1:33]), "y": base64.RawURLEncoding.EncodeToString(point[33:]),
	}})
	keys := keysOf(t, document)
	ecdsaSign := func(message []byte) string {
		sum := sha256.Sum256(message)
		r, s, err := ecdsa.Sign(rand.Reader, p, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
	}
	in := func(envelope object, signature string, more object) object {
		return with(t, record, object{"meta": merged(object{"verificationEnvelope": envelope, "verificationEnvelopeSignature": signature}, more)})
	}
	envelope := object{
		"envelopeType": "nexart.verification.envelope.v1", "certificateHash": record["certificateHash"], "kid": n.kid, "attestedAt": attestedAt,
	}
	unbound := with(t, envelope, object{"certificateHash": nil})
	byP := with(t, envelope, object{"kid": "p1"})
	keyless := with(t, envelope, object{"kid": nil})
	good := noted(enveloped, nexart.NoteLegacy)
	verify(t, "Ed25519", in(envelope, n.sign(canonical(t, envelope)), nil), keys, good)
	verify(t, "ECDSA", in(byP, ecdsaSign(canonical(t, byP)), nil), keys, good)
	verify(t, "ECDSA, wrong", in(byP, ecdsaSign([]byte("x")), nil), keys, badEnvelope(nexart.CodeInvalidSignature))
	verify(t, "of no record", in(unbound, n.sign(canonical(t, unbound)), nil), keys, badEnvelope(nexart.CodeReceiptHash))
	verify(t, "wrong", in(envelope, n.sign(canonical(t, unbound)), nil), keys, badEnvelope(nexart.CodeInvalidSignature))
	untyped := with(t, envelope, object{"envelopeType": nil})
	verify(t, "typed beside what is signed", in(untyped, n.sign(canonical(t, untyped)), object{"verificationEnvelopeType": "nexart.verification.envelope.v1"}), keys,
		badEnvelope(nexart.CodeSchemaVersion))
	verify(t, "key named in meta", in(keyless, n.sign(canonical(t, keyless)), object{"attestation": object{"kid": n.kid}}), keys,
		noted(outcome{nexart.VerdictVerified, pass, skip, pass, []nexart.Code{nexart.CodeReceiptMissing}, nil}, nexart.NoteStamp))

	// Receipts and later envelopes are Ed25519 alone.
	receipt := with(t, n.receipt(record["certificateHash"].(string), "1.2.0"), object{"attestorKeyId": "p1"})
	verify(t, "a receipt by ECDSA", object{"cer": record, "receipt": receipt, "signature": ecdsaSign(canonical(t, receipt))}, keys, badReceipt(nexart.CodeKeyFormat))
}
