//go:build linux

package launch

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/launch/jail"
)

// measureLauncher hashes the launcher's own executable.
func (p *Plan) measureLauncher() error {
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
// returns the components a launch would measure. The error wraps ErrUsage.
func (p *Plan) Measure() ([]*cer.Component, error) {
	digests := make([]jail.Digest, 0, len(p.files))
	for i, f := range p.files {
		sum, size, err := HashFile(f.source)
		if err != nil {
			return nil, err
		}
		digests = append(digests, jail.Digest{ID: i, SHA256: sum, Size: size})
	}
	return p.Components(digests, cer.ProtectionSealed)
}

// Components returns the components of a launch in the order of the log, from
// the digests of the plan's files. The error wraps ErrUsage.
func (p *Plan) Components(digests []jail.Digest, protection string) ([]*cer.Component, error) {
	if len(digests) != len(p.files) {
		return nil, fmt.Errorf("%d digests for %d files: %w", len(digests), len(p.files), ErrUsage)
	}
	out := []*cer.Component{p.launcher}
	for i, f := range p.files {
		if digests[i].ID != i {
			return nil, fmt.Errorf("digests out of order: %w", ErrUsage)
		}
		out = append(out, &cer.Component{
			Role: f.role, Name: f.name, Path: f.target, Digest: []string{cer.SHA256Digest(digests[i].SHA256)},
			Size: fmt.Sprint(digests[i].Size), Protection: protection,
		})
	}
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

// isolationFacts flattens an isolation into the facts of its event, under the
// names of its JSON.
func isolationFacts(i jail.Isolation) []cer.Fact {
	b, err := json.Marshal(i)
	if err != nil {
		return nil
	}
	var m map[string]any
	if json.Unmarshal(b, &m) != nil {
		return nil
	}
	var out []cer.Fact
	for name, v := range m {
		switch v := v.(type) {
		case string:
			out = append(out, cer.Fact{Name: name, Value: v})
		case float64:
			out = append(out, cer.Fact{Name: name, Value: fmt.Sprintf("%.0f", v)})
		case []any:
			var words []string
			for _, w := range v {
				words = append(words, fmt.Sprint(w))
			}
			out = append(out, cer.Fact{Name: name, Value: strings.Join(words, " ")})
		}
	}
	return cer.NewEnvironment(cer.KindIsolation, out).Facts
}

// environments returns the environment events of the launch.
func (l *launch) environments(hardened []jail.Fact) []*cer.Environment {
	out := []*cer.Environment{
		{Kind: cer.KindIsolation, Facts: l.isolation},
		cer.NewEnvironment(cer.KindMemory, memoryFacts(hardened)),
		cer.NewEnvironment(cer.KindLimits, l.limitFacts()),
		cer.NewEnvironment(cer.KindParameters, l.o.Plan.job.Params),
		cer.NewEnvironment(cer.KindHost, hostFacts()),
	}
	if len(l.o.Nonce) > 0 {
		out = append(out, cer.NewEnvironment(cer.KindNonce, []cer.Fact{{Name: "nonce", Value: hex.EncodeToString(l.o.Nonce)}}))
	}
	return out
}

// limitFacts are the job's limits, 0 for what the launcher left as it was.
func (l *launch) limitFacts() []cer.Fact {
	m := l.o.Plan.job.Limits
	return []cer.Fact{
		{Name: "address_space", Value: fmt.Sprint(m.AddressSpace)},
		{Name: "cpu_seconds", Value: fmt.Sprint(m.CPUSeconds)},
		{Name: "file_size", Value: fmt.Sprint(m.FileSize)},
		{Name: "open_files", Value: fmt.Sprint(m.OpenFiles)},
		{Name: "processes", Value: fmt.Sprint(m.Processes)},
		{Name: "timeout_ms", Value: fmt.Sprint(l.o.Timeout.Milliseconds())},
	}
}

// readLine returns the first line of a small kernel file; ok is false if there
// is none.
func readLine(name string) (line string, ok bool) {
	b, err := os.ReadFile(name)
	if err != nil {
		return "", false
	}
	line, _, _ = strings.Cut(string(b), "\n")
	return strings.ToValidUTF8(strings.TrimSpace(line), "?"), true
}

// MemoryFacts are what keeps memory from leaving the machine, as the kernel
// shows it now: active swap other than zram, hibernation asked for by the
// kernel's command line, a loaded kexec image, the core pattern.
func MemoryFacts() []cer.Fact {
	facts := []cer.Fact{{Name: "swap", Value: swapFact()}, {Name: "hibernation", Value: "none"}, {Name: "kexec_loaded", Value: "no"}}
	cmdline, ok := readLine("/proc/cmdline")
	if !ok {
		facts[1].Value = "unknown"
	}
	for w := range strings.FieldsSeq(cmdline) {
		if strings.HasPrefix(w, "resume=") {
			facts[1].Value = w
		}
	}
	if v, err := os.ReadFile("/sys/kernel/kexec_loaded"); err == nil && strings.TrimSpace(string(v)) != "0" {
		facts[2].Value = "yes"
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		facts[2].Value = "unknown"
	}
	pattern, _ := readLine("/proc/sys/kernel/core_pattern")
	return append(facts, cer.Fact{Name: "core_pattern", Value: pattern})
}

func memoryFacts(hardened []jail.Fact) []cer.Fact {
	facts := MemoryFacts()
	for _, h := range hardened {
		facts = append(facts, cer.Fact{Name: h.Name, Value: string(h.State)})
	}
	return facts
}

// swapFact names the active swap areas: "none", "zram" if all are zram, else
// their paths.
func swapFact() string {
	b, err := os.ReadFile("/proc/swaps")
	if errors.Is(err, os.ErrNotExist) {
		return "none" // a kernel without swap
	}
	if err != nil {
		return "unknown"
	}
	var areas []string
	zram := true
	for i, line := range strings.Split(strings.TrimSpace(string(b)), "\n") {
		if f := strings.Fields(line); i > 0 && len(f) > 0 {
			areas = append(areas, strings.ToValidUTF8(f[0], "?"))
			zram = zram && strings.HasPrefix(f[0], "/dev/zram")
		}
	}
	switch {
	case len(areas) == 0:
		return "none"
	case zram:
		return "zram"
	default:
		return strings.Join(areas, " ")
	}
}

// hostFacts describe the kernel as it names itself.
func hostFacts() []cer.Fact {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return nil
	}
	text := func(b [65]byte) string { return strings.ToValidUTF8(unix.ByteSliceToString(b[:]), "?") }
	facts := []cer.Fact{
		{Name: "kernel_release", Value: text(u.Release)},
		{Name: "kernel_version", Value: text(u.Version)},
		{Name: "machine", Value: text(u.Machine)},
	}
	for name, file := range map[string]string{
		"yama_ptrace_scope": "/proc/sys/kernel/yama/ptrace_scope",
		"lockdown":          "/sys/kernel/security/lockdown",
	} {
		v, ok := readLine(file)
		if !ok {
			v = "unknown"
		}
		facts = append(facts, cer.Fact{Name: name, Value: v})
	}
	return facts
}
