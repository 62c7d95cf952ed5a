package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/testdata"
	"github.com/sworn-run/sworn/tpm"
)

// specimen is one file of a kind that inspect knows.
type specimen struct {
	name string
	file []byte
	// want are lines of what inspect prints, blanks run together.
	want []string
}

// goldenFile returns a file of testdata/golden.
func goldenFile(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := testdata.Golden.ReadFile("golden/" + name)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// specimens returns a file of every kind, all of one golden record.
func specimens(tb testing.TB) []specimen {
	tb.Helper()
	page, root := goldenFile(tb, "page.cer.json"), goldenFile(tb, "roots/tpm-ak/SIMULATED-tpm-maker.pem")
	c, err := cer.ParseCapsule(page)
	if err != nil {
		tb.Fatal(err)
	}
	parts := map[string][]byte{}
	for _, p := range c.Evidence[0].Parts {
		parts[p.Name] = p.Data
	}
	var report bytes.Buffer
	if code := run(context.Background(), []string{"verify", "--format", "json", "../../testdata/golden/page.cer.json"}, nil, &report, &bytes.Buffer{}); code != exitNotTrusted {
		tb.Fatalf("verify: exit %d", code)
	}
	block, _ := pem.Decode(root)
	if block == nil {
		tb.Fatal("no PEM block")
	}
	digest := fmt.Sprintf("evidence digest %x ", attest.EvidenceDigest(c.Statement, c.Signature, c.Items))
	statement := []string{"type 1, run", "clock 0, the host's", "sequence 0", "body none", "slot 0 format 1 (tpm), mode 1 (direct), anchor 1 (register)"}
	certificate := []string{"basicConstraints CA true", "keyUsage keyCertSign, cRLSign", "public key ECC P-256"}
	return []specimen{
		{"capsule", page, append([]string{"disclosure hash", "parameters.temperature 0", "isolation closed_root yes", "SPKI sha256:", "register 13 (sha256)", "clockInfo.safe true", "exit code 0, timeout false", digest}, statement...)},
		{"statement", c.Statement, statement},
		{"statement in base64url", []byte(base64.RawURLEncoding.EncodeToString(c.Statement) + "\n"), statement},
		{"log", c.Log, []string{`launch tag`, `separator`, "replay register 13 (sha256) then is"}},
		{"quote", parts[tpm.PartAttest], []string{"type TPM_ST_ATTEST_QUOTE", "clockInfo.safe true", "pcrDigest"}},
		{"certificate in DER", block.Bytes, certificate},
		{"certificate in PEM", root, certificate},
		{"certificates in PEM", slices.Concat(root, []byte("\n"), root), certificate},
		{"opening", openingSpecimen(tb), []string{"certificateHash sha256:" + strings.Repeat("5a", 32), "param:seed 7", "input 4 bytes, complete true, sha256:", "salt " + strings.Repeat("a5", 32)}},
		{"policy", goldenFile(tb, "policy.json"), []string{"bank sha256", "register 13", "others refuse", "prior_launches same-launcher", "waive launcher.rooted: "}},
		{"report", report.Bytes(), []string{"headline not trusted: no policy given", "capsule.strict passed: "}},
		{"bundle", c.CER, []string{"integrity holds: ", "not covered none", "inputHash sha256:"}},
		{"bundle, indented", indented(tb, c.CER), []string{"integrity holds: ", "certificateHash "}},
	}
}

// indented returns JSON in a form that is not canonical.
func indented(tb testing.TB, b []byte) []byte {
	tb.Helper()
	return bytes.Replace(b, []byte(`,"version"`), []byte(",\n  \"version\""), 1)
}

// inspect runs the command over a file.
func inspect(tb testing.TB, file []byte) (code int, stdout, stderr string) {
	tb.Helper()
	name := filepath.Join(tb.TempDir(), "file")
	if err := os.WriteFile(name, file, 0o600); err != nil {
		tb.Fatal(err)
	}
	var out, errs bytes.Buffer
	code = run(context.Background(), []string{"inspect", name}, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

// Every kind of file is told by its content, and shown.
func TestInspectKinds(t *testing.T) {
	for _, s := range slices.Concat(specimens(t), foreignSpecimens(t), teeSpecimens(t)) {
		t.Run(s.name, func(t *testing.T) {
			code, out, errs := inspect(t, s.file)
			if code != 0 || errs != "" {
				t.Fatalf("exit %d: %s", code, errs)
			}
			var lines []string
			for l := range strings.Lines(out) {
				lines = append(lines, strings.Join(strings.Fields(l), " "))
			}
			for _, want := range s.want {
				if !slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, want) }) {
					t.Errorf("no line with %q in\n%s", want, out)
				}
			}
			checkPrintable(t, out)
		})
	}
}

