package cer_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/sworn-run/sworn/cer"
)

const hex0 = "0000000000000000000000000000000000000000000000000000000000000000"

// runtimeValue uses every member.
func runtimeValue() *cer.Runtime {
	nonce, signal := "00112233445566ff", "SIGKILL"
	return &cer.Runtime{
		V: 1, Series: hex1, Launch: "sha256:" + hexF, Key: "sha256:" + hex0, Record: "0", Nonce: &nonce,
		Input: cer.Stream{SHA256: hex1, Size: "0", Complete: true}, Output: cer.Stream{SHA256: hexF, Size: "12"},
		Stderr: cer.Stream{SHA256: hex0, Size: "3", Complete: true, Content: jsontext.Value(`"abc"`)},
		Exit:   cer.Exit{Code: -1, Signal: &signal, Timeout: true}, Disclosure: cer.DiscloseFull,
		Isolation:     []cer.Fact{{Name: "closed_root", Value: "yes"}, {Name: "mode", Value: "closed"}},
		Parameters:    []cer.Parameter{{Name: "a", Value: "1", Applied: true}, {Name: "b", Value: ""}},
		NotApplicable: []string{"parameters.temperature", "prompt"},
		After:         []cer.Fact{{Name: "swap", Value: "none"}},
	}
}

const runtimeText = `{"after":[{"name":"swap","value":"none"}],"disclosure":"full","exit":{"code":-1,"signal":"SIGKILL","timeout":true},` +
	`"input":{"complete":true,"sha256":"` + hex1 + `","size":"0"},` +
	`"isolation":[{"name":"closed_root","value":"yes"},{"name":"mode","value":"closed"}],` +
	`"key":"sha256:` + hex0 + `","launch":"sha256:` + hexF + `","nonce":"00112233445566ff",` +
	`"notApplicable":["parameters.temperature","prompt"],"output":{"complete":false,"sha256":"` + hexF + `","size":"12"},` +
	`"parameters":[{"applied":true,"name":"a","value":"1"},{"applied":false,"name":"b","value":""}],` +
	`"record":"0","series":"` + hex1 + `","stderr":{"complete":true,"content":"abc","sha256":"` + hex0 + `","size":"3"},"v":1}`

