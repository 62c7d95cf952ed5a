package verifier

import (
	"crypto/sha256"
	"sync"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/oms"
)

// signedBySigstore verifies a signature through Sigstore; it returns nothing if
// there is no trusted root.
func (a *appraisal) signedBySigstore(bundle []byte) ([]signedBy, error) {
	root := a.in.Roots.SigstoreRoot()
	if root == nil {
		return nil, nil
	}
	signer, manifest, err := oms.VerifySigstore(bundle, root, a.at, a.in.Sigstore)
	if err != nil {
		return nil, err
	}
	return []signedBy{{modelSigner{sigstore: &signer.Identity}, manifest}}, nil
}

// askOnce returns a verifier that asks another about each bundle and trusted root
// once: a verdict needs an answer several times, and each may cost a process. Nil
// stays nil.
func askOnce(verify oms.SigstoreVerifier) oms.SigstoreVerifier {
	if verify == nil {
		return nil
	}
	type question struct{ bundle, root [32]byte }
	type answer struct {
		signer oms.SigstoreSigner
		nobody bool
		err    error
	}
	var mu sync.Mutex
	known := map[question]answer{}
	return func(bundle, trustedRoot []byte) (*oms.SigstoreSigner, error) {
		mu.Lock()
		defer mu.Unlock()
		q := question{sha256.Sum256(bundle), sha256.Sum256(trustedRoot)}
		a, ok := known[q]
		if !ok {
			signer, err := verify(bundle, trustedRoot)
			if a = (answer{nobody: signer == nil, err: err}); signer != nil {
				a.signer = *signer
			}
			known[q] = a
		}
		if a.nobody || a.err != nil {
			return nil, a.err
		}
		return &a.signer, nil
	}
}

// signerOf returns what a policy says that accepts whoever signed weights: the key
// that signed, or the identity. It returns nil if the signature does not hold.
func (a *appraisal) signerOf(c *cer.Component) *ModelSigner {
	signed, _ := a.verifiedSigners(c)
	if len(signed) == 0 {
		return nil
	}
	w := &ModelSigner{Weights: c.Name}
	if id := signed[0].sigstore; id != nil {
		w.Identities = []oms.Identity{*id}
	} else {
		w.SPKI = []string{cer.SHA256Digest(signed[0].key)}
	}
	if by, _, _ := a.modelSigned(c, w); by == nil {
		return nil
	}
	return w
}
