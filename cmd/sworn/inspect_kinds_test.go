package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/verifier"
)

// authority is a certificate authority for a test.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(tb testing.TB) *authority {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "authority"}, SubjectKeyId: []byte{1, 2, 3},
		NotBefore: time.Unix(1e9, 0), NotAfter: time.Unix(2e9, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCRLSign | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return &authority{key, c}
}

// list returns a revocation list with one entry.
func (a *authority) list(tb testing.TB) []byte {
	tb.Helper()
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(5), ThisUpdate: time.Unix(1.5e9, 0), NextUpdate: time.Unix(1.6e9, 0),
		RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: big.NewInt(0xabc), RevocationTime: time.Unix(1.4e9, 0), ReasonCode: 1}},
	}, a.cert, a.key)
	if err != nil {
		tb.Fatal(err)
	}
	return der
}

// marshal encodes DER.
func marshal(tb testing.TB, v any) []byte {
	tb.Helper()
	der, err := asn1.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	return der
}

// tagged wraps DER in an explicit tag.
func tagged(tb testing.TB, tag int, content []byte) asn1.RawValue {
	tb.Helper()
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, IsCompound: true, Bytes: content}
}

// token returns a time stamp token over 32 bytes, with the authority's
// certificate and without a signature that would hold.
func (a *authority) token(tb testing.TB, digest []byte) []byte {
	tb.Helper()
	sha256 := pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}}
	info := marshal(tb, struct {
		Version  int
		Policy   asn1.ObjectIdentifier
		Imprint  imprint
		Serial   int
		Time     time.Time `asn1:"generalized"`
		Accuracy accuracy
		Nonce    int
		TSA      asn1.RawValue
	}{
		1,
		asn1.ObjectIdentifier{1, 2, 3, 4},
		imprint{algorithm{ID: sha256.Algorithm, Parameters: asn1.NullRawValue}, digest},
		0x77, time.Unix(1.55e9, 0).UTC(),
		accuracy{Seconds: 1, Millis: 20},
		0xbeef, tagged(tb, 0, marshal(tb, tagged(tb, 4, a.cert.RawSubject))),
	})
	data := marshal(tb, struct {
		Version    int
		Algorithms []pkix.AlgorithmIdentifier `asn1:"set"`
		Content    struct {
			Type    asn1.ObjectIdentifier
			Content asn1.RawValue
		}
		Certificates asn1.RawValue
		Signers      []int `asn1:"set"`
	}{
		3,
		[]pkix.AlgorithmIdentifier{sha256},
		struct {
			Type    asn1.ObjectIdentifier
			Content asn1.RawValue
		}{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 4}, tagged(tb, 0, marshal(tb, info))},
		tagged(tb, 0, a.cert.Raw),
		[]int{1},
	})
	return marshal(tb, struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue
	}{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}, tagged(tb, 0, data)})
}

// response wraps a token, or none, in an answer of a time stamping authority.
func response(tb testing.TB, code int, token []byte) []byte {
	tb.Helper()
	type status struct {
		Code int
		Text []asn1.RawValue
	}
	s := status{code, []asn1.RawValue{{Tag: asn1.TagUTF8String, Bytes: []byte("as you see")}}}
	if token == nil {
		return marshal(tb, struct{ Status status }{s})
	}
	return marshal(tb, struct {
		Status status
		Token  asn1.RawValue
	}{s, asn1.RawValue{FullBytes: token}})
}

