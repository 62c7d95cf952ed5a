package collect

import (
	"context"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/limits"
)

// Names in Intel's certificates.
const (
	nameRootCA      = "Intel SGX Root CA"
	namePlatformCA  = "Intel SGX PCK Platform CA"
	nameProcessorCA = "Intel SGX PCK Processor CA"
)

// The headers in which the PCS answers its issuers' certificates.
const (
	headerTCBInfo  = "TCB-Info-Issuer-Chain"
	headerIdentity = "SGX-Enclave-Identity-Issuer-Chain"
	headerCRL      = "SGX-PCK-CRL-Issuer-Chain"
)

// platform is what Intel publishes by, as a quote states it.
type platform struct {
	// tdx tells a TD's quote from an enclave's.
	tdx bool
	// fmspc is the model of the platform, 6 bytes in lower-case hexadecimal.
	fmspc string
	// ca is "platform" or "processor", and issuer its name.
	ca, issuer string
}

// tee is the TEE as paths have it.
func (p *platform) tee() string {
	if p.tdx {
		return "tdx"
	}
	return "sgx"
}

// Quote gets what Intel publishes about a quote of SGX or TDX: TCB info of the platform,
// the identity of the quoting enclave, the revocation lists of the root and of the CA
// that certified the platform, and the certificates of who signed all that. given is
// what is at hand. The returns are those of [Client.Evidence].
func (c *Client) Quote(ctx context.Context, quote []byte, given []attest.Collateral) ([]attest.Collateral, []*ItemError) {
	g := &gathered{}
	p, err := readQuote(quote)
	if err != nil {
		g.miss("quote", err)
		return nil, g.problems
	}
	tee := strings.ToUpper(p.tee())
	c.signed(ctx, g, given, attest.CollateralTCBInfo, &resource{
		name: tee + " TCB info of FMSPC " + p.fmspc, url: c.pcs + "/" + p.tee() + "/certification/v4/tcb?fmspc=" + strings.ToUpper(p.fmspc),
		limit: limits.CollateralItem, chain: headerTCBInfo, check: checkTCBInfo(tee, p.fmspc),
	})
	c.signed(ctx, g, given, attest.CollateralQEIdentity, &resource{
		name: "identity of the " + tee + " quoting enclave", url: c.pcs + "/" + p.tee() + "/certification/v4/qe/identity",
		limit: limits.CollateralItem, chain: headerIdentity, check: checkIdentity(p.tdx),
	})
	c.signed(ctx, g, given, attest.CollateralCRL, crlResource("revocation list of "+p.issuer,
		c.pcs+"/sgx/certification/v4/pckcrl?ca="+p.ca+"&encoding=der", headerCRL, p.issuer))
	c.rootList(ctx, g, given)
	return g.items, g.problems
}

// signed gets one item, and the certificates of its issuers from the header.
func (c *Client) signed(ctx context.Context, g *gathered, given []attest.Collateral, kind string, r *resource) {
	check := r.check
	r.check = func(a *answer) (time.Time, error) {
		if _, err := headerChain(a.Chain); err != nil {
			return time.Time{}, fmt.Errorf("header %s: %w", r.chain, err)
		}
		return check(a)
	}
	a, err := c.get(ctx, r)
	if a != nil {
		data := a.Body
		if kind == attest.CollateralCRL {
			data = derOf(data)
		}
		g.add(kind, data)
		chain, _ := headerChain(a.Chain) // check has read it
		for _, x := range chain {
			g.add(attest.CollateralCertificate, x.Raw)
		}
	}
	if err != nil && !c.covered(given, kind, check) {
		g.miss(r.name, err)
	}
}

