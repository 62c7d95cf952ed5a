package sev

import (
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
)

// pinOf returns a pin of the maker's root.
func pinOf(a *amd) attest.Pin {
	return attest.Pin{
		Role: Role, Product: string(a.line), Subject: a.ark.cert.Subject.String(), SPKI: sha256.Sum256(a.ark.cert.RawSubjectPublicKeyInfo),
		From: testTime.AddDate(-1, 0, 0), Until: testTime.AddDate(1, 0, 0), Source: "https://maker.example/cert_chain",
	}
}

// TestForgedChainInEvidence: a chain that nobody trusts is complete, consistent and
// bears AMD's names, and comes with its own root. Other libraries took the root from
// the evidence when they had none of their own for it.
func TestForgedChainInEvidence(t *testing.T) {
	for _, line := range products() {
		forged := newForger(t, line)
		ev := newChip(t, forged, signerVCEK, 3).evidence(t)
		other := newForger(t, line)
		template := arkTemplate(line)
		other.change(template)
		other.ark = newAuthority(t, template, nil, "other")
		wrongProduct := forged.anchors()
		wrongProduct.Roots[0].Product = map[product]string{milan: "Genoa", genoa: "Turin", turin: "Milan"}[line]
		wrongRole := forged.anchors()
		wrongRole.Roots[0].Role = "tpm-ak"
		for name, test := range map[string]struct {
			anchors *attest.Anchors
			want    attest.Status
		}{
			"no anchors":              {nil, attest.NotEstablished},
			"zero anchors":            {&attest.Anchors{}, attest.NotEstablished},
			"AMD's pins":              {&attest.Anchors{Pins: Pins()}, attest.Failed},
			"another root":            {other.anchors(), attest.Failed},
			"root of another product": {wrongProduct, attest.Failed},
			"root of another role":    {wrongRole, attest.NotEstablished},
			"nil certificate":         {&attest.Anchors{Roots: []attest.Root{{Role: Role}}}, attest.NotEstablished},
			"an intermediate alone":   {&attest.Anchors{Roots: []attest.Root{{Role: Role, Certificate: forged.ask.cert}}}, attest.NotEstablished},
		} {
			got := verify(t, Scheme{}, ev, test.anchors)
			if got.Identity.Status != test.want || got.Identity.Root != nil || got.Identity.Detail == "" {
				t.Errorf("%s, %s: identity %+v", line, name, got.Identity)
			}
			if got.Revocation.Status != attest.NotEstablished || got.Coherent.Status != attest.NotEstablished || got.TCB.Finding.Status != attest.NotEstablished {
				t.Errorf("%s, %s: %+v", line, name, got)
			}
		}
	}
}

