package main

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
)

// TestRunSimulated: the command of a simulated machine ends as itself says, by a signal
// that it can clean up after if it is ended, and sees nothing of how it was started.
func TestRunSimulated(t *testing.T) {
	t.Setenv(guestMark, "1")
	for script, want := range map[string]int{
		"exit 0":        0,
		"exit 3":        3,
		"kill -KILL $$": 137,
		`test -z "$` + guestMark + `" -a "$MORE" = 1`: 0,
	} {
		a := &app{stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard}
		if got := exitOf(t, a.runSimulated(t.Context(), []string{"sh", "-c", script}, []string{"MORE=1"})); got != want {
			t.Errorf("%s: %d, want %d", script, got, want)
		}
	}
	a := &app{stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard}
	if err := a.runSimulated(t.Context(), []string{"/nowhere/at/all"}, nil); !errors.Is(err, os.ErrNotExist) || exitOf(t, err) != exitUsage {
		t.Errorf("no program: %v", err)
	}
	ctx, end := context.WithCancel(t.Context())
	r, w := io.Pipe()
	a.stdout = w
	go func() {
		_, _ = io.ReadFull(r, make([]byte, 1)) // the trap is set
		end()
		_, _ = io.Copy(io.Discard, r)
	}()
	if got := exitOf(t, a.runSimulated(ctx, []string{"sh", "-c", "trap 'exit 7' TERM; echo up; while :; do sleep 0.1; done"}, nil)); got != 7 {
		t.Errorf("ended: %d, want 7", got)
	}
}

// exitOf is the exit status that an error stands for.
func exitOf(t *testing.T, err error) int {
	t.Helper()
	if err == nil {
		return 0
	}
	status, ok := errors.AsType[*statusError](err)
	if !ok {
		t.Fatalf("no status: %v", err)
	}
	return status.code
}
