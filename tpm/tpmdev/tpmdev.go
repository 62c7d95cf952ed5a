// Package tpmdev is the device side of package tpm: it owns one TPM 2.0 for the
// length of a launch, extends the register that anchors the event log, and
// quotes statements. What it produces, [tpm.Scheme] appraises.
//
// # The TPM
//
// [Open] takes a character device ("/dev/tpmrm0"), the socket of a software TPM
// ("unix:PATH", "tcp:HOST:PORT") or, by [OpenTransport], a TPM in the same
// process. A software TPM serves one client at a time, a bare /dev/tpm0 one
// opener; prefer /dev/tpmrm0, whose kernel side keeps clients apart.
//
// # The attestation key
//
// A machine's provider may have left the template and the certificate of an
// attestation key (AK) in NV memory; that key proves whose TPM this is, but
// everybody who reaches the TPM can use it. Otherwise the AK is made for this
// launch and gone with it: a restricted signing key under a storage key of the
// endorsement hierarchy, with a random authorization value that leaves this
// process encrypted only. Such a key can also be enrolled ([Enroll]): a CA of
// the operator's certifies it once, and it is kept, wrapped by this TPM. See [AK].
//
// # What can be quoted
//
// A statement, and nothing else: no function here takes the data that a quote
// covers. Where a statement has a launch counter, which [TPM.Increment] counts,
// the counter is certified with the quote. Clauses are those of the TPM 2.0 Library Specification, revision 1.59
// ("Part 3, 18.4").
package tpmdev

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/go-tpm/tpm2/transport"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/tpm"
)

// The sentinels of this package. Every error wraps one of them, or the error of
// the context that ended the call.
var (
	// ErrAbsent: there is no TPM at that address, or it holds no provider's AK
	// although one was asked for.
	ErrAbsent = errors.New("not there")
	// ErrBusy: somebody else holds the TPM.
	ErrBusy = errors.New("TPM is busy")
	// ErrDevice: the TPM failed, refused a command, answered what it must not,
	// or holds what this package does not accept.
	ErrDevice = errors.New("TPM failed")
	// ErrEnrolled: an enrolled AK cannot be used: it is another TPM's, damaged, or
	// its certificate has expired.
	ErrEnrolled = errors.New("unusable enrolled AK")
	// ErrUsage: the caller's mistake: an address or option that cannot be, a
	// statement that does not encode or is for another slot, a closed TPM.
	ErrUsage = errors.New("usage")
	// ErrCounter: what stands at the NV index of the launch counter is something
	// else. It comes with ErrDevice.
	ErrCounter = errors.New("it is no launch counter: its attributes are not those of one")
)

// AK says where the attestation key comes from. The zero value is [Auto].
type AK uint8

// The sources of the attestation key.
const (
	// Auto takes the enrolled AK if Options have one, else the provider's if its
	// certificate is in NV memory, else makes a child. One that is there but
	// broken is an error.
	Auto AK = iota
	// Provider takes the provider's AK or fails with ErrAbsent: a primary key
	// of the endorsement hierarchy made from the template in NV 0x01c10003 (or
	// 0x01c10001, RSA), certified in NV 0x01c10002 (0x01c10000); or the key at
	// persistent handle 0x81000003, certified in NV 0x01c101d0, as Azure has it.
	Provider
	// Child makes an ECC P-256 key for this launch: no certificate, another
	// key each time.
	Child
	// Stored takes the enrolled AK of Options or fails with ErrAbsent.
	Stored
)

// DefaultRegister is the PCR that anchors the log if no other is named: the
// one that Confidential Space uses.
const DefaultRegister = 13

// maxRegister is the last PCR that only a reset of the TPM resets (PC Client
// Platform TPM Profile 1.05, table 5: 16 and 23 are reset by software, 17 to 22
// belong to the dynamic root of trust).
const maxRegister = 15

// defaultTimeout bounds one command: making an RSA key takes a slow TPM more
// than a minute.
const defaultTimeout = 2 * time.Minute

