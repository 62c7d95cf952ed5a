package nexart_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/cer/nexart"
)

// TestTwoRecords: a package whose own members are another record's says two
// things, of which a reader may take the one that nobody verified.
func TestTwoRecords(t *testing.T) {
	n, record := newNode(1), sealed(t, snapshot())
	file := n.certify(t, record, "1.2.0", four...)
	evil := sealed(t, merged(snapshot(), object{"output": "forged"}))
	two := outcome{nexart.VerdictFailed, fail, pass, pass, []nexart.Code{nexart.CodeSchema}, nil}
	verify(t, "a record around it", merged(evil, file), n.keys(t), two)
	for name, value := range evil {
		want := verified
		if !bytes.Equal(canonical(t, value), canonical(t, record[name])) {
			want = two
		}
		verify(t, name, merged(file, object{name: value}), n.keys(t), want)
	}
	verify(t, "as a node answers", merged(file, object{
		"ok": true, "certificateHash": record["certificateHash"], "bundleType": record["bundleType"], "createdAt": record["createdAt"],
	}), n.keys(t), verified)
	verify(t, "a project around it", merged(project(t, nil), file), n.keys(t), two)
	verify(t, "a summary of its own", merged(file, object{"contextSummary": "approved"}), n.keys(t), two)
}

// TestCrossedSignatures: what a node signed for one layer does not count in
// another.
func TestCrossedSignatures(t *testing.T) {
	n, record := newNode(1), sealed(t, snapshot())
	hash := record["certificateHash"].(string)
	receipt := n.receipt(hash, "1.2.0")
	signature := n.sign(canonical(t, receipt))
	named := merged(record, object{"meta": object{"attestation": object{"kid": n.kid, "certificateHash": hash}}})
	for _, r := range []object{receipt, merged(receipt, object{"kid": n.kid}), {"certificateHash": hash, "timestamp": attestedAt, "nodeId": "node-1", "kid": n.kid}} {
		file := enclose(named, r, n.sign(canonical(t, r)))
		if got := nexart.Verify(canonical(t, file), n.keys(t)); got.Envelope != fail || got.Verdict.Verified() {
			t.Errorf("a receipt as an envelope: %+v", got)
		}
		file["verificationEnvelopeType"] = "nexart.verification.envelope.v1"
		if got := nexart.Verify(canonical(t, file), n.keys(t)); got.Envelope != fail || got.Verdict.Verified() {
			t.Errorf("a receipt said to be an envelope: %+v", got)
		}
	}
	first := object{"envelopeType": "nexart.verification.envelope.v1", "certificateHash": hash, "kid": n.kid}
	verify(t, "an envelope as a receipt", object{"cer": record, "receipt": first, "signature": n.sign(canonical(t, first))}, n.keys(t), badReceipt(nexart.CodeSchema))
	envelope, over := n.envelope(t, record, "1.2.0", four...)
	whole := object{"attestation": n.attestation("1.2.0"), "bundle": with(t, record, object{"certificateHash": nil})}
	for _, r := range []any{whole, string(canonical(t, whole)), object{"payload": whole}} {
		verify(t, "an envelope's signature as a receipt's", object{"cer": record, "receipt": r, "signature": over}, n.keys(t), badReceipt(nexart.CodeReceiptHash))
	}
	verify(t, "a receipt's signature as an envelope's", enclose(record, envelope, signature), n.keys(t), badEnvelope(nexart.CodeInvalidSignature))
	// The list of what is signed does not choose the form.
	full := with(t, envelope, object{"scope": "full_bundle", "signedFields": "*"})
	verify(t, "a list's signature over the whole", enclose(record, full, over), n.keys(t), badEnvelope(nexart.CodeInvalidSignature))
	said := enclose(record, envelope, over)
	said["verificationEnvelopeType"] = "nexart.verification.envelope.v1"
	verify(t, "two types", said, n.keys(t), badEnvelope(nexart.CodeSchema))
	said["verificationEnvelopeType"] = envelope["envelopeType"]
	verify(t, "one type, twice", said, n.keys(t), enveloped)
}

