package dcap

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/dcap/dcaptest"
)

// TestAppraise: a quote of each version is appraised by all of its collateral and by
// nothing else, and whose root it is stands in the identity.
func TestAppraise(t *testing.T) {
	f := newFixture(t, true)
	sgx := newFixture(t, false)
	for name, tc := range map[string]struct {
		f *fixture
		q dcaptest.Quote
	}{
		"SGX 3":     {sgx, dcaptest.Quote{Version: 3, Body: dcaptest.Enclave(nil)}},
		"SGX 4":     {sgx, dcaptest.Quote{Version: 4, Body: dcaptest.Enclave(nil)}},
		"SGX 5":     {sgx, dcaptest.Quote{Version: 5, Body: dcaptest.Enclave(nil)}},
		"TDX 4":     {f, dcaptest.Quote{Version: 4, Body: dcaptest.TD(false, nil)}},
		"TDX 5 1.0": {f, dcaptest.Quote{Version: 5, Body: dcaptest.TD(false, nil)}},
		"TDX 5 1.5": {f, dcaptest.Quote{Version: 5, Body: dcaptest.TD(true, nil)}},
		"no auth":   {f, dcaptest.Quote{Version: 4, Body: dcaptest.TD(false, nil), Auth: []byte{}}},
	} {
		t.Run(name, func(t *testing.T) {
			tc.f.quote = must(tc.f.Make(tc.q))(t)
			a := tc.f.appraise(t, tc.f.items)
			if !a.passes() || len(a.Used) != len(tc.f.items) || a.TCB.Evaluation != 18 || len(a.TCB.Advisories) != 0 {
				t.Fatalf("%+v", a)
			}
			if a.Identity.Root == nil || !a.Identity.Root.UserSupplied || !strings.Contains(a.Identity.Provenance, "SIMULATED") {
				t.Errorf("identity %+v", a.Identity)
			}
			for i, u := range a.Used {
				if u.Index != i || u.What == "" || !u.From.Before(u.Until) || u.From.After(testTime) || u.Until.Before(testTime) {
					t.Errorf("use %+v", u)
				}
			}
		})
	}
}

// TestMissing: without an item, what rests on it is not established, and nothing
// passes in its stead.
func TestMissing(t *testing.T) {
	f := newFixture(t, true)
	const identity, revocation, coherent, tcb = 1, 2, 4, 8
	for i, want := range []int{coherent | tcb, identity | coherent | tcb, revocation, revocation, identity | coherent | tcb} {
		a := f.appraise(t, slices.Delete(slices.Clone(f.items), i, i+1))
		got := 0
		for bit, s := range map[int]attest.Finding{identity: a.Identity.Finding, revocation: a.Revocation, coherent: a.Coherent, tcb: a.TCB.Finding} {
			if s.Detail == "" || s.Status == attest.Failed {
				t.Errorf("without item %d: %+v", i, s)
			}
			if s.Status == attest.NotEstablished {
				got |= bit
			}
		}
		if got != want || a.TCB.Status != "" && want&tcb != 0 {
			t.Errorf("without item %d: %04b not established, want %04b: %+v", i, got, want, a)
		}
	}
	if a := f.appraise(t, nil); a.Identity.Status != attest.NotEstablished || a.passes() || len(a.Used) != 0 {
		t.Errorf("without any: %+v", a)
	}
}

