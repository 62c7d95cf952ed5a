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
			seen[d] = true
			digests = append(digests, d)
		}
	}
	if len(a.capsule.Collateral) > len(digests) {
		return fmt.Sprintf("%d collateral item(s) that no check uses", len(a.capsule.Collateral)-len(digests))
	}
	next := 0
	for i, item := range a.collateral() {
		for next < len(digests) && digests[next] != item.digest {
			next++
		}
		if item.kind != CollateralModelSignature || next == len(digests) {
			return fmt.Sprintf("collateral item %d (%s) is one that no check uses", i, oneLine(item.kind))
		}
		next++
	}
	return ""
}

// collateralItem is a collateral item as far as it was looked at: a log can name
// one in ten thousands of components.
type collateralItem struct {
	kind string
	// digest is that of a component whose signature the item is.
	digest string
	// verified tells that the rest is known: who signed what, or why nobody did.
	verified bool
	key      [32]byte
	manifest *oms.Manifest
	ignore   []string
	// refused says about the weights why the item signs nothing; nil if it does.
	refused func(weights string) outcome
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
		files, err := oms.Weights(a.weights(c.Name), c.Name, nil)
		if err != nil {
			return fmt.Sprintf("%s: %v", c.Key(), err)
		}
		m, err := oms.NewManifest(files, oms.Options{})
		if err != nil {
			return fmt.Sprintf("%s: %v", c.Key(), err)
		}
		if !slices.Equal(c.Digest, []string{cer.OMSDigest(m.Root())}) {
			return fmt.Sprintf("%s is not that of its files", c.Key())
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
		var spki []string // of any key, unless the policy lists some
		if i := slices.IndexFunc(wanted, func(w ModelSigner) bool { return w.Weights == c.Name }); i >= 0 {
			spki = wanted[i].SPKI
		}
		key, o := a.modelSigned(c, spki)
		if key == nil {
			return o
		}
		signed = append(signed, fmt.Sprintf("weights %q by key %s", c.Name, short(key[:])))
	}
	return passed(strings.Join(signed, ", "))
}

// modelSigned returns the id of the key that signed the weights of one signature
// component, or why none did.
func (a *appraisal) modelSigned(c *cer.Component, spki []string) (key *[32]byte, o outcome) {
	items := a.collateral()
	i := slices.IndexFunc(items, func(item collateralItem) bool {
		return item.kind == CollateralModelSignature && len(c.Digest) == 1 && c.Digest[0] == item.digest
	})
	if i < 0 {
		return nil, unknown(fmt.Sprintf("the signature of weights %q is not in the capsule", c.Name))
	}
	item := &items[i]
	if !item.verified {
		item.verify(a.capsule.Collateral[i].Data, a.in.Roots.Signers())
	}
	if item.refused != nil {
		return nil, item.refused(c.Name)
	}
	if got := cer.SHA256Digest(item.key); len(spki) > 0 && !slices.Contains(spki, got) {
		return nil, failed(fmt.Sprintf("weights %q are signed by a key that the policy does not list for them", c.Name)).with(strings.Join(spki, " or "), got)
	}
	files, err := oms.Weights(a.weights(c.Name), c.Name, item.ignore)
	if err == nil {
		err = item.manifest.Check(files)
	}
	if err != nil {
		return nil, failed(fmt.Sprintf("weights %q: %v", c.Name, err))
	}
	return &item.key, outcome{}
}

// verify finds out which of the keys signed what, or why none did.
func (item *collateralItem) verify(data []byte, signers []Signer) {
	item.verified = true
	s, err := oms.Parse(data)
	if err == nil && len(signers) == 0 {
		item.refused = func(weights string) outcome {
			return unknown(fmt.Sprintf("weights %q are signed, and no key of role %s was given", weights, roleModelSigner))
		}
		return
	}
	if err == nil {
		keys := make([]crypto.PublicKey, 0, len(signers))
		for _, k := range signers {
			keys = append(keys, k.Key)
		}
		item.key, item.manifest, err = s.Verify(keys)
	}
	if err != nil {
		item.refused = func(weights string) outcome { return failed(fmt.Sprintf("weights %q: %v", weights, err)) }
		return
	}
	item.ignore = item.manifest.Ignore()
}

// signerRoots names the user-supplied keys that model signatures rest on.
func (a *appraisal) signerRoots() []string {
	var out []string
	if a.own == nil || a.launchErr != nil {
		return nil
	}
	for _, c := range a.signatures() {
		if key, _ := a.modelSigned(c, nil); key != nil {
			out = append(out, "user-supplied model signer "+hex.EncodeToString(key[:8]))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