// TestPinned: a pinned root is trusted by key and name, and its certificate comes
// with the evidence or from the relying party.
func TestPinned(t *testing.T) {
	maker := newAMD(t, genoa)
	ev := newChip(t, maker, signerVCEK, 3).evidence(t)
	pin := pinOf(maker)
	by := func(change func(*attest.Pin)) *attest.Anchors {
		p := pin
		if change != nil {
			change(&p)
		}
		return &attest.Anchors{Pins: []attest.Pin{p}}
	}
	both := maker.anchors()
	both.Pins = []attest.Pin{pin}
	for name, test := range map[string]struct {
		anchors *attest.Anchors
		want    attest.Status
	}{
		"with the evidence":  {by(nil), attest.Passed},
		"supplied":           {both, attest.Passed},
		"last day":           {by(func(p *attest.Pin) { p.Until = testTime.Truncate(24 * time.Hour) }), attest.Passed},
		"after its days":     {by(func(p *attest.Pin) { p.Until = testTime.AddDate(0, 0, -1) }), attest.Failed},
		"before its days":    {by(func(p *attest.Pin) { p.From = testTime.AddDate(0, 0, 1) }), attest.Failed},
		"of another role":    {by(func(p *attest.Pin) { p.Role = "tpm-ak" }), attest.NotEstablished},
		"of another product": {by(func(p *attest.Pin) { p.Product = "Milan" }), attest.Failed},
		"of another key":     {by(func(p *attest.Pin) { p.SPKI[0] ^= 1 }), attest.Failed},
		"of another name":    {by(func(p *attest.Pin) { p.Subject = "CN=ARK-Genoa" }), attest.Failed},
	} {
		got := verify(t, Scheme{}, ev, test.anchors)
		if got.Identity.Status != test.want || (got.Identity.Root == nil) == (test.want == attest.Passed) {
			t.Errorf("%s: identity %+v", name, got.Identity)
		}
		if root := got.Identity.Root; root != nil && (root.UserSupplied || root.Pin == nil || root.Product != "Genoa" || !strings.Contains(got.Identity.Provenance, "pinned root")) {
			t.Errorf("%s: root %+v, %s", name, root, got.Identity.Provenance)
		}
		if test.want == attest.Passed && len(got.Used) != 4 {
			t.Errorf("%s: used %+v", name, got.Used)
		}
	}
	// Without its certificate, the finding says where to get it.
	ev.Collateral = ev.Collateral[:2]
	got := verify(t, Scheme{}, ev, by(nil))
	if got.Identity.Status != attest.NotEstablished || !strings.Contains(got.Identity.Detail, pin.Source) {
		t.Errorf("identity %+v", got.Identity)
	}
}

// TestChainFailed breaks one thing of a chain at a time.
func TestChainFailed(t *testing.T) {
	critical := []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
	ask := func(t *testing.T, a *amd, change func(*x509.Certificate)) {
		t.Helper()
		template := caTemplate("SEV-Milan", 0x10001)
		change(template)
		a.ask = newAuthority(t, template, a.ark, "ask")
	}
	ark := func(t *testing.T, a *amd, change func(*x509.Certificate)) {
		t.Helper()
		template := arkTemplate(milan)
		change(template)
		a.ark = newAuthority(t, template, nil, "ark")
		a.ask = newAuthority(t, caTemplate("SEV-Milan", 0x10001), a.ark, "ask")
	}
	past, future := testTime.Add(-time.Second), testTime.Add(time.Second)
	for name, test := range map[string]struct {
		change func(*testing.T, *amd, *chip)
		want   attest.Status
	}{
		"nothing":            {func(*testing.T, *amd, *chip) {}, attest.Passed},
		"leaf expired":       {func(_ *testing.T, _ *amd, c *chip) { c.template = func(x *x509.Certificate) { x.NotAfter = past } }, attest.Failed},
		"leaf not yet valid": {func(_ *testing.T, _ *amd, c *chip) { c.template = func(x *x509.Certificate) { x.NotBefore = future } }, attest.Failed},
		"leaf by the ASVK":   {func(_ *testing.T, a *amd, _ *chip) { a.ask = a.asvk }, attest.Failed},
		"leaf by the root":   {func(_ *testing.T, a *amd, _ *chip) { a.ask = a.ark }, attest.Failed},
		"leaf signed with PKCS #1": {func(_ *testing.T, _ *amd, c *chip) {
			c.template = func(x *x509.Certificate) { x.SignatureAlgorithm = x509.SHA384WithRSA }
		}, attest.Failed},
		"leaf signed with SHA-256": {func(_ *testing.T, _ *amd, c *chip) {
			c.template = func(x *x509.Certificate) { x.SignatureAlgorithm = x509.SHA256WithRSAPSS }
		}, attest.Failed},
		"ASK expired":       {func(t *testing.T, a *amd, _ *chip) { ask(t, a, func(x *x509.Certificate) { x.NotAfter = past }) }, attest.Failed},
		"ASK not yet valid": {func(t *testing.T, a *amd, _ *chip) { ask(t, a, func(x *x509.Certificate) { x.NotBefore = future }) }, attest.Failed},
		"ASK of another name": {func(t *testing.T, a *amd, _ *chip) {
			ask(t, a, func(x *x509.Certificate) { x.Subject = name("SEV-Genoa") })
		}, attest.Failed},
		"ASK no authority": {func(t *testing.T, a *amd, _ *chip) {
			ask(t, a, func(x *x509.Certificate) { x.IsCA, x.MaxPathLenZero = false, false })
		}, attest.Failed},
		"ASK that signs no certificates": {func(t *testing.T, a *amd, _ *chip) {
			ask(t, a, func(x *x509.Certificate) { x.KeyUsage = x509.KeyUsageDigitalSignature })
		}, attest.Failed},
		"ASK with authorities below": {func(t *testing.T, a *amd, _ *chip) { ask(t, a, func(x *x509.Certificate) { x.MaxPathLenZero = false }) }, attest.Failed},
		"ASK with critical extension": {func(t *testing.T, a *amd, _ *chip) {
			ask(t, a, func(x *x509.Certificate) { x.ExtraExtensions = critical })
		}, attest.Failed},
		"ASK by another key of the root's name": {func(t *testing.T, a *amd, _ *chip) {
			other := newAuthority(t, arkTemplate(milan), nil, "other")
			a.ask = newAuthority(t, caTemplate("SEV-Milan", 0x10001), other, "ask")
		}, attest.Failed},
		"ARK expired": {func(t *testing.T, a *amd, _ *chip) { ark(t, a, func(x *x509.Certificate) { x.NotAfter = past }) }, attest.Failed},
		"ARK of a product": {func(t *testing.T, a *amd, _ *chip) {
			ark(t, a, func(x *x509.Certificate) { x.Subject = name("ARK-Genoa") })
		}, attest.Failed},
		"ARK no authority": {func(t *testing.T, a *amd, _ *chip) {
			ark(t, a, func(x *x509.Certificate) { x.KeyUsage = x509.KeyUsageCRLSign })
		}, attest.NotEstablished},
		"ARK not signed by itself": {func(t *testing.T, a *amd, _ *chip) {
			der := append([]byte{}, a.ark.cert.Raw...)
			der[len(der)-1] ^= 1
			forged, err := x509.ParseCertificate(der)
			if err != nil {
				t.Fatal(err)
			}
			a.ark.cert = forged
		}, attest.NotEstablished},
	} {
		t.Run(name, func(t *testing.T) {
			maker := newAMD(t, milan)
			c := newChip(t, maker, signerVCEK, 3)
			test.change(t, maker, c)
			got := verify(t, Scheme{}, withCollateral(c.report(t), c.chain(t)), maker.anchors())
			if got.Identity.Status != test.want || got.Identity.Detail == "" || (got.Identity.Root != nil) != (test.want == attest.Passed) {
				t.Errorf("identity %+v", got.Identity)
			}
		})
	}
}

