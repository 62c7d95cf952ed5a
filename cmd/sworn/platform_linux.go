package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/launch"
	"github.com/sworn-run/sworn/simulator"
	"github.com/sworn-run/sworn/verifier"
)

// addPlatform adds the commands that need Linux.
func (a *app) addPlatform(root *cobra.Command) {
	root.AddCommand(a.runCommand(), a.measureCommand(), a.simulateCommand(), a.doctorCommand())
}

// addPolicyPlatform adds the policy commands that need Linux.
func (a *app) addPolicyPlatform(policy *cobra.Command) {
	policy.AddCommand(a.policyFromFiles())
}

func (a *app) policyFromFiles() *cobra.Command {
	var j jobFlags
	var roots, out, name, bank string
	var pcr uint32
	var waive []string
	var nonce bool
	cmd := &cobra.Command{
		Use:   "from-files [flags] -- COMMAND [ARGUMENT...]",
		Short: "Make a policy from the files a job would run",
		Long: `Computes the reference values of a job from the files themselves: takes the flags
of "sworn run" that say what to run, hashes every file, and runs nothing. Make it
where you trust the files; the roots folder says whose TPMs you accept.`,
		Example: `  sworn policy from-files --roots roots/ -o policy.json --weights eng.traineddata \
    --waive slot.measurement="what booted is not appraised yet" \
    --waive launcher.rooted="what booted is not appraised yet" -- \
    tesseract stdin stdout --tessdata-dir {weights.dir} -l eng`,
		RunE: func(_ *cobra.Command, command []string) error {
			if len(command) == 0 {
				return usage("sworn policy from-files --roots DIR -- COMMAND ARGUMENT…", "no command given")
			}
			p, err := j.policy(command, roots, name, bank, pcr)
			if err != nil {
				return err
			}
			p.Nonce = verifier.NoncePolicy{Quote: nonce, Execution: nonce}
			waivers, err := parseWaivers(waive)
			if err != nil {
				return err
			}
			if err := p.AddWaivers(waivers); err != nil {
				return wrap(err, "sworn policy from-files --help")
			}
			return a.writePolicy(p, out)
		},
	}
	j.register(cmd)
	fl := cmd.Flags()
	fl.StringVar(&roots, "roots", "", "roots `DIR`: every root of role tpm-ak in it is accepted")
	fl.StringVarP(&out, "output", "o", "", "write the policy to `FILE` instead of standard output")
	fl.StringVar(&name, "name", "", "the policy's `NAME`")
	fl.StringVar(&bank, "bank", "sha256", "the PCR `BANK`")
	fl.Uint32Var(&pcr, "pcr", 13, "the PCR that anchors the log")
	fl.StringArrayVar(&waive, "waive", nil, "waive a required check: `ID=REASON` (repeatable)")
	fl.BoolVar(&nonce, "ask-nonce", false, "ask for the relying party's nonce in quote and record")
	choices(cmd, "bank", "sha256", "sha384", "sha512")
	folder(cmd, "roots")
	waivable(cmd, "waive")
	return cmd
}

// policy computes a policy from files.
func (j *jobFlags) policy(command []string, roots, name, bank string, pcr uint32) (*verifier.Policy, error) {
	store, err := loadRoots(roots)
	if err != nil {
		return nil, err
	}
	var spki []string
	if store != nil {
		anchors := store.Anchors()
		for _, r := range anchors.Role("tpm-ak") {
			spki = append(spki, cer.SHA256Digest(verifier.SPKIDigest(r.Certificate)))
		}
	}
	if len(spki) == 0 {
		return nil, usage("--roots DIR with tpm-ak/<root>.pem in it", "no root of role tpm-ak given: whose TPMs do you accept?")
	}
	alg, err := attest.ParseAlg(bank)
	if err != nil {
		return nil, wrap(err, "--bank sha256")
	}
	job, err := j.job(command)
	if err != nil {
		return nil, err
	}
	plan, err := launch.NewPlan(job)
	if err != nil {
		return nil, err
	}
	components, err := plan.Measure()
	if err != nil {
		return nil, err
	}
	return verifier.NewPolicy(name, components, spki, alg, pcr), nil
}

