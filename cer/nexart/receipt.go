package nexart

import (
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/internal/canon"
	"github.com/sworn-run/sworn/internal/limits"
)

// receiptVersion is the only receiptVersion that nodes have issued.
const receiptVersion = "attestation.receipt.v1"

// signatureNames are the names that a receipt's signature has had.
var signatureNames = [...]string{"signatureB64Url", "signature", "receiptSignature"}

// A place is an object in which a node's signature may stand.
type place struct {
	path  string // a JSON Pointer
	value canon.Value
}

// places returns the objects in which receipts have been found, the package
// first.
func (c *check) places() []place {
	var out []place
	add := func(prefix string, in canon.Value) {
		out = append(out, place{prefix, in})
		for _, name := range []string{"attestation", "proof", "certification", "seal"} {
			if v := in.Get(name); v.Kind() == '{' {
				out = append(out, place{prefix + "/" + name, v})
			}
		}
		if v := in.Get("meta").Get("attestation"); v.Kind() == '{' {
			out = append(out, place{prefix + "/meta/attestation", v})
		}
	}
	if c.Package {
		add("", c.outer)
		add("/cer", c.record)
	} else {
		add("", c.record)
	}
	return out
}

// receipts judges every receipt that is there: one that is wrong fails the layer,
// whatever the others are.
func (c *check) receipts() {
	for _, p := range c.places() {
		receipt, signature := p.value.Get("receipt"), firstOf(p.value, signatureNames[:]...)
		for _, name := range signatureNames {
			if v := p.value.Get(name); v.Kind() == '"' && v.String() != signature.String() {
				c.receiptFailed(p, CodeSchema, "two signatures")
			}
		}
		switch {
		case receipt.Kind() != 0 && receipt.Kind() != 'n':
			c.receipt(p, receipt, signature)
		case signature.Kind() == '"':
			c.receiptFailed(p, CodeReceiptMissing, "a signature without the receipt that it signs")
		case p.value.Get("attestationHash").Kind() != 0:
			c.stamp(p)
		case strings.HasSuffix(p.path, "/attestation") && p.value.Len() > 0:
			c.unproven(p)
		}
	}
}

// firstOf returns the first of the members that is there.
func firstOf(v canon.Value, names ...string) canon.Value {
	for _, name := range names {
		if m := v.Get(name); m.Kind() != 0 {
			return m
		}
	}
	return canon.Value{}
}

func (c *check) receiptFailed(p place, code Code, format string, args ...any) {
	c.Receipt = StatusFail
	c.fail(code, "receipt: %s: %s", where(p), fmt.Sprintf(format, args...))
}

func where(p place) string {
	if p.path == "" {
		return "at the top"
	}
	return p.path
}

// unproven notes an object that speaks of an attestation and holds nothing that
// could be checked but, at most, whose it is.
func (c *check) unproven(p place) {
	for _, name := range []string{"certificateHash", "hash"} {
		if v := p.value.Get(name); v.Kind() == '"' && !v.Is(c.claimed) {
			c.receiptFailed(p, CodeReceiptHash, "%s is that of another record", name)
			return
		}
	}
	c.stamps++
	c.note(NoteStamp, "%s says that a node attested the record; it holds no receipt and proves nothing", where(p))
}

// stamp checks the form of 2026-02, a hash over four members, unsigned: that it
// is right says nothing, that it is wrong does.
func (c *check) stamp(p place) {
	var b []byte
	separator := "{"
	for _, name := range []string{"attestedAt", "certificateHash", "nodeRuntimeHash", "protocolVersion"} {
		v := p.value.Get(name)
		if name == "certificateHash" && v.Kind() == 0 {
			v = c.record.Get(name)
		}
		if v.Kind() == 0 {
			c.receiptFailed(p, CodeSchema, "a stamp without %s", name)
			return
		}
		b = v.AppendCanonical(append(b, separator+`"`+name+`":`...))
		separator = ","
	}
	hash := p.value.Get("certificateHash")
	switch {
	case hash.Kind() != 0 && !hash.Is(c.claimed):
		c.receiptFailed(p, CodeReceiptHash, "a stamp of another record")
	case !p.value.Get("attestationHash").Is(hashText(append(b, '}'))):
		c.receiptFailed(p, CodeReceiptHash, "attestationHash is not that of the stamp")
	default:
		c.stamps, c.bareStamps = c.stamps+1, c.bareStamps+1
		c.note(NoteStamp, "%s is a stamp without a signature: anybody can make it", where(p))
	}
}

