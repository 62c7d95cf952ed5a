package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/archive"
	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/nitro"
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
	// beginDER is a DER SEQUENCE.
	beginDER = "\x30"
	// beginPEM begins a PEM block (RFC 7468, 2).
	beginPEM = "-----BEGIN "
)

// inspectable says what inspect takes.
const inspectable = "inspect knows records (capsules), statements, event logs (Sworn's, a firmware's, IMA's), quotes and reports of TPMs, SEV-SNP, TDX, SGX, " +
	"Azure's paravisor and Nitro, TCB infos, QE identities, certificate tables, certificates, revocation lists, public keys, time stamps, policies, reports, " +
	"appraisals, openings, volume descriptions, enrolments, JSON schemas, NexArt bundles, packages, receipts, envelopes, key documents and snapshots, archives of records, and roots folders; sworn appraise FOLDER reads more"

// errUnknownKind is content that inspect does not know.
var errUnknownKind = errors.New("the file is of no kind that is known here")

// kind is a kind of file: what it is called, and how it is shown.
type kind struct {
	name string
	show func(*treeWriter, []byte) error
}

// inspectFile shows a file of any kind.
func (a *app) inspectFile(file []byte, asJSON bool) error {
	// Shown at once or not at all: half a tree would look like a whole one.
	t := &treeWriter{}
	k, err := kindOf(file)
	if err == nil {
		err = k.show(t, file)
	}
	if err != nil {
		return wrap(err, inspectable)
	}
	if asJSON {
		return t.writeJSON(a.stdout, k.name)
	}
	return t.writeText(a.stdout)
}

// kindOf tells the kind of a file by its content. The error says why there is
// none.
func kindOf(file []byte) (kind, error) {
	text := bytes.TrimSpace(file)
	switch {
	case len(file) == 0:
		return kind{}, fmt.Errorf("the file is empty: %w", errUnknownKind)
	case archive.Is(file):
		return kind{kindArchive, showArchive}, nil
	case len(file) > limits.CapsuleFile:
		return kind{}, fmt.Errorf("file of more than %d bytes: %w", limits.CapsuleFile, errUnknownKind)
	case bytes.HasPrefix(file, []byte(beginStatement)):
		return kind{"statement", showStatement}, nil
	case bytes.HasPrefix(file, []byte(beginQuote)):
		return kind{"quote", showQuote}, nil
	case isSNPReport(file):
		return kind{"SEV-SNP report", showSNPReport}, nil
	case isQuote(file):
		return kind{"TDX or SGX quote", showDCAPQuote}, nil
	case bytes.HasPrefix(file, []byte(beginHCL)):
		return kind{"report of a paravisor", showHCL}, nil
	case nitro.IsDocument(file):
		return kind{"Nitro document", showNitro}, nil
	case isCertTable(file):
		return kind{"certificate table", showCertTable}, nil
	case isBootLog(file):
		return kind{"firmware's event log", showBootLog}, nil
	case isFileList(file):
		return kind{"list of measured files", showFileList}, nil
	case isFileText(file):
		return kind{"list of measured files", showFileText}, nil
	case bytes.HasPrefix(file, []byte(beginLog)):
		return kind{"event log", showLog}, nil
	case bytes.HasPrefix(file, []byte(beginDER)):
		return derKind(file)
	case bytes.HasPrefix(text, []byte(beginPEM)):
		return kind{"PEM file", showPEM}, nil
	case bytes.HasPrefix(text, []byte("{")):
		return jsonKind(file)
	case bytes.HasPrefix(text, []byte(base64.RawURLEncoding.EncodeToString([]byte(beginStatement)[:18]))):
		return kind{"statement in base64url", showStatementText}, nil
	default:
		return kind{}, errUnknownKind
	}
}

