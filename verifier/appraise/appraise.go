// Package appraise judges raw evidence that came without a record: quotes of a
// TPM, documents of AWS Nitro, logs of firmware and of confidential computing, and
// lists of IMA, in the forms in which other tools keep them.
//
// A [Report] lists what is proven and what is not established, and is accepted or
// refused with a reason. It says nothing about an inference: that takes a record,
// which package verifier judges. Nothing here is taken from a file's name but which
// of several files belong together; what a file is, its content tells.
//
// # What acceptance means
//
// A quote is accepted if its signature and the digest in it cover what was
// received, its key is of no kind that signs other things, and nothing that came
// with it contradicts it: a log or list that does not give the quoted registers, a
// nonce that is not the quoted one, a certificate that does not chain. Strictly, the
// key must also be vouched for by a trusted root, as a key that signs nothing but
// what its TPM generated. Of a document the same holds, and its enclave must not be in
// debug mode; beside a NitroTPM's, quotes must be of the registers that it states and,
// strictly, by the key that it names. A log or list by itself is accepted if it is well-formed
// and whole; it proves nothing, and the report says so.
//
// SHA-1 proves nothing: it is replayed for comparison with other tools, and a quote
// that selects it is not looked at.
//
// # The bounds
//
// A set of evidence is at most 64 files of 16 MiB, 64 MiB together, and 16 quotes.
package appraise

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/sev"
	"github.com/sworn-run/sworn/tdx"
	"github.com/sworn-run/sworn/verifier"
)

// ErrRefused is evidence that is well-formed and, as far as it goes, genuine, and
// contradicts itself, is incomplete, or does not reach what is asked of it.
var ErrRefused = errors.New("refused")

// Kind is a kind of evidence.
type Kind string

// The kinds of evidence that this version appraises.
const (
	// TPM is quotes of a TPM 2.0 with what came with them.
	TPM Kind = "tpm"
	// EventLog is a firmware's log of what it extended into a TPM.
	EventLog Kind = "eventlog"
	// CCEL is the same for the measurement registers of confidential computing.
	CCEL Kind = "ccel"
	// IMA is a list of the files that a Linux kernel measured.
	IMA Kind = "ima"
	// AzureSNP is a quote of the virtual TPM of a confidential VM on Azure, with what
	// ties that TPM to AMD SEV-SNP: the paravisor's report and the certificates of the
	// key that signed the hardware's report in it.
	AzureSNP Kind = "azure-snp"
	// AzureTDX is the same for Intel TDX: the paravisor's report and the TD quote over
	// what is in it, with Intel's collateral.
	AzureTDX Kind = "azure-tdx"
	// SEVSNP is a report of AMD SEV-SNP with the certificates of the key that signed it.
	SEVSNP Kind = "sev-snp"
	// TDX is a quote of an Intel TDX trust domain with Intel's collateral, and the log of
	// the TD's firmware, if it was kept.
	TDX Kind = "tdx"
	// SGX is a quote of an Intel SGX enclave, bare or as EGo and Open Enclave report it,
	// with Intel's collateral.
	SGX Kind = "sgx"
	// Nitro is documents that AWS's hypervisor signed for an enclave.
	Nitro Kind = "nitro"
	// NitroTPM is one that it signed for the virtual TPM of an instance, with quotes
	// of that TPM, if there are any.
	NitroTPM Kind = "nitrotpm"
)

// Kinds returns the kinds of this version.
func Kinds() []Kind {
	return []Kind{TPM, EventLog, CCEL, IMA, SEVSNP, TDX, SGX, AzureSNP, AzureTDX, Nitro, NitroTPM}
}

// File is one file of a set of evidence.
type File struct {
	// Name is its name, for people and for telling which files belong together.
	Name string
	// Data is the whole file, at most 16 MiB.
	Data []byte
}

// Input is what is appraised, against what.
type Input struct {
	// Kind is the kind of evidence; empty to tell it by the content.
	Kind Kind
	// Files are 1 to 64 files with different names, 64 MiB together.
	Files []File
	// Anchors are the roots that are trusted; nil trusts nothing.
	Anchors *attest.Anchors
	// At is the instant at which certificates are judged.
	At time.Time
	// Strict asks for a key that a trusted root vouches for.
	Strict bool
}

// Finding is one thing that was looked at.
type Finding struct {
	// Subject is what it is about, such as a file's name.
	Subject string
	// Name is what was looked at, such as "signature".
	Name string
	attest.Finding
}

