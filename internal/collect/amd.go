package collect

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/limits"
)

// Where fields stand in an attestation report of SEV-SNP (SEV Secure Nested Paging
// Firmware ABI, 56860, table 23), in bytes.
const (
	reportSize   = 1184
	offFlags     = 0x48
	offReported  = 0x180
	offFamily    = 0x188
	offChip      = 0x1A0
	signedReport = 0x2A0
	sizeScalar   = 72
)

// The keys that sign reports (table 23, SIGNING_KEY).
const (
	signedByVCEK = 0
	signedByVLEK = 1
)

// The names in AMD's certificates (57230, "VCEK Certificate and KDS Interface
// Specification").
const (
	nameVCEK = "SEV-VCEK"
	nameVLEK = "SEV-VLEK"
)

// report is what is read of an attestation report.
type report struct {
	raw      []byte
	version  uint32
	signer   uint32
	reported [8]byte
	// family and model are of version 3 and above.
	family, model byte
	chip          []byte
}

// readReport reads exactly an attestation report; whether it is well-formed otherwise
// is for its scheme.
func readReport(b []byte) (*report, error) {
	if len(b) != reportSize {
		return nil, fmt.Errorf("attestation report of %d bytes, want %d: %w", len(b), reportSize, ErrArgument)
	}
	return &report{
		raw: b, version: binary.LittleEndian.Uint32(b), signer: binary.LittleEndian.Uint32(b[offFlags:]) >> 2 & 7,
		reported: [8]byte(b[offReported:]), family: b[offFamily], model: b[offFamily+1], chip: b[offChip : offChip+64],
	}, nil
}

// products returns the lines of processors that the report can be of: the one that it
// or a certificate names, or those that a report without a name can be of.
func (r *report) products(given []*x509.Certificate) []string {
	if r.version >= 3 {
		if p := productOf(r.family, r.model); p != "" {
			return []string{p}
		}
	}
	for _, c := range given {
		for _, p := range []string{"Milan", "Genoa", "Turin"} {
			for _, issuer := range []string{"ARK-" + p, "SEV-" + p, "SEV-VLEK-" + p} {
				if named(c.Issuer.CommonName, issuer) {
					return []string{p}
				}
			}
		}
	}
	if r.version >= 3 {
		return nil
	}
	// Turin reports have had their processor in them from the beginning.
	return []string{"Milan", "Genoa"}
}

// productOf returns the line of a processor's family and model (CPUID 1, extended
// fields added); empty for one that is not known.
func productOf(family, model byte) string {
	switch {
	case family == 0x19 && model <= 0x0F:
		return "Milan"
	case family == 0x19 && (model >= 0x10 && model <= 0x1F || model >= 0xA0 && model <= 0xAF):
		return "Genoa" // Bergamo and Siena too
	case family == 0x1A && model <= 0x1F:
		return "Turin"
	default:
		return ""
	}
}

// vcekPath returns where the certificate of the report's key is for a product: the
// chip's id, 8 bytes for Turin and 64 before, and the security versions.
func (r *report) vcekPath(product string) string {
	t := r.reported
	if product == "Turin" {
		return fmt.Sprintf("/vcek/v1/Turin/%x?fmcSPL=%02d&blSPL=%02d&teeSPL=%02d&snpSPL=%02d&ucodeSPL=%02d", r.chip[:8], t[0], t[1], t[2], t[3], t[7])
	}
	return fmt.Sprintf("/vcek/v1/%s/%x?blSPL=%02d&teeSPL=%02d&snpSPL=%02d&ucodeSPL=%02d", product, r.chip, t[0], t[1], t[6], t[7])
}

