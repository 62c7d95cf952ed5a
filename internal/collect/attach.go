package collect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/signer"
)

// The kinds of the logs of what booted, behind which only signatures over the record
// stand in a capsule (docs/SPEC.md, section 7).
const (
	kindEventLog = "eventlog"
	kindIMA      = "ima"
)

// Attached is what became of a capsule.
type Attached struct {
	// File is the capsule, byte for byte the one that was given if nothing changed.
	File []byte
	// Added and Removed count the vendors' items that came and went; Kept those that
	// stayed.
	Added, Removed, Kept int
	// Problems are the items that could not be had.
	Problems []*ItemError
}

// Attach puts into a capsule what verifying it offline needs: the vendors' items that
// its schemes rely on, of those that it has and those that can be got, between the
// signatures of models and the logs of what booted. What a stamped record has stays
// beside what is newer. Nothing else of the capsule changes: no record, statement, evidence, log. The error is cer's, for what is no capsule, or
// the scheme's, if evidence does not verify with everything that could be had, and then
// names what could not; a capsule that fails stays as it is.
func (c *Collector) Attach(ctx context.Context, file []byte) (*Attached, error) {
	capsule, err := cer.ParseCapsule(file)
	if err != nil {
		return nil, fmt.Errorf("reading the record: %w", err)
	}
	evidence := slices.Clone(capsule.Evidence)
	for i := range evidence {
		evidence[i].Collateral = vendors(capsule.Collateral)
	}
	items, problems, err := c.gather(ctx, evidence)
	if err != nil {
		return nil, fmt.Errorf("the evidence does not verify with what could be had: %w", errors.Join(append([]error{err}, reasons(problems)...)...))
	}
	out := &Attached{File: file, Problems: problems}
	before := vendors(capsule.Collateral)
	if len(capsule.Tokens) > 0 {
		// The verdict as of the record's time needs what was published then.
		items = distinct(slices.Concat(before, items))
	}
	for i := range before {
		if has(items, before[i].Kind, before[i].Data) {
			out.Kept++
		}
	}
	out.Added, out.Removed = len(items)-out.Kept, len(before)-out.Kept
	if out.Added == 0 && out.Removed == 0 {
		return out, nil
	}
	if out.File, err = withVendors(capsule, items); err != nil {
		return nil, err
	}
	return out, nil
}

// reasons returns problems as errors.
func reasons(problems []*ItemError) []error {
	var all []error
	for _, p := range problems {
		all = append(all, p)
	}
	return all
}

// vendors returns the vendors' items among a capsule's.
func vendors(items []attest.Collateral) []attest.Collateral {
	return slices.DeleteFunc(slices.Clone(items), func(x attest.Collateral) bool { return !VendorKind(x.Kind) })
}

// withVendors encodes a capsule with other vendors' items, and looks whether nothing
// else came out differently.
func withVendors(c *cer.Capsule, items []attest.Collateral) ([]byte, error) {
	rest := slices.DeleteFunc(slices.Clone(c.Collateral), func(x attest.Collateral) bool { return VendorKind(x.Kind) })
	unsigned, _ := signer.Split(rest)
	at := len(unsigned)
	for at > 0 && bootKind(rest[at-1].Kind) {
		at--
	}
	changed := *c
	changed.Collateral = slices.Concat(rest[:at], items, rest[at:])
	file, err := changed.Encode()
	if err != nil {
		return nil, fmt.Errorf("writing the record: %w", err)
	}
	again, err := cer.ParseCapsule(file)
	if err != nil {
		return nil, fmt.Errorf("writing the record: %w", err)
	}
	if !bytes.Equal(again.CER, c.CER) || !bytes.Equal(again.Statement, c.Statement) || !bytes.Equal(again.Signature, c.Signature) ||
		!bytes.Equal(again.Log, c.Log) || !slices.EqualFunc(again.Items, c.Items, bytes.Equal) {
		return nil, fmt.Errorf("writing the record would change more than its collateral: %w", ErrArgument)
	}
	return file, nil
}

// bootKind reports whether a kind of collateral tells what booted.
func bootKind(kind string) bool {
	return kind == kindEventLog || kind == kindIMA || kind == attest.CollateralCCEL
}
