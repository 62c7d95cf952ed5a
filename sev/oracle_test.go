//go:build !js

// go-sev-guest has a logger below it that does not build for a page.

package sev

import (
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-sev-guest/abi"
	spb "github.com/google/go-sev-guest/proto/sevsnp"
	"github.com/google/go-sev-guest/validate"
	theirs "github.com/google/go-sev-guest/verify"
	"github.com/google/go-sev-guest/verify/testdata"
	"github.com/google/go-sev-guest/verify/trust"

	"github.com/sworn-run/sworn/attest"
)

// fixed answers every request with one revocation list, or not at all.
type fixed []byte

// Get returns the list.
func (f fixed) Get(string) ([]byte, error) {
	if f == nil {
		return nil, errors.New("no network here")
	}
	return f, nil
}

// theirRoots are a product's certificates as go-sev-guest wants them.
func theirRoots(line product, ark, ask, asvk *x509.Certificate) map[string][]*trust.AMDRootCerts {
	return map[string][]*trust.AMDRootCerts{string(line): {{
		ProductLine: string(line), ProductCerts: &trust.ProductCerts{Ark: ark, Ask: ask, Asvk: asvk},
	}}}
}

// theyAccept asks go-sev-guest to verify a report and to validate it under the most
// lenient policy that it takes without a word.
func theyAccept(report, leaf []byte, s signer, roots map[string][]*trust.AMDRootCerts, list []byte, at time.Time) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	p, err := abi.ReportToProto(report)
	if err != nil {
		return err
	}
	chain := &spb.CertificateChain{VcekCert: leaf}
	if s == signerVLEK {
		chain = &spb.CertificateChain{VlekCert: leaf}
	}
	a := &spb.Attestation{Report: p, CertificateChain: chain}
	for _, all := range roots {
		for _, r := range all {
			chain.ArkCert = r.ProductCerts.Ark.Raw
			if r.ProductCerts.Ask != nil {
				chain.AskCert = r.ProductCerts.Ask.Raw
			}
			if s == signerVLEK && r.ProductCerts.Asvk != nil {
				chain.AskCert = r.ProductCerts.Asvk.Raw
			}
		}
	}
	if err := theirs.SnpAttestation(a, &theirs.Options{
		DisableCertFetching: true, Now: at, TrustedRoots: roots, Getter: fixed(list), CheckRevocations: list != nil,
	}); err != nil {
		return err
	}
	policy, err := abi.ParseSnpPolicy(binary.LittleEndian.Uint64(report[8:]))
	if err != nil {
		return err
	}
	policy.Debug = true
	return validate.SnpAttestation(a, &validate.Options{GuestPolicy: policy, PermitProvisionalFirmware: true})
}

// weAccept is the same question to this package.
func weAccept(ev *attest.Evidence, a *attest.Anchors, at time.Time, list bool) error {
	c, err := Scheme{}.Verify(ev, a, at)
	if err != nil {
		return err
	}
	for name, f := range map[string]attest.Finding{"identity": c.Identity.Finding, "coherent": c.Coherent, "TCB": c.TCB.Finding, "revocation": c.Revocation} {
		if f.Status != attest.Passed && (list || name != "revocation") {
			return fmt.Errorf("%s %v: %s", name, f.Status, f.Detail)
		}
	}
	return nil
}

// differences reads the table of docs/TEE-DIFFERENCES.md: the case, and what each
// side says of it.
func differences(tb testing.TB) map[string][2]string {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join("..", "docs", "TEE-DIFFERENCES.md"))
	if err != nil {
		tb.Fatal(err)
	}
	_, section, ok := strings.Cut(string(b), "\n## SEV-SNP\n")
	if !ok {
		tb.Fatal("no section SEV-SNP")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	out := map[string][2]string{}
	for line := range strings.Lines(section) {
		cells := strings.Split(line, "|")
		if len(cells) < 6 || !strings.HasPrefix(strings.TrimSpace(cells[1]), "`") {
			continue
		}
		out[strings.Trim(cells[1], " `")] = [2]string{strings.TrimSpace(cells[2]), strings.TrimSpace(cells[3])}
		if strings.TrimSpace(cells[4]) == "" {
			tb.Errorf("%s has no reason", cells[1])
		}
	}
	if len(out) == 0 {
		tb.Fatal("no row")
	}
	return out
}

// word is a verdict in the table.
func word(err error) string {
	if err != nil {
		return "refuses"
	}
	return "accepts"
}

// compare wants both sides to agree, or the table to say that they do not, and why.
func compare(t *testing.T, table map[string][2]string, seen map[string]bool, id string, ours, their error) {
	t.Helper()
	row, explained := table[id]
	got := [2]string{word(ours), word(their)}
	switch {
	case explained:
		seen[id] = true
		if got != row {
			t.Errorf("%s: %v, the table has %v: ours %v; theirs %v", id, got, row, ours, their)
		}
	case got[0] != got[1]:
		t.Errorf("%s: nothing explains: ours %v; theirs %v", id, ours, their)
	}
}

