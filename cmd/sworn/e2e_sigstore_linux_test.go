package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/cer/oms"
	"github.com/sworn-run/sworn/verifier"
)

// toolSignature is a signature that the format's own tool made through the public
// Sigstore, over the files of toolModel, and SHA-256 of its payload.
func toolSignature(t *testing.T) (bundle string, payload string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "cer", "oms", "testdata", "v1.1.0-sigstore.sig"))
	if err != nil {
		t.Fatal(err)
	}
	var w struct {
		Envelope struct {
			Payload string `json:"payload"`
		} `json:"dsseEnvelope"`
	}
	if err := json.Unmarshal(b, &w); err != nil {
		t.Fatal(err)
	}
	p, err := base64.StdEncoding.DecodeString(w.Envelope.Payload)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), fmt.Sprintf("%x", sha256.Sum256(p))
}

func toolModel() map[string]string {
	return map[string]string{"signme-1": "signme-1", "signme-2": "signme-2"}
}

// asks writes a program that reads a request and says something about it.
func (m *machine) asks(t *testing.T, name, says string) string {
	t.Helper()
	file := m.write(t, name, "#!/bin/sh\nset -e\nPATH=/usr/bin:/bin\n[ -n \"$(head -c 100)\" ]\ncat >/dev/null\n"+says+"\n")
	if err := os.Chmod(file, 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

const sigstoreRoot = `{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`

// A program judges certificate and log; who signed what is judged here, at the
// launch and at the verdict. That program's own tests are in cmd/sworn-sigstore.
func TestModelSigstore(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	weights := m.tree(t, "model", toolModel())
	bundle, payload := toolSignature(t)
	signature, root := m.write(t, "model.sig", bundle), m.write(t, "root.json", sigstoreRoot)
	says := func(payload string) string {
		return fmt.Sprintf(`echo '{"issuer":"https://issuer.example","subject":"a@example.com","payload":%q,"time":"2025-10-10T02:12:20Z"}'`, payload)
	}
	good := m.asks(t, "good", says(payload))
	flags := func(more ...string) []string {
		return append([]string{"--weights", weights, "--model-signature", signature, "--model-key", root}, more...)
	}
	const id, other = "https://issuer.example,a@example.com", "https://issuer.example,b@example.com"
	command := []string{"/bin/cat", "{weights.dir}/signme-1"}
	record := m.run(t, "record", flags("--sigstore", good, "--model-identity", other, "--model-identity", id), command...)
	for name, c := range map[string]struct{ flags, words []string }{
		"no program":       {flags("--model-identity", id), []string{"nothing is given that verifies it"}},
		"no identity":      {flags("--sigstore", good), []string{"nobody is named"}},
		"another identity": {flags("--sigstore", good, "--model-identity", other), []string{"wrong model signature", "who is not named"}},
		"half an identity": {flags("--sigstore", good, "--model-identity", "a"), []string{"want ISSUER,SUBJECT"}},
		"two roots":        {flags("--sigstore", good, "--model-identity", id, "--model-key", root), []string{"second Sigstore trusted root"}},
		"another payload":  {flags("--sigstore", m.asks(t, "other", says(strings.Repeat("0", 64))), "--model-identity", id), []string{"another payload"}},
		"it refuses":       {flags("--sigstore", m.asks(t, "refuses", "echo not in the log >&2; exit 1"), "--model-identity", id), []string{"not in the log"}},
		"no such program":  {flags("--sigstore", m.path("none"), "--model-identity", id), []string{"wrong model signature"}},
		"much to say":      {flags("--sigstore", m.asks(t, "much", "head -c 100000 /dev/zero"), "--model-identity", id), []string{"more than 16384 bytes"}},
		"no trusted root": {
			[]string{"--weights", weights, "--model-signature", signature, "--sigstore", good, "--model-identity", id, "--model-key", m.write(t, "k.pem", string(newSigner(t).pem))},
			[]string{"no trusted root"},
		},
	} {
		t.Log(name)
		m.refuse(t, "refused.cer.json", m.runArgs("refused", c.flags, command...), c.words...)
	}
	m.judgeSigstore(t, record, good, m.asks(t, "never", "exit 1"))
}

// judgeSigstore judges a record of weights that were signed through Sigstore as a
// relying party does.
func (m *machine) judgeSigstore(t *testing.T, record []byte, good, refuses string) {
	t.Helper()
	p, err := verifier.PolicyFromRecord(record, m.trust(t), time.Now(), "test", append(waivers(), verifier.Waiver{Check: "model.signature", Reason: "listed below"}))
	if err != nil {
		t.Fatal(err)
	}
	p.Waive = slices.DeleteFunc(p.Waive, func(w verifier.Waiver) bool { return w.Check == "model.signature" })
	p.ModelSigners = []verifier.ModelSigner{{Weights: "default", Identities: []oms.Identity{{Issuer: "https://issuer.example", Subject: "a@example.com"}}}}
	b, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(m.roots, "model-signer"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(m.roots, "model-signer", "root.json"), []byte(sigstoreRoot), 0o644); err != nil {
		t.Fatal(err)
	}
	verify := []string{"verify", "--policy", m.write(t, "policy.json", string(b)), "--roots", m.roots}
	for _, c := range []struct {
		flags []string
		code  int
		words string
	}{
		{[]string{"--sigstore", good}, exitOK, "user-supplied Sigstore root"},
		{[]string{"--sigstore", refuses}, exitNotTrusted, "model.signature"},
		{nil, exitNotTrusted, "nothing was given that verifies signatures through Sigstore"},
	} {
		d := m.do(t, slices.Concat(verify, c.flags, []string{m.path("record.cer.json")})...)
		if d.code != c.code || !strings.Contains(d.out, c.words) {
			t.Errorf("%v: exit status %d: %s%s", c.flags, d.code, d.out, d.err)
		}
	}
}
