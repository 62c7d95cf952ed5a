package amd_test

import (
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/sworn-run/sworn/simulator/amd"
)

// TestKDSRevoked checks that a list revokes what was issued by its issuer only.
func TestKDSRevoked(t *testing.T) {
	p := machine(t, amd.Milan)
	v := p.Vendor()
	vcek := parse(t, must(p.Certificate(amd.VCEK, now))(t))
	kds := &amd.KDS{
		Vendors: []*amd.Vendor{v}, Now: func() time.Time { return now },
		Revoked: []*x509.Certificate{v.ASVK(), vcek, machine(t, amd.Genoa).Vendor().ASK()},
	}
	for _, path := range []string{"/vcek/v1/Milan/crl", "/vlek/v1/Milan/crl"} {
		code, body, _ := get(t, kds, path)
		l := must(x509.ParseRevocationList(body))(t)
		if e := l.RevokedCertificateEntries; code != http.StatusOK || len(e) != 1 || e[0].SerialNumber.Cmp(v.ASVK().SerialNumber) != 0 {
			t.Errorf("%s: %d, revoked are %v", path, code, e)
		}
		if err := l.CheckSignatureFrom(v.ARK()); err != nil {
			t.Error(err)
		}
	}
}

// TestKDSMethods checks that nothing can be written.
func TestKDSMethods(t *testing.T) {
	kds := &amd.KDS{Vendors: []*amd.Vendor{machine(t, amd.Milan).Vendor()}}
	w := httptest.NewRecorder()
	kds.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/vcek/v1/Milan/crl", http.NoBody))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", w.Code)
	}
}
