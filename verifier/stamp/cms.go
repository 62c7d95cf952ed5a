package stamp

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"math/big"

	"github.com/sworn-run/sworn/internal/limits"
)

// Bounds on what SignedData holds.
const (
	maxLists      = 16
	maxAttributes = 64
)

// signerInfo is SignerInfo (RFC 5652, 5.3).
type signerInfo struct {
	issuer     []byte   // Name of the certificate's issuer; nil if keyID says whose it is
	serial     *big.Int // with issuer
	keyID      []byte
	hash       crypto.Hash
	digestID   identifier
	algorithm  x509.SignatureAlgorithm
	signedID   identifier
	attributes []attribute // signed
	message    []byte      // what the signature is over: the signed attributes as a SET OF
	signature  []byte
	unsigned   int
}

// attribute is an Attribute (RFC 5652, 5.3). values is the contents of its SET OF.
type attribute struct {
	id     string
	values []byte
}

// readSignedData reads SignedData (RFC 5652, 5.1) with one signer.
func (t *Token) readSignedData(r *reader) {
	if v := r.small(tagInteger, 255, "version"); v < 3 || v > 5 {
		r.fail(ReasonForm, "SignedData is of version %d, want 3 to 5", v)
	}
	digests := r.open(tagSet, "digestAlgorithms")
	h := digests.hash("digestAlgorithm")
	digests.end("digestAlgorithms, of which there must be one,")

	encap := r.open(tagSequence, "encapContentInfo")
	if id := encap.oid("eContentType"); id != oidTSTInfo {
		r.fail(ReasonForm, "eContentType is %s, want id-ct-TSTInfo", id)
	}
	wrapped := encap.open(tagExplicit0, "eContent")
	t.content = wrapped.take(tagOctets, "eContent").body
	wrapped.end("eContent")
	encap.end("encapContentInfo")

	if r.at(tagExplicit0) {
		t.readCertificates(r.open(tagExplicit0, "certificates"))
	}
	if r.at(tagExplicit1) {
		t.readLists(r.open(tagExplicit1, "crls"))
	}
	signers := r.open(tagSet, "signerInfos")
	r.end("SignedData")
	if !r.failed() && !signers.more() {
		r.fail(ReasonSigners, "the token has no signer")
	}
	t.signer.read(signers.open(tagSequence, "SignerInfo"))
	if signers.more() {
		r.fail(ReasonSigners, "the token has more than one signer")
	}
	if t.signer.hash != h {
		r.fail(ReasonForm, "digestAlgorithms does not have the signer's")
	}
}

// readCertificates reads CertificateSet (RFC 5652, 10.2.2): X.509 certificates alone.
func (t *Token) readCertificates(r *reader) {
	for r.more() {
		c, err := x509.ParseCertificate(r.take(tagSequence, "certificate").raw)
		switch {
		case r.failed():
		case err != nil:
			r.fail(ReasonForm, "certificate %d in the token cannot be read: %.160q", len(t.certs), err.Error())
		case len(t.certs) == limits.Certificates:
			r.fail(ReasonForm, "more than %d certificates in the token", limits.Certificates)
		}
		t.certs = append(t.certs, c)
	}
}

// readLists reads RevocationInfoChoices (RFC 5652, 10.2.1). What is no revocation list,
// such as an OCSP response, is counted: who left it out would be no better off.
func (t *Token) readLists(r *reader) {
	for n := 0; r.more(); n++ {
		v := r.any("revocation information")
		switch {
		case n == maxLists:
			r.fail(ReasonForm, "more than %d revocation lists in the token", maxLists)
		case v.tag == tagSequence:
			t.lists = append(t.lists, v.raw)
		case v.tag == tagExplicit1:
			t.unread++
		default:
			r.fail(ReasonForm, "revocation information has tag %#02x", v.tag)
		}
	}
}

