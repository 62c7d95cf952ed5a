package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"strings"
	"time"

	"github.com/sworn-run/sworn/verifier"
)

// treeCertificate shows one certificate by the names of RFC 5280, 4.1 and 4.2.
func treeCertificate(t *treeWriter, c *x509.Certificate) {
	t.head("certificate", fmt.Sprintf("X.509 v%d, %d bytes, sha256:%x", c.Version, len(c.Raw), sha256.Sum256(c.Raw)))
	t.rows([][2]string{
		{"subject", fmt.Sprintf("%q", c.Subject.String())},
		{"issuer", fmt.Sprintf("%q%s", c.Issuer.String(), selfIssued(c))},
		{"serialNumber", fmt.Sprintf("%x", c.SerialNumber)},
		{"notBefore", c.NotBefore.UTC().Format(time.RFC3339)},
		{"notAfter", c.NotAfter.UTC().Format(time.RFC3339)},
		{"signatureAlgorithm", c.SignatureAlgorithm.String()},
		{"public key", publicKeyText(c.PublicKey)},
		{"SPKI", fmt.Sprintf("sha256:%x (what policies name a root by)", verifier.SPKIDigest(c))},
		{"basicConstraints", constraintsText(c)},
		{"keyUsage", keyUsageText(c.KeyUsage)},
		{"extKeyUsage", extKeyUsageText(c)},
	})
	for _, list := range []struct {
		name string
		urls []string
	}{{"cRLDistributionPoint", c.CRLDistributionPoints}, {"caIssuers", c.IssuingCertificateURL}, {"ocsp", c.OCSPServer}} {
		for _, u := range list.urls {
			t.row(1, list.name, fmt.Sprintf("%q", u))
		}
	}
	for _, e := range c.Extensions {
		t.row(1, "extension", extensionText(e.Id, len(e.Value), e.Critical))
	}
	treeVendor(t, c)
}

// selfIssued says whether a certificate is its own issuer's.
func selfIssued(c *x509.Certificate) string {
	switch {
	case !bytes.Equal(c.RawSubject, c.RawIssuer):
		return ""
	case c.CheckSignatureFrom(c) == nil:
		return " (self-signed)"
	default:
		return " (the same name, but its own key did not sign it)"
	}
}

func constraintsText(c *x509.Certificate) string {
	switch {
	case !c.BasicConstraintsValid:
		return "none"
	case !c.IsCA:
		return "CA false"
	case c.MaxPathLen > 0 || c.MaxPathLenZero:
		return fmt.Sprintf("CA true, pathLenConstraint %d", c.MaxPathLen)
	default:
		return "CA true"
	}
}

// keyUsageText names the bits of RFC 5280, 4.2.1.3.
func keyUsageText(u x509.KeyUsage) string {
	var out []string
	for i, name := range []string{
		"digitalSignature", "nonRepudiation", "keyEncipherment", "dataEncipherment", "keyAgreement",
		"keyCertSign", "cRLSign", "encipherOnly", "decipherOnly",
	} {
		if u&(1<<i) != 0 {
			out = append(out, name)
		}
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, ", ")
}

func extKeyUsageText(c *x509.Certificate) string {
	var out []string
	for _, u := range c.ExtKeyUsage {
		out = append(out, u.String())
	}
	for _, u := range c.UnknownExtKeyUsage {
		out = append(out, u.String())
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, ", ")
}

// inspectRoots shows a roots folder.
func (a *app) inspectRoots(dir string, asJSON bool) error {
	store, err := loadRoots(dir)
	if err != nil {
		return err
	}
	t := &treeWriter{}
	all := store.Anchors().Roots
	t.head("roots", fmt.Sprintf("%d, sha256:%x", len(all), store.Digest()))
	for i := range all {
		role := all[i].Role
		if all[i].Product != "" {
			role += ", product " + all[i].Product
		}
		t.row(1, "role", role)
		treeCertificate(t, all[i].Certificate)
	}
	if asJSON {
		return t.writeJSON(a.stdout, "roots folder")
	}
	return t.writeText(a.stdout)
}
