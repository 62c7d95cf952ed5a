package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/collect"
	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/sev"
	"github.com/sworn-run/sworn/tdx"
	"github.com/sworn-run/sworn/verifier"
)

// collateralTime bounds getting what vendors publish about one record.
const collateralTime = 2 * time.Minute

// sourceFlags say who is asked for collateral, and where answers are kept.
type sourceFlags struct {
	kds, pcs, cache string
	offline         bool
}

// register adds the flags to a command; cache is the name of the one about the folder.
func (f *sourceFlags) register(cmd *cobra.Command, cache string) {
	fl := cmd.Flags()
	fl.StringVar(&f.kds, "kds", "", "ask this `URL` instead of AMD ("+collect.DefaultKDS+"); http:// is asked without TLS")
	fl.StringVar(&f.pcs, "pcs", "", "ask this `URL`, of a PCCS or a mirror, instead of Intel ("+collect.DefaultPCS+"); http:// is asked without TLS")
	fl.StringVar(&f.cache, cache, "", "`DIR` that keeps answers (default: sworn/collateral in the user's cache folder)")
	folder(cmd, cache)
}

// client returns a client that asks those.
func (f *sourceFlags) client(log *slog.Logger) (*collect.Client, error) {
	dir := f.cache
	if dir == "" {
		// Without a home there is none, and nothing is kept.
		if top, err := os.UserCacheDir(); err == nil {
			dir = filepath.Join(top, "sworn", "collateral")
		}
	}
	c, err := collect.NewClient(&collect.Options{
		KDS: f.kds, PCS: f.pcs, CacheDir: dir, Offline: f.offline, Now: time.Now, Log: log,
	})
	if err != nil {
		return nil, wrap(err, "--kds "+collect.DefaultKDS+" --pcs https://pccs.example:8081")
	}
	return c, nil
}

// The values of --collateral.
const (
	collateralAuto = "auto"
	collateralNone = "none"
)

// collateralFlags are the flags of a launch about what vendors publish.
type collateralFlags struct {
	mode string
	sourceFlags
}

// register adds the flags to a command that launches.
func (f *collateralFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.mode, "collateral", collateralAuto, "what vendors publish about the machine goes into the record: auto (got, where it is to be had) or none (of what is at hand)")
	choices(cmd, "collateral", collateralAuto, collateralNone)
	f.sourceFlags.register(cmd, "collateral-cache")
}

// collect returns what a launch's device collects with: of what is at hand and, unless
// the mode is none, of what can be got, the items that a verifier will rely on.
func (f *collateralFlags) collect(log *slog.Logger) (func(context.Context, []attest.Evidence) []attest.Collateral, error) {
	c := &collect.Collector{
		Schemes: verifier.Schemes(), Anchors: &attest.Anchors{Pins: verifier.Pins()}, Now: time.Now, Timeout: collateralTime, Log: log,
	}
	switch f.mode {
	case collateralNone:
	case collateralAuto:
		var err error
		if c.Client, err = f.client(log); err != nil {
			return nil, err
		}
	default:
		return nil, usage(hintMeant(nearest(f.mode, []string{collateralAuto, collateralNone}), "--collateral %s", "--collateral auto or --collateral none"), "unknown value %q of --collateral", f.mode)
	}
	return c.Collect, nil
}

func (a *app) collateralCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "collateral",
		Short: "Get what vendors publish, for verification without a network",
		Long: `Gets what AMD and Intel publish about the evidence of a confidential VM:
certificates, revocation lists, TCB info, identities of quoting enclaves. A record
that carries it is verified without a network; what is missing is not established.

AMD, or the mirror, is told a chip's id and its security versions; Intel, or the
mirror, a platform's model (FMSPC). Nothing of a record leaves the machine beside
that. Nothing that comes back is believed: a verifier checks every signature.`,
		Example: `  sworn collateral attach --in-place job.cer.json
  sworn collateral fetch --out collateral/ --report report.bin`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.collateralFetch(), a.collateralAttach())
	return cmd
}

// fetchFlags are the flags of `sworn collateral fetch`.
type fetchFlags struct {
	sourceFlags
	out, report, quote string
}

