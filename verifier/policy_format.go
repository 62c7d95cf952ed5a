package verifier

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sworn-run/sworn/attest"
)

// Bounds of the rules of one format (SPEC, section 9).
const (
	maxFormatValues = 64 // acceptable values of one measurement
	maxLaunchImages = 64
	maxStatuses     = 16
	maxAdvisories   = 256
	maxAdvisory     = 64 // bytes
	// maxNumber is the largest number that every reader of JSON takes exactly.
	maxNumber = 1<<53 - 1
)

// A TD that may be migrated is as good as the service TDs that migrate it (package tdx).
const (
	attributeMigratable  = "migratable"
	measurementServiceTD = "mrservicetd"
)

// StatusUpToDate is the one status of a platform that a policy which names none
// accepts.
const StatusUpToDate = "UpToDate"

// FormatPolicy is what the policy wants of one evidence format. Which members it may
// have depends on the format (SPEC, section 9.2).
type FormatPolicy struct {
	// Identity says whose keys may sign.
	Identity IdentityPolicy `json:"identity"`
	// Bank is the bank that must be quoted, of a format that quotes PCRs: sha256,
	// sha384 or sha512.
	Bank string `json:"bank,omitzero"`
	// Register is the PCR that anchors the event log, of a format that quotes PCRs, 0 to
	// 15: those that nothing but a reset of the TPM clears (PC Client Platform TPM
	// Profile, 4.6).
	Register *uint32 `json:"register,omitzero"`
	// Boot are reference values of what booted, of a format that quotes PCRs.
	Boot BootPolicy `json:"boot,omitzero"`
	// Measurements has the acceptable values of digests that the evidence states, by
	// the format's names, in lower-case hexadecimal; any one.
	Measurements map[string][]string `json:"measurements,omitzero"`
	// Images are the acceptable images of a confidential VM or an enclave; what was
	// launched must be one of them.
	Images []LaunchImage `json:"images,omitzero"`
	// Attributes has the values that numbers in the evidence must have, by the format's
	// names. One that is not here must have its default, if it has one.
	Attributes map[string]uint64 `json:"attributes,omitzero"`
	// TCB says how new the platform must be.
	TCB TCBPolicy `json:"tcb,omitzero"`
}

// LaunchImage is an image that a vendor's launch measurements identify.
type LaunchImage struct {
	// Name is what people call the image, one printable line.
	Name string `json:"name"`
	// Measurements has the value of every measurement of the format that identifies an
	// image, in lower-case hexadecimal.
	Measurements map[string]string `json:"measurements"`
	// Cmdline is the command line that the measurements cover. Whoever writes the policy
	// has computed them from it, or read it in a log that gives them. May be empty.
	Cmdline string `json:"cmdline,omitzero"`
	// Launchers are the digests of the launchers that lie in the image, as components
	// have them ("sha256:…"). Whoever writes the policy has looked into it.
	Launchers []string `json:"launchers,omitzero"`
}

// TCBPolicy says how new a platform must be. The zero TCBPolicy wants the vendor's
// status UpToDate without advisories, and of a vendor that publishes no status asks
// nothing that could be established.
type TCBPolicy struct {
	// Status lists the acceptable words of the vendor; empty accepts UpToDate alone.
	Status []string `json:"status,omitzero"`
	// AdvisoriesAllowed lists the ids of advisories that may apply.
	AdvisoriesAllowed []string `json:"advisories_allowed,omitzero"`
	// MinEvaluation is the least number of the vendor's evaluation data
	// (tcbEvaluationDataNumber) by which the status was found.
	MinEvaluation uint32 `json:"min_evaluation_data_number,omitzero"`
	// Minimum has the least security version of parts of the platform, by the format's
	// names.
	Minimum map[string]uint64 `json:"minimum,omitzero"`
}

// IsZero reports whether there is nothing to appraise.
func (b BootPolicy) IsZero() bool { return b.empty() }

// IsZero reports whether the rule is the default.
func (t TCBPolicy) IsZero() bool {
	return len(t.Status) == 0 && len(t.AdvisoriesAllowed) == 0 && t.MinEvaluation == 0 && len(t.Minimum) == 0
}

