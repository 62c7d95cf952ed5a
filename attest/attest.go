// Package attest is Sworn's vocabulary, in the terms of RATS (RFC 9334):
// evidence, collateral, claims, anchors, the binding statement that a quote
// vouches for, and the event log whose digests stand in a register.
//
// Everything here is pure and uses the standard library alone: no device, no
// file, no network, no clock. docs/SPEC.md states every encoding of this
// package byte by byte; the section numbers in the comments are its sections.
//
// # From the record up to the silicon
//
// A [Statement] names a batch of records by the root of a Merkle tree, the
// launch that made them by its [LaunchID], the state of the event log, and in
// its manifest the evidence that must accompany it. The launch key signs it,
// its digest is the last event before the quote, and [Quoted] is what every
// quote must carry. No function of this package, and no device package of
// Sworn, takes raw report data: what can be quoted is a statement.
//
// # Zero values
//
// Zero values refuse: a zero [Statement] does not encode, zero [Anchors] trust
// nothing, a zero [Finding] is not established, a zero time is an error.
package attest

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"time"
)

// The sentinels that every error of this package, and every error of a
// [Scheme], wraps. Each is the failure of one check (docs/SPEC.md, section 8).
var (
	// ErrForm: bytes that do not parse exactly (checks slot.form,
	// statement.form, log.replay).
	ErrForm = errors.New("malformed")
	// ErrSignature: a signature that does not verify over the bytes received
	// (check slot.signature).
	ErrSignature = errors.New("signature does not verify")
	// ErrMode: genuine evidence of a kind that is never acceptable: a debug
	// TEE, a key that is not restricted or may leave its TPM (check slot.mode).
	ErrMode = errors.New("unacceptable mode")
	// ErrNoKey: evidence that parses, and no certificate of the key that would have
	// signed it is there, so that nothing can be said of it (check slot.signature, not
	// established).
	ErrNoKey = errors.New("no certificate of the signing key")
	// ErrArgument: the caller's own mistake: no anchors, a zero time, a nil
	// pointer.
	ErrArgument = errors.New("invalid argument")
)

// Format is the number of an evidence format in the registry of docs/SPEC.md,
// section 3. Zero is no format. The constants stand in the TEE packages.
type Format uint16

// Mode is how a format's quote covers the statement (statement field 16). It
// is fixed by the format and never tried in turn.
type Mode uint8

// The binding modes.
const (
	// ModeDirect: the quote itself carries [Quoted].
	ModeDirect Mode = 1
	// ModeViaAK: a TPM quote carries it, and a TEE report covers the TPM's
	// attestation key.
	ModeViaAK Mode = 2
	// ModeSVSM: a TPM quote carries it, and the SVSM's manifest names the key.
	ModeSVSM Mode = 3
)

// AnchorKind says what keeps the event log honest (statement field 16).
type AnchorKind uint8

// The anchors of an event log.
const (
	// AnchorRegister: a register that can only be extended.
	AnchorRegister AnchorKind = 1
	// AnchorStatementOnly: nothing but the log root inside the statement.
	AnchorStatementOnly AnchorKind = 2
)

// Status is the outcome of a check. Its zero value is [NotEstablished], which
// counts as not passed.
type Status uint8

// The statuses, in the words of reports.
const (
	// NotEstablished: what the check needs is absent, or nothing here can
	// show it.
	NotEstablished Status = iota
	// Passed: shown.
	Passed
	// Failed: shown to be otherwise.
	Failed
	// NotApplicable: the check does not concern this format; fixed in code,
	// never chosen by evidence.
	NotApplicable
)

// String returns the status as reports spell it.
func (s Status) String() string {
	switch s {
	case Passed:
		return "passed"
	case Failed:
		return "failed"
	case NotApplicable:
		return "not applicable"
	case NotEstablished:
		return "not established"
	default:
		return "not established"
	}
}

// Finding is the outcome of one check with its reason. The zero Finding is
// not established.
type Finding struct {
	// Status is the outcome.
	Status Status
	// Detail is one line for people: what was seen, or what is missing.
	Detail string
}

// Part is one named piece of evidence, exactly as the device produced it.
type Part struct {
	// Name is one of the names the format's package defines.
	Name string
	// Data is the piece itself; its encoding is the format's.
	Data []byte
}

// Evidence is what one slot of the manifest announced: the parts of one quote,
// in the order the format prescribes. Nothing in it is trusted.
type Evidence struct {
	// Slot is the manifest slot this evidence fills.
	Slot uint8
	// Format is the evidence format.
	Format Format
	// Parts are the pieces in the format's order.
	Parts []Part
	// Collateral is what vendors and firmware said beside the quote, in the order of
	// the capsule. It is no part of the evidence digest: vendors publish anew.
	Collateral []Collateral
}

