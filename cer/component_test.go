package cer_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
)

const (
	hex1 = "0000000000000000000000000000000000000000000000000000000000000001"
	hexF = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
)

// componentTexts has one component of each kind, in the bytes of its event.
var componentTexts = map[string]string{
	"launcher": `{"digest":["sha256:` + hex1 + `"],"name":"sworn","role":"launcher","size":"1"}`,
	"binary":   `{"digest":["sha256:` + hex1 + `"],"name":"/usr/bin/true","path":"/usr/bin/true","protection":"sealed","role":"binary","size":"0"}`,
	"interpreter": `{"digest":["sha256:` + hex1 + `"],"name":"/lib64/ld-linux-x86-64.so.2","path":"/lib64/ld-linux-x86-64.so.2",` +
		`"protection":"sealed","role":"interpreter","size":"18446744073709551615"}`,
	"script-interpreter": `{"digest":["sha256:` + hex1 + `"],"name":"sh","path":"/bin/sh","protection":"none","role":"script-interpreter","size":"2"}`,
	"library":            `{"digest":["sha256:` + hex1 + `"],"name":"libm.so.6","path":"/lib/libm.so.6","protection":"sealed","role":"library","size":"3"}`,
	"weights":            `{"digest":["sha256:` + hexF + `"],"name":"default","path":"/model/default/a","protection":"sealed","role":"weights","size":"4"}`,
	"config":             `{"digest":["sha256:` + hex1 + `"],"name":"default","path":"/config/a","protection":"sealed","role":"config","size":"5"}`,
	"file":               `{"digest":["sha256:` + hex1 + `"],"name":"naïve \u0000 name","path":"/","protection":"sealed","role":"file","size":"6"}`,
	"manifest":           `{"digest":["oms-sha256:` + hex1 + `"],"name":"default","path":"/model/default/m","role":"manifest","size":"7"}`,
	"model-signature":    `{"digest":["sha256:` + hex1 + `"],"name":"default","role":"model-signature","size":"8"}`,
	"image":              `{"digest":["sha256:` + hex1 + `"],"name":"image","path":"/","role":"image","size":"9"}`,
	"argv":               `{"role":"argv","value":["true","","{weights}"]}`,
	"env":                `{"name":"LANG","role":"env","value":""}`,
}

func TestComponentRoundTrip(t *testing.T) {
	for role, want := range componentTexts {
		c, err := cer.ParseComponent([]byte(want))
		if err != nil {
			t.Errorf("%s: %v", role, err)
			continue
		}
		if c.Role != role {
			t.Errorf("role %q, want %q", c.Role, role)
		}
		if got, err := c.Encode(); err != nil || string(got) != want {
			t.Errorf("%s: encodes to %s, %v", role, got, err)
		}
		if c.IsFile() != strings.Contains(want, `"protection"`) {
			t.Errorf("%s: IsFile is %v", role, c.IsFile())
		}
	}
}

func TestComponentClosed(t *testing.T) {
	parse := func(b []byte) (any, error) { return orNil(cer.ParseComponent(b)) }
	for role, text := range componentTexts {
		t.Run(role, func(t *testing.T) {
			if role == "argv" { // any word is a word
				text = `{"role":"argv","value":["true"]}`
			}
			wantRefused(t, append(mutations(t, []byte(text)), framings(text)...), nil, parse)
		})
	}
}

