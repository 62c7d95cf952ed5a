package main

import (
	"errors"
	"testing"
	"time"

	"github.com/sworn-run/sworn/enclave"
	"github.com/sworn-run/sworn/simulator/intel"
)

// TestSGXFlags: an enclave's evidence is made of a job inside of it and of nothing else,
// and a simulated platform is named as one.
func TestSGXFlags(t *testing.T) {
	for name, tc := range map[string]struct {
		d  deviceFlags
		ok bool
	}{
		"a job that is started":  {deviceFlags{tee: []string{teeSGX}}, false},
		"that on the simulator":  {deviceFlags{tee: []string{teeSGX}, sgx: "simulator:dir"}, false},
		"beside another":         {deviceFlags{tee: []string{teeTPM, teeSGX}}, false},
		"inside, not simulated":  {deviceFlags{tee: []string{teeSGX}, module: true}, true},
		"inside, strictly":       {deviceFlags{tee: []string{teeSGX}, module: true, strict: true}, false},
		"inside, simulated":      {deviceFlags{tee: []string{teeSGX}, sgx: "simulator:dir", module: true}, true},
		"inside, and a TPM":      {deviceFlags{tee: []string{teeTPM, teeSGX}, sgx: "simulator:dir", module: true}, true},
		"twice":                  {deviceFlags{tee: []string{teeSGX, teeSGX}, module: true}, false},
		"simulator without tee":  {deviceFlags{tee: []string{teeAuto}, sgx: "simulator:dir", module: true}, false},
		"no folder":              {deviceFlags{tee: []string{teeSGX}, sgx: "simulator:", module: true}, false},
		"a folder that is bare":  {deviceFlags{tee: []string{teeSGX}, sgx: "/tmp/vendors", module: true}, false},
		"a device that is named": {deviceFlags{tee: []string{teeSGX}, sgx: "/dev/sgx_enclave", module: true}, false},
	} {
		tc.d.ak = "auto"
		err := tc.d.checkTEE()
		if (err == nil) != tc.ok {
			t.Errorf("%s: %v", name, err)
		}
		var u *statusError
		if err != nil && (!errors.As(err, &u) || u.code != exitUsage) {
			t.Errorf("%s: %T", name, err)
		}
	}
}

// TestOpenSGX: the simulated platform fills the first slot, or one beside it, with no
// register; without its vendor, or in a program that is no enclave, nothing is opened.
func TestOpenSGX(t *testing.T) {
	dir := t.TempDir()
	d := deviceFlags{tee: []string{teeSGX}, sgx: "simulator:" + dir, module: true}
	if o, err := d.openAll(t.Context(), ""); !errors.Is(err, intel.ErrDir) || o != nil {
		t.Errorf("no vendor: %v", err)
	}
	if _, err := intel.Open(dir, time.Now()); err != nil {
		t.Fatal(err)
	}
	o, err := d.openAll(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer o.close()
	slot, err := o.device.Attester.Manifest(t.Context())
	if err != nil || o.device.Program == nil || *o.device.Program == [32]byte{} || slot.Format != enclave.Format || o.device.Measurer != nil || o.device.Life != nil || len(o.names) != 1 || o.names[0] != teeSGX {
		t.Errorf("%+v, %+v, %v", slot, o.device, err)
	}
	second := &opened{}
	if err := second.addSGX(t.Context(), &d, false); err != nil || len(second.device.Beside) != 1 || second.device.Program == nil || second.device.Attester != nil || len(second.closers) != 1 {
		t.Errorf("%+v, %v", second.device, err)
	}
	second.close()
	d.sgx = ""
	if o, err := d.openAll(t.Context(), ""); err == nil || o != nil {
		t.Error("a program that is no enclave opened one")
	}
}
