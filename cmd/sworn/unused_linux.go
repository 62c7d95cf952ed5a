package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sworn-run/sworn/internal/launch"
	"github.com/sworn-run/sworn/verifier"
)

// neverPassing are the required checks that nothing in a policy made of files or of
// a record establishes.
func neverPassing() []string { return []string{"slot.measurement", "launcher.rooted"} }

// noteNever tells which checks keep every record from being trusted under a
// policy, for want of a waiver.
func (a *app) noteNever(p *verifier.Policy) {
	for _, id := range neverPassing() {
		if !slices.ContainsFunc(p.Waive, func(w verifier.Waiver) bool { return w.Check == id }) {
			_, _ = fmt.Fprintf(a.stderr, "note: nothing in this policy establishes %s: without --waive %s=\"reason\", or \"sworn policy from-boot\", no record is trusted\n", id, id)
		}
	}
}

// noteUnused tells what the command does not name, and what looks like a
// placeholder and is none: both are measured and run as they stand, and are
// mostly not what was meant.
func (a *app) noteUnused(p *launch.Plan) {
	for _, flag := range p.Unused() {
		kind, name, _ := strings.Cut(strings.TrimPrefix(flag, "--"), " ")
		word := "{" + kind + "}"
		if name != "default" {
			word = "{" + kind + ":" + name + "}"
		}
		_, _ = fmt.Fprintf(a.stderr, "note: %s is given, and the command has no %s: the job is not told where it is\n", line(flag), line(word))
	}
	for _, word := range p.Literals() {
		kind, name, named := strings.Cut(strings.Trim(word, "{}"), ":")
		meant := nearest(kind, launch.Placeholders())
		if meant == "" {
			continue
		}
		if named {
			meant += ":" + name
		}
		_, _ = fmt.Fprintf(a.stderr, "note: %s is no placeholder, and stays as it is; did you mean {%s}?\n", line(word), line(meant))
	}
}
