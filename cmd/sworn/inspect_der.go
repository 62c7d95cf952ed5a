package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"time"

	"github.com/sworn-run/sworn/internal/limits"
)

// maxRevoked is how many entries of a revocation list are shown.
const maxRevoked = 1000

// derKind tells what a DER SEQUENCE is by trying what it may be.
func derKind(file []byte) (kind, error) {
	var whole asn1.RawValue
	if rest, err := asn1.Unmarshal(file, &whole); err != nil || len(rest) > 0 {
		return kind{}, fmt.Errorf("a DER SEQUENCE that ends too early or too late: %w", errUnknownKind)
	}
	if _, err := x509.ParseCertificate(file); err == nil {
		return kind{"certificate", showCertificate}, nil
	}
	if _, err := x509.ParseRevocationList(file); err == nil {
		return kind{"revocation list", showCRL}, nil
	}
	if _, err := x509.ParsePKIXPublicKey(file); err == nil {
		return kind{"public key", showPublicKey}, nil
	}
	if _, err := parseStamp(file); err == nil {
		return kind{"time stamp", showStamp}, nil
	}
	if _, err := parseStampRequest(file); err == nil {
		return kind{"time stamp request", showStampRequest}, nil
	}
	return kind{}, fmt.Errorf("DER, but no certificate, revocation list, public key or time stamp: %w", errUnknownKind)
}

// showPEM shows the blocks of a PEM file, and nothing of one that it does not
// know: it may hold a private key.
func showPEM(t *treeWriter, file []byte) error {
	shown := 0
	for rest := bytes.TrimSpace(file); len(rest) > 0; shown++ {
		block, after := pem.Decode(rest)
		switch {
		case block == nil:
			return fmt.Errorf("there is something in the file that is no PEM block: %w", errUnknownKind)
		case shown == limits.Certificates:
			return fmt.Errorf("more than %d PEM blocks in the file: %w", limits.Certificates, errUnknownKind)
		}
		show, known := map[string]func(*treeWriter, []byte) error{
			"CERTIFICATE": showCertificate, "X509 CRL": showCRL, "PUBLIC KEY": showPublicKey,
		}[block.Type]
		if !known {
			return fmt.Errorf("a PEM block of type %q in the file, which is not shown: %w", block.Type, errUnknownKind)
		}
		if err := show(t, block.Bytes); err != nil {
			return err
		}
		rest = bytes.TrimSpace(after)
	}
	return nil
}

// showCertificate shows one certificate in DER.
func showCertificate(t *treeWriter, der []byte) error {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return err
	}
	treeCertificate(t, c)
	return nil
}

// showPublicKey shows a SubjectPublicKeyInfo (RFC 5280, 4.1.2.7).
func showPublicKey(t *treeWriter, der []byte) error {
	k, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return err
	}
	t.head("public key", fmt.Sprintf("SubjectPublicKeyInfo, RFC 5280, 4.1.2.7, %d bytes", len(der)))
	t.row(1, "public key", publicKeyText(k))
	t.row(1, "SPKI", fmt.Sprintf("sha256:%x (what policies name a root by)", sha256.Sum256(der)))
	return nil
}

// publicKeyText names a key's algorithm and size.
func publicKeyText(key any) string {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA, %d bits", k.N.BitLen())
	case *ecdsa.PublicKey:
		return "ECC " + k.Curve.Params().Name
	case ed25519.PublicKey:
		return "Ed25519"
	default:
		return fmt.Sprintf("%T", key)
	}
}

// showCRL shows a revocation list by the names of RFC 5280, 5.1 to 5.3.
func showCRL(t *treeWriter, der []byte) error {
	l, err := x509.ParseRevocationList(der)
	if err != nil {
		return err
	}
	t.head("revocation list", fmt.Sprintf("X.509 CRL, RFC 5280, 5.1, %d bytes, sha256:%x", len(der), sha256.Sum256(der)))
	next := "none: the issuer does not say when the next one comes"
	if !l.NextUpdate.IsZero() {
		next = l.NextUpdate.UTC().Format(time.RFC3339)
	}
	number := "none"
	if l.Number != nil {
		number = l.Number.String()
	}
	t.rows([][2]string{
		{"issuer", fmt.Sprintf("%q", l.Issuer.String())},
		{"thisUpdate", l.ThisUpdate.UTC().Format(time.RFC3339)},
		{"nextUpdate", next},
		{"signatureAlgorithm", l.SignatureAlgorithm.String()},
		{"cRLNumber", number},
		{"authorityKeyIdentifier", hexOrNone(l.AuthorityKeyId)},
		{"revokedCertificates", fmt.Sprint(len(l.RevokedCertificateEntries))},
	})
	for i := range l.RevokedCertificateEntries {
		if i == maxRevoked {
			t.row(2, "…", fmt.Sprintf("%d more", len(l.RevokedCertificateEntries)-i))
			break
		}
		e := &l.RevokedCertificateEntries[i]
		t.row(2, fmt.Sprintf("userCertificate %x", e.SerialNumber), fmt.Sprintf("revocationDate %s, reasonCode %s",
			e.RevocationTime.UTC().Format(time.RFC3339), reasonText(e.ReasonCode)))
	}
	for _, e := range l.Extensions {
		t.row(1, "extension", extensionText(e.Id, len(e.Value), e.Critical))
	}
	return nil
}

// reasonText names a reason of RFC 5280, 5.3.1.
func reasonText(code int) string {
	names := []string{
		"unspecified", "keyCompromise", "cACompromise", "affiliationChanged", "superseded", "cessationOfOperation",
		"certificateHold", "", "removeFromCRL", "privilegeWithdrawn", "aACompromise",
	}
	if code < 0 || code >= len(names) || names[code] == "" {
		return fmt.Sprint(code)
	}
	return fmt.Sprintf("%d (%s)", code, names[code])
}

// extensionText says of an extension what can be said without knowing it.
func extensionText(id asn1.ObjectIdentifier, size int, critical bool) string {
	if critical {
		return fmt.Sprintf("%v (%d bytes, critical)", id, size)
	}
	return fmt.Sprintf("%v (%d bytes)", id, size)
}