func TestComponentRules(t *testing.T) {
	digest := `"digest":["sha256:` + hex1 + `"],`
	file := func(name, path, protection, role, size string) string {
		return `{` + digest + `"name":` + name + `,"path":` + path + `,"protection":` + protection + `,"role":` + role + `,"size":` + size + `}`
	}
	good := file(`"a"`, `"/a"`, `"sealed"`, `"file"`, `"1"`)
	if _, err := cer.ParseComponent([]byte(good)); err != nil {
		t.Fatal(err)
	}
	weights := func(list string) string {
		return `{"described":` + list + `,"digest":["sha256:` + hex1 + `"],"name":"a","path":"/a","protection":"sealed","role":"weights","size":"1"}`
	}
	digests := func(list string) string { return strings.Replace(good, digest, `"digest":[`+list+`],`, 1) }
	for name, text := range map[string]string{
		"empty name":                       file(`""`, `"/a"`, `"sealed"`, `"file"`, `"1"`),
		"empty path":                       file(`"a"`, `""`, `"sealed"`, `"file"`, `"1"`),
		"relative path":                    file(`"a"`, `"a"`, `"sealed"`, `"file"`, `"1"`),
		"path with ..":                     file(`"a"`, `"/b/../a"`, `"sealed"`, `"file"`, `"1"`),
		"path with //":                     file(`"a"`, `"//a"`, `"sealed"`, `"file"`, `"1"`),
		"path with a slash after":          file(`"a"`, `"/a/"`, `"sealed"`, `"file"`, `"1"`),
		"protection of no kind":            file(`"a"`, `"/a"`, `"Sealed"`, `"file"`, `"1"`),
		"protection verity":                file(`"a"`, `"/a"`, `"verity"`, `"file"`, `"1"`),
		"role of no kind":                  file(`"a"`, `"/a"`, `"sealed"`, `"model"`, `"1"`),
		"role in another case":             file(`"a"`, `"/a"`, `"sealed"`, `"File"`, `"1"`),
		"empty role":                       file(`"a"`, `"/a"`, `"sealed"`, `""`, `"1"`),
		"launcher with a path":             file(`"a"`, `"/a"`, `"sealed"`, `"launcher"`, `"1"`),
		"argv with a digest":               file(`"a"`, `"/a"`, `"sealed"`, `"argv"`, `"1"`),
		"env with a digest":                file(`"a"`, `"/a"`, `"sealed"`, `"env"`, `"1"`),
		"file with a value":                strings.Replace(good, `"size":"1"`, `"size":"1","value":"x"`, 1),
		"no digests":                       digests(``),
		"digest twice":                     digests(`"sha256:` + hex1 + `","sha256:` + hex1 + `"`),
		"two of one scheme":                digests(`"sha256:` + hex1 + `","sha256:` + hexF + `"`),
		"nine digests":                     digests(strings.Repeat(`"sha256:`+hex1+`",`, 8) + `"sha256:` + hexF + `"`),
		"digest of 63 digits":              digests(`"sha256:` + hex1[1:] + `"`),
		"digest of 65 digits":              digests(`"sha256:0` + hex1 + `"`),
		"digest in capitals":               digests(`"sha256:` + strings.ToUpper(hexF) + `"`),
		"digest without scheme":            digests(`"` + hex1 + `"`),
		"digest of sha1":                   digests(`"sha1:` + hex1[24:] + `"`),
		"fsverity, other blocks":           digests(`"fsverity-sha256;block=1024:` + hex1 + `"`),
		"fsverity, no blocks":              digests(`"fsverity-sha256:` + hex1 + `"`),
		"dmverity, no salt":                digests(`"dmverity-sha256;block=4096:` + hex1 + `"`),
		"dmverity, empty salt":             digests(`"dmverity-sha256;block=4096;salt=:` + hex1 + `"`),
		"dmverity, half a byte":            digests(`"dmverity-sha256;block=4096;salt=abc:` + hex1 + `"`),
		"dmverity, upper case":             digests(`"dmverity-sha256;block=4096;salt=AB:` + hex1 + `"`),
		"dmverity, long salt":              digests(`"dmverity-sha256;block=4096;salt=` + strings.Repeat("ab", 257) + `:` + hex1 + `"`),
		"oms with parameter":               digests(`"oms-sha256;v=1:` + hex1 + `"`),
		"described, not weights":           `{"described":[{"name":"a","value":""}],"digest":["sha256:` + hex1 + `"],"name":"a","path":"/a","protection":"sealed","role":"file","size":"1"}`,
		"described by nothing":             weights(`[]`),
		"described twice":                  weights(`[{"name":"a","value":""},{"name":"a","value":""}]`),
		"described out of order":           weights(`[{"name":"b","value":""},{"name":"a","value":""}]`),
		"described at length":              weights(`[{"name":"a","value":"` + strings.Repeat("x", 257) + `"}]`),
		"manifest with protection":         `{"digest":["oms-sha256:` + hex1 + `"],"name":"a","path":"/a","protection":"sealed","role":"manifest","size":"1"}`,
		"manifest of a folder in weights":  `{"digest":["oms-sha256:` + hex1 + `"],"name":"a/b","path":"/a/b","role":"manifest","size":"1"}`,
		"signature of a folder in weights": `{"digest":["sha256:` + hex1 + `"],"name":"a/b","role":"model-signature","size":"1"}`,
		"manifest without path":            `{"digest":["oms-sha256:` + hex1 + `"],"name":"a","role":"manifest","size":"1"}`,
		"signature with path":              `{"digest":["sha256:` + hex1 + `"],"name":"a","path":"/a","role":"model-signature","size":"1"}`,
		"image without digest":             `{"name":"a","path":"/","role":"image","size":"1"}`,
		"limit with description":           `{"described":[{"name":"a","value":""}],"name":"A","role":"limit","value":"1"}`,
		"digest with parameter":            digests(`"sha256;block=4096:` + hex1 + `"`),
		"digest of two":                    digests(`"sha256:` + hex1 + `:` + hex1 + `"`),
		"digest with a newline":            digests(`"sha256:` + hex1 + `\n"`),
		"argv empty":                       `{"role":"argv","value":[]}`,
		"argv without value":               `{"role":"argv"}`,
		"argv a string":                    `{"role":"argv","value":"true"}`,
		"argv of numbers":                  `{"role":"argv","value":[1]}`,
		"argv with null":                   `{"role":"argv","value":["a",null]}`,
		"argv nested":                      `{"role":"argv","value":[["a"]]}`,
		"argv with a name":                 `{"name":"a","role":"argv","value":["a"]}`,
		"env without name":                 `{"role":"env","value":"a"}`,
		"env without value":                `{"name":"A","role":"env"}`,
		"env a number":                     `{"name":"A","role":"env","value":1}`,
		"env a list":                       `{"name":"A","role":"env","value":["a"]}`,
		"env with a path":                  `{"name":"A","path":"/a","role":"env","value":"a"}`,
		"too deep":                         `{"role":"argv","value":[[[[[[[["a"]]]]]]]]}`,
	} {
		c, err := cer.ParseComponent([]byte(text))
		if c != nil || !errors.Is(err, cer.ErrSchema) && !errors.Is(err, cer.ErrStrict) {
			t.Errorf("%s: %v, %v", name, c, err)
		}
	}
	for _, size := range notNumbers {
		text := file(`"a"`, `"/a"`, `"sealed"`, `"file"`, `"`+size+`"`)
		if c, err := cer.ParseComponent([]byte(text)); c != nil || !errors.Is(err, cer.ErrSchema) {
			t.Errorf("size %q: %v, %v", size, c, err)
		}
	}
}

