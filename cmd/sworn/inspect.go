package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/verifier"
)

func (a *app) inspectCommand() *cobra.Command {
	var extract string
	var pretty, asJSON bool
	cmd := &cobra.Command{
		Use:   "inspect [flags] FILE",
		Short: "Show what a file holds, without judging it",
		Long: `Shows every field of a file that Sworn writes or reads, under the names of its
manual and with units. The file is told by its content: a record; a binding
statement, as bytes or in base64url; an event log, such as that of a state
folder; a TPM's quote (TPMS_ATTEST); a report of AMD SEV-SNP, and the table of
certificates beside it; a quote of Intel TDX or SGX, and TCB info and QE identity
as Intel's service answers; the report of Azure's paravisor; a document of AWS
Nitro; what a firmware logged; certificates, with the extensions of AMD and Intel,
revocation lists and public keys, in DER or PEM; a time stamp of RFC 3161, its
response or request; a policy; a report; an appraisal; an opening; the description of a
dm-verity volume; the transcript or key of an enrolment; a JSON schema; NexArt's
bundles, packages, receipts, envelopes, key documents and snapshots; an archive of
records, as a line for each; or a roots folder. Nothing is verified: use "sworn
verify".

With --json the same tree is one object {type, kind, sections}; sections and
fields have a name, a value and fields; of an archive, an object a line. The values are texts, for people: a
program that needs a number reads the file itself.`,
		Example: `  sworn inspect job.cer.json
  sworn inspect --extract output job.cer.json > output.txt
  sworn inspect --pretty job.cer.json | less
  sworn inspect --json job.cer.json | jq -r '.sections[].name'
  sworn inspect roots/`,
		Args: oneFile("sworn inspect FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			if n := count(extract != "", pretty, asJSON); n > 1 {
				return usage("give one of them", "--extract, --pretty and --json exclude each other")
			}
			if st, err := os.Stat(args[0]); err == nil && st.IsDir() && extract == "" && !pretty {
				return a.inspectRoots(args[0], asJSON)
			}
			if extract == "" && !pretty && isArchive(args[0]) {
				return a.inspectArchive(args[0], asJSON)
			}
			file, err := readCapsule(args[0])
			if err != nil {
				return err
			}
			switch {
			case extract != "":
				return a.extract(args[0], file, extract)
			case pretty:
				return a.pretty(file)
			default:
				return a.inspectFile(file, asJSON)
			}
		},
	}
	cmd.Flags().StringVar(&extract, "extract", "", "write `input|output|stderr` of a full record to standard output")
	cmd.Flags().BoolVar(&pretty, "pretty", false, "print the JSON indented, for people (the result is no capsule)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the tree as one JSON object")
	choices(cmd, "extract", "input", "output", "stderr")
	return cmd
}

// count returns how many of its arguments are true.
func count(all ...bool) int {
	n := 0
	for _, b := range all {
		if b {
			n++
		}
	}
	return n
}

// parseForInspect parses a capsule, or says that it is none.
func parseForInspect(file []byte) (*cer.Capsule, *cer.Bundle, error) {
	c, err := cer.ParseCapsule(file)
	if err != nil {
		return nil, nil, wrap(err, "inspect wants a capsule made by sworn run")
	}
	b, err := cer.ParseBundle(c.CER)
	if err != nil {
		return nil, nil, wrap(err, "inspect wants a capsule made by sworn run")
	}
	return c, b, nil
}

func (a *app) pretty(file []byte) error {
	if err := cer.Strict(file, limits.CapsuleDepth); err != nil {
		return wrap(err, "--pretty wants a file of JSON")
	}
	v := jsontext.Value(file)
	if err := v.Indent(jsontext.WithIndent("  ")); err != nil {
		return err
	}
	_, err := fmt.Fprintln(verifier.PrintableJSON(a.stdout), string(v))
	return err
}

// extract writes what a full record carries.
func (a *app) extract(name string, file []byte, what string) error {
	if what != "input" && what != "output" && what != "stderr" {
		return usage("--extract input, output or stderr", "unknown part %q", what)
	}
	_, b, err := parseForInspect(file)
	if err != nil {
		if hint := kindHint(name, file, "record"); hint != "" {
			return wrap(err, hint)
		}
		return err
	}
	if rt, err := cer.ParseRuntime(b.Snapshot.Runtime); err == nil && rt.Committed() {
		return usage("sworn open "+name+" --opening FILE --extract "+what, "the record commits to its %s, and does not carry it", what)
	}
	var v jsontext.Value
	switch what {
	case "input":
		v, err = b.Snapshot.Input.Raw()
	case "output":
		v, err = b.Snapshot.Output.Raw()
	case "stderr":
		var rt *cer.Runtime
		if rt, err = cer.ParseRuntime(b.Snapshot.Runtime); err == nil {
			v = rt.Stderr.Content
		}
	}
	if err != nil {
		return err
	}
	if v == nil {
		return usage("run the job with --disclose full", "the record does not carry its %s", what)
	}
	content, carried, err := cer.Content(v)
	if err != nil {
		return err
	}
	if !carried {
		return usage("run the job with --disclose full", "the record does not carry its %s, only its hash", what)
	}
	_, err = a.stdout.Write(content)
	return err
}

