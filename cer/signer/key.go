package signer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
)

// The types of keys, as SSH names them (RFC 4253, 5656, 8709, PROTOCOL.u2f).
const (
	typeEd25519   = "ssh-ed25519"
	typeP256      = "ecdsa-sha2-nistp256"
	typeP384      = "ecdsa-sha2-nistp384"
	typeRSA       = "ssh-rsa"
	typeSKEd25519 = "sk-ssh-ed25519@openssh.com"
	typeSKP256    = "sk-ecdsa-sha2-nistp256@openssh.com"

	algRSA256 = "rsa-sha2-256"
	algRSA512 = "rsa-sha2-512"
)

// The bounds of RSA keys, and the longest application of a FIDO key.
const (
	minRSABits     = 2048
	maxRSABits     = 8192
	rsaExponent    = 65537
	maxApplication = 255
)

// Key is a signer's public key. The zero Key is none.
type Key struct {
	kind string
	pub  crypto.PublicKey
	// application is what a FIDO key is bound to, such as "ssh:".
	application string
	// blob is the key as SSH has it.
	blob []byte
}

// NewKey takes a public key of package crypto: an ed25519.PublicKey, an
// *ecdsa.PublicKey on P-256 or P-384, an *rsa.PublicKey of 2,048 to 8,192 bits with
// exponent 65537. The error wraps [ErrForm].
func NewKey(pub crypto.PublicKey) (*Key, error) {
	k := &Key{pub: pub}
	switch p := pub.(type) {
	case ed25519.PublicKey:
		k.kind = typeEd25519
		if len(p) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("%w: an Ed25519 key of %d bytes", ErrForm, len(p))
		}
		k.blob = appendString(appendString(nil, k.kind), p)
	case *ecdsa.PublicKey:
		k.kind = typeP256
		if p.Curve == elliptic.P384() {
			k.kind = typeP384
		} else if p.Curve != elliptic.P256() {
			return nil, fmt.Errorf("%w: an ECDSA key on another curve than P-256 and P-384", ErrForm)
		}
		point, err := p.Bytes()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrForm, err)
		}
		k.blob = appendString(appendString(appendString(nil, k.kind), curveName(k.kind)), point)
	case *rsa.PublicKey:
		k.kind = typeRSA
		if err := checkRSA(p); err != nil {
			return nil, err
		}
		k.blob = appendMpint(appendMpint(appendString(nil, k.kind), big.NewInt(int64(p.E))), p.N)
	default:
		return nil, fmt.Errorf("%w: a key of type %T, want Ed25519, ECDSA or RSA", ErrForm, pub)
	}
	return k, nil
}

// checkRSA refuses RSA keys that are too small or too large to rely on.
func checkRSA(p *rsa.PublicKey) error {
	if n := p.N.BitLen(); n < minRSABits || n > maxRSABits {
		return fmt.Errorf("%w: an RSA key of %d bits, want %d to %d", ErrForm, n, minRSABits, maxRSABits)
	}
	if p.E != rsaExponent || p.N.Bit(0) == 0 {
		return fmt.Errorf("%w: an RSA key with exponent %d or an even modulus, want exponent %d", ErrForm, p.E, rsaExponent)
	}
	return nil
}

// curveName returns the name of a curve in a key of the type.
func curveName(kind string) string {
	if kind == typeP384 {
		return "nistp384"
	}
	return "nistp256"
}

// ParseKey reads a key as SSH has it (the bytes that stand in base64 in a .pub file).
// The error wraps [ErrForm].
func ParseKey(blob []byte) (*Key, error) {
	r := &reader{b: blob}
	k := &Key{kind: string(r.string()), blob: blob}
	var curve, point []byte
	switch k.kind {
	case typeEd25519, typeSKEd25519:
		point = r.string()
	case typeP256, typeP384, typeSKP256:
		curve, point = r.string(), r.string()
	case typeRSA:
		return k.parseRSA(r)
	default:
		return nil, fmt.Errorf("%w: a key of type %.100q", ErrForm, k.kind)
	}
	fido := k.kind == typeSKEd25519 || k.kind == typeSKP256
	if fido {
		k.application = string(r.string())
	}
	if err := r.end("the key"); err != nil {
		return nil, err
	}
	if fido && !plain(k.application) {
		return nil, fmt.Errorf("%w: a key for application %.100q", ErrForm, k.application)
	}
	if curve == nil {
		if len(point) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("%w: an Ed25519 key of %d bytes", ErrForm, len(point))
		}
		k.pub = ed25519.PublicKey(point)
		return k, nil
	}
	if string(curve) != curveName(k.kind) {
		return nil, fmt.Errorf("%w: a key of type %s on curve %.100q", ErrForm, k.kind, curve)
	}
	c := elliptic.P256()
	if k.kind == typeP384 {
		c = elliptic.P384()
	}
	pub, err := ecdsa.ParseUncompressedPublicKey(c, point)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForm, err)
	}
	k.pub = pub
	return k, nil
}

