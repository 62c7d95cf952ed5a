package enclave_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/enclave"
	"github.com/sworn-run/sworn/internal/dcap/dcaptest"
)

// testTime is when everything made up is valid.
var testTime = time.Date(2026, 3, 15, 12, 0, 0, 0, time.UTC)

// Where the parts of a quote of version 3 begin, with authentication data of 32 bytes.
const (
	atBody        = 48
	atFlags       = atBody + 48
	atReportData  = atBody + 320
	atSize        = 432
	atKey         = atSize + 4 + 64
	atQE          = atKey + 64
	atQESignature = atQE + 384
	atAuthSize    = atQESignature + 64
	atCertType    = atAuthSize + 2 + 32
	atCertSize    = atCertType + 2
	atChain       = atCertSize + 4
)

// must returns v, and fails on err.
func must[T any](v T, err error) func(testing.TB) T {
	return func(tb testing.TB) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
}

// body is an enclave's report with report data; change may alter it.
func body(change func([]byte)) []byte {
	return dcaptest.Enclave(func(b []byte) {
		copy(b[320:], bytes.Repeat([]byte{0xDA}, 64))
		if change != nil {
			change(b)
		}
	})
}

// judge verifies a quote against a vendor with its collateral.
func judge(tb testing.TB, v *dcaptest.Vendor, quote []byte) (*attest.Claims, error) {
	tb.Helper()
	ev := &attest.Evidence{Format: enclave.Format, Collateral: must(v.Collateral(false))(tb), Parts: []attest.Part{{Name: enclave.PartQuote, Data: quote}}}
	c, err := enclave.Scheme{}.Verify(ev, v.Anchors(), testTime)
	if (c == nil) != (err != nil) {
		tb.Fatalf("%v, %v", c, err)
	}
	return c, err
}

// verify makes a quote of version 3 with that body and verifies it.
func verify(tb testing.TB, v *dcaptest.Vendor, b []byte) (*attest.Claims, error) {
	tb.Helper()
	return judge(tb, v, must(v.Make(dcaptest.Quote{Version: 3, Body: b}))(tb))
}

// number returns an attribute or a version.
func number(list []attest.Attribute, name string) uint64 {
	for _, a := range list {
		if a.Name == name {
			return a.Value
		}
	}
	return 1 << 63
}

// digest returns a measurement.
func digest(c *attest.Claims, name string) []byte {
	for _, m := range c.Measurements {
		if m.Name == name {
			return m.Value
		}
	}
	return nil
}

// conforms checks that claims state what the format describes, in its order.
func conforms(t *testing.T, c *attest.Claims) {
	t.Helper()
	d := enclave.Scheme{}.Describe()
	if len(c.Measurements) != len(d.Measurements) || len(c.Attributes) != len(d.Attributes) || len(c.TCB.Versions) != len(d.Versions) {
		t.Fatalf("%d measurements, %d attributes, %d versions", len(c.Measurements), len(c.Attributes), len(c.TCB.Versions))
	}
	for i, m := range c.Measurements {
		if m.Name != d.Measurements[i].Name || len(m.Value) != d.Measurements[i].Size {
			t.Errorf("measurement %+v", m)
		}
	}
	for i, a := range c.Attributes {
		if a.Name != d.Attributes[i].Name {
			t.Errorf("attribute %+v", a)
		}
	}
	for i, v := range c.TCB.Versions {
		if v.Name != d.Versions[i] {
			t.Errorf("version %+v", v)
		}
	}
	if c.Format != enclave.Format || c.KeyID != [32]byte{} || c.Registers != nil || c.Counters != nil || c.Counter != nil || c.Device != [32]byte{} || len(c.Quoted) != 64 {
		t.Errorf("%+v", c)
	}
	for _, x := range c.Details {
		if x.Name == "" || strings.ContainsAny(x.Value, "\n") {
			t.Errorf("detail %+v", x)
		}
	}
}

