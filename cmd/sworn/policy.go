package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/oms"
	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/verifier"
)

func (a *app) policyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Make and check policies",
		Long: `A policy says what a relying party accepts: which evidence, signed by whose
keys, over which components. It is a JSON file; its schema: sworn policy schema.`,
		Example: `  sworn policy from-record golden.cer.json --roots roots/ -o policy.json
  sworn policy check policy.json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.policyFromRecord(), a.policyFromBoot(), a.policyFromLaunch(), a.policyCheck(), a.policySchema())
	a.addPolicyPlatform(cmd)
	return cmd
}

func (a *app) policyFromRecord() *cobra.Command {
	var roots, out, name, program string
	var waive []string
	cmd := &cobra.Command{
		Use:   "from-record [flags] RECORD",
		Short: "Make a policy from a known-good record",
		Long: `Takes the reference values of a record that you know to be good: every core
check must pass under the given roots; a required check that does not must be
waived by id with a reason. Verify other records with the policy, not this one.
Who signed weights is listed: the key, or with --sigstore the identity.`,
		Example: `  sworn policy from-record golden.cer.json --roots roots/ -o policy.json \
    --waive launcher.rooted="software TPM: nothing was booted"`,
		Args: oneFile("sworn policy from-record RECORD --roots DIR -o policy.json"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.fromRecord(args[0], roots, name, out, waive, sigstoreVerifier(cmd.Context(), program))
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&roots, "roots", "", "roots `DIR`")
	fl.StringVarP(&out, "output", "o", "", "write the policy to `FILE` instead of standard output")
	fl.StringVar(&name, "name", "", "the policy's `NAME`")
	fl.StringArrayVar(&waive, "waive", nil, "waive a required check: `ID=REASON` (repeatable)")
	sigstoreFlag(cmd, &program)
	folder(cmd, "roots")
	waivable(cmd)
	return cmd
}

// oneFile wants exactly one argument.
func oneFile(hint string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usage(hint, "want one file, got %d", len(args))
		}
		return nil
	}
}

func (a *app) fromRecord(record, roots, name, out string, waive []string, sigstore oms.SigstoreVerifier) error {
	if samePath(record, out) {
		return usage("choose another path for -o", "the policy would overwrite %s", out)
	}
	b, err := readCapsule(record)
	if err != nil {
		return err
	}
	store, err := loadRoots(roots)
	if err != nil {
		return err
	}
	waivers, err := parseWaivers(waive)
	if err != nil {
		return err
	}
	p, err := verifier.Input{Roots: store, Now: time.Now(), Sigstore: sigstore}.PolicyFromRecord(b, name, waivers)
	if err != nil {
		hint := kindHint(record, b, "record")
		switch {
		case hint != "":
		case store == nil:
			hint = "say whose hardware you trust: --roots DIR (sworn explain slot.identity)"
		default:
			hint = `inspect it with "sworn verify --explain"; waive a required check with --waive ID="reason"`
		}
		return wrap(err, hint)
	}
	return a.writePolicy(p, out)
}

// writePolicy writes a policy to a file or standard output.
func (a *app) writePolicy(p *verifier.Policy, out string) error {
	b, err := p.Encode()
	if err != nil {
		return err
	}
	if out == "" {
		_, err = a.stdout.Write(b)
		return err
	}
	return writeFile(out, b, 0o644)
}

func (a *app) policyCheck() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check [flags] FILE",
		Short: "Check a policy and say what weakens it",
		Long: `Checks a policy file strictly, and lists what in it weakens a verdict.

With --json the answer is one object {file, components, digest, weakens}.`,
		Example: `  sworn policy check policy.json
  sworn policy check --json policy.json | jq -r .digest`,
		Args: oneFile("sworn policy check FILE"),
		RunE: func(_ *cobra.Command, args []string) error { return a.checkPolicy(args[0], asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func (a *app) checkPolicy(name string, asJSON bool) error {
	b, err := readFile(name, limits.PolicyFile)
	if err != nil {
		return err
	}
	p, err := verifier.ParsePolicy(b)
	if err != nil {
		return wrap(fmt.Errorf("%s: %w", name, err), policyHint(name, b, "sworn policy schema"))
	}
	weak, digest := p.Lint(), p.Digest()
	if asJSON {
		enc := json.NewEncoder(verifier.PrintableJSON(a.stdout))
		enc.SetEscapeHTML(false)
		return enc.Encode(struct {
			File       string   `json:"file"`
			Components int      `json:"components"`
			Digest     string   `json:"digest"`
			Weakens    []string `json:"weakens"`
		}{name, len(p.Components), cer.SHA256Digest(digest), slices.Concat([]string{}, weak)})
	}
	for _, l := range weak {
		if _, err := fmt.Fprintln(a.stdout, "weakens:", line(l)); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(a.stdout, "ok: %d components, sha256:%x\n", len(p.Components), digest)
	return err
}

func (a *app) policySchema() *cobra.Command {
	return &cobra.Command{
		Use:     "schema",
		Short:   "Print the JSON Schema of policies",
		Long:    "Prints the JSON Schema (2020-12) of sworn.policy/v1.",
		Example: "  sworn policy schema > policy.schema.json",
		Args:    noArguments,
		RunE: func(*cobra.Command, []string) error {
			_, err := a.stdout.Write(verifier.PolicySchema())
			return err
		},
	}
}