// jsonKind tells the kind of a JSON text by its members.
func jsonKind(file []byte) (kind, error) {
	if err := cer.Strict(file, limits.BundleDepth); err != nil {
		return kind{}, err
	}
	var m map[string]jsontext.Value
	if err := json.Unmarshal(file, &m); err != nil {
		return kind{}, err
	}
	isType := func(value string) bool { return string(m["type"]) == `"`+value+`"` }
	has := func(members ...string) bool {
		for _, name := range members {
			if m[name] == nil {
				return false
			}
		}
		return true
	}
	switch {
	case has("statement", "evidence"), has("cer", "log"):
		return kind{"record", showCapsule}, nil
	case isType(verifier.PolicyType):
		return kind{"policy", showPolicy}, nil
	case isType(verifier.ReportType):
		return kind{"report", showReport}, nil
	case isType(cer.OpeningType):
		return kind{"opening", showOpening}, nil
	case isType(appraisalType):
		return kind{"appraisal", showObject("appraisal", "as whoever made it says")}, nil
	case isType("sworn.enroll.transcript/v1"):
		return kind{"transcript of an enrolment", showObject("transcript of an enrolment", "as whoever made it says; what is base64 is DER or a TPM's structure")}, nil
	case isType("sworn.enroll.key/v1"):
		return kind{"enrolled key", showObject("enrolled key", "what the TPM needs to load it is not shown", "private", "auth")}, nil
	case isType("sworn.dm-verity/v1"):
		return kind{"description of a volume", showObject("description of a dm-verity volume", "data_blocks of 4,096 bytes, hash_offset in bytes")}, nil
	case has("tcbInfo"):
		return kind{"TCB info", showDocument(attest.CollateralTCBInfo)}, nil
	case has("enclaveIdentity"):
		return kind{"QE identity", showDocument(attest.CollateralQEIdentity)}, nil
	case has("bundleType"):
		return kind{"NexArt bundle", showBundle}, nil
	case has("cer"):
		return kind{"NexArt package", showPackage}, nil
	case has("keys"):
		return kind{"NexArt key document", showKeys}, nil
	case has("receipt"), has("receiptVersion"), has("attestationId"):
		return kind{"NexArt receipt", showReceipt}, nil
	case has("envelopeType"), has("verificationEnvelope"):
		return kind{"NexArt envelope", showEnvelope}, nil
	case has("executionId", "parameters"):
		return kind{"NexArt snapshot", showSnapshot}, nil
	case has("$schema"):
		return kind{"JSON schema", showSchema}, nil
	case has("type"):
		return kind{}, fmt.Errorf("JSON of type %s: %w", shortJSON(m["type"]), errUnknownKind)
	default:
		return kind{}, errUnknownKind
	}
}

// kindHint says what a file is that was taken for another, if that is known:
// the most frequent mistake is two paths that changed places.
func kindHint(name string, file []byte, wanted string) string {
	k, err := kindOf(file)
	switch {
	case len(file) == 0:
		return "the file is empty: give the path of " + withArticle(wanted)
	case err != nil || k.name == wanted:
		return ""
	default:
		return name + " is " + withArticle(k.name) + ", not " + withArticle(wanted) + ": sworn inspect " + name
	}
}

// withArticle puts the article before a noun.
func withArticle(noun string) string {
	if strings.ContainsAny(noun[:1], "aeiou") {
		return "an " + noun
	}
	return "a " + noun
}

func showStatement(t *treeWriter, raw []byte) error {
	if _, err := attest.ParseStatement(raw); err != nil {
		return err
	}
	treeStatement(t, raw)
	return nil
}

// showStatementText shows a statement in base64url, as capsules hold it.
func showStatementText(t *treeWriter, file []byte) error {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(string(bytes.TrimSpace(file)))
	if err != nil {
		return fmt.Errorf("statement in base64url: %w", err)
	}
	return showStatement(t, raw)
}

func showQuote(t *treeWriter, raw []byte) error {
	details, err := tpm.QuoteDetails(raw)
	if err != nil {
		return err
	}
	t.head("quote", fmt.Sprintf("TPMS_ATTEST, TPM 2.0 Part 2, 10.12.12, %d bytes", len(raw)))
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
