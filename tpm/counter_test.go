package tpm

import (
	"bytes"
	"crypto/elliptic"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/sworn-run/sworn/attest"
)

// newCounter returns the public area and an unsigned certification of a counter
// that is 7.
func (a *fakeAK) newCounter() (*nvPublic, *certification) {
	p := &nvPublic{index: 0x01807377, nameAlg: attest.SHA256, attributes: CounterAttributes | nvWritten, size: counterSize}
	q, _ := a.newQuote()
	c := &certification{header: q.header, indexName: p.name(), value: 7}
	c.extraData = bytes.Repeat([]byte{8}, 32)
	return p, c
}

// counted is evidence of a quote with a counter.
func (a *fakeAK) counted(tb testing.TB, p *nvPublic, c *certification) *attest.Evidence {
	tb.Helper()
	ev := a.quoted(tb)
	msg := c.marshal()
	ev.Parts = append(ev.Parts, attest.Part{Name: PartNVPublic, Data: p.marshal()},
		attest.Part{Name: PartNVAttest, Data: msg}, attest.Part{Name: PartNVSignature, Data: a.signBytes(tb, msg)})
	return ev
}

func TestCounter(t *testing.T) {
	ak := newECC(t, elliptic.P256(), attest.SHA256)
	p, c := ak.newCounter()
	ev := ak.counted(t, p, c)
	claims, err := Scheme{}.Verify(ev, nil, testTime)
	if err != nil {
		t.Fatal(err)
	}
	got := claims.Counter
	if got == nil || got.Value != 7 || !bytes.Equal(got.Name[:], p.name()) || !bytes.Equal(got.Quoted, c.extraData) || got.Counters != *c.counters() {
		t.Fatalf("claims %+v", got)
	}
	name, err := CounterName(0x01807377)
	if err != nil || name != got.Name {
		t.Errorf("CounterName is %x, %v", name, err)
	}
	public, err := CounterPublic(0x01807377)
	if err != nil || !bytes.Equal(public, p.marshal()) || !oracle[tpm2.TPMSNVPublic](public) {
		t.Errorf("CounterPublic is %x, %v", public, err)
	}
	for _, index := range []uint32{0, FirstCounterIndex - 1, LastCounterIndex + 1, 1<<32 - 1} {
		if b, err := CounterPublic(index); b != nil || !errors.Is(err, attest.ErrArgument) {
			t.Errorf("index 0x%08x: %x, %v", index, b, err)
		}
		if n, err := CounterName(index); n != [34]byte{} || !errors.Is(err, attest.ErrArgument) {
			t.Errorf("index 0x%08x: %x, %v", index, n, err)
		}
	}
	// Without the parts there is no claim, and nothing else changes.
	if c, err := (Scheme{}).Verify(ak.quoted(t), nil, testTime); err != nil || c.Counter != nil || c.Device != claims.Device {
		t.Errorf("without a counter: %+v, %v", c, err)
	}
}

// TestCounterEveryBit: whatever bit of the three parts changes, the evidence is
// refused.
func TestCounterEveryBit(t *testing.T) {
	ak := newECC(t, elliptic.P256(), attest.SHA256)
	p, c := ak.newCounter()
	good := ak.counted(t, p, c)
	for _, name := range []string{PartNVPublic, PartNVAttest, PartNVSignature} {
		for bit := range 8 * len(part(t, good, name).Data) {
			bad := clone(good)
			part(t, bad, name).Data[bit/8] ^= 1 << (bit % 8)
			claims, err := Scheme{}.Verify(bad, nil, testTime)
			if claims != nil || !errors.Is(err, attest.ErrForm) && !errors.Is(err, attest.ErrSignature) {
				t.Fatalf("%s, bit %d: %v, %v", name, bit, claims, err)
			}
		}
	}
}

func TestRefuseCounterParts(t *testing.T) {
	ak := newECC(t, elliptic.P256(), attest.SHA256)
	p, c := ak.newCounter()
	good := ak.counted(t, p, c)
	const first = 4
	for name, change := range map[string]func(*attest.Evidence){
		"no public":       func(ev *attest.Evidence) { ev.Parts = append(ev.Parts[:first:first], ev.Parts[first+1:]...) },
		"no attest":       func(ev *attest.Evidence) { ev.Parts = append(ev.Parts[:first+1:first+1], ev.Parts[first+2:]...) },
		"no signature":    func(ev *attest.Evidence) { ev.Parts = ev.Parts[:first+2] },
		"public alone":    func(ev *attest.Evidence) { ev.Parts = ev.Parts[:first+1] },
		"twice":           func(ev *attest.Evidence) { ev.Parts = append(ev.Parts, ev.Parts[first:]...) },
		"swapped":         func(ev *attest.Evidence) { ev.Parts[first], ev.Parts[first+1] = ev.Parts[first+1], ev.Parts[first] },
		"empty public":    func(ev *attest.Evidence) { ev.Parts[first].Data = nil },
		"long public":     func(ev *attest.Evidence) { ev.Parts[first].Data = append(ev.Parts[first].Data, 0) },
		"long attest":     func(ev *attest.Evidence) { ev.Parts[first+1].Data = append(ev.Parts[first+1].Data, 0) },
		"huge attest":     func(ev *attest.Evidence) { ev.Parts[first+1].Data = make([]byte, maxAttest+1) },
		"huge signature":  func(ev *attest.Evidence) { ev.Parts[first+2].Data = make([]byte, maxSignature+1) },
		"a quote instead": func(ev *attest.Evidence) { ev.Parts[first+1].Data = ev.Parts[0].Data },
		"public of SHA-384": func(ev *attest.Evidence) {
			put16(ev.Parts[first].Data, 4, uint16(attest.SHA384))
		},
	} {
		t.Run(name, func(t *testing.T) {
			bad := clone(good)
			change(bad)
			refuse(t, bad, attest.ErrForm)
		})
	}
	// The counter's certification is no quote.
	bad := clone(good)
	bad.Parts[0].Data = bad.Parts[first+1].Data
	refuse(t, bad, attest.ErrForm)
}

