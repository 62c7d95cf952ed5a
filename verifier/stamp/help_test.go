package stamp_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/simulator/tsa"
	"github.com/sworn-run/sworn/verifier/stamp"
)

// made is when the authorities of these tests were made, and stamped when they stamp.
var (
	made    = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	stamped = time.Date(2026, 6, 1, 12, 30, 15, 250_000_000, time.UTC)
	digest  = sha256.Sum256([]byte("what is stamped"))
)

// newAuthority returns an authority.
func newAuthority(tb testing.TB, o tsa.Options) *tsa.Authority {
	tb.Helper()
	a, err := tsa.New(made, o)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// authority returns the ordinary authority of these tests.
var authority = sync.OnceValue(func() *tsa.Authority {
	a, err := tsa.New(made, tsa.Options{})
	if err != nil {
		panic(err)
	}
	return a
})

// rsaKey returns an RSA key of 2048 bits.
var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

// order returns what is stamped.
func order() tsa.Order {
	return tsa.Order{Hash: crypto.SHA256, Imprint: digest[:], Time: stamped}
}

// token makes a token.
func token(tb testing.TB, a *tsa.Authority, o tsa.Order) []byte {
	tb.Helper()
	der, err := a.Token(o)
	if err != nil {
		tb.Fatal(err)
	}
	return der
}

// parsed makes a token and reads it.
func parsed(tb testing.TB, a *tsa.Authority, o tsa.Order) *stamp.Token {
	tb.Helper()
	tok, err := stamp.Parse(token(tb, a, o))
	if err != nil {
		tb.Fatal(err)
	}
	return tok
}

// trusting returns anchors with these roots.
func trusting(roots ...*x509.Certificate) *attest.Anchors {
	a := &attest.Anchors{}
	for _, c := range roots {
		a.Roots = append(a.Roots, attest.Root{Role: stamp.Role, Certificate: c, UserSupplied: true})
	}
	return a
}

// list returns a list of the authority below the root.
func list(tb testing.TB, a *tsa.Authority, l tsa.List) []byte {
	tb.Helper()
	der, err := a.IssuerList(l)
	if err != nil {
		tb.Fatal(err)
	}
	return der
}

// edited is order with a change.
func edited(edit func(*tsa.Parts)) tsa.Order {
	o := order()
	o.Edit = edit
	return o
}

// without removes the attributes of a type.
func without(p *tsa.Parts, last int) {
	p.Attributes = slices.DeleteFunc(p.Attributes, func(a tsa.Attribute) bool { return a.Type[len(a.Type)-1] == last })
}

// signedBy returns a certificate for time-stamping that an issuer signed, and its key.
func signedBy(tb testing.TB, issuer *x509.Certificate, by crypto.Signer) (*x509.Certificate, crypto.Signer) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	c := *authority().Signer()
	c.RawSubject, c.Subject.CommonName, c.SignatureAlgorithm = nil, "signer SIMULATED", x509.UnknownSignatureAlgorithm
	c.ExtraExtensions = nil
	for _, x := range c.Extensions {
		if x.Id.String() == "2.5.29.37" {
			c.ExtraExtensions = append(c.ExtraExtensions, x)
		}
	}
	c.ExtKeyUsage = nil
	der, err := x509.CreateCertificate(rand.Reader, &c, issuer, key.Public(), by)
	if err != nil {
		tb.Fatal(err)
	}
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return signed, key
}
