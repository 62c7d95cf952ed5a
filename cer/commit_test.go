package cer_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sworn-run/sworn/cer"
)

// commitBySpec is a commitment by the words of SPEC, section 6.8, and of RFC 2104.
func commitBySpec(series, salt []byte, field string, value []byte) []byte {
	message := append([]byte("sworn.run/commit/v1\x00"), series...)
	message = binary.BigEndian.AppendUint16(message, uint16(len(field)))
	message = append(message, field...)
	message = binary.BigEndian.AppendUint64(message, uint64(len(value)))
	message = append(message, value...)
	key := make([]byte, 64)
	copy(key, salt)
	inner, outer := make([]byte, 64), make([]byte, 64)
	for i, k := range key {
		inner[i], outer[i] = k^0x36, k^0x5c
	}
	sum := sha256.Sum256(append(inner, message...))
	sum = sha256.Sum256(append(outer, sum[:]...))
	return sum[:]
}

func TestCommitmentVectors(t *testing.T) {
	seen := map[string]string{}
	for name, v := range swornVectors(t, "commitment") {
		series, salt, value := unhex(t, v.Series), unhex(t, v.Salt), unhex(t, v.Value)
		got := cer.Commit([32]byte(series), [32]byte(salt), v.Field, value)
		if hex.EncodeToString(got[:]) != v.Commitment || v.Expect != "ok" {
			t.Errorf("%s: %x", name, got)
		}
		if spec := commitBySpec(series, salt, v.Field, value); hex.EncodeToString(spec) != v.Commitment {
			t.Errorf("%s: by the specification %x", name, spec)
		}
		if other := seen[v.Commitment]; other != "" {
			t.Errorf("%s has the commitment of %s", name, other)
		}
		seen[v.Commitment] = name
	}
	if len(seen) < 8 {
		t.Errorf("%d vectors only", len(seen))
	}
}

// TestOpeningVectors: each opening opens the record, or does not.
func TestOpeningVectors(t *testing.T) {
	outcomes := map[string]int{}
	for name, v := range swornVectors(t, "opening") {
		rt, err := cer.ParseRuntime([]byte(v.Runtime))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		o, err := cer.ParseOpening([]byte(v.Opening))
		if err == nil {
			err = o.Check(v.CertificateHash, rt)
		}
		outcome := "ok"
		if err != nil {
			outcome = "record.opening"
		}
		if outcome != v.Expect {
			t.Errorf("%s: %v, expected %s", name, err, v.Expect)
		}
		outcomes[outcome]++
	}
	if outcomes["ok"] < 2 || outcomes["record.opening"] < 10 {
		t.Errorf("outcomes %v", outcomes)
	}
}

// TestCommitBinds: whatever is changed of what a commitment is over, it is another one;
// and no byte can go from one part to its neighbour.
func TestCommitBinds(t *testing.T) {
	type input struct {
		series, salt [32]byte
		field        string
		value        string
	}
	base := input{series: [32]byte{1}, salt: [32]byte{2}, field: "param:ab", value: "cd"}
	seen := map[[32]byte]input{}
	add := func(i input) {
		c := cer.Commit(i.series, i.salt, i.field, []byte(i.value))
		if other, twice := seen[c]; twice {
			t.Errorf("%v and %v have one commitment", i, other)
		}
		seen[c] = i
	}
	add(base)
	for bit := range 256 {
		x := base
		x.series[bit/8] ^= 1 << (bit % 8)
		add(x)
		x = base
		x.salt[bit/8] ^= 1 << (bit % 8)
		add(x)
	}
	for _, x := range [][2]string{{"param:a", "bcd"}, {"param:abc", "d"}, {"param:abcd", ""}, {"param:", "abcd"}, {"", "param:abcd"}, {"param:ab", "cd\x00"}, {"param:ab", "c"}, {"param:ab", ""}} {
		y := base
		y.field, y.value = x[0], x[1]
		add(y)
	}
}

