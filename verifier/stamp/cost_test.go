package stamp_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/simulator/tsa"
	"github.com/sworn-run/sworn/verifier/stamp"
)

// TestHostileCertificates fills a token with certificates of one name and one large key that
// all sign each other and the signer: looking for a way to a root takes no longer than
// verifying each of them by each.
func TestHostileCertificates(t *testing.T) {
	if testing.Short() {
		t.Skip("makes a large key")
	}
	key, err := rsa.GenerateKey(rand.Reader, 4096)
	if err != nil {
		t.Fatal(err)
	}
	name := pkix.Name{CommonName: "one of many SIMULATED"}
	var issuers []*x509.Certificate
	for i := range limits.Certificates - 1 {
		c := &x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 1)), Subject: name, NotBefore: made, NotAfter: stamped.AddDate(1, 0, 0),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		}
		der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		if c, err = x509.ParseCertificate(der); err != nil {
			t.Fatal(err)
		}
		issuers = append(issuers, c)
	}
	a := newAuthority(t, tsa.Options{})
	signer, signerKey := signedBy(t, issuers[0], key)
	tok := parsed(t, a.With(signer, signerKey), edited(func(p *tsa.Parts) {
		p.Certificates = p.Certificates[:1]
		for _, c := range issuers {
			p.Certificates = append(p.Certificates, c.Raw)
		}
	}))
	// The cost of one signature here, now.
	begin := time.Now()
	for range 20 {
		if err := issuers[0].CheckSignatureFrom(issuers[1]); err != nil {
			t.Fatal(err)
		}
	}
	one := time.Since(begin) / 20
	begin = time.Now()
	got := tok.Verify(trusting(authority().Root()), nil, stamped)
	took := time.Since(begin)
	if got.Reason != stamp.ReasonUntrusted {
		t.Fatalf("%v %q: %s", got.Status, got.Reason, got.Detail)
	}
	t.Logf("%v, %d signatures' worth", took, took/one)
	if took > 400*one {
		t.Errorf("took %v, as long as %d signatures", took, took/one)
	}
}
