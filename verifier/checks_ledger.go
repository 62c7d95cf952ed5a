package verifier

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/verifier/ledger"
)

// ErrLedgerWanted is a policy that wants a ledger which was not given. It comes with
// [ErrInput].
var ErrLedgerWanted = errors.New("no such ledger")

// LedgerUsed is a distrust ledger that a verdict was held against.
type LedgerUsed struct {
	// Name says whose it is.
	Name string `json:"name"`
	// Version is a number in decimal.
	Version string `json:"version"`
	// Issued is the day on which this version was made, YYYY-MM-DD.
	Issued string `json:"issued"`
	// Digest is SHA-256 of its file in hexadecimal; of the built-in one, of its RFC 8785
	// form.
	Digest string `json:"digest"`
	// Signer names the key that signed it, NAME+HASH; empty for the built-in one.
	Signer string `json:"signer"`
	// Entries is how many it has.
	Entries int `json:"entries"`
}

// withLedgers returns the input with the ledgers that judge: the built-in one, then those
// given. The error wraps ErrInput, and [ledger.ErrRollback] for one that is older than
// what is known or wanted.
func (in *Input) withLedgers() (*Input, error) {
	out := *in
	out.judges = nil
	if len(in.Ledgers) > limits.Ledgers {
		return nil, fmt.Errorf("%d ledgers, limit %d: %w", len(in.Ledgers), limits.Ledgers, ErrInput)
	}
	builtin, err := ledger.Builtin()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInput, err)
	}
	if !in.WithoutBuiltinLedgerUnsafe {
		out.judges = append(out.judges, builtin)
	}
	for i, l := range in.Ledgers {
		switch {
		case l.Name() == "":
			return nil, fmt.Errorf("ledger %d is none: %w", i+1, ErrInput)
		case slices.ContainsFunc(in.Ledgers[:i], func(o *ledger.Ledger) bool { return o.Name() == l.Name() }):
			return nil, fmt.Errorf("two ledgers of the name %s: %w", l.Name(), ErrInput)
		}
		if err := l.Newer(builtin); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInput, err)
		}
		out.judges = append(out.judges, l)
	}
	return &out, out.wantLedger()
}

// wantLedger refuses a policy's wish for a ledger that none of those is. Of two of one
// name, the newer counts.
func (in *Input) wantLedger() error {
	if in.Policy == nil || in.Policy.Ledger.MinVersion == "" {
		return nil
	}
	name, least := in.Policy.Ledger.wants()
	var have uint64
	for _, l := range in.judges {
		if l.Name() == name {
			have = max(have, l.Version())
		}
	}
	switch {
	case have == 0:
		return fmt.Errorf("the policy wants ledger %s of version %d or later, and none is given: %w: %w", name, least, ErrInput, ErrLedgerWanted)
	case have < least:
		return fmt.Errorf("the policy wants ledger %s of version %d or later, not %d: %w: %w", name, least, have, ErrInput, ledger.ErrRollback)
	default:
		return nil
	}
}

// ledgerMatch is an entry that is about a slot's evidence.
type ledgerMatch struct {
	slot int
	what string
	ledger.Match
}

// ledgerMatches returns the entries that are about each slot's evidence, and why that of
// some slot cannot be told; "" if all can.
func (a *appraisal) ledgerMatches() (matches []ledgerMatch, unclear string) {
	stamped, ok := a.tokenTime()
	if !ok {
		stamped = time.Time{}
	}
	for i := range a.slots {
		s := &a.slots[i]
		x := ledger.SubjectOf(s.desc.Name, s.claims)
		switch {
		case x == nil && unclear == "":
			unclear = fmt.Sprintf("slot %d: %s", i, noEvidence(s).Detail)
		case x != nil && x.Root == "" && unclear == "":
			// Nobody vouches for it, so that none could be found to speak against it.
			unclear = fmt.Sprintf("slot %d: whose hardware it is, is not established", i)
		}
		for _, l := range a.in.judges {
			for _, m := range l.Matches(x, stamped) {
				matches = append(matches, ledgerMatch{i, x.What(), m})
			}
		}
	}
	return matches, unclear
}

// refuses reports whether the entry keeps evidence from being trusted, not only from being
// trusted without an assumption.
func (a *appraisal) refuses(m *ledgerMatch) bool {
	var p LedgerPolicy
	if a.in.Policy != nil {
		p = a.in.Policy.Ledger
	}
	switch m.Entry.Class {
	case ledger.ClassPhysical:
		return p.Physical == LedgerRefuse
	case ledger.ClassSuspected:
		return p.Suspected == LedgerRefuse
	case ledger.ClassSoftware:
		return true
	default:
		return true
	}
}