// TestCommitHides: without the salt, no guess of a value of few can be told from
// another: none of a thousand has a commitment under a salt that a guesser could try,
// and two commitments to one value are two.
func TestCommitHides(t *testing.T) {
	series := [32]byte{7}
	secret := [32]byte(unhex(t, strings.Repeat("9d", 32)))
	target := cer.Commit(series, secret, cer.ParameterField("age"), []byte("42"))
	guesses := [][32]byte{{}, series, [32]byte(bytes.Repeat([]byte{0xff}, 32)), sha256.Sum256(series[:]), sha256.Sum256([]byte("age")), target}
	for n := range 1000 {
		value := []byte(strings.Repeat("0", n%3) + string(rune('0'+n%10)))
		for _, salt := range guesses {
			if cer.Commit(series, salt, cer.ParameterField("age"), value) == target {
				t.Fatalf("guessed %q under salt %x", value, salt)
			}
		}
	}
	if cer.Commit(series, [32]byte{1}, "input", nil) == cer.Commit(series, [32]byte{2}, "input", nil) {
		t.Error("two salts, one commitment")
	}
}

const hexA = "abababababababababababababababababababababababababababababababab"

// committedValue uses every member of version 2.
func committedValue() *cer.Runtime {
	r := runtimeValue()
	r.V, r.Disclosure = cer.RuntimeVersion2, cer.DiscloseCommit
	r.Input, r.Output, r.Stderr = cer.Stream{Commitment: hex1}, cer.Stream{Commitment: hexF, Complete: true}, cer.Stream{Commitment: hex0}
	r.Parameters = []cer.Parameter{{Name: "a", Applied: true, Commitment: hexA}, {Name: "b", Commitment: hex1}}
	return r
}

const committedText = `{"after":[{"name":"swap","value":"none"}],"disclosure":"commit","exit":{"code":-1,"signal":"SIGKILL","timeout":true},` +
	`"input":{"commitment":"` + hex1 + `"},"isolation":[{"name":"closed_root","value":"yes"},{"name":"mode","value":"closed"}],` +
	`"key":"sha256:` + hex0 + `","launch":"sha256:` + hexF + `","nonce":"00112233445566ff",` +
	`"notApplicable":["parameters.temperature","prompt"],"output":{"commitment":"` + hexF + `","complete":true},` +
	`"parameters":[{"applied":true,"commitment":"` + hexA + `","name":"a"},{"applied":false,"commitment":"` + hex1 + `","name":"b"}],` +
	`"record":"0","series":"` + hex1 + `","stderr":{"commitment":"` + hex0 + `"},"v":2}`

