package verifier

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/oms"
)

// CollateralModelSignature is the kind of a collateral item that is a model
// signature: a Sigstore bundle, as its signer published it.
const CollateralModelSignature = "model-signature"

// signatures returns the model-signature components in the order of the log.
func (a *appraisal) signatures() []*cer.Component {
	var out []*cer.Component
	for _, c := range a.components {
		if c.Role == cer.RoleModelSignature {
			out = append(out, c)
		}
	}
	return out
}

// collateralItem is a collateral item as far as it was looked at: a log can name
// one in ten thousands of components.
type collateralItem struct {
	kind string
	// digest is that of a component whose signature the item is.
	digest string
	// verified tells that the rest is known: whose signature it is, whoever may
	// sign, or why it is nobody's, about weights.
	verified bool
	signed   []signedBy
	refused  func(weights string) outcome
}

// collateral returns the collateral items in the order of the capsule.
func (a *appraisal) collateral() []collateralItem {
	if a.items == nil {
		a.items = make([]collateralItem, len(a.capsule.Collateral))
		for i, c := range a.capsule.Collateral {
			a.items[i].kind, a.items[i].digest = c.Kind, cer.SHA256Digest(sha256.Sum256(c.Data))
		}
	}
	return a.items
}

// weights returns the weights components that may be files of the weights with
// the given name: a slash ends that name in theirs.
func (a *appraisal) weights(name string) []*cer.Component {
	if a.byWeights == nil {
		a.byWeights = map[string][]*cer.Component{}
		for _, c := range a.components {
			if c.Role == cer.RoleWeights {
				of, _, _ := strings.Cut(c.Name, "/")
				a.byWeights[of] = append(a.byWeights[of], c)
			}
		}
	}
	return a.byWeights[name]
}

// wrongManifest says which manifest component is not that of its files, or
// nothing.
func (a *appraisal) wrongManifest() string {
	for _, c := range a.components {
		if c.Role != cer.RoleManifest {
			continue
		}
		digests, err := oms.Digests(a.weights(c.Name), c.Name)
		if err != nil {
			return fmt.Sprintf("%s: %v", c.Key(), err)
		}
		if !slices.Equal(c.Digest, digests) {
			return fmt.Sprintf("%s is not that of its files", c.Key())
		}
	}
	return ""
}

// unnamed says which file of a manifest may be called anything, or nothing: one
// that the policy does not list, where it lists the manifest with no digest that
// covers names.
func (a *appraisal) unnamed() string {
	listed := a.listed()
	for i := range a.in.Policy.Components {
		p := &a.in.Policy.Components[i]
		if !p.bindsNoNames() {
			continue
		}
		for _, c := range a.weights(p.Name) {
			if !listed[componentID{c.Role, c.Name}] {
				return fmt.Sprintf("%s does not bind the names of its files in the policy, which does not list %s", p.key(), c.Key())
			}
		}
	}
	return ""
}

// askedModelSignature: the policy names signers, or the record carries a
// signature.
func askedModelSignature(a *appraisal) bool {
	return a.in.Policy != nil && len(a.in.Policy.ModelSigners) > 0 || len(a.signatures()) > 0
}

func checkModelSignature(a *appraisal) outcome {
	switch {
	case a.own == nil || a.launchErr != nil:
		if a.in.Policy != nil && len(a.in.Policy.ModelSigners) > 0 {
			return unknown("the launch cannot be read")
		}
		return notApplicable("no model signature was asked for")
	case !askedModelSignature(a):
		return notApplicable("no model signature was asked for")
	}
	var wanted []ModelSigner
	if a.in.Policy != nil {
		wanted = a.in.Policy.ModelSigners
	}
	signatures := a.signatures()
	for _, w := range wanted {
		if !slices.ContainsFunc(signatures, func(c *cer.Component) bool { return c.Name == w.Weights }) {
			return unknown(fmt.Sprintf("weights %q carry no signature", w.Weights))
		}
	}
	var signed []string
	for _, c := range signatures {
		by, beside, o := a.modelSigned(c, a.listedSigners(c.Name))
		if by == nil {
			return o
		}
		if o, bad := a.uncovered(c.Name, beside); bad {
			return o
		}
		text := fmt.Sprintf("weights %q by %s", c.Name, by)
		if len(beside) > 0 {
			text += fmt.Sprintf(" (not covered, and listed by the policy: %s)", few(beside))
		}
		signed = append(signed, text)
	}
	return passed(strings.Join(signed, ", "))
}

// modelSigner is who signed weights.
type modelSigner struct {
	// key is SHA-256 of the SubjectPublicKeyInfo of the key that signed.
	key [32]byte
	// authority certified the key; nil if the key itself is trusted.
	authority *x509.Certificate
	// sigstore is who signed through Sigstore; nil for the others, which have a
	// key.
	sigstore *oms.Identity
}

