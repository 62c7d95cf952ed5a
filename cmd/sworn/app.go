package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
)

// version is the program's version.
const version = "v0.1.0"

// The exit statuses.
const (
	exitOK         = 0
	exitNotTrusted = 1
	exitUsage      = 2
)

// app is one invocation.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
}

// statusError ends the program with a status and, if it has one, a message.
type statusError struct {
	code int
	msg  string
	hint string
	err  error
}

// Error returns the message.
func (e *statusError) Error() string {
	if e.err != nil && e.msg != "" {
		return e.msg + ": " + e.err.Error()
	}
	if e.err != nil {
		return e.err.Error()
	}
	return e.msg
}

// Unwrap returns the cause.
func (e *statusError) Unwrap() error { return e.err }

// usage returns an error with exit status 2 and a hint.
func usage(hint, format string, args ...any) error {
	return &statusError{code: exitUsage, msg: fmt.Sprintf(format, args...), hint: hint}
}

// wrap gives an error a hint, with exit status 2.
func wrap(err error, hint string) error {
	return &statusError{code: exitUsage, err: err, hint: hint}
}

// exit prints an error as its one line and hint, and returns the status.
func (a *app) exit(err error) int {
	if err == nil {
		return exitOK
	}
	var s *statusError
	if !errors.As(err, &s) {
		s = &statusError{code: exitUsage, err: err}
	}
	if msg := s.Error(); msg != "" {
		_, _ = fmt.Fprintln(a.stderr, "error:", line(msg))
	}
	hint := s.hint
	if hint == "" {
		hint = hintFor(err)
	}
	if hint != noHint {
		_, _ = fmt.Fprintln(a.stderr, "hint:", line(hint))
	}
	return s.code
}

// line makes a message one printable line: no control character, no line
// separator, nothing invisible, none of Unicode's marks that reorder what is
// read. What it prints may come from a hostile file.
func line(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, " "))
}

// command builds the command tree.
func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "sworn",
		Short: "Run inference attested, and verify what ran",
		Long: `Sworn measures a model's binary, weights and configuration into a hardware
root of trust, runs the job in a closed root, and leaves a record whose
fingerprint is a hardware quote. Verification needs one file and no network.

Exit status: 0 trusted or done; 1 not trusted, or the job failed and its record
says so; 2 usage or I/O.`,
		Example: `  sworn simulate tpm --dir /tmp/tpm --detach
  sworn run --tpm unix:/tmp/tpm/tpm.sock --record job.cer.json -- echo hello
  sworn verify --roots /tmp/tpm/roots job.cer.json`,
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArguments,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		// For every command below.
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return noEmptyFlag(cmd) },
	}
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(a.verifyCommand(), a.inspectCommand(), a.explainCommand(), a.policyCommand(), a.ledgerCommand(), a.recheckCommand(), a.nexartCommand(),
		a.appraiseCommand(), a.collateralCommand(), a.countersignCommand(), a.archiveCommand(), a.exportCommand(), a.timestampCommand(),
		a.openCommand())
	a.addPlatform(root)
	helpers(root)
	return root
}

// selfDigest returns SHA-256 of this executable; zeros if it cannot be read.
func selfDigest() (sum [32]byte) {
	exe, err := os.Executable()
	if err != nil {
		return sum
	}
	f, err := os.Open(exe)
	if err != nil {
		return sum
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return sum
	}
	return [32]byte(h.Sum(nil))
}

// parseNonce parses a nonce given in hexadecimal; nil for none.
func parseNonce(s string) ([]byte, error) {
	if s == "" {
		return nil, nil
	}
	b, err := hex.DecodeString(s)
	if err != nil || len(b) < 8 || len(b) > 64 {
		return nil, usage("--nonce $(openssl rand -hex 16)", "nonce: want 8 to 64 bytes in hexadecimal")
	}
	return b, nil
}