// oracleCase changes one thing of a good chip and its chain.
type oracleCase struct {
	id      string
	line    product
	signer  signer
	version uint32
	change  func(*testing.T, *amd, *chip)
	// list is the revocation list; nil for none.
	list func(*testing.T, *amd) []byte
}

// oracleCases are those that both sides are asked about.
func oracleCases() []oracleCase {
	report := func(change func([]byte)) func(*testing.T, *amd, *chip) {
		return func(_ *testing.T, _ *amd, c *chip) { c.change = change }
	}
	good := report(nil)
	cases := []oracleCase{
		{id: "debug", line: milan, version: 3, change: report(func(b []byte) { b[0x0A] |= 8 })},
		{id: "host-report", line: milan, version: 3, change: report(func(b []byte) { copy(b[0x30:], "\xff\xff\xff\xff") })},
		{id: "vmpl-4", line: milan, version: 3, change: report(func(b []byte) { b[0x30] = 4 })},
		{id: "vmpl-1", line: milan, version: 3, change: report(func(b []byte) { b[0x30] = 1 })},
		{id: "signer-none", line: milan, version: 3, change: report(func(b []byte) { b[0x48] = 7 << 2 })},
		{id: "masked-key", line: milan, version: 3, change: report(func(b []byte) { b[0x48] = 2 })},
		{id: "masked-chip", line: milan, version: 3, change: report(func(b []byte) { clear(b[0x1A0:0x1E0]) })},
		{id: "other-chip", line: milan, version: 3, change: report(func(b []byte) { b[0x1A0] ^= 1 })},
		{id: "policy-reserved", line: milan, version: 3, change: report(func(b []byte) { b[0x0C] = 1 })},
		{id: "policy-one", line: milan, version: 3, change: report(func(b []byte) { b[0x0A] &^= 2 })},
		{id: "platform-bit-8", line: milan, version: 3, change: report(func(b []byte) { b[0x41] = 1 })},
		{id: "platform-bit-6", line: milan, version: 3, change: report(func(b []byte) { b[0x40] |= 0x40 })},
		{id: "reserved-4c", line: milan, version: 3, change: report(func(b []byte) { b[0x4C] = 1 })},
		{id: "reserved-18b", line: milan, version: 3, change: report(func(b []byte) { b[0x18B] = 1 })},
		{id: "reserved-208", line: milan, version: 3, change: report(func(b []byte) { b[0x208] = 1 })},
		{id: "reserved-tcb", line: milan, version: 3, change: report(func(b []byte) { b[0x1E2] = 1 })},
		{id: "mitigation-v3", line: milan, version: 3, change: report(func(b []byte) { b[0x1F8] = 1 })},
		{id: "cpu-v2", line: milan, version: 2, change: report(func(b []byte) { b[0x188] = 0x19 })},
		{id: "version-6", line: milan, version: 6, change: good},
		{id: "algorithm-2", line: milan, version: 3, change: report(func(b []byte) { b[0x34] = 2 })},
		{id: "reported-tcb", line: milan, version: 3, change: report(func(b []byte) { b[0x187]++ })},
		{id: "reported-less", line: milan, version: 3, change: report(func(b []byte) { b[0x187]-- })},
		{id: "cpu-of-genoa", line: milan, version: 3, change: report(func(b []byte) { b[0x189] = 0x11 })},
		{id: "cpu-of-siena", line: genoa, version: 3, change: report(func(b []byte) { b[0x189] = 0xA0 })},
		{id: "cpu-unknown", line: genoa, version: 3, change: report(func(b []byte) { b[0x188], b[0x189] = 0x1B, 0x77 })},
		{id: "leaf-expired", line: milan, version: 3, change: func(_ *testing.T, _ *amd, c *chip) {
			c.template = func(x *x509.Certificate) { x.NotAfter = testTime.Add(-time.Second) }
		}},
		{id: "leaf-by-asvk", line: milan, version: 3, change: func(_ *testing.T, a *amd, _ *chip) { a.ask = a.asvk }},
		{id: "crl-fresh", line: milan, version: 3, change: good, list: func(t *testing.T, a *amd) []byte { return a.crl(t) }},
		{id: "crl-revokes-ask", line: milan, version: 3, change: good, list: func(t *testing.T, a *amd) []byte { return a.crl(t, 0x10001) }},
		{id: "crl-revokes-asvk", line: milan, version: 3, signer: signerVLEK, change: good, list: func(t *testing.T, a *amd) []byte { return a.crl(t, 0x10101) }},
		{id: "crl-expired", line: milan, version: 3, change: good, list: func(t *testing.T, a *amd) []byte {
			return a.crlBy(t, a.ark, func(l *x509.RevocationList) {
				l.ThisUpdate, l.NextUpdate = testTime.AddDate(-2, 0, 0), testTime.AddDate(-1, 0, 0)
			})
		}},
		{id: "crl-by-ask", line: milan, version: 3, change: good, list: func(t *testing.T, a *amd) []byte { return a.crlBy(t, a.ask, nil) }},
		{id: "crl-surplus", line: milan, version: 3, change: good, list: func(t *testing.T, a *amd) []byte { return append(a.crl(t), 0) }},
	}
	for _, line := range products() {
		for _, s := range []signer{signerVCEK, signerVLEK} {
			for version := uint32(minVersion); version <= maxVersion; version++ {
				id := strings.ToLower(fmt.Sprintf("%s-%v-v%d", line, s, version))
				cases = append(cases, oracleCase{id: id, line: line, signer: s, version: version, change: good})
			}
		}
	}
	return cases
}