// TestStatus merges the statuses of platform, module and QE as Intel's library does.
func TestStatus(t *testing.T) {
	f := newFixture(t, true)
	platform := func(status string) func(*dcaptest.TCBInfo, *dcaptest.QEIdentity) {
		return func(i *dcaptest.TCBInfo, _ *dcaptest.QEIdentity) { i.Levels[0].Status = status }
	}
	both := func(status, module, qe string) func(*dcaptest.TCBInfo, *dcaptest.QEIdentity) {
		return func(i *dcaptest.TCBInfo, q *dcaptest.QEIdentity) {
			i.Levels[0].Status, i.Modules[1][0].Status, q.Levels[0].Status = status, module, qe
			// The module that runs now is not the latest.
			i.Modules[1] = append([]dcaptest.ModuleLevel{{ISVSVN: 6, Status: UpToDate}}, i.Modules[1]...)
		}
	}
	for name, tc := range map[string]struct {
		change func(*dcaptest.TCBInfo, *dcaptest.QEIdentity)
		want   string
		status attest.Status
		ids    string
	}{
		"up to date":                       {platform(UpToDate), UpToDate, attest.Passed, ""},
		"hardening":                        {platform(SWHardeningNeeded), SWHardeningNeeded, attest.Passed, ""},
		"configuration":                    {platform(ConfigurationNeeded), ConfigurationNeeded, attest.Passed, ""},
		"revoked":                          {platform(Revoked), Revoked, attest.Failed, ""},
		"module out of date":               {both(UpToDate, OutOfDate, UpToDate), OutOfDate, attest.Passed, ""},
		"module, hardening":                {both(SWHardeningNeeded, OutOfDate, UpToDate), OutOfDate, attest.Passed, ""},
		"module, configuration":            {both(ConfigurationNeeded, OutOfDate, UpToDate), OutOfDateConfigurationNeeded, attest.Passed, ""},
		"module, both":                     {both(ConfigurationAndSWHardeningNeeded, OutOfDate, UpToDate), OutOfDateConfigurationNeeded, attest.Passed, ""},
		"module revoked":                   {both(UpToDate, Revoked, UpToDate), Revoked, attest.Failed, ""},
		"platform revoked, module current": {both(Revoked, UpToDate, UpToDate), Revoked, attest.Failed, ""},
		"qe out of date":                   {both(UpToDate, UpToDate, OutOfDate), OutOfDate, attest.Passed, ""},
		"qe, configuration":                {both(ConfigurationNeeded, UpToDate, OutOfDate), OutOfDateConfigurationNeeded, attest.Passed, ""},
		"qe configuration needed":          {both(UpToDate, UpToDate, ConfigurationNeeded), OutOfDate, attest.Passed, ""},
		"qe revoked":                       {both(UpToDate, UpToDate, Revoked), Revoked, attest.Failed, ""},
		"all out of date":                  {both(OutOfDate, OutOfDate, OutOfDate), OutOfDate, attest.Passed, ""},
		"advisories": {func(i *dcaptest.TCBInfo, q *dcaptest.QEIdentity) {
			i.Levels[0].Advisories = []string{"INTEL-SA-00009", "INTEL-SA-00004"}
			i.Modules[1][0].Advisories = []string{"INTEL-SA-00004"}
			q.Levels[0].Advisories = []string{"INTEL-SA-00007"}
		}, UpToDate, attest.Passed, "INTEL-SA-00004 INTEL-SA-00007 INTEL-SA-00009"},
		"second level": {func(i *dcaptest.TCBInfo, _ *dcaptest.QEIdentity) { i.Levels[0].SGX[3]++ }, OutOfDate, attest.Passed, "INTEL-SA-00001"},
		"pcesvn":       {func(i *dcaptest.TCBInfo, _ *dcaptest.QEIdentity) { i.Levels[0].PCESVN++ }, OutOfDate, attest.Passed, "INTEL-SA-00001"},
		"late microcode": {func(i *dcaptest.TCBInfo, _ *dcaptest.QEIdentity) {
			i.Levels[0].TDX[2]++
		}, OutOfDate, attest.Passed, "INTEL-SA-00001"},
		// The first two components are the module identity's affair.
		"module's own components": {func(i *dcaptest.TCBInfo, _ *dcaptest.QEIdentity) {
			i.Levels[0].TDX[0], i.Levels[0].TDX[1] = 200, 200
		}, UpToDate, attest.Passed, ""},
		"no level": {func(i *dcaptest.TCBInfo, _ *dcaptest.QEIdentity) {
			i.Levels = i.Levels[:1]
			i.Levels[0].SGX[0] = 255
		}, "", attest.Failed, ""},
		"no level of tdx": {func(i *dcaptest.TCBInfo, _ *dcaptest.QEIdentity) {
			i.Levels = i.Levels[:1]
			i.Levels[0].TDX[2] = 255
		}, "", attest.Failed, ""},
		"no level of the module": {func(i *dcaptest.TCBInfo, _ *dcaptest.QEIdentity) {
			i.Modules[1] = []dcaptest.ModuleLevel{{ISVSVN: 6, Status: UpToDate}}
		}, "", attest.Failed, ""},
		"another module": {func(i *dcaptest.TCBInfo, _ *dcaptest.QEIdentity) {
			i.Modules = map[uint8][]dcaptest.ModuleLevel{3: i.Modules[1]}
		}, "", attest.Failed, ""},
		"no level of the qe": {func(_ *dcaptest.TCBInfo, q *dcaptest.QEIdentity) {
			q.Levels = []dcaptest.ModuleLevel{{ISVSVN: 9, Status: UpToDate}}
		}, "", attest.Failed, ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := f.appraise(t, f.with(t, tc.change))
			if a.TCB.Status != tc.want || a.TCB.Finding.Status != tc.status || strings.Join(a.TCB.Advisories, " ") != tc.ids {
				t.Errorf("%+v", a.TCB)
			}
			if a.Identity.Status != attest.Passed || a.Coherent.Status != attest.Passed {
				t.Errorf("%+v", a)
			}
		})
	}
}

