//go:build linux

package launch

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/oms"
	"github.com/sworn-run/sworn/internal/limits"
)

// ErrSignature says that weights are not what their signature says, or the signature is by
// no key that was given, or below no authority. Nothing was launched.
var ErrSignature = errors.New("wrong model signature")

// signature is a model signature that was given for weights.
type signature struct {
	weights string
	data    []byte
	parsed  *oms.Signature
}

// collateralModelSignature is the kind of the collateral item that holds one
// (SPEC, section 7).
const collateralModelSignature = "model-signature"

// The types of PEM that hold a signer.
const (
	pemPublicKey   = "PUBLIC KEY"
	pemCertificate = "CERTIFICATE"
)

// readSignatures reads the model signatures, and the keys and authorities to check
// them with.
func (p *Plan) readSignatures() error {
	for _, path := range p.job.SignerKeys {
		if err := p.readSigner(path); err != nil {
			return err
		}
	}
	for _, s := range p.job.Signatures {
		name := s.Name
		if name == "" {
			name = "default"
		}
		if !slices.ContainsFunc(p.job.Weights, func(w Named) bool { return w.Name == name }) {
			return fmt.Errorf("model signature %s: there are no weights %q: %w", s.Path, name, ErrUsage)
		}
		if slices.ContainsFunc(p.signatures, func(o signature) bool { return o.weights == name }) {
			return fmt.Errorf("weights %q have two signatures: %w", name, ErrUsage)
		}
		data, err := readBounded(s.Path, limits.CollateralItem)
		if err != nil {
			return err
		}
		parsed, err := oms.Parse(data)
		if err != nil {
			return fmt.Errorf("model signature %s: %w: %w", s.Path, ErrSignature, err)
		}
		if err := p.sigstoreReady(parsed); err != nil {
			return fmt.Errorf("model signature %s: %w", s.Path, err)
		}
		p.signatures = append(p.signatures, signature{weights: name, data: data, parsed: parsed})
	}
	if len(p.signatures) > 0 && len(p.signers) == 0 && len(p.authorities) == 0 && p.sigstoreRoot == nil {
		return fmt.Errorf("a model signature is given, and no key to check it with: %w", ErrUsage)
	}
	// Whoever names an identity believes that it is asked for.
	if len(p.job.SignerIdentities) > 0 && !slices.ContainsFunc(p.signatures, func(s signature) bool { return s.parsed.Kind() == oms.KindSigstore }) {
		return fmt.Errorf("an identity is named, and no signature was made through Sigstore: %w", ErrUsage)
	}
	return nil
}

// sigstoreReady says what is missing to verify a signature through Sigstore, if it
// is one.
func (p *Plan) sigstoreReady(s *oms.Signature) error {
	switch {
	case s.Kind() != oms.KindSigstore:
		return nil
	case p.job.Sigstore == nil:
		return fmt.Errorf("it was made through Sigstore, and nothing is given that verifies it: %w", ErrUsage)
	case p.sigstoreRoot == nil:
		return fmt.Errorf("it was made through Sigstore, and no trusted root is given: %w", ErrUsage)
	case len(p.job.SignerIdentities) == 0:
		return fmt.Errorf("it was made through Sigstore, and nobody is named who may have made it: %w", ErrUsage)
	default:
		return nil
	}
}

// readSigner reads a public key or a CA's certificate, one PEM block or DER, or a
// Sigstore trusted root.
func (p *Plan) readSigner(path string) error {
	b, err := readBounded(path, limits.RootsFile)
	if err != nil {
		return err
	}
	if filepath.Ext(path) == ".json" {
		if p.sigstoreRoot != nil {
			return fmt.Errorf("%s is a second Sigstore trusted root: %w", path, ErrUsage)
		}
		if err := oms.CheckTrustedRoot(b); err != nil {
			return fmt.Errorf("%s: %w: %w", path, ErrUsage, err)
		}
		p.sigstoreRoot = b
		return nil
	}
	pemType := ""
	if block, rest := pem.Decode(b); block != nil {
		pemType = block.Type
		if pemType != pemPublicKey && pemType != pemCertificate || len(strings.TrimSpace(string(rest))) > 0 {
			return fmt.Errorf("%s is not one PEM block of type %s or %s: %w", path, pemPublicKey, pemCertificate, ErrUsage)
		}
		b = block.Bytes
	}
	if pemType != pemPublicKey {
		ca, err := x509.ParseCertificate(b)
		switch {
		case err == nil && (!ca.BasicConstraintsValid || !ca.IsCA):
			return fmt.Errorf("%s is no CA's certificate: %w", path, ErrUsage)
		case err == nil:
			p.authorities = append(p.authorities, ca)
			return nil
		case pemType == pemCertificate:
			return fmt.Errorf("%s is not one X.509 certificate: %w: %w", path, ErrUsage, err)
		}
	}
	key, err := x509.ParsePKIXPublicKey(b)
	if err == nil {
		_, err = oms.KeyID(key)
	}
	if err != nil {
		return fmt.Errorf("%s is no public key of a model signer: %w: %w", path, ErrUsage, err)
	}
	p.signers = append(p.signers, key)
	return nil
}

