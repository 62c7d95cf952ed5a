package tpmdev

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sworn-run/sworn/attest"
)

// Azure's instance metadata service, which every machine reaches at this address and
// nobody else does.
const (
	azureEndpoint    = "http://169.254.169.254"
	quotePath        = "/acc/tdquote"
	certificatesPath = "/metadata/THIM/amd/certification"
)

// Bounds on a conversation with the service.
const (
	metadataTimeout  = 30 * time.Second
	metadataAttempts = 4
	maxAnswer        = 256 << 10
	maxTDQuote       = 64 << 10
)

// metadata is the instance metadata service.
type metadata struct {
	endpoint string
	client   *http.Client
	// pause lies between two attempts, and doubles.
	pause time.Duration
}

// metadata fills in the defaults.
func (o *AzureOptions) metadata() (metadata, error) {
	m := metadata{endpoint: o.Endpoint, client: o.Client, pause: time.Second}
	if m.endpoint == "" {
		m.endpoint = azureEndpoint
	}
	u, err := url.Parse(m.endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.User != nil {
		return m, fmt.Errorf("endpoint %.80q, want http://HOST: %w", m.endpoint, ErrUsage)
	}
	if m.client == nil {
		m.client = &http.Client{
			Transport:     &http.Transport{Proxy: nil, DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext, DisableKeepAlives: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	return m, nil
}

// quote returns the TD quote over a TDREPORT: the service has the host's quoting enclave
// make it.
func (m *metadata) quote(ctx context.Context, tdreport []byte) ([]byte, error) {
	request := fmt.Appendf(nil, `{"report":"%s"}`, base64.RawURLEncoding.EncodeToString(tdreport))
	answer, err := m.ask(ctx, http.MethodPost, quotePath, request)
	if err != nil {
		return nil, err
	}
	var quote struct {
		Quote string `json:"quote"`
	}
	if err := json.Unmarshal(answer, &quote); err != nil {
		return nil, fmt.Errorf("the answer is not the JSON of a quote: %w: %w", ErrDevice, err)
	}
	b, err := base64.RawURLEncoding.DecodeString(quote.Quote)
	if err != nil || len(b) == 0 || len(b) > maxTDQuote {
		return nil, fmt.Errorf("a quote of %d bytes, want 1 to %d in base64url: %w", len(b), maxTDQuote, ErrDevice)
	}
	return b, nil
}

// certificates returns the certificates of the machine's key.
func (m *metadata) certificates(ctx context.Context) ([]attest.Collateral, error) {
	answer, err := m.ask(ctx, http.MethodGet, certificatesPath, nil)
	if err != nil {
		return nil, err
	}
	var body struct {
		VCEK  string `json:"vcekCert"`
		Chain string `json:"certificateChain"`
	}
	if err := json.Unmarshal(answer, &body); err != nil {
		return nil, fmt.Errorf("the answer is not the JSON of certificates: %w: %w", ErrDevice, err)
	}
	var out []attest.Collateral
	for _, list := range []struct {
		text string
		want int
	}{{body.VCEK, 1}, {body.Chain, 2}} {
		rest, n := []byte(list.text), 0
		for len(bytes.TrimSpace(rest)) > 0 {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil || block.Type != "CERTIFICATE" || n == list.want {
				return nil, fmt.Errorf("something else than %d certificates in PEM: %w", list.want, ErrDevice)
			}
			if _, err := x509.ParseCertificate(block.Bytes); err != nil {
				return nil, fmt.Errorf("certificate %d: %w: %w", len(out), ErrDevice, err)
			}
			n++
			out = append(out, attest.Collateral{Kind: attest.CollateralCertificate, Data: block.Bytes})
		}
		if n != list.want {
			return nil, fmt.Errorf("%d certificates, want %d: %w", n, list.want, ErrDevice)
		}
	}
	return out, nil
}

// ask sends a request, again while the service is busy or fails, and returns the answer.
// The error wraps ErrAbsent if nothing answers, ErrDevice, or is the context's.
func (m *metadata) ask(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	pause := m.pause
	for attempt := 1; ; attempt++ {
		answer, again, err := m.once(ctx, method, path, body)
		if err == nil || !again || attempt == metadataAttempts {
			return answer, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w, after: %w", ctx.Err(), err)
		case <-time.After(pause):
			pause *= 2
		}
	}
}

// once sends a request; again is true if another attempt may help.
func (m *metadata) once(ctx context.Context, method, path string, body []byte) (answer []byte, again bool, err error) {
	limited, cancel := context.WithTimeout(ctx, metadataTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(limited, method, m.endpoint+path, bytes.NewReader(body))
	if err != nil {
		return nil, false, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	r.Header.Set("Metadata", "true")
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	rsp, err := m.client.Do(r)
	if err != nil {
		if e := ctx.Err(); e != nil {
			return nil, false, e
		}
		return nil, false, fmt.Errorf("the instance metadata service does not answer: %w: %v", ErrAbsent, err)
	}
	defer rsp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(rsp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, true, fmt.Errorf("reading the answer of %s: %w: %w", path, ErrDevice, err)
	case len(b) > maxAnswer:
		return nil, false, fmt.Errorf("the answer of %s has more than %d bytes: %w", path, maxAnswer, ErrDevice)
	case rsp.StatusCode != http.StatusOK:
		again := rsp.StatusCode == http.StatusTooManyRequests || rsp.StatusCode == http.StatusGone || rsp.StatusCode >= 500
		return nil, again, fmt.Errorf("%s answered %s: %.200q: %w", path, rsp.Status, b, ErrDevice)
	}
	return b, false, nil
}
