//go:build linux

package launch

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/launch/jail"
)

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
		l.parameters(),
		cer.NewEnvironment(cer.KindHost, hostFacts()),
	}
	if len(l.o.Nonce) > 0 {
		out = append(out, cer.NewEnvironment(cer.KindNonce, []cer.Fact{{Name: "nonce", Value: hex.EncodeToString(l.o.Nonce)}}))
	}
	if e := l.o.Plan.wasmEnvironment(); e != nil {
		out = append(out, e)
	}
	if e := l.boot.environment(); e != nil {
		out = append(out, e)
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
		{Name: "memory", Value: fmt.Sprint(m.Memory)},
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
	_ = unix.Uname(&u) // what it does not say stays empty
	text := func(b [65]byte) string { return strings.ToValidUTF8(unix.ByteSliceToString(b[:]), "?") }
	facts := []cer.Fact{
		{Name: "kernel_release", Value: text(u.Release)},
		{Name: "kernel_version", Value: text(u.Version)},
		{Name: "machine", Value: text(u.Machine)},
	}
	return append(facts, stateFacts()...)
}

// stateFacts are what protects the kernel from root, as it says itself: whether
// modules must be signed or cannot be loaded at all, lockdown, and who may trace
// whom.
func stateFacts() []cer.Fact {
	var facts []cer.Fact
	for name, file := range map[string]string{
		"yama_ptrace_scope":  "/proc/sys/kernel/yama/ptrace_scope",
		"lockdown":           "/sys/kernel/security/lockdown",
		"module_sig_enforce": "/sys/module/module/parameters/sig_enforce",
		"modules_disabled":   "/proc/sys/kernel/modules_disabled",
	} {
		v, ok := readLine(file)
		if !ok {
			v = "unknown"
		}
		facts = append(facts, cer.Fact{Name: name, Value: v})
	}
	return facts
}

// afterFacts are the facts that are read again when the job has ended, in
// ascending order of their names.
func afterFacts() []cer.Fact {
	return cer.NewEnvironment(cer.KindHost, append(MemoryFacts(), stateFacts()...)).Facts
}
