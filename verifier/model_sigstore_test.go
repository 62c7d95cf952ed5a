package verifier_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer/oms"
	"github.com/sworn-run/sworn/verifier"
)

const trustedRoot = `{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`

func rootFile(name string) verifier.RootFile {
	return verifier.RootFile{Path: "model-signer/" + name, Data: []byte(trustedRoot)}
}

// sigstorePage forges the golden page with a signature through Sigstore over its
// weights: that of the format's own tool, with another payload. It returns what a
// verifier of such signatures would find out.
func sigstorePage(t *testing.T, f *forger) (file []byte, signer oms.SigstoreSigner) {
	t.Helper()
	m, err := oms.NewManifest([]oms.File{{Path: ".", SHA256: goldenFile(t, "weights.bin").SHA256}}, oms.Options{Name: "model"})
	if err != nil {
		t.Fatal(err)
	}
	b, err := oms.Sign(nil, m, newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	var byKey, bySigstore map[string]json.RawMessage
	if err := errors.Join(json.Unmarshal(b, &byKey), json.Unmarshal(sigstoreSignature(t), &bySigstore)); err != nil {
		t.Fatal(err)
	}
	bySigstore["dsseEnvelope"] = byKey["dsseEnvelope"]
	var envelope struct{ Payload string }
	if err := json.Unmarshal(byKey["dsseEnvelope"], &envelope); err != nil {
		t.Fatal(err)
	}
	payload, err := base64.StdEncoding.DecodeString(envelope.Payload)
	if err != nil {
		t.Fatal(err)
	}
	if b, err = json.Marshal(bySigstore); err != nil {
		t.Fatal(err)
	}
	id := oms.Identity{Issuer: "https://issuer.example", Subject: "models@example.com"}
	return withSignature(t, f, b), oms.SigstoreSigner{Identity: id, Payload: sha256.Sum256(payload), Time: goldenTime(t)}
}

// sigstoreInput is the input of one whose policy lists identities, and who has
// somebody verify the signature.
func sigstoreInput(t *testing.T, f *forger, listed []oms.Identity, signer oms.SigstoreSigner, files ...verifier.RootFile) verifier.Input {
	t.Helper()
	in := signerInput(t, f, nil, files...)
	if listed != nil {
		in.Policy.ModelSigners = []verifier.ModelSigner{{Weights: "default", Identities: listed}}
	}
	in.Sigstore = func(_, root []byte) (*oms.SigstoreSigner, error) {
		if string(root) != trustedRoot {
			return nil, errors.New("another trusted root")
		}
		return &signer, nil
	}
	return in
}

func TestModelSigstore(t *testing.T) {
	f := newForger(t)
	file, signer := sigstorePage(t, f)
	other := oms.Identity{Issuer: signer.Issuer, Subject: "others@example.com"}
	root := rootFile("root.json")
	sum := sha256.Sum256([]byte(trustedRoot))
	r := verify(t, file, sigstoreInput(t, f, []oms.Identity{other, signer.Identity}, signer, root))
	if want := fmt.Sprintf("user-supplied Sigstore root %x", sum[:8]); !r.Trusted || !strings.Contains(r.Headline, want) {
		t.Fatal(r.Headline)
	}
	if c := find(t, r, "model.signature"); !strings.Contains(c.Detail, `"models@example.com" of "https://issuer.example"`) {
		t.Errorf("detail %q", c.Detail)
	}

	ours := []oms.Identity{signer.Identity}
	later, elsewhere := signer, signer
	later.Time = later.Time.AddDate(1, 0, 0)
	elsewhere.Payload[0] ^= 1
	none := sigstoreInput(t, f, ours, signer, root)
	none.Sigstore = nil
	refuses := sigstoreInput(t, f, ours, signer, root)
	refuses.Sigstore = func(_, _ []byte) (*oms.SigstoreSigner, error) { return nil, errors.New("not in the log") }
	leaf := modelLeaf(t, modelAuthority(t, "Models Inc", nil), nil)
	keys := sigstoreInput(t, f, nil, signer, root)
	keys.Policy.ModelSigners = []verifier.ModelSigner{{Weights: "default", SPKI: []string{keyID(leaf)}}}
	byKey := signedPage(t, f, false, leaf.key)
	for name, c := range map[string]refusedSigner{
		"nobody verifies it":         {file, none, attest.NotEstablished},
		"no trusted root":            {file, sigstoreInput(t, f, ours, signer, keyFile("k", leaf)), attest.NotEstablished},
		"no identity":                {file, sigstoreInput(t, f, nil, signer, root), attest.NotEstablished},
		"another identity":           {file, sigstoreInput(t, f, []oms.Identity{other}, signer, root), attest.Failed},
		"only keys are listed":       {file, keys, attest.Failed},
		"refused":                    {file, refuses, attest.Failed},
		"another payload":            {file, sigstoreInput(t, f, ours, elsewhere, root), attest.Failed},
		"later":                      {file, sigstoreInput(t, f, ours, later, root), attest.Failed},
		"a key, and identities only": {byKey, sigstoreInput(t, f, ours, signer, root, keyFile("k", leaf)), attest.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			r := verify(t, c.file, c.in)
			wantRefused(t, r, "model.signature")
			if got := find(t, r, "model.signature"); got.Status != c.status.String() {
				t.Errorf("%s, want %s: %s", got.Status, c.status, got.Detail)
			}
		})
	}
}

