package main

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/sworn-run/sworn/verifier"
)

// finding is one line of `sworn doctor`.
type finding struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	// Unused: it is hardware that a launch would not use, there or not.
	Unused bool   `json:"unused,omitempty"`
	Found  string `json:"found"`
	Change string `json:"change,omitempty"`
}

func (a *app) doctorCommand() *cobra.Command {
	var f doctorFlags
	cmd := &cobra.Command{
		Use:   "doctor [flags]",
		Short: "Say what this machine and this user can attest, and what is missing",
		Long: `Looks for hardware roots and for what the kernel lets this user do; says of each
check that depends on them whether a record made here can pass it; and names the
one command that would change each. It changes nothing itself, but makes the state
folder where there is none.

With --json each finding is one line: {name, ok, found, change}, and "unused" of
hardware that a launch would not use, there or not.`,
		Example: `  sworn doctor
  sworn doctor --tpm unix:/tmp/tpm/tpm.sock --json | jq -r 'select(.ok|not).name'`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, one := range a.diagnose(cmd.Context(), f) {
				if err := a.printFinding(one, f.json); err != nil {
					return err
				}
			}
			return nil
		},
	}
	fl := cmd.Flags()
	fl.BoolVar(&f.json, "json", false, "print one JSON object per line")
	fl.StringVar(&f.tpm, "tpm", "", "`ADDRESS` of the TPM to look at (default /dev/tpmrm0)")
	fl.Uint32Var(&f.pcr, "pcr", 13, "the PCR that would anchor the log")
	fl.StringVar(&f.state, "state", "", "state `DIR` (default /run/sworn, or $XDG_RUNTIME_DIR/sworn)")
	folder(cmd, "state")
	return cmd
}

// printFinding prints one finding; what holds needs no change.
func (a *app) printFinding(f finding, asJSON bool) error {
	if f.OK {
		f.Change = ""
	}
	if asJSON {
		enc := json.NewEncoder(verifier.PrintableJSON(a.stdout))
		enc.SetEscapeHTML(false)
		return enc.Encode(f)
	}
	mark := "missing"
	switch {
	case f.Unused:
		mark = "unused "
	case f.OK:
		mark = "ok     "
	}
	_, err := fmt.Fprintf(a.stdout, "%s  %-25s %s\n", mark, line(f.Name), line(f.Found))
	if err == nil && f.Change != "" {
		_, err = fmt.Fprintf(a.stdout, "         %-25s → %s\n", "", line(f.Change))
	}
	return err
}

// doctorTimeout bounds what doctor waits for a TPM.
const doctorTimeout = 8 * time.Second
