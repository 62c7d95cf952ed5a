package collect

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

const (
	// requestTime bounds one request with its answer.
	requestTime = 30 * time.Second
	// tries is how often one thing is asked for, and silentTries how often a host that
	// does not answer at all: behind a wall, each try takes connectTime.
	tries       = 5
	silentTries = 3
	connectTime = 5 * time.Second
	// firstPause is the pause after the first try; each later one is twice as long.
	// Up to half of it is added by chance, so that many machines do not ask together.
	firstPause = 500 * time.Millisecond
	// longestPause is the longest that a server may ask to wait.
	longestPause = time.Minute
	// redirects bounds how often one answer leads elsewhere.
	redirects = 3
)

// resource is one thing that a vendor publishes.
type resource struct {
	// name is it for people.
	name string
	url  string
	// limit is the largest answer in bytes.
	limit int
	// chain names the header that carries its issuers' certificates; empty for none.
	chain string
	// check looks whether an answer is what was asked for, and returns until when it is
	// of use; the zero time for what has no end.
	check func(*answer) (until time.Time, err error)
}

// answer is what came back.
type answer struct {
	// Body is the answer, at most the resource's limit.
	Body []byte
	// Chain is the value of the header.
	Chain string
}

// secured returns a client that keeps to the rules of this package: no request goes
// from https to http, or to another host without TLS.
func secured(given *http.Client) *http.Client {
	h := &http.Client{Timeout: requestTime}
	if given != nil {
		*h = *given
	} else {
		h.Transport = &http.Transport{
			Proxy: proxy, ForceAttemptHTTP2: true, MaxResponseHeaderBytes: 2 * maxChain,
			DialContext:         (&net.Dialer{Timeout: connectTime}).DialContext,
			TLSHandshakeTimeout: 2 * connectTime, IdleConnTimeout: requestTime,
		}
	}
	h.Jar = nil
	h.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		first := via[0].URL
		r.Header.Del("Referer") // it holds what was asked for
		switch {
		case len(via) > redirects:
			return fmt.Errorf("more than %d redirects: %w", redirects, ErrAnswer)
		case r.URL.Scheme == "https":
			return nil
		case first.Scheme == "http" && r.URL.Scheme == "http" && r.URL.Host == first.Host:
			return nil
		default:
			return fmt.Errorf("redirect to %.200q, which is not https: %w", r.URL.Redacted(), ErrAnswer)
		}
	}
	return h
}

