//go:build linux

package launch

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
)

// lockWait is how long a launch waits for another that holds the register.
const lockWait = 5 * time.Second

// event is an event to come.
type event struct {
	typ  attest.EventType
	data []byte
}

// journal is the event log of one life of a register: a file that grows before
// the register does, under a lock from launch-begin to end.
type journal struct {
	m attest.Measurer
	// beside are the registers of further slots.
	beside []attest.Measurer
	log    *attest.Log
	lock   *os.File
	file   *os.File
	// pending is true while the origin event waits for the first launch.
	pending bool
	// broken is true once the register may not hold what the log says.
	broken bool
}

// openJournal locks the register's life and reads its log. A log that the
// register does not confirm is set aside, and the new one's origin says with
// what value the register was found.
func openJournal(ctx context.Context, o *Options) (*journal, error) {
	if o.Device.Measurer == nil {
		return statementOnly(ctx, o)
	}
	life, err := o.Device.Life.Life(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading which life of the register this is: %w", err)
	}
	dir := filepath.Join(o.StateDir, fmt.Sprintf("%x-%d-%d-pcr%d", life.Identity[:16],
		life.Counters.ResetCount, life.Counters.RestartCount, o.Device.Register))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the state folder: %w: %w", ErrState, err)
	}
	if err := checkStateDir(o.StateDir, 0o022); err != nil {
		return nil, err
	}
	if err := checkStateDir(dir, 0o077); err != nil {
		return nil, err
	}
	j := &journal{m: o.Device.Measurer}
	for _, b := range o.Device.Beside {
		if b.Measurer != nil {
			j.beside = append(j.beside, b.Measurer)
		}
	}
	if j.lock, err = lockFile(ctx, filepath.Join(dir, "lock")); err != nil {
		return nil, err
	}
	err = j.load(ctx, o, dir, life)
	if err == nil {
		err = j.checkBeside(ctx)
	}
	if err != nil {
		j.close()
		return nil, err
	}
	return j, nil
}

// statementOnly begins the log of a launch that no register keeps: it is in memory, and
// nothing precedes it. Its one bank is of no register.
func statementOnly(ctx context.Context, o *Options) (*journal, error) {
	slot, err := o.Device.Attester.Manifest(ctx)
	if err != nil {
		return nil, fmt.Errorf("describing the quote: %w: %w", ErrDevice, err)
	}
	origin := cer.Origin{
		V: 1, ResetCount: "0", RestartCount: "0", Firmware: strings.Repeat("0", 16), Identity: cer.SHA256Digest(slot.KeyID),
		Start: []cer.OriginValue{{Bank: attest.SHA256.String(), Value: strings.Repeat("0", 2*attest.SHA256.Size())}},
	}
	data, err := origin.Encode()
	if err != nil {
		return nil, fmt.Errorf("origin: %w", err)
	}
	var salt [32]byte
	_, _ = rand.Read(salt[:])
	return &journal{log: &attest.Log{
		Banks:  []attest.Alg{attest.SHA256},
		Events: []attest.Event{attest.NewEvent(0, attest.EventOrigin, [32]byte{}, salt, data)},
	}}, nil
}

// checkBeside refuses a register of a further slot that does not hold what the log
// says: it was used without the first.
func (j *journal) checkBeside(ctx context.Context) error {
	n := uint64(len(j.log.Events))
	if j.pending {
		n = 0
	}
	for _, m := range j.beside {
		now, err := m.Read(ctx)
		if err != nil {
			return fmt.Errorf("reading the register of a further slot: %w", err)
		}
		for _, v := range now {
			own := attest.Log{Banks: []attest.Alg{v.Bank}, Events: j.log.Events}
			if want := own.Replay(v.Bank, make([]byte, v.Bank.Size()), n); !bytes.Equal(want, v.Value) {
				return fmt.Errorf("register %d (%v) holds events that the log of this launch does not have, as after a launch with that register alone: launch so again, or start the machine anew: %w",
					v.Index, v.Bank, ErrRegister)
			}
		}
	}
	return nil
}

