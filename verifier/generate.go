package verifier

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/signer"
	"github.com/sworn-run/sworn/tpm"
)

// PolicyComponents turns measured components into a policy's reference values.
// Weights, configuration and added files have their paths in it: their names are
// their giver's choice, and it is by the path that the job tells them apart. The
// name of a program is its path, and that of a library is what it is found by.
func PolicyComponents(components []*cer.Component) []PolicyComponent {
	out := make([]PolicyComponent, 0, len(components))
	for _, c := range components {
		p := PolicyComponent{Role: c.Role, Name: c.Name, Digest: slices.Clone(c.Digest), Value: slices.Clone(c.Value)}
		if c.Role == cer.RoleWeights || c.Role == cer.RoleConfig || c.Role == cer.RoleFile {
			p.Path = c.Path
		}
		out = append(out, p)
	}
	return out
}

// NewPolicy returns a policy that accepts TPM evidence under the given roots
// and exactly the given components, sealed, without devices or network, ending
// with exit code 0. It is the ground that `policy from-files` and
// [PolicyFromRecord] build on.
func NewPolicy(name string, components []*cer.Component, spki []string, bank attest.Alg, register uint32) *Policy {
	return &Policy{
		Type: PolicyType, Name: name, Slots: [][]string{{"tpm"}},
		Formats: map[string]FormatPolicy{"tpm": {
			Identity: IdentityPolicy{Role: tpm.Scheme{}.Describe().RootRole, SPKI: spki},
			Bank:     bank.String(), Register: &register,
		}},
		Components: PolicyComponents(components), Others: OthersRefuse,
		Protection: []string{cer.ProtectionSealed}, Devices: []string{}, Exit: []int{0},
		PriorLaunches: PriorSameLauncher, Series: SeriesNone, Waive: []Waiver{},
	}
}

// PolicyFromRecord makes a policy from a known-good record: the record itself
// must be trusted under it, with the given waivers, at time now. It asks later
// records for a nonce if this one has one. Model signatures that were made through
// Sigstore are not established: for these there is [Input.PolicyFromRecord]. The
// error wraps ErrInput, ErrPolicy, or ErrRecord.
func PolicyFromRecord(capsule []byte, roots *TrustStore, now time.Time, name string, waive []Waiver) (*Policy, error) {
	return Input{Roots: roots, Now: now}.PolicyFromRecord(capsule, name, waive)
}

