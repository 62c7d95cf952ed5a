package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/launch"
	"github.com/sworn-run/sworn/simulator"
	"github.com/sworn-run/sworn/tpm/tpmdev"
	"github.com/sworn-run/sworn/verifier"
)

// addPlatform adds the commands that need Linux.
func (a *app) addPlatform(root *cobra.Command) {
	root.AddCommand(a.runCommand(), a.measureCommand(), a.protectCommand(), a.simulateCommand(), a.doctorCommand(), a.enrollCommand(), a.replayCommand())
}

// addPolicyPlatform adds the policy commands that need Linux.
func (a *app) addPolicyPlatform(policy *cobra.Command) {
	policy.AddCommand(a.policyFromFiles())
}

func (a *app) policyFromFiles() *cobra.Command {
	var j jobFlags
	var out, name string
	var f formatFlags
	var waive []string
	var nonce bool
	cmd := &cobra.Command{
		Use:   "from-files [flags] -- COMMAND [ARGUMENT...]",
		Short: "Make a policy from the files a job would run",
		Long: `Computes the reference values of a job from the files themselves: takes the flags
of "sworn run" that say what to run, hashes every file, and runs nothing. Make it
where you trust the files; the roots folder says whose evidence you accept, beside or
instead of the vendors' roots that are built in.`,
		Example: `  sworn policy from-files --roots roots/ -o policy.json --weights eng.traineddata \
    --waive slot.measurement="software TPM: nothing was booted" \
    --waive launcher.rooted="software TPM: nothing was booted" -- \
    tesseract stdin stdout --tessdata-dir {weights.dir} -l eng`,
		RunE: func(cmd *cobra.Command, command []string) error {
			if len(command) == 0 && !j.hasImage() && j.wasm == "" {
				return usage("sworn policy from-files --roots DIR -- COMMAND ARGUMENT…", "no command given")
			}
			for _, u := range j.reads(command) {
				if samePath(out, u) {
					return usage("choose another path for -o", "the policy would overwrite %s", u)
				}
			}
			p, plan, err := j.policy(cmd.Context(), command, name, &f)
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
			a.noteUnused(plan)
			a.noteNever(p)
			return a.writePolicy(p, out)
		},
	}
	j.register(cmd)
	fl := cmd.Flags()
	f.register(cmd)
	fl.StringVarP(&out, "output", "o", "", "write the policy to `FILE` instead of standard output")
	fl.StringVar(&name, "name", "", "the policy's `NAME`")
	fl.StringArrayVar(&waive, "waive", nil, "waive a required check: `ID=REASON` (repeatable)")
	fl.BoolVar(&nonce, "ask-nonce", false, "ask for the relying party's nonce in quote and record")
	waivable(cmd)
	return cmd
}

// policy computes a policy from files.
func (j *jobFlags) policy(ctx context.Context, command []string, name string, f *formatFlags) (*verifier.Policy, *launch.Plan, error) {
	program, err := f.enclave(j)
	if err != nil {
		return nil, nil, err
	}
	j.inside = program != nil
	formats, err := f.formats()
	if err != nil {
		return nil, nil, err
	}
	if rules, ok := formats[teeSGX]; ok && program != nil {
		rules.Measurements = map[string][]string{"unique_id": {hex.EncodeToString(program[:])}}
		formats[teeSGX] = rules
	}
	job, err := j.job(ctx, command)
	if err != nil {
		return nil, nil, err
	}
	job.Program = program
	plan, err := launch.NewPlan(job)
	if err != nil {
		return nil, nil, err
	}
	components, err := plan.Measure(ctx)
	if err != nil {
		return nil, nil, err
	}
	p := verifier.NewPolicy(name, components, nil, attest.SHA256, 0)
	p.Slots, p.Formats = [][]string{f.tee}, formats
	if j.protect != launch.ProtectSealed {
		p.Protection = append(p.Protection, verifier.ProtectionVerity)
	}
	weights, keys := plan.Signed()
	for _, w := range weights {
		p.ModelSigners = append(p.ModelSigners, verifier.ModelSigner{Weights: w, SPKI: keys})
	}
	p.Network = j.network
	p.Devices = append(p.Devices, job.Devices...)
	return p, plan, nil
}

func (a *app) simulateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "simulate",
		Short:   "Start a software TPM, simulated vendors, a time-stamping authority",
		Long:    "Starts simulated hardware roots for tests and CI. What they attest is worth nothing.",
		Example: "  sworn simulate tpm --dir /tmp/tpm --detach",
		Args:    noArguments,
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
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case dir == "" && stop:
				return usage("sworn simulate tpm --dir DIR --stop", "no --dir DIR given")
			case dir == "":
				return usage("sworn simulate tpm --dir /tmp/tpm --detach", "no --dir DIR given")
			case stop:
				return a.stopTPM(cmd.Context(), dir)
			}
			if tcp != "" {
				tcp = "tcp:" + tcp
			}
			s, err := simulator.StartSWTPM(cmd.Context(), simulator.Options{Dir: dir, Addr: tcp, Detach: detach})
			if tcp != "" && errors.Is(err, attest.ErrArgument) {
				return wrap(err, "--tcp 127.0.0.1:2321")
			}
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
	cmd.AddCommand(tpm, a.vendorCommand(), a.teeCommand(), a.tsaCommand())
	return cmd
}

func (a *app) stopTPM(ctx context.Context, dir string) error {
	if err := simulator.StopSWTPM(ctx, dir); err != nil {
		return wrap(err, "--stop wants the --dir that it was started with, and its user")
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
		return "it is running already: use it, or stop it with sworn simulate tpm --dir DIR --stop"
	default:
		return "choose a short --dir that this user may write, such as /tmp/tpm"
	}
}

// openSimulator opens the reference simulator inside this process, where it is
// built in; its maker's roots stand in the state folder.
func openSimulator(ctx context.Context, o tpmdev.Options) (*tpmdev.TPM, error) {
	state, err := stateDir("")
	if err != nil {
		return nil, err
	}
	t, err := simulator.OpenInProcess(ctx, filepath.Join(state, "simulator"))
	if err != nil {
		return nil, wrap(err, simulatorHint(err))
	}
	return tpmdev.OpenTransport(ctx, t, o)
}
