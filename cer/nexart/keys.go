package nexart

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/sworn-run/sworn/cer/internal/canon"
)

// maxKeys is the largest number of keys in a key document.
const maxKeys = 256

// Keys are the keys of a node that a reader trusts. The zero Keys are none.
type Keys struct {
	nodeID string
	keys   []key
}

// key is one key of a key document.
type key struct {
	kid     string
	ed25519 ed25519.PublicKey // or
	p256    *ecdsa.PublicKey
	status  string // empty: not stated
	revoked bool
	from    time.Time // zero: not stated
	until   time.Time
}

// ParseKeys reads a node's key document: what it serves as
// .well-known/nexart-node.json, at most 1 MiB. Where a key stands in it more than
// once (publicKey, publicKeyJwk, publicKeySpkiB64) all must be the same key.
// Members that are not known are ignored; a document that contradicts itself is
// refused, and so is a key that is no point of its curve, that is not encoded in
// the one way there is, or by which anybody can sign. The error wraps [ErrKeys], and [cer.ErrStrict] where the text is not
// strict JSON.
func ParseKeys(b []byte) (*Keys, error) {
	if len(b) > 1<<20 {
		return nil, fmt.Errorf("reading keys: %w: %d bytes, at most %d", ErrKeys, len(b), 1<<20)
	}
	d, err := canon.Parse(b, 64, false, keepLevels)
	if err != nil {
		return nil, fmt.Errorf("reading keys: %w: %w", ErrKeys, err)
	}
	top := d.Root()
	list := top.Get("keys").Elements(maxKeys, keepLevels)
	if len(list) == 0 {
		return nil, fmt.Errorf("reading keys: %w: no keys, or more than %d", ErrKeys, maxKeys)
	}
	out := &Keys{nodeID: top.Get("nodeId").String()}
	for i, v := range list {
		k, err := parseKey(v)
		if err != nil {
			return nil, fmt.Errorf("reading key %d: %w: %w", i, ErrKeys, err)
		}
		if out.find(k.kid) != nil {
			return nil, fmt.Errorf("reading key %d: %w: kid %q occurs twice", i, ErrKeys, brief(k.kid))
		}
		out.keys = append(out.keys, *k)
	}
	return out, nil
}

// find returns the key of that name; there is no other to fall back to.
func (k *Keys) find(kid string) *key {
	if k == nil {
		return nil
	}
	for i := range k.keys {
		if k.keys[i].kid == kid {
			return &k.keys[i]
		}
	}
	return nil
}

// parseKey reads one key.
func parseKey(v canon.Value) (*key, error) {
	k := &key{kid: v.Get("kid").String(), status: v.Get("status").String()}
	if k.kid == "" {
		return nil, fmt.Errorf("no kid")
	}
	switch k.status {
	case "", "active", "deprecated", "retired":
	case "revoked":
		k.revoked = true
	default:
		return nil, fmt.Errorf("status %q is not known", brief(k.status))
	}
	switch v.Get("revoked").Kind() {
	case 0, 'n', 'f':
	case 't':
		k.revoked = true
	default:
		return nil, fmt.Errorf("revoked is not a boolean")
	}
	if use := v.Get("use"); use.Kind() != 0 && !use.Is("sig") && !use.Is("verify") {
		return nil, fmt.Errorf("use %q is not sig", shown(use))
	}
	for _, t := range []struct {
		name string
		to   *time.Time
	}{{"notBefore", &k.from}, {"validFrom", &k.from}, {"validTo", &k.until}} {
		if err := parseTime(v.Get(t.name), t.to); err != nil {
			return nil, fmt.Errorf("%s: %w", t.name, err)
		}
	}
	if err := k.material(v); err != nil {
		return nil, err
	}
	if k.ed25519 != nil && !edwards25519().usable(k.ed25519) {
		return nil, fmt.Errorf("not a point of edwards25519 that can be a key")
	}
	return k, k.checkAlgorithm(v)
}

// parseTime reads a time that may be absent or null.
func parseTime(v canon.Value, to *time.Time) error {
	if v.Kind() == 0 || v.Kind() == 'n' {
		return nil
	}
	t, err := time.Parse(time.RFC3339, v.String())
	if err != nil {
		return fmt.Errorf("not a time")
	}
	*to = t
	return nil
}

// material reads the key in each form that is there.
func (k *key) material(v canon.Value) error {
	n := 0
	for _, form := range []struct {
		name string
		read func(canon.Value) (any, error)
	}{{"publicKey", readRaw}, {"publicKeyJwk", readJWK}, {"publicKeySpkiB64", readSPKI}} {
		value := v.Get(form.name)
		if value.Kind() == 0 || value.Kind() == 'n' {
			continue
		}
		got, err := form.read(value)
		if err != nil {
			return fmt.Errorf("%s: %w", form.name, err)
		}
		if n++; !k.take(got, n == 1) {
			return fmt.Errorf("%s is another key than the one before", form.name)
		}
	}
	if n == 0 {
		return fmt.Errorf("no key in it")
	}
	return nil
}