// listed reports whether a policy lists the signer for the weights; where it says
// nothing about the weights, any key will do, and no identity: anybody can have
// one.
func (m *modelSigner) listed(want *ModelSigner) bool {
	switch {
	case m.sigstore != nil:
		return want != nil && slices.Contains(want.Identities, *m.sigstore)
	case want == nil:
		return true
	default:
		return slices.ContainsFunc(m.ids(), func(id string) bool { return slices.Contains(want.SPKI, id) })
	}
}

// ids returns what a policy can list the signer by.
func (m *modelSigner) ids() []string {
	if m.sigstore != nil {
		return []string{fmt.Sprintf("%q of %q", m.sigstore.Subject, m.sigstore.Issuer)}
	}
	out := []string{cer.SHA256Digest(m.key)}
	if m.authority != nil {
		out = append(out, cer.SHA256Digest(SPKIDigest(m.authority)))
	}
	return out
}

// String says who signed, for a check's detail.
func (m *modelSigner) String() string {
	if m.sigstore != nil {
		return m.ids()[0]
	}
	s := "key " + short(m.key[:])
	if m.authority != nil {
		spki := SPKIDigest(m.authority)
		s += " below authority " + short(spki[:])
	}
	return s
}

// root names what the relying party supplied, for the headline.
func (m *modelSigner) root(sigstore []byte) string {
	switch {
	case m.sigstore != nil:
		sum := sha256.Sum256(sigstore)
		return "user-supplied Sigstore root " + hex.EncodeToString(sum[:8])
	case m.authority == nil:
		return "user-supplied model signer " + hex.EncodeToString(m.key[:8])
	}
	spki := SPKIDigest(m.authority)
	return fmt.Sprintf("user-supplied model authority %q %s", m.authority.Subject.CommonName, hex.EncodeToString(spki[:8]))
}

// verifiedSigners returns whose signature that of one component is, whoever may
// sign, or why it is nobody's.
func (a *appraisal) verifiedSigners(c *cer.Component) (signed []signedBy, o outcome) {
	items := a.collateral()
	i := slices.IndexFunc(items, func(item collateralItem) bool {
		return item.kind == CollateralModelSignature && len(c.Digest) == 1 && c.Digest[0] == item.digest
	})
	if i < 0 {
		return nil, unknown(fmt.Sprintf("the signature of weights %q is not in the capsule", c.Name))
	}
	item := &items[i]
	if !item.verified {
		a.verifyItem(item, a.capsule.Collateral[i].Data)
	}
	if item.refused != nil {
		return nil, item.refused(c.Name)
	}
	return item.signed, outcome{}
}

// verifyItem verifies a collateral item as a model signature, once for all weights
// that it is of.
func (a *appraisal) verifyItem(item *collateralItem, bundle []byte) {
	item.verified = true
	s, err := oms.Parse(bundle)
	lacks := ""
	if err == nil {
		item.signed, lacks, err = a.signedBy(s, bundle)
	}
	switch {
	case err != nil:
		item.refused = func(weights string) outcome { return failed(fmt.Sprintf("weights %q: %v", weights, err)) }
	case lacks != "":
		item.refused = func(weights string) outcome {
			return unknown(fmt.Sprintf("weights %q are signed, and %s", weights, lacks))
		}
	}
}

// modelSigned returns who signed the weights of one signature component, or why
// nobody did; and the files of the weights that the signature does not cover. The
// signer is one that the policy lists, if it lists any.
func (a *appraisal) modelSigned(c *cer.Component, want *ModelSigner) (by *modelSigner, beside []string, o outcome) {
	signed, o := a.verifiedSigners(c)
	if len(signed) == 0 {
		return nil, nil, o
	}
	i := slices.IndexFunc(signed, func(by signedBy) bool { return by.listed(want) })
	if i < 0 {
		return nil, nil, unlisted(c.Name, want, &signed[0].modelSigner)
	}
	measured, ignore := a.weights(c.Name), signed[i].manifest.Ignore()
	files, err := oms.Weights(measured, c.Name, ignore)
	if err == nil {
		err = signed[i].manifest.Check(files)
	}
	if err != nil {
		return nil, nil, failed(fmt.Sprintf("weights %q: %v", c.Name, err))
	}
	return &signed[i].modelSigner, oms.Uncovered(measured, c.Name, ignore), outcome{}
}

// uncovered judges the files of weights that their signature does not cover: the
// policy must list each. It returns why not, or nothing.
func (a *appraisal) uncovered(weights string, beside []string) (o outcome, bad bool) {
	if len(beside) == 0 {
		return outcome{}, false
	}
	if a.in.Policy == nil {
		return unknown(fmt.Sprintf("the signature of weights %q does not cover %s, and no policy lists them", weights, few(beside))), true
	}
	listed := a.listed()
	unlisted := slices.DeleteFunc(slices.Clone(beside), func(name string) bool { return listed[componentID{cer.RoleWeights, name}] })
	if len(unlisted) > 0 {
		return failed(fmt.Sprintf("the signature of weights %q does not cover %s, and the policy does not list them", weights, few(unlisted))), true
	}
	return outcome{}, false
}

