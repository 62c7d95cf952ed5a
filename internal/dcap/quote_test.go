package dcap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/dcap/dcaptest"
)

// quotes makes one quote of each form.
func quotes(tb testing.TB) map[string]*fixture {
	tb.Helper()
	v := must(dcaptest.New(testTime, "Intel"))(tb)
	out := map[string]*fixture{}
	for name, q := range map[string]dcaptest.Quote{
		"SGX 3":   {Version: 3, Body: dcaptest.Enclave(nil)},
		"SGX 5":   {Version: 5, Body: dcaptest.Enclave(nil)},
		"TDX 4":   {Version: 4, Body: dcaptest.TD(false, nil)},
		"TDX 5":   {Version: 5, Body: dcaptest.TD(false, nil)},
		"TDX 1.5": {Version: 5, Body: dcaptest.TD(true, nil)},
	} {
		td := len(q.Body) > reportSize
		out[name] = &fixture{Vendor: v, quote: must(v.Make(q))(tb), items: must(v.Collateral(td))(tb)}
	}
	return out
}

// TestParse reads the fields where they stand.
func TestParse(t *testing.T) {
	f := newFixture(t, true)
	body := make([]byte, td15Size)
	for i := range body {
		body[i] = byte(i) ^ byte(i>>8)
	}
	q := must(ParseQuote(must(f.Make(dcaptest.Quote{Version: 5, Body: body}))(t)))(t)
	td := q.TD
	var joined []byte
	for _, b := range [][]byte{td.TEETCBSVN[:], td.MRSEAM[:], td.MRSignerSEAM[:], td.SEAMAttributes[:]} {
		joined = append(joined, b...)
	}
	joined = binary.LittleEndian.AppendUint64(joined, td.TDAttributes)
	joined = binary.LittleEndian.AppendUint64(joined, td.XFAM)
	for _, b := range [][]byte{
		td.MRTD[:], td.MRConfigID[:], td.MROwner[:], td.MROwnerConfig[:], td.RTMR[0][:], td.RTMR[1][:], td.RTMR[2][:], td.RTMR[3][:],
		td.ReportData[:], td.TEETCBSVN2[:], td.MRServiceTD[:],
	} {
		joined = append(joined, b...)
	}
	if !bytes.Equal(joined, body) || !td.Is15 || q.Version != 5 || q.TEE != TDX || q.Enclave != nil {
		t.Errorf("%+v", q)
	}
	if p := q.PCK; p.FMSPC != f.Platform.FMSPC || p.Components != f.Platform.Components || p.PCESVN != 13 || p.Type != 1 {
		t.Errorf("%+v", p)
	}
	if len(q.Certificates()) != 3 {
		t.Error("no chain")
	}
}

// TestCut: a quote cut at any length, or with a byte more, is refused.
func TestCut(t *testing.T) {
	for name, f := range quotes(t) {
		for n := range f.quote {
			if q, err := ParseQuote(f.quote[:n]); !errors.Is(err, attest.ErrForm) || q != nil {
				t.Fatalf("%s cut to %d: %v", name, n, err)
			}
			if _, err := Length(f.quote[:n]); !errors.Is(err, attest.ErrForm) {
				t.Fatalf("%s cut to %d has a length", name, n)
			}
		}
		long := append(bytes.Clone(f.quote), 0)
		if q, err := ParseQuote(long); !errors.Is(err, attest.ErrForm) || q != nil {
			t.Fatalf("%s with a byte more: %v", name, err)
		}
		if n, err := Length(long); err != nil || n != len(f.quote) {
			t.Fatalf("%s: %d, %v", name, n, err)
		}
	}
}

