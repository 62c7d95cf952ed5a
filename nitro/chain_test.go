package nitro

import (
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
)

// identity verifies a vendor's document and returns what is found of its chain.
func identity(tb testing.TB, v vendor, anchors *attest.Anchors, at time.Time) attest.Identity {
	tb.Helper()
	c := accept(tb, evidence(v.document(tb, nil)), anchors, at)
	if (c.Identity.Status == attest.Passed) != (c.Identity.Root != nil) || c.Identity.Detail == "" {
		tb.Fatalf("%+v", c.Identity)
	}
	if c.Identity.Status != attest.Passed && c.Revocation.Status != attest.NotEstablished {
		tb.Fatalf("revocation of a chain that is not established: %+v", c.Revocation)
	}
	return c.Identity
}

// TestAnchors: only a root that was supplied for the role, or is pinned, is one.
func TestAnchors(t *testing.T) {
	v, other := newVendor(t, nil), newVendor(t, nil)
	day := testTime.Truncate(24 * time.Hour)
	role := v.anchors()
	role.Roots[0].Role = "amd-ark"
	pins := v.pins(day, day)
	elsewhere := v.pins(day, day)
	elsewhere.Pins[0].Role = "tpm-ak"
	renamed := v.pins(day, day)
	renamed.Pins[0].Subject = "CN=another"
	both := v.pins(day, day)
	both.Roots = v.anchors().Roots
	hollow := &attest.Anchors{Roots: []attest.Root{{Role: Role}}}
	// A certificate of the root's key and name that its key did not sign.
	c := template("SIMULATED aws.nitro-enclaves", 4)
	forged := *issue(t, elliptic.P384(), c, other[0]).cert
	forged.RawSubjectPublicKeyInfo, forged.RawSubject = v[0].cert.RawSubjectPublicKeyInfo, v[0].cert.RawSubject
	for name, x := range map[string]struct {
		anchors *attest.Anchors
		want    attest.Status
		user    bool
	}{
		"supplied":             {v.anchors(), attest.Passed, true},
		"pinned":               {pins, attest.Passed, false},
		"pinned and supplied":  {both, attest.Passed, false},
		"nothing":              {nil, attest.NotEstablished, false},
		"empty":                {&attest.Anchors{}, attest.NotEstablished, false},
		"another role":         {role, attest.NotEstablished, false},
		"pinned elsewhere":     {elsewhere, attest.NotEstablished, false},
		"another vendor":       {other.anchors(), attest.Failed, false},
		"another's pin":        {other.pins(day, day), attest.Failed, false},
		"AWS's pin":            {&attest.Anchors{Pins: Pins()}, attest.Failed, false},
		"a pin of that key":    {renamed, attest.Failed, false},
		"a pin of the past":    {v.pins(day.AddDate(0, 0, -3), day.AddDate(0, 0, -1)), attest.Failed, false},
		"a pin of the future":  {v.pins(day.AddDate(0, 0, 1), day.AddDate(0, 0, 3)), attest.Failed, false},
		"no certificate":       {hollow, attest.Failed, false},
		"not signed by itself": {&attest.Anchors{Roots: []attest.Root{{Role: Role, Certificate: &forged}}}, attest.Failed, false},
		"an intermediate":      {&attest.Anchors{Roots: []attest.Root{{Role: Role, Certificate: v[1].cert}}}, attest.Failed, false},
	} {
		got := identity(t, v, x.anchors, testTime)
		if got.Status != x.want {
			t.Errorf("%s: %+v", name, got.Finding)
		}
		if got.Root != nil && (got.Root.UserSupplied != x.user || (got.Root.Pin == nil) != x.user || got.Root.Role != Role) {
			t.Errorf("%s: root %+v", name, got.Root)
		}
	}
}

// TestRenewed: a root certified anew over the same key serves, by its own dates.
func TestRenewed(t *testing.T) {
	v := newVendor(t, nil)
	again := func(until time.Time) *attest.Anchors {
		c := template("SIMULATED aws.nitro-enclaves", 4)
		c.NotAfter = until
		der, err := x509.CreateCertificate(nil, c, c, &v[0].key.PublicKey, v[0].key)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return &attest.Anchors{Roots: []attest.Root{{Role: Role, Certificate: parsed, UserSupplied: true}}}
	}
	if got := identity(t, v, again(testTime.Add(time.Hour)), testTime); got.Status != attest.Passed || got.Root.Certificate.Equal(v[0].cert) {
		t.Errorf("%+v", got)
	}
	if got := identity(t, v, again(testTime.Add(-time.Minute)), testTime); got.Status != attest.Failed {
		t.Errorf("%+v", got)
	}
}

