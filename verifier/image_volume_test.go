package verifier_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/verifier"
)

// An image on a volume has the volume's digest and its protection: a policy with the
// manifest's digest refuses it, and the reverse, and one that accepts sealed copies
// only refuses it by its protection.
func TestImageVolume(t *testing.T) {
	f := newForger(t)
	manifest, volume := cer.SHA256Digest([32]byte{1}), cer.DMVerityDigest([32]byte{2}, []byte{3})
	image := func(digest, protection string) []byte {
		return f.record(t, forgery{events: func(l *attest.Log) {
			addComponent(t, l, &cer.Component{Role: cer.RoleImage, Name: "image", Path: "/", Digest: []string{digest}, Size: "4096", Protection: protection})
		}})
	}
	unpacked, mounted := image(manifest, ""), image(volume, cer.ProtectionDMVerity)
	policy := func(protection []any, digests ...any) verifier.Input {
		return f.input(t, func(p map[string]any) {
			p["protection"] = protection
			p["components"] = append(list(p, "components"), map[string]any{"role": "image", "name": "image", "digest": digests})
		})
	}
	sealed, both := []any{"sealed"}, []any{"sealed", "verity"}
	for name, c := range map[string]struct {
		file  []byte
		in    verifier.Input
		check string
	}{
		"unpacked":                      {unpacked, policy(sealed, manifest), ""},
		"from the volume":               {mounted, policy(both, volume), ""},
		"either, unpacked":              {unpacked, policy(both, volume, manifest), ""},
		"either, from the volume":       {mounted, policy(both, manifest, volume), ""},
		"the manifest is wanted":        {mounted, policy(both, manifest), "components.match"},
		"the volume is wanted":          {unpacked, policy(both, volume), "components.match"},
		"another root":                  {mounted, policy(both, cer.DMVerityDigest([32]byte{4}, []byte{3})), "components.match"},
		"another salt":                  {mounted, policy(both, cer.DMVerityDigest([32]byte{2}, nil)), "components.match"},
		"sealed copies only":            {mounted, policy(sealed, volume), "protection.storage"},
		"no image listed":               {mounted, f.input(t, func(p map[string]any) { p["protection"] = both }), "components.match"},
		"no image listed, and reported": {mounted, f.input(t, func(p map[string]any) { p["protection"], p["others"] = both, "report" }), "components.closed"},
	} {
		r := verify(t, c.file, c.in)
		if c.check != "" {
			wantRefused(t, r, c.check)
			continue
		}
		if !r.Trusted {
			t.Errorf("%s: %s", name, r.Headline)
		}
	}

	in := policy(both, volume)
	p, err := in.PolicyFromRecord(mounted, "made", in.Policy.Waive)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(p.Components, func(c verifier.PolicyComponent) bool { return c.Role == cer.RoleImage })
	if i < 0 || !slices.Equal(p.Components[i].Digest, []string{volume}) || !slices.Contains(p.Protection, verifier.ProtectionVerity) {
		t.Errorf("the policy accepts %v, and lists %+v", p.Protection, p.Components)
	}
	in.Policy = p
	r := verify(t, mounted, in)
	i = slices.IndexFunc(r.Checks, func(c verifier.Check) bool { return c.ID == "protection.storage" })
	if !r.Trusted || i < 0 || !strings.HasPrefix(r.Checks[i].Detail, "the image and 0 file(s) checked by the kernel") {
		t.Errorf("%s: %+v", r.Headline, r.Checks[i])
	}
}
