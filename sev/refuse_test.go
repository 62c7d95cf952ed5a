package sev

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"

	"github.com/sworn-run/sworn/attest"
)

// refused wants no claims and that error.
func refused(t *testing.T, ev *attest.Evidence, a *attest.Anchors, want error) {
	t.Helper()
	claims, err := Scheme{}.Verify(ev, a, testTime)
	if claims != nil || !errors.Is(err, want) {
		t.Fatalf("claims %+v, error %v, want %v", claims, err, want)
	}
	classes := 0
	for _, class := range []error{attest.ErrForm, attest.ErrSignature, attest.ErrMode, attest.ErrNoKey, attest.ErrArgument} {
		if errors.Is(err, class) {
			classes++
		}
	}
	if classes != 1 {
		t.Errorf("%v is of %d classes", err, classes)
	}
}

// TestReportRefused signs reports that are not what they must be.
func TestReportRefused(t *testing.T) {
	le := binary.LittleEndian
	for name, test := range map[string]struct {
		change func([]byte)
		want   error
	}{
		"version 0":                {func(b []byte) { b[0] = 0 }, attest.ErrForm},
		"version 1":                {func(b []byte) { b[0] = 1 }, attest.ErrForm},
		"version 6":                {func(b []byte) { b[0] = 6 }, attest.ErrForm},
		"another algorithm":        {func(b []byte) { b[0x34] = 2 }, attest.ErrForm},
		"no algorithm":             {func(b []byte) { b[0x34] = 0 }, attest.ErrForm},
		"POLICY without its one":   {func(b []byte) { b[0x0A] &^= 2 }, attest.ErrForm},
		"POLICY with bit 26":       {func(b []byte) { b[0x0B] |= 4 }, attest.ErrForm},
		"POLICY with bit 63":       {func(b []byte) { b[0x0F] |= 0x80 }, attest.ErrForm},
		"POLICY with DEBUG":        {func(b []byte) { b[0x0A] |= 8 }, attest.ErrMode},
		"VMPL 4":                   {func(b []byte) { b[0x30] = 4 }, attest.ErrForm},
		"asked for by the host":    {func(b []byte) { le.PutUint32(b[0x30:], 0xFFFFFFFF) }, attest.ErrMode},
		"SIGNING_KEY none":         {func(b []byte) { b[0x48] = 7 << 2 }, attest.ErrMode},
		"SIGNING_KEY reserved":     {func(b []byte) { b[0x48] = 2 << 2 }, attest.ErrForm},
		"signed by the VLEK":       {func(b []byte) { b[0x48] = 1 << 2 }, attest.ErrSignature},
		"a masked key that signed": {func(b []byte) { b[0x48] = 2 }, attest.ErrMode},
		"TCB with reserved bytes":  {func(b []byte) { b[0x1E2] = 1 }, attest.ErrForm},
		"a TCB of Turin":           {func(b []byte) { copy(b[0x38:], []byte{1, 2, 3, 4, 0, 0, 0, 200}) }, attest.ErrForm},
	} {
		t.Run(name, func(t *testing.T) {
			maker := newAMD(t, milan)
			c := newChip(t, maker, signerVCEK, 3)
			c.change = test.change
			refused(t, c.evidence(t), maker.anchors(), test.want)
		})
	}
}

// TestSignatureRefused changes what nobody signs: the signature itself.
func TestSignatureRefused(t *testing.T) {
	maker := newAMD(t, milan)
	c := newChip(t, maker, signerVCEK, 3)
	good := c.evidence(t)
	for name, test := range map[string]struct {
		change func([]byte)
		want   error
	}{
		"all zero":              {func(b []byte) { clear(b[signedSize:]) }, attest.ErrSignature},
		"r zero":                {func(b []byte) { clear(b[signedSize : signedSize+72]) }, attest.ErrSignature},
		"s zero":                {func(b []byte) { clear(b[signedSize+72 : signedSize+144]) }, attest.ErrSignature},
		"r and s exchanged":     {func(b []byte) { swap(b[signedSize:signedSize+72], b[signedSize+72:]) }, attest.ErrSignature},
		"r of more than P-384":  {func(b []byte) { b[signedSize+48] = 1 }, attest.ErrForm},
		"s of more than P-384":  {func(b []byte) { b[signedSize+143] = 1 }, attest.ErrForm},
		"something behind them": {func(b []byte) { b[ReportSize-1] = 1 }, attest.ErrForm},
	} {
		t.Run(name, func(t *testing.T) {
			ev := *good
			b := slices.Clone(good.Parts[0].Data)
			test.change(b)
			ev.Parts = []attest.Part{{Name: PartReport, Data: b}}
			refused(t, &ev, maker.anchors(), test.want)
		})
	}
}

// swap exchanges the beginnings of two slices.
func swap(a, b []byte) {
	for i := range a {
		a[i], b[i] = b[i], a[i]
	}
}

