package verifier

import (
	"crypto"
	"crypto/sha256"
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

// checkCollateralUse says which collateral item no check uses, or nothing: each
// is the signature of a component, in the order of the first components that have
// them. A signature of several is there once, so that none can be left out or
// moved and nothing is different.
func (a *appraisal) checkCollateralUse() string {
	var digests []string
	seen := map[string]bool{}
	for _, c := range a.signatures() {
		if d := strings.Join(c.Digest, " "); !seen[d] {
			digests, seen[d] = append(digests, d), true
		}
	}
	if len(a.capsule.Collateral) > len(digests) {
		return fmt.Sprintf("%d collateral item(s) that no check uses", len(a.capsule.Collateral)-len(digests))
	}
	next := 0
	for i, item := range a.capsule.Collateral {
		digest := cer.SHA256Digest(sha256.Sum256(item.Data))
		for next < len(digests) && digests[next] != digest {
			next++
		}
		if item.Kind != CollateralModelSignature || next == len(digests) {
			return fmt.Sprintf("collateral item %d (%s) is one that no check uses", i, oneLine(item.Kind))
		}
		next++
	}
	return ""
}

// wrongManifest says which manifest component is not that of its files, or
// nothing.
func (a *appraisal) wrongManifest() string {
	files := a.weights()
	for _, c := range a.components {
		if c.Role != cer.RoleManifest {
			continue
		}
		digests, err := oms.Digests(files[c.Name], c.Name)
		if err != nil {
			return fmt.Sprintf("%s: %v", c.Key(), err)
		}
		if !slices.Equal(c.Digest, digests) {
			return fmt.Sprintf("%s is not that of its files", c.Key())
		}
	}
	return ""
}

// weights returns the components of weights by the name that they were given
// under, which holds no slash: a file below a folder has its path after one.
func (a *appraisal) weights() map[string][]*cer.Component {
	if a.weightFiles != nil {
		return a.weightFiles
	}
	out := map[string][]*cer.Component{}
	for _, c := range a.components {
		if c.Role == cer.RoleWeights {
			name, _, _ := strings.Cut(c.Name, "/")
			out[name] = append(out[name], c)
		}
	}
	a.weightFiles = out
	return out
}

// unnamed says which file of a manifest may be called anything, or nothing: one
// that the policy does not list, where it lists the manifest with no digest that
// covers names.
func (a *appraisal) unnamed() string {
	files, listed := a.weights(), a.listed()
	for i := range a.in.Policy.Components {
		p := &a.in.Policy.Components[i]
		if !p.bindsNoNames() {
			continue
		}
		for _, c := range files[p.Name] {
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
	for _, w := range wanted {
		if !slices.ContainsFunc(a.signatures(), func(c *cer.Component) bool { return c.Name == w.Weights }) {
			return unknown(fmt.Sprintf("weights %q carry no signature", w.Weights))
		}
	}
	var signed []string
	for _, c := range a.signatures() {
		var spki []string // of any key, unless the policy lists some
		if i := slices.IndexFunc(wanted, func(w ModelSigner) bool { return w.Weights == c.Name }); i >= 0 {
			spki = wanted[i].SPKI
		}
		key, beside, o := a.modelSigned(c, spki)
		if key == nil {
			return o
		}
		if o, bad := a.uncovered(c.Name, beside); bad {
			return o
		}
		by := fmt.Sprintf("weights %q by key %s", c.Name, short(key[:]))
		if len(beside) > 0 {
			by += fmt.Sprintf(" (not covered, and listed by the policy: %s)", few(beside))
		}
		signed = append(signed, by)
	}
	return passed(strings.Join(signed, ", "))
}

// carriedSignature is a collateral item that is a model signature.
type carriedSignature struct {
	// signature is nil if it does not parse, and manifest if no given key made it;
	// err says why.
	signature *oms.Signature
	manifest  *oms.Manifest
	id        [32]byte
	err       error
}

// carried returns the model signatures of the capsule by their digests. Each is
// read once, however many components name it.
func (a *appraisal) carried() map[string]*carriedSignature {
	if a.modelSignatures != nil {
		return a.modelSignatures
	}
	a.modelSignatures = map[string]*carriedSignature{}
	var keys []crypto.PublicKey
	for _, k := range a.in.Roots.Signers() {
		keys = append(keys, k.Key)
	}
	for _, item := range a.capsule.Collateral {
		if item.Kind != CollateralModelSignature {
			continue
		}
		s := &carriedSignature{}
		if s.signature, s.err = oms.Parse(item.Data); s.err == nil {
			s.id, s.manifest, s.err = s.signature.Verify(keys)
		}
		a.modelSignatures[cer.SHA256Digest(sha256.Sum256(item.Data))] = s
	}
	return a.modelSignatures
}

// modelSigned returns the id of the key that signed the weights of one signature
// component, or why none did; and the files of the weights that it does not cover.
func (a *appraisal) modelSigned(c *cer.Component, spki []string) (key *[32]byte, beside []string, o outcome) {
	item := a.carried()[strings.Join(c.Digest, " ")]
	switch {
	case item == nil:
		return nil, nil, unknown(fmt.Sprintf("the signature of weights %q is not in the capsule", c.Name))
	case item.err != nil && item.signature == nil:
		return nil, nil, failed(fmt.Sprintf("weights %q: %v", c.Name, item.err))
	case len(a.in.Roots.Signers()) == 0:
		return nil, nil, unknown(fmt.Sprintf("weights %q are signed, and no key of role %s was given", c.Name, roleModelSigner))
	case item.err != nil:
		return nil, nil, failed(fmt.Sprintf("weights %q: %v", c.Name, item.err))
	}
	id, manifest := item.id, item.manifest
	if got := cer.SHA256Digest(id); len(spki) > 0 && !slices.Contains(spki, got) {
		return nil, nil, failed(fmt.Sprintf("weights %q are signed by a key that the policy does not list for them", c.Name)).with(strings.Join(spki, " or "), got)
	}
	measured := a.weights()[c.Name]
	files, err := oms.Weights(measured, c.Name, manifest.Ignore())
	if err == nil {
		err = manifest.Check(files)
	}
	if err != nil {
		return nil, nil, failed(fmt.Sprintf("weights %q: %v", c.Name, err))
	}
	return &id, oms.Uncovered(measured, c.Name, manifest.Ignore()), outcome{}
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

// signerRoots names the user-supplied keys that model signatures rest on.
func (a *appraisal) signerRoots() []string {
	var out []string
	if a.own == nil || a.launchErr != nil {
		return nil
	}
	for _, c := range a.signatures() {
		if key, _, _ := a.modelSigned(c, nil); key != nil {
			out = append(out, "user-supplied model signer "+hex.EncodeToString(key[:8]))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
