package tpm

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/big"

	"github.com/sworn-run/sworn/attest"
)

// algID is a TPM_ALG_ID that is not a hash (TCG Algorithm Registry, table 3).
type algID uint16

// The algorithms of keys and signatures.
const (
	algRSA    algID = 0x0001
	algNull   algID = 0x0010
	algRSASSA algID = 0x0014
	algRSAPSS algID = 0x0016
	algECDSA  algID = 0x0018
	algECC    algID = 0x0023
)

// String returns the algorithm's name without its prefix, such as "ECDSA".
func (a algID) String() string {
	switch a {
	case algRSA:
		return "RSA"
	case algNull:
		return "NULL"
	case algRSASSA:
		return "RSASSA"
	case algRSAPSS:
		return "RSAPSS"
	case algECDSA:
		return "ECDSA"
	case algECC:
		return "ECC"
	default:
		return fmt.Sprintf("alg 0x%04x", uint16(a))
	}
}

// TPM_ECC_CURVE (TCG Algorithm Registry, table 4).
const (
	curveP256 = 0x0003
	curveP384 = 0x0004
)

// scheme is a TPMT_RSA_SCHEME or TPMT_ECC_SCHEME (Part 2, 11.2.4.2 and
// 11.2.5.6): NULL, or a signing scheme with its hash.
type scheme struct {
	alg  algID
	hash attest.Alg
}

// public is the TPMT_PUBLIC of a signing key (Part 2, 12.2.4).
type public struct {
	raw        []byte
	typ        algID
	nameAlg    attest.Alg
	attributes attributes
	authPolicy []byte
	scheme     scheme
	// bits and exponent are of an RSA key, exponent as encoded.
	bits     uint16
	exponent uint32
	// curve is of an ECC key.
	curve uint16
	// unique is the modulus, or X and Y.
	unique [2][]byte
}

// parsePublic parses exactly the bytes of a TPMT_PUBLIC of an RSA or ECC
// signing key. It keeps its own copy of b.
func parsePublic(b []byte) (*public, error) {
	p := &public{raw: bytes.Clone(b)}
	r := reader{b: p.raw}
	p.typ, p.nameAlg = algID(r.u16()), attest.Alg(r.u16())
	p.attributes, p.authPolicy = attributes(r.u32()), r.sized(maxDigest)
	switch {
	case !p.nameAlg.Accepted():
		return nil, fmt.Errorf("nameAlg %v: %w", p.nameAlg, attest.ErrForm)
	case p.attributes&attrReserved != 0:
		return nil, fmt.Errorf("objectAttributes 0x%08x with reserved bits: %w", uint32(p.attributes), attest.ErrForm)
	case len(p.authPolicy) != 0 && len(p.authPolicy) != p.nameAlg.Size():
		// Part 2, 12.2.4: the policy is computed with nameAlg.
		return nil, fmt.Errorf("authPolicy of %d bytes: %w", len(p.authPolicy), attest.ErrForm)
	}
	// TPMT_SYM_DEF_OBJECT (Part 2, 12.2.3.5 and 12.2.3.6): NULL unless the key
	// is a storage key.
	if sym := algID(r.u16()); sym != algNull {
		return nil, fmt.Errorf("symmetric %v, want NULL for a signing key: %w", sym, attest.ErrForm)
	}
	if err := p.parseScheme(&r); err != nil {
		return nil, err
	}
	if err := p.parseKey(&r); err != nil {
		return nil, err
	}
	if !r.done() {
		return nil, fmt.Errorf("truncated or with trailing bytes: %w", attest.ErrForm)
	}
	if !bytes.Equal(p.marshal(), b) {
		return nil, fmt.Errorf("does not marshal back to itself: %w", attest.ErrForm)
	}
	return p, nil
}

