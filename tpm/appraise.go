package tpm

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/sworn-run/sworn/attest"
)

// RawQuote is a quote as somebody else recorded it, who may have kept less than
// [Parts] wants. Attest, Signature, Registers and one of Public, Key and a
// certificate must be there.
type RawQuote struct {
	// Attest is the TPMS_ATTEST, without the size field of TPM2B_ATTEST.
	Attest []byte
	// Signature is the TPMT_SIGNATURE over Attest; see [PlainSignature] for one
	// that was kept without its algorithm.
	Signature []byte
	// Public is the TPMT_PUBLIC of the AK, without the size field of
	// TPM2B_PUBLIC; nil if it was not kept.
	Public []byte
	// Key is the AK's bare key, an *rsa.PublicKey or *ecdsa.PublicKey, where
	// Public is nil. If both are nil, it is that of the first certificate.
	Key crypto.PublicKey
	// Parents are the Names of keys that may be the AK's parent: at most 8.
	Parents [][]byte
	// Registers are the register values that were recorded, in any order: none
	// twice, at most 128. What the quote does not select proves nothing.
	Registers []attest.RegisterValue
	// Certificates are the AK's certificate and its issuers, each exact DER; nil
	// if there is none.
	Certificates [][]byte
}

// RawClaims are what [AppraiseQuote] found established of a quote, and what not.
type RawClaims struct {
	// Quoted is extraData, of whatever length.
	Quoted []byte
	// Registers are those of the signed selection, in its order.
	Registers []attest.RegisterValue
	// Uncovered is the number of the given registers that the quote does not
	// select.
	Uncovered int
	// Counters are the clock and firmware as signed.
	Counters *attest.Counters
	// Mode is Passed if the signed qualified name confirms a public area that
	// says that the AK signs only what its TPM generated and cannot leave it, in
	// the endorsement hierarchy; or if the certificate's issuer promises it. Else
	// it is not established.
	Mode attest.Finding
	// Identity and Revocation are those of [Scheme.Verify].
	Identity   attest.Identity
	Revocation attest.Finding
	// Details are the decoded fields under the names of Part 2.
	Details []attest.Detail
}

// Bounds on a RawQuote.
const maxParents = 8

// AppraiseQuote checks a quote of which less was kept than [Scheme] wants. It
// never says more than Scheme.Verify would: what the missing parts would have
// shown is not established. The signature must verify over the bytes received,
// and the digest in it must be that of the registers it selects; SHA-1 is accepted
// nowhere.
//
// The error wraps [attest.ErrArgument] for a nil quote or a zero time,
// [attest.ErrForm] for what does not parse exactly or is beyond its bounds,
// [attest.ErrSignature] if the signature or the digest does not cover what was
// received or the key is too weak, and [attest.ErrMode] for a public area whose
// key may sign other things than quotes or leave its TPM.
func AppraiseQuote(r *RawQuote, anchors *attest.Anchors, at time.Time) (*RawClaims, error) {
	if r == nil || at.IsZero() {
		return nil, fmt.Errorf("appraising a nil quote, or at the zero time: %w", attest.ErrArgument)
	}
	e, err := r.parse()
	if err != nil {
		return nil, err
	}
	if err := e.signature.verify(e.public, e.quote.raw); err != nil {
		return nil, fmt.Errorf("verifying the quote's signature: %w", err)
	}
	if err := e.checkDigest(); err != nil {
		return nil, fmt.Errorf("comparing pcrDigest: %w", err)
	}
	if r.Public != nil {
		if err := e.public.checkMode(); err != nil {
			return nil, fmt.Errorf("checking the AK: %w", err)
		}
	}
	c := &RawClaims{
		Quoted:    e.quote.extraData,
		Registers: e.registers,
		Uncovered: len(r.Registers) - len(e.registers),
		Counters:  e.quote.counters(),
		Details:   e.quote.details(),
	}
	c.Details = append(c.Details,
		attest.Detail{Name: "sigAlg", Value: fmt.Sprintf("%v with %v", e.signature.alg, e.signature.hash)},
		attest.Detail{Name: "AK type", Value: e.public.typeText()})
	c.Identity, c.Revocation = e.appraiseIdentity(anchors, at)
	c.Mode = e.rawMode(r, c.Identity.Status == attest.Passed)
	return c, nil
}