// TestRelaunch: where the module was updated under the TD, launching it anew is advised
// and nothing better said.
func TestRelaunch(t *testing.T) {
	f := newFixture(t, true)
	for name, tc := range map[string]struct {
		body   func([]byte)
		change func(*dcaptest.TCBInfo, *dcaptest.QEIdentity)
		v10    bool
		want   string
	}{
		"updated":         {func(b []byte) { b[0] = 3 }, nil, false, TDRelaunchAdvised},
		"configuration":   {func(b []byte) { b[0] = 3 }, func(i *dcaptest.TCBInfo, _ *dcaptest.QEIdentity) { i.Levels[0].Status = ConfigurationNeeded }, false, TDRelaunchAdvisedConfigurationNeed},
		"not the latest":  {func(b []byte) { b[0], b[584] = 3, 4 }, nil, false, OutOfDate},
		"old microcode":   {func(b []byte) { b[0], b[586] = 3, 1 }, nil, false, OutOfDate},
		"of 1.0":          {func(b []byte) { b[0] = 3 }, nil, true, OutOfDate},
		"qe out of date":  {func(b []byte) { b[0] = 3 }, func(_ *dcaptest.TCBInfo, q *dcaptest.QEIdentity) { q.Levels[0].Status = OutOfDate }, false, OutOfDate},
		"platform too":    {func(b []byte) { b[0] = 3 }, func(i *dcaptest.TCBInfo, _ *dcaptest.QEIdentity) { i.Levels[0].Status = OutOfDate }, false, OutOfDate},
		"major 0 now":     {func(b []byte) { b[0], b[584], b[585] = 3, 9, 0 }, nil, false, TDRelaunchAdvised},
		"major 0, old":    {func(b []byte) { b[0], b[584], b[585] = 3, 4, 0 }, nil, false, OutOfDate},
		"unknown module":  {func(b []byte) { b[0], b[585] = 3, 7 }, nil, false, ""},
		"module 1.0, old": {func(b []byte) { b[0], b[1] = 4, 0 }, nil, false, OutOfDate},
	} {
		t.Run(name, func(t *testing.T) {
			f.quote = must(f.Make(dcaptest.Quote{Version: 5, Body: dcaptest.TD(!tc.v10, tc.body)}))(t)
			items := f.items
			if tc.change != nil {
				items = f.with(t, tc.change)
			}
			a := f.appraise(t, items)
			if a.TCB.Status != tc.want || (a.TCB.Finding.Status == attest.Passed) != (tc.want != "") {
				t.Errorf("%+v", a.TCB)
			}
		})
	}
}

// TestIncoherent: collateral of something else, or of another time, is found out.
func TestIncoherent(t *testing.T) {
	f := newFixture(t, true)
	change := func(c func(*dcaptest.TCBInfo, *dcaptest.QEIdentity)) []attest.Collateral { return f.with(t, c) }
	answer := func(index int, member, document string) []attest.Collateral {
		items := slices.Clone(f.items)
		items[index].Data = must(dcaptest.Answer(f.Signer, member, document))(t)
		return items
	}
	other := must(dcaptest.New(testTime, "other"))(t)
	foreign := must(other.Collateral(true))(t)
	mixed := slices.Clone(f.items)
	mixed[0] = foreign[0]
	for name, tc := range map[string]struct {
		items []attest.Collateral
		want  attest.Status
	}{
		"PCK of another platform": {change(func(i *dcaptest.TCBInfo, _ *dcaptest.QEIdentity) { i.FMSPC = "00806F050000" }), attest.Failed},
		"another PCE":             {change(func(i *dcaptest.TCBInfo, _ *dcaptest.QEIdentity) { i.PCEID = "0001" }), attest.Failed},
		"TCB info of SGX": {change(func(i *dcaptest.TCBInfo, _ *dcaptest.QEIdentity) {
			i.ID, i.Modules = "SGX", nil
		}), attest.Failed},
		"QE identity of SGX":      {change(func(_ *dcaptest.TCBInfo, q *dcaptest.QEIdentity) { q.ID = "QE" }), attest.Failed},
		"QE identity of a QVE":    {change(func(_ *dcaptest.TCBInfo, q *dcaptest.QEIdentity) { q.ID = "QVE" }), attest.Failed},
		"TCB info stale":          {change(func(i *dcaptest.TCBInfo, _ *dcaptest.QEIdentity) { i.Next = testTime }), attest.NotEstablished},
		"TCB info of the future":  {change(func(i *dcaptest.TCBInfo, _ *dcaptest.QEIdentity) { i.Issued = testTime.Add(time.Second) }), attest.NotEstablished},
		"QE identity stale":       {change(func(_ *dcaptest.TCBInfo, q *dcaptest.QEIdentity) { q.Next = testTime }), attest.NotEstablished},
		"signed by another Intel": {mixed, attest.Failed},
		"not JSON":                {answer(0, memberTCBInfo, `{"id":"TDX"`), attest.Failed},
		"nothing in it":           {answer(0, memberTCBInfo, `{}`), attest.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			a := f.appraise(t, tc.items)
			if a.Coherent.Status != tc.want || a.Coherent.Detail == "" || a.TCB.Finding.Status == attest.Passed || a.TCB.Status != "" {
				t.Errorf("%+v", a)
			}
		})
	}
	// Upper and lower case are the same number.
	if a := f.appraise(t, change(func(i *dcaptest.TCBInfo, _ *dcaptest.QEIdentity) { i.FMSPC = "90c06F000000" })); !a.passes() {
		t.Errorf("%+v", a)
	}
}

