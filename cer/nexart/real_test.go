package nexart_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/nexart"
	"github.com/sworn-run/sworn/testdata"
)

// vectors are the records of testdata/vectors/nexart by their paths there.
func vectors(tb testing.TB) map[string][]byte {
	tb.Helper()
	out := map[string][]byte{}
	err := fs.WalkDir(testdata.Vectors, "vectors/nexart", func(p string, d fs.DirEntry, err error) error {
		isRecord := strings.HasSuffix(p, ".bundle.json") || strings.HasPrefix(path.Base(p), "pb-")
		if err != nil || d.IsDir() || !isRecord {
			return err
		}
		out[strings.TrimPrefix(p, "vectors/nexart/")], err = fs.ReadFile(testdata.Vectors, p)
		return err
	})
	if err != nil || len(out) == 0 {
		tb.Fatalf("%d vectors, %v", len(out), err)
	}
	return out
}

// published reads a record that NexArt or a partner published. They are not part
// of this repository: they stand in the shared evidence folder.
func published(t *testing.T, name string) []byte {
	t.Helper()
	dir := os.Getenv("SWORN_SHARED")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared")
	}
	dir = filepath.Join(dir, "vectors", "nexart", "real")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("shared vectors/nexart/real is absent: %v", err)
	}
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func publishedKeys(t *testing.T) *nexart.Keys {
	t.Helper()
	keys, err := nexart.ParseKeys(published(t, "nexart-node.json"))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// steps are the four attested steps of a governed execution.
func steps(t *testing.T) []json.RawMessage {
	t.Helper()
	var list struct {
		Records []json.RawMessage `json:"records"`
	}
	if err := json.Unmarshal(published(t, "governed-step-v1.attested.json"), &list); err != nil || len(list.Records) != 4 {
		t.Fatalf("%d records, %v", len(list.Records), err)
	}
	return list.Records
}

// TestPublished reproduces every hash and every signature that was published.
func TestPublished(t *testing.T) {
	keys := publishedKeys(t)
	sealed := noted(plain, nexart.NoteUncovered)
	for name, e := range map[string]struct {
		want outcome
		hash string // the beginning
	}{
		"ai-v1.web-demo.bundle.json":          {sealed, "abffbfb4eb923843"},
		"ai-v1.node-test-fixture.bundle.json": {sealed, "1dc840c0b72bf39e"},
		// Its receipt was cut off where it was published.
		"ai-v1.redacted-reseal.bundle.json": {
			outcome{nexart.VerdictFailed, pass, fail, skip, []nexart.Code{nexart.CodeReceiptHash, nexart.CodeContextNotProtected}, []nexart.NoteKind{nexart.NoteRedacted, nexart.NoteWithheld}},
			"e848fde55a414345",
		},
		"project-bundle-v1.json":              {sealed, "216e36c26649d55f"},
		"governed-execution-v1.attested.json": {noted(verified, nexart.NoteNoTimestamp), "f330b5e47c6c3a04"},
		"governed-step-v1.original.json":      {plain, "06ecaef10f7da961"},
		"governed-step-v1.tampered.json":      {bad(nexart.CodeCertificateHash), ""},
		"nexart-node.json":                    {bad(nexart.CodeSchema), ""},
	} {
		r := verify(t, name, published(t, name), keys, e.want)
		if !strings.HasPrefix(strings.TrimPrefix(r.CertificateHash, "sha256:"), e.hash) || (e.hash == "") != (r.CertificateHash == "") {
			t.Errorf("%s: hash %s, want %s…", name, r.CertificateHash, e.hash)
		}
	}
	for i, want := range []string{"01b0fb50", "a077e339", "705d4d7d", "c4cb6237"} {
		r := verify(t, fmt.Sprintf("step %d", i), []byte(steps(t)[i]), keys, verified)
		if !strings.HasPrefix(r.CertificateHash, "sha256:"+want) || len(r.Notes) > 0 {
			t.Errorf("step %d: %s, %v", i, r.CertificateHash, r.Notes)
		}
	}
	// The receipt of another record, and its envelope.
	first, second := parsed(t, steps(t)[0]), parsed(t, steps(t)[1])
	verify(t, "receipt of another", merged(first, object{"receipt": second["receipt"], "signature": second["signature"]}), keys,
		outcome{nexart.VerdictFailed, pass, fail, pass, []nexart.Code{nexart.CodeReceiptHash}, nil})
	verify(t, "envelope of another", merged(first, object{
		"verificationEnvelope": second["verificationEnvelope"], "verificationEnvelopeSignature": second["verificationEnvelopeSignature"],
	}), keys, outcome{nexart.VerdictFailed, pass, pass, fail, []nexart.Code{nexart.CodeInvalidSignature}, nil})
}

// change is one edit of a text.
type change struct {
	pointer, what string
	file          any
}

// changes returns, for every value of a document, the document with it changed,
// removed, and with a member or element beside it.
func changes(v any, pointer string) []change {
	add := func(out []change, what, at string, file any) []change { return append(out, change{at, what, file}) }
	var out []change
	switch v := v.(type) {
	case object:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			at := pointer + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
			edit := func(value any) object {
				c := maps.Clone(v)
				c[name] = value
				return c
			}
			less := maps.Clone(v)
			delete(less, name)
			out = add(out, "removed", at, less)
			if v[name] != nil {
				out = add(out, "null", at, edit(nil))
			}
			more := maps.Clone(less)
			more[name+"x"] = v[name]
			out = add(out, "renamed", at, more)
			for _, c := range changes(v[name], at) {
				out = append(out, change{c.pointer, c.what, edit(c.file)})
			}
		}
		more := maps.Clone(v)
		more["inserted"] = "x"
		out = add(out, "inserted", pointer+"/inserted", more)
	case []any:
		for i := range v {
			out = add(out, "removed", pointer, slices.Delete(slices.Clone(v), i, i+1))
			out = add(out, "doubled", pointer, slices.Insert(slices.Clone(v), i, v[i]))
			for _, c := range changes(v[i], pointer) {
				list := slices.Clone(v)
				list[i] = c.file
				out = append(out, change{c.pointer, c.what, list})
			}
		}
	case string:
		out = add(out, "longer", pointer, v+"x")
		out = add(out, "empty", pointer, "")
		out = add(out, "a number", pointer, 1)
	case float64:
		out = add(out, "another number", pointer, v+1)
		out = add(out, "a text", pointer, fmt.Sprint(v))
	case bool:
		out = add(out, "the other", pointer, !v)
	}
	return out
}

