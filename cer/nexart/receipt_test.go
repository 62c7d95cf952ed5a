package nexart_test

import (
	"bytes"
	"crypto/sha256"
	"testing"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/nexart"
)

func hashOf(b []byte) string { return cer.FormatHash(sha256.Sum256(b)) }

const (
	pass = nexart.StatusPass
	fail = nexart.StatusFail
	skip = nexart.StatusSkipped
)

var (
	verified = outcome{verdict: nexart.VerdictVerified, integrity: pass, receipt: pass, envelope: pass}
	plain    = outcome{verdict: nexart.VerdictVerified, integrity: pass, receipt: skip, envelope: skip}
	attested = outcome{verdict: nexart.VerdictVerified, integrity: pass, receipt: pass, envelope: skip}
)

// badReceipt is a record whose receipt alone fails.
func badReceipt(codes ...nexart.Code) outcome {
	return outcome{nexart.VerdictFailed, pass, fail, skip, codes, []nexart.NoteKind{nexart.NoteFailed}}
}

func noted(o outcome, kinds ...nexart.NoteKind) outcome {
	o.notes = append(o.notes, kinds...)
	return o
}

func TestReceipts(t *testing.T) {
	n, record := newNode(1), sealed(t, snapshot())
	hash := record["certificateHash"].(string)
	receipt := n.receipt(hash, "1.2.0")
	signature := n.sign(canonical(t, receipt))
	signed := func(r any) object { return object{"receipt": r, "signature": n.sign(canonical(t, r))} }
	edited := func(members object) object { return signed(with(t, receipt, members)) }
	text := string(bytes.ReplaceAll(canonical(t, receipt), []byte(`,`), []byte(` , `)))
	short := object{"certificateHash": hash, "timestamp": attestedAt, "nodeId": "node-1", "kid": n.kid}
	other := sealed(t, with(t, snapshot(), object{"output": "else"}))
	for name, e := range map[string]struct {
		beside object // members of the package
		want   outcome
	}{
		"none":                     {object{}, plain},
		"at the top":               {signed(receipt), attested},
		"under signatureB64Url":    {object{"receipt": receipt, "signatureB64Url": signature}, attested},
		"under receiptSignature":   {object{"receipt": receipt, "receiptSignature": signature}, attested},
		"in attestation":           {object{"attestation": signed(receipt)}, attested},
		"in proof":                 {object{"proof": signed(receipt)}, attested},
		"in certification":         {object{"certification": signed(receipt)}, attested},
		"in seal":                  {object{"seal": signed(receipt)}, attested},
		"in meta.attestation":      {object{"meta": object{"attestation": signed(receipt)}}, attested},
		"with the key's name":      {merged(signed(receipt), object{"attestorKeyId": n.kid}), attested},
		"a text":                   {object{"receipt": text, "signature": n.sign([]byte(text))}, attested},
		"a text in another form":   {object{"receipt": text, "signature": signature}, badReceipt(nexart.CodeInvalidSignature)},
		"a text that is no JSON":   {object{"receipt": "x", "signature": n.sign([]byte("x"))}, badReceipt(nexart.CodeCanonicalization)},
		"a text with a name twice": {object{"receipt": `{"certificateHash":"x","certificateHash":"` + hash + `"}`, "signature": "x"}, badReceipt(nexart.CodeCanonicalization)},
		"of four members":          {signed(short), noted(attested, nexart.NoteLegacy, nexart.NoteKey)},
		"payload":                  {object{"receipt": object{"payload": short}, "receiptSignature": n.sign(canonical(t, short))}, noted(attested, nexart.NoteLegacy)},
		"payload and signature":    {object{"receipt": object{"payload": short, "signature": n.sign(canonical(t, short))}}, noted(attested, nexart.NoteLegacy)},
		"payload a text":           {object{"receipt": object{"payload": text}, "receiptSignature": n.sign([]byte(text))}, noted(badReceipt(nexart.CodeSchema), nexart.NoteLegacy)},
		"payload null":             {object{"receipt": object{"payload": nil}, "receiptSignature": n.sign([]byte(text))}, noted(badReceipt(nexart.CodeSchema), nexart.NoteLegacy)},
		"with an unknown member":   {edited(object{"x": 1}), attested},
		"two":                      {merged(signed(receipt), object{"attestation": signed(receipt)}), attested},
		"two, one of them bad":     {merged(signed(receipt), object{"attestation": object{"receipt": receipt, "signature": "x"}}), badReceipt(nexart.CodeInvalidSignature)},

		"of another record":         {signed(n.receipt(other["certificateHash"].(string), "1.2.0")), badReceipt(nexart.CodeReceiptHash)},
		"of no record":              {edited(object{"certificateHash": nil}), badReceipt(nexart.CodeReceiptHash)},
		"of a record in upper case": {edited(object{"certificateHash": "SHA256:" + hash[7:]}), badReceipt(nexart.CodeReceiptHash)},
		"signature missing":         {object{"receipt": receipt}, badReceipt(nexart.CodeSignatureMissing)},
		"signature null":            {object{"receipt": receipt, "signature": 1}, badReceipt(nexart.CodeSignatureMissing)},
		"signature alone":           {object{"signature": signature}, badReceipt(nexart.CodeReceiptMissing)},
		"signature padded":          {object{"receipt": receipt, "signature": signature + "=="}, badReceipt(nexart.CodeInvalidSignature)},
		"signature with a newline":  {object{"receipt": receipt, "signature": signature + "\n"}, badReceipt(nexart.CodeInvalidSignature)},
		"signature short":           {object{"receipt": receipt, "signature": signature[:84]}, badReceipt(nexart.CodeInvalidSignature)},
		"signature of another key":  {object{"receipt": receipt, "signature": newNode(2).sign(canonical(t, receipt))}, badReceipt(nexart.CodeInvalidSignature)},
		"edited":                    {object{"receipt": with(t, receipt, object{"nodeId": "x"}), "signature": signature}, badReceipt(nexart.CodeInvalidSignature)},
		"unknown key":               {edited(object{"attestorKeyId": "k9"}), badReceipt(nexart.CodeKeyNotFound)},
		"no key":                    {edited(object{"attestorKeyId": nil}), badReceipt(nexart.CodeKeyNotFound)},
		"two keys":                  {merged(signed(receipt), object{"kid": "k2"}), badReceipt(nexart.CodeSchema)},
		"version":                   {edited(object{"receiptVersion": "attestation.receipt.v2"}), badReceipt(nexart.CodeSchemaVersion)},
		"protocol":                  {edited(object{"protocolVersion": "1.3.0"}), badReceipt(nexart.CodeSchemaVersion)},
		"a number":                  {object{"receipt": 1, "signature": signature}, badReceipt(nexart.CodeSchema)},
		"before the window":         {edited(object{"attestedAt": "2025-12-31T00:00:00Z"}), noted(attested, nexart.NoteKey)},
		"another node":              {edited(object{"nodeId": "node-2"}), noted(attested, nexart.NoteKey)},
		"speaks of a token":         {edited(object{"timestampType": "rfc3161"}), noted(attested, nexart.NoteNoTimestamp)},

		"says verified":                       {object{"attestation": object{"verified": true}}, noted(outcome{nexart.VerdictVerified, pass, skip, skip, []nexart.Code{nexart.CodeReceiptMissing}, nil}, nexart.NoteStamp)},
		"says verified beside a receipt":      {merged(signed(receipt), object{"attestation": object{"verified": true, "certificateHash": hash}}), noted(attested, nexart.NoteStamp)},
		"says verified, of another":           {object{"attestation": object{"verified": true, "certificateHash": "sha256:00"}}, badReceipt(nexart.CodeReceiptHash)},
		"a key in the package":                {merged(signed(receipt), object{"canonical": object{"envelope": object{"publicKeyJwk": object{"kty": "OKP", "crv": "Ed25519", "x": n.publicKey()}}}}), noted(attested, nexart.NoteEmbeddedKey, nexart.NoteUncovered)},
		"an attacker's key brought by itself": {object{"receipt": n.receipt(hash, "1.2.0"), "signature": newNode(3).sign(canonical(t, receipt)), "publicKey": newNode(3).publicKey()}, noted(badReceipt(nexart.CodeInvalidSignature), nexart.NoteEmbeddedKey)},
	} {
		file := merged(object{"cer": record}, e.beside)
		if meta, ok := e.beside["meta"]; ok { // Of the record, not of the package.
			file = with(t, record, object{"meta": meta})
		}
		verify(t, name, file, n.keys(t), e.want)
		if name == "none" || name == "says verified" {
			continue
		}
		if r := nexart.Verify(canonical(t, file), nil); r.Receipt != fail || r.Verdict.Verified() {
			t.Errorf("%s: without keys: %v", name, r)
		}
	}
}