// TestQEOfAnother: a quote by another enclave that the PCK's platform let at its key
// is nobody's.
func TestQEOfAnother(t *testing.T) {
	f := newFixture(t, true)
	for name, change := range map[string]func([]byte){
		"signer":     func(b []byte) { b[128] ^= 1 },
		"product":    func(b []byte) { b[256] = 1 },
		"debug":      func(b []byte) { b[48] |= 2 },
		"misc":       func(b []byte) { b[16] = 1 },
		"attributes": func(b []byte) { b[49] = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			f.quote = must(f.Make(dcaptest.Quote{Version: 4, Body: dcaptest.TD(false, nil), QE: dcaptest.QE(true, change)}))(t)
			a := f.appraise(t, f.items)
			if a.Identity.Status != attest.Failed || a.Identity.Root != nil || a.TCB.Finding.Status != attest.Failed || a.TCB.Status != "" {
				t.Errorf("%+v", a)
			}
		})
	}
}

// TestRevocation: every certificate but the root's is looked for in the list of its
// issuer, by number and by key.
func TestRevocation(t *testing.T) {
	f := newFixture(t, true)
	list := func(h dcaptest.Holder, serials ...*big.Int) attest.Collateral {
		return attest.Collateral{Kind: attest.CollateralCRL, Data: must(f.CRL(h, serials...))(t)}
	}
	of := func(h dcaptest.Holder, from, until time.Time, serials ...*big.Int) attest.Collateral {
		return attest.Collateral{Kind: attest.CollateralCRL, Data: must(f.CRLOf(h, from, until, serials...))(t)}
	}
	with := func(index int, c ...attest.Collateral) []attest.Collateral {
		return slices.Concat(f.items[:index], c, f.items[index+1:])
	}
	behind := func(c attest.Collateral) attest.Collateral {
		return attest.Collateral{Kind: c.Kind, Data: append(c.Data, 0)}
	}

	day := func(n int) time.Time { return testTime.AddDate(0, 0, n) }
	// Another certificate of the PCK's key, which alone is in the list.
	twin := must(f.Sign(&f.CA, &x509.Certificate{
		SerialNumber: big.NewInt(4711), Subject: f.PCK.Cert.Subject, NotBefore: day(-2), NotAfter: day(2), KeyUsage: x509.KeyUsageDigitalSignature,
	}, f.PCK.Key))(t)
	// A list of the same name by somebody else.
	other := must(dcaptest.New(testTime, "other"))(t)
	pck, ca, signer := f.PCK.Cert.SerialNumber, f.CA.Cert.SerialNumber, f.Signer.Cert.SerialNumber
	for name, tc := range map[string]struct {
		items []attest.Collateral
		want  attest.Status
	}{
		"others revoked":   {with(3, list(f.CA, big.NewInt(99), ca)), attest.Passed},
		"revoked leaf":     {with(3, list(f.CA, pck)), attest.Failed},
		"revoked CA":       {with(2, list(f.Root, ca)), attest.Failed},
		"revoked signer":   {with(2, list(f.Root, signer)), attest.Failed},
		"revoked by key":   {append(with(3, list(f.CA, big.NewInt(4711))), attest.Collateral{Kind: attest.CollateralCertificate, Data: twin.Cert.Raw}), attest.Failed},
		"expired CRL":      {with(3, of(f.CA, day(-40), day(-10))), attest.NotEstablished},
		"expires now":      {with(3, of(f.CA, day(-40), testTime)), attest.NotEstablished},
		"expired, revoked": {with(3, of(f.CA, day(-40), day(-10), pck)), attest.Failed},
		"of the future":    {with(3, of(f.CA, day(1), day(10))), attest.NotEstablished},
		"of a stranger":    {with(3, list(other.CA)), attest.NotEstablished},
		"a byte behind it": {with(3, behind(list(f.CA))), attest.NotEstablished},
		"a list behind it": {with(3, attest.Collateral{Kind: attest.CollateralCRL, Data: slices.Concat(list(f.CA).Data, list(f.CA, pck).Data)}), attest.NotEstablished},
		"newer says so":    {with(3, of(f.CA, day(-9), day(9)), of(f.CA, day(-1), day(9), pck)), attest.Failed},
		"older said so":    {with(3, of(f.CA, day(-9), day(9), pck), of(f.CA, day(-1), day(9))), attest.Passed},
		"newer is stale":   {with(3, of(f.CA, day(-9), day(9)), of(f.CA, day(-5), day(-1), pck)), attest.Failed},
		"older is stale":   {with(3, of(f.CA, day(-5), day(9)), of(f.CA, day(-9), day(-1), pck)), attest.Passed},
	} {
		t.Run(name, func(t *testing.T) {
			a := f.appraise(t, tc.items)
			if a.Revocation.Status != tc.want || a.Revocation.Detail == "" {
				t.Errorf("%+v", a.Revocation)
			}
			if a.passes() != (tc.want == attest.Passed) {
				t.Errorf("%+v", a)
			}
		})
	}
	// A list with a critical extension may be part of one.
	if l := parseList([]byte("nothing")); l != nil {
		t.Error("nothing is a list")
	}
}

