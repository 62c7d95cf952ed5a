package stamp

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/sworn-run/sworn/attest"
)

// Result is what [Token.Verify] found. The zero Result is not established.
type Result struct {
	// Finding is Passed if the token can be relied on as far as the lists at hand tell:
	// signed by an authority of a trusted root, for the purpose, while every certificate was
	// valid, and no list revokes one of them. Failed is what is wrong whoever is trusted,
	// and, with Revoked, a revoked certificate. Not established is what no trust answers:
	// there is no root, or the certificates lead to none. The absence of a list is no
	// reason for any of these: see Revocation.
	attest.Finding
	// Reason is why the status is not Passed; empty if it is.
	Reason Reason
	// Root is the trust anchor that the chain ends in; nil where no chain was found.
	Root *attest.Root
	// Authority is the common name in the signer's certificate, or its whole subject where
	// it has none; the certificate's word, unless Root is set. Empty without a certificate.
	Authority string
	// Until is the earliest end of the certificates below the root: after it, the token
	// needs a later archive token. Zero without Root.
	Until time.Time
	// Revoked is the revocation that the token falls under; nil if there is none.
	Revoked *Revocation
	// Revocation is Passed if a list that was current said of every certificate below the
	// root that it is not revoked, or its issuer publishes no such word; not established if
	// a list is missing; Failed with Revoked.
	Revocation attest.Finding
	// Used are the lists that were relied on, by their index among those given to
	// [Token.Verify]; Spare are those of the chain's authorities on which nothing rests.
	// Lists in the token itself are in neither.
	Used, Spare []attest.Use
	// Details are the certificates of the chain and what was found of them.
	Details []attest.Detail
}

// verification is the state of one [Token.Verify].
type verification struct {
	*Token
	anchors []attest.Root
	given   [][]byte
	at      time.Time
	signer  *x509.Certificate
}

// Verify says whether the token can be relied on, by the roots of role [Role] among
// anchors, which may be authorities below a root, and by revocation lists in DER, given
// beside those in the token.
//
// Certificates must have been valid at the token's time. Time at is of when things are
// judged: a list that was made after the token counts, and an entry counts whose date is
// not after at. What a revocation does to a token is in [Revocation]. Verify does not
// compare the token's time with at, nor Until.
func (t *Token) Verify(anchors *attest.Anchors, crls [][]byte, at time.Time) Result {
	if t == nil || t.signer.hash == 0 || at.IsZero() {
		return refused(attest.NotEstablished, fault(ReasonArgument, "no token, or no time to judge it at"))
	}
	v := &verification{Token: t, anchors: anchors.Role(Role), given: crls, at: at}
	out, err := v.own()
	if err != nil {
		out.Finding, out.Reason = attest.Finding{Status: err.status(), Detail: err.Detail}, err.Reason
		return out
	}
	v.trust(&out)
	return out
}

// refused returns a result that is nothing but its reason.
func refused(s attest.Status, err *Error) Result {
	return Result{Finding: attest.Finding{Status: s, Detail: err.Detail}, Reason: err.Reason}
}

// status returns what an error makes of the token.
func (e *Error) status() attest.Status {
	switch e.Reason {
	case ReasonNoCertificate, ReasonNoRoots, ReasonUntrusted, ReasonArgument:
		return attest.NotEstablished
	default:
		return attest.Failed
	}
}

// own judges what nobody's trust changes: the signature, and the signer's certificate by
// itself.
func (v *verification) own() (Result, *Error) {
	var out Result
	for _, x := range v.extensions {
		if x.critical {
			return out, fault(ReasonCritical, "TSTInfo has the critical extension %s, which is not known", x.id)
		}
	}
	err := v.findSigner()
	if v.signer != nil {
		out.Authority = authority(v.signer)
	}
	if err != nil {
		return out, err
	}
	for _, step := range []func() *Error{v.checkSignature, v.checkPurpose, v.checkName} {
		if err := step(); err != nil {
			return out, err
		}
	}
	return out, checkValid(v.signer, v.Time)
}

// authority names the owner of a certificate.
func authority(c *x509.Certificate) string {
	if c.Subject.CommonName != "" {
		return c.Subject.CommonName
	}
	return c.Subject.String()
}

// subject returns the subject of c, quoted and cut for one line.
func subject(c *x509.Certificate) string { return fmt.Sprintf("%.160q", c.Subject.String()) }

// certID is ESSCertIDv2 (RFC 5035, 4).
type certID struct {
	hash   crypto.Hash
	digest []byte
	issuer []byte // Name; nil if there is none
	serial *big.Int
}

// Signer returns the certificate in the token that its signed attributes name; nil if there
// is none. It is nobody's word before [Token.Verify] passed.
func (t *Token) Signer() *x509.Certificate {
	v := &verification{Token: t}
	if t == nil || v.findSigner() != nil {
		return nil
	}
	return v.signer
}

