package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/launch"
	"github.com/sworn-run/sworn/internal/launch/jail"
	"github.com/sworn-run/sworn/internal/launch/wasm"
	"github.com/sworn-run/sworn/tpm"
	"github.com/sworn-run/sworn/tpm/tpmdev"
)

// maybeInit turns this process into a job's init, or into what runs a module, where it
// was started as one.
func maybeInit() {
	jail.MaybeInit()
	wasm.MaybeRun()
}

// jobFlags are the flags that say what to run; `run` and `policy from-files`
// share them.
type jobFlags struct {
	weights, config, add, params, env, limits, devices []string
	signatures, signers, identities                    []string
	input, protect, image, imageArchive, imageStore    string
	imageVolume                                        string
	sigstore, wasm, wasmEngine                         string
	flat, network                                      bool
	// inside has the launcher's process run the module, as in an enclave.
	inside bool
}

// deviceFlags are the flags that say what anchors and quotes.
type deviceFlags struct {
	tpm, bank, ak string
	pcr           uint32
	nv            string
	// tee are the kinds of evidence, one for each slot.
	tee []string
	// vmpl is the privilege level to report from, if vmplGiven.
	vmpl      uint
	vmplGiven bool
	// sgx is the platform that quotes an enclave, if it is simulated: simulator:DIR.
	sgx string
	// module tells that the job is a WebAssembly module, as an enclave's has to be; strict
	// that its isolation is to be whole.
	module, strict bool
	// metadata is where Azure's instance metadata service is; empty for its address.
	metadata string
}

// runFlags are the flags of `sworn run`.
type runFlags struct {
	jobFlags
	deviceFlags
	collateralFlags
	signerFlags
	tsa                                               tsaFlags
	output, record, nonce, disclose, isolation, state string
	opening                                           string
	timeout                                           time.Duration
	proc, quiet, tsaRequired, openingContent          bool
}

func (j *jobFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringArrayVar(&j.weights, "weights", nil, "weights file or folder, `[NAME=]PATH` (repeatable), at {weights} or {weights:NAME}; or [NAME=]verity:FILE, a volume that \"sworn protect\" described, at {weights.dir}")
	fl.StringVar(&j.protect, "protect", launch.ProtectAuto, "how weights are kept from changing: `auto` (fs-verity where it is enabled, else a private copy), verity, sealed, none")
	j.registerModel(cmd)
	j.registerWasm(cmd)
	fl.StringVar(&j.image, "image", "", "run in a container image: `oci:DIR[:TAG]` or oci:DIR@sha256:DIGEST, a layout in a folder; the command is looked up in it, and is its own if none is given")
	fl.StringVar(&j.imageArchive, "image-archive", "", "run in a container image that is one `FILE`, of docker save or a layout, also FILE@sha256:DIGEST")
	fl.StringVar(&j.imageVolume, "image-volume", "", "run in a container image that \"sworn protect --volume\" wrote into a volume, described by `FILE`: nothing is unpacked, and the kernel checks every read; needs root and dm-verity")
	fl.StringVar(&j.imageStore, "image-store", "", "keep uncompressed layers in `DIR` (default sworn/images in the user's cache folder; none: nowhere); nothing in it is trusted")
	fl.BoolVar(&j.flat, "flat", false, "record the flat SHA-256 of weights of any size, and of those under verity, which costs a reading")
	fl.StringArrayVar(&j.devices, "device", nil, "let the job open a device, `PATH` (repeatable), such as /dev/nvidia0; the record says so")
	fl.BoolVar(&j.network, "allow-net", false, "leave the job in this machine's network; the record says so")
	choices(cmd, "protect", launch.ProtectAuto, launch.ProtectVerity, launch.ProtectSealed, launch.ProtectNone)
	fl.StringArrayVar(&j.config, "config", nil, "configuration file, `[NAME=]PATH` (repeatable), at {config} or {config:NAME}")
	fl.StringArrayVar(&j.add, "add", nil, "another file or folder the job needs, `[NAME=]PATH` (repeatable), at its own path")
	fl.StringArrayVar(&j.params, "param", nil, "a parameter, `NAME=VALUE` (repeatable), applied where the command holds {param:NAME}")
	fl.StringArrayVar(&j.env, "env", nil, "pass this environment variable, `NAME` (repeatable); nothing else is passed")
	fl.StringArrayVar(&j.limits, "limit", nil, "limit the job: `NAME=NUMBER` of address-space, file-size, memory (bytes), open-files, processes, cpu (seconds); policies see it")
	fl.StringVar(&j.input, "input", "", "the input `PATH`, or - for standard input (default: no input); the job finds it at {input}, or else on its standard input")
	fl.SetInterspersed(false)
}