// TestNewest: of several that would do, the newest counts, and only it is used.
func TestNewest(t *testing.T) {
	f := newFixture(t, true)
	info := func(evaluation uint32, issued time.Time, status string) attest.Collateral {
		i := f.NewTCBInfo(true)
		i.Evaluation, i.Issued, i.Levels[0].Status = evaluation, issued, status
		return attest.Collateral{Kind: attest.CollateralTCBInfo, Data: must(dcaptest.Answer(f.Signer, memberTCBInfo, i.JSON()))(t)}
	}
	day := func(n int) time.Time { return testTime.AddDate(0, 0, n) }
	for name, tc := range map[string]struct {
		added attest.Collateral
		want  string
		used  bool
	}{
		"older":               {info(18, day(-3), OutOfDate), UpToDate, false},
		"newer":               {info(18, day(0), OutOfDate), OutOfDate, true},
		"higher number":       {info(19, day(-3), OutOfDate), OutOfDate, true},
		"lower number, newer": {info(17, day(0), OutOfDate), UpToDate, false},
		"of the future":       {info(20, day(1), OutOfDate), UpToDate, false},
		"the same":            {f.items[0], UpToDate, false},
	} {
		t.Run(name, func(t *testing.T) {
			a := f.appraise(t, append(slices.Clone(f.items), tc.added))
			used := slices.ContainsFunc(a.Used, func(u attest.Use) bool { return u.Index == len(f.items) })
			if a.TCB.Status != tc.want || used != tc.used || len(a.Used) != len(f.items) {
				t.Errorf("%+v, used %+v", a.TCB, a.Used)
			}
		})
	}
}

// TestCopies: the issuers that vendors hand out beside lists and documents are used
// once each; strangers are not.
func TestCopies(t *testing.T) {
	f := newFixture(t, true)
	certificate := func(c *x509.Certificate) attest.Collateral {
		return attest.Collateral{Kind: attest.CollateralCertificate, Data: c.Raw}
	}
	other := must(dcaptest.New(testTime, "other"))(t)
	// The CA's certificate, issued anew over the same key.
	t2 := *f.CA.Cert
	t2.SerialNumber, t2.NotBefore = big.NewInt(77), testTime.AddDate(0, -1, 0)
	again := must(f.Sign(&f.Root, &t2, f.CA.Key))(t)
	for name, tc := range map[string]struct {
		added []attest.Collateral
		used  []int
	}{
		"root and CA":    {[]attest.Collateral{certificate(f.Root.Cert), certificate(f.CA.Cert)}, []int{5, 6}},
		"CA twice":       {[]attest.Collateral{certificate(f.CA.Cert), certificate(f.CA.Cert)}, []int{5}},
		"CA issued anew": {[]attest.Collateral{certificate(f.CA.Cert), certificate(again.Cert)}, []int{6}},
		"strangers":      {[]attest.Collateral{certificate(other.Root.Cert), certificate(other.CA.Cert), certificate(other.Signer.Cert)}, nil},
		"the leaf":       {[]attest.Collateral{certificate(f.PCK.Cert)}, nil},
		"unknown kind":   {[]attest.Collateral{{Kind: "ccel", Data: []byte{1}}}, nil},
		"no certificate": {[]attest.Collateral{{Kind: attest.CollateralCertificate, Data: []byte{1}}, {Kind: attest.CollateralCRL, Data: []byte{1}}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			a := f.appraise(t, append(slices.Clone(f.items), tc.added...))
			var used []int
			for _, u := range a.Used[5:] {
				used = append(used, u.Index)
			}
			if !a.passes() || !slices.Equal(used, tc.used) {
				t.Errorf("used %v, want %v: %+v", used, tc.used, a)
			}
		})
	}
}

