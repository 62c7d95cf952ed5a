package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// nearest returns the word of a list that was probably meant, or nothing. It
// looks at a word that is one of the list in another case, then at what lies
// within a few slips of the hand, then at what the word is a whole part of.
func nearest(word string, list []string) string {
	const longest = 64 // The distance costs the product of the lengths.
	if word == "" || len(word) > longest {
		return ""
	}
	word = strings.ToLower(word)
	best, least := "", 1+max(1, len(word)/3)
	for _, candidate := range list {
		if d := distance(word, strings.ToLower(candidate)); d < least {
			best, least = candidate, d
		}
	}
	if best != "" {
		return best
	}
	if len(word) < 3 {
		return ""
	}
	i := slices.IndexFunc(list, func(c string) bool {
		c = strings.ToLower(c)
		return strings.HasPrefix(c, word) || slices.Contains(strings.FieldsFunc(c, separates), word)
	})
	if i < 0 {
		return ""
	}
	return list[i]
}

// separates reports whether r stands between the words of a name.
func separates(r rune) bool { return strings.ContainsRune(".-_ ", r) }

// distance counts the slips between two words: a letter too many, one too few,
// another one, or two that changed places.
func distance(a, b string) int {
	var before, last []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row = last, row, make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}

// hintMeant is a hint that names what was probably meant, if that is known.
func hintMeant(meant, format, otherwise string) string {
	if meant == "" {
		return otherwise
	}
	return "did you mean " + fmt.Sprintf(format, meant) + "? " + otherwise
}

// commandNames returns the names of the commands below one.
func commandNames(cmd *cobra.Command) []string {
	var names []string
	for _, c := range cmd.Commands() {
		if !c.Hidden {
			names = append(names, c.Name())
		}
	}
	return names
}

// unknownCommand is the error for a word that is no command below cmd.
func unknownCommand(cmd *cobra.Command, word string) error {
	path := strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name())
	meant := nearest(word, commandNames(cmd))
	// What is a flag elsewhere as often as a command.
	if word == "version" && !cmd.HasParent() {
		return usage("did you mean sworn --version?", "unknown command %q", word)
	}
	return usage(hintMeant(meant, cmd.CommandPath()+" %s", cmd.CommandPath()+" --help"),
		"unknown command %q", strings.TrimSpace(path+" "+word))
}

// noArguments refuses arguments: of a command with others below it as a command
// nobody knows, of any other for what they are.
func noArguments(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case cmd.HasAvailableSubCommands():
		return unknownCommand(cmd, args[0])
	default:
		return usage(cmd.CommandPath()+" --help", "unexpected argument %q", args[0])
	}
}

// noEmptyFlag refuses a flag whose value is the empty text, most often a variable
// that is not set: taken for a flag that was not given, it would leave a check out.
func noEmptyFlag(cmd *cobra.Command) error {
	var err error
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if err == nil && f.Value.Type() == "string" && f.Value.String() == "" {
			err = usage("leave --"+f.Name+" out, or give it a value; is a variable not set?", "--%s is empty", f.Name)
		}
	})
	return err
}

// flagError says what is wrong with a flag, and what was probably meant.
func flagError(cmd *cobra.Command, err error) error {
	help := cmd.CommandPath() + " --help"
	// Flags of a command below are unknown to a word that is none.
	if args := cmd.Flags().Args(); len(args) > 0 && cmd.HasAvailableSubCommands() {
		return unknownCommand(cmd, args[0])
	}
	if missing, ok := errors.AsType[*pflag.NotExistError](err); ok {
		if missing.GetSpecifiedShortnames() != "" {
			return wrap(err, help)
		}
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				names = append(names, f.Name)
			}
		})
		return wrap(err, hintMeant(nearest(missing.GetSpecifiedName(), names), "--%s", help))
	}
	if value, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		name := "--" + value.GetFlag().Name
		switch value.GetFlag().Value.Type() {
		case "duration":
			return usage(name+" 90s, or 5m, or 1h", "%s %q: want a number with its unit", name, value.GetValue())
		case "uint32":
			return usage(help, "%s %q: want a whole number", name, value.GetValue())
		case "bool":
			return usage(help, "%s takes no value: %q", name, value.GetValue())
		}
	}
	return wrap(err, help)
}
