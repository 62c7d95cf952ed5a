package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/sev/sevdev"
	"github.com/sworn-run/sworn/simulator/kernel"
	"github.com/sworn-run/sworn/tdx/tdxdev"
	"github.com/sworn-run/sworn/tpm/tpmdev"
)

// guest is a diagnosis of a machine whose kernel is a simulated one; without a provider,
// of one that has no interface at all.
func guest(t *testing.T, o kernel.Options) *diagnosis {
	t.Helper()
	d := &diagnosis{root: t.TempDir(), tpmError: tpmdev.ErrAbsent, facts: map[string]string{}, memory: map[string]string{}}
	none := filepath.Join(d.root, "none")
	d.snp = sevdev.Options{ConfigFS: none, Device: none}
	d.tdx = tdxdev.Options{ConfigFS: none, Measurements: none, Tables: none}
	if o.Provider == "" {
		return d
	}
	if os.Geteuid() != 0 {
		t.Skip("FUSE is mounted by root")
	}
	o.Report = func([]byte, uint) (out, aux []byte, err error) {
		return nil, nil, errors.New("doctor asks for no report")
	}
	k, err := kernel.Start(t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	d.snp.ConfigFS, d.tdx.ConfigFS = k.ConfigFS(), k.ConfigFS()
	if o.Registers != nil {
		d.tdx.Measurements = k.Measurements()
	}
	return d
}

// findings returns findings by name.
func findings(list []finding) map[string]finding {
	out := map[string]finding{}
	for _, f := range list {
		out[f.Name] = f
	}
	return out
}

// Doctor finds what --tee auto would choose, and says of the checks what concerns it.
func TestDoctorTEEs(t *testing.T) {
	regs, err := kernel.NewRegisters(map[string][]byte{"mrtd:sha384": make([]byte, 48)})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		o              kernel.Options
		tee            string
		snp, tdx, auto bool
	}{
		"nothing":            {kernel.Options{}, teeTPM, false, false, false},
		"SEV-SNP":            {kernel.Options{Provider: kernel.SEVGuest}, teeSNP, true, false, true},
		"TDX":                {kernel.Options{Provider: kernel.TDXGuest, Registers: regs}, teeTDX, false, true, true},
		"TDX, no register":   {kernel.Options{Provider: kernel.TDXGuest}, teeTPM, false, false, false},
		"SEV-SNP and --tpm ": {kernel.Options{Provider: kernel.SEVGuest}, teeTPM, true, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			d := guest(t, c.o)
			if strings.Contains(name, "--tpm") {
				d.flags.tpm = "unix:x"
			}
			all := findings(d.findTEEs(t.Context()))
			snp, td, auto := all["AMD SEV-SNP guest"], all["Intel TDX guest"], all["--tee auto"]
			if snp.OK != c.snp || td.OK != c.tdx || auto.OK != c.auto || d.tee != c.tee || !strings.HasPrefix(auto.Found, "chooses "+c.tee) {
				t.Errorf("tee %q of %+v", d.tee, all)
			}
			if want := "boot Linux 6.16 or later"; strings.HasSuffix(name, "no register") != strings.HasPrefix(td.Change, want) {
				t.Errorf("TDX is changed by %q", td.Change)
			}
			for name, f := range all {
				if !f.OK && !f.Unused && f.Change == "" {
					t.Errorf("%s is missing, and nothing is said that changes it: %+v", name, f)
				}
			}
			checks, launched := d.launchedChecks()
			if launched != (c.tee != teeTPM) {
				t.Errorf("%d checks of a slot without a TPM", len(checks))
			}
			for _, f := range checks {
				if !f.OK || strings.Contains(f.Found, "PCR") || strings.Contains(f.Found, "no TPM") {
					t.Errorf("%+v", f)
				}
			}
		})
	}
}

// The same checks are spoken of whatever the launch has, each once.
func TestDoctorSameChecks(t *testing.T) {
	names := func(tee string) []string {
		d := guest(t, kernel.Options{})
		d.tee = tee
		var out []string
		for _, f := range d.findChecks() {
			out = append(out, f.Name)
		}
		slices.Sort(out)
		return out
	}
	want := names(teeTPM)
	if len(slices.Compact(slices.Clone(want))) != len(want) {
		t.Errorf("twice in %q", want)
	}
	for _, tee := range []string{teeSNP, teeTDX} {
		if got := names(tee); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", tee, got, want)
		}
	}
}

// What a machine that is a confidential VM lacks is named with the one command.
func TestDoctorTEEChanges(t *testing.T) {
	for name, c := range map[string]struct {
		paths  []string
		uid    int
		unused bool
		change string
	}{
		"no guest":          {nil, 0, true, ""},
		"configfs empty":    {[]string{"dev/sev-guest", "sys/kernel/config"}, 0, false, "sudo mount -t configfs none /sys/kernel/config"},
		"no module":         {[]string{"dev/sev-guest", "sys/kernel/config/other"}, 0, false, "sudo modprobe sev-guest, on Linux 6.7"},
		"no driver":         {[]string{"dev/sev-guest", "sys/kernel/config/tsm/report"}, 0, false, "sudo modprobe sev-guest"},
		"no rights":         {[]string{"dev/sev-guest", "sys/kernel/config/tsm/report"}, 1000, false, "sudo sworn doctor, and sudo sworn run"},
		"nobody knows":      {[]string{"sys/kernel/config/tsm/report"}, 1000, true, "sudo sworn doctor"},
		"another's reports": {[]string{"sys/kernel/config/tsm/report"}, 0, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			d := guest(t, kernel.Options{})
			d.uid = c.uid
			for _, p := range c.paths {
				if err := os.MkdirAll(filepath.Join(d.root, p), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			f := finding{Found: "what is wrong"}
			d.missing(&f, "sev-guest", []string{"dev/sev-guest"})
			if f.OK || f.Unused != c.unused || !strings.HasPrefix(f.Change, c.change) || (c.change == "") != (f.Change == "") || !strings.Contains(f.Found, "what is wrong") {
				t.Errorf("%+v, want %q", f, c.change)
			}
		})
	}
}

// A paravisor is named with the evidence that it makes.
func TestDoctorParavisor(t *testing.T) {
	d := &diagnosis{tee: teeTPM, paravisor: 6}
	if f := d.findParavisor(); !f.OK || !strings.HasSuffix(f.Found, "--tee azure-tdx") {
		t.Errorf("%+v", f)
	}
	if f := d.findAuto(); !f.OK || !strings.Contains(f.Found, "--tee azure-tdx") {
		t.Errorf("%+v", f)
	}
	d.paravisor = attest.Format(0)
	if f := d.findParavisor(); f.OK || !f.Unused {
		t.Errorf("none: %+v", f)
	}
	d.paravisorError = tpmdev.ErrDevice
	if f := d.findParavisor(); f.OK || f.Unused || f.Change == "" {
		t.Errorf("broken: %+v", f)
	}
	d.tpmError = tpmdev.ErrAbsent
	if f := d.findParavisor(); f.OK || !f.Unused {
		t.Errorf("no TPM: %+v", f)
	}
}
