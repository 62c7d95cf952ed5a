//go:build linux

package jail

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The uids and gids that jobs get: those that systemd takes for dynamic users,
// which no account has (systemd.io/UIDS-GIDS).
const (
	firstUID = 61184
	lastUID  = 65519
)

// logBytes is how much of init's standard error is kept for an error message.
const logBytes = 4096

// Jail is a job that is measured and prepared, or running. Its methods are for
// one goroutine; Close may be called from another.
type Jail struct {
	spec      Spec
	digests   []Digest
	input     *Digest
	image     *Unpacked
	isolation Isolation
	proc      *process
	ran       bool
}

// attempt is one way to get namespaces.
type attempt struct {
	name string
	cfg  func(*config)
	attr *syscall.SysProcAttr
	shim bool
}

// Start builds the job's root, measures the files into it and prepares the job,
// which does not run yet. It tries namespaces alone (root), then with a user
// namespace; where neither can be had, it prepares an open run if the Spec has
// one. The caller must Close the Jail. With an error nothing is left behind;
// when ctx ends before Start does, that error also wraps its cause.
func Start(ctx context.Context, spec Spec) (*Jail, error) {
	if err := spec.check(); err != nil {
		return nil, err
	}
	uid, err := randomUID()
	if err != nil {
		return nil, fmt.Errorf("%w: choosing a uid: %w", ErrLaunch, err)
	}
	var refused []error
	for _, a := range attempts(&spec, uid) {
		j, err := a.start(ctx, spec)
		if err == nil {
			return j, nil
		}
		if !errors.Is(err, ErrIsolation) || ctx.Err() != nil || errors.Is(err, errStrict) {
			return nil, err
		}
		refused = append(refused, fmt.Errorf("%s: %w", a.name, err))
	}
	return nil, errors.Join(refused...)
}

// randomUID chooses the uid, and gid, of a job.
func randomUID() (int, error) {
	var b [4]byte
	if _, err := rand.Read(b[:]); err != nil {
		return 0, err
	}
	return firstUID + int(binary.BigEndian.Uint32(b[:])%(lastUID-firstUID+1)), nil
}

// namespaces are those that a closed root has.
func namespaces(network bool) uintptr {
	const always = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS
	if network {
		return always
	}
	return always | unix.CLONE_NEWNET
}

// attempts lists the ways that this user has, best first.
func attempts(spec *Spec, uid int) []attempt {
	var list []attempt
	if !spec.ForceOpen {
		if os.Geteuid() == 0 {
			ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}, {ContainerID: uid, HostID: uid, Size: 1}}
			list = append(list, attempt{
				name: "namespaces",
				cfg:  func(c *config) { c.UID, c.GID = uid, uid },
				attr: &syscall.SysProcAttr{Cloneflags: namespaces(spec.Network)},
			}, attempt{
				name: "namespaces with a user namespace",
				cfg:  func(c *config) { c.UID, c.GID, c.UserNS = uid, uid, true },
				attr: &syscall.SysProcAttr{
					Cloneflags: namespaces(spec.Network) | unix.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids,
					GidMappingsEnableSetgroups: true,
				},
			})
		} else {
			list = append(list, attempt{
				name: "namespaces with a user namespace",
				cfg:  func(c *config) { c.UID, c.GID, c.UserNS = uid, uid, true },
				attr: &syscall.SysProcAttr{},
				shim: true,
			})
		}
	}
	if spec.Open != nil && !spec.Strict {
		list = append(list, attempt{
			name: "open run",
			cfg:  func(c *config) { c.Open, c.Command, c.UID, c.GID = true, *spec.Open, -1, -1 },
			attr: &syscall.SysProcAttr{},
		})
	}
	return list
}

// rootlessAttr are the attributes with which the shim starts init: the user's
// own uid and gid are the only ones of the user namespace, and init keeps there
// the capabilities it needs to set up mounts and to drop everything.
func rootlessAttr(network bool) *syscall.SysProcAttr {
	uid, gid := os.Geteuid(), os.Getegid()
	return &syscall.SysProcAttr{
		Cloneflags:  namespaces(network) | unix.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}},
		AmbientCaps: []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SETPCAP},
		Pdeathsig:   unix.SIGKILL,
	}
}

// start makes one attempt. An error that wraps ErrIsolation lets the next one be
// made.
func (a *attempt) start(ctx context.Context, spec Spec) (*Jail, error) {
	p, err := a.spawn(&spec)
	if err != nil {
		return nil, err
	}
	j := &Jail{spec: spec, proc: p}
	stop := context.AfterFunc(ctx, p.kill)
	defer stop()
	if err = j.prepare(a); err == nil {
		err = j.judge()
	}
	if cause := ctx.Err(); cause != nil && (err != nil || !stop()) {
		err = fmt.Errorf("%w: %w", ErrLaunch, cause)
	}
	if err != nil {
		p.close()
		return nil, err
	}
	return j, nil
}

// errStrict marks an ErrIsolation that no other attempt mends.
var errStrict = errors.New("isolation is strict")

// judge applies Spec.Strict.
func (j *Jail) judge() error {
	missing := slices.DeleteFunc(j.isolation.Missing(), func(f Fact) bool {
		return j.spec.Network && (f.Name == "net_ns" || f.Name == "network") // asked for
	})
	if j.spec.Strict && len(missing) > 0 {
		var words []string
		for _, m := range missing {
			words = append(words, m.Name+" ("+string(m.State)+")")
		}
		return fmt.Errorf("%w: %w and misses %s", ErrIsolation, errStrict, strings.Join(words, ", "))
	}
	return nil
}

