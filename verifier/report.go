package verifier

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/sev"
)

// ReportType is the type and version of a report's JSON.
const ReportType = "sworn.report/v1"

// Check is one check of a report.
type Check struct {
	// ID is the check's id (SPEC, section 8).
	ID string `json:"id"`
	// Slot is the manifest slot the check is about; absent for the others.
	Slot *int `json:"slot,omitempty"`
	// Class is core, required or info.
	Class string `json:"class"`
	// Status is passed, failed, not established or not applicable.
	Status string `json:"status"`
	// Waived is the policy's reason for waiving the check, where it did and the
	// check needed it.
	Waived string `json:"waived,omitempty"`
	// Detail is one line for people.
	Detail string `json:"detail"`
	// Want and Got are what was compared, where something was.
	Want string `json:"want,omitempty"`
	// Got is what was found.
	Got string `json:"got,omitempty"`
	// Passes says when the check passes.
	Passes string `json:"passes"`
	// Spec is the clause that defines it.
	Spec string `json:"spec"`
	// Counts is true if the verdict depends on the check: some concern only who asks.
	Counts bool `json:"counts"`

	status attest.Status
	class  Class
	// keyless is true if the slot's evidence lacks the certificate of its key.
	keyless bool
}

// ok reports whether the check stands in no verdict's way by itself.
func (c *Check) ok() bool {
	return c.Status == statusPassed || c.Status == statusNotApplicable
}

// blocks reports whether the check makes the verdict "not trusted".
func (c *Check) blocks() bool { return c.Counts && !c.ok() && c.Waived == "" }

// Verdict is one answer at one time.
type Verdict struct {
	// Status is "trusted", "not trusted" or "not established".
	Status string `json:"status"`
	// Headline is the verdict in one line, with what it rests on.
	Headline string `json:"headline"`
	// Time is the verdict's time, RFC 3339 in UTC; empty if there is none.
	Time string `json:"time,omitempty"`
	// Horizon says how far what is known reaches.
	Horizon string `json:"horizon,omitempty"`
}

// Component is one measured component in a report.
type Component struct {
	// Role, Name and Path say which component.
	Role string `json:"role"`
	// Name is the component's name.
	Name string `json:"name,omitempty"`
	// Path is its path in the job's root.
	Path string `json:"path,omitempty"`
	// Digest are its digests.
	Digest []string `json:"digest,omitempty"`
	// Size is its size in bytes, in decimal.
	Size string `json:"size,omitempty"`
	// Protection is how it is kept from changing.
	Protection string `json:"protection,omitempty"`
	// Value is the value of argv and env as JSON.
	Value string `json:"value,omitempty"`
	// Described is what a model file says of itself; no check relies on it.
	Described []cer.Fact `json:"described,omitempty"`
}

// Summary is what the capsule says, by question. It is meaningful only beside
// the verdict: under "not trusted" it is what was claimed.
type Summary struct {
	// Components is what ran.
	Components []Component `json:"components"`
	// Input, Output and Stderr are what went in and came out.
	Input *Stream `json:"input,omitempty"`
	// Output is the output stream.
	Output *Stream `json:"output,omitempty"`
	// Stderr is the standard error stream.
	Stderr *Stream `json:"stderr,omitempty"`
	// Exit is how the job ended.
	Exit *cer.Exit `json:"exit,omitempty"`
	// Parameters are declared or applied.
	Parameters []Parameter `json:"parameters,omitempty"`
	// Limits are the resource limits that the launcher's user set for the job.
	Limits []cer.Fact `json:"limits,omitempty"`
	// Wasm says how the job was run, if it is a WebAssembly module.
	Wasm []cer.Fact `json:"wasm,omitempty"`
	// ClaimedTime is the producer's claim, RFC 3339.
	ClaimedTime string `json:"claimedTime,omitempty"`
	// Events and EarlierLaunches describe the log.
	Events int `json:"events"`
	// EarlierLaunches is the number of launches before this one.
	EarlierLaunches int `json:"earlierLaunches"`
	// Evidence are the decoded quotes, a list of fields for each slot.
	Evidence [][]Field `json:"evidence"`
	// Booted says what booted, as far as a quote confirms the firmware's log: one
	// line for each fact. None without such a log.
	Booted []string `json:"booted,omitempty"`
	// Signatures are those of operator and countersigners, as far as they parse.
	Signatures []Signature `json:"signatures,omitempty"`
	// CertificateHash identifies the record.
	CertificateHash string `json:"certificateHash,omitempty"`
	// EvidenceDigest is what a time stamp would have to cover.
	EvidenceDigest string `json:"evidenceDigest,omitempty"`
}

