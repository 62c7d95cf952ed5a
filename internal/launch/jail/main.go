//go:build linux

package jail

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// The names (argv[0]) under which the program executes itself.
const (
	nameShim  = "sworn-jail-shim"
	nameInit  = "sworn-jail-init"
	nameStage = "sworn-jail-stage"
)

// shimNetwork is the argument that has the shim start init in the launcher's own
// network.
const shimNetwork = "network"

// exitInternal is the exit status of init, shim and stage when they fail; the
// cause is reported over their control sockets, and to standard error.
const exitInternal = 125

// MaybeInit does nothing in an ordinary process. In one that Start made, it does
// that process's work and does not return. The program calls it first thing in
// main, before flags are parsed or anything is opened.
func MaybeInit() {
	if len(os.Args) == 0 {
		return
	}
	var work func() error
	switch os.Args[0] {
	case nameShim:
		work = shimMain
	case nameInit:
		work = initMain
	case nameStage:
		work = stageMain
	default:
		return
	}
	if err := work(); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[0], err)
		unix.Exit(exitInternal)
	}
	unix.Exit(0)
}
