package cer_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/limits"
)

// oracleSeal is cer.Seal by way of json, of a snapshot whose type, surface,
// protocol, times and lengths are right.
func oracleSeal(s cer.Snapshot, createdAt string) ([]byte, error) {
	s.Type, s.ExecutionSurface = cer.SnapshotType, cer.Surface
	for _, m := range []struct {
		value cer.Value
		hash  *string
	}{{s.Input, &s.InputHash}, {s.Output, &s.OutputHash}} {
		text, isText := m.value.Text()
		content := []byte(text)
		if !isText {
			content = m.value.Object()
		}
		hash := cer.FormatHash(sha256.Sum256(content))
		if *m.hash != "" && *m.hash != hash {
			return nil, fmt.Errorf("%w: a hash", cer.ErrHash)
		}
		*m.hash = hash
	}
	b, err := json.Marshal(s, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", cer.ErrSchema, err)
	}
	c, err := oracleCanonical(b, limits.CapsuleDepth-1, true)
	if err != nil {
		return nil, err
	}
	head := `{"bundleType":"` + cer.BundleType + `",`
	tail := `"createdAt":"` + createdAt + `","snapshot":` + string(c) + `,"version":"` + cer.BundleVersion + `"}`
	hash := cer.FormatHash(sha256.Sum256([]byte(head + tail)))
	return []byte(head + `"certificateHash":"` + hash + `",` + tail), nil
}

// sameSeal wants Seal to write what the oracle writes, or to refuse what it
// refuses, for the same reason at least.
func sameSeal(tb testing.TB, s cer.Snapshot) bool {
	tb.Helper()
	got, err := cer.Seal(s, day)
	want, wantErr := oracleSeal(s, day)
	if (err == nil) != (wantErr == nil) || !bytes.Equal(got, want) || (got == nil) != (err != nil) {
		tb.Errorf("%.1500q\n%.1500q, %v\nthe oracle says\n%.1500q, %v", fmt.Sprintf("%+v", s), got, err, want, wantErr)
	}
	for _, sentinel := range []error{cer.ErrStrict, cer.ErrSchema, cer.ErrHash} {
		if errors.Is(wantErr, sentinel) && !errors.Is(err, sentinel) {
			tb.Errorf("%.1500q: %v, the oracle says %v", fmt.Sprintf("%+v", s), err, wantErr)
		}
	}
	return err == nil
}

// sealed is what the fuzzer chooses of a snapshot.
type sealed struct {
	short, prompt, input, output string
	runtime                      string // "": none
	temperature, topP, seed      float64
	optional                     uint8 // which of the rest are given
}

func (c *sealed) snapshot(tb testing.TB) cer.Snapshot {
	tb.Helper()
	s := basic(tb)
	given := func(bit int) bool { return c.optional>>bit&1 == 1 }
	value := func(text string, object bool) cer.Value {
		v, err := cer.ObjectValue([]byte(text))
		if !object || err != nil {
			v, err = cer.TextValue(strings.ToValidUTF8(text, "?"))
		}
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
	s.Input, s.Output = value(c.input, given(0)), value(c.output, given(1))
	if c.short != "" && len(c.short) <= limits.RecordText {
		s.Provider, s.ModelVersion = c.short, &c.short
		if given(2) {
			s.AppID, s.SDKVersion = &c.short, nil
		}
	}
	if c.prompt != "" {
		s.Prompt = c.prompt
	}
	s.Parameters.Temperature, s.Parameters.MaxTokens = c.temperature, c.seed
	if given(3) {
		s.Parameters.TopP = &c.topP
	}
	if given(4) {
		s.Parameters.Seed = &c.seed
	}
	if strings.HasPrefix(c.runtime, "{") {
		s.Runtime = jsontext.Value(c.runtime)
	}
	if given(5) {
		s.InputHash = hashOfText(`"What is 2+2?"`)
	}
	if given(6) {
		s.ProtocolVersion = cer.Protocol131
	}
	return s
}

// TestSealOracle compares what is written of random snapshots.
func TestSealOracle(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	words := append([]string{"What is 2+2?", "\xff", "\xed\xa0\x80", strings.Repeat("long ", 900), "{}", `{"b":1,"a":2}`, `{"a":[1,{"b":"é"}]}`}, names...)
	deep := func(n int) string { return strings.Repeat(`{"a":`, n) + "0" + strings.Repeat("}", n) }
	numbers := []float64{0, 1, 0.1, -1.5, 1e-7, 1e20, 5e-324, 1<<53 - 1, 1 << 53, -1 << 53, 1e300, math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1)}
	number := func() float64 {
		if r.IntN(10) == 0 {
			return numbers[r.IntN(len(numbers))]
		}
		return float64(r.IntN(1000)) / 8
	}
	word := func() string {
		w := pick(r, words) + pick(r, words)
		if r.IntN(30) == 0 {
			w = deep(60 + r.IntN(6))
		}
		return w
	}
	made := 0
	for range 4000 {
		c := sealed{"w" + word(), word(), word(), word(), "", number(), number(), number(), uint8(r.IntN(128))}
		if r.IntN(4) > 0 {
			c.optional &^= 1 << 5
		}
		switch r.IntN(6) {
		case 0:
			c.runtime = deep(60 + r.IntN(6))
		case 1:
			c.runtime = `{"b": 1E0,"a":` + string(hostile(nil, r, 4)) + "} "
		case 2:
			c.runtime = `{"v":1}`
		}
		if sameSeal(t, c.snapshot(t)) {
			made++
		}
	}
	if made < 500 || made > 3500 {
		t.Errorf("%d of 4,000 random snapshots are sealed", made)
	}
	sameSeal(t, rich(t))
}

// FuzzSealOracle is TestSealOracle on whatever is found.
func FuzzSealOracle(f *testing.F) {
	f.Add("p", "prompt", "in", `{"a":1}`, `{"launch":"00"}`, 0.5, 1.0, 42.0, uint8(0x5f))
	f.Add("\xff", "\"\\\n", `{"a":[]}`, "", `{"b":1,"a":-0}`, math.Inf(1), 1e-7, 1e21, uint8(0xff))
	f.Add("p", "p", "What is 2+2?", "\x00", `{"a":1,"a":2}`, 1.0, 1.0, 1.0, uint8(0x20))
	f.Fuzz(func(t *testing.T, short, prompt, input, output, runtime string, temperature, topP, seed float64, optional uint8) {
		c := sealed{short, prompt, input, output, runtime, temperature, topP, seed, optional}
		sameSeal(t, c.snapshot(t))
	})
}
