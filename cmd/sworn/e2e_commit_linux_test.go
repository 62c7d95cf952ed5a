package main

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // a guesser may try it
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/launch/measure"
	"github.com/sworn-run/sworn/verifier"
)

// The input and the parameter of the tests are each one of a thousand, which are known
// but for three digits.
func secretInput(n int) string {
	return fmt.Sprintf("patient %03d\n", n) + strings.Repeat("the same form for everybody\n", 281)
}

func secretParameter(n int) string { return fmt.Sprintf("ward %03d of the hospital", n) }

// commitFlags commit to an input on standard input and to a parameter that is applied.
func commitFlags(input string, parameter int) []string {
	return []string{"--nonce", testNonce, "--disclose", "commit", "--input", input, "--param", "ward=" + secretParameter(parameter)}
}

// haystack is everything that a capsule holds: the file, each string in it, and what
// these are in another encoding, over and over.
func haystack(tb testing.TB, file []byte) [][]byte {
	tb.Helper()
	out := [][]byte{file}
	var text func(b []byte)
	var value func(v jsontext.Value)
	value = func(v jsontext.Value) {
		switch v.Kind() {
		case '{':
			var m map[string]jsontext.Value
			if err := json.Unmarshal(v, &m); err != nil {
				tb.Fatal(err)
			}
			for name, x := range m {
				text([]byte(name))
				value(x)
			}
		case '[':
			var a []jsontext.Value
			if err := json.Unmarshal(v, &a); err != nil {
				tb.Fatal(err)
			}
			for _, x := range a {
				value(x)
			}
		case '"':
			var s string
			if err := json.Unmarshal(v, &s); err != nil {
				tb.Fatal(err)
			}
			text([]byte(s))
		default:
			out = append(out, v)
		}
	}
	text = func(b []byte) {
		out = append(out, b)
		if len(b) < 8 {
			return
		}
		for _, decode := range []func(string) ([]byte, error){
			base64.RawURLEncoding.DecodeString, base64.StdEncoding.DecodeString, hex.DecodeString,
		} {
			if d, err := decode(strings.TrimPrefix(string(b), "sha256:")); err == nil {
				out = append(out, d)
				embedded(d, value)
			}
		}
		embedded(b, value)
	}
	value(jsontext.Value(bytes.TrimSuffix(file, []byte("\n"))))
	return out
}

// embedded finds the JSON objects in bytes, such as the data of a log's events.
func embedded(b []byte, found func(jsontext.Value)) {
	for at := 0; ; {
		i := bytes.IndexByte(b[at:], '{')
		if i < 0 {
			return
		}
		at += i
		d := jsontext.NewDecoder(bytes.NewReader(b[at:]))
		v, err := d.ReadValue()
		if err != nil {
			at++
			continue
		}
		found(v.Clone())
		at += len(v)
	}
}