// parse parses all that is there.
func (r *RawQuote) parse() (*evidence, error) {
	switch {
	case len(r.Attest) > maxAttest, len(r.Signature) > maxSignature, len(r.Public) > maxPublic:
		return nil, fmt.Errorf("quote of %d, %d and %d bytes, limit %d each: %w",
			len(r.Attest), len(r.Signature), len(r.Public), maxAttest, attest.ErrForm)
	case len(r.Registers) > maxRegisters, len(r.Certificates) > maxCertificates, len(r.Parents) > maxParents:
		return nil, fmt.Errorf("%d registers, %d certificates, %d parents, limits %d, %d, %d: %w", len(r.Registers),
			len(r.Certificates), len(r.Parents), maxRegisters, maxCertificates, maxParents, attest.ErrForm)
	}
	e := &evidence{}
	var err error
	if e.quote, err = parseQuote(r.Attest); err != nil {
		return nil, fmt.Errorf("parsing the quote: %w", err)
	}
	if e.signature, err = parseSignature(r.Signature); err != nil {
		return nil, fmt.Errorf("parsing the quote's signature: %w", err)
	}
	for i, der := range r.Certificates {
		if len(der) > maxCertificate {
			return nil, fmt.Errorf("certificate %d of %d bytes, limit %d: %w", i, len(der), maxCertificate, attest.ErrForm)
		}
		c, err := x509.ParseCertificate(bytes.Clone(der))
		if err != nil {
			return nil, fmt.Errorf("parsing certificate %d: %v: %w", i, err, attest.ErrForm)
		}
		e.certificates = append(e.certificates, c)
	}
	if e.public, err = r.public(e.certificates); err != nil {
		return nil, err
	}
	e.registers, err = e.quote.pick(r.Registers)
	return e, err
}

// public returns the AK's public area, or what a bare key says of one.
func (r *RawQuote) public(certificates []*x509.Certificate) (*public, error) {
	switch {
	case r.Public != nil:
		p, err := parsePublic(r.Public)
		if err != nil {
			return nil, fmt.Errorf("parsing the AK's public area: %w", err)
		}
		return p, nil
	case r.Key != nil:
		return publicOf(r.Key)
	case len(certificates) > 0:
		return publicOf(certificates[0].PublicKey)
	default:
		return nil, fmt.Errorf("neither the AK's public area nor its key nor its certificate is there: %w", attest.ErrForm)
	}
}

// pick returns the registers of the signed selection, in its order.
func (q *quote) pick(given []attest.RegisterValue) ([]attest.RegisterValue, error) {
	type label struct {
		bank  attest.Alg
		index uint32
	}
	values := make(map[label][]byte, len(given))
	for _, v := range given {
		l := label{v.Bank, v.Index}
		if values[l] != nil || len(v.Value) == 0 || len(v.Value) != v.Bank.Size() {
			return nil, fmt.Errorf("register %d of bank %v is there twice or has %d bytes: %w", v.Index, v.Bank, len(v.Value), attest.ErrForm)
		}
		values[l] = v.Value
	}
	var out []attest.RegisterValue
	for i := range q.selection {
		s := &q.selection[i]
		for _, index := range s.indices() {
			v := values[label{s.bank, index}]
			if v == nil {
				return nil, fmt.Errorf("register %d of bank %v is quoted and its value is not there: %w", index, s.bank, attest.ErrForm)
			}
			out = append(out, attest.RegisterValue{Bank: s.bank, Index: index, Value: bytes.Clone(v)})
		}
	}
	return out, nil
}

// The handles of the hierarchies that quotes are obfuscated in (Part 2, 7.4).
func hierarchies() []struct {
	handle [4]byte
	name   string
} {
	return []struct {
		handle [4]byte
		name   string
	}{
		{[4]byte{0x40, 0, 0, 0x01}, "owner"},
		{[4]byte{0x40, 0, 0, 0x07}, "null"},
		{[4]byte{0x40, 0, 0, 0x0C}, "platform"},
	}
}

// rawMode tells what is known of the kind of key. certified is true if an issuer
// vouches for the very key under a profile that promises its kind.
func (e *evidence) rawMode(r *RawQuote, certified bool) attest.Finding {
	promised := attest.Finding{Status: attest.Passed, Detail: "the issuer of the certificate promises a restricted signing key of a TPM"}
	if r.Public == nil {
		if certified {
			return promised
		}
		return attest.Finding{Detail: "the public area was not kept: the key may sign other things than quotes"}
	}
	name := e.public.name()
	placed := func(root []byte) bool {
		if bytes.Equal(qualifiedName(root, name), e.quote.qualifiedSigner) {
			return true
		}
		for _, p := range r.Parents {
			parent, err := parseName(p)
			if err == nil && bytes.Equal(qualifiedName(qualifiedName(root, parent), name), e.quote.qualifiedSigner) {
				return true
			}
		}
		return false
	}
	if placed(rhEndorsement[:]) {
		return attest.Finding{
			Status: attest.Passed,
			Detail: "restricted signing key fixed in its TPM, in the endorsement hierarchy: " + e.public.attributes.String(),
		}
	}
	for _, h := range hierarchies() {
		if placed(h.handle[:]) {
			return attest.Finding{Detail: "the key is in the " + h.name + " hierarchy, where a TPM obscures its counters and firmware version"}
		}
	}
	if certified {
		return promised
	}
	return attest.Finding{Detail: "nothing signed confirms the public area: the qualified name is that of a key whose parent is not known here"}
}
