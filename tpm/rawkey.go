package tpm

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/asn1"
	"encoding/binary"
	"fmt"
	"math/big"

	"github.com/sworn-run/sworn/attest"
)

// publicOf returns the key in the form of a public area that says nothing else.
// The error wraps ErrSignature for a key too weak to prove anything.
func publicOf(key crypto.PublicKey) (*public, error) {
	p := &public{scheme: scheme{alg: algNull}}
	switch k := key.(type) {
	case *rsa.PublicKey:
		if err := checkStrength(k); err != nil {
			return nil, err
		}
		if k.E != 65537 || k.N.BitLen()%8 != 0 {
			return nil, fmt.Errorf("RSA key of %d bits, exponent %d: %w", k.N.BitLen(), k.E, attest.ErrSignature)
		}
		p.typ, p.bits, p.exponent = algRSA, uint16(k.N.BitLen()), uint32(k.E)
		p.unique[0] = k.N.Bytes()
		return p, nil
	case *ecdsa.PublicKey:
		p.typ = algECC
		switch k.Curve {
		case elliptic.P256():
			p.curve = curveP256
		case elliptic.P384():
			p.curve = curveP384
		default:
			return nil, fmt.Errorf("ECDSA key on another curve than P-256 and P-384: %w", attest.ErrSignature)
		}
		point, err := k.Bytes()
		if err != nil {
			return nil, fmt.Errorf("the AK is not a point on its curve: %w", attest.ErrSignature)
		}
		size := coordinateSize(p.curve)
		p.unique = [2][]byte{point[1 : 1+size], point[1+size:]}
		return p, nil
	default:
		return nil, fmt.Errorf("AK of type %T: %w", key, attest.ErrSignature)
	}
}

// PlainSignature encodes a signature that was kept without its algorithm as a
// TPMT_SIGNATURE: for an RSA key the bare value, which is taken for RSASSA; for an
// ECDSA key the DER of r and s. The hash is that which has the size of the digest
// in the quote, because TPM2_Quote uses one hash for both (Part 3, 18.4).
//
// The error wraps [attest.ErrForm] for bytes that are no quote or no such
// signature, or [attest.ErrSignature] for another kind of key. Nothing is verified.
func PlainSignature(quoted, sig []byte, key crypto.PublicKey) ([]byte, error) {
	if len(quoted) > maxAttest || len(sig) > maxSignature || len(sig) == 0 {
		return nil, fmt.Errorf("quote of %d bytes, signature of %d: %w", len(quoted), len(sig), attest.ErrForm)
	}
	q, err := parseQuote(quoted)
	if err != nil {
		return nil, fmt.Errorf("parsing the quote: %w", err)
	}
	s := signature{}
	for _, a := range []attest.Alg{attest.SHA256, attest.SHA384, attest.SHA512} {
		if len(q.digest) == a.Size() {
			s.hash = a
		}
	}
	if s.hash == 0 {
		return nil, fmt.Errorf("pcrDigest of %d bytes: %w", len(q.digest), attest.ErrForm)
	}
	switch k := key.(type) {
	case *rsa.PublicKey:
		s.alg, s.values = algRSASSA, [][]byte{sig}
	case *ecdsa.PublicKey:
		var v struct{ R, S *big.Int }
		rest, err := asn1.Unmarshal(sig, &v)
		size := (k.Params().BitSize + 7) / 8
		if err != nil || len(rest) != 0 || v.R.Sign() <= 0 || v.S.Sign() <= 0 || v.R.BitLen() > 8*size || v.S.BitLen() > 8*size {
			return nil, fmt.Errorf("signature is not the DER of r and s: %w", attest.ErrForm)
		}
		s.alg = algECDSA
		s.values = [][]byte{v.R.FillBytes(make([]byte, size)), v.S.FillBytes(make([]byte, size))}
	default:
		return nil, fmt.Errorf("AK of type %T: %w", key, attest.ErrSignature)
	}
	return s.marshal(), nil
}

// Selection is one bank of a quote's selection.
type Selection struct {
	// Bank is the bank, SHA-1 and unknown ones among them.
	Bank attest.Alg
	// Indices are the selected registers, ascending; they may be none.
	Indices []uint32
}

// QuoteSelection returns what a TPMS_ATTEST selects, SHA-1 too: so that a quote
// which proves nothing can be told from one that is malformed. At most 4 banks, of
// registers 0 to 31. The error wraps [attest.ErrForm]. Nothing is verified.
func QuoteSelection(b []byte) ([]Selection, error) {
	r := reader{b: b}
	if len(b) > maxAttest || r.u32() != tpmGenerated || r.u16() != stAttestQuote {
		return nil, fmt.Errorf("not a quote: %w", attest.ErrForm)
	}
	r.sized(maxName)
	r.sized(maxData)
	r.take(8 + 4 + 4 + 1 + 8)
	n := r.u32()
	if r.short || n > maxBanks {
		return nil, fmt.Errorf("pcrSelect of %d banks, limit %d: %w", n, maxBanks, attest.ErrForm)
	}
	var out []Selection
	for range n {
		s := bankSelection{bank: attest.Alg(r.u16())}
		size := int(r.u8())
		if size > maxSelect {
			return nil, fmt.Errorf("sizeofSelect %d, limit %d: %w", size, maxSelect, attest.ErrForm)
		}
		s.bitmap = r.take(size)
		out = append(out, Selection{s.bank, s.indices()})
	}
	r.sized(maxDigest)
	if !r.done() {
		return nil, fmt.Errorf("truncated or with trailing bytes: %w", attest.ErrForm)
	}
	return out, nil
}

// ParentName returns the Name of a storage key from its TPMT_PUBLIC, for
// [RawQuote.Parents]: nameAlg and the digest of the area. Of the area, only its
// type, its nameAlg and that it is a storage key are looked at. The error wraps
// [attest.ErrForm].
func ParentName(area []byte) ([]byte, error) {
	if len(area) < 8 || len(area) > maxPublic {
		return nil, fmt.Errorf("public area of %d bytes: %w", len(area), attest.ErrForm)
	}
	typ, alg := algID(binary.BigEndian.Uint16(area)), attest.Alg(binary.BigEndian.Uint16(area[2:]))
	attrs := attributes(binary.BigEndian.Uint32(area[4:]))
	if typ != algRSA && typ != algECC || !alg.Accepted() || attrs&attrDecrypt == 0 || attrs&attrRestricted == 0 {
		return nil, fmt.Errorf("not the public area of a storage key: %w", attest.ErrForm)
	}
	return appendDigest(alg, area), nil
}

// PublicKey returns the key of a TPMT_PUBLIC of a signing key, an *rsa.PublicKey or
// *ecdsa.PublicKey. The error wraps [attest.ErrForm] if the bytes are not exactly
// such an area, or [attest.ErrSignature] for a key too weak to prove anything.
func PublicKey(area []byte) (crypto.PublicKey, error) {
	if len(area) > maxPublic {
		return nil, fmt.Errorf("public area of %d bytes, limit %d: %w", len(area), maxPublic, attest.ErrForm)
	}
	p, err := parsePublic(area)
	if err != nil {
		return nil, fmt.Errorf("parsing a public area: %w", err)
	}
	return p.key()
}