func (d *deviceFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&d.tpm, "tpm", "", "`ADDRESS`: /dev/tpmrm0, unix:PATH, tcp:HOST:PORT or simulator (default /dev/tpmrm0)")
	fl.Uint32Var(&d.pcr, "pcr", 13, "the PCR that anchors the log, 0 to 15")
	fl.StringVar(&d.bank, "bank", "", "the `BANK` the statement names (default sha256 where active)")
	fl.StringVar(&d.ak, "ak", "auto", "attestation key: `auto` (the first there is), enrolled (by \"sworn enroll\"), provider (from NV, certified) or child (made here)")
	fl.StringArrayVar(&d.tee, "tee", []string{teeAuto}, "the `KIND` of evidence (repeatable: one slot each): tpm, sev-snp, tdx, azure-snp, azure-tdx, sgx, or auto: the TPM that --tpm names, else TDX, SEV-SNP or a TPM, the first that is there")
	fl.UintVar(&d.vmpl, "vmpl", 0, "the VMPL that SEV-SNP reports from, 0 to 3 (default: the guest's own)")
	fl.StringVar(&d.metadata, "metadata", "", "the `URL` of Azure's instance metadata service (default http://169.254.169.254)")
	fl.StringVar(&d.sgx, "sgx", "", "with --tee sgx: quote on a simulated SGX platform, `simulator:DIR`, whose vendor is in DIR (sworn simulate vendor --intel); it is no enclave, and is worth nothing outside of tests")
	choices(cmd, "ak", "auto", "enrolled", "provider", "child")
	choices(cmd, "bank", "sha256", "sha384", "sha512")
	choices(cmd, "tee", teeNames()...)
	cmd.PreRun = func(cmd *cobra.Command, _ []string) { d.vmplGiven = cmd.Flags().Changed("vmpl") }
}

func (a *app) runCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run [flags] -- COMMAND [ARGUMENT...]",
		Short: "Run one job attested and write its record",
		Long: `Measures the command's binary, libraries, weights and configuration into a register
of a TPM or a TD (SEV-SNP has none: there the signed statement carries their log),
runs it in a closed root that holds exactly the measured files, and writes one
record. Placeholders in the command: {weights} {weights:NAME} {weights.dir}
{weights.dir:NAME} {config} {config:NAME} {input} {output} {param:NAME}.

With --disclose commit whoever has the record alone cannot find out, nor confirm a guess
of, what input, output, standard error and the parameters' values are. Arguments,
variables (--env), files (by their digests), exit status and about how long the job took
stand in the record as ever: give what is secret as input or as --param.

Exit status: 0 the job succeeded and its record was written, 1 the job failed
and its record says so (or, with --tsa-required, has not every time stamp), 2 there
is no record.`,
		Example: `  sworn run --tpm unix:/tmp/tpm/tpm.sock --weights eng.traineddata --input page.png \
    --output page.txt --record page.cer.json -- \
    tesseract stdin stdout --tessdata-dir {weights.dir} -l eng`,
		RunE: func(cmd *cobra.Command, args []string) error { return a.runJob(cmd.Context(), &f, args) },
	}
	f.jobFlags.register(cmd)
	f.deviceFlags.register(cmd)
	f.collateralFlags.register(cmd)
	f.tsa.register(cmd, "tsa-")
	f.signerFlags.register(cmd, "signer-comment")
	fl := cmd.Flags()
	fl.BoolVar(&f.tsaRequired, "tsa-required", false, "exit with status 1 if a time stamp could not be had; the record is written all the same")
	fl.StringVar(&f.output, "output", "", "write the job's output to `FILE` (default standard output)")
	fl.StringVar(&f.record, "record", "", "write the record to `FILE` (required)")
	fl.StringVar(&f.nonce, "nonce", "", "the relying party's nonce, in `HEX`")
	fl.StringVar(&f.disclose, "disclose", cer.DiscloseHash, "what the record carries of input and output: `hash`, full, or commit (salted commitments, to them and to the parameters' values)")
	fl.StringVar(&f.opening, "opening", "", "with --disclose commit: write what opens the commitments to `FILE` (default RECORD.opening.json); keep it: nothing else shows what they are to")
	fl.BoolVar(&f.openingContent, "opening-content", false, "with --disclose commit: have that file carry the bytes of input, output and standard error too")
	fl.StringVar(&f.isolation, "isolation", "best-effort", "`best-effort` or strict: fail where the kernel refuses any part of it, Landlock and the control group too")
	fl.StringVar(&f.state, "state", "", "state `DIR` (default /run/sworn, or $XDG_RUNTIME_DIR/sworn)")
	fl.DurationVar(&f.timeout, "timeout", time.Hour, "end the job after `DURATION`")
	fl.BoolVar(&f.proc, "proc", false, "give the job a /proc of its own")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "print nothing but errors to standard error")
	fl.StringVar(&f.nv, "tpm-nv", "", "count this launch in the TPM and certify its number: `INDEX` of the counter in NV memory, or auto (0x01807377); it is made where there is none")
	choices(cmd, "tpm-nv", "auto")
	choices(cmd, "disclose", cer.DiscloseHash, cer.DiscloseFull, cer.DiscloseCommit)
	choices(cmd, "isolation", "best-effort", "strict")
	folder(cmd, "state")
	return cmd
}

