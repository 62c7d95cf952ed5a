package sev

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
)

// TestRevocation: lists count by their issuer, signature and dates.
func TestRevocation(t *testing.T) {
	maker := newAMD(t, milan)
	changed := func(change func(*x509.RevocationList)) []byte { return maker.crlBy(t, maker.ark, change) }
	dated := func(from, until time.Time) []byte {
		return changed(func(l *x509.RevocationList) { l.ThisUpdate, l.NextUpdate = from, until })
	}
	critical := pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Critical: true, Value: []byte{0x30, 0}}
	entry := func(serial int64, x ...pkix.Extension) x509.RevocationListEntry {
		return x509.RevocationListEntry{SerialNumber: big.NewInt(serial), RevocationTime: testTime.AddDate(0, -1, 0), ExtraExtensions: x}
	}
	revoked := maker.crl(t, 0x10001)
	fresh, stale := maker.crl(t), dated(testTime.AddDate(-1, 0, 0), testTime)
	other := newAMD(t, milan)
	other.ark = newAuthority(t, arkTemplate(milan), nil, "other")
	for name, test := range map[string]struct {
		lists [][]byte
		want  attest.Status
		used  []int
	}{
		"no list":     {nil, attest.NotEstablished, nil},
		"fresh":       {[][]byte{fresh}, attest.Passed, []int{3}},
		"stale":       {[][]byte{stale}, attest.NotEstablished, []int{3}},
		"not yet":     {[][]byte{dated(testTime.Add(time.Second), testTime.AddDate(1, 0, 0))}, attest.NotEstablished, []int{3}},
		"from now on": {[][]byte{dated(testTime, testTime.Add(time.Second))}, attest.Passed, []int{3}},
		"revoked":     {[][]byte{revoked}, attest.Failed, []int{3}},
		"revoked by a stale one": {[][]byte{changed(func(l *x509.RevocationList) {
			l.NextUpdate = testTime
			l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, entry(0x10001))
		}), fresh}, attest.Failed, []int{3}},
		"revoked and an empty one": {[][]byte{fresh, revoked}, attest.Failed, []int{4}},
		"the root itself":          {[][]byte{maker.crl(t, 0x10000)}, attest.Failed, []int{3}},
		"another authority":        {[][]byte{maker.crl(t, 0x10101)}, attest.Passed, []int{3}},
		"serial of every VCEK":     {[][]byte{maker.crl(t, 0)}, attest.Passed, []int{3}},
		"two fresh ones":           {[][]byte{dated(testTime.AddDate(0, -2, 0), testTime.AddDate(1, 0, 0)), fresh}, attest.Passed, []int{4}},
		"a stale and a fresh one":  {[][]byte{stale, fresh}, attest.Passed, []int{4}},
		"by another key":           {[][]byte{other.crl(t)}, attest.NotEstablished, nil},
		"revoked by another key":   {[][]byte{other.crl(t, 0x10001), fresh}, attest.Passed, []int{4}},
		"by the ASK":               {[][]byte{maker.crlBy(t, maker.ask, nil)}, attest.NotEstablished, nil},
		"signed with PKCS #1":      {[][]byte{changed(func(l *x509.RevocationList) { l.SignatureAlgorithm = x509.SHA384WithRSA })}, attest.NotEstablished, nil},
		"a critical extension":     {[][]byte{changed(func(l *x509.RevocationList) { l.ExtraExtensions = append(l.ExtraExtensions, critical) })}, attest.NotEstablished, nil},
		"an entry's": {[][]byte{changed(func(l *x509.RevocationList) {
			l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, entry(5, critical))
		})}, attest.NotEstablished, nil},
		"with a byte behind": {[][]byte{append(slices.Clone(fresh), 0)}, attest.NotEstablished, nil},
		"as PEM":             {[][]byte{[]byte("-----BEGIN X509 CRL-----\n")}, attest.NotEstablished, nil},
	} {
		t.Run(name, func(t *testing.T) {
			c := newChip(t, maker, signerVCEK, 3)
			got := verify(t, Scheme{}, withCollateral(c.report(t), c.chain(t), test.lists...), maker.anchors())
			var used []int
			for _, u := range got.Used[3:] {
				used = append(used, u.Index)
			}
			if got.Revocation.Status != test.want || got.Revocation.Detail == "" || !slices.Equal(used, test.used) {
				t.Errorf("revocation %+v, used %v", got.Revocation, used)
			}
			if got.Identity.Status != attest.Passed {
				t.Errorf("identity %+v", got.Identity)
			}
		})
	}
}