// signedBy reports whether the certificate's key signed the report: ECDSA on P-384
// with SHA-384, R and S little-endian in 72 bytes each.
func (r *report) signedBy(c *x509.Certificate) bool {
	key, ok := c.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return false
	}
	scalar := func(at int) *big.Int {
		b := slices.Clone(r.raw[at : at+sizeScalar])
		slices.Reverse(b)
		return new(big.Int).SetBytes(b)
	}
	der, err := asn1.Marshal(struct{ R, S *big.Int }{scalar(signedReport), scalar(signedReport + sizeScalar)})
	sum := sha512.Sum384(r.raw[:signedReport])
	return err == nil && ecdsa.VerifyASN1(key, sum[:], der)
}

// Report gets what AMD publishes about an attestation report: the certificate of the
// chip's key (VCEK), those of its issuers, and the revocation list of their root. given
// is what is at hand; a certificate of the very key keeps the chip's id from being sent.
// A provider's key (VLEK) has no certificate to be got: it has to be in given, where the
// host's certificate table put it. The returns are those of [Client.Evidence].
func (c *Client) Report(ctx context.Context, attestation []byte, given []attest.Collateral) ([]attest.Collateral, []*ItemError) {
	g := &gathered{}
	r, err := readReport(attestation)
	if err != nil {
		g.miss("attestation report", err)
		return nil, g.problems
	}
	if r.signer != signedByVCEK && r.signer != signedByVLEK {
		g.miss("certificate of the signing key", fmt.Errorf("the report is signed with none: %w", ErrUnavailable))
		return nil, g.problems
	}
	hand := certificates(given)
	products := r.products(hand)
	if len(products) == 0 {
		g.miss("certificates", fmt.Errorf("processor family %#x, model %#x is not known here: %w", r.family, r.model, ErrUnavailable))
		return nil, g.problems
	}
	leaf := r.leaf(hand)
	switch {
	case leaf != nil:
	case r.signer == signedByVLEK:
		g.miss("VLEK", fmt.Errorf("AMD gives it to the provider alone, and the machine's certificate table has none of this key: %w", ErrUnavailable))
	case bytes.Equal(r.chip, make([]byte, len(r.chip))):
		g.miss("VCEK", fmt.Errorf("the report hides the chip's id: %w", ErrUnavailable))
	default:
		products = c.vcek(ctx, g, r, products)
	}
	if len(products) == 1 {
		c.issuers(ctx, g, r, products[0], given, leaf)
	}
	return g.items, g.problems
}

// leaf returns the certificate at hand whose key signed the report; nil for none.
func (r *report) leaf(hand []*x509.Certificate) *x509.Certificate {
	for _, c := range hand {
		if !c.IsCA && r.signedBy(c) {
			return c
		}
	}
	return nil
}