// checkStateDir refuses a state folder that is not ours or that gives others any
// of the rights in mask: whoever writes or moves the log can make every later
// launch unverifiable, and whoever moves the lock can have two at a time.
func checkStateDir(dir string, mask uint32) error {
	var st unix.Stat_t
	// The folder that the user named may be a link of his own.
	if real, err := filepath.EvalSymlinks(dir); err == nil && mask&0o044 == 0 {
		dir = real
	}
	if err := unix.Lstat(dir, &st); err != nil {
		return fmt.Errorf("state folder %s: %w: %w", dir, ErrState, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || st.Mode&mask != 0 || int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("state folder %s is not a folder of this user (mode 0700): %w", dir, ErrState)
	}
	return nil
}

// lockFile takes an exclusive lock and writes this process's id beside it.
func lockFile(ctx context.Context, path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w: %w", ErrState, err)
	}
	for deadline := time.Now().Add(lockWait); ; {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			_ = f.Close()
			return nil, fmt.Errorf("lock: %w: %w", ErrState, err)
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			b := make([]byte, 32)
			n, _ := f.ReadAt(b, 0)
			_ = f.Close()
			return nil, fmt.Errorf("%w (pid %s)", ErrBusy, strings.TrimSpace(string(b[:n])))
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err := f.Truncate(0); err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
		if err == nil {
			return f, nil
		}
	}
	_ = f.Close()
	return nil, fmt.Errorf("writing the lock: %w", ErrState)
}

// close releases file and lock.
func (j *journal) close() {
	if j.file != nil {
		_ = j.file.Close()
	}
	if j.lock != nil {
		_ = j.lock.Close()
	}
}

func (j *journal) size() int { return len(j.log.Events) }

// load reads the log that the register confirms, or begins a new one.
func (j *journal) load(ctx context.Context, o *Options, dir string, life attest.Life) error {
	now, err := j.m.Read(ctx)
	if err != nil {
		return fmt.Errorf("reading the register: %w", err)
	}
	path := filepath.Join(dir, "log")
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("reading the log: %w: %w", ErrState, err)
	}
	if err == nil && j.confirm(old, now) {
		return j.reopen(path)
	}
	if err == nil && len(old) > 0 {
		lost := fmt.Sprintf("%s.lost-%d", path, o.Now().UnixNano())
		if err := os.Rename(path, lost); err != nil {
			return fmt.Errorf("setting the log aside: %w: %w", ErrState, err)
		}
		if o.Log != nil {
			level, text := slog.LevelWarn, "the register does not confirm the log, a new one begins"
			if untouched(now) {
				level, text = slog.LevelInfo, "the register is at zero as after a start of the machine, a new log begins"
			}
			o.Log.Log(ctx, level, text, "set aside", lost)
		}
	}
	return j.begin(path, o, now, life)
}

// confirm finds the longest prefix of the log that replays to the register as
// it is now: the log is written before the register is extended, so a launcher
// that died may have left events that never reached it.
func (j *journal) confirm(b []byte, now []attest.RegisterValue) bool {
	l, err := attest.ParseLog(lastWhole(b))
	if err != nil || len(l.Banks) != len(now) || l.Events[0].Type != attest.EventOrigin {
		return false
	}
	o, err := cer.ParseOrigin(l.Events[0].Data)
	if err != nil || len(o.Start) != len(now) {
		return false
	}
	values := make([][]byte, len(now))
	for i := range now {
		alg, v, err := o.StartValue(i)
		if err != nil || alg != now[i].Bank || l.Banks[i] != alg {
			return false
		}
		values[i] = v
	}
	found := 0
	for n := range l.Events {
		pre := l.Events[n].Preimage()
		same := true
		for i, v := range now {
			values[i] = v.Bank.Sum(values[i], v.Bank.Sum(pre))
			same = same && bytes.Equal(values[i], v.Value)
		}
		if same {
			found = n + 1
		}
	}
	if found == 0 {
		return false
	}
	l.Events = l.Events[:found]
	if !continuable(l) {
		return false
	}
	j.log = l
	return true
}