// TestFlipped: with any bit changed a quote is refused, or what it claims fails. Of the
// bits in certificates' text only some are tried here.
func TestFlipped(t *testing.T) {
	for name, f := range quotes(t) {
		stride := 37
		if testing.Short() {
			stride = 211
		}
		for bit := 0; bit < 8*len(f.quote); bit += stride {
			b := bytes.Clone(f.quote)
			b[bit/8] ^= 1 << (bit % 8)
			q, err := ParseQuote(b)
			if err != nil {
				if !errors.Is(err, attest.ErrForm) {
					t.Fatalf("%s, bit %d: %v", name, bit, err)
				}
				continue
			}
			a, err := q.Appraise(f.items, f.Anchors(), testTime)
			switch {
			case err != nil && (a != nil || !errors.Is(err, attest.ErrSignature)):
				t.Fatalf("%s, bit %d: %v", name, bit, err)
			case err == nil && a.passes():
				t.Fatalf("%s, bit %d: changed and passes", name, bit)
			}
		}
	}
}

// TestFlippedCollateral: with any bit of an item changed something no longer passes, or
// the item is no longer used.
func TestFlippedCollateral(t *testing.T) {
	f := newFixture(t, true)
	f.items = append(f.items, attest.Collateral{Kind: attest.CollateralCertificate, Data: f.Root.Cert.Raw})
	q := must(ParseQuote(f.quote))(t)
	if a := must(q.Appraise(f.items, f.Anchors(), testTime))(t); !a.passes() || len(a.Used) != len(f.items) {
		t.Fatalf("%+v", a)
	}
	stride := 43
	if testing.Short() {
		stride = 307
	}
	for i := range f.items {
		genuine := f.items[i].Data
		for bit := 0; bit < 8*len(genuine); bit += stride {
			f.items[i].Data = bytes.Clone(genuine)
			f.items[i].Data[bit/8] ^= 1 << (bit % 8)
			a := must(q.Appraise(f.items, f.Anchors(), testTime))(t)
			if a.passes() && len(a.Used) == len(f.items) {
				t.Fatalf("item %d, bit %d: changed and passes", i, bit)
			}
		}
		f.items[i].Data = genuine
	}
}

