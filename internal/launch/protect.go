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

// volume is weights on a dm-verity device.
type volume struct {
	name, target, dir string
	description       *verity.Volume
}

// addVolume reads the description of a volume.
func (p *Plan) addVolume(name, description string) error {
	const limit = 64 << 10
	b, err := readBounded(description, limit)
	if err != nil {
		return fmt.Errorf("%w: %w", verity.ErrVolume, err)
	}
	v, err := verity.ParseVolume(b)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", description, ErrUsage, err)
	}
	dir, err := filepath.Abs(filepath.Dir(description))
	if err != nil {
		return fmt.Errorf("%s: %w: %w", description, ErrUsage, err)
	}
	p.volumes = append(p.volumes, volume{name: name, target: path.Join(modelDir, name), dir: dir, description: v})
	return nil
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
		if len(p.volumes) > 0 {
			return fmt.Errorf("weights %q are on a dm-verity volume, which is not copied: %w", p.volumes[0].name, ErrUsage)
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

// openVolumes makes the devices of the plan's volumes.
func (l *launch) openVolumes() ([]jail.Volume, error) {
	var out []jail.Volume
	if len(l.o.Plan.volumes) > 0 {
		verity.Sweep()
	}
	for _, v := range l.o.Plan.volumes {
		d, err := verity.Open(v.description, v.dir)
		if err != nil {
			return nil, fmt.Errorf("weights %q: %w: %w", v.name, ErrUsage, err)
		}
		l.devices = append(l.devices, d)
		out = append(out, jail.Volume{Device: d.Path(), Number: d.Number(), Filesystem: v.description.Filesystem, Target: v.target})
	}
	return out, nil
}

// checkVolumes reads back that the devices are still what was measured.
func (l *launch) checkVolumes() error {
	for i, d := range l.devices {
		if err := d.Check(); err != nil {
			return fmt.Errorf("weights %q, after the job: %w: %w", l.o.Plan.volumes[i].name, ErrRecord, err)
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

// volumeComponents are the components of the plan's volumes.
func (p *Plan) volumeComponents() ([]*cer.Component, error) {
	var out []*cer.Component
	for _, v := range p.volumes {
		root, salt, err := v.description.Digest()
		if err != nil {
			return nil, fmt.Errorf("weights %q: %w: %w", v.name, ErrUsage, err)
		}
		out = append(out, &cer.Component{
			Role: cer.RoleWeights, Name: v.name, Path: v.target, Digest: []string{cer.DMVerityDigest(root, salt)},
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