// Options are the choices of [Open]. The zero value takes the defaults.
type Options struct {
	// Register is the PCR that anchors the log, 0 to 15; nil is
	// DefaultRegister.
	Register *uint32
	// Bank is the bank of the register descriptor; it must be active and not
	// SHA-1. Zero takes SHA-256 if it is active, else SHA-384, else SHA-512.
	Bank attest.Alg
	// AK is the source of the attestation key.
	AK AK
	// Enrolled is the AK that [Enroll] made of this TPM; nil if there is none.
	Enrolled *Enrolled
	// Counter is the NV index of the launch counter, one of the owner's
	// (0x01800000 to 0x01BFFFFF, see [DefaultCounter]); nil has none. Open
	// defines it where it is not there, as the TPM's owner.
	Counter *uint32
	// Timeout bounds each command; zero is two minutes.
	Timeout time.Duration
}

// settings are Options with the defaults filled in.
type settings struct {
	register uint32
	bank     attest.Alg
	ak       AK
	enrolled *Enrolled
	counter  *uint32
	timeout  time.Duration
}

// check fills in the defaults and refuses what cannot be.
func (o *Options) check() (settings, error) {
	s := settings{register: DefaultRegister, bank: o.Bank, ak: o.AK, enrolled: o.Enrolled, counter: o.Counter, timeout: o.Timeout}
	if o.Register != nil {
		s.register = *o.Register
	}
	if s.timeout == 0 {
		s.timeout = defaultTimeout
	}
	switch {
	case s.register > maxRegister:
		return s, fmt.Errorf("register %d, want 0 to %d, the others can be reset: %w", s.register, maxRegister, ErrUsage)
	case s.bank != 0 && !s.bank.Accepted():
		return s, fmt.Errorf("bank %v proves nothing: %w", s.bank, ErrUsage)
	case s.ak > Stored:
		return s, fmt.Errorf("source %d of the AK is not one of this package's: %w", s.ak, ErrUsage)
	case s.counter != nil && (*s.counter < tpm.FirstCounterIndex || *s.counter > tpm.LastCounterIndex):
		return s, fmt.Errorf("NV index 0x%08x of the counter, want one of the owner's, 0x%08x to 0x%08x: %w",
			*s.counter, tpm.FirstCounterIndex, tpm.LastCounterIndex, ErrUsage)
	case s.timeout < 0:
		return s, fmt.Errorf("timeout %v: %w", s.timeout, ErrUsage)
	}
	return s, nil
}

// TPM is one TPM with its attestation key and its register. It is safe for
// concurrent use: one command sequence runs at a time. The zero TPM refuses.
type TPM struct {
	settings

	// mu owns the TPM and everything below.
	mu sync.Mutex
	// send passes one command on, within the limit.
	send func(command []byte, limit time.Duration) ([]byte, error)
	// hangup closes the connection; nil if it is not ours.
	hangup func() error
	// alone is set if nobody else is connected to this TPM.
	alone bool
	// banks are the active banks, ascending.
	banks    []attest.Alg
	identity [32]byte
	ak       *key
	// name is the Name of the launch counter, where there is one.
	name [34]byte
	// azure is what the paravisor of an Azure confidential VM adds; nil elsewhere.
	azure *azure

	// chip is the kernel's name of this TPM; "" if it is none of the kernel's.
	chip string
	// security is the folder of the kernel's logs.
	security string
}

var (
	_ attest.Attester    = (*TPM)(nil)
	_ attest.Measurer    = (*TPM)(nil)
	_ attest.LifeReader  = (*TPM)(nil)
	_ attest.BootReader  = (*TPM)(nil)
	_ attest.Incrementer = (*TPM)(nil)
)