// TestSigners: of two certificates over one key the valid one counts; one that is no
// signing certificate never does.
func TestSigners(t *testing.T) {
	f := newFixture(t, true)
	without := f.items[:4]
	sign := func(change func(*x509.Certificate), parent *dcaptest.Holder) attest.Collateral {
		c := *f.Signer.Cert
		c.SerialNumber, c.RawSubject = big.NewInt(1234), nil
		change(&c)
		return attest.Collateral{Kind: attest.CollateralCertificate, Data: must(f.Sign(parent, &c, f.Signer.Key))(t).Cert.Raw}
	}
	expired := sign(func(c *x509.Certificate) { c.NotAfter = testTime.AddDate(0, 0, -1) }, &f.Root)
	if a := f.appraise(t, append(slices.Clone(f.items), expired)); !a.passes() || len(a.Used) != 5 {
		t.Errorf("beside an expired one: %+v", a)
	}
	for name, c := range map[string]attest.Collateral{
		"expired":    expired,
		"by the CA":  sign(func(*x509.Certificate) {}, &f.CA),
		"another":    sign(func(c *x509.Certificate) { c.Subject.CommonName = "SIMULATED Intel SGX PCK Certificate" }, &f.Root),
		"no usage":   sign(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }, &f.Root),
		"a CA's":     sign(func(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign }, &f.Root),
		"its own":    sign(func(*x509.Certificate) {}, nil),
		"not at all": {Kind: "certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			a := f.appraise(t, append(slices.Clone(without), c))
			if a.Coherent.Status != attest.NotEstablished || a.Identity.Status != attest.NotEstablished || a.TCB.Finding.Status != attest.NotEstablished {
				t.Errorf("%+v", a)
			}
		})
	}
}

// TestManySigners: who supplies signers and documents in numbers makes nobody try each by
// each, and brings none to count by leaving others out.
func TestManySigners(t *testing.T) {
	f := newFixture(t, true)
	var items []attest.Collateral
	for i := range maxSigners {
		c := *f.Signer.Cert
		c.SerialNumber, c.RawSubject = big.NewInt(int64(i+100)), nil
		items = append(items, attest.Collateral{Kind: attest.CollateralCertificate, Data: must(f.Sign(&f.Root, &c, f.Signer.Key))(t).Cert.Raw})
	}
	twice := slices.Concat(items[1:], items[1:], f.items)
	if a := f.appraise(t, twice); !a.passes() || len(a.Used)+len(a.Spare) != len(twice) {
		t.Errorf("within the limit: %+v", a)
	}
	if a := f.appraise(t, slices.Concat(items, f.items)); a.passes() || a.Coherent.Status != attest.Failed || a.TCB.Status != "" {
		t.Errorf("a signer more: %+v", a)
	}
	i := slices.IndexFunc(f.items, func(c attest.Collateral) bool { return c.Kind == attest.CollateralTCBInfo })
	documents := slices.Repeat([]attest.Collateral{f.items[i]}, maxDocuments)
	if a := f.appraise(t, slices.Concat(f.items, documents[1:])); !a.passes() || len(a.Used)+len(a.Spare) != len(f.items)+maxDocuments-1 {
		t.Errorf("documents within the limit: %+v", a)
	}
	if a := f.appraise(t, slices.Concat(f.items, documents)); a.passes() || a.Coherent.Status != attest.Failed || a.TCB.Status != "" {
		t.Errorf("a document more: %+v", a)
	}
	// Those of other platforms, which a relying party has in the same folder, do no harm.
	other := f.with(t, func(i *dcaptest.TCBInfo, _ *dcaptest.QEIdentity) { i.FMSPC = "010203040506" })
	if a := f.appraise(t, slices.Concat(slices.Repeat(other[i:i+1], 2*maxDocuments), f.items)); !a.passes() {
		t.Errorf("many of other platforms: %+v", a)
	}
}