func checkLedger(a *appraisal) outcome {
	if len(a.slots) == 0 {
		return unknown("the manifest cannot be read")
	}
	if a.ledgerErr != nil {
		return unknown(a.ledgerErr.Error())
	}
	matches, unclear := a.ledgerMatches()
	var against, assumed []string
	for i := range matches {
		m := &matches[i]
		if a.refuses(m) {
			against = append(against, m.text(a.tokenTime()))
		} else if !slices.Contains(assumed, m.Entry.ID) {
			assumed = append(assumed, m.Entry.ID)
		}
	}
	got := "no time stamp that can be relied on"
	if t, ok := a.tokenTime(); ok {
		got = "stamped " + t.UTC().Format(time.RFC3339)
	} else if len(a.stampTimes()) > 0 {
		got = "a time stamp, which says nothing as of now"
	}
	switch {
	case len(against) > 0:
		return failed(strings.Join(against, "; ")).with(ledgerWants, got)
	case unclear != "":
		return unknown(unclear + ", so that no ledger can be held against it")
	case len(a.in.judges) == 0:
		return unknown("no ledger was asked")
	case len(assumed) > 0:
		return passed(a.ledgerNames() + ": " + strings.Join(assumed, ", ") + " assumed not to have happened")
	default:
		ok := passed(a.ledgerNames() + ": no entry applies")
		if excused := a.excused(); excused != "" {
			ok.Detail += ": " + excused
			ok = ok.with(ledgerWants, excused)
		}
		return ok
	}
}

// ledgerWants is what check ledger wants.
const ledgerWants = "no entry that applies, or a time stamp before its day"

// excused names the entries that would apply without the time stamp; "" if there is none.
func (a *appraisal) excused() string {
	stamped, ok := a.tokenTime()
	if !ok {
		return ""
	}
	var out []string
	for i := range a.slots {
		x := ledger.SubjectOf(a.slots[i].desc.Name, a.slots[i].claims)
		for _, l := range a.in.judges {
			for _, m := range l.Matches(x, time.Time{}) {
				text := fmt.Sprintf("%s (%s)", m.Entry.ID, m.Entry.UnlessStampedBefore)
				if m.Entry.UnlessStampedBefore != "" && !slices.Contains(out, text) {
					out = append(out, text)
				}
			}
		}
	}
	if out == nil {
		return ""
	}
	return fmt.Sprintf("the time stamp, of %s, is of before the day of %s", stamped.UTC().Format(time.RFC3339), strings.Join(out, ", "))
}

// text says what the entry has against the evidence, which has a time stamp of that time,
// or none.
func (m *ledgerMatch) text(stamped time.Time, ok bool) string {
	since := "of whatever age"
	if d := m.Entry.UnlessStampedBefore; d != "" {
		since = "unless a time stamp shows it to be older than " + d
		if ok {
			since += ", and the one here is of " + stamped.UTC().Format(time.RFC3339)
		}
	}
	return fmt.Sprintf("%s (%s) distrusts %s evidence %s", m.Entry.ID, m.Entry.Title, m.what, since)
}

// ledgerAssumptions are the lines of a verdict's assumptions that ledgers ask for: attacks
// that need the hardware, or that nobody has shown, and which nothing here excludes.
func (a *appraisal) ledgerAssumptions() []string {
	var out []string
	matches, _ := a.ledgerMatches()
	for _, m := range matches {
		line := ""
		switch m.Entry.Class {
		case ledger.ClassPhysical:
			line = fmt.Sprintf("no physical attack on %s (%s)", m.what, m.Entry.ID)
		case ledger.ClassSuspected:
			line = fmt.Sprintf("what is suspected of %s is not so (%s)", m.what, m.Entry.ID)
		case ledger.ClassSoftware:
			continue
		}
		if !slices.Contains(out, line) {
			out = append(out, line)
		}
	}
	if a.in.WithoutBuiltinLedgerUnsafe {
		out = append(out, "the built-in ledger was not asked")
	}
	return out
}

// ledgerNames names the ledgers that judge, in one line.
func (a *appraisal) ledgerNames() string {
	var out []string
	for _, l := range a.in.judges {
		out = append(out, l.String())
	}
	if out == nil {
		return "no ledger"
	}
	return strings.Join(out, ", ")
}

// ledgersUsed are the ledgers that judge, for the report.
func (a *appraisal) ledgersUsed() []LedgerUsed {
	if a.evidence != nil {
		return slices.Clone(a.evidence.ledgers)
	}
	out := []LedgerUsed{}
	for _, l := range a.in.judges {
		digest := l.Digest()
		out = append(out, LedgerUsed{
			Name: l.Name(), Version: strconv.FormatUint(l.Version(), 10), Issued: l.Issued().Format(time.DateOnly),
			Digest: hex.EncodeToString(digest[:]), Signer: l.Signer(), Entries: len(l.Document().Entries),
		})
	}
	return out
}

// ledgersText names the ledgers of a report in one line.
func (r *Report) ledgersText() string {
	var out []string
	for _, l := range r.Ledgers {
		by := "signed by " + oneLine(l.Signer)
		if l.Signer == "" {
			by = "built in"
		}
		noun := "entries"
		if l.Entries == 1 {
			noun = "entry"
		}
		out = append(out, fmt.Sprintf("%s version %s of %s, %s, %d %s", oneLine(l.Name), l.Version, l.Issued, by, l.Entries, noun))
	}
	if out == nil {
		return "none was asked"
	}
	return strings.Join(out, "; ")
}