func (a *app) collateralFetch() *cobra.Command {
	var f fetchFlags
	cmd := &cobra.Command{
		Use:   "fetch [flags] RECORD... | --report FILE | --quote FILE",
		Short: "Get what vendors publish about evidence, into files",
		Long: `Gets everything that AMD or Intel publishes about the evidence of records, about
an attestation report of SEV-SNP, or about a quote of TDX or SGX, and writes each
item into a file, named by what it is. Carry the folder to a machine without a
network, and give it there to "sworn collateral attach --offline --from DIR".

Exit status: 0 all was had, 1 some could not be had, 2 usage or I/O.`,
		Example: `  sworn collateral fetch --out collateral/ job.cer.json
  sworn collateral fetch --pcs https://pccs.example:8081 --quote quote.bin`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 && f.report == "" && f.quote == "" {
				return usage("sworn collateral fetch RECORD, or --report FILE, or --quote FILE", "no evidence given")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return a.fetch(cmd.Context(), &f, args) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.out, "out", "collateral", "write the files into `DIR`, made if it is not there")
	fl.StringVar(&f.report, "report", "", "about the attestation report of SEV-SNP in `FILE`")
	fl.StringVar(&f.quote, "quote", "", "about the quote of TDX or SGX in `FILE`")
	folder(cmd, "out")
	f.register(cmd, "cache")
	return cmd
}

// evidence reads everything that collateral is asked for about.
func (f *fetchFlags) evidence(records []string) ([]attest.Evidence, error) {
	var all []attest.Evidence
	for _, name := range records {
		b, err := readCapsule(name)
		if err != nil {
			return nil, err
		}
		c, err := cer.ParseCapsule(b)
		if err != nil {
			return nil, wrap(fmt.Errorf("%s: %w", name, err), recordHint(name, b))
		}
		for i := range c.Evidence {
			c.Evidence[i].Collateral = c.Collateral
			all = append(all, c.Evidence[i])
		}
	}
	for _, raw := range []struct{ name, part string }{{f.report, sev.PartReport}, {f.quote, tdx.PartQuote}} {
		if raw.name == "" {
			continue
		}
		b, err := readFile(raw.name, limits.EvidencePart)
		if err != nil {
			return nil, err
		}
		if raw.part == sev.PartReport {
			if b, _, err = sev.SplitReport(b); err != nil {
				return nil, wrap(fmt.Errorf("%s: %w", raw.name, err), "give the report as the firmware returned it")
			}
		}
		all = append(all, attest.Evidence{Parts: []attest.Part{{Name: raw.part, Data: b}}})
	}
	return all, nil
}

// recordHint says what a file is that is no record.
func recordHint(name string, b []byte) string {
	if hint := kindHint(name, b, "record"); hint != "" {
		return hint
	}
	return "sworn inspect " + name
}

// fetch is `sworn collateral fetch`.
func (a *app) fetch(ctx context.Context, f *fetchFlags, records []string) error {
	all, err := f.evidence(records)
	if err != nil {
		return err
	}
	client, err := f.client(slog.New(slog.NewTextHandler(a.stderr, nil)))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(f.out, 0o755); err != nil { //nolint:gosec // what vendors publish is no secret
		return wrap(err, "name a folder that this user may make, or write into: --out DIR")
	}
	var missing []*collect.ItemError
	written := map[string]bool{}
	for i := range all {
		each, stop := context.WithTimeout(ctx, collateralTime)
		items, problems := client.Evidence(each, &all[i])
		stop()
		missing = append(missing, problems...)
		for j := range items {
			if err := a.writeItem(f.out, &items[j], written); err != nil {
				return err
			}
		}
	}
	return a.missing(missing, f.offline)
}

// writeItem writes an item into its file, once, and says so.
func (a *app) writeItem(dir string, item *attest.Collateral, written map[string]bool) error {
	l, err := collect.NewLabel(item)
	if err != nil || written[l.File] {
		return err
	}
	written[l.File] = true
	name := filepath.Join(dir, l.File)
	if err := writeFile(name, item.Data, 0o644); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "%s  until %s  %s\n", line(l.What), l.Until.UTC().Format(time.DateOnly), line(name))
	return err
}

// missing says what could not be had, as an error with exit status 1; nil for nothing.
func (a *app) missing(problems []*collect.ItemError, offline bool) error {
	if len(problems) == 0 {
		return nil
	}
	for _, p := range problems {
		if _, err := fmt.Fprintln(a.stderr, "missing:", line(p.Error())); err != nil {
			return err
		}
	}
	hint := "try again later, or ask a mirror: --kds URL, --pcs URL"
	if offline {
		hint = "leave --offline out where there is a network; or give what was fetched there: --from DIR"
	}
	return &statusError{code: exitNotTrusted, msg: fmt.Sprintf("%d item(s) could not be had, or not up to date", len(problems)), hint: hint}
}

// attachFlags are the flags of `sworn collateral attach`.
type attachFlags struct {
	sourceFlags
	inPlace                     bool
	out, from, roots, rootsOnly string
}

const attachExample = "sworn collateral attach --in-place job.cer.json"