// TestDates: everything up to the root is judged at the verifier's time.
func TestDates(t *testing.T) {
	v := newVendor(t, nil)
	for name, x := range map[string]struct {
		at   time.Time
		want attest.Status
	}{
		"when it begins":    {testTime.Add(-3 * time.Second), attest.Passed},
		"a second before":   {testTime.Add(-4 * time.Second), attest.Failed},
		"when it ends":      {testTime.Add(3 * time.Hour), attest.Passed},
		"a second after":    {testTime.Add(3*time.Hour + time.Second), attest.Failed},
		"in another zone":   {testTime.In(time.FixedZone("x", 7*3600)), attest.Passed},
		"after all of them": {testTime.AddDate(1, 0, 0), attest.Failed},
	} {
		if got := identity(t, v, v.anchors(), x.at); got.Status != x.want {
			t.Errorf("%s: %+v", name, got.Finding)
		}
	}
	got := identity(t, v, v.anchors(), testTime.Add(4*time.Hour))
	for _, want := range []string{"2026-02-03T10:11:59Z", "2026-02-03T13:12:02Z", "2026-02-03T14:12:02Z"} {
		if !strings.Contains(got.Detail, want) {
			t.Errorf("%q does not name %s", got.Detail, want)
		}
	}
	for i, shift := range []time.Duration{0: -time.Minute, 1: -time.Minute, 2: -time.Minute, 3: -time.Minute} {
		v := newVendor(t, func(list []*x509.Certificate) { list[i].NotAfter = testTime.Add(shift) })
		if got := identity(t, v, v.anchors(), testTime); got.Status != attest.Failed {
			t.Errorf("certificate %d has ended: %+v", i, got.Finding)
		}
	}
	// The document's own time is outside of its certificate's.
	p := v.payload(nil).set("timestamp", number(uint64(testTime.Add(-time.Minute).UnixMilli()))).encode()
	if c := accept(t, evidence(v.sign(t, p)), v.anchors(), testTime); c.Identity.Status != attest.Failed {
		t.Errorf("made before its certificate: %+v", c.Identity)
	}
}

// TestShapes: certificates that are not what AWS says they are.
func TestShapes(t *testing.T) {
	critical := pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}}
	for name, change := range map[string]func([]*x509.Certificate){
		"a leaf that is a CA's":          func(l []*x509.Certificate) { l[4].IsCA = true },
		"a leaf that certifies":          func(l []*x509.Certificate) { l[4].KeyUsage |= x509.KeyUsageCertSign },
		"a leaf that does not sign":      func(l []*x509.Certificate) { l[4].KeyUsage = x509.KeyUsageContentCommitment },
		"a leaf with an extension":       func(l []*x509.Certificate) { l[4].ExtraExtensions = []pkix.Extension{critical} },
		"an issuer with an extension":    func(l []*x509.Certificate) { l[2].ExtraExtensions = []pkix.Extension{critical} },
		"an issuer that is none":         func(l []*x509.Certificate) { l[3].IsCA, l[3].MaxPathLen, l[3].MaxPathLenZero = false, -1, false },
		"an issuer that does not":        func(l []*x509.Certificate) { l[2].KeyUsage = x509.KeyUsageDigitalSignature },
		"an issuer without basic":        func(l []*x509.Certificate) { l[2].BasicConstraintsValid = false },
		"an issuer without a key usage":  func(l []*x509.Certificate) { l[1].KeyUsage = 0 },
		"a path that is too long":        func(l []*x509.Certificate) { l[1].MaxPathLen, l[1].MaxPathLenZero = 0, true },
		"a root that certifies no one":   func(l []*x509.Certificate) { l[0].KeyUsage = x509.KeyUsageCRLSign },
		"a certificate under SHA-256":    func(l []*x509.Certificate) { l[3].SignatureAlgorithm = x509.ECDSAWithSHA256 },
		"a root that signs with SHA-512": func(l []*x509.Certificate) { l[0].SignatureAlgorithm = x509.ECDSAWithSHA512 },
	} {
		v := newVendor(t, change)
		if got := identity(t, v, v.anchors(), testTime); got.Status != attest.Failed {
			t.Errorf("%s: %+v", name, got.Finding)
		}
	}
}

