package verifier

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/oms"
	"github.com/sworn-run/sworn/verifier/ledger"
)

// ErrInput is the caller's own mistake: no time, a policy that is no policy. It
// is not a verdict.
var ErrInput = errors.New("invalid verifier input")

// ErrRecord is a record that cannot serve as the model of a policy.
var ErrRecord = errors.New("the record is not known good")

// File is a file the relying party holds against the record.
type File struct {
	// SHA256 is its digest.
	SHA256 [32]byte
	// FSVerity is its fs-verity digest (SHA-256, blocks of 4,096 bytes, no salt);
	// nil if it was not computed.
	FSVerity *[32]byte
	// Size is its length in bytes.
	Size uint64
	// Label is how reports name it, such as its base name.
	Label string
}

// NamedFile is a file held against one weights component.
type NamedFile struct {
	// Name is the component's name, such as "default".
	Name string
	File
}

// Input is what a relying party brings. The zero Input is refused.
type Input struct {
	// Policy is the policy; nil appraises without one, which is never trusted.
	Policy *Policy
	// Roots are the relying party's own trust anchors; nil adds none to the pins.
	Roots *TrustStore
	// RootsOnly leaves out the pinned roots of vendors ([Pins]).
	RootsOnly bool
	// Now is the verdict's time; zero is refused.
	Now time.Time
	// At, if not zero, asks for a hypothetical verdict at another time; it
	// decides only where the policy allows it.
	At time.Time
	// Nonce is the relying party's nonce; nil if it gave none.
	Nonce []byte
	// InputFile and OutputFile ask whether the record is about these files.
	InputFile, OutputFile *File
	// Weights ask whether these are the weights that were measured.
	Weights []NamedFile
	// Collateral is what vendors have published since, beside what the record carries: it
	// is used like that, if it concerns the evidence, and need not. Lists of type
	// [attest.CollateralCRL] are also held against the certificates of time-stamping
	// authorities.
	Collateral []attest.Collateral
	// Ledgers are distrust ledgers beside the built-in one, at most 16, each of another
	// name; one of the built-in ledger's name must not be older than that. None takes back
	// an entry of another.
	Ledgers []*ledger.Ledger
	// WithoutBuiltinLedgerUnsafe leaves out the built-in ledger; every verdict says so.
	WithoutBuiltinLedgerUnsafe bool
	// Opening is the file that opens commitments of the one record; nil if none was
	// given. One that is not right fails check record.opening.
	Opening []byte
	// Sigstore verifies model signatures that were made through Sigstore; nil if
	// there is nothing that can, and then they are not established.
	Sigstore oms.SigstoreVerifier
	// Version and Digest identify the verifier in the report.
	Version string
	// Digest is SHA-256 of the verifier's executable; zeros if unknown.
	Digest [32]byte

	// judges are the ledgers that judge; nil before they are found.
	judges []*ledger.Ledger
	// schemes appraise the evidence of all records together; nil stands for [Schemes].
	schemes []attest.Scheme
}

// appraisal is one run over one capsule at one time.
type appraisal struct {
	in      *Input
	at      time.Time
	anchors *attest.Anchors
	// evidence is what was found before of what the capsule shares with others; nil where
	// everything is looked at here.
	evidence *evidence
	// brief leaves out of the report what no verdict needs.
	brief bool

	capsule *cer.Capsule
	record
	statement *attest.Statement
	log       *attest.Log
	structure *attest.Structure
	origin    *cer.Origin
	begin     *cer.Begin
	// own is the last segment of the log, which must be this launch.
	own          *attest.Segment
	components   []*cer.Component
	environments map[string]*cer.Environment
	slots        []slotResult
	boot         bootLogs
	// signers are those of the record itself, made when the first check asks.
	signers *recordSigners
	// items and byWeights are made when the first check asks.
	items     []collateralItem
	byWeights map[string][]*cer.Component

	// What several checks need, made by the first that does.
	policyLists map[componentID]bool
	// stamps are the capsule's tokens, judged by what is known at the time of the verdict
	// as of now.
	stamps []timeStamp
	// now is the appraisal as of now where this one is as of the record's time, else nil.
	now *appraisal
	// series is what the records given show together; nil before they are.
	series *series

	// ledgerErr says why there are no ledgers.
	ledgerErr error
	// Why something above is nil.
	capsuleErr, statementErr, logErr, launchErr error
}

// record is what an appraisal knows of one capsule alone. The rest it may have in common
// with those of others ([evidence]).
type record struct {
	// size is that of the capsule file, which file returns.
	size int
	file func() []byte

	bundle  *cer.Bundle
	runtime *cer.Runtime
	// opening is the opening given, if all of it is right; openingErr why it is not.
	opening    *cer.Opening
	openingErr error

	// Why something above is nil.
	bundleErr, hashErr, runtimeErr error
}

