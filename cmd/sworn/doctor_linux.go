package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/launch"
	"github.com/sworn-run/sworn/internal/launch/jail"
	"github.com/sworn-run/sworn/tpm/tpmdev"
)

// doctorFlags are the flags of `sworn doctor`.
type doctorFlags struct {
	tpm, state string
	pcr        uint32
	json       bool
}

// diagnosis is what doctor found out, and what its findings about checks rest
// on.
type diagnosis struct {
	flags doctorFlags
	// root is the folder that stands for "/" when hardware is looked for.
	root string
	// uid is the user who asks.
	uid int
	// tpmError says why the TPM cannot be used; provider, whether its key is
	// certified in NV; start, what the register holds in each bank.
	tpmError error
	provider bool
	life     attest.Life
	start    []attest.RegisterValue
	// tee is the kind of confidential VM that a launch would use instead of the TPM,
	// empty for none; teeError says why its register cannot be read. life and start are
	// then its own.
	tee      string
	teeError error
	// bootLog is the size of the firmware's event log, fileList that of the
	// kernel's list of measured files as far as it explains its register; both in
	// bytes, 0 for none. bootError says why they cannot be read.
	bootLog, fileList int
	bootError         error
	// jobError says why no job can be isolated; facts are those of one that was.
	jobError error
	facts    map[string]string
	memory   map[string]string
	state    string
}

// diagnose looks at everything doctor knows of.
func (a *app) diagnose(ctx context.Context, f doctorFlags) []finding {
	ctx, cancel := context.WithTimeout(ctx, 3*doctorTimeout)
	defer cancel()
	d := &diagnosis{flags: f, root: "/", uid: os.Geteuid(), facts: map[string]string{}, memory: map[string]string{}}
	out := []finding{d.findTPM(ctx)}
	out = append(out, d.findTEE(ctx)...)
	if d.tee != "" && !out[0].OK {
		out[0] = finding{Name: out[0].Name, Unused: true, Found: out[0].Found}
	}
	out = append(out, d.findHardware()...)
	out = append(out, findSWTPM())
	out = append(out, d.findIsolation(ctx)...)
	out = append(out, d.findMemory()...)
	out = append(out, d.findWeights()...)
	out = append(out, d.findState())
	return append(out, d.findChecks()...)
}

// findTPM opens the TPM and names its banks and its key's provenance.
func (d *diagnosis) findTPM(ctx context.Context) finding {
	addr := d.flags.tpm
	if addr == "" {
		addr = "/dev/tpmrm0"
	}
	f := finding{Name: "tpm " + addr}
	key := "an attestation key certified by its provider in NV"
	dev, err := tpmdev.Open(ctx, addr, tpmdev.Options{AK: tpmdev.Provider, Register: &d.flags.pcr})
	d.provider = err == nil
	if err != nil {
		key = "no certified attestation key in NV"
		dev, err = tpmdev.Open(ctx, addr, tpmdev.Options{AK: tpmdev.Child, Register: &d.flags.pcr})
	}
	if err != nil {
		d.tpmError = err
		f.Found, f.Change = err.Error(), tpmChange(addr, err)
		return f
	}
	defer dev.Close()
	banks, err := dev.Banks(ctx)
	if err == nil {
		d.life, err = dev.Life(ctx)
	}
	if err == nil {
		d.start, err = dev.Read(ctx)
		d.readBoot(ctx, dev)
	}
	if err != nil {
		d.tpmError = err
		f.Found = err.Error()
		return f
	}
	f.OK = true
	f.Found = fmt.Sprintf("TPM 2.0, firmware %016x, banks %v, %s", d.life.Counters.Firmware, banks, key)
	return f
}

// tpmChange names what would make a TPM usable.
func tpmChange(addr string, err error) string {
	device := strings.HasPrefix(addr, "/dev/")
	switch {
	case errors.Is(err, fs.ErrPermission) && device:
		return "sudo usermod -aG " + groupOf(addr) + " $USER, and log in again"
	case errors.Is(err, fs.ErrPermission):
		return "use it as the user that started it, or start one of your own: sworn simulate tpm --dir DIR --detach"
	case errors.Is(err, tpmdev.ErrBusy):
		return "end the program that holds it, or use /dev/tpmrm0, which several can"
	case errors.Is(err, tpmdev.ErrUsage):
		return "--tpm /dev/tpmrm0, unix:PATH or tcp:HOST:PORT, and --pcr 0 to 15"
	default:
		return "sworn simulate tpm --dir /tmp/tpm --detach, then --tpm unix:/tmp/tpm/tpm.sock"
	}
}