// TestBundles: chains that do not follow from each other.
func TestBundles(t *testing.T) {
	v, other := newVendor(t, nil), newVendor(t, nil)
	weak := append(vendor{}, v[:3]...)
	weak = append(weak, issue(t, elliptic.P256(), shapes()[3], v[2]))
	weak = append(weak, issue(t, elliptic.P384(), shapes()[4], weak[3]))
	direct := vendor{v[0], issue(t, elliptic.P384(), shapes()[4], v[0])}
	for name, x := range map[string]struct {
		chain vendor
		want  attest.Status
	}{
		"as it is":               {v, attest.Passed},
		"by the root itself":     {direct, attest.Passed},
		"without one":            {slices.Concat(v[:2], v[3:]), attest.Failed},
		"without the root":       {v[1:], attest.Failed},
		"one twice":              {slices.Concat(v[:2], v[1:]), attest.Failed},
		"two the other way":      {vendor{v[0], v[2], v[1], v[3], v[4]}, attest.Failed},
		"a root of that name":    {slices.Concat(other[:1], v[1:]), attest.Failed},
		"an issuer of that name": {slices.Concat(v[:3], other[3:4], v[4:]), attest.Failed},
		"a further root":         {slices.Concat(other[:1], v), attest.Failed},
		"a weak issuer":          {weak, attest.Failed},
		"all of another":         {other, attest.Failed},
		"the root alone":         {vendor{v[0], v[0]}, attest.Failed},
	} {
		if got := identity(t, x.chain, v.anchors(), testTime); got.Status != x.want {
			t.Errorf("%s: %+v", name, got.Finding)
		}
	}
}

// point is an IssuingDistributionPoint for that URI.
func point(tb testing.TB, uri string, change func(*issuingPoint)) pkix.Extension {
	tb.Helper()
	var p issuingPoint
	if uri != "" {
		p.Point.FullName = []asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: 6, Bytes: []byte(uri)}}
	}
	if change != nil {
		change(&p)
	}
	der, err := asn1.Marshal(p)
	if err != nil {
		tb.Fatal(err)
	}
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Critical: true, Value: der}
}

