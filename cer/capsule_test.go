package cer_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/limits"
)

// synthetic is a capsule that uses every member, of a record, a statement and a
// log that belong together. Only the evidence is no TPM's, and the inclusion
// proof is of a batch of three, so that it has a path.
func synthetic(tb testing.TB) *cer.Capsule {
	tb.Helper()
	l := &attest.Log{Register: 13, Banks: []attest.Alg{attest.SHA256}}
	for i, typ := range []attest.EventType{attest.EventOrigin, attest.EventLaunchBegin, attest.EventKey, attest.EventSeparator} {
		launch := [32]byte{9}
		if i == 0 {
			launch = [32]byte{}
		}
		l.Events = append(l.Events, attest.NewEvent(uint64(i), typ, launch, [32]byte{byte(i)}, []byte{byte(i)}))
	}
	id := attest.LaunchID(l.Events[1:])
	private := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	r := runtimeValue()
	r.Launch = cer.SHA256Digest(id)
	s := basic(tb)
	var err error
	if s.Runtime, err = r.Encode(); err != nil {
		tb.Fatal(err)
	}
	record := seal(tb, s)
	b, err := cer.ParseBundle(record)
	if err != nil {
		tb.Fatal(err)
	}
	leaf, err := cer.ParseHash(b.CertificateHash)
	if err != nil {
		tb.Fatal(err)
	}
	tree, err := cer.NewTree([][32]byte{{1}, leaf, {3}})
	if err != nil {
		tb.Fatal(err)
	}
	path, err := tree.Inclusion(1)
	if err != nil {
		tb.Fatal(err)
	}
	st := attest.Statement{
		Type: attest.TypeRun, Time: 1_795_000_000_000, Series: [32]byte{31: 1}, Launch: id, KeyID: sha256.Sum256(l.Events[2].Data),
		LogSize: 4, LogRoot: cer.LogRoot(l.Digests(4)), RecordCount: 1, TreeRoot: tree.Root(),
		Manifest: []attest.Slot{
			{Number: 0, Format: 1, Mode: attest.ModeDirect, Anchor: attest.AnchorStatementOnly},
			{Number: 1, Format: 65535, Mode: attest.ModeDirect, Anchor: attest.AnchorStatementOnly},
		},
	}
	statement, err := st.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	commit := sha256.Sum256(statement)
	l.Events = append(l.Events, attest.NewEvent(4, attest.EventCommit, [32]byte{9}, [32]byte{4}, commit[:]))
	log, err := l.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	c := &cer.Capsule{
		CER: record, Statement: statement, Signature: ed25519.Sign(private, attest.SignedBytes(statement)), Log: log,
		Inclusion: cer.Inclusion{Index: 1, Size: 3, Path: path},
		Evidence: []attest.Evidence{
			{Slot: 0, Format: 1, Parts: []attest.Part{{Name: "attest", Data: []byte("\xff\x00quote")}, {Name: "pcrs", Data: []byte{1}}}},
			{Slot: 1, Format: 65535, Parts: []attest.Part{{Name: "report", Data: []byte{}}}},
		},
		Collateral: []attest.Collateral{{Kind: "crl", Data: []byte{1, 2, 3, 4}}},
	}
	for i := range c.Evidence {
		it, err := cer.EncodeEvidence(&c.Evidence[i])
		if err != nil {
			tb.Fatal(err)
		}
		c.Items = append(c.Items, it)
	}
	return c
}

