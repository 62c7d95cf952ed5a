package tdx_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/dcap/dcaptest"
	"github.com/sworn-run/sworn/tdx"
)

// testTime is when everything made up is valid.
var testTime = time.Date(2026, 3, 15, 12, 0, 0, 0, time.UTC)

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

// verify verifies a quote of a made-up vendor with a body.
func verify(t *testing.T, v *dcaptest.Vendor, version uint16, body []byte) (*attest.Claims, error) {
	t.Helper()
	ev := &attest.Evidence{Format: tdx.Format, Collateral: must(v.Collateral(true))(t), Parts: []attest.Part{
		{Name: tdx.PartQuote, Data: must(v.Make(dcaptest.Quote{Version: version, Body: body}))(t)},
	}}
	c, err := tdx.Scheme{}.Verify(ev, v.Anchors(), testTime)
	if (c == nil) != (err != nil) {
		t.Fatalf("%v, %v", c, err)
	}
	return c, err
}

// TestMode: what a host may look into is refused, though everything about it is genuine.
func TestMode(t *testing.T) {
	v := must(dcaptest.New(testTime, "Intel"))(t)
	set := func(at int, bit uint) func([]byte) {
		return func(b []byte) { b[at+int(bit/8)] |= 1 << (bit % 8) }
	}
	for bit := range uint(64) {
		_, err := verify(t, v, 5, dcaptest.TD(true, set(120, bit)))
		switch {
		case bit < 8:
			if !errors.Is(err, attest.ErrMode) {
				t.Errorf("bit %d of the attributes: %v", bit, err)
			}
		case slices.Contains([]uint{16, 27, 28, 29, 30, 31, 62, 63}, bit):
			if err != nil {
				t.Errorf("bit %d of the attributes: %v", bit, err)
			}
		default:
			if !errors.Is(err, attest.ErrForm) {
				t.Errorf("reserved bit %d of the attributes: %v", bit, err)
			}
		}
		if _, err := verify(t, v, 4, dcaptest.TD(false, set(112, bit))); !errors.Is(err, attest.ErrMode) {
			t.Errorf("bit %d of the module's attributes: %v", bit, err)
		}
	}
	for name, change := range map[string]func([]byte){
		"xfam":                  func(b []byte) { b[128] = 0xE6 },
		"module's version":      func(b []byte) { b[3] = 1 },
		"last of it":            func(b []byte) { b[15] = 1 },
		"module's version, now": func(b []byte) { b[599] = 1 },
	} {
		if _, err := verify(t, v, 5, dcaptest.TD(true, change)); !errors.Is(err, attest.ErrForm) {
			t.Errorf("reserved bits of %s: %v", name, err)
		}
	}
}

// TestClaims: every field comes out under its name.
func TestClaims(t *testing.T) {
	v := must(dcaptest.New(testTime, "Intel"))(t)
	c, err := verify(t, v, 5, dcaptest.TD(true, func(b []byte) {
		binary.LittleEndian.PutUint64(b[120:], 1<<16|1<<27|1<<29|1<<30|1<<31|1<<62|1<<63)
		for i, at := range []int{16, 64, 136, 184, 232, 280, 328, 376, 424, 472, 600} {
			if at != 64 {
				copy(b[at:at+48], bytes.Repeat([]byte{byte(i + 1)}, 48))
			}
		}
		b[584], b[586] = 4, 1
	}))
	if err != nil {
		t.Fatal(err)
	}
	conforms(t, c)
	for i, m := range c.Measurements {
		if want := byte(i + 1); m.Value[0] != want && m.Name != "mrsignerseam" {
			t.Errorf("%s is %x", m.Name, m.Value)
		}
	}
	for i, want := range []uint64{0, 1, 1, 0, 1, 1, 1, 1, 1, 0x600E7} {
		if c.Attributes[i].Value != want {
			t.Errorf("%+v, want %d", c.Attributes[i], want)
		}
	}
	for i, want := range []uint64{0x0104, 1, 13, 8} {
		if c.TCB.Versions[i].Value != want {
			t.Errorf("%+v, want %d", c.TCB.Versions[i], want)
		}
	}
	for i, r := range c.Registers {
		if r.Bank != attest.SHA384 || r.Index != uint32(i) || r.Value[0] != byte(i+7) {
			t.Errorf("%+v", r)
		}
	}
	if !bytes.Equal(c.Quoted, bytes.Repeat([]byte{0xDA}, 64)) || c.Identity.Status != attest.Passed {
		t.Errorf("%+v", c)
	}
	// In a quote without the fields of 1.5 no service TD is bound.
	c, err = verify(t, v, 4, dcaptest.TD(false, nil))
	if err != nil || !bytes.Equal(digest(c, "mrservicetd"), make([]byte, 48)) || c.TCB.Versions[0].Value != 0x0105 {
		t.Errorf("%v, %v", c, err)
	}
}

// TestDescribe: the constants of the format, and what a policy needs to know.
func TestDescribe(t *testing.T) {
	d := tdx.Scheme{}.Describe()
	if d.Format != 3 || d.Name != "tdx" || d.Mode != attest.ModeDirect || d.Anchor != attest.AnchorRegister || d.QuotedHash != attest.SHA512 ||
		d.RootRole != "intel-sgx" || d.Register != 3 || d.RegisterBank != attest.SHA384 || !d.VendorStatus {
		t.Errorf("%+v", d)
	}
	image := ""
	for _, m := range d.Measurements {
		if m.Image {
			image += m.Name + " "
		}
	}
	if image != "mrtd rtmr0 rtmr1 rtmr2 " {
		t.Errorf("identify what was launched: %s", image)
	}
	for _, a := range d.Attributes {
		want := map[string]uint64{"debug": 0, "sept_ve_disable": 1, "migratable": 0, "tpa": 0}
		value, judged := want[a.Name]
		if a.Free == judged || a.Default != value {
			t.Errorf("%+v", a)
		}
	}
}

