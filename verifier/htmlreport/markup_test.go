package htmlreport_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/internal/browser"
	"github.com/sworn-run/sworn/verifier"
	"github.com/sworn-run/sworn/verifier/htmlreport"
)

// elements and attributes are all that a report may be made of.
func elements() []string {
	return strings.Fields(`html head body meta title style header main footer section h1 h2 h3 h4 p span code bdi dl dt dd
		div ol li table caption thead tbody tr th td figure svg desc g rect path text`)
}

func attributes() []string {
	return []string{
		"html lang", "meta charset", "meta http-equiv", "meta content", "meta name", "section class", "section aria-labelledby",
		"h1 id", "h2 id", "h3 id", "p class", "span class", "dl class", "div class", "ol class", "th class", "th scope", "figure class", "title id", "desc id",
		"svg viewBox", "svg role", "svg aria-hidden", "svg focusable", "svg aria-labelledby", "svg aria-describedby",
		"g class", "rect x", "rect y", "rect width", "rect height", "rect rx", "rect class", "path d", "path class", "path fill-opacity",
		"text x", "text y", "text class",
	}
}

// closed reads a document and wants it to be made of these alone, under its policy.
func closed(tb testing.TB, doc []byte) *browser.Markup {
	tb.Helper()
	m, err := browser.Read(doc)
	if err != nil {
		tb.Fatal(err)
	}
	for _, e := range m.Elements {
		if !slices.Contains(elements(), e) {
			tb.Fatalf("element %q", e)
		}
	}
	for _, a := range m.Attributes {
		_, name, _ := strings.Cut(a, " ")
		if !slices.Contains(attributes(), a) || strings.HasPrefix(name, "on") || slices.Contains([]string{"href", "src", "style", "srcdoc", "action"}, name) {
			tb.Fatalf("attribute %q", a)
		}
	}
	if n := strings.Count(strings.Join(m.Attributes, ","), "th scope"); n != count(m.Elements, "th") {
		tb.Fatalf("%d headers of tables, %d with a scope", count(m.Elements, "th"), n)
	}
	sum := sha256.Sum256([]byte(m.Style))
	want := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; img-src data:; base-uri 'none'; form-action 'none'"
	if m.Policy != want || m.Policy != htmlreport.Policy() {
		tb.Fatalf("policy %q, want %q", m.Policy, want)
	}
	if strings.Contains(m.Style, "url(") || strings.Contains(m.Style, "@import") {
		tb.Fatal("the style sheet names something")
	}
	return m
}

func count(list []string, s string) int {
	n := 0
	for _, x := range list {
		if x == s {
			n++
		}
	}
	return n
}

// TestClosed: the documents that people get.
func TestClosed(t *testing.T) {
	r := report(t, nil)
	doc := htmlreport.Render(htmlreport.Record{File: "page.cer.json", Report: r})
	m := closed(t, doc)
	for _, e := range []string{"main", "h1", "svg", "table", "dl"} {
		if !slices.Contains(m.Elements, e) {
			t.Errorf("no %s", e)
		}
	}
	if !bytes.Equal(doc, htmlreport.Render(htmlreport.Record{File: "page.cer.json", Report: report(t, nil)})) {
		t.Error("the same report gives other bytes")
	}
	for _, records := range [][]htmlreport.Record{nil, {{}}, {{Report: r}, {}, {File: "<x>"}}} {
		closed(t, htmlreport.Render(records...))
	}
	// All that the text for people says stands in the document.
	account := r.Account()
	for _, s := range slices.Concat(account.Proven, account.Claimed, account.NotEstablished, account.Why) {
		if !strings.Contains(m.Text, s.Text) {
			t.Errorf("does not say %q", s.Text)
		}
	}
	for i := range r.Checks {
		for _, s := range []string{r.Checks[i].ID, r.Checks[i].Passes, r.Checks[i].Detail, r.Checks[i].Want, r.Checks[i].Got, r.Checks[i].Spec} {
			if !strings.Contains(m.Text, s) {
				t.Errorf("does not show %q", s)
			}
		}
	}
	for _, fields := range r.Summary.Evidence {
		for _, f := range fields {
			if !strings.Contains(m.Text, f.Name) || !strings.Contains(m.Text, f.Value) {
				t.Errorf("does not show %v", f)
			}
		}
	}
	for _, s := range []string{r.Capsule, r.Policy, r.Roots, r.Verifier, r.Now.Horizon, r.Summary.CertificateHash, r.Summary.EvidenceDigest} {
		if s == "" || !strings.Contains(m.Text, s) {
			t.Errorf("does not show %q", s)
		}
	}
}