// continuable reports whether a launch can follow what a log holds: whoever can
// write both file and register could otherwise leave an event there that fails
// every later record of this life of the register.
func continuable(l *attest.Log) bool {
	next := &attest.Log{Register: l.Register, Banks: l.Banks, Events: slices.Clone(l.Events)}
	var tag [32]byte
	_, _ = rand.Read(tag[:])
	for _, t := range []attest.EventType{attest.EventLaunchBegin, attest.EventKey, attest.EventSeparator} {
		next.Events = append(next.Events, attest.NewEvent(uint64(len(next.Events)), t, tag, [32]byte{}, nil))
	}
	_, err := next.Structure()
	return err == nil
}

// lastWhole cuts a record that was only half written.
func lastWhole(b []byte) []byte {
	end := 0
	for at := 0; at+5 <= len(b); {
		n := int(uint32(b[at+1])<<24 | uint32(b[at+2])<<16 | uint32(b[at+3])<<8 | uint32(b[at+4]))
		content := b[at] != 0 && b[at] != 1 && b[at] != 3
		if n < 0 || n > len(b)-at-5 {
			break
		}
		if at += 5 + n; content {
			end = at
		}
	}
	return b[:end]
}

// reopen writes the confirmed log back, so that what never reached the register
// is gone, and opens it for appending.
func (j *journal) reopen(path string) error {
	b, err := j.log.Encode()
	if err != nil {
		return fmt.Errorf("encoding the log: %w", err)
	}
	return j.write(path, b)
}

// write replaces the log's file in one step.
func (j *journal) write(path string, b []byte) error {
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC|os.O_APPEND|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("writing the log: %w: %w", ErrState, err)
	}
	j.file = f
	if _, err = f.Write(b); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return fmt.Errorf("writing the log: %w: %w", ErrState, err)
	}
	return nil
}

// begin begins a new log with its origin, which is extended with the first
// launch's events.
func (j *journal) begin(path string, o *Options, now []attest.RegisterValue, life attest.Life) error {
	origin := cer.Origin{
		V: 1, ResetCount: fmt.Sprint(life.Counters.ResetCount), RestartCount: fmt.Sprint(life.Counters.RestartCount),
		Firmware: fmt.Sprintf("%016x", life.Counters.Firmware), Identity: cer.SHA256Digest(life.Identity),
	}
	j.log = &attest.Log{Register: o.Device.Register}
	for _, v := range now {
		j.log.Banks = append(j.log.Banks, v.Bank)
		origin.Start = append(origin.Start, cer.OriginValue{Bank: v.Bank.String(), Value: fmt.Sprintf("%x", v.Value)})
	}
	if !untouched(now) && o.Log != nil {
		o.Log.Warn("the register is not zero and no log in this state folder explains it, as after launches with another one: log.origin will not be established until the machine is started anew", "register", o.Device.Register)
	}
	if !slices.IsSorted(j.log.Banks) {
		return fmt.Errorf("banks are not in ascending order: %w", ErrDevice)
	}
	data, err := origin.Encode()
	if err != nil {
		return fmt.Errorf("origin: %w", err)
	}
	var salt [32]byte
	_, _ = rand.Read(salt[:])
	j.log.Events = []attest.Event{attest.NewEvent(0, attest.EventOrigin, [32]byte{}, salt, data)}
	j.pending = true
	return j.write(path, nil)
}

// untouched reports whether a register is at zero in every bank.
func untouched(now []attest.RegisterValue) bool {
	return !slices.ContainsFunc(now, func(v attest.RegisterValue) bool { return !bytes.Equal(v.Value, make([]byte, len(v.Value))) })
}