// TestReceiptAliases: a member under two names must be one thing.
func TestReceiptAliases(t *testing.T) {
	n, record := newNode(1), sealed(t, snapshot())
	receipt := n.receipt(record["certificateHash"].(string), "1.2.0")
	signature := n.sign(canonical(t, receipt))
	two := with(t, receipt, object{"kid": "k2"})
	for name, e := range map[string]struct {
		beside object
		want   outcome
	}{
		"one signature twice":    {object{"receipt": receipt, "signature": signature, "receiptSignature": signature}, attested},
		"two signatures":         {object{"receipt": receipt, "signature": signature, "receiptSignature": "x"}, badReceipt(nexart.CodeSchema)},
		"two kids beside":        {object{"receipt": receipt, "signature": signature, "attestorKeyId": n.kid, "kid": "k2"}, badReceipt(nexart.CodeSchema)},
		"two kids within":        {object{"receipt": two, "signature": n.sign(canonical(t, two))}, badReceipt(nexart.CodeSchema)},
		"a number as kid":        {object{"receipt": receipt, "signature": signature, "kid": 1}, badReceipt(nexart.CodeSchema)},
		"no receipt, two":        {object{"signature": signature, "receiptSignature": "x"}, badReceipt(nexart.CodeSchema, nexart.CodeReceiptMissing)},
		"standard base64":        {object{"receipt": receipt, "signature": urlToStandard(signature)}, badReceipt(nexart.CodeInvalidSignature)},
		"space before":           {object{"receipt": receipt, "signature": " " + signature}, badReceipt(nexart.CodeInvalidSignature)},
		"bits after the end":     {object{"receipt": receipt, "signature": trailingBit(signature)}, badReceipt(nexart.CodeInvalidSignature)},
		"S past the order":       {object{"receipt": receipt, "signature": malleated(t, signature)}, badReceipt(nexart.CodeInvalidSignature)},
		"hash and its neighbour": {object{"receipt": receipt, "signature": signature, "attestation": object{"receipt": receipt, "signature": malleated(t, signature)}}, badReceipt(nexart.CodeInvalidSignature)},
	} {
		verify(t, name, merged(object{"cer": record}, e.beside), n.keys(t), e.want)
	}
	r := verify(t, "beside the payload", object{"cer": record, "receipt": object{
		"payload": receipt, "attestedAt": "1999", "certificateHash": "sha256:00",
	}, "signature": signature}, n.keys(t), attested)
	for _, want := range []string{"/receipt/attestedAt", "/receipt/certificateHash"} {
		if !slices.Contains(r.Notes, nexart.Note{Kind: nexart.NoteUncovered, Text: want}) {
			t.Errorf("no note of %s: %v", want, r.Notes)
		}
	}
}

func urlToStandard(signature string) string {
	return strings.NewReplacer("-", "+", "_", "/").Replace(signature) + "=="
}

// trailingBit sets one of the four bits of the last character that belong to no
// byte.
func trailingBit(signature string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := len(signature) - 1
	return signature[:last] + string(alphabet[strings.IndexByte(alphabet, signature[last])|1])
}

// order is that of the group in which Ed25519 signs. RFC 8032, 5.1.
func order() *big.Int {
	l, _ := new(big.Int).SetString("27742317777372353535851937790883648493", 10)
	return l.Add(l, new(big.Int).Lsh(big.NewInt(1), 252))
}

// malleated is the same signature with the order added to S.
func malleated(tb testing.TB, signature string) string {
	tb.Helper()
	b, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil {
		tb.Fatal(err)
	}
	s := b[32:]
	slices.Reverse(s)
	n := new(big.Int).SetBytes(s)
	n.Add(n, order()).FillBytes(s)
	slices.Reverse(s)
	return base64.RawURLEncoding.EncodeToString(b)
}

