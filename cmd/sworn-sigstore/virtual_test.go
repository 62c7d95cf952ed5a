package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	rekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/sworn-run/sworn/cer/oms"
)

// virtual is a Sigstore of the test's own: logs and time stamps are those of the
// library, the authority is here because its certificates have to be in a
// certificate log.
type virtual struct {
	*ca.VirtualSigstore
	root, intermediate *x509.Certificate
	key, ctKey         *ecdsa.PrivateKey
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	return must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
}

func newVirtual(t *testing.T) *virtual {
	t.Helper()
	v := &virtual{VirtualSigstore: must[*ca.VirtualSigstore](t)(ca.NewVirtualSigstore()), ctKey: newKey(t)}
	rootCert, rootKey, err := ca.GenerateRootCa()
	if err != nil {
		t.Fatal(err)
	}
	v.root = rootCert
	if v.intermediate, v.key, err = ca.GenerateFulcioIntermediate(rootCert, rootKey); err != nil {
		t.Fatal(err)
	}
	return v
}

// trusted returns the trusted root, with each part of the Sigstore that is given
// for it: authority, certificate log, log, time stamps.
func trusted(t *testing.T, authority, ctLog, log, stamps *virtual) []byte {
	t.Helper()
	since, until := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	ctID := keyID(t, ctLog.ctKey.Public())
	logs := log.RekorLogs()
	for id, l := range logs {
		l.ID = must[[]byte](t)(hex.DecodeString(id))
	}
	r := must[*root.TrustedRoot](t)(root.NewTrustedRoot(
		root.TrustedRootMediaType01,
		[]root.CertificateAuthority{&root.FulcioCertificateAuthority{
			Root: authority.root, Intermediates: []*x509.Certificate{authority.intermediate},
			ValidityPeriodStart: since, ValidityPeriodEnd: until, URI: "https://fulcio.example",
		}},
		map[string]*root.TransparencyLog{hex.EncodeToString(ctID): {
			BaseURL: "https://ctlog.example", ID: ctID, ValidityPeriodStart: since, ValidityPeriodEnd: until,
			HashFunc: crypto.SHA256, PublicKey: ctLog.ctKey.Public(), SignatureHashFunc: crypto.SHA256,
		}},
		stamps.TimestampingAuthorities(), logs))
	return must[[]byte](t)(r.MarshalJSON())
}

// keyID is what logs are called by.
func keyID(t *testing.T, key crypto.PublicKey) []byte {
	t.Helper()
	sum := sha256.Sum256(must[[]byte](t)(x509.MarshalPKIXPublicKey(key)))
	return sum[:]
}

// signing is how a signature is made.
type signing struct {
	subject string
	// from is when the certificate begins to be valid, for ten minutes.
	from time.Time
	// logged is the time of the log entry.
	logged time.Time
	// noSCT leaves the certificate out of the certificate log.
	noSCT bool
	// proof, promise and stamp are what speaks for the entry and its time.
	proof, promise, stamp bool
	// besides has another Sigstore log the same signature, with a proof.
	besides *virtual
}

const (
	virtualIssuer  = "https://issuer.example"
	virtualSubject = "models@example.com"
)

// usual is how Sigstore's own signatures are made.
func usual() signing {
	now := time.Now().Truncate(time.Second)
	return signing{subject: virtualSubject, from: now.Add(-time.Minute), logged: now, proof: true, promise: true}
}

func files(contents ...string) []oms.File {
	var out []oms.File
	for i, c := range contents {
		out = append(out, oms.File{Path: string(rune('a' + i)), SHA256: sha256.Sum256([]byte(c))})
	}
	return out
}