// prepare configures init and takes its measurements.
func (j *Jail) prepare(a *attempt) error {
	s := &j.spec
	cfg := config{
		Files: s.Files, Input: s.InputFile, OutputFile: s.OutputFile, Command: s.Command, Proc: s.Proc,
		TimeoutNS: s.Timeout.Nanoseconds(), Limits: s.Limits, Tmpfs: s.TmpfsBytes,
		Volumes: s.Volumes, Devices: s.Devices, Network: s.Network, Image: s.Image,
		Scratch:   orDefault(s.ScratchBytes, DefaultScratchBytes),
		MaxOutput: orDefault(s.MaxOutput, DefaultStreamBytes),
	}
	a.cfg(&cfg)
	if cfg.Open {
		cfg.OutputFile = ""
	}
	if err := j.proc.ctl.send(cfg); err != nil {
		return j.proc.lost(ErrLaunch, err)
	}
	for {
		var e event
		if err := j.proc.ctl.receive(&e); err != nil {
			return j.proc.lost(ErrLaunch, err)
		}
		switch {
		case e.Progress != nil:
			if s.Progress != nil {
				s.Progress(e.Progress.Done, e.Progress.Total)
			}
		case e.Failure != nil:
			return e.Failure.error()
		case e.Ready != nil:
			return j.accept(e.Ready)
		default:
			return fmt.Errorf("%w: %w", ErrLaunch, errWire)
		}
	}
}

// accept takes init's report over.
func (j *Jail) accept(r *ready) error {
	want := len(j.spec.Files)
	if j.spec.InputFile != "" {
		want++
	}
	if len(r.Digests) != want {
		return fmt.Errorf("%w: %d digests for %d files", ErrLaunch, len(r.Digests), want)
	}
	for i, d := range r.Digests {
		digest := Digest{Size: d.Size}
		digest.HasSHA256, digest.HasFSVerity = d.SHA256 != nil, d.FSVerity != nil
		digest.Protection, digest.Described = d.Protection, d.Described
		for _, sum := range []struct {
			to   *[32]byte
			from []byte
		}{{&digest.SHA256, d.SHA256}, {&digest.FSVerity, d.FSVerity}} {
			if copy(sum.to[:], sum.from) != len(sum.from) || sum.from != nil && len(sum.from) != len(sum.to) {
				return fmt.Errorf("%w: digest %d has %d bytes", ErrLaunch, i, len(sum.from))
			}
		}
		input := i == len(j.spec.Files)
		if !digest.HasSHA256 && (input || !digest.HasFSVerity) {
			return fmt.Errorf("%w: file %d was not measured", ErrLaunch, i)
		}
		if !slices.Contains([]string{"sealed", "fs-verity", ProtectNone}, digest.Protection) {
			return fmt.Errorf("%w: protection %q of file %d is unknown", ErrLaunch, digest.Protection, i)
		}
		if input {
			j.input = &digest
			break
		}
		digest.ID = j.spec.Files[i].ID
		j.digests = append(j.digests, digest)
	}
	if want := j.spec.Image; (want != nil) != (r.Image != nil) || want != nil && want.Digest != r.Image.Digest {
		return fmt.Errorf("%w: the image was not unpacked", ErrLaunch)
	}
	j.image = r.Image
	j.isolation = r.Isolation
	j.isolation.LauncherNonDumpable = isNonDumpable()
	j.isolation.Cgroup = j.proc.inCgroup
	return j.limitMemory()
}

// limitMemory bounds the job's memory, if that is asked for.
func (j *Jail) limitMemory() error {
	limit := j.spec.Limits.Memory
	if limit == 0 {
		return nil
	}
	if j.proc.cgroup == nil {
		return fmt.Errorf("%w: no control group to bound the job's memory with (%s)", ErrLaunch, j.proc.inCgroup)
	}
	if err := j.proc.cgroup.limit(limit); err != nil {
		return fmt.Errorf("%w: %w", ErrLaunch, err)
	}
	return nil
}

// orDefault returns v, or the default for zero.
func orDefault(v, otherwise uint64) uint64 {
	if v == 0 {
		return otherwise
	}
	return v
}

// error turns what init reports into this package's errors.
func (f *failure) error() error {
	kind := ErrLaunch
	switch f.Kind {
	case failSource:
		kind = ErrSource
	case failIsolation:
		kind = ErrIsolation
	case failSpec:
		kind = ErrSpec
	}
	return fmt.Errorf("%w: %s", kind, f.Text)
}

// Files returns the measurements, in the order of Spec.Files.
func (j *Jail) Files() []Digest { return append([]Digest(nil), j.digests...) }

// Input returns the measurement of Spec.InputFile, and whether there is one.
func (j *Jail) Input() (Digest, bool) {
	if j.input == nil {
		return Digest{}, false
	}
	return *j.input, true
}

// Image returns what was unpacked of Spec.Image; nil if there is none.
func (j *Jail) Image() *Unpacked { return j.image }

// Isolation returns what is in force for the job.
func (j *Jail) Isolation() Isolation {
	i := j.isolation
	i.Devices, i.DeviceNumbers = slices.Clone(i.Devices), slices.Clone(i.DeviceNumbers)
	return i
}

// Close kills the job and everything it started, waits until it is gone, and
// frees what the Jail holds. It may be called more than once.
func (j *Jail) Close() error {
	j.proc.close()
	return nil
}
