package cer_test

import (
	"strings"
	"testing"

	"github.com/sworn-run/sworn/cer"
)

func TestComponentDigests(t *testing.T) {
	sum := [32]byte{31: 1}
	salt := make([]byte, 256)
	for want, got := range map[string]string{
		"sha256:" + hex1:                               cer.SHA256Digest(sum),
		"fsverity-sha256;block=4096:" + hex1:           cer.FSVerityDigest(sum),
		"oms-sha256:" + hex1:                           cer.OMSDigest(sum),
		"list-sha256:" + hex1:                          cer.ListDigest(sum),
		"dmverity-sha256;block=4096;salt=-:" + hex1:    cer.DMVerityDigest(sum, nil),
		"dmverity-sha256;block=4096;salt=00ff:" + hex1: cer.DMVerityDigest(sum, []byte{0, 255}),
		"dmverity-sha256;block=4096;salt=" + strings.Repeat("00", 256) + ":" + hex1: cer.DMVerityDigest(sum, salt),
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if err := cer.CheckComponentDigest(got); err != nil {
			t.Errorf("%s: %v", got, err)
		}
		if !strings.HasSuffix(got, ":"+hex1) || cer.DigestScheme(got)+":"+hex1 != got {
			t.Errorf("scheme of %s is %s", got, cer.DigestScheme(got))
		}
	}
}

// A digest counts with its scheme and parameters: what is equal in one scheme and
// other in the next is another file.
func TestMatchDigests(t *testing.T) {
	a, b := strings.Repeat("a", 64), strings.Repeat("b", 64)
	flatA, flatB, verityA, verityB := "sha256:"+a, "sha256:"+b, cer.SchemeFSVerity+":"+a, cer.SchemeFSVerity+":"+b
	for name, c := range map[string]struct {
		got, want []string
		matches   bool
	}{
		"the one":                {[]string{flatA}, []string{flatA}, true},
		"one of two":             {[]string{flatA}, []string{flatB, flatA}, true},
		"another":                {[]string{flatA}, []string{flatB}, false},
		"nothing":                {nil, []string{flatA}, false},
		"nothing wanted":         {[]string{flatA}, nil, false},
		"the same hex elsewhere": {[]string{flatA}, []string{verityA}, false},
		"one scheme in common":   {[]string{flatA, verityA}, []string{verityA}, true},
		"both":                   {[]string{flatA, verityA}, []string{verityA, flatA}, true},
		"right and wrong":        {[]string{flatA, verityB}, []string{verityA, flatA}, false},
		"wrong and right":        {[]string{verityB, flatA}, []string{flatA, verityA}, false},
		"another salt":           {[]string{cer.DMVerityDigest([32]byte{}, nil)}, []string{cer.DMVerityDigest([32]byte{}, []byte{1})}, false},
	} {
		if cer.MatchDigests(c.got, c.want) != c.matches {
			t.Errorf("%s: %v against %v is not %v", name, c.got, c.want, c.matches)
		}
	}
}
