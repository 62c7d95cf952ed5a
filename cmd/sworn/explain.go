package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sworn-run/sworn/verifier"
)

// textWidth is how wide explanations are wrapped, in characters.
const textWidth = 78

func (a *app) explainCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "explain [flags] [CHECK...]",
		Short: "Say what a check of a verdict is for",
		Long: `Says of each check named what it defends, the attack it answers, how to satisfy
it, and how to ask for it or waive it and what waiving costs. Without a check it
lists all, in the order of a verdict.`,
		Example: `  sworn explain slot.identity
  sworn explain | grep required`,
		RunE: func(_ *cobra.Command, args []string) error { return a.explain(args, asJSON) },
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return verifier.CheckIDs(), cobra.ShellCompDirectiveNoFileComp
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per check")
	return cmd
}

// explain prints the checks named, or a table of contents.
func (a *app) explain(ids []string, asJSON bool) error {
	all := verifier.Explanations()
	if len(ids) > 0 {
		all = all[:0]
	}
	for _, id := range ids {
		e, ok := verifier.Explain(id)
		if !ok {
			hint := hintMeant(nearest(id, verifier.CheckIDs()), "sworn explain %s", "sworn explain, without a check, lists all")
			return usage(hint, "no check is called %q", id)
		}
		all = append(all, e)
	}
	for i := range all {
		if err := a.explainOne(&all[i], i, len(ids) > 0, asJSON); err != nil {
			return err
		}
	}
	return nil
}

// explainOne prints the check at position i: its line of the table of contents,
// or in full.
func (a *app) explainOne(e *verifier.Explanation, i int, full, asJSON bool) error {
	var err error
	switch {
	case asJSON:
		enc := json.NewEncoder(verifier.PrintableJSON(a.stdout))
		enc.SetEscapeHTML(false)
		err = enc.Encode(struct {
			verifier.Explanation
			Class string `json:"class"`
		}{*e, e.Class.String()})
	case full:
		text := explanationText(e)
		if i > 0 {
			text = "\n" + text
		}
		_, err = fmt.Fprint(a.stdout, text)
	default:
		_, err = fmt.Fprintf(a.stdout, "%-23s %-9s %s\n", e.ID, e.Class, e.Passes)
	}
	return err
}

// explanationText lays one explanation out for a terminal.
func explanationText(e *verifier.Explanation) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s; %s)\n", e.ID, e.Class, e.Spec)
	for _, s := range [][2]string{
		{"passes when", e.Passes},
		{"defends", e.Defends},
		{"against", e.Attack},
		{"to satisfy", e.Satisfy},
		{"to ask", e.Ask},
		{"to waive", e.Waive},
	} {
		const column = 14
		for i, l := range wrapText(s[1], textWidth-column) {
			name := ""
			if i == 0 {
				name = s[0]
			}
			fmt.Fprintf(&b, "  %-*s%s\n", column-2, name, l)
		}
	}
	return b.String()
}

// wrapText cuts text into lines of at most width characters, at blanks; a
// longer word has a line to itself.
func wrapText(text string, width int) []string {
	var lines []string
	current := ""
	for word := range strings.FieldsSeq(text) {
		switch {
		case current == "":
			current = word
		case len([]rune(current))+1+len([]rune(word)) <= width:
			current += " " + word
		default:
			lines = append(lines, current)
			current = word
		}
	}
	return append(lines, current)
}
