package main

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/verifier"
	"github.com/sworn-run/sworn/verifier/ledger"
)

func (a *app) ledgerCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ledger",
		Short: "Show, check and sign lists of distrusted hardware",
		Long: `A ledger lists hardware whose signatures should no longer be believed, and since
when: evidence that no time stamp shows to be older is distrusted. One is built in
and always asked; others are given with "sworn verify --ledger FILE" and must be
signed by a key in the roots folder, in ledger/.`,
		Example: `  sworn ledger show
  sworn ledger keygen example.com/security -o ledger.key
  sworn ledger sign --key ledger.key distrust.json -o distrust.ledger`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.ledgerShow(), a.ledgerCheck(), a.ledgerSign(), a.ledgerKeygen())
	return cmd
}

func (a *app) ledgerShow() *cobra.Command {
	var roots string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show [flags] [FILE]",
		Short: "Show what a ledger says",
		Long: `Shows the entries of a ledger, with reasons and references; without FILE those of
the built-in one. FILE is a signed ledger, or a document that is not signed yet.
With --roots its signature must be by a key there, in ledger/; without, nobody
vouches for what is shown, and that is said.

With --json the answer is one object {name, version, issued, signer, verified,
digest, entries}.`,
		Example: `  sworn ledger show
  sworn ledger show --roots roots/ distrust.ledger
  sworn ledger show --json | jq -r '.entries[] | select(.class == "software").id'`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			s, err := readShown(args, roots)
			if err != nil {
				return err
			}
			if asJSON {
				enc := json.NewEncoder(verifier.PrintableJSON(a.stdout))
				enc.SetEscapeHTML(false)
				enc.SetIndent("", "  ")
				return enc.Encode(s)
			}
			return s.write(a)
		},
	}
	cmd.Flags().StringVar(&roots, "roots", "", "roots `DIR` with the signer's key, in ledger/")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	folder(cmd, "roots")
	return cmd
}

// shownLedger is what `sworn ledger show` prints.
type shownLedger struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Issued  string `json:"issued"`
	// Signer is the key that signed it, or in whose name it is signed; empty for none.
	Signer string `json:"signer"`
	// Verified is true of the built-in ledger, and where the signature is by a trusted key.
	Verified bool `json:"verified"`
	// Digest is SHA-256 of the file; of the built-in one, of its RFC 8785 form.
	Digest  string         `json:"digest,omitempty"`
	Entries []ledger.Entry `json:"entries"`

	builtin bool
}

// readShown reads the ledger to show.
func readShown(args []string, roots string) (*shownLedger, error) {
	if len(args) == 0 {
		l, err := ledger.Builtin()
		if err != nil {
			return nil, err
		}
		s := shownOf(l)
		s.builtin = true
		return s, nil
	}
	b, err := readFile(args[0], limits.LedgerFile+limits.LedgerSignature)
	if err != nil {
		return nil, err
	}
	if roots != "" {
		store, err := loadRoots(roots)
		if err != nil {
			return nil, err
		}
		l, err := openLedger(args[0], b, store)
		if err != nil {
			return nil, err
		}
		return shownOf(l), nil
	}
	d, signer, err := readLedger(args[0], b)
	if err != nil {
		return nil, err
	}
	return &shownLedger{Name: d.Name, Version: d.Version, Issued: d.Issued, Signer: signer, Entries: d.Entries}, nil
}

// shownOf is a ledger whose signature was verified.
func shownOf(l *ledger.Ledger) *shownLedger {
	d, digest := l.Document(), l.Digest()
	return &shownLedger{
		Name: d.Name, Version: d.Version, Issued: d.Issued, Signer: l.Signer(), Verified: true,
		Digest: hex.EncodeToString(digest[:]), Entries: d.Entries,
	}
}

// readLedger reads a signed ledger or a document without anybody's word for it.
func readLedger(name string, b []byte) (d *ledger.Document, signer string, err error) {
	if bytes.Contains(b, []byte("\n\n\u2014 ")) {
		d, signer, err = ledger.InspectUnsafe(b)
	} else {
		d, err = ledger.ParseDocument(b)
	}
	if err != nil {
		return nil, "", wrap(fmt.Errorf("%s: %w", name, err), cmp.Or(kindHint(name, b, "ledger"), "docs/LEDGER.md has an example"))
	}
	return d, signer, nil
}