// Open opens the TPM at addr (see [Dial]), learns its active banks and makes
// or finds the attestation key; the caller must Close it. The error wraps
// [ErrAbsent], [ErrBusy], [ErrDevice] or [ErrUsage], or the context's; nothing
// is then left open or loaded. A software TPM serves one client: keys and
// sessions that are still loaded there were left by one that died, and Open
// flushes them.
func Open(ctx context.Context, addr string, opts Options) (*TPM, error) {
	s, err := opts.check()
	if err != nil {
		return nil, fmt.Errorf("opening TPM %q: %w", addr, err)
	}
	c, err := dial(ctx, addr, s.timeout)
	if err != nil {
		return nil, err
	}
	t := &TPM{settings: s, send: c.exchange, hangup: c.Close, alone: c.alone, chip: c.chip, security: securityDir}
	if err := t.start(ctx); err != nil {
		return nil, fmt.Errorf("opening TPM %q: %w", addr, err)
	}
	return t, nil
}

// OpenTransport is [Open] for a TPM that the caller has connected: a simulator
// in the same process. Close does not close rw. A rw that never returns is not
// interrupted.
func OpenTransport(ctx context.Context, rw transport.TPM, opts Options) (*TPM, error) {
	s, err := opts.check()
	if err != nil {
		return nil, fmt.Errorf("opening a TPM: %w", err)
	}
	if rw == nil {
		return nil, fmt.Errorf("opening a nil TPM: %w", ErrUsage)
	}
	t := &TPM{settings: s, send: func(command []byte, _ time.Duration) ([]byte, error) {
		return rw.Send(command)
	}}
	if err := t.start(ctx); err != nil {
		return nil, fmt.Errorf("opening a TPM: %w", err)
	}
	return t, nil
}

// start learns the banks and loads the AK; if it fails, it closes t.
func (t *TPM) start(ctx context.Context) error {
	l := t.on(ctx)
	err := l.open(t)
	if err != nil {
		// The first error is the one that helps.
		_ = t.Close()
	}
	return err
}

// open fills t in.
func (l *link) open(t *TPM) error {
	if t.alone {
		if err := l.clearLeftovers(); err != nil {
			return fail("clearing what a dead client left", err)
		}
	}
	banks, err := l.activeBanks(t.register)
	if err != nil {
		return fail("reading the active banks", err)
	}
	t.banks = banks
	if t.bank == 0 {
		t.bank = defaultBank(banks)
	}
	if !slices.Contains(banks, t.bank) {
		return fmt.Errorf("bank %v is not active in this TPM, which has %v: %w", t.bank, banks, ErrDevice)
	}
	if t.counter != nil {
		if t.name, err = l.openCounter(*t.counter); err != nil {
			return err
		}
	}
	if t.azure != nil {
		if err := t.azure.open(l); err != nil {
			return err
		}
	}
	t.ak, t.identity, err = l.openAK(t)
	return err
}

// defaultBank returns the bank to be named if the caller has not said; SHA-256
// if there is none to be named, which is then found inactive.
func defaultBank(active []attest.Alg) attest.Alg {
	for _, a := range []attest.Alg{attest.SHA256, attest.SHA384, attest.SHA512} {
		if slices.Contains(active, a) {
			return a
		}
	}
	return attest.SHA256
}

// acquire locks t for one command sequence under ctx; the caller releases it.
// The error wraps ErrUsage if t is closed, or is the context's.
func (t *TPM) acquire(ctx context.Context) (*link, func(), error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	t.mu.Lock()
	if t.send == nil || t.ak == nil {
		t.mu.Unlock()
		return nil, nil, fmt.Errorf("the TPM is not open: %w", ErrUsage)
	}
	return t.on(ctx), t.mu.Unlock, nil
}

// Close flushes the attestation key, forgets its authorization value and ends
// the connection, unless the caller made it. A second Close does nothing. The
// error wraps [ErrDevice]; t is closed all the same.
func (t *TPM) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.send == nil {
		return nil
	}
	var err error
	if t.ak != nil {
		l := t.on(context.Background())
		l.limit = min(l.limit, closeTimeout)
		err = l.flush(t.ak.handle)
		clear(t.ak.auth)
	}
	if t.hangup != nil {
		if e := t.hangup(); e != nil && err == nil {
			err = fail("closing the TPM", e)
		}
	}
	t.send, t.hangup, t.ak = nil, nil, nil
	return err
}