// job turns flags into what to run.
func (j *jobFlags) job(ctx context.Context, command []string) (launch.Job, error) {
	job := launch.Job{Command: command, Protect: j.protect, Flat: j.flat, Network: j.network}
	if err := j.checkProtection(); err != nil {
		return job, err
	}
	if err := j.useImage(&job); err != nil {
		return job, err
	}
	// The running program itself, whatever its path leads to by now.
	job.Launcher = "/proc/self/exe"
	if err := j.useWasm(&job); err != nil {
		return job, err
	}
	for _, d := range j.devices {
		name, ok := strings.CutPrefix(d, "/dev/")
		if !ok || filepath.Clean(d) != d {
			return job, usage("--device /dev/NAME", "device %q: want a path below /dev", d)
		}
		job.Devices = append(job.Devices, name)
	}
	if j.input != "-" {
		job.Input = j.input
	}
	job.Weights, job.Config, job.Add = namedAll(j.weights), namedAll(j.config), namedAll(j.add)
	if err := j.model(ctx, &job); err != nil {
		return job, err
	}
	for _, s := range j.params {
		n, v, ok := strings.Cut(s, "=")
		if !ok || n == "" {
			return job, usage("--param temperature=0", "parameter %q: want NAME=VALUE", s)
		}
		job.Params = append(job.Params, cer.Fact{Name: n, Value: v})
	}
	slices.SortFunc(job.Params, func(a, b cer.Fact) int { return strings.Compare(a.Name, b.Name) })
	for i := 1; i < len(job.Params); i++ {
		if job.Params[i].Name == job.Params[i-1].Name {
			return job, usage("give each parameter once", "parameter %q is given twice", job.Params[i].Name)
		}
	}
	for _, n := range j.env {
		v, ok := os.LookupEnv(n)
		if !ok {
			return job, usage("export "+n+"=… first", "environment variable %q is not set", n)
		}
		job.Env = append(job.Env, n+"="+v)
	}
	var err error
	if job.Limits, err = parseLimits(j.limits); err != nil {
		return job, err
	}
	return job, nil
}

// namedAll splits flags of the form [NAME=]PATH.
func namedAll(flags []string) []launch.Named {
	var out []launch.Named
	for _, s := range flags {
		name, path := named(s)
		out = append(out, launch.Named{Name: name, Path: path})
	}
	return out
}

