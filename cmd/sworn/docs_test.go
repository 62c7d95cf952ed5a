//go:build linux

package main

import (
	"bytes"
	"context"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// update makes TestManPages write what it would compare.
var update = flag.Bool("update", false, "write the man pages to docs/man")

// manDate is the date in the man pages: that of the release, so that the same
// source gives the same pages on any day.
var manDate = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

// walk calls f for a command and everything below it.
func walk(cmd *cobra.Command, f func(*cobra.Command)) {
	f(cmd)
	for _, c := range cmd.Commands() {
		walk(c, f)
	}
}

// TestManPages compares docs/man with the commands; -update writes it.
func TestManPages(t *testing.T) {
	made := t.TempDir()
	root := (&app{stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard}).command()
	root.DisableAutoGenTag = true
	header := &doc.GenManHeader{Section: "1", Date: &manDate, Source: "Sworn " + version, Manual: "Sworn"}
	if err := doc.GenManTree(root, header, made); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join("..", "..", "docs", "man")
	if *update {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(dir, os.DirFS(made)); err != nil {
			t.Fatal(err)
		}
	}
	want, got := pages(t, made), pages(t, dir)
	if len(want) < 10 {
		t.Fatalf("only %d pages were made", len(want))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("docs/man differs from the commands (-want +got); run: go test ./cmd/sworn -run TestManPages -update\n%s", diff)
	}
}

// pages reads the files of a folder.
func pages(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = string(b)
	}
	return all
}

// TestCommandsAreDocumented wants a one-line summary, a description and an
// example of every command, the example beginning with the command's own name,
// and a sentence about every flag.
func TestCommandsAreDocumented(t *testing.T) {
	root := (&app{stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard}).command()
	n := 0
	walk(root, func(c *cobra.Command) {
		n++
		path := c.CommandPath()
		switch {
		case c.Short == "" || strings.ContainsAny(c.Short, "\n") || strings.HasSuffix(c.Short, "."):
			t.Errorf("%s: short is %q, want one line without a full stop", path, c.Short)
		case strings.TrimSpace(c.Long) == "":
			t.Errorf("%s has no description", path)
		case !strings.HasPrefix(c.Example, "  "+path):
			t.Errorf("%s: example is %q, want lines two columns in, the first with the command", path, c.Example)
		}
	})
	if n < 15 {
		t.Errorf("only %d commands", n)
	}
}

// complete returns what completing a command line offers, less what the shell
// leaves out because it begins otherwise than the last word.
func complete(t *testing.T, args ...string) []string {
	t.Helper()
	var out, errs bytes.Buffer
	if code := run(context.Background(), append([]string{"__completeNoDesc"}, args...), strings.NewReader(""), &out, &errs); code != 0 {
		t.Fatalf("completing %q: exit %d: %s", args, code, errs.String())
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	lines = lines[:len(lines)-1] // The last one is a directive.
	return slices.DeleteFunc(lines, func(s string) bool { return !strings.HasPrefix(s, args[len(args)-1]) })
}

// TestCompletions completes commands, and every flag that takes one of a few
// values.
func TestCompletions(t *testing.T) {
	for _, test := range []struct {
		args []string
		want []string
	}{
		{[]string{"ver"}, []string{"verify"}},
		{[]string{"policy", "from-"}, []string{"from-boot", "from-files", "from-launch", "from-record"}},
		{[]string{"verify", "--format", ""}, []string{"text", "json", "html", "ear"}},
		{[]string{"inspect", "--extract", ""}, []string{"input", "output", "stderr"}},
		{[]string{"run", "--disclose", ""}, []string{"hash", "full", "commit"}},
		{[]string{"run", "--isolation", ""}, []string{"best-effort", "strict"}},
		{[]string{"run", "--ak", ""}, []string{"auto", "enrolled", "provider", "child"}},
		{[]string{"run", "--bank", ""}, []string{"sha256", "sha384", "sha512"}},
		{[]string{"policy", "from-files", "--bank", "sha2"}, []string{"sha256"}},
		{[]string{"appraise", "--kind", ""}, []string{"tpm", "eventlog", "ccel", "ima", "sev-snp", "tdx", "sgx", "azure-snp", "azure-tdx", "nitro", "nitrotpm"}},
		{[]string{"verify", "--waive", "launcher.r"}, []string{"launcher.rooted="}},
		{[]string{"verify", "--waive", "launcher.rooted=be"}, nil},
	} {
		got := complete(t, test.args...)
		if !slices.Equal(got, test.want) {
			t.Errorf("%q offers %q, want %q", test.args, got, test.want)
		}
	}
}
