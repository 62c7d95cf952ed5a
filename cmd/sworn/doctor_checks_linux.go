package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/enroll"
)

// The value of a fact that holds.
const factHolds = "yes"

// need is a check and the facts of isolation and memory that it wants, as
// docs/SPEC.md, section 8, has them.
type need struct {
	check string
	facts map[string][]string
}

// needs returns the checks that depend on what the kernel lets this user do.
func needs() []need {
	yes := func(names ...string) map[string][]string {
		m := map[string][]string{}
		for _, n := range names {
			m[n] = []string{factHolds}
		}
		return m
	}
	exclusive := yes("closed_root", "mount_ns", "pid_ns", "ipc_ns", "net_ns", "no_new_privs", "caps_dropped",
		"init_non_dumpable", "launcher_non_dumpable")
	memory := yes("no_core", "init_non_dumpable", "launcher_non_dumpable")
	memory["swap"], memory["hibernation"], memory["kexec_loaded"] = []string{"none", "zram"}, []string{"none"}, []string{"no"}
	return []need{
		{"log.sole", exclusive},
		{"launcher.exclusive", exclusive},
		{"components.closed", yes("closed_root", "read_only_root")},
		{"protection.storage", yes("closed_root")},
		{"protection.memory", memory},
		{"compute.inside", map[string][]string{"network": {"none"}, "devices": {"null urandom", "null", ""}}},
	}
}

// neededBy says which checks want a fact of isolation.
func neededBy(fact string) string {
	var ids []string
	for _, n := range needs() {
		if n.facts[fact] != nil {
			ids = append(ids, n.check)
		}
	}
	switch {
	case fact == "own_uid":
		return " (a user namespace serves the checks as well)"
	case len(ids) == 0:
		return " (no check wants it, only --isolation strict)"
	}
	return " (wanted by " + strings.Join(ids, ", ") + ")"
}

// findChecks says of each check that depends on this machine and this user
// whether a record made here can pass it, and what would change that.
func (d *diagnosis) findChecks() []finding {
	var out []finding
	if d.tee != "" {
		out = d.findTEEChecks()
	} else {
		out = []finding{d.checkIdentity(), d.checkOrigin()}
		for _, n := range needs() {
			out = append(out, d.checkNeed(&n))
		}
		out = append(out, d.checkBooted("slot.measurement"), d.checkBooted("launcher.rooted"))
	}
	return append(out, finding{Name: "check time.token", Found: "never passes in this version", Change: "sworn explain time.token"})
}

// readBoot reads the logs of what booted.
func (d *diagnosis) readBoot(ctx context.Context, r attest.BootReader) {
	log, err := r.EventLog(ctx)
	list, listErr := r.FileList(ctx, nil)
	d.bootLog, d.fileList, d.bootError = len(log), len(list), errors.Join(err, listErr)
}

// checkBooted: the logs of what booted must be there to be held against a policy.
func (d *diagnosis) checkBooted(id string) finding {
	f := finding{Name: "check " + id, Change: "sworn explain " + id}
	switch {
	case d.tpmError != nil:
		f.Found, f.Change = "no TPM", tpmChange("", d.tpmError)
	case d.bootError != nil && d.uid != 0:
		f.Found, f.Change = "the logs of what booted cannot be read by this user", "run it as root"
	case d.bootError != nil:
		f.Found = "the logs of what booted cannot be read: " + d.bootError.Error()
	case d.bootLog == 0 && id == "slot.measurement":
		f.Found = "no event log of the firmware is kept for this TPM: a policy can compare registers, and nothing else"
	case d.bootLog == 0:
		f.Found = "no event log of the firmware is kept for this TPM"
	default:
		f.OK, f.Found = true, fmt.Sprintf("a firmware's event log of %d bytes", d.bootLog)
		if d.fileList > 0 {
			f.Found += fmt.Sprintf(" and a list of measured files of %d", d.fileList)
		}
		f.Found += ", for a policy made by policy from-boot"
	}
	return f
}

