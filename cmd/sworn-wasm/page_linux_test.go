package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/internal/browser"
	"github.com/sworn-run/sworn/testdata"
)

// bench is the page in a browser, and the command line beside it.
type bench struct {
	page  *browser.Page
	dir   string
	sworn string
}

// open builds page and command line, and opens the page from its file.
func open(ctx context.Context, t *testing.T) *bench {
	t.Helper()
	if _, err := browser.Find(); errors.Is(err, browser.ErrMissing) {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	b := &bench{dir: t.TempDir()}
	wasm, html := filepath.Join(b.dir, "verifier.wasm"), filepath.Join(b.dir, "sworn.html")
	b.sworn = filepath.Join(b.dir, "sworn")
	goBuild(ctx, t, []string{"GOOS=js", "GOARCH=wasm", "CGO_ENABLED=0"}, wasm, ".")
	goBuild(ctx, t, []string{"CGO_ENABLED=0"}, b.sworn, "../sworn")
	root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	if code := run([]string{wasm, filepath.Join(strings.TrimSpace(string(root)), "lib/wasm/wasm_exec.js"), "../../testdata/golden/full.cer.json", "../../testdata/golden/policy.json", html}, t.Output()); code != 0 {
		t.Fatal("the page cannot be put together")
	}
	chromium, err := browser.Start(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = chromium.Close() })
	if b.page, err = chromium.Open(ctx, "file://"+html, browser.View{Width: 1280, Height: 900}); err != nil {
		t.Fatal(err)
	}
	b.until(ctx, t, `document.documentElement.dataset.started !== undefined`)
	return b
}

// goBuild builds one command with what is set beside the environment.
func goBuild(ctx context.Context, t *testing.T, env []string, out, pkg string) {
	t.Helper()
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-buildid= -s -w", "-o", out, pkg)
	cmd.Env = append(os.Environ(), env...)
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
}

// eval evaluates an expression, which may be a promise.
func (b *bench) eval(ctx context.Context, t *testing.T, expression string, into any) {
	t.Helper()
	if err := b.page.Eval(ctx, expression, into); err != nil {
		t.Fatalf("%.200s: %v", expression, err)
	}
}