// append writes events to the file, syncs it, and extends the register by each.
func (j *journal) append(ctx context.Context, tag [32]byte, events ...event) error {
	if j.broken {
		return fmt.Errorf("the register may not hold what the log says: %w", ErrDevice)
	}
	for _, e := range events {
		if len(e.data) > attest.MaxEventData {
			return fmt.Errorf("%v event of %d bytes, limit %d: %w", e.typ, len(e.data), attest.MaxEventData, ErrUsage)
		}
	}
	if len(j.log.Events)+len(events) > attest.MaxEvents {
		return fmt.Errorf("the log would hold more than %d events; start the machine anew to begin another: %w", attest.MaxEvents, ErrRegister)
	}
	first := len(j.log.Events)
	if j.pending {
		first = 0
	}
	for _, e := range events {
		var salt [32]byte
		_, _ = rand.Read(salt[:])
		j.log.Events = append(j.log.Events, attest.NewEvent(uint64(len(j.log.Events)), e.typ, tag, salt, e.data))
	}
	fresh := j.log.Events[first:]
	var b []byte
	for i := range fresh {
		b = j.log.AppendRecord(b, &fresh[i])
	}
	if j.m == nil {
		return nil
	}
	j.broken = true
	if _, err := j.file.Write(b); err != nil {
		return fmt.Errorf("writing the log: %w: %w", ErrState, err)
	}
	if err := j.file.Sync(); err != nil {
		return fmt.Errorf("writing the log: %w: %w", ErrState, err)
	}
	j.pending = false
	for i := range fresh {
		pre := fresh[i].Preimage()
		digests := make([][]byte, 0, len(j.log.Banks))
		for _, a := range j.log.Banks {
			digests = append(digests, a.Sum(pre))
		}
		if err := j.m.Extend(ctx, digests); err != nil {
			return fmt.Errorf("extending the register: %w: %w", ErrDevice, err)
		}
		if err := j.extendBeside(ctx, pre); err != nil {
			return err
		}
	}
	j.broken = false
	return nil
}

// extendBeside extends the registers of further slots by one event.
func (j *journal) extendBeside(ctx context.Context, preimage []byte) error {
	for _, m := range j.beside {
		banks, err := m.Banks(ctx)
		if err != nil {
			return fmt.Errorf("the register of a further slot: %w: %w", ErrDevice, err)
		}
		var digests [][]byte
		for _, a := range banks {
			digests = append(digests, a.Sum(preimage))
		}
		if err := m.Extend(ctx, digests); err != nil {
			return fmt.Errorf("extending the register of a further slot: %w: %w", ErrDevice, err)
		}
	}
	return nil
}

// disclosed returns the log as the capsule carries it: of earlier launches
// nothing but launch-begin, launcher, isolation and separator.
func (j *journal) disclosed() *attest.Log {
	out := &attest.Log{Register: j.log.Register, Banks: j.log.Banks, Events: slices.Clone(j.log.Events)}
	own := out.Events[len(out.Events)-1].Launch
	for i := range out.Events {
		e := &out.Events[i]
		if e.Type != attest.EventOrigin && e.Launch != own && !staysDisclosed(e) {
			*e = e.Withhold()
		}
	}
	return out
}

// staysDisclosed reports whether check log.sole of a later record needs the
// event's data.
func staysDisclosed(e *attest.Event) bool {
	switch e.Type {
	case attest.EventLaunchBegin, attest.EventSeparator:
		return true
	case attest.EventComponent:
		c, err := cer.ParseComponent(e.Data)
		return err == nil && c.Role == cer.RoleLauncher
	case attest.EventEnvironment:
		v, err := cer.ParseEnvironment(e.Data)
		return err == nil && v.Kind == cer.KindIsolation
	case attest.EventOrigin, attest.EventKey, attest.EventCommit, attest.EventEnd:
		return false
	default:
		return false
	}
}
