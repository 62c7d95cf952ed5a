package stamp_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"testing"
	"time"

	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/simulator/tsa"
	"github.com/sworn-run/sworn/verifier/stamp"
)

// TestHostileCertificates fills a token with certificates of authorities that sign each other
// and the signer: looking for a way to a root takes some signatures for each of them, and not
// one for each way.
func TestHostileCertificates(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 4096)
	if err != nil {
		t.Fatal(err)
	}
	issued := func(subject, issuer string, number int) *x509.Certificate {
		c := &x509.Certificate{
			SerialNumber: big.NewInt(int64(number + 1)), Subject: pkix.Name{CommonName: subject}, NotBefore: made, NotAfter: stamped.AddDate(1, 0, 0),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		}
		by := &x509.Certificate{Subject: pkix.Name{CommonName: issuer}}
		der, err := x509.CreateCertificate(rand.Reader, c, by, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		if c, err = x509.ParseCertificate(der); err != nil {
			t.Fatal(err)
		}
		return c
	}
	for name, x := range map[string]struct {
		level func(i int) int
		most  time.Duration // in signatures
	}{
		"all of one name":      {func(int) int { return 0 }, 20},
		"two of each name":     {func(i int) int { return i / 2 }, 20},
		"each of another name": {func(i int) int { return i }, 60},
		"two of some names":    {func(i int) int { return max(i-2, i/2) }, 120},
	} {
		t.Run(name, func(t *testing.T) {
			var issuers []*x509.Certificate
			for i := range limits.Certificates - 1 {
				issuers = append(issuers, issued(fmt.Sprintf("level %d SIMULATED", x.level(i)), fmt.Sprintf("level %d SIMULATED", x.level(i)+1), i))
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
				if err := issuers[0].CheckSignature(issuers[0].SignatureAlgorithm, issuers[0].RawTBSCertificate, issuers[0].Signature); err != nil {
					t.Fatal(err)
				}
			}
			one := time.Since(begin) / 20
			// What else the machine does falls on some of the rounds.
			took, got := time.Hour, stamp.Result{}
			for range 5 {
				begin = time.Now()
				got = tok.Verify(trusting(authority().Root()), nil, stamped)
				took = min(took, time.Since(begin))
			}
			if got.Reason != stamp.ReasonUntrusted {
				t.Fatalf("%v %q: %s", got.Status, got.Reason, got.Detail)
			}
			t.Logf("%v, %d signatures' worth", took, took/one)
			if took > 2*x.most*one+20*time.Millisecond {
				t.Errorf("took %v, as long as %d signatures", took, took/one)
			}
		})
	}
}
