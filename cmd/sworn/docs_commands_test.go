//go:build linux

package main

import (
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// shellBlocks returns the shell commands of a document, lines that go on joined.
func shellBlocks(text string) string {
	var script strings.Builder
	for _, block := range regexp.MustCompile("(?s)\n```sh\n(.*?\n)```\n").FindAllStringSubmatch(text, -1) {
		script.WriteString(strings.ReplaceAll(block[1], "\\\n", " "))
	}
	return script.String()
}

// words splits a command line as a shell does, without expanding anything.
func words(line string) []string {
	var out []string
	for _, w := range regexp.MustCompile(`(?:[^\s"']|"[^"]*"|'[^']*')+`).FindAllString(line, -1) {
		out = append(out, strings.NewReplacer(`"`, "", `'`, "").Replace(w))
	}
	return out
}

// TestDocumentsCommands: every command of sworn's that a document shows is one
// there is, with flags it has, and in each there are some.
func TestDocumentsCommands(t *testing.T) {
	for name, least := range map[string]int{"FIRST-DAY.md": 6, "PROOF.md": 6, "LEDGER.md": 5, "COLLATERAL.md": 3, "CONFIDENTIAL-VMS.md": 6, "REPLAY.md": 3, "WEIGHTS.md": 6, "../README.md": 6} {
		n := 0
		for l := range strings.Lines(regexp.MustCompile(` -- +sworn run `).ReplaceAllString(shellBlocks(document(t, name)), "\nsworn run ")) {
			l, _, _ = strings.Cut(strings.TrimSpace(l), " > ")
			l, _, _ = strings.Cut(l, " | ")
			l, _, _ = strings.Cut(l, " & ")
			args, ok := strings.CutPrefix(strings.NewReplacer("E=$(", "", "sudo ", "", "bin/sworn", "sworn").Replace(l), "sworn ")
			if !ok {
				continue
			}
			n++
			root := (&app{stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard}).command()
			cmd, rest, err := root.Find(words(args))
			if err != nil || cmd == root {
				t.Errorf("%s: %q is no command: %v", name, l, err)
				continue
			}
			before, after, _ := strings.Cut(strings.Join(rest, "\x00"), "\x00--\x00")
			if err := cmd.ParseFlags(strings.Split(before, "\x00")); err != nil {
				t.Errorf("%s: %q: %v", name, l, err)
			}
			if runs := strings.HasPrefix(args, "run ") || strings.HasPrefix(args, "policy from-files "); runs != (after != "") {
				t.Errorf("%s: %q runs %q", name, l, after)
			}
		}
		if n < least {
			t.Errorf("%s shows only %d commands", name, n)
		}
	}
}

// runSection runs the commands of a section of a document as they stand there,
// but that folders below /tmp are below dir, and returns what they print.
// The software TPM of the section about CI is there before and gone afterwards.
func runSection(t *testing.T, name, section, dir string) string {
	t.Helper()
	needTPM(t)
	sworn, err := program()
	if err != nil {
		t.Fatal(err)
	}
	script := sectionScript(t, name, section, dir)
	tpm := []string{"simulate", "tpm", "--dir", dir + "/ci-tpm"}
	t.Cleanup(func() { _ = exec.Command(sworn, append(tpm, "--stop")...).Run() })
	if !strings.Contains(script, strings.Join(tpm, " ")+" --detach") {
		if out, err := exec.Command(sworn, append(tpm, "--detach")...).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-c", "set -eu -o pipefail\nsworn() { "+sworn+" \"$@\"; }\n"+script)
	cmd.Dir = dir
	cmd.Env = environment("HOME=" + dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, script, out)
	}
	return string(out)
}

// sectionScript returns the commands of a section of a document, with the folder dir for
// /tmp.
func sectionScript(t *testing.T, name, section, dir string) string {
	t.Helper()
	_, text, found := strings.Cut(document(t, name), "\n## "+section+"\n")
	if !found {
		t.Fatalf("%s has no section %q", name, section)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	script := strings.ReplaceAll(shellBlocks(text), "/tmp/", dir+"/")
	if swaps() {
		script = strings.ReplaceAll(script, " --waive launcher.rooted", ` --waive protection.memory="swap" --waive launcher.rooted`)
	}
	return script
}

// TestConfidentialVMsInCI runs the commands of docs/CONFIDENTIAL-VMS.md for CI as they
// stand there, but for a folder and a port of the test's own.
func TestConfidentialVMsInCI(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("only root mounts a kernel's files")
		}
		t.Skip("only root mounts a kernel's files")
	}
	sworn, err := program()
	if err != nil {
		t.Fatal(err)
	}
	dir := newFolder(t)
	if err := os.Symlink(sworn, filepath.Join(dir, "sworn")); err != nil {
		t.Fatal(err)
	}
	script := strings.ReplaceAll(sectionScript(t, "CONFIDENTIAL-VMS.md", "In CI", dir), "127.0.0.1:8081", freeAddress(t))
	cmd := exec.CommandContext(t.Context(), "bash", "-c", "set -eu -o pipefail\ntrap 'kill $VENDOR' EXIT\n"+script+"\ntrap - EXIT\n")
	cmd.Dir = dir
	cmd.Env = append(environment("HOME="+dir), "PATH="+dir+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, script, out)
	}
	if !regexp.MustCompile(`(?m)^trusted, as known on [0-9-]+, assuming: user-supplied root "ARK-Milan SIMULATED" [0-9a-f]+$`).Match(out) {
		t.Errorf("no verdict in\n%s", out)
	}
}

