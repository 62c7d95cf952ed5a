package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/launch"
)

// readme returns README.md.
func readme(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// tour returns the shell commands of the README's tour.
func tour(t *testing.T, text string) string {
	t.Helper()
	_, text, _ = strings.Cut(text, "\n## A tour\n")
	text, _, _ = strings.Cut(text, "\n## ")
	var script strings.Builder
	for _, block := range regexp.MustCompile("(?s)\n```sh\n(.*?\n)```\n").FindAllStringSubmatch(text, -1) {
		script.WriteString(block[1])
	}
	if n := strings.Count(script.String(), "\nbin/sworn "); n < 5 {
		t.Fatalf("the tour has only %d commands", n)
	}
	return script.String()
}

// TestREADME runs the commands of the README's tour as they stand there, but for
// folders of the test's own and the program that is under test, and wants the
// verdict that the README shows.
func TestREADME(t *testing.T) {
	needTPM(t)
	needTesseract(t)
	text := readme(t)
	sworn, err := program()
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	dir := newFolder(t)
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"bin/sworn": sworn, "examples": filepath.Join(root, "examples")} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	script := strings.NewReplacer("/tmp/", dir+"/", "bin/sworn run ", "bin/sworn run --state "+dir+"/state ").Replace(tour(t, text))
	if swaps() {
		script = strings.ReplaceAll(script, " --waive launcher.rooted", ` --waive protection.memory="the README says so" --waive launcher.rooted`)
	}
	script = "set -eu -o pipefail\nmake() { [ \"$*\" = build ]; }\n" + script
	t.Cleanup(func() { _ = exec.Command(sworn, "simulate", "tpm", "--dir", dir+"/tpm", "--stop").Run() })
	cmd := exec.CommandContext(t.Context(), "bash", "-c", script)
	cmd.Dir = dir
	cmd.Env = environment("HOME=" + dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, script, out)
	}
	if swaps() {
		return
	}
	shown := regexp.MustCompile(`(?m)^    (trusted, assuming: .*)$`).FindStringSubmatch(text)
	if shown == nil {
		t.Fatal("the README shows no verdict")
	}
	// It shows a part of a fingerprint that is another each time.
	want := regexp.MustCompile(`[0-9a-f]+…`).ReplaceAllString(regexp.QuoteMeta(shown[1]), "[0-9a-f]{16}")
	if !regexp.MustCompile("(?m)^" + want + "$").Match(out) {
		t.Errorf("no line of the tour's output is the verdict that the README shows, %q\n%s", shown[1], out)
	}
}

// needTesseract skips a test where there is no Tesseract, but not in CI.
func needTesseract(t *testing.T) {
	t.Helper()
	out, err := exec.Command("tesseract", "--list-langs").Output()
	if err == nil && slices.Contains(strings.Fields(string(out)), "eng") {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("tesseract-ocr or tesseract-ocr-eng is missing: %v", err)
	}
	t.Skip("tesseract-ocr or tesseract-ocr-eng is missing")
}

// swaps reports whether this machine swaps to disk.
func swaps() bool {
	return slices.ContainsFunc(launch.MemoryFacts(), func(f cer.Fact) bool {
		return f.Name == "swap" && f.Value != "none" && f.Value != "zram"
	})
}

// TestREADMENamesCommands wants every command in the README's table.
func TestREADMENamesCommands(t *testing.T) {
	text := readme(t)
	root := (&app{stdin: &bytes.Buffer{}, stdout: io.Discard, stderr: io.Discard}).command()
	for _, c := range root.Commands() {
		if c.Name() != "help" && !strings.Contains(text, "\n| `"+c.CommandPath()) {
			t.Errorf("the README's table lacks %q", c.CommandPath())
		}
	}
}
