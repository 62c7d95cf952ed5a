package main

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"encoding/asn1"
	"fmt"
	"math/big"
	"time"

	"github.com/sworn-run/sworn/cer"
)

// treeTokens shows the time-stamp tokens of a record, and what each of them covers.
func treeTokens(t *treeWriter, c *cer.Capsule) {
	for i, der := range c.Tokens {
		t.head(fmt.Sprintf("token %d", i), fmt.Sprintf("TimeStampToken, RFC 3161, 2.4.2, %d bytes, sha256:%x; its signature was not checked", len(der), sha256.Sum256(der)))
		s, err := parseStamp(der)
		if err == nil && !s.token {
			err = errNoStamp
		}
		if err == nil {
			err = treeStamp(t, s, tokenCovers(c, i, s))
		}
		if err != nil {
			t.row(1, "cannot be read", err.Error())
		}
	}
}

// tokenCovers says what a record's token covers.
func tokenCovers(c *cer.Capsule, i int, s *stampView) string {
	name, digest := hashName(s.info.Imprint.HashAlgorithm.ID), s.info.Imprint.HashedMessage
	if e := c.EvidenceDigest(); name == crypto.SHA256.String() && bytes.Equal(digest, e[:]) {
		return "the evidence digest"
	}
	for _, h := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		if a, err := c.ArchiveDigest(h, i); err == nil && name == h.String() && bytes.Equal(digest, a) {
			return fmt.Sprintf("the archive digest, over all of this record with the %d tokens before", i)
		}
	}
	return "of nothing in this record"
}

// stampSigner is a SignerInfo (RFC 5652, 5.3).
type stampSigner struct {
	Version    int
	SID        asn1.RawValue
	Digest     algorithm
	Attributes asn1.RawValue `asn1:"optional,tag:0"`
	How        algorithm
	Signature  []byte
	Unsigned   asn1.RawValue `asn1:"optional,tag:1"`
}

// treeStampSigner shows a SignerInfo.
func treeStampSigner(t *treeWriter, der []byte) {
	var s stampSigner
	if whole(der, &s) != nil {
		t.row(1, "SignerInfo", "cannot be read")
		return
	}
	t.row(1, "SignerInfo", fmt.Sprintf("version %d, RFC 5652, 5.3", s.Version))
	t.row(2, "sid", signerID(s.SID))
	t.row(2, "digestAlgorithm", hashName(s.Digest.ID))
	for rest := s.Attributes.Bytes; len(rest) > 0; {
		var a struct {
			Type   asn1.ObjectIdentifier
			Values asn1.RawValue
		}
		var err error
		if rest, err = asn1.Unmarshal(rest, &a); err != nil {
			t.row(2, "signedAttrs", "cannot be read")
			break
		}
		name, value := attributeText(a.Type, a.Values.Bytes)
		t.row(2, name, value)
	}
	t.row(2, "signatureAlgorithm", signatureName(s.How.ID))
	t.row(2, "signature", fmt.Sprintf("%d bytes", len(s.Signature)))
	if len(s.Unsigned.Bytes) > 0 {
		t.row(2, "unsignedAttrs", fmt.Sprintf("%d bytes, which nobody signed", len(s.Unsigned.Bytes)))
	}
}

// signerID shows a SignerIdentifier.
func signerID(v asn1.RawValue) string {
	var name struct {
		Issuer asn1.RawValue
		Serial *big.Int
	}
	switch {
	case v.Class == asn1.ClassContextSpecific:
		return fmt.Sprintf("subjectKeyIdentifier %x", v.Bytes)
	case whole(v.FullBytes, &name) == nil:
		return fmt.Sprintf("issuer %s, serialNumber %x", rdnText(name.Issuer.FullBytes), name.Serial)
	default:
		return "cannot be read"
	}
}

// attributeText shows a signed attribute with its one value.
func attributeText(id asn1.ObjectIdentifier, value []byte) (name, text string) {
	text = fmt.Sprintf("%d bytes", len(value))
	switch id.String() {
	case "1.2.840.113549.1.9.3":
		var kind asn1.ObjectIdentifier
		if whole(value, &kind) == nil {
			text = kind.String()
		}
		return "contentType", text
	case "1.2.840.113549.1.9.4":
		var digest []byte
		if whole(value, &digest) == nil {
			text = fmt.Sprintf("%x", digest)
		}
		return "messageDigest", text
	case "1.2.840.113549.1.9.5":
		var at time.Time
		if whole(value, &at) == nil {
			text = at.UTC().Format(time.RFC3339) + " (not what a stamp says: that is genTime)"
		}
		return "signingTime", text
	case "1.2.840.113549.1.9.16.2.12":
		return "signingCertificate", text + ", names the certificate by SHA-1: not relied on"
	case "1.2.840.113549.1.9.16.2.47":
		return "signingCertificateV2", certIDText(value)
	default:
		return id.String(), text
	}
}

// certIDText shows the first certificate of SigningCertificateV2 (RFC 5035, 3 and 4).
func certIDText(value []byte) string {
	var ids struct {
		Certs    []asn1.RawValue
		Policies asn1.RawValue `asn1:"optional"`
	}
	if whole(value, &ids) != nil || len(ids.Certs) == 0 {
		return "cannot be read"
	}
	var byDefault struct {
		Digest []byte
		Issuer asn1.RawValue `asn1:"optional"`
	}
	var named struct {
		Hash   algorithm
		Digest []byte
		Issuer asn1.RawValue `asn1:"optional"`
	}
	switch {
	case whole(ids.Certs[0].FullBytes, &byDefault) == nil:
		return fmt.Sprintf("the certificate with SHA-256 %x", byDefault.Digest)
	case whole(ids.Certs[0].FullBytes, &named) == nil:
		return fmt.Sprintf("the certificate with %s %x", hashName(named.Hash.ID), named.Digest)
	default:
		return "cannot be read"
	}
}

// signatureName names a signature algorithm (RFC 8017, RFC 5758, RFC 8410).
func signatureName(id asn1.ObjectIdentifier) string {
	name, ok := map[string]string{
		"1.2.840.113549.1.1.1": "rsaEncryption", "1.2.840.113549.1.1.5": "sha1WithRSAEncryption", "1.2.840.113549.1.1.10": "RSASSA-PSS",
		"1.2.840.113549.1.1.11": "sha256WithRSAEncryption", "1.2.840.113549.1.1.12": "sha384WithRSAEncryption",
		"1.2.840.113549.1.1.13": "sha512WithRSAEncryption", "1.2.840.10045.4.1": "ecdsa-with-SHA1", "1.2.840.10045.4.3.2": "ecdsa-with-SHA256",
		"1.2.840.10045.4.3.3": "ecdsa-with-SHA384", "1.2.840.10045.4.3.4": "ecdsa-with-SHA512", "1.3.101.112": "Ed25519",
	}[id.String()]
	if !ok {
		return id.String()
	}
	return name
}