// checkIdentity: somebody must vouch for the quoting key.
func (d *diagnosis) checkIdentity() finding {
	f := finding{Name: "check slot.identity", Change: "sworn enroll --help"}
	switch {
	case d.tpmError != nil:
		f.Found, f.Change = "no TPM", tpmChange("", d.tpmError)
	case d.enrolled():
		f.OK, f.Found = true, "the state folder has an enrolled key; whether it is this TPM's, a launch says, and whether its CA is trusted, --roots"
	case !d.provider:
		f.Found = "nobody vouches for the key: none in NV has a certificate"
	default:
		f.OK, f.Found = true, "the key in NV has a certificate; whether its issuer is trusted, --roots says"
	}
	return f
}

// enrolled reports whether a launch would use a key from the state folder.
func (d *diagnosis) enrolled() bool {
	if d.state == "" {
		return false
	}
	k, err := enroll.Load(d.state)
	return err == nil && k != nil
}

// checkOrigin: a TPM's register must be zero, or a log must say how it came to be
// what it is.
func (d *diagnosis) checkOrigin() finding {
	if d.tpmError != nil {
		return finding{Name: "check log.origin", Found: "no TPM", Change: tpmChange("", d.tpmError)}
	}
	return d.originOf("PCR", d.flags.pcr, "reboot (or restart the software TPM); or --pcr with a register that is zero")
}

// originOf judges the register with that number.
func (d *diagnosis) originOf(kind string, register uint32, change string) finding {
	f := finding{Name: "check log.origin", Change: change}
	log := filepath.Join(d.state, fmt.Sprintf("%x-%d-%d-pcr%d", d.life.Identity[:16],
		d.life.Counters.ResetCount, d.life.Counters.RestartCount, register), "log")
	_, err := os.Stat(log)
	zero := !slices.ContainsFunc(d.start, func(v attest.RegisterValue) bool {
		return slices.ContainsFunc(v.Value, func(b byte) bool { return b != 0 })
	})
	switch {
	case zero:
		f.OK, f.Found = true, fmt.Sprintf("%s %d is zero", kind, register)
	case d.state != "" && err == nil:
		f.OK, f.Found = true, fmt.Sprintf("%s %d is not zero, and %s says why", kind, register, log)
	default:
		f.Found = fmt.Sprintf("%s %d is not zero, and no log in the state folder says why", kind, register)
	}
	return f
}

// checkNeed judges one check by the facts it wants.
func (d *diagnosis) checkNeed(n *need) finding {
	f := finding{Name: "check " + n.check}
	if d.jobError != nil {
		f.Found, f.Change = "no job can be isolated here", d.isolationChange("closed_root")
		return f
	}
	var bad []string
	for name, want := range n.facts {
		v, ok := d.facts[name]
		if !ok {
			v = d.memory[name]
		}
		if !slices.Contains(want, v) {
			bad = append(bad, fmt.Sprintf("%s is %q", name, v))
			f.Change = d.factChange(name)
		}
	}
	// The checks that want the job apart from the launcher take either way.
	if n.facts["caps_dropped"] != nil && d.facts["own_uid"] != factHolds && d.facts["user_ns"] != factHolds {
		bad, f.Change = append(bad, "neither own_uid nor user_ns holds"), d.isolationChange("own_uid")
	}
	if n.check == "protection.memory" && strings.HasPrefix(d.memory["core_pattern"], "@") {
		bad, f.Change = append(bad, "core_pattern sends memory to a socket"), d.factChange("core_pattern")
	}
	slices.Sort(bad)
	f.OK, f.Found = len(bad) == 0, strings.Join(bad, ", ")
	if f.OK {
		f.Found, f.Change = "can pass", ""
	}
	return f
}

// factChange names the one command that changes a fact.
func (d *diagnosis) factChange(name string) string {
	for _, f := range d.findMemory() {
		if f.Name == name {
			return f.Change
		}
	}
	return d.isolationChange(name)
}
