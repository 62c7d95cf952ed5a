package verifier_test

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/verifier"
)

// launchedFormats are the formats whose evidence states what was launched.
func launchedFormats(tb testing.TB) []attest.Description {
	tb.Helper()
	var out []attest.Description
	for _, s := range verifier.Schemes() {
		if d := s.Describe(); len(d.Measurements) > 0 {
			out = append(out, d)
		}
	}
	if len(out) < 5 {
		tb.Fatalf("only %d formats state what was launched", len(out))
	}
	return out
}

// quotesPCRs reports whether a policy names the register of the format.
func quotesPCRs(d *attest.Description) bool {
	return d.Anchor == attest.AnchorRegister && d.RegisterBank == 0
}

// digitsOf returns a value of n bytes.
func digitsOf(n int, of string) string { return strings.Repeat(of, 2*n) }

// launchedRules are rules of a format with every member that it can have.
func launchedRules(d *attest.Description) map[string]any {
	rules := map[string]any{"identity": map[string]any{"role": d.RootRole, "spki": []any{hexDigest(1)}}}
	measurements, image, attributes, minimum := map[string]any{}, map[string]any{}, map[string]any{}, map[string]any{}
	for _, m := range d.Measurements {
		measurements[m.Name] = []any{digitsOf(m.Size, "a")}
		if m.Image {
			image[m.Name] = digitsOf(m.Size, "a")
		}
	}
	for _, a := range d.Attributes {
		attributes[a.Name] = a.Default
	}
	for _, v := range d.Versions {
		minimum[v] = 3
	}
	rules["measurements"] = measurements
	rules["images"] = []any{map[string]any{"name": "image", "measurements": image, "cmdline": "console=ttyS0 lockdown=integrity rd.systemd.gpt_auto=0", "launchers": []any{hexDigest(2)}}}
	if len(attributes) > 0 {
		rules["attributes"] = attributes
	}
	tcb := map[string]any{}
	if len(minimum) > 0 {
		tcb["minimum"] = minimum
	}
	if d.VendorStatus {
		tcb["status"], tcb["advisories_allowed"], tcb["min_evaluation_data_number"] = []any{"UpToDate", "SWHardeningNeeded"}, []any{"INTEL-SA-00837"}, 17
	}
	if len(tcb) > 0 {
		rules["tcb"] = tcb
	}
	if quotesPCRs(d) {
		rules["bank"], rules["register"] = "sha256", 13
	}
	return rules
}

// launchedPolicy is the example for another format, after a change to the format's rules.
func launchedPolicy(tb testing.TB, d *attest.Description, change func(map[string]any)) []byte {
	tb.Helper()
	rules := launchedRules(d)
	if change != nil {
		change(rules)
	}
	return edit(tb, func(p map[string]any) {
		p["slots"], p["formats"] = []any{[]any{d.Name}}, map[string]any{d.Name: rules}
	})
}

// A policy may say of a format whatever the format has, and comes back as it was.
func TestPolicyLaunched(t *testing.T) {
	s := policySchema(t)
	for _, d := range launchedFormats(t) {
		t.Run(d.Name, func(t *testing.T) {
			for name, change := range map[string]func(map[string]any){
				"everything": nil,
				"identity only": func(r map[string]any) {
					maps.DeleteFunc(r, func(k string, _ any) bool { return !slices.Contains([]string{"identity", "bank", "register"}, k) })
				},
				"bare image": func(r map[string]any) { image := first(r); delete(image, "cmdline"); delete(image, "launchers") },
			} {
				file := launchedPolicy(t, &d, change)
				p := parsePolicy(t, file)
				again := parsePolicy(t, mustEncode(t, p))
				if diff := samePolicy(p, again); diff != "" {
					t.Errorf("%s: %s", name, diff)
				}
				for _, b := range [][]byte{file, mustEncode(t, p)} {
					if problem := s.judge(t, b); problem != "" {
						t.Errorf("%s: the schema refuses it: %s", name, problem)
					}
				}
			}
			f := parsePolicy(t, launchedPolicy(t, &d, nil)).Formats[d.Name]
			if len(f.Measurements) != len(d.Measurements) || len(f.Images) != 1 || len(f.Attributes) != len(d.Attributes) || len(f.TCB.Minimum) != len(d.Versions) {
				t.Errorf("formats.%s is %+v", d.Name, f)
			}
		})
	}
}