// sign signs a model's files as the format's own tool does.
func (v *virtual) sign(t *testing.T, how signing, model []oms.File) []byte {
	t.Helper()
	key := newKey(t)
	manifest := must[*oms.Manifest](t)(oms.NewManifest(model, oms.Options{Name: "model"}))
	var b map[string]json.RawMessage
	if err := json.Unmarshal(must[[]byte](t)(oms.Sign(rand.Reader, manifest, key)), &b); err != nil {
		t.Fatal(err)
	}
	envelope := new(dsse.Envelope)
	if err := json.Unmarshal(b["dsseEnvelope"], envelope); err != nil {
		t.Fatal(err)
	}
	leaf := v.issue(t, how, key.Public())
	entries := []json.RawMessage{v.entry(t, leaf, envelope, how.logged, how.proof, how.promise)}
	if how.besides != nil {
		entries = append(entries, how.besides.entry(t, leaf, envelope, how.logged, true, true))
	}
	stamps := []any{}
	if how.stamp {
		sig := must[[]byte](t)(base64.StdEncoding.DecodeString(envelope.Signatures[0].Sig))
		stamps = append(stamps, map[string]any{"signedTimestamp": must[[]byte](t)(v.TimestampResponse(sig))})
	}
	b["verificationMaterial"] = must[[]byte](t)(json.Marshal(map[string]any{
		"certificate":               map[string]any{"rawBytes": leaf.Raw},
		"tlogEntries":               entries,
		"timestampVerificationData": map[string]any{"rfc3161Timestamps": stamps},
	}))
	return must[[]byte](t)(json.Marshal(b))
}

// entry logs a signature.
func (v *virtual) entry(t *testing.T, leaf *x509.Certificate, envelope *dsse.Envelope, at time.Time, proof, promise bool) json.RawMessage {
	t.Helper()
	sig := must[[]byte](t)(base64.StdEncoding.DecodeString(envelope.Signatures[0].Sig))
	e, err := v.GenerateTlogEntry(leaf, envelope, sig, at.Unix(), proof)
	if err != nil {
		t.Fatal(err)
	}
	entry := e.TransparencyLogEntry()
	entry.KindVersion = &rekor.KindVersion{Kind: "dsse", Version: "0.0.1"}
	if promise {
		entry.InclusionPromise = &rekor.InclusionPromise{SignedEntryTimestamp: must[[]byte](t)(v.RekorSignPayload(tlog.RekorPayload{
			Body: base64.StdEncoding.EncodeToString(entry.CanonicalizedBody), IntegratedTime: at.Unix(),
			LogIndex: entry.LogIndex, LogID: hex.EncodeToString(entry.LogId.KeyId),
		}))}
	}
	return must[[]byte](t)(protojson.Marshal(entry))
}

// issue makes a certificate and, mostly, has it logged.
func (v *virtual) issue(t *testing.T, how signing, key crypto.PublicKey) *x509.Certificate {
	t.Helper()
	issuer := must[[]byte](t)(asn1.MarshalWithParams(virtualIssuer, "utf8"))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), EmailAddresses: []string{how.subject}, NotBefore: how.from, NotAfter: how.from.Add(10 * time.Minute),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 8}, Value: issuer}},
	}
	create := func() *x509.Certificate {
		der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, template, v.intermediate, key, v.key))
		return must[*x509.Certificate](t)(x509.ParseCertificate(der))
	}
	cert := create()
	if how.noSCT {
		return cert
	}
	list := must[[]byte](t)(asn1.Marshal(v.sct(t, cert.RawTBSCertificate, how.from)))
	template.ExtraExtensions = append(template.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}, Value: list})
	return create()
}

// sct returns a list of one certificate timestamp (RFC 6962, sections 3.2 and 3.3)
// over a certificate that does not have it yet.
func (v *virtual) sct(t *testing.T, tbs []byte, at time.Time) []byte {
	t.Helper()
	issuer := sha256.Sum256(v.intermediate.RawSubjectPublicKeyInfo)
	millis := binary.BigEndian.AppendUint64(nil, uint64(at.UnixMilli()))
	signed := append([]byte{0, 0}, millis...)
	signed = append(signed, 0, 1)
	signed = append(signed, issuer[:]...)
	signed = append(signed, byte(len(tbs)>>16), byte(len(tbs)>>8), byte(len(tbs)))
	signed = append(signed, tbs...)
	signed = append(signed, 0, 0)
	sum := sha256.Sum256(signed)
	sig := must[[]byte](t)(ecdsa.SignASN1(rand.Reader, v.ctKey, sum[:]))

	sct := append([]byte{0}, keyID(t, v.ctKey.Public())...)
	sct = append(sct, millis...)
	sct = append(sct, 0, 0, 4, 3) // no extensions; SHA-256 with ECDSA
	sct = binary.BigEndian.AppendUint16(sct, uint16(len(sig)))
	sct = append(sct, sig...)
	list := binary.BigEndian.AppendUint16(nil, uint16(len(sct)+2))
	list = binary.BigEndian.AppendUint16(list, uint16(len(sct)))
	return append(list, sct...)
}

