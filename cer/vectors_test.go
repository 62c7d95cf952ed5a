package cer_test

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/testdata"
)

const vectorRoot = "vectors/nexart"

// vectorCodes is the one outcome of every vector.
var vectorCodes = map[string]cer.Code{
	"positive/p01-basic-ascii":            cer.CodeOK,
	"positive/p02-unicode-bmp":            cer.CodeOK,
	"positive/p03-emoji-surrogate-pairs":  cer.CodeOK,
	"positive/p04-lone-surrogates":        cer.CodeCanonicalization,
	"positive/p05-nested-objects":         cer.CodeOK,
	"positive/p06-floats":                 cer.CodeOK,
	"positive/p07-empty-values":           cer.CodeOK,
	"positive/p08-large-ints":             cer.CodeCanonicalization,
	"positive/p09-arrays":                 cer.CodeOK,
	"positive/p10-null-params":            cer.CodeOK,
	"positive/p11-object-io":              cer.CodeOK,
	"positive/p12-key-order-utf16":        cer.CodeOK,
	"positive/p13-control-and-html-chars": cer.CodeOK,
	"positive/p14-string-looks-like-json": cer.CodeOK,
	"positive/p15-object-same-inputhash":  cer.CodeOK,
	"positive/p16-extra-snapshot-fields":  cer.CodeOK,
	"positive/p17-unhashed-top-level":     cer.CodeOK,
	"positive/p18-scalar-io":              cer.CodeOK,
	"positive/p19-proto-key":              cer.CodeOK,
	"positive/p20-duplicate-keys":         cer.CodeCanonicalization,
	"positive/p21-number-spelling":        cer.CodeCanonicalization,
	"positive/p22-64k-prompt":             cer.CodeOK,
	"positive/p23-depth-500":              cer.CodeOK,
	"positive/p24-reordered-and-pretty":   cer.CodeOK,
	"positive/p25-createdat-free-text":    cer.CodeOK,
	"positive/p26-forged-but-resealed":    cer.CodeOK,

	"negative/n01-output-changed":                   cer.CodeOutputHash,
	"negative/n02-input-changed":                    cer.CodeInputHash,
	"negative/n03-prompt-changed":                   cer.CodeCertificateHash,
	"negative/n04-parameter-changed":                cer.CodeCertificateHash,
	"negative/n05-cert-hash-replaced":               cer.CodeCertificateHash,
	"negative/n06-cert-hash-uppercase":              cer.CodeCertificateHash,
	"negative/n07-cert-hash-no-prefix":              cer.CodeInvalidFormat,
	"negative/n08-createdat-changed":                cer.CodeCertificateHash,
	"negative/n09-createdat-empty":                  cer.CodeSchema,
	"negative/n10-version-1.0":                      cer.CodeSchema,
	"negative/n11-bundletype-wrong":                 cer.CodeSchema,
	"negative/n12-no-snapshot":                      cer.CodeSchema,
	"negative/n13-protocolversion-1.3.0-after-seal": cer.CodeCertificateHash,
	"negative/n14-empty-prompt":                     cer.CodeSchema,
	"negative/n15-input-null":                       cer.CodeSchema,
	"negative/n16-output-null":                      cer.CodeSchema,
	"negative/n17-inputhash-bad-prefix":             cer.CodeInvalidFormat,
	"negative/n18-input-and-output-changed":         cer.CodeSnapshotHash,
	"negative/n19-temperature-null":                 cer.CodeSchema,
	"negative/n20-topp-string":                      cer.CodeSchema,
	"negative/n21-field-added-to-snapshot":          cer.CodeCertificateHash,
	"negative/n22-field-removed-from-snapshot":      cer.CodeCertificateHash,
	"negative/n23-parameters-missing":               cer.CodeCanonicalization,
	"negative/n24-cert-hash-number":                 cer.CodeSchema,
	"negative/n25-input-missing":                    cer.CodeCanonicalization,
	"negative/n26-number-overflow":                  cer.CodeCanonicalization,
	"negative/n27-nfc-to-nfd":                       cer.CodeInputHash,
	"negative/n28-array-reordered":                  cer.CodeInputHash,
	"negative/n29-executionsurface-wrong":           cer.CodeSchema,
	"negative/n30-type-wrong":                       cer.CodeSchema,
	"negative/n31-provider-empty":                   cer.CodeSchema,
	"negative/n32-snapshot-is-string":               cer.CodeCanonicalization,
	"negative/n33-bundle-null":                      cer.CodeSchema,
	"negative/n34-large-int-off-by-one-visible":     cer.CodeCanonicalization,
	"negative/n35-bom":                              cer.CodeCanonicalization,
	"negative/n36-trailing-garbage":                 cer.CodeCanonicalization,

	"later/l01-context-signals-1.2.0":    cer.CodeOK,
	"later/l02-context-signals-tampered": cer.CodeCertificateHash,
	"later/l03-context-extra-member":     cer.CodeOK,
	"later/l04-context-empty-signals":    cer.CodeOK,
	"later/l05-jcs-1.3.0":                cer.CodeOK,
	"later/l06-hash-only-redacted":       cer.CodeOK,

	// Project bundles are of another bundleType, which fails closed.
	"later/pb-algorithm-wrong":              cer.CodeSchema,
	"later/pb-embedded-extra-bundle":        cer.CodeSchema,
	"later/pb-embedded-meta-added":          cer.CodeSchema,
	"later/pb-embedded-missing":             cer.CodeSchema,
	"later/pb-embedded-output-tampered":     cer.CodeSchema,
	"later/pb-executionid-mismatch":         cer.CodeSchema,
	"later/pb-final-output-summary-changed": cer.CodeSchema,
	"later/pb-prevstephash-broken-resealed": cer.CodeSchema,
	"later/pb-projecthash-uppercase":        cer.CodeSchema,
	"later/pb-protocolversion-1.3.0":        cer.CodeSchema,
	"later/pb-sequence-swapped":             cer.CodeSchema,
	"later/pb-step-removed":                 cer.CodeSchema,
	"later/pb-step-removed-totalsteps-kept": cer.CodeSchema,
	"later/pb-steps-reordered-in-array":     cer.CodeSchema,
	"later/pb-tags-emptied":                 cer.CodeSchema,
	"later/pb-title-changed":                cer.CodeSchema,
	"later/pb-unknown-top-level-member":     cer.CodeSchema,
}

