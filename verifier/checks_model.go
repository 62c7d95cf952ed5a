package verifier

import (
	"crypto"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/sworn-run/sworn/attest"
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
	for _, c := range a.signatures() {
		if d := strings.Join(c.Digest, " "); !slices.Contains(digests, d) {
			digests = append(digests, d)
		}
	}
	items := a.capsule.Collateral
	for n := len(items); n > 0 && (items[n-1].Kind == CollateralEventLog || items[n-1].Kind == CollateralIMA); n = len(items) {
		items = items[:n-1] // check boot.log's
	}
	if len(items) > len(digests) {
		return fmt.Sprintf("%d collateral item(s) that no check uses", len(items)-len(digests))
	}
	next := 0
	for i, item := range items {
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
	for _, c := range a.components {
		if c.Role != cer.RoleManifest {
			continue
		}
		files, err := oms.Weights(a.components, c.Name, nil)
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
	i := slices.IndexFunc(a.capsule.Collateral, func(item attest.Collateral) bool {
		return item.Kind == CollateralModelSignature && slices.Equal(c.Digest, []string{cer.SHA256Digest(sha256.Sum256(item.Data))})
	})
	if i < 0 {
		return nil, unknown(fmt.Sprintf("the signature of weights %q is not in the capsule", c.Name))
	}
	s, err := oms.Parse(a.capsule.Collateral[i].Data)
	if err != nil {
		return nil, failed(fmt.Sprintf("weights %q: %v", c.Name, err))
	}
	signers := a.in.Roots.Signers()
	if len(signers) == 0 {
		return nil, unknown(fmt.Sprintf("weights %q are signed, and no key of role %s was given", c.Name, roleModelSigner))
	}
	keys := make([]crypto.PublicKey, 0, len(signers))
	for _, k := range signers {
		keys = append(keys, k.Key)
	}
	id, manifest, err := s.Verify(keys)
	if err != nil {
		return nil, failed(fmt.Sprintf("weights %q: %v", c.Name, err))
	}
	if got := cer.SHA256Digest(id); len(spki) > 0 && !slices.Contains(spki, got) {
		return nil, failed(fmt.Sprintf("weights %q are signed by a key that the policy does not list for them", c.Name)).with(strings.Join(spki, " or "), got)
	}
	files, err := oms.Weights(a.components, c.Name, manifest.Ignore())
	if err == nil {
		err = manifest.Check(files)
	}
	if err != nil {
		return nil, failed(fmt.Sprintf("weights %q: %v", c.Name, err))
	}
	return &id, outcome{}
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