// groupOf names the group of a device.
func groupOf(name string) string {
	const usual = "tss"
	st, err := os.Stat(name)
	if err != nil {
		return usual
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok || sys.Gid == 0 {
		return usual
	}
	if g, err := user.LookupGroupId(strconv.FormatUint(uint64(sys.Gid), 10)); err == nil {
		return g.Name
	}
	return usual
}

// findHardware looks for further roots of trust. This version launches with none
// of them: it says so, and nobody takes what is there for what counts.
func (d *diagnosis) findHardware() []finding {
	var out []finding
	var none []string
	for _, h := range []struct {
		what  string
		paths []string
	}{
		{"Intel SGX", []string{"dev/sgx_enclave", "dev/sgx/enclave", "dev/sgx_provision"}},
		{"AWS Nitro", []string{"dev/nsm"}},
	} {
		i := slices.IndexFunc(h.paths, func(p string) bool {
			_, err := os.Lstat(filepath.Join(d.root, p))
			return err == nil
		})
		if i < 0 {
			none = append(none, h.what)
			continue
		}
		out = append(out, finding{Name: h.what, Unused: true, Found: "/" + h.paths[i] + " is there; not used by this version"})
	}
	if len(none) > 0 {
		out = append(out, finding{Name: "other hardware", Unused: true, Found: "not found: " + strings.Join(none, ", ") + "; not used by this version"})
	}
	return out
}

func findSWTPM() finding {
	f := finding{Name: "swtpm", Change: "sudo apt-get install swtpm swtpm-tools"}
	path, err := exec.LookPath("swtpm")
	f.OK, f.Found = err == nil, path
	if err != nil {
		f.Found = "not installed (needed for sworn simulate tpm only)"
	}
	return f
}

// findIsolation runs a trivial job and reports every fact of its isolation.
func (d *diagnosis) findIsolation(ctx context.Context) []finding {
	exe, err := os.Executable()
	if err != nil {
		d.jobError = err
		return []finding{{Name: "isolation", Found: err.Error()}}
	}
	// As `sworn run` does before it starts a job.
	_ = jail.Harden()
	c := jail.Command{Path: "/true", Argv: []string{"true"}}
	j, err := jail.Start(ctx, jail.Spec{
		Files: []jail.File{{Source: exe, Target: "/true", Executable: true}}, Command: c, Timeout: doctorTimeout,
	})
	if err != nil {
		d.jobError = err
		return []finding{{Name: "isolation", Found: err.Error(), Change: d.isolationChange("closed_root")}}
	}
	defer j.Close()
	out := []finding{{Name: "closed root", OK: true, Found: "the job gets a root of its own that holds only measured files"}}
	i := j.Isolation()
	d.facts = factsOf(i)
	missing := i.Missing()
	for _, m := range missing {
		out = append(out, finding{Name: m.Name, Found: string(m.State) + neededBy(m.Name), Change: d.isolationChange(m.Name)})
	}
	if len(missing) == 0 {
		out = append(out, finding{Name: "isolation", OK: true, Found: "every fact of --isolation strict holds"})
	}
	return out
}

// factsOf returns the facts of an isolation by their names.
func factsOf(i jail.Isolation) map[string]string {
	out, all := map[string]string{}, map[string]any{}
	b, err := json.Marshal(i)
	if err != nil || json.Unmarshal(b, &all) != nil {
		return out
	}
	for name, v := range all {
		if list, ok := v.([]any); ok {
			v = strings.Trim(fmt.Sprint(list), "[]")
		}
		out[name] = fmt.Sprint(v)
	}
	return out
}

// isolationChange names the one command that would make an isolation fact hold:
// where the kernel was told to refuse user namespaces, what tells it otherwise.
func (d *diagnosis) isolationChange(fact string) string {
	if d.uid == 0 && fact == "closed_root" {
		return "give the container CAP_SYS_ADMIN: docker run --cap-add SYS_ADMIN --security-opt seccomp=unconfined …"
	}
	if fact == "closed_root" {
		for _, s := range []struct{ name, refuses, allow string }{
			{"kernel/unprivileged_userns_clone", "0", "sudo sysctl kernel.unprivileged_userns_clone=1"},
			{"kernel/apparmor_restrict_unprivileged_userns", "1", "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0"},
			{"user/max_user_namespaces", "0", "sudo sysctl user.max_user_namespaces=10000"},
		} {
			b, err := os.ReadFile(filepath.Join(d.root, "proc/sys", s.name))
			if err == nil && strings.TrimSpace(string(b)) == s.refuses {
				return s.allow
			}
		}
	}
	switch {
	case fact == "noswap":
		return "sudo sworn run …, on Linux 6.4 or later"
	case fact == "landlock":
		return "boot a kernel of 5.13 or later with landlock among the modules of lsm="
	case fact == "cgroup" && d.uid == 0:
		return "mount control groups of version 2, writable: mount -t cgroup2 none /sys/fs/cgroup"
	}
	return "sudo sworn run …"
}

func (d *diagnosis) findMemory() []finding {
	var out []finding
	for _, m := range launch.MemoryFacts() {
		d.memory[m.Name] = m.Value
		switch m.Name {
		case "swap":
			ok := m.Value == "none" || m.Value == "zram"
			out = append(out, finding{Name: "swap", OK: ok, Found: m.Value, Change: "sudo swapoff -a"})
		case "hibernation":
			out = append(out, finding{Name: m.Name, OK: m.Value == "none", Found: m.Value, Change: "boot without " + m.Value})
		case "kexec_loaded":
			out = append(out, finding{Name: m.Name, OK: m.Value == "no", Found: m.Value, Change: "sudo kexec -u"})
		case "core_pattern":
			ok := !strings.HasPrefix(m.Value, "@")
			out = append(out, finding{Name: m.Name, OK: ok, Found: m.Value, Change: "sudo sysctl kernel.core_pattern=core"})
		}
	}
	return out
}

func (d *diagnosis) findState() finding {
	f := finding{Name: "state folder", Change: "--state $HOME/.local/state/sworn, or another folder of your own"}
	dir, err := stateDir(d.flags.state)
	if err != nil {
		f.Found = strings.TrimSpace(err.Error())
		return f
	}
	f.Found, d.state = dir, dir
	err = os.MkdirAll(dir, 0o700)
	if err == nil {
		var t *os.File
		if t, err = os.CreateTemp(dir, ".doctor-*"); err == nil {
			_ = t.Close()
			_ = os.Remove(t.Name())
		}
	}
	f.OK = err == nil
	if err != nil {
		f.Found += ": " + err.Error()
	}
	return f
}
