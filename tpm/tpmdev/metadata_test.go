package tpmdev

import (
	"bytes"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/hcl"
)

// service is a metadata service that answers with the given codes and body, the last of
// them again and again.
type service struct {
	codes []int
	body  string
	// seen are the requests so far, bodies their bodies.
	seen   []*http.Request
	bodies []string
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	s.seen, s.bodies = append(s.seen, r), append(s.bodies, string(b))
	code := s.codes[min(len(s.seen), len(s.codes))-1]
	if code == http.StatusFound {
		w.Header().Set("Location", "/elsewhere")
	}
	w.WriteHeader(code)
	_, _ = io.WriteString(w, s.body)
}

// metadata returns a client of the service.
func (s *service) metadata(t *testing.T) metadata {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	m, err := (&AzureOptions{Endpoint: server.URL}).metadata()
	if err != nil {
		t.Fatal(err)
	}
	m.pause = time.Millisecond
	return m
}

func TestTDQuote(t *testing.T) {
	report := bytes.Repeat([]byte{0xFB, 0xFF}, 512)
	quote := bytes.Repeat([]byte{1, 0xFB, 0xFF}, 1000)
	good := `{"quote":"` + base64.RawURLEncoding.EncodeToString(quote) + `"}`
	s := &service{codes: []int{429, 503, 200}, body: good}
	m := s.metadata(t)
	got, err := m.quote(t.Context(), report)
	if err != nil || !bytes.Equal(got, quote) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	r := s.seen[2]
	if len(s.seen) != 3 || r.Method != http.MethodPost || r.URL.Path != "/acc/tdquote" || r.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%d requests, %s %s", len(s.seen), r.Method, r.URL)
	}
	var request map[string]string
	if err := json.Unmarshal([]byte(s.bodies[2]), &request); err != nil || len(request) != 1 || request["report"] != base64.RawURLEncoding.EncodeToString(report) {
		t.Errorf("request %s, %v", s.bodies[2], err)
	}
	for name, c := range map[string]struct {
		code, requests int
		body           string
	}{
		"refused":      {400, 1, "no"},
		"not there":    {404, 1, ""},
		"elsewhere":    {302, 1, ""},
		"always busy":  {429, metadataAttempts, ""},
		"no JSON":      {200, 1, "<html>"},
		"twice":        {200, 1, `{"quote":"AA","quote":"AA"}`},
		"other case":   {200, 1, `{"Quote":"AA"}`},
		"base64":       {200, 1, `{"quote":"+/+/"}`},
		"empty":        {200, 1, `{"quote":""}`},
		"large":        {200, 1, strings.Repeat(" ", maxAnswer) + good},
		"large quote":  {200, 1, `{"quote":"` + strings.Repeat("A", 100_000) + `"}`},
		"of a number":  {200, 1, `{"quote":1}`},
		"and a second": {200, 1, good + good},
	} {
		s := &service{codes: []int{c.code}, body: c.body}
		m := s.metadata(t)
		if got, err := m.quote(t.Context(), report); !errors.Is(err, ErrDevice) || got != nil {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if len(s.seen) != c.requests {
			t.Errorf("%s: %d requests, want %d", name, len(s.seen), c.requests)
		}
	}
}

// TestMetadataAbsent: nobody answers, or not in time.
func TestMetadataAbsent(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	m, err := (&AzureOptions{Endpoint: server.URL}).metadata()
	if err != nil {
		t.Fatal(err)
	}
	server.Close()
	if _, err := m.quote(t.Context(), nil); !errors.Is(err, ErrAbsent) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.quote(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	s := &service{codes: []int{503}}
	m = s.metadata(t)
	m.pause = time.Hour
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := m.quote(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	for _, e := range []string{"169.254.169.254", "ftp://a", "http://", "http://a/", "http://a/b", "http://a?b", "http://u@a", "http://a b"} {
		if _, err := (&AzureOptions{Endpoint: e}).metadata(); !errors.Is(err, ErrUsage) {
			t.Errorf("endpoint %q: %v", e, err)
		}
	}
	if m, err := (&AzureOptions{}).metadata(); err != nil || m.endpoint != azureEndpoint || m.client == nil {
		t.Errorf("%+v, %v", m, err)
	}
	own := &http.Client{}
	if m, err := (&AzureOptions{Client: own}).metadata(); err != nil || m.client != own {
		t.Errorf("%+v, %v", m, err)
	}
}

// certificatePEM returns a certificate of that name in PEM, and in DER.
func certificatePEM(t *testing.T, name string) (string, []byte) {
	t.Helper()
	k := newKey(t)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der := create(t, c, c, k.Public(), k)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), der
}

func TestMachineCertificates(t *testing.T) {
	vcek, a := certificatePEM(t, "VCEK")
	ask, b := certificatePEM(t, "ASK")
	ark, c := certificatePEM(t, "ARK")
	body := func(vcek, chain string) string {
		b, err := json.Marshal(map[string]string{"vcekCert": vcek, "certificateChain": chain, "tcbm": "00", "cacheControl": "86400"})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	s := &service{codes: []int{200}, body: body(vcek, ask+"\n"+ark)}
	d := &TPM{azure: &azure{metadata: s.metadata(t), report: &hcl.Report{Type: hcl.SNP}}}
	got, err := d.Collateral(t.Context())
	if err != nil || len(got) != 3 {
		t.Fatalf("%d items, %v", len(got), err)
	}
	for i, want := range [][]byte{a, b, c} {
		if got[i].Kind != attest.CollateralCertificate || !bytes.Equal(got[i].Data, want) {
			t.Errorf("item %d: %s", i, got[i].Kind)
		}
	}
	if r := s.seen[0]; r.Method != http.MethodGet || r.URL.Path != "/metadata/THIM/amd/certification" || r.Header.Get("Metadata") != "true" {
		t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
	}
	key := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: a}))
	broken := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a[1:]}))
	for name, text := range map[string]string{
		"nothing":       "{}",
		"no JSON":       vcek,
		"no VCEK":       body("", ask+ark),
		"two VCEKs":     body(vcek+vcek, ask+ark),
		"chain of one":  body(vcek, ask),
		"chain of four": body(vcek, ask+ark+ask+ark),
		"a key":         body(key, ask+ark),
		"broken":        body(broken, ask+ark),
		"surplus":       body(vcek, ask+ark+"x"),
	} {
		s := &service{codes: []int{200}, body: text}
		d.azure.metadata = s.metadata(t)
		if got, err := d.Collateral(t.Context()); !errors.Is(err, ErrDevice) || got != nil {
			t.Errorf("%s: %d items, %v", name, len(got), err)
		}
	}
	for name, d := range map[string]*TPM{"no Azure": {}, "TDX": {azure: &azure{report: &hcl.Report{Type: hcl.TDX}}}, "not open": {azure: &azure{}}} {
		if got, err := d.Collateral(t.Context()); got != nil || err != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}