// stateDir returns the folder that keeps the logs.
func stateDir(flag string) (string, error) {
	switch {
	case flag != "":
		return filepath.Abs(flag)
	case os.Geteuid() == 0:
		return "/run/sworn", nil
	case os.Getenv("XDG_RUNTIME_DIR") != "":
		return filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "sworn"), nil
	default:
		return "", usage("--state $HOME/.local/state/sworn, or another folder of your own", "no folder for the state: XDG_RUNTIME_DIR is not set")
	}
}

// options are those of a TPM, but for whose attestation key it is.
func (d *deviceFlags) options() (tpmdev.Options, error) {
	o := tpmdev.Options{Register: &d.pcr}
	switch d.ak {
	case "auto":
		o.AK = tpmdev.Auto
	case "enrolled":
		o.AK = tpmdev.Stored
	case "provider":
		o.AK = tpmdev.Provider
	case "child":
		o.AK = tpmdev.Child
	default:
		return o, usage("--ak auto", "attestation key %q: want auto, enrolled, provider or child", d.ak)
	}
	if d.bank != "" {
		alg, err := attest.ParseAlg(d.bank)
		if err != nil || !alg.Accepted() {
			return o, usage("--bank sha256", "bank %q: want sha256, sha384 or sha512", d.bank)
		}
		o.Bank = alg
	}
	var err error
	o.Counter, err = d.counter()
	return o, err
}

// open opens the TPM.
func (d *deviceFlags) open(ctx context.Context, state string) (*tpmdev.TPM, error) {
	o, err := d.options()
	if err == nil {
		err = d.useEnrolled(&o, state)
	}
	if err != nil {
		return nil, err
	}
	if d.tpm == "simulator" {
		return openSimulator(ctx, o)
	}
	addr := d.tpm
	if addr == "" {
		addr = "/dev/tpmrm0"
	}
	t, err := tpmdev.Open(ctx, addr, o)
	if d.bank != "" && errors.Is(err, tpmdev.ErrDevice) && !errors.Is(err, tpmdev.ErrCounter) && !errors.Is(err, fs.ErrPermission) {
		return nil, wrap(err, "leave --bank out, or name a bank that is active: sworn doctor lists them")
	}
	return t, err
}

// counter returns the NV index of the launch counter; nil for none.
func (d *deviceFlags) counter() (*uint32, error) {
	switch d.nv {
	case "":
		return nil, nil
	case "auto":
		return new(tpmdev.DefaultCounter), nil
	}
	digits, ok := strings.CutPrefix(d.nv, "0x")
	n, err := strconv.ParseUint(digits, 16, 32)
	if index := uint32(n); ok && err == nil && index >= tpm.FirstCounterIndex && index <= tpm.LastCounterIndex {
		return &index, nil
	}
	return nil, usage("--tpm-nv auto, or --tpm-nv 0x01807377",
		"NV index %q: want auto, or an index of the TPM's owner, 0x%08x to 0x%08x", d.nv, tpm.FirstCounterIndex, tpm.LastCounterIndex)
}

