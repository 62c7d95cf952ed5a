package main

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/verifier"
)

// formatJSON is the format of reports for programs.
const formatJSON = "json"

// verifyFlags are the flags of `sworn verify`.
type verifyFlags struct {
	policy, roots, rootsOnly, at, nonce, format string
	input, output, sigstore, collateral, earKey string
	opening, report                             string
	weights, waive, ledgers                     []string
	explain, json                               bool

	// key signs EARs, and kid is its id.
	key crypto.Signer
	kid string
}

func (a *app) verifyCommand() *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:   "verify [flags] FILE...",
		Short: "Check records offline against a policy and roots",
		Long: `Checks each record offline: what ran, on what input, what came out, on whose
word. Nothing is fetched. Without --policy every check that needs none is run,
and the answer is never "trusted". A policy whose series is "counter" holds the
records given against each other: none may be missing between the first and the
last.

Of an archive ("sworn archive"), each record is a line, and the last ones are about
all of them; with --json an object a line. It is trusted if every record in it is. What
it carries beside the records is not used.

Exit status: 0 trusted, 1 not trusted, 2 usage or I/O.`,
		Example: `  sworn verify --policy policy.json --roots roots/ --nonce $NONCE job.cer.json
  sworn verify --policy policy.json --roots roots/ --input page.png --output page.txt page.cer.json
  sworn verify --policy policy.json --roots roots/ --format html --report report.html job.cer.json
  sworn verify --json job.cer.json | jq .headline`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("sworn verify --policy POLICY --roots DIR FILE", "no record given")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case f.json && cmd.Flags().Changed("format") && f.format != formatJSON:
				return usage("give one of them", "--json and --format %s exclude each other", f.format)
			case f.json:
				f.format = formatJSON
			}
			return a.verify(cmd.Context(), &f, args)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.policy, "policy", "", "policy `FILE`")
	fl.StringVar(&f.roots, "roots", "", "roots `DIR`, added to the built-in pins")
	fl.StringVar(&f.rootsOnly, "roots-only", "", "roots `DIR`, instead of the built-in pins")
	fl.StringArrayVar(&f.waive, "waive", nil, "waive a required check: `ID=REASON` (repeatable)")
	fl.StringVar(&f.at, "at", "", "also judge at `TIME` (RFC 3339 or YYYY-MM-DD), hypothetically")
	fl.StringVar(&f.nonce, "nonce", "", "the nonce you chose, in `HEX`")
	fl.StringVar(&f.input, "input", "", "is this `FILE` the input?")
	fl.StringVar(&f.output, "output", "", "is this `FILE` the output?")
	fl.StringVar(&f.opening, "opening", "", "does this `FILE` open what the record, the only one given, commits to?")
	fl.StringArrayVar(&f.weights, "weights", nil, "are these the weights? `[NAME=]PATH` of a file or a folder (repeatable)")
	fl.StringVar(&f.format, "format", "text", "`text`, json, html: one document to file away, or ear: an attestation result signed by you, a line for each record")
	fl.StringVar(&f.earKey, "ear-key", "", "your private key for --format ear, a `FILE` in PEM: Ed25519, P-256 or P-384")
	fl.StringVar(&f.report, "report", "", "write the report to `FILE`, and the verdict alone to standard output")
	fl.BoolVar(&f.json, "json", false, "the same as --format json")
	fl.StringArrayVar(&f.ledgers, "ledger", nil, "a signed list of distrusted hardware, beside the built-in one: `FILE` (repeatable)")
	fl.BoolVar(&f.explain, "explain", false, "list every check, what it wants and what it found")
	choices(cmd, "format", "text", formatJSON, formatHTML, formatEAR)
	sigstoreFlag(cmd, &f.sigstore)
	fl.StringVar(&f.collateral, "collateral", "", "what vendors and authorities have published since: files in `DIR`, as \"sworn collateral fetch\" writes them")
	folder(cmd, "collateral")
	folder(cmd, "roots")
	folder(cmd, "roots-only")
	waivable(cmd)
	return cmd
}