// first returns the first image of a format's rules.
func first(r map[string]any) map[string]any { return list(r, "images")[0].(map[string]any) }

// launchedRefusals are changes after which a policy is refused by parser and schema;
// those that only the parser knows end with "*". changes that do not concern a format
// return false.
func launchedRefusals(d *attest.Description) map[string]func(map[string]any) bool {
	member := func(name string, v any) func(map[string]any) bool {
		return func(r map[string]any) bool { r[name] = v; return true }
	}
	below := func(parent, name string, v any) func(map[string]any) bool {
		return func(r map[string]any) bool {
			if r[parent] == nil {
				return false
			}
			object(r, parent)[name] = v
			return true
		}
	}
	measured := d.Measurements[0]
	out := map[string]func(map[string]any) bool{
		"unknown measurement": below("measurements", "pcr99", []any{digitsOf(48, "a")}),
		"no value":            below("measurements", measured.Name, []any{}),
		"short value":         below("measurements", measured.Name, []any{digitsOf(measured.Size, "a")[1:]}),
		"long value":          below("measurements", measured.Name, []any{digitsOf(measured.Size+1, "a")}),
		"upper case":          below("measurements", measured.Name, []any{digitsOf(measured.Size, "A")}),
		"value twice":         below("measurements", measured.Name, []any{digitsOf(measured.Size, "a"), digitsOf(measured.Size, "a")}),
		"value with a scheme": below("measurements", measured.Name, []any{hexDigest(1)}),
		"bare value":          below("measurements", measured.Name, digitsOf(measured.Size, "a")),
		"too many values":     below("measurements", measured.Name, values(measured.Size, 65)),
		"unknown attribute":   member("attributes", map[string]any{"sparkle": 1}),
		"unknown version":     member("tcb", map[string]any{"minimum": map[string]any{"sparkle": 1}}),
		"another role":        below("identity", "role", "tpm-ak"),
		"unknown member":      member("launch", map[string]any{}),
		"revoked":             member("tcb", map[string]any{"status": []any{"UpToDate", "Revoked"}}),
		"image without a name": func(r map[string]any) bool {
			delete(first(r), "name")
			return true
		},
		"image with more": func(r map[string]any) bool { first(r)["kernel"] = "x"; return true },
		"too many images": func(r map[string]any) bool { r["images"] = slices.Repeat(list(r, "images"), 65); return true },
		"image with a list": func(r map[string]any) bool {
			object(first(r), "measurements")[measured.Name] = []any{digitsOf(measured.Size, "a")}
			return true
		},
	}
	for _, m := range d.Measurements {
		if m.Image && m.With == nil {
			out["image without "+m.Name] = func(r map[string]any) bool { delete(object(first(r), "measurements"), m.Name); return true }
		}
	}
	for _, a := range d.Attributes[:min(1, len(d.Attributes))] {
		for name, v := range map[string]any{"negative": -1, "fraction": 0.5, "beyond JSON": uint64(1 << 54), "as a bit": true, "as text": "0"} {
			out["attribute "+name] = below("attributes", a.Name, v)
		}
	}
	for _, v := range d.Versions[:min(1, len(d.Versions))] {
		out["version negative"] = member("tcb", map[string]any{"minimum": map[string]any{v: -1}})
		out["version beyond JSON"] = member("tcb", map[string]any{"minimum": map[string]any{v: uint64(1 << 54)}})
	}
	if d.VendorStatus {
		out["evaluation number of 33 bits"] = below("tcb", "min_evaluation_data_number", uint64(1<<32))
		out["status twice"] = below("tcb", "status", []any{"UpToDate", "UpToDate"})
		out["long advisory"] = below("tcb", "advisories_allowed", []any{strings.Repeat("A", 65)})
		out["blank status*"] = below("tcb", "status", []any{" "})
		if slices.ContainsFunc(d.Attributes, func(a attest.AttributeField) bool { return a.Name == "migratable" }) {
			out["migratable without a service TD*"] = func(r map[string]any) bool {
				object(r, "attributes")["migratable"] = 1
				delete(object(r, "measurements"), "mrservicetd")
				return true
			}
		}
	} else {
		out["status of no vendor"] = member("tcb", map[string]any{"status": []any{"UpToDate"}})
		out["advisories of no vendor"] = member("tcb", map[string]any{"advisories_allowed": []any{"INTEL-SA-00837"}})
		out["evaluation data of no vendor"] = member("tcb", map[string]any{"min_evaluation_data_number": 1})
	}
	if quotesPCRs(d) {
		out["no bank"] = func(r map[string]any) bool { delete(r, "bank"); return true }
		out["no register"] = func(r map[string]any) bool { delete(r, "register"); return true }
		out["register 16"] = member("register", 16)
	} else {
		out["bank"], out["register"] = member("bank", "sha384"), member("register", 3)
		out["boot"] = member("boot", map[string]any{"registers": map[string]any{"4": []any{digitsOf(32, "a")}}})
	}
	return out
}