// foreignSpecimens returns a file of every kind that others make.
func foreignSpecimens(tb testing.TB) []specimen {
	tb.Helper()
	a := newAuthority(tb)
	crl, digest := a.list(tb), bytes.Repeat([]byte{0xd1}, 32)
	crlWant := []string{
		`issuer "CN=authority"`, "thisUpdate 2017-07-14T02:40:00Z", "nextUpdate 2020-09-13T12:26:40Z", "cRLNumber 5",
		"revokedCertificates 1", "userCertificate abc revocationDate 2014-05-13T16:53:20Z, reasonCode 1 (keyCompromise)", "authorityKeyIdentifier 010203",
	}
	spki, err := x509.MarshalPKIXPublicKey(a.key.Public())
	if err != nil {
		tb.Fatal(err)
	}
	keyWant := []string{"public key ECC P-256", "SPKI sha256:"}
	stampWant := []string{
		"policy 1.2.3.4", "messageImprint SHA-256 " + strings.Repeat("d1", 32), "serialNumber 77", "genTime 2019-02-12T19:33:20Z",
		"accuracy ± 1 s, 20 ms, 0 µs", "ordering false", "nonce beef", `tsa "CN=authority"`, "signerInfos 1", `subject "CN=authority"`,
	}
	request := marshal(tb, stampRequest{
		1, imprint{algorithm{ID: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3}}, digest}, asn1.ObjectIdentifier{1, 2, 5}, big.NewInt(0xcafe), true,
	})
	receipt := `"receipt":{"attestationId":"a-1","attestedAt":"2026-11-22T01:02:03.456Z","attestorKeyId":"k1","nodeId":"node-1","receiptVersion":"attestation.receipt.v1"}`
	receiptWant := []string{"receiptVersion \"attestation.receipt.v1\"", `attestedAt "2026-11-22T01:02:03.456Z" (the node's word, RFC 3339)`}
	return []specimen{
		{"revocation list in DER", crl, crlWant},
		{"revocation list in PEM", pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: crl}), crlWant},
		{"public key in DER", spki, keyWant},
		{"public key in PEM", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki}), keyWant},
		{"time stamp", a.token(tb, digest), stampWant},
		{"time stamp response", response(tb, 1, a.token(tb, digest)), append([]string{`status 1 (grantedWithMods) "as you see"`}, stampWant...)},
		{"time stamp refused", response(tb, 2, nil), []string{`status 2 (rejection) "as you see"`, "timeStampToken none"}},
		{"time stamp request", request, []string{"messageImprint SHA-512 d1d1", "reqPolicy 1.2.5", "nonce cafe", "certReq true"}},
		{
			"package", []byte(`{"cer":{"bundleType":"x","snapshot":{"output":"that"}},` + receipt + `,"signature":"c2ln"}`),
			append([]string{`snapshot {"output":"that"}`, `signature "c2ln" (base64url, not checked here)`, "integrity fails: "}, receiptWant...),
		},
		{"receipt", []byte("{" + receipt + "}"), receiptWant},
		{
			"envelope", []byte(`{"envelopeType":"nexart.verification.envelope.v2","kid":"k1","signedFields":{"bundle":["bundleType","version","createdAt","snapshot"]}}`),
			[]string{`kid "k1" (a key of the node's key document)`, `signedFields {"bundle":["bundleType"`},
		},
		{
			"key document", []byte(`{"activeKid":"k1","keys":[{"alg":"Ed25519","kid":"k1","publicKey":"iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w","validFrom":"2026-01-01T00:00:00.000Z"}],"nodeId":"node-1"}`),
			[]string{"key k1", `nodeId "node-1"`, `validFrom "2026-01-01T00:00:00.000Z" (RFC 3339)`},
		},
		{"snapshot", []byte(`{"executionId":"e-1","parameters":{"temperature":0,"maxTokens":16}}`), []string{`executionId "e-1"`, `parameters {"temperature":0,"maxTokens":16}`}},
		{"schema", verifier.PolicySchema(), []string{"title \"Sworn policy, version 1\""}},
	}
}

// The tree in JSON holds what the tree in text holds, and says of what kind the
// file is.
func TestInspectJSON(t *testing.T) {
	for _, s := range slices.Concat(specimens(t), foreignSpecimens(t), teeSpecimens(t)) {
		name := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(name, s.file, 0o600); err != nil {
			t.Fatal(err)
		}
		var text, out, errs bytes.Buffer
		if code := run(context.Background(), []string{"inspect", "--json", name}, nil, &out, &errs); code != 0 || errs.Len() > 0 {
			t.Fatalf("%s: exit %d: %s", s.name, code, &errs)
		}
		var tree struct {
			Type, Kind string
			Sections   []*node
		}
		if err := json.Unmarshal(out.Bytes(), &tree); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		if tree.Type != inspectType || tree.Kind == "" || len(tree.Sections) == 0 {
			t.Errorf("%s: type %q, kind %q, %d sections", s.name, tree.Type, tree.Kind, len(tree.Sections))
		}
		if code := run(context.Background(), []string{"inspect", name}, nil, &text, &errs); code != 0 {
			t.Fatalf("%s: exit %d: %s", s.name, code, &errs)
		}
		var again bytes.Buffer
		if err := (&treeWriter{sections: tree.Sections}).writeText(&again); err != nil || again.String() != text.String() {
			t.Errorf("%s: the JSON holds another tree than the text\n%s\n%s", s.name, &again, &text)
		}
		checkPrintable(t, out.String())
	}
}

// What a file is taken for is said by the hint where another was wanted.
func TestKindHint(t *testing.T) {
	page, policy := goldenFile(t, "page.cer.json"), goldenFile(t, "policy.json")
	for _, test := range []struct {
		file         []byte
		wanted, hint string
	}{
		{policy, "record", "f is a policy, not a record: sworn inspect f"},
		{page, "policy", "f is a record, not a policy: sworn inspect f"},
		{nil, "record", "the file is empty: give the path of a record"},
		{page, "record", ""},
		{[]byte("note"), "record", ""},
	} {
		if got := kindHint("f", test.file, test.wanted); got != test.hint {
			t.Errorf("%.10q for a %s: %q, want %q", test.file, test.wanted, got, test.hint)
		}
	}
}

// A JSON text of millions of elements is shown as far as somebody might read.
func TestInspectBoundsRows(t *testing.T) {
	for _, file := range []string{
		`{"receipt":[` + strings.Repeat("0,", 1<<20) + `0]}`,
		`{"receipt":{"a":[` + strings.Repeat(`{"deep":[[["some text that is longer than a line"]]]},`, 1<<16) + `0]}}`,
		`{"bundleType":"x","snapshot":[` + strings.Repeat("[],", 1<<20) + `0]}`,
	} {
		var out, errs bytes.Buffer
		a := &app{stdout: &out, stderr: &errs}
		if code := a.exit(a.inspectFile([]byte(file), false)); code != 0 || errs.Len() > 0 {
			t.Fatalf("exit %d: %s", code, &errs)
		}
		if n := bytes.Count(out.Bytes(), []byte("\n")); n < shownRows || n > shownRows+50 {
			t.Errorf("%d rows of %.20s", n, file)
		}
		if !strings.Contains(out.String(), "the rest is not shown") {
			t.Errorf("nothing says that there is more of %.20s", file)
		}
	}
}
