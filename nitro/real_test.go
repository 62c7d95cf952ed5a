package nitro

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
)

// instant parses a time.
func instant(tb testing.TB, s string) time.Time {
	tb.Helper()
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		tb.Fatal(err)
	}
	return at
}

// TestReal verifies AWS's documents under the pinned root, at their time and after.
func TestReal(t *testing.T) {
	anchors := &attest.Anchors{Pins: Pins()}
	for id, x := range map[string]struct {
		at   string
		want error
	}{
		"nitro-veracruz":                  {"2022-11-09T22:53:00Z", nil},
		"nitro-anjuna-prod":               {"2021-03-17T22:02:55Z", nil},
		"nitro-dstack-nsm":                {"2025-12-25T13:16:37Z", nil},
		"nitro-neg-badsig-veracruz":       {"2022-11-09T22:53:00Z", attest.ErrSignature},
		"nitro-debug-fortanix":            {"2021-09-09T10:20:20Z", attest.ErrMode},
		"nitro-anjuna-debug-full":         {"2024-01-24T18:15:25Z", attest.ErrMode},
		"nitro-neg-tampered-sig-fortanix": {"2021-09-09T10:20:20Z", attest.ErrSignature},
	} {
		ev := evidence(shared(t, "nitro", id, "document.cbor"))
		at := instant(t, x.at)
		c, err := Scheme{}.Verify(ev, anchors, at)
		if x.want != nil {
			if c != nil || !errors.Is(err, x.want) {
				t.Errorf("%s: %v, %v", id, c, err)
			}
			continue
		}
		if err != nil || c.Identity.Status != attest.Passed || c.Identity.Root.UserSupplied || c.Identity.Root.Pin == nil || len(c.Measurements) != 16 {
			t.Errorf("%s: %+v, %v", id, c, err)
			continue
		}
		// AWS names its lists, and none was kept with the document.
		if c.Revocation.Status != attest.NotEstablished || !strings.Contains(c.Revocation.Detail, "amazonaws.com/crl/") {
			t.Errorf("%s: revocation %+v", id, c.Revocation)
		}
		if late := accept(t, ev, anchors, at.Add(4*time.Hour)); late.Identity.Status != attest.Failed {
			t.Errorf("%s, hours later: %+v", id, late.Identity.Finding)
		}
	}
	ev := evidence(shared(t, "nitro", "nitro-neg-tampered-cert-fortanix", "document.cbor"))
	if c, err := (Scheme{}).Verify(ev, anchors, instant(t, "2021-09-09T10:20:20Z")); c != nil || err == nil {
		t.Errorf("a tampered certificate: %+v, %v", c, err)
	}
}

// TestRealTPM appraises AWS's one document of a NitroTPM.
func TestRealTPM(t *testing.T) {
	doc := shared(t, "nitrotpm", "nitrotpm-vaportpm", "document.cbor")
	refuse(t, "a NitroTPM's", evidence(doc), attest.ErrForm)
	a, err := Appraise(doc, nil, &attest.Anchors{Pins: Pins()}, instant(t, "2026-02-03T10:13:02Z"))
	if err != nil || a.Kind != TPM || a.Identity.Status != attest.Passed || len(a.Registers) != 24 || len(a.PublicKey) != 65 || len(a.Nonce) != 32 {
		t.Errorf("%+v, %v", a, err)
	}
}

// TestRealFlips: no bit of a real document is free. Every 37th is tried, which takes
// every place of a byte.
func TestRealFlips(t *testing.T) {
	doc := shared(t, "nitro", "nitro-dstack-nsm", "document.cbor")
	anchors, at := &attest.Anchors{Pins: Pins()}, instant(t, "2025-12-25T13:16:37Z")
	for i := 0; i < len(doc)*8; i += 37 {
		bad := bytes.Clone(doc)
		bad[i/8] ^= 1 << (i % 8)
		if c, err := (Scheme{}).Verify(evidence(bad), anchors, at); err == nil || c != nil {
			t.Fatalf("bit %d: %+v, %v", i, c, err)
		}
	}
}

// TestPins checks that every row can be read and says what a row must say.
func TestPins(t *testing.T) {
	pins := Pins()
	if len(pins) == 0 || len(pins) != len(rows()) {
		t.Fatalf("%d pins of %d rows", len(pins), len(rows()))
	}
	for i, p := range pins {
		u, err := url.Parse(p.Source)
		if err != nil || u.Host == "" || u.Path == "" || p.Role != Role || p.Subject == "" || p.SPKI == [32]byte{} {
			t.Errorf("row %+v", p)
		}
		if !p.From.Before(p.Until) || p.Looked.Before(p.From) || strings.Contains(strings.ToUpper(p.Subject), "SIMULATED") {
			t.Errorf("row %+v", p)
		}
		if slices.ContainsFunc(pins[:i], func(o attest.Pin) bool { return o.SPKI == p.SPKI }) {
			t.Errorf("%s stands twice", p.Subject)
		}
	}
}

// TestPinsAgainstCertificates holds the rows against the real root.
func TestPinsAgainstCertificates(t *testing.T) {
	block, _ := pem.Decode(shared(t, "roots", "roots-aws-nitro", "aws_nitro_root.pem"))
	if block == nil {
		t.Fatal("no PEM")
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	p := (&attest.Anchors{Pins: Pins()}).Pinned(Role, c)
	if p == nil {
		t.Fatalf("%s is not pinned", c.Subject)
	}
	if got := c.NotBefore.Format(time.DateOnly) + " " + c.NotAfter.Format(time.DateOnly); got != p.From.Format(time.DateOnly)+" "+p.Until.Format(time.DateOnly) {
		t.Errorf("the certificate is for %s", got)
	}
}
