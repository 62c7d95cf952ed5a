package oms

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/cer"
)

// Digests of files, and the root digest over them in this order.
const (
	sumOne  = "f6310066c7320497ea554260c32c43660bff648cb2a61194832cc086077085e1"
	sumTwo  = "32dcb1f8e1ae52d5963e56a6ba06ab58b424c15ed2a6b70d2feca1d089370028"
	sumBoth = "61d4849d9d90076d6215f4d525f13d6574af8e3f67aef3e6f36fc40a14fdd226"
)

const goodStatement = `{"_type":"https://in-toto.io/Statement/v1",` +
	`"subject":[{"name":"m","digest":{"sha256":"` + sumBoth + `"}}],` +
	`"predicateType":"https://model_signing/signature/v1.0",` +
	`"predicate":{"serialization":{"method":"files","hash_type":"sha256","allow_symlinks":false},` +
	`"resources":[{"name":"a","algorithm":"sha256","digest":"` + sumOne + `"},` +
	`{"name":"b","algorithm":"sha256","digest":"` + sumTwo + `"}]}}`

const compatStatement = `{"_type":"https://in-toto.io/Statement/v1","subject":[` +
	`{"name":"b","digest":{"sha256":"` + sumTwo + `"},"annotations":{"actual_hash_algorithm":"file-sha256"}},` +
	`{"name":"a","digest":{"sha256":"` + sumOne + `"},"annotations":{"actual_hash_algorithm":"file-sha256"}}],` +
	`"predicateType":"https://model_signing/Digests/v0.1","predicate":{"unused":"it's"}}`

// verifyPayload signs a payload, right or wrong, and verifies that.
func verifyPayload(tb testing.TB, key *ecdsa.PrivateKey, payload, toSign []byte) (*Manifest, error) {
	tb.Helper()
	s := parse(tb, bundle(tb, payload, key, toSign))
	id, m, err := s.Verify([]crypto.PublicKey{key.Public()})
	if (err == nil) != (m != nil && id != [32]byte{}) {
		tb.Fatalf("%x, %v beside %v", id, m, err)
	}
	return m, err
}

// Replacements of text in a statement, and what becomes of it.
type edit struct {
	name, old, text string
	want            error
}

func checkEdits(t *testing.T, statement string, edits []edit) {
	t.Helper()
	key := newKey(t, elliptic.P256())
	for _, e := range edits {
		if strings.Count(statement, e.old) == 0 {
			t.Fatalf("%s: nothing to replace", e.name)
		}
		payload := []byte(strings.Replace(statement, e.old, e.text, 1))
		m, err := verifyPayload(t, key, payload, pae(payload))
		if !errors.Is(err, e.want) {
			t.Errorf("%s: %v", e.name, err)
			continue
		}
		if err != nil {
			classified(t, err)
		} else if want := manifest(t, Options{}, file("a", "signme-1"), file("b", "signme-2")); !m.Equal(want) {
			t.Errorf("%s: %+v", e.name, m)
		}
	}
}