// normalize gives empty members their one form.
func (f *FormatPolicy) normalize() {
	f.Boot.normalize()
	if len(f.Measurements) == 0 {
		f.Measurements = nil
	}
	if len(f.Attributes) == 0 {
		f.Attributes = nil
	}
	if len(f.TCB.Minimum) == 0 {
		f.TCB.Minimum = nil
	}
	f.TCB.Status, f.TCB.AdvisoriesAllowed = nonEmpty(f.TCB.Status), nonEmpty(f.TCB.AdvisoriesAllowed)
	f.Images = nonEmpty(f.Images)
	for i := range f.Images {
		f.Images[i].Launchers = nonEmpty(f.Images[i].Launchers)
	}
}

// describe returns what is fixed about the format with the given name.
func describe(name string) (attest.Description, bool) {
	for _, s := range Schemes() {
		if d := s.Describe(); d.Name == name {
			return d, true
		}
	}
	return attest.Description{}, false
}

// formatNames are the names of all formats, for messages.
func formatNames() string {
	var out []string
	for _, s := range Schemes() {
		out = append(out, s.Describe().Name)
	}
	return strings.Join(out, ", ")
}

// quotesPCRs reports whether the format's log is anchored in a PCR that the policy
// names.
func quotesPCRs(d *attest.Description) bool {
	return d.Anchor == attest.AnchorRegister && d.RegisterBank == 0
}

// anchor returns the register that must anchor the log, and its bank.
func (f *FormatPolicy) anchor(d *attest.Description) (index uint32, bank attest.Alg) {
	if !quotesPCRs(d) {
		return d.Register, d.RegisterBank
	}
	bank, err := attest.ParseAlg(f.Bank)
	if err != nil || !bank.Accepted() || f.Register == nil {
		return 0, 0
	}
	return *f.Register, bank
}

// check checks the rules of one format.
func (f *FormatPolicy) check(at string, d *attest.Description) error {
	if err := f.Identity.check(at+".identity", d.RootRole); err != nil {
		return err
	}
	if err := f.checkAnchor(at, d); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(f.Measurements)) {
		if err := checkMeasurement(at+".measurements."+name, name, d, f.Measurements[name]...); err != nil {
			return err
		}
	}
	if n := len(f.Images); n > maxLaunchImages {
		return policyError(at+".images", "has %d, limit %d", n, maxLaunchImages)
	}
	for i := range f.Images {
		if err := f.Images[i].check(fmt.Sprintf("%s.images[%d]", at, i), d); err != nil {
			return err
		}
	}
	if err := f.checkAttributes(at+".attributes", d); err != nil {
		return err
	}
	if f.Attributes[attributeMigratable] != 0 && len(f.Measurements[measurementServiceTD]) == 0 {
		return policyError(at+".attributes."+attributeMigratable, "lets service TDs move the TD, and measurements does not say which: want %s", measurementServiceTD)
	}
	return f.TCB.check(at+".tcb", d)
}

// check checks whose keys may sign.
func (p *IdentityPolicy) check(at, role string) error {
	switch {
	case p.Role == "" && len(p.SPKI) == 0:
		return policyError(at, "is missing, want the role and the keys of the roots")
	case p.Role != role:
		return policyError(at+".role", "is %q, want %q", p.Role, role)
	case len(p.SPKI) == 0 || len(p.SPKI) > maxSPKI:
		return policyError(at+".spki", "has %d keys, want 1 to %d", len(p.SPKI), maxSPKI)
	}
	for i, s := range p.SPKI {
		if err := checkKeyID(fmt.Sprintf("%s.spki[%d]", at, i), s, p.SPKI[:i]); err != nil {
			return err
		}
	}
	return nil
}

// checkAnchor checks bank, register and boot, which belong to PCRs.
func (f *FormatPolicy) checkAnchor(at string, d *attest.Description) error {
	if !quotesPCRs(d) {
		for _, x := range []struct {
			name string
			has  bool
		}{{"bank", f.Bank != ""}, {"register", f.Register != nil}, {"boot", !f.Boot.empty()}} {
			if x.has {
				return policyError(at+"."+x.name, "is not a member of a format without PCRs")
			}
		}
		return nil
	}
	switch {
	case f.Bank == attest.SHA1.String():
		return policyError(at+".bank", "is sha1, which proves nothing, want sha256, sha384 or sha512")
	case !bankAccepted(f.Bank):
		return policyError(at+".bank", "is %q, want sha256, sha384 or sha512", f.Bank)
	case f.Register == nil:
		return policyError(at+".register", "is missing, want the number of a PCR, 0 to 15")
	case *f.Register > maxRegister:
		return policyError(at+".register", "is %d, want 0 to %d: later ones can be reset", *f.Register, maxRegister)
	}
	bank, err := attest.ParseAlg(f.Bank)
	if err != nil {
		return policyError(at+".bank", "%w", err)
	}
	return f.Boot.check(at+".boot", bank, *f.Register)
}

