//go:build linux

// Package launch runs one job attested: it measures what the job will run,
// extends the measurements into a register, runs the job in its closed root,
// and leaves a capsule whose statement a quote covers.
//
// The order is what makes a record true: the job's files are copied and hashed,
// their events and the launch key's stand in the register before the separator,
// only then does the first instruction of the job run; the statement is signed
// by the launch key, committed as the log's last event, and quoted. A launch that
// fails after its separator ends its segment as aborted, so that the next one
// can tell.
//
// Devices are handed in ([Device]); this package opens none.
package launch

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/launch/jail"
	"github.com/sworn-run/sworn/internal/launch/verity"
)

// The sentinels of this package; every error it returns wraps one of them, or
// one of package jail, elfdeps, attest or the device's.
var (
	// ErrUsage: a command, path, placeholder or name that cannot be meant.
	ErrUsage = errors.New("invalid launch")
	// ErrBusy: another launch holds the register.
	ErrBusy = errors.New("another launch holds the register")
	// ErrState: the state folder cannot be used.
	ErrState = errors.New("unusable state folder")
	// ErrRegister: the register takes no launch as long as the machine is not started anew.
	ErrRegister = errors.New("unusable register")
	// ErrDevice: the device failed during the launch; no record was made.
	ErrDevice = errors.New("attestation device failed")
	// ErrRecord: the record was made and does not verify; it is not released.
	ErrRecord = errors.New("record not released")
)

// Device is what quotes and anchors a launch.
type Device struct {
	// Attester quotes the statement, in slot 0.
	Attester attest.Attester
	// Measurer extends the register; nil where none keeps the log, which then begins
	// with the launch and is covered by the statement alone.
	Measurer attest.Measurer
	// Life tells one life of the register from another; nil exactly if Measurer is.
	Life attest.LifeReader
	// Register is the register's number.
	Register uint32
	// Boot reads the logs of what booted; nil where there are none.
	Boot attest.BootReader
	// Counter counts launches; nil to count none.
	Counter attest.Incrementer
	// Program is what the processor measured of this program, where that is an enclave,
	// which cannot read its own file: the digest of the component launcher is then this.
	// It goes with a job within the launcher; nil where there is no enclave.
	Program *[32]byte
	// Beside quote the same statement, in the slots after 0.
	Beside []Beside
	// Collect gets what vendors publish about the evidence, to go with the record; nil to
	// carry what the machine has at hand and no more. Whatever it cannot get is missing
	// from the record, and is no error.
	Collect func(ctx context.Context, evidence []attest.Evidence) []attest.Collateral
}

// Beside is a further slot of a launch.
type Beside struct {
	// Attester quotes the statement.
	Attester attest.Attester
	// Measurer extends the register of this slot by the same events, in the one bank
	// that it has; nil where it has none. It must be zero before the first launch.
	Measurer attest.Measurer
}

// attesters are those of all slots, in order.
func (d *Device) attesters() []attest.Attester {
	out := []attest.Attester{d.Attester}
	for _, b := range d.Beside {
		out = append(out, b.Attester)
	}
	return out
}

// Options are one launch. The zero Options are refused.
type Options struct {
	// Plan is what to run, made by NewPlan.
	Plan *Plan
	// Device anchors and quotes.
	Device Device
	// StateDir is the folder that keeps the log of a register's life.
	StateDir string
	// Nonce is the relying party's nonce, 8 to 64 bytes, or nil.
	Nonce []byte
	// Disclose is cer.DiscloseHash, cer.DiscloseFull or cer.DiscloseCommit.
	Disclose string
	// OpeningContent has the opening of a record that commits carry the bytes of input,
	// output and stderr, where they are not too large.
	OpeningContent bool
	// Strict makes every refused fact of the isolation an error.
	Strict bool
	// Proc gives the job a /proc of its own namespace.
	Proc bool
	// Timeout bounds the job's time; zero is refused.
	Timeout time.Duration
	// Stdin is the job's standard input where the plan has it there; Stdout and
	// Stderr take the job's streams as they come.
	Stdin io.Reader
	// Stdout takes the job's output (or its output file's content).
	Stdout io.Writer
	// Stderr takes the job's standard error.
	Stderr io.Writer
	// Now is the clock.
	Now func() time.Time
	// SelfCheck verifies the capsule before it is released, and the opening with it
	// where there is one; nil is refused.
	SelfCheck func(capsule, opening []byte) error
	// Sign returns the operator's signature over the evidence with the given digest (package
	// cer/signer); nil to leave the record unsigned. A key that fails leaves the record
	// unsigned too: the job has run, and it can be signed afterwards.
	Sign func(ctx context.Context, evidence [32]byte) (attest.Collateral, error)
	// Progress is told bytes done and in all while files are hashed; nil for none.
	Progress func(done, total uint64)
	// Log takes warnings; nil for none.
	Log *slog.Logger
}