// file returns the capsule file of c.
func file(tb testing.TB, c *cer.Capsule) []byte {
	tb.Helper()
	b, err := c.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func TestCapsuleRoundTrip(t *testing.T) {
	want := synthetic(t)
	b := file(t, want)
	got, err := cer.ParseCapsule(b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if again := file(t, got); !bytes.Equal(again, b) {
		t.Error("parsed and encoded again, the bytes differ")
	}
	for i, it := range got.Items {
		if !bytes.Contains(b, it) {
			t.Errorf("item %d is not in the file", i)
		}
	}
	if rec, err := cer.ParseBundle(got.CER); err != nil {
		t.Error(err)
	} else if _, err := cer.ParseRuntime(rec.Snapshot.Runtime); err != nil {
		t.Error(err)
	}
	clear(b)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("the capsule refers to the file's bytes: %s", d)
	}
}

// The file, put together by the words of SPEC, section 7.
func TestCapsuleEncoding(t *testing.T) {
	c := synthetic(t)
	b64 := base64.RawURLEncoding.EncodeToString
	var path []string
	for _, p := range c.Inclusion.Path {
		path = append(path, `"`+b64(p[:])+`"`)
	}
	want := `{"cer":` + string(c.CER) +
		`,"collateral":[{"data":"AQIDBA","kind":"crl"}]` +
		`,"evidence":[{"format":1,"parts":[{"data":"` + b64([]byte("\xff\x00quote")) + `","name":"attest"},{"data":"AQ","name":"pcrs"}],"slot":0},` +
		`{"format":65535,"parts":[{"data":"","name":"report"}],"slot":1}]` +
		`,"inclusion":{"index":"1","path":[` + strings.Join(path, ",") + `],"size":"3"}` +
		`,"log":"` + b64(c.Log) + `","signature":"` + b64(c.Signature) + `","statement":"` + b64(c.Statement) + `","tokens":[]}` + "\n"
	if got := file(t, c); string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// judge parses a capsule, its record and its runtime.
func judge(b []byte) (any, error) {
	c, err := cer.ParseCapsule(b)
	if err != nil {
		return orNil(c, err)
	}
	r, err := cer.ParseBundle(c.CER)
	if err != nil {
		return orNil(r, err)
	}
	return orNil(cer.ParseRuntime(r.Snapshot.Runtime))
}

// Every member set is closed, at every level, and every member has one form.
func TestCapsuleClosed(t *testing.T) {
	text := string(bytes.TrimSuffix(file(t, synthetic(t)), []byte("\n")))
	list := append(mutations(t, []byte(text)), framings(text)...)
	for i := range list {
		list[i].text += "\n"
	}
	const s = "/cer/snapshot"
	wantRefused(t, list, []string{
		// The bundle's shape allows it; check cer.hash does not.
		s + "/appId is \"x\"", s + "/modelVersion is \"x\"", s + "/sdkVersion is null",
		s + "/parameters/seed is 0", s + "/parameters/topP is 0", s + "/input is {}", s + "/output is {}",
		// What stderr carries is for CheckContent.
		s + "/runtime/stderr/content is missing", s + "/runtime/stderr/content is true", s + "/runtime/stderr/content is 0",
		s + "/runtime/stderr/content is []", s + "/runtime/stderr/content is {}",
		s + "/runtime/nonce is null",
	}, judge)
	if len(list) < 1000 {
		t.Errorf("%d mutations only", len(list))
	}
}

func TestCapsuleFraming(t *testing.T) {
	good := string(file(t, synthetic(t)))
	body := strings.TrimSuffix(good, "\n")
	for name, text := range map[string]string{
		"no line feed":         body,
		"two line feeds":       good + "\n",
		"carriage return":      body + "\r\n",
		"carriage return only": body + "\r",
		"line feed first":      "\n" + good,
		"byte order mark":      "\xef\xbb\xbf" + good,
		"twice":                good + good,
		"NUL at the end":       good + "\x00",
		"line feed alone":      "\n",
		"nothing":              "",
		"UTF-16":               "\xff\xfe" + good,
		"pretty":               strings.Replace(good, `{"cer"`, "{\n  \"cer\"", 1),
		"escaped letter":       strings.Replace(good, `"crl"`, `"\u0063rl"`, 1),
	} {
		if c, err := cer.ParseCapsule([]byte(text)); c != nil || !errors.Is(err, cer.ErrStrict) {
			t.Errorf("%s: %v, %v", name, c != nil, err)
		}
	}
}

// base64Fields are the strings of a capsule that hold bytes.
func base64Fields(t *testing.T) map[string]string {
	t.Helper()
	c := synthetic(t)
	b64 := base64.RawURLEncoding.EncodeToString
	return map[string]string{
		"statement": b64(c.Statement), "signature": b64(c.Signature), "log": b64(c.Log), "path": b64(c.Inclusion.Path[0][:]),
		"part": b64(c.Evidence[0].Parts[0].Data), "collateral": b64(c.Collateral[0].Data),
	}
}

func TestCapsuleBase64(t *testing.T) {
	good := string(file(t, synthetic(t)))
	for name, field := range base64Fields(t) {
		if strings.Count(good, `"`+field+`"`) != 1 {
			t.Fatalf("%s stands more than once", name)
		}
		bad := map[string]string{
			"padding":         field + strings.Repeat("=", 1+len(field)%2),
			"one padding":     field + "=",
			"line feed":       field[:4] + `\n` + field[4:],
			"carriage return": field + `\r`,
			"space":           field + " ",
			"standard +":      "++++" + field[4:],
			"standard /":      "////" + field[4:],
			"not ASCII":       "é" + field[2:],
			"one digit":       field[:len(field)/4*4] + "A",
			"comma":           field[:4] + "," + field[5:],
		}
		if n := len(field) % 4; n != 0 { // the last digit has bits that mean nothing
			last := strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", field[len(field)-1])
			bad["trailing bit"] = field[:len(field)-1] + string("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[last|1])
		}
		for what, now := range bad {
			if now == field {
				t.Fatalf("%s, %s: no change", name, what)
			}
			text := strings.Replace(good, `"`+field+`"`, `"`+now+`"`, 1)
			if c, err := cer.ParseCapsule([]byte(text)); c != nil || !errors.Is(err, cer.ErrSchema) {
				t.Errorf("%s, %s: %v, %v", name, what, c != nil, err)
			}
		}
	}
}

func TestCapsuleNumbers(t *testing.T) {
	good := string(file(t, synthetic(t)))
	edit := func(old, now string) string {
		out := strings.Replace(good, old, now, 1)
		if out == good {
			t.Fatalf("%s is not there", old)
		}
		return out
	}
	for _, at := range [][2]string{{`"index":"`, `1"`}, {`],"size":"`, `3"}`}} {
		for _, n := range notNumbers {
			c, err := cer.ParseCapsule([]byte(edit(at[0]+at[1], at[0]+n+at[1][1:])))
			if c != nil || !errors.Is(err, cer.ErrSchema) {
				t.Errorf("%s%s: %v, %v", at[0], n, c != nil, err)
			}
		}
		if _, err := cer.ParseCapsule([]byte(edit(at[0]+at[1], at[0]+`18446744073709551615`+at[1][1:]))); err != nil {
			t.Errorf("%s2^64-1: %v", at[0], err)
		}
	}
	for _, n := range []string{`"slot":255`, `"slot":1`} {
		if _, err := cer.ParseCapsule([]byte(edit(`"slot":0`, n))); err != nil {
			t.Errorf("%s: %v", n, err)
		}
	}
	for member, list := range map[string][]string{
		`"slot":0}`:   {"256", "-1", "0.5", "1e0", "-0", "00", `"0"`, "9007199254740993", "4294967296", "1e400"},
		`"format":1,`: {"0", "65536", "-1", "1.5", "1.0", "01", `"1"`, "65537", "9007199254740992"},
	} {
		name, last := member[:strings.IndexByte(member, ':')+1], member[len(member)-1:]
		for _, n := range list {
			c, err := cer.ParseCapsule([]byte(edit(member, name+n+last)))
			if c != nil || !errors.Is(err, cer.ErrSchema) && !errors.Is(err, cer.ErrStrict) {
				t.Errorf("%s as %s: %v, %v", member, n, c != nil, err)
			}
		}
	}
}

// capsuleBounds has, for every bound, what makes a capsule that many of its
// kind, and the largest number.
var capsuleBounds = []struct {
	name  string
	limit int
	set   func(c *cer.Capsule, n int)
}{
	{"statement", limits.Statement, func(c *cer.Capsule, n int) { c.Statement = make([]byte, n) }},
	{"signature", 64, func(c *cer.Capsule, n int) { c.Signature = make([]byte, n) }},
	{"log", limits.Log, func(c *cer.Capsule, n int) { c.Log = make([]byte, n) }},
	{"inclusion path", limits.Inclusion, func(c *cer.Capsule, n int) { c.Inclusion.Path = make([][32]byte, n) }},
	{"evidence", limits.EvidenceSlots, func(c *cer.Capsule, n int) { c.Evidence = slices.Repeat(c.Evidence[:1], n) }},
	{"parts", limits.EvidenceParts, func(c *cer.Capsule, n int) { c.Evidence[0].Parts = slices.Repeat(c.Evidence[0].Parts[:1], n) }},
	{"part", limits.EvidencePart, func(c *cer.Capsule, n int) { c.Evidence[0].Parts[0].Data = make([]byte, n) }},
	{"collateral", limits.CollateralItems, func(c *cer.Capsule, n int) { c.Collateral = slices.Repeat(c.Collateral[:1], n) }},
	{"collateral item", limits.CollateralItem, func(c *cer.Capsule, n int) { c.Collateral[0].Data = make([]byte, n) }},
	{"tokens", limits.Tokens, func(c *cer.Capsule, n int) {
		c.Tokens = nil
		for i := range n {
			c.Tokens = append(c.Tokens, []byte{byte(i)})
		}
	}},
	{"token", limits.Token, func(c *cer.Capsule, n int) { c.Tokens = [][]byte{make([]byte, n)} }},
}

func TestCapsuleBounds(t *testing.T) {
	for _, b := range capsuleBounds {
		t.Run(b.name, func(t *testing.T) {
			c := synthetic(t)
			b.set(c, b.limit)
			c.Items = nil
			if _, err := c.Encode(); err != nil {
				t.Errorf("%d: %v", b.limit, err)
			}
			b.set(c, b.limit+1)
			if out, err := c.Encode(); out != nil || !errors.Is(err, cer.ErrSchema) {
				t.Errorf("%d: %v, %v", b.limit+1, out != nil, err)
			}
		})
	}
	if c, err := cer.ParseCapsule(make([]byte, limits.CapsuleFile+1)); c != nil || !errors.Is(err, cer.ErrStrict) {
		t.Errorf("file too large: %v", err)
	}
	deep := strings.Replace(string(file(t, synthetic(t))), `"input":"What is 2+2?"`,
		`"input":`+strings.Repeat(`{"a":`, limits.CapsuleDepth)+"0"+strings.Repeat("}", limits.CapsuleDepth), 1)
	if c, err := cer.ParseCapsule([]byte(deep)); c != nil || !errors.Is(err, cer.ErrStrict) {
		t.Errorf("nested too deeply: %v", err)
	}
}

// Elements of the path are 32 bytes and no other number.
func TestCapsulePath(t *testing.T) {
	c := synthetic(t)
	good, node := string(file(t, c)), base64.RawURLEncoding.EncodeToString(c.Inclusion.Path[0][:])
	for _, n := range []int{0, 1, 31, 33, 64} {
		text := strings.Replace(good, node, base64.RawURLEncoding.EncodeToString(make([]byte, n)), 1)
		if c, err := cer.ParseCapsule([]byte(text)); c != nil || !errors.Is(err, cer.ErrSchema) {
			t.Errorf("node of %d bytes: %v, %v", n, c != nil, err)
		}
	}
}

// A capsule that could not be read is not written.
func TestCapsuleEncodeRefuses(t *testing.T) {
	for name, change := range map[string]func(*cer.Capsule){
		"zero":               func(c *cer.Capsule) { *c = cer.Capsule{} },
		"no record":          func(c *cer.Capsule) { c.CER = nil },
		"record a string":    func(c *cer.Capsule) { c.CER = []byte(`"x"`) },
		"record null":        func(c *cer.Capsule) { c.CER = []byte(`null`) },
		"record no JSON":     func(c *cer.Capsule) { c.CER = []byte(`{`) },
		"duplicate member":   func(c *cer.Capsule) { c.CER = []byte(`{"a":1,"a":1}`) },
		"format 0":           func(c *cer.Capsule) { c.Evidence[0].Format = 0 },
		"name not UTF-8":     func(c *cer.Capsule) { c.Evidence[0].Parts[0].Name = "\xff" },
		"kind not UTF-8":     func(c *cer.Capsule) { c.Collateral[0].Kind = "\xff" },
		"number beyond 2^53": func(c *cer.Capsule) { c.CER = []byte(`{"a":9007199254740993}`) },
	} {
		c := synthetic(t)
		change(c)
		if b, err := c.Encode(); b != nil || !errors.Is(err, cer.ErrSchema) && !errors.Is(err, cer.ErrStrict) {
			t.Errorf("%s: %v, %v", name, b != nil, err)
		}
	}
}

// Any one changed bit of a capsule is refused, or is another capsule. Two bits
// of each byte are tried.
func TestCapsuleBits(t *testing.T) {
	good := file(t, synthetic(t))
	for i := range good {
		for _, bit := range []int{i % 8, (i + 3) % 8} {
			b := bytes.Clone(good)
			b[i] ^= 1 << bit
			c, err := cer.ParseCapsule(b)
			if err != nil {
				if c != nil || !errors.Is(err, cer.ErrStrict) && !errors.Is(err, cer.ErrSchema) {
					t.Errorf("byte %d, bit %d: %v", i, bit, err)
				}
				continue
			}
			if !bytes.Equal(file(t, c), b) {
				t.Errorf("byte %d, bit %d: encodes to other bytes", i, bit)
			}
		}
	}
}

// Whoever edits a capsule leaves its canonical form, or names what is not there.
func ExampleParseCapsule() {
	c := &cer.Capsule{CER: []byte(`{}`), Statement: []byte("statement"), Inclusion: cer.Inclusion{Size: 1}}
	file, err := c.Encode()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s", file)
	for _, edit := range [][2]string{{`"size":"1"`, `"size": "1"`}, {`"tokens":[]`, `"tokens":[],"verified":true`}} {
		_, err := cer.ParseCapsule(bytes.Replace(file, []byte(edit[0]), []byte(edit[1]), 1))
		fmt.Println(errors.Is(err, cer.ErrStrict), errors.Is(err, cer.ErrSchema))
	}
	// Output:
	// {"cer":{},"collateral":[],"evidence":[],"inclusion":{"index":"0","path":[],"size":"1"},"log":"","signature":"","statement":"c3RhdGVtZW50","tokens":[]}
	// true false
	// false true
}

func FuzzParseCapsule(f *testing.F) {
	good := file(f, synthetic(f))
	least := &cer.Capsule{CER: []byte(`{}`)}
	seeds := [][]byte{good, file(f, least), bytes.TrimSuffix(good, []byte("\n"))}
	for _, b := range capsuleBounds {
		if b.limit > limits.EvidenceParts {
			continue
		}
		c := synthetic(f)
		b.set(c, b.limit)
		seeds = append(seeds, file(f, c))
	}
	for _, edit := range [][2]string{{`"slot":0`, `"slot":256`}, {`"tokens":[]`, `"tokens":["AA","AQ"]`}, {`"tokens":[]`, `"tokens":["AA","AA"]`}, {`"tokens":[]`, `"tokens":[""]`}, {`"index":"1"`, `"index":"01"`}, {`"AQIDBA"`, `"AQIDBB"`}} {
		seeds = append(seeds, bytes.Replace(good, []byte(edit[0]), []byte(edit[1]), 1))
	}
	accepted := 0
	for i, s := range seeds {
		if _, err := cer.ParseCapsule(s); err == nil {
			accepted++
		}
		if bytes.Contains(bytes.Join(seeds[:i], []byte{0}), append(s, 0)) {
			f.Fatal("seed " + strconv.Itoa(i) + " is there twice")
		}
		f.Add(s)
	}
	if accepted == 0 || accepted == len(seeds) {
		f.Fatal("the seeds are not both good and bad")
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		sameSplit(t, b, nil)
		c, err := cer.ParseCapsule(b)
		if err != nil {
			if c != nil || !errors.Is(err, cer.ErrStrict) && !errors.Is(err, cer.ErrSchema) {
				t.Fatalf("capsule %v, error %v", c != nil, err)
			}
			return
		}
		out, err := c.Encode()
		if err != nil || !bytes.Equal(out, b) {
			t.Fatalf("encodes to %s, %v", out, err)
		}
		if len(c.Items) != len(c.Evidence) || len(c.Evidence) > limits.EvidenceSlots || len(c.Statement) > limits.Statement {
			t.Fatal("a bound does not hold")
		}
		for i := range c.Items {
			if it, err := cer.EncodeEvidence(&c.Evidence[i]); err != nil || !bytes.Equal(it, c.Items[i]) {
				t.Fatalf("item %d encodes to %s, %v", i, it, err)
			}
		}
	})
}

// A capsule of millions of small values is refused before it costs a reader many
// times its own length.
func TestParseCapsuleManyValues(t *testing.T) {
	capsule := func(evidence, path string) []byte {
		return []byte(`{"cer":{},"collateral":[],"evidence":[` + evidence + `],"inclusion":{"index":"0","path":[` + path +
			`],"size":"1"},"log":"","signature":"","statement":"","tokens":[]}` + "\n")
	}
	many := func(s string) string { return strings.TrimSuffix(strings.Repeat(s+",", 8<<20/(len(s)+1)), ",") }
	for name, file := range map[string][]byte{
		"evidence": capsule(many("0"), ""),
		"path":     capsule("", many(`""`)),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := cer.ParseCapsule(file); !errors.Is(err, cer.ErrSchema) {
			t.Errorf("%s: got %v, want ErrSchema", name, err)
		}
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
			t.Errorf("%s: %d bytes allocated for a file of %d", name, got, len(file))
		}
	}
}
