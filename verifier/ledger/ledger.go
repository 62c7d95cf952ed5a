// Package ledger is the distrust ledger: a small list of hardware whose signatures
// should no longer be believed, and since when (docs/SPEC.md, section 12).
//
// Vendors revoke certificates seldom and late, and what a processor signed before its
// keys could be taken from it stays true. So an entry says of which evidence it speaks,
// what is known about it, and a day: evidence that a time stamp shows to be older than
// that day is untouched, all other is distrusted. Without a time stamp evidence has no
// age, whatever it says of itself.
//
// # Who keeps it
//
// A ledger is part of this package ([Builtin]), reviewed like its source: what is public
// about the hardware that Sworn knows. Anybody can keep one besides, and sign it with a
// key that the relying party has chosen to trust ([Open]); never with one that the file
// brings. Ledgers add up: an entry of one cannot take back an entry of another.
//
// # What an entry does
//
// By its class. [ClassSoftware] is a break that needs no hands on the machine: evidence
// like this could have been made by anybody, and it fails. [ClassPhysical] needs the
// hardware on a table: whether whoever holds it did that is not for evidence to say, so a
// verdict names it as what it assumes. [ClassSuspected] is what nobody has shown and
// nobody has excluded; it is named as well. A policy may refuse either of these two.
//
// # What can go wrong with the file
//
// It is a note of the checksum database's format (C2SP signed-note) around one line of
// JSON in its RFC 8785 form, with exactly one signature, by a key that the caller named:
// no byte of it can change. A member that this version does not know makes it unreadable:
// an entry that is not understood must not be passed over. Its version only grows, so
// that whoever remembers a number notices that an older file is served again. That a
// newer one is withheld nobody can notice from the file; its date is in every verdict.
//
// The package is pure: no file, no network, no clock.
package ledger

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/limits"
)

// Type is the type and version of the documents that this version reads.
const Type = "sworn.ledger/v1"

// The sentinels that every error of this package wraps.
var (
	// ErrForm: a document, a file or a key that does not parse exactly, or breaks a rule.
	ErrForm = errors.New("malformed ledger")
	// ErrSignature: a file that no key of the caller's signed, or not this one.
	ErrSignature = errors.New("ledger not signed by a trusted key")
	// ErrRollback: a ledger older than one that is known.
	ErrRollback = errors.New("ledger is older than one that is known")
)

// Class says what an attack needs, and so what an entry does to a verdict.
type Class string

// The classes.
const (
	// ClassSoftware: whoever can run software, there or anywhere, can make evidence like
	// this. Check ledger fails.
	ClassSoftware Class = "software"
	// ClassPhysical: whoever has the hardware in their hands can. The verdict assumes
	// that nobody did, and says so.
	ClassPhysical Class = "physical"
	// ClassSuspected: nobody has shown that evidence like this can be made, and nobody has
	// excluded it. The verdict assumes that it cannot, and says so.
	ClassSuspected Class = "suspected"
)

// The bounds of a document, beside the size of its file ([limits.LedgerFile]).
const (
	maxEntries    = 4096
	maxID         = 64   // bytes, of an entry's id
	maxName       = 128  // bytes, of a ledger's name and of a key's
	maxTitle      = 256  // bytes
	maxReason     = 4096 // bytes
	maxReferences = 32   // of an entry
	maxReference  = 1024 // bytes
	depth         = 8    // of its JSON
)

// Document is what a ledger says. The zero Document is refused.
type Document struct {
	// Type is [Type].
	Type string `json:"type"`
	// Name says whose ledger it is, in 1 to 128 characters of printable ASCII without
	// blank or "+", such as "example.com/distrust". Versions are compared within a name.
	Name string `json:"name"`
	// Version is an unsigned 64-bit number in decimal, at least 1, that only grows.
	Version string `json:"version"`
	// Issued is the day on which this version was made, YYYY-MM-DD, in UTC.
	Issued string `json:"issued"`
	// Entries are at most 4,096, each id once. None is a ledger too.
	Entries []Entry `json:"entries"`
}

// Entry is one reason not to believe some evidence.
type Entry struct {
	// ID names the entry for good, in 1 to 64 characters of a-z, A-Z, 0-9, ".", "_" and
	// "-", the first a letter or digit.
	ID string `json:"id"`
	// Title is one printable line for people, at most 256 bytes.
	Title string `json:"title"`
	// Class says what the attack needs.
	Class Class `json:"class"`
	// UnlessStampedBefore is the first day, YYYY-MM-DD, from 00:00:00 UTC, on which
	// evidence could have been forged: what a time stamp shows to be older is not
	// distrusted. Empty distrusts it whatever its age.
	UnlessStampedBefore string `json:"unless_stamped_before,omitzero"`
	// Reason says what is known and what is not, in one printable line, at most 4,096
	// bytes.
	Reason string `json:"reason"`
	// References say who found it, at most 32 of up to 1,024 bytes each without blanks.
	References []string `json:"references"`
	// Match says which evidence it is about.
	Match Selector `json:"match"`
}

// ParseDocument parses a document that a person wrote: strict JSON of at most 1 MiB in
// which no member is unknown, and whose layout is free. The error wraps [ErrForm].
func ParseDocument(b []byte) (*Document, error) {
	if len(b) > limits.LedgerFile {
		return nil, fmt.Errorf("%d bytes, limit %d: %w", len(b), limits.LedgerFile, ErrForm)
	}
	d := new(Document)
	if err := cer.UnmarshalStrict(b, depth, d); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForm, err)
	}
	if err := d.check(); err != nil {
		return nil, err
	}
	return d, nil
}

