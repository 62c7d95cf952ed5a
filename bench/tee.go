//go:build linux

package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// teeTime is how long a turn of a benchmark lasts.
const teeTime = "300ms"

// subBenchmark is one of the contenders in a benchmark of Go's.
type subBenchmark struct{ name, of string }

// comparison is a benchmark of Go's in the folder of its package.
type comparison struct {
	title, dir string
	all        []subBenchmark
}

// vendors are the benchmarks of confidential VMs. Each stands where the library that it
// compares with may be imported.
func vendors() []comparison {
	return []comparison{
		{
			"A report of SEV-SNP with certificates and revocation list, keys of AMD's sizes", "sev",
			[]subBenchmark{
				{"`sev.Scheme`", "BenchmarkVerify/ours"},
				{"`sev.Scheme`, a chain seen before", "BenchmarkVerify/seen_before"},
				{"go-sev-guest", "BenchmarkVerify/theirs"},
			},
		},
		{
			"A real quote of TDX with all of Intel's collateral", "tools/oracle",
			[]subBenchmark{
				{"`tdx.Scheme`", "BenchmarkTDX/sworn"},
				{"go-tdx-guest", "BenchmarkTDX/go-tdx-guest"},
			},
		},
		{
			"A real quote of SGX with all of Intel's collateral that both want", "tools/oracle",
			[]subBenchmark{
				{"`enclave.Scheme`", "BenchmarkSGX/sworn"},
				{"oasis-core", "BenchmarkSGX/oasis-core"},
			},
		},
	}
}

// confidential measures how long evidence of confidential VMs takes to be verified, and
// what the verifier weighs in a page.
func (b *bench) confidential(ctx context.Context) error {
	if err := b.printf("\n### Confidential VMs\n"); err != nil {
		return err
	}
	for _, v := range vendors() {
		if err := b.vendor(ctx, v); err != nil {
			return err
		}
	}
	return b.page(ctx)
}

// vendor compares the benchmarks of one package, each turn a process of its own.
func (b *bench) vendor(ctx context.Context, v comparison) error {
	program := filepath.Join(b.dir, filepath.Base(v.dir)+".test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-o", program, ".")
	build.Dir = v.dir
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", build, err, out)
	}
	contenders, last := make([]contender, len(v.all)), make([]measured, len(v.all))
	for i, one := range v.all {
		contenders[i] = contender{one.name, func(ctx context.Context) (cost, error) {
			m, err := benchmark(ctx, program, v.dir, one.of)
			last[i] = m
			return m.cost, err
		}}
	}
	if err := b.printf("\n%s:\n", v.title); err != nil {
		return err
	}
	_, err := b.compare(ctx, b.rounds, contenders)
	if errors.Is(err, errNoBenchmark) {
		return b.printf("\nNot measured: the evidence that it takes is not here.\n")
	}
	for i, one := range v.all {
		if err == nil {
			err = b.printf("\n%s allocates %d times, %d bytes.\n", one.name, last[i].allocs, last[i].bytes)
		}
	}
	return err
}

// measured is what a benchmark says of one operation.
type measured struct {
	cost
	allocs, bytes int
}

// errNoBenchmark: the program ran none, as where what it takes is missing.
var errNoBenchmark = errors.New("no benchmark ran")

// benchmark runs one benchmark of a test's program in the folder of its package.
func benchmark(ctx context.Context, program, dir, name string) (measured, error) {
	pattern := "^" + strings.ReplaceAll(name, "/", "$/^") + "$"
	cmd := exec.CommandContext(ctx, program, "-test.run", "^$", "-test.bench", pattern, "-test.benchtime", teeTime)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return measured{}, fmt.Errorf("%s: %w: %s", cmd, err, out)
	}
	return readBenchmark(string(out), name)
}

// readBenchmark reads the line of a benchmark.
func readBenchmark(out, name string) (measured, error) {
	line := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + `(?:-[0-9]+)?[ \t]+[0-9]+[ \t]+(.*)$`).FindStringSubmatch(out)
	if line == nil {
		return measured{}, fmt.Errorf("%w: %s", errNoBenchmark, out)
	}
	values := map[string]float64{}
	words := strings.Fields(line[1])
	for i := 0; i+1 < len(words); i += 2 {
		x, err := strconv.ParseFloat(words[i], 64)
		if err != nil {
			return measured{}, fmt.Errorf("%s: %w", line[0], err)
		}
		values[words[i+1]] = x
	}
	if values["ns/op"] == 0 {
		return measured{}, fmt.Errorf("%w: no time in %q", errNoBenchmark, line[0])
	}
	return measured{
		cost:   cost{wall: time.Duration(values["ns/op"]), cpu: time.Duration(values["cpu-ns/op"])},
		allocs: int(values["allocs/op"]), bytes: int(values["B/op"]),
	}, nil
}

// page measures what the verifier weighs in a browser, beside a program that does
// nothing: Go's runtime.
func (b *bench) page(ctx context.Context) error {
	if err := b.printf("\nFor js/wasm, without symbols, in bytes:\n\n| | file | gzip -9 |\n|---|---|---|\n"); err != nil {
		return err
	}
	for _, p := range []struct{ name, body string }{
		{"a program that does nothing", "package main\n\nfunc main() {}\n"},
		{"`verifier.Verify`, all formats", "package main\n\nimport (\n\t\"fmt\"\n\n\t\"github.com/sworn-run/sworn/verifier\"\n)\n\nfunc main() { fmt.Println(verifier.Verify(nil, verifier.Input{})) }\n"},
	} {
		file, zipped, err := b.weigh(ctx, p.body)
		if err != nil {
			return err
		}
		if err := b.printf("| %s | %d | %d |\n", p.name, file, zipped); err != nil {
			return err
		}
	}
	return nil
}

// weigh builds a program for js/wasm and returns its size, as it is and compressed.
func (b *bench) weigh(ctx context.Context, source string) (file, zipped int, err error) {
	// The program has to lie in this module, for its imports.
	dir, err := os.MkdirTemp("bench", ".page")
	if err != nil {
		return 0, 0, err
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(source), 0o600); err != nil {
		return 0, 0, err
	}
	out := filepath.Join(b.dir, "page.wasm")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", out, filepath.Join(dir, "main.go"))
	cmd.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm", "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return 0, 0, fmt.Errorf("%s: %w: %s", cmd, err, text)
	}
	program, err := os.ReadFile(out)
	if err != nil {
		return 0, 0, err
	}
	var small bytes.Buffer
	z, err := gzip.NewWriterLevel(&small, gzip.BestCompression)
	if err != nil {
		return 0, 0, err
	}
	if _, err := io.Copy(z, bytes.NewReader(program)); err != nil {
		return 0, 0, err
	}
	if err := z.Close(); err != nil {
		return 0, 0, err
	}
	return len(program), small.Len(), nil
}
