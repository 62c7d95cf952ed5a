package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/verifier"
	"github.com/sworn-run/sworn/verifier/appraise"
)

// maxEvidenceFiles bounds the files of one folder of evidence.
const maxEvidenceFiles = 64

// appraiseFlags are the flags of `sworn appraise`.
type appraiseFlags struct {
	kind, at, roots, rootsOnly, index string
	only                              []string
	jobs                              uint32
	strict, json                      bool
}

func (a *app) appraiseCommand() *cobra.Command {
	var f appraiseFlags
	cmd := &cobra.Command{
		Use:   "appraise [flags] FOLDER|FILE",
		Short: "Appraise raw evidence that came without a record",
		Long: `Checks quotes, logs and lists as other tools keep them, offline, and prints what
is proven and what is not established. It says nothing about an inference: that
takes a record, and sworn verify.

Kinds, told by the content where --kind is not given:

  tpm        quotes of a TPM 2.0 with keys, register values, certificates, logs:
             the TPM's structures in files, as tpm2-tools write them; attestations
             of go-tpm-tools, binary, text or JSON; dumps of go-attestation; evidence of
             vaportpm and of trustee
  eventlog   a firmware's log (binary_bios_measurements)
  ccel       a log of confidential computing (CCEL)
  ima        a list of measured files, binary or ASCII
  sev-snp    a report of AMD SEV-SNP with the certificates of its key
  tdx        a quote of Intel TDX with Intel's collateral, and the firmware's log
  sgx        a quote of an Intel SGX enclave, or a report of EGo or Open Enclave, with Intel's collateral
  azure-snp, azure-tdx
             a confidential VM on Azure: the report of the paravisor (NV 0x01400001),
             a quote of the virtual TPM and its register values, and what AMD or Intel signed
  nitro      documents that AWS's hypervisor signed for an enclave (untagged
             COSE_Sign1), with the revocation lists that their certificates name
  nitrotpm   one that it signed for an instance's virtual TPM, with that TPM's quotes

A quote is accepted if its signature and digest cover what was received and nothing
contradicts it; with --strict also a trusted root must vouch for its key, as a key
that signs nothing but what its TPM made. A document is accepted likewise, and is
refused of an enclave in debug mode; the key that signed it is certified for hours, so
give the time with --at. A log or list without a quote proves
nothing, and is accepted if it is well-formed and whole. SHA-1 proves nothing.

A root that is pinned counts once its certificate is there, in the roots folder or at
the end of the evidence's chain.

With --index, a whole corpus is appraised, and each item's outcome compared with
the expected one: one line per item (id, expected, got, agree), then the counts. An
item's files, instant and verdict are those of the index; the certificates of its items
of tech "roots" complete chains, and are trusted only if they are pinned. --only chooses among its
techs; without it, what this version does not appraise is counted and does not
decide.

Exit status: 0 accepted, or every judged item agrees; 1 refused, or one does not;
2 usage or I/O.`,
		Example: `  sworn appraise --roots roots/ captures/host-17/
  sworn appraise --kind eventlog /sys/kernel/security/tpm0/binary_bios_measurements
  sworn appraise --strict --at 2026-02-03T10:13:02Z enclave/document.cbor
  sworn appraise --strict --at 2026-02-10 --json attestation.pb | jq .accepted
  sworn appraise --index evidence/INDEX.json --only tpm,eventlog --jobs 2`,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case f.index != "" && len(args) > 0:
				return usage("give one of them", "--index and %s exclude each other", args[0])
			case f.index == "" && len(args) != 1:
				return usage("sworn appraise FOLDER", "%d arguments, want one folder or file", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(cmd); err != nil {
				return err
			}
			if f.index != "" {
				return a.appraiseIndex(cmd.Context(), &f)
			}
			return a.appraise(&f, args[0])
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.kind, "kind", "", "`KIND` of evidence: "+strings.Join(kindNames(), ", ")+" (default: what the content says)")
	fl.StringVar(&f.at, "at", "", "judge certificates at `TIME` (RFC 3339 or YYYY-MM-DD; default: now)")
	fl.BoolVar(&f.strict, "strict", false, "accept a quote only if a trusted root vouches for its key")
	fl.StringVar(&f.roots, "roots", "", "roots `DIR`, added to the built-in pins")
	fl.StringVar(&f.rootsOnly, "roots-only", "", "roots `DIR`, instead of the built-in pins")
	fl.BoolVar(&f.json, "json", false, "print the outcome as JSON; with --index, one object per line")
	fl.StringVar(&f.index, "index", "", "appraise the items of an index, a `FILE` named INDEX.json for the most part")
	fl.StringSliceVar(&f.only, "only", nil, "of the index, only items of these `TECHS`, with commas between")
	fl.Uint32Var(&f.jobs, "jobs", 0, "appraise `N` items of the index at a time (default: one for each processor)")
	choices(cmd, "kind", kindNames()...)
	choices(cmd, "only", kindNames()...)
	folder(cmd, "roots")
	folder(cmd, "roots-only")
	return cmd
}

// kindNames returns the kinds of evidence.
func kindNames() []string {
	var out []string
	for _, k := range appraise.Kinds() {
		out = append(out, string(k))
	}
	return out
}

// check refuses flags that say nothing together.
func (f *appraiseFlags) check(cmd *cobra.Command) error {
	if f.roots != "" && f.rootsOnly != "" {
		return usage("give one of them", "--roots and --roots-only exclude each other")
	}
	for _, name := range []string{"only", "jobs"} {
		if f.index == "" && cmd.Flags().Changed(name) {
			return usage("give the index with --index FILE", "--%s without an index", name)
		}
	}
	if f.index != "" && (f.kind != "" || f.strict) {
		return usage("leave it out", "an index says itself of what kind each item is and how strictly it is judged")
	}
	for _, k := range kindNames() {
		if f.kind == "" || f.kind == k {
			return nil
		}
	}
	return usage(hintMeant(nearest(f.kind, kindNames()), "--kind %s", "--kind "+strings.Join(kindNames(), ", ")), "unknown kind %q", f.kind)
}

// anchors loads the roots, beside the pins that are built in.
func (f *appraiseFlags) anchors() (*attest.Anchors, error) {
	store, err := loadRoots(f.roots + f.rootsOnly)
	if err != nil {
		return nil, err
	}
	anchors := store.Anchors()
	if f.rootsOnly == "" {
		anchors.Pins = verifier.Pins()
	}
	return anchors, nil
}

// instant returns the instant of --at, or now.
func (f *appraiseFlags) instant() (time.Time, error) {
	at, err := parseTime(f.at)
	if err == nil && at.IsZero() {
		at = time.Now()
	}
	return at, err
}

// appraise judges one folder or file.
func (a *app) appraise(f *appraiseFlags, name string) error {
	anchors, err := f.anchors()
	if err != nil {
		return err
	}
	at, err := f.instant()
	if err != nil {
		return err
	}
	files, err := readEvidence(name)
	if err != nil {
		return err
	}
	r, err := appraise.Appraise(appraise.Input{
		Kind: appraise.Kind(f.kind), Files: files, Anchors: anchors, At: at, Strict: f.strict,
	})
	if err != nil {
		return wrap(fmt.Errorf("%s: %w", name, err), evidenceHint(name, files))
	}
	if f.json {
		err = writeJSON(a.stdout, newAppraisalJSON(name, at, f.strict, r), "  ")
	} else {
		err = writeAppraisal(a.stdout, r)
	}
	if err != nil {
		return err
	}
	if !r.Accepted() {
		return &statusError{code: exitNotTrusted, hint: noHint}
	}
	return nil
}

// evidenceHint says what to do about files that tell nothing.
func evidenceHint(name string, files []appraise.File) string {
	if len(files) == 1 {
		if hint := kindHint(name, files[0].Data, "file of evidence"); hint != "" {
			return hint
		}
	}
	return "say what it is: --kind " + strings.Join(kindNames(), ", ")
}

// readEvidence reads a file, or the files of a folder but not of those below it.
func readEvidence(name string) ([]appraise.File, error) {
	st, err := os.Stat(name)
	if err != nil {
		return nil, wrap(err, fileHint(name, err))
	}
	if !st.IsDir() {
		b, err := readFile(name, limits.BootLog)
		return []appraise.File{{Name: filepath.Base(name), Data: b}}, err
	}
	entries, err := os.ReadDir(name)
	if err != nil {
		return nil, wrap(err, "may this user read it?")
	}
	var files []appraise.File
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		if len(files) == maxEvidenceFiles {
			return nil, usage("give a folder with the evidence of one machine", "more than %d files in %s", maxEvidenceFiles, name)
		}
		b, err := readFile(filepath.Join(name, e.Name()), limits.BootLog)
		if err != nil {
			return nil, err
		}
		files = append(files, appraise.File{Name: e.Name(), Data: b})
	}
	if len(files) == 0 {
		return nil, wrap(fmt.Errorf("no file in %s: %w", name, fs.ErrNotExist), "give a folder with the evidence of one machine")
	}
	return files, nil
}