// field returns a measurement of the format by its name; nil if there is none.
func field(d *attest.Description, name string) *attest.MeasurementField {
	for i := range d.Measurements {
		if d.Measurements[i].Name == name {
			return &d.Measurements[i]
		}
	}
	return nil
}

// checkMeasurement checks values of one measurement.
func checkMeasurement(at, name string, d *attest.Description, values ...string) error {
	m := field(d, name)
	if m == nil {
		return policyError(at, "is no measurement of format %s", d.Name)
	}
	if n := len(values); n == 0 || n > maxFormatValues {
		return policyError(at, "has %d values, want 1 to %d", n, maxFormatValues)
	}
	for i, v := range values {
		if len(v) != 2*m.Size || strings.Trim(v, "0123456789abcdef") != "" || slices.Contains(values[:i], v) {
			return policyError(at, "has %.200q, want %d lower-case hexadecimal digits, each value once", v, 2*m.Size)
		}
	}
	return nil
}

func (i *LaunchImage) check(at string, d *attest.Description) error {
	if err := checkLine(i.Name, maxPolicyName); err != nil {
		return policyError(at+".name", "%w", err)
	}
	images := 0
	for _, m := range d.Measurements {
		if !m.Image || m.With != nil {
			continue
		}
		images++
		if _, ok := i.Measurements[m.Name]; !ok {
			return policyError(at+".measurements", "has no %s, without which any image could have been launched", m.Name)
		}
	}
	if images == 0 {
		return policyError(at, "no measurement of format %s identifies an image", d.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(i.Measurements)) {
		if err := checkMeasurement(at+".measurements."+name, name, d, i.Measurements[name]); err != nil {
			return err
		}
	}
	if i.Cmdline != "" {
		if err := checkLine(i.Cmdline, maxCommandLine); err != nil {
			return policyError(at+".cmdline", "%w", err)
		}
	}
	return checkDigestList(at+".launchers", i.Launchers, 0, maxDigests)
}

// checkAttributes checks that the format has the attributes, and JSON the numbers.
func (f *FormatPolicy) checkAttributes(at string, d *attest.Description) error {
	for _, name := range slices.Sorted(maps.Keys(f.Attributes)) {
		if !slices.ContainsFunc(d.Attributes, func(x attest.AttributeField) bool { return x.Name == name }) {
			return policyError(at+"."+name, "is no attribute of format %s", d.Name)
		}
		if f.Attributes[name] > maxNumber {
			return policyError(at+"."+name, "is beyond 2^53-1")
		}
	}
	return nil
}

// check checks how new the platform must be.
func (t *TCBPolicy) check(at string, d *attest.Description) error {
	if !d.VendorStatus && (len(t.Status) > 0 || len(t.AdvisoriesAllowed) > 0 || t.MinEvaluation > 0) {
		return policyError(at, "asks for a status, and the vendor of %s evidence publishes none; want minimum", d.Name)
	}
	for _, x := range []struct {
		name   string
		values []string
		most   int
	}{{"status", t.Status, maxStatuses}, {"advisories_allowed", t.AdvisoriesAllowed, maxAdvisories}} {
		if len(x.values) > x.most {
			return policyError(at+"."+x.name, "has %d, limit %d", len(x.values), x.most)
		}
		for i, v := range x.values {
			if err := checkLine(v, maxAdvisory); err != nil || slices.Contains(x.values[:i], v) {
				return policyError(at+"."+x.name, "has %.80q, want a word of the vendor's, each once", v)
			}
		}
	}
	if slices.Contains(t.Status, "Revoked") {
		return policyError(at+".status", "accepts Revoked, which no policy can")
	}
	for _, name := range slices.Sorted(maps.Keys(t.Minimum)) {
		if !slices.Contains(d.Versions, name) {
			return policyError(at+".minimum."+name, "is no security version of format %s", d.Name)
		}
		if t.Minimum[name] > maxNumber {
			return policyError(at+".minimum."+name, "is beyond 2^53-1")
		}
	}
	return nil
}
