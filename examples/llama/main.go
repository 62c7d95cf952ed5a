// Llama continues a text with a Llama model in the file format of llama2.c.
//
// Usage:
//
//	llama -m model.bin -z tokenizer.bin [-n tokens] [-p prompt] [-t temperature] [-s seed]
//
// It is a job to run attested: one static program without dependencies, whose
// output is a function of its arguments, its two files and its standard input
// alone. The same bytes come out on every processor, under wasip1 too, because
// no arithmetic is left to the machine's choice.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

// Limits of what is read before anything is known about it, in bytes.
const (
	maxModelBytes     = 1 << 30
	maxTokenizerBytes = 64 << 20
	maxPromptBytes    = 1 << 16
)

// Exit statuses.
const (
	exitOK      = 0
	exitFailure = 2 // Wrong usage, refused files, failed input or output.
)

var (
	// errUsage is wrapped by errors about the command line.
	errUsage = errors.New("wrong usage")
	// errModel is wrapped by errors about the model file.
	errModel = errors.New("model file refused")
	// errTokenizer is wrapped by errors about the tokenizer file.
	errTokenizer = errors.New("tokenizer file refused")
	// errPrompt is wrapped by errors about the prompt.
	errPrompt = errors.New("prompt refused")
	// errCompute is wrapped when the model computes something that is not a
	// finite number.
	errCompute = errors.New("computation failed")
	// errOutput is wrapped by errors about writing the text.
	errOutput = errors.New("output failed")
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// options is the parsed command line.
type options struct {
	model, tokenizer string
	steps            int
	prompt           string
	promptGiven      bool
	temperature      float64
	seed             uint64
}

// run is the program; it returns the exit status.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	opts, err := parseOptions(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	if err == nil {
		err = generate(opts, stdin, stdout)
	}
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(stderr, "error: %v\n", err)
	if errors.Is(err, errUsage) {
		fmt.Fprintln(stderr, "hint: llama -h lists the flags")
	}
	return exitFailure
}

// parseOptions reads the command line. Help goes to stderr.
func parseOptions(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("llama", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&o.model, "m", "", "model `file`, as llama2.c exports it")
	flags.StringVar(&o.tokenizer, "z", "", "tokenizer `file` of that model")
	flags.IntVar(&o.steps, "n", 0, "`tokens` to run, the prompt included; 0 for all that the model's context holds")
	flags.StringVar(&o.prompt, "p", "", "`text` to continue; without it, standard input up to its end, less one newline there")
	flags.Float64Var(&o.temperature, "t", 0, "`temperature` of the choice of a token; 0 takes the likeliest")
	flags.Uint64Var(&o.seed, "s", 1, "`seed` of the choice of a token; of no effect at temperature 0")
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(stderr, "usage: llama -m model.bin -z tokenizer.bin [-n tokens] [-p prompt] [-t temperature] [-s seed]")
		flags.SetOutput(stderr)
		flags.PrintDefaults()
		return options{}, err
	}
	if err != nil {
		return options{}, fmt.Errorf("%w: %w", errUsage, err)
	}
	flags.Visit(func(f *flag.Flag) { o.promptGiven = o.promptGiven || f.Name == "p" })
	switch {
	case flags.NArg() > 0:
		return options{}, fmt.Errorf("%w: unexpected argument %q", errUsage, flags.Arg(0))
	case o.model == "" || o.tokenizer == "":
		return options{}, fmt.Errorf("%w: -m and -z are needed", errUsage)
	case o.steps < 0:
		return options{}, fmt.Errorf("%w: -n %d is negative", errUsage, o.steps)
	case !(o.temperature >= 0 && o.temperature <= maxTemperature):
		return options{}, fmt.Errorf("%w: -t %v is not between 0 and %d", errUsage, o.temperature, maxTemperature)
	}
	return o, nil
}

// generate loads the files and writes the continued prompt to stdout.
func generate(o options, stdin io.Reader, stdout io.Writer) error {
	m, tok, err := load(o.model, o.tokenizer)
	if err != nil {
		return err
	}
	steps := o.steps
	if steps == 0 {
		steps = m.context
	}
	if steps > m.context {
		return fmt.Errorf("%w: -n %d is more than the model's context of %d tokens", errUsage, steps, m.context)
	}
	prompt := o.prompt
	if !o.promptGiven {
		if prompt, err = readPrompt(stdin); err != nil {
			return err
		}
	}
	tokens, err := tok.encode(prompt, steps)
	if err != nil {
		return err
	}
	e, err := newEngine(m, steps)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(stdout)
	err = e.write(out, tok, tokens, newSampler(float32(o.temperature), o.seed))
	if flushed := out.Flush(); err == nil && flushed != nil {
		err = fmt.Errorf("%w: %w", errOutput, flushed)
	}
	return err
}

// load reads and parses both files.
func load(modelPath, tokenizerPath string) (*model, *tokenizer, error) {
	data, err := readFile(modelPath, maxModelBytes, errModel)
	if err != nil {
		return nil, nil, err
	}
	m, err := parseModel(data)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", modelPath, err)
	}
	data, err = readFile(tokenizerPath, maxTokenizerBytes, errTokenizer)
	if err != nil {
		return nil, nil, err
	}
	tok, err := parseTokenizer(data, m.vocab)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", tokenizerPath, err)
	}
	return m, tok, nil
}

// readFile returns the content of the file at path, of at most limit bytes.
func readFile(path string, limit int64, class error) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", class, err)
	}
	defer f.Close()
	data, err := readLimited(f, limit, class)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return data, nil
}

// readLimited reads r up to its end and refuses more than limit bytes.
func readLimited(r io.Reader, limit int64, class error) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", class, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%w: more than %d bytes", class, limit)
	}
	return data, nil
}

// readPrompt reads the prompt from r. One newline at the end, which editors
// put there, is not part of it.
func readPrompt(r io.Reader) (string, error) {
	data, err := readLimited(r, maxPromptBytes, errPrompt)
	if err != nil {
		return "", fmt.Errorf("reading standard input: %w", err)
	}
	if n := len(data); n > 0 && data[n-1] == '\n' {
		data = data[:n-1]
	}
	return string(data), nil
}