// Field is one decoded field of a quote.
type Field struct {
	// Name is the manual's name.
	Name string `json:"name"`
	// Value is the value with its unit.
	Value string `json:"value"`
}

// Report is the whole answer. It exists for every input that is not a caller's
// mistake, however hostile the capsule.
type Report struct {
	// Type is ReportType.
	Type string `json:"type"`
	// Trusted is what decides: whether the record is trusted as of now, or as of its own
	// time, by a time stamp.
	Trusted bool `json:"trusted"`
	// Headline is the first line for people.
	Headline string `json:"headline"`
	// Now is the verdict as of now.
	Now Verdict `json:"verdictNow"`
	// Record is the verdict as of the record's time, which only a time stamp
	// over the evidence can establish.
	Record Verdict `json:"verdictRecord"`
	// Hypothetical is the verdict at a time the caller chose, or null.
	Hypothetical *Verdict `json:"verdictAt"`
	// Decides says which verdict Trusted is: "now", "record" where the record is trusted
	// as of its own time alone, or "at" where the policy lets the time that the caller
	// chose decide.
	Decides string `json:"decides"`
	// Assuming lists what a trusted verdict rests on.
	Assuming []string `json:"assuming"`
	// NotEstablished lists the ids of checks that nothing here establishes.
	NotEstablished []string `json:"notEstablished"`
	// Checks are all checks in their order.
	Checks []Check `json:"checks"`
	// RecordChecks are all checks as of the record's time; empty if there is no such
	// verdict.
	RecordChecks []Check `json:"checksRecord"`
	// Changes are the checks with another outcome now than as of the record's time.
	Changes []Change `json:"changes"`
	// TimeStamps are the record's time-stamp tokens.
	TimeStamps []TimeStamp `json:"timeStamps"`
	// Summary is what the capsule says.
	Summary Summary `json:"summary"`
	// Capsule, Policy and Roots are SHA-256 of what was appraised, in
	// hexadecimal; Policy is empty without a policy.
	Capsule string `json:"capsule"`
	// Policy is the digest of the policy file.
	Policy string `json:"policy"`
	// Roots is the digest of the user's roots.
	Roots string `json:"roots"`
	// Ledgers are the distrust ledgers that the verdict was held against.
	Ledgers []LedgerUsed `json:"ledgers"`
	// Verifier is the verifier's version and the digest of its executable.
	Verifier string `json:"verifier"`
}

// The statuses of a Verdict, and those of a Check as [attest.Status] spells them.
const (
	trusted        = "trusted"
	notTrusted     = "not trusted"
	notEstablished = "not established"

	statusPassed        = "passed"
	statusFailed        = "failed"
	statusNotApplicable = "not applicable"
)

// What decides a report.
const (
	decidesNow    = "now"
	decidesRecord = "record"
	decidesAt     = "at"
)

// Verify appraises a capsule file. Report and error exclude each other; the
// error wraps ErrInput or ErrPolicy and means that no appraisal was made. A
// hostile capsule is no error: its report says which check it failed.
func Verify(capsule []byte, in Input) (*Report, error) {
	reports, err := VerifySeries([][]byte{capsule}, in)
	if err != nil {
		return nil, err
	}
	return reports[0], nil
}

// VerifySeries is [Verify] for up to 1,024 capsule files of 128 MiB in all that are
// given together, in any order: where the policy asks for a series, each is held
// against the others. The reports are in the order of the files.
func VerifySeries(capsules [][]byte, in Input) ([]*Report, error) {
	if err := in.check(capsules); err != nil {
		return nil, err
	}
	found, err := in.prepared()
	if err != nil {
		return nil, err
	}
	return verifyAll(found, func(at time.Time) []*appraisal {
		all := make([]*appraisal, len(capsules))
		for i, c := range capsules {
			all[i] = newAppraisal(found, at, c)
		}
		return all
	}), nil
}

// prepared returns the input with what all appraisals under it use. The error wraps
// ErrInput.
func (in *Input) prepared() (*Input, error) {
	out, err := in.withLedgers()
	if err != nil {
		return nil, err
	}
	out.Sigstore = askOnce(in.Sigstore)
	// Machines of one maker have chains in common, and a second time has them all.
	out.schemes = schemes(sev.NewCache(signatures))
	return out, nil
}

