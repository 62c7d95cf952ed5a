package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
)

// published is the SHA-256 of the text that llama2.c's own test expects of the
// model stories260K after 200 steps at temperature 0.
const published = "f5a0e67db7424051520e7d8db9880b3dc2aa13577db570c28805c1b51c42eaf0"

// stories returns the files of the model stories260K, which is not part of the
// project, and skips the test where they are absent.
func stories(t *testing.T) (modelPath, tokenizerPath string) {
	t.Helper()
	shared := os.Getenv("SWORN_SHARED")
	if shared == "" {
		shared = filepath.Join("..", "..", "..", "shared")
	}
	modelPath = filepath.Join(shared, "models", "stories260K.bin")
	tokenizerPath = filepath.Join(shared, "models", "tok512.bin")
	for _, path := range []string{modelPath, tokenizerPath} {
		if _, err := os.Stat(path); err != nil {
			t.Skipf("models/%s of the shared folder is absent", filepath.Base(path))
		}
	}
	return modelPath, tokenizerPath
}

func TestStoriesAreThePublishedText(t *testing.T) {
	m, z := stories(t)
	var stdout, stderr bytes.Buffer
	if got := run([]string{"-m", m, "-z", z, "-n", "200"}, strings.NewReader(""), &stdout, &stderr); got != exitOK {
		t.Fatalf("run = %d; stderr:\n%s", got, &stderr)
	}
	sum := sha256.Sum256(stdout.Bytes())
	if got := hex.EncodeToString(sum[:]); got != published {
		t.Errorf("SHA-256 of the text = %s, want %s; text:\n%s", got, published, &stdout)
	}
	if stderr.Len() != 0 {
		t.Errorf("stderr is not empty:\n%s", &stderr)
	}
}

func TestStoriesContinueAPrompt(t *testing.T) {
	m, z := stories(t)
	const prompt = "One day, Tim and Sue"
	var given, read bytes.Buffer
	if got := run([]string{"-m", m, "-z", z, "-n", "60", "-p", prompt}, errorReader(), &given, io.Discard); got != exitOK {
		t.Fatalf("run with -p = %d", got)
	}
	if got := run([]string{"-m", m, "-z", z, "-n", "60"}, strings.NewReader(prompt+"\n"), &read, io.Discard); got != exitOK {
		t.Fatalf("run with a prompt on standard input = %d", got)
	}
	if given.String() != read.String() {
		t.Errorf("-p gives %q, standard input %q", &given, &read)
	}
	if text := given.String(); !strings.HasPrefix(text, prompt) || len(text) < len(prompt)+20 {
		t.Errorf("text = %q, want the prompt and more", text)
	}
}

// errorReader fails when it is read.
func errorReader() io.Reader { return iotest.ErrReader(errors.New("no input")) }

// brokenWriter fails when it is written to.
type brokenWriter struct{}

// Write implements io.Writer.
func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// files writes the synthetic model and tokenizer into a folder of the test.
func files(t *testing.T) (modelPath, tokenizerPath string) {
	t.Helper()
	dir := t.TempDir()
	modelPath, tokenizerPath = filepath.Join(dir, "model.bin"), filepath.Join(dir, "tok.bin")
	for path, data := range map[string][]byte{modelPath: modelFile(tiny()), tokenizerPath: tokenizerFile(tinyTokens())} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return modelPath, tokenizerPath
}

func TestRunExitStatus(t *testing.T) {
	m, z := files(t)
	empty := strings.NewReader
	tests := map[string]struct {
		args   []string
		stdin  io.Reader
		stdout io.Writer
		want   int
	}{
		"all steps":             {[]string{"-m", m, "-z", z}, empty(""), nil, exitOK},
		"prompt given":          {[]string{"-m", m, "-z", z, "-p", "ab"}, errorReader(), nil, exitOK},
		"empty prompt given":    {[]string{"-m", m, "-z", z, "-p", ""}, errorReader(), nil, exitOK},
		"temperature":           {[]string{"-m", m, "-z", z, "-t", "0.8", "-s", "9"}, empty("ab\n"), nil, exitOK},
		"help":                  {[]string{"-h"}, errorReader(), nil, exitOK},
		"no flags":              {nil, errorReader(), nil, exitFailure},
		"no tokenizer":          {[]string{"-m", m}, errorReader(), nil, exitFailure},
		"unknown flag":          {[]string{"-m", m, "-z", z, "-x"}, errorReader(), nil, exitFailure},
		"surplus argument":      {[]string{"-m", m, "-z", z, "ab"}, errorReader(), nil, exitFailure},
		"negative steps":        {[]string{"-m", m, "-z", z, "-n", "-1"}, errorReader(), nil, exitFailure},
		"more than the context": {[]string{"-m", m, "-z", z, "-n", "25"}, errorReader(), nil, exitFailure},
		"negative temperature":  {[]string{"-m", m, "-z", z, "-t", "-1"}, errorReader(), nil, exitFailure},
		"temperature NaN":       {[]string{"-m", m, "-z", z, "-t", "NaN"}, errorReader(), nil, exitFailure},
		"model absent":          {[]string{"-m", m + "x", "-z", z}, errorReader(), nil, exitFailure},
		"tokenizer absent":      {[]string{"-m", m, "-z", z + "x"}, errorReader(), nil, exitFailure},
		"files exchanged":       {[]string{"-m", z, "-z", m}, errorReader(), nil, exitFailure},
		"folder as model":       {[]string{"-m", filepath.Dir(m), "-z", z}, errorReader(), nil, exitFailure},
		"prompt unreadable":     {[]string{"-m", m, "-z", z}, errorReader(), nil, exitFailure},
		"prompt too long":       {[]string{"-m", m, "-z", z, "-n", "3"}, empty("zzz"), nil, exitFailure},
		"prompt far too long":   {[]string{"-m", m, "-z", z}, empty(strings.Repeat("a", maxPromptBytes+2)), nil, exitFailure},
		"output closed":         {[]string{"-m", m, "-z", z}, empty(""), brokenWriter{}, exitFailure},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if tt.stdout == nil {
				tt.stdout = &stdout
			}
			if got := run(tt.args, tt.stdin, tt.stdout, &stderr); got != tt.want {
				t.Errorf("run = %d, want %d; stderr:\n%s", got, tt.want, &stderr)
			}
			if tt.want == exitFailure && (stderr.Len() == 0 || stdout.Len() != 0) {
				t.Errorf("a failure left %q on stdout and %q on stderr", &stdout, &stderr)
			}
		})
	}
}

func TestReadPromptDropsOneNewline(t *testing.T) {
	for in, want := range map[string]string{"": "", "a": "a", "a\n": "a", "a\n\n": "a\n", "\n": "", "a\nb": "a\nb"} {
		if got, err := readPrompt(strings.NewReader(in)); err != nil || got != want {
			t.Errorf("readPrompt(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
}