// A policy from a record names the identity that signed, so that the next record
// has to be by it too; and a verifier is asked once for each verdict.
func TestPolicyFromSigstoreRecord(t *testing.T) {
	f := newForger(t)
	file, signer := sigstorePage(t, f)
	in := sigstoreInput(t, f, nil, signer, rootFile("root.json"))
	asked, verify1 := 0, in.Sigstore
	in.Sigstore = func(bundle, root []byte) (*oms.SigstoreSigner, error) {
		asked++
		return verify1(bundle, root)
	}
	p, err := in.PolicyFromRecord(file, "made", in.Policy.Waive)
	if err != nil {
		t.Fatal(err)
	}
	if s := p.ModelSigners; len(s) != 1 || s[0].Weights != "default" || s[0].SPKI != nil || !slices.Equal(s[0].Identities, []oms.Identity{signer.Identity}) {
		t.Errorf("signers %+v", s)
	}
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	asked, in.Policy = 0, p
	if r := verify(t, file, in); !r.Trusted || asked != 1 {
		t.Errorf("%s, asked %d times", r.Headline, asked)
	}
	other := signer
	other.Subject = "others@example.com"
	in.Sigstore = func(_, _ []byte) (*oms.SigstoreSigner, error) { return &other, nil }
	wantRefused(t, verify(t, file, in), "model.signature")

	in.Sigstore = nil
	if p, err := in.PolicyFromRecord(file, "made", p.Waive); p != nil || !errors.Is(err, verifier.ErrRecord) {
		t.Errorf("nobody verifies it: %v", err)
	}
	in.Sigstore = func(_, _ []byte) (*oms.SigstoreSigner, error) { return nil, errors.New("not in the log") }
	if p, err := in.PolicyFromRecord(file, "made", p.Waive); p != nil || !errors.Is(err, verifier.ErrRecord) {
		t.Errorf("refused: %v", err)
	}
}

func TestSigstoreRoot(t *testing.T) {
	s := modelStore(t, rootFile("a.json"))
	sum := sha256.Sum256([]byte(trustedRoot))
	if s.Empty() || string(s.SigstoreRoot()) != trustedRoot || len(s.Signers()) != 0 || len(s.Anchors().Roots) != 0 {
		t.Errorf("store %+v", s)
	}
	if s.Digest() != sha256.Sum256([]byte("sworn.run/roots/v1\x00\x0cmodel-signer\x08sigstore"+string(sum[:]))) {
		t.Error("another digest")
	}
	clear(s.SigstoreRoot())
	if string(s.SigstoreRoot()) != trustedRoot {
		t.Error("what SigstoreRoot returns changes the store")
	}
	if (*verifier.TrustStore)(nil).SigstoreRoot() != nil {
		t.Error("no store has a root")
	}
	for name, data := range map[string]string{
		"no JSON": "x", "no type": "{}", "another type": `{"mediaType":"application/json"}`, "twice": trustedRoot[:len(trustedRoot)-1] + "," + trustedRoot[1:], "a list": "[]",
	} {
		t.Run(name, func(t *testing.T) {
			refuseRoots(t, verifier.RootFile{Path: "model-signer/root.json", Data: []byte(data)})
		})
	}
	refuseRoots(t, rootFile("a.json"), rootFile("b.json"))
	refuseRoots(t, rootFile("a.pem"))
}

func TestPolicyIdentities(t *testing.T) {
	policy := func(signer any) []byte {
		var m map[string]any
		if err := json.Unmarshal(golden(t, "policy.json"), &m); err != nil {
			t.Fatal(err)
		}
		m["model_signers"] = []any{signer}
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	type member = map[string]any
	ours, theirs := member{"issuer": "https://a", "subject": "b"}, member{"issuer": "https://a", "subject": "c"}
	p, err := verifier.ParsePolicy(policy(member{"weights": "default", "identities": []any{ours, theirs}}))
	if err != nil {
		t.Fatal(err)
	}
	b, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := verifier.ParsePolicy(b)
	if err != nil || len(again.ModelSigners) != 1 || len(again.ModelSigners[0].Identities) != 2 || again.ModelSigners[0].SPKI != nil {
		t.Errorf("read back: %+v, %v", again, err)
	}
	for name, signer := range map[string]any{
		"nobody":          member{"weights": "default"},
		"no identities":   member{"weights": "default", "identities": []any{}},
		"twice":           member{"weights": "default", "identities": []any{ours, ours}},
		"no subject":      member{"weights": "default", "identities": []any{member{"issuer": "a"}}},
		"an empty issuer": member{"weights": "default", "identities": []any{member{"issuer": "", "subject": "b"}}},
		"two lines":       member{"weights": "default", "identities": []any{member{"issuer": "a\nb", "subject": "b"}}},
		"another member":  member{"weights": "default", "identities": []any{member{"issuer": "a", "subject": "b", "regexp": true}}},
	} {
		if p, err := verifier.ParsePolicy(policy(signer)); p != nil || !errors.Is(err, verifier.ErrPolicy) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
