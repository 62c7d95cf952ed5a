package verifier_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/verifier"
)

// examplePolicy is a policy with every kind of member; its digests are
// invented.
func examplePolicy(tb testing.TB) []byte {
	tb.Helper()
	b, err := os.ReadFile("testdata/policy/invoice-ocr.json")
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func parsePolicy(tb testing.TB, b []byte) *verifier.Policy {
	tb.Helper()
	p, err := verifier.ParsePolicy(b)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// samePolicy compares everything but the bytes a policy came from.
func samePolicy(a, b *verifier.Policy) string {
	return cmp.Diff(a, b, cmpopts.IgnoreUnexported(verifier.Policy{}))
}

// hexDigest returns a well-formed digest of nothing in particular.
func hexDigest(n int) string { return cer.SHA256Digest(sha256.Sum256([]byte{byte(n)})) }

func TestParsePolicyExample(t *testing.T) {
	b := examplePolicy(t)
	p := parsePolicy(t, b)
	if p.Digest() != sha256.Sum256(b) {
		t.Error("digest is not that of the file")
	}
	f := p.Formats["tpm"]
	if f.Identity.Role != "tpm-ak" || len(f.Identity.SPKI) != 1 || f.Bank != "sha256" || *f.Register != 13 {
		t.Errorf("formats.tpm is %+v", f)
	}
	if len(p.Components) != 8 || len(p.Waive) != 2 || !p.Nonce.Quote || !p.Nonce.Execution || p.Time.Token || p.AllowAt {
		t.Errorf("policy is %+v", p)
	}
	argv := p.Components[6]
	if want := `["tesseract","stdin","stdout","--tessdata-dir","{weights.dir}","-l","eng","{config}"]`; string(argv.Value) != want {
		t.Errorf("argv is %s, want its canonical form %s", argv.Value, want)
	}
}

func TestParsePolicyDefaults(t *testing.T) {
	got := parsePolicy(t, []byte(`{"type": "sworn.policy/v1", "slots": [["tpm"]], "exit": [0], "formats": {"tpm": {
		"identity": {"role": "tpm-ak", "spki": ["`+hexDigest(1)+`"]}, "bank": "sha384", "register": 0}}}`))
	want := &verifier.Policy{
		Type: verifier.PolicyType, Slots: [][]string{{"tpm"}}, Exit: []int{0},
		Formats: map[string]verifier.FormatPolicy{"tpm": {
			Identity: verifier.IdentityPolicy{Role: "tpm-ak", SPKI: []string{hexDigest(1)}}, Bank: "sha384", Register: new(uint32(0)),
		}},
		Others: verifier.OthersRefuse, PriorLaunches: verifier.PriorSameLauncher, Series: verifier.SeriesNone,
	}
	if d := samePolicy(want, got); d != "" {
		t.Error(d)
	}
}

// edit returns the example with one change made to its decoded form.
func edit(tb testing.TB, change func(p map[string]any)) []byte {
	tb.Helper()
	p := decoded(tb, examplePolicy(tb))
	change(p)
	b, err := json.Marshal(p)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// object and list go down into a decoded policy.
func object(v any, path ...string) map[string]any {
	for _, name := range path {
		v = v.(map[string]any)[name]
	}
	return v.(map[string]any)
}

func list(v any, name string) []any { return v.(map[string]any)[name].([]any) }

// refusal is a change after which a policy is refused.
type refusal struct {
	name   string
	change func(p map[string]any)
}

// clip formats the name of a case and keeps it short.
func clip(format string, args ...any) string {
	s := fmt.Sprintf(format, args...)
	return s[:min(len(s), 60)]
}

// set changes a top-level member.
func set(name string, v any) refusal {
	return refusal{clip("%s=%v", name, v), func(p map[string]any) { p[name] = v }}
}

// tpmRule changes a member of formats.tpm, identity one of its identity.
func tpmRule(name string, v any) refusal {
	return refusal{clip("tpm.%s=%v", name, v), func(p map[string]any) { object(p, "formats", "tpm")[name] = v }}
}

func identity(name string, v any) refusal {
	return refusal{clip("identity.%s=%v", name, v), func(p map[string]any) { object(p, "formats", "tpm", "identity")[name] = v }}
}

// component adds a component.
func component(members ...any) refusal {
	return refusal{clip("component=%v", members), func(p map[string]any) {
		c := map[string]any{}
		for i := 0; i < len(members); i += 2 {
			c[members[i].(string)] = members[i+1]
		}
		p["components"] = append(list(p, "components"), c)
	}}
}

// waive adds a waiver.
func waive(check, reason any) refusal {
	return refusal{clip("waive=%v=%v", check, reason), func(p map[string]any) {
		p["waive"] = append(list(p, "waive"), map[string]any{"check": check, "reason": reason})
	}}
}

// without removes a member on the way to the last name.
func without(path ...string) refusal {
	return refusal{"without " + strings.Join(path, "."), func(p map[string]any) {
		delete(object(p, path[:len(path)-1]...), path[len(path)-1])
	}}
}

func policyRefusals() []refusal {
	d := []any{hexDigest(9)}
	long := strings.Repeat("a", 5000)
	return []refusal{
		set("type", "sworn.policy/v2"), set("type", ""), set("type", nil), set("Type", "sworn.policy/v1"), without("type"),
		set("unknown", 1), set("name", "two\nlines"), set("name", "   "), set("name", "\u202ereversed"), set("name", long),
		set("slots", []any{}), set("slots", []any{[]any{}}), set("slots", nil), set("slots", []any{"tpm"}), without("slots"),
		set("slots", []any{[]any{"tpm", "tpm"}}), set("slots", []any{[]any{"tpm"}, []any{"tpm"}}), set("slots", []any{[]any{"tdx"}}),
		set("slots", slices.Repeat([]any{[]any{"tpm"}}, 65)), set("slots", []any{slices.Repeat([]any{"tpm"}, 9)}),
		set("formats", map[string]any{}), set("formats", []any{}), without("formats"), without("formats", "tpm"),
		{"formats.tdx", func(p map[string]any) { object(p, "formats")["tdx"] = object(p, "formats", "tpm") }},
		{"formats.TPM", func(p map[string]any) { object(p, "formats")["TPM"] = object(p, "formats", "tpm") }},
		without("formats", "tpm", "identity"), tpmRule("identity", map[string]any{}), tpmRule("identity", nil), tpmRule("extra", 1),
		without("formats", "tpm", "identity", "role"), without("formats", "tpm", "identity", "spki"),
		identity("role", "tpm-ek"), identity("role", "amd-ark"), identity("spki", []any{}), identity("subject", "CN=x"),
		identity("spki", []any{hexDigest(1), hexDigest(1)}), identity("spki", []any{"9f1c"}), identity("spki", []any{"sha256:9f1c"}),
		identity("spki", []any{strings.ToUpper(hexDigest(1))}), identity("spki", []any{"sha1:" + strings.Repeat("0", 40)}),
		identity("spki", []any{hexDigest(1) + " "}), identity("spki", hexDigest(1)),
		tpmRule("bank", "sha1"), tpmRule("bank", "sha3-256"), tpmRule("bank", ""), tpmRule("bank", "SHA256"), without("formats", "tpm", "bank"),
		tpmRule("register", 16), tpmRule("register", 23), tpmRule("register", -1), tpmRule("register", 1<<32), tpmRule("register", 1.5),
		tpmRule("register", "13"), tpmRule("register", nil), without("formats", "tpm", "register"),
		tpmRule("boot", map[string]any{"pcr0": hexDigest(1)}), tpmRule("boot", []any{}), tpmRule("boot", nil),
		set("components", map[string]any{}), set("components", nil),
		component("role", "weights", "name", "more"), component("role", "argv2", "name", "x", "digest", d), component("name", "x", "digest", d),
		component("role", "weights", "name", "default", "digest", d), component("role", "argv", "value", []any{"x"}),
		component("role", "file", "digest", d), component("role", "file", "name", "", "digest", d), component("role", "file", "name", long, "digest", d),
		component("role", "file", "name", "x", "digest", []any{}), component("role", "file", "name", "x", "digest", nil),
		component("role", "file", "name", "x", "digest", []any{"md5:00"}), component("role", "file", "name", "x", "digest", []any{hexDigest(1)[7:]}),
		component("role", "file", "name", "x", "digest", []any{hexDigest(1), hexDigest(1)}), component("role", "file", "name", "x", "digest", hexDigest(1)),
		component("role", "file", "name", "x", "digest", d, "value", "x"), component("role", "file", "name", "x", "value", "x"),
		component("role", "file", "name", "x", "digest", d, "path", "x"), component("role", "file", "name", "x", "digest", d, "path", "/y/../x"),
		component("role", "launcher", "name", "x", "digest", d, "path", "/x"), component("role", "env", "name", "X", "value", "1", "path", "/x"), component("role", "File", "name", "x", "digest", d),
		component("role", "env", "name", "A"), component("role", "env", "value", "1"), component("role", "env", "name", "A=B", "value", "1"),
		component("role", "env", "name", "A\x00B", "value", "1"), component("role", "env", "name", "A", "value", 1),
		component("role", "env", "name", "A", "value", []any{"1"}), component("role", "env", "name", "A", "value", nil),
		component("role", "env", "name", "A", "value", "1", "digest", d), component("role", "env", "name", "A", "value", "1", "digest", []any{}),
		component("role", "env", "name", "A", "value", strings.Repeat("a", 70000)),
		{"argv string", func(p map[string]any) { list(p, "components")[6].(map[string]any)["value"] = "tesseract" }},
		{"argv empty", func(p map[string]any) { list(p, "components")[6].(map[string]any)["value"] = []any{} }},
		{"argv numbers", func(p map[string]any) { list(p, "components")[6].(map[string]any)["value"] = []any{"x", 1} }},
		{"argv null", func(p map[string]any) { list(p, "components")[6].(map[string]any)["value"] = []any{"x", nil} }},
		{"argv named", func(p map[string]any) { list(p, "components")[6].(map[string]any)["name"] = "x" }},
		set("others", "ignore"), set("others", ""), set("others", nil), set("others", "Report"),
		set("protection", []any{"none"}), set("protection", []any{"noneUnsafe"}), set("protection", []any{""}), set("protection", []any{"sealed", "sealed"}),
		set("protection", "sealed"),
		set("devices", []any{"/dev/nvidia0"}), set("devices", []any{"host"}), set("devices", []any{"a b"}), set("devices", []any{"../mem"}),
		set("devices", []any{".."}), set("devices", []any{"."}), set("devices", []any{""}), set("devices", []any{"a/../b"}), set("devices", []any{"x", "x"}),
		set("devices", []any{long}), set("devices", slices.Repeat([]any{"x"}, 65)),
		set("disclosure", "hash"), set("disclosure", []any{"none"}), set("disclosure", []any{""}), set("disclosure", []any{"hash", "hash"}), set("disclosure", nil),
		set("network", "false"), set("network", 0), set("network", nil),
		set("exit", []any{}), set("exit", 0), set("exit", []any{256}), set("exit", []any{-1}), set("exit", []any{0, 0}), set("exit", []any{"0"}),
		set("exit", []any{0.5}), set("exit", nil), without("exit"),
		set("nonce", true), set("nonce", map[string]any{"quote": 1}), set("nonce", map[string]any{"Quote": true}), set("time", map[string]any{"authority": "x"}),
		set("prior_launches", "some"), set("prior_launches", ""), set("priorLaunches", "any"), set("series", "complete"), set("series", ""),
		set("allow_at", 1), set("allowAt", true), set("waive", map[string]any{}),
		waive("capsule.strict", "because"), waive("statement.signature", "because"), waive("slot.policy", "because"), waive("log.commit", "because"),
		waive("runtime.claims", "because"), waive("log.anchor", "it informs"), waive("no.such.check", "because"), waive("", "because"),
		waive("verdict.record", "because"), waive("Time.token", "because"),
		waive("slot.tcb", ""), waive("slot.tcb", " \t"), waive("slot.tcb", "\u00a0"), waive("slot.tcb", nil), waive("slot.tcb", "a\nb"), waive("slot.tcb", "\x1b[2J"),
		waive("slot.tcb", long), waive("slot.measurement", "again"),
		{"waiver without a reason", func(p map[string]any) { delete(list(p, "waive")[0].(map[string]any), "reason") }},
		{"waiver with more", func(p map[string]any) { list(p, "waive")[0].(map[string]any)["until"] = "2027-01-01" }},
	}
}

func TestParsePolicyRefuses(t *testing.T) {
	for _, r := range policyRefusals() {
		t.Run(r.name, func(t *testing.T) {
			p, err := verifier.ParsePolicy(edit(t, r.change))
			if !errors.Is(err, verifier.ErrPolicy) || p != nil {
				t.Errorf("policy %v, error %v", p, err)
			}
			if testing.Verbose() {
				t.Log(err)
			}
		})
	}
	if _, err := verifier.ParsePolicy(edit(t, func(map[string]any) {})); err != nil {
		t.Errorf("the unchanged policy is refused: %v", err)
	}
}

func TestParsePolicyRefusesText(t *testing.T) {
	good := string(examplePolicy(t))
	for name, text := range map[string]string{
		"empty":            "",
		"null":             "null",
		"array":            "[]",
		"empty object":     "{}",
		"byte order mark":  "\ufeff" + good,
		"trailing data":    good + "{}",
		"trailing comma":   strings.Replace(good, `"network": false,`, `"network": false,,`, 1),
		"comment":          "// policy\n" + good,
		"truncated":        good[:len(good)/2],
		"duplicate":        strings.Replace(good, `"network": false,`, `"network": true, "network": false,`, 1),
		"escaped twin":     strings.Replace(good, `"network": false,`, `"network": true, "net\u0077ork": false,`, 1),
		"format twice":     strings.Replace(good, `"tpm": {`, `"tpm": {}, "tpm": {`, 1),
		"not UTF-8":        strings.Replace(good, "invoice-ocr", "invoice\xff", 1),
		"lone surrogate":   strings.Replace(good, "invoice-ocr", `invoice\ud800`, 1),
		"large number":     strings.Replace(good, `"register": 13`, `"register": 9007199254740993`, 1),
		"too deep":         strings.Replace(good, `"boot": {}`, `"boot": {"a": `+strings.Repeat("[", 100)+strings.Repeat("]", 100)+`}`, 1),
		"too large":        good + strings.Repeat(" ", 4<<20),
		"another's member": `{"$schema": "x",` + good[1:],
	} {
		t.Run(name, func(t *testing.T) {
			if p, err := verifier.ParsePolicy([]byte(text)); !errors.Is(err, verifier.ErrPolicy) || p != nil {
				t.Errorf("policy %v, error %v", p, err)
			}
		})
	}
}

func TestPolicyBounds(t *testing.T) {
	many := func(n int) []byte {
		var b bytes.Buffer
		b.WriteString(`{"type":"sworn.policy/v1","slots":[["tpm"]],"exit":[0],"formats":{"tpm":{"identity":{"role":"tpm-ak","spki":["` +
			hexDigest(1) + `"]},"bank":"sha256","register":13}},"components":[`)
		for i := range n {
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, `{"role":"env","name":"%d","value":""}`, i)
		}
		b.WriteString("]}")
		return b.Bytes()
	}
	if p := parsePolicy(t, many(1<<16)); len(p.Components) != 1<<16 {
		t.Errorf("%d components", len(p.Components))
	}
	if _, err := verifier.ParsePolicy(many(1<<16 + 1)); !errors.Is(err, verifier.ErrPolicy) {
		t.Errorf("one component too many: %v", err)
	}
}

func TestPolicyZeroRefuses(t *testing.T) {
	for name, p := range map[string]*verifier.Policy{"nil": nil, "zero": {}, "type only": {Type: verifier.PolicyType}} {
		if b, err := p.Encode(); !errors.Is(err, verifier.ErrPolicy) || b != nil {
			t.Errorf("%s: encoded to %q, error %v", name, b, err)
		}
		if p.Digest() != [32]byte{} {
			t.Errorf("%s: has a digest", name)
		}
		if len(p.Lint()) != 1 {
			t.Errorf("%s: lint says %q", name, p.Lint())
		}
	}
	if err := (*verifier.Policy)(nil).AddWaivers(nil); !errors.Is(err, verifier.ErrPolicy) {
		t.Errorf("nil policy took waivers: %v", err)
	}
}

// TestPolicyByHandRefuses changes Go values in ways that no file can.
func TestPolicyByHandRefuses(t *testing.T) {
	for name, change := range map[string]func(*verifier.Policy){
		"others not given":        func(p *verifier.Policy) { p.Others = "" },
		"prior launches":          func(p *verifier.Policy) { p.PriorLaunches = "" },
		"series":                  func(p *verifier.Policy) { p.Series = "" },
		"name not UTF-8":          func(p *verifier.Policy) { p.Name = "\xff" },
		"component name not UTF8": func(p *verifier.Policy) { p.Components[0].Name = "\xff" },
		"value not canonical":     func(p *verifier.Policy) { p.Components[7].Value = jsontext.Value(` "1"`) },
		"value no JSON":           func(p *verifier.Policy) { p.Components[7].Value = jsontext.Value(`1"`) },
		"value empty":             func(p *verifier.Policy) { p.Components[7].Value = jsontext.Value{} },
		"no formats":              func(p *verifier.Policy) { p.Formats = nil },
		"waived twice":            func(p *verifier.Policy) { p.Waive = append(p.Waive, p.Waive[0]) },
	} {
		t.Run(name, func(t *testing.T) {
			p := parsePolicy(t, examplePolicy(t))
			change(p)
			if b, err := p.Encode(); !errors.Is(err, verifier.ErrPolicy) || b != nil {
				t.Errorf("encoded to %q, error %v", b, err)
			}
		})
	}
}

func TestPolicyEncode(t *testing.T) {
	p := parsePolicy(t, examplePolicy(t))
	b, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again := parsePolicy(t, b)
	if d := samePolicy(p, again); d != "" {
		t.Error(d)
	}
	b2, err := again.Encode()
	if err != nil || !bytes.Equal(b, b2) {
		t.Errorf("not stable (%v):\n%s\n%s", err, b, b2)
	}
	want, err := os.ReadFile("testdata/policy/invoice-ocr.encoded.json")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(b)); d != "" {
		t.Error(d)
	}
}

func TestPolicyDigestByHand(t *testing.T) {
	p := &verifier.Policy{
		Type: verifier.PolicyType, Slots: [][]string{{"tpm"}}, Exit: []int{0},
		Formats: map[string]verifier.FormatPolicy{"tpm": {
			Identity: verifier.IdentityPolicy{Role: "tpm-ak", SPKI: []string{hexDigest(1)}}, Bank: "sha384", Register: new(uint32(13)),
		}},
		Others: verifier.OthersRefuse, PriorLaunches: verifier.PriorSameLauncher, Series: verifier.SeriesNone,
	}
	b, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if p.Digest() != sha256.Sum256(b) || parsePolicy(t, b).Digest() != p.Digest() {
		t.Error("digest is not that of the file it would be written to")
	}
}

func TestAddWaivers(t *testing.T) {
	p := parsePolicy(t, examplePolicy(t))
	before := p.Digest()
	tcb := verifier.Waiver{Check: "slot.tcb", Reason: "published nowhere"}
	for name, more := range map[string][]verifier.Waiver{
		"waived already": {tcb, {Check: "slot.measurement", Reason: "again"}},
		"core":           {tcb, {Check: "cer.hash", Reason: "because"}},
		"blank":          {tcb, {Check: "slot.revocation", Reason: " "}},
		"twice":          {tcb, tcb},
	} {
		if err := p.AddWaivers(more); !errors.Is(err, verifier.ErrPolicy) || len(p.Waive) != 2 {
			t.Errorf("%s: error %v, %d waivers", name, err, len(p.Waive))
		}
	}
	if err := p.AddWaivers([]verifier.Waiver{tcb}); err != nil || len(p.Waive) != 3 || p.Waive[2] != tcb {
		t.Errorf("error %v, waivers %v", err, p.Waive)
	}
	if p.Digest() != before {
		t.Error("a waiver of the command line changed the digest of the file")
	}
}

func TestParseWaiver(t *testing.T) {
	got, err := verifier.ParseWaiver("slot.tcb=a=b, published nowhere")
	if want := (verifier.Waiver{Check: "slot.tcb", Reason: "a=b, published nowhere"}); err != nil || got != want {
		t.Errorf("waiver %+v, error %v", got, err)
	}
	for _, s := range []string{"", "slot.tcb", "slot.tcb=", "slot.tcb= ", "=reason", "cer.hash=reason", "log.anchor=reason", "slot.tcb =reason", "slot.tcb=a\nb"} {
		if w, err := verifier.ParseWaiver(s); !errors.Is(err, verifier.ErrPolicy) || w != (verifier.Waiver{}) {
			t.Errorf("%q: waiver %+v, error %v", s, w, err)
		}
	}
}

func TestPolicyLint(t *testing.T) {
	quiet := edit(t, func(p map[string]any) { p["time"] = map[string]any{"token": true}; p["allow_at"] = false })
	base := parsePolicy(t, quiet).Lint()
	if len(base) != 2 {
		t.Fatalf("lint says %q, want the two waivers", base)
	}
	drop := func(role string) func(p map[string]any) {
		return func(p map[string]any) {
			p["components"] = slices.DeleteFunc(list(p, "components"), func(c any) bool { return c.(map[string]any)["role"] == role })
		}
	}
	for name, change := range map[string]func(p map[string]any){
		"two model keys":    signers(map[string]any{"spki": []any{hexDigest(1), hexDigest(2)}}),
		"two identities":    signers(map[string]any{"identities": []any{someone("a@example.com"), someone("b@example.com")}}),
		"key and identity":  signers(map[string]any{"spki": []any{hexDigest(1)}, "identities": []any{someone("a@example.com")}}),
		"pattern":           signers(map[string]any{"identities": []any{someone(".*@example.com$")}}),
		"blank":             signers(map[string]any{"identities": []any{someone("a@example.com ")}}),
		"issuer's address":  signers(map[string]any{"identities": []any{map[string]any{"issuer": "issuer.example", "subject": "a@example.com"}}}),
		"no signature":      set("model_signers", []any{map[string]any{"weights": "default", "spki": []any{hexDigest(1)}}}).change,
		"no token":          func(p map[string]any) { p["time"] = map[string]any{} },
		"two roots":         identity("spki", []any{hexDigest(1), hexDigest(2)}).change,
		"two digests":       component("role", "file", "name", "x", "digest", []any{hexDigest(1), hexDigest(2)}).change,
		"no binary":         drop("binary"),
		"no launcher":       drop("launcher"),
		"no argv":           drop("argv"),
		"no weights":        drop("weights"),
		"others":            set("others", "report").change,
		"no protection":     set("protection", []any{}).change,
		"device":            set("devices", []any{"nvidia0"}).change,
		"network":           set("network", true).change,
		"exit":              set("exit", []any{0, 1}).change,
		"no nonce":          without("nonce").change,
		"quote nonce":       set("nonce", map[string]any{"quote": true}).change,
		"execution nonce":   set("nonce", map[string]any{"execution": true}).change,
		"any prior launch":  set("prior_launches", "any").change,
		"at":                set("allow_at", true).change,
		"one waiver more":   waive("slot.tcb", "published nowhere").change,
		"measurement stays": func(p map[string]any) { list(p, "waive")[0].(map[string]any)["check"] = "slot.tcb" },
	} {
		t.Run(name, func(t *testing.T) {
			p := decoded(t, quiet)
			change(p)
			b, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			got := parsePolicy(t, b).Lint()
			if len(got) != len(base)+1 {
				t.Errorf("lint says %q, want one line more than %q", got, base)
			}
			if slices.ContainsFunc(got, func(s string) bool { return s == "" || strings.Contains(s, "\n") }) {
				t.Errorf("lint says %q, want lines", got)
			}
		})
	}
}

// A policy that names signers and waives the check by which they count says so.
func TestPolicyLintWaivedSigners(t *testing.T) {
	b := edit(t, func(p map[string]any) {
		signers(map[string]any{"identities": []any{someone("a@example.com")}})(p)
		waive("model.signature", "test").change(p)
	})
	if got := parsePolicy(t, b).Lint(); !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "model_signers: names signers") }) {
		t.Errorf("lint says %q", got)
	}
}

func someone(subject string) map[string]any {
	return map[string]any{"issuer": "https://issuer.example", "subject": subject}
}

// signers lists who may sign the weights, whose signature is listed too.
func signers(who map[string]any) func(p map[string]any) {
	who["weights"] = "default"
	return func(p map[string]any) {
		p["model_signers"] = []any{who}
		component("role", "model-signature", "name", "default", "digest", []any{hexDigest(9)}).change(p)
	}
}
