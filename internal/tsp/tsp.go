// Package tsp asks time-stamping authorities for tokens (RFC 3161, section 3.4) and puts
// them into records.
//
// An authority learns one digest and who asks, and nothing of a record. Its reply is held
// against the request (status, digest, nonce), and its signature against the certificate in
// it; whom to trust is for who verifies, or for who names roots.
//
// It is the only package that asks an authority for anything; only commands import it.
package tsp

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	mathrand "math/rand/v2"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/verifier/stamp"
)

// The sentinels of this package; every error wraps one of them, or one of package cer for a
// record that is none.
var (
	// ErrArgument: what cannot be meant: an address that is none, a hash that is not
	// accepted.
	ErrArgument = errors.New("invalid argument")
	// ErrUnavailable: the authority cannot be reached, or says that it cannot now.
	ErrUnavailable = errors.New("not to be had")
	// ErrAnswer: the authority answers something else than the token that was asked for.
	ErrAnswer = errors.New("unusable answer")
)

const (
	// tries is how often one token is asked for.
	tries = 3
	// connectTime bounds connecting, requestTime one request with its reply.
	connectTime = 5 * time.Second
	requestTime = 15 * time.Second
	// firstPause is the pause after the first try; each later one is twice as long. Up to
	// half of it is added by chance, so that many machines do not ask together.
	firstPause = 500 * time.Millisecond
	// longestPause is the longest that an authority may ask to wait.
	longestPause = 20 * time.Second
	// redirects bounds how often one answer leads elsewhere.
	redirects = 3
)

// The media types of the exchange (RFC 3161, 3.4).
const (
	typeQuery = "application/timestamp-query"
	typeReply = "application/timestamp-reply"
)

// nonceSize is the size of a nonce in bytes: 64 bits, which authorities take.
const nonceSize = 8

// Client asks authorities. The zero value refuses; see [NewClient].
type Client struct {
	http  *http.Client
	log   *slog.Logger
	now   func() time.Time
	pause func(context.Context, time.Duration) error
}

// NewClient returns a client. Transport is for tests, and nil for the network; log takes
// what is tried again; now is the clock.
func NewClient(transport http.RoundTripper, log *slog.Logger, now func() time.Time) *Client {
	if transport == nil {
		transport = &http.Transport{
			Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxResponseHeaderBytes: 64 << 10,
			DialContext: (&net.Dialer{Timeout: connectTime}).DialContext, TLSHandshakeTimeout: 2 * connectTime,
		}
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Client{http: &http.Client{Transport: transport, Timeout: requestTime, CheckRedirect: redirect}, log: log, now: now, pause: pause}
}

// redirect keeps a request from going anywhere but to the same host, or to where TLS
// protects it, and from losing what it asks.
func redirect(r *http.Request, via []*http.Request) error {
	first := via[0].URL
	switch {
	case len(via) > redirects:
		return fmt.Errorf("more than %d redirects: %w", redirects, ErrAnswer)
	case r.Method != http.MethodPost:
		return fmt.Errorf("a redirect that loses the request: %w", ErrAnswer)
	case r.URL.Scheme == "https", first.Scheme == "http" && r.URL.Scheme == "http" && r.URL.Host == first.Host:
		return nil
	default:
		return fmt.Errorf("redirect to %.200q, which is not https: %w", r.URL.Redacted(), ErrAnswer)
	}
}

// pause waits, or returns the context's error.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// Token is a token that an authority gave.
type Token struct {
	*stamp.Token
	// DER is the token as received.
	DER []byte
}

// CheckURL returns an error that wraps [ErrArgument] for what is no address of an authority:
// http or https, with a host.
func CheckURL(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("%.200q is no http or https address: %w", address, ErrArgument)
	}
	return nil
}

// Redacted returns an address for people, without a password.
func Redacted(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "an address that is none"
	}
	return u.Redacted()
}

// Get asks the authority at an address for a token over a digest, again where that may
// help, until ctx ends. The token is what was asked for, and signed by the certificate in
// it; nobody has said that it is to be trusted. The error wraps [ErrArgument],
// [ErrUnavailable] or [ErrAnswer].
func (c *Client) Get(ctx context.Context, address string, h crypto.Hash, digest []byte) (*Token, error) {
	if err := CheckURL(address); err != nil {
		return nil, err
	}
	wait := firstPause
	for try := 1; ; try++ {
		got, again, err := c.once(ctx, address, h, digest)
		switch {
		case err == nil:
			return got, nil
		case again == nil || ctx.Err() != nil:
			return nil, err
		case try == tries:
			return nil, fmt.Errorf("asked %d times: %w", tries, err)
		case again.after > longestPause:
			return nil, fmt.Errorf("to be asked again in %s: %w", again.after, err)
		}
		d := max(wait+mathrand.N(wait/2), again.after) //nolint:gosec // G404: spreads requests, keeps no secret
		wait *= 2
		c.log.Info("the authority is asked again", "in", d.String(), "error", err.Error())
		if c.pause(ctx, d) != nil {
			return nil, err
		}
	}
}

