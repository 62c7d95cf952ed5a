package nexart_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"testing"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/nexart"
)

func spki(tb testing.TB, key any) string {
	tb.Helper()
	b, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(b)
}

// TestParseKeys: the forms of a key, and the documents that are refused.
func TestParseKeys(t *testing.T) {
	n, m := newNode(1), newNode(2)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	jwk := object{"kty": "OKP", "crv": "Ed25519", "x": n.publicKey()}
	key := n.document()["keys"].([]any)[0].(object)
	record := sealed(t, snapshot())
	file := n.certify(t, record, "1.2.0", four...)
	for name, e := range map[string]struct {
		edit object
		ok   bool
	}{
		"as it is":             {nil, true},
		"all forms":            {object{"publicKeyJwk": jwk, "publicKeySpkiB64": spki(t, n.key.Public())}, true},
		"SPKI as publicKey":    {object{"publicKey": spki(t, n.key.Public())}, true},
		"JWK alone":            {object{"publicKey": nil, "publicKeyJwk": jwk}, true},
		"SPKI alone":           {object{"publicKey": nil, "publicKeySpkiB64": spki(t, n.key.Public())}, true},
		"EdDSA":                {object{"alg": "EdDSA"}, true},
		"unknown member":       {object{"x": 1}, true},
		"deprecated":           {object{"status": "deprecated"}, true},
		"forms that disagree":  {object{"publicKeyJwk": with(t, jwk, object{"x": m.publicKey()})}, false},
		"SPKI of another":      {object{"publicKeySpkiB64": spki(t, m.key.Public())}, false},
		"SPKI of P-384":        {object{"publicKey": spki(t, p384.Public())}, false},
		"no key":               {object{"publicKey": nil}, false},
		"key of 31 bytes":      {object{"publicKey": n.publicKey()[:42]}, false},
		"key padded":           {object{"publicKey": n.publicKey() + "="}, false},
		"JWK of another curve": {object{"publicKeyJwk": with(t, jwk, object{"crv": "X25519"})}, false},
		"JWK off the curve":    {object{"publicKeyJwk": object{"kty": "EC", "crv": "P-256", "x": n.publicKey(), "y": n.publicKey()}}, false},
		"no kid":               {object{"kid": nil}, false},
		"kid a number":         {object{"kid": 1}, false},
		"unknown status":       {object{"status": "x"}, false},
		"revoked a text":       {object{"revoked": "false"}, false},
		"another use":          {object{"use": "enc"}, false},
		"another algorithm":    {object{"alg": "ES256"}, false},
		"another, too":         {object{"algorithm": "RS256"}, false},
		"a bad time":           {object{"validFrom": "yesterday"}, false},
	} {
		document := n.document()
		document["keys"] = []any{with(t, key, e.edit)}
		keys, err := nexart.ParseKeys(canonical(t, document))
		if (err == nil) != e.ok || (keys != nil) != e.ok {
			t.Errorf("%s: %v, %v", name, keys, err)
			continue
		}
		if err != nil && !errors.Is(err, nexart.ErrKeys) {
			t.Errorf("%s: %v is no ErrKeys", name, err)
		}
		if e.ok {
			verify(t, name, file, keys, verified)
		}
	}
	for name, text := range map[string]string{
		"empty": ``, "not JSON": `x`, "an array": `[]`, "no keys": `{}`, "keys empty": `{"keys":[]}`, "keys an object": `{"keys":{}}`,
		"a key a text": `{"keys":["x"]}`, "a name twice": `{"keys":[],"keys":[]}`,
		"a kid twice":   string(canonical(t, object{"keys": []any{key, key}})),
		"a long number": `{"keys":[],"x":9007199254740993}`,
	} {
		keys, err := nexart.ParseKeys([]byte(text))
		if keys != nil || !errors.Is(err, nexart.ErrKeys) {
			t.Errorf("%s: %v, %v", name, keys, err)
		}
		if strict := cer.Strict([]byte(text), 64); strict != nil && !errors.Is(err, cer.ErrStrict) {
			t.Errorf("%s: %v does not wrap ErrStrict", name, err)
		}
	}
	if _, err := nexart.ParseKeys(make([]byte, 1<<20+1)); !errors.Is(err, nexart.ErrKeys) {
		t.Errorf("too long: %v", err)
	}
}

