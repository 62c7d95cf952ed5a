package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/launch"
	"github.com/sworn-run/sworn/internal/launch/jail"
	"github.com/sworn-run/sworn/internal/launch/wasm"
	"github.com/sworn-run/sworn/verifier"
)

// replayFlags are the flags of `sworn replay`.
type replayFlags struct {
	wasm, wasmEngine      string
	weights, config, add  []string
	input, output, record string
	opening               string
	timeout               time.Duration
	asJSON, quiet         bool
}

// replayed is the answer of `sworn replay`.
type replayed struct {
	Record     string   `json:"record"`
	Reproduced bool     `json:"reproduced"`
	Differs    []string `json:"differs"`
	// Output and Exit are those of the job that was run again; absent if it was not.
	Output *cer.Stream `json:"output,omitempty"`
	Exit   *int        `json:"exit,omitempty"`
}

func (a *app) replayCommand() *cobra.Command {
	var f replayFlags
	cmd := &cobra.Command{
		Use:   "replay [flags] RECORD",
		Short: "Run a recorded WebAssembly job again and compare its output",
		Long: `Runs the job of a record of "sworn run --wasm" again, with the files that you give:
the same module, weights, configuration and input, as their digests in the record say.
Arguments, variables, parameters and limits are the record's. The job runs in a closed
root as at first, without a TPM, and leaves no record. Its output, as SHA-256 and size,
and its exit status are compared with the record's: whether this job, on this input,
gives this output.

Whether the record is to be trusted is another question: sworn verify. Here it has to be
whole and signed, by whomever.

With --json the answer is one object {record, reproduced, differs, output, exit}.

Exit status: 0 reproduced; 1 not: a file is not the recorded one, the record is not
genuine, or what came out differs; 2 usage or I/O, or a job that cannot be run again.`,
		Example: `  sworn replay job.cer.json --wasm llama.wasm --weights stories260K.bin \
    --config tok512.bin --input prompt.txt`,
		Args: oneFile("sworn replay RECORD --wasm FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.record = args[0]
			return a.replay(cmd.Context(), &f)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.wasm, "wasm", "", "the job's module, a `FILE` (required)")
	engineFlag(cmd, &f.wasmEngine, "")
	fl.StringArrayVar(&f.weights, "weights", nil, "weights file or folder, `[NAME=]PATH` (repeatable), under its recorded name")
	fl.StringArrayVar(&f.config, "config", nil, "configuration file, `[NAME=]PATH` (repeatable), under its recorded name")
	fl.StringArrayVar(&f.add, "add", nil, "another file or folder, `[NAME=]PATH` (repeatable); its recorded name is its path, if none was given")
	fl.StringVar(&f.input, "input", "", "the input `PATH` (default: what a record of --disclose full, or the opening, carries)")
	fl.StringVar(&f.opening, "opening", "", "what opens the record's commitments, a `FILE`: of a record of --disclose commit, input, output and parameters are needed")
	fl.StringVar(&f.output, "output", "", "write the job's output to `FILE`, whether it differs or not")
	fl.DurationVar(&f.timeout, "timeout", time.Hour, "end the job after `DURATION`")
	fl.BoolVar(&f.asJSON, "json", false, "print one JSON object")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "print nothing but errors to standard error")
	return cmd
}

// replay is `sworn replay`.
func (a *app) replay(ctx context.Context, f *replayFlags) error {
	if f.wasm == "" {
		return usage("sworn replay RECORD --wasm FILE", "no module given")
	}
	if f.timeout <= 0 {
		return usage("--timeout 90s, or 5m, or 1h", "--timeout %q: want more than nothing", f.timeout)
	}
	file, err := readCapsule(f.record)
	if err != nil {
		return err
	}
	opening, err := readOpening(f.opening)
	if err != nil {
		return err
	}
	r, err := verifier.Verify(file, verifier.Input{Now: time.Now(), Version: version, Opening: opening})
	if err != nil {
		return err
	}
	if err := r.Sealed(); err != nil {
		hint := kindHint(f.record, file, "record")
		if hint != "" {
			return wrap(err, hint)
		}
		return &statusError{code: exitNotTrusted, err: err, hint: "sworn verify --explain " + f.record}
	}
	job, err := f.job(&r.Summary)
	if err != nil {
		return err
	}
	input, err := f.takeInput(ctx, file, opening, &r.Summary, job)
	if err != nil {
		return err
	}
	defer input.close()
	answer := &replayed{Record: f.record, Differs: []string{}}
	if err := a.runAgain(ctx, f, &r.Summary, job, input, answer); err != nil {
		return err
	}
	return a.answer(f, answer)
}