// rootList gets the revocation list of Intel's root: from its own place, or where a PCCS
// or a plain mirror has it.
func (c *Client) rootList(ctx context.Context, g *gathered, given []attest.Collateral) {
	name := "revocation list of " + nameRootCA
	urls := []string{c.rootCRL}
	switch {
	case c.rootCRL != "":
	case c.ownPCS:
		urls = []string{c.pcs + "/sgx/certification/v4/rootcacrl", c.pcs + "/IntelSGXRootCA.der"}
	default:
		urls = []string{DefaultRootCRL}
	}
	var first error
	for _, u := range urls {
		a, err := c.get(ctx, crlResource(name, u, "", nameRootCA))
		if a != nil {
			g.add(attest.CollateralCRL, derOf(a.Body))
			g.miss(name, err)
			return
		}
		if first == nil {
			first = err
		}
	}
	if !c.covered(given, attest.CollateralCRL, crlResource(name, "", "", nameRootCA).check) {
		g.miss(name, first)
	}
}

// headerChain reads the certificates in a header: PEM, percent-encoded.
func headerChain(value string) ([]*x509.Certificate, error) {
	text, err := url.PathUnescape(value)
	if err != nil {
		return nil, fmt.Errorf("not percent-encoded: %w", ErrAnswer)
	}
	return pemCertificates([]byte(text))
}

// signedAnswer is the form of what the PCS signs. Only the dates and the names are read
// here, to tell whether it is what was asked for; the signature covers the raw text.
type signedAnswer struct {
	TCBInfo   *published `json:"tcbInfo"`
	Identity  *published `json:"enclaveIdentity"`
	Signature string     `json:"signature"`
}

// published is what TCB info and identities have in common, and the FMSPC.
type published struct {
	ID         string `json:"id"`
	FMSPC      string `json:"fmspc"`
	NextUpdate string `json:"nextUpdate"`
}

// parseSigned reads an answer of the PCS.
func parseSigned(body []byte) (*signedAnswer, error) {
	var s signedAnswer
	if err := json.Unmarshal(body, &s); err != nil {
		return nil, fmt.Errorf("no JSON of Intel's: %v: %w", err, ErrAnswer)
	}
	if _, err := hex.DecodeString(s.Signature); err != nil || s.Signature == "" {
		return nil, fmt.Errorf("no signature in it: %w", ErrAnswer)
	}
	return &s, nil
}

// renewal reads until when an answer is of use.
func (p *published) renewal() (time.Time, error) {
	t, err := time.Parse(time.RFC3339, p.NextUpdate)
	if err != nil {
		return time.Time{}, fmt.Errorf("nextUpdate %.40q is no time: %w", p.NextUpdate, ErrAnswer)
	}
	return t, nil
}

// checkTCBInfo wants the TCB info of a platform.
func checkTCBInfo(tee, fmspc string) func(*answer) (time.Time, error) {
	return func(a *answer) (time.Time, error) {
		s, err := parseSigned(a.Body)
		switch {
		case err != nil:
			return time.Time{}, err
		case s.TCBInfo == nil:
			return time.Time{}, fmt.Errorf("no TCB info: %w", ErrAnswer)
		case s.TCBInfo.ID != tee || !strings.EqualFold(s.TCBInfo.FMSPC, fmspc):
			return time.Time{}, fmt.Errorf("TCB info of %.8q, FMSPC %.16q: %w", s.TCBInfo.ID, s.TCBInfo.FMSPC, ErrAnswer)
		}
		return s.TCBInfo.renewal()
	}
}

// checkIdentity wants the identity of a TEE's quoting enclave.
func checkIdentity(tdx bool) func(*answer) (time.Time, error) {
	want := "QE"
	if tdx {
		want = "TD_QE"
	}
	return func(a *answer) (time.Time, error) {
		s, err := parseSigned(a.Body)
		switch {
		case err != nil:
			return time.Time{}, err
		case s.Identity == nil || s.Identity.ID != want:
			return time.Time{}, fmt.Errorf("no identity of %s: %w", want, ErrAnswer)
		}
		return s.Identity.renewal()
	}
}

// Layout of quotes (Intel TDX DCAP Quoting Library API, appendix A; SGX ECDSA
// QuoteLibReference DCAP API, appendix A), in bytes.
const (
	quoteHeader  = 48
	bodySGX      = 384
	bodyTDX10    = 584
	bodyTDX15    = 648
	signatureKey = 64 + 64
	qeReport     = 384 + 64
	teeTDX       = 0x81
	dataPCK      = 5
	dataQE       = 6
)