func TestRuntime(t *testing.T) {
	b, err := runtimeValue().Encode()
	if err != nil || string(b) != runtimeText {
		t.Fatalf("encodes to %s, %v", b, err)
	}
	r, err := cer.ParseRuntime(b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(runtimeValue(), r); d != "" {
		t.Error(d)
	}
	least := runtimeValue()
	least.Nonce, least.Stderr.Content, least.Disclosure = nil, nil, cer.DiscloseHash
	least.Exit, least.Isolation, least.Parameters, least.NotApplicable = cer.Exit{}, []cer.Fact{}, []cer.Parameter{}, []string{}
	least.After = []cer.Fact{}
	if b, err = least.Encode(); err != nil {
		t.Fatal(err)
	}
	if r, err = cer.ParseRuntime(b); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(least, r); d != "" {
		t.Error(d)
	}
}

func TestRuntimeClosed(t *testing.T) {
	wantRefused(t, append(mutations(t, []byte(runtimeText)), framings(runtimeText)...), []string{
		"/nonce is null",             // no nonce
		"/stderr/content is missing", // not carried
		// What stderr carries is for CheckContent.
		"/stderr/content is true", "/stderr/content is 0", "/stderr/content is []", "/stderr/content is {}",
	}, func(b []byte) (any, error) { return orNil(cer.ParseRuntime(b)) })
}

// runtimeRules has one runtime for every rule that it breaks.
var runtimeRules = map[string]func(*cer.Runtime){
	"version 0":                  func(r *cer.Runtime) { r.V = 0 },
	"version 2":                  func(r *cer.Runtime) { r.V = 2 },
	"series empty":               func(r *cer.Runtime) { r.Series = "" },
	"series in capitals":         func(r *cer.Runtime) { r.Series = strings.ToUpper(hexF) },
	"series with scheme":         func(r *cer.Runtime) { r.Series = "sha256:" + hex1 },
	"launch without scheme":      func(r *cer.Runtime) { r.Launch = hex1 },
	"launch of another scheme":   func(r *cer.Runtime) { r.Launch = "sha512:" + hex1 },
	"key short":                  func(r *cer.Runtime) { r.Key = r.Key[:70] },
	"record with zeros":          func(r *cer.Runtime) { r.Record = "00" },
	"record 2^64":                func(r *cer.Runtime) { r.Record = "18446744073709551616" },
	"nonce of 7 bytes":           func(r *cer.Runtime) { r.Nonce = new(strings.Repeat("ab", 7)) },
	"nonce of 65 bytes":          func(r *cer.Runtime) { r.Nonce = new(strings.Repeat("ab", 65)) },
	"nonce of half a byte":       func(r *cer.Runtime) { r.Nonce = new(strings.Repeat("ab", 8) + "a") },
	"nonce in capitals":          func(r *cer.Runtime) { r.Nonce = new(strings.Repeat("AB", 8)) },
	"nonce empty":                func(r *cer.Runtime) { r.Nonce = new("") },
	"input digest":               func(r *cer.Runtime) { r.Input.SHA256 = hex1[1:] },
	"output size":                func(r *cer.Runtime) { r.Output.Size = "-1" },
	"stderr size":                func(r *cer.Runtime) { r.Stderr.Size = "" },
	"input carries content":      func(r *cer.Runtime) { r.Input.Content = jsontext.Value(`"a"`) },
	"output carries content":     func(r *cer.Runtime) { r.Output.Content = jsontext.Value(`"a"`) },
	"stderr carried in hash":     func(r *cer.Runtime) { r.Disclosure = cer.DiscloseHash },
	"exit -2":                    func(r *cer.Runtime) { r.Exit.Code = -2 },
	"exit 256":                   func(r *cer.Runtime) { r.Exit.Code, r.Exit.Signal = 256, nil },
	"exit -1 without signal":     func(r *cer.Runtime) { r.Exit.Signal = nil },
	"exit 0 with signal":         func(r *cer.Runtime) { r.Exit.Code = 0 },
	"signal empty":               func(r *cer.Runtime) { r.Exit.Signal = new("") },
	"disclosure commit":          func(r *cer.Runtime) { r.Disclosure = "commit" },
	"disclosure empty":           func(r *cer.Runtime) { r.Disclosure = "" },
	"isolation descending":       func(r *cer.Runtime) { r.Isolation[0], r.Isolation[1] = r.Isolation[1], r.Isolation[0] },
	"isolation name twice":       func(r *cer.Runtime) { r.Isolation[1].Name = r.Isolation[0].Name },
	"isolation name empty":       func(r *cer.Runtime) { r.Isolation[0].Name = "" },
	"parameters descending":      func(r *cer.Runtime) { r.Parameters[0].Name = "c" },
	"parameter twice":            func(r *cer.Runtime) { r.Parameters[1].Name = "a" },
	"parameter without name":     func(r *cer.Runtime) { r.Parameters[0].Name = "" },
	"notApplicable descending":   func(r *cer.Runtime) { r.NotApplicable = []string{"prompt", "parameters.temperature"} },
	"notApplicable twice":        func(r *cer.Runtime) { r.NotApplicable = []string{"prompt", "prompt"} },
	"notApplicable empty":        func(r *cer.Runtime) { r.NotApplicable = []string{""} },
	"parameter value not UTF-8":  func(r *cer.Runtime) { r.Parameters[0].Value = "\xff" },
	"stderr content is not JSON": func(r *cer.Runtime) { r.Stderr.Content = jsontext.Value(`"`) },
	"stderr content nested deeply": func(r *cer.Runtime) {
		r.Stderr.Content = jsontext.Value(strings.Repeat("[", 70) + strings.Repeat("]", 70))
	},
}

func TestRuntimeRules(t *testing.T) {
	for name, change := range runtimeRules {
		r := runtimeValue()
		change(r)
		if b, err := r.Encode(); b != nil || !errors.Is(err, cer.ErrSchema) && !errors.Is(err, cer.ErrStrict) {
			t.Errorf("%s: %s, %v", name, b, err)
		}
		// The same members, written without the rules.
		b, err := cer.MarshalCanonical(r)
		if err != nil {
			continue
		}
		if got, err := cer.ParseRuntime(b); got != nil || !errors.Is(err, cer.ErrSchema) {
			t.Errorf("%s: parses to %v, %v", name, got, err)
		}
	}
	if b, err := (&cer.Runtime{}).Encode(); b != nil || !errors.Is(err, cer.ErrSchema) {
		t.Errorf("the zero runtime: %s, %v", b, err)
	}
	deep := strings.Replace(runtimeText, `"abc"`, strings.Repeat("[", 7)+strings.Repeat("]", 7), 1)
	if got, err := cer.ParseRuntime([]byte(deep)); got != nil || !errors.Is(err, cer.ErrStrict) {
		t.Errorf("nested 9 deep: %v, %v", got, err)
	}
}

func TestApplied(t *testing.T) {
	template := []string{"run", "--t={param:temperature}", "{param:a}{param:b}", "param:c"}
	for name, want := range map[string]bool{"temperature": true, "a": true, "b": true, "c": false, "temp": false, "": false, "a}{param:b": true} {
		if got := cer.Applied(template, name); got != want {
			t.Errorf("%q: applied %v", name, got)
		}
	}
	if cer.Applied(nil, "a") {
		t.Error("applied to nothing")
	}
}

func TestModelName(t *testing.T) {
	c := func(role, name, path string) *cer.Component {
		return &cer.Component{Role: role, Name: name, Path: path, Digest: []string{"sha256:" + path[1:2]}}
	}
	binary, library := c(cer.RoleBinary, "/b", "/b/run"), c(cer.RoleLibrary, "l", "/l/l.so")
	first, second, standard := c(cer.RoleWeights, "x", "/x/x.bin"), c(cer.RoleWeights, "y", "/y/y.bin"), c(cer.RoleWeights, "default", "/d/d.bin")
	for _, test := range []struct {
		want       string
		components []*cer.Component
	}{
		{"", nil},
		{"", []*cer.Component{library, {Role: cer.RoleArgv}}},
		{"run sha256:b", []*cer.Component{library, binary}},
		{"x.bin sha256:x", []*cer.Component{binary, first, second}},
		{"y.bin sha256:y", []*cer.Component{second, binary, first}},
		{"d.bin sha256:d", []*cer.Component{binary, first, standard, second}},
		{"run sha256:b", []*cer.Component{binary, {Role: cer.RoleWeights, Name: "default", Path: "/w"}}},
	} {
		if got := cer.ModelName(test.components); got != test.want {
			t.Errorf("model %q, want %q", got, test.want)
		}
	}
}

func TestForcedSnapshot(t *testing.T) {
	launch := [32]byte{31: 0xab}
	id := "sworn:" + hex0[:62] + "ab:7"
	if got := cer.ExecutionID(launch, 7); got != id {
		t.Errorf("execution id %q", got)
	}
	for _, test := range []struct {
		name   string
		params []cer.Parameter
		want   cer.Parameters
		not    []string
	}{
		{"none", nil, cer.Parameters{}, []string{"parameters.maxTokens", "parameters.temperature", "prompt"}},
		{
			"all",
			[]cer.Parameter{{Name: "maxTokens", Value: "256"}, {Name: "seed", Value: "-1"}, {Name: "temperature", Value: "0.7"}, {Name: "topP", Value: "0"}},
			cer.Parameters{Temperature: 0.7, MaxTokens: 256, TopP: new(0.0), Seed: new(-1.0)},
			[]string{"prompt"},
		},
		{"zero is a value", []cer.Parameter{{Name: "temperature", Value: "0"}}, cer.Parameters{}, []string{"parameters.maxTokens", "prompt"}},
		{
			"other names",
			[]cer.Parameter{{Name: "Temperature", Value: "1"}, {Name: "max_tokens", Value: "1"}},
			cer.Parameters{},
			[]string{"parameters.maxTokens", "parameters.temperature", "prompt"},
		},
	} {
		f := cer.ForcedSnapshot(test.params, nil, launch, 7)
		if d := cmp.Diff(cer.Forced{ExecutionID: id, Provider: "self-hosted", Prompt: "sworn:none", Parameters: test.want, NotApplicable: test.not}, f); d != "" {
			t.Errorf("%s: %s", test.name, d)
		}
	}
	for _, v := range []string{"", "-0", "0.70", "1e3", "1E3", "+1", "0x10", "NaN", "Inf", "+Inf", "-Inf", "9007199254740992", " 1", "1.", ".5", "1_0", "one"} {
		f := cer.ForcedSnapshot([]cer.Parameter{{Name: "seed", Value: v}, {Name: "temperature", Value: v}}, nil, launch, 0)
		if f.Parameters.Seed != nil || f.Parameters.Temperature != 0 || len(f.NotApplicable) != 3 {
			t.Errorf("value %q is taken for a number", v)
		}
	}
}

func FuzzParseRuntime(f *testing.F) {
	seeds := []string{runtimeText}
	for _, change := range runtimeRules {
		r := runtimeValue()
		change(r)
		if b, err := cer.MarshalCanonical(r); err == nil {
			seeds = append(seeds, string(b))
		}
	}
	if len(seeds) < 20 {
		f.Fatal("no seeds")
	}
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := cer.ParseRuntime(b)
		if err != nil {
			if r != nil || !errors.Is(err, cer.ErrStrict) && !errors.Is(err, cer.ErrSchema) {
				t.Fatalf("runtime %v, error %v", r, err)
			}
			return
		}
		if out, err := r.Encode(); err != nil || string(out) != string(b) {
			t.Fatalf("encodes to %s, %v", out, err)
		}
		if c := r.Stderr.Content; c != nil {
			err := cer.CheckContent(c, r.Stderr, r.Disclosure)
			if err != nil && !errors.Is(err, cer.ErrStrict) && !errors.Is(err, cer.ErrSchema) && !errors.Is(err, cer.ErrHash) {
				t.Fatalf("content: %v", err)
			}
		}
	})
}