func TestRuntime2(t *testing.T) {
	b, err := committedValue().Encode()
	if err != nil || string(b) != committedText {
		t.Fatalf("encodes to %s, %v", b, err)
	}
	r, err := cer.ParseRuntime(b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(committedValue(), r); d != "" {
		t.Error(d)
	}
	if got := strings.Join(r.CommittedFields(), " "); got != "input output param:a param:b stderr" {
		t.Errorf("commits to %s", got)
	}
	if c, ok := r.Commitment("param:a"); !ok || hex.EncodeToString(c[:]) != hexA {
		t.Errorf("commitment %x %v", c, ok)
	}
	for _, field := range []string{"", "prompt", "param:", "param:c", "a", "Input"} {
		if _, ok := r.Commitment(field); ok {
			t.Errorf("commits to %q", field)
		}
	}
	if plain := runtimeValue(); plain.Committed() || plain.CommittedFields() != nil {
		t.Error("version 1 commits")
	}
}

// TestRuntimeVersionsApart: no text is a runtime of both versions, and neither is what
// the other is with its number changed.
func TestRuntimeVersionsApart(t *testing.T) {
	wantRefused(t, append(mutations(t, []byte(committedText)), framings(committedText)...), []string{"/nonce is null"},
		func(b []byte) (any, error) { return orNil(cer.ParseRuntime(b)) })
	for _, text := range []string{
		strings.Replace(committedText, `"v":2`, `"v":1`, 1), strings.Replace(committedText, `"commit"`, `"hash"`, 1),
		strings.Replace(runtimeText, `"v":1`, `"v":2`, 1), strings.Replace(runtimeText, `"full"`, `"commit"`, 1),
		strings.Replace(strings.Replace(committedText, `"v":2`, `"v":1`, 1), `"commit"`, `"hash"`, 1),
		strings.Replace(strings.Replace(runtimeText, `"v":1`, `"v":2`, 1), `"full"`, `"commit"`, 1),
		strings.Replace(committedText, `{"commitment":"`+hex1+`"}`, `{"complete":true,"sha256":"`+hex1+`","size":"0"}`, 1),
		strings.Replace(committedText, `"name":"a"`, `"name":"a","value":"1"`, 1),
		strings.Replace(committedText, `"stderr":{"commitment":"`+hex0+`"}`, `"stderr":{"commitment":"`+hex0+`","content":"abc"}`, 1),
		strings.Replace(committedText, hexA, strings.ToUpper(hexA), 1), strings.Replace(committedText, hexA, hexA[2:], 1),
	} {
		if text == committedText || text == runtimeText {
			t.Fatal("nothing was changed")
		}
		if r, err := cer.ParseRuntime([]byte(text)); r != nil || !errors.Is(err, cer.ErrSchema) {
			t.Errorf("%s: %v, %v", text, r, err)
		}
	}
	// The members of version 1 alone, as a verifier that knows nothing else reads them.
	type version1 cer.Runtime
	if err := cer.UnmarshalCanonical([]byte(committedText), 8, new(version1)); !errors.Is(err, cer.ErrSchema) {
		t.Errorf("read as version 1: %v", err)
	}
}

// TestRuntime2Rules: what the wire form does not have is not dropped in silence.
func TestRuntime2Rules(t *testing.T) {
	for name, change := range map[string]func(*cer.Runtime){
		"version 1":           func(r *cer.Runtime) { r.V = 1 },
		"version 3":           func(r *cer.Runtime) { r.V = 3 },
		"disclosure hash":     func(r *cer.Runtime) { r.Disclosure = cer.DiscloseHash },
		"no commitment":       func(r *cer.Runtime) { r.Input.Commitment = "" },
		"input digest":        func(r *cer.Runtime) { r.Input.SHA256 = hex1 },
		"output size":         func(r *cer.Runtime) { r.Output.Size = "1" },
		"input complete":      func(r *cer.Runtime) { r.Input.Complete = true },
		"stderr complete":     func(r *cer.Runtime) { r.Stderr.Complete = true },
		"stderr content":      func(r *cer.Runtime) { r.Stderr.Content = []byte(`"x"`) },
		"parameter value":     func(r *cer.Runtime) { r.Parameters[0].Value = "1" },
		"parameter plain":     func(r *cer.Runtime) { r.Parameters[1].Commitment = "" },
		"parameter long name": func(r *cer.Runtime) { r.Parameters[1].Name = strings.Repeat("b", 1<<16) },
		"parameters descending": func(r *cer.Runtime) {
			r.Parameters[0], r.Parameters[1] = r.Parameters[1], r.Parameters[0]
		},
	} {
		r := committedValue()
		change(r)
		if b, err := r.Encode(); b != nil || !errors.Is(err, cer.ErrSchema) {
			t.Errorf("%s: %s, %v", name, b, err)
		}
	}
	for name, change := range map[string]func(*cer.Runtime){
		"stream":    func(r *cer.Runtime) { r.Input.Commitment = hex1 },
		"parameter": func(r *cer.Runtime) { r.Parameters[0].Commitment = hex1 },
	} {
		r := runtimeValue()
		change(r)
		if b, err := r.Encode(); b != nil || !errors.Is(err, cer.ErrSchema) {
			t.Errorf("version 1 with a commitment to a %s: %s, %v", name, b, err)
		}
	}
}

func TestContentCommitment(t *testing.T) {
	b, err := cer.ContentCommitment(cer.Stream{Commitment: hexA})
	if want := `{"commitment":"` + hexA + `","scheme":"sworn.run/commit/v1"}`; err != nil || string(b) != want {
		t.Errorf("%s, %v", b, err)
	}
	if _, carried, err := cer.Content(b); carried || !errors.Is(err, cer.ErrSchema) {
		t.Errorf("taken for content: %v, %v", carried, err)
	}
	if err := cer.CheckContent(b, cer.Stream{}, cer.DiscloseHash); err == nil {
		t.Error("taken for the descriptor of a digest")
	}
	if b, err := cer.ContentCommitment(cer.Stream{SHA256: hexA, Size: "1"}); b != nil || !errors.Is(err, cer.ErrSchema) {
		t.Errorf("of nothing: %s, %v", b, err)
	}
	if b, err := cer.StreamBytes(cer.Stream{Commitment: hexA}); b != nil || !errors.Is(err, cer.ErrSchema) {
		t.Errorf("of a commitment: %s, %v", b, err)
	}
	env := cer.NewEnvironment(cer.KindCommitments, []cer.Fact{{Name: "a", Value: hexA}})
	data, err := env.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cer.ParseEnvironment(data); err != nil {
		t.Error(err)
	}
	env.Facts[0].Value = "42"
	if b, err := env.Encode(); b != nil || !errors.Is(err, cer.ErrSchema) {
		t.Errorf("a value in place of a commitment: %s, %v", b, err)
	}
}
