package verifier

import (
	"testing"

	"github.com/sworn-run/sworn/sev"
)

// TestSharedCache wants every scheme that verifies AMD's signatures to have the cache that
// is given, and those that are public none: what they say rests on no earlier call.
func TestSharedCache(t *testing.T) {
	for _, cache := range []*sev.Cache{nil, sev.NewCache(signatures)} {
		n := 0
		for _, s := range schemes(cache) {
			if z, ok := s.(azure); ok {
				s = z.hardware
			}
			if s, ok := s.(sev.Scheme); ok {
				n++
				if s.Cache != cache {
					t.Errorf("a scheme has the cache %p, want %p", s.Cache, cache)
				}
			}
		}
		if n != 2 {
			t.Errorf("%d schemes of AMD's", n)
		}
	}
	for _, s := range Schemes() {
		if s, ok := s.(sev.Scheme); ok && s.Cache != nil {
			t.Error("the public scheme remembers")
		}
	}
}
