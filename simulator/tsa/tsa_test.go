package tsa_test

import (
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/simulator/tsa"
)

// TestOpen keeps an authority in a folder, whose root is one for verifiers.
func TestOpen(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	a, err := tsa.Open(dir, now)
	if err != nil {
		t.Fatal(err)
	}
	again, err := tsa.Open(dir, now.AddDate(1, 0, 0))
	if err != nil || !again.Signer().Equal(a.Signer()) || !again.Root().Equal(a.Root()) {
		t.Fatalf("another authority the second time: %v", err)
	}
	for _, c := range []*x509.Certificate{a.Root(), a.Issuer(), a.Signer()} {
		if !strings.HasSuffix(c.Subject.CommonName, "SIMULATED") {
			t.Errorf("%q does not say that it is simulated", c.Subject.CommonName)
		}
	}
	if name := tsa.RootFile(dir); name != filepath.Join(dir, "roots", "tsa", "SIMULATED-tsa-root.pem") {
		t.Errorf("the root is in %s", name)
	}
	other, err := tsa.Open(t.TempDir(), now)
	if err != nil || other.Root().Equal(a.Root()) {
		t.Fatalf("one root for two authorities: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "tsa", "signer.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := tsa.Open(dir, now); !errors.Is(err, tsa.ErrDir) {
		t.Errorf("without a key: %v", err)
	}
	if _, err := tsa.Open("", now); !errors.Is(err, tsa.ErrDir) {
		t.Errorf("without a folder: %v", err)
	}
	if _, err := (&tsa.Authority{}).Token(tsa.Order{}); !errors.Is(err, tsa.ErrIssue) {
		t.Errorf("a token of nobody: %v", err)
	}
}

// TestService asks the service for what it has, and for what it has not.
func TestService(t *testing.T) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	a, err := tsa.New(now, tsa.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := &tsa.Service{Authority: a, Now: func() time.Time { return now }, Revoked: []tsa.Revoked{{Serial: a.Signer().SerialNumber, At: now, Reason: 4}}}
	ask := func(h http.Handler, method, path, kind string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader("no request"))
		r.Header.Set("Content-Type", kind)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	const query = "application/timestamp-query"
	for _, x := range []struct {
		method, path, kind string
		want               int
	}{
		{http.MethodPost, tsa.PathStamp, query, http.StatusOK},
		{http.MethodGet, tsa.PathStamp, query, http.StatusBadRequest},
		{http.MethodPost, tsa.PathStamp, "text/plain", http.StatusBadRequest},
		{http.MethodGet, "/", query, http.StatusNotFound},
		{http.MethodPost, tsa.PathRootList, query, http.StatusNotFound},
	} {
		if got := ask(s, x.method, x.path, x.kind); got.Code != x.want {
			t.Errorf("%s %s: %d, want %d", x.method, x.path, got.Code, x.want)
		}
	}
	if got := ask(&tsa.Service{}, http.MethodPost, tsa.PathStamp, query); got.Code != http.StatusNotFound {
		t.Errorf("nobody's service: %d", got.Code)
	}
	for path, x := range map[string]struct {
		issuer  *x509.Certificate
		entries int
	}{tsa.PathRootList: {a.Root(), 0}, tsa.PathIssuerList: {a.Issuer(), 1}} {
		l, err := x509.ParseRevocationList(ask(s, http.MethodGet, path, "").Body.Bytes())
		if err != nil || l.CheckSignatureFrom(x.issuer) != nil || len(l.RevokedCertificateEntries) != x.entries || !l.ThisUpdate.Before(now) {
			t.Errorf("%s: %v, %d entries", path, err, len(l.RevokedCertificateEntries))
		}
	}
}