// runAgain runs the job, if its files are the recorded ones, and compares.
func (a *app) runAgain(ctx context.Context, f *replayFlags, s *verifier.Summary, job *launch.Job, input *replayInput, answer *replayed) error {
	other, err := f.otherModule(ctx, s)
	if err != nil {
		return err
	}
	plan, err := launch.NewPlan(*job)
	if err != nil && other != "" && (errors.Is(err, wasm.ErrModule) || errors.Is(err, wasm.ErrImport)) {
		answer.Differs = append(answer.Differs, other)
		return nil
	}
	if err != nil {
		return err
	}
	output, w, err := f.openOutput()
	if err != nil {
		return err
	}
	if output != nil {
		defer output.abandon()
	}
	bar := a.progress(f.quiet)
	o := launch.ReplayOptions{Plan: plan, Timeout: f.timeout, Stdin: input.stdin, Stdout: w, Progress: bar.update}
	if !f.quiet {
		o.Stderr = a.stderr
	}
	again, err := launch.StartReplay(ctx, o)
	bar.clear()
	if err != nil {
		return err
	}
	defer again.Close()
	answer.Differs = append(answer.Differs, differences(s, again.Components())...)
	given := input.stream
	if measured, ok := again.Input(); ok {
		given = measured
	}
	recorded, err := stated(cer.FieldInput, s.Input)
	if err != nil {
		return err
	}
	if d := streamDiffers("input", given, recorded); d != "" {
		answer.Differs = append(answer.Differs, d)
	}
	if len(answer.Differs) > 0 {
		return nil
	}
	a.noteBuild(f, s, again.Components())
	exit, err := again.Run(ctx)
	switch {
	case err != nil:
		return wrap(err, "nothing was compared")
	case exit.Timeout || exit.Signal != "":
		return usage("give it more time: --timeout", "the job did not end by itself, as the recorded one did: nothing was compared")
	}
	if err := answer.compare(s, &exit); err != nil || output == nil {
		return err
	}
	return output.commit()
}

// otherModule says how the module differs from the recorded one; "" if it does not. It
// is asked first, for what is another file need not be a module.
func (f *replayFlags) otherModule(ctx context.Context, s *verifier.Summary) (string, error) {
	sum, err := hashFile(ctx, f.wasm)
	if err != nil {
		return "", err
	}
	for _, c := range s.Components {
		if c.Role != cer.RoleBinary {
			continue
		}
		if d := unlike([]string{cer.SHA256Digest(sum.SHA256)}, c.Digest); d != "" {
			return fmt.Sprintf("%s %q is %s", c.Role, c.Name, d), nil
		}
	}
	return "", nil
}

// openOutput opens the file for the output; nil and a writer that discards if there
// is none.
func (f *replayFlags) openOutput() (*pendingFile, io.Writer, error) {
	if f.output == "" {
		return nil, io.Discard, nil
	}
	for _, used := range append([]string{f.record, f.wasm, f.input, f.opening}, f.paths()...) {
		if samePath(f.output, used) {
			return nil, nil, usage("choose another path for --output", "the output would overwrite %s", used)
		}
	}
	out, err := createFile(f.output, 0o644)
	return out, out, err
}

// noteBuild tells that another program runs the job than at first.
func (a *app) noteBuild(f *replayFlags, s *verifier.Summary, components []*cer.Component) {
	if process, _ := (&cer.Environment{Facts: s.Wasm}).Get(cer.FactWasmProcess); process == cer.WasmLauncher {
		return // the record names an enclave, and this is none
	}
	launcher := components[0]
	for _, c := range s.Components {
		if c.Role == cer.RoleLauncher && !f.quiet && unlike(launcher.Digest, c.Digest) != "" {
			_, _ = fmt.Fprintln(a.stderr, "note: the record was made by another build of sworn")
		}
	}
}

