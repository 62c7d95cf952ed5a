package tpm

import (
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"strings"

	"github.com/sworn-run/sworn/attest"
)

// Object identifiers of the TCG: key purposes (TCG EK Credential Profile 2.6,
// 3.2.16, and TCG Infrastructure Credential Profiles 1.1, 3.5) and attributes
// of the subject alternative name (EK Credential Profile, 3.2.9).
const (
	oidKPEK         = "2.23.133.8.1"
	oidKPAK         = "2.23.133.8.3"
	oidManufacturer = "2.23.133.2.1"
	oidModel        = "2.23.133.2.2"
	oidVersion      = "2.23.133.2.3"
)

// Object identifiers of those who certify virtual TPMs: Google's name of an
// instance, and a key purpose of Microsoft's.
const (
	oidInstance     = "1.3.6.1.4.1.11129.2.1.21"
	oidMicrosoftTPM = "1.3.6.1.4.1.311.10.3.12"
)

// X.509 extensions (RFC 5280, 4.2.1.6, 4.2.1.13, 4.2.1.15, 4.2.2.1).
const (
	oidSubjectAltName  = "2.5.29.17"
	oidCRLPoints       = "2.5.29.31"
	oidFreshestCRL     = "2.5.29.46"
	oidAuthorityInfo   = "1.3.6.1.5.5.7.1.1"
	oidAccessCAIssuers = "1.3.6.1.5.5.7.48.2"
)

// profile is one kind of AK certificate: what it looks like, and so what its
// issuer promises of the key.
type profile struct {
	// name is for people.
	name string
	// fits reports whether the leaf and the root of a chain are of this kind; key
	// is SHA-256 of the root's SubjectPublicKeyInfo in hexadecimal.
	fits func(leaf, root *x509.Certificate, key string) bool
}

// profiles returns the reviewed table of AK certificate profiles. In each of
// them the issuer promises that the key is a restricted signing key of a TPM;
// without that promise the public area's attributes would be the producer's
// word, because a certificate covers the bare key only.
func profiles() []profile {
	return []profile{
		// A CA that certifies an AK after credential activation, which proves
		// the Name and so the attributes: the simulated maker, an enrolment CA.
		{name: "tcg-kp-AIKCertificate", fits: func(leaf, _ *x509.Certificate, _ string) bool {
			return usages(leaf) == oidKPAK
		}},
		// Google Compute Engine makes the AK of its virtual TPMs from a
		// template of its own and certifies it when the instance is made: no
		// extended key usage, digitalSignature alone, and the instance in
		// extension 1.3.6.1.4.1.11129.2.1.21.
		{name: "Google Compute Engine", fits: func(leaf, root *x509.Certificate, _ string) bool {
			return usages(leaf) == "" && isInstance(leaf) && isGoogle(&root.Subject)
		}},
		// Until 2022 the same service certified AKs with the extended key usage
		// of endorsement keys, under one root (docs/decisions/0014). No other
		// issuer may: the key usage alone tells its AKs from its EKs.
		{name: "Google Compute Engine, root of 2018", fits: func(leaf, _ *x509.Certificate, key string) bool {
			return usages(leaf) == oidKPEK && isInstance(leaf) && key == google2018
		}},
		// Azure's virtual TPMs: the AK's usage beside one of Microsoft's own, of
		// its CAs of 2023 (Global Virtual TPM CA) and of 2025 (Azure Cloud Virtual
		// TPM CA), both under one root.
		{name: "Azure virtual TPM", fits: func(leaf, _ *x509.Certificate, key string) bool {
			return usages(leaf) == oidMicrosoftTPM+" "+oidKPAK && leaf.KeyUsage == x509.KeyUsageDigitalSignature && key == azure2023
		}},
	}
}

// isInstance reports whether the certificate is for a key that signs and nothing
// else, of an instance that extension 1.3.6.1.4.1.11129.2.1.21 names.
func isInstance(leaf *x509.Certificate) bool {
	return leaf.KeyUsage == x509.KeyUsageDigitalSignature && extension(leaf, oidInstance) != nil
}

// isGoogle reports whether the name is one of Google's EK/AK root. Whoever
// trusts a root of that name in role "tpm-ak" has decided what it is worth.
func isGoogle(n *pkix.Name) bool {
	return len(n.Organization) == 1 && n.Organization[0] == "Google LLC" && n.CommonName == "EK/AK CA Root"
}

// profileOf returns the first profile that a chain fits; if none, nil and the
// end of a sentence.
func profileOf(chain []*x509.Certificate) (*profile, string) {
	root := chain[len(chain)-1]
	key := sha256.Sum256(root.RawSubjectPublicKeyInfo)
	for _, p := range profiles() {
		if p.fits(chain[0], root, hex.EncodeToString(key[:])) {
			return &p, ""
		}
	}
	if strings.Contains(usages(chain[0]), oidKPEK) {
		return nil, "is an endorsement key's (" + oidKPEK + ")"
	}
	return nil, "fits no profile of AK certificates"
}

