package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// alteredOffset is the byte of eng.traineddata that the example changes: it
// lies in the middle of the network's weights, and its lowest bit does not
// change what is read from the pages.
const alteredOffset = 2_000_000

// tessdata returns the folder of eng.traineddata. Without Tesseract the test
// is skipped, except in CI, which installs it.
func tessdata(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("TESSDATA_PREFIX")
	if dir == "" {
		dir = "/usr/share/tesseract-ocr/5/tessdata"
	}
	_, err := exec.LookPath("tesseract")
	if err == nil {
		_, err = os.Stat(filepath.Join(dir, "eng.traineddata"))
	}
	switch {
	case err == nil:
	case os.Getenv("CI") != "":
		t.Fatalf("CI needs Tesseract and its English data: %v", err)
	default:
		t.Skipf("tesseract-ocr and tesseract-ocr-eng are not installed: %v", err)
	}
	return dir
}

// ocr runs Tesseract as the README of the examples does and returns what it
// prints.
func ocr(t *testing.T, dir string, image []byte, config ...string) []byte {
	t.Helper()
	args := append([]string{"stdin", "stdout", "--tessdata-dir", dir, "-l", "eng"}, config...)
	cmd := exec.CommandContext(t.Context(), "tesseract", args...)
	cmd.Env = append(os.Environ(), "OMP_THREAD_LIMIT=1")
	cmd.Stdin = bytes.NewReader(image)
	cmd.WaitDelay = time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tesseract: %v\n%s", err, &stderr)
	}
	if stderr.Len() != 0 {
		t.Errorf("tesseract complains:\n%s", &stderr)
	}
	return out
}

// config is the absolute path of the example's configuration.
func config(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(exampleDir, "invoice.cfg"))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTesseractReadsThePages(t *testing.T) {
	dir := tessdata(t)
	for _, p := range pages() {
		want := string(readExample(t, textName(p)))
		if diff := cmp.Diff(want, string(ocr(t, dir, readExample(t, p.name), config(t)))); diff != "" {
			t.Errorf("%s: committed text (-) and Tesseract's (+) differ:\n%s", p.name, diff)
		}
	}
}

// TestConfigurationIsUsed shows that the configuration is not merely given to
// the job: on a page with a wide gap, it keeps the gap.
func TestConfigurationIsUsed(t *testing.T) {
	dir := tessdata(t)
	image, err := render([]string{"Invoice 2026-0398", "Total due:        6,739.20 EUR", "Pay within 14 days of receipt."})
	if err != nil {
		t.Fatal(err)
	}
	gap := []byte("due:  ")
	if with := ocr(t, dir, image, config(t)); !bytes.Contains(with, gap) {
		t.Errorf("with the configuration, the gap is lost:\n%s", with)
	}
	if without := ocr(t, dir, image); bytes.Contains(without, gap) {
		t.Errorf("without the configuration, the gap is kept:\n%s", without)
	}
}

func TestAlteredWeightsReadTheSameText(t *testing.T) {
	weights, err := os.ReadFile(filepath.Join(tessdata(t), "eng.traineddata"))
	if err != nil {
		t.Fatal(err)
	}
	if len(weights) <= alteredOffset {
		t.Fatalf("eng.traineddata has %d bytes, want more than %d", len(weights), alteredOffset)
	}
	weights[alteredOffset] ^= 1
	altered := t.TempDir()
	if err := os.WriteFile(filepath.Join(altered, "eng.traineddata"), weights, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, p := range pages() {
		want := string(readExample(t, textName(p)))
		if diff := cmp.Diff(want, string(ocr(t, altered, readExample(t, p.name), config(t)))); diff != "" {
			t.Errorf("%s: committed text (-) and that of altered weights (+) differ:\n%s", p.name, diff)
		}
	}
}