// PolicyFromRecord makes a policy as the function of that name does, with the
// input's Roots, Now and Sigstore; nothing else of it is looked at. Whoever signed
// weights is listed for them: the key that signed, also where its certificate is
// below an authority, or the identity in Sigstore's certificate. So is the key of an
// operator who signed the record; countersigners, who sign afterwards, are not.
func (in Input) PolicyFromRecord(capsule []byte, name string, waive []Waiver) (*Policy, error) {
	if in.Now.IsZero() {
		return nil, fmt.Errorf("no time given: %w", ErrInput)
	}
	in = Input{Roots: in.Roots, Now: in.Now, Sigstore: askOnce(in.Sigstore)}
	a := newAppraisal(&in, in.Now, capsule)
	draft := newReport(a)
	if err := draft.Genuine(); err != nil {
		return nil, err
	}
	p := NewPolicy(name, a.components, nil, attest.SHA256, 0)
	if err := a.takeFormats(p); err != nil {
		return nil, err
	}
	p.Protection, p.Devices, p.Network = a.conditions()
	for _, c := range a.signatures() {
		if w := a.signerOf(c); w != nil {
			p.ModelSigners = append(p.ModelSigners, *w)
		}
	}
	for _, s := range a.recordSigners().all {
		if s.Role == signer.RoleOperator {
			p.Signers = append(p.Signers, RecordSigner{Role: s.Role, Keys: []string{s.Key.Fingerprint()}})
		}
	}
	p.Waive = append(p.Waive, waive...)
	p.Nonce = NoncePolicy{Quote: len(a.statement.Nonce) > 0, Execution: a.runtime.Nonce != nil}
	encoded, err := p.Encode()
	if err != nil {
		return nil, err
	}
	if p, err = ParsePolicy(encoded); err != nil {
		return nil, err
	}
	in.Policy, in.Nonce = p, a.statement.Nonce
	var missing []string
	final := newReport(newAppraisal(&in, in.Now, capsule))
	for i := range final.Checks {
		if c := &final.Checks[i]; c.blocks() {
			missing = append(missing, fmt.Sprintf("%s (%s)", c.ID, oneLine(c.Detail)))
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("%w: not passed and not waived: %s", ErrRecord, strings.Join(missing, "; "))
	}
	return p, nil
}

// conditions are what the record's job ran under, as a policy asks for it: the
// protections of its files, its devices but the two that every job has, and
// whether it had a network. The unprotected cannot be asked for.
func (a *appraisal) conditions() (protection, devices []string, network bool) {
	protection, devices = []string{cer.ProtectionSealed}, []string{}
	if slices.ContainsFunc(a.components, func(c *cer.Component) bool { return protectionClass(c.Protection) == ProtectionVerity }) {
		protection = append(protection, ProtectionVerity)
	}
	iso := a.environments[cer.KindIsolation]
	names, _ := iso.Get("devices")
	for _, d := range cer.Devices(names) {
		if d != "null" && d != "urandom" && d != "host" {
			devices = append(devices, d)
		}
	}
	n, _ := iso.Get("network")
	return protection, devices, n != "none"
}

// takeFormats gives the policy the set of formats of a known-good record, with the roots
// that vouch for its keys, the images that were launched, and security versions no older.
// Of what a vendor says of a platform, nothing is taken: it has to be up to date, or the
// policy's author lets it be otherwise.
func (a *appraisal) takeFormats(p *Policy) error {
	p.Slots, p.Formats = [][]string{a.formats()}, map[string]FormatPolicy{}
	for i := range a.slots {
		s := &a.slots[i]
		if s.claims == nil {
			return fmt.Errorf("%w: slot %d has no evidence that could be read", ErrRecord, i)
		}
		root := s.claims.Identity.Root
		if root == nil {
			return fmt.Errorf("%w: slot.identity: %s", ErrRecord, oneLine(s.claims.Identity.Detail))
		}
		f := FormatPolicy{Identity: IdentityPolicy{Role: root.Role, SPKI: []string{cer.SHA256Digest(SPKIDigest(root.Certificate))}}}
		if quotesPCRs(&s.desc) && s.slot.Register != nil {
			f.Bank, f.Register = s.slot.Register.Bank.String(), new(s.slot.Register.Index)
		}
		for _, m := range s.desc.Measurements {
			if m.Image && m.With == nil {
				f.setMeasurement(m.Name, s.measurement(m.Name))
			}
		}
		for _, x := range s.claims.Attributes {
			k := slices.IndexFunc(s.desc.Attributes, func(d attest.AttributeField) bool { return d.Name == x.Name })
			if k >= 0 && !s.desc.Attributes[k].Free && s.desc.Attributes[k].Default != x.Value {
				f.setAttribute(x.Name, x.Value)
			}
		}
		if !s.desc.VendorStatus && s.claims.TCB.Status == "" {
			for _, v := range s.claims.TCB.Versions {
				f.setMinimum(v.Name, v.Value)
			}
		}
		p.Formats[s.desc.Name] = f
	}
	return nil
}

func (f *FormatPolicy) setMeasurement(name, value string) {
	if f.Measurements == nil {
		f.Measurements = map[string][]string{}
	}
	f.Measurements[name] = []string{value}
}

func (f *FormatPolicy) setAttribute(name string, value uint64) {
	if f.Attributes == nil {
		f.Attributes = map[string]uint64{}
	}
	f.Attributes[name] = value
}

func (f *FormatPolicy) setMinimum(name string, value uint64) {
	if f.TCB.Minimum == nil {
		f.TCB.Minimum = map[string]uint64{}
	}
	f.TCB.Minimum[name] = value
}

// LaunchedFrom returns what a known-good record of the format with the given name says of
// what was launched: the measurements that identify an image, in hexadecimal. Its core
// checks and slot.identity must pass under the given roots, at time now. What the record
// has is as good as the machine was when the record was made. The error wraps ErrRecord,
// or ErrInput for a zero time.
func LaunchedFrom(capsule []byte, roots *TrustStore, now time.Time, format string) (map[string]string, error) {
	if now.IsZero() {
		return nil, fmt.Errorf("no time given: %w", ErrInput)
	}
	a := newAppraisal(&Input{Roots: roots, Now: now}, now, capsule)
	if err := newReport(a).Genuine(); err != nil {
		return nil, err
	}
	for i := range a.slots {
		s := &a.slots[i]
		if o := checkSlotIdentity(a, i); o.Status != attest.Passed {
			return nil, fmt.Errorf("%w: slot.identity: %s", ErrRecord, oneLine(o.Detail))
		}
		if s.desc.Name != format {
			continue
		}
		out := map[string]string{}
		for _, m := range s.desc.Measurements {
			if m.Image {
				out[m.Name] = s.measurement(m.Name)
			}
		}
		return out, nil
	}
	return nil, fmt.Errorf("%w: it has no evidence of format %s", ErrRecord, format)
}