// findSigner finds the signer's certificate: the one that the signed attribute
// signingCertificateV2 names (RFC 5816, 2.2.1), which must be the one that SignerInfo
// names, since that is signed by nobody.
//
// SigningCertificate of RFC 2634, which knows SHA-1 alone, is not read: beside the other
// it adds nothing, and alone it does not say which certificate.
func (v *verification) findSigner() *Error {
	in, bad := v.Token.signer.attribute(oidSigningCertV2)
	if in == nil {
		return fault(ReasonSigningCertificate, "no signed attribute signingCertificateV2 names the signer's certificate")
	}
	id := readCertID(in)
	if *bad != nil {
		return fault(ReasonSigningCertificate, "signed attribute signingCertificateV2: %s", (*bad).Detail)
	}
	for _, c := range v.certs {
		if bytes.Equal(sum(id.hash, c.Raw), id.digest) {
			v.signer = c
			break
		}
	}
	switch s := &v.Token.signer; {
	case v.signer == nil && !v.hasSigner():
		return fault(ReasonNoCertificate, "the signer's certificate is not in the token")
	case v.signer == nil:
		return fault(ReasonSigningCertificate, "the signed attribute signingCertificateV2 names another certificate than the signer's")
	case !s.names(v.signer):
		return fault(ReasonSigningCertificate, "SignerInfo names another certificate than the signed attribute signingCertificateV2")
	case id.serial != nil && (id.serial.Cmp(v.signer.SerialNumber) != 0 || !bytes.Equal(id.issuer, v.signer.RawIssuer)):
		return fault(ReasonSigningCertificate, "the signed attribute signingCertificateV2 has another issuer and serial number than the certificate")
	}
	return nil
}

// hasSigner reports whether a certificate in the token is one that SignerInfo names.
func (v *verification) hasSigner() bool {
	return slices.ContainsFunc(v.certs, v.Token.signer.names)
}

// names reports whether SignerInfo names this certificate (RFC 5652, 5.3).
func (s *signerInfo) names(c *x509.Certificate) bool {
	if s.issuer == nil {
		return len(s.keyID) > 0 && bytes.Equal(s.keyID, c.SubjectKeyId)
	}
	return bytes.Equal(s.issuer, c.RawIssuer) && s.serial.Cmp(c.SerialNumber) == 0
}

// readCertID reads the first ESSCertIDv2 of SigningCertificateV2 (RFC 5035, 3 and 4): the
// signer's. The others limit a chain that is judged by roots here anyway; they must be
// well formed.
func readCertID(r *reader) certID {
	outer := r.open(tagSequence, "SigningCertificateV2")
	r.end("SigningCertificateV2")
	list := outer.open(tagSequence, "certs")
	if outer.more() {
		outer.take(tagSequence, "policies")
	}
	outer.end("SigningCertificateV2")
	first := readOneCertID(list.open(tagSequence, "ESSCertIDv2"))
	for list.more() {
		readOneCertID(list.open(tagSequence, "ESSCertIDv2"))
	}
	return first
}

// readOneCertID reads ESSCertIDv2.
func readOneCertID(r *reader) certID {
	id := certID{hash: crypto.SHA256}
	if r.at(tagSequence) {
		id.hash = r.hash("hashAlgorithm")
	}
	id.digest = r.take(tagOctets, "certHash").body
	if r.at(tagSequence) {
		in := r.open(tagSequence, "issuerSerial")
		names := in.open(tagSequence, "issuer")
		name := names.open(0xa4, "directoryName") // GeneralName (RFC 5280, 4.2.1.6)
		id.issuer = name.take(tagSequence, "Name").raw
		name.end("directoryName")
		names.end("issuer, which must be one name,")
		id.serial = in.natural(tagInteger, "serialNumber")
		in.end("issuerSerial")
	}
	r.end("ESSCertIDv2")
	return id
}

// sum returns the digest of b.
func sum(h crypto.Hash, b []byte) []byte {
	w := h.New()
	_, _ = w.Write(b)
	return w.Sum(nil)
}

// checkSignature verifies the signature over the signed attributes as received, and that
// these are about this TSTInfo.
func (v *verification) checkSignature() *Error {
	s := &v.Token.signer
	if !bytes.Equal(s.messageDigest(), sum(s.hash, v.content)) {
		return fault(ReasonMessageDigest, "the signed attribute messageDigest is not the digest of TSTInfo")
	}
	if err := s.checkProtection(); err != nil {
		return err
	}
	if problem := badKey(v.signer); problem != "" {
		return fault(ReasonKey, "the certificate of %s %s", subject(v.signer), problem)
	}
	if err := v.signer.CheckSignature(s.algorithm, s.message, s.signature); err != nil {
		return fault(ReasonSignature, "the signature (%v) is not by the key of %s", s.algorithm, subject(v.signer))
	}
	return nil
}