// TestReceiptOfBareRecord: the same receipts beside the record's own members.
func TestReceiptOfBareRecord(t *testing.T) {
	n, record := newNode(1), sealed(t, snapshot())
	receipt := n.receipt(record["certificateHash"].(string), "1.2.0")
	file := merged(record, object{"receipt": receipt, "signature": n.sign(canonical(t, receipt))})
	verify(t, "bare", file, n.keys(t), attested)
	verify(t, "bare, edited", with(t, file, object{"createdAt": "x"}), n.keys(t),
		outcome{nexart.VerdictFailed, fail, pass, skip, []nexart.Code{nexart.CodeCertificateHash}, nil})
}

// TestStamp: the unsigned form of the first months.
func TestStamp(t *testing.T) {
	record := sealed(t, snapshot())
	stamp := object{
		"attestedAt": attestedAt, "certificateHash": record["certificateHash"], "nodeRuntimeHash": "sha256:00", "protocolVersion": "1.2.0",
	}
	whole := merged(stamp, object{"attestationHash": hashOf(canonical(t, stamp))})
	legacy := outcome{nexart.VerdictVerified, pass, skip, skip, []nexart.Code{nexart.CodeStampLegacy}, []nexart.NoteKind{nexart.NoteStamp}}
	for name, e := range map[string]struct {
		attestation object
		want        outcome
	}{
		"right":             {whole, legacy},
		"hash not repeated": {with(t, whole, object{"certificateHash": nil}), legacy},
		"edited":            {with(t, whole, object{"attestedAt": "x"}), badReceipt(nexart.CodeReceiptHash)},
		"of another":        {with(t, whole, object{"certificateHash": "sha256:00"}), badReceipt(nexart.CodeReceiptHash)},
		"a member missing":  {with(t, whole, object{"attestedAt": nil}), badReceipt(nexart.CodeSchema)},
	} {
		verify(t, name, with(t, record, object{"meta": object{"attestation": e.attestation}}), newNode(1).keys(t), e.want)
	}
}