// take sets the key, or compares with the one that is set.
func (k *key) take(got any, first bool) bool {
	switch got := got.(type) {
	case ed25519.PublicKey:
		if first {
			k.ed25519 = got
		}
		return k.ed25519.Equal(got)
	case *ecdsa.PublicKey:
		if first {
			k.p256 = got
		}
		return k.p256 != nil && k.p256.Equal(got)
	}
	return false
}

// checkAlgorithm compares what a document says of the key with the key.
func (k *key) checkAlgorithm(v canon.Value) error {
	want := []string{"Ed25519", "EdDSA"}
	if k.p256 != nil {
		want = []string{"ES256", "ECDSA-P256", "ECDSA"}
	}
	jwk := v.Get("publicKeyJwk")
	if kid := jwk.Get("kid"); kid.Kind() != 0 && !kid.Is(k.kid) {
		return fmt.Errorf("publicKeyJwk is of another kid, %q", shown(kid))
	}
	if use := jwk.Get("use"); use.Kind() != 0 && !use.Is("sig") {
		return fmt.Errorf("publicKeyJwk: use %q is not sig", shown(use))
	}
	for _, said := range []canon.Value{v.Get("alg"), v.Get("algorithm"), jwk.Get("alg")} {
		known := said.Kind() == 0
		for _, w := range want {
			known = known || said.Is(w)
		}
		if !known {
			return fmt.Errorf("algorithm %q is not that of the key", shown(said))
		}
	}
	return nil
}

// readRaw reads the 32 bytes of an Ed25519 key, or a SubjectPublicKeyInfo: both
// have been published under one name.
func readRaw(v canon.Value) (any, error) {
	if b, err := decode(base64.RawURLEncoding, v); err == nil && len(b) == ed25519.PublicKeySize {
		return ed25519.PublicKey(b), nil
	}
	return readSPKI(v)
}

// decode reads base64 in the one spelling that its bytes have; Go's decoder passes
// over line breaks.
func decode(e *base64.Encoding, v canon.Value) ([]byte, error) {
	text := v.String()
	b, err := e.Strict().DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") {
		return nil, fmt.Errorf("not base64")
	}
	return b, nil
}

// readSPKI reads a SubjectPublicKeyInfo in padded base64. RFC 5280, 4.1.
func readSPKI(v canon.Value) (any, error) {
	der, err := decode(base64.StdEncoding, v)
	if err != nil || len(der) == 0 || len(der) > 1024 {
		return nil, fmt.Errorf("not base64 of a key")
	}
	got, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, fmt.Errorf("not a SubjectPublicKeyInfo")
	}
	if p, ok := got.(*ecdsa.PublicKey); ok && p.Curve != elliptic.P256() {
		return nil, fmt.Errorf("a curve other than P-256")
	}
	switch got.(type) {
	case ed25519.PublicKey, *ecdsa.PublicKey:
		if again, err := x509.MarshalPKIXPublicKey(got); err != nil || !bytes.Equal(again, der) {
			return nil, fmt.Errorf("not encoded as its key is")
		}
		return got, nil
	}
	return nil, fmt.Errorf("neither Ed25519 nor P-256")
}

// readJWK reads a JSON Web Key. RFC 8037, 2; RFC 7518, 6.2.
func readJWK(v canon.Value) (any, error) {
	if v.Get("d").Kind() != 0 {
		return nil, fmt.Errorf("the private key stands in it")
	}
	x, err := decode(base64.RawURLEncoding, v.Get("x"))
	if err != nil || len(x) != 32 {
		return nil, fmt.Errorf("x is not 32 bytes in base64url")
	}
	switch {
	case v.Get("kty").Is("OKP") && v.Get("crv").Is("Ed25519"):
		return ed25519.PublicKey(x), nil
	case v.Get("kty").Is("EC") && v.Get("crv").Is("P-256"):
		y, err := decode(base64.RawURLEncoding, v.Get("y"))
		if err != nil || len(y) != 32 {
			return nil, fmt.Errorf("y is not 32 bytes in base64url")
		}
		p, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, x...), y...))
		if err != nil {
			return nil, fmt.Errorf("not a point of P-256")
		}
		return p, nil
	}
	return nil, fmt.Errorf("neither Ed25519 nor P-256")
}

// verify checks a signature of 64 bytes: Ed25519 (RFC 8032, 5.1.7), or ECDSA
// over SHA-256 with r and s one after the other where that is allowed.
func (k *key) verify(message, signature []byte, allowECDSA bool) Code {
	switch {
	case len(signature) != 64:
		return CodeInvalidSignature
	case k.ed25519 != nil:
		if ed25519.Verify(k.ed25519, message, signature) {
			return CodeUnknown
		}
		return CodeInvalidSignature
	case k.p256 != nil && allowECDSA:
		sum := sha256.Sum256(message)
		r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
		if ecdsa.Verify(k.p256, sum[:], r, s) {
			return CodeUnknown
		}
		return CodeInvalidSignature
	}
	return CodeKeyFormat
}
