package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/launch"
	"github.com/sworn-run/sworn/sev/sevdev"
	"github.com/sworn-run/sworn/tdx/tdxdev"
	"github.com/sworn-run/sworn/tpm/tpmdev"
)

// The names of --tee, as policies have them, and the one that stands for what there is.
const (
	teeAuto     = "auto"
	teeTPM      = "tpm"
	teeSNP      = "sev-snp"
	teeTDX      = "tdx"
	teeAzureSNP = "azure-snp"
	teeAzureTDX = "azure-tdx"
	teeSGX      = "sgx"
)

// teeNames are the values of --tee. Of several slots, the first of these comes first: a
// register that keeps the log, where there is one.
func teeNames() []string {
	return []string{teeAuto, teeAzureSNP, teeAzureTDX, teeTPM, teeTDX, teeSNP, teeSGX}
}

// opened are the devices of one launch.
type opened struct {
	device  launch.Device
	closers []io.Closer
	// names are the formats of the slots.
	names []string
}

// close closes the devices in the reverse order.
func (o *opened) close() {
	for _, c := range slices.Backward(o.closers) {
		_ = c.Close()
	}
}

// checkTEE refuses names that there are not, or that do not go together.
func (d *deviceFlags) checkTEE() error {
	for i, name := range d.tee {
		if !slices.Contains(teeNames(), name) {
			return usage("--tee auto, or --tee "+strings.Join(teeNames()[1:], ", --tee "), "--tee %q is no kind of evidence that this version makes", name)
		}
		if slices.Contains(d.tee[:i], name) {
			return usage("give each --tee once", "--tee %q is given twice", name)
		}
	}
	many := len(d.tee) > 1
	tpms := 0
	for _, name := range d.tee {
		if name == teeTPM || name == teeAzureSNP || name == teeAzureTDX {
			tpms++
		}
	}
	switch {
	case many && slices.Contains(d.tee, teeAuto):
		return usage("--tee tpm --tee sev-snp", "--tee auto chooses one kind of evidence, and another is given too")
	case tpms > 1:
		return usage("give one of --tee tpm, azure-snp, azure-tdx", "two slots of one TPM say no more than one")
	case tpms == 0 && d.usesTPM() != "" && !slices.Contains(d.tee, teeAuto):
		return usage("add --tee tpm, or leave "+d.usesTPM()+" out", "%s is about a TPM, and none is used", d.usesTPM())
	case d.metadata != "" && !slices.Contains(d.tee, teeAzureSNP) && !slices.Contains(d.tee, teeAzureTDX):
		return usage("add --tee azure-snp or azure-tdx, or leave --metadata out", "--metadata is about Azure, and neither kind of evidence made there is asked for")
	case d.vmplGiven && !slices.Contains(d.tee, teeSNP) && !slices.Contains(d.tee, teeAuto):
		return usage("add --tee sev-snp, or leave --vmpl out", "--vmpl is about SEV-SNP, which is not used")
	case d.vmpl > 3:
		return usage("--vmpl 0", "--vmpl %d: want 0 to 3", d.vmpl)
	}
	return d.checkSGX()
}

// usesTPM returns the first flag given that is about a TPM; empty for none.
func (d *deviceFlags) usesTPM() string {
	switch {
	case d.tpm != "":
		return "--tpm"
	case d.nv != "":
		return "--tpm-nv"
	case d.bank != "":
		return "--bank"
	case d.ak != "auto":
		return "--ak"
	default:
		return ""
	}
}

// choose returns what --tee auto stands for here: the TPM that was named, else the
// strongest that this machine has.
func (d *deviceFlags) choose(ctx context.Context) []string {
	if len(d.tee) != 1 || d.tee[0] != teeAuto {
		names := slices.Clone(d.tee)
		slices.SortFunc(names, func(a, b string) int { return slices.Index(teeNames(), a) - slices.Index(teeNames(), b) })
		return names
	}
	if d.tpm != "" || d.nv != "" {
		return []string{teeTPM}
	}
	td, _ := tdxdev.Probe(ctx, tdxdev.Options{})
	snp, _ := sevdev.Probe(ctx, sevdev.Options{})
	return []string{chooseTEE(false, td, snp)}
}