// verifierInput turns flags into what the verifier needs.
func (f *verifyFlags) verifierInput(ctx context.Context) (verifier.Input, error) {
	in := verifier.Input{Now: time.Now(), Version: version, Digest: selfDigest(), Sigstore: sigstoreVerifier(ctx, f.sigstore)}
	var err error
	formats := []string{"text", formatJSON, formatHTML, formatEAR}
	switch {
	case !slices.Contains(formats, f.format):
		return in, usage(hintMeant(nearest(f.format, formats), "--format %s", "--format "+strings.Join(formats, " or --format ")), "unknown format %q", f.format)
	case f.format == formatEAR && f.earKey == "":
		return in, usage("--ear-key FILE, your own; "+keyHint, "an attestation result is signed by whoever verifies, and no key is given")
	case f.format != formatEAR && f.earKey != "":
		return in, usage("add --format ear, or leave --ear-key out", "--ear-key is for --format ear")
	case f.earKey != "":
		if f.key, f.kid, err = verifierKey(f.earKey); err != nil {
			return in, err
		}
	}
	if f.roots != "" && f.rootsOnly != "" {
		return in, usage("give one of them", "--roots and --roots-only exclude each other")
	}
	if in.Roots, err = loadRoots(f.roots + f.rootsOnly); err != nil {
		return in, err
	}
	in.RootsOnly = f.rootsOnly != ""
	if in.Policy, err = loadPolicy(f.policy, f.waive); err != nil {
		return in, err
	}
	if in.Ledgers, err = loadLedgers(f.ledgers, in.Roots); err != nil {
		return in, err
	}
	if in.Collateral, err = readItems("--collateral", f.collateral); err != nil {
		return in, err
	}
	if in.Nonce, err = parseNonce(f.nonce); err != nil {
		return in, err
	}
	if in.At, err = parseTime(f.at); err != nil {
		return in, err
	}
	if in.Opening, err = readOpening(f.opening); err != nil {
		return in, err
	}
	if f.input != "" {
		if in.InputFile, err = hashFile(ctx, f.input); err != nil {
			return in, err
		}
	}
	if f.output != "" {
		if in.OutputFile, err = hashFile(ctx, f.output); err != nil {
			return in, err
		}
	}
	for _, w := range f.weights {
		name, path := named(w)
		if name == "" {
			name = "default"
		}
		files, err := hashWeights(ctx, name, path)
		if err != nil {
			return in, err
		}
		in.Weights = append(in.Weights, files...)
	}
	return in, nil
}

// loadPolicy reads a policy and adds the command line's waivers.
func loadPolicy(name string, waive []string) (*verifier.Policy, error) {
	if name == "" {
		if len(waive) > 0 {
			return nil, usage("give the policy with --policy FILE", "--waive without a policy")
		}
		return nil, nil
	}
	b, err := readFile(name, limits.PolicyFile)
	if err != nil {
		return nil, err
	}
	p, err := verifier.ParsePolicy(b)
	if err != nil {
		return nil, wrap(fmt.Errorf("%s: %w", name, err), policyHint(name, b, "sworn policy check "+name))
	}
	waivers, err := parseWaivers(waive)
	if err != nil {
		return nil, err
	}
	if err := p.AddWaivers(waivers); err != nil {
		return nil, wrap(err, "sworn verify --help")
	}
	return p, nil
}

// parseWaivers parses ID=REASON flags.
func parseWaivers(waive []string) ([]verifier.Waiver, error) {
	var out []verifier.Waiver
	for _, s := range waive {
		w, err := verifier.ParseWaiver(s)
		if err != nil {
			return nil, wrap(err, waiverHint(s))
		}
		out = append(out, w)
	}
	return out, nil
}

// parseTime parses --at; the zero time if it was not given.
func parseTime(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil && !t.IsZero() {
			return t, nil
		}
	}
	return time.Time{}, usage("--at 2026-11-22 or --at 2026-11-22T04:00:00Z", "time %q: want RFC 3339 or YYYY-MM-DD", s)
}