// few names the first of a list, and says how many more there are.
func few(names []string) string {
	const shown = 3
	var quoted []string
	for _, name := range names[:min(len(names), shown)] {
		quoted = append(quoted, fmt.Sprintf("%q", name))
	}
	list := strings.Join(quoted, ", ")
	if more := len(names) - shown; more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return list
}

// signedBy is what a right signature says: who signed what.
type signedBy struct {
	modelSigner
	manifest *oms.Manifest
}

// unlisted says that the policy does not list the signer of weights.
func unlisted(weights string, want *ModelSigner, by *modelSigner) outcome {
	if want == nil {
		return unknown(fmt.Sprintf("weights %q are signed by %s, and no policy says that it may", weights, by))
	}
	accepted := slices.Clone(want.SPKI)
	for _, id := range want.Identities {
		accepted = append(accepted, (&modelSigner{sigstore: &id}).ids()...)
	}
	return failed(fmt.Sprintf("weights %q are signed by one whom the policy does not list for them", weights)).
		with(strings.Join(accepted, " or "), strings.Join(by.ids(), " below "))
}

// signedBy verifies a signature by its kind. Where something is missing to verify
// it with, lacks says what.
func (a *appraisal) signedBy(s *oms.Signature, bundle []byte) (signed []signedBy, lacks string, err error) {
	switch s.Kind() {
	case oms.KindKey:
		signed, err = a.signedByKey(s)
		lacks = fmt.Sprintf("no key of role %s was given", roleModelSigner)
	case oms.KindChain:
		signed, err = a.signedByChain(s)
		lacks = fmt.Sprintf("no authority of role %s was given", roleModelSigner)
	default:
		if a.in.Sigstore == nil {
			return nil, "nothing was given that verifies signatures through Sigstore", nil
		}
		signed, err = a.signedBySigstore(bundle)
		lacks = fmt.Sprintf("no Sigstore trusted root of role %s was given", roleModelSigner)
	}
	if len(signed) > 0 {
		lacks = ""
	}
	return signed, lacks, err
}

// signedByKey verifies a signature with the keys of role model-signer; it returns
// nothing if there are none.
func (a *appraisal) signedByKey(s *oms.Signature) ([]signedBy, error) {
	var keys []crypto.PublicKey
	for _, k := range a.in.Roots.Signers() {
		if k.Key != nil {
			keys = append(keys, k.Key)
		}
	}
	if len(keys) == 0 {
		return nil, nil
	}
	id, manifest, err := s.Verify(keys)
	if err != nil {
		return nil, err
	}
	return []signedBy{{modelSigner{key: id}, manifest}}, nil
}

// signedByChain verifies a signature with the authorities of role model-signer, at
// the verdict's time. It returns the signer once for each authority that the
// certificate is below, and nothing if there are no authorities.
func (a *appraisal) signedByChain(s *oms.Signature) ([]signedBy, error) {
	var all []*x509.Certificate
	for _, k := range a.in.Roots.Signers() {
		if k.Authority != nil {
			all = append(all, k.Authority)
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	// All at once first: its error is about the certificate, not about one of
	// many authorities.
	if _, _, err := s.VerifyChain(all, a.at); err != nil {
		return nil, err
	}
	var out []signedBy
	for _, ca := range all {
		if leaf, manifest, err := s.VerifyChain([]*x509.Certificate{ca}, a.at); err == nil {
			out = append(out, signedBy{modelSigner{key: SPKIDigest(leaf), authority: ca}, manifest})
		}
	}
	if len(out) == 0 {
		return nil, oms.ErrUntrusted
	}
	return out, nil
}

// signerRoots names the user-supplied keys and authorities that model signatures
// rest on.
func (a *appraisal) signerRoots() []string {
	var out []string
	if a.own == nil || a.launchErr != nil {
		return nil
	}
	for _, c := range a.signatures() {
		if by, _, _ := a.modelSigned(c, a.listedSigners(c.Name)); by != nil {
			out = append(out, by.root(a.in.Roots.SigstoreRoot()))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// listedSigners returns what the policy says of the signers of weights, nil if
// nothing.
func (a *appraisal) listedSigners(weights string) *ModelSigner {
	if a.in.Policy == nil {
		return nil
	}
	for i := range a.in.Policy.ModelSigners {
		if w := &a.in.Policy.ModelSigners[i]; w.Weights == weights {
			return w
		}
	}
	return nil
}
