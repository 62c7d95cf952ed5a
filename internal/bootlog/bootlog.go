// Package bootlog reads what a firmware says it measured, and finds out how much
// of it a quote confirms.
//
// A firmware keeps a log of every digest that it extends into a register. The
// log itself is signed by nobody: [Parse] believes none of it. Replayed, it must
// give the values of a quote ([Log.Compare]); that establishes which digests were
// extended into which register and in which order, and nothing more. Neither an
// event's type nor, by itself, its data is part of a digest, and whoever hands a
// log on can change both.
//
// [Log.Appraise] therefore states facts from three things only: the register, the
// digest, and the bytes that this digest covers ([Event.Covered]). Where the same
// digest could have come about in two ways, or where an event that nothing
// explains could hide another answer, a fact is not established, and says why.
//
// The formats are those of the TCG PC Client Platform Firmware Profile, revision
// 1.05 ("PFP, 10.2.2"): crypto-agile logs, the older SHA-1 logs, which are parsed
// and never believed, and the logs of confidential computing, which have the same
// grammar and count the measurement registers of Intel TDX.
package bootlog

import (
	"errors"

	"github.com/sworn-run/sworn/attest"
)

// ErrReplay tells of a log that does not give the quoted values, or that gives a
// register which the quote does not cover.
var ErrReplay = errors.New("log does not give the quoted value")

// Registers tells what the index of an event counts.
type Registers uint8

const (
	// PCRs are the registers of a TPM, 0 to 23.
	PCRs Registers = 1
	// MRs are the measurement registers of confidential computing: 0 is MRTD,
	// 1 to 4 are RTMR0 to RTMR3 (UEFI 2.10, 38.4.1).
	MRs Registers = 2
)

// last returns the largest index; ok is false for what is neither.
func (r Registers) last() (index uint32, ok bool) {
	switch r {
	case PCRs:
		return 23, true
	case MRs:
		return 4, true
	default:
		return 0, false
	}
}

// Event types that the grammar needs (PFP, 10.4.1). No other type is looked at.
const (
	// NoAction is EV_NO_ACTION: what is logged and not extended.
	NoAction uint32 = 3
)

// Log is a parsed log, in the order received.
type Log struct {
	// Registers is what the events' indices count.
	Registers Registers
	// Algs are the algorithms of each event's digests; SHA-1 alone for a log
	// in the older format. Those that are not [attest.Alg.Known] are kept and
	// never replayed.
	Algs []AlgSize
	// Agile is true for TCG_PCR_EVENT2 (PFP, 10.2.2), false for the older
	// TCG_PCR_EVENT (10.2.1).
	Agile bool
	// Events are all events after the header; a log in the older format has no
	// header apart.
	Events []Event
	// Padding is the number of bytes after the last event, all 0x00 or all
	// 0xFF: the unused rest of the area in which the firmware keeps its log.
	Padding int

	header  []byte
	padByte byte
}

// AlgSize is an entry of the header's list of algorithms (PFP, 10.4.5.1).
type AlgSize struct {
	Alg attest.Alg
	// Size of its digests in bytes, 1 to 64.
	Size int
}

// Event is one event. Its slices alias the log's one copy of what was received
// and must not be changed.
type Event struct {
	// Index is the register, within the bounds of [Registers] for all that is
	// extended.
	Index uint32
	// Type is what the log calls it. No digest covers it.
	Type uint32
	// Digests has one digest for each algorithm of the log, in the order
	// received.
	Digests []Digest
	// Data is at most 1 MiB. How much of it is covered, [Event.Covered] tells.
	Data []byte
}

// Digest is a digest by its algorithm.
type Digest struct {
	Alg   attest.Alg
	Value []byte
}

// Digest returns the event's digest in a bank; nil if there is none.
func (e *Event) Digest(bank attest.Alg) []byte {
	for i := range e.Digests {
		if e.Digests[i].Alg == bank {
			return e.Digests[i].Value
		}
	}
	return nil
}

// Extends reports whether the log says that the event's digests were extended.
// If it lies, the replay does not give the quoted value.
func (e *Event) Extends() bool { return e.Type != NoAction }

// Has reports whether the log has digests of a bank.
func (l *Log) Has(bank attest.Alg) bool {
	for _, a := range l.Algs {
		if a.Alg == bank {
			return true
		}
	}
	return false
}