// parseScheme reads the signing scheme, of the key's own type.
func (p *public) parseScheme(r *reader) error {
	p.scheme.alg = algID(r.u16())
	if p.scheme.alg == algNull {
		return nil
	}
	if !p.scheme.alg.fits(p.typ) {
		return fmt.Errorf("scheme %v for a key of type %v: %w", p.scheme.alg, p.typ, attest.ErrForm)
	}
	if p.scheme.hash = attest.Alg(r.u16()); !p.scheme.hash.Known() {
		return fmt.Errorf("scheme with hash %v: %w", p.scheme.hash, attest.ErrForm)
	}
	return nil
}

// fits reports whether a is a signing scheme of keys of the given type.
func (a algID) fits(typ algID) bool {
	switch a {
	case algRSASSA, algRSAPSS:
		return typ == algRSA
	case algECDSA:
		return typ == algECC
	default:
		return false
	}
}

// parseKey reads what is left of TPMS_RSA_PARMS or TPMS_ECC_PARMS (Part 2,
// 12.2.3.5 and 12.2.3.6) and TPMU_PUBLIC_ID (12.2.3.2).
func (p *public) parseKey(r *reader) error {
	switch p.typ {
	case algRSA:
		p.bits, p.exponent = r.u16(), r.u32()
		p.unique[0] = r.sized(maxPublic)
		if len(p.unique[0])*8 != int(p.bits) {
			return fmt.Errorf("modulus of %d bytes for keyBits %d: %w", len(p.unique[0]), p.bits, attest.ErrForm)
		}
	case algECC:
		p.curve = r.u16()
		// TPMT_KDF_SCHEME: NULL, no TPM uses another (Part 2, 12.2.3.6).
		if kdf := algID(r.u16()); kdf != algNull {
			return fmt.Errorf("kdf %v, want NULL: %w", kdf, attest.ErrForm)
		}
		size := coordinateSize(p.curve)
		p.unique = [2][]byte{r.sized(size), r.sized(size)}
		// Part 1, C.8: coordinates are padded to the size of the field.
		if size == 0 || len(p.unique[0]) != size || len(p.unique[1]) != size {
			return fmt.Errorf("point of curve 0x%04x: %w", p.curve, attest.ErrForm)
		}
	default:
		return fmt.Errorf("key of type %v: %w", p.typ, attest.ErrForm)
	}
	return nil
}

// coordinateSize returns the size of the field of a curve in bytes; 0 if the
// curve is not one of those accepted.
func coordinateSize(curve uint16) int {
	switch curve {
	case curveP256:
		return 32
	case curveP384:
		return 48
	default:
		return 0
	}
}

// marshal writes the fields back as a TPMT_PUBLIC.
func (p *public) marshal() []byte {
	b := binary.BigEndian.AppendUint16(make([]byte, 0, maxPublic), uint16(p.typ))
	b = binary.BigEndian.AppendUint16(b, uint16(p.nameAlg))
	b = binary.BigEndian.AppendUint32(b, uint32(p.attributes))
	b = appendSized(b, p.authPolicy)
	b = binary.BigEndian.AppendUint16(b, uint16(algNull))
	b = binary.BigEndian.AppendUint16(b, uint16(p.scheme.alg))
	if p.scheme.alg != algNull {
		b = binary.BigEndian.AppendUint16(b, uint16(p.scheme.hash))
	}
	if p.typ == algRSA {
		b = binary.BigEndian.AppendUint16(b, p.bits)
		b = binary.BigEndian.AppendUint32(b, p.exponent)
		return appendSized(b, p.unique[0])
	}
	b = binary.BigEndian.AppendUint16(b, p.curve)
	b = binary.BigEndian.AppendUint16(b, uint16(algNull))
	return appendSized(appendSized(b, p.unique[0]), p.unique[1])
}

