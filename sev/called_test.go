package sev

import "testing"

// TestCalled checks which common names are taken for one of AMD's.
func TestCalled(t *testing.T) {
	for cn, want := range map[string]bool{
		"SEV-VCEK": true, "SEV-VCEK SIMULATED": true,
		"": false, "SEV-VCE": false, "SEV-VCEKS": false, "SEV-VLEK": false, " SEV-VCEK": false, "sev-vcek": false,
	} {
		if got := called(cn, nameVCEK); got != want {
			t.Errorf("%q is taken for a VCEK's name: %t", cn, got)
		}
	}
}
