package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sworn-run/sworn/verifier"
	"github.com/sworn-run/sworn/verifier/ledger"
)

// recheckType is the type of the first line that recheck writes for programs.
const recheckType = "sworn.recheck/v1"

// recheckFlags are the flags of `sworn recheck`.
type recheckFlags struct {
	policy, roots, rootsOnly, against, format, sigstore, collateral string
	waive, ledgers                                                  []string
	all, json                                                       bool
}

func (a *app) recheckCommand() *cobra.Command {
	var f recheckFlags
	cmd := &cobra.Command{
		Use:   "recheck [flags] FOLDER...",
		Short: "Judge kept records anew, and say what changed",
		Long: `Judges every record below the folders as of now: files whose names end in .cer.json,
and archives of "sworn archive". What cannot be read is a row like any other. With
--against FILE, what an earlier run wrote with --format json, each row says what
changed since and why, and ledgers must not be older than they were then.

The text lists what is not trusted or has changed, with --all every record. With
--format json the answer is one JSON object on each line: what was asked, then the
records in the order of their paths, then the sums. --format html is one page that
loads nothing. A policy that asks for nonces wants one for all records: waive the
check, since nothing kept is fresh.

Exit status: 0 all trusted and nothing worse, 1 something is not, 2 usage or I/O.`,
		Example: `  sworn recheck --policy policy.json --roots roots/ --ledger distrust.ledger records/
  sworn recheck --policy policy.json --roots roots/ --format json records/ > 2026-11.jsonl
  sworn recheck --policy policy.json --roots roots/ --against 2026-11.jsonl records/`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("sworn recheck --policy POLICY --roots DIR FOLDER", "no folder given")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.json && !cmd.Flags().Changed("format") {
				f.format = formatJSON
			}
			return a.recheck(cmd.Context(), &f, args)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.policy, "policy", "", "policy `FILE`")
	fl.StringVar(&f.roots, "roots", "", "roots `DIR`, added to the built-in pins")
	fl.StringVar(&f.rootsOnly, "roots-only", "", "roots `DIR`, instead of the built-in pins")
	fl.StringArrayVar(&f.ledgers, "ledger", nil, "a signed list of distrusted hardware, beside the built-in one: `FILE` (repeatable)")
	fl.StringArrayVar(&f.waive, "waive", nil, "waive a required check: `ID=REASON` (repeatable)")
	fl.StringVar(&f.collateral, "collateral", "", "what vendors and authorities have published since: files in `DIR`, as \"sworn collateral fetch\" writes them")
	fl.StringVar(&f.against, "against", "", "compare with an earlier run, its --format json in `FILE`")
	fl.StringVar(&f.format, "format", "text", "`text`, json or html")
	fl.BoolVar(&f.json, "json", false, "the same as --format json")
	fl.BoolVar(&f.all, "all", false, "list every record in the text")
	choices(cmd, "format", "text", formatJSON, formatHTML)
	sigstoreFlag(cmd, &f.sigstore)
	folder(cmd, "collateral")
	folder(cmd, "roots")
	folder(cmd, "roots-only")
	waivable(cmd)
	return cmd
}

// input turns flags into what the verifier needs.
func (f *recheckFlags) input(ctx context.Context) (verifier.Input, error) {
	formats := []string{"text", formatJSON, formatHTML}
	if !slices.Contains(formats, f.format) {
		return verifier.Input{}, usage(hintMeant(nearest(f.format, formats), "--format %s", "--format "+strings.Join(formats, " or --format ")), "unknown format %q", f.format)
	}
	if f.policy == "" {
		return verifier.Input{}, usage("make one from a known-good record: sworn policy from-record RECORD --roots DIR -o policy.json", "no policy given, without which nothing is trusted: --policy FILE")
	}
	same := verifyFlags{
		policy: f.policy, roots: f.roots, rootsOnly: f.rootsOnly, format: formatJSON, sigstore: f.sigstore,
		collateral: f.collateral, waive: f.waive, ledgers: f.ledgers,
	}
	in, err := same.verifierInput(ctx)
	if err == nil && in.Policy.Series == verifier.SeriesCounter {
		err = usage("sworn verify judges records of a series together", "%s: the policy wants records held against each other, which is not done here", f.policy)
	}
	return in, err
}

// recheckHead is what was asked: the first line for programs.
type recheckHead struct {
	Type string `json:"type"`
	// Time is the time of every verdict, RFC 3339 in UTC.
	Time     string                `json:"time"`
	Verifier string                `json:"verifier"`
	Policy   string                `json:"policy"`
	Roots    string                `json:"roots"`
	Ledgers  []verifier.LedgerUsed `json:"ledgers"`
	// Against is the time of the run that this one is compared with; empty for none.
	Against string `json:"against"`
}

// recheckSums is the last line for programs.
type recheckSums struct {
	Type      string         `json:"type"`
	Trusted   bool           `json:"trusted"`
	Records   int            `json:"records"`
	ByStatus  map[string]int `json:"byStatus"`
	ByChange  map[string]int `json:"byChange"`
	NotLooked int            `json:"otherFiles"`

	hint string
}

// The statuses of a row beside a verdict's.
const (
	rowTrusted    = "trusted"
	rowNotTrusted = "not trusted"
	rowUnreadable = "unreadable"
)

