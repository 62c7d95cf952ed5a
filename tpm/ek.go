package tpm

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sworn-run/sworn/attest"
)

// ErrIdentity is a certificate that is not that of an endorsement key which a
// trusted maker vouches for.
var ErrIdentity = errors.New("not an endorsement key that a trusted maker certified")

// EK is an endorsement key whose maker's certificate was verified.
type EK struct {
	// Certificate is its certificate. The caller must not change it.
	Certificate *x509.Certificate
	// Root is where the chain ends, of role "tpm-ek".
	Root attest.Root
	// Vendor is the TCG vendor id without padding, such as "IFX", or "id:" and
	// hexadecimal digits where it is not printable.
	Vendor string
	// Model and Version are as the certificate has them; Version is "id:" and
	// hexadecimal digits.
	Model, Version string
	// Name is the DER of the subject alternative name that says so: exactly one
	// directoryName of manufacturer, model and version (TCG EK Credential Profile
	// 2.6, 3.2.9).
	Name []byte
}

// VerifyEK verifies the certificate of an endorsement key, as enrolment needs it
// (TCG EK Credential Profile 2.6, 3.2): certificates are DER, first the EK's,
// then each issuer of the one before, at most 6 of 8,192 bytes. It must be no
// CA's, carry the key usage of a key that deciphers (RSA: keyEncipherment; ECC:
// keyAgreement) and of nothing that signs, the extended key usage 2.23.133.8.1
// and not that of an AK, and the TCG's subject alternative name. The chain must
// end at time at in a root of role "tpm-ek"; where that root is pinned for one
// maker, the name must be that maker's. Revocation is not judged.
//
// The error wraps [attest.ErrArgument] for a zero time or no certificate,
// [attest.ErrForm] for one that is too large or not strict DER, or
// [ErrIdentity].
func VerifyEK(certificates [][]byte, anchors *attest.Anchors, at time.Time) (*EK, error) {
	if at.IsZero() || len(certificates) == 0 {
		return nil, fmt.Errorf("verifying an EK certificate without a time or a certificate: %w", attest.ErrArgument)
	}
	given, err := parseEKChain(certificates)
	if err != nil {
		return nil, err
	}
	leaf := given[0]
	ek, detail := checkEKLeaf(leaf)
	if detail != "" {
		return nil, refuseEK(leaf, detail)
	}
	t := newTrust(anchors, RoleEK, given)
	if len(t.anchors) == 0 {
		return nil, refuseEK(leaf, "has no anchor: "+t.missing(anchors, given))
	}
	chain, detail := t.chain(given, at)
	if chain == nil {
		return nil, refuseEK(leaf, detail)
	}
	ek.Root = *t.root(chain)
	if p := ek.Root.Pin; p != nil && p.Product != "" && p.Product != ek.Vendor {
		return nil, refuseEK(leaf, fmt.Sprintf("names maker %.20q under a root of %q", ek.Vendor, p.Product))
	}
	return ek, nil
}

// refuseEK wraps ErrIdentity; detail ends the sentence about the certificate.
func refuseEK(c *x509.Certificate, detail string) error {
	return fmt.Errorf("the certificate of %s %s: %w", subject(c), detail, ErrIdentity)
}

// parseEKChain parses the certificates, within the bounds.
func parseEKChain(certificates [][]byte) ([]*x509.Certificate, error) {
	if len(certificates) > maxCertificates {
		return nil, fmt.Errorf("%d certificates, limit %d: %w", len(certificates), maxCertificates, attest.ErrForm)
	}
	var out []*x509.Certificate
	for i, der := range certificates {
		if len(der) == 0 || len(der) > maxCertificate {
			return nil, fmt.Errorf("certificate %d of %d bytes, want 1 to %d: %w", i, len(der), maxCertificate, attest.ErrForm)
		}
		c, err := x509.ParseCertificate(bytes.Clone(der))
		if err != nil {
			return nil, fmt.Errorf("certificate %d is not strict DER, as some firmware TPMs have it: %v: %w", i, err, attest.ErrForm)
		}
		out = append(out, c)
	}
	return out, nil
}

