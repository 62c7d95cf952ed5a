package egodev_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestConfiguration: what is signed is no debug enclave, has room for a Go program, and lets
// the host write nowhere but where a job is.
func TestConfiguration(t *testing.T) {
	b, err := os.ReadFile("enclave.json")
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(strings.NewReader(string(b)))
	dec.DisallowUnknownFields()
	var c struct {
		Exe, Key                             string
		Debug, ExecutableHeap                *bool
		HeapSize, ProductID, SecurityVersion int
		Mounts                               []struct {
			Source, Target, Type string
			ReadOnly             bool
		}
		Env []struct {
			Name, Value string
			FromHost    bool
		}
		Files []struct{ Source, Target string }
	}
	if err := dec.Decode(&c); err != nil {
		t.Fatal(err)
	}
	if c.Exe != "sworn-enclave" || c.Key != "private.pem" || c.Debug == nil || *c.Debug || c.ExecutableHeap == nil || *c.ExecutableHeap ||
		c.HeapSize < 512 || c.ProductID < 1 || c.SecurityVersion < 1 || len(c.Files) != 0 {
		t.Errorf("%+v", c)
	}
	for _, m := range c.Mounts {
		if m.Type != "memfs" && (m.Type != "hostfs" || m.Target != "/job") {
			t.Errorf("mounts %+v", m)
		}
	}
	for _, e := range c.Env {
		if e.FromHost {
			t.Errorf("takes %s from the host", e.Name)
		}
	}
}

// TestPackagingAgrees: Dockerfile, script and module name one version of EGo, and what the
// script replaces in the configuration is there.
func TestPackagingAgrees(t *testing.T) {
	read := func(elem ...string) string {
		b, err := os.ReadFile(filepath.Join(elem...))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	config, script, docker, module := read("enclave.json"), read("..", "..", "tools", "enclave.sh"), read("Dockerfile"), read("..", "..", "go.mod")
	for _, text := range []string{`"files": []`, `"key": "private.pem"`} {
		if !strings.Contains(config, text) {
			t.Errorf("the configuration has no %s, which the script replaces", text)
		}
	}
	for _, text := range []string{"private.pem", "sworn-enclave", "enclave/egodev/enclave.json"} {
		if !strings.Contains(script, text) {
			t.Errorf("the script has no %s", text)
		}
	}
	i := strings.Index(module, "github.com/edgelesssys/ego v")
	if i < 0 {
		t.Fatal("the module needs no EGo")
	}
	version := strings.TrimPrefix(strings.Fields(module[i:])[1], "v")
	if !slices.Contains(strings.Fields(docker), "egover="+version) {
		t.Errorf("the Dockerfile is not of EGo %s", version)
	}
}

// TestBuildScript runs the script with stand-ins for EGo's programs: what is signed has the
// files and the key that were named, and without the programs it ends with status 2.
func TestBuildScript(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Fatal(err)
	}
	dir, out := t.TempDir(), t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	run := func(path string, env ...string) (int, string) {
		cmd := exec.Command(bash, filepath.Join("..", "..", "tools", "enclave.sh"), out)
		cmd.Env = append(os.Environ(), append(env, "PATH="+path)...)
		b, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return cmd.ProcessState.ExitCode(), string(b)
	}
	system := os.Getenv("PATH")
	if _, err := exec.LookPath("ego-go"); err != nil {
		if status, said := run(system); status != 2 || !strings.Contains(said, "ego-go is not installed") {
			t.Errorf("without EGo: status %d, %s", status, said)
		}
	}
	write("ego-go", "#!/bin/sh\necho \"$CGO_ENABLED $*\"\n", 0o700)
	write("ego", "#!/bin/sh\ncase $1 in uniqueid) echo aa;; signerid) echo bb;; sign) test -f \"$2\";; esac\n", 0o700)
	module, key := write("job.wasm", "module", 0o600), write("key.pem", "key", 0o600)
	status, said := run(dir+":"+system, "SWORN_EMBED="+module, "SWORN_SIGNING_KEY="+key)
	for _, text := range []string{"1 build -tags ego ", "./cmd/sworn", "unique_id aa", "signer_id bb"} {
		if status != 0 || !strings.Contains(said, text) {
			t.Fatalf("status %d, no %q in:\n%s", status, text, said)
		}
	}
	var c struct {
		Key   string
		Debug *bool
		Files []struct{ Source, Target string }
	}
	b, err := os.ReadFile(filepath.Join(out, "enclave.json"))
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil || c.Key != key || c.Debug == nil || *c.Debug || len(c.Files) != 1 || c.Files[0].Source != module || c.Files[0].Target != "/embedded/job.wasm" {
		t.Errorf("%s, %v", b, err)
	}
	for _, bad := range []string{filepath.Join(dir, "missing"), write("a|b", "", 0o600)} {
		if status, said := run(dir+":"+system, "SWORN_EMBED="+bad); status != 1 || !strings.Contains(said, "SWORN_EMBED") {
			t.Errorf("embedding %s: status %d, %s", bad, status, said)
		}
	}
}