// values returns n different values.
func values(size, n int) []any {
	var out []any
	for i := range n {
		out = append(out, digitsOf(size-1, "a")+string("0123456789abcdef"[i/16])+string("0123456789abcdef"[i%16]))
	}
	return out
}

// What a format does not have, or cannot be, no policy says.
func TestPolicyLaunchedRefuses(t *testing.T) {
	s := policySchema(t)
	for _, d := range launchedFormats(t) {
		for name, change := range launchedRefusals(&d) {
			t.Run(d.Name+"/"+name, func(t *testing.T) {
				applied := false
				file := launchedPolicy(t, &d, func(r map[string]any) { applied = change(r) })
				if !applied {
					t.Fatal("the change does not concern the format")
				}
				if p, err := verifier.ParsePolicy(file); !errors.Is(err, verifier.ErrPolicy) || p != nil {
					t.Errorf("policy %v, error %v", p, err)
				}
				if problem := s.judge(t, file); (problem == "") != strings.HasSuffix(name, "*") {
					t.Errorf("the schema says %q", problem)
				}
			})
		}
	}
}

// A service TD that is named makes a TD that may move acceptable, and lint says so.
func TestPolicyMigratable(t *testing.T) {
	for _, d := range launchedFormats(t) {
		if !strings.HasSuffix(d.Name, "tdx") {
			continue
		}
		p := parsePolicy(t, launchedPolicy(t, &d, func(r map[string]any) { object(r, "attributes")["migratable"] = 1 }))
		if want := "formats." + d.Name + ".attributes.migratable: wants 1, where 0 is the safe value"; !slices.Contains(p.Lint(), want) {
			t.Errorf("lint says %q, want %q", p.Lint(), want)
		}
	}
}

