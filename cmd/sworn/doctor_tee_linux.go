package main

import (
	"context"
	"errors"

	"github.com/sworn-run/sworn/sev/sevdev"
	"github.com/sworn-run/sworn/tdx/tdxdev"
)

// findTEE looks whether this is a confidential VM, in the order in which a launch does,
// and notes which of them a launch would use.
func (d *diagnosis) findTEE(ctx context.Context) []finding {
	var out []finding
	for _, k := range []struct {
		tee, what string
		probe     func() (bool, string)
	}{
		{teeTDX, "Intel TDX guest", func() (bool, string) { return tdxdev.Probe(ctx, tdxdev.Options{}) }},
		{teeSNP, "AMD SEV-SNP guest", func() (bool, string) { return sevdev.Probe(ctx, sevdev.Options{}) }},
	} {
		ok, found := k.probe()
		if ok && d.tee == "" && d.flags.tpm == "" {
			d.tee = k.tee
			found += "; a launch uses it, unless --tee or --tpm says otherwise"
		}
		out = append(out, finding{Name: k.what, OK: ok, Unused: !ok, Found: found})
	}
	if d.tee == teeTDX {
		d.teeError = d.readTD(ctx)
	}
	return out
}

// readTD reads the register that keeps the log in a TD.
func (d *diagnosis) readTD(ctx context.Context) error {
	dev, err := tdxdev.Open(ctx, tdxdev.Options{})
	if err != nil {
		return err
	}
	if d.life, err = dev.Life(ctx); err == nil {
		d.start, err = dev.Read(ctx)
	}
	return errors.Join(err, dev.Close())
}

// findTEEChecks says of each check that depends on the confidential VM whether a record
// made here can pass it.
func (d *diagnosis) findTEEChecks() []finding {
	out := []finding{{Name: "check slot.identity", OK: true, Found: "the vendor certifies the key; what it publishes is got at launch (--collateral)"}}
	switch {
	case d.teeError != nil:
		out = append(out, finding{Name: "check log.origin", Found: d.teeError.Error(), Change: "sudo sworn run …"})
	case d.tee == teeTDX:
		out = append(out, d.originOf("RTMR", tdxdev.Register, "restart the machine"))
	}
	for _, n := range needs() {
		f := d.checkNeed(&n)
		if f.OK && n.check == "log.sole" && d.tee == teeSNP {
			f.Found = "no register keeps the log: for a policy that names the image, made by policy from-launch"
		}
		out = append(out, f)
	}
	for _, id := range []string{"slot.measurement", "launcher.rooted"} {
		out = append(out, finding{Name: "check " + id, OK: true, Found: "the hardware measures what is launched, for a policy made by policy from-launch"})
	}
	return out
}