// TestImageProtection: the digest of a volume stands with its protection, and no other
// does.
func TestImageProtection(t *testing.T) {
	volume, manifest := cer.DMVerityDigest([32]byte{1}, nil), "sha256:"+hex1
	for _, c := range []struct {
		role, protection string
		digest           []string
		ok               bool
	}{
		{cer.RoleImage, "", []string{manifest}, true},
		{cer.RoleImage, cer.ProtectionDMVerity, []string{volume}, true},
		{cer.RoleImage, "", []string{volume}, false},
		{cer.RoleImage, "", []string{manifest, volume}, false},
		{cer.RoleImage, cer.ProtectionDMVerity, []string{manifest}, false},
		{cer.RoleImage, cer.ProtectionDMVerity, []string{volume, manifest}, false},
		{cer.RoleImage, cer.ProtectionDMVerity, nil, false},
		{cer.RoleImage, cer.ProtectionFSVerity, []string{volume}, false},
		{cer.RoleImage, cer.ProtectionSealed, []string{manifest}, false},
		{cer.RoleImage, cer.ProtectionNone, []string{manifest}, false},
		{cer.RoleManifest, cer.ProtectionDMVerity, []string{volume}, false},
		{cer.RoleManifest, cer.ProtectionSealed, []string{manifest}, false},
	} {
		x := &cer.Component{Role: c.role, Name: "image", Path: "/", Digest: c.digest, Size: "1", Protection: c.protection}
		b, err := x.Encode()
		if (err == nil) != c.ok || err != nil && !errors.Is(err, cer.ErrSchema) {
			t.Errorf("%s %v %q: %v", c.role, c.digest, c.protection, err)
		}
		if !c.ok {
			continue
		}
		if got, err := cer.ParseComponent(b); err != nil || got.Protected() != (c.protection != "") || got.IsFile() {
			t.Errorf("%s %v %q reads %+v, %v", c.role, c.digest, c.protection, got, err)
		}
	}
}