// recheck judges everything and writes what it found.
func (a *app) recheck(ctx context.Context, f *recheckFlags, paths []string) error {
	in, err := f.input(ctx)
	if err != nil {
		return err
	}
	head, err := headOf(in)
	if err != nil {
		return err
	}
	var earlier *earlierRun
	if f.against != "" {
		if earlier, err = readEarlier(f.against); err != nil {
			return err
		}
		if err := earlier.notOlder(head); err != nil {
			return err
		}
		head.Against = earlier.head.Time
		if earlier.head.Policy != head.Policy || earlier.head.Roots != head.Roots {
			if _, err := fmt.Fprintln(a.stderr, "note: policy or roots are others than at the earlier run"); err != nil {
				return err
			}
		}
	}
	jobs, left, err := findRecords(paths)
	if err != nil {
		return err
	}
	if len(jobs) == 0 {
		return usage("give the folder that holds records, files whose names end in "+recordSuffix, "no record below %s", strings.Join(paths, ", "))
	}
	out := bufio.NewWriterSize(a.stdout, 1<<16)
	w := newRowWriter(out, f, head)
	sums := &recheckSums{Type: recheckType, Trusted: true, ByStatus: map[string]int{}, ByChange: map[string]int{}, NotLooked: left, hint: noHint}
	if err := w.head(head); err != nil {
		return err
	}
	take := func(r *recheckRow) error {
		sums.add(r)
		return w.row(r)
	}
	bar := a.countBar(len(jobs))
	err = judgeAll(ctx, in, jobs, bar, func(r *recheckRow) error {
		if earlier != nil {
			earlier.compare(r)
		}
		return take(r)
	})
	bar.clear()
	if err != nil {
		return err
	}
	if earlier != nil {
		for _, r := range earlier.gone() {
			if err := take(r); err != nil {
				return err
			}
		}
	}
	if err := errors.Join(w.sums(sums), out.Flush()); err != nil {
		return err
	}
	if !sums.Trusted {
		return &statusError{code: exitNotTrusted, hint: sums.hint}
	}
	return nil
}

// headOf says what is asked. The mistakes of the caller show before anything is read.
func headOf(in verifier.Input) (*recheckHead, error) {
	r, err := verifier.Verify(nil, in)
	if err != nil {
		return nil, wrap(err, inputHint(err))
	}
	return &recheckHead{
		Type: recheckType, Time: in.Now.UTC().Format(time.RFC3339), Verifier: r.Verifier, Policy: r.Policy, Roots: r.Roots, Ledgers: r.Ledgers,
	}, nil
}

// add counts a row.
func (s *recheckSums) add(r *recheckRow) {
	if r.Change != changeGone {
		s.Records++
		s.ByStatus[r.Status]++
	}
	if r.Change != "" {
		s.ByChange[r.Change]++
	}
	if r.Status != rowTrusted || slices.Contains([]string{changeWorse, changeGone, changeReplaced}, r.Change) {
		s.Trusted = false
	}
	for _, c := range r.Open {
		if strings.HasPrefix(c.Check, "nonce.") && r.Status == rowNotTrusted {
			s.hint = `nothing kept is fresh: --waive ` + c.Check + `="a record that was kept"`
		}
	}
}

// rowOf is the row of a record that was judged.
func rowOf(path string, r *verifier.Report) *recheckRow {
	row := &recheckRow{
		Path: path, SHA256: r.Capsule, Status: rowNotTrusted, Headline: r.Headline,
		Now: r.Now.Status, Record: r.Record.Status, Open: []openCheck{}, Assuming: r.Assuming,
	}
	if r.Trusted {
		row.Status = rowTrusted
	}
	for _, c := range r.Blocking() {
		row.Open = append(row.Open, openCheck{Check: c.ID, Slot: c.Slot, Status: c.Status, Detail: shortened(line(c.Detail))})
	}
	return row
}

// unreadable is the row of what could not be judged.
func unreadable(path string, err error) *recheckRow {
	return &recheckRow{
		Path: path, Status: rowUnreadable, Headline: shortened(line(err.Error())), Open: []openCheck{}, Assuming: []string{},
	}
}

// maxDetail bounds what a row says of one check, in bytes.
const maxDetail = 300

// shortened cuts a line.
func shortened(s string) string {
	if len(s) <= maxDetail {
		return s
	}
	return strings.ToValidUTF8(s[:maxDetail], "") + "…"
}

// notOlder refuses ledgers that are older than at the earlier run, or that are not given
// any more: what was known then would not count now.
func (e *earlierRun) notOlder(head *recheckHead) error {
	for _, was := range e.head.Ledgers {
		i := slices.IndexFunc(head.Ledgers, func(l verifier.LedgerUsed) bool { return l.Name == was.Name && !lessVersion(l.Version, was.Version) })
		if i >= 0 {
			continue
		}
		err := fmt.Errorf("version %s of ledger %.160q was asked at the earlier run, and neither it nor a later one is now: %w", was.Version, was.Name, ledger.ErrRollback)
		return wrap(err, "give the newest version with --ledger FILE, or leave --against out")
	}
	return nil
}

// isDigest reports whether s is SHA-256 in hexadecimal.
func isDigest(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 32
}
