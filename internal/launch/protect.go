//go:build linux

package launch

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/launch/jail"
	"github.com/sworn-run/sworn/internal/launch/modelfile"
	"github.com/sworn-run/sworn/internal/launch/verity"
)

// The values of Job.Protect.
const (
	// ProtectAuto takes a file where it is if the kernel checks every read of it
	// (fs-verity), and else a private copy.
	ProtectAuto = "auto"
	// ProtectVerity refuses weights that the kernel does not check.
	ProtectVerity = "verity"
	// ProtectSealed copies every file, and refuses volumes.
	ProtectSealed = "sealed"
	// ProtectNone gives the job the weights wherever they are, unprotected, and the
	// record says so.
	ProtectNone = "none"
)

// volumePrefix before the path of weights says that it is the description of a
// dm-verity volume.
const volumePrefix = "verity:"

// volume is weights, or an image, on a dm-verity device.
type volume struct {
	// name is that of the weights, and target where they stand; both empty for an
	// image.
	name, target, dir string
	description       *verity.Volume
}

// String names the volume in errors.
func (v *volume) String() string {
	if v.name == "" {
		return "image"
	}
	return fmt.Sprintf("weights %q", v.name)
}

// readVolume reads the description of a volume, of an image or of weights.
func readVolume(description string, image bool) (*volume, error) {
	const limit = 64 << 10
	b, err := readBounded(description, limit)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", verity.ErrVolume, err)
	}
	v, err := verity.ParseVolume(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", description, ErrUsage, err)
	}
	switch {
	case image && v.OCI == nil:
		return nil, fmt.Errorf("%s describes weights, not an image: %w: %w", description, ErrUsage, verity.ErrKind)
	case !image && v.OCI != nil:
		return nil, fmt.Errorf("%s describes an image, not weights: %w: %w", description, ErrUsage, verity.ErrKind)
	}
	dir, err := filepath.Abs(filepath.Dir(description))
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", description, ErrUsage, err)
	}
	return &volume{dir: dir, description: v}, nil
}

// addVolume adds weights on a volume.
func (p *Plan) addVolume(name, description string) error {
	v, err := readVolume(description, false)
	if err != nil {
		return err
	}
	v.name, v.target = name, path.Join(modelDir, name)
	p.volumes = append(p.volumes, *v)
	return nil
}

// mounted are all volumes: the image's, if it is on one, and the weights'.
func (p *Plan) mounted() []volume {
	if p.image == nil || p.image.volume == nil {
		return p.volumes
	}
	return append([]volume{*p.image.volume}, p.volumes...)
}

// protect says of every file how it is to be kept, and with which digests.
func (p *Plan) protect() error {
	weights, others := jail.ProtectAuto, jail.ProtectAuto
	switch p.job.Protect {
	case "", ProtectAuto:
	case ProtectVerity:
		weights = jail.ProtectVerity
	case ProtectSealed:
		weights, others = jail.ProtectSealed, jail.ProtectSealed
		if on := p.mounted(); len(on) > 0 {
			return fmt.Errorf("%s: a dm-verity volume is not copied: %w", &on[0], ErrUsage)
		}
	case ProtectNone:
		weights, others = jail.ProtectNone, jail.ProtectSealed
	default:
		return fmt.Errorf("protection %q, want auto, verity, sealed or none: %w", p.job.Protect, ErrUsage)
	}
	for i := range p.files {
		f := &p.files[i]
		// The kernel's digest of a library is no digest that anybody publishes.
		f.protect, f.flat = others, true
		if f.role == cer.RoleWeights {
			single := !strings.Contains(f.name, "/")
			f.protect, f.describe, f.verity = weights, true, single
			name, _, _ := strings.Cut(f.name, "/")
			f.flat = p.job.Flat || p.signed(name) || !single && weights != jail.ProtectVerity
		}
	}
	return nil
}

// openVolumes makes the devices of the plan's volumes, and has the jail mount them.
func (l *launch) openVolumes(spec *jail.Spec) error {
	all := l.o.Plan.mounted()
	if len(all) > 0 {
		verity.Sweep()
	}
	for i := range all {
		v := &all[i]
		d, err := verity.Open(v.description, v.dir)
		if err != nil {
			return fmt.Errorf("%s: %w: %w", v, ErrUsage, err)
		}
		l.devices = append(l.devices, d)
		on := jail.Volume{Device: d.Path(), Number: d.Number(), Filesystem: v.description.Filesystem, Target: v.target}
		if v.target == "" {
			spec.Image.Volume = &on
		} else {
			spec.Volumes = append(spec.Volumes, on)
		}
	}
	return nil
}

// checkVolumes reads back that the devices are still what was measured.
func (l *launch) checkVolumes() error {
	all := l.o.Plan.mounted()
	for i, d := range l.devices {
		if err := d.Check(); err != nil {
			return fmt.Errorf("%s, after the job: %w: %w", &all[i], ErrRecord, err)
		}
	}
	return nil
}

// closeVolumes takes the devices away.
func (l *launch) closeVolumes() error {
	var errs []error
	for _, d := range l.devices {
		errs = append(errs, d.Close())
	}
	l.devices = nil
	return errors.Join(errs...)
}

// digest is the volume's, as a component names it.
func (v *volume) digest() (string, error) {
	root, salt, err := v.description.Digest()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %w", v, ErrUsage, err)
	}
	return cer.DMVerityDigest(root, salt), nil
}

// volumeComponents are the components of the weights on volumes.
func (p *Plan) volumeComponents() ([]*cer.Component, error) {
	var out []*cer.Component
	for i := range p.volumes {
		v := &p.volumes[i]
		digest, err := v.digest()
		if err != nil {
			return nil, err
		}
		out = append(out, &cer.Component{
			Role: cer.RoleWeights, Name: v.name, Path: v.target, Digest: []string{digest},
			Size: strconv.FormatUint(v.description.Size(), 10), Protection: cer.ProtectionDMVerity,
		})
	}
	return out, nil
}

// plainText reports whether a name can stand in a record and on a terminal.
func plainText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// availableMemory is what copies may take of this machine's memory, in bytes; 0,
// for no bound, where the kernel does not say how much there is.
func availableMemory() uint64 {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "MemAvailable:" {
			kib, err := strconv.ParseUint(f[1], 10, 50)
			if err != nil {
				return 0
			}
			return kib << 10 / 16 * 15
		}
	}
	return 0
}

// described turns what a header says into the facts of a component, as far as a
// record can carry them.
func described(facts []modelfile.Fact) []cer.Fact {
	var out []cer.Fact
	for _, f := range facts {
		if f.Name != "" && plainText(f.Name) && plainText(f.Value) && len(f.Name) <= cer.MaxDescription && len(f.Value) <= cer.MaxDescription {
			out = append(out, cer.Fact{Name: f.Name, Value: f.Value})
		}
	}
	slices.SortFunc(out, func(a, b cer.Fact) int { return strings.Compare(a.Name, b.Name) })
	out = slices.CompactFunc(out, func(a, b cer.Fact) bool { return a.Name == b.Name })
	return out[:min(len(out), cer.MaxDescribed)]
}
