package azure

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
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
	"github.com/sworn-run/sworn/tpm/tpmdev"
)

// TestCollateral: the device side reads what the service answers.
func TestCollateral(t *testing.T) {
	var chain [][]byte
	for _, name := range []string{"VCEK", "ASK", "ARK"} {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour)}
		der, err := x509.CreateCertificate(rand.Reader, c, c, k.Public(), k)
		if err != nil {
			t.Fatal(err)
		}
		chain = append(chain, der)
	}
	p := start(t, snp)
	d, err := tpmdev.OpenAzure(t.Context(), p.Addr(), tpmdev.Options{}, serve(t, &Metadata{Certificates: chain}))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	got, err := d.Collateral(t.Context())
	if err != nil || len(got) != 3 {
		t.Fatalf("%d items, %v", len(got), err)
	}
	for i := range got {
		if got[i].Kind != attest.CollateralCertificate || !bytes.Equal(got[i].Data, chain[i]) {
			t.Errorf("item %d", i)
		}
	}
}

func TestMetadataRefuses(t *testing.T) {
	failing := func([]byte) ([]byte, error) { return nil, errors.New("no") }
	for name, c := range map[string]struct {
		m            Metadata
		method, path string
		body         string
		code         int
	}{
		"no TDX":           {Metadata{}, "POST", "/acc/tdquote", "{}", 404},
		"no SNP":           {Metadata{}, "GET", "/metadata/THIM/amd/certification", "", 404},
		"method":           {Metadata{Quote: quote}, "GET", "/acc/tdquote", "", 404},
		"path":             {Metadata{Quote: quote}, "POST", "/acc/other", "", 404},
		"no JSON":          {Metadata{Quote: quote}, "POST", "/acc/tdquote", "x", 400},
		"base64":           {Metadata{Quote: quote}, "POST", "/acc/tdquote", `{"report":"+"}`, 400},
		"size":             {Metadata{Quote: quote}, "POST", "/acc/tdquote", `{"report":"AAAA"}`, 400},
		"large":            {Metadata{Quote: quote}, "POST", "/acc/tdquote", strings.Repeat(" ", maxRequest+1), 400},
		"fails":            {Metadata{Quote: failing}, "POST", "/acc/tdquote", `{"report":"` + strings.Repeat("A", (hcl.TDXSize*4+2)/3) + `"}`, 500},
		"without metadata": {Metadata{Certificates: [][]byte{{1}}}, "GET", "/metadata/THIM/amd/certification", "", 400},
	} {
		r := httptest.NewRequest(c.method, c.path, strings.NewReader(c.body))
		w := httptest.NewRecorder()
		c.m.ServeHTTP(w, r)
		if w.Code != c.code {
			b, _ := io.ReadAll(w.Body)
			t.Errorf("%s: %d %s, want %d", name, w.Code, b, c.code)
		}
	}
	var _ http.Handler = (*Metadata)(nil)
}
