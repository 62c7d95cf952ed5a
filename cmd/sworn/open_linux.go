package main

import (
	"fmt"
	"strings"

	"github.com/sworn-run/sworn/internal/launch/jail"
)

// openFails are the checks that the record of a run without namespaces does not
// pass under any policy that does not waive them. If the program has other files,
// protection.storage is one more.
func openFails() []string {
	return []string{"log.sole", "launcher.exclusive", "components.closed", "compute.inside"}
}

// noteOpen says so where a job was not isolated: the record is as large, and worth
// less.
func (a *app) noteOpen(i jail.Isolation) {
	if i.ClosedRoot == jail.Yes {
		return
	}
	_, _ = fmt.Fprintf(a.stderr, "note: the job was not isolated, because no namespaces can be had here (sworn doctor): the record does not pass %s, nor protection.storage if the program needs other files\n",
		strings.Join(openFails(), ", "))
}
