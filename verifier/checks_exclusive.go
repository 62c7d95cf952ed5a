package verifier

import (
	"fmt"
	"slices"

	"github.com/sworn-run/sworn/cer"
)

// exclusiveFacts are the isolation facts without which a job might quote,
// extend, or read its launcher's memory.
func exclusiveFacts() []string {
	return []string{
		"closed_root", "mount_ns", "pid_ns", "ipc_ns", "net_ns", "no_new_privs", "caps_dropped",
		"own_uid_or_user_ns", "init_non_dumpable", "launcher_non_dumpable",
	}
}

// exclusive says which fact of an isolation does not hold, or nothing. A policy
// that lets the job have a network lets it have the machine's.
func (a *appraisal) exclusive(isolation *cer.Environment) string {
	if isolation == nil {
		return "the isolation is withheld or missing"
	}
	if isolation.Inside() {
		return a.exclusiveInside(isolation)
	}
	for _, name := range exclusiveFacts() {
		if name == "own_uid_or_user_ns" {
			uid, _ := isolation.Get("own_uid")
			ns, _ := isolation.Get("user_ns")
			if uid != factYes && ns != factYes {
				return fmt.Sprintf("own_uid is %q and user_ns is %q", uid, ns)
			}
			continue
		}
		if v, _ := isolation.Get(name); v != factYes && (name != "net_ns" || a.in.Policy == nil || !a.in.Policy.Network) {
			return fmt.Sprintf("%s is %q", name, v)
		}
	}
	devices, ok := isolation.Get("devices")
	if !ok {
		return "devices are not recorded"
	}
	for _, d := range cer.Devices(devices) {
		if !cer.PlainDevice(d) || cer.LauncherDevice(d) {
			return fmt.Sprintf("the job could open device %q", d)
		}
	}
	numbers, _ := isolation.Get("device_numbers")
	named, err := cer.NamedDevices(devices, numbers)
	if err != nil {
		return err.Error()
	}
	for _, d := range named {
		if d.Launcher() {
			return fmt.Sprintf("the job could open device %q, which is %s", d.Name, d.Number())
		}
	}
	return ""
}

// exclusiveInside is exclusive for a job within the launcher's process, which nothing but
// the engine of WebAssembly keeps from the launch key. That is enough only where there can
// be nothing else, in an enclave.
func (a *appraisal) exclusiveInside(isolation *cer.Environment) string {
	if !a.program() {
		return "the job ran in the launcher's process, and no evidence is of an enclave, where there is no other"
	}
	for _, want := range []cer.Fact{{Name: "closed_root", Value: factYes}, {Name: "read_only_root", Value: factYes}, {Name: "network", Value: "none"}, {Name: "devices"}} {
		if v, ok := isolation.Get(want.Name); !ok || v != want.Value {
			return fmt.Sprintf("%s is %q", want.Name, v)
		}
	}
	return ""
}

// program reports whether a slot's evidence is of a program by itself, which then is the
// launcher: of an enclave.
func (a *appraisal) program() bool {
	return slices.ContainsFunc(a.slots, func(s slotResult) bool { return s.desc.Program })
}

func checkLauncherExclusive(a *appraisal) outcome {
	if a.own == nil || a.launchErr != nil {
		return unknown("the launch cannot be read")
	}
	if problem := a.exclusive(a.environments[cer.KindIsolation]); problem != "" {
		return failed(problem)
	}
	if a.environments[cer.KindIsolation].Inside() {
		return passed("the job was a WebAssembly module in the enclave, which got its files and streams and nothing else (the launcher's word)")
	}
	return passed("closed root, own namespaces, no privileges, no trace (the launcher's word)")
}
