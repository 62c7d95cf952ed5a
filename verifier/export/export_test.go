package export_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/testdata"
	"github.com/sworn-run/sworn/verifier"
	"github.com/sworn-run/sworn/verifier/export"
)

func golden(tb testing.TB) ([]byte, *verifier.Report) {
	tb.Helper()
	b, err := fs.ReadFile(testdata.Golden, "golden/full.cer.json")
	if err != nil {
		tb.Fatal(err)
	}
	r, err := verifier.Verify(b, verifier.Input{Now: time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC), Version: "test"})
	if err != nil {
		tb.Fatal(err)
	}
	return b, r
}

func TestInToto(t *testing.T) {
	file, r := golden(t)
	s, err := export.InToto(file, r)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(file)
	if len(s.Subject) != 2 || s.Subject[0].Digest["sha256"] != r.Summary.Output.SHA256 || s.Subject[1].Digest["sha256"] != hex.EncodeToString(sum[:]) {
		t.Errorf("subjects %+v", s.Subject)
	}
	if s.Type != export.StatementType || s.Predicate.Trusted || s.Predicate.Headline != r.Headline || s.Predicate.CertificateHash != r.Summary.CertificateHash {
		t.Errorf("%+v", s)
	}
	// A report of another record, or of none.
	other := bytes.Replace(file, []byte(`"v":1`), []byte(`"v":2`), 1)
	broken, err := verifier.Verify([]byte("{}"), verifier.Input{Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct {
		file []byte
		r    *verifier.Report
	}{"another record": {other, r}, "no report": {file, nil}, "a report of nothing": {file, &verifier.Report{}}, "no record": {[]byte("{}"), broken}} {
		if s, err := export.InToto(x.file, x.r); s != nil || !errors.Is(err, export.ErrArgument) {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
}

func TestEnvelope(t *testing.T) {
	file, r := golden(t)
	s, err := export.InToto(file, r)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct {
		key    crypto.Signer
		verify func(m, sig []byte) bool
	}{
		"Ed25519": {ed, func(m, sig []byte) bool { return ed25519.Verify(ed.Public().(ed25519.PublicKey), m, sig) }},
		"ECDSA":   {ec, func(m, sig []byte) bool { d := sha256.Sum256(m); return ecdsa.VerifyASN1(&ec.PublicKey, d[:], sig) }},
	} {
		b, err := export.Envelope(s, x.key)
		if err != nil {
			t.Fatal(err)
		}
		var e struct {
			PayloadType, Payload string
			Signatures           []struct{ KeyID, Sig string }
		}
		if err := json.Unmarshal(b, &e); err != nil || len(e.Signatures) != 1 || len(e.Signatures[0].KeyID) != 64 {
			t.Fatalf("%s: %s, %v", name, b, err)
		}
		body, err := base64.StdEncoding.DecodeString(e.Payload)
		if err != nil {
			t.Fatal(err)
		}
		sig, err := base64.StdEncoding.DecodeString(e.Signatures[0].Sig)
		if err != nil {
			t.Fatal(err)
		}
		pae := "DSSEv1 28 application/vnd.in-toto+json " + fmt.Sprint(len(body)) + " " + string(body)
		if e.PayloadType != "application/vnd.in-toto+json" || !x.verify([]byte(pae), sig) || x.verify([]byte(pae+" "), sig) {
			t.Errorf("%s: the signature is not over DSSE's encoding", name)
		}
	}
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]crypto.Signer{"none": nil, "RSA": weak} {
		if b, err := export.Envelope(s, key); b != nil || !errors.Is(err, export.ErrArgument) {
			t.Errorf("%s: %s, %v", name, b, err)
		}
	}
	if b, err := export.Envelope(nil, ed); b != nil || !errors.Is(err, export.ErrArgument) {
		t.Errorf("no statement: %s, %v", b, err)
	}
}

// The record in a wrapper is the record, and what is beside it is what is in it.
func TestCMW(t *testing.T) {
	file, _ := golden(t)
	c, err := cer.ParseCapsule(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, result := range []string{"", "a.b.c"} {
		b, err := export.CMW(file, result)
		if err != nil {
			t.Fatal(err)
		}
		var all map[string]json.RawMessage
		if err := json.Unmarshal(b, &all); err != nil {
			t.Fatal(err)
		}
		value := func(name string) string {
			var item []any
			if err := json.Unmarshal(all[name], &item); err != nil || len(item) != 3 {
				t.Fatalf("%s: %s, %v", name, all[name], err)
			}
			v, err := base64.RawURLEncoding.DecodeString(item[1].(string))
			if err != nil {
				t.Fatal(err)
			}
			return string(v)
		}
		if value("record") != string(file) || value("evidence-0") != string(c.Items[0]) {
			t.Error("another record is in there")
		}
		want := 2 + len(c.Items) + len(c.Collateral)
		if result != "" {
			want++
			if value("result") != result {
				t.Error("another result is in there")
			}
		}
		if len(all) != want {
			t.Errorf("%d members, want %d", len(all), want)
		}
	}
	if b, err := export.CMW([]byte("{}"), ""); b != nil || !errors.Is(err, cer.ErrStrict) && !errors.Is(err, cer.ErrSchema) {
		t.Errorf("%s, %v", b, err)
	}
}

func ExampleCMW() {
	b, err := fs.ReadFile(testdata.Golden, "golden/page.cer.json")
	if err != nil {
		fmt.Println(err)
		return
	}
	wrapped, err := export.CMW(b, "")
	fmt.Println(strings.HasPrefix(string(wrapped), `{"__cmwc_t":"tag:sworn.run,2026:capsule/v1"`), err)
	// Output: true <nil>
}
