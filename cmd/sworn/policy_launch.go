package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/sev/launch"
	"github.com/sworn-run/sworn/verifier"
)

// launchFlags are the flags of policy from-launch.
type launchFlags struct {
	policy, out, name, tee string
	measurements           []string
	golden, roots          string
	cmdline, initrd        string
	launcherInside         bool
	// ovmf and what follows compute the measurement of an SEV-SNP guest.
	ovmf, kernel, cpu, host string
	vcpus                   []int
	features                uint64
}

func (a *app) policyFromLaunch() *cobra.Command {
	var f launchFlags
	cmd := &cobra.Command{
		Use:   "from-launch [flags]",
		Short: "Add an image of a confidential VM to a policy",
		Long: `Adds the launch measurements of an image to a policy: MEASUREMENT of SEV-SNP; MRTD and
RTMR0 to RTMR2 of TDX. Of SEV-SNP they are computed from the firmware, the kernel, the
initial file system and the command line that a host launches (--ovmf), one image for each
number of processors. Else they are given by value, as a build or the vendor's tool
computes them, or taken from a record of a machine that you know to be good (--golden);
then nothing checks that they cover the command line and the file that you name.

The initial file system is looked into for the policy's launcher. With the launcher inside
and the kernel locked down by the command line, launcher.rooted can pass.

The image is added to those that the policy has. Waivers of slot.measurement and
launcher.rooted are dropped, and of log.sole where no register keeps the log.`,
		Example: `  sworn policy from-launch --policy policy.json -o rooted.json --ovmf OVMF.fd --vcpus 4 \
    --cpu EPYC-Milan --kernel vmlinuz --initrd initrd.img \
    --cmdline "console=ttyS0 lockdown=integrity rd.systemd.gpt_auto=0"
  sworn policy from-launch --policy policy.json -o rooted.json --golden golden.cer.json --roots roots/`,
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
	fl.StringVar(&f.ovmf, "ovmf", "", "compute the measurement of SEV-SNP: the firmware `FILE`")
	fl.StringVar(&f.kernel, "kernel", "", "with --ovmf: the kernel `FILE` that the host boots directly, with --initrd and --cmdline")
	fl.IntSliceVar(&f.vcpus, "vcpus", nil, "with --ovmf: the `NUMBERS` of virtual processors, such as 4 or 1,2,4")
	fl.StringVar(&f.cpu, "cpu", "EPYC-Milan", "with --ovmf: the processor `TYPE`, by QEMU's name")
	fl.StringVar(&f.host, "host", "qemu", "with --ovmf: the `HOST`: qemu, ec2 or gce")
	fl.Uint64Var(&f.features, "sev-features", launch.SNPActive, "with --ovmf: SEV_FEATURES as a `NUMBER`")
	choices(cmd, "host", "qemu", "ec2", "gce")
	choices(cmd, "cpu", "EPYC", "EPYC-Rome", "EPYC-Milan", "EPYC-Genoa", "EPYC-Turin")
	folder(cmd, "roots")
	return cmd
}

func (a *app) fromLaunch(f *launchFlags) error {
	switch {
	case f.policy == "":
		return usage("sworn policy from-record or from-files makes one", "no policy given to add to: --policy FILE")
	case f.sources() != 1:
		return usage("--ovmf FILE, --measurement NAME=HEX, or --golden RECORD", "have the measurements computed, or give them by value or by a record, one of these")
	case f.ovmf == "" && (f.kernel != "" || len(f.vcpus) > 0):
		return usage("--ovmf OVMF.fd", "--kernel and --vcpus go with --ovmf, the firmware that they are launched with")
	case f.ovmf != "" && len(f.vcpus) == 0:
		return usage("--vcpus 4", "every virtual processor is measured: how many are there?")
	case f.ovmf != "" && f.kernel == "" && (f.initrd != "" || f.cmdline != ""):
		return usage("--kernel vmlinuz", "--initrd and --cmdline are measured with a kernel that is booted directly, and none is given")
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
	images, err := f.images(p, d)
	if err != nil {
		return err
	}
	rules := p.Formats[d.Name]
	rules.Images = append(rules.Images, images...)
	p.Formats[d.Name] = rules
	dropped := unwaive(p)
	if err := a.writePolicy(p, f.out); err != nil {
		return err
	}
	for _, check := range dropped {
		_, _ = fmt.Fprintf(a.stderr, "note: the policy does not waive %s any more; \"sworn policy check\" says what is still missing\n", check)
	}
	if len(images[0].Launchers) == 0 {
		_, _ = fmt.Fprintf(a.stderr, "note: image %q holds none of the policy's launchers: launcher.rooted will not pass where it was launched\n", images[0].Name)
	}
	return nil
}

// sources is how many ways to the measurements are given.
func (f *launchFlags) sources() int {
	n := 0
	for _, given := range []bool{f.ovmf != "", len(f.measurements) > 0, f.golden != ""} {
		if given {
			n++
		}
	}
	return n
}

// images returns the image, or one for each number of processors.
func (f *launchFlags) images(p *verifier.Policy, d *attest.Description) ([]verifier.LaunchImage, error) {
	image, err := f.image(p, d)
	switch {
	case err != nil:
		return nil, err
	case f.ovmf == "":
		return []verifier.LaunchImage{*image}, nil
	case d.Name != teeNameSNP:
		return nil, usage("--tee sev-snp", "--ovmf computes the measurement of SEV-SNP, and %s is another format", d.Name)
	}
	m, err := f.machine()
	if err != nil {
		return nil, err
	}
	var out []verifier.LaunchImage
	for _, m.CPUs = range f.vcpus {
		digest, err := launch.Digest(m)
		if err != nil {
			return nil, wrap(fmt.Errorf("%s: %w", f.ovmf, err), "want OVMF built for SEV-SNP, with a table of kernel hashes where a kernel is booted directly (AmdSevX64)")
		}
		x := *image
		x.Name = fmt.Sprintf("%s, %d vCPU", f.name, m.CPUs)
		x.Measurements = map[string]string{"measurement": hex.EncodeToString(digest[:])}
		out = append(out, x)
	}
	return out, nil
}

// teeNameSNP is the name of the format whose measurement is computed.
const teeNameSNP = "sev-snp"

// machine is what the host launches, but for the number of processors.
func (f *launchFlags) machine() (*launch.Machine, error) {
	m := &launch.Machine{Features: f.features}
	switch f.host {
	case "qemu":
		m.Host = launch.QEMU
	case "ec2":
		m.Host = launch.EC2
	case "gce":
		m.Host = launch.GCE
	default:
		return nil, usage("--host qemu, ec2 or gce", "--host %q is unknown", f.host)
	}
	var ok bool
	if m.Signature, ok = launch.CPU(f.cpu); !ok {
		return nil, usage("--cpu EPYC-Milan", "--cpu %q is no processor type that is known here", f.cpu)
	}
	var err error
	if m.Firmware, err = readFile(f.ovmf, launch.MaxImage); err != nil || f.kernel == "" {
		return m, err
	}
	kernel, err := readFile(f.kernel, limits.BootImage)
	if err != nil {
		return nil, err
	}
	m.Boot = &launch.Boot{Kernel: sha256.Sum256(kernel), Initrd: launch.NoInitrd(), Cmdline: f.cmdline}
	if f.initrd != "" {
		initrd, err := readFile(f.initrd, limits.BootImage)
		if err != nil {
			return nil, err
		}
		m.Boot.Initrd = sha256.Sum256(initrd)
	}
	return m, nil
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
