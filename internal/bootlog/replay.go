package bootlog

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/sworn-run/sworn/attest"
)

// localityPrefix begins the data of the event that tells from which locality the
// TPM was started (PFP, 10.4.5.3); one byte follows, the locality.
const localityPrefix = "StartupLocality\x00"

// maxLocality is the locality of a measurement before the firmware's first
// instruction (H-CRTM).
const maxLocality = 4

// Extend is a digest that was extended after the log ended: by the system that
// booted, as its own log has it.
type Extend struct {
	// Index is the register.
	Index uint32
	// Digest has the size of the bank.
	Digest []byte
}

// Value is what the log says of one register in one bank.
type Value struct {
	// Index is the register.
	Index uint32
	// Events is how many digests went into it, those after the log included.
	Events int
	// Value is the register after them.
	Value []byte
}

// Replay computes each register that the log extends in a bank, ascending, with
// the digests of further after those of the log. Register 0 of a TPM starts with
// the locality that the log states, all others with zeros.
//
// SHA-1 is computed as well, for those who compare tools; [Log.Compare] refuses it.
//
// The error wraps [attest.ErrArgument] for a bank that is not
// [attest.Alg.Known] or not in the log and for a further digest of another
// size or register, and [attest.ErrForm] for a locality above 4, stated twice, or
// stated after register 0 was extended.
func (l *Log) Replay(bank attest.Alg, further []Extend) ([]Value, error) {
	if !bank.Known() || !l.Has(bank) {
		return nil, fmt.Errorf("replaying a boot log in bank %v: %w", bank, attest.ErrArgument)
	}
	start, err := l.locality()
	if err != nil {
		return nil, err
	}
	last, _ := l.Registers.last()
	values := make([]Value, last+1)
	extend := func(index uint32, digest []byte) {
		v := &values[index]
		if v.Value == nil {
			v.Value = make([]byte, bank.Size())
			if index == 0 {
				v.Value[bank.Size()-1] = start
			}
		}
		v.Value = bank.Sum(v.Value, digest)
		v.Events++
	}
	for i := range l.Events {
		if e := &l.Events[i]; e.Extends() {
			extend(e.Index, e.Digest(bank))
		}
	}
	for _, x := range further {
		if x.Index > last || len(x.Digest) != bank.Size() {
			return nil, fmt.Errorf("a further digest of %d bytes for register %d: %w", len(x.Digest), x.Index, attest.ErrArgument)
		}
		extend(x.Index, x.Digest)
	}
	for i := range values {
		values[i].Index = uint32(i)
	}
	return slices.DeleteFunc(values, func(v Value) bool { return v.Events == 0 }), nil
}

// locality returns the start value of a TPM's register 0. That the log states the
// right one, the quote confirms.
func (l *Log) locality() (byte, error) {
	if l.Registers != PCRs {
		return 0, nil
	}
	var start byte
	found, extended := false, false
	for i := range l.Events {
		e := &l.Events[i]
		switch {
		case e.Extends():
			extended = extended || e.Index == 0
		case e.Index == 0 && bytes.HasPrefix(e.Data, []byte(localityPrefix)):
			if found || extended || len(e.Data) != len(localityPrefix)+1 || e.Data[len(e.Data)-1] > maxLocality {
				return 0, fmt.Errorf("boot log, event %d: startup locality: %w", i, attest.ErrForm)
			}
			found, start = true, e.Data[len(e.Data)-1]
		}
	}
	return start, nil
}

// Status is how a register of the log stands to the quote.
type Status uint8

const (
	// NotQuoted means that the log extends the register, and the quote does not
	// cover it.
	NotQuoted Status = 0
	// Differs means that the log does not give the quoted value.
	Differs Status = 1
	// Confirmed means that the log gives the quoted value.
	Confirmed Status = 2
)

// String returns the name of the status.
func (s Status) String() string {
	switch s {
	case Confirmed:
		return "confirmed"
	case Differs:
		return "differs"
	case NotQuoted:
		return "not quoted"
	default:
		return "unknown"
	}
}

// Register is what comparing a log with a quote found out about one register.
type Register struct {
	Value
	// Quoted is the quoted value; nil if the quote does not cover the register.
	Quoted []byte
	Status Status
}

// Compare replays the log and compares it with the values of a quote, which may
// hold other banks and registers too: it returns each register that the log
// extends, ascending. A register that differs proves nothing of what the log has
// for it; whether that matters, [Require] lets the caller say.
//
// The error is that of [Log.Replay], or wraps [attest.ErrArgument] for a bank that is
// not [attest.Alg.Accepted], and for a value quoted twice or of another size than its
// bank.
func (l *Log) Compare(bank attest.Alg, quoted []attest.RegisterValue, further []Extend) ([]Register, error) {
	if !bank.Accepted() {
		return nil, fmt.Errorf("comparing a boot log in bank %v: %w", bank, attest.ErrArgument)
	}
	values, err := l.Replay(bank, further)
	if err != nil {
		return nil, err
	}
	last, _ := l.Registers.last()
	byIndex := make([][]byte, last+1)
	for _, q := range quoted {
		if q.Bank != bank || q.Index > last {
			continue
		}
		if byIndex[q.Index] != nil || len(q.Value) != bank.Size() {
			return nil, fmt.Errorf("register %d is quoted twice or as %d bytes: %w", q.Index, len(q.Value), attest.ErrArgument)
		}
		byIndex[q.Index] = q.Value
	}
	out := make([]Register, 0, len(values))
	for _, v := range values {
		r := Register{Value: v, Quoted: byIndex[v.Index]}
		switch {
		case r.Quoted == nil:
		case bytes.Equal(r.Quoted, v.Value):
			r.Status = Confirmed
		default:
			r.Status = Differs
		}
		out = append(out, r)
	}
	return out, nil
}

// MismatchError names the first register that is wanted and not confirmed. It
// wraps [ErrReplay].
type MismatchError struct {
	// Index is the register.
	Index uint32
	// Status is [Differs], or [NotQuoted]: the log says nothing of it or the
	// quote does not.
	Status Status
}

// Error names the register and its status.
func (e *MismatchError) Error() string {
	return fmt.Sprintf("register %d %v: %v", e.Index, e.Status, ErrReplay)
}

// Unwrap returns [ErrReplay].
func (e *MismatchError) Unwrap() error { return ErrReplay }

// Require returns a [*MismatchError] unless every register of want is among
// registers and confirmed.
func Require(registers []Register, want ...uint32) error {
	for _, index := range want {
		status := NotQuoted
		for _, r := range registers {
			if r.Index == index {
				status = r.Status
			}
		}
		if status != Confirmed {
			return &MismatchError{Index: index, Status: status}
		}
	}
	return nil
}