// until waits for something to become true.
func (b *bench) until(ctx context.Context, t *testing.T, expression string) {
	t.Helper()
	for {
		var is bool
		b.eval(ctx, t, expression, &is)
		if is {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("never: %s", expression)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// dropped is a file as it is dropped.
type dropped struct {
	Path string `json:"path"`
	Data string `json:"data"`
}

// drop drops files onto the page as a person does, all at once, and waits for what it says.
func (b *bench) drop(ctx context.Context, t *testing.T, files ...dropped) {
	t.Helper()
	text, err := json.Marshal(files)
	if err != nil {
		t.Fatal(err)
	}
	var n int
	b.eval(ctx, t, `(() => {
  const all = `+string(text)+`, transfer = new DataTransfer();
  for (const f of all) transfer.items.add(new File([Uint8Array.from(atob(f.data), (c) => c.charCodeAt(0))], f.path));
  document.getElementById("drop").dispatchEvent(new DragEvent("dragover", { bubbles: true, cancelable: true, dataTransfer: transfer }));
  document.getElementById("drop").dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: transfer }));
  return transfer.files.length;
})()`, &n)
	if n != len(files) {
		t.Fatalf("%d of %d files dropped", n, len(files))
	}
	b.settle(ctx, t)
}

// settle waits until the page has said what it has to say.
func (b *bench) settle(ctx context.Context, t *testing.T) {
	t.Helper()
	b.eval(ctx, t, `new Promise((yes) => setTimeout(() => setTimeout(() => yes(true), 60), 60))`, new(bool))
	b.until(ctx, t, `!["Verifying.", "The verifier is starting."].includes(document.getElementById("status").textContent)`)
}

// clear starts again.
func (b *bench) clear(ctx context.Context, t *testing.T) {
	t.Helper()
	b.eval(ctx, t, `(document.getElementById("clear").click(), true)`, new(bool))
	b.settle(ctx, t)
}

// says are the status and the problem that are shown.
func (b *bench) says(ctx context.Context, t *testing.T) (status, problem string) {
	t.Helper()
	b.eval(ctx, t, `document.getElementById("status").textContent`, &status)
	b.eval(ctx, t, `document.getElementById("problem").textContent`, &problem)
	return status, problem
}

func drop(name string, data []byte) dropped {
	return dropped{name, base64.StdEncoding.EncodeToString(data)}
}

// TestPage: a person drops files on the page, and it says what the command line says.
func TestPage(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 12*time.Minute)
	defer cancel()
	b := open(ctx, t)
	t.Run("records", func(t *testing.T) { b.records(ctx, t) })
	t.Run("archives", func(t *testing.T) { b.archives(ctx, t) })
	t.Run("wrong files", func(t *testing.T) { b.wrong(ctx, t) })
	t.Run("large", func(t *testing.T) { b.large(ctx, t) })
	t.Run("people", func(t *testing.T) { b.people(ctx, t) })
	t.Run("network", func(t *testing.T) { b.network(ctx, t) })
	var started, took string
	b.eval(ctx, t, `document.documentElement.dataset.started`, &started)
	b.eval(ctx, t, `document.documentElement.dataset.took || ""`, &took)
	t.Logf("started in %s ms; the last verdict took %s ms", started, took)
}

// digestOf is the verifier's digest in a report, which is the executable's and so not the
// page's.
var digestOf = regexp.MustCompile(`("verifier": ?"sworn [^ "]+) sha256:[0-9a-f]{64}"`)

// timeOf is the time of the verdict as of now.
var timeOf = regexp.MustCompile(`"verdictNow": ?\{[^}]*"time": ?"([^"]+)"`)

// commandLine is the report of the command line, but for the digest of its executable.
func (b *bench) commandLine(ctx context.Context, t *testing.T, args ...string) (report []byte, at time.Time) {
	t.Helper()
	report, at = b.archiveLine(ctx, t, args...)
	if at.IsZero() {
		t.Fatalf("%v: no time in %.300s", args, report)
	}
	return report, at
}

// write puts a golden folder or file beside the command line.
func (b *bench) write(t *testing.T, name string, data []byte) {
	t.Helper()
	name = filepath.Join(b.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// capsules are the golden records by their path, each with its policy and its nonce.
func capsules(t *testing.T) map[string][2]string {
	t.Helper()
	out := map[string][2]string{}
	err := fs.WalkDir(testdata.Golden, "golden", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, ".cer.json") {
			return err
		}
		name = strings.TrimPrefix(name, "golden/")
		policy, nonce := "policy.json", strings.TrimSuffix(name, ".cer.json")+".nonce"
		if dir, base, ok := strings.Cut(name, "/"); ok {
			kind, _, _ := strings.Cut(base, ".")
			policy, nonce = dir+"/"+kind+".policy.json", dir+"/tee.nonce"
		}
		out[name] = [2]string{policy, nonce}
		return nil
	})
	if err != nil || len(out) < 6 {
		t.Fatal(len(out), err)
	}
	return out
}

// records compares all golden records, and each with a bit flipped, bit for bit.
func (b *bench) records(ctx context.Context, t *testing.T) {
	compared := 0
	for name, beside := range capsules(t) {
		for _, flipped := range []bool{false, true} {
			b.clear(ctx, t)
			roots := "roots"
			if strings.HasPrefix(name, "tee/") {
				roots = "tee/roots"
			}
			record, nonce := golden(t, name), strings.TrimSpace(string(golden(t, beside[1])))
			if flipped {
				record[len(record)/2] ^= 1
			}
			b.write(t, "record.cer.json", record)
			b.write(t, "policy.json", golden(t, beside[0]))
			files := []dropped{drop("record.cer.json", record), drop("policy.json", golden(t, beside[0]))}
			for _, f := range rootFiles(t, roots) {
				b.write(t, f.Path, f.Data)
			}
			want, at := b.commandLine(ctx, t, "--policy", "policy.json", "--roots", roots, "--nonce", nonce, "record.cer.json")
			b.eval(ctx, t, fmt.Sprintf(`(Date.now = () => %d, document.getElementById("nonce").value = %q, true)`, at.UnixMilli(), nonce), new(bool))
			b.addRoots(ctx, t, rootFiles(t, roots))
			b.drop(ctx, t, files...)
			var got string
			b.eval(ctx, t, `(swornAnswer() || {}).json || ""`, &got)
			if got != string(want) {
				status, problem := b.says(ctx, t)
				t.Fatalf("%s: the page says (%s; %s)\n%.2000s\nthe command line\n%.2000s", name, status, problem, got, want)
			}
			compared++
			// The first records of machines have a nonce of their own.
			first := strings.Contains(name, ".first.")
			if trusted := bytes.Contains(want, []byte(`"trusted": true`)); trusted != (!flipped && !first) {
				t.Errorf("%s, flipped %v: trusted %v", name, flipped, trusted)
			}
		}
	}
	t.Logf("%d reports are the same bit for bit", compared)
}

// archives compares archives of records: whole, with a record changed, and cut short.
func (b *bench) archives(ctx context.Context, t *testing.T) {
	names := []string{"full.cer.json", "golden.cer.json", "page.cer.json"}
	for _, name := range names {
		b.write(t, "packed/"+name, golden(t, name))
	}
	for _, f := range rootFiles(t, "roots") {
		b.write(t, f.Path, f.Data)
	}
	b.write(t, "policy.json", golden(t, "policy.json"))
	cmd := exec.CommandContext(ctx, b.sworn, "archive", "-o", "whole.tar", "packed")
	cmd.Dir = b.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	whole, err := os.ReadFile(filepath.Join(b.dir, "whole.tar"))
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Replace(whole, []byte("self-hosted"), []byte("self-hostee"), 1)
	for what, data := range map[string][]byte{"whole": whole, "changed": changed, "cut": whole[:len(whole)-4096], "head": whole[:1024]} {
		b.clear(ctx, t)
		b.write(t, "a.tar", data)
		args := []string{"--policy", "policy.json", "--roots", "roots", "--nonce", strings.TrimSpace(string(golden(t, "page.nonce"))), "a.tar"}
		want, at := b.archiveLine(ctx, t, args...)
		if at.IsZero() {
			at = now
		}
		b.eval(ctx, t, fmt.Sprintf(`(Date.now = () => %d, document.getElementById("nonce").value = %q, true)`, at.UnixMilli(), args[5]), new(bool))
		b.addRoots(ctx, t, rootFiles(t, "roots"))
		b.drop(ctx, t, drop("a.tar", data), drop("policy.json", golden(t, "policy.json")))
		var got string
		b.eval(ctx, t, `(swornAnswer() || {}).json || ""`, &got)
		status, problem := b.says(ctx, t)
		if got != string(want) {
			t.Fatalf("%s: the page says (%s; %s)\n%.2000s\nthe command line\n%.2000s", what, status, problem, got, want)
		}
		if strings.HasPrefix(status, "not trusted: archive: ") != (what != "whole") {
			t.Errorf("%s: %s", what, status)
		}
	}
}

// archiveLine is what the command line says of an archive, but for the digest of its
// executable, and when; of one in which there is no record it tells no time.
func (b *bench) archiveLine(ctx context.Context, t *testing.T, args ...string) (report []byte, at time.Time) {
	t.Helper()
	cmd := exec.CommandContext(ctx, b.sworn, append([]string{"verify", "--json"}, args...)...)
	cmd.Dir = b.dir
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		t.Fatalf("%v: %v", args, err)
	}
	if m := timeOf.FindSubmatch(out); m != nil {
		if at, err = time.Parse(time.RFC3339, string(m[1])); err != nil {
			t.Fatal(err)
		}
	}
	return digestOf.ReplaceAll(out, []byte(`$1"`)), at
}

// addRoots gives a folder, as its input does.
func (b *bench) addRoots(ctx context.Context, t *testing.T, roots []file) {
	t.Helper()
	var all []dropped
	for _, r := range roots {
		all = append(all, drop(r.Path, r.Data))
	}
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	b.eval(ctx, t, `(() => {
  const input = document.getElementById("folder"), transfer = new DataTransfer();
  for (const f of `+string(text)+`) {
    const file = new File([Uint8Array.from(atob(f.data), (c) => c.charCodeAt(0))], f.path.split("/").pop());
    Object.defineProperty(file, "webkitRelativePath", { value: f.path });
    transfer.items.add(file);
  }
  // A list made by a script does not keep what was defined on its files.
  const files = `+string(text)+`;
  const list = [...transfer.files].map((f, i) => (Object.defineProperty(f, "webkitRelativePath", { value: files[i].path }), f));
  Object.defineProperty(input, "files", { value: list, configurable: true });
  input.dispatchEvent(new Event("change"));
  delete input.files;
  return true;
})()`, new(bool))
	b.settle(ctx, t)
}

// wrong drops what is no record, no policy and no root: each is answered in a line, and
// the page goes on.
func (b *bench) wrong(ctx context.Context, t *testing.T) {
	record := golden(t, "page.cer.json")
	for name, x := range map[string]struct {
		files   []dropped
		status  string
		problem string
	}{
		"a picture":            {[]dropped{drop("x.png", []byte("\x89PNG\r\n\x1a\n"))}, "not trusted: no policy given; evidence not genuine (capsule.strict: ", ""},
		"nothing in it":        {[]dropped{drop("empty", nil)}, "not trusted: no policy given; evidence not genuine (capsule.strict: ", ""},
		"a policy alone":       {[]dropped{drop("policy.json", golden(t, "policy.json"))}, "No verdict.", "no record is there. "},
		"a policy of nothing":  {[]dropped{drop("p.json", []byte(`{"type":"sworn.policy/v1"}`)), drop("r.cer.json", record)}, "No verdict.", "p.json: invalid policy"},
		"a root without role":  {[]dropped{drop("ca.pem", []byte("-----BEGIN CERTIFICATE-----\n")), drop("r.cer.json", record)}, "No verdict.", "ca.pem is a certificate or key"},
		"a name full of marks": {[]dropped{drop("<img src=x onerror=alert(1)>\u202etxt.json", []byte("{}"))}, "not trusted: ", ""},
		"a hostile record":     {[]dropped{drop("r.cer.json", []byte(`{"cer":"<script>alert(1)</script>"}`+"\n"))}, "not trusted: ", ""},
	} {
		b.clear(ctx, t)
		b.drop(ctx, t, x.files...)
		status, problem := b.says(ctx, t)
		if !strings.HasPrefix(status, x.status) || !strings.HasPrefix(problem, x.problem) || (x.problem == "") != (problem == "") {
			t.Errorf("%s: %q, %q", name, status, problem)
		}
	}
	var elements int
	if b.eval(ctx, t, `document.querySelectorAll("img, #list script").length`, &elements); elements != 0 {
		t.Error("a file's name became an element")
	}
	b.clear(ctx, t)
	b.drop(ctx, t, drop("page.cer.json", record))
	if status, _ := b.says(ctx, t); !strings.HasPrefix(status, "not trusted: no policy given; ") {
		t.Error(status)
	}
}

// large drops 20 MB that are no record, and one byte more than is ever read.
func (b *bench) large(ctx context.Context, t *testing.T) {
	for _, x := range []struct{ size, what string }{{"20 << 20", "capsule.strict"}, {"(64 << 20) + 1", "has more than 64 MiB"}} {
		b.clear(ctx, t)
		b.eval(ctx, t, `(() => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([new Uint8Array(`+x.size+`).fill(123)], "large.cer.json"));
  window.dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: transfer }));
  return true;
})()`, new(bool))
		b.until(ctx, t, `document.getElementById("problem").textContent !== "" || document.getElementById("status").className !== ""`)
		status, problem := b.says(ctx, t)
		if !strings.Contains(status+problem, x.what) {
			t.Errorf("%s: %q, %q", x.size, status, problem)
		}
	}
}

// people: the page can be used by keyboard and read aloud, at the width of a phone too.
func (b *bench) people(ctx context.Context, t *testing.T) {
	b.clear(ctx, t)
	b.addRoots(ctx, t, rootFiles(t, "roots"))
	b.eval(ctx, t, fmt.Sprintf(`(document.getElementById("nonce").value = %q, true)`, strings.TrimSpace(string(golden(t, "page.nonce")))), new(bool))
	b.drop(ctx, t, drop("policy.json", golden(t, "policy.json")), drop("page.cer.json", golden(t, "page.cer.json")))
	if status, problem := b.says(ctx, t); !strings.HasPrefix(status, "trusted, assuming: ") {
		t.Fatal(status, problem)
	}
	b.until(ctx, t, `(document.getElementById("report").contentDocument || {}).title !== "" && document.getElementById("report").clientHeight > 1000`)
	for name, view := range map[string]browser.View{
		"desktop": {Width: 1280, Height: 900}, "phone": {Width: 390, Height: 844, Scale: 2, Mobile: true}, "small": {Width: 320, Height: 640, Mobile: true},
	} {
		if err := b.page.Look(ctx, view); err != nil {
			t.Fatal(err)
		}
		b.settle(ctx, t)
		width, height, err := b.page.Size(ctx)
		if err != nil || width > view.Width {
			t.Errorf("%s: %d wide, %v", name, width, err)
		}
		if dir := os.Getenv("SWORN_SCREENS"); dir != "" {
			png, err := b.page.Screenshot(ctx, 0, min(height, 2400))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "page-"+name+".png"), png, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	var problems []string
	b.eval(ctx, t, `[
  ...[...document.querySelectorAll("input, select, button, iframe")].filter((e) => !(e.labels && e.labels.length) && !e.getAttribute("aria-label") && !e.title && !e.textContent.trim()).map((e) => "no name: " + e.outerHTML),
  ...[...document.querySelectorAll("input, select, button")].filter((e) => !e.closest("[hidden]") && e.tabIndex < 0).map((e) => "not by keyboard: " + e.outerHTML),
  ...[...document.querySelectorAll("section")].filter((e) => !document.getElementById(e.getAttribute("aria-labelledby"))).map((e) => "a section without a title"),
  ...(document.documentElement.lang === "en" ? [] : ["no language"]),
  ...(document.getElementById("status").getAttribute("aria-live") === "polite" ? [] : ["the status is not read aloud"]),
]`, &problems)
	if len(problems) > 0 {
		t.Errorf("%q", problems)
	}
}

// network: the page asked for nothing, cannot, and nothing in it complains but what was
// tried here.
func (b *bench) network(ctx context.Context, t *testing.T) {
	if got := b.page.Complaints(); len(got) > 0 {
		t.Errorf("the browser complains: %q", got)
	}
	if got := b.page.Requests(); len(got) > 0 {
		t.Errorf("the page asks for %q", got)
	}
	var blocked bool
	b.eval(ctx, t, `fetch("http://127.0.0.1:1/").then(() => false, (e) => true)`, &blocked)
	var policy string
	b.eval(ctx, t, `document.querySelector("meta[http-equiv=Content-Security-Policy]").content`, &policy)
	for _, want := range []string{"default-src 'none'", "connect-src 'none'", "form-action 'none'", "base-uri 'none'", "'wasm-unsafe-eval'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy %q has no %s", policy, want)
		}
	}
	if !blocked || strings.Contains(policy, "'unsafe") || strings.Contains(policy, "http") {
		t.Errorf("fetch blocked %v, %s", blocked, policy)
	}
}