// chooseTEE is what --tee auto stands for where a TPM was named or not, and the interfaces
// of a TD and of an SEV-SNP guest are there or not.
func chooseTEE(named, td, snp bool) string {
	switch {
	case named:
		return teeTPM
	case td:
		return teeTDX
	case snp:
		return teeSNP
	default:
		return teeTPM
	}
}

// openAll opens the devices of a launch. The caller closes them.
func (d *deviceFlags) openAll(ctx context.Context, state string) (*opened, error) {
	o := &opened{}
	for i, name := range d.choose(ctx) {
		var err error
		switch name {
		case teeSNP:
			err = o.addSNP(ctx, d, i == 0)
		case teeTDX:
			err = o.addTDX(ctx, i == 0)
		case teeSGX:
			err = o.addSGX(ctx, d, i == 0)
		default:
			err = o.addTPM(ctx, d, state, name)
		}
		if err != nil {
			o.close()
			return nil, err
		}
		o.names = append(o.names, name)
	}
	return o, nil
}

// addTPM opens the TPM, which is always the first slot.
func (o *opened) addTPM(ctx context.Context, d *deviceFlags, state, name string) error {
	var dev *tpmdev.TPM
	var err error
	if name == teeTPM {
		dev, err = d.open(ctx, state)
	} else {
		dev, err = d.openAzure(ctx, name)
	}
	if err != nil {
		return err
	}
	o.closers = append(o.closers, dev)
	o.device = launch.Device{Attester: dev, Measurer: dev, Life: dev, Register: d.pcr, Boot: dev}
	if d.nv != "" {
		o.device.Counter = dev
	}
	return nil
}

// openAzure opens the virtual TPM of a confidential VM on Azure.
func (d *deviceFlags) openAzure(ctx context.Context, name string) (*tpmdev.TPM, error) {
	if d.ak != "auto" {
		return nil, usage("leave --ak out", "--ak %s: on Azure the hardware names the attestation key", d.ak)
	}
	opts, err := d.options()
	if err != nil {
		return nil, err
	}
	addr := d.tpm
	if addr == "" {
		addr = "/dev/tpmrm0"
	}
	dev, err := tpmdev.OpenAzure(ctx, addr, opts, tpmdev.AzureOptions{Endpoint: d.metadata})
	if err != nil {
		return nil, err
	}
	slot, err := dev.Manifest(ctx)
	if err == nil && formatName(slot.Format) != name {
		err = usage("--tee "+formatName(slot.Format), "--tee %s: this machine is %s", name, formatName(slot.Format))
	}
	if err != nil {
		return nil, errors.Join(err, dev.Close())
	}
	return dev, nil
}

// addSNP opens the secure processor.
func (o *opened) addSNP(ctx context.Context, d *deviceFlags, first bool) error {
	opts := sevdev.Options{}
	if d.vmplGiven {
		opts.VMPL = &d.vmpl
	}
	dev, err := sevdev.Open(ctx, opts)
	if err != nil {
		return err
	}
	o.closers = append(o.closers, dev)
	if first {
		o.device = launch.Device{Attester: dev}
		return nil
	}
	o.device.Beside = append(o.device.Beside, launch.Beside{Attester: dev})
	return nil
}

// addTDX opens the TDX module.
func (o *opened) addTDX(ctx context.Context, first bool) error {
	dev, err := tdxdev.Open(ctx, tdxdev.Options{})
	if err != nil {
		return err
	}
	o.closers = append(o.closers, dev)
	if first {
		o.device = launch.Device{Attester: dev, Measurer: dev, Life: dev, Register: tdxdev.Register}
		return nil
	}
	o.device.Beside = append(o.device.Beside, launch.Beside{Attester: dev, Measurer: dev})
	return nil
}

// registerText says what keeps the log of a launch.
func registerText(o *opened, banks []attest.Alg) string {
	var names []string
	for _, b := range banks {
		names = append(names, b.String())
	}
	switch kind := o.names[0]; {
	case o.device.Measurer == nil:
		return "the statement (" + kind + ")"
	case kind == teeTDX:
		return fmt.Sprintf("RTMR %d", o.device.Register)
	default:
		return fmt.Sprintf("PCR %d (%s)", o.device.Register, strings.Join(names, ", "))
	}
}