func TestStatement(t *testing.T) {
	checkEdits(t, goodStatement, []edit{
		{"as it is", "", "", nil},
		{"whitespace", "{", " {\n\t", nil},
		{"another member of the statement", `"_type"`, `"x":{"y":[1]},"_type"`, nil},
		{"another member of the predicate", `"predicate":{`, `"predicate":{"x":1,`, nil},
		{"no type", `"_type"`, `"type"`, ErrMalformed},
		{"another type", "Statement/v1", "Statement/v2", ErrUnsupported},
		{"another predicate", "signature/v1.0", "signature/v1.1", ErrUnsupported},
		{"a name twice", `"_type"`, `"_type":"https://in-toto.io/Statement/v1","_type"`, ErrMalformed},
		{"a name twice in the predicate", `"predicate":{`, `"predicate":{"resources":[],`, ErrMalformed},
		{"a name in another case", `"resources"`, `"Resources"`, ErrMalformed},
		{"not strict", `"_type"`, `"x":1e400,"_type"`, ErrMalformed},
		{"cut off", `]}}`, `]}`, ErrMalformed},
		{"more behind", `]}}`, `]}}{}`, ErrMalformed},
		{"no object", goodStatement, `[]`, ErrMalformed},
		{"null", goodStatement, `null`, ErrMalformed},
		{"predicate null", goodStatement[strings.Index(goodStatement, `"predicate":`):], `"predicate":null}`, ErrMalformed},
		{"no subject", `{"name":"m","digest":{"sha256":"` + sumBoth + `"}}`, ``, ErrMalformed},
		{"two subjects", `"subject":[`, `"subject":[{"name":"n","digest":{"sha256":"` + sumBoth + `"}},`, ErrMalformed},
		{"another digest beside", `"digest":{`, `"digest":{"sha512":"00",`, ErrMalformed},
		{"another digest", `"digest":{"sha256"`, `"digest":{"sha512"`, ErrMalformed},
		{"another root", sumBoth, sumOne, ErrMalformed},
		{"an upper-case root", sumBoth, strings.ToUpper(sumBoth), ErrMalformed},
		{"a short root", sumBoth, sumBoth[2:], ErrMalformed},
		{"annotations", `{"name":"m",`, `{"annotations":{},"name":"m",`, ErrMalformed},
		{"shards", `"method":"files"`, `"method":"shards","shard_size":1000000000`, ErrUnsupported},
		{"BLAKE3", `"hash_type":"sha256"`, `"hash_type":"blake3"`, ErrUnsupported},
		{"no method", `"method":"files",`, ``, ErrMalformed},
		{"another member of the serialization", `"method":"files"`, `"method":"files","only":"a"`, ErrMalformed},
		{"no symlinks", `,"allow_symlinks":false`, ``, ErrMalformed},
		{"symlinks in a string", `"allow_symlinks":false`, `"allow_symlinks":"false"`, ErrMalformed},
		{"ignored is no list", `"allow_symlinks":false`, `"allow_symlinks":false,"ignore_paths":"x"`, ErrMalformed},
		{"ignored is empty", `"allow_symlinks":false`, `"allow_symlinks":false,"ignore_paths":[""]`, ErrMalformed},
		{"no resources", `"resources":[{"name":"a","algorithm":"sha256","digest":"` + sumOne + `"},`, `"resources":[`, ErrMalformed},
		{"another algorithm", `"algorithm":"sha256"`, `"algorithm":"blake2b"`, ErrMalformed},
		{"another member of a resource", `"algorithm":"sha256"`, `"algorithm":"sha256","size":1`, ErrMalformed},
		{"a path twice", `"name":"b"`, `"name":"a"`, ErrMalformed},
		{"another order", `"name":"a"`, `"name":"c"`, ErrMalformed},
		{"a path above", `"name":"a"`, `"name":"../a"`, ErrMalformed},
		{"an absolute path", `"name":"a"`, `"name":"/a"`, ErrMalformed},
		{"a digest that is none", sumOne, strings.Repeat("g", 64), ErrMalformed},
		{"a resource null", `"resources":[`, `"resources":[null,`, ErrMalformed},
	})
}

func TestCompatStatement(t *testing.T) {
	checkEdits(t, compatStatement, []edit{
		{"as it is", "", "", nil},
		{"shards", "file-sha256", "file-sha256-sharded-1", ErrUnsupported},
		{"no annotation", `,"annotations":{"actual_hash_algorithm":"file-sha256"}`, ``, ErrUnsupported},
		{"two digests", `{"sha256"`, `{"sha1":"00","sha256"`, ErrMalformed},
		{"a path twice", `"name":"b"`, `"name":"a"`, ErrMalformed},
		{"no digest", sumTwo, ``, ErrMalformed},
		{"a subject null", `"subject":[`, `"subject":[null,`, ErrMalformed},
		{"no files", compatStatement[strings.Index(compatStatement, `{"name":"b"`):strings.Index(compatStatement, `],"predicateType"`)], ``, ErrMalformed},
	})
}

