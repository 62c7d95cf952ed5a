package appraise

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"slices"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/nitro"
	"github.com/sworn-run/sworn/tpm"
)

// maxIssuers bounds the certificates that WithCertificates adds.
const maxIssuers = 1000

// WithCertificates returns anchors with the CA certificates of files added, in DER or
// PEM, at most 1,000: those that complete a chain. Nothing becomes trusted by being
// there: a certificate that names itself as its issuer is added only if it is that of
// a root that the anchors pin, and others anchor nothing. What cannot be read is left
// out. The given anchors are not changed.
func WithCertificates(given *attest.Anchors, files []File) *attest.Anchors {
	out := &attest.Anchors{}
	if given != nil {
		out.Roots, out.Pins = slices.Clone(given.Roots), given.Pins
	}
	n := 0
	for _, f := range files {
		for _, der := range certificatesOf(f.Data) {
			c, err := x509.ParseCertificate(der)
			if err != nil || !c.IsCA || !c.BasicConstraintsValid {
				continue
			}
			for _, role := range []string{tpm.RoleAK, tpm.RoleEK, nitro.Role} {
				self := bytes.Equal(c.RawSubject, c.RawIssuer)
				if n == maxIssuers || self && out.Pinned(role, c) == nil || known(out, role, c) {
					continue
				}
				out.Roots = append(out.Roots, attest.Root{Role: role, Certificate: c})
				n++
			}
		}
	}
	return out
}

// known reports whether a certificate is among the roots of a role.
func known(a *attest.Anchors, role string, c *x509.Certificate) bool {
	return slices.ContainsFunc(a.Roots, func(r attest.Root) bool { return r.Role == role && r.Certificate.Equal(c) })
}

// certificatesOf returns the DER of what may be certificates in a file.
func certificatesOf(b []byte) [][]byte {
	if !bytes.HasPrefix(b, beginPEM) {
		return [][]byte{b}
	}
	var out [][]byte
	for block, rest := pem.Decode(b); block != nil && len(out) < maxIssuers; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" && len(block.Bytes) <= limits.Certificate {
			out = append(out, block.Bytes)
		}
	}
	return out
}
