package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sworn-run/sworn/cer/oms"
	"github.com/sworn-run/sworn/internal/launch"
)

// registerModel registers the flags about model signatures.
func (j *jobFlags) registerModel(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringArrayVar(&j.signatures, "model-signature", nil, "the OpenSSF model signature of weights, `[NAME=]FILE` (repeatable): a wrong one stops the launch")
	fl.StringArrayVar(&j.signers, "model-key", nil, "the public key of a model signer, or the certificate of a CA that certified it, PEM `FILE` (repeatable), to check --model-signature with; or a Sigstore trusted root, FILE.json")
	fl.StringArrayVar(&j.identities, "model-identity", nil, "who may sign through Sigstore, `ISSUER,SUBJECT` (repeatable), exactly as the certificate has it")
	sigstoreFlag(cmd, &j.sigstore)
}

// model turns these flags into what the job's weights are checked with.
func (j *jobFlags) model(ctx context.Context, job *launch.Job) error {
	job.SignerKeys, job.Sigstore = j.signers, sigstoreVerifier(ctx, j.sigstore)
	for _, s := range j.signatures {
		n, p := named(s)
		job.Signatures = append(job.Signatures, launch.Named{Name: n, Path: p})
	}
	for _, s := range j.identities {
		issuer, subject, _ := strings.Cut(s, ",")
		id := oms.Identity{Issuer: issuer, Subject: subject}
		if err := id.Check(); err != nil {
			return usage("--model-identity https://accounts.google.com,someone@example.com", "identity %q: want ISSUER,SUBJECT", s)
		}
		job.SignerIdentities = append(job.SignerIdentities, id)
	}
	return nil
}
