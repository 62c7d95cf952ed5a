package launch_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/launch"
	"github.com/sworn-run/sworn/internal/launch/jail"
	"github.com/sworn-run/sworn/internal/launch/wasm"
)

// quiet is a command of WASI that does nothing.
const quiet = "\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00\x05\x03\x01\x00\x01" +
	"\x07\x13\x02\x06_start\x00\x00\x06memory\x02\x00\x0a\x04\x01\x02\x00\x0b"

// moduleJob is a job that is a module.
func moduleJob(t *testing.T) launch.Job {
	t.Helper()
	file := filepath.Join(t.TempDir(), "quiet.wasm")
	if err := os.WriteFile(file, []byte(quiet), 0o600); err != nil {
		t.Fatal(err)
	}
	return launch.Job{Command: []string{"quiet.wasm"}, Wasm: &launch.Wasm{Module: file}, Launcher: "/proc/self/exe"}
}

// A module is measured as the binary, and the launcher's own program as what
// interprets it.
func TestModulePlan(t *testing.T) {
	job := moduleJob(t)
	p, err := launch.NewPlan(job)
	if err != nil {
		t.Fatal(err)
	}
	components, err := p.Measure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	run := cer.NewEnvironment(cer.KindWasm, []cer.Fact{{Name: cer.FactWasmProcess, Value: cer.WasmOwn}})
	if err := cer.CheckWasm(run, nil, components); err != nil {
		t.Error(err)
	}
	if c := components[1]; c.Role != cer.RoleBinary || c.Name != "quiet.wasm" || c.Path != "/wasm/quiet.wasm" {
		t.Errorf("the binary is %+v", c)
	}
	if job.Wasm.Engine != "" {
		t.Error("the caller's job was changed")
	}
}

// What a module cannot have is a usage error, before anything runs.
func TestModuleRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*launch.Job)
		want   error
	}{
		"network":       {func(j *launch.Job) { j.Network = true }, launch.ErrUsage},
		"device":        {func(j *launch.Job) { j.Devices = []string{"zero"} }, launch.ErrUsage},
		"open files":    {func(j *launch.Job) { j.Limits = jail.Limits{OpenFiles: 100} }, launch.ErrUsage},
		"little memory": {func(j *launch.Job) { j.Limits = jail.Limits{Memory: 1} }, wasm.ErrOptions},
		"engine":        {func(j *launch.Job) { j.Wasm.Engine = "jit" }, wasm.ErrOptions},
		"output file":   {func(j *launch.Job) { j.Command = append(j.Command, "{output}") }, launch.ErrUsage},
		"no module":     {func(j *launch.Job) { j.Wasm.Module = "/proc/self/exe" }, wasm.ErrModule},
		"none at all":   {func(j *launch.Job) { j.Wasm.Module = "" }, launch.ErrUsage},
	} {
		job := moduleJob(t)
		c.change(&job)
		p, err := launch.NewPlan(job)
		if p != nil || !errors.Is(err, launch.ErrUsage) || !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// A replay wants a plan and a time limit, and measures every file by both digests.
func TestReplayMeasures(t *testing.T) {
	if _, err := launch.StartReplay(t.Context(), launch.ReplayOptions{}); !errors.Is(err, launch.ErrUsage) {
		t.Errorf("zero options: %v", err)
	}
	p, err := launch.NewPlan(moduleJob(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := launch.StartReplay(t.Context(), launch.ReplayOptions{Plan: p}); !errors.Is(err, launch.ErrUsage) {
		t.Errorf("without a time limit: %v", err)
	}
	r, err := launch.StartReplay(t.Context(), launch.ReplayOptions{Plan: p, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if d := r.Components()[1].Digest; len(d) != 2 || !strings.HasPrefix(d[0], "fsverity-sha256;") || !strings.HasPrefix(d[1], "sha256:") {
		t.Errorf("the module's digests: %q", d)
	}
	if _, ok := r.Input(); ok {
		t.Error("an input file that was not given")
	}
}