func (a *app) simulateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "simulate",
		Short:   "Start a software TPM with a maker of its own",
		Long:    "Starts simulated hardware roots for tests and CI. What they attest is worth nothing.",
		Example: "  sworn simulate tpm --dir /tmp/tpm --detach",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var dir, tcp string
	var detach, stop bool
	tpm := &cobra.Command{
		Use:   "tpm --dir DIR [flags]",
		Short: "Start a software TPM (swtpm), its maker and its certificates",
		Long: `Makes a simulated TPM maker (its root has SIMULATED in its name), sets up and
starts swtpm under the folder, activates its attestation key and certifies it into
NV where clouds keep it. State and keys persist in the folder.`,
		Example: `  sworn simulate tpm --dir /tmp/tpm --detach
  sworn simulate tpm --dir /tmp/tpm --stop`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dir == "" {
				return usage("sworn simulate tpm --dir /tmp/tpm --detach", "no --dir DIR given")
			}
			if stop {
				return a.stopTPM(cmd.Context(), dir)
			}
			if tcp != "" {
				tcp = "tcp:" + tcp
			}
			s, err := simulator.StartSWTPM(cmd.Context(), simulator.Options{Dir: dir, Addr: tcp, Detach: detach})
			if err != nil {
				return wrap(err, simulatorHint(err))
			}
			if _, err := fmt.Fprintf(a.stdout, "socket %s\nroots  %s\n", s.Addr(), s.RootsDir()); err != nil {
				return err
			}
			if detach {
				return s.Close()
			}
			_, _ = fmt.Fprintln(a.stderr, "running; end it with Ctrl-C")
			<-cmd.Context().Done()
			return s.Close()
		},
	}
	fl := tpm.Flags()
	fl.StringVar(&dir, "dir", "", "`DIR` for state, keys, roots and socket")
	fl.StringVar(&tcp, "tcp", "", "listen on `HOST:PORT` instead of a unix socket")
	fl.BoolVar(&detach, "detach", false, "leave it running in the background")
	fl.BoolVar(&stop, "stop", false, "stop the one running in the folder")
	folder(tpm, "dir")
	cmd.AddCommand(tpm)
	return cmd
}

func (a *app) stopTPM(ctx context.Context, dir string) error {
	if err := simulator.StopSWTPM(ctx, dir); err != nil {
		return wrap(err, simulatorHint(err))
	}
	_, err := fmt.Fprintln(a.stdout, "stopped")
	return err
}

// simulatorHint returns the hint for an error of the simulator.
func simulatorHint(err error) string {
	switch {
	case errors.Is(err, simulator.ErrNotInstalled):
		return "apt-get install swtpm swtpm-tools"
	case errors.Is(err, simulator.ErrNotBuilt):
		return "build with -tags simulator, or start a software TPM: sworn simulate tpm --dir /tmp/tpm --detach"
	case errors.Is(err, simulator.ErrRunning):
		return "it is running already; stop it with --stop"
	default:
		return "choose a short --dir that this user may write, such as /tmp/tpm"
	}
}

// finding is one line of `sworn doctor`.
type finding struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Found  string `json:"found"`
	Change string `json:"change,omitempty"`
}

func (a *app) doctorCommand() *cobra.Command {
	var asJSON bool
	var tpm string
	cmd := &cobra.Command{
		Use:   "doctor [flags]",
		Short: "Say what this machine and this user can attest, and what is missing",
		Long: `Looks for hardware roots and for what the kernel lets this user do, and names the
one command that would change each.`,
		Example: "  sworn doctor\n  sworn doctor --tpm unix:/tmp/tpm/tpm.sock --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, f := range a.diagnose(cmd.Context(), tpm) {
				if err := a.printFinding(f, asJSON); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per line")
	cmd.Flags().StringVar(&tpm, "tpm", "", "`ADDRESS` of the TPM to look at (default /dev/tpmrm0)")
	return cmd
}

func (a *app) printFinding(f finding, asJSON bool) error {
	if asJSON {
		b, err := json.Marshal(f)
		if err == nil {
			_, err = fmt.Fprintf(a.stdout, "%s\n", b)
		}
		return err
	}
	mark := "ok     "
	if !f.OK {
		mark = "missing"
	}
	_, err := fmt.Fprintf(a.stdout, "%s  %-20s %s\n", mark, f.Name, line(f.Found))
	if err == nil && f.Change != "" && !f.OK {
		_, err = fmt.Fprintf(a.stdout, "         %-20s → %s\n", "", f.Change)
	}
	return err
}

// doctorTimeout bounds what doctor waits for a TPM.
const doctorTimeout = 8 * time.Second
