package collect

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/dcap"
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

// readQuote reads what Intel publishes by. Bytes after the quote are its scheme's matter.
func readQuote(quote []byte) (*platform, error) {
	if n, err := dcap.Length(quote); err == nil && n < len(quote) {
		quote = quote[:n]
	}
	q, err := dcap.ParseQuote(quote)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrArgument)
	}
	p := &platform{tdx: q.TEE == dcap.TDX, fmspc: hex.EncodeToString(q.PCK.FMSPC[:])}
	switch issuer := q.Certificates()[0].Issuer.CommonName; {
	case named(issuer, namePlatformCA):
		p.ca, p.issuer = "platform", namePlatformCA
	case named(issuer, nameProcessorCA):
		p.ca, p.issuer = "processor", nameProcessorCA
	default:
		return nil, fmt.Errorf("the platform's certificate is issued by %.80q, want %s or %s: %w", issuer, namePlatformCA, nameProcessorCA, ErrArgument)
	}
	return p, nil
}