// Only what releases before 1.0 wrote may be signed in their way.
func TestCompatSignature(t *testing.T) {
	key := newKey(t, elliptic.P256())
	want := manifest(t, Options{}, file("a", "signme-1"), file("b", "signme-2"))
	m, err := verifyPayload(t, key, []byte(compatStatement), compatPAE([]byte(compatStatement)))
	if err != nil || !m.Equal(want) {
		t.Errorf("%+v, %v", m, err)
	}
	if m, err := verifyPayload(t, key, []byte(goodStatement), compatPAE([]byte(goodStatement))); m != nil || !errors.Is(err, ErrUntrusted) {
		t.Errorf("%+v, %v", m, err)
	}
	for name, toSign := range map[string][]byte{
		"payload alone":     []byte(goodStatement),
		"another type":      bytes.Replace(pae([]byte(goodStatement)), []byte("28 application/vnd.in-toto+json"), []byte("10 text/plain"), 1),
		"another payload":   pae([]byte(compatStatement)),
		"mixed up versions": bytes.Replace(pae([]byte(goodStatement)), []byte("DSSEv1"), []byte("DSSEV1"), 1),
	} {
		if m, err := verifyPayload(t, key, []byte(goodStatement), toSign); m != nil || !errors.Is(err, ErrUntrusted) {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
}

// TestParseManyValues: what could be built of a bundle or of a statement is
// bounded before it is, even if it is signed.
func TestParseManyValues(t *testing.T) {
	var before, after runtime.MemStats
	text := []byte(`{"verificationMaterial":{"tlogEntries":[` + strings.Repeat("0,", 1<<21) + `0]}}`)
	runtime.ReadMemStats(&before)
	if s, err := Parse(text); s != nil || !errors.Is(err, ErrMalformed) {
		t.Errorf("got %v, %v", s, err)
	}
	key := newKey(t, elliptic.P256())
	payload := []byte(`{"x":[` + strings.Repeat("0,", 1<<20) + `0]}`)
	if m, err := verifyPayload(t, key, payload, pae(payload)); m != nil || !errors.Is(err, ErrMalformed) {
		t.Errorf("signed: got %v, %v", m, err)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 64<<20 {
		t.Errorf("%d bytes allocated for %d", got, len(text)+len(payload))
	}
}

func TestParseRefuses(t *testing.T) {
	key := newKey(t, elliptic.P256())
	good := string(bundle(t, []byte(goodStatement), key, pae([]byte(goodStatement))))
	sig := good[strings.Index(good, `[{"sig"`):strings.LastIndex(good, `}}`)]
	certificate := `{"rawBytes":"AAAA"}`
	for _, e := range []edit{
		{"as it is", "", "", nil},
		{"another version", "bundle.v0.3", "bundle.v0.2", ErrUnsupported},
		{"no media type", bundleType, "", ErrMalformed},
		{"another payload type", payloadType, "text/plain", ErrUnsupported},
		{"no payload type", payloadType, "", ErrMalformed},
		{"another member", `{"mediaType"`, `{"x":1,"mediaType"`, ErrMalformed},
		{"a member twice", `"tlogEntries":[]`, `"tlogEntries":[],"tlogEntries":[]`, ErrMalformed},
		{"a member in another case", `"tlogEntries":[]`, `"TlogEntries":[]`, ErrMalformed},
		{"no signature", sig, `[]`, ErrMalformed},
		{"two signatures", `"signatures":[`, `"signatures":[{"sig":"AAAA"},`, ErrMalformed},
		{"an empty signature", sig, `[{"sig":""}]`, ErrMalformed},
		{"a long signature", sig, `[{"sig":"` + strings.Repeat("AAAA", 54) + `"}]`, ErrMalformed},
		{"an empty payload", base64.StdEncoding.EncodeToString([]byte(goodStatement)), "", ErrMalformed},
		{"no padding", sig, `[{"sig":"AA"}]`, ErrMalformed},
		{"bits behind the end", sig, `[{"sig":"AB=="}]`, ErrMalformed},
		{"a line feed", sig, `[{"sig":"AA\nAA"}]`, ErrMalformed},
		{"the alphabet for URLs", sig, `[{"sig":"-_-_"}]`, ErrMalformed},
		{"no key", `"publicKey":{"hint":null},`, ``, ErrMalformed},
		{"a key and a certificate", `"tlogEntries"`, `"certificate":` + certificate + `,"tlogEntries"`, ErrMalformed},
		{"a certificate", `"publicKey":{"hint":null}`, `"certificate":` + certificate, nil},
		{"a chain", `"publicKey":{"hint":null}`, `"x509CertificateChain":{"certificates":[` + certificate + `]}`, nil},
		{"an empty chain", `"publicKey":{"hint":null}`, `"x509CertificateChain":{"certificates":[]}`, ErrMalformed},
		{"a long chain", `"publicKey":{"hint":null}`, `"x509CertificateChain":{"certificates":[` + strings.Repeat(certificate+",", 16) + certificate + `]}`, ErrMalformed},
		{"an empty certificate", `"publicKey":{"hint":null}`, `"certificate":{"rawBytes":""}`, ErrMalformed},
		{"a log entry", `"tlogEntries":[]`, `"tlogEntries":[{"logIndex":"1"}]`, nil},
		{"time stamps", `"tlogEntries":[]`, `"tlogEntries":[],"timestampVerificationData":{}`, nil},
		{"no envelope", good[strings.Index(good, `,"dsseEnvelope"`):], `}`, ErrMalformed},
		{"null", good, `null`, ErrMalformed},
		{"nothing", good, ``, ErrMalformed},
		{"too long", "", strings.Repeat(" ", 8<<20), ErrMalformed},
	} {
		s, err := Parse([]byte(strings.Replace(good, e.old, e.text, 1)))
		if !errors.Is(err, e.want) || (s == nil) != (err != nil) {
			t.Errorf("%s: %v, %v", e.name, s, err)
		}
		if err != nil {
			classified(t, err)
		}
	}
}

// Whatever is signed: a manifest that is right in itself, or an error of one
// class. What one says can be said again.
func FuzzStatement(f *testing.F) {
	f.Add([]byte(goodStatement))
	f.Add([]byte(compatStatement))
	for _, name := range []string{"v1.1.0-certificate", "v1.0.0-elliptic-key", "v0.2.0-certificate"} {
		f.Add(parse(f, read(f, name+".sig")).payload)
	}
	key := newKey(f, elliptic.P256())
	f.Fuzz(func(t *testing.T, payload []byte) {
		m, err := parseStatement(payload, false)
		if (m == nil) != (err != nil) {
			t.Fatalf("%v beside %v", m, err)
		}
		old, oldErr := parseStatement(payload, true)
		if oldErr == nil {
			var w struct {
				PredicateType string `json:"predicateType"`
			}
			if json.Unmarshal(payload, &w) != nil || w.PredicateType != compatType || err != nil || !old.Equal(m) {
				t.Fatalf("%+v as before 1.0", old)
			}
		}
		if err != nil {
			classified(t, err)
			return
		}
		if cer.Strict(payload, 64) != nil {
			t.Fatal("a statement that is not strict")
		}
		files := m.Files()
		slices.Reverse(files)
		if err := m.Check(files); err != nil {
			t.Fatal(err)
		}
		again := manifest(t, Options{Name: m.Name(), Ignore: m.Ignore(), Symlinks: m.Symlinks()}, files...)
		b, err := Sign(nil, again, key)
		if err != nil {
			t.Fatal(err)
		}
		_, got, err := parse(t, b).Verify([]crypto.PublicKey{key.Public()})
		if err != nil || !got.Equal(m) || got.Root() != m.Root() || fmt.Sprint(got.opts) != fmt.Sprint(m.opts) {
			t.Fatalf("%+v, %v; was %+v", got, err, m)
		}
	})
}
