package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/limits"
)

func (a *app) inspectCommand() *cobra.Command {
	var extract string
	var pretty bool
	cmd := &cobra.Command{
		Use:   "inspect [flags] FILE",
		Short: "Show what a file holds, without judging it",
		Long: `Shows every field of a file that Sworn writes or reads, under the names of its
manual and with units. The file is told by its content: a record; a binding
statement, as bytes or in base64url; an event log; a TPM's quote (TPMS_ATTEST);
certificates, in DER or PEM; a policy; a report; a NexArt bundle; or a roots
folder. Nothing is verified: use "sworn verify".`,
		Example: `  sworn inspect job.cer.json
  sworn inspect --extract output job.cer.json > output.txt
  sworn inspect --pretty job.cer.json | less
  sworn inspect roots/`,
		Args: oneFile("sworn inspect FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			if st, err := os.Stat(args[0]); err == nil && st.IsDir() && extract == "" && !pretty {
				return a.inspectRoots(args[0])
			}
			file, err := readCapsule(args[0])
			if err != nil {
				return err
			}
			switch {
			case extract != "":
				return a.extract(file, extract)
			case pretty:
				return a.pretty(file)
			default:
				return a.inspectFile(file)
			}
		},
	}
	cmd.Flags().StringVar(&extract, "extract", "", "write `input|output|stderr` of a full record to standard output")
	cmd.Flags().BoolVar(&pretty, "pretty", false, "print the JSON indented, for people (the result is no capsule)")
	choices(cmd, "extract", "input", "output", "stderr")
	return cmd
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
		return wrap(err, "inspect wants a capsule made by sworn run")
	}
	v := jsontext.Value(file)
	if err := v.Indent(jsontext.WithIndent("  ")); err != nil {
		return err
	}
	_, err := fmt.Fprintf(a.stdout, "%s\n", v)
	return err
}

// extract writes what a full record carries.
func (a *app) extract(file []byte, what string) error {
	_, b, err := parseForInspect(file)
	if err != nil {
		return err
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
	default:
		return usage("--extract input, output or stderr", "unknown part %q", what)
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

// treeWriter writes an indented tree and keeps the first error.
type treeWriter struct {
	w   io.Writer
	err error
}

func (t *treeWriter) row(depth int, name, value string) {
	if t.err == nil {
		_, t.err = fmt.Fprintf(t.w, "%*s%-*s %s\n", 2*depth, "", 24-2*depth, line(name), line(value))
	}
}

func (t *treeWriter) head(name string) {
	if t.err == nil {
		_, t.err = fmt.Fprintln(t.w, line(name))
	}
}

// rows writes names and values in pairs, below a head.
func (t *treeWriter) rows(rows [][2]string) {
	for _, r := range rows {
		t.row(1, r[0], r[1])
	}
}

// treeCapsule shows a record with everything that accompanies it.
func treeCapsule(t *treeWriter, file []byte) error {
	c, b, err := parseForInspect(file)
	if err != nil {
		return err
	}
	t.head(fmt.Sprintf("capsule  %d bytes  sha256:%x", len(file), sha256.Sum256(file)))
	treeRecord(t, b)
	treeStatement(t, c.Statement)
	t.row(1, "signature", fmt.Sprintf("Ed25519 by the launch key, %x", c.Signature))
	t.row(1, "inclusion", fmt.Sprintf("leaf %d of %d, path of %d hashes", c.Inclusion.Index, c.Inclusion.Size, len(c.Inclusion.Path)))
	t.row(1, "evidence digest", fmt.Sprintf("%x (what a time stamp would have to cover)", attest.EvidenceDigest(c.Statement, c.Signature, c.Items)))
	treeLog(t, c.Log)
	treeEvidence(t, c.Evidence)
	return nil
}

func treeRecord(t *treeWriter, b *cer.Bundle) {
	s := &b.Snapshot
	t.head("record (NexArt " + b.BundleType + ", protocol " + s.ProtocolVersion + ")")
	for _, r := range [][2]string{
		{"certificateHash", b.CertificateHash},
		{"createdAt", b.CreatedAt + " (claimed)"},
		{"timestamp", s.Timestamp + " (claimed)"},
		{"executionId", s.ExecutionID},
		{"provider", s.Provider},
		{"model", s.Model},
		{"prompt", s.Prompt},
		{"inputHash", s.InputHash},
		{"outputHash", s.OutputHash},
	} {
		t.row(1, r[0], r[1])
	}
	rt, err := cer.ParseRuntime(s.Runtime)
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
		t.row(2, st.name, fmt.Sprintf("%s bytes, complete %v, sha256:%s", st.s.Size, st.s.Complete, st.s.SHA256))
	}
	exit := fmt.Sprintf("code %d, timeout %v", rt.Exit.Code, rt.Exit.Timeout)
	if rt.Exit.Signal != nil {
		exit = "signal " + *rt.Exit.Signal + fmt.Sprintf(", timeout %v", rt.Exit.Timeout)
	}
	t.row(2, "exit", exit)
	for _, p := range rt.Parameters {
		how := "declared"
		if p.Applied {
			how = "applied"
		}
		t.row(2, "parameter "+p.Name, p.Value+" ("+how+")")
	}
	for _, n := range rt.NotApplicable {
		t.row(2, "not applicable", n)
	}
}