// TestRefuseOtherIndex: what the AK certifies as an NV index proves nothing if
// the index is not exactly a counter of the owner's.
func TestRefuseOtherIndex(t *testing.T) {
	ak := newECC(t, elliptic.P256(), attest.SHA256)
	for name, change := range map[string]func(*nvPublic){
		"ordinary":         func(p *nvPublic) { p.attributes &^= 0xF0 },
		"bits":             func(p *nvPublic) { p.attributes = p.attributes&^0xF0 | 2<<4 },
		"extend":           func(p *nvPublic) { p.attributes = p.attributes&^0xF0 | 4<<4 },
		"orderly":          func(p *nvPublic) { p.attributes |= 1 << 26 },
		"written by auth":  func(p *nvPublic) { p.attributes |= 1 << 2 },
		"the platform's":   func(p *nvPublic) { p.attributes |= 1 << 30 },
		"never counted":    func(p *nvPublic) { p.attributes &^= nvWritten },
		"another size":     func(p *nvPublic) { p.size = 9 },
		"the maker's":      func(p *nvPublic) { p.index = 0x01500016 },
		"behind the owner": func(p *nvPublic) { p.index = LastCounterIndex + 1 },
	} {
		t.Run(name, func(t *testing.T) {
			p, c := ak.newCounter()
			change(p)
			c.indexName = p.name()
			refuse(t, ak.counted(t, p, c), attest.ErrMode)
		})
	}
}

func TestRefuseCertification(t *testing.T) {
	ak, other := newECC(t, elliptic.P256(), attest.SHA256), newECC(t, elliptic.P256(), attest.SHA256)
	p, c := ak.newCounter()
	t.Run("another index's Name", func(t *testing.T) {
		_, c := ak.newCounter()
		q := *p
		q.index++
		c.indexName = q.name()
		refuse(t, ak.counted(t, p, c), attest.ErrSignature)
	})
	t.Run("another key", func(t *testing.T) {
		ev := ak.counted(t, p, c)
		part(t, ev, PartNVSignature).Data = other.signBytes(t, c.marshal())
		refuse(t, ev, attest.ErrSignature)
	})
	t.Run("another signer's name", func(t *testing.T) {
		_, c := ak.newCounter()
		q, _ := other.newQuote()
		c.qualifiedSigner = q.qualifiedSigner
		refuse(t, ak.counted(t, p, c), attest.ErrMode)
	})
	for name, contents := range map[string][]byte{
		"offset":   append([]byte{0, 1, 0, 8}, make([]byte, 8)...),
		"7 bytes":  append([]byte{0, 0, 0, 7}, make([]byte, 7)...),
		"9 bytes":  append([]byte{0, 0, 0, 9}, make([]byte, 9)...),
		"no bytes": {0, 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			ev := ak.counted(t, p, c)
			msg := c.marshal()
			msg = append(msg[:len(msg)-12], contents...)
			part(t, ev, PartNVAttest).Data, part(t, ev, PartNVSignature).Data = msg, ak.signBytes(t, msg)
			refuse(t, ev, attest.ErrForm)
		})
	}
}

// FuzzParseCertification starts from certifications of fake keys, because it is
// the structure alone that is parsed.
func FuzzParseCertification(f *testing.F) {
	ak := newECC(f, elliptic.P256(), attest.SHA256)
	p, c := ak.newCounter()
	seeds := [][]byte{c.marshal(), binary.BigEndian.AppendUint16(c.marshal(), 0)}
	for _, s := range seeds {
		f.Add(s, p.marshal())
	}
	if got, err := parseCertification(seeds[0]); err != nil || got.value != 7 {
		f.Fatalf("the seed: %+v, %v", got, err)
	}
	f.Fuzz(func(t *testing.T, b, public []byte) {
		c, err := parseCertification(b)
		if (c == nil) == (err == nil) || err != nil && !errors.Is(err, attest.ErrForm) {
			t.Fatalf("%v, %v", c, err)
		}
		if err == nil && (!bytes.Equal(c.marshal(), b) || !bytes.Equal(c.raw, b) || !oracle[tpm2.TPMSAttest](b)) {
			t.Fatal("does not marshal back to itself")
		}
		p, err := parseNVPublic(public)
		if (p == nil) == (err == nil) || err != nil && !errors.Is(err, attest.ErrForm) {
			t.Fatalf("%v, %v", p, err)
		}
		if err != nil {
			return
		}
		if !bytes.Equal(p.marshal(), public) || len(p.name()) != 34 {
			t.Fatal("does not marshal back to itself")
		}
		want, err := CounterPublic(p.index)
		if mode := p.checkMode(); (mode == nil) != (err == nil && bytes.Equal(want, public)) || mode != nil && !errors.Is(mode, attest.ErrMode) {
			t.Fatalf("mode %v", mode)
		}
	})
}
