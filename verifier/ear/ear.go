// Package ear gives a verifier's report as an EAT Attestation Result (EAR,
// draft-ietf-rats-ear): a JWT, signed with the verifier's own key, whose
// trustworthiness vector (AR4SI, draft-ietf-rats-ar4si) says in eight numbers what
// the checks found. Whoever believes the verifier need not know its checks.
//
// A vector is coarser than the checks and says less: docs/RESULTS.md has the table.
// The status is "affirming" only for a verdict that assumes nothing.
package ear

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sworn-run/sworn/verifier"
)

// Profile is the eat_profile of the results: that of the implementations there are.
const Profile = "tag:github.com,2023:veraison/ear"

// Submodule is the name of the one appraisal in a result.
const Submodule = "sworn"

// ErrArgument is the caller's own mistake: no report, no time, a key that cannot sign.
var ErrArgument = errors.New("invalid argument")

// The tiers of AR4SI, section 2.3.2, as EAR spells them.
const (
	None            = "none"
	Affirming       = "affirming"
	Warning         = "warning"
	Contraindicated = "contraindicated"
)

// Vector is an AR4SI trustworthiness vector. 0 makes no claim; 2 to 31 affirm, 32 to 95
// warn, 96 to 127 contraindicate.
type Vector struct {
	// InstanceIdentity: whose key signed the evidence.
	InstanceIdentity int `json:"instance-identity,omitempty"`
	// Configuration: what else could reach the job, the log and memory.
	Configuration int `json:"configuration,omitempty"`
	// Executables: what booted, and what ran.
	Executables int `json:"executables,omitempty"`
	// FileSystem: what the job could read.
	FileSystem int `json:"file-system,omitempty"`
	// Hardware: the platform's state, and what is known against it.
	Hardware int `json:"hardware,omitempty"`
	// RuntimeOpaque: who could look into memory.
	RuntimeOpaque int `json:"runtime-opaque,omitempty"`
	// StorageOpaque is never claimed: a record says nothing of what is kept.
	StorageOpaque int `json:"storage-opaque,omitempty"`
	// SourcedData is never claimed: where inputs came from is not attested.
	SourcedData int `json:"sourced-data,omitempty"`
}

// Appraisal is the one submodule of a result.
type Appraisal struct {
	// Status is the tier of the whole: Affirming, Warning or Contraindicated.
	Status string `json:"ear.status"`
	// Vector are the claims behind it.
	Vector Vector `json:"ear.trustworthiness-vector"`
	// PolicyID names the policy by its digest; absent where there was none.
	PolicyID string `json:"ear.appraisal-policy-id,omitempty"`
	// Headline is the verdict that decides, in one line.
	Headline string `json:"ear.sworn.headline"`
	// Assuming lists what it rests on.
	Assuming []string `json:"ear.sworn.assuming"`
	// Capsule is SHA-256 of the record's file, and Record its certificate hash.
	Capsule string `json:"ear.sworn.capsule"`
	// Record is the record's certificate hash; absent where it could not be read.
	Record string `json:"ear.sworn.record,omitempty"`
	// EvidenceDigest is E of the record, in hexadecimal.
	EvidenceDigest string `json:"ear.sworn.evidence-digest,omitempty"`
	// Roots is the digest of the roots that the verifier was given; absent without.
	Roots string `json:"ear.sworn.roots,omitempty"`
	// Time is the time that the verdict is as of, RFC 3339.
	Time string `json:"ear.sworn.time"`
}

// VerifierID says who appraised.
type VerifierID struct {
	// Build is the verifier's version and digest.
	Build string `json:"build"`
	// Developer is who made it.
	Developer string `json:"developer"`
}

// Result is the claims set of an EAR.
type Result struct {
	// Profile is the profile of the claims.
	Profile string `json:"eat_profile"`
	// IssuedAt is when the result was made, in seconds since 1970.
	IssuedAt int64 `json:"iat"`
	// VerifierID says who appraised.
	VerifierID VerifierID `json:"ear.verifier-id"`
	// Submods has one appraisal, of name [Submodule].
	Submods map[string]Appraisal `json:"submods"`
}

// New returns the claims for a report. Now is when the result is made. The error wraps
// ErrArgument.
func New(r *verifier.Report, now time.Time) (*Result, error) {
	if r == nil || r.Type != verifier.ReportType || now.IsZero() {
		return nil, fmt.Errorf("no report, or no time: %w", ErrArgument)
	}
	checks, at := r.Checks, r.Now.Time
	switch {
	case r.Decides == "record":
		checks, at = r.RecordChecks, r.Record.Time
	case r.Decides == "at" && r.Hypothetical != nil:
		at = r.Hypothetical.Time // Checks are those of then.
	}
	a := Appraisal{
		Status: status(r), Vector: vector(checks, r), Headline: r.Headline, Assuming: slices.Clone(r.Assuming), Capsule: r.Capsule,
		Record: r.Summary.CertificateHash, EvidenceDigest: r.Summary.EvidenceDigest, Roots: r.Roots, Time: at,
	}
	if a.Assuming == nil {
		a.Assuming = []string{}
	}
	if r.Policy != "" {
		a.PolicyID = "urn:sworn:policy:sha256:" + r.Policy
	}
	return &Result{
		Profile: Profile, IssuedAt: now.Unix(), VerifierID: VerifierID{Build: r.Verifier, Developer: "https://sworn.run"},
		Submods: map[string]Appraisal{Submodule: a},
	}, nil
}