func (a *app) collateralAttach() *cobra.Command {
	var f attachFlags
	cmd := &cobra.Command{
		Use:   "attach [flags] RECORD...",
		Short: "Put what vendors publish into records",
		Long: `Puts into each record what verifying it without a network needs and it does not
have, in place of what is older, and takes out what no check uses; a record with a time
stamp keeps both, for both of its verdicts. The evidence, its
digest and the record stay byte for byte. With --from, files that were fetched
elsewhere are taken as well; with --offline, nobody is asked.

What belongs in is what the evidence's own check relies on, under the built-in pins
and the roots given; a record of a vendor without either gets what would be relied on
if its root were trusted.

Exit status: 0 nothing is missing, 1 something is (what was had is in the record), 2
usage or I/O, or evidence that does not verify; the record then stays as it is.`,
		Example: `  ` + attachExample + `
  sworn collateral attach --out job-complete.cer.json --pcs https://pccs.example:8081 job.cer.json
  sworn collateral attach --in-place --offline --from collateral/ *.cer.json`,
		Args: func(_ *cobra.Command, args []string) error { return f.check(args) },
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.collector(slog.New(slog.NewTextHandler(a.stderr, nil)))
			if err != nil {
				return err
			}
			return a.attach(cmd.Context(), c, &f, args)
		},
	}
	fl := cmd.Flags()
	fl.BoolVar(&f.inPlace, "in-place", false, "write each record over itself")
	fl.StringVar(&f.out, "out", "", "write the one record to `FILE`")
	fl.StringVar(&f.from, "from", "", "take the files in `DIR` as well, as fetch wrote them, or others in DER, PEM or JSON")
	fl.BoolVar(&f.offline, "offline", false, "ask nobody")
	fl.StringVar(&f.roots, "roots", "", "roots `DIR`, added to the built-in pins")
	fl.StringVar(&f.rootsOnly, "roots-only", "", "roots `DIR`, instead of the built-in pins")
	folder(cmd, "from")
	folder(cmd, "roots")
	folder(cmd, "roots-only")
	f.register(cmd, "cache")
	return cmd
}

// check refuses flags that say nothing together.
func (f *attachFlags) check(records []string) error {
	switch {
	case len(records) == 0:
		return usage(attachExample, "no record given")
	case f.inPlace == (f.out != ""):
		return usage(attachExample, "want either --in-place or --out FILE")
	case f.out != "" && len(records) > 1:
		return usage(attachExample, "--out takes one record, %d are given", len(records))
	case samePath(f.out, records[0]):
		return usage(attachExample, "the result would overwrite %s", f.out)
	case f.roots != "" && f.rootsOnly != "":
		return usage("give one of them", "--roots and --roots-only exclude each other")
	}
	return nil
}

// collector returns what attaches.
func (f *attachFlags) collector(log *slog.Logger) (*collect.Collector, error) {
	store, err := loadRoots(f.roots + f.rootsOnly)
	if err != nil {
		return nil, err
	}
	c := &collect.Collector{Schemes: verifier.Schemes(), Anchors: store.Anchors(), Now: time.Now, Timeout: collateralTime, Log: log}
	if f.rootsOnly == "" {
		c.Anchors.Pins = verifier.Pins()
	}
	if c.More, err = readItems("--from", f.from); err != nil {
		return nil, err
	}
	c.Client, err = f.client(log)
	return c, err
}

// readItems reads the files of the folder that a flag names; none if none is named.
func readItems(flag, dir string) ([]attest.Collateral, error) {
	if dir == "" {
		return nil, nil
	}
	hint := flag + " takes a folder of certificates, revocation lists and answers of Intel's, and nothing else"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, wrap(err, hint)
	}
	if len(entries) > limits.CollateralItems {
		return nil, usage(hint, "%s has %d files, limit %d", dir, len(entries), limits.CollateralItems)
	}
	var all []attest.Collateral
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		b, err := readFile(name, limits.CollateralItem)
		if err != nil {
			return nil, err
		}
		items, err := collect.ParseFile(b)
		if err != nil {
			return nil, wrap(fmt.Errorf("%s: %w", name, err), hint)
		}
		all = append(all, items...)
	}
	return all, nil
}

// attach is `sworn collateral attach`.
func (a *app) attach(ctx context.Context, c *collect.Collector, f *attachFlags, records []string) error {
	var missing []*collect.ItemError
	for _, name := range records {
		b, err := readCapsule(name)
		if err != nil {
			return err
		}
		got, err := c.Attach(ctx, b)
		if err != nil {
			return wrap(fmt.Errorf("%s: %w", name, err), a.attachHint(name, b, err))
		}
		if c, err := cer.ParseCapsule(b); err == nil && got.Added+got.Removed > 0 && archived(c) {
			return usage("attach before sworn timestamp --archive; beside an archived record, give collateral to who verifies",
				"%s: an archive token covers the record's collateral, which must stay as it is", name)
		}
		if err := f.write(name, got); err != nil {
			return err
		}
		missing = append(missing, got.Problems...)
		if _, err := fmt.Fprintf(a.stdout, "%s: %d added, %d removed, %d kept\n", line(name), got.Added, got.Removed, got.Kept); err != nil {
			return err
		}
	}
	return a.missing(missing, f.offline)
}

// attachHint says what to do about a record that nothing can be attached to.
func (a *app) attachHint(name string, b []byte, err error) string {
	if errors.Is(err, cer.ErrStrict) || errors.Is(err, cer.ErrSchema) {
		return recordHint(name, b)
	}
	return "see what is wrong with its evidence: sworn verify --explain " + name
}

// write writes a record to where it belongs, in one step; one that is not changed is not
// written over itself.
func (f *attachFlags) write(name string, got *collect.Attached) error {
	if f.out != "" {
		return writeFile(f.out, got.File, 0o644)
	}
	if got.Added == 0 && got.Removed == 0 {
		return nil
	}
	// A link goes on to lead to the record.
	target, err := filepath.EvalSymlinks(name)
	if err != nil {
		return wrap(err, fileHint(name, err))
	}
	return writeFile(target, got.File, fs.ModePerm)
}