// TestEveryMember changes each member of attested records in turn: every change is
// caught, or the report names the place as one that nothing covers.
func TestEveryMember(t *testing.T) {
	n := newNode(1)
	type subject struct {
		file object
		keys *nexart.Keys
	}
	subjects := map[string]subject{
		"sealed here":  {n.certify(t, sealed(t, snapshot()), "1.2.0", four...), n.keys(t)},
		"step here":    {n.certify(t, governedStep(t), "1", "bundleType", "version", "schema", "bundleId", "threadId", "step", "protectedSet"), n.keys(t)},
		"project here": {n.signProject(t, project(t, n)), n.keys(t)},
	}
	t.Run("here", func(t *testing.T) { everyMember(t, subjects["sealed here"].file, subjects["sealed here"].keys) })
	t.Run("step", func(t *testing.T) { everyMember(t, subjects["step here"].file, subjects["step here"].keys) })
	t.Run("project", func(t *testing.T) { everyMember(t, subjects["project here"].file, subjects["project here"].keys) })
	t.Run("published step", func(t *testing.T) { everyMember(t, parsed(t, steps(t)[0]), publishedKeys(t)) })
	t.Run("published execution", func(t *testing.T) {
		everyMember(t, parsed(t, published(t, "governed-execution-v1.attested.json")), publishedKeys(t))
	})
}

func everyMember(t *testing.T, file object, keys *nexart.Keys) {
	t.Helper()
	before := nexart.Verify(canonical(t, file), keys)
	if before.Verdict != nexart.VerdictVerified || before.Receipt != pass || (before.Envelope != pass && len(before.Steps) == 0) {
		t.Fatalf("before: %+v", before)
	}
	caught, named := 0, 0
	for _, c := range changes(file, "") {
		r := nexart.Verify(canonical(t, c.file), keys)
		consistent(t, r)
		switch {
		case !r.Verdict.Verified():
			caught++
		case downgraded(before, r) || names(r, c.pointer) || names(before, c.pointer):
			named++
		default:
			t.Errorf("%s %s: %v, %v", c.pointer, c.what, r.Verdict, r.Notes)
		}
	}
	if caught < 50 || named == 0 {
		t.Errorf("%d changes caught, %d named", caught, named)
	}
	t.Logf("%d changes caught, %d named", caught, named)
}

// downgraded tells a report in which a layer that passed is absent: whoever can
// take a signature away can do that to any record.
func downgraded(before, after *nexart.Report) bool {
	return (before.Receipt == pass && after.Receipt == skip) || (before.Envelope == pass && after.Envelope == skip)
}

// names tells whether a note of the report is about the place, or what holds it.
func names(r *nexart.Report, pointer string) bool {
	return slices.ContainsFunc(r.Notes, func(n nexart.Note) bool {
		at := strings.TrimSuffix(n.Text, ", in the package")
		return n.Kind == nexart.NoteUncovered && (at == pointer || strings.HasPrefix(pointer, at+"/") || "/cer"+at == pointer || strings.HasPrefix(pointer, "/cer"+at+"/") ||
			at == pointer+"x")
	})
}

// FuzzVerify: a report follows from its layers, canonical form and spelling make
// no difference, and without keys no signature counts.
func FuzzVerify(f *testing.F) {
	n := newNode(1)
	keys := n.keys(f)
	seeds := 0
	for _, b := range vectors(f) {
		if len(b) < 10000 {
			f.Add(b)
			seeds++
		}
	}
	if seeds == 0 {
		f.Fatal("empty seed corpus")
	}
	f.Add(canonical(f, n.certify(f, sealed(f, snapshot()), "1.2.0", four...)))
	f.Add(canonical(f, n.certify(f, governedStep(f), "1", "bundleType", "version", "schema", "bundleId", "threadId", "step", "protectedSet")))
	f.Add(canonical(f, n.signProject(f, project(f, n))))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := nexart.Verify(b, keys)
		consistent(t, r)
		oracle{t, n}.check(b, r)
		bare := nexart.Verify(b, nil)
		consistent(t, bare)
		if bare.Receipt == nexart.StatusPass || bare.Envelope == nexart.StatusPass {
			t.Fatalf("a signature counts without keys: %q", b)
		}
		c, err := cer.Canonical(b)
		if err != nil {
			if r.Verdict.Verified() {
				t.Fatalf("verified, though not strict: %q", b)
			}
			return
		}
		again := nexart.Verify(c, keys)
		if again.Verdict != r.Verdict || !slices.Equal(again.Codes, r.Codes) || again.CertificateHash != r.CertificateHash || len(again.Notes) != len(r.Notes) {
			t.Fatalf("%+v; in canonical form %+v\n%q", r, again, b)
		}
	})
}