// refusalClass names the class of a refusal.
func refusalClass(r *appraise.Report) string {
	err := r.Refusal
	switch {
	case err == nil:
		return ""
	case errors.Is(err, attest.ErrForm):
		return "malformed"
	case errors.Is(err, attest.ErrSignature):
		return "signature"
	case errors.Is(err, attest.ErrMode) && r.Kind == appraise.Nitro:
		return "mode"
	case errors.Is(err, attest.ErrMode):
		return "key"
	default:
		return "refused"
	}
}

// appraisalJSON is a report for programs.
type appraisalJSON struct {
	Type     string         `json:"type"`
	File     string         `json:"file"`
	Kind     appraise.Kind  `json:"kind"`
	Form     string         `json:"form"`
	At       string         `json:"at"`
	Strict   bool           `json:"strict"`
	Accepted bool           `json:"accepted"`
	Class    string         `json:"class,omitempty"`
	Reason   string         `json:"reason,omitempty"`
	Findings []findingJSON  `json:"findings"`
	Quoted   []registerJSON `json:"quoted"`
	Replayed []replayedJSON `json:"replayed"`
}

type findingJSON struct {
	Subject string `json:"subject"`
	Name    string `json:"name"`
	Status  string `json:"status"`
	Detail  string `json:"detail"`
}

