package main

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets the test binary be sworn itself, and the init of its jobs.
func TestMain(m *testing.M) {
	maybeInit()
	testscript.Main(tests{m}, map[string]func(){"sworn": main})
}

// tests are the tests of this package, with what they share removed at the end.
type tests struct{ m *testing.M }

// Run runs them.
func (t tests) Run() int {
	defer removeShared()
	// A program with the race detector sleeps for a second before it ends, and
	// the tests run some hundreds.
	if err := os.Setenv(raceOptions, strings.TrimSpace("atexit_sleep_ms=20 "+os.Getenv(raceOptions))); err != nil {
		panic(err)
	}
	return t.m.Run()
}

// raceOptions is the variable that the race detector reads.
const raceOptions = "GORACE"

// environment is what every program that the tests run is given.
func environment(more ...string) []string {
	return append([]string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir(), raceOptions + "=" + os.Getenv(raceOptions)}, more...)
}

// TestScripts runs every script of testdata/script: the real program, its
// output and its exit status.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			root, err := filepath.Abs("../..")
			if err != nil {
				return err
			}
			env.Setenv("ROOT", root)
			env.Setenv(raceOptions, os.Getenv(raceOptions))
			env.Setenv("STATE", filepath.Join(env.WorkDir, "state"))
			// A socket's path holds 107 bytes, and a test's folder is long.
			dir, err := os.MkdirTemp("", "swt")
			if err != nil {
				return err
			}
			env.Setenv("TPM", dir)
			env.Defer(func() {
				stop := exec.Command(env.Getenv("PATH")[:strings.IndexByte(env.Getenv("PATH")+":", ':')]+"/sworn", "simulate", "tpm", "--dir", dir, "--stop")
				_ = stop.Run()
				for _, name := range []string{"tsa", "other", "past"} { // of a script that failed
					stop = exec.Command(stop.Path, "simulate", "tsa", "--dir", filepath.Join(env.WorkDir, name), "--stop")
					_ = stop.Run()
				}
				_ = os.RemoveAll(dir)
			})
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"status":   status,
			"flip":     flip,
			"freeport": freeport,
			"listens":  listens,
			"vendors":  vendors,
		},
	})
}

// status runs a program and wants one exit status: status 2 sworn verify x.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N program args...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// flip changes one bit: flip file offset bit.
func flip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: flip file offset bit")
	}
	name := ts.MkAbs(args[0])
	b, err := os.ReadFile(name)
	ts.Check(err)
	at, err := strconv.Atoi(args[1])
	ts.Check(err)
	bit, err := strconv.Atoi(args[2])
	ts.Check(err)
	if at >= len(b) {
		ts.Fatalf("offset %d beyond %d bytes", at, len(b))
	}
	old := bytes.Clone(b)
	b[at] ^= 1 << bit
	if bytes.Equal(old, b) {
		ts.Fatalf("nothing changed")
	}
	ts.Check(os.WriteFile(name, b, 0o644))
}

// freeport sets a variable to a loopback address whose port is free: freeport
// NAME.
func freeport(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: freeport NAME")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv(args[0], l.Addr().String())
	ts.Check(l.Close())
}

// listens waits until somebody listens: listens ADDRESS.
func listens(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: listens ADDRESS")
	}
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", args[0]); err == nil {
			_ = c.Close()
			return
		}
	}
	ts.Fatalf("nobody listens on %s", args[0])
}