// Collateral is vendor-signed material that accompanies evidence: revocation
// lists, TCB information. It is untrusted until a Scheme has checked it.
type Collateral struct {
	// Kind is the collateral's kind, defined by the format that reads it.
	Kind string
	// Data is the material exactly as the vendor published it.
	Data []byte
}

// Root is one trust anchor of a role.
type Root struct {
	// Role is the folder name of docs/SPEC.md, section 9, such as "tpm-ak".
	Role string
	// Product binds the root to one product of its vendor; empty where the
	// role has none.
	Product string
	// Certificate is the root or, for roles that allow them, an intermediate.
	Certificate *x509.Certificate
	// UserSupplied is true for every root that is not pinned in Sworn itself.
	UserSupplied bool
	// Pin is the row that pins it; nil if UserSupplied.
	Pin *Pin
}

// Anchors is what the relying party trusts. The zero Anchors trust nothing: a
// Scheme then reports the identity as not established.
type Anchors struct {
	// Roots are all roots of all roles; a Scheme uses those of its own role.
	Roots []Root
	// Pins are vendor roots that are trusted by their key. A Scheme takes the
	// certificate of one from the evidence or from Roots; a root in Roots that
	// fulfils a pin is not user-supplied.
	Pins []Pin
}

// Role returns the roots of one role, in order.
func (a *Anchors) Role(role string) []Root {
	if a == nil {
		return nil
	}
	var out []Root
	for _, r := range a.Roots {
		if r.Role == role {
			out = append(out, r)
		}
	}
	return out
}

// Counters are the monotone facts that a TPM signs with every quote
// (TPMS_CLOCK_INFO, TPM 2.0 Part 2, 10.11.1; firmwareVersion, 10.12.8).
type Counters struct {
	// Clock is the TPM's clock in milliseconds.
	Clock uint64
	// ResetCount counts TPM resets.
	ResetCount uint32
	// RestartCount counts restarts and resumes since the last reset.
	RestartCount uint32
	// Safe is false after a power loss without orderly shutdown; reported,
	// never judged.
	Safe bool
	// Firmware is the vendor's firmware version.
	Firmware uint64
}

// RegisterValue is one register as signed.
type RegisterValue struct {
	// Bank is the hash algorithm of the register's bank.
	Bank Alg
	// Index is the register's number: a PCR or an RTMR.
	Index uint32
	// Value is the digest, exactly the size of Bank.
	Value []byte
}

// Identity says whose key signed the evidence.
type Identity struct {
	Finding
	// Root is the anchor that the chain ends in; nil unless Status is Passed.
	Root *Root
	// Provenance is how the key came to be vouched for, for people.
	Provenance string
}

// Detail is one decoded field, for reports.
type Detail struct {
	// Name is the manual's name of the field.
	Name string
	// Value is its value for people, with its unit.
	Value string
}

// Claims is what genuine evidence states. It exists only when the evidence
// parsed exactly, its signature verifies over the bytes received and its mode
// is acceptable; whether what it states is acceptable is the verifier's word.
type Claims struct {
	// Format is the evidence format.
	Format Format
	// KeyID identifies the quoting key or instance as the manifest does
	// (statement field 16).
	KeyID [32]byte
	// Quoted is the data the quote covers: extraData, report data.
	Quoted []byte
	// Registers are the signed register values.
	Registers []RegisterValue
	// Counters are the TPM's counters; nil for formats without.
	Counters *Counters
	// Counter is the launch counter that the same key certified beside the
	// quote; nil if the evidence has none.
	Counter *CertifiedCounter
	// Device identifies the TPM by what the quoting key signs with: SHA-256 of
	// the Name of the storage key above a child AK, or of a primary AK's own;
	// zeros for formats without.
	Device [32]byte
	// Keys are the public keys that the evidence rests on: the one that quoted first, then
	// those of the certificates above it, as far as they are there. That they are whose
	// they say is a matter of Identity.
	Keys []Key
	// Product is what the vendor calls the hardware in the certificate of the key that
	// quoted: of AMD "Milan", "Genoa" or "Turin", of Intel the FMSPC in 12 upper-case
	// hexadecimal digits; empty for formats without.
	Product string
	// Manufacturer is the TCG vendor id of the TPM in its certificate, without trailing
	// blanks, such as "STM"; empty where none says so.
	Manufacturer string
	// Identity is check slot.identity.
	Identity Identity
	// Revocation is check slot.revocation.
	Revocation Finding
	// Coherent is check collateral.coherent: whether the collateral belongs to this
	// platform and together, and is valid at the time asked for.
	Coherent Finding
	// TCB is what check slot.tcb judges.
	TCB TCB
	// Measurements are the signed digests, in the order of the manual; each name is one of
	// [Description.Measurements] and stands once.
	Measurements []Measurement
	// Attributes are the signed numbers, in the order of the manual; each name is one of
	// [Description.Attributes] and stands once.
	Attributes []Attribute
	// Used are the collateral items that were relied on, ascending by index.
	Used []Use
	// Spare are those on which nothing rests, though they are what they should be and of
	// this platform: another is newer, or the root is not trusted that they belong to.
	// Whether an item is among these or those depends on neither anchors nor time but for
	// which of the two; one that is among neither counted for nothing.
	Spare []Use
	// Details are the decoded fields in the order of the manual.
	Details []Detail
}