// slotResult is what a scheme said of one slot.
type slotResult struct {
	slot     *attest.Slot
	evidence *attest.Evidence
	scheme   attest.Scheme
	desc     attest.Description
	claims   *attest.Claims
	err      error
	boot     slotBoot
}

// newAppraisal parses everything that can be parsed; what cannot stays nil, and
// the checks say so.
func newAppraisal(in *Input, at time.Time, file []byte) *appraisal {
	a := emptyAppraisal(in, at)
	a.size, a.file = len(file), func() []byte { return file }
	if a.capsule, a.capsuleErr = cer.ParseCapsule(file); a.capsuleErr != nil {
		return a
	}
	a.readRecord()
	a.readEvidence()
	return a
}

// emptyAppraisal is one of nothing yet.
func emptyAppraisal(in *Input, at time.Time) *appraisal {
	a := &appraisal{in: in, at: at, anchors: &attest.Anchors{}, environments: map[string]*cer.Environment{}}
	if in.judges == nil {
		if found, err := in.withLedgers(); err != nil {
			a.ledgerErr = err
		} else {
			a.in = found
		}
	}
	if in.Roots != nil {
		a.anchors = in.Roots.Anchors()
	}
	if !in.RootsOnly {
		a.anchors.Pins = Pins()
	}
	return a
}

// readRecord parses the record.
func (a *appraisal) readRecord() {
	a.bundle, a.bundleErr = cer.ParseBundle(a.capsule.CER)
	_, a.hashErr = cer.VerifyIntegrity(a.capsule.CER)
	if a.bundle != nil {
		a.runtime, a.runtimeErr = parseRuntime(a.bundle)
		a.readOpening()
	}
}

// readEvidence parses, and has judged, what the capsule may share with others.
func (a *appraisal) readEvidence() {
	a.statement, a.statementErr = attest.ParseStatement(a.capsule.Statement)
	if a.log, a.logErr = attest.ParseLog(a.capsule.Log); a.log != nil {
		a.structure, a.launchErr = a.log.Structure()
	}
	if a.structure != nil {
		a.own = &a.structure.Segments[len(a.structure.Segments)-1]
		a.launchErr = a.readLaunch()
	}
	if a.statement != nil {
		a.appraiseSlots()
	}
	a.readBoot()
	a.stamps = a.judgeStamps(a.at)
}

// parseRuntime parses the runtime of a bundle that must have one.
func parseRuntime(b *cer.Bundle) (*cer.Runtime, error) {
	if b.Snapshot.Runtime == nil {
		return nil, fmt.Errorf("snapshot has no runtime: %w", cer.ErrSchema)
	}
	return cer.ParseRuntime(b.Snapshot.Runtime)
}

// readLaunch reads origin, launch-begin, components and environments from their
// disclosed data.
func (a *appraisal) readLaunch() error {
	var err error
	if o := a.structure.Origin; o.Disclosed {
		if a.origin, err = cer.ParseOrigin(o.Data); err != nil {
			return fmt.Errorf("origin: %w", err)
		}
	}
	if !a.own.Begin.Disclosed {
		return fmt.Errorf("launch-begin is withheld: %w", cer.ErrSchema)
	}
	if a.begin, err = cer.ParseBegin(a.own.Begin.Data); err != nil {
		return fmt.Errorf("launch-begin: %w", err)
	}
	seen := map[string]bool{}
	for _, e := range a.own.Components {
		if !e.Disclosed {
			return fmt.Errorf("component event %d is withheld: %w", e.Index, cer.ErrSchema)
		}
		c, err := cer.ParseComponent(e.Data)
		if err != nil {
			return fmt.Errorf("event %d: %w", e.Index, err)
		}
		if seen[c.Key()] {
			return fmt.Errorf("event %d: %s is measured twice: %w", e.Index, c.Key(), cer.ErrSchema)
		}
		seen[c.Key()] = true
		a.components = append(a.components, c)
	}
	for _, e := range a.own.Environments {
		if !e.Disclosed {
			return fmt.Errorf("environment event %d is withheld: %w", e.Index, cer.ErrSchema)
		}
		env, err := cer.ParseEnvironment(e.Data)
		if err != nil {
			return fmt.Errorf("event %d: %w", e.Index, err)
		}
		if a.environments[env.Kind] != nil {
			return fmt.Errorf("event %d: environment %s stands twice: %w", e.Index, env.Kind, cer.ErrSchema)
		}
		a.environments[env.Kind] = env
	}
	for _, k := range []string{cer.KindIsolation, cer.KindMemory, cer.KindLimits, cer.KindHost} {
		if a.environments[k] == nil {
			return fmt.Errorf("environment %s is missing: %w", k, cer.ErrSchema)
		}
	}
	if (a.environments[cer.KindParameters] == nil) == (a.environments[cer.KindCommitments] == nil) {
		return fmt.Errorf("environment %s or %s is missing, or both are there: %w", cer.KindParameters, cer.KindCommitments, cer.ErrSchema)
	}
	if err := cer.CheckWasm(a.environments[cer.KindWasm], a.environments[cer.KindIsolation], a.components); err != nil {
		return err
	}
	if len(a.own.Separator.Data) != 0 || !a.own.Separator.Disclosed {
		return fmt.Errorf("separator carries data: %w", cer.ErrSchema)
	}
	return nil
}

