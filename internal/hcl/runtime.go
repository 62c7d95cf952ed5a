package hcl

import (
	"crypto/rsa"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/big"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sworn-run/sworn/attest"
)

// The ids of the keys in the runtime data.
const (
	akID = "HCLAkPub"
	ekID = "HCLEkPub"
)

// userDataSize is the size of the user data in bytes.
const userDataSize = 64

// maxKeys bounds the keys of the runtime data; known are two, and one for transfers.
const maxKeys = 16

// Key is an RSA public key of the runtime data (a JWK, RFC 7518, 6.3.1).
type Key struct {
	// Modulus is big-endian without a leading zero: 256, 384 or 512 bytes.
	Modulus []byte
	// Exponent is the public exponent, 65,537 in every report known.
	Exponent uint32
}

// Public returns the key as the standard library has it.
func (k *Key) Public() *rsa.PublicKey {
	return &rsa.PublicKey{N: new(big.Int).SetBytes(k.Modulus), E: int(k.Exponent)}
}

// Equal reports whether other is the same RSA key.
func (k *Key) Equal(other any) bool {
	o, ok := other.(*rsa.PublicKey)
	return ok && len(k.Modulus) > 0 && k.Public().Equal(o)
}

// The TPMT_PUBLIC of Azure's AK up to the key's size: RSA with a Name of SHA-256;
// fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, restricted, sign; no
// policy, no symmetric algorithm, RSASSA with SHA-256 (TPM 2.0 Part 2, 12.2.4).
const areaPrefix = "\x00\x01\x00\x0b\x00\x05\x04\x72\x00\x00\x00\x10\x00\x14\x00\x0b"

// Area returns the TPMT_PUBLIC that Azure's AK with this key has. Evidence that other
// tools keep goes without it. It is a guess until a quote confirms it: by the qualified
// name that the TPM signs, which covers the whole area.
func (k *Key) Area() []byte {
	out := binary.BigEndian.AppendUint16([]byte(areaPrefix), uint16(8*len(k.Modulus)))
	e := k.Exponent
	if e == 65537 {
		e = 0 // the default is encoded so (Part 2, 12.2.3.5)
	}
	out = binary.BigEndian.AppendUint32(out, e)
	out = binary.BigEndian.AppendUint16(out, uint16(len(k.Modulus)))
	return append(out, k.Modulus...)
}

// jwk is one key as it stands.
type jwk struct {
	Kid string   `json:"kid"`
	Ops []string `json:"key_ops"`
	Kty string   `json:"kty"`
	E   string   `json:"e"`
	N   string   `json:"n"`
}

// parseRuntime reads the keys and the user data. Member names are case-sensitive and none
// may stand twice, at any depth; unknown members are signed like all others, and left.
func (r *Report) parseRuntime() error {
	var data struct {
		Keys          []jsontext.Value `json:"keys"`
		Configuration jsontext.Value   `json:"vm-configuration"`
		UserData      *string          `json:"user-data"`
	}
	// Hiding the library's error type is deliberate; its text helps people.
	if err := json.Unmarshal(r.Runtime, &data); err != nil {
		return fmt.Errorf("%v: %w", err, attest.ErrForm)
	}
	if len(data.Keys) > maxKeys {
		return fmt.Errorf("%d keys, limit %d: %w", len(data.Keys), maxKeys, attest.ErrForm)
	}
	if err := r.parseKeys(data.Keys); err != nil {
		return err
	}
	r.Configuration = data.Configuration
	if data.UserData != nil {
		b, err := hex.DecodeString(*data.UserData)
		if err != nil || len(b) != userDataSize {
			return fmt.Errorf("user-data is not %d bytes in hexadecimal: %w", userDataSize, attest.ErrForm)
		}
		r.UserData = b
	}
	return nil
}

// parseKeys finds the AK, which must be there, and the EK, neither of them twice.
func (r *Report) parseKeys(keys []jsontext.Value) error {
	var ak *Key
	for i, raw := range keys {
		var id struct {
			Kid string `json:"kid"`
		}
		if err := json.Unmarshal(raw, &id); err != nil {
			return fmt.Errorf("key %d: %v: %w", i, err, attest.ErrForm)
		}
		to, use := &ak, "sign"
		switch id.Kid {
		case akID:
		case ekID:
			to, use = &r.EK, "encrypt"
		default:
			continue
		}
		if *to != nil {
			return fmt.Errorf("key %s stands twice: %w", id.Kid, attest.ErrForm)
		}
		k, err := parseKey(raw, use)
		if err != nil {
			return fmt.Errorf("key %s: %w", id.Kid, err)
		}
		*to = k
	}
	if ak == nil {
		return fmt.Errorf("no key %s: %w", akID, attest.ErrForm)
	}
	r.AK = *ak
	return nil
}

// parseKey reads one RSA key for the one use.
func parseKey(raw jsontext.Value, use string) (*Key, error) {
	var j jwk
	if err := json.Unmarshal(raw, &j); err != nil {
		return nil, fmt.Errorf("%v: %w", err, attest.ErrForm)
	}
	if j.Kty != "RSA" || !slices.Equal(j.Ops, []string{use}) {
		return nil, fmt.Errorf("type %.20q for %.60q, want RSA for %s: %w", j.Kty, j.Ops, use, attest.ErrForm)
	}
	n, err := unbase64(j.N)
	if err != nil {
		return nil, fmt.Errorf("modulus: %w", err)
	}
	e, err := unbase64(j.E)
	if err != nil {
		return nil, fmt.Errorf("exponent: %w", err)
	}
	exponent := new(big.Int).SetBytes(e).Uint64()
	switch {
	case len(n) != 256 && len(n) != 384 && len(n) != 512, n[0] == 0:
		return nil, fmt.Errorf("modulus of %d bytes, or with a leading zero: %w", len(n), attest.ErrForm)
	case len(e) == 0 || len(e) > 4 || e[0] == 0 || exponent < 3 || exponent > 1<<31-1 || exponent%2 == 0:
		return nil, fmt.Errorf("exponent %x: %w", e, attest.ErrForm)
	}
	return &Key{Modulus: n, Exponent: uint32(exponent)}, nil
}

// unbase64 decodes base64url without padding, in its one form: Go's decoder passes over
// line breaks.
func unbase64(s string) ([]byte, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || base64.RawURLEncoding.EncodeToString(b) != s {
		return nil, fmt.Errorf("%.20q is not base64url without padding: %w", s, attest.ErrForm)
	}
	return b, nil
}