// Signatures that a Sigstore of the test's own vouches for, with each of the ways
// to say when they were made.
func TestVirtual(t *testing.T) {
	v := newVirtual(t)
	r := trusted(t, v, v, v, v)
	stamped, both := usual(), usual()
	stamped.promise, stamped.stamp, both.stamp = false, true, true
	for name, how := range map[string]signing{"logged": usual(), "stamped": stamped, "logged and stamped": both} {
		began := time.Now().Truncate(time.Second)
		signer, m, err := oms.VerifySigstore(v.sign(t, how, files("x", "y")), r, time.Now().Add(time.Second), ask)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if signer.Issuer != virtualIssuer || signer.Subject != virtualSubject {
			t.Errorf("%s: by %+v", name, signer.Identity)
		}
		if how.promise && !signer.Time.Equal(how.logged) || !how.promise && signer.Time.Before(began) {
			t.Errorf("%s: at %v", name, signer.Time)
		}
		if err := m.Check(files("x", "y")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, other := range [][]oms.File{files("x", "z"), files("y", "x"), files("x"), files("x", "y", "z")} {
			if err := m.Check(other); err == nil {
				t.Errorf("%s: other weights are these", name)
			}
		}
	}
}

func TestVirtualRefused(t *testing.T) {
	v, other := newVirtual(t), newVirtual(t)
	r := trusted(t, v, v, v, v)
	changed := func(change func(s *signing)) []byte {
		how := usual()
		change(&how)
		return v.sign(t, how, files("x"))
	}
	good := changed(func(*signing) {})
	if _, err := ask(good, r); err != nil {
		t.Fatal(err)
	}
	long := time.Now().Add(-40 * time.Minute).Truncate(time.Second)
	for name, c := range map[string][2][]byte{
		"another Sigstore":            {good, trusted(t, other, other, other, other)},
		"another authority":           {good, trusted(t, other, v, v, v)},
		"another certificate log":     {good, trusted(t, v, other, v, v)},
		"another log":                 {good, trusted(t, v, v, other, v)},
		"in no certificate log":       {changed(func(s *signing) { s.noSCT = true }), r},
		"expired when it was logged":  {changed(func(s *signing) { s.from = long }), r},
		"not yet valid when logged":   {changed(func(s *signing) { s.logged = s.from.Add(-time.Second) }), r},
		"expired, and no time at all": {changed(func(s *signing) { s.from, s.promise = long, false }), r},
		"valid, and no time at all":   {changed(func(s *signing) { s.promise = false }), r},
		"logged in time, stamped later": {
			changed(func(s *signing) { s.from, s.logged, s.stamp = long, long.Add(time.Minute), true }), r,
		},
		"stamped by another": {
			changed(func(s *signing) { s.promise, s.stamp = false, true }), trusted(t, v, v, v, other),
		},
		"a promise and no proof": {changed(func(s *signing) { s.proof = false }), r},
		"a promise, and the proof of a log that is not trusted": {
			changed(func(s *signing) { s.proof, s.besides = false, other }), r,
		},
		"a promise in a bundle of the first version": {
			bytes.Replace(changed(func(s *signing) { s.proof = false }), []byte("bundle.v0.3+json"), []byte("bundle+json;version=0.1"), 1), r,
		},
		"nothing of the log": {changed(func(s *signing) { s.proof, s.promise, s.stamp = false, false, true }), r},
	} {
		if s, err := ask(c[0], c[1]); s != nil || !errors.Is(err, errRefused) {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
}

// What stands in one signature's bundle does not speak for another's.
func TestVirtualExchanged(t *testing.T) {
	v := newVirtual(t)
	r := trusted(t, v, v, v, v)
	parts := func(b []byte) (whole, material map[string]json.RawMessage) {
		if err := json.Unmarshal(b, &whole); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(whole["verificationMaterial"], &material); err != nil {
			t.Fatal(err)
		}
		return whole, material
	}
	_, theirs := parts(v.sign(t, usual(), files("theirs")))
	for _, name := range []string{"certificate", "tlogEntries"} {
		whole, material := parts(v.sign(t, usual(), files("ours")))
		material[name] = theirs[name]
		whole["verificationMaterial"] = must[[]byte](t)(json.Marshal(material))
		if s, err := ask(must[[]byte](t)(json.Marshal(whole)), r); s != nil || !errors.Is(err, errRefused) {
			t.Errorf("another's %s: %+v, %v", name, s, err)
		}
	}
}