// usages returns the extended key usages of c, joined by blanks; "" if none.
func usages(c *x509.Certificate) string {
	var out []string
	for _, u := range c.ExtKeyUsage {
		out = append(out, u.String())
	}
	for _, oid := range c.UnknownExtKeyUsage {
		out = append(out, oid.String())
	}
	return strings.Join(out, " ")
}

// extension returns the extension with that identifier; nil if absent.
func extension(c *x509.Certificate, oid string) *pkix.Extension {
	for i := range c.Extensions {
		if c.Extensions[i].Id.String() == oid {
			return &c.Extensions[i]
		}
	}
	return nil
}

// checkLeaf returns "" if c can be an AK's certificate at all, whoever issued
// it; else the end of a sentence. It marks a critical TCG subject alternative
// name as understood, once it has been; c is this package's own copy.
func checkLeaf(c *x509.Certificate) string {
	switch {
	case c.IsCA:
		return "is a CA's"
	case c.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return "is not for signatures"
	case c.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0:
		return "is for a key that certifies others"
	}
	if san := extension(c, oidSubjectAltName); san != nil && isTCGName(san.Value) {
		c.UnhandledCriticalExtensions = without(c.UnhandledCriticalExtensions, san.Id)
	}
	return ""
}

// without returns ids without the one.
func without(ids []asn1.ObjectIdentifier, id asn1.ObjectIdentifier) []asn1.ObjectIdentifier {
	var out []asn1.ObjectIdentifier
	for _, i := range ids {
		if !i.Equal(id) {
			out = append(out, i)
		}
	}
	return out
}

// isTCGName reports whether der is a name that [parseTCGName] reads.
func isTCGName(der []byte) bool {
	_, ok := parseTCGName(der)
	return ok
}

// tpmName is what the subject alternative name of a TPM's certificate says.
type tpmName struct{ manufacturer, model, version string }

// parseTCGName reads exactly a subject alternative name of one directoryName
// with the TPM's manufacturer ("id:" and the 8 hex digits of the vendor id),
// model and version ("id:" and hex digits), each once and nothing else (TCG EK
// Credential Profile 2.6, 3.2.9).
func parseTCGName(der []byte) (tpmName, bool) {
	var names []asn1.RawValue
	if rest, err := asn1.Unmarshal(der, &names); err != nil || len(rest) != 0 || len(names) != 1 {
		return tpmName{}, false
	}
	n := names[0]
	if n.Class != asn1.ClassContextSpecific || n.Tag != 4 || !n.IsCompound {
		return tpmName{}, false
	}
	var rdns pkix.RDNSequence
	if rest, err := asn1.Unmarshal(n.Bytes, &rdns); err != nil || len(rest) != 0 {
		return tpmName{}, false
	}
	seen := map[string]string{}
	for _, set := range rdns {
		for _, a := range set {
			v, ok := a.Value.(string)
			oid := a.Type.String()
			if !ok || v == "" || seen[oid] != "" {
				return tpmName{}, false
			}
			seen[oid] = v
		}
	}
	out := tpmName{seen[oidManufacturer], seen[oidModel], seen[oidVersion]}
	ok := len(seen) == 3 && isID(out.manufacturer, 8, 8) && out.model != "" && isID(out.version, 1, 16)
	return out, ok
}

// isID reports whether s is "id:" and minimum to maximum hex digits.
func isID(s string, minimum, maximum int) bool {
	digits, ok := strings.CutPrefix(s, "id:")
	if !ok || len(digits) < minimum || len(digits) > maximum {
		return false
	}
	_, err := hex.DecodeString(strings.Repeat("0", len(digits)%2) + digits)
	return err == nil
}

// revocation returns the finding for an established chain. The anchor is not
// asked: who trusts it has decided. Revocation lists are not carried yet, so a
// chain that names any is not established.
func revocation(chain []*x509.Certificate) attest.Finding {
	for _, c := range chain[:len(chain)-1] {
		if publishesRevocation(c) {
			return attest.Finding{Detail: "the issuer of " + subject(c) + " publishes revocation, and none was given"}
		}
	}
	return attest.Finding{
		Status: attest.Passed,
		Detail: "the issuers publish no revocation (no CRL distribution point in the signed certificates)",
	}
}

// publishesRevocation reports whether c names, in whatever form, a place for
// its issuer's revocation lists (RFC 5280, 4.2.1.13 and 4.2.1.15) or anything
// under authority information access but its issuer's certificate (4.2.2.1).
func publishesRevocation(c *x509.Certificate) bool {
	if extension(c, oidCRLPoints) != nil || extension(c, oidFreshestCRL) != nil {
		return true
	}
	aia := extension(c, oidAuthorityInfo)
	if aia == nil {
		return false
	}
	var access []struct {
		Method   asn1.ObjectIdentifier
		Location asn1.RawValue
	}
	if rest, err := asn1.Unmarshal(aia.Value, &access); err != nil || len(rest) != 0 {
		return true
	}
	for _, a := range access {
		if a.Method.String() != oidAccessCAIssuers {
			return true
		}
	}
	return false
}
