package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/sworn-run/sworn/internal/launch"
	"github.com/sworn-run/sworn/internal/launch/jail"
	"github.com/sworn-run/sworn/tpm/tpmdev"
)

// diagnose looks at everything doctor knows of.
func (a *app) diagnose(ctx context.Context, tpm string) []finding {
	ctx, cancel := context.WithTimeout(ctx, 3*doctorTimeout)
	defer cancel()
	out := []finding{findTPM(ctx, tpm), findSWTPM()}
	out = append(out, findIsolation(ctx)...)
	out = append(out, findMemory()...)
	return append(out, findState())
}

// findTPM opens the TPM and names its banks and its key's provenance.
func findTPM(ctx context.Context, addr string) finding {
	if addr == "" {
		addr = "/dev/tpmrm0"
	}
	f := finding{Name: "tpm " + addr}
	key := "an attestation key certified by its provider in NV"
	dev, err := tpmdev.Open(ctx, addr, tpmdev.Options{AK: tpmdev.Provider})
	if err != nil {
		key = "no certified attestation key in NV: slot.identity will not be established"
		dev, err = tpmdev.Open(ctx, addr, tpmdev.Options{AK: tpmdev.Child})
	}
	if err != nil {
		f.Found = err.Error()
		switch {
		case errors.Is(err, os.ErrPermission):
			f.Change = "add this user to the group of " + addr + ": usermod -aG tss $USER"
		case errors.Is(err, tpmdev.ErrBusy):
			f.Change = "end the program that holds it"
		default:
			f.Change = "sworn simulate tpm --dir /tmp/tpm --detach, then --tpm unix:/tmp/tpm/tpm.sock"
		}
		return f
	}
	defer dev.Close()
	banks, err := dev.Banks(ctx)
	if err != nil {
		f.Found = err.Error()
		return f
	}
	life, err := dev.Life(ctx)
	if err != nil {
		f.Found = err.Error()
		return f
	}
	f.OK = true
	f.Found = fmt.Sprintf("TPM 2.0, firmware %016x, banks %v, %s", life.Counters.Firmware, banks, key)
	return f
}

func findSWTPM() finding {
	f := finding{Name: "swtpm", Change: "apt-get install swtpm swtpm-tools"}
	path, err := exec.LookPath("swtpm")
	f.OK, f.Found = err == nil, path
	if err != nil {
		f.Found = "not installed (needed for sworn simulate tpm only)"
	}
	return f
}

// findIsolation runs a trivial job and reports every fact of its isolation.
func findIsolation(ctx context.Context) []finding {
	exe, err := os.Executable()
	if err != nil {
		return []finding{{Name: "isolation", Found: err.Error()}}
	}
	// As `sworn run` does before it starts a job.
	_ = jail.Harden()
	c := jail.Command{Path: "/true", Argv: []string{"true"}}
	j, err := jail.Start(ctx, jail.Spec{
		Files: []jail.File{{Source: exe, Target: "/true", Executable: true}}, Command: c, Timeout: doctorTimeout,
	})
	if err != nil {
		return []finding{{Name: "isolation", Found: err.Error(), Change: "run as root, or allow user namespaces: sysctl kernel.unprivileged_userns_clone=1"}}
	}
	defer j.Close()
	out := []finding{{Name: "closed root", OK: true, Found: "the job gets a root of its own that holds only measured files"}}
	i := j.Isolation()
	missing := i.Missing()
	for _, m := range missing {
		out = append(out, finding{Name: m.Name, Found: string(m.State), Change: isolationChange(m)})
	}
	if len(missing) == 0 {
		out = append(out, finding{Name: "isolation", OK: true, Found: "every fact of --isolation strict holds"})
	}
	return out
}

// isolationChange names what would make an isolation fact hold.
func isolationChange(f jail.Fact) string {
	switch f.Name {
	case "own_uid", "groups_dropped":
		return "run sworn as root"
	case "noswap", "locked":
		return "run sworn as root on Linux 6.4 or later"
	default:
		return "run sworn as root"
	}
}

func findMemory() []finding {
	var out []finding
	for _, m := range launch.MemoryFacts() {
		switch m.Name {
		case "swap":
			ok := m.Value == "none" || m.Value == "zram"
			out = append(out, finding{Name: "swap", OK: ok, Found: m.Value, Change: "swapoff -a"})
		case "hibernation":
			out = append(out, finding{Name: m.Name, OK: m.Value == "none", Found: m.Value, Change: "boot without " + m.Value})
		case "kexec_loaded":
			out = append(out, finding{Name: m.Name, OK: m.Value == "no", Found: m.Value, Change: "kexec -u"})
		}
	}
	return out
}

func findState() finding {
	f := finding{Name: "state folder", Change: "--state DIR on a disk this user may write"}
	dir, err := stateDir("")
	if err != nil {
		f.Found = strings.TrimSpace(err.Error())
		return f
	}
	f.Found = dir
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