// receipt judges one receipt.
func (c *check) receipt(p place, receipt, signature canon.Value) {
	if signature.Kind() == 0 {
		signature = receipt.Get("signature")
	}
	if signature.Kind() != '"' {
		c.receiptFailed(p, CodeSignatureMissing, "no signature")
		return
	}
	signed, fields, ok := c.signedReceipt(p, receipt)
	if !ok {
		return
	}
	bound := fields.Get("certificateHash")
	if c.claimed == "" || !bound.Is(c.claimed) {
		c.receiptFailed(p, CodeReceiptHash, "it is of another record: %q", shown(bound))
		return
	}
	if fields.Get("envelopeType").Kind() != 0 {
		c.receiptFailed(p, CodeSchema, "it is an envelope")
		return
	}
	if v := fields.Get("receiptVersion"); v.Kind() == 0 {
		c.note(NoteLegacy, "receipt: %s has no receiptVersion, a form that only documents show", where(p))
	} else if !v.Is(receiptVersion) {
		c.receiptFailed(p, CodeSchemaVersion, "receiptVersion %q is not known", shown(v))
		return
	}
	if v := fields.Get("protocolVersion"); v.Kind() != 0 && c.protocol != "" && !v.Is(c.protocol) {
		c.receiptFailed(p, CodeSchemaVersion, "protocolVersion %q is not the record's, %q", shown(v), c.protocol)
		return
	}
	kid := firstOf(fields, "attestorKeyId", "kid")
	if kid.Kind() == 0 {
		kid = firstOf(p.value, "attestorKeyId", "kid")
	}
	for _, v := range []canon.Value{
		fields.Get("attestorKeyId"), fields.Get("kid"), p.value.Get("attestorKeyId"), p.value.Get("kid"),
	} {
		if v.Kind() != 0 && v.String() != kid.String() {
			c.receiptFailed(p, CodeSchema, "it is signed by key %q, and said to be by %q", shown(kid), shown(v))
			return
		}
	}
	k, code, why := c.verifySignature(kid, signature, signed, false)
	if k == nil {
		c.receiptFailed(p, code, "%s", why)
		return
	}
	if c.Receipt != StatusFail {
		c.Receipt = StatusPass
	}
	c.aboutKey("receipt", k, fields.Get("attestedAt"))
	if node := fields.Get("nodeId"); c.keys.nodeID != "" && node.Kind() != 0 && !node.Is(c.keys.nodeID) {
		c.note(NoteKey, "receipt: it names node %q, the key document is of %q", shown(node), c.keys.nodeID)
	}
	if fields.Get("timestampType").Is("rfc3161") && c.token().Kind() == 0 {
		c.note(NoteNoTimestamp, "the receipt speaks of an RFC 3161 token that is not here")
	}
}

// signedReceipt returns the bytes that were signed, and the object that they
// stand for.
func (c *check) signedReceipt(p place, receipt canon.Value) (signed []byte, fields canon.Value, ok bool) {
	if payload := receipt.Get("payload"); payload.Kind() != 0 {
		c.note(NoteLegacy, "receipt: %s signs its payload, a form that only documents show", where(p))
		for i := 0; i < receipt.Len() && !c.full(); i++ {
			if name := string(receipt.MemberName(i)); name != "payload" && name != "signature" {
				c.note(NoteUncovered, "%s/receipt/%s", p.path, pointer(name))
			}
		}
		if payload.Kind() != '{' { // Only a receipt itself is documented as a text.
			c.receiptFailed(p, CodeSchema, "its payload is no object")
			return nil, fields, false
		}
		receipt = payload
	}
	switch receipt.Kind() {
	case '{':
		return receipt.Canonical(), receipt, true
	case '"':
		signed = receipt.AppendString(nil)
		d, err := parse(signed, limits.CapsuleDepth) // No string of the file counted.
		if err != nil || d.Root().Kind() != '{' {
			c.receiptFailed(p, CodeCanonicalization, "the signed text is no JSON object of one meaning")
			return nil, fields, false
		}
		return signed, d.Root(), true
	}
	c.receiptFailed(p, CodeSchema, "neither an object nor a text")
	return nil, fields, false
}

// verifySignature looks up a key and checks a signature in base64url without
// padding. It returns the key if all is right.
func (c *check) verifySignature(kid, signature canon.Value, signed []byte, allowECDSA bool) (*key, Code, string) {
	if kid.Kind() != '"' {
		return nil, CodeKeyNotFound, "it names no key"
	}
	if c.keys == nil {
		return nil, CodeKeyNotFound, fmt.Sprintf("it names key %q, and no keys were given", shown(kid))
	}
	k := c.keys.find(kid.String())
	if k == nil {
		return nil, CodeKeyNotFound, fmt.Sprintf("key %q is not among those given", shown(kid))
	}
	if k.revoked {
		return nil, CodeKeyRevoked, fmt.Sprintf("key %q is revoked", brief(k.kid))
	}
	b, err := decode(base64.RawURLEncoding, signature)
	if err != nil {
		return nil, CodeInvalidSignature, "the signature is not base64url"
	}
	switch code := k.verify(signed, b, allowECDSA); code {
	case CodeUnknown:
		return k, code, ""
	case CodeKeyFormat:
		return nil, code, fmt.Sprintf("key %q is not for such a signature", brief(k.kid))
	default:
		return nil, code, fmt.Sprintf("the signature is not by key %q over this", brief(k.kid))
	}
}

// aboutKey notes what a reader should know of the key that verified. The windows
// in key documents begin when the node's process did, so that every receipt from
// before would fail: they are told, not enforced.
func (c *check) aboutKey(layer string, k *key, at canon.Value) {
	if k.status != "" && k.status != "active" {
		c.note(NoteKey, "%s: key %q is %s", layer, brief(k.kid), k.status)
	}
	t, err := time.Parse(time.RFC3339, at.String())
	if err != nil {
		c.note(NoteKey, "%s: it does not say when it was signed", layer)
		return
	}
	if !k.from.IsZero() && t.Before(k.from) {
		c.note(NoteKey, "%s: signed at %s, before the window of key %q begins at %s", layer, moment(t), brief(k.kid), moment(k.from))
	}
	if !k.until.IsZero() && t.After(k.until) {
		c.note(NoteKey, "%s: signed at %s, after the window of key %q ends at %s", layer, moment(t), brief(k.kid), moment(k.until))
	}
}

func moment(t time.Time) string { return cer.FormatTime(t) }

// shown is a text of the record, cut to what a line can show.
func shown(v canon.Value) string {
	return cut(v.String(), 100)
}