// Result is what a launch leaves.
type Result struct {
	// Capsule is the capsule file.
	Capsule []byte
	// Opening is the opening file of a record that commits; nil for any other. Who has
	// it knows what was committed to; without it nobody can show it.
	Opening []byte
	// CertificateHash identifies the record.
	CertificateHash string
	// Unsigned is why the operator's signature is missing; nil if none was asked for.
	Unsigned error
	// Exit is how the job ended.
	Exit jail.Exit
	// Files and Bytes are what was measured.
	Files int
	// Bytes is the sum of the measured files' sizes.
	Bytes uint64
	// Banks are the register's active banks.
	Banks []attest.Alg
	// Dropped are things of an image's layers that the job's root did not have.
	Dropped []string
	// Isolation is what was in force.
	Isolation jail.Isolation
	// Events is the number of events in the log.
	Events int
	// Counter is the launch's number by the device's counter; 0 without one.
	Counter uint64
}

func (o *Options) check() error {
	switch {
	case o == nil || o.Plan == nil || o.Device.Attester == nil || (o.Device.Measurer == nil) != (o.Device.Life == nil):
		return fmt.Errorf("plan or device missing: %w", ErrUsage)
	case o.Device.Measurer == nil && slices.ContainsFunc(o.Device.Beside, func(b Beside) bool { return b.Measurer != nil }):
		return fmt.Errorf("a register beside a first slot without one: %w", ErrUsage)
	case (o.Device.Program != nil) != o.Plan.inside():
		return fmt.Errorf("a job within the launcher goes with an enclave, and an enclave with no other: %w", ErrUsage)
	case o.StateDir == "" || o.SelfCheck == nil || o.Now == nil || o.Timeout <= 0:
		return fmt.Errorf("state folder, self-check, clock or time limit missing: %w", ErrUsage)
	case o.Disclose != cer.DiscloseHash && o.Disclose != cer.DiscloseFull && o.Disclose != cer.DiscloseCommit:
		return fmt.Errorf("disclosure %q, want hash, full or commit: %w", o.Disclose, ErrUsage)
	case o.OpeningContent && o.Disclose != cer.DiscloseCommit:
		return fmt.Errorf("an opening with content, of a record that commits to none: %w", ErrUsage)
	case len(o.Nonce) != 0 && (len(o.Nonce) < attest.MinNonce || len(o.Nonce) > attest.MaxNonce):
		return fmt.Errorf("nonce of %d bytes, want %d to %d: %w", len(o.Nonce), attest.MinNonce, attest.MaxNonce, ErrUsage)
	}
	return nil
}

// launch is one run in progress.
type launch struct {
	o       *Options
	journal *journal
	sandbox sandbox

	tag        [32]byte
	series     [32]byte
	public     ed25519.PublicKey
	private    ed25519.PrivateKey
	keyID      [32]byte
	id         [32]byte
	components []*cer.Component
	isolation  []cer.Fact
	begun      bool
	devices    []*verity.Device
	boot       boot
	// unsigned is why the operator's signature is missing.
	unsigned error
	// counter is the number of this launch; nil if it is not counted.
	counter *attest.Counter
	// opener makes the commitments; nil where the record states what it is about.
	opener *opener
}

// Run runs one launch to its end. Result and error exclude each other. A job
// that fails is no error: the record says how it ended.
func Run(ctx context.Context, o Options) (*Result, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	l := &launch{o: &o}
	defer l.close()
	if err := l.prepare(ctx); err != nil {
		return nil, err
	}
	res, err := l.run(ctx)
	if l.begun {
		end := attest.EndCompleted
		if err != nil {
			end = attest.EndAborted
		}
		// The segment is closed even when the caller has given up.
		if endErr := l.append(context.WithoutCancel(ctx), event{attest.EventEnd, []byte(end)}); endErr != nil && err == nil {
			err = endErr
		}
	}
	if err != nil {
		return nil, err
	}
	return res, nil
}

// close gives everything back and forgets the launch key.
func (l *launch) close() {
	clear(l.private)
	if l.sandbox != nil {
		_ = l.sandbox.Close()
	}
	if err := l.closeVolumes(); err != nil && l.o.Log != nil {
		l.o.Log.Warn(err.Error())
	}
	if l.journal != nil {
		l.journal.close()
	}
}