// key returns the public key if it is strong enough to prove anything: RSA of
// 2048 to 4096 bits with exponent 65537, or a point on P-256 or P-384. The
// error wraps ErrSignature.
func (p *public) key() (crypto.PublicKey, error) {
	if p.typ == algECC {
		curve := elliptic.P256()
		if p.curve == curveP384 {
			curve = elliptic.P384()
		}
		point := append([]byte{4}, p.unique[0]...)
		k, err := ecdsa.ParseUncompressedPublicKey(curve, append(point, p.unique[1]...))
		if err != nil {
			return nil, fmt.Errorf("the AK is not a point on its curve: %w", attest.ErrSignature)
		}
		return k, nil
	}
	// Part 2, 12.2.3.5: an exponent of zero stands for 2^16 + 1.
	if p.exponent != 0 && p.exponent != 65537 {
		return nil, fmt.Errorf("RSA exponent %d: %w", p.exponent, attest.ErrSignature)
	}
	k := &rsa.PublicKey{N: new(big.Int).SetBytes(p.unique[0]), E: 65537}
	if err := checkStrength(k); err != nil {
		return nil, err
	}
	if k.N.BitLen() != int(p.bits) {
		return nil, fmt.Errorf("RSA modulus of %d bits, keyBits %d: %w", k.N.BitLen(), p.bits, attest.ErrSignature)
	}
	return k, nil
}

// checkStrength refuses RSA keys below 2048 or above 4096 bits or with an even
// modulus or a small exponent, and curves other than P-256, P-384 and P-521.
// The error wraps ErrSignature.
func checkStrength(k crypto.PublicKey) error {
	switch k := k.(type) {
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < 2048 || n > 4096 || k.N.Bit(0) == 0 || k.E < 65537 || k.E&1 == 0 {
			return fmt.Errorf("RSA key of %d bits, exponent %d: %w", n, k.E, attest.ErrSignature)
		}
		return nil
	case *ecdsa.PublicKey:
		if c := k.Curve; c != elliptic.P256() && c != elliptic.P384() && c != elliptic.P521() {
			return fmt.Errorf("ECDSA key on a weak curve: %w", attest.ErrSignature)
		}
		return nil
	default:
		return fmt.Errorf("key of type %T: %w", k, attest.ErrSignature)
	}
}

// name returns the Name of the key: nameAlg and the digest of its public area
// (Part 1, 16).
func (p *public) name() []byte {
	return appendDigest(p.nameAlg, p.raw)
}

// appendDigest returns the algorithm's identifier and its digest of parts.
func appendDigest(alg attest.Alg, parts ...[]byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(alg)), alg.Sum(parts...)...)
}

// qualifiedName returns the QN of the object with that Name under an ancestor
// with that QN (Part 1, 26.5), in the object's own nameAlg.
func qualifiedName(ancestor, name []byte) []byte {
	return appendDigest(attest.Alg(binary.BigEndian.Uint16(name)), ancestor, name)
}

// parseName parses exactly a Name that is a digest (Part 2, 10.5.3): SHA-1 and
// handles are refused. It returns a copy.
func parseName(b []byte) ([]byte, error) {
	r := reader{b: b}
	alg := attest.Alg(r.u16())
	if r.short || !alg.Accepted() || len(r.b) != alg.Size() {
		return nil, fmt.Errorf("name of %d bytes with hash %v: %w", len(b), alg, attest.ErrForm)
	}
	return bytes.Clone(b), nil
}

// keyID digests a Name for the manifest.
func keyID(name []byte) [32]byte { return sha256.Sum256(name) }

// Name returns the Name of an AK from its TPMT_PUBLIC: 2 bytes of nameAlg,
// big-endian, and the digest of the public area (TPM 2.0 Part 1, 16). The
// error wraps [attest.ErrForm] if the bytes are not exactly the public area of
// an RSA or ECC signing key.
func Name(public []byte) ([]byte, error) {
	if len(public) > maxPublic {
		return nil, fmt.Errorf("public area of %d bytes, limit %d: %w", len(public), maxPublic, attest.ErrForm)
	}
	p, err := parsePublic(public)
	if err != nil {
		return nil, fmt.Errorf("parsing a public area: %w", err)
	}
	return p.name(), nil
}

// KeyID returns the key id that a manifest slot carries for an AK: SHA-256 of
// its Name. The error is that of [Name].
func KeyID(public []byte) ([32]byte, error) {
	n, err := Name(public)
	if err != nil {
		return [32]byte{}, err
	}
	return keyID(n), nil
}