// appraiseSlots runs the scheme of each manifest slot over its evidence item.
func (a *appraisal) appraiseSlots() {
	all := a.in.schemes
	if all == nil {
		all = Schemes()
	}
	for i := range a.statement.Manifest {
		r := slotResult{slot: &a.statement.Manifest[i]}
		if r.scheme = scheme(all, r.slot.Format); r.scheme != nil {
			r.desc = r.scheme.Describe()
		}
		if i < len(a.capsule.Evidence) {
			r.evidence = &a.capsule.Evidence[i]
		}
		if r.scheme != nil && r.evidence != nil && r.evidence.Format == r.slot.Format {
			ev := *r.evidence
			ev.Collateral = slices.Concat(a.capsule.Collateral, a.in.Collateral)
			r.claims, r.err = r.scheme.Verify(&ev, a.anchors, a.at)
		}
		a.slots = append(a.slots, r)
	}
}

// formats returns the names of the manifest's formats, sorted.
func (a *appraisal) formats() []string {
	var out []string
	for _, s := range a.slots {
		out = append(out, s.desc.Name)
	}
	slices.Sort(out)
	return out
}

// applicable reports whether a check concerns any format of the manifest.
func (a *appraisal) applicable(id string) bool {
	for _, s := range a.slots {
		if !slices.Contains(s.desc.NotApplicable, id) {
			return true
		}
	}
	return len(a.slots) == 0
}

// run runs all checks in order.
func (a *appraisal) run() []Check {
	all := a.evidence.definitions()
	out := make([]Check, 0, len(all)+10*len(a.slots))
	for i := range all {
		out = a.evidence.append(out, a, &all[i])
	}
	return out
}

// runOne runs one check, for each slot if it is about slots.
func (a *appraisal) runOne(out []Check, d *definition) []Check {
	if d.slot == nil {
		return append(out, a.check(d, nil, d.run))
	}
	if len(a.slots) == 0 {
		return append(out, a.check(d, nil, func(*appraisal) outcome { return unknown("the manifest cannot be read") }))
	}
	for i := range a.slots {
		out = append(out, a.check(d, &i, func(a *appraisal) outcome { return d.slot(a, i) }))
	}
	return out
}

// rerunSeries makes the checks of the series again, in place, once it is known.
func (a *appraisal) rerunSeries(checks []Check) {
	if a.series == nil {
		return
	}
	for _, d := range definitions() {
		for i := range checks {
			if checks[i].ID == d.id && strings.HasPrefix(d.id, "series.") {
				checks[i] = a.check(&d, nil, d.run)
			}
		}
	}
}

// check runs one check and gives it its class, waiver and place.
func (a *appraisal) check(d *definition, slot *int, run func(*appraisal) outcome) Check {
	c := Check{ID: d.id, Class: d.class.String(), Spec: d.spec, Passes: d.passes}
	if slot != nil {
		n := *slot
		c.Slot = &n
	}
	o := run(a)
	c.Status, c.Detail, c.Want, c.Got = o.Status.String(), o.Detail, o.want, o.got
	c.status, c.class = o.Status, d.class
	c.keyless = slot != nil && errors.Is(a.slots[*slot].err, attest.ErrNoKey)
	c.Counts = d.class != ClassInfo && (d.asked == nil || d.asked(a))
	if d.class == ClassRequired && c.Counts && !c.ok() && a.in.Policy != nil {
		for _, w := range a.in.Policy.Waive {
			if w.Check == d.id {
				c.Waived = w.Reason
			}
		}
	}
	return c
}

// digest returns the SHA-256 of the capsule file.
func (a *appraisal) digest() [32]byte { return sha256.Sum256(a.file()) }
