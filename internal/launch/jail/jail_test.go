//go:build linux

package jail_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/internal/launch/jail"
)

// jobTarget is where the test binary, as the job, stands in the root.
const jobTarget = "/bin/job"

func TestMain(m *testing.M) {
	jail.MaybeInit()
	if name, found := strings.CutPrefix(os.Args[0], "job:"); found {
		os.Exit(jobMain(name, os.Args[1:]))
	}
	os.Exit(m.Run())
}

// self returns the path of the test binary.
func self(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exe
}

// jobSpec returns a Spec that runs a role of the test binary.
func jobSpec(t *testing.T, role string, args ...string) jail.Spec {
	t.Helper()
	return jail.Spec{
		Files:   []jail.File{{ID: 7, Source: self(t), Target: jobTarget, Executable: true}},
		Command: jail.Command{Path: jobTarget, Argv: append([]string{"job:" + role}, args...)},
		Timeout: 20 * time.Second,
	}
}

// ran is what came of a job.
type ran struct {
	exit     jail.Exit
	out, err string
	iso      jail.Isolation
}

// runJob runs a job to its end.
func runJob(t *testing.T, spec jail.Spec, stdin []byte) ran {
	t.Helper()
	j := start(t, spec)
	var out, errs bytes.Buffer
	exit, err := j.Run(context.Background(), jail.IO{Stdin: bytes.NewReader(stdin), Stdout: &out, Stderr: &errs})
	if err != nil {
		t.Fatalf("running: %v", err)
	}
	return ran{exit, out.String(), errs.String(), j.Isolation()}
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

// jobMain is the test binary as a job.
func jobMain(role string, args []string) int {
	switch role {
	case "echo":
		var b bytes.Buffer
		if _, err := b.ReadFrom(os.Stdin); err != nil {
			return 3
		}
		fmt.Print(strings.ToUpper(b.String()))
		fmt.Fprint(os.Stderr, strings.Join(args, " "))
		return 42
	default:
		fmt.Fprintln(os.Stderr, "no such role")
		return 99
	}
}

func TestEcho(t *testing.T) {
	got := runJob(t, jobSpec(t, "echo", "a", "b"), []byte("hello"))
	if got.exit.Code != 42 || got.out != "HELLO" || got.err != "a b" {
		t.Errorf("got %+v", got)
	}
	for _, s := range []struct {
		name string
		got  jail.StreamInfo
		want string
	}{{"stdin", got.exit.Stdin, "hello"}, {"stdout", got.exit.Stdout, "HELLO"}, {"stderr", got.exit.Stderr, "a b"}} {
		want := jail.StreamInfo{SHA256: sha256.Sum256([]byte(s.want)), Size: uint64(len(s.want)), Complete: true}
		if s.got != want {
			t.Errorf("%s: got %+v, want %+v", s.name, s.got, want)
		}
	}
	t.Logf("%+v", got.iso)
}
