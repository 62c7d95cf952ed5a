//go:build linux

package jail

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

// State says whether a fact holds: "yes", "no" (not tried in this mode), or
// "refused:" and the name of the errno ("refused:EPERM"). The empty State, its
// zero value, is never recorded and never counts as yes.
type State string

// The two States that carry no errno.
const (
	Yes State = "yes"
	No  State = "no"
)

// refusedPrefix starts a State that carries an errno.
const refusedPrefix = "refused:"

// Refused returns the State of a fact that failed with err: the errno's name,
// or EIO when err holds no errno.
func Refused(err error) State {
	if errno, ok := errors.AsType[unix.Errno](err); ok {
		if name := unix.ErrnoName(errno); name != "" {
			return State(refusedPrefix + name)
		}
	}
	return refusedPrefix + "EIO"
}

// stateOf returns Yes for a nil error, and else Refused.
func stateOf(err error) State {
	if err == nil {
		return Yes
	}
	return Refused(err)
}

// Errno returns the errno's name of a refused State, and else "".
func (s State) Errno() string {
	name, found := strings.CutPrefix(string(s), refusedPrefix)
	if !found {
		return ""
	}
	return name
}

// Fact is one named State.
type Fact struct {
	// Name is the fact's name in lower case, as in the JSON of Isolation.
	Name string `json:"name"`
	// State says whether it holds.
	State State `json:"state"`
}

// Isolation lists the facts that hold for a job, as read back from the kernel
// before the job's execution. Its JSON is a closed set of members.
type Isolation struct {
	// Mode is "closed", or "open" for a run without namespaces.
	Mode string `json:"mode"`
	// ClosedRoot: the job's root is a private tmpfs with nothing but the measured
	// files and what the fields below name.
	ClosedRoot State `json:"closed_root"`
	// ReadOnlyRoot: that root, /scratch apart, is mounted read-only.
	ReadOnlyRoot State `json:"read_only_root"`
	// The namespaces that are the job's own. A user namespace is "no" where root
	// did not need one.
	MountNS State `json:"mount_ns"`
	PIDNS   State `json:"pid_ns"`
	IPCNS   State `json:"ipc_ns"`
	UTSNS   State `json:"uts_ns"`
	NetNS   State `json:"net_ns"`
	UserNS  State `json:"user_ns"`
	// Network is "none" (an empty network namespace and no vsock) or "host".
	Network string `json:"network"`
	// OwnUID: the job's uid and gid are its own, not the launcher's.
	OwnUID State `json:"own_uid"`
	// UID and GID are the job's, as the host sees them.
	UID int `json:"uid"`
	GID int `json:"gid"`
	// GroupsDropped: the job has no supplementary groups.
	GroupsDropped State `json:"groups_dropped"`
	// NoNewPrivs: PR_SET_NO_NEW_PRIVS is set.
	NoNewPrivs State `json:"no_new_privs"`
	// CapsDropped: the effective, permitted, inheritable, ambient and bounding
	// sets are empty.
	CapsDropped State `json:"caps_dropped"`
	// Seccomp: a filter refuses sockets other than unix, inet and netlink ones
	// (vsock among them), new user namespaces, mounts, keyrings, io_uring, bpf,
	// perf events, userfaultfd and system calls of a foreign ABI.
	Seccomp State `json:"seccomp"`
	// Landlock: a ruleset lets the job read and execute its root, write to
	// /scratch, and open its devices; and where the kernel knows how, neither use
	// TCP nor signal processes that are not its own.
	Landlock State `json:"landlock"`
	// Cgroup: the job is in a control group of its own, which is killed as a whole
	// at its end.
	Cgroup State `json:"cgroup"`
	// Keyring: the job has a new, empty session keyring.
	Keyring State `json:"keyring"`
	// NoCore: RLIMIT_CORE is 1 byte, which stops core files and piped core
	// handlers alike.
	NoCore State `json:"no_core"`
	// InitNonDumpable and LauncherNonDumpable: no ptrace, /proc/PID/mem or core
	// of the job's init and of the launcher that called Start.
	InitNonDumpable     State `json:"init_non_dumpable"`
	LauncherNonDumpable State `json:"launcher_non_dumpable"`
	// NoSwap: the root's tmpfs is never swapped out ("noswap", Linux 6.4, not in
	// a user namespace).
	NoSwap State `json:"noswap"`
	// Locked: the copies in the root are locked into memory by mlock(2). It is
	// tried only where NoSwap is refused.
	Locked State `json:"locked"`
	// Devices are the devices the job can open ("null", "urandom", and those that
	// the Spec names), or "host" in an open run.
	Devices []string `json:"devices"`
	// DeviceNumbers are the kinds and numbers of those that the Spec names but for
	// null and urandom, in their order, such as "c195:0".
	DeviceNumbers []string `json:"device_numbers,omitempty"`
	// DevicesBy is how they were made: "bind", "mknod" or "host".
	DevicesBy string `json:"devices_by"`
	// Proc says whether there is a /proc.
	Proc State `json:"proc"`
	// SealedProgram: an open run executes the program from a sealed memfd. In the
	// closed root the program is a file of it, and this is "no".
	SealedProgram State `json:"sealed_program"`
	// KillOnEnd: everything the job started is killed at its end by its PID
	// namespace; "no" in an open run, where init kills what it finds.
	KillOnEnd State `json:"kill_on_end"`
}

// Missing returns the facts that strict isolation demands and that do not hold.
// Demanded is everything that a record can say of the closed root, except that a
// user namespace, /proc and the sealed program are matters of the way taken, and
// that of NoSwap and Locked, which serve the same end, one is enough: it is
// reported as "noswap".
// The launcher's own memory lock is not a fact of the job: see Harden.
func (i *Isolation) Missing() []Fact {
	memory := i.NoSwap
	if i.Locked == Yes {
		memory = Yes
	}
	network := No
	if i.Network == "none" {
		network = Yes
	}
	var missing []Fact
	for _, f := range []Fact{
		{"closed_root", i.ClosedRoot},
		{"read_only_root", i.ReadOnlyRoot},
		{"mount_ns", i.MountNS},
		{"pid_ns", i.PIDNS},
		{"ipc_ns", i.IPCNS},
		{"uts_ns", i.UTSNS},
		{"net_ns", i.NetNS},
		{"network", network},
		{"own_uid", i.OwnUID},
		{"groups_dropped", i.GroupsDropped},
		{"no_new_privs", i.NoNewPrivs},
		{"caps_dropped", i.CapsDropped},
		{"seccomp", i.Seccomp},
		{"landlock", i.Landlock},
		{"cgroup", i.Cgroup},
		{"keyring", i.Keyring},
		{"no_core", i.NoCore},
		{"init_non_dumpable", i.InitNonDumpable},
		{"launcher_non_dumpable", i.LauncherNonDumpable},
		{"noswap", memory},
		{"kill_on_end", i.KillOnEnd},
	} {
		if f.State != Yes {
			missing = append(missing, f)
		}
	}
	return missing
}