// verify judges each file; the worst answer decides the status.
func (a *app) verify(ctx context.Context, f *verifyFlags, files []string) error {
	if f.opening != "" && len(files) > 1 {
		return usage("give that record alone", "--opening is of one record, and %d are given", len(files))
	}
	in, err := f.verifierInput(ctx)
	if err != nil {
		return err
	}
	archives := slices.ContainsFunc(files, isArchive)
	if archives && (f.format == formatHTML || f.report != "") {
		return usage("sworn archive --extract DIR, and give the records", "an archive's records are told one a line, not by --format html or --report")
	}
	out, err := a.openReports(f, files)
	if err != nil {
		return err
	}
	defer out.abandon()
	if in.Policy != nil && in.Policy.Series == verifier.SeriesCounter && !archives {
		return a.verifySeries(in, out, files)
	}
	var worst error
	for _, name := range files {
		if archives && isArchive(name) {
			err := a.verifyArchive(ctx, in, f, name)
			if s, ok := errors.AsType[*statusError](err); err != nil && (!ok || s.code != exitNotTrusted) {
				return err
			}
			if worst == nil {
				worst = err
			}
			continue
		}
		report, err := a.verifyFile(in, name)
		if err != nil {
			return err
		}
		if err := out.add(report, name); err != nil {
			return err
		}
		if !report.Trusted && worst == nil {
			worst = &statusError{code: exitNotTrusted, hint: hintAgainst(name, report, in)}
		}
	}
	if err := out.finish(); err != nil {
		return err
	}
	return worst
}

// verifySeries judges files that the policy wants held against each other.
func (a *app) verifySeries(in verifier.Input, out *reports, files []string) error {
	capsules, size := make([][]byte, len(files)), 0
	for i, name := range files {
		b, err := readCapsule(name)
		if err != nil {
			return err
		}
		if size += len(b); i > 0 && size > limits.SeriesBytes {
			return usage("give fewer records at a time", "the records are larger than %s together", sizeText(limits.SeriesBytes))
		}
		capsules[i] = b
	}
	reports, err := verifier.VerifySeries(capsules, in)
	if err != nil {
		return wrap(err, inputHint(err))
	}
	var worst error
	for i, r := range reports {
		if err := out.add(r, files[i]); err != nil {
			return err
		}
		if !r.Trusted && worst == nil {
			worst = &statusError{code: exitNotTrusted, hint: hintAgainst(files[i], r, in)}
		}
	}
	if err := out.finish(); err != nil {
		return err
	}
	return worst
}

// hintAgainst says what to do about a record that is not trusted.
func hintAgainst(name string, r *verifier.Report, in verifier.Input) string {
	id, ok := r.Reason()
	if (id == "capsule.strict" || in.Policy == nil && r.Genuine() != nil) && !isArchive(name) {
		if b, err := readCapsule(name); err == nil {
			if hint := kindHint(name, b, "record"); hint != "" {
				return hint
			}
		}
	}
	switch {
	case in.Policy == nil && r.Genuine() != nil:
		return "see every check: sworn verify --explain " + name
	case in.Roots == nil && (in.Policy == nil || id == "slot.identity"):
		return "say whose hardware you trust: --roots DIR (sworn explain slot.identity)"
	case in.Opening == nil && unopened(r, id):
		return "give what opens the record's commitments: --opening FILE (sworn explain " + id + ")"
	case in.Policy == nil:
		return "make a policy from a known-good record: sworn policy from-record RECORD --roots DIR -o policy.json"
	case id == "series.complete" && in.Policy.Series == verifier.SeriesCounter:
		return "give all records of the series together: sworn verify --policy POLICY RECORD… (sworn explain series.complete)"
	case in.Nonce == nil && (id == "nonce.quote" || id == "nonce.execution"):
		return "give the nonce that you chose: --nonce HEX (sworn explain " + id + ")"
	case ok:
		return "sworn explain " + id
	default:
		return noHint
	}
}

// verifyFile judges one file.
func (a *app) verifyFile(in verifier.Input, name string) (*verifier.Report, error) {
	b, err := readCapsule(name)
	if err != nil {
		return nil, err
	}
	report, err := verifier.Verify(b, in)
	if err != nil {
		return nil, wrap(err, inputHint(err))
	}
	return report, nil
}

// readCapsule reads a file that should be a capsule; one beyond the limit is
// read no further than shows it, and the verifier refuses it.
func readCapsule(name string) ([]byte, error) {
	f, err := openRegular(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, 0, 1<<16)
	buf := make([]byte, 1<<16)
	for len(b) <= limits.CapsuleFile {
		n, err := f.Read(buf)
		b = append(b, buf[:n]...)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
	}
	return b, nil
}

// noHint suppresses the hint line.
const noHint = "-"

// hintFor returns the hint for an error without one of its own.
func hintFor(err error) string {
	switch {
	case os.IsPermission(err):
		return "may this user read and write there?"
	default:
		if hint := platformHint(err); hint != "" {
			return hint
		}
		return "sworn --help"
	}
}