// Lint says what weakens the rules of a format, and what keeps every record from
// passing, in one line each.
func TestPolicyLintLaunched(t *testing.T) {
	for _, d := range launchedFormats(t) {
		quiet := func(r map[string]any) {
			if d.VendorStatus {
				r["tcb"] = map[string]any{"status": []any{"UpToDate"}}
			}
		}
		lint := func(t *testing.T, change func(map[string]any)) []string {
			t.Helper()
			p := decoded(t, launchedPolicy(t, &d, func(r map[string]any) { quiet(r); change(r) }))
			delete(p, "waive")
			b, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			return parsePolicy(t, b).Lint()
		}
		base := lint(t, func(map[string]any) {})
		for _, l := range base {
			if strings.HasPrefix(l, "formats.") && !quotesPCRs(&d) {
				t.Errorf("%s: lint says %q of rules that are as they should be", d.Name, l)
			}
		}
		at := "formats." + d.Name
		image := slices.IndexFunc(d.Measurements, func(m attest.MeasurementField) bool { return m.Image })
		named := d.Measurements[image].Name
		for name, c := range map[string]struct {
			change func(map[string]any)
			want   string
		}{
			"two values":     {func(r map[string]any) { object(r, "measurements")[named] = values(d.Measurements[image].Size, 2) }, at + ".measurements." + named + ": any one of 2 values suffices"},
			"two images":     {func(r map[string]any) { r["images"] = slices.Repeat(list(r, "images"), 2) }, at + ".images: any one of 2 images suffices"},
			"nothing named":  {func(r map[string]any) { delete(r, "images"); delete(r, "measurements") }, at + ": names no image, neither in images nor in measurements, so slot.measurement is not established and no record passes unless it is waived"},
			"two roots":      {func(r map[string]any) { object(r, "identity")["spki"] = []any{hexDigest(1), hexDigest(2)} }, at + ".identity: any one of 2 roots suffices"},
			"old platform":   {func(r map[string]any) { r["tcb"] = map[string]any{"status": []any{"UpToDate", "OutOfDate"}} }, at + ".tcb.status: accepts OutOfDate, of which the vendor says that it is not up to date"},
			"advisory":       {func(r map[string]any) { r["tcb"] = map[string]any{"advisories_allowed": []any{"INTEL-SA-1"}} }, at + ".tcb.advisories_allowed: 1 advisories of the vendor may apply"},
			"no minimum":     {func(r map[string]any) { delete(r, "tcb") }, at + ".tcb.minimum: is empty, and the vendor publishes no status: slot.tcb is not established and no record passes unless it is waived"},
			"no launcher":    {func(r map[string]any) { delete(first(r), "launchers") }, at + ".images[0]: launcher.rooted is not established where it was launched: "},
			"no image":       {func(r map[string]any) { delete(r, "images") }, at + ".images: is empty, so launcher.rooted is not established"},
			"lower level":    {func(r map[string]any) { object(r, "attributes")["vmpl"] = 1 }, at + ".attributes.vmpl: wants 1, where 0 is the safe value"},
			"free attribute": {func(r map[string]any) { object(r, "attributes")["smt"] = 1 }, ""},
		} {
			if !concerns(&d, name) {
				continue
			}
			t.Run(d.Name+"/"+name, func(t *testing.T) {
				more := slices.DeleteFunc(lint(t, c.change), func(l string) bool { return slices.Contains(base, l) })
				if c.want == "" {
					if len(more) > 0 {
						t.Errorf("lint says %q of it", more)
					}
					return
				}
				if !slices.ContainsFunc(more, func(l string) bool { return strings.HasPrefix(l, c.want) }) {
					t.Errorf("lint says %q more, want %q", more, c.want)
				}
				if slices.ContainsFunc(more, func(s string) bool { return strings.Contains(s, "\n") }) {
					t.Errorf("lint says %q, want lines", more)
				}
			})
		}
	}
}

// concerns reports whether a case of lint is one of the format's.
func concerns(d *attest.Description, name string) bool {
	switch name {
	case "old platform", "advisory":
		return d.VendorStatus
	case "no minimum":
		return !d.VendorStatus && len(d.Versions) > 0
	case "lower level", "free attribute":
		return strings.HasSuffix(d.Name, "snp")
	case "no launcher", "no image":
		return !quotesPCRs(d) && !d.Program
	}
	return true
}

// Rules of a format that stand in Go alone are judged as those of a file.
func TestPolicyLaunchedByHand(t *testing.T) {
	for _, d := range launchedFormats(t) {
		p := parsePolicy(t, launchedPolicy(t, &d, nil))
		f := p.Formats[d.Name]
		f.Images = slices.Clone(f.Images)
		f.Images[0].Measurements = nil
		p.Formats = map[string]verifier.FormatPolicy{d.Name: f}
		b, err := p.Encode()
		if !errors.Is(err, verifier.ErrPolicy) || b != nil {
			t.Errorf("%s: encoded to %q, error %v", d.Name, b, err)
		}
		if lines := p.Lint(); len(lines) != 1 || !strings.Contains(lines[0], d.Name+".images[0].measurements") {
			t.Errorf("%s: lint says %q", d.Name, lines)
		}
	}
}
