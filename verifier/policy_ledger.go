package verifier

import (
	"fmt"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/verifier/ledger"
)

// The values of [LedgerPolicy.Physical] and [LedgerPolicy.Suspected].
const (
	// LedgerAssume: an entry of this class is named among what the verdict assumes. It is
	// the default.
	LedgerAssume = "assume"
	// LedgerRefuse: an entry of this class fails check ledger.
	LedgerRefuse = "refuse"
)

// LedgerPolicy says what becomes of entries of distrust ledgers. Entries of class
// software fail check ledger whatever it says.
type LedgerPolicy struct {
	// Name is the name of the ledger that MinVersion is about; empty is the built-in one's,
	// [ledger.BuiltinName].
	Name string `json:"name,omitzero"`
	// MinVersion is the least version of that ledger, in decimal, without which nothing is
	// judged; empty for any, or none.
	MinVersion string `json:"min_version,omitzero"`
	// Physical says what becomes of entries about attacks that need the hardware:
	// LedgerAssume, which empty stands for, or LedgerRefuse.
	Physical string `json:"physical,omitzero"`
	// Suspected says the same of entries about what nobody has shown.
	Suspected string `json:"suspected,omitzero"`
}

// wants returns the ledger that must be there, and its least version.
func (p *LedgerPolicy) wants() (name string, least uint64) {
	name = p.Name
	if name == "" {
		name = ledger.BuiltinName
	}
	least, err := cer.ParseUint(p.MinVersion)
	if err != nil {
		return name, ^uint64(0)
	}
	return name, least
}

// checkLedger checks what is said of ledgers.
func (p *Policy) checkLedger() error {
	l := &p.Ledger
	if l.Name != "" && l.MinVersion == "" {
		return policyError("ledger.name", "is %.160q and min_version is missing, without which it asks for nothing", l.Name)
	}
	if l.Name != "" {
		if err := checkLine(l.Name, maxLedgerName); err != nil {
			return policyError("ledger.name", "%w", err)
		}
	}
	if l.MinVersion != "" {
		if n, err := cer.ParseUint(l.MinVersion); err != nil || n == 0 {
			return policyError("ledger.min_version", "is %.64q, want a number from 1 in plain digits, as a string", l.MinVersion)
		}
	}
	for _, m := range []struct{ name, value string }{{"physical", l.Physical}, {"suspected", l.Suspected}} {
		switch m.value {
		case "", LedgerAssume, LedgerRefuse:
		default:
			return policyError("ledger."+m.name, "is %.64q, want %q or %q", m.value, LedgerAssume, LedgerRefuse)
		}
	}
	return nil
}

// maxLedgerName is the longest name of a ledger, in bytes.
const maxLedgerName = 128

// ledger looks at what is said of distrust ledgers.
func (l *linter) ledger() {
	if p := &l.p.Ledger; p.MinVersion != "" {
		name, least := p.wants()
		l.say("ledger: nothing is judged without %s of version %d or later", fmt.Sprintf("%.160q", name), least)
	}
}