// tells returns the functions of a value by which a guess of it could be confirmed.
func tells(tb testing.TB, value []byte) map[string][]byte {
	tb.Helper()
	quoted, err := cer.MarshalCanonical(string(value))
	if err != nil {
		tb.Fatal(err)
	}
	sums, err := measure.Copy(tb.Context(), bytes.NewReader(value), nil, uint64(len(value)),
		measure.Wanted{FSVerity: true, Flat: measure.FlatAlways}, measure.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	out := map[string][]byte{"plain": value, "fs-verity": sums.FSVerity[:]}
	for _, x := range [][]byte{value, quoted, bytes.TrimSpace(value)} {
		a, b, c, d := sha1.Sum(x), sha256.Sum256(x), sha512.Sum384(x), sha512.Sum512(x)
		for i, sum := range [][]byte{a[:], b[:], c[:], d[:]} {
			out[fmt.Sprintf("digest %d of %d bytes", i, len(x))] = sum
		}
	}
	stream, err := cer.StreamBytes(cer.NewStream(sha256.Sum256(value), uint64(len(value)), true))
	if err != nil {
		tb.Fatal(err)
	}
	sum := sha256.Sum256(stream)
	out["digest of the stream"] = sum[:]
	return out
}

// A record that commits tells nothing of what it commits to: no function of any of a
// thousand guesses stands in it, in any encoding, and neither does a salt or a size.
func TestCommittedTellsNothing(t *testing.T) {
	t.Parallel()
	const guess = 437
	m := newMachine(t)
	input := m.write(t, "input.txt", secretInput(guess))
	file := m.run(t, "r", commitFlags(input, guess), job(t), "shout", "{param:ward}")
	hay := haystack(t, file)
	if len(hay) < 200 || !slices.ContainsFunc(hay, func(h []byte) bool { return bytes.Contains(h, []byte(`"kind":"parameter-commitments"`)) }) {
		t.Fatalf("%d texts: the log was not read", len(hay))
	}
	all := bytes.Join(hay, []byte{0})
	n := 0
	for i := range 1000 {
		for what, value := range map[string]string{
			"input": secretInput(i), "output": strings.ToUpper(secretInput(i)), "parameter": secretParameter(i), "stderr": secretParameter(i) + "\n",
		} {
			for how, needle := range tells(t, []byte(value)) {
				n++
				if bytes.Contains(all, needle) {
					t.Errorf("%s of %s %d stands in the record", how, what, i)
				}
			}
		}
	}
	if n < 50000 {
		t.Errorf("%d functions only", n)
	}
	for what, size := range map[string]int{"input": len(secretInput(guess)), "parameter and stderr": len(secretParameter(guess)), "stderr": len(secretParameter(guess)) + 1} {
		if bytes.Contains(all, fmt.Appendf(nil, `"%d"`, size)) || bytes.Contains(all, fmt.Appendf(nil, `:%d,`, size)) {
			t.Errorf("the size of %s stands in the record", what)
		}
	}
	salts(t, m, file, hay)
	// The same search finds what a record of the other disclosures tells.
	for _, disclose := range []string{"hash", "full"} {
		flags := []string{"--disclose", disclose, "--input", input, "--param", "ward=" + secretParameter(guess)}
		told := bytes.Join(haystack(t, m.run(t, disclose, flags, job(t), "shout", "{param:ward}")), []byte{0})
		for what, value := range map[string]string{"input": secretInput(guess), "output": strings.ToUpper(secretInput(guess)), "parameter": secretParameter(guess)} {
			found := false
			for _, needle := range tells(t, []byte(value)) {
				found = found || bytes.Contains(told, needle)
			}
			if !found {
				t.Errorf("%s is not found where it is told by %s: the search is blind", what, disclose)
			}
		}
	}
}

// salts wants no salt of the opening in the record, and no commitment that opens under
// any 32 bytes of it.
func salts(t *testing.T, m *machine, file []byte, hay [][]byte) {
	t.Helper()
	o, err := cer.ParseOpening(m.read(t, "r.cer.json.opening.json"))
	if err != nil {
		t.Fatal(err)
	}
	rt := runtimeOf(t, file)
	if len(o.Fields) != 4 {
		t.Errorf("%d fields", len(o.Fields))
	}
	series, err := hex.DecodeString(rt.Series)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range o.Fields {
		salt, err := hex.DecodeString(f.Salt)
		if err != nil {
			t.Fatal(err)
		}
		value, err := f.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		want, ok := rt.Commitment(f.Name)
		if !ok || cer.Commit([32]byte(series), [32]byte(salt), f.Name, value) != want {
			t.Fatalf("%s does not open", f.Name)
		}
		for _, h := range hay {
			if bytes.Contains(h, salt) || bytes.Contains(h, []byte(f.Salt)) {
				t.Errorf("the salt of %s stands in the record", f.Name)
			}
			for i := 0; i+32 <= len(h) && len(h) < 1<<15; i++ {
				if cer.Commit([32]byte(series), [32]byte(h[i:i+32]), f.Name, value) == want {
					t.Errorf("%s opens under 32 bytes of the record", f.Name)
				}
			}
		}
	}
}

// Records about long and short secrets have one size, member by member.
func TestCommittedSizes(t *testing.T) {
	t.Parallel()
	var shapes [2][]string
	for i, x := range []struct{ input, parameter string }{{"x", "y"}, {strings.Repeat("long ", 10000), strings.Repeat("z", 900)}} {
		m := newMachine(t)
		input := m.write(t, "input.txt", x.input)
		file := m.run(t, "r", []string{"--disclose", "commit", "--input", input, "--param", "ward=" + x.parameter}, job(t), "shout", "{param:ward}")
		for _, h := range haystack(t, file) {
			shapes[i] = append(shapes[i], fmt.Sprint(len(h)))
		}
		slices.Sort(shapes[i])
	}
	if len(shapes[0]) < 200 {
		t.Fatalf("%d texts", len(shapes[0]))
	}
	// The maps of the texts are not in one order, the lengths are.
	if !slices.Equal(shapes[0], shapes[1]) {
		t.Errorf("records about long and short secrets differ in length: %v, %v", shapes[0], shapes[1])
	}
}

// A record that commits is trusted under the policy of another disclosure, and what it
// is about is shown by its opening, field by field.
func TestCommittedOpened(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	golden := m.write(t, "golden.txt", "golden")
	input := m.write(t, "input.txt", secretInput(1))
	command := []string{job(t), "shout", "{param:ward}"}
	p := m.policy(t, m.run(t, "golden", []string{"--nonce", goldenNonce, "--input", golden, "--param", "ward=none"}, command...))
	output := m.path("output.txt")
	file := m.run(t, "r", append(commitFlags(input, 1), "--output", output, "--opening-content"), command...)
	trusted(t, m.verify(t, file, p))
	name := m.path("r.cer.json.opening.json")
	st, err := os.Stat(name)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	// And a policy made of it trusts another.
	trusted(t, m.verify(t, m.run(t, "again", []string{"--nonce", testNonce, "--input", golden, "--param", "ward=none"}, command...), m.policy(t, file)))

	store := m.trust(t)
	nonce, err := parseNonce(testNonce)
	if err != nil {
		t.Fatal(err)
	}
	in := verifier.Input{Policy: p, Roots: store, Now: time.Now(), Nonce: nonce}
	for what, file := range map[string]**verifier.File{input: &in.InputFile, output: &in.OutputFile} {
		if *file, err = hashFile(t.Context(), what); err != nil {
			t.Fatal(err)
		}
	}
	judge := func(opening []byte) *verifier.Report {
		t.Helper()
		in.Opening = opening
		r, err := verifier.Verify(file, in)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	refused(t, "no opening", judge(nil), "input.file", "output.file")
	whole := m.read(t, "r.cer.json.opening.json")
	trusted(t, judge(whole))

	less := m.path("less.opening.json")
	if d := m.do(t, "open", m.path("r.cer.json"), "--field", "input", "--field", "param:ward", "-o", less); d.code != 0 {
		t.Fatal(d.err)
	}
	r := judge(m.read(t, "less.opening.json"))
	refused(t, "an opening of the input", r, "output.file")
	if r.Summary.Output.Opened || !r.Summary.Input.Opened || *r.Summary.Parameters[0].Value != secretParameter(1) {
		t.Errorf("%+v", r.Summary)
	}
	for field, want := range map[string]string{"input": secretInput(1), "output": strings.ToUpper(secretInput(1)), "stderr": secretParameter(1) + "\n", "param:ward": secretParameter(1)} {
		if d := m.do(t, "open", m.path("r.cer.json"), "--extract", field); d.code != 0 || d.out != want {
			t.Errorf("%s: %.40q %s", field, d.out, d.err)
		}
	}
	// A bit of the opening, and that of another record.
	for i := range len(whole) / 97 {
		flipped := bytes.Clone(whole)
		flipped[i*97] ^= 4
		if r := judge(flipped); r.Trusted || detail(r, "record.opening") == "" {
			t.Errorf("byte %d: %s", i*97, r.Headline)
		}
	}
	m.run(t, "other", commitFlags(input, 1), command...)
	refused(t, "another's opening", judge(m.read(t, "other.cer.json.opening.json")), "record.opening", "input.file", "output.file")
}

// What would tell what is committed to is refused before anything is measured, and an
// opening is never written over.
func TestCommitRefused(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	input := m.write(t, "input.txt", "secret\n")
	same := m.path("same.txt")
	if err := os.Link(input, same); err != nil {
		t.Fatal(err)
	}
	copied := m.write(t, "copied.txt", "secret\n")
	folder := m.path("folder")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	within := m.write(t, "folder/input.txt", "secret\n")
	args := func(flags ...string) []string {
		return m.runArgs("no", append([]string{"--disclose", "commit"}, flags...), job(t), "copy")
	}
	for name, x := range map[string]struct {
		args  []string
		words string
	}{
		"the input as configuration":     {args("--input", input, "--config", input), "would stand in the record"},
		"the input as weights by a link": {args("--input", input, "--weights", same), "would stand in the record"},
		"the input in a folder":          {args("--input", within, "--add", folder), "would stand in the record"},
		"a copy of the input":            {m.runArgs("no", []string{"--disclose", "commit", "--input", input, "--weights", copied}, job(t), "say", "{input}"), "whose digest stands in the record"},
		"an opening of nothing":          {m.runArgs("no", []string{"--opening", m.path("o")}, job(t), "copy"), "for records that commit"},
		"content of nothing":             {m.runArgs("no", []string{"--opening-content"}, job(t), "copy"), "for records that commit"},
		"an opening over the input":      {args("--input", input, "--opening", input), "is there already"},
		"an opening over the record":     {args("--opening", m.path("no.cer.json")), "would overwrite"},
		"an opening over the output":     {args("--opening", m.path("x"), "--output", m.path("x")), "would overwrite"},
		"an opening in no folder":        {args("--opening", m.path("none/x")), "none/x"},
		"a parameter that is no text":    {args("--param", "x=\xff"), "UTF-8"},
		"a parameter that is too long":   {args("--param", "x="+strings.Repeat("a", 65537)), "at most 65536"},
		"a disclosure that is not there": {m.runArgs("no", []string{"--disclose", "commits"}, job(t), "copy"), "disclosure"},
	} {
		t.Run(name, func(t *testing.T) { m.refuse(t, "no.cer.json", x.args, x.words) })
	}
	m.run(t, "r", []string{"--disclose", "commit", "--input", input}, job(t), "copy")
	before := m.read(t, "r.cer.json.opening.json")
	d := m.do(t, m.runArgs("r", []string{"--disclose", "commit", "--input", input}, job(t), "copy")...)
	checkRefused(t, d, "is there already")
	if !bytes.Equal(before, m.read(t, "r.cer.json.opening.json")) {
		t.Error("an opening was overwritten")
	}
	// What failed leaves no opening: there is no record that it would open.
	entries, err := fs.Glob(os.DirFS(m.dir), "*opening*")
	if err != nil || !slices.Equal(entries, []string{"r.cer.json.opening.json"}) {
		t.Errorf("%v, %v", entries, err)
	}
}