// freeAddress returns an address of this machine at which nobody listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestFirstDayInPython runs the commands of docs/FIRST-DAY.md for a job in
// Python, as the test above.
func TestFirstDayInPython(t *testing.T) {
	if out, err := exec.Command("/usr/bin/python3", "-c", "import json, zipfile, sysconfig").CombinedOutput(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("the package python3 is missing: %v: %s", err, out)
		}
		t.Skip("the package python3 is missing")
	}
	dir := newFolder(t)
	out := runSection(t, "FIRST-DAY.md", "A job in Python", dir)
	if b, err := os.ReadFile(filepath.Join(dir, "answer.json")); err != nil || string(b) != `{"words": 2}`+"\n" {
		t.Errorf("answer.json holds %q, %v", b, err)
	}
	if !regexp.MustCompile(`ran python3, exit 0, `).MatchString(out) {
		t.Errorf("no Python ran in\n%s", out)
	}
}

// TestFirstDayInCI runs the commands of docs/FIRST-DAY.md for CI as they stand
// there, but for a folder of the test's own.
func TestFirstDayInCI(t *testing.T) {
	dir := newFolder(t)
	out := runSection(t, "FIRST-DAY.md", "In CI", dir)
	if !regexp.MustCompile(`(?m)^trusted, assuming: user-supplied root "SIMULATED TPM maker" `).MatchString(out) {
		t.Errorf("no verdict in\n%s", out)
	}
	for name, want := range map[string]string{"golden.out": "golden\n", "page.out": "page\n"} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(b) != want {
			t.Errorf("%s holds %q, %v", name, b, err)
		}
	}
}

// TestWeightsTried runs the commands of docs/WEIGHTS.md that need a TPM.
func TestWeightsTried(t *testing.T) {
	dir := newFolder(t)
	out := runSection(t, "WEIGHTS.md", "Try it", dir)
	if !regexp.MustCompile(`(?m)^trusted, assuming: user-supplied root "SIMULATED TPM maker" `).MatchString(out) {
		t.Errorf("no verdict in\n%s", out)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "llama.txt")); err != nil || !regexp.MustCompile(`^[0-9a-f]{64}  /model/default/llama/part-1.bin\n$`).Match(b) {
		t.Errorf("llama.txt holds %q, %v", b, err)
	}
}

// TestWeightsDigests runs the commands of docs/WEIGHTS.md that compare digests,
// and wants each from both tools.
func TestWeightsDigests(t *testing.T) {
	for _, tool := range []string{"fsverity", "veritysetup"} {
		if err := exec.Command(tool, "--version").Run(); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("%s is missing: %v", tool, err)
			}
			t.Skip(tool, "is missing")
		}
	}
	out := runSection(t, "WEIGHTS.md", "Digests, and who else computes them", newFolder(t))
	for name, pair := range map[string][2]string{
		"sha256":    {`(?m)^sha256:([0-9a-f]{64})  `, `(?m)^([0-9a-f]{64})  `},
		"fs-verity": {`fsverity-sha256;block=4096:([0-9a-f]{64})  `, `(?m)^sha256:([0-9a-f]{64}) [^ ]`},
		"dm-verity": {`dmverity-sha256;block=4096;salt=5eed:([0-9a-f]{64})  `, `Root hash:\s+([0-9a-f]{64})`},
	} {
		ours, theirs := regexp.MustCompile(pair[0]).FindStringSubmatch(out), regexp.MustCompile(pair[1]).FindStringSubmatch(out)
		if ours == nil || theirs == nil || ours[1] != theirs[1] {
			t.Errorf("%s: %q and %q in\n%s", name, ours, theirs, out)
		}
	}
	if !regexp.MustCompile(`(?m)^oms-sha256:[0-9a-f]{64}  `).MatchString(out) {
		t.Errorf("no digest of a model in\n%s", out)
	}
}
