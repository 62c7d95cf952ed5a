package verifier_test

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/oms"
	"github.com/sworn-run/sworn/verifier"
)

// costOf returns how many allocations a verification makes, which unlike its time
// do not depend on what else the machine does.
func costOf(t *testing.T, file []byte, in verifier.Input) float64 {
	t.Helper()
	return testing.AllocsPerRun(1, func() { verify(t, file, in) })
}

// withComponents returns what a forger changes to add components to the launch.
func withComponents(t *testing.T, components []*cer.Component) func(l *attest.Log) {
	return func(l *attest.Log) {
		at := lastOf(l, attest.EventComponent) + 1
		var events []attest.Event
		for _, c := range components {
			data, err := c.Encode()
			if err != nil {
				t.Fatal(err)
			}
			events = append(events, attest.NewEvent(0, attest.EventComponent, l.Events[at-1].Launch, [32]byte{8}, data))
		}
		l.Events = slices.Insert(l.Events, at, events...)
	}
}

// TestCostOfCollateral: every item of a capsule is looked at once, however many
// components of a log name signatures.
func TestCostOfCollateral(t *testing.T) {
	f := newForger(t)
	in := f.input(t, nil)
	var components []*cer.Component
	for i := range 1000 {
		digest := cer.SHA256Digest(sha256.Sum256(fmt.Append(nil, i)))
		components = append(components, &cer.Component{Role: cer.RoleModelSignature, Name: fmt.Sprint(i), Digest: []string{digest}, Size: "1"})
	}
	cost := func(items int) float64 {
		return costOf(t, f.record(t, forgery{events: withComponents(t, components), capsule: func(c *cer.Capsule) {
			for i := range items {
				c.Collateral = append(c.Collateral, attest.Collateral{Kind: verifier.CollateralModelSignature, Data: fmt.Append(nil, -i)})
			}
		}}), in)
	}
	if none, many := cost(0), cost(256); many > 2*none {
		t.Errorf("%v allocations, with 256 collateral items %v", none, many)
	}
}

// TestCostOfManifests: a manifest is held against its own files and no others.
func TestCostOfManifests(t *testing.T) {
	f := newForger(t)
	in := f.input(t, nil)
	cost := func(n int) float64 {
		var components []*cer.Component
		for i := range n {
			name := fmt.Sprintf("%s%d", strings.Repeat("long", 16), i)
			sum := sha256.Sum256([]byte(name))
			m, err := oms.NewManifest([]oms.File{{Path: "x", SHA256: sum}}, oms.Options{})
			if err != nil {
				t.Fatal(err)
			}
			components = append(components, &cer.Component{
				Role: cer.RoleWeights, Name: name + "/x", Path: "/model/" + name + "/x", Digest: []string{cer.SHA256Digest(sum)},
				Size: "1", Protection: cer.ProtectionSealed,
			}, &cer.Component{
				Role: cer.RoleManifest, Name: name, Path: "/model/" + name, Digest: []string{cer.OMSDigest(m.Root())}, Size: "1",
			})
		}
		return costOf(t, f.record(t, forgery{events: withComponents(t, components)}), in)
	}
	if few, many := cost(500), cost(1000); many > 2.5*few {
		t.Errorf("%v allocations, for twice the manifests %v", few, many)
	}
}