// prepare makes the launch key, takes the register's journal, and builds and
// measures the job's root. Nothing is extended yet.
func (l *launch) prepare(ctx context.Context) error {
	hardened := jail.Harden()
	var err error
	if l.public, l.private, err = ed25519.GenerateKey(rand.Reader); err != nil {
		return fmt.Errorf("making the launch key: %w", ErrDevice)
	}
	_, _ = rand.Read(l.tag[:])
	_, _ = rand.Read(l.series[:])
	if err := l.commitParameters(); err != nil {
		return err
	}
	if l.journal, err = openJournal(ctx, l.o); err != nil {
		return err
	}
	spec := l.o.Plan.spec(l.o)
	if err := l.openVolumes(&spec); err != nil {
		return err
	}
	remove, err := imageMount(&spec, l.o.StateDir)
	if err != nil {
		return err
	}
	defer remove()
	if l.sandbox, err = l.o.Plan.start(ctx, &spec, hardened); err != nil {
		return err
	}
	if l.o.Device.Program != nil {
		l.o.Plan.launcher = programComponent(*l.o.Device.Program)
	}
	if l.components, err = l.o.Plan.Components(l.sandbox.Files(), l.sandbox.Image()); err != nil {
		return err
	}
	l.isolation = isolationFacts(l.sandbox.Isolation())
	if err := l.readBoot(ctx); err != nil {
		return err
	}
	if err := l.refuseTold(); err != nil {
		return err
	}
	return l.measure(ctx, hardened)
}

// measure extends launch-begin to separator.
func (l *launch) measure(ctx context.Context, hardened []jail.Fact) error {
	spki, err := x509.MarshalPKIXPublicKey(l.public)
	if err != nil {
		return fmt.Errorf("encoding the launch key: %w", ErrDevice)
	}
	l.keyID = sha256.Sum256(spki)
	// When the launch began tells how long the job took: where the record commits to
	// what the job did, that stays unsaid.
	clock := uint64(0)
	if l.o.Device.Life != nil && l.opener == nil {
		life, err := l.o.Device.Life.Life(ctx)
		if err != nil {
			return fmt.Errorf("reading the register's clock: %w", err)
		}
		clock = life.Counters.Clock
	}
	if err := l.count(ctx); err != nil {
		return err
	}
	begin, err := (&cer.Begin{V: 1, Series: fmt.Sprintf("%x", l.series), Clock: fmt.Sprint(clock)}).Encode()
	if err != nil {
		return err
	}
	events := []event{{attest.EventLaunchBegin, begin}, {attest.EventKey, spki}}
	for _, c := range l.components {
		data, err := c.Encode()
		if err != nil {
			return err
		}
		events = append(events, event{attest.EventComponent, data})
	}
	for _, e := range l.environments(hardened) {
		data, err := e.Encode()
		if err != nil {
			return err
		}
		events = append(events, event{attest.EventEnvironment, data})
	}
	first := l.journal.size()
	if err := l.append(ctx, append(events, event{attest.EventSeparator, nil})...); err != nil {
		return err
	}
	l.begun = true
	l.id = attest.LaunchID(l.journal.log.Events[first:])
	return nil
}

// count takes this launch's number, before its first event: a job that has run
// and whose record is not shown leaves a number that is missing.
func (l *launch) count(ctx context.Context) error {
	if l.o.Device.Counter == nil {
		return nil
	}
	var err error
	if l.counter, err = l.o.Device.Counter.Increment(ctx); err != nil {
		return fmt.Errorf("counting the launch: %w", err)
	}
	return nil
}

// append appends events of this launch to the journal and the register.
func (l *launch) append(ctx context.Context, events ...event) error {
	return l.journal.append(ctx, l.tag, events...)
}

// run runs the job and makes its record.
func (l *launch) run(ctx context.Context) (*Result, error) {
	started := l.o.Now()
	streams, capture := l.streams()
	exit, err := l.sandbox.Run(ctx, streams)
	if err != nil {
		return nil, err
	}
	ended := l.o.Now()
	if err := l.checkVolumes(); err != nil {
		return nil, err
	}
	bundle, err := l.bundle(exit, capture, started, ended)
	if err != nil {
		return nil, err
	}
	file, hash, err := l.capsule(ctx, bundle, ended)
	if err != nil {
		return nil, err
	}
	opening, err := l.opening(hash, &exit)
	if err != nil {
		return nil, err
	}
	if err := l.o.SelfCheck(file, opening); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	res := &Result{
		Capsule: file, Opening: opening, CertificateHash: hash, Exit: exit, Isolation: l.sandbox.Isolation(),
		Banks: l.journal.log.Banks, Events: len(l.journal.log.Events), Unsigned: l.unsigned,
	}
	if l.counter != nil {
		res.Counter = l.counter.Value
	}
	for _, f := range l.sandbox.Files() {
		res.Files, res.Bytes = res.Files+1, res.Bytes+f.Size
	}
	if i := l.sandbox.Image(); i != nil {
		res.Files, res.Bytes, res.Dropped = res.Files+i.Files, res.Bytes+i.Bytes, i.Dropped
	}
	return res, nil
}