// TestSmallKeys: an authority's key has 4096 bits, whoever trusts it.
func TestSmallKeys(t *testing.T) {
	maker := newAMD(t, milan)
	small := newSmallKey(t)
	maker.ask = &authority{small, issue(t, caTemplate("SEV-Milan", 0x10001), maker.ark, &small.PublicKey, nil)}
	c := newChip(t, maker, signerVCEK, 3)
	got := verify(t, Scheme{}, c.evidence(t), maker.anchors())
	if got.Identity.Status != attest.Failed || !strings.Contains(got.Identity.Detail, "4096") {
		t.Errorf("identity %+v", got.Identity)
	}
}

// TestMissing: what is missing is named.
func TestMissing(t *testing.T) {
	maker := newAMD(t, milan)
	for s, cn := range map[signer]string{signerVCEK: "SEV-Milan", signerVLEK: "SEV-VLEK-Milan"} {
		c := newChip(t, maker, s, 3)
		ders := c.chain(t)
		got := verify(t, Scheme{}, withCollateral(c.report(t), ders[:1]), maker.anchors())
		if got.Identity.Status != attest.NotEstablished || !strings.Contains(got.Identity.Detail, cn) || len(got.Used) != 1 {
			t.Errorf("%v: identity %+v, used %+v", s, got.Identity, got.Used)
		}
		// The relying party may bring the authority and the root.
		a := maker.anchors()
		a.Roots = append(a.Roots, attest.Root{Role: Role, Certificate: maker.ask.cert}, attest.Root{Role: Role, Certificate: maker.asvk.cert})
		got = verify(t, Scheme{}, withCollateral(c.report(t), ders[:1]), a)
		if got.Identity.Status != attest.Passed || len(got.Used) != 1 {
			t.Errorf("%v: identity %+v, used %+v", s, got.Identity, got.Used)
		}
	}
}

