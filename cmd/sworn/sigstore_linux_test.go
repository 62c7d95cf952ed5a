package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sworn-run/sworn/internal/limits"
)

// script writes a program for the shell, which gets no PATH.
func script(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(file, []byte("#!/bin/sh\nset -e\nPATH=/usr/bin:/bin\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

// answer is a right answer.
func answer() string {
	return `{"issuer":"https://issuer.example","subject":"a@example.com","payload":"` + strings.Repeat("0a", 32) + `","time":"2025-10-10T02:12:20Z"}`
}

func TestSigstoreProgram(t *testing.T) {
	t.Setenv("SECRET", "not for the program")
	const read = "cat >/dev/null\n"
	good := read + `[ -z "$SECRET" ]` + "\necho '" + answer() + "'"
	v := sigstoreVerifier(t.Context(), script(t, good))
	if s, err := v([]byte("bundle"), []byte("root")); err != nil || s.Subject != "a@example.com" || s.Payload[0] != 10 {
		t.Fatalf("%+v, %v", s, err)
	}
	if sigstoreVerifier(t.Context(), "") != nil {
		t.Error("without a program there is a verifier")
	}
	if s, err := v(make([]byte, limits.ModelSignature+1), nil); s != nil || !errors.Is(err, errSigstore) {
		t.Errorf("a bundle too large: %v, %v", s, err)
	}
	if s, err := v(nil, make([]byte, limits.RootsFile+1)); s != nil || !errors.Is(err, errSigstore) {
		t.Errorf("a root too large: %v, %v", s, err)
	}
	for name, text := range map[string]string{
		"nothing":               read,
		"garbage":               read + "echo ok",
		"null":                  read + "echo null",
		"cut off":               read + "printf %s '" + answer()[:60] + "'",
		"two answers":           read + "echo '" + answer() + "'\necho '" + answer() + "'",
		"an answer and more":    read + "echo '" + answer() + "x'",
		"too much":              read + "echo '" + answer() + "'\nhead -c 20000 /dev/zero | tr '\\0' ' '",
		"much too much":         read + "echo '" + answer() + "'\nhead -c 50000000 /dev/zero",
		"right, and it fails":   read + "echo '" + answer() + "'\nexit 1",
		"right, and killed":     read + "echo '" + answer() + "'\nkill -9 $$",
		"another member":        read + "echo '" + strings.Replace(answer(), "{", `{"trusted":true,`, 1) + "'",
		"a member twice":        read + "echo '" + strings.Replace(answer(), "{", `{"subject":"b@example.com",`, 1) + "'",
		"another spelling":      read + "echo '" + strings.Replace(answer(), "subject", "Subject", 1) + "'",
		"a list":                read + "echo '[" + answer() + "]'",
		"half a payload":        read + "echo '" + strings.Replace(answer(), strings.Repeat("0a", 16), "", 1) + "'",
		"no time":               read + "echo '" + strings.Replace(answer(), "2025-10-10T02:12:20Z", "", 1) + "'",
		"somebody still writes": read + "echo '" + answer() + "'\nsleep 60 &",
	} {
		t.Run(name, func(t *testing.T) {
			if s, err := sigstoreVerifier(t.Context(), script(t, text))([]byte("bundle"), []byte("root")); s != nil || !errors.Is(err, errSigstore) {
				t.Errorf("%+v, %v", s, err)
			}
		})
	}
}

// The program is where it was said to be, and is not looked for.
func TestSigstoreProgramNotLookedFor(t *testing.T) {
	file := script(t, "cat >/dev/null\necho '"+answer()+"'")
	t.Setenv("PATH", filepath.Dir(file))
	t.Chdir(t.TempDir())
	ask := func() error {
		_, err := sigstoreVerifier(t.Context(), "program")([]byte("bundle"), []byte("root"))
		return err
	}
	if err := ask(); !errors.Is(err, errSigstore) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("found in PATH: %v", err)
	}
	t.Chdir(filepath.Dir(file))
	if err := ask(); err != nil {
		t.Error(err)
	}
}

// A program that hangs is killed with what it started, and is not asked again; nor
// is one after the user gave up.
func TestSigstoreProgramHangs(t *testing.T) {
	dir := t.TempDir()
	file := script(t, fmt.Sprintf("echo x >>%[1]s/asked\nsleep 600 &\necho $! >%[1]s/child\nwait", dir))
	s := &sigstore{ctx: t.Context(), program: file, time: 2 * time.Second}
	began := time.Now()
	for range 3 {
		if signer, err := s.verify([]byte("bundle"), []byte("root")); signer != nil || !errors.Is(err, errSigstore) {
			t.Errorf("%+v, %v", signer, err)
		}
	}
	if d := time.Since(began); d > 30*time.Second {
		t.Errorf("took %v", d)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "asked")); err != nil || string(b) != "x\n" {
		t.Errorf("asked %q, %v", b, err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "child"))
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); alive(child); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("what the program started goes on")
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (&sigstore{ctx: ctx, program: file, time: time.Minute}).verify([]byte("bundle"), []byte("root")); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
}

// alive reports whether a process runs: one that was killed may stay a while as a
// zombie of whoever adopted it.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(b), ") ")
	return !strings.HasPrefix(state, "Z")
}