// errCut is about a quote that ends too early.
var errCut = fmt.Errorf("the quote ends too early: %w", ErrArgument)

// reader reads a quote from its front; it is broken after what is not there.
type reader struct {
	b      []byte
	broken bool
}

// take returns the next n bytes.
func (r *reader) take(n uint32) []byte {
	if uint64(n) > uint64(len(r.b)) {
		r.broken, r.b = true, nil
		return make([]byte, min(n, 4))
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) u16() uint16 { return binary.LittleEndian.Uint16(r.take(2)) }
func (r *reader) u32() uint32 { return binary.LittleEndian.Uint32(r.take(4)) }

// readQuote reads what Intel publishes by. Whether the quote is well-formed otherwise is
// for its scheme.
func readQuote(quote []byte) (*platform, error) {
	r := &reader{b: quote}
	version, _, tee := r.u16(), r.u16(), r.u32()
	r.take(quoteHeader - 8)
	body := uint32(bodySGX)
	if tee == teeTDX {
		body = bodyTDX10
	}
	switch version {
	case 3:
		tee, body = 0, bodySGX
	case 4:
	case 5:
		r.u16()
		body = r.u32()
	default:
		return nil, fmt.Errorf("a quote of version %d, want 3 to 5: %w", version, ErrArgument)
	}
	if body != bodySGX && body != bodyTDX10 && body != bodyTDX15 {
		return nil, fmt.Errorf("a quote with a body of %d bytes: %w", body, ErrArgument)
	}
	r.take(body + 4)
	r.take(signatureKey)
	kind := uint16(dataQE)
	if version > 3 {
		kind = r.u16()
		r.u32()
	}
	if kind == dataQE {
		r.take(qeReport)
		r.take(uint32(r.u16()))
		kind = r.u16()
	}
	chain := r.take(r.u32())
	switch {
	case r.broken:
		return nil, errCut
	case kind != dataPCK:
		return nil, fmt.Errorf("the quote does not carry the platform's certificate (certification data of type %d, want %d): %w", kind, dataPCK, ErrUnavailable)
	}
	certs, err := pemCertificates(chain)
	if err != nil {
		return nil, fmt.Errorf("the platform's certificate in the quote: %w", errors.Join(err, ErrArgument))
	}
	return platformOf(certs[0], tee == teeTDX)
}

// platformOf reads a platform's certificate.
func platformOf(pck *x509.Certificate, tdx bool) (*platform, error) {
	p := &platform{tdx: tdx, issuer: pck.Issuer.CommonName}
	switch p.issuer {
	case namePlatformCA:
		p.ca = "platform"
	case nameProcessorCA:
		p.ca = "processor"
	default:
		return nil, fmt.Errorf("the platform's certificate is issued by %.80q, want %s or %s: %w", p.issuer, namePlatformCA, nameProcessorCA, ErrArgument)
	}
	fmspc, err := fmspcOf(pck)
	if err != nil {
		return nil, err
	}
	p.fmspc = hex.EncodeToString(fmspc)
	return p, nil
}

// fmspcOf reads the FMSPC of a platform's certificate (Intel SGX PCK Certificate and CRL
// Profile, 1.5: the extension 1.2.840.113741.1.13.1, a sequence of pairs).
func fmspcOf(pck *x509.Certificate) ([]byte, error) {
	sgx := asn1.ObjectIdentifier{1, 2, 840, 113741, 1, 13, 1}
	for i := range pck.Extensions {
		if !pck.Extensions[i].Id.Equal(sgx) {
			continue
		}
		var all []struct {
			ID    asn1.ObjectIdentifier
			Value asn1.RawValue
		}
		if rest, err := asn1.Unmarshal(pck.Extensions[i].Value, &all); err != nil || len(rest) > 0 {
			break
		}
		for j := range all {
			if all[j].ID.Equal(append(sgx[:len(sgx):len(sgx)], 4)) && all[j].Value.Tag == asn1.TagOctetString && len(all[j].Value.Bytes) == 6 {
				return all[j].Value.Bytes, nil
			}
		}
	}
	return nil, fmt.Errorf("the platform's certificate names no FMSPC: %w", ErrArgument)
}