// TestOtherIssuer: SIGNING_KEY says which authority must have certified the key.
func TestOtherIssuer(t *testing.T) {
	maker := newAMD(t, milan)
	maker.ask, maker.asvk = maker.asvk, maker.ask
	for _, s := range []signer{signerVCEK, signerVLEK} {
		c := newChip(t, maker, s, 3)
		got := verify(t, Scheme{}, withCollateral(c.report(t), append(c.chain(t), maker.ask.cert.Raw, maker.asvk.cert.Raw)), maker.anchors())
		if got.Identity.Status != attest.Failed {
			t.Errorf("%v: identity %+v", s, got.Identity)
		}
	}
}

// TestReportAgainstCertificate: what the report says of itself must be what AMD
// certified of its key. A library that leaves this to others lets a chip show the
// versions of another.
func TestReportAgainstCertificate(t *testing.T) {
	for name, test := range map[string]struct {
		line                    product
		signer                  signer
		change                  func(*chip, []byte)
		identity, coherent, tcb attest.Status
	}{
		"nothing":                {milan, signerVCEK, func(*chip, []byte) {}, attest.Passed, attest.Passed, attest.Passed},
		"reported microcode":     {milan, signerVCEK, func(_ *chip, b []byte) { b[0x187]++ }, attest.Passed, attest.Passed, attest.Failed},
		"reported less":          {milan, signerVCEK, func(_ *chip, b []byte) { b[0x186]-- }, attest.Passed, attest.Passed, attest.Failed},
		"reported by a VLEK":     {milan, signerVLEK, func(_ *chip, b []byte) { b[0x180]++ }, attest.Passed, attest.Passed, attest.Failed},
		"FMC of Turin":           {turin, signerVCEK, func(_ *chip, b []byte) { b[0x180]++ }, attest.Passed, attest.Passed, attest.Failed},
		"current alone":          {milan, signerVCEK, func(_ *chip, b []byte) { b[0x3F]++ }, attest.Passed, attest.Passed, attest.Passed},
		"another chip":           {milan, signerVCEK, func(_ *chip, b []byte) { b[0x1A0] ^= 1 }, attest.Failed, attest.Failed, attest.NotEstablished},
		"another chip of Turin":  {turin, signerVCEK, func(_ *chip, b []byte) { b[0x1A7] ^= 1 }, attest.Failed, attest.Failed, attest.NotEstablished},
		"a longer id than Turin": {turin, signerVCEK, func(_ *chip, b []byte) { b[0x1A8] = 1 }, attest.Failed, attest.Failed, attest.NotEstablished},
		"masked chip id":         {milan, signerVCEK, func(_ *chip, b []byte) { clear(b[0x1A0:0x1E0]) }, attest.Passed, attest.NotEstablished, attest.Passed},
		"a chip id by a VLEK":    {milan, signerVLEK, func(_ *chip, b []byte) { b[0x1A0] = 1 }, attest.Passed, attest.Passed, attest.Passed},
		"another processor":      {milan, signerVCEK, func(_ *chip, b []byte) { b[0x189] = 0x11 }, attest.Passed, attest.Failed, attest.Passed},
		"another, by a VLEK":     {genoa, signerVLEK, func(_ *chip, b []byte) { b[0x189] = 0x01 }, attest.Passed, attest.Failed, attest.Passed},
		"Bergamo":                {genoa, signerVCEK, func(_ *chip, b []byte) { b[0x189] = 0xA0 }, attest.Passed, attest.Passed, attest.Passed},
		"Turin dense":            {turin, signerVCEK, func(_ *chip, b []byte) { b[0x189] = 0x11 }, attest.Passed, attest.Passed, attest.Passed},
		"an unknown processor":   {turin, signerVCEK, func(_ *chip, b []byte) { b[0x188], b[0x189] = 0xFF, 0xFF }, attest.Passed, attest.NotEstablished, attest.Passed},
		"stepping of the name":   {milan, signerVCEK, func(c *chip, _ []byte) { c.name = "Milan-B0" }, attest.Passed, attest.Passed, attest.Passed},
		"an OCTET STRING": {milan, signerVCEK, func(c *chip, _ []byte) {
			c.extensions = func(all []pkix.Extension) []pkix.Extension {
				last := &all[len(all)-1]
				last.Value = append([]byte{4, 64}, last.Value...)
				return all
			}
		}, attest.Passed, attest.Passed, attest.Passed},
	} {
		t.Run(name, func(t *testing.T) {
			maker := newAMD(t, test.line)
			c := newChip(t, maker, test.signer, 3)
			c.change = func(b []byte) { test.change(c, b) }
			got := verify(t, Scheme{}, c.evidence(t), maker.anchors())
			if got.Identity.Status != test.identity || got.Coherent.Status != test.coherent || got.TCB.Finding.Status != test.tcb {
				t.Errorf("identity %+v, coherent %+v, TCB %+v", got.Identity.Finding, got.Coherent, got.TCB.Finding)
			}
		})
	}
}