// TestEvidence: the evidence is the one part, and the quote is a TD's to the byte.
func TestEvidence(t *testing.T) {
	v := must(dcaptest.New(testTime, "Intel"))(t)
	quote := must(v.Make(dcaptest.Quote{Version: 4, Body: dcaptest.TD(false, nil)}))(t)
	part := attest.Part{Name: tdx.PartQuote, Data: quote}
	for name, ev := range map[string]*attest.Evidence{
		"no part":        {Format: tdx.Format},
		"two parts":      {Format: tdx.Format, Parts: []attest.Part{part, part}},
		"another name":   {Format: tdx.Format, Parts: []attest.Part{{Name: "report", Data: quote}}},
		"another format": {Format: 2, Parts: []attest.Part{part}},
		"trailing byte":  {Format: tdx.Format, Parts: []attest.Part{{Name: tdx.PartQuote, Data: append(bytes.Clone(quote), 0)}}},
		"an enclave's": {Format: tdx.Format, Parts: []attest.Part{
			{Name: tdx.PartQuote, Data: must(v.Make(dcaptest.Quote{Version: 3, Body: dcaptest.Enclave(nil)}))(t)},
		}},
		"an enclave's, version 5": {Format: tdx.Format, Parts: []attest.Part{
			{Name: tdx.PartQuote, Data: must(v.Make(dcaptest.Quote{Version: 5, Body: dcaptest.Enclave(nil)}))(t)},
		}},
	} {
		if c, err := (tdx.Scheme{}).Verify(ev, v.Anchors(), testTime); !errors.Is(err, attest.ErrForm) || c != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	ev := must(tdx.NewEvidence(5, quote))(t)
	if ev.Slot != 5 || ev.Format != tdx.Format {
		t.Errorf("%+v", ev)
	}
	for _, n := range []int{0, 1, 48, len(quote) - 1} {
		if _, err := tdx.NewEvidence(0, quote[:n]); !errors.Is(err, attest.ErrForm) {
			t.Errorf("cut to %d: %v", n, err)
		}
		if _, _, err := tdx.Surplus(quote[:n]); !errors.Is(err, attest.ErrForm) {
			t.Errorf("cut to %d: %v", n, err)
		}
	}
	if q, rest, err := tdx.Surplus(append(bytes.Clone(quote), 1, 2, 3)); err != nil || !bytes.Equal(q, quote) || !bytes.Equal(rest, []byte{1, 2, 3}) {
		t.Errorf("%d, %x, %v", len(q), rest, err)
	}
	for name, tc := range map[string]struct {
		ev *attest.Evidence
		at time.Time
	}{"nil": {nil, testTime}, "no time": {ev, time.Time{}}} {
		if c, err := (tdx.Scheme{}).Verify(tc.ev, v.Anchors(), tc.at); !errors.Is(err, attest.ErrArgument) || c != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestUnchanged: evidence and collateral are neither changed nor kept.
func TestUnchanged(t *testing.T) {
	v := must(dcaptest.New(testTime, "Intel"))(t)
	ev := must(tdx.NewEvidence(0, must(v.Make(dcaptest.Quote{Version: 4, Body: dcaptest.TD(false, nil)}))(t)))(t)
	ev.Collateral = must(v.Collateral(true))(t)
	quote := bytes.Clone(ev.Parts[0].Data)
	var items [][]byte
	for _, c := range ev.Collateral {
		items = append(items, bytes.Clone(c.Data))
	}
	c := must(tdx.Scheme{}.Verify(ev, v.Anchors(), testTime))(t)
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
	if !bytes.Equal(c.Quoted, bytes.Repeat([]byte{0xDA}, 64)) || !bytes.Equal(c.Registers[0].Value, digest(c, "rtmr0")) || bytes.Equal(digest(c, "mrtd"), make([]byte, 48)) {
		t.Error("claims alias the evidence")
	}
}

// FuzzVerify: no quote makes the scheme panic, and claims and error exclude each other.
func FuzzVerify(f *testing.F) {
	v := must(dcaptest.New(testTime, "Intel"))(f)
	items := must(v.Collateral(true))(f)
	seeds := 0
	for _, q := range []dcaptest.Quote{
		{Version: 4, Body: dcaptest.TD(false, nil)},
		{Version: 5, Body: dcaptest.TD(true, nil)},
		{Version: 5, Body: dcaptest.TD(true, func(b []byte) { b[120] = 1 })},
	} {
		f.Add(must(v.Make(q))(f))
		seeds++
	}
	if seeds == 0 {
		f.Fatal("no seeds")
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		ev := &attest.Evidence{Format: tdx.Format, Parts: []attest.Part{{Name: tdx.PartQuote, Data: b}}, Collateral: items}
		c, err := tdx.Scheme{}.Verify(ev, v.Anchors(), testTime)
		if (c == nil) != (err != nil) {
			t.Fatalf("%v, %v", c, err)
		}
		if err != nil {
			if !errors.Is(err, attest.ErrForm) && !errors.Is(err, attest.ErrSignature) && !errors.Is(err, attest.ErrMode) {
				t.Fatal(err)
			}
			return
		}
		if len(c.Quoted) != 64 || len(c.Registers) != 4 || number(c, "debug") != 0 {
			t.Fatalf("%+v", c)
		}
	})
}