// openLedger opens a ledger by the keys of the roots.
func openLedger(name string, b []byte, roots *verifier.TrustStore) (*ledger.Ledger, error) {
	l, err := ledger.Open(b, roots.LedgerKeys())
	switch {
	case err == nil:
		return l, nil
	case errors.Is(err, ledger.ErrSignature) && len(roots.LedgerKeys()) == 0:
		return nil, wrap(fmt.Errorf("%s: %w", name, err), "no key for ledgers is trusted: put the signer's key, as \"sworn ledger keygen\" made it, into ledger/ of the folder given with --roots")
	case errors.Is(err, ledger.ErrSignature):
		return nil, wrap(fmt.Errorf("%s: %w", name, err), "get the ledger again, or the key from who keeps it; keys stand in ledger/ of the roots folder")
	default:
		return nil, wrap(fmt.Errorf("%s: %w", name, err), cmp.Or(kindHint(name, b, "ledger"), "sworn ledger check "+name))
	}
}

// loadLedgers opens the ledgers given.
func loadLedgers(names []string, roots *verifier.TrustStore) ([]*ledger.Ledger, error) {
	var out []*ledger.Ledger
	for _, name := range names {
		b, err := readFile(name, limits.LedgerFile+limits.LedgerSignature)
		if err != nil {
			return nil, err
		}
		l, err := openLedger(name, b, roots)
		if err != nil {
			return nil, err
		}
		out = append(out, l)
	}
	return out, nil
}

// write prints the ledger for people.
func (s *shownLedger) write(a *app) error {
	var b strings.Builder
	by := "signed by " + s.Signer
	switch {
	case s.builtin:
		by = "built in"
	case s.Signer == "":
		by = "NOT SIGNED"
	case !s.Verified:
		by = "signed in the name of " + s.Signer + ", NOT VERIFIED: give --roots"
	}
	fmt.Fprintf(&b, "%s version %s of %s, %s\n", line(s.Name), s.Version, s.Issued, line(by))
	for i := range s.Entries {
		e := &s.Entries[i]
		since := "whatever its age"
		if e.UnlessStampedBefore != "" {
			since = "unless stamped before " + e.UnlessStampedBefore
		}
		fmt.Fprintf(&b, "\n%s  %s\n", e.ID, line(e.Title))
		fmt.Fprintf(&b, "  %-10s %s\n", "class", e.Class)
		fmt.Fprintf(&b, "  %-10s %s\n", "distrusted", since)
		fmt.Fprintf(&b, "  %-10s %s\n", "about", line(aboutText(&e.Match)))
		for j, text := range folded(line(e.Reason), 84) {
			fmt.Fprintf(&b, "  %-10s %s\n", []string{"reason", ""}[min(j, 1)], text)
		}
		for j, r := range e.References {
			fmt.Fprintf(&b, "  %-10s %s\n", []string{"see", ""}[min(j, 1)], line(r))
		}
	}
	if len(s.Entries) == 0 {
		b.WriteString("no entries\n")
	}
	_, err := a.stdout.Write([]byte(b.String()))
	return err
}