// TestForgedChain: a chain inside the evidence proves nothing by being there.
func TestForgedChain(t *testing.T) {
	f := newFixture(t, true)
	q := must(ParseQuote(f.quote))(t)
	other := must(dcaptest.New(testTime, "other"))(t)
	wrong := other.Anchors()
	for name, tc := range map[string]struct {
		anchors *attest.Anchors
		want    attest.Status
	}{
		"nil anchors":         {nil, attest.NotEstablished},
		"no anchors":          {&attest.Anchors{}, attest.NotEstablished},
		"Intel's pins":        {pinned(), attest.Failed},
		"another root":        {wrong, attest.Failed},
		"root of other role":  {&attest.Anchors{Roots: []attest.Root{{Role: "amd-ark", Certificate: f.Root.Cert}}}, attest.NotEstablished},
		"the CA as a root":    {&attest.Anchors{Roots: []attest.Root{{Role: Role, Certificate: f.CA.Cert}}}, attest.Failed},
		"a root without one":  {&attest.Anchors{Roots: []attest.Root{{Role: Role}}}, attest.Failed},
		"the leaf as a root":  {&attest.Anchors{Roots: []attest.Root{{Role: Role, Certificate: f.PCK.Cert}}}, attest.Failed},
		"zero pin":            {&attest.Anchors{Pins: []attest.Pin{{Role: Role}}}, attest.Failed},
		"pin of another time": {&attest.Anchors{Pins: []attest.Pin{pinOf(f, testTime.AddDate(0, 0, 2))}}, attest.Failed},
		"pin":                 {&attest.Anchors{Pins: []attest.Pin{pinOf(f, testTime)}}, attest.Passed},
	} {
		t.Run(name, func(t *testing.T) {
			a := must(q.Appraise(f.items, tc.anchors, testTime))(t)
			if a.Identity.Status != tc.want || a.Identity.Detail == "" || a.passes() != (tc.want == attest.Passed) {
				t.Fatalf("%+v", a.Identity)
			}
			if tc.want != attest.Passed && (len(a.Used) != 0 || a.TCB.Status != "" || a.Identity.Root != nil) {
				t.Errorf("%+v", a)
			}
			if tc.want == attest.Passed && (a.Identity.Root.UserSupplied || a.Identity.Root.Pin == nil) {
				t.Errorf("%+v", a.Identity.Root)
			}
		})
	}
}

// pinOf returns a pin of the made-up root that is of use from a day before from on.
func pinOf(f *fixture, from time.Time) attest.Pin {
	p := attest.Pin{Role: Role, Subject: f.Root.Cert.Subject.String(), From: from.AddDate(0, 0, -1), Until: from.AddDate(0, 0, 1)}
	p.SPKI = [32]byte(attest.SHA256.Sum(f.Root.Cert.RawSubjectPublicKeyInfo))
	return p
}

// TestChain: each certificate of the chain is what its place wants, and valid.
func TestChain(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, f *fixture){
		"leaf expired": func(t *testing.T, f *fixture) {
			f.PCK = must(f.Issue(&f.CA, "Intel SGX PCK Certificate", func(c *x509.Certificate) { c.NotAfter = testTime.AddDate(0, 0, -1) }))(t)
		},
		"leaf of the future": func(t *testing.T, f *fixture) {
			f.PCK = must(f.Issue(&f.CA, "Intel SGX PCK Certificate", func(c *x509.Certificate) { c.NotBefore = testTime.Add(time.Second) }))(t)
		},
		"leaf is a CA's": func(t *testing.T, f *fixture) {
			f.PCK = must(f.Issue(&f.CA, "Intel SGX PCK Certificate", func(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign }))(t)
		},
		"leaf by the root": func(t *testing.T, f *fixture) {
			f.PCK = must(f.Issue(&f.Root, "Intel SGX PCK Certificate", nil))(t)
		},
		"leaf with another name": func(t *testing.T, f *fixture) {
			f.PCK = must(f.Issue(&f.CA, "Intel SGX PCK Certificate", func(c *x509.Certificate) { c.Subject.CommonName = "somebody" }))(t)
		},
		"CA expired": func(t *testing.T, f *fixture) {
			f.CA = must(f.Issue(&f.Root, "Intel SGX PCK Platform CA", func(c *x509.Certificate) { c.NotAfter = testTime.AddDate(0, 0, -1) }))(t)
			f.PCK = must(f.Issue(&f.CA, "Intel SGX PCK Certificate", nil))(t)
		},
		"CA without right": func(t *testing.T, f *fixture) {
			f.CA = must(f.Issue(&f.Root, "Intel SGX PCK Platform CA", func(c *x509.Certificate) { c.IsCA = false }))(t)
			f.PCK = must(f.Issue(&f.CA, "Intel SGX PCK Certificate", nil))(t)
		},
		"CA by another": func(t *testing.T, f *fixture) {
			other := must(dcaptest.New(testTime, "other"))(t)
			f.CA = other.CA
			f.PCK = must(f.Issue(&f.CA, "Intel SGX PCK Certificate", nil))(t)
		},
		"root forged": func(t *testing.T, f *fixture) {
			// Root of the same name that another key signed.
			c := *f.Root.Cert
			f.Root = must(f.Sign(&f.CA, &c, f.Root.Key))(t)
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, true)
			anchors := f.Anchors()
			change(t, f)
			f.quote = must(f.Make(dcaptest.Quote{Version: 4, Body: dcaptest.TD(false, nil)}))(t)
			a := must(must(ParseQuote(f.quote))(t).Appraise(f.items, anchors, testTime))(t)
			if a.Identity.Status != attest.Failed || a.passes() || len(a.Used) != 0 {
				t.Errorf("%+v", a.Identity)
			}
		})
	}
}

