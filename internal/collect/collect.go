// Package collect gets what vendors publish about evidence, so that a record can
// carry it: certificates and revocation lists from AMD's Key Distribution Service
// (KDS), TCB info, the identity of the quoting enclave and revocation lists from
// Intel's Provisioning Certification Service (PCS), or both from a mirror, such as
// a PCCS. It keeps the answers in a folder, chooses among them what a scheme relies
// on, and puts that into a capsule.
//
// Nothing that it gets is trusted, and nothing is verified here: a scheme does that,
// later and offline. What is looked at is whether an answer is what was asked for,
// so that a broken mirror or a full disk is told from a vendor's word.
//
// What leaves the machine: AMD, or the mirror, learns the chip's id and its security
// versions, from a report that the chip's own key (VCEK) signed, unless a certificate
// of that key is at hand; Intel, or the mirror, learns the model of the platform
// (FMSPC) and the kind of its CA.
package collect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/hcl"
	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/sev"
	"github.com/sworn-run/sworn/tdx"
)

// The sentinels of this package. Every error wraps one of them, or is the context's.
var (
	// ErrArgument: the caller's mistake: a URL that is none, no clock, no scheme.
	ErrArgument = errors.New("invalid argument")
	// ErrUnavailable: nobody has it, or nobody answers.
	ErrUnavailable = errors.New("not to be had")
	// ErrAnswer: an answer that is not what was asked for.
	ErrAnswer = errors.New("unusable answer")
	// ErrStale: what is at hand is out of date, and nothing newer is to be had. The
	// item is collected all the same.
	ErrStale = errors.New("out of date")
)

// Where vendors publish.
const (
	// DefaultKDS is AMD's Key Distribution Service.
	DefaultKDS = "https://kdsintf.amd.com"
	// DefaultPCS is Intel's Provisioning Certification Service.
	DefaultPCS = "https://api.trustedservices.intel.com"
	// DefaultRootCRL is the revocation list of Intel's root, which the PCS does not
	// have.
	DefaultRootCRL = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der"
)

// ItemError is why one item could not be had.
type ItemError struct {
	// Item names it for people, such as "VCEK" or "TCB info of FMSPC 50806f000000".
	Item string
	// Err wraps one of the package's sentinels, or the context's error.
	Err error
}

// Error returns the item and the reason.
func (e *ItemError) Error() string { return e.Item + ": " + e.Err.Error() }

// Unwrap returns the reason.
func (e *ItemError) Unwrap() error { return e.Err }

// Options are the settings of a [Client].
type Options struct {
	// KDS, PCS are base URLs; empty for the vendors' own. One that begins with http://
	// is asked without TLS, which is for a mirror on a network that one trusts: who
	// listens learns what is asked, who interferes can withhold, and forge nothing.
	KDS, PCS string
	// RootCRL is the URL of the revocation list of Intel's root; empty for the vendor's
	// own, or for a PCS of one's own, for the place where a PCCS has it.
	RootCRL string
	// CacheDir is the folder that keeps the answers, made if it is not there; empty to
	// keep nothing.
	CacheDir string
	// Offline keeps the client from asking anybody: the folder is all there is.
	Offline bool
	// HTTP asks; nil for a client of this package's own. Its CheckRedirect is not used.
	HTTP *http.Client
	// Now is the clock.
	Now func() time.Time
	// Log is told of retries and of a folder that cannot be used; nil for nothing.
	Log *slog.Logger
}

// Client gets collateral. The zero Client is refused; [NewClient] makes one. It is
// safe for concurrent use.
type Client struct {
	kds, pcs, rootCRL string
	ownPCS            bool
	cache             *cache
	offline           bool
	http              *http.Client
	now               func() time.Time
	log               *slog.Logger
	// pause waits between two tries.
	pause func(context.Context, time.Duration) error

	mu sync.Mutex
	// down are the hosts that did not answer, and why: they are not asked again.
	down map[string]error
}