// runJob is `sworn run`.
func (a *app) runJob(ctx context.Context, f *runFlags, command []string) error {
	o, err := f.options(ctx, command)
	if err != nil {
		return err
	}
	if err := f.distinct(command); err != nil {
		return err
	}
	if err := f.untold(); err != nil {
		return err
	}
	if !f.quiet {
		a.noteUnused(o.Plan)
	}
	record, err := createFile(f.record, 0o644)
	if err != nil {
		return err
	}
	defer record.abandon()
	var opening *pendingFile
	if f.opening != "" {
		if opening, err = createFile(f.opening, 0o600); err != nil {
			return err
		}
		defer opening.abandon()
	}
	output, err := a.connect(f, &o)
	if err != nil {
		return err
	}
	if output != nil {
		defer output.abandon()
	}
	collect, err := f.collect(o.Log)
	if err != nil {
		return err
	}
	if f.sgx != "" {
		collect = nil // What a simulated vendor publishes is at hand, and Intel does not know its platforms.
	}
	if o.Sign, err = f.operator(ctx); err != nil {
		return err
	}
	dev, err := f.openAll(ctx, f.state)
	if err != nil {
		return err
	}
	defer dev.close()
	// A reader of our output that goes away must not end a launch half way: it
	// would cost every later one in this register check log.sole.
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, syscall.SIGPIPE)
	defer signal.Stop(pipe)
	o.Device, o.Device.Collect = dev.device, collect
	sink := &sink{w: o.Stdout}
	o.Stdout = sink
	bar := a.progress(f.quiet)
	o.Progress = bar.update
	res, err := launch.Run(ctx, o)
	bar.clear()
	if err != nil {
		return a.keepOutput(output, f.output, f.launchError(err))
	}
	if err := sink.failed(f.output); err != nil {
		return err
	}
	var stamps []string
	var missing int
	res.Capsule, stamps, missing = a.stampRun(ctx, f, res.Capsule)
	if err := f.keep(record, opening, output, res); err != nil {
		return a.keepOutput(output, f.output, err)
	}
	if err := a.summary(f, dev, o.Plan.Command(), res, stamps); err != nil {
		return err
	}
	if res.Unsigned != nil {
		return &statusError{
			code: exitNotTrusted, msg: "the record has no signature of its operator", err: res.Unsigned,
			hint: "sworn countersign --role operator --signer KEY --in-place " + f.record,
		}
	}
	return f.requireStamps(missing)
}

// options turns flags into a launch, but for its streams and its device.
func (f *runFlags) options(ctx context.Context, command []string) (launch.Options, error) {
	o := launch.Options{
		Disclose: f.disclose, OpeningContent: f.openingContent, Strict: f.isolation == "strict", Proc: f.proc, Timeout: f.timeout,
		Now: time.Now, SelfCheck: selfCheck,
	}
	if len(command) == 0 && !f.hasImage() && f.wasm == "" {
		return o, usage("sworn run --record FILE -- COMMAND ARGUMENT…", "no command given")
	}
	if f.record == "" {
		return o, usage("--record job.cer.json", "no --record FILE given")
	}
	switch {
	case f.isolation != "strict" && f.isolation != "best-effort":
		return o, usage("--isolation strict", "isolation %q: want best-effort or strict", f.isolation)
	case f.disclose != cer.DiscloseHash && f.disclose != cer.DiscloseFull && f.disclose != cer.DiscloseCommit:
		return o, usage("--disclose hash, full or commit", "disclosure %q: want hash, full or commit", f.disclose)
	case f.timeout <= 0:
		return o, usage("--timeout 90s, or 5m, or 1h", "--timeout %q: want more than nothing", f.timeout)
	case f.pcr > 15:
		return o, usage("--pcr 13", "--pcr %d: want 0 to 15, the others can be reset", f.pcr)
	}
	if err := f.checkTSA(); err != nil {
		return o, err
	}
	if err := f.checkOpening(); err != nil {
		return o, err
	}
	if _, err := f.counter(); err != nil {
		return o, err
	}
	f.module, f.strict = f.wasm != "", o.Strict
	f.inside = slices.Contains(f.tee, teeSGX)
	if err := f.checkTEE(); err != nil {
		return o, err
	}
	job, err := f.job(ctx, command)
	if err == nil {
		err = f.checkDevices()
	}
	if err != nil {
		return o, err
	}
	if o.Plan, err = launch.NewPlan(job); err != nil {
		return o, err
	}
	if o.Nonce, err = parseNonce(f.nonce); err != nil {
		return o, err
	}
	o.StateDir, err = stateDir(f.state)
	return o, err
}

// connect opens the job's streams; the returned file is the pending output.
func (a *app) connect(f *runFlags, o *launch.Options) (*pendingFile, error) {
	o.Stderr, o.Stdout = a.stderr, a.stdout
	o.Log = slog.New(slog.NewTextHandler(a.stderr, nil))
	switch {
	case f.input == "-":
		o.Stdin = a.stdin
	case f.input != "" && !o.Plan.InputIsFile():
		in, err := openRegular(f.input)
		if err != nil {
			return nil, err
		}
		o.Stdin = in
	}
	if f.output == "" {
		return nil, nil
	}
	out, err := createFile(f.output, 0o644)
	if err != nil {
		return nil, err
	}
	o.Stdout = out
	return out, nil
}