// status is the tier of a whole report.
func status(r *verifier.Report) string {
	switch {
	case !r.Trusted:
		return Contraindicated
	case len(r.Assuming) > 0:
		return Warning
	default:
		return Affirming
	}
}

// encrypted are the formats whose hardware encrypts the memory of what it attests, and
// isolating those that keep it from others on the machine.
var (
	encrypted = []string{"sev-snp", "tdx", "sgx", "azure-snp", "azure-tdx"}
	isolating = []string{"nitro"}
)

// outcome is the worst of a group of checks.
type outcome int

const (
	absent outcome = iota // none of them applies
	passed
	waived
	unknown
	failed
)

// worst returns the worst outcome of the checks of some ids.
func worst(checks []verifier.Check, ids ...string) outcome {
	out := absent
	for i := range checks {
		if slices.Contains(ids, checks[i].ID) {
			out = max(out, outcomeOf(&checks[i]))
		}
	}
	return out
}

func outcomeOf(c *verifier.Check) outcome {
	switch {
	case c.Status == "not applicable":
		return absent
	case c.Status == "passed":
		return passed
	case c.Waived != "":
		return waived
	case c.Status == "failed":
		return failed
	default:
		return unknown
	}
}

// values are what a claim says for each outcome.
type values struct{ passed, waived, unknown, failed int }

func (v values) of(o outcome) int {
	switch o {
	case passed:
		return v.passed
	case waived:
		return v.waived
	case unknown:
		return v.unknown
	case failed:
		return v.failed
	default:
		return 0
	}
}

// claim is one row of the table in docs/RESULTS.md: the worst outcome of the checks
// decides.
type claim struct {
	name   string
	checks []string
	values values
	set    func(*Vector, int)
}

// claims are the rows. Values are AR4SI's, section 2.3.4: 97 is what is not recognised,
// 99 a signature that does not hold.
func claims() []claim {
	return []claim{
		{
			"instance-identity",
			[]string{"statement.signature", "slot.binding", "slot.signature"},
			values{2, 32, 99, 99},
			func(v *Vector, n int) { v.InstanceIdentity = max(v.InstanceIdentity, n) },
		},
		{
			"instance-identity",
			[]string{"slot.identity"},
			values{2, 32, 97, 97},
			func(v *Vector, n int) { v.InstanceIdentity = max(v.InstanceIdentity, n) },
		},
		{
			"instance-identity",
			[]string{"slot.revocation"},
			values{2, 32, 96, 96},
			func(v *Vector, n int) { v.InstanceIdentity = max(v.InstanceIdentity, n) },
		},
		{
			"configuration",
			[]string{"slot.counters", "log.origin", "log.sole", "launcher.exclusive", "protection.memory", "composite.same-machine"},
			values{2, 32, 96, 96},
			func(v *Vector, n int) { v.Configuration = n },
		},
		{
			"executables",
			[]string{"slot.measurement", "launcher.rooted", "log.replay", "log.launch", "components.match"},
			values{2, 33, 96, 96},
			func(v *Vector, n int) { v.Executables = n },
		},
		{
			"file-system",
			[]string{"components.closed", "protection.storage"},
			values{2, 32, 96, 96},
			func(v *Vector, n int) { v.FileSystem = n },
		},
		{
			"hardware",
			[]string{"slot.tcb", "slot.mode", "collateral.coherent", "ledger"},
			values{2, 32, 97, 96},
			func(v *Vector, n int) { v.Hardware = n },
		},
	}
}

// vector draws the vector from the checks of the verdict that decides.
func vector(checks []verifier.Check, r *verifier.Report) Vector {
	var v Vector
	for _, c := range claims() {
		c.set(&v, c.values.of(worst(checks, c.checks...)))
	}
	v.RuntimeOpaque = opaque(checks, r)
	return v
}

// opaque claims what the formats of all slots give, where the job could not leave it, and
// where it ran on the machine that has it.
func opaque(checks []verifier.Check, r *verifier.Report) int {
	genuine := worst(checks, "slot.signature", "slot.mode")
	if genuine != passed || len(r.Summary.Evidence) == 0 {
		return 0
	}
	best := 0
	for _, fields := range r.Summary.Evidence {
		if len(fields) == 0 {
			return 0
		}
		switch {
		case slices.Contains(encrypted, fields[0].Value):
			best = max(best, 2)
		case slices.Contains(isolating, fields[0].Value):
			best = max(best, 32)
		}
	}
	if best == 0 {
		return 0
	}
	return max(best, values{2, 32, 96, 96}.of(worst(checks, "compute.inside", "composite.same-machine")))
}

// Tier returns the tier of one number of a vector (AR4SI, section 2.3.2).
func Tier(n int) string {
	switch {
	case n >= 96 && n <= 127 || n <= -97 && n >= -128:
		return Contraindicated
	case n >= 32 && n <= 95 || n <= -33 && n >= -96:
		return Warning
	case n >= 2 && n <= 31 || n <= -2 && n >= -32:
		return Affirming
	default:
		return None
	}
}

// Table returns the rows of the mapping as Markdown, for docs/RESULTS.md.
func Table() string {
	var b strings.Builder
	b.WriteString("| claim | checks | all passed | waived | not established | failed |\n|---|---|---|---|---|---|\n")
	for _, c := range claims() {
		fmt.Fprintf(&b, "| `%s` | `%s` | %d | %d | %d | %d |\n", c.name, strings.Join(c.checks, "` `"),
			c.values.passed, c.values.waived, c.values.unknown, c.values.failed)
	}
	return b.String()
}