// TestDescribe: the constants of the format, and what a policy needs to know.
func TestDescribe(t *testing.T) {
	d := enclave.Scheme{}.Describe()
	if d.Format != 4 || d.Name != "sgx" || d.Mode != attest.ModeDirect || d.Anchor != attest.AnchorStatementOnly || d.QuotedHash != attest.SHA512 ||
		d.RootRole != "intel-sgx" || d.Register != 0 || d.RegisterBank != 0 || !d.VendorStatus || !d.Program {
		t.Errorf("%+v", d)
	}
	var image, judged []string
	for _, m := range d.Measurements {
		if m.Image {
			image = append(image, strings.Join(append([]string{m.Name}, m.With...), "+"))
		}
	}
	for _, a := range d.Attributes {
		if !a.Free {
			judged = append(judged, fmt.Sprint(a.Name, "=", a.Default))
		}
	}
	if !slices.Equal(image, []string{"unique_id", "signer_id+product_id+security_version"}) || !slices.Equal(judged, []string{"debug=0", "provision_key=0", "einittoken_key=0"}) {
		t.Errorf("identify what was launched: %v; are judged unasked: %v", image, judged)
	}
}

// TestClaims: every field comes out under its name, from a quote of each version that
// can hold an enclave's report.
func TestClaims(t *testing.T) {
	v := must(dcaptest.New(testTime, "Intel"))(t)
	report := body(func(b []byte) {
		b[16], b[20] = 3, 7
		copy(b[32:], bytes.Repeat([]byte{1}, 16))
		binary.LittleEndian.PutUint64(b[48:], 1|1<<2|1<<4|1<<5|1<<6|1<<7|1<<10)
		copy(b[192:], bytes.Repeat([]byte{4}, 64))
		copy(b[256:], []byte{5, 1, 6, 1, 7, 1})
		copy(b[304:], bytes.Repeat([]byte{8}, 16))
	})
	for _, version := range []uint16{3, 4, 5} {
		c, err := judge(t, v, must(v.Make(dcaptest.Quote{Version: version, Body: report}))(t))
		if err != nil {
			t.Fatal(err)
		}
		conforms(t, c)
		for name, want := range map[string][]byte{
			"ext_product_id": bytes.Repeat([]byte{1}, 16), "unique_id": bytes.Repeat([]byte{0x22}, 32), "signer_id": bytes.Repeat([]byte{0x33}, 32),
			"config_id": bytes.Repeat([]byte{4}, 64), "family_id": bytes.Repeat([]byte{8}, 16),
		} {
			if !bytes.Equal(digest(c, name), want) {
				t.Errorf("%s is %x", name, digest(c, name))
			}
		}
		for name, want := range map[string]uint64{
			"misc_select": 3, "cet_attributes": 7, "debug": 0, "mode64": 1, "provision_key": 1, "einittoken_key": 1, "cet": 1, "kss": 1, "aex_notify": 1,
			"xfrm": 0xE7, "product_id": 0x105, "config_version": 0x107,
		} {
			if got := number(c.Attributes, name); got != want {
				t.Errorf("%s is %d, want %d", name, got, want)
			}
		}
		for name, want := range map[string]uint64{"security_version": 0x106, "pce": 13, "qe": 8} {
			if got := number(c.TCB.Versions, name); got != want {
				t.Errorf("%s is %d, want %d", name, got, want)
			}
		}
		if c.Identity.Status != attest.Passed || c.Revocation.Status != attest.Passed || c.Coherent.Status != attest.Passed || c.TCB.Status != "UpToDate" ||
			!bytes.Equal(c.Quoted, bytes.Repeat([]byte{0xDA}, 64)) || len(c.Used) != 5 || c.Spare != nil {
			t.Errorf("%+v", c)
		}
	}
}