// TestEndlessList: a list that does not say when the next one comes is never fresh.
func TestEndlessList(t *testing.T) {
	m := &material{at: testTime}
	if m.fresh(&list{RevocationList: &x509.RevocationList{ThisUpdate: testTime}}) {
		t.Error("a list without an end is fresh")
	}
}

// TestExpiredList: a list of last year says nothing of today, whatever it lists.
func TestExpiredList(t *testing.T) {
	maker := newAMD(t, genoa)
	c := newChip(t, maker, signerVCEK, 3)
	old := maker.crlBy(t, maker.ark, func(l *x509.RevocationList) {
		l.ThisUpdate, l.NextUpdate = testTime.AddDate(-2, 0, 0), testTime.AddDate(-1, 0, 0)
	})
	got := verify(t, Scheme{}, withCollateral(c.report(t), c.chain(t), old), maker.anchors())
	if got.Revocation.Status != attest.NotEstablished || len(got.Used) != 4 {
		t.Errorf("revocation %+v, used %+v", got.Revocation, got.Used)
	}
}

// TestRevokedASVK: the authority of VLEKs is revoked like that of VCEKs.
func TestRevokedASVK(t *testing.T) {
	maker := newAMD(t, milan)
	c := newChip(t, maker, signerVLEK, 3)
	for serial, want := range map[int64]attest.Status{0x10101: attest.Failed, 0x10001: attest.Passed} {
		got := verify(t, Scheme{}, withCollateral(c.report(t), c.chain(t), maker.crl(t, serial)), maker.anchors())
		if got.Revocation.Status != want {
			t.Errorf("serial %x: %+v", serial, got.Revocation)
		}
	}
}

// TestRevokedKey: an authority's key is revoked with any certificate of it, though
// another certificate of the same key stands in the chain.
func TestRevokedKey(t *testing.T) {
	maker := newAMD(t, milan)
	c := newChip(t, maker, signerVCEK, 3)
	earlier := newAuthority(t, caTemplate("SEV-Milan", 0x10009), maker.ark, "ask").cert
	unrelated := newAuthority(t, caTemplate("SEV-Milan", 0x10009), maker.ark, "other").cert
	outsider := newAuthority(t, caTemplate("SEV-Milan", 0x10009), newAuthority(t, arkTemplate(milan), nil, "other"), "ask").cert
	list := maker.crl(t, 0x10009)
	for name, test := range map[string]struct {
		extra *x509.Certificate
		want  attest.Status
	}{"of the key": {earlier, attest.Failed}, "of another key": {unrelated, attest.Passed}, "by somebody else": {outsider, attest.Passed}} {
		ev := withCollateral(c.report(t), append(c.chain(t), test.extra.Raw), list)
		if got := verify(t, Scheme{}, ev, maker.anchors()); got.Revocation.Status != test.want {
			t.Errorf("%s: %+v, identity %+v", name, got.Revocation, got.Identity.Finding)
		}
		a := maker.anchors()
		a.Roots = append(a.Roots, attest.Root{Role: Role, Certificate: test.extra})
		if got := verify(t, Scheme{}, withCollateral(c.report(t), c.chain(t), list), a); got.Revocation.Status != test.want {
			t.Errorf("%s, supplied: %+v", name, got.Revocation)
		}
	}
}