// TestCertificateRefused: a certificate that does not say exactly what AMD's say is
// no certificate of the key.
func TestCertificateRefused(t *testing.T) {
	maker := newAMD(t, milan)
	remove := func(arc ...int) func([]pkix.Extension) []pkix.Extension {
		return func(all []pkix.Extension) []pkix.Extension {
			var out []pkix.Extension
			for _, x := range all {
				if !x.Id.Equal(amdID(arc...)) {
					out = append(out, x)
				}
			}
			return out
		}
	}
	add := func(value []byte, arc ...int) func([]pkix.Extension) []pkix.Extension {
		return func(all []pkix.Extension) []pkix.Extension {
			return append(remove(arc...)(all), pkix.Extension{Id: amdID(arc...), Value: value})
		}
	}
	int1, str := []byte{2, 1, 1}, []byte{0x16, 1, 'x'}
	for name, test := range map[string]func(*chip){
		"no structVersion":            func(c *chip) { c.extensions = remove(1) },
		"structVersion 2":             func(c *chip) { c.extensions = add([]byte{2, 1, 2}, 1) },
		"no productName":              func(c *chip) { c.extensions = remove(2) },
		"unknown product":             func(c *chip) { c.name = "Venice" },
		"product with a suffix":       func(c *chip) { c.name = "Milan-" },
		"product in small letters":    func(c *chip) { c.name = "milan" },
		"product and a NUL":           func(c *chip) { c.extensions = add([]byte{0x16, 6, 'M', 'i', 'l', 'a', 'n', 0}, 2) },
		"no bootloader":               func(c *chip) { c.extensions = remove(3, 1) },
		"no microcode":                func(c *chip) { c.extensions = remove(3, 8) },
		"reserved version in use":     func(c *chip) { c.extensions = add(int1, 3, 5) },
		"FMC of Milan":                func(c *chip) { c.extensions = add(int1, 3, 9) },
		"version 10":                  func(c *chip) { c.extensions = add(int1, 3, 10) },
		"version 0":                   func(c *chip) { c.extensions = add(int1, 3, 0) },
		"version of 256":              func(c *chip) { c.extensions = add([]byte{2, 2, 1, 0}, 3, 8) },
		"version below zero":          func(c *chip) { c.extensions = add([]byte{2, 1, 0x80}, 3, 8) },
		"version of a byte too many":  func(c *chip) { c.extensions = add([]byte{2, 2, 0, 1}, 3, 8) },
		"version with a byte behind":  func(c *chip) { c.extensions = add([]byte{2, 1, 219, 0}, 3, 8) },
		"version no INTEGER":          func(c *chip) { c.extensions = add([]byte{4, 1, 1}, 3, 8) },
		"no chip":                     func(c *chip) { c.extensions = remove(4) },
		"a short chip":                func(c *chip) { c.hwid = c.hwid[:8] },
		"a long chip":                 func(c *chip) { c.hwid = append(c.hwid, 0) },
		"a provider":                  func(c *chip) { c.csp = "CN=x" },
		"an extension of AMD's":       func(c *chip) { c.extensions = add(str, 6) },
		"an extension below":          func(c *chip) { c.extensions = add(str, 1, 1) },
		"the bare arc":                func(c *chip) { c.extensions = add(str) },
		"a structVersion of no bytes": func(c *chip) { c.extensions = add(nil, 1) },
		"an authority's":              func(c *chip) { c.template = func(x *x509.Certificate) { x.IsCA, x.BasicConstraintsValid = true, true } },
		"one that signs certificates": func(c *chip) { c.template = func(x *x509.Certificate) { x.KeyUsage = x509.KeyUsageCertSign } },
		"another common name":         func(c *chip) { c.template = func(x *x509.Certificate) { x.Subject = name("SEV-VXEK") } },
		"the VLEK's name":             func(c *chip) { c.template = func(x *x509.Certificate) { x.Subject = name(nameVLEK) } },
		"a critical extension": func(c *chip) {
			c.extensions = func(all []pkix.Extension) []pkix.Extension {
				return append(all, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}})
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newChip(t, maker, signerVCEK, 3)
			test(c)
			want := attest.ErrSignature
			if name == "another common name" { // it is not taken for one of the chip's
				want = attest.ErrNoKey
			}
			refused(t, withCollateral(c.report(t), c.chain(t)), maker.anchors(), want)
		})
	}
	vlek := newChip(t, maker, signerVLEK, 3)
	vlek.csp = ""
	refused(t, withCollateral(vlek.report(t), vlek.chain(t)), maker.anchors(), attest.ErrSignature)
	vlek = newChip(t, maker, signerVLEK, 3)
	vlek.hwid = make([]byte, 64)
	refused(t, withCollateral(vlek.report(t), vlek.chain(t)), maker.anchors(), attest.ErrSignature)
}

