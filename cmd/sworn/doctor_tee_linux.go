package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sworn-run/sworn/sev/sevdev"
	"github.com/sworn-run/sworn/tdx/tdxdev"
	"github.com/sworn-run/sworn/tpm/tpmdev"
)

// findTEEs looks for the interfaces of confidential VMs, and says what --tee auto would
// choose. The TPM has been looked at.
func (d *diagnosis) findTEEs(ctx context.Context) []finding {
	snp := finding{Name: "AMD SEV-SNP guest"}
	snp.OK, snp.Found = sevdev.Probe(ctx, d.snp)
	td := finding{Name: "Intel TDX guest"}
	td.OK, td.Found = tdxdev.Probe(ctx, d.tdx)
	d.tee = chooseTEE(d.flags.tpm != "", td.OK, snp.OK)
	d.missing(&snp, "sev-guest", []string{"dev/sev-guest"})
	d.missing(&td, "tdx-guest", []string{"dev/tdx_guest", "dev/tdx-guest"})
	return []finding{snp, td, d.findParavisor(), d.findAuto()}
}

// missing says what would make a confidential VM's interface usable. A machine that is no
// such VM lacks nothing: no command makes it one.
func (d *diagnosis) missing(f *finding, module string, devices []string) {
	if f.OK {
		return
	}
	there := slices.ContainsFunc(devices, func(p string) bool {
		_, err := os.Lstat(filepath.Join(d.root, p))
		return err == nil
	})
	reports := filepath.Join(d.root, "sys/kernel/config/tsm/report")
	_, err := os.Lstat(reports)
	switch {
	case strings.HasPrefix(f.Found, "quotes through") && d.uid == 0:
		f.Change = "boot Linux 6.16 or later, where RTMR3 can be extended"
	case strings.HasPrefix(f.Found, "quotes through"):
		f.Change = "sudo sworn doctor, and sudo sworn run …"
	case !there && (err != nil || d.uid == 0):
		f.Unused, f.Found = true, "this machine is none: "+f.Found
	case err != nil && !mounted(filepath.Join(d.root, "sys/kernel/config")):
		f.Change = "sudo mount -t configfs none /sys/kernel/config"
	case err != nil:
		f.Change = "sudo modprobe " + module + ", on Linux 6.7 or later with CONFIG_TSM_REPORTS"
	case d.uid != 0 && !there:
		// Whose reports they are, only root can ask.
		f.Unused, f.Change = true, "sudo sworn doctor"
	case d.uid != 0:
		f.Change = "sudo sworn doctor, and sudo sworn run …"
	default:
		f.Change = "sudo modprobe " + module
	}
}

// mounted reports whether a folder has something in it.
func mounted(dir string) bool {
	names, err := os.ReadDir(dir)
	return err == nil && len(names) > 0
}

// findParavisor tells whether the TPM is the virtual one of a confidential VM on Azure.
func (d *diagnosis) findParavisor() finding {
	f := finding{Name: "Azure paravisor"}
	switch {
	case d.tpmError != nil:
		f.Unused, f.Found = true, "not looked for: no TPM"
	case d.paravisorError != nil:
		f.Found, f.Change = d.paravisorError.Error(), "sudo sworn doctor"
		if d.uid == 0 {
			f.Change = "restart the machine, which makes its paravisor report anew"
		}
	case d.paravisor == 0:
		f.Unused, f.Found = true, "not found: the TPM has no report of one"
	default:
		f.OK, f.Found = true, "the TPM has its report: --tee "+formatName(d.paravisor)
	}
	return f
}

// findAuto says what a launch without --tee, or with --tee auto, would take.
func (d *diagnosis) findAuto() finding {
	f := finding{Name: "--tee auto", OK: d.tee != teeTPM || d.tpmError == nil, Found: "chooses " + d.tee}
	switch {
	case !f.OK:
		f.Found += ", which cannot be used: there is no other here"
		f.Change = tpmChange(d.flags.tpm, d.tpmError)
	case d.tee == teeTPM && d.flags.tpm != "":
		f.Found += ", because --tpm names one"
	case d.tee == teeTPM && d.paravisor != 0:
		f.Found += "; that the hardware vouches for it, only --tee " + formatName(d.paravisor) + " has proven"
	}
	return f
}

// readParavisor looks for a paravisor's report in an open TPM.
func (d *diagnosis) readParavisor(ctx context.Context, dev *tpmdev.TPM) {
	d.paravisor, d.paravisorError = dev.Paravisor(ctx)
}

// launchedChecks are the checks of a confidential VM's slot that depend on no TPM; false
// where --tee auto chooses one.
func (d *diagnosis) launchedChecks() ([]finding, bool) {
	vendor := map[string]string{teeSNP: "AMD", teeTDX: "Intel"}[d.tee]
	if vendor == "" {
		return nil, false
	}
	origin := finding{Name: "check log.origin", OK: true, Found: d.tee + " has no register: the statement keeps the log"}
	if d.tee == teeTDX {
		origin.Found = "RTMR3 is zero when the TD is launched; what it holds then, a log in the state folder says"
	}
	return []finding{
		{Name: "check slot.identity", OK: true, Found: vendor + " vouches for the key, by certificates that come with the evidence or from " + vendor + "'s service; whether the root is trusted, the policy says"},
		origin,
		{Name: "check slot.measurement", OK: true, Found: "for a policy made by policy from-launch, or with the value that inspect shows"},
		{Name: "check launcher.rooted", OK: true, Found: "for a policy made by policy from-launch, of an image that has this launcher in it"},
	}, true
}