// TestForm refuses what no quoting enclave writes.
func TestForm(t *testing.T) {
	f := newFixture(t, true)
	v3 := len(must(f.Make(dcaptest.Quote{Version: 3, Body: dcaptest.Enclave(nil)}))(t))
	chain := dcaptest.Chain(f.PCK.Cert, f.CA.Cert, f.Root.Cert)
	put16 := func(at int, n uint16) func([]byte) {
		return func(b []byte) { binary.LittleEndian.PutUint16(b[at:], n) }
	}
	put32 := func(at int, n uint32) func([]byte) {
		return func(b []byte) { binary.LittleEndian.PutUint32(b[at:], n) }
	}
	type change struct {
		q  dcaptest.Quote
		do func([]byte)
	}
	enclave := func(at int) change {
		return change{dcaptest.Quote{Version: 3, Body: dcaptest.Enclave(func(b []byte) { b[at] = 1 })}, nil}
	}
	withChain := func(c []byte) change {
		return change{dcaptest.Quote{Version: 4, Body: dcaptest.TD(false, nil), Chain: c}, nil}
	}
	plain3 := dcaptest.Quote{Version: 3, Body: dcaptest.Enclave(nil)}
	plain4 := dcaptest.Quote{Version: 4, Body: dcaptest.TD(false, nil)}
	plain5 := dcaptest.Quote{Version: 5, Body: dcaptest.TD(true, nil)}
	data4 := headerSize + td10Size + 4
	for name, c := range map[string]change{
		"version 2":                 {plain3, put16(0, 2)},
		"version 6":                 {plain4, put16(0, 6)},
		"P-384":                     {plain4, put16(2, 3)},
		"TEE type":                  {plain4, put32(4, 0x82)},
		"TDX in version 3":          {plain3, put32(4, 0x81)},
		"reserved header":           {plain4, put16(8, 1)},
		"reserved header, second":   {plain4, put16(10, 1)},
		"vendor":                    {plain4, put16(12, 0)},
		"body of SGX":               {plain5, put16(48, 1)},
		"body 1.0, size of 1.5":     {plain5, put16(48, 2)},
		"body type 4":               {plain5, put16(48, 4)},
		"body size":                 {plain5, put32(50, td15Size-1)},
		"body size, oversized":      {plain5, put32(50, 1<<31)},
		"signature data, oversized": {plain4, put32(data4-4, 1<<31)},
		"signature data, less":      {plain4, put32(data4-4, 100)},
		"type 5 outside":            {plain4, put16(data4+128, 5)},
		"nested size":               {plain4, put32(data4+130, 7)},
		"authentication data":       {plain4, put16(data4+134+reportSize+sigSize, 65535)},
		"certification type 6":      {plain4, put16(data4+134+reportSize+sigSize+34, 6)},
		"certification type 3":      {plain4, put16(data4+134+reportSize+sigSize+34, 3)},
		"chain size":                {plain4, put32(data4+134+reportSize+sigSize+36, 1<<31)},
		"reserved 21":               enclave(21),
		"reserved 31":               enclave(31),
		"reserved 96":               enclave(96),
		"reserved 160":              enclave(160),
		"reserved 262":              enclave(262),
		"reserved 303":              enclave(303),
		"QE reserved":               {dcaptest.Quote{Version: 4, Body: dcaptest.TD(false, nil), QE: dcaptest.QE(true, func(b []byte) { b[100] = 1 })}, nil},
		"no chain":                  withChain([]byte{}),
		"two certificates":          withChain(dcaptest.Chain(f.PCK.Cert, f.CA.Cert)),
		"four certificates":         withChain(append(bytes.Clone(chain), dcaptest.Chain(f.Root.Cert)...)),
		"text before":               withChain(append([]byte("Bag\n"), chain...)),
		"text between":              withChain(bytes.Replace(chain, []byte("-----\n-----"), []byte("-----\n\n-----"), 1)),
		"carriage returns":          withChain(bytes.ReplaceAll(chain, []byte("\n"), []byte("\r\n"))),
		"two zeros":                 withChain(append(bytes.Clone(chain), 0, 0)),
		"blank line":                withChain(bytes.Replace(chain, []byte("\n-----END"), []byte("\n\n-----END"), 1)),
		"no PCK first":              withChain(dcaptest.Chain(f.CA.Cert, f.PCK.Cert, f.Root.Cert)),
		"too large":                 withChain(bytes.Repeat([]byte{'A'}, MaxQuote)),
	} {
		t.Run(name, func(t *testing.T) {
			b := must(f.Make(c.q))(t)
			if c.do != nil {
				c.do(b)
			}
			if q, err := ParseQuote(b); !errors.Is(err, attest.ErrForm) || q != nil {
				t.Errorf("%v", err)
			}
		})
	}
	for name, c := range map[string][]byte{
		"zero at the end": append(bytes.Clone(chain), 0),
		"no line feed":    chain[:len(chain)-1],
		"plain":           chain,
	} {
		b := must(f.Make(withChain(c).q))(t)
		if _, err := ParseQuote(b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n, err := Length(make([]byte, v3)); err == nil {
		t.Errorf("zeros have length %d", n)
	}
}

// TestSignatures: every link of the chain of keys is checked over the bytes received.
func TestSignatures(t *testing.T) {
	f := newFixture(t, true)
	plain := must(f.Make(dcaptest.Quote{Version: 4, Body: dcaptest.TD(false, nil)}))(t)
	data := headerSize + td10Size + 4
	other := must(dcaptest.New(testTime, "other"))(t)
	another := must(other.Make(dcaptest.Quote{Version: 4, Body: dcaptest.TD(false, nil)}))(t)
	for name, do := range map[string]func([]byte){
		"report data":         func(b []byte) { b[headerSize+520] ^= 1 },
		"user data":           func(b []byte) { b[30] ^= 1 },
		"signature":           func(b []byte) { b[data] ^= 1 },
		"zero signature":      func(b []byte) { clear(b[data : data+64]) },
		"attestation key":     func(b []byte) { copy(b[data:data+128], another[data:]) },
		"no point":            func(b []byte) { b[data+64] ^= 1 },
		"QE report":           func(b []byte) { b[data+134+258] = 99 },
		"QE signature":        func(b []byte) { b[data+134+reportSize] ^= 1 },
		"authentication data": func(b []byte) { b[data+134+reportSize+sigSize+2] ^= 1 },
		"QE of another":       func(b []byte) { copy(b[data+134:], another[data+134:data+134+reportSize+sigSize]) },
	} {
		t.Run(name, func(t *testing.T) {
			b := bytes.Clone(plain)
			do(b)
			q := must(ParseQuote(b))(t)
			if a, err := q.Appraise(f.items, f.Anchors(), testTime); !errors.Is(err, attest.ErrSignature) || a != nil {
				t.Errorf("%v, %v", a, err)
			}
		})
	}
	// The second half of the QE's report data is zeros.
	q := dcaptest.Quote{Version: 4, Body: dcaptest.TD(false, nil), QE: dcaptest.QE(true, func(b []byte) { b[383] = 1 })}
	if _, err := must(ParseQuote(must(f.Make(q))(t)))(t).Appraise(f.items, f.Anchors(), testTime); !errors.Is(err, attest.ErrSignature) {
		t.Errorf("report data: %v", err)
	}
}

// FuzzParseQuote: whatever parses has a length to the byte, keeps its fields, and gets
// an appraisal or an error, never both, and never without its signature.
func FuzzParseQuote(f *testing.F) {
	seeds := quotes(f)
	if len(seeds) == 0 {
		f.Fatal("no seeds")
	}
	var items []attest.Collateral
	var anchors *attest.Anchors
	genuine := map[string]bool{}
	for _, s := range seeds {
		f.Add(s.quote)
		genuine[string(s.quote)] = true
		items, anchors = s.items, s.Anchors()
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := ParseQuote(b)
		if (q == nil) != (err != nil) || err != nil && !errors.Is(err, attest.ErrForm) {
			t.Fatalf("%v, %v", q, err)
		}
		if err != nil {
			return
		}
		if n, err := Length(b); err != nil || n != len(b) {
			t.Fatalf("length %d of %d: %v", n, len(b), err)
		}
		if !bytes.HasPrefix(b, q.signed) || (q.TD == nil) == (q.Enclave == nil) || q.QE == nil || len(q.Certificates()) != 3 {
			t.Fatal("parts are missing")
		}
		if len(q.Details()) < 20 || len(q.Signatures()) != 3 {
			t.Fatal("details are missing")
		}
		a, err := q.Appraise(items, anchors, testTime)
		if (a == nil) != (err != nil) || err != nil && !errors.Is(err, attest.ErrSignature) {
			t.Fatalf("%v, %v", a, err)
		}
		if a != nil && a.Identity.Status == attest.Passed && !genuine[string(b)] {
			t.Fatalf("%x", b) // A change that no key covers.
		}
	})
}

// FuzzDocument: whatever parses as a document has the one form, and the same content
// when it is parsed again.
func FuzzDocument(f *testing.F) {
	v := must(dcaptest.New(testTime, "Intel"))(f)
	seeds := 0
	for _, td := range []bool{false, true} {
		for _, c := range must(v.Collateral(td))(f)[:2] {
			f.Add(c.Data)
			seeds++
		}
	}
	if seeds == 0 {
		f.Fatal("no seeds")
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for kind, member := range map[string]string{attest.CollateralTCBInfo: memberTCBInfo, attest.CollateralQEIdentity: memberQEIdentity} {
			d, err := parseDocument(&attest.Collateral{Kind: kind, Data: b}, 0)
			if (d == nil) != (err != nil) || err != nil && !errors.Is(err, attest.ErrForm) {
				t.Fatalf("%v, %v", d, err)
			}
			if err != nil {
				continue
			}
			if back := fmt.Sprintf(`{"%s":%s,"signature":"%x"}`, member, d.raw, d.signature); back != string(b) {
				t.Fatal("other bytes than were received")
			}
			if (d.tcb == nil) == (d.qe == nil) || d.tcb != nil && len(d.tcb.levels) == 0 || d.qe != nil && len(d.qe.levels) == 0 {
				t.Fatalf("%+v", d)
			}
			if list, err := DocumentDetails(&attest.Collateral{Kind: kind, Data: b}); err != nil || len(list) < 11 {
				t.Fatalf("%d details: %v", len(list), err)
			}
		}
	})
}