// Description is what is fixed in code about a format.
type Description struct {
	// Format is the registry number.
	Format Format
	// Name is the format's name in policies and reports, such as "tpm".
	Name string
	// Mode is the format's one binding mode.
	Mode Mode
	// Anchor is what keeps the log of this format.
	Anchor AnchorKind
	// QuotedHash is the hash that [Quoted] uses: SHA-256 for a TPM's 32 bytes
	// of extraData, SHA-512 for 64 bytes of report data.
	QuotedHash Alg
	// RootRole is the role whose roots an identity of this format ends in.
	RootRole string
	// NotApplicable are the ids of checks that do not concern this format.
	NotApplicable []string
	// Register is the number of the register that anchors the log, where the format has
	// but one for it, and RegisterBank its algorithm; 0 for the others.
	Register uint32
	// RegisterBank is the register's algorithm, or 0.
	RegisterBank Alg
	// Measurements are the digests that claims of this format state.
	Measurements []MeasurementField
	// Attributes are the numbers that claims of this format state.
	Attributes []AttributeField
	// Versions are the names of the security versions in [TCB.Versions].
	Versions []string
	// VendorStatus tells that the vendor publishes a status of platforms, without which
	// slot.tcb is not established.
	VendorStatus bool
	// Program tells that what is launched is one program, the launcher itself, and nothing
	// else is there that could have evidence made: an enclave.
	Program bool
}

// Scheme appraises one evidence format: is this quote genuine, and what does
// it state? Implementations are pure, safe for concurrent use, and never keep
// or change what they are given.
type Scheme interface {
	// Describe returns the constants of the format.
	Describe() Description
	// Verify checks ev against anchors at time at (which must not be zero).
	// Claims and error exclude each other; the error wraps ErrForm,
	// ErrSignature, ErrMode, ErrNoKey or ErrArgument. Identity, revocation and TCB are
	// findings inside the claims, because genuine evidence by a stranger is
	// still genuine.
	Verify(ev *Evidence, anchors *Anchors, at time.Time) (*Claims, error)
}

// Attester produces evidence of one format. Implementations own their device;
// calls are serialised by the caller.
type Attester interface {
	// Manifest describes the slot as it stands now: format, mode, anchor, key
	// id and register descriptor with the register's current value. The slot
	// number is the caller's to set.
	Manifest(ctx context.Context) (Slot, error)
	// Attest quotes the statement for one slot of its manifest. It computes
	// the quoted data itself and refuses a statement that does not encode or
	// has no such slot.
	Attest(ctx context.Context, slot uint8, st *Statement) (*Evidence, error)
	io.Closer
}

// Measurer extends the register that anchors the event log.
type Measurer interface {
	// Banks returns the active banks in ascending order of their numbers;
	// every one of them must be extended.
	Banks(ctx context.Context) ([]Alg, error)
	// Read returns the register's current value in every active bank.
	Read(ctx context.Context) ([]RegisterValue, error)
	// Extend extends the register in every active bank in one command; digests
	// are in the order of Banks.
	Extend(ctx context.Context, digests [][]byte) error
}

// Life identifies one life of a register: from its reset to the next.
type Life struct {
	// Identity is a digest that is stable for the TPM or TEE instance.
	Identity [32]byte
	// Counters are the counters now.
	Counters Counters
}

// LifeReader is the optional capability of a Measurer whose register has a
// life to be told apart from others (a TPM's).
type LifeReader interface {
	// Life returns the identity and the counters of the register's life.
	Life(ctx context.Context) (Life, error)
}

// BootReader is the optional capability of an [Attester] on whose machine logs of
// what booted are kept: those that explain the registers of the very device that
// quotes. Nothing that it returns is trusted.
type BootReader interface {
	// EventLog returns the firmware's log (TCG PC Client Platform Firmware
	// Profile, 10.2), complete since the system runs; nil if there is none.
	EventLog(ctx context.Context) ([]byte, error)
	// FileList returns the beginning of the kernel's list of measured files
	// (IMA) whose digests give the register that ev quotes, or, for nil, as it
	// stands now; nil if there is no list, or none that does.
	FileList(ctx context.Context, ev *Evidence) ([]byte, error)
}
