package cer_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/testdata"
)

// texts returns the JSON texts of all vectors, and those of the tests here.
func texts(tb testing.TB) [][]byte {
	tb.Helper()
	var out [][]byte
	read := func(files fs.FS) {
		err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(name, ".json") {
				return err
			}
			b, err := fs.ReadFile(files, name)
			out = append(out, b)
			return err
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
	read(testdata.Vectors)
	if _, err := os.Stat(sharedVectors()); err == nil {
		read(os.DirFS(sharedVectors()))
	}
	for in := range accepted {
		out = append(out, []byte(in))
	}
	for _, in := range refused {
		out = append(out, []byte(in))
	}
	if len(out) < 150 {
		tb.Fatalf("%d texts only", len(out))
	}
	return append(out, seal(tb, rich(tb)))
}

// sameReading wants the reader to judge a text as the oracle does, in each of
// the ways in which the package offers it.
func sameReading(tb testing.TB, b []byte, depth int) {
	tb.Helper()
	judge := func(what string, err, want error) {
		tb.Helper()
		if (err == nil) != (want == nil) {
			tb.Errorf("%s of %.300q at depth %d: %v, the oracle says %v", what, b, depth, err, want)
		}
		if err != nil && !errors.Is(err, cer.ErrStrict) {
			tb.Errorf("%s of %.300q: %v, want ErrStrict", what, b, err)
		}
	}
	judge("Strict", cer.Strict(b, depth), oracleStrict(b, depth, false))
	var raw jsontext.Value
	if err := cer.UnmarshalStrict(b, depth, &raw); !errors.Is(err, cer.ErrSchema) { // null, which is no list
		judge("UnmarshalStrict", err, oracleStrict(b, depth, true))
	}
	got, err := cer.Canonical(b)
	want, wantErr := oracleCanonical(b, limits.BundleDepth, false)
	judge("Canonical", err, wantErr)
	if !bytes.Equal(got, want) || (got == nil) != (err != nil) {
		tb.Errorf("Canonical(%.300q) = %.300q, the oracle says %.300q", b, got, want)
	}
	if is := cer.IsCanonical(b); is != (wantErr == nil && bytes.Equal(b, want)) {
		tb.Errorf("IsCanonical(%.300q) = %v, %v", b, is, wantErr)
	}
	exact, exactErr := oracleCanonical(b, limits.CapsuleDepth, true)
	v, err := cer.ObjectValue(b)
	if wantObject := exactErr == nil && bytes.Equal(exact, b) && b[0] == '{'; (err == nil) != wantObject || (wantObject && !bytes.Equal(v.Object(), b)) {
		tb.Errorf("ObjectValue(%.300q): %v, the oracle says %v", b, err, exactErr)
	}
}

// sameVerdict wants VerifyIntegrity to say what the oracle says.
func sameVerdict(tb testing.TB, b []byte) cer.Code {
	tb.Helper()
	got, err := cer.VerifyIntegrity(b)
	want, wantErr := oracleIntegrity(b)
	code := codeOf(tb, got, err)
	if wantCode := codeOf(tb, want, wantErr); code != wantCode {
		tb.Errorf("%.2000q: %v (%v), the oracle says %v (%v)", b, code, err, wantCode, wantErr)
	}
	for _, sentinel := range []error{cer.ErrStrict, cer.ErrSchema, cer.ErrHash} {
		if errors.Is(err, sentinel) != errors.Is(wantErr, sentinel) {
			tb.Errorf("%.2000q: %v, the oracle says %v", b, err, wantErr)
		}
	}
	if !reflect.DeepEqual(got, want) {
		tb.Errorf("%.2000q: %+v, the oracle says %+v", b, got, want)
	}
	return code
}

// damaged returns b with a few bytes changed, put in, left out or moved.
func damaged(r *rand.Rand, b []byte) []byte {
	b = bytes.Clone(b)
	const bytesOfJSON = "{}[]\":,\\ \n\t0123456789.-+eEutrnf/\x00\x1f\x7f\x80\xc2\xed\xa0\xef\xf0\xff"
	for range 1 + r.IntN(3) {
		if len(b) == 0 {
			return b
		}
		i, j := r.IntN(len(b)), r.IntN(len(b))
		switch r.IntN(6) {
		case 0:
			b[i] ^= 1 << r.IntN(8)
		case 1:
			b[i] = bytesOfJSON[r.IntN(len(bytesOfJSON))]
		case 2:
			b = append(b[:i], append([]byte{bytesOfJSON[r.IntN(len(bytesOfJSON))]}, b[i:]...)...)
		case 3:
			b = append(b[:i], b[min(len(b), i+1+r.IntN(4)):]...)
		case 4:
			i, j = min(i, j), max(i, j)
			b = append(b, b[i:min(j, i+64)]...)
		default:
			b[i], b[j] = b[j], b[i]
		}
	}
	return b
}

// hostile appends a random value made of what readers of JSON differ over.
func hostile(b []byte, r *rand.Rand, depth int) []byte {
	if depth > 0 && r.IntN(3) > 0 {
		object := r.IntN(2) == 0
		b = append(b, "[{"[btoi(object)])
		for i := range r.IntN(5) {
			if i > 0 {
				b = append(b, ',')
			}
			if object {
				b = append(respelled(b, r, pick(r, names)), ':')
			}
			b = hostile(b, r, depth-1)
		}
		return append(b, "]}"[btoi(object)])
	}
	switch r.IntN(4) {
	case 0:
		return respelled(b, r, pick(r, names))
	case 1:
		return append(b, pick(r, numbers)...)
	case 2: // any double, in a random spelling
		f := strconv.AppendFloat(b, r.NormFloat64(), "efg"[r.IntN(3)], r.IntN(25)-1, 64)
		return append(f, []string{"", "e5", "E+15", "e-300", "e300"}[r.IntN(5)]...)
	}
	return append(b, []string{"null", "true", "false", `"\ud800"`, `"\udc00\ud800"`, `""`, " 1 "}[r.IntN(7)]...)
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func pick(r *rand.Rand, list []string) string { return list[r.IntN(len(list))] }

// names are few, so that they meet; some sort otherwise by UTF-16 than by UTF-8.
var names = []string{"", "a", "b", "ab", "aaaaaaaa", "aaaaaaaab", "A", "é", "e\u0301", "\uffff", "\ue000", "\U0001F600", "\U0001F600x", "\x00", "\x1f", "\"\\/\b\f\n\r\t", "\u2028", "\x7f", "\u0080"}

var numbers = []string{
	"0", "-0", "-0.0", "0e1", "1", "-1", "10", "1.0", "1e0", "1E2", "0.1", "0.10", "1e-7", "0.0000001", "0.000001", "1e21", "1e+21", "1E21", "1e400", "-1e400", "1e-400", "5e-324", "2e-324", "3e-324", "01", "+1", "1.", ".5", "1e", "--1",
	"9007199254740991", "9007199254740992", "9007199254740993", "9007199254740994", "-9007199254740993", "9007199254740993.0", "9.007199254740993e15", "9007199254740992.5", "9007199254740991.9999999", "999999999999999", "1000000000000000",
	"18446744073709551615", "100000000000000000000", "1e23", "0.30000000000000004", "1.7976931348623157e308", "1.7976931348623159e308", "333333333.33333329",
}

// respelled appends a string, each of its characters spelled in one of the ways
// in which it can be.
func respelled(b []byte, r *rand.Rand, s string) []byte {
	b = append(b, '"')
	for _, c := range s {
		short := strings.IndexRune("\"\\/\b\f\n\r\t", c)
		switch {
		case short >= 0 && r.IntN(2) == 0:
			b = append(b, '\\', `"\/bfnrt`[short])
		case c < 0x20 || c == '"' || c == '\\' || r.IntN(4) == 0:
			for _, u := range utf16.Encode([]rune{c}) {
				b = fmt.Appendf(b, []string{`\u%04x`, `\u%04X`}[r.IntN(2)], u)
			}
		default:
			b = append(b, string(c)...)
		}
	}
	return append(b, '"')
}

// TestReaderOracle compares the reader with the oracle over all texts, random
// ones of the hostile kind, and what becomes of them by damage.
func TestReaderOracle(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for _, b := range texts(t) {
		sameReading(t, b, 64)
		if len(b) > 4096 {
			continue
		}
		for range 20 {
			sameReading(t, damaged(r, b), r.IntN(8))
		}
	}
	strict := 0
	for range 8000 {
		b := hostile(nil, r, 6)
		sameReading(t, b, r.IntN(8))
		sameReading(t, damaged(r, b), 64)
		if cer.Strict(b, 64) == nil {
			strict++
		}
	}
	if strict < 500 {
		t.Errorf("%d random texts are strict: too few", strict)
	}
}

// TestReaderOracleLimits compares at the limits: nesting of each kind, numbers
// by length, and the size of a text, on either side.
func TestReaderOracleLimits(t *testing.T) {
	for _, shape := range [][3]string{{"[", "", "]"}, {`{"a":`, "0", "}"}, {`[{"b":1,"a":`, "-0.5", "}]"}, {` [ 1,`, `"x"`, " ]\n"}} {
		for _, n := range []int{1, 31, 32, 33, 62, 63, 64, 65, 499, 500, 501, 999, 1000, 1001, 9999, 10000, 10001} {
			b := []byte(strings.Repeat(shape[0], n) + shape[1] + strings.Repeat(shape[2], n))
			for _, depth := range []int{-1, 0, n - 1, n, 2 * n, 1000, 20000} {
				sameReading(t, b, depth)
			}
		}
	}
	for _, n := range []int{limits.JSONNumber - 1, limits.JSONNumber, limits.JSONNumber + 1} {
		for _, in := range []string{"0." + strings.Repeat("1", n-2), "1" + strings.Repeat("0", n-1), "0e" + strings.Repeat("9", n-2), "-1." + strings.Repeat("0", n-3)} {
			sameReading(t, []byte(in), 1)
		}
	}
	b := bytes.Repeat([]byte{'a'}, limits.CapsuleFile+1)
	b[0] = '"'
	for _, n := range []int{limits.CapsuleFile, limits.CapsuleFile + 1} {
		last := b[n-1]
		b[n-1] = '"'
		if err, want := cer.Strict(b[:n], 1), oracleStrict(b[:n], 1, false); (err == nil) != (want == nil) || (err == nil) != (n <= limits.CapsuleFile) {
			t.Errorf("%d bytes: %v, the oracle says %v", n, err, want)
		}
		b[n-1] = last
	}
}

// FuzzReaderOracle is TestReaderOracle on whatever is found.
func FuzzReaderOracle(f *testing.F) {
	seeds := 0
	for _, b := range texts(f) {
		if len(b) < 4096 {
			f.Add(b, uint16(64))
			seeds++
		}
	}
	if seeds == 0 {
		f.Fatal("empty seed corpus")
	}
	f.Fuzz(func(t *testing.T, b []byte, depth uint16) { sameReading(t, b, int(depth)) })
}

// randomBundle returns a bundle with each of its members there or not, of the
// right type or another, and certificateHash over one of the projections.
func randomBundle(r *rand.Rand) []byte {
	rarely := func() bool { return r.IntN(60) == 0 }
	odd := []string{"null", "0", `""`, `"x"`, "{}", "[]", "true", `{"signals":[]}`}
	put := func(m map[string]string, name, value string) {
		if rarely() {
			value = pick(r, odd)
		}
		if !rarely() {
			m[name] = value
		}
	}
	// Seldom anything that is refused as no strict JSON.
	wild := func(depth int) string {
		for {
			b := hostile(nil, r, depth)
			if rarely() || cer.Strict(b, 64) == nil {
				return string(b)
			}
		}
	}
	snapshot, parameters := map[string]string{}, map[string]string{}
	for _, name := range []string{"executionId", "timestamp", "provider", "model", "prompt", "sdkVersion"} {
		put(snapshot, name, string(respelled(nil, r, "x"+pick(r, names))))
	}
	put(snapshot, "type", `"ai.execution.v1"`)
	put(snapshot, "executionSurface", `"ai"`)
	put(snapshot, "protocolVersion", pick(r, []string{`"1.2.0"`, `"1.3.0"`, `"1.3.1"`, `"1.3.1"`, `"1.4.0"`, "null"}))
	for _, name := range []string{"temperature", "maxTokens", "topP", "seed"} {
		put(parameters, name, pick(r, []string{"1", "0.50", "1e2"}))
	}
	put(snapshot, "parameters", joined(r, parameters))
	for _, name := range []string{"input", "output"} {
		value := string(respelled(nil, r, pick(r, names)))
		switch r.IntN(4) {
		case 0:
			value = wild(3)
		case 1:
			value = `{"_redacted":true,"commitment":"c"}`
		}
		put(snapshot, name, value)
		hash := hashOfText(value)
		if r.IntN(6) == 0 {
			hash = cer.FormatHash([32]byte{1})
		}
		put(snapshot, name+"Hash", `"`+hash+`"`)
	}
	top := map[string]string{"bundleType": `"cer.ai.execution.v1"`, "version": `"0.1"`, "createdAt": `"c"`, "snapshot": joined(r, snapshot)}
	p := cer.Projection(1 + r.IntN(4))
	covered := map[string]string{"bundleType": top["bundleType"], "version": top["version"], "createdAt": top["createdAt"], "snapshot": top["snapshot"]}
	for _, name := range []string{"context", "contextSummary", "policyEvaluation", "meta", "a/~b"} {
		if r.IntN(2) == 0 {
			continue
		}
		value := wild(2)
		if name == "context" && r.IntN(4) > 0 {
			inner := map[string]string{"signals": pick(r, []string{"[]", "[ ]", "[1]", `[{"b":1,"a":[ 2]}]`, `"s"`})}
			for range r.IntN(3) {
				inner[pick(r, append(names, "a/b~", "z"))] = pick(r, odd)
			}
			if value = joined(r, inner); p == cer.ProjectionSignals {
				covered["context"] = `{"signals":` + inner["signals"] + "}"
			}
		}
		put(top, name, value)
		if oracleCovers(p, name) && top[name] != "" {
			covered[name] = top[name]
		}
	}
	put(top, "certificateHash", `"`+hashOfText(joined(r, covered))+`"`)
	if rarely() {
		put(top, pick(r, []string{"bundleType", "version", "createdAt", "snapshot"}), pick(r, odd))
	}
	return []byte(joined(r, top))
}

// hashOfText is what inputHash, outputHash and certificateHash hold; where the
// text has no hash, one of nothing.
func hashOfText(text string) string {
	c, _ := oracleCanonical([]byte(text), limits.BundleDepth, false)
	if len(c) > 0 && c[0] == '"' {
		c = []byte(oracleUnquote(c))
	}
	return cer.FormatHash(sha256.Sum256(c))
}

// joined writes an object, its members in any order and spelling.
func joined(r *rand.Rand, members map[string]string) string {
	var b []byte
	space := func() {
		if r.IntN(32) == 0 {
			b = append(b, " \t\r\n"[r.IntN(4)])
		}
	}
	order := slices.Sorted(maps.Keys(members))
	r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	b = append(b, '{')
	for i, name := range order {
		if i > 0 {
			b = append(b, ',')
		}
		space()
		b = append(respelled(b, r, name), ':')
		space()
		b = append(b, members[name]...)
		space()
	}
	return string(append(b, '}'))
}

// TestIntegrityOracle compares verdicts over all texts, over random bundles, and
// over what becomes of both by damage.
func TestIntegrityOracle(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for _, b := range texts(t) {
		sameVerdict(t, b)
		if len(b) < 4096 {
			for range 20 {
				sameVerdict(t, damaged(r, b))
			}
		}
	}
	codes := map[cer.Code]int{}
	projections := map[cer.Projection]int{}
	for range 4000 {
		b := randomBundle(r)
		codes[sameVerdict(t, b)]++
		if got, err := cer.VerifyIntegrity(b); err == nil {
			projections[got.Projection]++
			if c, err := cer.Canonical(b); err == nil {
				sameVerdict(t, c)
			}
		}
		sameVerdict(t, damaged(r, b))
	}
	for c := cer.CodeOK; c <= cer.CodeCertificateHash; c++ {
		if codes[c] < 5 {
			t.Errorf("%v: %d of the random bundles only: %v", c, codes[c], codes)
		}
	}
	for p := cer.ProjectionFour; p <= cer.ProjectionPolicy; p++ {
		if projections[p] < 5 {
			t.Errorf("%v: %d of the random bundles only: %v", p, projections[p], projections)
		}
	}
}

// FuzzIntegrityOracle is TestIntegrityOracle on whatever is found.
func FuzzIntegrityOracle(f *testing.F) {
	r := rand.New(rand.NewPCG(11, 12))
	seeds := 0
	for _, b := range texts(f) {
		if len(b) < 4096 {
			f.Add(b)
			seeds++
		}
	}
	if seeds == 0 {
		f.Fatal("empty seed corpus")
	}
	for range 100 {
		f.Add(randomBundle(r))
	}
	f.Fuzz(func(t *testing.T, b []byte) { sameVerdict(t, b) })
}
