package nexart_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/nexart"
)

var at = time.Date(2026, 11, 22, 1, 2, 3, 4e6, time.UTC)

// TestSeal: what is left out is added, and the record is what cer.Seal makes of
// the same facts.
func TestSeal(t *testing.T) {
	got, err := nexart.Seal(canonical(t, snapshot()), nexart.SealOptions{CreatedAt: at})
	if err != nil {
		t.Fatal(err)
	}
	input, err := cer.TextValue("what")
	if err != nil {
		t.Fatal(err)
	}
	output, err := cer.ObjectValue([]byte(`{"a":"é","b":1}`))
	if err != nil {
		t.Fatal(err)
	}
	want, err := cer.Seal(cer.Snapshot{
		ProtocolVersion: cer.Protocol120, ExecutionID: "e-1", Timestamp: cer.FormatTime(at), Provider: "p", Model: "m", Prompt: "say it",
		Input: input, Output: output, Parameters: cer.Parameters{Temperature: 0.5, MaxTokens: 100},
	}, cer.FormatTime(at))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s\nwant %s, %v", got, want, err)
	}
	again, err := nexart.Seal(canonical(t, parsed(t, got)["snapshot"]), nexart.SealOptions{CreatedAt: at})
	if err != nil || !bytes.Equal(again, got) {
		t.Errorf("sealed again: %s, %v", again, err)
	}
}

// TestSealMembers: what may be given, and what is refused.
func TestSealMembers(t *testing.T) {
	parameters := snapshot()["parameters"].(object)
	for name, e := range map[string]struct {
		edit object
		ok   bool
	}{
		"unknown member":            {object{"toolCalls": []any{1}, "😀": 1, "\ue000": 2}, true},
		"input a list":              {object{"input": []any{}}, true},
		"input empty":               {object{"input": ""}, true},
		"output false":              {object{"output": false}, true},
		"timestamp":                 {object{"timestamp": "any"}, true},
		"protocol":                  {object{"protocolVersion": "1.3.1"}, true},
		"input and its hash":        {object{"inputHash": hashOf([]byte("what"))}, true},
		"more parameters":           {object{"parameters": merged(parameters, object{"x": 1, "topP": 1})}, true},
		"executionId empty":         {object{"executionId": ""}, false},
		"no executionId":            {object{"executionId": nil}, false},
		"prompt empty":              {object{"prompt": ""}, false},
		"prompt an object":          {object{"prompt": object{}}, false},
		"provider empty":            {object{"provider": ""}, false},
		"model empty":               {object{"model": ""}, false},
		"no input":                  {object{"input": nil}, false},
		"no output":                 {object{"output": nil}, false},
		"hash of another input":     {object{"inputHash": hashOf(nil)}, false},
		"hash of another output":    {object{"outputHash": hashOf(nil)}, false},
		"type":                      {object{"type": "x"}, false},
		"surface":                   {object{"executionSurface": "x"}, false},
		"unknown protocol":          {object{"protocolVersion": "1.4.0"}, false},
		"protocol a number":         {object{"protocolVersion": 1}, false},
		"timestamp empty":           {object{"timestamp": ""}, false},
		"modelVersion a number":     {object{"modelVersion": 1}, false},
		"no parameters":             {object{"parameters": nil}, false},
		"parameters a list":         {object{"parameters": []any{}}, false},
		"no temperature":            {object{"parameters": with(t, parameters, object{"temperature": nil})}, false},
		"maxTokens a text":          {object{"parameters": merged(parameters, object{"maxTokens": "1"})}, false},
		"topP a text":               {object{"parameters": merged(parameters, object{"topP": "1"})}, false},
		"a commitment, uncommitted": {object{"protocolVersion": "1.3.1", "input": object{"_redacted": true, "commitment": "x"}}, true},
	} {
		in := canonical(t, with(t, snapshot(), e.edit))
		got, err := nexart.Seal(in, nexart.SealOptions{CreatedAt: at})
		if (err == nil) != e.ok || (got != nil) != e.ok || (err != nil && !errors.Is(err, nexart.ErrSnapshot)) {
			t.Errorf("%s: %s, %v", name, got, err)
		}
		if e.ok {
			verify(t, name, got, nil, plain)
		}
	}
	for name, in := range map[string]string{
		"nothing": ``, "a list": `[]`, "a name twice": `{"a":1,"a":1}`, "a number": `{"a":9007199254740993}`, "more": `{}{}`,
	} {
		got, err := nexart.Seal([]byte(in), nexart.SealOptions{CreatedAt: at})
		if got != nil || !errors.Is(err, nexart.ErrSnapshot) || (cer.Strict([]byte(in), 64) != nil) != errors.Is(err, cer.ErrStrict) {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
}

// TestSealOptions: the time is the caller's, and the protocol may be.
func TestSealOptions(t *testing.T) {
	in := canonical(t, snapshot())
	for _, p := range []string{"1.2.0", "1.3.0", "1.3.1"} {
		got, err := nexart.Seal(in, nexart.SealOptions{CreatedAt: at, ProtocolVersion: p})
		if err != nil || parsed(t, got)["snapshot"].(object)["protocolVersion"] != p {
			t.Errorf("%s: %s, %v", p, got, err)
		}
	}
	for name, o := range map[string]nexart.SealOptions{"no time": {}, "protocol": {CreatedAt: at, ProtocolVersion: "1.0"}} {
		if got, err := nexart.Seal(in, o); got != nil || !errors.Is(err, nexart.ErrSnapshot) {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	other := canonical(t, merged(snapshot(), object{"protocolVersion": "1.3.0"}))
	if got, err := nexart.Seal(other, nexart.SealOptions{CreatedAt: at, ProtocolVersion: "1.2.0"}); got != nil || err == nil {
		t.Errorf("a protocol that the snapshot contradicts: %s", got)
	}
}

func FuzzSeal(f *testing.F) {
	seeds := 0
	for _, b := range vectors(f) {
		var bundle struct {
			Snapshot json.RawMessage `json:"snapshot"`
		}
		if json.Unmarshal(b, &bundle) == nil && len(bundle.Snapshot) > 0 && len(b) < 4000 {
			f.Add([]byte(bundle.Snapshot))
			seeds++
		}
	}
	if seeds == 0 {
		f.Fatal("empty seed corpus")
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := nexart.Seal(b, nexart.SealOptions{CreatedAt: at})
		if (got == nil) != (err != nil) || (err != nil && !errors.Is(err, nexart.ErrSnapshot)) {
			t.Fatalf("%q and %v", got, err)
		}
		if err != nil {
			return
		}
		if !cer.IsCanonical(got) {
			t.Fatalf("%q is not canonical", got)
		}
		r := nexart.Verify(got, nil)
		if r.Integrity != nexart.StatusPass || len(r.Codes) > 0 || r.Receipt != nexart.StatusSkipped || r.Envelope != nexart.StatusSkipped {
			t.Fatalf("%q: %+v", got, r)
		}
	})
}

// TestSealManyMembers: members that are sealed as they are cost no more than in
// proportion.
func TestSealManyMembers(t *testing.T) {
	record := string(canonical(t, snapshot()))
	inProportion(t, "a snapshot", func(members int) time.Duration {
		var many strings.Builder
		for i := range members {
			fmt.Fprintf(&many, `"m%d":0,`, i)
		}
		text := []byte("{" + many.String() + record[1:])
		began := time.Now()
		if _, err := nexart.Seal(text, nexart.SealOptions{CreatedAt: at}); err != nil {
			t.Fatal(err)
		}
		return time.Since(began)
	})
}