// vcek gets the certificate of the chip's key, of the first product that has it, and
// returns which that is.
func (c *Client) vcek(ctx context.Context, g *gathered, r *report, products []string) []string {
	var first error
	for _, p := range products {
		a, err := c.get(ctx, &resource{
			name: "VCEK", url: c.kds + r.vcekPath(p), limit: limits.Certificate,
			check: func(a *answer) (time.Time, error) {
				x, err := oneCertificate(a.Body)
				switch {
				case err != nil:
					return time.Time{}, err
				case !named(x.Subject.CommonName, nameVCEK):
					return time.Time{}, fmt.Errorf("a certificate of %.80q, want %s: %w", x.Subject.CommonName, nameVCEK, ErrAnswer)
				case !r.signedBy(x):
					return time.Time{}, fmt.Errorf("a certificate of another key than the one that signed the report: %w", ErrAnswer)
				}
				return x.NotAfter, nil
			},
		})
		if a != nil {
			g.add(attest.CollateralCertificate, a.Body)
			g.miss("VCEK", err)
			return []string{p}
		}
		if first == nil {
			first = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	g.miss("VCEK", first)
	return products
}

// issuers gets what is above the key: two certificates, unless they are at hand, and the
// revocation list of the root.
func (c *Client) issuers(ctx context.Context, g *gathered, r *report, product string, given []attest.Collateral, leaf *x509.Certificate) {
	path, issuer := "/vcek/v1/"+product, "SEV-"+product
	if r.signer == signedByVLEK {
		path, issuer = "/vlek/v1/"+product, "SEV-VLEK-"+product
	}
	root := "ARK-" + product
	if leaf == nil || !c.complete(certificates(given), issuer, root) {
		a, err := c.get(ctx, &resource{
			name: "certificates of " + issuer, url: c.kds + path + "/cert_chain", limit: 2 * limits.Certificate,
			check: func(a *answer) (time.Time, error) { return checkChain(a.Body, issuer, root) },
		})
		if a != nil {
			chain, _ := pemCertificates(a.Body) // check has read it
			for _, x := range chain {
				g.add(attest.CollateralCertificate, x.Raw)
			}
		}
		g.miss("certificates of "+issuer, err)
	}
	list := crlResource("revocation list of "+root, c.kds+path+"/crl", "", root)
	a, err := c.get(ctx, list)
	if a != nil {
		g.add(attest.CollateralCRL, derOf(a.Body))
	}
	if err != nil && !c.covered(given, attest.CollateralCRL, list.check) {
		g.miss(list.name, err)
	}
}

// complete reports whether certificates of all those names are at hand, and valid.
func (c *Client) complete(hand []*x509.Certificate, names ...string) bool {
	return !slices.ContainsFunc(names, func(name string) bool {
		return !slices.ContainsFunc(hand, func(x *x509.Certificate) bool {
			return x.IsCA && named(x.Subject.CommonName, name) && c.now().Before(x.NotAfter)
		})
	})
}

// checkChain wants the certificates of the issuer and of its root, and returns until
// when both are valid.
func checkChain(body []byte, names ...string) (until time.Time, err error) {
	chain, err := pemCertificates(body)
	if err != nil {
		return time.Time{}, err
	}
	for _, name := range names {
		i := slices.IndexFunc(chain, func(x *x509.Certificate) bool { return named(x.Subject.CommonName, name) })
		if i < 0 {
			return time.Time{}, fmt.Errorf("%d certificates, and none of %s: %w", len(chain), name, ErrAnswer)
		}
		if n := chain[i].NotAfter; until.IsZero() || n.Before(until) {
			until = n
		}
	}
	return until, nil
}

// certificates returns the certificates among items.
func certificates(items []attest.Collateral) []*x509.Certificate {
	var out []*x509.Certificate
	for i := range items {
		if items[i].Kind != attest.CollateralCertificate || len(items[i].Data) > limits.Certificate {
			continue
		}
		if x, err := x509.ParseCertificate(items[i].Data); err == nil {
			out = append(out, x)
		}
	}
	return out
}

// crlResource is the revocation list of an issuer, in DER; mirrors answer hexadecimal
// too.
func crlResource(name, url, chain, issuer string) *resource {
	return &resource{
		name: name, url: url, limit: limits.CollateralItem, chain: chain,
		check: func(a *answer) (time.Time, error) {
			der := derOf(a.Body)
			l, err := x509.ParseRevocationList(der)
			switch {
			case err != nil:
				return time.Time{}, fmt.Errorf("no revocation list in DER: %v: %w", err, ErrAnswer)
			case len(l.Raw) != len(der):
				return time.Time{}, fmt.Errorf("something behind a revocation list: %w", ErrAnswer)
			case !named(l.Issuer.CommonName, issuer):
				return time.Time{}, fmt.Errorf("a revocation list of %.80q, want %s: %w", l.Issuer.CommonName, issuer, ErrAnswer)
			}
			return l.NextUpdate, nil
		},
	}
}

// derOf returns the DER of an answer, which may be in hexadecimal digits.
func derOf(body []byte) []byte {
	if der, err := hex.DecodeString(strings.TrimSpace(string(body))); err == nil && len(der) > 0 {
		return der
	}
	return body
}