// hostile are texts that break out of what is not escaped, that lie about the order of
// what is read, and that are long.
func hostile() []string {
	return []string{
		`<script>alert(1)</script>`, `</title><img src=x onerror=alert(1)>`, `"><svg onload=alert(1)>`, `' onclick='x`, `]]><b>`, `--!><b>`, `<!--`, `&lt;b&gt;`, `&#x3c;b`,
		`</style><style>*{}`, `javascript:alert(1)`, "\x00\x01\x1b[2J\x7f\u0085\u009b31m", "a\u202egnp.exe\u2066x\u2069\u200f\u061c", "\u2028\u2029\r\n", "\ufeff\u200b\U000e0041\u3164\ufe0f",
		"\xff\xfe\xc0\xaf", "\ufffd\uffff\U0010ffff", "\u05d0\u05d1 12 \u05d2", "a" + strings.Repeat("\u0301", 60), strings.Repeat("\u05d0\u0301 ", 3000), strings.Repeat("<&\"'>", 4000),
		strings.Repeat("x", 70000), strings.Repeat("\x80", 5000), "${x}{{.}}`", "\t\v\f", "\u00a0\u2003 ",
	}
}

// filler fills every text of a report with texts of its own.
type filler struct {
	next func() string
	n    func(most int) int
}

// fill fills a value.
func (f *filler) fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(f.next())
	case reflect.Bool:
		v.SetBool(f.n(2) == 1)
	case reflect.Int:
		v.SetInt(int64(f.n(9)))
	case reflect.Pointer:
		if f.n(4) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			f.fill(v.Elem())
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), f.n(4), 4))
		for i := range v.Len() {
			f.fill(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() && v.Type().Field(i).Name != "Content" {
				f.fill(v.Field(i))
			}
		}
	default:
	}
}

// TestHostile: every text of a report, whatever it holds, is text of the document, and the
// document is made of the same elements as that of an honest one.
func TestHostile(t *testing.T) {
	for _, status := range []string{"", "passed", "failed", "not established", "not applicable"} {
		for i, s := range hostile() {
			if status != "" && len(s) > 1000 {
				continue
			}
			var r verifier.Report
			f := filler{next: func() string { return s }, n: func(most int) int { return most - 1 }}
			f.fill(reflect.ValueOf(&r).Elem())
			for j := range r.Checks {
				if status != "" {
					r.Checks[j].Status, r.Checks[j].ID = status, verifier.CheckIDs()[(i+j)%len(verifier.CheckIDs())]
				}
			}
			doc := htmlreport.Render(htmlreport.Record{File: s, Report: &r}, htmlreport.Record{})
			m := closed(t, doc)
			if count(m.Elements, "style") != 1 || count(m.Elements, "meta") != 5 || count(m.Elements, "main") != 1 {
				t.Errorf("%.40q: %v", s, m.Elements)
			}
			if len(doc) > 8<<20 {
				t.Errorf("%.40q: %d bytes", s, len(doc))
			}
			if i < 11 && !strings.Contains(m.Text, s) {
				t.Errorf("%.40q is not shown", s)
			}
		}
	}
}

// TestEveryText: no text of a report that says something of the record is left out.
func TestEveryText(t *testing.T) {
	var r verifier.Report
	var texts []string
	f := filler{n: func(most int) int { return most - 1 }, next: func() string {
		texts = append(texts, fmt.Sprintf("t%04dt", len(texts)))
		return texts[len(texts)-1]
	}}
	f.fill(reflect.ValueOf(&r).Elem())
	text := closed(t, htmlreport.Render(htmlreport.Record{Report: &r})).Text
	// What the document does not repeat: which checks are not established stands in the
	// table, a check that was waived is called assumed there, and of the streams the
	// account tells.
	left := map[string]bool{}
	for _, x := range texts {
		if !strings.Contains(text, x) {
			left[where(reflect.ValueOf(r), x, "")] = true
		}
	}
	for path := range left {
		if !regexp.MustCompile(`^(\.Decides|\.NotEstablished\[\]|\.(Record)?Checks\[\]\.Status|\.Summary\.(Input|Output|Stderr|Exit|Limits|Wasm|Parameters|Booted).*)$`).MatchString(path) {
			t.Errorf("%s is not shown", path)
		}
	}
	if len(texts) < 150 {
		t.Errorf("%d texts", len(texts))
	}
}