// proxy takes HTTPS_PROXY and NO_PROXY from the environment for what TLS protects; what
// goes without goes to nobody else.
func proxy(r *http.Request) (*url.URL, error) {
	if r.URL.Scheme != "https" {
		return nil, nil
	}
	return http.ProxyFromEnvironment(r)
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

// get returns one resource: from the folder while it is of use, or from its vendor. If
// the vendor cannot be asked, what the folder has is returned beside an error that
// wraps ErrStale.
func (c *Client) get(ctx context.Context, r *resource) (*answer, error) {
	kept := c.cache.load(r)
	var until time.Time
	if kept != nil {
		var err error
		if until, err = r.check(kept); err != nil {
			c.log.Warn("kept collateral is not what it was, and is asked for anew", "item", r.name, "error", err.Error())
			kept = nil
		} else if until.IsZero() || c.now().Before(until) {
			return kept, nil
		}
	}
	err := fmt.Errorf("not kept, and nobody is asked: %w", ErrUnavailable)
	if !c.offline {
		var got *answer
		if got, err = c.ask(ctx, r); err == nil {
			c.cache.save(r, got)
			if until, _ = r.check(got); until.IsZero() || c.now().Before(until) {
				return got, nil
			}
			return got, fmt.Errorf("what is published was to be renewed by %s: %w", until.UTC().Format(time.DateOnly), ErrStale)
		}
	}
	if kept != nil {
		return kept, fmt.Errorf("what is kept was to be renewed by %s, and is not: %v: %w", until.UTC().Format(time.DateOnly), err, ErrStale)
	}
	return nil, err
}

// ask asks the vendor, again where that may help.
func (c *Client) ask(ctx context.Context, r *resource) (*answer, error) {
	u, err := url.Parse(r.url)
	if err != nil {
		return nil, fmt.Errorf("asking for %.200q: %w", r.url, ErrArgument)
	}
	if err := c.isDown(u.Host); err != nil {
		return nil, err
	}
	wait := firstPause
	for try := 1; ; try++ {
		got, again, err := c.once(ctx, r)
		switch {
		case err == nil:
			return got, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case again == nil:
			return nil, err
		case again.silent && try >= silentTries:
			c.setDown(u.Host, err)
			return nil, fmt.Errorf("asked %d times: %w", try, err)
		case try == tries:
			return nil, fmt.Errorf("asked %d times: %w", tries, err)
		}
		d := wait + rand.N(wait/2) //nolint:gosec // spreads requests, keeps no secret
		wait *= 2
		if again.after > longestPause {
			return nil, fmt.Errorf("to be asked again in %s: %w", again.after, err)
		}
		d = max(d, again.after)
		c.log.Info("collateral is asked for again", "item", r.name, "in", d.String(), "error", err.Error())
		if err := c.pause(ctx, d); err != nil {
			return nil, err
		}
	}
}

// retry says how to ask again.
type retry struct {
	// after is how long the server wants to be left alone.
	after time.Duration
	// silent tells that nobody answered at all.
	silent bool
}

// once asks once. Without a retry, asking again is of no use.
func (c *Client) once(ctx context.Context, r *resource) (*answer, *retry, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("asking for %.200q: %w", r.url, ErrArgument)
	}
	req.Header.Set("User-Agent", "sworn")
	rsp, err := c.http.Do(req)
	if err != nil {
		if errors.Is(err, ErrAnswer) {
			return nil, nil, fmt.Errorf("asking: %w", err)
		}
		if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
			return nil, nil, fmt.Errorf("asking: %v: %w", err, ErrUnavailable)
		}
		return nil, &retry{silent: true}, fmt.Errorf("asking: %v: %w", err, ErrUnavailable)
	}
	defer rsp.Body.Close()
	switch code := rsp.StatusCode; {
	case code == http.StatusOK:
	case code == http.StatusTooManyRequests || code >= 500:
		return nil, &retry{after: c.retryAfter(rsp)}, fmt.Errorf("%s answers %d %s: %w", req.URL.Host, code, http.StatusText(code), ErrUnavailable)
	default:
		return nil, nil, fmt.Errorf("%s answers %d %s: %w", req.URL.Host, code, http.StatusText(code), ErrUnavailable)
	}
	body, err := io.ReadAll(io.LimitReader(rsp.Body, int64(r.limit)+1))
	if err != nil {
		return nil, &retry{}, fmt.Errorf("reading the answer: %v: %w", err, ErrUnavailable)
	}
	if len(body) > r.limit {
		return nil, nil, fmt.Errorf("more than %d bytes: %w", r.limit, ErrAnswer)
	}
	got := &answer{Body: body}
	if r.chain != "" {
		got.Chain = rsp.Header.Get(r.chain)
	}
	if len(got.Chain) > maxChain {
		return nil, nil, fmt.Errorf("a header of more than %d bytes: %w", maxChain, ErrAnswer)
	}
	if _, err := r.check(got); err != nil {
		return nil, nil, err
	}
	return got, nil, nil
}

// retryAfter reads how long the server wants to be left alone (RFC 9110, 10.2.3).
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

// isDown says why a host is not asked, or nothing.
func (c *Client) isDown(host string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.down[host]; err != nil {
		return fmt.Errorf("not asked, since it did not answer before: %w", err)
	}
	return nil
}

// setDown notes that a host did not answer.
func (c *Client) setDown(host string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down[host] = err
}