// verifyAll judges capsules that are given together; given parses them for a time.
func verifyAll(in *Input, given func(at time.Time) []*appraisal) []*Report {
	reports := appraiseAll(given(in.Now))
	if in.At.IsZero() {
		return reports
	}
	for i, h := range appraiseAll(given(in.At)) {
		r, v := reports[i], h.Now
		r.Hypothetical = &v
		if in.Policy != nil && in.Policy.AllowAt {
			r.Trusted, r.Headline, r.Checks = h.Trusted, h.Headline, h.Checks
			r.Assuming, r.NotEstablished = h.Assuming, h.NotEstablished
			r.Record, r.RecordChecks, r.Changes, r.TimeStamps = h.Record, h.RecordChecks, h.Changes, h.TimeStamps
			if r.Decides = h.Decides; r.Decides == decidesNow {
				r.Decides = decidesAt
			}
			r.Headline += " (at " + v.Time + ", as the policy allows)"
		}
	}
	return reports
}

// check refuses a caller's mistakes.
func (in *Input) check(capsules [][]byte) error {
	if in.Now.IsZero() {
		return fmt.Errorf("no time given: %w", ErrInput)
	}
	if in.Policy != nil {
		if err := in.Policy.valid(); err != nil {
			return err
		}
	}
	if in.Nonce != nil && (len(in.Nonce) < attest.MinNonce || len(in.Nonce) > attest.MaxNonce) {
		return fmt.Errorf("nonce of %d bytes, want %d to %d: %w", len(in.Nonce), attest.MinNonce, attest.MaxNonce, ErrInput)
	}
	if len(in.Collateral) > limits.CollateralItems || slices.ContainsFunc(in.Collateral, func(c attest.Collateral) bool { return len(c.Data) > limits.CollateralItem }) {
		return fmt.Errorf("collateral of %d items, want %d of %d bytes at most: %w", len(in.Collateral), limits.CollateralItems, limits.CollateralItem, ErrInput)
	}
	if in.Opening != nil && len(capsules) > 1 {
		return fmt.Errorf("an opening of one record, and %d records: %w", len(capsules), ErrInput)
	}
	if n := len(capsules); n < 1 || n > limits.SeriesRecords {
		return fmt.Errorf("%d records, want 1 to %d: %w", n, limits.SeriesRecords, ErrInput)
	}
	size := 0
	for _, c := range capsules {
		size += len(c)
	}
	if len(capsules) > 1 && size > limits.SeriesBytes {
		return fmt.Errorf("records of %d bytes together, limit %d: %w", size, limits.SeriesBytes, ErrInput)
	}
	return nil
}

// appraiseAll judges capsules that are given together, at one time.
func appraiseAll(all []*appraisal) []*Report {
	checks := make([][]Check, len(all))
	for i, a := range all {
		checks[i] = a.run()
	}
	var s *series
	if askedSeries(all[0]) {
		s = newSeries(all, checks)
	}
	reports := make([]*Report, len(all))
	for i, a := range all {
		a.series = s
		a.rerunSeries(checks[i])
		reports[i] = reportOf(a, checks[i])
	}
	return reports
}

// newReport runs the checks and draws the verdict.
func newReport(a *appraisal) *Report { return reportOf(a, a.run()) }

// reportOf draws both verdicts from checks that have been made as of now.
func reportOf(a *appraisal, checks []Check) *Report {
	r := reportAt(a, checks)
	r.judgeRecord(a)
	return r
}

// reportAt draws the verdict of one time.
func reportAt(a *appraisal, checks []Check) *Report {
	r := &Report{
		Type: ReportType, Decides: decidesNow, Checks: checks, Assuming: []string{}, NotEstablished: []string{}, RecordChecks: []Check{},
		Changes: []Change{}, TimeStamps: []TimeStamp{}, Ledgers: a.ledgersUsed(), Verifier: "sworn " + a.in.Version,
	}
	if !a.brief {
		digest := a.digest()
		r.Summary, r.Capsule = a.summary(), hex.EncodeToString(digest[:])
	}
	if a.in.Digest != [32]byte{} {
		r.Verifier += " " + cer.SHA256Digest(a.in.Digest)
	}
	if a.in.Policy != nil {
		d := a.in.Policy.Digest()
		r.Policy = hex.EncodeToString(d[:])
	}
	if a.in.Roots != nil {
		d := a.in.Roots.Digest()
		r.Roots = hex.EncodeToString(d[:])
	}
	for i := range r.Checks {
		c := &r.Checks[i]
		if c.status == attest.NotEstablished && c.class != ClassInfo {
			r.NotEstablished = append(r.NotEstablished, c.ID)
		}
	}
	blocking := r.reason((*Check).blocks)
	r.Assuming = append(a.assumed(), r.waived()...)
	r.Trusted = blocking == nil && a.in.Policy != nil
	r.Headline = a.headline(r, blocking)
	r.Now = Verdict{Status: notTrusted, Headline: r.Headline, Time: a.at.UTC().Format(time.RFC3339), Horizon: a.horizon()}
	if r.Trusted {
		r.Now.Status = trusted
	}
	return r
}