// verify verifies a signature with what was given for its kind, now. The error
// wraps one of package oms.
func (p *Plan) verify(s *signature) (manifest *oms.Manifest, err error) {
	switch s.parsed.Kind() {
	case oms.KindKey:
		_, manifest, err = s.parsed.Verify(p.signers)
	case oms.KindChain:
		_, manifest, err = s.parsed.VerifyChain(p.authorities, time.Now())
	default:
		var by *oms.SigstoreSigner
		by, manifest, err = oms.VerifySigstore(s.data, p.sigstoreRoot, time.Now(), p.job.Sigstore)
		if err == nil && !slices.Contains(p.job.SignerIdentities, by.Identity) {
			return nil, fmt.Errorf("%w: by %q of %q, who is not named", oms.ErrUntrusted, by.Subject, by.Issuer)
		}
	}
	return manifest, err
}

// signed reports whether weights have a signature.
func (p *Plan) signed(weights string) bool {
	return slices.ContainsFunc(p.signatures, func(s signature) bool { return s.weights == weights })
}

// Signed returns the names of the weights that have a signature, and the key ids
// ([oms.KeyID]) of the keys that it is checked with, "sha256:<hex>" each.
func (p *Plan) Signed() (weights, keys []string) {
	for _, s := range p.signatures {
		weights = append(weights, s.weights)
	}
	for _, key := range p.signers {
		if id, err := oms.KeyID(key); err == nil { // always: it was read so
			keys = append(keys, cer.SHA256Digest(id))
		}
	}
	slices.Sort(keys)
	return weights, slices.Compact(keys)
}

// modelComponents returns the manifests of folders of weights whose files all
// have flat digests, and the signatures, which it checks. The error wraps
// ErrSignature.
func (p *Plan) modelComponents(components []*cer.Component) ([]*cer.Component, error) {
	var out []*cer.Component
	for _, w := range p.job.Weights {
		if m := p.manifest(w.Name, components); m != nil {
			out = append(out, m)
		}
	}
	for i := range p.signatures {
		s := &p.signatures[i]
		manifest, err := p.verify(s)
		if err != nil {
			return nil, fmt.Errorf("weights %q: %w: %w", s.weights, ErrSignature, err)
		}
		files, err := oms.Weights(components, s.weights, manifest.Ignore())
		if err == nil {
			err = manifest.Check(files)
		}
		if err != nil {
			return nil, fmt.Errorf("weights %q: %w: %w", s.weights, ErrSignature, err)
		}
		out = append(out, &cer.Component{
			Role: cer.RoleModelSignature, Name: s.weights, Digest: []string{cer.SHA256Digest(sha256.Sum256(s.data))},
			Size: strconv.Itoa(len(s.data)),
		})
	}
	return out, nil
}

// manifest returns the manifest component of a folder of weights, nil for a file
// or a volume, or where a file has no flat digest.
func (p *Plan) manifest(name string, components []*cer.Component) *cer.Component {
	folder := p.target(cer.RoleWeights, name, p.job.Weights, modelDir)
	if folder == "" || !p.isFolder(name) {
		return nil
	}
	digests, err := oms.Digests(components, name)
	if err != nil {
		return nil // no flat digests, or nothing but what manifests leave out
	}
	var size uint64
	for _, c := range components {
		if n, err := strconv.ParseUint(c.Size, 10, 64); err == nil && c.Role == cer.RoleWeights && strings.HasPrefix(c.Name, name+"/") {
			size += n
		}
	}
	return &cer.Component{
		Role: cer.RoleManifest, Name: name, Path: folder, Digest: digests, Size: strconv.FormatUint(size, 10),
	}
}

// collateral returns the signatures as the capsule carries them, in the order of
// their components, each once.
func (p *Plan) collateral() []attest.Collateral {
	var out []attest.Collateral
	for _, s := range p.signatures {
		if slices.ContainsFunc(out, func(c attest.Collateral) bool { return bytes.Equal(c.Data, s.data) }) {
			continue
		}
		out = append(out, attest.Collateral{Kind: collateralModelSignature, Data: s.data})
	}
	return out
}