// TestKeyStatus: what a document says of a key whose signature is right.
func TestKeyStatus(t *testing.T) {
	n := newNode(1)
	file := n.certify(t, sealed(t, snapshot()), "1.2.0", four...)
	revoked := outcome{nexart.VerdictFailed, pass, fail, fail, []nexart.Code{nexart.CodeKeyRevoked}, nil}
	for name, e := range map[string]struct {
		edit object
		want outcome
	}{
		"revoked":            {object{"revoked": true}, revoked},
		"status revoked":     {object{"status": "revoked"}, revoked},
		"retired":            {object{"status": "retired"}, noted(verified, nexart.NoteKey)},
		"window not begun":   {object{"validFrom": "2026-12-01T00:00:00Z"}, noted(verified, nexart.NoteKey)},
		"not before":         {object{"notBefore": "2026-12-01T00:00:00Z", "validFrom": nil}, noted(verified, nexart.NoteKey)},
		"window over":        {object{"validTo": "2026-11-01T00:00:00Z"}, noted(verified, nexart.NoteKey)},
		"window not over":    {object{"validTo": "2027-11-01T00:00:00Z"}, verified},
		"window not stated":  {object{"validFrom": nil}, verified},
		"a key of that name": {object{"publicKey": newNode(2).publicKey()}, outcome{nexart.VerdictFailed, pass, fail, fail, []nexart.Code{nexart.CodeInvalidSignature}, nil}},
	} {
		document := n.document()
		document["keys"] = []any{with(t, document["keys"].([]any)[0].(object), e.edit)}
		verify(t, name, file, keysOf(t, document), e.want)
	}
	// Another key of the document is no fallback.
	document := newNode(2).document()
	document["keys"] = append(document["keys"].([]any), with(t, n.document()["keys"].([]any)[0].(object), object{"kid": "k7"}))
	verify(t, "under another name", file, keysOf(t, document), outcome{nexart.VerdictFailed, pass, fail, fail, []nexart.Code{nexart.CodeKeyNotFound}, nil})
}

func FuzzParseKeys(f *testing.F) {
	n := newNode(1)
	document := n.document()
	spelled := spki(f, n.key.Public())
	file := canonical(f, n.certify(f, sealed(f, snapshot()), "1.2.0", four...))
	key := document["keys"].([]any)[0].(object)
	for _, edit := range []object{
		{},
		{"kid": "k2"},
		{"revoked": true},
		{"status": "revoked"},
		{"publicKey": newNode(2).publicKey()},
		{"publicKey": spelled},
		{"publicKeySpkiB64": spelled},
		{"publicKeyJwk": object{"kty": "OKP", "crv": "Ed25519", "x": n.publicKey()}},
	} {
		f.Add(canonical(f, merged(document, object{"keys": []any{merged(key, edit)}})))
	}
	f.Add([]byte(`{"keys":[{"kid":"k","publicKeyJwk":{"kty":"EC","crv":"P-256","x":"","y":""}}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		keys, err := nexart.ParseKeys(b)
		if (keys == nil) != (err != nil) {
			t.Fatalf("%v and %v", keys, err)
		}
		if err != nil && !errors.Is(err, nexart.ErrKeys) {
			t.Fatalf("%v is no ErrKeys", err)
		}
		if err != nil {
			return
		}
		if cer.Strict(b, 64) != nil {
			t.Fatal("keys of a text that is not strict")
		}
		// What the node signed verifies only where the document holds its key, under
		// its name, once, and not revoked.
		named := 0
		list, _ := parsed(t, b)["keys"].([]any)
		for _, v := range list {
			k, _ := v.(object)
			jwk, _ := k["publicKeyJwk"].(object)
			held := k["publicKey"] == n.publicKey() || k["publicKey"] == spelled || k["publicKeySpkiB64"] == spelled || jwk["x"] == n.publicKey()
			if k["kid"] == n.kid && held && k["revoked"] != true && k["status"] != "revoked" {
				named++
			}
		}
		if r := nexart.Verify(file, keys); r.Verdict.Verified() != (named == 1) {
			t.Fatalf("%v with the node's key %d times in %s", r.Verdict, named, b)
		}
	})
}
