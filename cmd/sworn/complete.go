package main

import (
	"strings"

	"github.com/spf13/cobra"
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

// waivable makes the flag --waive complete to the checks that can be waived; the
// reason is the user's.
func waivable(cmd *cobra.Command) {
	ids := waivableIDs()
	for i := range ids {
		ids[i] += "="
	}
	err := cmd.RegisterFlagCompletionFunc("waive", func(_ *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
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
		if cmd.HasAvailableSubCommands() {
			cmd.Args = noArguments
		}
		switch cmd.Name() {
		case "help":
			cmd.Example = "  sworn help policy from-record"
			cmd.Args = func(_ *cobra.Command, args []string) error {
				// Find stops at the last command there is, with what follows it.
				if cmd, rest, _ := root.Find(args); len(rest) > 0 {
					return noArguments(cmd, rest)
				}
				return nil
			}
		case "completion":
			cmd.Example = "  sworn completion bash > ~/.local/share/bash-completion/completions/sworn"
			cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
			for _, shell := range cmd.Commands() {
				shell.Example = "  sworn completion " + shell.Name()
				shell.Args = noArguments
			}
		}
	}
}
