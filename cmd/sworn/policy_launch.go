package main

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/verifier"
)

// launchFlags are the flags of policy from-launch.
type launchFlags struct {
	policy, out, name, tee string
	measurements           []string
	golden, roots          string
	cmdline, initrd        string
	launcherInside         bool
}

func (a *app) policyFromLaunch() *cobra.Command {
	var f launchFlags
	cmd := &cobra.Command{
		Use:   "from-launch [flags]",
		Short: "Add an image of a confidential VM to a policy",
		Long: `Adds the launch measurements of an image to a policy: MEASUREMENT of SEV-SNP; MRTD and
RTMR0 to RTMR2 of TDX. They are given by value, as a build or the vendor's tool computes
them, or taken from a record of a machine that you know to be good (--golden).

What they cover, you say: the kernel's command line, and by --initrd the initial file
system, which is looked into for the policy's launcher. With the launcher inside and the
kernel locked down by the command line, launcher.rooted can pass. Nothing here checks that
the measurements are of this command line and this file: whoever computed them knows.

The image is added to those that the policy has. Waivers of slot.measurement and
launcher.rooted are dropped, and of log.sole where no register keeps the log.`,
		Example: `  sworn policy from-launch --policy policy.json -o rooted.json --tee sev-snp \
    --measurement measurement=3729f3… --initrd initrd.img \
    --cmdline "console=ttyS0 lockdown=integrity rd.systemd.gpt_auto=0"`,
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error { return a.fromLaunch(&f) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.policy, "policy", "", "the policy `FILE` to add to")
	fl.StringVarP(&f.out, "output", "o", "", "write the policy to `FILE` instead of standard output")
	fl.StringVar(&f.tee, "tee", "", "the `FORMAT` that the image is for (default: the one of the policy's that has images)")
	fl.StringVar(&f.name, "name", "image", "call the image `NAME`")
	fl.StringArrayVar(&f.measurements, "measurement", nil, "a value, `NAME=HEX` (repeatable): measurement; mrtd, rtmr0, rtmr1, rtmr2")
	fl.StringVar(&f.golden, "golden", "", "take the values from a known-good `RECORD`")
	fl.StringVar(&f.roots, "roots", "", "roots `DIR`, for --golden")
	fl.StringVar(&f.cmdline, "cmdline", "", "the kernel's command line `TEXT`, which the values cover")
	fl.StringVar(&f.initrd, "initrd", "", "the initial file system `FILE`, which the values cover")
	fl.BoolVar(&f.launcherInside, "launcher-inside", false, "say that the policy's launchers lie in the image, for images that are no kernel with an --initrd")
	folder(cmd, "roots")
	return cmd
}

func (a *app) fromLaunch(f *launchFlags) error {
	switch {
	case f.policy == "":
		return usage("sworn policy from-record or from-files makes one", "no policy given to add to: --policy FILE")
	case (len(f.measurements) == 0) == (f.golden == ""):
		return usage("--measurement NAME=HEX, or --golden RECORD", "give the measurements by value or by a record, one of both")
	case f.initrd != "" && f.launcherInside:
		return usage("leave --launcher-inside out", "--initrd is looked into for the launchers")
	}
	b, err := readFile(f.policy, limits.PolicyFile)
	if err != nil {
		return err
	}
	p, err := verifier.ParsePolicy(b)
	if err != nil {
		return wrap(fmt.Errorf("%s: %w", f.policy, err), policyHint(f.policy, b, "sworn policy schema"))
	}
	d, err := f.format(p)
	if err != nil {
		return err
	}
	image, err := f.image(p, d)
	if err != nil {
		return err
	}
	rules := p.Formats[d.Name]
	rules.Images = append(rules.Images, *image)
	p.Formats[d.Name] = rules
	dropped := unwaive(p)
	if err := a.writePolicy(p, f.out); err != nil {
		return err
	}
	for _, check := range dropped {
		_, _ = fmt.Fprintf(a.stderr, "note: the policy does not waive %s any more; \"sworn policy check\" says what is still missing\n", check)
	}
	if len(image.Launchers) == 0 {
		_, _ = fmt.Fprintf(a.stderr, "note: image %q holds none of the policy's launchers: launcher.rooted will not pass where it was launched\n", image.Name)
	}
	return nil
}

// hasImages reports whether evidence of the format says what was launched.
func hasImages(d *attest.Description) bool {
	return slices.ContainsFunc(d.Measurements, func(m attest.MeasurementField) bool { return m.Image })
}

// format returns the format that the image is for.
func (f *launchFlags) format(p *verifier.Policy) (*attest.Description, error) {
	var found []attest.Description
	for _, s := range verifier.Schemes() {
		d := s.Describe()
		if _, ok := p.Formats[d.Name]; ok && hasImages(&d) && (f.tee == "" || f.tee == d.Name) {
			found = append(found, d)
		}
	}
	switch {
	case len(found) == 1:
		return &found[0], nil
	case len(found) > 1:
		return nil, usage("--tee "+found[0].Name, "the policy accepts several formats that have images")
	case f.tee != "":
		return nil, usage("sworn policy from-files --tee "+f.tee, "%s has no rules for %s evidence, or that has no images", f.policy, f.tee)
	default:
		return nil, usage("sworn policy from-files --tee sev-snp", "%s accepts no evidence that says what was launched", f.policy)
	}
}

// image puts the image together.
func (f *launchFlags) image(p *verifier.Policy, d *attest.Description) (*verifier.LaunchImage, error) {
	image := &verifier.LaunchImage{Name: f.name, Cmdline: f.cmdline, Measurements: map[string]string{}}
	if f.golden != "" {
		if err := f.takeGolden(image, d); err != nil {
			return nil, err
		}
	}
	for _, s := range f.measurements {
		name, value, ok := strings.Cut(s, "=")
		if _, err := hex.DecodeString(value); !ok || err != nil || image.Measurements[name] != "" {
			return nil, usage("--measurement measurement=HEX, each once", "measurement %q: want NAME=HEX", s)
		}
		image.Measurements[name] = strings.ToLower(value)
	}
	switch {
	case f.launcherInside:
		image.Launchers = launchers(p)
	case f.initrd != "":
		file, err := readFile(f.initrd, limits.BootImage)
		if err != nil {
			return nil, err
		}
		if image.Launchers, err = inside(f.initrd, file, launchers(p)); err != nil {
			return nil, err
		}
	}
	return image, nil
}

// takeGolden takes the measurements of a known-good record.
func (f *launchFlags) takeGolden(image *verifier.LaunchImage, d *attest.Description) error {
	b, err := readCapsule(f.golden)
	if err != nil {
		return err
	}
	store, err := loadRoots(f.roots)
	if err != nil {
		return err
	}
	values, err := verifier.LaunchedFrom(b, store, time.Now(), d.Name)
	if err != nil {
		return wrap(fmt.Errorf("%s: %w", f.golden, err), `inspect it with "sworn verify --explain"`)
	}
	image.Measurements = values
	return nil
}