// read reads SignerInfo.
func (s *signerInfo) read(r *reader) {
	version := r.small(tagInteger, 255, "version of SignerInfo")
	want := int64(1)
	if r.at(tagPlain0) {
		s.keyID, want = r.take(tagPlain0, "subjectKeyIdentifier").body, 3
	} else {
		sid := r.open(tagSequence, "issuerAndSerialNumber")
		s.issuer = sid.take(tagSequence, "issuer").raw
		s.serial = sid.natural(tagInteger, "serialNumber of the certificate")
		sid.end("issuerAndSerialNumber")
	}
	if version != want {
		r.fail(ReasonForm, "SignerInfo is of version %d, want %d", version, want)
	}
	s.digestID = r.algorithm(tagSequence, "digestAlgorithm of the signer")
	if s.hash = s.digestID.hash(); s.hash == 0 {
		r.fail(ReasonAlgorithm, "digestAlgorithm of the signer is %s, want SHA-256, SHA-384 or SHA-512", algorithmName(s.digestID.id))
	}
	if !r.at(tagExplicit0) {
		r.fail(ReasonAttributes, "there are no signed attributes")
	}
	signed := r.take(tagExplicit0, "signedAttrs")
	s.attributes = readAttributes(r.inside(signed.body))
	if len(signed.raw) > 0 {
		s.message = append([]byte{tagSet}, signed.raw[1:]...) // RFC 5652, 5.4
	}
	s.signedID = r.algorithm(tagSequence, "signatureAlgorithm")
	if s.algorithm = s.signedID.signature(s.hash); s.algorithm == x509.UnknownSignatureAlgorithm {
		r.fail(ReasonAlgorithm, "signatureAlgorithm is %s, or not by the hash of digestAlgorithm", algorithmName(s.signedID.id))
	}
	s.signature = r.take(tagOctets, "signature").body
	if r.at(tagExplicit1) {
		s.unsigned = len(r.take(tagExplicit1, "unsignedAttrs").body)
	}
	r.end("SignerInfo")
	s.checkAttributes(r)
}

// readAttributes reads SignedAttributes, which are DER even where nothing else is (RFC
// 5652, 5.3): ascending, so that there is one encoding to sign.
func readAttributes(r *reader) []attribute {
	var out []attribute
	var last []byte
	seen := map[string]bool{}
	for r.more() {
		v := r.take(tagSequence, "signed attribute")
		in := r.inside(v.body)
		a := attribute{id: in.oid("attrType")}
		a.values = in.take(tagSet, "attrValues").body
		in.end("signed attribute")
		switch {
		case r.failed():
		case bytes.Compare(last, v.raw) > 0:
			r.fail(ReasonForm, "signed attributes are not in the order of DER")
		case seen[a.id] || len(out) == maxAttributes:
			r.fail(ReasonAttributes, "signed attribute %s stands twice, or is one of more than %d", a.id, maxAttributes)
		}
		last, seen[a.id], out = v.raw, true, append(out, a)
	}
	return out
}

// attribute returns a reader of the one value of a signed attribute; nil if there is
// none of that type.
func (s *signerInfo) attribute(id string) (*reader, **Error) {
	for _, a := range s.attributes {
		if a.id == id {
			return newReader(a.values)
		}
	}
	return nil, nil
}

// checkAttributes wants the attributes without which a signature is none (RFC 5652, 5.3;
// RFC 3161, 2.4.2), with one value each.
func (s *signerInfo) checkAttributes(r *reader) {
	if r.failed() {
		return
	}
	if in, err := s.attribute(oidContentType); in == nil {
		r.fail(ReasonAttributes, "there is no signed attribute contentType")
	} else {
		id := in.oid("contentType")
		in.end("contentType")
		if *err != nil || id != oidTSTInfo {
			r.fail(ReasonAttributes, "signed attribute contentType is not id-ct-TSTInfo")
		}
	}
	if in, err := s.attribute(oidMessageDigest); in == nil {
		r.fail(ReasonAttributes, "there is no signed attribute messageDigest")
	} else {
		digest := in.take(tagOctets, "messageDigest").body
		in.end("messageDigest")
		if *err != nil || len(digest) != s.hash.Size() {
			r.fail(ReasonAttributes, "signed attribute messageDigest is no digest by %s", s.hash)
		}
	}
}

// messageDigest returns the signed digest of TSTInfo.
func (s *signerInfo) messageDigest() []byte {
	in, _ := s.attribute(oidMessageDigest)
	return in.take(tagOctets, "messageDigest").body
}
