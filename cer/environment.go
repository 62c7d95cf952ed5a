package cer

import (
	"fmt"
	"slices"
	"strings"
)

// The kinds of environment events (SPEC, section 5.5). Every launch has each of
// them exactly once, but nonce, boot and wasm, which stand only where there is one.
const (
	// KindIsolation: what keeps the job from everything else.
	KindIsolation = "isolation"
	// KindMemory: what keeps memory from leaving the machine.
	KindMemory = "memory"
	// KindLimits: the job's resource limits.
	KindLimits = "limits"
	// KindParameters: the parameters given with the job.
	KindParameters = "parameters"
	// KindCommitments: commitments to the values of these parameters, in place of
	// KindParameters, in a launch whose record commits to them.
	KindCommitments = "parameter-commitments"
	// KindNonce: the relying party's nonce.
	KindNonce = "nonce"
	// KindHost: the kernel, as the launcher saw it.
	KindHost = "host"
	// KindBoot: which logs of what booted accompany the record, [FactEventLog],
	// [FactIMA] and, in a confidential VM that has one, [FactCCEL]. It stands only
	// where the launcher could read one.
	KindBoot = "boot"
	// KindWasm: how the job, a WebAssembly module, is run. It stands only with such a
	// job.
	KindWasm = "wasm"
)

// The facts of an environment of [KindBoot]; the first is there exactly if the log is
// carried, the others always.
const (
	// FactCCEL is the digest of the log of what the firmware extended into the
	// measurement registers of a confidential VM, as FactEventLog.
	FactCCEL = "ccel"
	// FactEventLog is the digest of the firmware's event log as the launcher
	// read it, "sha256:" and 64 hexadecimal digits, or [NoBootLog].
	FactEventLog = "eventlog"
	// FactIMA is [CarriedIMA] if the beginning of the kernel's list of measured
	// files that the quote covers is carried, or [NoBootLog]. The list grows
	// while the job runs, and each of its bytes is covered by the quote.
	FactIMA = "ima"
	// NoBootLog says that there is none.
	NoBootLog = "none"
	// CarriedIMA says that there is one.
	CarriedIMA = "carried"
)

// Fact is one named fact of an environment.
type Fact struct {
	// Name is the fact's name.
	Name string `json:"name"`
	// Value is its value as text.
	Value string `json:"value"`
}

// Environment is the data of an environment event, in canonical JSON.
type Environment struct {
	// Kind is one of the kinds.
	Kind string `json:"kind"`
	// Facts are the facts in strictly ascending order of their names.
	Facts []Fact `json:"facts"`
}

// NewEnvironment returns an environment with its facts sorted by name.
func NewEnvironment(kind string, facts []Fact) *Environment {
	f := slices.Clone(facts)
	slices.SortFunc(f, func(a, b Fact) int { return strings.Compare(a.Name, b.Name) })
	if f == nil {
		f = []Fact{}
	}
	return &Environment{Kind: kind, Facts: f}
}

// Get returns the value of the fact with the given name, and whether it is
// there.
func (e *Environment) Get(name string) (string, bool) {
	if e == nil {
		return "", false
	}
	for _, f := range e.Facts {
		if f.Name == name {
			return f.Value, true
		}
	}
	return "", false
}

// Encode returns the event data. The error wraps ErrSchema.
func (e *Environment) Encode() ([]byte, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	return MarshalCanonical(e)
}

// ParseEnvironment parses the data of an environment event; the error wraps
// ErrStrict or ErrSchema.
func ParseEnvironment(data []byte) (*Environment, error) {
	e := new(Environment)
	if err := UnmarshalCanonical(data, eventDepth, e); err != nil {
		return nil, fmt.Errorf("environment: %w", err)
	}
	if err := e.check(); err != nil {
		return nil, err
	}
	return e, nil
}

func (e *Environment) check() error {
	switch e.Kind {
	case KindIsolation, KindMemory, KindLimits, KindParameters, KindNonce, KindHost:
	case KindCommitments:
		for _, f := range e.Facts {
			if err := checkHex32(f.Value); err != nil {
				return fmt.Errorf("environment %s: %w", e.Kind, err)
			}
		}
	case KindBoot:
		return e.checkBoot()
	case KindWasm:
		return e.checkWasm()
	default:
		return fmt.Errorf("environment kind %q is unknown: %w", e.Kind, ErrSchema)
	}
	for i, f := range e.Facts {
		if f.Name == "" || i > 0 && e.Facts[i-1].Name >= f.Name {
			return fmt.Errorf("environment %s: facts are not in ascending order: %w", e.Kind, ErrSchema)
		}
	}
	return nil
}

// checkBoot enforces the facts of [KindBoot].
func (e *Environment) checkBoot() error {
	facts := e.Facts
	if len(facts) > 0 && facts[0].Name == FactCCEL {
		if err := CheckDigest(facts[0].Value); err != nil {
			return fmt.Errorf("environment %s: %w", e.Kind, err)
		}
		facts = facts[1:]
	}
	log, _ := e.Get(FactEventLog)
	list, _ := e.Get(FactIMA)
	if len(facts) != 2 || facts[0].Name != FactEventLog || facts[1].Name != FactIMA ||
		log != NoBootLog && CheckDigest(log) != nil || list != NoBootLog && list != CarriedIMA ||
		log == NoBootLog && list == NoBootLog && len(e.Facts) == 2 {
		return fmt.Errorf("environment %s: want %s and %s, not both none: %w", e.Kind, FactEventLog, FactIMA, ErrSchema)
	}
	return nil
}
