package nexart_test

import (
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"math/big"
	"testing"

	"github.com/sworn-run/sworn/cer/nexart"
)

// token is the parts of an RFC 3161 token that a test may change.
type token struct {
	content, inner, algorithm asn1.ObjectIdentifier
	imprint                   []byte
	version                   int
	time                      string
	response                  bool
}

// der encodes the token; certificates and signers are empty.
func (k token) der(tb testing.TB) []byte {
	tb.Helper()
	must := func(v any) []byte {
		b, err := asn1.Marshal(v)
		if err != nil {
			tb.Fatal(err)
		}
		return b
	}
	raw := func(class, tag int, compound bool, content ...[]byte) asn1.RawValue {
		var all []byte
		for _, c := range content {
			all = append(all, c...)
		}
		return asn1.RawValue{Class: class, Tag: tag, IsCompound: compound, Bytes: all}
	}
	sequence := func(content ...[]byte) []byte { return must(raw(0, asn1.TagSequence, true, content...)) }
	set := must(raw(0, asn1.TagSet, true))
	tst := sequence(must(k.version), must(asn1.ObjectIdentifier{1, 2, 3}),
		sequence(sequence(must(k.algorithm), must(asn1.NullRawValue)), must(k.imprint)),
		must(big.NewInt(7)), must(raw(0, asn1.TagGeneralizedTime, false, []byte(k.time))))
	encapsulated := sequence(must(k.inner), must(raw(2, 0, true, must(tst))))
	info := sequence(must(k.content), must(raw(2, 0, true, sequence(must(3), set, encapsulated, set))))
	if k.response {
		return sequence(sequence(must(0)), info)
	}
	return info
}

func TestTokens(t *testing.T) {
	n, record := newNode(1), sealed(t, snapshot())
	hash, err := hex.DecodeString(record["certificateHash"].(string)[len("sha256:"):])
	if err != nil {
		t.Fatal(err)
	}
	good := token{
		content: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}, inner: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 4},
		algorithm: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}, imprint: hash, version: 1, time: "20261122010203Z",
	}
	edit := func(f func(*token)) []byte {
		k := good
		f(&k)
		return k.der(t)
	}
	const ofThis, not = nexart.NoteTimestamp, nexart.NoteNoTimestamp
	for name, e := range map[string]struct {
		der  []byte
		want nexart.NoteKind
	}{
		"token":              {good.der(t), ofThis},
		"response":           {edit(func(k *token) { k.response = true }), ofThis},
		"with a fraction":    {edit(func(k *token) { k.time = "20261122010203.25Z" }), ofThis},
		"of another record":  {edit(func(k *token) { k.imprint = make([]byte, 32) }), not},
		"SHA-1":              {edit(func(k *token) { k.algorithm = asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}; k.imprint = hash[:20] }), not},
		"another algorithm":  {edit(func(k *token) { k.algorithm = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 8} }), not},
		"imprint cut":        {edit(func(k *token) { k.imprint = hash[:31] }), not},
		"imprint longer":     {edit(func(k *token) { k.imprint = append([]byte{0}, hash...) }), not},
		"another content":    {edit(func(k *token) { k.content = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1} }), not},
		"another inner":      {edit(func(k *token) { k.inner = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1} }), not},
		"version":            {edit(func(k *token) { k.version = 2 }), not},
		"local time":         {edit(func(k *token) { k.time = "20261122010203+0100" }), not},
		"no seconds":         {edit(func(k *token) { k.time = "202611220102Z" }), not},
		"fraction of zeros":  {edit(func(k *token) { k.time = "20261122010203.0Z" }), not},
		"no digits":          {edit(func(k *token) { k.time = "2026112201020xZ" }), not},
		"a byte after":       {append(good.der(t), 0), not},
		"cut":                {good.der(t)[:60], not},
		"empty":              {nil, not},
		"not DER":            {[]byte("x"), not},
		"larger than limits": {make([]byte, 70000), not},
	} {
		file := object{"cer": record, "timestamp": object{"type": "rfc3161", "token": base64.StdEncoding.EncodeToString(e.der)}}
		r := verify(t, name, file, n.keys(t), noted(plain, e.want))
		for _, note := range r.Notes {
			if note.Kind != e.want && note.Kind != nexart.NoteUncovered {
				t.Errorf("%s: %v", name, note)
			}
		}
	}
	verify(t, "in meta", merged(record, object{"meta": object{"attestation": object{"timestamp": object{"token": "x"}}}}), nil,
		outcome{nexart.VerdictVerified, pass, skip, skip, []nexart.Code{nexart.CodeReceiptMissing}, []nexart.NoteKind{nexart.NoteNoTimestamp, nexart.NoteStamp}})
}