type registerJSON struct {
	Bank  string `json:"bank"`
	Index uint32 `json:"index"`
	Value string `json:"value"`
}

type replayedJSON struct {
	Subject   string         `json:"subject"`
	Name      string         `json:"name"`
	Registers []registerJSON `json:"registers"`
}

// registersJSON spells register values.
func registersJSON(list []attest.RegisterValue) []registerJSON {
	out := make([]registerJSON, 0, len(list))
	for _, v := range list {
		out = append(out, registerJSON{v.Bank.String(), v.Index, hex.EncodeToString(v.Value)})
	}
	return out
}

// appraisalType is the type of what `sworn appraise --json` prints.
const appraisalType = "sworn.run/appraisal/v1"

func newAppraisalJSON(name string, at time.Time, strict bool, r *appraise.Report) *appraisalJSON {
	out := &appraisalJSON{
		Type: appraisalType, File: name, Kind: r.Kind, Form: r.Form, At: at.UTC().Format(time.RFC3339),
		Strict: strict, Accepted: r.Accepted(), Class: refusalClass(r),
		Findings: []findingJSON{}, Quoted: registersJSON(r.Quoted), Replayed: []replayedJSON{},
	}
	if r.Refusal != nil {
		out.Reason = line(r.Refusal.Error())
	}
	for _, f := range r.Findings {
		out.Findings = append(out.Findings, findingJSON{line(f.Subject), f.Name, statusWord(f.Status), line(f.Detail)})
	}
	for _, p := range r.Replays {
		out.Replayed = append(out.Replayed, replayedJSON{line(p.Subject), p.Name, registersJSON(p.Values)})
	}
	return out
}

// statusWord is the word for an outcome.
func statusWord(s attest.Status) string {
	switch s {
	case attest.Passed:
		return "proven"
	case attest.Failed:
		return "contradicted"
	case attest.NotApplicable:
		return "not applicable"
	default:
		return "not established"
	}
}