// vectorDiffers says why an outcome is not that of NexArt's rules.
var vectorDiffers = map[string]string{
	"positive/p04-lone-surrogates":                  "RFC 8785 has no form for them, and two readers hash them differently",
	"positive/p08-large-ints":                       "the text says 9007199254740993 where the hash says 9007199254740992",
	"positive/p17-unhashed-top-level":               "0.1.0 left context out of the hash; it is accepted and listed as uncovered",
	"positive/p20-duplicate-keys":                   "which of the two is meant depends on the reader",
	"positive/p21-number-spelling":                  "it holds -0.0, whose sign no hash covers; its other spellings are accepted",
	"negative/n13-protocolversion-1.3.0-after-seal": "1.3.0 is supported, so that the hash gives it away",
	"negative/n24-cert-hash-number":                 "the reference throws",
	"negative/n33-bundle-null":                      "the reference throws",
	"negative/n34-large-int-off-by-one-visible":     "as p08: an edit that no hash covers",
	"negative/n35-bom":                              "the reference does not parse it",
	"negative/n36-trailing-garbage":                 "the reference does not parse it",
	"later/l05-jcs-1.3.0":                           "1.3.0 is supported",
	"later/l06-hash-only-redacted":                  "hash-only records are supported, and their gaps listed",
}

// vectorResults are the results that have more to say than OK.
var vectorResults = map[string]cer.Integrity{
	"positive/p17-unhashed-top-level": {Projection: cer.ProjectionFour, Uncovered: []string{"/context", "/declaration", "/foo", "/meta"}},
	"later/l01-context-signals-1.2.0": {Projection: cer.ProjectionSignals},
	"later/l03-context-extra-member":  {Projection: cer.ProjectionSignals, Uncovered: []string{"/context/extra"}},
	"later/l04-context-empty-signals": {Projection: cer.ProjectionFour, Uncovered: []string{"/context"}},
	"later/l05-jcs-1.3.0":             {Projection: cer.ProjectionFour, ProtocolVersion: cer.Protocol130},
	"later/l06-hash-only-redacted": {
		Projection: cer.ProjectionFour, Uncovered: []string{"/meta"},
		Withheld: []string{"/snapshot/prompt", "/snapshot/input", "/snapshot/output"},
	},
}

