package stamp

import (
	"bytes"
	"crypto"
	_ "crypto/sha256" // the hashes that are accepted
	_ "crypto/sha512"
	"crypto/x509"
)

// The object identifiers of RFC 5652, RFC 3161, RFC 5035 and RFC 6211.
const (
	oidSignedData = "1.2.840.113549.1.7.2"
	oidTSTInfo    = "1.2.840.113549.1.9.16.1.4"

	oidContentType   = "1.2.840.113549.1.9.3"
	oidMessageDigest = "1.2.840.113549.1.9.4"
	oidSigningTime   = "1.2.840.113549.1.9.5"
	oidSigningCertV1 = "1.2.840.113549.1.9.16.2.12"
	oidSigningCertV2 = "1.2.840.113549.1.9.16.2.47"
	oidProtection    = "1.2.840.113549.1.9.52"
)

// The object identifiers of RFC 8017, RFC 5758 and RFC 8410.
const (
	oidRSA     = "1.2.840.113549.1.1.1"
	oidMGF1    = "1.2.840.113549.1.1.8"
	oidPSS     = "1.2.840.113549.1.1.10"
	oidEd25519 = "1.3.101.112"
)

// identifier is an AlgorithmIdentifier (RFC 5280, 4.1.1.2). Parameters is the whole DER
// value, nil if there is none.
type identifier struct {
	id         string
	parameters []byte
}

// algorithm reads an AlgorithmIdentifier.
func (r *reader) algorithm(tag byte, what string) identifier {
	in := r.open(tag, what)
	a := identifier{id: in.oid(what)}
	if in.more() {
		a.parameters = in.any(what).raw
	}
	in.end(what)
	return a
}

// plain reports whether the parameters are absent or NULL.
func (a identifier) plain() bool {
	return len(a.parameters) == 0 || bytes.Equal(a.parameters, []byte{tagNull, 0})
}

// hash returns the hash that the identifier names, 0 if it is not accepted.
func (a identifier) hash() crypto.Hash {
	if !a.plain() {
		return 0
	}
	switch a.id {
	case "2.16.840.1.101.3.4.2.1":
		return crypto.SHA256
	case "2.16.840.1.101.3.4.2.2":
		return crypto.SHA384
	case "2.16.840.1.101.3.4.2.3":
		return crypto.SHA512
	default:
		return 0
	}
}

// hash reads an AlgorithmIdentifier of a hash that is accepted.
func (r *reader) hash(what string) crypto.Hash {
	a := r.algorithm(tagSequence, what)
	h := a.hash()
	if h == 0 {
		r.fail(ReasonAlgorithm, "%s is %s, want SHA-256, SHA-384 or SHA-512", what, algorithmName(a.id))
	}
	return h
}

// algorithmName names what is refused so often that its name helps.
func algorithmName(id string) string {
	switch id {
	case "1.3.14.3.2.26":
		return "SHA-1"
	case "1.2.840.113549.2.5":
		return "MD5"
	case "1.2.840.113549.1.1.5", "1.2.840.10045.4.1":
		return id + " (by SHA-1)"
	default:
		return id
	}
}

// signature returns what a signer's signature algorithm is over digests by h; 0 if it
// is not accepted, or by another hash.
func (a identifier) signature(h crypto.Hash) x509.SignatureAlgorithm {
	row := map[crypto.Hash]struct {
		rsaID, ecdsaID  string
		rsa, pss, ecdsa x509.SignatureAlgorithm
	}{
		crypto.SHA256: {"1.2.840.113549.1.1.11", "1.2.840.10045.4.3.2", x509.SHA256WithRSA, x509.SHA256WithRSAPSS, x509.ECDSAWithSHA256},
		crypto.SHA384: {"1.2.840.113549.1.1.12", "1.2.840.10045.4.3.3", x509.SHA384WithRSA, x509.SHA384WithRSAPSS, x509.ECDSAWithSHA384},
		crypto.SHA512: {"1.2.840.113549.1.1.13", "1.2.840.10045.4.3.4", x509.SHA512WithRSA, x509.SHA512WithRSAPSS, x509.ECDSAWithSHA512},
	}[h]
	switch {
	case a.id == oidRSA && a.plain(), a.id == row.rsaID && a.plain():
		return row.rsa
	case a.id == oidPSS && a.pss(h):
		return row.pss
	case a.id == row.ecdsaID && len(a.parameters) == 0:
		return row.ecdsa
	case a.id == oidEd25519 && len(a.parameters) == 0 && h == crypto.SHA512: // RFC 8419, 3.1
		return x509.PureEd25519
	default:
		return x509.UnknownSignatureAlgorithm
	}
}

// pss reports whether the parameters are RSASSA-PSS-params (RFC 8017, A.2.3) by h
// throughout: message, mask, and a salt as long.
func (a identifier) pss(h crypto.Hash) bool {
	r, err := newReader(a.parameters)
	in := r.open(tagSequence, "parameters")
	message := in.open(tagExplicit0, "hash")
	by := message.hash("hash")
	message.end("hash")
	mask := in.open(tagExplicit1, "mask")
	m := mask.algorithm(tagSequence, "mask")
	mask.end("mask")
	inner := r.inside(m.parameters)
	maskBy := inner.hash("hash of mask")
	inner.end("hash of mask")
	salt := in.open(0xa2, "salt")
	size := salt.small(tagInteger, 64, "salt")
	salt.end("salt")
	in.end("parameters")
	r.end("parameters")
	return *err == nil && m.id == oidMGF1 && by == h && maskBy == h && size == int64(h.Size())
}
