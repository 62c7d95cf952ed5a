package attest_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
)

// pinnedRoot returns a root's certificate and a pin of it.
func pinnedRoot(t *testing.T) (*x509.Certificate, attest.Pin) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "maker", Organization: []string{"x"}},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	day := time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)
	return c, attest.Pin{
		Role: "tpm-ek", Subject: "CN=maker,O=x", SPKI: sha256.Sum256(c.RawSubjectPublicKeyInfo), From: day, Until: day.AddDate(0, 0, 1),
	}
}

func TestPin(t *testing.T) {
	c, pin := pinnedRoot(t)
	a := &attest.Anchors{Pins: []attest.Pin{{Role: "tpm-ek"}, pin}}
	if p := a.Pinned("tpm-ek", c); p == nil || p.SPKI != pin.SPKI {
		t.Errorf("the pin of the certificate is %+v", p)
	}
	if a.Pinned("tpm-ak", c) != nil || a.Pinned("tpm-ek", nil) != nil || (*attest.Anchors)(nil).Pinned("tpm-ek", c) != nil {
		t.Error("a pin agrees to what it does not name")
	}
	if (&attest.Pin{}).Certificate(c) || (*attest.Pin)(nil).Certificate(c) {
		t.Error("a zero pin agrees")
	}
	der := bytes.Clone(c.Raw)
	der[len(der)-1] ^= 1
	forged, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if pin.Certificate(forged) {
		t.Error("a forged self-signature is accepted")
	}
	if !pin.Names(c) || !pin.Names(forged) || (*attest.Pin)(nil).Names(c) || pin.Names(nil) {
		t.Error("a pin does not name exactly the key and the name")
	}
	other := pin
	other.Subject = "CN=maker"
	if other.Certificate(c) {
		t.Error("another subject is accepted")
	}
}

// TestPinValid: the days of use are whole days, the last one included.
func TestPinValid(t *testing.T) {
	_, pin := pinnedRoot(t)
	for at, want := range map[time.Time]bool{
		pin.From: true, pin.From.Add(-1): false, pin.Until.Add(24*time.Hour - 1): true, pin.Until.Add(24 * time.Hour): false, {}: false,
	} {
		if pin.Valid(at) != want {
			t.Errorf("at %v: %v", at, !want)
		}
	}
	if (*attest.Pin)(nil).Valid(pin.From) {
		t.Error("a nil pin is valid")
	}
}
