package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/verifier"
)

func (a *app) inspectCommand() *cobra.Command {
	var extract string
	var pretty bool
	cmd := &cobra.Command{
		Use:   "inspect [flags] FILE",
		Short: "Show what a record holds, without judging it",
		Long: `Shows a capsule as a readable tree: the record, the binding statement, the event
log and every field of the quotes. Nothing is verified: use "sworn verify".`,
		Example: `  sworn inspect job.cer.json
  sworn inspect --extract output job.cer.json > output.txt
  sworn inspect --pretty job.cer.json | less`,
		Args: oneFile("sworn inspect FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
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
				return a.tree(file)
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

func (a *app) tree(file []byte) error {
	c, b, err := parseForInspect(file)
	if err != nil {
		return err
	}
	t := &treeWriter{w: a.stdout}
	t.head(fmt.Sprintf("capsule  %d bytes  sha256:%x", len(file), sha256.Sum256(file)))
	treeRecord(t, b)
	treeStatement(t, c.Statement)
	treeLog(t, c.Log)
	treeEvidence(t, c.Evidence)
	return t.err
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

func treeStatement(t *treeWriter, raw []byte) {
	t.head(fmt.Sprintf("statement (v1, %d bytes)", len(raw)))
	st, err := attest.ParseStatement(raw)
	if err != nil {
		t.row(1, "cannot be read", err.Error())
		return
	}
	ms := int64(st.Time)
	for _, r := range [][2]string{
		{"type", "run"},
		{"claimed time", time.UnixMilli(ms).UTC().Format(cer.TimeLayout)},
		{"series", hex.EncodeToString(st.Series[:])},
		{"launch", hex.EncodeToString(st.Launch[:])},
		{"key id", hex.EncodeToString(st.KeyID[:])},
		{"sequence", fmt.Sprint(st.Sequence)},
		{"log", fmt.Sprintf("%d events, root %x", st.LogSize, st.LogRoot)},
		{"records", fmt.Sprintf("%d from number %d, root %x", st.RecordCount, st.FirstRecord, st.TreeRoot)},
		{"nonce", hex.EncodeToString(st.Nonce)},
	} {
		t.row(1, r[0], r[1])
	}
	for _, s := range st.Manifest {
		v := fmt.Sprintf("format %d, mode %d, anchor %d, key id %x", s.Format, s.Mode, s.Anchor, s.KeyID)
		if s.Register != nil {
			v += fmt.Sprintf(", register %d (%v) before commit %x", s.Register.Index, s.Register.Bank, s.Register.Value)
		}
		t.row(1, fmt.Sprintf("slot %d", s.Number), v)
	}
}

func treeLog(t *treeWriter, raw []byte) {
	l, err := attest.ParseLog(raw)
	if err != nil {
		t.head("log: cannot be read: " + err.Error())
		return
	}
	t.head(fmt.Sprintf("log (TCG CEL-TLV, register %d, banks %v, %d events)", l.Register, l.Banks, len(l.Events)))
	for i := range l.Events {
		e := &l.Events[i]
		t.row(1, fmt.Sprintf("%d %v", e.Index, e.Type), eventText(e))
	}
}

// eventText shows an event's data as people read it.
func eventText(e *attest.Event) string {
	if !e.Disclosed {
		return "withheld, " + hex.EncodeToString(e.DataHash[:8]) + "…"
	}
	switch e.Type {
	case attest.EventComponent, attest.EventEnvironment, attest.EventOrigin, attest.EventLaunchBegin:
		return string(e.Data)
	case attest.EventEnd:
		return string(e.Data)
	case attest.EventKey, attest.EventSeparator, attest.EventCommit:
		return hex.EncodeToString(e.Data)
	default:
		return hex.EncodeToString(e.Data)
	}
}

func treeEvidence(t *treeWriter, evidence []attest.Evidence) {
	for i := range evidence {
		ev := &evidence[i]
		t.head(fmt.Sprintf("evidence, slot %d, format %d", ev.Slot, ev.Format))
		for _, p := range ev.Parts {
			t.row(1, p.Name, fmt.Sprintf("%d bytes", len(p.Data)))
		}
		for _, s := range verifier.Schemes() {
			if s.Describe().Format != ev.Format {
				continue
			}
			claims, err := s.Verify(ev, &attest.Anchors{}, time.Now())
			if err != nil {
				t.row(1, s.Describe().Name, "refused: "+err.Error())
				continue
			}
			for _, d := range claims.Details {
				t.row(2, d.Name, d.Value)
			}
		}
	}
}
