package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/oms"
	"github.com/sworn-run/sworn/verifier"
)

// publisher signs models, below an authority if there is a chain; pem is what to
// trust.
type publisher struct {
	key   *ecdsa.PrivateKey
	chain []*x509.Certificate
	pem   []byte
	id    string
}

func newSigner(t *testing.T) *publisher {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return &publisher{key, nil, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), cer.SHA256Digest(sha256.Sum256(der))}
}

// newCertified makes a signer whose certificate an authority of its own issued,
// valid until a time.
func newCertified(t *testing.T, authority string, until time.Time) *publisher {
	t.Helper()
	root, s := newSigner(t), newSigner(t)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: authority}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		NotBefore: ca.NotBefore, NotAfter: until,
	}
	issue := func(c *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
		der, err := x509.CreateCertificate(rand.Reader, c, ca, key.Public(), root.key)
		if err != nil {
			t.Fatal(err)
		}
		if c, err = x509.ParseCertificate(der); err != nil {
			t.Fatal(err)
		}
		return c
	}
	s.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: issue(ca, root.key).Raw})
	s.chain = []*x509.Certificate{issue(leaf, s.key)}
	return s
}

// sign writes the signature of a model's files.
func (s *publisher) sign(t *testing.T, m *machine, name string, files map[string]string) string {
	t.Helper()
	var list []oms.File
	for path, content := range files {
		list = append(list, oms.File{Path: path, SHA256: sha256.Sum256([]byte(content))})
	}
	manifest, err := oms.NewManifest(list, oms.Options{Name: "model", Ignore: oms.GitPaths()})
	if err != nil {
		t.Fatal(err)
	}
	b, err := oms.Sign(rand.Reader, manifest, s.key, s.chain...)
	if err != nil {
		t.Fatal(err)
	}
	return m.write(t, name, string(b))
}