// Replay are the registers of one bank as a log or list gives them.
type Replay struct {
	// Subject is the name of the file.
	Subject string
	// Name is "PCR" or "RTMR".
	Name string
	// Values are ascending by index; RTMR0 has index 0.
	Values []attest.RegisterValue
}

// Report is the outcome.
type Report struct {
	// Kind is the kind of evidence, Form what kept it in this form.
	Kind Kind
	Form string
	// Refusal is nil if the evidence is accepted. Else it wraps ErrRefused,
	// attest.ErrForm, attest.ErrSignature or attest.ErrMode, and tells why.
	Refusal error
	// Findings are in the order in which they were looked at.
	Findings []Finding
	// Quoted are the registers of the verified quotes; nil if refused for one of
	// them.
	Quoted []attest.RegisterValue
	// Replays are there for logs and lists that were read.
	Replays []Replay
}

// Accepted reports whether the evidence is accepted.
func (r *Report) Accepted() bool { return r != nil && r.Refusal == nil }

// Bounds on a set of evidence.
const (
	maxFiles  = 64
	maxTotal  = 64 << 20
	maxQuotes = 16
)

// Appraise judges a set of evidence. The error wraps [attest.ErrArgument] for input
// beyond its bounds, a zero time, an unknown kind, or content from which none can
// be told; whatever is wrong with the evidence itself is the report's Refusal.
func Appraise(in Input) (*Report, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	if in.Kind == "" {
		kind, err := tell(in.Files)
		if err != nil {
			return nil, err
		}
		in.Kind = kind
	}
	a := &appraisal{in: in, report: &Report{Kind: in.Kind}}
	var err error
	switch in.Kind {
	case TPM:
		err = a.tpm()
	case EventLog, CCEL:
		err = a.logs()
	case AzureSNP:
		err = a.azure(verifier.AzureSNP(sev.Scheme{}))
	case AzureTDX:
		err = a.azure(verifier.AzureTDX(tdx.Scheme{}))
	case SEVSNP:
		err = a.snp()
	case TDX:
		err = a.td()
	case SGX:
		err = a.sgx()
	case Nitro:
		err = a.nitro()
	case NitroTPM:
		err = a.nitroTPM()
	default:
		err = a.lists()
	}
	if err != nil {
		a.report.Refusal, a.report.Quoted = err, nil
	}
	return a.report, nil
}

// check refuses what is beyond the bounds.
func (in *Input) check() error {
	if in.At.IsZero() {
		return fmt.Errorf("appraising evidence at the zero time: %w", attest.ErrArgument)
	}
	if in.Kind != "" && !slices.Contains(Kinds(), in.Kind) {
		return fmt.Errorf("appraising evidence of kind %.40q: %w", in.Kind, attest.ErrArgument)
	}
	if len(in.Files) < 1 || len(in.Files) > maxFiles {
		return fmt.Errorf("appraising %d files, want 1 to %d: %w", len(in.Files), maxFiles, attest.ErrArgument)
	}
	seen, total := map[string]bool{}, 0
	for _, f := range in.Files {
		total += len(f.Data)
		if len(f.Data) > limits.BootLog || total > maxTotal || seen[f.Name] {
			return fmt.Errorf("appraising file %.80q of %d bytes, %d with those before, or twice: %w",
				f.Name, len(f.Data), total, attest.ErrArgument)
		}
		seen[f.Name] = true
	}
	return nil
}

// appraisal is the work of one call of Appraise.
type appraisal struct {
	in     Input
	report *Report
}

// find adds a finding.
func (a *appraisal) find(subject, name string, f attest.Finding) {
	a.report.Findings = append(a.report.Findings, Finding{subject, name, f})
}

// proven, open and against add findings of the three outcomes.
func (a *appraisal) proven(subject, name, format string, args ...any) {
	a.find(subject, name, attest.Finding{Status: attest.Passed, Detail: fmt.Sprintf(format, args...)})
}

func (a *appraisal) open(subject, name, format string, args ...any) {
	a.find(subject, name, attest.Finding{Detail: fmt.Sprintf(format, args...)})
}

func (a *appraisal) against(subject, name, format string, args ...any) error {
	detail := fmt.Sprintf(format, args...)
	a.find(subject, name, attest.Finding{Status: attest.Failed, Detail: detail})
	return fmt.Errorf("%s: %s: %s: %w", subject, name, detail, ErrRefused)
}

// unread notes the files that were of no use.
func (a *appraisal) unread(names []string) {
	if len(names) > 0 {
		a.open(strings.Join(names, ", "), "not read", "not of a form that belongs to kind %s", a.in.Kind)
	}
}