// TestVersionsWithoutCollateral: what the quote states is there whoever is trusted.
func TestVersionsWithoutCollateral(t *testing.T) {
	v := must(dcaptest.New(testTime, "Intel"))(t)
	ev := must(enclave.NewEvidence(3, must(v.Make(dcaptest.Quote{Version: 3, Body: body(nil)}))(t)))(t)
	c := must(enclave.Scheme{}.Verify(ev, nil, testTime))(t)
	conforms(t, c)
	if c.Identity.Status != attest.NotEstablished || c.Revocation.Status != attest.NotEstablished || c.Coherent.Status != attest.NotEstablished ||
		c.TCB.Finding.Status != attest.NotEstablished || ev.Slot != 3 {
		t.Errorf("%+v", c)
	}
}

// TestMode: what a host may look into is refused, though everything about it is genuine,
// and so is what no CPU reports.
func TestMode(t *testing.T) {
	v := must(dcaptest.New(testTime, "Intel"))(t)
	for bit := range uint(64) {
		_, err := verify(t, v, body(func(b []byte) {
			binary.LittleEndian.PutUint64(b[48:], 1|1<<bit)
		}))
		switch {
		case bit == 1:
			if !errors.Is(err, attest.ErrMode) {
				t.Errorf("a debug enclave: %v", err)
			}
		case slices.Contains([]uint{0, 2, 4, 5, 6, 7, 10}, bit):
			if err != nil {
				t.Errorf("bit %d of the attributes: %v", bit, err)
			}
		default:
			if !errors.Is(err, attest.ErrForm) {
				t.Errorf("reserved bit %d of the attributes: %v", bit, err)
			}
		}
	}
	for name, change := range map[string]func([]byte){
		"not initialised":       func(b []byte) { b[48] = 4 },
		"xfrm without SSE":      func(b []byte) { b[56] = 1 },
		"reserved miscselect":   func(b []byte) { b[16] = 4 },
		"reserved, first":       func(b []byte) { b[21] = 1 },
		"reserved, last":        func(b []byte) { b[303] = 1 },
		"reserved, after id":    func(b []byte) { b[96] = 1 },
		"reserved, after owner": func(b []byte) { b[191] = 1 },
	} {
		if _, err := verify(t, v, body(change)); !errors.Is(err, attest.ErrForm) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestEvidence: the evidence is the one part, and the quote is an enclave's to the byte.
func TestEvidence(t *testing.T) {
	v := must(dcaptest.New(testTime, "Intel"))(t)
	quote := must(v.Make(dcaptest.Quote{Version: 3, Body: body(nil)}))(t)
	part := attest.Part{Name: enclave.PartQuote, Data: quote}
	one := func(b []byte) []attest.Part { return []attest.Part{{Name: enclave.PartQuote, Data: b}} }
	for name, ev := range map[string]*attest.Evidence{
		"no part":        {Format: enclave.Format},
		"two parts":      {Format: enclave.Format, Parts: []attest.Part{part, part}},
		"another name":   {Format: enclave.Format, Parts: []attest.Part{{Name: "report", Data: quote}}},
		"another format": {Format: 3, Parts: []attest.Part{part}},
		"trailing byte":  {Format: enclave.Format, Parts: one(append(bytes.Clone(quote), 0))},
		"a header":       {Format: enclave.Format, Parts: one(header(1, 2, uint64(len(quote)), quote))},
		"a TD's":         {Format: enclave.Format, Parts: one(must(v.Make(dcaptest.Quote{Version: 4, Body: dcaptest.TD(false, nil)}))(t))},
		"a TD's, now":    {Format: enclave.Format, Parts: one(must(v.Make(dcaptest.Quote{Version: 5, Body: dcaptest.TD(true, nil)}))(t))},
		"version 2":      {Format: enclave.Format, Parts: one(append([]byte{2}, quote[1:]...))},
		"version 6":      {Format: enclave.Format, Parts: one(append([]byte{6}, quote[1:]...))},
	} {
		if c, err := (enclave.Scheme{}).Verify(ev, v.Anchors(), testTime); !errors.Is(err, attest.ErrForm) || c != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	ev := must(enclave.NewEvidence(5, quote))(t)
	for name, tc := range map[string]struct {
		ev *attest.Evidence
		at time.Time
	}{"nil": {nil, testTime}, "no time": {ev, time.Time{}}} {
		if c, err := (enclave.Scheme{}).Verify(tc.ev, v.Anchors(), tc.at); !errors.Is(err, attest.ErrArgument) || c != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for n := range len(quote) {
		if _, err := enclave.NewEvidence(0, quote[:n]); !errors.Is(err, attest.ErrForm) {
			t.Fatalf("cut to %d: %v", n, err)
		}
		if _, _, err := enclave.Surplus(quote[:n]); !errors.Is(err, attest.ErrForm) {
			t.Fatalf("cut to %d: %v", n, err)
		}
	}
}

// TestCertificationData: only a chain inside the quote will do, and who brings something
// else is told what it is.
func TestCertificationData(t *testing.T) {
	v := must(dcaptest.New(testTime, "Intel"))(t)
	quote := must(v.Make(dcaptest.Quote{Version: 3, Body: body(nil)}))(t)
	said := map[string]bool{}
	for kind := range uint16(9) {
		b := bytes.Clone(quote)
		binary.LittleEndian.PutUint16(b[atCertType:], kind)
		_, err := judge(t, v, b)
		if kind == 5 {
			if err != nil {
				t.Errorf("type 5: %v", err)
			}
			continue
		}
		if !errors.Is(err, attest.ErrForm) {
			t.Errorf("type %d: %v", kind, err)
			continue
		}
		said[fmt.Sprint(err)] = true
	}
	if len(said) != 8 {
		t.Errorf("%d different reasons for 8 types", len(said))
	}
	// A PCK's certificate alone, or chains that are too long or short.
	for name, chain := range map[string][]byte{
		"none":   {},
		"one":    dcaptest.Chain(v.PCK.Cert),
		"two":    dcaptest.Chain(v.PCK.Cert, v.CA.Cert),
		"four":   dcaptest.Chain(v.PCK.Cert, v.CA.Cert, v.Root.Cert, v.Root.Cert),
		"text":   append([]byte("x"), dcaptest.Chain(v.PCK.Cert, v.CA.Cert, v.Root.Cert)...),
		"a line": append(dcaptest.Chain(v.PCK.Cert, v.CA.Cert, v.Root.Cert), "\n\n\n"...),
	} {
		if _, err := judge(t, v, must(v.Make(dcaptest.Quote{Version: 3, Body: body(nil), Chain: chain}))(t)); !errors.Is(err, attest.ErrForm) {
			t.Errorf("a chain, %s: %v", name, err)
		}
	}
}

// TestLengths: no length inside may say something else than what is there.
func TestLengths(t *testing.T) {
	v := must(dcaptest.New(testTime, "Intel"))(t)
	quote := must(v.Make(dcaptest.Quote{Version: 3, Body: body(nil)}))(t)
	for name, at := range map[string]struct{ offset, size int }{
		"signature data": {atSize, 4}, "authentication data": {atAuthSize, 2}, "certification data": {atCertSize, 4},
	} {
		b := bytes.Clone(quote)
		field := b[at.offset : at.offset+at.size]
		was := bytes.Clone(field)
		for _, bad := range [][]byte{{0, 0, 0, 0}, {0xFF, 0xFF, 0xFF, 0xFF}, {was[0] + 1, was[1], 0, 0}, {was[0] - 1, was[1], 0, 0}, {0, 0, 0, 0x80}, {0xFF, 0xFF, 0xFF, 0x7F}} {
			copy(field, bad[:at.size])
			if bytes.Equal(field, was) {
				continue
			}
			if _, err := judge(t, v, b); !errors.Is(err, attest.ErrForm) {
				t.Errorf("%s of %x bytes: %v", name, field, err)
			}
		}
	}
}

// TestChainOfKeys: each key must vouch for the next.
func TestChainOfKeys(t *testing.T) {
	v, other := must(dcaptest.New(testTime, "Intel"))(t), must(dcaptest.New(testTime, "another Intel"))(t)
	make3 := func(v *dcaptest.Vendor, q dcaptest.Quote) []byte {
		q.Version = 3
		if q.Body == nil {
			q.Body = body(nil)
		}
		return must(v.Make(q))(t)
	}
	quote, stranger := make3(v, dcaptest.Quote{}), make3(other, dcaptest.Quote{})
	// Another key of the same platform's, as a second quoting enclave has.
	twin := *v
	twin.Attestation = other.Attestation
	second := make3(&twin, dcaptest.Quote{})
	swap := func(from []byte, spans ...[2]int) []byte {
		b := bytes.Clone(quote)
		for _, s := range spans {
			copy(b[s[0]:s[1]], from[s[0]:s[1]])
		}
		return b
	}
	for name, b := range map[string][]byte{
		"another's QE report":               swap(stranger, [2]int{atQE, atAuthSize}),
		"the QE report of another key":      swap(second, [2]int{atQE, atAuthSize}),
		"another attestation key":           swap(stranger, [2]int{atSize + 4, atQE}),
		"a key that no QE vouches for":      swap(second, [2]int{atSize + 4, atQE}),
		"the signature of another body":     swap(make3(v, dcaptest.Quote{Body: body(func(b []byte) { b[320] = 1 })}), [2]int{atSize + 4, atKey}),
		"another header":                    swap(make3(v, dcaptest.Quote{Header: func(h []byte) { h[30] = 1 }}), [2]int{0, atBody}),
		"other authentication data":         swap(make3(v, dcaptest.Quote{Auth: bytes.Repeat([]byte{1}, 32)}), [2]int{atAuthSize + 2, atCertType}),
		"a QE report with more report data": make3(v, dcaptest.Quote{QE: dcaptest.QE(false, func(b []byte) { b[383] = 1 })}),
		"a key that is no point":            swap(bytes.Repeat([]byte{9}, len(quote)), [2]int{atKey, atQE}),
	} {
		if _, err := judge(t, v, b); !errors.Is(err, attest.ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Another chain than that of the key which signed.
	if _, err := judge(t, v, make3(v, dcaptest.Quote{Chain: dcaptest.Chain(other.PCK.Cert, other.CA.Cert, other.Root.Cert)})); !errors.Is(err, attest.ErrSignature) {
		t.Errorf("another's chain: %v", err)
	}
	// A genuine quote of a stranger's.
	c, err := judge(t, v, stranger)
	if err != nil || c.Identity.Status == attest.Passed {
		t.Errorf("a stranger: %v, %v", c, err)
	}
}

// TestFindings: what is not acceptable of a genuine quote is found, and nothing passes for it.
func TestFindings(t *testing.T) {
	v := must(dcaptest.New(testTime, "Intel"))(t)
	quote := must(v.Make(dcaptest.Quote{Version: 3, Body: body(nil)}))(t)
	find := func(quote []byte, items []attest.Collateral, at time.Time) *attest.Claims {
		ev := &attest.Evidence{Format: enclave.Format, Collateral: items, Parts: []attest.Part{{Name: enclave.PartQuote, Data: quote}}}
		return must(enclave.Scheme{}.Verify(ev, v.Anchors(), at))(t)
	}
	all := func() []attest.Collateral { return must(v.Collateral(false))(t) }
	if c := find(must(v.Make(dcaptest.Quote{Version: 3, Body: body(nil), QE: dcaptest.QE(false, func(b []byte) { b[130] ^= 1 })}))(t), all(), testTime); c.Identity.Status != attest.Failed {
		t.Errorf("a quoting enclave that is not Intel's: %+v", c.Identity)
	}
	if c := find(quote, must(v.CollateralOf(v.NewTCBInfo(true), v.NewQEIdentity(true)))(t), testTime); c.Coherent.Status != attest.Failed || c.Identity.Status == attest.Passed {
		t.Errorf("collateral of TDX: %+v", c)
	}
	info := v.NewTCBInfo(false)
	info.FMSPC = "000000000000"
	if c := find(quote, must(v.CollateralOf(info, v.NewQEIdentity(false)))(t), testTime); c.Coherent.Status != attest.Failed {
		t.Errorf("the TCB info of another platform: %+v", c.Coherent)
	}
	for _, status := range []string{"OutOfDate", "SWHardeningNeeded", "ConfigurationNeeded", "Revoked"} {
		info := v.NewTCBInfo(false)
		info.Levels[0].Status, info.Levels[0].Advisories = status, []string{"INTEL-SA-00001"}
		c := find(quote, must(v.CollateralOf(info, v.NewQEIdentity(false)))(t), testTime)
		if c.TCB.Status != status || !slices.Equal(c.TCB.Advisories, []string{"INTEL-SA-00001"}) || (c.TCB.Finding.Status == attest.Failed) != (status == "Revoked") {
			t.Errorf("%s: %+v", status, c.TCB)
		}
	}
	items := all()
	items[3].Data = must(v.CRL(v.CA, v.PCK.Cert.SerialNumber))(t)
	if c := find(quote, items, testTime); c.Revocation.Status != attest.Failed {
		t.Errorf("a revoked PCK: %+v", c.Revocation)
	}
	items[3].Data = must(v.CRLOf(v.CA, testTime.AddDate(0, -2, 0), testTime.AddDate(0, -1, 0), big.NewInt(1)))(t)
	if c := find(quote, items, testTime); c.Revocation.Status != attest.NotEstablished {
		t.Errorf("a stale list: %+v", c.Revocation)
	}
	if c := find(quote, all(), testTime.AddDate(0, 2, 0)); c.Coherent.Status != attest.NotEstablished || c.TCB.Finding.Status != attest.NotEstablished {
		t.Errorf("two months later: %+v", c)
	}
	// Of two, the newer one counts and the other is spare.
	items = append(all(), attest.Collateral{Kind: attest.CollateralCRL, Data: must(v.CRLOf(v.CA, testTime.AddDate(0, 0, -2), testTime.AddDate(0, 0, 1)))(t)})
	if c := find(quote, items, testTime); len(c.Used) != 5 || len(c.Spare) != 1 || c.Spare[0].Index != 5 {
		t.Errorf("used %+v, spare %+v", c.Used, c.Spare)
	}
}

// TestFlips: no bit of a quote can change without being refused, and what is not refused
// is not accepted. The second form of a signature is no flip of one bit.
func TestFlips(t *testing.T) {
	v := must(dcaptest.New(testTime, "Intel"))(t)
	quote := must(v.Make(dcaptest.Quote{Version: 3, Body: body(nil)}))(t)
	items := must(v.Collateral(false))(t)
	if c := must(judge(t, v, quote))(t); c.TCB.Status != "UpToDate" {
		t.Fatalf("%+v", c.TCB)
	}
	for bit := range 8 * len(quote) {
		// The bits of what one signature covers all say the same, those of the certificates'
		// text are a parser's affair: some suffice. Every byte before the text is flipped.
		if bit < 8*atChain && bit%5 != 0 || bit >= 8*atChain && bit%41 != 0 {
			continue
		}
		b := bytes.Clone(quote)
		b[bit/8] ^= 1 << (bit % 8)
		ev := &attest.Evidence{Format: enclave.Format, Collateral: items, Parts: []attest.Part{{Name: enclave.PartQuote, Data: b}}}
		c, err := enclave.Scheme{}.Verify(ev, v.Anchors(), testTime)
		switch {
		case (c == nil) != (err != nil):
			t.Fatalf("bit %d: %v, %v", bit, c, err)
		case err == nil && c.Identity.Status == attest.Passed:
			t.Errorf("bit %d of byte %d: accepted", bit%8, bit/8)
		case err != nil && !errors.Is(err, attest.ErrForm) && !errors.Is(err, attest.ErrSignature):
			t.Errorf("bit %d of byte %d: %v", bit%8, bit/8, err)
		}
	}
}

// TestDetails: all fields are shown of a quote by itself, and nothing of what is none.
func TestDetails(t *testing.T) {
	v := must(dcaptest.New(testTime, "Intel"))(t)
	quote := must(v.Make(dcaptest.Quote{Version: 3, Body: body(nil)}))(t)
	seen := map[string]string{}
	for _, d := range must(enclave.Details(quote))(t) {
		seen[d.Name] = d.Value
	}
	for name, want := range map[string]string{"quote version": "3", "MRENCLAVE": strings.Repeat("22", 32), "QE ISVSVN": "8", "FMSPC": "90c06f000000"} {
		if seen[name] != want {
			t.Errorf("%s is %q, want %q", name, seen[name], want)
		}
	}
	for name, b := range map[string][]byte{"cut": quote[:1000], "reported": header(1, 2, uint64(len(quote)), quote), "none": nil} {
		if d, err := enclave.Details(b); !errors.Is(err, attest.ErrForm) || d != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestUnchanged: evidence and collateral are neither changed nor kept.
func TestUnchanged(t *testing.T) {
	v := must(dcaptest.New(testTime, "Intel"))(t)
	ev := must(enclave.NewEvidence(0, must(v.Make(dcaptest.Quote{Version: 3, Body: body(nil)}))(t)))(t)
	ev.Collateral = must(v.Collateral(false))(t)
	quote := bytes.Clone(ev.Parts[0].Data)
	var items [][]byte
	for _, c := range ev.Collateral {
		items = append(items, bytes.Clone(c.Data))
	}
	c := must(enclave.Scheme{}.Verify(ev, v.Anchors(), testTime))(t)
	if !bytes.Equal(quote, ev.Parts[0].Data) {
		t.Error("the quote was changed")
	}
	for i, b := range items {
		if !bytes.Equal(b, ev.Collateral[i].Data) {
			t.Errorf("item %d was changed", i)
		}
		clear(ev.Collateral[i].Data)
	}
	clear(ev.Parts[0].Data)
	if !bytes.Equal(c.Quoted, bytes.Repeat([]byte{0xDA}, 64)) || !bytes.Equal(digest(c, "unique_id"), bytes.Repeat([]byte{0x22}, 32)) {
		t.Error("claims alias the evidence")
	}
}

// FuzzVerify: no quote makes the scheme panic, and claims and error exclude each other.
func FuzzVerify(f *testing.F) {
	v := must(dcaptest.New(testTime, "Intel"))(f)
	items := must(v.Collateral(false))(f)
	seeds := 0
	for _, q := range []dcaptest.Quote{
		{Version: 3, Body: body(nil)},
		{Version: 4, Body: body(nil)},
		{Version: 5, Body: body(nil)},
		{Version: 3, Body: body(func(b []byte) { b[48] |= 2 })},
		{Version: 3, Body: body(nil), Auth: []byte{}},
	} {
		f.Add(must(v.Make(q))(f))
		seeds++
	}
	if seeds == 0 {
		f.Fatal("no seeds")
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		ev := &attest.Evidence{Format: enclave.Format, Parts: []attest.Part{{Name: enclave.PartQuote, Data: b}}, Collateral: items}
		c, err := enclave.Scheme{}.Verify(ev, v.Anchors(), testTime)
		if (c == nil) != (err != nil) {
			t.Fatalf("%v, %v", c, err)
		}
		if err != nil {
			if !errors.Is(err, attest.ErrForm) && !errors.Is(err, attest.ErrSignature) && !errors.Is(err, attest.ErrMode) {
				t.Fatal(err)
			}
			return
		}
		if len(c.Quoted) != 64 || number(c.Attributes, "debug") != 0 || !enclave.IsQuote(b) {
			t.Fatalf("%+v", c)
		}
		if q, rest, err := enclave.Surplus(b); err != nil || !bytes.Equal(q, b) || len(rest) != 0 {
			t.Fatalf("%d, %d, %v", len(q), len(rest), err)
		}
	})
}