// expectation is the part of an .expected.json that is used.
type expectation struct {
	CertificateHash string   `json:"canonicalSha256"`
	Members         []string `json:"hashPayloadMembers"`
	Mirror          struct {
		Code string `json:"code"`
	} `json:"verifyCer_mirror_sdk_0_13"`
}

// bundles lists the vectors by the names of vectorCodes.
func bundles(tb testing.TB) map[string][]byte {
	tb.Helper()
	out := map[string][]byte{}
	err := fs.WalkDir(testdata.Vectors, vectorRoot, func(p string, d fs.DirEntry, err error) error {
		name := strings.TrimPrefix(p, vectorRoot+"/")
		isBundle := strings.HasSuffix(p, ".bundle.json") || strings.HasPrefix(path.Base(p), "pb-")
		if err != nil || d.IsDir() || !isBundle {
			return err
		}
		b, err := fs.ReadFile(testdata.Vectors, p)
		out[strings.TrimSuffix(strings.TrimSuffix(name, ".json"), ".bundle")] = b
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	if len(out) == 0 {
		tb.Fatal("no vectors")
	}
	return out
}

func expected(t *testing.T, name string) *expectation {
	t.Helper()
	b, err := fs.ReadFile(testdata.Vectors, path.Join(vectorRoot, name+".expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	var e expectation
	if err := json.Unmarshal(b, &e); err != nil {
		t.Fatal(err)
	}
	return &e
}

func TestVectors(t *testing.T) {
	found := bundles(t)
	for name := range vectorCodes {
		if found[name] == nil {
			t.Errorf("%s: no such vector", name)
		}
	}
	for name, b := range found {
		want, known := vectorCodes[name]
		if !known {
			t.Errorf("%s: a vector without an outcome", name)
			continue
		}
		got, err := cer.VerifyIntegrity(b)
		if code := codeOf(t, got, err); code != want {
			t.Errorf("%s: %v (%v), want %v", name, code, err, want)
			continue
		}
		if strings.HasPrefix(name, "later/pb-") {
			continue
		}
		e := expected(t, name)
		if differs := want.String() != e.Mirror.Code; differs != (vectorDiffers[name] != "") {
			t.Errorf("%s: %v, the reference says %q: explained: %q", name, want, e.Mirror.Code, vectorDiffers[name])
		}
		if want == cer.CodeOK {
			checkResult(t, name, got, e)
			checkProjection(t, name, b, e)
		}
	}
}

// codeOf also checks that result and error exclude each other, and that the
// error is classified.
func codeOf(tb testing.TB, got *cer.Integrity, err error) cer.Code {
	tb.Helper()
	if err == nil {
		if got == nil {
			tb.Fatal("neither result nor error")
		}
		return got.Code
	}
	if got != nil {
		tb.Errorf("error %v and a result", err)
	}
	ie, ok := errors.AsType[*cer.IntegrityError](err)
	if !ok {
		tb.Fatalf("%v is no IntegrityError", err)
	}
	want := cer.ErrHash
	switch ie.Code {
	case cer.CodeUnknown, cer.CodeOK:
		tb.Errorf("error of code %v", ie.Code)
	case cer.CodeCanonicalization:
		if errors.Is(err, cer.ErrStrict) {
			want = cer.ErrStrict
		} else {
			want = cer.ErrSchema
		}
	case cer.CodeSchema, cer.CodeInvalidFormat:
		want = cer.ErrSchema
	case cer.CodeSnapshotHash, cer.CodeInputHash, cer.CodeOutputHash, cer.CodeCertificateHash:
	}
	if !errors.Is(err, want) {
		tb.Errorf("%v does not wrap %v", err, want)
	}
	return ie.Code
}

func checkResult(t *testing.T, name string, got *cer.Integrity, e *expectation) {
	t.Helper()
	want, ok := vectorResults[name]
	if !ok {
		want.Projection = cer.ProjectionFour
	}
	want.Code = cer.CodeOK
	if want.ProtocolVersion == "" {
		want.ProtocolVersion = cer.Protocol120
	}
	hash, err := cer.ParseHash(e.CertificateHash)
	if err != nil {
		t.Fatal(err)
	}
	want.CertificateHash = hash
	if diff := cmp.Diff(&want, got); diff != "" {
		t.Errorf("%s: %s", name, diff)
	}
}

// checkProjection compares our canonical form with the bytes that NexArt's SDK
// hashed.
func checkProjection(t *testing.T, name string, b []byte, e *expectation) {
	t.Helper()
	all := map[string]jsontext.Value{}
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	some := []byte{'{'}
	for i, m := range e.Members {
		value := all[m]
		if m == "context" {
			var context map[string]jsontext.Value
			if err := json.Unmarshal(value, &context); err != nil {
				t.Fatal(err)
			}
			value = append(append([]byte(`{"signals":`), context["signals"]...), '}')
		}
		if i > 0 {
			some = append(some, ',')
		}
		some = append(append(append(some, '"'), m...), '"', ':')
		some = append(some, value...)
	}
	got, err := cer.Canonical(append(some, '}'))
	if err != nil {
		t.Fatal(err)
	}
	if cer.FormatHash(sha256.Sum256(got)) != e.CertificateHash {
		t.Errorf("%s: canonical form has another hash", name)
	}
	want, err := fs.ReadFile(testdata.Vectors, path.Join(vectorRoot, name+".canonical.bin"))
	if errors.Is(err, fs.ErrNotExist) && name == "positive/p22-64k-prompt" {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s: canonical form differs:\n%s\n%s", name, got, want)
	}
}

// sharedVectors is the folder of what others published, where there is one.
func sharedVectors() string {
	dir := os.Getenv("SWORN_SHARED")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared")
	}
	return filepath.Join(dir, "vectors", "nexart")
}

// TestPublished verifies records that NexArt and a partner published. They are
// not part of this repository: they stand in the shared evidence folder.
func TestPublished(t *testing.T) {
	dir := filepath.Join(sharedVectors(), "real")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("shared vectors/nexart/real is absent: %v", err)
	}
	meta := []string{"/meta"}
	for file, want := range map[string]cer.Integrity{
		"ai-v1.web-demo.bundle.json":          {Projection: cer.ProjectionFour, Uncovered: meta},
		"ai-v1.node-test-fixture.bundle.json": {Projection: cer.ProjectionFour, Uncovered: meta},
		"ai-v1.redacted-reseal.bundle.json": {
			Projection: cer.ProjectionFour, Uncovered: []string{"/context", "/meta"},
			Withheld: []string{"/snapshot/prompt", "/snapshot/input", "/snapshot/output"},
		},
	} {
		got, err := cer.VerifyIntegrity(read(t, dir, file))
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		want.Code, want.ProtocolVersion, want.CertificateHash = cer.CodeOK, cer.Protocol120, got.CertificateHash
		if diff := cmp.Diff(&want, got); diff != "" {
			t.Errorf("%s: %s", file, diff)
		}
	}
	for _, file := range []string{
		"governed-execution-v1.attested.json", "governed-step-v1.attested.json", "governed-step-v1.original.json",
		"governed-step-v1.tampered.json", "project-bundle-v1.json", "nexart-node.json",
	} {
		got, err := cer.VerifyIntegrity(read(t, dir, file))
		if code := codeOf(t, got, err); code != cer.CodeSchema {
			t.Errorf("%s: %v (%v), want %v: another bundleType", file, code, err, cer.CodeSchema)
		}
	}
	checkEmbedded(t, read(t, dir, "project-bundle-v1.json"))
}

// checkEmbedded verifies the records inside a project bundle, made by SDK
// 0.8.0.
func checkEmbedded(t *testing.T, b []byte) {
	t.Helper()
	var project struct {
		Steps []struct {
			StepID          string `json:"stepId"`
			CertificateHash string `json:"certificateHash"`
		} `json:"stepRegistry"`
		Bundles map[string]json.RawMessage `json:"embeddedBundles"`
	}
	if err := json.Unmarshal(b, &project); err != nil {
		t.Fatal(err)
	}
	if len(project.Steps) != 3 {
		t.Fatalf("%d steps, want 3", len(project.Steps))
	}
	for _, s := range project.Steps {
		got, err := cer.VerifyIntegrity(project.Bundles[s.StepID])
		if err != nil || cer.FormatHash(got.CertificateHash) != s.CertificateHash {
			t.Errorf("step %s: %+v, %v", s.StepID, got, err)
		}
	}
}

func read(t *testing.T, dir, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
