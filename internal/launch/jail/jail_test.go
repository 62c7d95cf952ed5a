//go:build linux

package jail_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/internal/launch/elfdeps"
	"github.com/sworn-run/sworn/internal/launch/jail"
)

// jobTarget is where the tests' job stands in the root.
const jobTarget = "/bin/job"

// jobVariable is the environment variable that holds the path of the tests' job.
const jobVariable = "JAIL_TEST_JOB"

// The test binary is executed again as init and stage by the package, and as a
// launcher of its own where a test needs one that it can harden or kill
// ("launcher:ROLE").
func TestMain(m *testing.M) {
	jail.MaybeInit()
	if role, found := strings.CutPrefix(os.Args[0], "launcher:"); found {
		os.Exit(launcherMain(role))
	}
	os.Exit(withJob(m.Run))
}

// withJob runs the tests with a freshly built job, or the one of the process
// that runs them again.
func withJob(tests func() int) int {
	if os.Getenv(jobVariable) != "" {
		return tests()
	}
	dir, err := os.MkdirTemp("", "job")
	if err != nil {
		return status(err)
	}
	defer os.RemoveAll(dir)
	job := filepath.Join(dir, "job")
	build := exec.Command("go", "build", "-o", job, "./testdata/job")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%s", out)
		return status(err)
	}
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chmod(job, 0o755), os.Setenv(jobVariable, job)); err != nil {
		return status(err)
	}
	return tests()
}

// status makes an exit status of an error.
func status(err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 3
	}
	return 0
}

// program lists a program, at a target, and what it needs.
func program(source, target string) ([]jail.File, error) {
	res, err := elfdeps.Closure(source, elfdeps.Options{})
	if err != nil {
		return nil, err
	}
	if source, err = filepath.EvalSymlinks(source); err != nil {
		return nil, err
	}
	files := []jail.File{{ID: 7, Source: source, Target: target, Executable: true}}
	for i, d := range res.Deps {
		files = append(files, jail.File{ID: 100 + i, Source: d.Source, Target: d.Target, Executable: d.Role != elfdeps.RoleLibrary})
	}
	return files, nil
}

// newSpec returns a Spec that runs a role of the tests' job.
func newSpec(role string, args ...string) jail.Spec {
	return jail.Spec{
		Files:   []jail.File{{ID: 7, Source: os.Getenv(jobVariable), Target: jobTarget, Executable: true}},
		Command: jail.Command{Path: jobTarget, Argv: append([]string{"job:" + role}, args...)},
		Timeout: 30 * time.Second,
	}
}

// jobSpec is newSpec for a test.
func jobSpec(t *testing.T, role string, args ...string) jail.Spec {
	t.Helper()
	return newSpec(role, args...)
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
