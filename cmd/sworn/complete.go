package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/sworn-run/sworn/verifier"
)

// choices makes a flag complete to the values it takes, and to no file.
func choices(cmd *cobra.Command, flag string, values ...string) {
	if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // The flag is not there: a mistake in this program, which every test of it shows.
	}
}

// folder makes a flag complete to folders.
func folder(cmd *cobra.Command, flag string) {
	if err := cmd.MarkFlagDirname(flag); err != nil {
		panic(err) // As above.
	}
}

// waivable makes a --waive flag complete to the checks that can be waived; the
// reason is the user's.
func waivable(cmd *cobra.Command, flag string) {
	var ids []string
	for _, id := range verifier.CheckIDs() {
		if class, ok := verifier.CheckClass(id); ok && class == verifier.ClassRequired {
			ids = append(ids, id+"=")
		}
	}
	err := cmd.RegisterFlagCompletionFunc(flag, func(_ *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		if strings.Contains(begun, "=") {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return ids, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	})
	if err != nil {
		panic(err) // As above.
	}
}

// helpers adds cobra's own commands, with an example as all have one, and makes
// them refuse what they do not know as all do.
func helpers(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "help":
			cmd.Example = "  sworn help policy from-record"
			cmd.Args = func(_ *cobra.Command, args []string) error {
				if _, rest, err := root.Find(args); err != nil || len(rest) > 0 {
					return usage("sworn --help", "unknown command %q", strings.Join(args, " "))
				}
				return nil
			}
		case "completion":
			cmd.Example = "  sworn completion bash > ~/.local/share/bash-completion/completions/sworn"
			cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
			for _, shell := range cmd.Commands() {
				shell.Example = "  sworn completion " + shell.Name()
			}
		}
	}
}
