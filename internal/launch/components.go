//go:build linux

package launch

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/launch/jail"
	"github.com/sworn-run/sworn/internal/launch/measure"
)

// programComponent is the launcher where it is an enclave. Of its size the processor
// says nothing.
func programComponent(program [32]byte) *cer.Component {
	return &cer.Component{Role: cer.RoleLauncher, Name: "sworn", Digest: []string{cer.SHA256Digest(program)}, Size: "0"}
}

// measureLauncher hashes the launcher's own executable, where that can be read.
func (p *Plan) measureLauncher() error {
	switch {
	case p.job.Program != nil:
		p.launcher = programComponent(*p.job.Program)
		return nil
	case p.job.Launcher == "" && p.inside():
		return nil
	}
	sum, size, err := HashFile(p.job.Launcher)
	if err != nil {
		return err
	}
	p.launcher = &cer.Component{
		Role: cer.RoleLauncher, Name: "sworn", Digest: []string{cer.SHA256Digest(sum)}, Size: fmt.Sprint(size),
	}
	return nil
}

// HashFile returns SHA-256 and size of a regular file. The error wraps ErrUsage.
func HashFile(name string) (sum [32]byte, size uint64, err error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return sum, 0, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return sum, 0, fmt.Errorf("%s: %w: %w", name, ErrUsage, err)
	}
	if !st.Mode().IsRegular() {
		return sum, 0, fmt.Errorf("%s is not a regular file: %w", name, ErrUsage)
	}
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return sum, 0, fmt.Errorf("%s: %w: %w", name, ErrUsage, err)
	}
	return [32]byte(h.Sum(nil)), uint64(n), nil
}

// readBounded reads a regular file of at most limit bytes.
func readBounded(name string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file: %w", name, ErrUsage)
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil || int64(len(b)) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes or cannot be read: %w", name, limit, ErrUsage)
	}
	return b, nil
}

// Measure hashes the plan's files where they are, without running anything, and
// returns the components a launch would measure, as if each file were copied.
// The error wraps ErrUsage.
func (p *Plan) Measure(ctx context.Context) ([]*cer.Component, error) {
	passes := make([]measure.File, 0, len(p.files))
	for _, f := range p.files {
		pass, err := f.pass()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUsage, err)
		}
		passes = append(passes, pass)
	}
	sums, err := measure.Files(ctx, passes, measure.Options{})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	digests := make([]jail.Digest, 0, len(p.files))
	for i, s := range sums {
		digests = append(digests, jail.Digest{
			ID: i, SHA256: s.Flat, HasSHA256: s.HasFlat, FSVerity: s.FSVerity, HasFSVerity: s.HasFSVerity,
			Size: s.Size, Protection: cer.ProtectionSealed,
		})
	}
	return p.Components(digests, nil)
}

// pass measures one file where it is, for the digests that a copy of it gets.
func (f *planned) pass() (measure.File, error) {
	h, err := measure.OpenFile(f.source)
	if err != nil {
		return measure.File{}, err
	}
	size := h.Size()
	wanted := measure.Wanted{FSVerity: f.verity, Flat: measure.FlatSmall}
	if f.flat || !f.verity {
		wanted.Flat = measure.FlatAlways
	}
	return measure.File{
		Name: f.source, Size: size, Wanted: wanted,
		Open: func() (measure.Open, error) {
			h, err := measure.OpenFile(f.source)
			if err != nil {
				return measure.Open{}, err
			}
			return measure.Open{Source: h, Close: func() error { return errors.Join(h.Unchanged(), h.Close()) }}, nil
		},
	}, h.Close()
}

// digestsOf names the digests of a file as policies do.
func digestsOf(d *jail.Digest) []string {
	var out []string
	if d.HasFSVerity {
		out = append(out, cer.FSVerityDigest(d.FSVerity))
	}
	if d.HasSHA256 {
		out = append(out, cer.SHA256Digest(d.SHA256))
	}
	return out
}

// Components returns the components of a launch in the order of the log, from
// the digests of the plan's files and what its root holds of its image, nil for what
// is in its manifest or description. The error wraps ErrUsage or ErrSignature.
func (p *Plan) Components(digests []jail.Digest, image *jail.Unpacked) ([]*cer.Component, error) {
	if p.launcher == nil {
		return nil, fmt.Errorf("nothing says which enclave the launcher is: %w", ErrUsage)
	}
	if len(digests) != len(p.files) {
		return nil, fmt.Errorf("%d digests for %d files: %w", len(digests), len(p.files), ErrUsage)
	}
	out := []*cer.Component{p.launcher}
	if p.image != nil {
		if image != nil && image.Digest != p.image.digest {
			return nil, fmt.Errorf("the job's root holds another image: %w", ErrUsage)
		}
		out = append(out, p.imageComponent())
	}
	for i, f := range p.files {
		if digests[i].ID != i {
			return nil, fmt.Errorf("digests out of order: %w", ErrUsage)
		}
		out = append(out, &cer.Component{
			Role: f.role, Name: f.name, Path: f.target, Digest: digestsOf(&digests[i]),
			Size: fmt.Sprint(digests[i].Size), Protection: digests[i].Protection, Described: described(digests[i].Described),
		})
	}
	volumes, err := p.volumeComponents()
	if err != nil {
		return nil, err
	}
	out = append(out, volumes...)
	model, err := p.modelComponents(out)
	if err != nil {
		return nil, err
	}
	out = append(out, model...)
	argv, err := cer.NewArgv(p.job.Command)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	out = append(out, argv)
	for _, e := range p.env {
		name, value, _ := strings.Cut(e, "=")
		c, err := cer.NewEnv(name, value)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUsage, err)
		}
		out = append(out, c)
	}
	limits, err := p.limits()
	return append(out, limits...), err
}

// limits returns the components of the limits that are set: a job that lacks
// descriptors or memory may go on without what it was given, so a policy has to
// list them.
func (p *Plan) limits() ([]*cer.Component, error) {
	var out []*cer.Component
	for _, l := range []struct {
		name  string
		value uint64
	}{
		{"address_space", p.job.Limits.AddressSpace},
		{"cpu_seconds", p.job.Limits.CPUSeconds},
		{"file_size", p.job.Limits.FileSize},
		{"memory", p.job.Limits.Memory},
		{"open_files", p.job.Limits.OpenFiles},
		{"processes", p.job.Limits.Processes},
	} {
		if l.value == 0 {
			continue
		}
		c, err := cer.NewLimit(l.name, l.value)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUsage, err)
		}
		out = append(out, c)
	}
	return out, nil
}
