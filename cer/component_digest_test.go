package cer_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/cer"
)

// TestComponentOneDigestOfAScheme: one file has one digest of a scheme. With
// two, a policy that lists either would be content.
func TestComponentOneDigestOfAScheme(t *testing.T) {
	good, evil := "sha256:"+strings.Repeat("a", 64), "sha256:"+strings.Repeat("b", 64)
	for _, digests := range [][]string{{good, evil}, {good, good}} {
		c := cer.Component{Role: cer.RoleLauncher, Name: "sworn", Digest: digests, Size: "1"}
		if _, err := c.Encode(); !errors.Is(err, cer.ErrSchema) {
			t.Errorf("digests %v: error %v", digests, err)
		}
		data := `{"digest":["` + digests[0] + `","` + digests[1] + `"],"name":"sworn","role":"launcher","size":"1"}`
		if _, err := cer.ParseComponent([]byte(data)); !errors.Is(err, cer.ErrSchema) {
			t.Errorf("parsing %s: error %v", data, err)
		}
	}
	c := cer.Component{Role: cer.RoleLauncher, Name: "sworn", Digest: []string{good}, Size: "1"}
	if _, err := c.Encode(); err != nil {
		t.Error(err)
	}
}