// TestReserialised: documents are verified as received; one that says the same in
// other bytes is not the signed one.
func TestReserialised(t *testing.T) {
	f := newFixture(t, true)
	genuine := string(f.items[0].Data)
	body := genuine[len(`{"tcbInfo":`) : len(genuine)-len(`,"signature":""}`)-128]
	tail := genuine[len(genuine)-len(`,"signature":""}`)-128:]
	for name, text := range map[string]string{
		"blank in the signed value": `{"tcbInfo":` + strings.Replace(body, `,"version"`, `, "version"`, 1) + tail,
		"blank before it":           `{"tcbInfo": ` + body + tail,
		"blank behind it":           `{"tcbInfo":` + body + " " + tail,
		"line feed":                 genuine + "\n",
		"another order":             `{` + tail[1:len(tail)-1] + `,"tcbInfo":` + body + `}`,
		"upper case signature":      `{"tcbInfo":` + body + `,"signature":"` + strings.ToUpper(tail[14:14+128]) + `"}`,
		"no signature":              `{"tcbInfo":` + body + `}`,
		// The forgery by which readers that ignore case are taken in.
		"key case forgery":       `{"tcbInfo":` + body + tail[:len(tail)-1] + `,"TCBInfo":` + body + `}`,
		"key case forgery first": `{"TCBInfo":` + body + `,"tcbInfo":` + body + tail,
		"member twice":           `{"tcbInfo":` + body + `,"tcbInfo":` + body + tail,
		"escaped name":           `{"tcb\u0049nfo":` + body + tail,
	} {
		t.Run(name, func(t *testing.T) {
			items := slices.Clone(f.items)
			items[0].Data = []byte(text)
			a := f.appraise(t, items)
			if a.Coherent.Status == attest.Passed || a.TCB.Finding.Status == attest.Passed || slices.ContainsFunc(a.Used, func(u attest.Use) bool { return u.Index == 0 }) {
				t.Errorf("%+v", a)
			}
		})
	}
}

// TestArguments: nothing is appraised at no time, or of nothing.
func TestArguments(t *testing.T) {
	f := newFixture(t, false)
	q := must(ParseQuote(f.quote))(t)
	for _, tc := range []struct {
		q  *Quote
		at time.Time
	}{{q, time.Time{}}, {nil, testTime}, {&Quote{}, testTime}} {
		if a, err := tc.q.Appraise(f.items, f.Anchors(), tc.at); !errors.Is(err, attest.ErrArgument) || a != nil {
			t.Errorf("%v, %v", a, err)
		}
	}
}

// TestPins checks every row, and the one row against the real certificate.
func TestPins(t *testing.T) {
	pins := Pins()
	if len(pins) != len(rows()) || len(pins) == 0 {
		t.Fatalf("%d pins of %d rows", len(pins), len(rows()))
	}
	for _, p := range pins {
		if p.Role != Role || p.SPKI == [32]byte{} || !strings.HasPrefix(p.Source, "https://") || strings.Contains(strings.ToUpper(p.Subject), "SIMULATED") ||
			!p.From.Before(p.Until) || p.Looked.Before(p.From) {
			t.Errorf("row %+v", p)
		}
	}
	block, _ := pem.Decode(readFile(t, sharedDir(t), "roots", "roots-intel-sgx", "intel_sgx_root_ca.pem"))
	c := must(x509.ParseCertificate(block.Bytes))(t)
	if !pins[0].Certificate(c) || c.NotBefore.Format(time.DateOnly) != pins[0].From.Format(time.DateOnly) || c.NotAfter.Format(time.DateOnly) != pins[0].Until.Format(time.DateOnly) {
		t.Errorf("%+v is not %v, %v to %v", pins[0], c.Subject, c.NotBefore, c.NotAfter)
	}
	sum := attest.SHA256.Sum(c.Raw)
	if want, err := hex.DecodeString("44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3"); err != nil || !bytes.Equal(sum, want) {
		t.Errorf("certificate %x", sum)
	}
}