// TestReserved signs reports of every version with each byte that is reserved in it
// set, and each other byte changed: exactly the reserved ones are refused for it.
func TestReserved(t *testing.T) {
	maker := newAMD(t, milan)
	for version := uint32(minVersion); version <= maxVersion; version++ {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			c := newChip(t, maker, signerVCEK, version)
			base := c.report(t)
			for i := range ReportSize {
				b := slices.Clone(base)
				b[i] |= 0x80
				if b[i] == base[i] {
					b[i] ^= 1
				}
				_, err := parseReport(b)
				if want := reservedByte(version, i); (err != nil) != want {
					t.Errorf("byte 0x%03x: %v, reserved %v", i, err, want)
				}
			}
		})
	}
}

// reservedByte tells from the manual's table whether a high bit of a byte makes the
// report malformed.
func reservedByte(version uint32, i int) bool {
	switch {
	case i < 4: // VERSION
		return true
	case i >= 0x0B && i < 0x10: // POLICY, bits 26 to 63
		return true
	case i >= 0x30 && i < 0x38: // VMPL, SIGNATURE_ALGO
		return true
	case i >= 0x48 && i < 0x50: // bits 5 to 31, reserved
		return true
	case i >= 0x188 && i < 0x18B:
		return version < 3
	case i >= 0x18B && i < 0x1A0:
		return true
	case i == 0x1EB || i == 0x1EF:
		return true
	case i >= 0x1F8 && i < 0x208:
		return version < 5
	case i >= 0x208 && i < 0x2A0:
		return true
	case i >= 0x2A0+48 && i < 0x2A0+72 || i >= 0x2A0+120:
		return true
	}
	return false
}

// TestCut cuts the report at every length, certificates and list at many, and adds
// bytes.
func TestCut(t *testing.T) {
	maker := newAMD(t, milan)
	c := newChip(t, maker, signerVCEK, 3)
	ev := c.evidence(t)
	report := ev.Parts[0].Data
	for n := range len(report) {
		if p, err := parseReport(report[:n]); p != nil || !errors.Is(err, attest.ErrForm) {
			t.Fatalf("%d bytes: %v, %v", n, p, err)
		}
	}
	for _, surplus := range []int{1, 20, ReportSize} {
		for _, b := range []byte{0, 0xFF} {
			long := append(slices.Clone(report), slices.Repeat([]byte{b}, surplus)...)
			refused(t, withCollateral(long, c.chain(t)), maker.anchors(), attest.ErrForm)
			if got, rest, err := SplitReport(long); err != nil || len(got) != ReportSize || len(rest) != surplus {
				t.Errorf("split: %d, %d, %v", len(got), len(rest), err)
			}
		}
	}
	if got, rest, err := SplitReport(report[1:]); got != nil || rest != nil || !errors.Is(err, attest.ErrForm) {
		t.Errorf("a cut report: %v, %v, %v", got, rest, err)
	}
	s := Scheme{Cache: NewCache(64)}
	for i := range ev.Collateral {
		whole := ev.Collateral[i].Data
		for n := 0; n < len(whole); n += slow() * (1 + n%7) {
			ev.Collateral[i].Data = whole[:n]
			if got, err := s.Verify(ev, maker.anchors(), testTime); err == nil && allPassed(got) && len(got.Used) == len(ev.Collateral) {
				t.Fatalf("item %d cut to %d bytes passes", i, n)
			}
		}
		ev.Collateral[i].Data = append(slices.Clone(whole), 0)
		if got, err := s.Verify(ev, maker.anchors(), testTime); err == nil && len(got.Used) == len(ev.Collateral) {
			t.Fatalf("item %d with a byte more is used", i)
		}
		ev.Collateral[i].Data = whole
	}
}

// slow widens the steps where everything takes ten times as long. They stay odd, so
// that no place of a byte is left out.
func slow() int {
	if raceEnabled || runtime.GOARCH == "wasm" {
		return 11
	}
	return 1
}

// TestFlips flips bits of report, certificates and list, one in 13 of the report and
// one in 23 of the others, every place of a byte among them: nothing passes as it was.
func TestFlips(t *testing.T) {
	maker := newAMD(t, milan)
	c := newChip(t, maker, signerVCEK, 3)
	ev := c.evidence(t)
	s := Scheme{Cache: NewCache(64)}
	if got := verify(t, s, ev, maker.anchors()); !allPassed(got) {
		t.Fatalf("claims %+v", got)
	}
	ev.Parts[0].Data = slices.Clone(ev.Parts[0].Data)
	report := ev.Parts[0].Data
	for bit := 0; bit < len(report)*8; bit += 13 * slow() {
		report[bit/8] ^= 1 << (bit % 8)
		if got, err := s.Verify(ev, maker.anchors(), testTime); err == nil || got != nil {
			t.Fatalf("bit %d of byte 0x%03x: %+v", bit%8, bit/8, got)
		}
		report[bit/8] ^= 1 << (bit % 8)
	}
	for i := range ev.Collateral {
		data := slices.Clone(ev.Collateral[i].Data)
		ev.Collateral[i].Data = data
		for bit := 0; bit < len(data)*8; bit += 23 * slow() {
			data[bit/8] ^= 1 << (bit % 8)
			if got, err := s.Verify(ev, maker.anchors(), testTime); err == nil && allPassed(got) && len(got.Used) == len(ev.Collateral) {
				t.Fatalf("item %d, bit %d of byte %d passes", i, bit%8, bit/8)
			}
			data[bit/8] ^= 1 << (bit % 8)
		}
	}
}