// showCapsule shows a record with everything that accompanies it.
func showCapsule(t *treeWriter, file []byte) error {
	c, b, err := parseForInspect(file)
	if err != nil {
		return err
	}
	t.head("capsule", fmt.Sprintf("%d bytes, sha256:%x", len(file), sha256.Sum256(file)))
	treeRecord(t, b)
	treeStatement(t, c.Statement)
	t.row(1, "signature", fmt.Sprintf("Ed25519 by the launch key, %x", c.Signature))
	t.row(1, "inclusion", fmt.Sprintf("leaf %d of %d, path of %d hashes", c.Inclusion.Index, c.Inclusion.Size, len(c.Inclusion.Path)))
	t.row(1, "evidence digest", fmt.Sprintf("%x (what a time stamp has to cover)", attest.EvidenceDigest(c.Statement, c.Signature, c.Items)))
	treeLog(t, c.Log)
	treeEvidence(t, c.Evidence, c.Collateral)
	treeCollateral(t, c.Collateral)
	treeTokens(t, c)
	return nil
}

// textOrNone writes a text that may be null.
func textOrNone(s *string) string {
	if s == nil {
		return "none"
	}
	return *s
}

// floatOrNone writes a number that may be null.
func floatOrNone(f *float64) string {
	if f == nil {
		return "none"
	}
	return fmt.Sprint(*f)
}

func treeRecord(t *treeWriter, b *cer.Bundle) {
	s := &b.Snapshot
	t.head("record", "NexArt "+b.BundleType+", protocol "+s.ProtocolVersion)
	for _, r := range [][2]string{
		{"version", b.Version},
		{"certificateHash", b.CertificateHash},
		{"createdAt", b.CreatedAt + " (claimed)"},
		{"timestamp", s.Timestamp + " (claimed)"},
		{"executionId", s.ExecutionID},
		{"executionSurface", s.ExecutionSurface},
		{"provider", s.Provider},
		{"model", s.Model},
		{"modelVersion", textOrNone(s.ModelVersion)},
		{"prompt", s.Prompt},
		{"inputHash", s.InputHash},
		{"outputHash", s.OutputHash},
		{"parameters.temperature", fmt.Sprint(s.Parameters.Temperature)},
		{"parameters.maxTokens", fmt.Sprint(s.Parameters.MaxTokens)},
		{"parameters.topP", floatOrNone(s.Parameters.TopP)},
		{"parameters.seed", floatOrNone(s.Parameters.Seed)},
		{"sdkVersion", textOrNone(s.SDKVersion)},
		{"appId", textOrNone(s.AppID)},
	} {
		t.row(1, r[0], r[1])
	}
	treeRuntime(t, s.Runtime)
}

// treeRuntime shows the member runtime of a record.
func treeRuntime(t *treeWriter, raw jsontext.Value) {
	rt, err := cer.ParseRuntime(raw)
	if err != nil {
		t.row(1, "runtime", "cannot be read: "+err.Error())
		return
	}
	t.row(1, "runtime", "version "+strconv.Itoa(rt.V))
	for _, r := range [][2]string{{"series", rt.Series}, {"launch", rt.Launch}, {"key", rt.Key}, {"record", rt.Record}, {"disclosure", rt.Disclosure}} {
		t.row(2, r[0], r[1])
	}
	if rt.Nonce != nil {
		t.row(2, "nonce", *rt.Nonce)
	}
	for _, st := range []struct {
		name string
		s    cer.Stream
	}{{"input", rt.Input}, {"output", rt.Output}, {"stderr", rt.Stderr}} {
		t.row(2, st.name, treeStream(&st.s))
	}
	exit := fmt.Sprintf("code %d, timeout %v", rt.Exit.Code, rt.Exit.Timeout)
	if rt.Exit.Signal != nil {
		exit = "signal " + *rt.Exit.Signal + fmt.Sprintf(", timeout %v", rt.Exit.Timeout)
	}
	t.row(2, "exit", exit)
	for _, p := range rt.Parameters {
		t.row(2, "parameter "+p.Name, treeParameter(&p))
	}
	for _, n := range rt.NotApplicable {
		t.row(2, "not applicable", n)
	}
	for _, f := range rt.Isolation {
		t.row(2, "isolation "+f.Name, f.Value)
	}
}
