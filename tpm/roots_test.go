package tpm

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
)

// TestPins checks that every row can be read and says what a row must say.
func TestPins(t *testing.T) {
	pins := Pins()
	if len(pins) != len(rows()) {
		t.Fatalf("%d pins of %d rows", len(pins), len(rows()))
	}
	type id struct {
		role string
		spki [32]byte
	}
	seen := map[id]bool{}
	for _, p := range pins {
		u, err := url.Parse(p.Source)
		if err != nil || u.Host == "" || u.Path == "" {
			t.Errorf("%s: source %q", p.Subject, p.Source)
		}
		if p.Role != RoleEK && p.Role != RoleAK || p.SPKI == [32]byte{} || p.Subject == "" {
			t.Errorf("row %+v", p)
		}
		if !p.From.Before(p.Until) || p.Looked.Before(p.From) {
			t.Errorf("%s: from %v until %v, looked at %v", p.Subject, p.From, p.Until, p.Looked)
		}
		if strings.Contains(strings.ToUpper(p.Subject), "SIMULATED") {
			t.Errorf("%s is simulated", p.Subject)
		}
		if k := (id{p.Role, p.SPKI}); seen[k] {
			t.Errorf("%s stands twice in %s", p.Subject, p.Role)
		} else {
			seen[k] = true
		}
	}
}

// TestPinsAgainstLists holds every row against the lists of roots that others
// keep, in place.
func TestPinsAgainstLists(t *testing.T) {
	shared(t, "roots", "roots-google-ekak", "tpm_ek_root_1.cer")
	dir := os.Getenv("SWORN_SHARED")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared")
	}
	files, err := filepath.Glob(filepath.Join(dir, "evidence", "roots", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	byKey := map[[32]byte]*x509.Certificate{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		ders := [][]byte{b}
		if bytes.Contains(b, []byte("-----BEGIN")) {
			ders = nil
			for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
				ders = append(ders, block.Bytes)
			}
		}
		for _, der := range ders {
			if c, err := x509.ParseCertificate(der); err == nil && bytes.Equal(c.RawSubject, c.RawIssuer) {
				byKey[sha256.Sum256(c.RawSubjectPublicKeyInfo)] = c
			}
		}
	}
	for _, p := range Pins() {
		c := byKey[p.SPKI]
		if !p.Certificate(c) {
			t.Errorf("%s %x: no list has its certificate, or with another name", p.Subject, p.SPKI)
			continue
		}
		if got, want := c.NotBefore.Format(time.DateOnly), p.From.Format(time.DateOnly); got != want {
			t.Errorf("%s: from %s, row %s", p.Subject, got, want)
		}
		if got, want := c.NotAfter.Format(time.DateOnly), p.Until.Format(time.DateOnly); got != want {
			t.Errorf("%s: until %s, row %s", p.Subject, got, want)
		}
		if checkStrength(c.PublicKey) != nil {
			t.Errorf("%s has a weak key", p.Subject)
		}
	}
}

// pinOf returns a pin of the certificate's root, for the role of AKs.
func pinOf(c *x509.Certificate) attest.Pin {
	return attest.Pin{
		Role: RoleAK, Product: "maker", Subject: c.Subject.String(), SPKI: sha256.Sum256(c.RawSubjectPublicKeyInfo),
		From: testTime.AddDate(0, 0, -1), Until: testTime.AddDate(0, 0, 1), Source: "https://maker.example/root.cer",
	}
}