// aboutText is what an entry matches, as it stands in the document.
func aboutText(m *ledger.Selector) string {
	b, err := json.Marshal(m)
	if err != nil {
		return ""
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(b, &members) != nil {
		return string(b)
	}
	var out []string
	for _, name := range []string{
		"formats", "roots", "keys", "key_ids", "devices", "products", "manufacturers", "firmware",
		"versions", "attributes", "measurements", "key_types", "weaknesses",
	} {
		if v := string(members[name]); v != "" && v != "null" {
			out = append(out, name+" "+v)
		}
	}
	return strings.Join(out, "; ")
}

// folded cuts a text into lines of about that width, at spaces.
func folded(s string, width int) []string {
	var out []string
	for len(s) > width {
		cut := strings.LastIndexByte(s[:width], ' ')
		if cut <= 0 {
			break
		}
		out, s = append(out, s[:cut]), s[cut+1:]
	}
	return append(out, s)
}

func (a *app) ledgerCheck() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check [flags] FILE",
		Short: "Check a ledger and say what in it has no effect",
		Long: `Reads a document, or a signed ledger whose signature is not looked at, as a
verifier would, and lists entries that name what this version does not know, or
that are about simulated hardware too because they name no key.

With --json the answer is one object {file, name, version, issued, signer, entries,
problems}.

Exit status: 0 nothing to say, 1 something is listed, 2 not a ledger, or I/O.`,
		Example: `  sworn ledger check distrust.json
  sworn ledger check --json distrust.ledger | jq .problems`,
		Args: oneFile("sworn ledger check FILE"),
		RunE: func(_ *cobra.Command, args []string) error { return a.checkLedger(args[0], asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func (a *app) checkLedger(name string, asJSON bool) error {
	b, err := readFile(name, limits.LedgerFile+limits.LedgerSignature)
	if err != nil {
		return err
	}
	d, signer, err := readLedger(name, b)
	if err != nil {
		return err
	}
	problems := ledgerProblems(d)
	if asJSON {
		err = json.NewEncoder(verifier.PrintableJSON(a.stdout)).Encode(struct {
			File     string   `json:"file"`
			Name     string   `json:"name"`
			Version  string   `json:"version"`
			Issued   string   `json:"issued"`
			Signer   string   `json:"signer"`
			Entries  int      `json:"entries"`
			Problems []string `json:"problems"`
		}{name, d.Name, d.Version, d.Issued, signer, len(d.Entries), problems})
	} else {
		_, err = fmt.Fprintf(a.stdout, "%s: %s version %s of %s, %d entries\n", line(name), d.Name, d.Version, d.Issued, len(d.Entries))
		for _, p := range problems {
			if err == nil {
				_, err = fmt.Fprintln(a.stdout, "  "+line(p))
			}
		}
	}
	if err == nil && len(problems) > 0 {
		return &statusError{code: exitNotTrusted, hint: noHint}
	}
	return err
}

// ledgerProblems lists what in a document has no effect, or more than is meant.
func ledgerProblems(d *ledger.Document) []string {
	all := map[string]attest.Description{}
	for _, s := range verifier.Schemes() {
		all[s.Describe().Name] = s.Describe()
	}
	out := []string{}
	for i := range d.Entries {
		e := &d.Entries[i]
		of := map[string]attest.Description{}
		for _, f := range e.Match.Formats {
			if known, ok := all[f]; ok {
				of[f] = known
			} else {
				out = append(out, fmt.Sprintf("%s: names format %q, which this version does not know", e.ID, f))
			}
		}
		if len(e.Match.Formats) == 0 {
			of = all
		}
		out = append(append(out, namelessProblems(e, of)...), productProblems(e)...)
		m := &e.Match
		if m.Roots == nil && m.Keys == nil && m.KeyIDs == nil && m.Devices == nil && m.Measurements == nil && m.Weaknesses == nil {
			out = append(out, e.ID+": names no key, so that it is about simulated hardware too")
		}
	}
	return out
}

// productProblems lists the names of products that no evidence has: neither one of AMD's,
// which begin with a capital, nor an FMSPC of Intel's, 12 capital hexadecimal digits.
func productProblems(e *ledger.Entry) []string {
	var out []string
	for _, p := range e.Match.Products {
		known := len(p) == 12 && strings.Trim(p, "0123456789ABCDEF?") == ""
		for _, folder := range verifier.RootFolders() {
			name, amd := strings.CutPrefix(folder, "amd-ark/")
			same, err := path.Match(p, name)
			known = known || amd && err == nil && same && !strings.ContainsAny(p, `*[\`)
		}
		if !known {
			out = append(out, fmt.Sprintf("%s: no product that this version knows is called %q; capitals count", e.ID, p))
		}
	}
	return out
}

// namelessProblems lists what none of the formats states under such a name.
func namelessProblems(e *ledger.Entry, of map[string]attest.Description) []string {
	var out []string
	none := func(kind, name string, has func(*attest.Description) bool) {
		for _, d := range of {
			if has(&d) {
				return
			}
		}
		out = append(out, fmt.Sprintf("%s: no format that it is about states %s %q", e.ID, kind, name))
	}
	for _, r := range e.Match.Versions {
		none("version", r.Name, func(d *attest.Description) bool { return slices.Contains(d.Versions, r.Name) })
	}
	for _, r := range e.Match.Attributes {
		none("attribute", r.Name, func(d *attest.Description) bool {
			return slices.ContainsFunc(d.Attributes, func(f attest.AttributeField) bool { return f.Name == r.Name })
		})
	}
	for _, m := range e.Match.Measurements {
		none("measurement", m.Name, func(d *attest.Description) bool {
			return slices.ContainsFunc(d.Measurements, func(f attest.MeasurementField) bool {
				return f.Name == m.Name && slices.ContainsFunc(m.Values, func(v string) bool { return len(v) == 2*f.Size })
			})
		})
	}
	return out
}
