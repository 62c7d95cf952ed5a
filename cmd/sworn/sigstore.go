package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"sync/atomic"
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
func sigstoreVerifier(ctx context.Context, program string) oms.SigstoreVerifier {
	if program == "" {
		return nil
	}
	return (&sigstore{ctx: ctx, program: program, time: sigstoreTime}).verify
}

// sigstore asks a program, which whoever trusts it has named.
type sigstore struct {
	ctx     context.Context
	program string
	// time is how long the program may take for one signature.
	time time.Duration
	// hung is set once it took longer: it is not asked again, since a record may
	// have many signatures.
	hung atomic.Bool
}

// verify is an [oms.SigstoreVerifier].
func (s *sigstore) verify(bundle, trustedRoot []byte) (*oms.SigstoreSigner, error) {
	switch {
	case s.hung.Load():
		return nil, fmt.Errorf("%w: it took too long before", errSigstore)
	case len(bundle) > limits.ModelSignature || len(trustedRoot) > limits.RootsFile:
		return nil, fmt.Errorf("%w: %d and %d bytes are too many to ask about", errSigstore, len(bundle), len(trustedRoot))
	}
	request, err := json.Marshal(struct {
		Bundle      []byte `json:"bundle"`
		TrustedRoot []byte `json:"trusted_root"`
	}{bundle, trustedRoot})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errSigstore, err)
	}
	answer, err := s.ask(request)
	if err != nil {
		return nil, err
	}
	return parseSigner(answer)
}

// ask runs the program once, with the request as its input and no environment, and
// returns what it prints, cut off behind one byte more than it may print. Nothing
// of it is left when ask returns.
func (s *sigstore) ask(request []byte) ([]byte, error) {
	// A name by itself is one in this folder: the program is never looked for.
	program, err := filepath.Abs(s.program)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errSigstore, err)
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.time)
	defer cancel()
	stdout, stderr := &firstBytes{limit: limits.SigstoreAnswer}, &firstBytes{limit: limits.SigstoreAnswer}
	cmd := exec.CommandContext(ctx, program)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = []string{}, bytes.NewReader(request), stdout, stderr
	kill := ownGroup(cmd)
	cmd.Cancel, cmd.WaitDelay = kill, time.Second
	err = cmd.Run()
	if cmd.Process != nil {
		_ = kill() // Mostly nothing is left.
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		s.hung.Store(true)
		return nil, fmt.Errorf("%w: it took longer than %v", errSigstore, s.time)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w: %.1000q", errSigstore, err, bytes.TrimSpace(stderr.b))
	}
	return stdout.b, nil
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