// compare holds what came out against the record.
func (r *replayed) compare(s *verifier.Summary, exit *jail.Exit) error {
	recorded, err := stated(cer.FieldOutput, s.Output)
	if err != nil {
		return err
	}
	output := cer.NewStream(exit.Stdout.SHA256, exit.Stdout.Size, exit.Stdout.Complete)
	r.Output, r.Exit = &output, &exit.Code
	if d := streamDiffers("output", output, recorded); d != "" {
		r.Differs = append(r.Differs, d)
	}
	if exit.Code != s.Exit.Code {
		r.Differs = append(r.Differs, fmt.Sprintf("exit is %d, the record has %d", exit.Code, s.Exit.Code))
	}
	r.Reproduced = len(r.Differs) == 0
	return nil
}

// streamDiffers says how a stream differs from the record's; "" if it does not.
func streamDiffers(what string, got, recorded cer.Stream) string {
	if got.SHA256 == recorded.SHA256 && got.Size == recorded.Size {
		return ""
	}
	return fmt.Sprintf("%s is sha256:%s (%s bytes), the record has sha256:%s (%s bytes)", what, got.SHA256, got.Size, recorded.SHA256, recorded.Size)
}

// answer prints the answer.
func (a *app) answer(f *replayFlags, r *replayed) error {
	var out bytes.Buffer
	switch {
	case f.asJSON:
		enc := json.NewEncoder(verifier.PrintableJSON(&out))
		enc.SetEscapeHTML(false)
		if err := enc.Encode(r); err != nil {
			return err
		}
	case r.Reproduced:
		fmt.Fprintf(&out, "reproduced: output sha256:%s (%s bytes), exit %d\n", r.Output.SHA256, r.Output.Size, *r.Exit)
	default:
		for _, d := range r.Differs {
			fmt.Fprintln(&out, "differs:", line(d))
		}
	}
	if _, err := a.stdout.Write(out.Bytes()); err != nil {
		return err
	}
	if !r.Reproduced {
		return &statusError{code: exitNotTrusted, hint: noHint}
	}
	return nil
}

// replayInput is what the job is given on its standard input, and what it is.
type replayInput struct {
	stdin  io.Reader
	stream cer.Stream
	// held is an open file, temporary the path of one to be removed.
	held      *os.File
	temporary string
}

func (i *replayInput) close() {
	if i.held != nil {
		_ = i.held.Close()
	}
	if i.temporary != "" {
		_ = os.Remove(i.temporary)
	}
}

// takeInput finds the input: the file that is given, what the record carries, or
// none where the record has none.
func (f *replayFlags) takeInput(ctx context.Context, file, opening []byte, s *verifier.Summary, job *launch.Job) (*replayInput, error) {
	asFile := takesInput(job.Command)
	if f.input != "" {
		sum, err := hashFile(ctx, f.input)
		if err != nil {
			return nil, err
		}
		i := &replayInput{stream: cer.NewStream(sum.SHA256, sum.Size, true)}
		if asFile {
			job.Input = f.input
			return i, nil
		}
		i.held, err = openRegular(f.input)
		i.stdin = i.held
		return i, err
	}
	recorded, err := stated(cer.FieldInput, s.Input)
	if err != nil {
		return nil, err
	}
	content, err := carriedInput(file, opening)
	switch {
	case err != nil:
		return nil, err
	case content == nil && recorded.Size != strconv.Itoa(0):
		return nil, usage("--input FILE, with the "+recorded.Size+" bytes of sha256:"+recorded.SHA256, "no input given, and the record has only its hash")
	}
	i := &replayInput{stdin: bytes.NewReader(content), stream: recorded}
	if !asFile {
		return i, nil
	}
	t, err := os.CreateTemp("", "sworn-input-")
	if err != nil {
		return nil, wrap(err, "set TMPDIR to a folder that this user may write")
	}
	i.stdin, i.temporary, job.Input = nil, t.Name(), t.Name()
	_, err = t.Write(content)
	if err = errors.Join(err, t.Close()); err != nil {
		i.close()
		return nil, wrap(err, "is the disk full?")
	}
	return i, nil
}

// carriedInput returns the input that a record carries, or an opening that is the
// record's; nil if neither does.
func carriedInput(file, opening []byte) ([]byte, error) {
	if opening != nil {
		o, err := cer.ParseOpening(opening)
		if err != nil {
			return nil, err
		}
		content, _, err := openedContent(o, cer.FieldInput)
		return content, err
	}
	_, b, err := parseForInspect(file)
	if err != nil {
		return nil, err
	}
	v, err := b.Snapshot.Input.Raw()
	if err != nil {
		return nil, err
	}
	content, carried, err := cer.Content(v)
	if err != nil || !carried {
		return nil, err
	}
	return content, nil
}