// TestDuplicateExtension: an extension that stands there twice, of which a reader
// might take either. The library's parser refuses it already; so does this one.
func TestDuplicateExtension(t *testing.T) {
	c := newChip(t, newAMD(t, milan), signerVCEK, 3)
	all := c.amdExtensions(t)
	if _, err := splitExtensions(all); err != nil {
		t.Fatal(err)
	}
	for i := range all {
		if _, err := splitExtensions(append(slices.Clip(all), all[i])); err == nil {
			t.Errorf("%v twice", all[i].Id)
		}
	}
}

// TestManyKeys bounds the keys that are tried.
func TestManyKeys(t *testing.T) {
	maker := newAMD(t, milan)
	c := newChip(t, maker, signerVCEK, 3)
	var ders [][]byte
	for range 16 {
		ders = append(ders, newChip(t, maker, signerVCEK, 3).certificate(t).Raw)
	}
	refused(t, withCollateral(c.report(t), append(ders, c.certificate(t).Raw)), maker.anchors(), attest.ErrForm)
	got := verify(t, Scheme{}, withCollateral(c.report(t), append(ders[1:], c.chain(t)...)), maker.anchors())
	if got.Identity.Status != attest.Passed || got.Used[0].Index != 15 {
		t.Errorf("identity %+v, used %+v", got.Identity, got.Used)
	}
}

// TestOtherKey: a certificate for another key than the one that signed.
func TestOtherKey(t *testing.T) {
	maker := newAMD(t, milan)
	c, other := newChip(t, maker, signerVCEK, 3), newChip(t, maker, signerVCEK, 3)
	refused(t, withCollateral(c.report(t), other.chain(t)), maker.anchors(), attest.ErrSignature)
}
