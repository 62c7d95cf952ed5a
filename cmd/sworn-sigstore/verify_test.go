package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/cer/oms"
)

// The identity in the signature that the format's own tool made, and its time.
const (
	issuer  = "https://sigstore.verify.ibm.com/oauth2"
	subject = "stefanb@us.ibm.com"
	made    = "2025-10-10T02:12:20Z"
)

func read(t *testing.T, elem ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func signature(t *testing.T) []byte {
	t.Helper()
	return read(t, "..", "..", "cer", "oms", "testdata", "v1.1.0-sigstore.sig")
}

func publicGood(t *testing.T) []byte {
	t.Helper()
	return read(t, "testdata", "trusted-root-public-good.json")
}

// ask asks as the callers do.
func ask(bundle, trustedRoot []byte) (*oms.SigstoreSigner, error) {
	in, err := json.Marshal(request{bundle, trustedRoot})
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := serve(bytes.NewReader(in), &out); err != nil {
		if out.Len() > 0 {
			return nil, errors.New("an answer beside an error")
		}
		return nil, err
	}
	var a answer
	if err := json.Unmarshal(out.Bytes(), &a); err != nil {
		return nil, err
	}
	s := &oms.SigstoreSigner{Identity: oms.Identity{Issuer: a.Issuer, Subject: a.Subject}, Time: a.Time}
	_, err = hex.Decode(s.Payload[:], []byte(a.Payload))
	return s, err
}

// A signature that the format's own tool made through the public Sigstore is
// verified offline, and lists the files it was made over.
func TestVector(t *testing.T) {
	at, err := time.Parse(time.RFC3339, made)
	if err != nil {
		t.Fatal(err)
	}
	signer, m, err := oms.VerifySigstore(signature(t), publicGood(t), at, ask)
	if err != nil {
		t.Fatal(err)
	}
	if signer.Issuer != issuer || signer.Subject != subject || !signer.Time.Equal(at) {
		t.Errorf("signed by %+v", signer)
	}
	file := func(name, content string) oms.File {
		return oms.File{Path: name, SHA256: sha256.Sum256([]byte(content))}
	}
	if err := m.Check([]oms.File{file("signme-1", "signme-1"), file("signme-2", "signme-2")}); err != nil {
		t.Error(err)
	}
	if err := m.Check([]oms.File{file("signme-1", "signme-1"), file("signme-2", "other")}); !errors.Is(err, oms.ErrMismatch) {
		t.Errorf("other files: %v", err)
	}
	if _, _, err := oms.VerifySigstore(signature(t), publicGood(t), at.Add(-time.Second), ask); !errors.Is(err, oms.ErrUntrusted) {
		t.Errorf("before it was made: %v", err)
	}
}

// edit changes one member of the bundle.
func edit(t *testing.T, change func(material, entry, envelope map[string]any)) []byte {
	t.Helper()
	var b map[string]any
	if err := json.Unmarshal(signature(t), &b); err != nil {
		t.Fatal(err)
	}
	material := b["verificationMaterial"].(map[string]any)
	change(material, material["tlogEntries"].([]any)[0].(map[string]any), b["dsseEnvelope"].(map[string]any))
	out, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// flip changes a bit in the middle of base64.
func flip(t *testing.T, m map[string]any, name string) {
	t.Helper()
	s, ok := m[name].(string)
	if !ok || len(s) < 8 {
		t.Fatalf("%s is %v", name, m[name])
	}
	c := byte('A')
	if s[len(s)/2] == c {
		c = 'B'
	}
	m[name] = s[:len(s)/2] + string(c) + s[len(s)/2+1:]
}

func TestRefused(t *testing.T) {
	other := bytes.ReplaceAll(publicGood(t), []byte("rekor.sigstore.dev"), []byte("rekor.example.com"))
	if _, err := ask(signature(t), other); err != nil {
		t.Fatalf("the log's address matters: %v", err)
	}
	for name, c := range map[string][2][]byte{
		"nothing":            {},
		"no trusted root":    {signature(t), nil},
		"no bundle":          {nil, publicGood(t)},
		"an empty root":      {signature(t), []byte(`{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`)},
		"another log's key":  {signature(t), without(t, "tlogs")},
		"another authority":  {signature(t), without(t, "certificateAuthorities")},
		"no certificate log": {signature(t), without(t, "ctlogs")},
		"signed with a key":  {read(t, "..", "..", "cer", "oms", "testdata", "v1.1.0-elliptic-key.sig"), publicGood(t)},
		"somebody's own":     {read(t, "..", "..", "cer", "oms", "testdata", "v1.1.0-certificate.sig"), publicGood(t)},
		"another payload":    {edit(t, func(_, _, e map[string]any) { flip(t, e, "payload") }), publicGood(t)},
		"another signature": {edit(t, func(_, _, e map[string]any) {
			flip(t, e["signatures"].([]any)[0].(map[string]any), "sig")
		}), publicGood(t)},
		"another certificate": {edit(t, func(m, _, _ map[string]any) { flip(t, m["certificate"].(map[string]any), "rawBytes") }), publicGood(t)},
		"another entry":       {edit(t, func(_, e, _ map[string]any) { flip(t, e, "canonicalizedBody") }), publicGood(t)},
		"another promise": {edit(t, func(_, e, _ map[string]any) {
			flip(t, e["inclusionPromise"].(map[string]any), "signedEntryTimestamp")
		}), publicGood(t)},
		"another time": {edit(t, func(_, e, _ map[string]any) { e["integratedTime"] = "1760062341" }), publicGood(t)},
		"no log entry": {edit(t, func(m, _, _ map[string]any) { m["tlogEntries"] = []any{} }), publicGood(t)},
		"no proof of inclusion": {edit(t, func(_, e, _ map[string]any) {
			delete(e, "inclusionProof")
		}), publicGood(t)},
	} {
		if s, err := ask(c[0], c[1]); s != nil || !errors.Is(err, errRefused) {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
	for _, in := range []string{"", "{", "[]", `{"bundle":"!"}`, strings.Repeat(" ", maxRequest+1)} {
		var out bytes.Buffer
		if err := serve(strings.NewReader(in), &out); !errors.Is(err, errRefused) || out.Len() > 0 {
			t.Errorf("%.20q: %v, %q", in, err, out.Bytes())
		}
	}
}

// without returns the trusted root without one of its members.
func without(t *testing.T, name string) []byte {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(publicGood(t), &m); err != nil {
		t.Fatal(err)
	}
	if _, ok := m[name]; !ok {
		t.Fatalf("no %s", name)
	}
	delete(m, name)
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
