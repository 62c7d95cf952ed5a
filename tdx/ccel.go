package tdx

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/bootlog"
)

// firmwareRegisters are RTMR0 to RTMR2: what the firmware and the boot loader extend,
// and its log explains.
const firmwareRegisters = 3

// ErrLog tells of a firmware's log that does not give the quoted registers.
var ErrLog = errors.New("firmware log does not give the quoted registers")

// BootLog parses a firmware's log (collateral of kind "ccel") and holds it against the
// registers of claims: replayed it must give RTMR0 to RTMR2 as quoted, where a register
// that it does not extend must be zeros. Only then is a log returned; its indices are
// those of UEFI, where 1 to 3 are RTMR0 to RTMR2.
//
// The error wraps [attest.ErrForm] for a log that does not parse or has no digests of
// SHA-384, and [ErrLog] for one that is of another boot.
func BootLog(quoted []attest.RegisterValue, ccel []byte) (*bootlog.Log, error) {
	l, err := bootlog.Parse(ccel, bootlog.MRs)
	if err != nil {
		return nil, fmt.Errorf("parsing the firmware's log: %w", err)
	}
	if !l.Has(attest.SHA384) {
		return nil, fmt.Errorf("the firmware's log has no digests of sha384: %w", attest.ErrForm)
	}
	values, err := l.Replay(attest.SHA384, nil)
	if err != nil {
		return nil, fmt.Errorf("replaying the firmware's log: %w", err)
	}
	for i := range uint32(firmwareRegisters) {
		want := make([]byte, attest.SHA384.Size())
		for _, v := range values {
			if v.Index == i+1 {
				want = v.Value
			}
		}
		found := false
		for _, r := range quoted {
			found = found || r.Bank == attest.SHA384 && r.Index == i && bytes.Equal(r.Value, want)
		}
		if !found {
			return nil, fmt.Errorf("rtmr%d: %w", i, ErrLog)
		}
	}
	return l, nil
}

// appraiseLogs holds the firmware's log against the quoted registers. The first that
// gives them counts; if there are logs and none does, they are of another boot, and the
// collateral is not coherent.
func appraiseLogs(c *attest.Claims, items []attest.Collateral) {
	var first error
	for i := range items {
		if items[i].Kind != attest.CollateralCCEL {
			continue
		}
		l, err := BootLog(c.Registers, items[i].Data)
		if err != nil {
			if first == nil {
				first = err
			}
			continue
		}
		c.Used = append(c.Used, attest.Use{Index: i, What: fmt.Sprintf("firmware log of %d events", len(l.Events))})
		sortUses(c.Used)
		c.Details = append(c.Details, attest.Detail{Name: "firmware log", Value: fmt.Sprintf("%d events give RTMR0 to RTMR2", len(l.Events))})
		return
	}
	if first == nil {
		return
	}
	c.Details = append(c.Details, attest.Detail{Name: "firmware log", Value: first.Error()})
	c.Coherent = attest.Finding{Status: attest.Failed, Detail: "the firmware's log is not of this boot: " + first.Error()}
}

// sortUses puts items in ascending order.
func sortUses(uses []attest.Use) {
	slices.SortFunc(uses, func(a, b attest.Use) int { return cmp.Compare(a.Index, b.Index) })
}
