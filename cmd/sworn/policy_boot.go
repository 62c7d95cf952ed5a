package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/bootlog/predict"
	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/verifier"
)

// bootFlags are the flags of policy from-boot.
type bootFlags struct {
	policy, out, name  string
	uki, sections      string
	kernel, initrd     string
	cmdline, memory    string
	secureBoot         bool
	db, phases, loaded []string
	golden, roots, pin string
	files              bool
}

func (a *app) policyFromBoot() *cobra.Command {
	var f bootFlags
	cmd := &cobra.Command{
		Use:   "from-boot [flags]",
		Short: "Add reference values of what boots to a policy",
		Long: `Computes what a machine will measure when it boots, from the image's own files and
before it boots, and adds it to a policy for TPM quotes: the image as the firmware
starts it (PCR 4), the sections of a unified kernel image (PCR 11), the kernel's
command line and initial file system (PCR 9), and nothing else there. It looks into
the initial file system for the policy's launcher: with it inside, and the kernel
locked down by the command line, launcher.rooted can pass. It does not for a kernel that QEMU
boots with an initial file system: QEMU puts initrd= on its command line, by which the
same kernel would load any file unmeasured.

What no file tells, the firmware's own registers, comes from a record of a machine
that you know to be good (--golden), made with any image.

The images are added to those that the policy has, so that an old and a new one
can both be accepted while machines are updated. Waivers of slot.measurement and
launcher.rooted are dropped.`,
		Example: `  sworn policy from-boot --policy policy.json -o rooted.json --uki appliance.efi \
    --secure-boot --golden golden.cer.json --roots roots/
  sworn policy from-boot --policy policy.json -o rooted.json --kernel vmlinuz \
    --initrd initrd.img --cmdline "lockdown=integrity" --qemu-memory 512M`,
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error { return a.fromBoot(&f) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.policy, "policy", "", "the policy `FILE` to add to")
	fl.StringVarP(&f.out, "output", "o", "", "write the policy to `FILE` instead of standard output")
	fl.StringVar(&f.name, "name", "", "call the image `NAME` (default: the file's name)")
	fl.StringVar(&f.uki, "uki", "", "a unified kernel image `FILE`")
	fl.StringVar(&f.sections, "sections", "", "the sections that its stub measures, as `.linux,.osrel,…` (default: those of systemd 252 and 253)")
	fl.StringVar(&f.kernel, "kernel", "", "a kernel `FILE` that QEMU boots (-kernel) with UEFI firmware")
	fl.StringVar(&f.initrd, "initrd", "", "its initial file system `FILE`")
	fl.StringVar(&f.cmdline, "cmdline", "", "its command line `TEXT`, as given to -append")
	fl.StringVar(&f.memory, "qemu-memory", "", "the guest's memory `SIZE` below 4 GiB, such as 512M: it is in what QEMU measures")
	fl.StringArrayVar(&f.loaded, "loaded", nil, "a program `FILE` that firmware starts before the image, such as a shim or a boot menu (repeatable, in order)")
	fl.BoolVar(&f.secureBoot, "secure-boot", false, "want Secure Boot on")
	fl.StringArrayVar(&f.db, "db", nil, "with --secure-boot: the certificate `FILE` that db may hold, and no other (repeatable)")
	fl.StringArrayVar(&f.phases, "phase", nil, "a `WORD` that systemd-pcrphase measures before jobs run, such as enter-initrd (repeatable, in order)")
	fl.StringVar(&f.golden, "golden", "", "a known-good `RECORD` of the same firmware: pins its registers")
	fl.StringVar(&f.roots, "roots", "", "roots `DIR`, for --golden")
	fl.StringVar(&f.pin, "pin", "0,2,3,7", "with --golden: the `PCRS` to pin")
	fl.BoolVar(&f.files, "files", false, "with --golden: accept the files that its kernel measured (IMA), and no others")
	folder(cmd, "roots")
	return cmd
}

func (a *app) fromBoot(f *bootFlags) error {
	if f.policy == "" {
		return usage("sworn policy from-record or from-files makes one", "no policy given to add to: --policy FILE")
	}
	if err := f.check(); err != nil {
		return err
	}
	b, err := readFile(f.policy, limits.PolicyFile)
	if err != nil {
		return err
	}
	p, err := verifier.ParsePolicy(b)
	if err != nil {
		return wrap(fmt.Errorf("%s: %w", f.policy, err), policyHint(f.policy, b, "sworn policy schema"))
	}
	format, ok := p.Formats["tpm"]
	bank, err := attest.ParseAlg(format.Bank)
	if !ok || err != nil {
		return usage("sworn policy from-boot --help", "%s has no rules for TPM quotes", f.policy)
	}
	if err := f.addImages(&format.Boot, bank, launchers(p)); err != nil {
		return err
	}
	if err := f.addSecureBoot(&format.Boot); err != nil {
		return err
	}
	if err := f.addGolden(&format.Boot, bank, *format.Register); err != nil {
		return err
	}
	p.Formats["tpm"] = format
	dropped := unwaive(p)
	if err := a.writePolicy(p, f.out); err != nil {
		return err
	}
	for _, check := range dropped {
		_, _ = fmt.Fprintf(a.stderr, "note: the policy does not waive %s any more; \"sworn policy check\" says what is still missing\n", check)
	}
	a.noteRooted(&format.Boot)
	return nil
}

// check refuses flags that do not go together.
func (f *bootFlags) check() error {
	const help = "sworn policy from-boot --help"
	switch {
	case f.uki == "" && f.kernel == "" && f.golden == "" && !f.secureBoot:
		return usage(help, "nothing to add: want --uki, --kernel, --golden or --secure-boot")
	case f.uki != "" && f.kernel != "":
		return usage("run it once for each, the images add up", "--uki and --kernel are two images")
	case f.kernel == "" && (f.initrd != "" || f.cmdline != "" || f.memory != ""):
		return usage(help, "--initrd, --cmdline and --qemu-memory go with --kernel")
	case f.kernel != "" && f.memory == "":
		return usage("the size given to QEMU's -m, below 4 GiB", "--kernel wants --qemu-memory: QEMU writes it into the kernel's header")
	case f.uki == "" && (f.sections != "" || len(f.phases) > 0):
		return usage(help, "--sections and --phase go with --uki")
	case slices.Contains(f.phases, ""):
		return usage("--phase enter-initrd", "--phase without a word")
	case f.uki == "" && f.kernel == "" && len(f.loaded) > 0:
		return usage(help, "--loaded goes with --uki or --kernel")
	case len(f.db) > 0 && !f.secureBoot:
		return usage(help, "--db goes with --secure-boot")
	case f.golden == "" && (f.roots != "" || f.files):
		return usage(help, "--roots and --files go with --golden")
	case f.golden != "" && f.roots == "":
		return usage("say whose TPMs you trust: --roots DIR", "--golden wants --roots")
	}
	return nil
}

// launchers returns the digests of the policy's launchers.
func launchers(p *verifier.Policy) []string {
	var out []string
	for i := range p.Components {
		if c := &p.Components[i]; c.Role == cer.RoleLauncher {
			for _, d := range c.Digest {
				if cer.CheckDigest(d) == nil {
					out = append(out, d)
				}
			}
		}
	}
	return out
}

// addImages adds what the image will be measured as.
func (f *bootFlags) addImages(b *verifier.BootPolicy, bank attest.Alg, launchers []string) error {
	var images []verifier.BootImage
	switch {
	case f.uki != "":
		file, err := readFile(f.uki, limits.BootImage)
		if err != nil {
			return err
		}
		u := verifier.UKI{Name: f.called(f.uki), File: file, Bank: bank, SecureBoot: f.secureBoot, Phases: f.phases}
		if f.sections != "" {
			u.Sections = strings.Split(f.sections, ",")
		}
		parts, err := predict.Sections(file, []string{".initrd"})
		if err != nil {
			return wrap(fmt.Errorf("%s: %w", f.uki, err), "want a unified kernel image, such as ukify writes")
		}
		for _, s := range parts {
			if u.Launchers, err = inside(f.uki, s.Content, launchers); err != nil {
				return err
			}
		}
		if images, err = u.Images(); err != nil {
			hint := "want a unified kernel image, such as ukify writes"
			if f.sections != "" {
				hint = "--sections with names that the image has, or without it"
			}
			return wrap(fmt.Errorf("%s: %w", f.uki, err), hint)
		}
	case f.kernel != "":
		image, err := f.direct(bank, launchers)
		if err != nil {
			return err
		}
		images = append(images, *image)
	}
	before, err := f.before(bank)
	if err != nil {
		return err
	}
	for i := range images {
		images[i].Loaded = append(slices.Clone(before), images[i].Loaded...)
		addImage(b, &images[i])
	}
	return nil
}

// before returns the digests of what the firmware starts before the image: a shim, a
// boot menu.
func (f *bootFlags) before(bank attest.Alg) ([]string, error) {
	var out []string
	for _, name := range f.loaded {
		file, err := readFile(name, limits.BootImage)
		if err != nil {
			return nil, err
		}
		d, err := predict.Authenticode(file, bank)
		if err != nil {
			return nil, wrap(fmt.Errorf("%s: %w", name, err), "want a program for UEFI, such as shimx64.efi or systemd-bootx64.efi")
		}
		out = append(out, hex.EncodeToString(d))
	}
	return out, nil
}

// addImage adds an image, unless the policy has one that says the same of what will be
// measured and of what lies in it.
func addImage(b *verifier.BootPolicy, image *verifier.BootImage) {
	if !slices.ContainsFunc(b.Images, func(o verifier.BootImage) bool {
		o.Name = image.Name
		return reflect.DeepEqual(&o, image)
	}) {
		b.Images = append(b.Images, *image)
	}
}

// direct predicts a kernel that QEMU boots.
func (f *bootFlags) direct(bank attest.Alg, launchers []string) (*verifier.BootImage, error) {
	low, err := parseMemory(f.memory)
	if err != nil {
		return nil, usage("such as 512M or 2G", "--qemu-memory %q: want a number of MiB (M) or GiB (G) up to 4G", f.memory)
	}
	k := verifier.QEMUKernel{Name: f.called(f.kernel), Cmdline: f.cmdline, Low: low, Bank: bank}
	if k.Kernel, err = readFile(f.kernel, limits.BootImage); err != nil {
		return nil, err
	}
	if f.initrd != "" {
		if k.Initrd, err = readFile(f.initrd, limits.BootImage); err != nil {
			return nil, err
		}
		if k.Launchers, err = inside(f.initrd, k.Initrd, launchers); err != nil {
			return nil, err
		}
	}
	image, err := k.Image()
	if err != nil {
		return nil, wrap(fmt.Errorf("%s: %w", f.kernel, err), "want a bzImage for x86 and the memory that QEMU gives it")
	}
	return image, nil
}

// called is what the image is called.
func (f *bootFlags) called(file string) string {
	if f.name != "" {
		return f.name
	}
	return filepath.Base(file)
}

// inside returns those launchers that lie in an initial file system.
func inside(file string, initrd []byte, launchers []string) ([]string, error) {
	found, err := lookInto(initrd, launchers)
	if err != nil {
		return nil, wrap(fmt.Errorf("%s: %w", file, err), "want cpio archives, plain or compressed with gzip or zstd")
	}
	return slices.Compact(slices.Sorted(maps.Values(found))), nil
}

// addSecureBoot adds what is wanted of Secure Boot.
func (f *bootFlags) addSecureBoot(b *verifier.BootPolicy) error {
	if !f.secureBoot {
		return nil
	}
	s := &verifier.SecureBootPolicy{State: verifier.SecureBootEnabled}
	for _, name := range f.db {
		file, err := readFile(name, limits.RootsFile)
		if err != nil {
			return err
		}
		der := file
		if block, rest := pem.Decode(file); block != nil {
			if der = block.Bytes; block.Type != "CERTIFICATE" || len(bytes.TrimSpace(rest)) > 0 {
				return usage("one PEM or DER certificate to a file", "%s: want one certificate", name)
			}
		}
		if _, err := x509.ParseCertificate(der); err != nil {
			return usage("one PEM or DER certificate to a file", "%s: %v", name, err)
		}
		if d := cer.SHA256Digest(sha256.Sum256(der)); !slices.Contains(s.DB, d) {
			s.DB = append(s.DB, d)
		}
	}
	b.SecureBoot = s
	return nil
}

// addGolden pins registers, and files, of a record.
func (f *bootFlags) addGolden(b *verifier.BootPolicy, bank attest.Alg, anchor uint32) error {
	if f.golden == "" {
		return nil
	}
	file, err := readCapsule(f.golden)
	if err != nil {
		return err
	}
	store, err := loadRoots(f.roots)
	if err != nil {
		return err
	}
	booted, err := verifier.BootedFrom(file, store, time.Now(), bank)
	if err != nil {
		hint := kindHint(f.golden, file, "record")
		if hint == "" {
			hint = "sworn verify --explain --roots " + f.roots + " " + f.golden
		}
		return wrap(fmt.Errorf("%s: %w", f.golden, err), hint)
	}
	for word := range strings.SplitSeq(f.pin, ",") {
		n, err := strconv.ParseUint(word, 10, 8)
		value, ok := booted.Registers[uint32(n)]
		switch {
		case err != nil || strconv.FormatUint(n, 10) != word:
			return usage("such as --pin 0,2,3,7", "--pin %q: want numbers of PCRs", f.pin)
		case uint32(n) == anchor:
			return usage("such as --pin 0,2,3,7", "--pin: PCR %d anchors the event log, which changes it", n)
		case !ok:
			return usage("such as --pin 0,2,3,7", "--pin: the record's quote has no PCR %d", n)
		}
		if b.Registers == nil {
			b.Registers = map[string][]string{}
		}
		if v := hex.EncodeToString(value); !slices.Contains(b.Registers[word], v) {
			b.Registers[word] = append(b.Registers[word], v)
		}
	}
	if !f.files {
		return nil
	}
	if booted.Files == nil {
		return usage("make it on a kernel with an IMA policy, as root", "%s carries no list of files that the kernel measured", f.golden)
	}
	if b.IMA == nil {
		b.IMA = &verifier.IMAPolicy{}
	}
	for _, d := range booted.Files {
		if !slices.Contains(b.IMA.Files, d) {
			b.IMA.Files = append(b.IMA.Files, d)
		}
	}
	return nil
}

// noteRooted says where no launcher was found.
func (a *app) noteRooted(b *verifier.BootPolicy) {
	noted := map[string]bool{} // One file is several images: the ways to measure it.
	for i := range b.Images {
		if x := &b.Images[i]; len(x.Launchers) == 0 && !noted[x.Name] {
			noted[x.Name] = true
			_, _ = fmt.Fprintf(a.stderr, "note: image %q holds none of the policy's launchers: launcher.rooted will not pass where it booted\n", x.Name)
		}
	}
}

// statementOnly reports whether no register keeps the log of any record that the policy
// accepts, so that a rooted launcher is what log.sole rests on.
func statementOnly(p *verifier.Policy) bool {
	for _, s := range verifier.Schemes() {
		d := s.Describe()
		if _, ok := p.Formats[d.Name]; ok && d.Anchor == attest.AnchorRegister {
			return false
		}
	}
	return true
}

// unwaive drops the waivers that reference values make needless, and returns whose.
func unwaive(p *verifier.Policy) (dropped []string) {
	p.Waive = slices.DeleteFunc(p.Waive, func(w verifier.Waiver) bool {
		needless := w.Check == "slot.measurement" || w.Check == "launcher.rooted" || w.Check == "log.sole" && statementOnly(p)
		if needless {
			dropped = append(dropped, w.Check)
		}
		return needless
	})
	return dropped
}

// parseMemory reads a size of a guest's memory, as QEMU's -m takes it.
func parseMemory(s string) (uint64, error) {
	shift := 20
	digits, ok := strings.CutSuffix(s, "G")
	if ok {
		shift = 30
	} else {
		digits = strings.TrimSuffix(s, "M")
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || n == 0 || n<<shift > 4<<30 {
		return 0, fmt.Errorf("a size of %q: %w", s, strconv.ErrRange)
	}
	return n << shift, nil
}
