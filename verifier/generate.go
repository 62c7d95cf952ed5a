package verifier

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
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
			Bank:     bank.String(), Register: register,
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
// below an authority, or the identity in Sigstore's certificate.
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
	if len(a.slots) != 1 || a.slots[0].slot.Register == nil {
		return nil, fmt.Errorf("%w: its evidence is not one TPM quote", ErrRecord)
	}
	s := &a.slots[0]
	root := s.claims.Identity.Root
	if root == nil {
		return nil, fmt.Errorf("%w: slot.identity: %s", ErrRecord, oneLine(s.claims.Identity.Detail))
	}
	p := NewPolicy(name, a.components, []string{cer.SHA256Digest(SPKIDigest(root.Certificate))}, s.slot.Register.Bank, s.slot.Register.Index)
	p.Protection, p.Devices, p.Network = a.conditions()
	for _, c := range a.signatures() {
		if w := a.signerOf(c); w != nil {
			p.ModelSigners = append(p.ModelSigners, *w)
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
