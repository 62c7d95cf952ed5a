package main

import (
	"testing"
)

// One golden run, a policy from it, a second run trusted under it.
func TestGoldenRunThenTrusted(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	weights := m.write(t, "weights.bin", "weights")
	flags := []string{"--weights", weights, "--nonce", goldenNonce}
	p := m.policy(t, m.run(t, "golden", flags, job(t), "say", "{weights}"))
	flags[3] = testNonce
	trusted(t, m.verify(t, m.run(t, "page", flags, job(t), "say", "{weights}"), p))
	m.write(t, "weights.bin", "Weights")
	refused(t, "altered weights", m.verify(t, m.run(t, "altered", flags, job(t), "say", "{weights}"), p), "components.match")
}