// checkPrintable wants nothing in the output that a terminal would obey, and
// nothing that changes the order of what is read.
func checkPrintable(tb testing.TB, out string) {
	tb.Helper()
	for _, r := range strings.ReplaceAll(out, "\n", "") {
		if !unicode.IsPrint(r) {
			tb.Fatalf("prints %q:\n%q", r, out)
		}
	}
}

// What a hostile file says cannot be made to read otherwise than it stands.
func TestInspectShowsMarks(t *testing.T) {
	policy := bytes.Replace(goldenFile(t, "policy.json"), []byte("golden job"), []byte("gol\u202eden\u2028job\u200b\u009b"), 1)
	bundle := []byte("{\"bundleType\":\"x\",\"snapshot\":{\"a\":\"\u202egpj\u2066\u200d\"}}")
	report := []byte("{\"type\":\"sworn.report/v1\",\"headline\":\"trusted\u202e\u2029\"}")
	for _, file := range [][]byte{policy, bundle, report} {
		_, out, errs := inspect(t, file)
		checkPrintable(t, out)
		checkPrintable(t, errs)
	}
}

// A roots folder is shown by its certificates; any other folder is an error.
func TestInspectRoots(t *testing.T) {
	dir := t.TempDir()
	sub, err := fs.Sub(testdata.Golden, "golden/roots")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, sub); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"inspect", dir}, nil, &out, &errs); code != 0 || errs.Len() != 0 {
		t.Fatalf("exit %d: %s", code, &errs)
	}
	for _, want := range []string{"roots (1, sha256:", "role ", "tpm-ak", "SIMULATED", "(self-signed)"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	out.Reset()
	if err := os.WriteFile(filepath.Join(dir, "note.txt"), []byte("note"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code := run(t.Context(), []string{"inspect", dir}, nil, &out, &errs); code != exitUsage || out.Len() != 0 || errs.Len() == 0 {
		t.Errorf("a folder that is no roots folder: exit %d, %q, %q", code, &out, &errs)
	}
}

// What is of no kind, or of a kind and broken, is an error with a hint, and
// nothing is shown of it.
func TestInspectRefuses(t *testing.T) {
	files := map[string][]byte{
		"empty": {}, "text": []byte("note\n"), "JSON of no kind": []byte(`{"a":1}`), "not strict": []byte(`{"bundleType":1,"bundleType":2}`),
		"JSON array": []byte("[]"), "another type": []byte(`{"type":"sworn.policy/v9"}`), "type is no text": []byte(`{"type":1}`),
		"PEM with a tail": append(bytes.Clone(goldenFile(t, "roots/tpm-ak/SIMULATED-tpm-maker.pem")), "tail"...),
		"a key":           []byte("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n"),
	}
	for _, s := range slices.Concat(specimens(t), foreignSpecimens(t), teeSpecimens(t)) {
		if len(s.file) > 0 && s.name != "report" && s.name != "policy" && !strings.Contains(s.name, "PEM") {
			files[s.name+", cut"] = s.file[:len(s.file)-2]
		}
	}
	for name, file := range files {
		code, out, errs := inspect(t, file)
		if code != exitUsage || out != "" || !strings.HasPrefix(errs, "error: ") || !strings.Contains(errs, "\nhint: ") {
			t.Errorf("%s: exit %d, %d bytes shown, %q", name, code, len(out), errs)
		}
	}
}

// FuzzInspect: whatever the file, inspect shows it or says why not, and prints
// nothing that a terminal would obey.
func FuzzInspect(f *testing.F) {
	n := 0
	for _, s := range slices.Concat(specimens(f), foreignSpecimens(f), teeSpecimens(f)) {
		f.Add(s.file)
		n++
	}
	if n == 0 {
		f.Fatal("no seeds")
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		var out, errs bytes.Buffer
		a := &app{stdout: &out, stderr: &errs}
		code := a.exit(a.inspectFile(file, false))
		shown, refused := code == 0 && out.Len() > 0 && errs.Len() == 0, code == exitUsage && out.Len() == 0 && strings.HasPrefix(errs.String(), "error: ")
		if !shown && !refused {
			t.Fatalf("exit %d, %d bytes shown, %q", code, out.Len(), &errs)
		}
		checkPrintable(t, out.String())
		checkPrintable(t, errs.String())
	})
}

// openingSpecimen is an opening file.
func openingSpecimen(tb testing.TB) []byte {
	tb.Helper()
	input, seed, salt := cer.NewStream(sha256.Sum256([]byte("yes\n")), 4, true), "7", strings.Repeat("a5", 32)
	o := &cer.Opening{Type: cer.OpeningType, CertificateHash: "sha256:" + strings.Repeat("5a", 32), Fields: []cer.OpenField{
		{Name: cer.FieldInput, Salt: salt, Stream: &input}, {Name: cer.ParameterField("seed"), Salt: salt, Value: &seed},
	}}
	b, err := o.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	return b
}
