package attest_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
)

// revocationList is a list of one entry.
func revocationList(t *testing.T, update, revoked time.Time, extension ...[]byte) *x509.RevocationList {
	t.Helper()
	e := x509.RevocationListEntry{SerialNumber: big.NewInt(7), RevocationTime: revoked}
	for _, x := range extension {
		e.Extensions = append(e.Extensions, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 24}, Value: x})
	}
	return &x509.RevocationList{ThisUpdate: update, RevokedCertificateEntries: []x509.RevocationListEntry{e}}
}

func TestRevokes(t *testing.T) {
	day := func(n int) time.Time { return time.Date(2026, 11, n, 0, 0, 0, 0, time.UTC) }
	invalid := func(n int) []byte {
		b, err := asn1.MarshalWithParams(day(n), "generalized")
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, x := range map[string]struct {
		list *x509.RevocationList
		at   time.Time
		want bool
	}{
		"in a list of before":                    {revocationList(t, day(10), day(5)), day(20), true},
		"on the list's day":                      {revocationList(t, day(20), day(5)), day(20), true},
		"dated ahead in a list of before":        {revocationList(t, day(10), day(25)), day(20), true},
		"before, in a later list":                {revocationList(t, day(25), day(5)), day(20), true},
		"that day, in a later list":              {revocationList(t, day(25), day(20)), day(20), true},
		"since, in a later list":                 {revocationList(t, day(25), day(21)), day(20), false},
		"since, but compromised before":          {revocationList(t, day(25), day(21), invalid(19)), day(20), true},
		"since, compromised since":               {revocationList(t, day(25), day(24), invalid(21)), day(20), false},
		"before, and compromised later they say": {revocationList(t, day(25), day(5), invalid(24)), day(20), true},
		"since, with a date of no sense":         {revocationList(t, day(25), day(21), []byte{5, 0}), day(20), true},
		"since, with bytes behind the date":      {revocationList(t, day(25), day(21), append(invalid(24), 0)), day(20), true},
		"no list":                                {nil, day(20), false},
	} {
		if got := attest.Revokes(x.list, big.NewInt(7), x.at); got != x.want {
			t.Errorf("%s: %v", name, got)
		}
		if attest.Revokes(x.list, big.NewInt(8), x.at) || attest.Revokes(x.list, nil, x.at) {
			t.Errorf("%s: revokes another", name)
		}
	}
}

// What was revoked in December was good in November, and a list of January knows.
func ExampleRevokes() {
	at := func(m time.Month) time.Time { return time.Date(2026, m, 1, 0, 0, 0, 0, time.UTC) }
	list := &x509.RevocationList{
		ThisUpdate: at(13), RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: big.NewInt(7), RevocationTime: at(12)}},
	}
	fmt.Println(attest.Revokes(list, big.NewInt(7), at(11)), attest.Revokes(list, big.NewInt(7), at(12)))
	// Output: false true
}
