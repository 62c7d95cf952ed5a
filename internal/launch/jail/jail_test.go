//go:build linux

package jail_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/internal/launch/elfdeps"
	"github.com/sworn-run/sworn/internal/launch/jail"
)

// jobTarget is where the test binary, as the job, stands in the root.
const jobTarget = "/bin/job"

// The test binary is executed again as init and stage by the package, as a job
// by the tests ("job:ROLE"), and as a launcher of its own where a test needs one
// that it can harden or kill ("launcher:ROLE").
func TestMain(m *testing.M) {
	jail.MaybeInit()
	if role, found := strings.CutPrefix(os.Args[0], "job:"); found {
		os.Exit(jobMain(role, os.Args[1:]))
	}
	if role, found := strings.CutPrefix(os.Args[0], "launcher:"); found {
		os.Exit(launcherMain(role))
	}
	os.Exit(m.Run())
}

// jobFiles are the test binary and what it needs.
func jobFiles() ([]jail.File, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return program(exe, jobTarget)
}

// program lists a program, at a target, and what it needs.
func program(source, target string) ([]jail.File, error) {
	res, err := elfdeps.Closure(source, elfdeps.Options{})
	if err != nil {
		return nil, err
	}
	files := []jail.File{{ID: 7, Source: source, Target: target, Executable: true}}
	for i, d := range res.Deps {
		files = append(files, jail.File{ID: 100 + i, Source: d.Source, Target: d.Target, Executable: d.Role != elfdeps.RoleLibrary})
	}
	return files, nil
}

// newSpec returns a Spec that runs a role of the test binary.
func newSpec(role string, args ...string) (jail.Spec, error) {
	files, err := jobFiles()
	return jail.Spec{
		Files:   files,
		Command: jail.Command{Path: jobTarget, Argv: append([]string{"job:" + role}, args...)},
		Timeout: 30 * time.Second,
	}, err
}

// jobSpec is newSpec for a test.
func jobSpec(t *testing.T, role string, args ...string) jail.Spec {
	t.Helper()
	spec, err := newSpec(role, args...)
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// openSpec is jobSpec for an open run.
func openSpec(t *testing.T, role string, args ...string) jail.Spec {
	t.Helper()
	spec := jobSpec(t, role, args...)
	spec.ForceOpen = true
	spec.Open = &jail.Command{Path: spec.Files[0].Source, Argv: spec.Command.Argv}
	return spec
}

// ran is what came of a job.
type ran struct {
	exit     jail.Exit
	out, err string
	iso      jail.Isolation
}

// start starts a Jail that is closed with the test.
func start(t *testing.T, spec jail.Spec) *jail.Jail {
	t.Helper()
	j, err := jail.Start(context.Background(), spec)
	if err != nil {
		t.Fatalf("starting: %v", err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return j
}

// finish runs a started job to its end.
func finish(t *testing.T, j *jail.Jail, stdin io.Reader) ran {
	t.Helper()
	var out, errs bytes.Buffer
	exit, err := j.Run(context.Background(), jail.IO{Stdin: stdin, Stdout: &out, Stderr: &errs})
	if err != nil {
		t.Fatalf("running: %v", err)
	}
	return ran{exit, out.String(), errs.String(), j.Isolation()}
}

// runJob runs a job to its end.
func runJob(t *testing.T, spec jail.Spec, stdin string) ran {
	t.Helper()
	return finish(t, start(t, spec), strings.NewReader(stdin))
}

// write writes a file into a folder of the test and returns its path.
func write(t *testing.T, name string, b []byte) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(p, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return p
}