// Encode returns the document in its RFC 8785 form, which is what is signed. It refuses
// what [ParseDocument] would refuse.
func (d *Document) Encode() ([]byte, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	b, err := cer.MarshalCanonical(d)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForm, err)
	}
	if len(b) > limits.LedgerFile {
		return nil, fmt.Errorf("%d bytes, limit %d: %w", len(b), limits.LedgerFile, ErrForm)
	}
	return b, nil
}

// number returns the version; the document has been checked.
func (d *Document) number() uint64 {
	n, err := cer.ParseUint(d.Version)
	if err != nil {
		return 0
	}
	return n
}

// check enforces every rule of a document, also of one made by hand.
func (d *Document) check() error {
	if d == nil {
		return fmt.Errorf("no document: %w", ErrForm)
	}
	if d.Type != Type {
		return wrong("type", "is %.64q, want %q", d.Type, Type)
	}
	if !isName(d.Name) {
		return wrong("name", "is %.160q, want 1 to %d characters of printable ASCII without blank or +", d.Name, maxName)
	}
	if n, err := cer.ParseUint(d.Version); err != nil || n == 0 {
		return wrong("version", "is %.64q, want a number from 1 in plain digits, as a string", d.Version)
	}
	if _, err := day(d.Issued); err != nil {
		return wrong("issued", "%w", err)
	}
	if n := len(d.Entries); n > maxEntries {
		return wrong("entries", "has %d, limit %d", n, maxEntries)
	}
	seen := make(map[string]bool, len(d.Entries))
	for i := range d.Entries {
		e := &d.Entries[i]
		at := fmt.Sprintf("entries[%d]", i)
		if err := e.check(at); err != nil {
			return err
		}
		if seen[e.ID] {
			return wrong(at+".id", "%s stands twice", e.ID)
		}
		seen[e.ID] = true
	}
	return nil
}

// check enforces the rules of one entry.
func (e *Entry) check(at string) error {
	if !isID(e.ID) {
		return wrong(at+".id", "is %.160q, want 1 to %d of a-z, A-Z, 0-9, dot, underscore and hyphen", e.ID, maxID)
	}
	at += " (" + e.ID + ")"
	if err := line(e.Title, maxTitle); err != nil {
		return wrong(at+".title", "%w", err)
	}
	switch e.Class {
	case ClassSoftware, ClassPhysical, ClassSuspected:
	default:
		return wrong(at+".class", "is %.64q, want %q, %q or %q", e.Class, ClassSoftware, ClassPhysical, ClassSuspected)
	}
	if e.UnlessStampedBefore != "" {
		if _, err := day(e.UnlessStampedBefore); err != nil {
			return wrong(at+".unless_stamped_before", "%w", err)
		}
	}
	if err := line(e.Reason, maxReason); err != nil {
		return wrong(at+".reason", "%w", err)
	}
	if n := len(e.References); n > maxReferences {
		return wrong(at+".references", "has %d, limit %d", n, maxReferences)
	}
	for i, r := range e.References {
		if err := line(r, maxReference); err != nil || strings.Contains(r, " ") {
			return wrong(fmt.Sprintf("%s.references[%d]", at, i), "want an address without blanks")
		}
	}
	return e.Match.check(at + ".match")
}

// Before returns the instant before which evidence must have been stamped; zero if no
// time stamp helps, or the entry is malformed.
func (e *Entry) Before() time.Time {
	t, err := day(e.UnlessStampedBefore)
	if err != nil {
		return time.Time{}
	}
	return t
}

// applies reports whether the entry's day does not excuse evidence that was stamped then;
// zero if it was not.
func (e *Entry) applies(stamped time.Time) bool {
	before := e.Before()
	return before.IsZero() || stamped.IsZero() || !stamped.Before(before)
}

// wrong returns an error that wraps ErrForm and names the member.
func wrong(member, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %w", ErrForm, member, fmt.Errorf(format, args...))
}

// day reads YYYY-MM-DD of a year from 1.
func day(s string) (time.Time, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil || t.IsZero() || t.Format(time.DateOnly) != s {
		return time.Time{}, fmt.Errorf("is %.64q, want a day, YYYY-MM-DD", s)
	}
	return t, nil
}

// isName reports whether s can be the name of a ledger or a key.
func isName(s string) bool {
	return s != "" && len(s) <= maxName && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '+' }) < 0
}

// isID reports whether s can be the id of an entry.
func isID(s string) bool {
	if s == "" || len(s) > maxID || strings.ContainsRune("._-", rune(s[0])) {
		return false
	}
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._-", r) {
			return false
		}
	}
	return true
}

// line checks text that reports print for people.
func line(s string, size int) error {
	switch {
	case len(s) > size:
		return fmt.Errorf("has %d bytes, limit %d", len(s), size)
	case !utf8.ValidString(s) || strings.TrimSpace(s) == "" || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		return fmt.Errorf("is %.100q, want one printable line", s)
	default:
		return nil
	}
}

// clone returns a copy that shares nothing with d.
func (d *Document) clone() Document {
	out := *d
	out.Entries = slices.Clone(d.Entries)
	for i := range out.Entries {
		e := &out.Entries[i]
		e.References = slices.Clone(e.References)
		e.Match = e.Match.clone()
	}
	return out
}
