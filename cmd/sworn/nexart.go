package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/nexart"
	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/verifier"
)

// maxStepID is how much of a stepId is shown, in bytes.
const maxStepID = 100

// maxKeyDocument is the largest key document, 1 MiB.
const maxKeyDocument = 1 << 20

func (a *app) nexartCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "nexart",
		Short: "Verify and seal records of NexArt's protocol",
		Long: `Verifies NexArt's records in their own layers (integrity, receipt, envelope), and
seals snapshots into records that their verifiers accept. Nothing is fetched.

These records say what somebody wrote down. What ran is what sworn verify is for.`,
		Example: `  sworn nexart verify --keys nexart-node.json record.json
  sworn nexart seal <snapshot.json >record.json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.nexartVerifyCommand(), a.nexartSealCommand())
	return cmd
}

func (a *app) nexartVerifyCommand() *cobra.Command {
	var keys string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify [flags] FILE...",
		Short: "Verify NexArt records and packages offline",
		Long: `Checks each record, project bundle or package in three layers: integrity (the
hashes), receipt (a node's signature over the record's hash) and envelope (a
node's signature over its members). Each passes, fails or does not apply, and none
says anything about another. Notes tell what no layer covers, and what looks like
proof and is none.

A signature counts only by a key of the document given with --keys; a key that
comes with the record is never used. Without --keys every signature fails.

With --json, each file is one line: {file, status, integrity, receipt, envelope,
codes, notes}.

A file that cannot be read is told on standard error, and the others are judged
all the same.

Exit status: 0 all verified, 1 not all, 2 usage or I/O.`,
		Example: `  sworn nexart verify record.json
  sworn nexart verify --keys nexart-node.json package.json
  sworn nexart verify --json *.bundle.json | jq -r 'select(.status=="FAILED").file'`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("sworn nexart verify --keys KEYS FILE", "no record given")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return a.nexartVerify(keys, asJSON, args) },
	}
	cmd.Flags().StringVar(&keys, "keys", "", "the node's key document, as `FILE`")
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object per file")
	return cmd
}

// nexartVerify judges each file; one that is not verified decides the status, and
// before it one that cannot be read.
func (a *app) nexartVerify(keyFile string, asJSON bool, files []string) error {
	keys, err := loadNexartKeys(keyFile)
	if err != nil {
		return err
	}
	var worst error
	unread := false
	for _, name := range files {
		b, err := readCapsule(name)
		if err != nil && len(files) == 1 {
			return err
		}
		if err != nil {
			_ = a.exit(err)
			unread = true
			continue
		}
		r := nexart.Verify(b, keys)
		if asJSON {
			err = writeNexartJSON(a.stdout, name, r)
		} else {
			err = writeNexartText(a.stdout, name, r, len(files) > 1)
		}
		if err != nil {
			return err
		}
		if r.Verdict.Verified() {
			continue
		}
		hint := noHint
		if keys == nil && lacksKey(r) {
			hint = "give the node's key document with --keys FILE, from a source that you trust"
		}
		if worst == nil {
			worst = &statusError{code: exitNotTrusted, hint: hint}
		}
	}
	if unread {
		return &statusError{code: exitUsage, hint: noHint}
	}
	return worst
}

func lacksKey(r *nexart.Report) bool {
	return slices.Contains(r.Codes, nexart.CodeKeyNotFound)
}

// loadNexartKeys reads a key document; nil for none.
func loadNexartKeys(name string) (*nexart.Keys, error) {
	if name == "" {
		return nil, nil
	}
	b, err := readFile(name, maxKeyDocument)
	if err != nil {
		return nil, err
	}
	keys, err := nexart.ParseKeys(b)
	if err != nil {
		return nil, wrap(fmt.Errorf("%s: %w", name, err), "a node serves it as .well-known/nexart-node.json")
	}
	return keys, nil
}

// writeNexartJSON writes a report as one line.
func writeNexartJSON(w io.Writer, name string, r *nexart.Report) error {
	v := struct {
		File      string   `json:"file"`
		Status    string   `json:"status"`
		Integrity string   `json:"integrity"`
		Receipt   string   `json:"receipt"`
		Envelope  string   `json:"envelope"`
		Codes     []string `json:"codes"`
		Notes     []string `json:"notes"`
	}{
		name, r.Verdict.String(), r.Integrity.String(), r.Receipt.String(), r.Envelope.String(),
		texts(r.Codes), texts(r.Notes),
	}
	enc := json.NewEncoder(verifier.PrintableJSON(w))
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// texts spells a list.
func texts[T fmt.Stringer](list []T) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = v.String()
	}
	return out
}

// writeNexartText writes a report for people.
func writeNexartText(w io.Writer, name string, r *nexart.Report, many bool) error {
	var b strings.Builder
	if many {
		b.WriteString(line(name) + ":\n")
	}
	b.WriteString(r.Verdict.String())
	for _, s := range []string{r.BundleType, r.CertificateHash} {
		if s != "" {
			b.WriteString(" " + s)
		}
	}
	fmt.Fprintf(&b, "\n  integrity  %v\n  receipt    %v\n  envelope   %v\n", r.Integrity, r.Receipt, r.Envelope)
	if len(r.Codes) > 0 {
		fmt.Fprintf(&b, "  codes      %s\n", strings.Join(texts(r.Codes), " "))
	}
	for _, s := range r.Steps {
		id := s.ID
		if len(id) > maxStepID {
			id = id[:maxStepID] + "…"
		}
		fmt.Fprintf(&b, "  step       integrity %v, receipt %v, envelope %v: %s\n", s.Report.Integrity, s.Report.Receipt, s.Report.Envelope, line(id))
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "  %-10s %s\n", n.Kind, line(n.Text))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (a *app) nexartSealCommand() *cobra.Command {
	var protocol, createdAt string
	cmd := &cobra.Command{
		Use:   "seal [flags] <SNAPSHOT >RECORD",
		Short: "Seal a snapshot into a NexArt record",
		Long: `Reads a snapshot, a JSON object, from standard input, adds the members and hashes
that are left out, and writes a cer.ai.execution.v1 bundle in canonical form
(RFC 8785) to standard output. The snapshot needs executionId, provider, model,
prompt, input, output and parameters with temperature and maxTokens. What is
there already must be right; other members are sealed as they are.

What no verifier would accept is refused: an empty prompt, a parameter that is no
number, JSON that two readers understand differently.

A sealed record shows whether it was changed. It does not show who made it.

Exit status: 0 sealed, 1 the snapshot cannot be sealed, 2 usage or I/O.`,
		Example: `  sworn nexart seal <snapshot.json >record.json
  sworn nexart seal --protocol-version 1.3.0 --created-at 2026-11-22T00:00:00Z <snapshot.json`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage("sworn nexart seal <SNAPSHOT >RECORD", "unexpected argument %q", args[0])
			}
			return nil
		},
		RunE: func(_ *cobra.Command, _ []string) error { return a.nexartSeal(protocol, createdAt) },
	}
	cmd.Flags().StringVar(&protocol, "protocol-version", "", "1.2.0, 1.3.0 or 1.3.1 (default: the snapshot's, or `1.2.0`)")
	cmd.Flags().StringVar(&createdAt, "created-at", "", "createdAt of the record, a `TIME` in RFC 3339 (default: now)")
	choices(cmd, "protocol-version", cer.Protocol120, cer.Protocol130, cer.Protocol131)
	return cmd
}

// nexartSeal seals what stands on standard input.
func (a *app) nexartSeal(protocol, createdAt string) error {
	o := nexart.SealOptions{ProtocolVersion: protocol, CreatedAt: time.Now()}
	switch protocol {
	case "", cer.Protocol120, cer.Protocol130, cer.Protocol131:
	default:
		return usage("--protocol-version 1.2.0, 1.3.0 or 1.3.1", "protocol version %q is not known", protocol)
	}
	if createdAt != "" {
		t, err := time.Parse(time.RFC3339, createdAt)
		if err != nil || t.IsZero() {
			return usage("--created-at 2026-11-22T00:00:00Z", "time %q: want RFC 3339", createdAt)
		}
		o.CreatedAt = t
	}
	snapshot, err := io.ReadAll(io.LimitReader(a.stdin, limits.CapsuleFile+1))
	if err != nil {
		return wrap(fmt.Errorf("reading the snapshot: %w", err), "sworn nexart seal <SNAPSHOT >RECORD")
	}
	out, err := nexart.Seal(snapshot, o)
	if err != nil {
		hint := "sworn nexart seal --help"
		if errors.Is(err, cer.ErrStrict) {
			hint = "the snapshot must be one JSON object, with no name twice, no number that a double cannot hold, and UTF-8"
		}
		return &statusError{code: exitNotTrusted, err: err, hint: hint}
	}
	_, err = a.stdout.Write(out)
	return err
}