// tree writes files below a folder and returns its path.
func (m *machine) tree(t *testing.T, name string, files map[string]string) string {
	t.Helper()
	for path, content := range files {
		file := m.path(filepath.Join(name, path))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return m.path(name)
}

// judge judges a record of the model tests with the keys of signers.
func (m *machine) judge(t *testing.T, capsule []byte, p *verifier.Policy, signers ...*publisher) *verifier.Report {
	t.Helper()
	files := []verifier.RootFile{}
	maker, err := filepath.Glob(filepath.Join(m.roots, "tpm-ak", "*"))
	if err != nil || len(maker) == 0 {
		t.Fatal(err)
	}
	for _, path := range maker {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, verifier.RootFile{Path: "tpm-ak/" + filepath.Base(path), Data: b})
	}
	for i, s := range signers {
		files = append(files, verifier.RootFile{Path: "model-signer/" + string(rune('a'+i)) + ".pem", Data: s.pem})
	}
	store, err := verifier.NewTrustStore(files)
	if err != nil {
		t.Fatal(err)
	}
	r, err := verifier.Verify(capsule, verifier.Input{Policy: p, Roots: store, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A signed folder of weights: the launch stops at a wrong signature, and the
// verifier asks for the right one again.
func TestModelSignature(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	files := map[string]string{"a.safetensors": "shard a", "sub/b.safetensors": "shard b", ".gitignore": "left out"}
	weights := m.tree(t, "model", files)
	publisher, other := newSigner(t), newSigner(t)
	signature := publisher.sign(t, m, "model.sig", map[string]string{"a.safetensors": "shard a", "sub/b.safetensors": "shard b"})
	key := m.write(t, "key.pem", string(publisher.pem))
	flags := func(signature, key string) []string {
		return []string{"--weights", weights, "--model-signature", signature, "--model-key", key}
	}
	command := []string{"/bin/cat", "{weights.dir}/a.safetensors"}
	p := m.policyWith(t, m.run(t, "golden", flags(signature, key), command...), publisher)
	if len(p.ModelSigners) != 1 || !slices.Equal(p.ModelSigners[0].SPKI, []string{publisher.id}) {
		t.Fatalf("the policy asks for signers %v", p.ModelSigners)
	}
	record := m.run(t, "record", flags(signature, key), command...)
	r := m.judge(t, record, p, publisher, other)
	trusted(t, r)
	if !strings.Contains(r.Headline, "user-supplied model signer "+publisher.id[7:23]) {
		t.Errorf("the headline does not name the signer: %s", r.Headline)
	}

	refused(t, "no key", m.judge(t, record, p), "model.signature")
	refused(t, "another key", m.judge(t, record, p, other), "model.signature")
	listed := *p
	listed.ModelSigners = []verifier.ModelSigner{{Weights: "default", SPKI: []string{other.id}}}
	refused(t, "a key that the policy does not list", m.judge(t, record, &listed, publisher, other), "model.signature")
	unsigned := *p
	unsigned.Others = verifier.OthersReport
	unsigned.Components = slices.DeleteFunc(slices.Clone(p.Components), func(c verifier.PolicyComponent) bool { return c.Role == cer.RoleModelSignature })
	bare := m.run(t, "bare", []string{"--weights", weights}, command...)
	refused(t, "no signature", m.judge(t, bare, &unsigned, publisher), "model.signature")

	for name, change := range map[string]func(c *cer.Capsule){
		"the signature is left out":   func(c *cer.Capsule) { c.Collateral = nil },
		"another signature":           func(c *cer.Capsule) { c.Collateral[0].Data = []byte("{}") },
		"the signature of another":    func(c *cer.Capsule) { c.Collateral[0].Data[len(c.Collateral[0].Data)/2] ^= 1 },
		"the signature twice":         func(c *cer.Capsule) { c.Collateral = append(c.Collateral, c.Collateral[0]) },
		"collateral of another kind":  func(c *cer.Capsule) { c.Collateral[0].Kind = "crl" },
		"collateral that nobody asks": func(c *cer.Capsule) { c.Collateral = append(c.Collateral, attest.Collateral{Kind: "x"}) },
	} {
		c, err := cer.ParseCapsule(record)
		if err != nil {
			t.Fatal(err)
		}
		change(c)
		b, err := c.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if r := m.judge(t, b, p, publisher); r.Trusted {
			t.Errorf("%s: trusted", name)
		}
	}

	for name, c := range map[string]struct {
		signature, key string
		words          []string
	}{
		"another key":   {signature, m.write(t, "other.pem", string(other.pem)), []string{"wrong model signature"}},
		"no key":        {signature, m.write(t, "none.pem", "x"), []string{"none.pem"}},
		"no signature":  {m.write(t, "none.sig", "{}"), key, []string{"none.sig", "malformed"}},
		"another model": {publisher.sign(t, m, "other.sig", map[string]string{"a.safetensors": "shard a"}), key, []string{"sub/b.safetensors", "not signed"}},
		"a missing file": {
			publisher.sign(t, m, "more.sig", map[string]string{"a.safetensors": "shard a", "sub/b.safetensors": "shard b", "c": "c"}), key,
			[]string{`\"c\" is missing`},
		},
	} {
		if name == "a missing file" {
			c.words = []string{"is missing"}
		}
		m.refuse(t, "refused.cer.json", m.runArgs("refused", flags(c.signature, c.key), command...), c.words...)
	}
	changed := maps.Clone(files)
	changed["sub/b.safetensors"] = "shard B"
	m.tree(t, "model", changed)
	m.refuse(t, "refused.cer.json", m.runArgs("refused", flags(signature, key), command...), "wrong model signature", "sub/b.safetensors")
}

// A signature with a certificate of somebody's own authority: the authority is
// what one trusts, at the launch and at the verdict.
func TestModelCertificate(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	files := map[string]string{"a.safetensors": "shard a"}
	weights := m.tree(t, "model", files)
	publisher, other := newCertified(t, "Models Inc", time.Now().Add(time.Hour)), newCertified(t, "Others Inc", time.Now().Add(time.Hour))
	expired, plain := newCertified(t, "Late Inc", time.Now().Add(-time.Hour)), newSigner(t)
	signature := publisher.sign(t, m, "model.sig", files)
	flags := func(signature, key string) []string {
		return []string{"--weights", weights, "--model-signature", signature, "--model-key", key}
	}
	key := m.write(t, "ca.pem", string(publisher.pem))
	command := []string{"/bin/cat", "{weights.dir}/a.safetensors"}
	record := m.run(t, "record", flags(signature, key), command...)
	p := m.policyWith(t, record, publisher)
	if len(p.ModelSigners) != 1 || !slices.Equal(p.ModelSigners[0].SPKI, []string{publisher.id}) {
		t.Fatalf("the policy asks for signers %v", p.ModelSigners)
	}
	r := m.judge(t, record, p, plain, other, publisher)
	trusted(t, r)
	if !strings.Contains(r.Headline, `user-supplied model authority "Models Inc"`) {
		t.Errorf("the headline does not name the authority: %s", r.Headline)
	}
	refused(t, "no authority", m.judge(t, record, p, plain), "model.signature")
	refused(t, "another authority", m.judge(t, record, p, other), "model.signature")

	for name, c := range map[string]struct {
		signature, key string
		words          []string
	}{
		"another authority": {signature, m.write(t, "other.pem", string(other.pem)), []string{"wrong model signature"}},
		"only a key":        {signature, m.write(t, "plain.pem", string(plain.pem)), []string{"wrong model signature"}},
		"an expired one":    {expired.sign(t, m, "late.sig", files), m.write(t, "late.pem", string(expired.pem)), []string{"wrong model signature", "expired"}},
		"the signer's own certificate": {
			signature, m.write(t, "leaf.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: publisher.chain[0].Raw}))),
			[]string{"leaf.pem is no CA's certificate"},
		},
		"something that is no certificate": {
			signature, m.write(t, "none.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}))),
			[]string{"none.pem is not one X.509 certificate"},
		},
	} {
		t.Log(name)
		m.refuse(t, "refused.cer.json", m.runArgs("refused", flags(c.signature, c.key), command...), c.words...)
	}
}

// policyWith makes a policy from a known-good record of signed weights.
func (m *machine) policyWith(t *testing.T, golden []byte, s *publisher) *verifier.Policy {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(m.roots, "model-signer"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(m.roots, "model-signer", "publisher.pem"), s.pem, 0o644); err != nil {
		t.Fatal(err)
	}
	return m.policy(t, golden)
}
