package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

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
	byKey := newSigner(t)
	m.run(t, "record", flags("--sigstore", good, "--model-identity", other, "--model-identity", id), command...)
	for name, c := range map[string]struct{ flags, words []string }{
		"no program":       {flags("--model-identity", id), []string{"nothing is given that verifies it"}},
		"no identity":      {flags("--sigstore", good), []string{"nobody is named"}},
		"another identity": {flags("--sigstore", good, "--model-identity", other), []string{"wrong model signature", "who is not named"}},
		"half an identity": {flags("--sigstore", good, "--model-identity", "a"), []string{"want ISSUER,SUBJECT"}},
		"an identity and a key's signature": {
			[]string{"--weights", weights, "--model-signature", byKey.sign(t, m, "key.sig", toolModel()), "--model-key", m.write(t, "key.pem", string(byKey.pem)), "--model-identity", id},
			[]string{"no signature was made through Sigstore"},
		},
		"a root that is none": {
			[]string{"--weights", weights, "--model-signature", signature, "--sigstore", good, "--model-identity", id, "--model-key", m.write(t, "none.json", "{}")},
			[]string{"want a Sigstore trusted root"},
		},
		"two roots":       {flags("--sigstore", good, "--model-identity", id, "--model-key", root), []string{"second Sigstore trusted root"}},
		"another payload": {flags("--sigstore", m.asks(t, "other", says(strings.Repeat("0", 64))), "--model-identity", id), []string{"another payload"}},
		"it refuses":      {flags("--sigstore", m.asks(t, "refuses", "echo not in the log >&2; exit 1"), "--model-identity", id), []string{"not in the log"}},
		"no such program": {flags("--sigstore", m.path("none"), "--model-identity", id), []string{"wrong model signature"}},
		"much to say":     {flags("--sigstore", m.asks(t, "much", "head -c 100000 /dev/zero"), "--model-identity", id), []string{"more than 16384 bytes"}},
		"no trusted root": {
			[]string{"--weights", weights, "--model-signature", signature, "--sigstore", good, "--model-identity", id, "--model-key", m.write(t, "k.pem", string(newSigner(t).pem))},
			[]string{"no trusted root"},
		},
	} {
		t.Log(name)
		m.refuse(t, "refused.cer.json", m.runArgs("refused", c.flags, command...), c.words...)
	}
	m.judgeSigstore(t, sigstoreRoot, oms.Identity{Issuer: "https://issuer.example", Subject: "a@example.com"}, good, m.asks(t, "never", "exit 1"))
}

// judgeSigstore judges a record of weights that were signed through Sigstore as a
// relying party does.
func (m *machine) judgeSigstore(t *testing.T, root string, signer oms.Identity, good, refuses string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(m.roots, "model-signer"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(m.roots, "model-signer", "root.json"), []byte(root), 0o644); err != nil {
		t.Fatal(err)
	}
	from := []string{"policy", "from-record", "--roots", m.roots, "-o", m.path("policy.json")}
	for _, w := range waivers() {
		from = append(from, "--waive", w.Check+"="+w.Reason)
	}
	from = append(from, m.path("record.cer.json"))
	for _, without := range [][]string{nil, {"--sigstore", refuses}} {
		m.refuse(t, "policy.json", slices.Concat(from, without), "model.signature")
	}
	if d := m.do(t, slices.Concat(from, []string{"--sigstore", good})...); d.code != exitOK {
		t.Fatalf("exit status %d: %s", d.code, d.err)
	}
	p, err := verifier.ParsePolicy(m.read(t, "policy.json"))
	if err != nil || len(p.ModelSigners) != 1 || p.ModelSigners[0].SPKI != nil || !slices.Equal(p.ModelSigners[0].Identities, []oms.Identity{signer}) {
		t.Fatalf("signers %+v, %v", p.ModelSigners, err)
	}
	verify := []string{"verify", "--policy", m.path("policy.json"), "--roots", m.roots}
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

// sigstoreProgram builds cmd/sworn-sigstore, a module of its own.
func sigstoreProgram(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "sworn-sigstore")
	cmd := exec.Command("go", "-C", filepath.Join("..", "sworn-sigstore"), "build", "-buildvcs=false", "-o", file, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%v: %s", err, out)
		}
		t.Skipf("its modules cannot be had: %v: %s", err, out)
	}
	return file
}

// The program itself, with a signature that the format's own tool made through the
// public Sigstore, from the launch to the verdict.
func TestModelSigstoreProgram(t *testing.T) {
	t.Parallel()
	program := sigstoreProgram(t)
	m := newMachine(t)
	b, err := os.ReadFile(filepath.Join("..", "sworn-sigstore", "testdata", "trusted-root-public-good.json"))
	if err != nil {
		t.Fatal(err)
	}
	public := string(b)
	bundle, _ := toolSignature(t)
	signer := oms.Identity{Issuer: "https://sigstore.verify.ibm.com/oauth2", Subject: "stefanb@us.ibm.com"}
	given := map[string]string{
		"--weights": m.tree(t, "model", toolModel()), "--model-signature": m.write(t, "model.sig", bundle),
		"--model-key": m.write(t, "root.json", public), "--model-identity": signer.Issuer + "," + signer.Subject, "--sigstore": program,
	}
	flags := func(flag, value string) []string {
		var out []string
		for f, v := range given {
			if f == flag {
				v = value
			}
			out = append(out, f, v)
		}
		return out
	}
	command := []string{"/bin/cat", "{weights.dir}/signme-1"}
	m.run(t, "record", flags("", ""), command...)
	changed := toolModel()
	changed["signme-2"] = "another"
	more := toolModel()
	more["signme-3"] = ""
	replaced := func(text, old, by string) string {
		if strings.Count(text, old) == 0 {
			t.Fatalf("there is no %s", old)
		}
		return strings.ReplaceAll(text, old, by)
	}
	for name, c := range map[string]struct{ flag, value string }{
		"other weights":           {"--weights", m.tree(t, "changed", changed)},
		"more weights":            {"--weights", m.tree(t, "more", more)},
		"another issuer":          {"--model-identity", "https://accounts.google.com," + signer.Subject},
		"the subject's beginning": {"--model-identity", signer.Issuer + "," + signer.Subject[:len(signer.Subject)-1]},
		"more than the subject":   {"--model-identity", signer.Issuer + "," + signer.Subject + "x"},
		"a pattern":               {"--model-identity", signer.Issuer + ",.*"},
		"another time":            {"--model-signature", m.write(t, "time.sig", replaced(bundle, "1760062340", "1760062341"))},
		"no proof":                {"--model-signature", m.write(t, "proof.sig", replaced(bundle, `"inclusionProof"`, `"inclusionproof"`))},
		"a root of nobody's":      {"--model-key", m.write(t, "nobody.json", sigstoreRoot)},
		"a root without its logs": {"--model-key", m.write(t, "logs.json", replaced(public, `"tlogs"`, `"formerTlogs"`))},
	} {
		t.Log(name)
		m.refuse(t, "refused.cer.json", m.runArgs("refused", flags(c.flag, c.value), command...), "wrong model signature")
	}
	m.judgeSigstore(t, public, signer, program, m.asks(t, "never", "exit 1"))
}