// checkProtection compares the signed attribute CMSAlgorithmProtection, where there is
// one, with the algorithms outside of what is signed (RFC 6211, 2).
func (s *signerInfo) checkProtection() *Error {
	in, bad := s.attribute(oidProtection)
	if in == nil {
		return nil
	}
	r := in.open(tagSequence, "CMSAlgorithmProtection")
	in.end("CMSAlgorithmProtection")
	digest := r.algorithm(tagSequence, "digestAlgorithm")
	signature := r.algorithm(tagExplicit1, "signatureAlgorithm")
	r.end("CMSAlgorithmProtection")
	if *bad != nil || digest.id != s.digestID.id || signature.id != s.signedID.id {
		return fault(ReasonAlgorithm, "the signed attribute CMSAlgorithmProtection names other algorithms than the signer used")
	}
	return nil
}

// The sizes of RSA keys in bits: less can be forged, and more keeps a verifier busy. So do
// larger exponents, which nobody has.
const (
	minRSABits     = 2048
	maxRSABits     = 8192
	maxRSAExponent = 65537
)

// badKey says why no signature by the key of c counts; empty if it may.
func badKey(c *x509.Certificate) string {
	switch k := c.PublicKey.(type) {
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < minRSABits || n > maxRSABits {
			return fmt.Sprintf("has an RSA key of %d bits, want %d to %d", n, minRSABits, maxRSABits)
		}
		if k.E > maxRSAExponent {
			return fmt.Sprintf("has an RSA key with exponent %d, limit %d", k.E, maxRSAExponent)
		}
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() && k.Curve != elliptic.P384() && k.Curve != elliptic.P521() {
			return "has a key on a curve other than P-256, P-384 and P-521"
		}
	case ed25519.PublicKey:
	default:
		return "has a public key of an unknown kind"
	}
	return ""
}

// oidExtKeyUsage is the extension extKeyUsage (RFC 5280, 4.2.1.12).
const oidExtKeyUsage = "2.5.29.37"

// checkPurpose wants a certificate for time-stamping alone, by a critical extension (RFC
// 3161, 2.3), that is no CA's and whose key usage, if there is one, is for signatures alone
// (RFC 5280, 4.2.1.12).
func (v *verification) checkPurpose() *Error {
	c := v.signer
	critical := false
	for _, x := range c.Extensions {
		critical = critical || x.Id.String() == oidExtKeyUsage && x.Critical
	}
	const signatures = x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment
	switch {
	case len(c.ExtKeyUsage) != 1 || c.ExtKeyUsage[0] != x509.ExtKeyUsageTimeStamping || len(c.UnknownExtKeyUsage) > 0:
		return fault(ReasonPurpose, "the certificate of %s is not for time-stamping alone (extKeyUsage)", subject(c))
	case !critical:
		return fault(ReasonPurpose, "the certificate of %s is for time-stamping, but does not say so critically (extKeyUsage)", subject(c))
	case c.IsCA || c.KeyUsage != 0 && (c.KeyUsage&signatures == 0 || c.KeyUsage&^signatures != 0):
		return fault(ReasonKeyUsage, "the certificate of %s is a CA's, or not for signatures alone (keyUsage)", subject(c))
	case len(c.UnhandledCriticalExtensions) > 0:
		return fault(ReasonCritical, "the certificate of %s has the critical extension %v, which is not known", subject(c), c.UnhandledCriticalExtensions[0])
	}
	return nil
}

// checkName wants the authority that TSTInfo names, if it does, to be one of the
// certificate's names (RFC 3161, 2.4.2).
func (v *verification) checkName() *Error {
	c, ok := v.signer, false
	switch v.tsa.tag {
	case 0: // absent
		ok = true
	case 0xa4: // directoryName
		ok = bytes.Equal(v.tsa.body, c.RawSubject) || sameName(v.tsa.body, c.RawSubject)
	}
	for _, x := range c.Extensions {
		if x.Id.String() != "2.5.29.17" { // subjectAltName
			continue
		}
		r, _ := newReader(x.Value)
		for names := r.open(tagSequence, "subjectAltName"); names.more(); {
			ok = ok || bytes.Equal(names.any("name").raw, v.tsa.raw)
		}
	}
	if !ok {
		return fault(ReasonName, "TSTInfo names another authority than the certificate of %s", subject(c))
	}
	return nil
}

// sameName compares two Names whatever kinds of strings they are made of.
func sameName(a, b []byte) bool {
	var x, y pkix.RDNSequence
	if rest, err := asn1.Unmarshal(a, &x); err != nil || len(rest) > 0 {
		return false
	}
	if rest, err := asn1.Unmarshal(b, &y); err != nil || len(rest) > 0 {
		return false
	}
	return x.String() == y.String()
}

// checkValid wants a certificate to be valid at a time.
func checkValid(c *x509.Certificate, at time.Time) *Error {
	if at.Before(c.NotBefore) || at.After(c.NotAfter) {
		return fault(ReasonValidity, "the certificate of %s is valid from %s until %s, not at the token's time %s", subject(c),
			stampTime(c.NotBefore), stampTime(c.NotAfter), stampTime(at))
	}
	return nil
}

// stampTime writes a time for people.
func stampTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }
