//go:build linux

// Command bench measures what attestation costs on this machine and prints it as
// Markdown: what `sworn run` adds to a job, how long verification takes, also of the
// evidence of confidential VMs, how fast files are measured, how fast records are sealed
// and read, and how fast a page in a browser gives a verdict. Each is compared with a peer that does the same work, or the part of it that
// anybody has to do, in the same run: the contenders take
// turns, round by round, in an order that rotates, so that what else the machine
// does falls on all alike. A ratio is the median of the rounds' ratios.
//
// It takes the root of the checkout as working directory, bin/sworn and
// bin/sworn.html built, and
// swtpm, Tesseract, sha256sum, openssl, fsverity, node, npm and Chromium installed: `make
// bench` sees to all of it. No number is an absolute one: compare ratios.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/sworn-run/sworn/internal/launch/jail"
	"github.com/sworn-run/sworn/simulator"
)

func main() {
	jail.MaybeInit() // This program is the init of the jobs that it launches itself.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// bench is one run of this program.
type bench struct {
	// dir holds everything that the run makes, and nothing that stays.
	dir string
	// sworn is the program to measure.
	sworn string
	// html is the page to measure.
	html string
	// rounds is how often each contender takes its turn.
	rounds int
	// hashRounds is the same for hashing, whose turns take seconds.
	hashRounds int
	// mib is the size of the file that is hashed, in MiB.
	mib int
	// quotes and many are how many quotes and records the archive has that is verified.
	quotes, many int
	// tpm is the software TPM's address, roots its maker's folder of roots.
	tpm, roots string
	swtpm      *simulator.SWTPM
	out        io.Writer
}

// run is main without the process; it returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	b := &bench{out: stdout}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&b.sworn, "sworn", "bin/sworn", "the `program` to measure")
	flags.StringVar(&b.html, "page", "bin/sworn.html", "the `page` to measure")
	flags.IntVar(&b.rounds, "rounds", 9, "`rounds` of each measurement")
	flags.IntVar(&b.hashRounds, "hash-rounds", 5, "`rounds` of hashing")
	only := flags.String("only", "", "measure this `part` alone: launch, verify, bulk, tee, hash, nexart, wasm or page")
	flags.IntVar(&b.quotes, "quotes", 1000, "`quotes` in the archive that is verified")
	flags.IntVar(&b.many, "records", 100_000, "`records` in the archive that is verified")
	flags.IntVar(&b.mib, "mib", 4096, "size of the file that is hashed, in `MiB`")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if flags.NArg() > 0 || b.rounds < 1 || b.hashRounds < 1 || b.mib < 1 || b.quotes < 1 || b.many < 10*b.quotes {
		_, _ = fmt.Fprintln(stderr, "error: no arguments, at least one round, one MiB and one quote, and ten records for each quote")
		return 2
	}
	parts, err := b.parts(*only)
	if err == nil {
		err = b.run(ctx, parts)
	}
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "error:", err)
		return 2
	}
	return 0
}

// part measures something and prints it.
type part func(context.Context) error

// parts returns the part with the name, or all for none.
func (b *bench) parts(only string) ([]part, error) {
	switch only {
	case "":
		return []part{b.launches, b.verification, b.bulk, b.confidential, b.hashing, b.records, b.modules, b.browsing}, nil
	case "launch":
		return []part{b.launches}, nil
	case "verify":
		return []part{b.verification}, nil
	case "bulk":
		return []part{b.bulk}, nil
	case "tee":
		return []part{b.confidential}, nil
	case "hash":
		return []part{b.hashing}, nil
	case "nexart":
		return []part{b.records}, nil
	case "wasm":
		return []part{b.modules}, nil
	case "page":
		return []part{b.browsing}, nil
	}
	return nil, fmt.Errorf("no part %q, want launch, verify, bulk, tee, hash, nexart, wasm or page", only)
}

// run measures the parts.
func (b *bench) run(ctx context.Context, parts []part) (err error) {
	if b.sworn, err = filepath.Abs(b.sworn); err != nil {
		return err
	}
	if _, err := os.Stat(b.sworn); err != nil {
		return fmt.Errorf("%w: run make build", err)
	}
	// A short path, for the socket's sake.
	if b.dir, err = os.MkdirTemp("", "sb"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	began := time.Now()
	if err := b.header(); err != nil {
		return err
	}
	defer b.off() //nolint:errcheck // Nothing is kept of it.
	for _, part := range parts {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return b.printf("\nAll of it took %.0f s.\n", time.Since(began).Seconds())
}

// printf writes a part of the page.
func (b *bench) printf(format string, args ...any) error {
	_, err := fmt.Fprintf(b.out, format, args...)
	return err
}

// header says on what machine, and when.
func (b *bench) header() error {
	model := "unknown processor"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, after, ok := strings.Cut(string(text), "model name"); ok {
			line, _, _ := strings.Cut(after, "\n")
			model = strings.TrimSpace(strings.TrimLeft(line, "\t :"))
		}
	}
	load := "unknown"
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		load, _, _ = strings.Cut(string(text), " ")
	}
	return b.printf("%s, %d cores, %s/%s, %s, load %s at the start, %d rounds each, %s\n",
		model, runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version(), load, b.rounds,
		time.Now().UTC().Format(time.DateOnly))
}

// command runs a program to its end, with its output thrown away, and returns
// what it took.
func command(ctx context.Context, stdin string, name string, args ...string) (cost, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "OMP_THREAD_LIMIT=1")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if stdin != "" {
		f, err := os.Open(stdin)
		if err != nil {
			return cost{}, err
		}
		defer f.Close()
		cmd.Stdin = f
	}
	began := time.Now()
	err := cmd.Run()
	took := time.Since(began)
	if err != nil {
		return cost{}, fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, stderr.String())
	}
	return cost{took, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}, nil
}

// installed wants a program to be there.
func installed(name, packages string) error {
	if _, err := exec.LookPath(name); err != nil {
		return errors.Join(fmt.Errorf("%s is missing: apt-get install %s", name, packages), err)
	}
	return nil
}