// where returns the path of a text in a value.
func where(v reflect.Value, text, path string) string {
	switch v.Kind() {
	case reflect.String:
		if v.String() == text {
			return path
		}
	case reflect.Pointer:
		if !v.IsNil() {
			return where(v.Elem(), text, path)
		}
	case reflect.Slice:
		for i := range v.Len() {
			if p := where(v.Index(i), text, path+"[]"); p != "" {
				return p
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if p := where(v.Field(i), text, path+"."+v.Type().Field(i).Name); p != "" {
				return p
			}
		}
	default:
	}
	return ""
}

// FuzzRender: whatever a report holds, the document is made of the closed list alone.
func FuzzRender(f *testing.F) {
	for _, s := range hostile() {
		f.Add([]byte(s))
	}
	f.Add([]byte("\x01\x01passed\x02failed\x03not established"))
	f.Fuzz(func(t *testing.T, data []byte) {
		i := 0
		take := func(n int) []byte {
			if len(data) == 0 {
				return nil
			}
			out := make([]byte, n)
			for j := range out {
				out[j] = data[i%len(data)]
				i++
			}
			return out
		}
		fill := filler{
			n: func(most int) int {
				if b := take(1); b != nil {
					return int(b[0]) % most
				}
				return 0
			},
			next: func() string {
				if b := take(1); b != nil {
					words := []string{"passed", "failed", "not established", "slot.identity", "time.token", "record", "launcher.rooted"}
					if b[0] < 14 {
						return words[int(b[0])%len(words)]
					}
					return string(take(int(b[0]) % 48))
				}
				return ""
			},
		}
		var r verifier.Report
		fill.fill(reflect.ValueOf(&r).Elem())
		record := htmlreport.Record{File: string(take(9)), Report: &r}
		doc := htmlreport.Render(record)
		closed(t, doc)
		if !bytes.Equal(doc, htmlreport.Render(record)) {
			t.Error("the same report gives other bytes")
		}
	})
}

// TestContrast: text and background of each look have a contrast of 4.5 to 1 at least
// (WCAG 2.2, 1.4.3), in light, in dark and in print.
func TestContrast(t *testing.T) {
	style := closed(t, htmlreport.Render()).Style
	themes := regexp.MustCompile(`:root\{([^}]*)\}`).FindAllStringSubmatch(style, -1)
	if len(themes) != 3 {
		t.Fatalf("%d themes", len(themes))
	}
	for _, theme := range themes {
		colours := map[string]float64{}
		for _, c := range regexp.MustCompile(`--([a-z]+):#([0-9a-f]{6})`).FindAllStringSubmatch(theme[1], -1) {
			colours[c[1]] = luminance(t, c[2])
		}
		for ink, grounds := range map[string][]string{
			"ink": {"bg", "tint", "passbg", "failbg", "openbg"}, "soft": {"bg", "tint"}, "pass": {"bg", "tint", "passbg"},
			"fail": {"bg", "tint", "failbg"}, "open": {"bg", "tint", "openbg"}, "none": {"bg", "tint"},
		} {
			for _, ground := range grounds {
				a, b := colours[ink], colours[ground]
				if ratio := (max(a, b) + .05) / (min(a, b) + .05); ratio < 4.5 {
					t.Errorf("%s on %s: %.2f", ink, ground, ratio)
				}
			}
		}
	}
}

// luminance is the relative luminance of a colour of sRGB.
func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	sum := 0.0
	for i, weight := range []float64{.2126, .7152, .0722} {
		n, err := strconv.ParseUint(hex[2*i:2*i+2], 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		c := float64(n) / 255
		if c <= .04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+.055)/1.055, 2.4)
		}
		sum += weight * c
	}
	return sum
}
