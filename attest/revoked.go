package attest

import (
	"crypto/x509"
	"encoding/asn1"
	"math/big"
	"time"
)

// oidInvalidityDate is the extension of an entry that tells since when its issuer
// takes the key to have been compromised (RFC 5280, 5.3.2).
var oidInvalidityDate = asn1.ObjectIdentifier{2, 5, 29, 24}

// Revokes reports whether a list, whose issuer and signature somebody else has checked,
// revokes a serial number as of a time.
//
// A list of that time or before revokes all that it names. A later one revokes what it
// dates to that time or before: it is what is known now of then, and a certificate that
// was revoked afterwards was good. An entry is dated by its revocation date or, where
// its issuer knew the key to be compromised before, by the invalidity date.
func Revokes(l *x509.RevocationList, serial *big.Int, at time.Time) bool {
	if l == nil || serial == nil {
		return false
	}
	for i := range l.RevokedCertificateEntries {
		e := &l.RevokedCertificateEntries[i]
		if e.SerialNumber == nil || e.SerialNumber.Cmp(serial) != 0 {
			continue
		}
		if !l.ThisUpdate.After(at) || !since(e).After(at) {
			return true
		}
	}
	return false
}

// since returns from when on an entry revokes. A date that cannot be read is the
// earliest of all.
func since(e *x509.RevocationListEntry) time.Time {
	out := e.RevocationTime
	for _, x := range e.Extensions {
		if !x.Id.Equal(oidInvalidityDate) {
			continue
		}
		var t time.Time
		if rest, err := asn1.UnmarshalWithParams(x.Value, &t, "generalized"); err != nil || len(rest) != 0 {
			return time.Time{}
		}
		if t.Before(out) {
			out = t
		}
	}
	return out
}
