package verifier_test

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/verifier"
)

// teeItem is one binary piece of a capsule: a part of the evidence, or collateral.
type teeItem struct {
	name string
	of   func(c *cer.Capsule) *[]byte
}

// teeItems returns the pieces of a capsule in their order.
func teeItems(c *cer.Capsule) []teeItem {
	var out []teeItem
	for i := range c.Evidence {
		for j := range c.Evidence[i].Parts {
			name := fmt.Sprintf("slot %d %s", i, c.Evidence[i].Parts[j].Name)
			out = append(out, teeItem{name, func(c *cer.Capsule) *[]byte { return &c.Evidence[i].Parts[j].Data }})
		}
	}
	for i := range c.Collateral {
		name := fmt.Sprintf("collateral %d %s", i, c.Collateral[i].Kind)
		out = append(out, teeItem{name, func(c *cer.Capsule) *[]byte { return &c.Collateral[i].Data }})
	}
	return out
}

// unsigned reports whether nothing signs a byte, and nothing is taken from it: CPUSVN and
// MAC in the TDREPORT that Azure's paravisor carries beside a quote of the same TD (SPEC,
// section 3.6). Every other byte counts.
func unsigned(kind, item string, at int) bool {
	const report = 32 // where the TDREPORT begins
	return kind == "azure-tdx" && item == "slot 0 hcl" &&
		(at >= report+16 && at < report+32 || at >= report+224 && at < report+256)
}

// teeStride is flipStride for what costs several signatures each: packages sev, internal/dcap
// and internal/hcl flip every bit of the same pieces.
func teeStride() int {
	switch {
	case runtime.GOOS == "js":
		return 20011
	case flipStride() > 1:
		return 2003
	default:
		return 101
	}
}

// TestTEEBits: whichever bit of evidence and collateral of a trusted record is flipped, in
// a capsule that is otherwise well-formed, it is trusted no more, and not only because
// the item is then one that nothing uses.
func TestTEEBits(t *testing.T) {
	for kind := range teeKinds() {
		in, free := teeInput(t, kind), 0
		for _, item := range teeItems(teeCapsule(t, kind)) {
			bits := 8 * len(*item.of(teeCapsule(t, kind)))
			var mu sync.Mutex
			reasons := map[string]int{}
			parallel(t, (bits+teeStride()-1)/teeStride(), func(i int) {
				bit := i * teeStride()
				c := teeCapsule(t, kind)
				(*item.of(c))[bit/8] ^= 1 << (bit % 8)
				r, err := verifier.Verify(encodeCapsule(t, c), in)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				b := blocking(r)
				switch {
				case unsigned(kind, item.name, bit/8):
					free++
					if !r.Trusted {
						t.Errorf("%s: %s, byte %d is said not to count: %s", kind, item.name, bit/8, r.Headline)
					}
				case r.Trusted || len(b) == 0:
					t.Errorf("%s: %s, bit %d of byte %d: %s", kind, item.name, bit%8, bit/8, r.Headline)
				case strings.HasPrefix(item.name, "slot") && !slices.ContainsFunc(b, func(id string) bool { return strings.HasPrefix(id, "slot.") }):
					t.Errorf("%s: %s, byte %d: %s", kind, item.name, bit/8, r.Headline)
				}
				reasons[named(r)]++
			})
			t.Logf("%s: %s, %d bits, %v", kind, item.name, bits, reasons)
		}
		if kind == "azure-tdx" && flipStride() == 1 && free == 0 {
			t.Error("no bit that does not count was flipped")
		}
	}
}

// TestTEEByteCut: no piece can be cut, or grow.
func TestTEEByteCut(t *testing.T) {
	for kind := range teeKinds() {
		in := teeInput(t, kind)
		for _, item := range teeItems(teeCapsule(t, kind)) {
			for name, edit := range map[string]func([]byte) []byte{
				"empty": func([]byte) []byte { return []byte{} }, "half": func(b []byte) []byte { return b[:len(b)/2] },
				"a byte less": func(b []byte) []byte { return b[:len(b)-1] }, "a byte more": func(b []byte) []byte { return append(b, 0) },
				"a line feed more":  func(b []byte) []byte { return append(b, '\n') },
				"twice":             func(b []byte) []byte { return append(b, b...) },
				"a first byte more": func(b []byte) []byte { return append([]byte{0}, b...) },
			} {
				c := teeCapsule(t, kind)
				p := item.of(c)
				*p = edit(*p)
				r, err := verifier.Verify(encodeCapsule(t, c), in)
				// Zeros behind the paravisor's report are of no length that is fixed.
				if padding := item.name == "slot 0 hcl" && (name == "a byte more" || name == "a byte less"); err != nil || r.Trusted && !padding {
					t.Errorf("%s: %s, %s: %v, %s", kind, item.name, name, err, r.Headline)
				}
			}
		}
	}
}