// parseRSA reads the rest of an RSA key.
func (k *Key) parseRSA(r *reader) (*Key, error) {
	e, n := r.mpint(), r.mpint()
	if err := r.end("the key"); err != nil {
		return nil, err
	}
	p := &rsa.PublicKey{N: n}
	if e.IsInt64() && e.Int64() == rsaExponent {
		p.E = rsaExponent
	}
	if err := checkRSA(p); err != nil {
		return nil, err
	}
	k.pub = p
	return k, nil
}

// plain reports whether a text is 1 to 255 printable ASCII characters without blanks.
func plain(s string) bool {
	return s != "" && len(s) <= maxApplication && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// Fingerprint names the key as ssh-keygen -l does: "SHA256:" and the base64 of SHA-256
// over the key as SSH has it. Keys in certificates have one too.
func (k *Key) Fingerprint() string {
	d := k.digest()
	return fingerprintPrefix + base64.RawStdEncoding.EncodeToString(d[:])
}

// digest is SHA-256 over the key as SSH has it.
func (k *Key) digest() [32]byte { return sha256.Sum256(k.blob) }

// SPKI names the key as X.509 does: "sha256:" and SHA-256 of its SubjectPublicKeyInfo in
// hexadecimal. It is empty for a FIDO key, whose signatures are not those of the key alone.
func (k *Key) SPKI() string {
	if k.application != "" {
		return ""
	}
	der, err := x509.MarshalPKIXPublicKey(k.pub)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(der)
	return spkiPrefix + hex.EncodeToString(sum[:])
}

// The beginnings of the two ways to name a key.
const (
	fingerprintPrefix = "SHA256:"
	spkiPrefix        = "sha256:"
)

// Names reports whether an id, as [CheckID] wants it, is the key's.
func (k *Key) Names(id string) bool {
	return id != "" && (id == k.Fingerprint() || id == k.SPKI())
}

// CheckID refuses what names no key in one of the two ways, "SHA256:…" or "sha256:…", in
// its one spelling. The error wraps [ErrForm].
func CheckID(id string) error {
	var b []byte
	var err error
	if digits, ok := strings.CutPrefix(id, fingerprintPrefix); ok {
		if b, err = base64.RawStdEncoding.Strict().DecodeString(digits); err == nil && len(b) == 32 && base64.RawStdEncoding.EncodeToString(b) == digits {
			return nil
		}
	} else if digits, ok := strings.CutPrefix(id, spkiPrefix); ok {
		if b, err = hex.DecodeString(digits); err == nil && len(b) == 32 && hex.EncodeToString(b) == digits {
			return nil
		}
	}
	return fmt.Errorf("%w: %.100q names no key, want SHA256: as ssh-keygen -l prints it, or sha256: and 64 hexadecimal digits", ErrForm, id)
}

// Describe returns the type and size of the key for people, such as "ECDSA P-256".
func (k *Key) Describe() string {
	var s string
	switch p := k.pub.(type) {
	case ed25519.PublicKey:
		s = "Ed25519"
	case *ecdsa.PublicKey:
		s = "ECDSA " + p.Curve.Params().Name
	case *rsa.PublicKey:
		s = fmt.Sprintf("RSA %d", p.N.BitLen())
	}
	if k.application != "" {
		s += " on a FIDO authenticator"
	}
	return s
}

// hashed returns the digest of a message by a hash.
func hashed(h crypto.Hash, message []byte) []byte {
	switch h {
	case crypto.SHA256:
		sum := sha256.Sum256(message)
		return sum[:]
	case crypto.SHA384:
		sum := sha512.Sum384(message)
		return sum[:]
	case crypto.SHA512:
		sum := sha512.Sum512(message)
		return sum[:]
	default: // Ed25519 takes the message.
		return message
	}
}