// notNumbers are no decimal u64 in its one spelling.
var notNumbers = []string{
	"", "-1", "+1", "01", "00", " 1", "1 ", "1.0", "1e1", "0x1", "1_0", "١", "18446744073709551616", "99999999999999999999999", "-0", "NaN",
}

func TestParseUint(t *testing.T) {
	for text, want := range map[string]uint64{"0": 0, "1": 1, "10": 10, "18446744073709551615": 1<<64 - 1} {
		if got, err := cer.ParseUint(text); err != nil || got != want {
			t.Errorf("ParseUint(%q) = %d, %v", text, got, err)
		}
	}
	for _, text := range notNumbers {
		if got, err := cer.ParseUint(text); got != 0 || !errors.Is(err, cer.ErrSchema) {
			t.Errorf("ParseUint(%q) = %d, %v", text, got, err)
		}
	}
}

// What is refused when it is read is refused when it is written.
func TestComponentEncodeRefuses(t *testing.T) {
	for name, c := range map[string]*cer.Component{
		"zero":               {},
		"no digest":          {Role: cer.RoleLauncher, Name: "sworn", Size: "1"},
		"value no JSON":      {Role: cer.RoleEnv, Name: "A", Value: jsontext.Value(`"a`)},
		"argv of no strings": {Role: cer.RoleArgv, Value: jsontext.Value(`[1]`)},
		"not UTF-8":          {Role: cer.RoleEnv, Name: "\xff", Value: jsontext.Value(`"a"`)},
	} {
		if b, err := c.Encode(); b != nil || !errors.Is(err, cer.ErrSchema) {
			t.Errorf("%s: %s, %v", name, b, err)
		}
	}
	if _, err := cer.NewArgv([]string{"\xff"}); !errors.Is(err, cer.ErrSchema) {
		t.Errorf("argv that is not UTF-8: %v", err)
	}
	if _, err := cer.NewEnv("A", "\xff"); !errors.Is(err, cer.ErrSchema) {
		t.Errorf("value that is not UTF-8: %v", err)
	}
}

func TestComponentKey(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range []cer.Component{
		{Role: "argv"}, {Role: "env", Name: "a"}, {Role: "env", Name: `a"`}, {Role: "env", Name: "a\x00"}, {Role: "file", Name: "a"}, {Role: "env"},
	} {
		seen[c.Key()] = true
	}
	if len(seen) != 6 || !seen[`env "a"`] || !seen["argv"] {
		t.Errorf("keys %v", seen)
	}
}

func TestArgv(t *testing.T) {
	words := []string{"tesseract", "", "{weights.dir}", "naïve\n"}
	c, err := cer.NewArgv(words)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Argv()
	if err != nil || !slices.Equal(got, words) {
		t.Errorf("argv %q, %v", got, err)
	}
	e, err := cer.NewEnv("A", `x"y`)
	if err != nil || string(e.Value) != `"x\"y"` {
		t.Errorf("env %s, %v", e.Value, err)
	}
	if _, err := e.Argv(); !errors.Is(err, cer.ErrSchema) {
		t.Errorf("argv of env: %v", err)
	}
}

const environmentText = `{"facts":[{"name":"a","value":""},{"name":"b","value":"yes"}],"kind":"isolation"}`