// waived returns the ids of the checks that the policy had to waive.
func (r *Report) waived() []string {
	var out []string
	for i := range r.Checks {
		if c := &r.Checks[i]; c.Waived != "" && !slices.Contains(out, c.ID) {
			out = append(out, c.ID)
		}
	}
	return out
}

// assumed names the user-supplied roots that the verdict rests on, and what a ledger says
// of the evidence that does not refuse it.
func (a *appraisal) assumed() []string {
	if a.evidence != nil {
		return slices.Clone(a.evidence.assumed)
	}
	out := append(append(a.userRoots(), a.signerRoots()...), a.recordSignerRoots()...)
	if askedTime(a) {
		out = append(out, a.authorityRoots()...)
	}
	return append(out, a.ledgerAssumptions()...)
}

// userRoots names every user-supplied root a slot's identity ends in.
func (a *appraisal) userRoots() []string {
	out := []string{}
	for _, s := range a.slots {
		if s.claims == nil || s.claims.Identity.Root == nil || !s.claims.Identity.Root.UserSupplied {
			continue
		}
		cert := s.claims.Identity.Root.Certificate
		spki := SPKIDigest(cert)
		line := fmt.Sprintf("user-supplied root %q %s", cert.Subject.CommonName, hex.EncodeToString(spki[:8]))
		if !slices.Contains(out, line) {
			out = append(out, line)
		}
	}
	return out
}

// headline is the first line for people.
func (a *appraisal) headline(r *Report, blocking *Check) string {
	switch {
	case r.Trusted && len(r.Assuming) == 0:
		return a.dated(a.trustedWord())
	case r.Trusted:
		return a.dated(a.trustedWord()) + ", assuming: " + strings.Join(r.Assuming, "; ")
	case a.in.Policy == nil:
		if c := r.notGenuine(); c != nil {
			return fmt.Sprintf("%s: no policy given; evidence not genuine (%s: %s)", notTrusted, c.ID, oneLine(c.Detail))
		}
		line := notTrusted + ": no policy given; evidence genuine"
		if roots := a.userRoots(); len(roots) > 0 {
			line += ", assuming: " + strings.Join(roots, "; ")
		}
		return line
	default:
		return fmt.Sprintf("%s: %s: %s", notTrusted, blocking.ID, oneLine(blocking.Detail))
	}
}

// notGenuine returns the check that keeps evidence from being called genuine
// where there is no policy: any core check but slot.policy, or slot.identity.
func (r *Report) notGenuine() *Check {
	return r.reason(func(c *Check) bool {
		return c.ID != "slot.policy" && (c.class == ClassCore || c.ID == "slot.identity") && !c.ok()
	})
}

// reason returns the check to name where several stand in the way: the first
// that failed, else the first; nil if none does. One part that cannot be read
// leaves many checks not established, before and after the one that says why.
func (r *Report) reason(stands func(*Check) bool) *Check {
	var first *Check
	for i := range r.Checks {
		if c := &r.Checks[i]; stands(c) && (first == nil || first.status != attest.Failed && c.status == attest.Failed) {
			first = c
		}
	}
	return first
}

// Genuine returns nil if every core check that needs no policy passed, whoever's
// key signed: what a launcher asks of its own record before releasing it. The
// error wraps ErrRecord and names a check that did not pass.
func (r *Report) Genuine() error {
	c := r.reason(func(c *Check) bool { return c.ID != "slot.policy" && c.class == ClassCore && !c.ok() })
	if c == nil {
		return nil
	}
	return fmt.Errorf("%w: %s: %s", ErrRecord, c.ID, oneLine(c.Detail))
}

// oneLine makes text from a hostile capsule safe for one line of a terminal: no
// control character, no line or paragraph separator, nothing invisible, none of
// Unicode's marks that reorder what is read.
func oneLine(s string) string {
	const limit = 300
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > limit {
		return strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return s
}