// checkEKLeaf reads what an EK's certificate says, or returns the end of a
// sentence. It marks a critical TCG name as understood.
func checkEKLeaf(c *x509.Certificate) (*EK, string) {
	san := extension(c, oidSubjectAltName)
	wanted, ok := ekUsage(c.PublicKey)
	purposes := strings.Fields(usages(c))
	switch {
	case c.IsCA:
		return nil, "is a CA's"
	case !ok || checkStrength(c.PublicKey) != nil:
		return nil, "is for a weak key or one of an unknown kind"
	case c.KeyUsage&wanted == 0:
		return nil, "is not for a key that deciphers"
	case c.KeyUsage&(x509.KeyUsageDigitalSignature|x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0:
		return nil, "is for a key that signs"
	case !slices.Contains(purposes, oidKPEK) || slices.Contains(purposes, oidKPAK) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny):
		return nil, "lacks the extended key usage of endorsement keys, " + oidKPEK + ", or has that of others"
	case san == nil:
		return nil, "does not name the TPM's maker, model and version"
	}
	name, ok := parseTCGName(san.Value)
	if !ok {
		return nil, "names something else than the TPM's maker, model and version"
	}
	c.UnhandledCriticalExtensions = without(c.UnhandledCriticalExtensions, san.Id)
	return &EK{Certificate: c, Vendor: vendor(name.manufacturer), Model: name.model, Version: name.version, Name: san.Value}, ""
}

// ekUsage returns the key usage of an EK of that kind.
func ekUsage(k crypto.PublicKey) (x509.KeyUsage, bool) {
	switch k.(type) {
	case *rsa.PublicKey:
		return x509.KeyUsageKeyEncipherment, true
	case *ecdsa.PublicKey:
		return x509.KeyUsageKeyAgreement, true
	default:
		return 0, false
	}
}

// vendor turns "id:49465800" into "IFX".
func vendor(id string) string {
	b, err := hex.DecodeString(strings.TrimPrefix(id, "id:"))
	if err != nil {
		return id
	}
	b = bytes.TrimRight(b, "\x00 ")
	for _, c := range b {
		if c < 0x21 || c > 0x7e {
			return id
		}
	}
	if len(b) == 0 {
		return id
	}
	return string(b)
}

// CheckAK reads the TPMT_PUBLIC of an attestation key that somebody wants
// certified, and returns its Name (2 bytes of nameAlg, big-endian, and the
// digest) and its public key. It must be what [Scheme.Verify] accepts in a
// quote, a restricted signing key that cannot leave its TPM, and be used with
// an authorization value and no policy, by which others might use it too.
//
// The error wraps [attest.ErrForm], [attest.ErrMode], or [attest.ErrSignature]
// for a weak key.
func CheckAK(public []byte) (name []byte, key crypto.PublicKey, err error) {
	if len(public) > maxPublic {
		return nil, nil, fmt.Errorf("public area of %d bytes, limit %d: %w", len(public), maxPublic, attest.ErrForm)
	}
	p, err := parsePublic(public)
	if err != nil {
		return nil, nil, fmt.Errorf("parsing the AK's public area: %w", err)
	}
	if err := p.checkMode(); err != nil {
		return nil, nil, fmt.Errorf("checking the AK: %w", err)
	}
	if p.attributes&attrUserWithAuth == 0 || p.attributes&attrAdminWithPolicy != 0 || len(p.authPolicy) != 0 {
		return nil, nil, fmt.Errorf("the AK is used by a policy, objectAttributes %v: %w", p.attributes, attest.ErrMode)
	}
	if p.attributes&attrSTClear != 0 {
		return nil, nil, fmt.Errorf("the AK is gone at a restart (stClear): %w", attest.ErrMode)
	}
	if key, err = p.key(); err != nil {
		return nil, nil, fmt.Errorf("checking the AK: %w", err)
	}
	return p.name(), key, nil
}