// TestIdentityPinned: a pinned root is trusted by key and name, its certificate
// comes with the evidence or from the relying party, and nothing else will do.
func TestIdentityPinned(t *testing.T) {
	p := newPKI(t)
	leaf, root := p.leaf(t, nil), p.root.cert
	same := newAuthority(t, caTemplate("SIMULATED TPM maker"), nil)
	by := func(change func(*attest.Pin)) *attest.Anchors {
		pin := pinOf(root)
		if change != nil {
			change(&pin)
		}
		return &attest.Anchors{Pins: []attest.Pin{pin}}
	}
	with := by(nil)
	with.Roots = anchors(root).Roots
	for name, tc := range map[string]struct {
		anchors *attest.Anchors
		given   [][]byte
		want    attest.Status
	}{
		"root with the evidence": {by(nil), [][]byte{leaf, root.Raw}, attest.Passed},
		"root of the user's":     {with, [][]byte{leaf}, attest.Passed},
		"both":                   {with, [][]byte{leaf, root.Raw}, attest.Passed},
		"no certificate of it":   {by(nil), [][]byte{leaf}, attest.NotEstablished},
		"no pin":                 {&attest.Anchors{}, [][]byte{leaf, root.Raw}, attest.NotEstablished},
		"nil anchors":            {nil, [][]byte{leaf, root.Raw}, attest.NotEstablished},
		"zero pin":               {&attest.Anchors{Pins: []attest.Pin{{}}}, [][]byte{leaf, root.Raw}, attest.NotEstablished},
		"pin of another role":    {by(func(p *attest.Pin) { p.Role = RoleEK }), [][]byte{leaf, root.Raw}, attest.NotEstablished},
		"another name":           {by(func(p *attest.Pin) { p.Subject += "x" }), [][]byte{leaf, root.Raw}, attest.NotEstablished},
		"another key":            {by(func(p *attest.Pin) { p.SPKI[0] ^= 1 }), [][]byte{leaf, root.Raw}, attest.NotEstablished},
		"name of it, other key":  {by(nil), [][]byte{same.issue(t, leafTemplate("ak"), p.ak.signer.Public()), same.cert.Raw}, attest.NotEstablished},
		"self-signature forged":  {by(nil), [][]byte{leaf, forgedRoot(t, p.root).Raw}, attest.NotEstablished},
		"root not last":          {by(nil), [][]byte{leaf, root.Raw, p.sub.cert.Raw}, attest.NotEstablished},
		"pin not yet used":       {by(func(p *attest.Pin) { p.From = testTime.Add(time.Second) }), [][]byte{leaf, root.Raw}, attest.Failed},
		"pin no longer used":     {by(func(p *attest.Pin) { p.Until = testTime.AddDate(0, 0, -2) }), [][]byte{leaf, root.Raw}, attest.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			id := p.identity(t, tc.anchors, tc.given...).Identity
			if id.Status != tc.want || id.Detail == "" || (id.Root != nil) != (tc.want == attest.Passed) {
				t.Fatalf("identity %+v", id)
			}
			if tc.want == attest.Passed && (id.Root.UserSupplied || id.Root.Pin == nil || id.Root.Product != "maker") {
				t.Errorf("root %+v", id.Root)
			}
		})
	}
}

// TestProfileRoots: the profiles of Google's root of 2018 and of Azure hold
// under these roots alone, and only for certificates of the kind they issue.
func TestProfileRoots(t *testing.T) {
	p := newPKI(t)
	certificate := func(change func(*x509.Certificate)) *x509.Certificate {
		c, err := x509.ParseCertificate(p.leaf(t, change))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	usage := func(c *x509.Certificate, ids ...string) {
		c.UnknownExtKeyUsage = nil
		for _, id := range ids {
			c.UnknownExtKeyUsage = append(c.UnknownExtKeyUsage, objectID(t, id))
		}
	}
	instance := func(ids ...string) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			usage(c, ids...)
			named(instanceName(t))(c)
		}
	}
	azure := func(c *x509.Certificate) { usage(c, oidMicrosoftTPM, oidKPAK) }
	for name, tc := range map[string]struct {
		leaf *x509.Certificate
		key  string
		want string
	}{
		"Google 2018":          {certificate(instance(oidKPEK)), google2018, "Google Compute Engine, root of 2018"},
		"other root":           {certificate(instance(oidKPEK)), google2022, ""},
		"no instance":          {certificate(func(c *x509.Certificate) { usage(c, oidKPEK) }), google2018, ""},
		"both usages":          {certificate(instance(oidKPEK, oidKPAK)), google2018, ""},
		"Google's EK":          {certificate(func(c *x509.Certificate) { instance(oidKPEK)(c); c.KeyUsage = x509.KeyUsageKeyEncipherment }), google2018, ""},
		"signs and deciphers":  {certificate(func(c *x509.Certificate) { instance(oidKPEK)(c); c.KeyUsage |= x509.KeyUsageKeyEncipherment }), google2018, ""},
		"Azure":                {certificate(azure), azure2023, "Azure virtual TPM"},
		"Azure's, other root":  {certificate(azure), google2018, ""},
		"Azure's EK's purpose": {certificate(func(c *x509.Certificate) { usage(c, oidMicrosoftTPM, oidKPEK) }), azure2023, ""},
		"Azure, three":         {certificate(func(c *x509.Certificate) { usage(c, oidMicrosoftTPM, oidKPEK, oidKPAK) }), azure2023, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := hex.DecodeString(tc.key); err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, f := range profiles() {
				if f.fits(tc.leaf, p.root.cert, tc.key) {
					got = f.name
				}
			}
			if got != tc.want {
				t.Errorf("fits %q, want %q", got, tc.want)
			}
		})
	}
}
