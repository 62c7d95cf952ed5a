package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"maps"
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

// signer signs models.
type signer struct {
	key *ecdsa.PrivateKey
	pem []byte
	id  string
}

func newSigner(t *testing.T) *signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return &signer{key, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), cer.SHA256Digest(sha256.Sum256(der))}
}

// sign writes the signature of a model's files.
func (s *signer) sign(t *testing.T, m *machine, name string, files map[string]string) string {
	t.Helper()
	var list []oms.File
	for path, content := range files {
		list = append(list, oms.File{Path: path, SHA256: sha256.Sum256([]byte(content))})
	}
	manifest, err := oms.NewManifest(list, oms.Options{Name: "model", Ignore: oms.GitPaths()})
	if err != nil {
		t.Fatal(err)
	}
	b, err := oms.Sign(rand.Reader, manifest, s.key)
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
func (m *machine) judge(t *testing.T, capsule []byte, p *verifier.Policy, signers ...*signer) *verifier.Report {
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

// policyWith makes a policy from a known-good record of signed weights.
func (m *machine) policyWith(t *testing.T, golden []byte, s *signer) *verifier.Policy {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(m.roots, "model-signer"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(m.roots, "model-signer", "publisher.pem"), s.pem, 0o644); err != nil {
		t.Fatal(err)
	}
	return m.policy(t, golden)
}