// TestRevocation: region and zone name lists, of the root and of the region.
func TestRevocation(t *testing.T) {
	v, other := newVendor(t, nil), newVendor(t, nil)
	root, region := v[0].crl(t, nil, 7), v[1].crl(t, nil, 7)
	extend := func(e ...pkix.Extension) func(*x509.RevocationList) {
		return func(l *x509.RevocationList) { l.ExtraExtensions = e }
	}
	dates := func(from, until time.Duration) func(*x509.RevocationList) {
		return func(l *x509.RevocationList) { l.ThisUpdate, l.NextUpdate = testTime.Add(from), testTime.Add(until) }
	}
	stale, future := dates(-2*time.Hour, 0), dates(time.Second, time.Hour)
	entry := func(l *x509.RevocationList) {
		l.RevokedCertificateEntries = []x509.RevocationListEntry{{SerialNumber: big.NewInt(7), RevocationTime: testTime, ExtraExtensions: []pkix.Extension{
			{Id: asn1.ObjectIdentifier{2, 5, 29, 29}, Critical: true, Value: []byte{0x30, 0}},
		}}}
	}
	const regionSerial, zoneSerial = 12, 11
	newer := dates(-time.Second, time.Hour)
	kind := attest.Collateral{Kind: attest.CollateralCertificate, Data: root.Data}
	for name, x := range map[string]struct {
		given []attest.Collateral
		want  attest.Status
		used  []int
	}{
		"none":                       {nil, attest.NotEstablished, nil},
		"both":                       {[]attest.Collateral{root, region}, attest.Passed, []int{0, 1}},
		"the other way":              {[]attest.Collateral{region, kind, root}, attest.Passed, []int{0, 2}},
		"the root's alone":           {[]attest.Collateral{root}, attest.NotEstablished, []int{0}},
		"the region's alone":         {[]attest.Collateral{region}, attest.NotEstablished, []int{0}},
		"another kind":               {[]attest.Collateral{kind, region}, attest.NotEstablished, []int{1}},
		"another's of that name":     {[]attest.Collateral{other[0].crl(t, nil), region}, attest.NotEstablished, []int{1}},
		"the zone's":                 {[]attest.Collateral{v[2].crl(t, nil), region}, attest.NotEstablished, []int{1}},
		"no list":                    {[]attest.Collateral{{Kind: attest.CollateralCRL, Data: v[0].cert.Raw}, region}, attest.NotEstablished, []int{1}},
		"too long":                   {[]attest.Collateral{{Kind: attest.CollateralCRL, Data: make([]byte, maxCRL+1)}, root, region}, attest.Passed, []int{1, 2}},
		"a byte behind it":           {[]attest.Collateral{{Kind: root.Kind, Data: slices.Concat(root.Data, []byte{0})}, region}, attest.NotEstablished, []int{1}},
		"stale":                      {[]attest.Collateral{v[0].crl(t, stale), region}, attest.NotEstablished, []int{1}},
		"not yet":                    {[]attest.Collateral{v[0].crl(t, future), region}, attest.NotEstablished, []int{1}},
		"stale beside current":       {[]attest.Collateral{v[0].crl(t, stale), root, region}, attest.Passed, []int{1, 2}},
		"the newest wins":            {[]attest.Collateral{root, v[0].crl(t, newer, regionSerial), region}, attest.Failed, []int{1, 2}},
		"a newer stale one revokes":  {[]attest.Collateral{v[0].crl(t, dates(-3*time.Hour, time.Hour)), v[0].crl(t, dates(-time.Hour, 0), regionSerial), region}, attest.Failed, []int{0, 2}},
		"an older stale one revokes": {[]attest.Collateral{v[0].crl(t, dates(-3*time.Hour, 0), regionSerial), root, region}, attest.Passed, []int{1, 2}},
		"copies":                     {append(slices.Repeat([]attest.Collateral{root}, maxCRLs-1), region), attest.Passed, []int{0, maxCRLs - 1}},
		"copies crowd out the newer": {append(slices.Repeat([]attest.Collateral{root}, maxCRLs), region, v[0].crl(t, newer, regionSerial)), attest.Failed, nil},
		"the region revoked":         {[]attest.Collateral{v[0].crl(t, nil, 7, regionSerial), region}, attest.Failed, []int{0, 1}},
		"the zone revoked":           {[]attest.Collateral{root, v[1].crl(t, nil, zoneSerial)}, attest.Failed, []int{0, 1}},
		"revoked, the other missing": {[]attest.Collateral{v[0].crl(t, nil, regionSerial)}, attest.Failed, []int{0}},
		"missing, the other revoked": {[]attest.Collateral{v[1].crl(t, nil, zoneSerial)}, attest.Failed, []int{0}},
		"serials of other issuers":   {[]attest.Collateral{v[0].crl(t, nil, zoneSerial), v[1].crl(t, nil, regionSerial)}, attest.Passed, []int{0, 1}},
		"for its place":              {[]attest.Collateral{v[0].crl(t, extend(point(t, "http://crl.example/root.crl", nil))), region}, attest.Passed, []int{0, 1}},
		"for another place":          {[]attest.Collateral{v[0].crl(t, extend(point(t, "http://crl.example/other.crl", nil))), region}, attest.NotEstablished, []int{1}},
		"for CAs":                    {[]attest.Collateral{v[0].crl(t, extend(point(t, "", func(p *issuingPoint) { p.CA = true }))), region}, attest.Passed, []int{0, 1}},
		"for users":                  {[]attest.Collateral{v[0].crl(t, extend(point(t, "", func(p *issuingPoint) { p.User = true }))), region}, attest.NotEstablished, []int{1}},
		"indirect":                   {[]attest.Collateral{v[0].crl(t, extend(point(t, "", func(p *issuingPoint) { p.Indirect = true }))), region}, attest.NotEstablished, []int{1}},
		"for a relative name": {[]attest.Collateral{v[0].crl(t, extend(pkix.Extension{
			Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Critical: true, Value: []byte{0x30, 4, 0xA0, 2, 0xA1, 0},
		})), region}, attest.NotEstablished, []int{1}},
		"a delta":          {[]attest.Collateral{v[0].crl(t, extend(pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 27}, Critical: true, Value: []byte{2, 1, 1}})), region}, attest.NotEstablished, []int{1}},
		"a critical entry": {[]attest.Collateral{v[0].crl(t, entry), region}, attest.NotEstablished, []int{1}},
	} {
		c := accept(t, evidence(v.document(t, nil), x.given...), v.anchors(), testTime)
		var used []int
		for _, u := range c.Used {
			used = append(used, u.Index)
			if u.What == "" || u.From.IsZero() || u.Until.IsZero() {
				t.Errorf("%s: %+v", name, u)
			}
		}
		if c.Revocation.Status != x.want || c.Revocation.Detail == "" || !slices.Equal(used, x.used) || c.Identity.Status != attest.Passed {
			t.Errorf("%s: %+v, used %v", name, c.Revocation, used)
		}
	}
}

// TestUnpublished: without a list that is named nothing is missing; what is named in
// another form cannot be had.
func TestUnpublished(t *testing.T) {
	for name, x := range map[string]struct {
		change func([]*x509.Certificate)
		want   attest.Status
	}{
		"nothing named": {func(l []*x509.Certificate) { l[1].CRLDistributionPoints, l[2].CRLDistributionPoints = nil, nil }, attest.Passed},
		"a responder": {func(l []*x509.Certificate) {
			l[1].CRLDistributionPoints, l[2].CRLDistributionPoints = nil, nil
			l[3].OCSPServer = []string{"http://ocsp.example"}
		}, attest.NotEstablished},
	} {
		v := newVendor(t, x.change)
		if c := accept(t, evidence(v.document(t, nil)), v.anchors(), testTime); c.Revocation.Status != x.want {
			t.Errorf("%s: %+v", name, c.Revocation)
		}
	}
}