// TestOracle asks this package and go-sev-guest about the same reports of a maker
// that both are told to trust.
func TestOracle(t *testing.T) {
	table, seen := differences(t), map[string]bool{}
	for _, test := range oracleCases() {
		t.Run(test.id, func(t *testing.T) {
			maker := newForger(t, test.line)
			c := newChip(t, maker, test.signer, test.version)
			roots := theirRoots(test.line, maker.ark.cert, maker.ask.cert, maker.asvk.cert)
			test.change(t, maker, c)
			var list []byte
			ev := withCollateral(c.report(t), c.chain(t))
			if test.list != nil {
				list = test.list(t, maker)
				ev.Collateral = append(ev.Collateral, attest.Collateral{Kind: attest.CollateralCRL, Data: list})
			}
			compare(t, table, seen, test.id, weAccept(ev, maker.anchors(), testTime, list != nil),
				theyAccept(ev.Parts[0].Data, c.certificate(t).Raw, test.signer, roots, list, testTime))
		})
	}
	// The sample that go-sev-guest ships with AMD's own signatures.
	at := time.Date(2022, 9, 25, 0, 0, 0, 0, time.UTC)
	chain := unPEM(trust.AskArkMilanVcekBytes)
	ev := withCollateral(testdata.AttestationBytes, append([][]byte{testdata.VcekBytes}, chain...))
	roots := theirRoots(milan, parse(t, chain[1]), parse(t, chain[0]), nil)
	compare(t, table, seen, "shipped-sample", weAccept(ev, &attest.Anchors{Pins: Pins()}, at, false),
		theyAccept(testdata.AttestationBytes, testdata.VcekBytes, signerVCEK, roots, nil, at))
	if _, err := (Scheme{}).Verify(ev, &attest.Anchors{Pins: Pins()}, at); !errors.Is(err, attest.ErrMode) {
		t.Errorf("the shipped sample allows debugging: %v", err)
	}
	for id := range table {
		if !seen[id] && !strings.HasPrefix(id, "snp-") {
			t.Errorf("the table explains %s, which is no case", id)
		}
	}
}

// TestOracleShared asks about the real reports.
func TestOracleShared(t *testing.T) {
	table, seen := differences(t), map[string]bool{}
	for _, i := range items(t, "sev-snp") {
		ders := unPEM(i.file(t, "ask_ark.pem"))
		if len(ders) != 2 {
			continue
		}
		ask, ark := parse(t, ders[0]), parse(t, ders[1])
		line := product(strings.TrimPrefix(ark.Subject.CommonName, "ARK-"))
		s, roots := signerVCEK, theirRoots(line, ark, ask, nil)
		if i.Report.Signer == "VLEK" {
			s, roots = signerVLEK, theirRoots(line, ark, nil, ask)
		}
		compare(t, table, seen, i.ID, weAccept(i.evidence(t), &attest.Anchors{Pins: Pins()}, *i.VerifyAt, false),
			theyAccept(i.file(t, "report.bin"), i.file(t, "vek.der"), s, roots, nil, *i.VerifyAt))
	}
}

// TestPinsAgainstModule holds every row against the certificates that go-sev-guest
// ships.
func TestPinsAgainstModule(t *testing.T) {
	files := map[string][]byte{"Milan": trust.AskArkMilanVcekBytes, "Genoa": trust.AskArkGenoaVcekBytes, "Turin": trust.AskArkTurinVcekBytes}
	for _, p := range Pins() {
		ders := unPEM(files[p.Product])
		i := slices.IndexFunc(ders, func(der []byte) bool { return p.Certificate(parse(t, der)) })
		if i < 0 {
			t.Fatalf("%s: not among %d certificates", p.Subject, len(ders))
		}
		c := parse(t, ders[i])
		if checkAuthority(c) != "" || c.NotBefore.Format(time.DateOnly) != p.From.Format(time.DateOnly) || c.NotAfter.Format(time.DateOnly) != p.Until.Format(time.DateOnly) {
			t.Errorf("%s: from %v until %v", p.Subject, c.NotBefore, c.NotAfter)
		}
	}
}