func TestEnvironment(t *testing.T) {
	want := &cer.Environment{Kind: cer.KindIsolation, Facts: []cer.Fact{{Name: "a"}, {Name: "b", Value: "yes"}}}
	e, err := cer.ParseEnvironment([]byte(environmentText))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, e); d != "" {
		t.Error(d)
	}
	made := cer.NewEnvironment(cer.KindIsolation, []cer.Fact{{Name: "b", Value: "yes"}, {Name: "a"}})
	if b, err := made.Encode(); err != nil || string(b) != environmentText {
		t.Errorf("encodes to %s, %v", b, err)
	}
	if v, ok := e.Get("b"); v != "yes" || !ok {
		t.Errorf("b is %q, %v", v, ok)
	}
	for _, none := range []*cer.Environment{e, nil} {
		if v, ok := none.Get("c"); v != "" || ok {
			t.Errorf("c is %q, %v", v, ok)
		}
	}
	for _, kind := range []string{cer.KindIsolation, cer.KindMemory, cer.KindLimits, cer.KindParameters, cer.KindNonce, cer.KindHost} {
		b, err := cer.NewEnvironment(kind, nil).Encode()
		if err != nil || string(b) != `{"facts":[],"kind":"`+kind+`"}` {
			t.Errorf("%s: %s, %v", kind, b, err)
		}
		if _, err := cer.ParseEnvironment(b); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestEnvironmentRefuses(t *testing.T) {
	parse := func(b []byte) (any, error) { return orNil(cer.ParseEnvironment(b)) }
	wantRefused(t, append(mutations(t, []byte(environmentText)), framings(environmentText)...), nil, parse)
	for name, text := range map[string]string{
		"kind of no kind": `{"facts":[],"kind":"Isolation"}`,
		"empty kind":      `{"facts":[],"kind":""}`,
		"descending":      `{"facts":[{"name":"b","value":""},{"name":"a","value":""}],"kind":"host"}`,
		"name twice":      `{"facts":[{"name":"a","value":""},{"name":"a","value":"x"}],"kind":"host"}`,
		"empty name":      `{"facts":[{"name":"","value":""}],"kind":"host"}`,
	} {
		if e, err := cer.ParseEnvironment([]byte(text)); e != nil || !errors.Is(err, cer.ErrSchema) {
			t.Errorf("%s: %v, %v", name, e, err)
		}
	}
	if b, err := (&cer.Environment{}).Encode(); b != nil || !errors.Is(err, cer.ErrSchema) {
		t.Errorf("the zero environment: %s, %v", b, err)
	}
}

const originText = `{"firmware":"00010002aabbccdd","identity":"sha256:` + hex1 + `","resetCount":"3","restartCount":"0",` +
	`"start":[{"bank":"sha256","value":"` + hexF + `"},{"bank":"sha384","value":"` + hex1 + `00112233445566778899aabbccddeeff"}],"v":1}`

func TestOrigin(t *testing.T) {
	o, err := cer.ParseOrigin([]byte(originText))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := o.Encode(); err != nil || string(b) != originText {
		t.Errorf("encodes to %s, %v", b, err)
	}
	alg, v, err := o.StartValue(1)
	if err != nil || alg != attest.SHA384 || len(v) != 48 || v[47] != 0xff {
		t.Errorf("start value %v %x, %v", alg, v, err)
	}
}

func TestOriginRefuses(t *testing.T) {
	parse := func(b []byte) (any, error) { return orNil(cer.ParseOrigin(b)) }
	wantRefused(t, append(mutations(t, []byte(originText)), framings(originText)...), nil, parse)
	for name, edit := range map[string][2]string{
		"version 0":          {`"v":1`, `"v":0`},
		"version 2":          {`"v":1`, `"v":2`},
		"unknown bank":       {`"sha256","value"`, `"sm3","value"`},
		"bank in capitals":   {`"sha256","value"`, `"SHA256","value"`},
		"banks descending":   {`"sha256","value":"` + hexF + `"},{"bank":"sha384","value":"` + hex1 + `00112233445566778899aabbccddeeff"`, `"sha384","value":"` + hex1 + `00112233445566778899aabbccddeeff"},{"bank":"sha256","value":"` + hexF + `"`},
		"bank twice":         {`"sha384","value":"` + hex1 + `00112233445566778899aabbccddeeff"`, `"sha256","value":"` + hex1 + `"`},
		"value too short":    {`ccddeeff"}]`, `ccddee"}]`},
		"value too long":     {`ccddeeff"}]`, `ccddeeff00"}]`},
		"value in capitals":  {hexF, strings.ToUpper(hexF)},
		"value no hex":       {hexF, "g" + hexF[1:]},
		"no start values":    {originText[strings.Index(originText, `[`) : strings.Index(originText, `]`)+1], `[]`},
		"firmware short":     {"00010002aabbccdd", "010002aabbccdd"},
		"firmware capitals":  {"00010002aabbccdd", "00010002AABBCCDD"},
		"firmware with 0x":   {"00010002aabbccdd", "0x010002aabbccdd"},
		"identity no digest": {"sha256:" + hex1, hex1},
		"reset count":        {`"resetCount":"3"`, `"resetCount":"03"`},
		"restart count":      {`"restartCount":"0"`, `"restartCount":"-1"`},
	} {
		text := strings.Replace(originText, edit[0], edit[1], 1)
		if text == originText {
			t.Fatalf("%s: changes nothing", name)
		}
		if o, err := cer.ParseOrigin([]byte(text)); o != nil || !errors.Is(err, cer.ErrSchema) {
			t.Errorf("%s: %v, %v", name, o, err)
		}
	}
	five := strings.Replace(originText, `[{`, `[{"bank":"sha1","value":"`+hex1[24:]+`"},{"bank":"sha1","value":"`+hex1[24:]+`"},{"bank":"sha1","value":"`+hex1[24:]+`"},{`, 1)
	if o, err := cer.ParseOrigin([]byte(five)); o != nil || !errors.Is(err, cer.ErrSchema) {
		t.Errorf("five banks: %v, %v", o, err)
	}
	if b, err := (&cer.Origin{}).Encode(); b != nil || !errors.Is(err, cer.ErrSchema) {
		t.Errorf("the zero origin: %s, %v", b, err)
	}
}

const beginText = `{"clock":"123456","series":"` + hex1 + `","v":1}`

func TestBegin(t *testing.T) {
	b, err := cer.ParseBegin([]byte(beginText))
	if err != nil {
		t.Fatal(err)
	}
	if out, err := b.Encode(); err != nil || string(out) != beginText {
		t.Errorf("encodes to %s, %v", out, err)
	}
	parse := func(b []byte) (any, error) { return orNil(cer.ParseBegin(b)) }
	wantRefused(t, append(mutations(t, []byte(beginText)), framings(beginText)...), nil, parse)
	for name, edit := range map[string][2]string{
		"version 2":          {`"v":1`, `"v":2`},
		"series short":       {hex1, hex1[1:]},
		"series in capitals": {hex1, strings.ToUpper(hexF)},
		"series with scheme": {hex1, "sha256:" + hex1},
		"clock negative":     {`"123456"`, `"-1"`},
		"clock with unit":    {`"123456"`, `"123456 ms"`},
	} {
		text := strings.Replace(beginText, edit[0], edit[1], 1)
		if b, err := cer.ParseBegin([]byte(text)); b != nil || !errors.Is(err, cer.ErrSchema) {
			t.Errorf("%s: %v, %v", name, b, err)
		}
	}
	if out, err := (&cer.Begin{}).Encode(); out != nil || !errors.Is(err, cer.ErrSchema) {
		t.Errorf("the zero begin: %s, %v", out, err)
	}
}

func FuzzParseEvent(f *testing.F) {
	seeds := []string{environmentText, originText, beginText}
	for _, s := range componentTexts {
		seeds = append(seeds, s)
	}
	if len(seeds) < 10 {
		f.Fatal("no seeds")
	}
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	type event interface{ Encode() ([]byte, error) }
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err1 := cer.ParseComponent(b)
		e, err2 := cer.ParseEnvironment(b)
		o, err3 := cer.ParseOrigin(b)
		g, err4 := cer.ParseBegin(b)
		accepted := 0
		for _, x := range []struct {
			v   event
			nil bool
			err error
		}{{c, c == nil, err1}, {e, e == nil, err2}, {o, o == nil, err3}, {g, g == nil, err4}} {
			if x.nil != (x.err != nil) {
				t.Fatalf("value %v, error %v", x.v, x.err)
			}
			if x.err != nil {
				if !errors.Is(x.err, cer.ErrStrict) && !errors.Is(x.err, cer.ErrSchema) {
					t.Fatalf("error %v", x.err)
				}
				continue
			}
			accepted++
			if out, err := x.v.Encode(); err != nil || string(out) != string(b) {
				t.Fatalf("encodes to %s, %v", out, err)
			}
		}
		if accepted > 1 {
			t.Fatal("one text is the data of two kinds of events")
		}
	})
}
