package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"github.com/spf13/cobra"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/oms"
	"github.com/sworn-run/sworn/internal/limits"
)

// sigstoreTime is how long a program may take to verify one signature.
const sigstoreTime = time.Minute

// errSigstore: the program that verifies signatures through Sigstore refused one,
// or did not work.
var errSigstore = errors.New("the program that verifies Sigstore's signatures")

// sigstoreFlag registers the flag that names the program.
func sigstoreFlag(cmd *cobra.Command, program *string) {
	cmd.Flags().StringVar(program, "sigstore", "", "verify model signatures through Sigstore with `PROGRAM`, such as ./sworn-sigstore (cmd/sworn-sigstore); nothing is fetched")
}

// sigstoreVerifier returns what asks a program about signatures, nil without one.
// The program is named by whoever trusts it, and gets no environment.
func sigstoreVerifier(ctx context.Context, program string) oms.SigstoreVerifier {
	if program == "" {
		return nil
	}
	return func(bundle, trustedRoot []byte) (*oms.SigstoreSigner, error) {
		request, err := json.Marshal(struct {
			Bundle      []byte `json:"bundle"`
			TrustedRoot []byte `json:"trusted_root"`
		}{bundle, trustedRoot})
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errSigstore, err)
		}
		ctx, cancel := context.WithTimeout(ctx, sigstoreTime)
		defer cancel()
		stdout, stderr := &firstBytes{limit: limits.SigstoreAnswer}, &firstBytes{limit: limits.SigstoreAnswer}
		cmd := exec.CommandContext(ctx, program)
		cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = []string{}, bytes.NewReader(request), stdout, stderr
		cmd.WaitDelay = time.Second
		if err := cmd.Run(); err != nil {
			return nil, fmt.Errorf("%w: %w: %.1000q", errSigstore, err, bytes.TrimSpace(stderr.b))
		}
		return parseSigner(stdout.b)
	}
}

// firstBytes keeps the first bytes of what a program prints, up to its limit and
// one more, and drops the rest.
type firstBytes struct {
	b     []byte
	limit int
}

// Write never fails.
func (f *firstBytes) Write(b []byte) (int, error) {
	f.b = append(f.b, b[:min(len(b), f.limit+1-len(f.b))]...)
	return len(b), nil
}

// parseSigner parses what the program answers.
func parseSigner(b []byte) (*oms.SigstoreSigner, error) {
	var w struct {
		oms.Identity
		Payload string `json:"payload"`
		Time    string `json:"time"`
	}
	if len(b) > limits.SigstoreAnswer {
		return nil, fmt.Errorf("%w: more than %d bytes of answer", errSigstore, limits.SigstoreAnswer)
	}
	if err := cer.UnmarshalStrict(b, limits.CapsuleDepth, &w); err != nil {
		return nil, fmt.Errorf("%w: its answer: %w", errSigstore, err)
	}
	payload, err := hex.DecodeString(w.Payload)
	if err != nil || len(payload) != 32 {
		return nil, fmt.Errorf("%w: its answer: payload %.100q is no SHA-256", errSigstore, w.Payload)
	}
	at, err := time.Parse(time.RFC3339, w.Time)
	if err != nil {
		return nil, fmt.Errorf("%w: its answer: %w", errSigstore, err)
	}
	return &oms.SigstoreSigner{Identity: w.Identity, Payload: [32]byte(payload), Time: at}, nil
}
