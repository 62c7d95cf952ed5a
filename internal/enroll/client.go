package enroll

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/tpm/tpmdev"
)

// timeout bounds one request of the client; a slow TPM makes the server wait,
// not the other way round.
const timeout = 30 * time.Second

// TLS returns the configuration of either side: TLS 1.3, its own certificate and
// key, and the CA whose certificates the other side must show, all PEM files.
// The error wraps ErrFile.
func TLS(certFile, keyFile, caFile string) (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate and its key: %w: %w", ErrFile, err)
	}
	text, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("reading the CA: %w: %w", ErrFile, err)
	}
	pool := x509.NewCertPool()
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil || !c.IsCA {
			return nil, fmt.Errorf("%s holds something else than certificates of CAs: %w", caFile, errors.Join(ErrFile, err))
		}
		pool.AddCert(c)
	}
	if pool.Equal(x509.NewCertPool()) {
		return nil, fmt.Errorf("%s holds no certificate: %w", caFile, ErrFile)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert},
		RootCAs: pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}, nil
}

// Client is the enrolling party as an applicant sees it, for one enrolment.
type Client struct {
	base    *url.URL
	http    *http.Client
	session []byte
}

var _ tpmdev.Enroller = (*Client)(nil)

// NewClient returns a client of the server at an https URL without a path. The
// error wraps ErrServer if it is none.
func NewClient(server string, c *tls.Config) (*Client, error) {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil ||
		strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("server %.200q is not an https URL of a host and port: %w", server, errors.Join(ErrServer, err))
	}
	// No proxy from the environment, no redirect: the server is the one named.
	return &Client{base: u, http: &http.Client{
		Timeout:   timeout,
		Transport: &http.Transport{TLSClientConfig: c, ForceAttemptHTTP2: true},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}}, nil
}

// Challenge implements [tpmdev.Enroller]. The error wraps ErrServer, ErrRefused
// or the context's.
func (c *Client) Challenge(ctx context.Context, r *tpmdev.Request) (*tpmdev.Credential, error) {
	var m challenge
	err := c.post(ctx, pathChallenge, &request{
		Type: typeRequest, EKCertificates: r.EKCertificates, EKPublic: r.EKPublic, AKPublic: r.AKPublic, AKParent: r.AKParent,
	}, &m, &m.Type, typeChallenge)
	if err != nil {
		return nil, err
	}
	c.session = m.Session
	return &tpmdev.Credential{Blob: m.Blob, Secret: m.Secret}, nil
}

// Certify implements [tpmdev.Enroller]; the errors are those of Challenge.
func (c *Client) Certify(ctx context.Context, secret []byte) ([][]byte, error) {
	var m certificate
	err := c.post(ctx, pathCertificate, &proof{Type: typeProof, Session: c.session, Secret: secret}, &m, &m.Type, typeCertificate)
	if err != nil {
		return nil, err
	}
	return m.Certificates, nil
}

// post sends one message and reads the answer.
func (c *Client) post(ctx context.Context, path string, in, out any, kind *string, want string) error {
	b, err := cer.MarshalCanonical(in)
	if err != nil {
		return fmt.Errorf("encoding a message: %w: %w", ErrMessage, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base.JoinPath(path).String(), bytes.NewReader(b))
	if err != nil {
		return fmt.Errorf("asking: %w: %w", ErrServer, err)
	}
	req.Header.Set("Content-Type", "application/json")
	rsp, err := c.http.Do(req)
	if err != nil {
		if e := ctx.Err(); e != nil {
			return e
		}
		return fmt.Errorf("asking: %w: %w", ErrServer, err)
	}
	defer rsp.Body.Close()
	if rsp.StatusCode != http.StatusOK {
		return refusal(rsp)
	}
	if err := decode(rsp.Body, out, kind, want); err != nil {
		return fmt.Errorf("%w: %w", ErrServer, err)
	}
	return nil
}

// refusal reads why the server said no.
func refusal(rsp *http.Response) error {
	var m failure
	text := rsp.Status
	if err := decode(io.LimitReader(rsp.Body, maxMessage), &m, &m.Type, typeError); err == nil && m.Error != "" {
		text = m.Error
	}
	sentinel := ErrServer
	if rsp.StatusCode == http.StatusForbidden || rsp.StatusCode == http.StatusBadRequest {
		sentinel = ErrRefused
	}
	return fmt.Errorf("the server says %.500q: %w", text, sentinel)
}