// retry says how to ask again.
type retry struct {
	// after is how long the authority wants to be left alone.
	after time.Duration
}

// once asks once, with a nonce of its own. Without a retry, asking again is of no use.
func (c *Client) once(ctx context.Context, address string, h crypto.Hash, digest []byte) (*Token, *retry, error) {
	nonce := make([]byte, nonceSize)
	_, _ = rand.Read(nonce) // never fails
	nonce[0] |= 0x40        // never short, and never negative to who reads it so
	nonce[0] &= 0x7f
	q := &stamp.Request{Hash: h, Imprint: digest, Nonce: new(big.Int).SetBytes(nonce), Certificates: true}
	query, err := q.Marshal()
	if err != nil {
		return nil, nil, fmt.Errorf("asking for a time stamp: %v: %w", err, ErrArgument)
	}
	body, again, err := c.post(ctx, address, query)
	if err != nil {
		return nil, again, err
	}
	return read(body, q)
}

// post sends a request and returns the reply.
func (c *Client) post(ctx context.Context, address string, query []byte) ([]byte, *retry, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(query))
	if err != nil {
		return nil, nil, fmt.Errorf("%.200q: %w", address, ErrArgument)
	}
	r.Header.Set("Content-Type", typeQuery)
	r.Header.Set("Accept", typeReply)
	r.Header.Set("User-Agent", "sworn")
	rsp, err := c.http.Do(r)
	if err != nil {
		if errors.Is(err, ErrAnswer) {
			return nil, nil, fmt.Errorf("asking: %w", cause(err))
		}
		if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
			return nil, nil, fmt.Errorf("asking: %v: %w", cause(err), ErrUnavailable)
		}
		return nil, &retry{}, fmt.Errorf("asking: %v: %w", cause(err), ErrUnavailable)
	}
	defer rsp.Body.Close()
	switch code := rsp.StatusCode; {
	case code == http.StatusOK:
	case code == http.StatusTooManyRequests || code >= 500:
		return nil, &retry{c.retryAfter(rsp)}, fmt.Errorf("it answers %d %s: %w", code, http.StatusText(code), ErrUnavailable)
	default:
		return nil, nil, fmt.Errorf("it answers %d %s: %w", code, http.StatusText(code), ErrUnavailable)
	}
	if kind, _, err := mime.ParseMediaType(rsp.Header.Get("Content-Type")); err != nil || kind != typeReply {
		return nil, nil, fmt.Errorf("it answers with %.100q, want %s: %w", rsp.Header.Get("Content-Type"), typeReply, ErrAnswer)
	}
	body, err := io.ReadAll(io.LimitReader(rsp.Body, limits.TimeStampReply+1))
	switch {
	case err != nil:
		return nil, &retry{}, fmt.Errorf("reading the reply: %v: %w", err, ErrUnavailable)
	case len(body) > limits.TimeStampReply:
		return nil, nil, fmt.Errorf("a reply of more than %d bytes: %w", limits.TimeStampReply, ErrAnswer)
	}
	return body, nil, nil
}

// cause returns what is wrong without the address, which may have a password in it.
func cause(err error) error {
	if at, ok := errors.AsType[*url.Error](err); ok {
		return at.Err
	}
	return err
}

// retryAfter reads how long the authority wants to be left alone (RFC 9110, 10.2.3).
func (c *Client) retryAfter(rsp *http.Response) time.Duration {
	v := rsp.Header.Get("Retry-After")
	if n, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(0, t.Sub(c.now()))
	}
	return 0
}

// The bits of PKIFailureInfo that pass (RFC 3161, 2.4.2).
const (
	timeNotAvailable = 14
	systemFailure    = 25
)

// read holds a reply against the request.
func read(body []byte, q *stamp.Request) (*Token, *retry, error) {
	reply, err := stamp.ParseResponse(body)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the reply: %v: %w", err, ErrAnswer)
	}
	t, err := reply.Check(q)
	if err != nil {
		if len(reply.Token) == 0 && (slices.Contains(reply.Failure, timeNotAvailable) || slices.Contains(reply.Failure, systemFailure)) {
			return nil, &retry{}, fmt.Errorf("%v: %w", err, ErrUnavailable)
		}
		return nil, nil, fmt.Errorf("%v: %w", err, ErrAnswer)
	}
	// Whatever it finds without roots is found with any.
	switch r := t.Verify(nil, nil, t.Time); {
	case r.Status == attest.Failed, r.Reason == stamp.ReasonNoCertificate:
		return nil, nil, fmt.Errorf("a token that nobody could rely on: %s: %w", r.Detail, ErrAnswer)
	}
	return &Token{Token: t, DER: reply.Token}, nil, nil
}