// TestWeakKeys: a key by which anybody can sign, or that is written in another way
// than there is, is refused with its document.
func TestWeakKeys(t *testing.T) {
	// The y of the points of small order, and what a decoder that does not look
	// takes for them; each with either sign of x.
	weak := []string{
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		// No point of the curve, and a y that is not below the prime.
		"0200000000000000000000000000000000000000000000000000000000000000",
		"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	}
	forged := 0
	for _, text := range weak {
		for _, sign := range []byte{0, 0x80} {
			b, err := hex.DecodeString(text)
			if err != nil {
				t.Fatal(err)
			}
			b[31] |= sign
			forged += forgeries(b)
			key := base64.RawURLEncoding.EncodeToString(b)
			for _, member := range []object{
				{"publicKey": key},
				{"publicKey": nil, "publicKeyJwk": object{"kty": "OKP", "crv": "Ed25519", "x": key}},
				{"publicKey": nil, "publicKeySpkiB64": spki(t, ed25519.PublicKey(b))},
			} {
				document := newNode(1).document()
				document["keys"] = []any{with(t, document["keys"].([]any)[0].(object), member)}
				if keys, err := nexart.ParseKeys(canonical(t, document)); keys != nil || !errors.Is(err, nexart.ErrKeys) {
					t.Errorf("%x: %v, %v", b, keys, err)
				}
			}
		}
	}
	if forged == 0 {
		t.Error("none of the keys is weak")
	}
	for seed := range byte(20) {
		newNode(seed).keys(t)
	}
}

// forgeries counts signatures that need no private key and that the standard
// library accepts.
func forgeries(key ed25519.PublicKey) int {
	signature := make([]byte, 64)
	signature[0] = 1 // R is the neutral point, S is 0.
	n := 0
	for i := range 16 {
		sum := sha512.Sum512([]byte{byte(i)})
		if ed25519.Verify(key, sum[:], signature) {
			n++
		}
	}
	return n
}

// TestKeyContradictions: what a document says twice must be said alike.
func TestKeyContradictions(t *testing.T) {
	n := newNode(1)
	jwk := object{"kty": "OKP", "crv": "Ed25519", "x": n.publicKey()}
	der, err := base64.StdEncoding.DecodeString(spki(t, n.key.Public()))
	if err != nil {
		t.Fatal(err)
	}
	long := append([]byte{0x30, 0x81}, der[1:]...)
	for name, e := range map[string]struct {
		edit object
		ok   bool
	}{
		"the same kid":         {object{"publicKeyJwk": merged(jwk, object{"kid": n.kid, "alg": "EdDSA", "use": "sig"})}, true},
		"another kid":          {object{"publicKeyJwk": merged(jwk, object{"kid": "k2"})}, false},
		"another algorithm":    {object{"publicKeyJwk": merged(jwk, object{"alg": "ES256"})}, false},
		"another use":          {object{"publicKeyJwk": merged(jwk, object{"use": "enc"})}, false},
		"a private key":        {object{"publicKeyJwk": merged(jwk, object{"d": n.publicKey()})}, false},
		"a key with a newline": {object{"publicKey": n.publicKey()[:20] + "\n" + n.publicKey()[20:]}, false},
		"standard base64":      {object{"publicKey": urlToStandard(n.publicKey())[:44]}, false},
		"JWK with a newline":   {object{"publicKeyJwk": merged(jwk, object{"x": n.publicKey() + "\n"})}, false},
		"SPKI with a newline":  {object{"publicKeySpkiB64": spki(t, n.key.Public()) + "\n"}, false},
		"SPKI with a byte":     {object{"publicKeySpkiB64": base64.StdEncoding.EncodeToString(append(slices.Clone(der), 0))}, false},
		"SPKI not DER":         {object{"publicKeySpkiB64": base64.StdEncoding.EncodeToString(long)}, false},
	} {
		document := n.document()
		document["keys"] = []any{with(t, document["keys"].([]any)[0].(object), e.edit)}
		keys, err := nexart.ParseKeys(canonical(t, document))
		if (keys != nil) != e.ok || (err == nil) != e.ok || (err != nil && !errors.Is(err, nexart.ErrKeys)) {
			t.Errorf("%s: %v, %v", name, keys, err)
		}
	}
}

// TestBeside: members that some release hashes, put beside a record whose hash
// does not cover them.
func TestBeside(t *testing.T) {
	n, record := newNode(1), sealed(t, snapshot())
	supplemental := outcome{nexart.VerdictSupplemental, pass, pass, pass, []nexart.Code{nexart.CodeContextNotProtected}, []nexart.NoteKind{nexart.NoteUncovered}}
	beside := noted(verified, nexart.NoteUncovered)
	for name, e := range map[string]struct {
		member object
		want   outcome
	}{
		"a policy evaluation": {object{"policyEvaluation": object{"decision": "allow"}}, supplemental},
		"a summary":           {object{"contextSummary": "approved"}, supplemental},
		"a context":           {object{"context": object{"approved": true}}, supplemental},
		"a context, a text":   {object{"context": "approved"}, supplemental},
		"signals and more":    {object{"context": object{"signals": []any{}, "x": 1}}, supplemental},
		"an empty context":    {object{"context": object{}}, beside},
		"empty signals":       {object{"context": object{"signals": []any{}}}, beside},
		"something else":      {object{"context/approved": true}, beside},
		"a summary, null":     {object{"contextSummary": json0}, beside},
	} {
		verify(t, name, n.certify(t, merged(record, e.member), "1.2.0", four...), n.keys(t), e.want)
	}
	both := object{"context": object{"signals": []any{object{"type": "a"}}}}
	covered := rehash(t, merged(record, both), append([]string{"context"}, four...)...)
	covered["context"].(object)["approved"] = true
	verify(t, "beside signals that are covered", covered, nil,
		outcome{nexart.VerdictSupplemental, pass, skip, skip, []nexart.Code{nexart.CodeContextNotProtected}, []nexart.NoteKind{nexart.NoteUncovered}})
}

// json0 is a null that with and merged do not take for a removal.
var json0 = []any(nil)

// TestHashOnlyEnvelope: an envelope of a record that is nothing but a hash must
// sign the hash.
func TestHashOnlyEnvelope(t *testing.T) {
	n := newNode(1)
	record := object{
		"bundleType": "hash-only-timestamp", "version": "0.1", "createdAt": "x", "snapshot": nil,
		"certificateHash": hashOf([]byte("x")),
	}
	hashOnly := outcome{nexart.VerdictVerified, skip, pass, pass, nil, []nexart.NoteKind{nexart.NoteWithheld}}
	verify(t, "with the hash", n.certify(t, record, "1.2.0", append([]string{"certificateHash"}, four...)...), n.keys(t), hashOnly)
	hashOnly.verdict, hashOnly.envelope, hashOnly.codes = nexart.VerdictFailed, fail, []nexart.Code{nexart.CodeSchema}
	verify(t, "without", n.certify(t, record, "1.2.0", four...), n.keys(t), hashOnly)
	if r := nexart.Verify(canonical(t, record), nil); r.CertificateHash != "" {
		t.Errorf("a hash that nobody vouches for: %s", r.CertificateHash)
	}
}

// TestCosts: names as long as the file, and lists of very many, cost no more than
// in proportion.
func TestCosts(t *testing.T) {
	id := strings.Repeat("x", 1<<20)
	long := project(t, nil)
	embedded := long["embeddedBundles"].(object)["s2"].(object)
	for i := range 400 {
		embedded[fmt.Sprintf("m%d", i)] = 0
	}
	long["stepRegistry"].([]any)[1].(object)["stepId"] = id
	long["embeddedBundles"].(object)[id] = embedded
	many := project(t, nil)
	var registry, parents []any
	for range 4000 {
		parents = append(parents, "nobody")
	}
	for i := range 40 {
		registry = append(registry, object{
			"stepId": fmt.Sprint(i), "sequence": i, "executionId": fmt.Sprint(i), "certificateHash": hashOf(nil), "parentStepIds": parents,
		})
	}
	many["stepRegistry"] = registry
	text := `{"x":[` + strings.Repeat(`{"b":0,"a":0},`, 1<<19) + `0]}`
	for name, file := range map[string]object{
		"a long stepId":     long,
		"a receipt of many": merged(sealed(t, snapshot()), object{"receipt": text, "signature": "x"}),
		"many parents":      many,
		"a long bundleType": {"bundleType": id},
		"a long name":       merged(sealed(t, snapshot()), object{id: 1}),
		"a long kid":        {"cer": sealed(t, snapshot()), "receipt": object{"certificateHash": sealed(t, snapshot())["certificateHash"], "kid": id}, "signature": id},
	} {
		text, keys := canonical(t, file), newNode(1).keys(t)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r := nexart.Verify(text, keys)
		runtime.ReadMemStats(&after)
		consistent(t, r)
		size := 0
		for _, n := range r.Notes {
			if len(n.Text) > 1024 {
				t.Errorf("%s: a note of %d bytes", name, len(n.Text))
			}
			size += len(n.Text)
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > 32*uint64(len(text)) || size > 1<<20 {
			t.Errorf("%s: %d bytes of notes, and %d allocated for a file of %d", name, size, got, len(text))
		}
	}
}

// TestManyValues: a text of more values than are read is refused before it is
// parsed, whatever else it is; strings count for nothing.
func TestManyValues(t *testing.T) {
	many := func(n int) []byte { return []byte("[" + strings.Repeat("0,", n) + "0]") }
	for name, e := range map[string]struct {
		file []byte
		want nexart.Code
	}{
		"as many":        {many(1 << 20), nexart.CodeSchema},
		"one more":       {many(1<<20 + 1), nexart.CodeCanonicalization},
		"in a string":    {append(append([]byte(`"`), bytes.Repeat([]byte(`,:\"`), 1<<20)...), '"'), nexart.CodeSchema},
		"a string open":  {append([]byte(`"`), bytes.Repeat([]byte(`,`), 1<<21)...), nexart.CodeCanonicalization},
		"a stroke alone": {[]byte(`"\`), nexart.CodeCanonicalization},
	} {
		verify(t, name, e.file, nil, bad(e.want))
	}
	const first = `"input":[0` // one more than is verified, with what is around it
	long := bytes.Replace(canonical(t, merged(snapshot(), object{"input": []int{0}})), []byte(first), []byte(first+strings.Repeat(",0", 1<<20)), 1)
	if got, err := nexart.Seal(long, nexart.SealOptions{CreatedAt: at}); got != nil || !errors.Is(err, nexart.ErrSnapshot) {
		t.Errorf("sealed more than is verified: %d bytes, %v", len(got), err)
	}
}

// TestResealForms: what is gone leaves its hash, in the one form.
func TestResealForms(t *testing.T) {
	record := sealed(t, snapshot())
	for _, name := range []string{"inputHash", "outputHash"} {
		gone := with(t, record["snapshot"].(object), object{"prompt": nil, "input": nil, "output": nil})
		for _, value := range []any{nil, "sha256:00", 1} {
			gone = with(t, gone, object{name: value})
			file := rehash(t, merged(record, object{"bundleType": "signed-redacted-reseal", "snapshot": gone}), four...)
			verify(t, name, file, nil, bad(nexart.CodeInvalidFormat))
		}
	}
}
