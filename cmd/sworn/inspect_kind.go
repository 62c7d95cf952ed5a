package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/tpm"
	"github.com/sworn-run/sworn/verifier"
)

// What files begin with.
const (
	// beginStatement begins every binding statement (SPEC, section 4).
	beginStatement = "sworn.run/statement/"
	// beginQuote is TPM_GENERATED_VALUE (TPM 2.0 Part 2, 6.2).
	beginQuote = "\xffTCG"
	// beginLog is the first TLV of a log: a record number of 8 bytes (TCG
	// Canonical Event Log Format, 5.1).
	beginLog = "\x00\x00\x00\x00\x08"
	// beginDER is a DER SEQUENCE of 256 to 65,535 bytes, as every certificate
	// is.
	beginDER = "\x30\x82"
	// beginPEM begins a PEM certificate (RFC 7468, 5.1).
	beginPEM = "-----BEGIN CERTIFICATE-----"
)

// inspectable says what inspect takes.
const inspectable = "inspect wants a capsule made by sworn run, a statement, an event log, a quote, a certificate, a policy, a report, a NexArt bundle or a roots folder"

// errUnknownKind is content that inspect does not know.
var errUnknownKind = errors.New("the file is of no kind that is known here")

// inspectFile shows a file of any kind.
func (a *app) inspectFile(file []byte) error {
	// Shown at once or not at all: half a tree would look like a whole one.
	var out bytes.Buffer
	t := &treeWriter{w: &out}
	if err := showFile(t, file); err != nil {
		if _, ok := errors.AsType[*statusError](err); ok {
			return err
		}
		return wrap(err, inspectable)
	}
	if t.err != nil {
		return t.err
	}
	_, err := out.WriteTo(a.stdout)
	return err
}

// showFile tells the kind of a file by its content.
func showFile(t *treeWriter, file []byte) error {
	text := bytes.TrimSpace(file)
	switch {
	case len(file) > limits.CapsuleFile:
		return fmt.Errorf("file of more than %d bytes: %w", limits.CapsuleFile, errUnknownKind)
	case bytes.HasPrefix(file, []byte(beginStatement)):
		return showStatement(t, file)
	case bytes.HasPrefix(file, []byte(beginQuote)):
		return showQuote(t, file)
	case bytes.HasPrefix(file, []byte(beginLog)):
		return showLog(t, file)
	case bytes.HasPrefix(file, []byte(beginDER)), bytes.HasPrefix(text, []byte(beginPEM)):
		return showCertificates(t, file)
	case bytes.HasPrefix(text, []byte("{")):
		return showJSON(t, file)
	case bytes.HasPrefix(text, []byte(base64.RawURLEncoding.EncodeToString([]byte(beginStatement)[:18]))):
		raw, err := base64.RawURLEncoding.Strict().DecodeString(string(text))
		if err != nil {
			return fmt.Errorf("statement in base64url: %w", err)
		}
		return showStatement(t, raw)
	default:
		return errUnknownKind
	}
}

// showJSON tells the kind of a JSON text by its members.
func showJSON(t *treeWriter, file []byte) error {
	if err := cer.Strict(file, limits.BundleDepth); err != nil {
		return err
	}
	var m map[string]jsontext.Value
	if err := json.Unmarshal(file, &m); err != nil {
		return err
	}
	var kind string
	if v, ok := m["type"]; ok && v.Kind() == '"' {
		if err := json.Unmarshal(v, &kind); err != nil {
			return err
		}
	}
	switch {
	case m["cer"] != nil || m["statement"] != nil:
		return treeCapsule(t, file)
	case m["bundleType"] != nil:
		return showBundle(t, file)
	case kind == verifier.PolicyType:
		return showPolicy(t, file)
	case kind == verifier.ReportType:
		return showReport(t, file)
	default:
		return errUnknownKind
	}
}

func showStatement(t *treeWriter, raw []byte) error {
	if _, err := attest.ParseStatement(raw); err != nil {
		return err
	}
	treeStatement(t, raw)
	return nil
}

func showQuote(t *treeWriter, raw []byte) error {
	details, err := tpm.QuoteDetails(raw)
	if err != nil {
		return err
	}
	t.head(fmt.Sprintf("quote (TPMS_ATTEST, TPM 2.0 Part 2, 10.12.12, %d bytes)", len(raw)))
	for _, d := range details {
		t.row(1, d.Name, d.Value)
	}
	return nil
}

func showLog(t *treeWriter, raw []byte) error {
	l, err := attest.ParseLog(raw)
	if err != nil {
		return err
	}
	treeLog(t, raw)
	t.row(1, "root", fmt.Sprintf("%x (RFC 6962, over %d event digests)", cer.LogRoot(l.Digests(uint64(len(l.Events)))), len(l.Events)))
	treeReplay(t, l)
	return nil
}

// treeReplay shows what the register holds after the log, where the log says
// what it held before.
func treeReplay(t *treeWriter, l *attest.Log) {
	origin, err := cer.ParseOrigin(l.Events[0].Data)
	if err != nil {
		t.row(1, "replay", "not known: the log does not say what the register held before it")
		return
	}
	for i := range origin.Start {
		alg, start, err := origin.StartValue(i)
		if err != nil {
			continue
		}
		if v := l.Replay(alg, start, uint64(len(l.Events))); v != nil {
			t.row(1, "replay", fmt.Sprintf("register %d (%v) then is %x", l.Register, alg, v))
		}
	}
}