// NewClient returns a client. The error wraps ErrArgument.
func NewClient(o *Options) (*Client, error) {
	if o == nil || o.Now == nil {
		return nil, fmt.Errorf("collateral client without options or clock: %w", ErrArgument)
	}
	c := &Client{
		kds: DefaultKDS, pcs: DefaultPCS, rootCRL: o.RootCRL, ownPCS: o.PCS != "",
		offline: o.Offline, now: o.Now, log: o.Log, pause: pause, down: map[string]error{},
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	for _, u := range []struct {
		what  string
		given string
		into  *string
	}{{"KDS", o.KDS, &c.kds}, {"PCS", o.PCS, &c.pcs}, {"root CRL", o.RootCRL, &c.rootCRL}} {
		if u.given == "" {
			continue
		}
		if err := checkURL(u.given); err != nil {
			return nil, fmt.Errorf("%s: %w", u.what, err)
		}
		*u.into = strings.TrimRight(u.given, "/")
	}
	if o.CacheDir != "" {
		c.cache = &cache{dir: o.CacheDir, log: c.log}
	}
	c.http = secured(o.HTTP)
	return c, nil
}

// checkURL wants an https URL, or one that says http, of a host and nothing secret.
func checkURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil ||
		u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return fmt.Errorf("%.200q is not an https or http URL of a host, without a query: %w", s, ErrArgument)
	}
	return nil
}

// The parts of evidence that collateral is got for.
const (
	partReport = sev.PartReport
	partQuote  = tdx.PartQuote // and SGX's
	partHCL    = hcl.PartReport
)

// Evidence gets what there is about one slot's evidence: everything that verifying it
// offline may need and that ev.Collateral, what is at hand, does not have. Evidence
// that vendors publish nothing about gives nothing and no error. What was got is
// returned in any case, without duplicates, beside one error for each item that could
// not be had and that is not at hand, up to date, either; in the order in which they were
// asked for.
func (c *Client) Evidence(ctx context.Context, ev *attest.Evidence) ([]attest.Collateral, []*ItemError) {
	if c == nil || c.now == nil || ev == nil {
		return nil, []*ItemError{{"collateral", fmt.Errorf("no client or no evidence: %w", ErrArgument)}}
	}
	if q := part(ev, partQuote); q != nil {
		return c.Quote(ctx, q, ev.Collateral)
	}
	if r := part(ev, partReport); r != nil {
		return c.Report(ctx, r, ev.Collateral)
	}
	if h := part(ev, partHCL); h != nil {
		r, err := hardwareReport(h)
		if err != nil {
			return nil, []*ItemError{{"attestation report in the paravisor's", err}}
		}
		return c.Report(ctx, r, ev.Collateral)
	}
	return nil, nil
}

// part returns a part by its name; nil if there is none.
func part(ev *attest.Evidence, name string) []byte {
	for _, p := range ev.Parts {
		if p.Name == name {
			return p.Data
		}
	}
	return nil
}

// hardwareReport returns the attestation report of SEV-SNP inside a paravisor's.
func hardwareReport(b []byte) ([]byte, error) {
	r, err := hcl.Parse(b)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", err, ErrArgument)
	case r.Type != hcl.SNP:
		return nil, fmt.Errorf("it has a report of type %d, and no TD quote stands beside it: %w", r.Type, ErrArgument)
	}
	return r.Hardware, nil
}

// gathered collects items without duplicates, and what could not be had.
type gathered struct {
	items    []attest.Collateral
	problems []*ItemError
}

// add keeps an item unless it is there already.
func (g *gathered) add(kind string, data []byte) {
	if len(data) > 0 && !has(g.items, kind, data) {
		g.items = append(g.items, attest.Collateral{Kind: kind, Data: data})
	}
}

// covered reports whether an item at hand is what was asked for, and of use for now.
func (c *Client) covered(given []attest.Collateral, kind string, check func(*answer) (time.Time, error)) bool {
	for i := range given {
		if given[i].Kind != kind || len(given[i].Data) > limits.CollateralItem {
			continue
		}
		if until, err := check(&answer{Body: given[i].Data}); err == nil && c.now().Before(until) {
			return true
		}
	}
	return false
}

// miss notes what could not be had; nothing for a nil error.
func (g *gathered) miss(item string, err error) {
	if err != nil {
		g.problems = append(g.problems, &ItemError{item, err})
	}
}

// has reports whether the very item is in the list.
func has(items []attest.Collateral, kind string, data []byte) bool {
	for i := range items {
		if items[i].Kind == kind && bytes.Equal(items[i].Data, data) {
			return true
		}
	}
	return false
}
