package sev

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/attest"
)

// FuzzParseReport: what parses has its size, keeps every byte, and says by every
// field what stands at its place; nothing that is reserved is set.
func FuzzParseReport(f *testing.F) {
	for _, line := range products() {
		maker := newAMD(f, line)
		for version := uint32(minVersion); version <= maxVersion; version++ {
			f.Add(newChip(f, maker, signerVCEK, version).report(f))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parseReport(b)
		if err != nil {
			if p != nil || !errors.Is(err, attest.ErrForm) {
				t.Fatalf("%v, %v", p, err)
			}
			return
		}
		if len(b) != ReportSize || !bytes.Equal(p.raw, b) || !bytes.Equal(p.signed(), b[:signedSize]) {
			t.Fatal("another report")
		}
		for i := range b {
			if b[i]&0x80 != 0 && reservedByte(p.version, i) && i >= 4 && (i < 0x30 || i >= 0x34) {
				t.Fatalf("reserved byte 0x%03x is 0x%02x", i, b[i])
			}
		}
		if list, err := Details(b); err != nil || len(list) < 25 {
			t.Fatalf("%d details of a report that parses: %v", len(list), err)
		}
		if err := p.checkMode(); err != nil && !errors.Is(err, attest.ErrMode) {
			t.Fatal(err)
		}
		for _, line := range products() {
			if err := p.reportedTCB.check(line); err != nil && !errors.Is(err, attest.ErrForm) {
				t.Fatal(err)
			}
		}
		d := Scheme{}.Describe()
		ms, as := p.measured(), p.stated()
		if len(ms) != len(d.Measurements) || len(as) > len(d.Attributes) {
			t.Fatalf("%d measurements, %d attributes", len(ms), len(as))
		}
		for i, m := range ms {
			if len(m.Value) != d.Measurements[i].Size {
				t.Fatalf("%s of %d bytes", m.Name, len(m.Value))
			}
		}
		if _, err := NewEvidence(0, b); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzExtensions: the values of AMD's extensions, in a certificate that is good but
// for them. What is read is in its bounds and reads back to the same bytes.
func FuzzExtensions(f *testing.F) {
	seeds := 0
	for _, line := range products() {
		for _, s := range []signer{signerVCEK, signerVLEK} {
			c := newChip(f, newAMD(f, line), s, 3)
			var all [7][]byte
			for _, x := range c.amdExtensions(f) {
				if i := slices.IndexFunc(fuzzed(), func(arc []int) bool { return x.Id.Equal(amdID(arc...)) }); i >= 0 {
					all[i] = x.Value
				}
			}
			f.Add(s == signerVLEK, all[0], all[1], all[2], all[3], all[4], all[5], all[6])
			seeds++
		}
	}
	if seeds == 0 {
		f.Fatal("no seed")
	}
	good := map[bool]*x509.Certificate{}
	maker := newAMD(f, milan)
	for _, s := range []signer{signerVCEK, signerVLEK} {
		good[s == signerVLEK] = newChip(f, maker, s, 3).certificate(f)
	}
	f.Fuzz(func(t *testing.T, vlek bool, a, b, c, d, e, g, h []byte) {
		cert := *good[vlek]
		cert.Extensions = nil
		for i, value := range [][]byte{a, b, c, d, e, g, h} {
			if len(value) > 0 {
				cert.Extensions = append(cert.Extensions, pkix.Extension{Id: amdID(fuzzed()[i]...), Value: value})
			}
		}
		v, err := parseVEK(&cert)
		if err != nil {
			if !errors.Is(err, attest.ErrForm) {
				t.Fatal(err)
			}
			return
		}
		if !strings.HasPrefix(v.name, string(v.product)) || len(v.name) != len(v.product) && len(v.name) != len(v.product)+3 {
			t.Fatalf("product %q of %q", v.product, v.name)
		}
		if err := v.tcb.check(v.product); err != nil {
			t.Fatalf("certified %x: %v", v.tcb, err)
		}
		size := 64
		if v.product == turin {
			size = 8
		}
		if vlek && (v.hwid != nil || v.csp == "") || !vlek && (len(v.hwid) != size || v.csp != "" || !bytes.HasSuffix(g, v.hwid)) {
			t.Fatalf("hwid %x, csp %q", v.hwid, v.csp)
		}
		if strings.ContainsFunc(v.csp+v.name, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Fatalf("names %q and %q", v.name, v.csp)
		}
	})
}

// fuzzed are the extensions whose values FuzzExtensions makes.
func fuzzed() [][]int { return [][]int{{1}, {2}, {3, 1}, {3, 9}, {3, 5}, {4}, {5}} }

// FuzzCertTable: entries are parts of the table, none twice.
func FuzzCertTable(f *testing.F) {
	maker := newAMD(f, milan)
	c := newChip(f, maker, signerVCEK, 3)
	ders := c.chain(f)
	f.Add(table(f, entry{guidVCEK, ders[0]}, entry{guidASK, ders[1]}, entry{guidARK, ders[2]}, entry{guidCRL, maker.crl(f)}))
	f.Add(table(f, entry{guidVLEK, []byte("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, err := ParseCertTable(b)
		if err != nil {
			if entries != nil || !errors.Is(err, attest.ErrForm) {
				t.Fatalf("%v, %v", entries, err)
			}
			return
		}
		seen := map[string]bool{}
		for i := range entries {
			e := &entries[i]
			if seen[e.GUID] || len(e.Data) == 0 || !bytes.Contains(b, e.Data) || e.Surplus > len(e.Data) || e.Name == "" && e.DER != nil {
				t.Fatalf("entry %+v", e)
			}
			seen[e.GUID] = true
			if items := e.Collateral(); len(items) != len(e.DER) {
				t.Fatalf("%d items of %d", len(items), len(e.DER))
			}
			if !e.PEM && len(e.DER) == 1 && len(e.DER[0])+e.Surplus != len(e.Data) {
				t.Fatalf("entry %+v", e)
			}
		}
	})
}

// FuzzVerify: claims and errors exclude each other, and no collateral of a fuzzer's
// makes a stranger known.
func FuzzVerify(f *testing.F) {
	maker := newAMD(f, milan)
	c := newChip(f, maker, signerVCEK, 3)
	report, ders, crl := c.report(f), c.chain(f), maker.crl(f)
	f.Add(report, ders[0], ders[1], ders[2], crl)
	v := newChip(f, maker, signerVLEK, 5)
	f.Add(v.report(f), v.chain(f)[0], v.chain(f)[1], ders[2], crl)
	known := maker.anchors()
	s := Scheme{Cache: NewCache(16)}
	f.Fuzz(func(t *testing.T, report, leaf, issuer, root, crl []byte) {
		ev := withCollateral(report, [][]byte{leaf, issuer, root}, crl)
		for _, a := range []*attest.Anchors{nil, {Pins: Pins()}, known} {
			claims, err := s.Verify(ev, a, testTime)
			if (claims == nil) == (err == nil) {
				t.Fatalf("%v, %v", claims, err)
			}
			if err != nil {
				if !errors.Is(err, attest.ErrForm) && !errors.Is(err, attest.ErrSignature) && !errors.Is(err, attest.ErrNoKey) && !errors.Is(err, attest.ErrMode) {
					t.Fatal(err)
				}
				continue
			}
			passed := claims.Identity.Status == attest.Passed
			if passed != (claims.Identity.Root != nil) || passed && a != known {
				t.Fatalf("identity %+v", claims.Identity)
			}
			if !passed && (claims.Revocation.Status == attest.Passed || claims.TCB.Finding.Status == attest.Passed || claims.Coherent.Status == attest.Passed) {
				t.Fatalf("claims %+v", claims)
			}
			last := -1
			for _, u := range claims.Used {
				if u.Index <= last || u.Index >= len(ev.Collateral) || u.What == "" {
					t.Fatalf("used %+v", claims.Used)
				}
				last = u.Index
			}
		}
	})
}
