//go:build linux

package main

import (
	"context"
	"os"
	"path/filepath"
)

// The prompt's continuation that is measured, in tokens.
const wasmTokens = "200"

// modules measures a language model as a WebAssembly module against the same program
// compiled for this machine, attested, and run again.
func (b *bench) modules(ctx context.Context) error {
	if err := b.printf("\n### WebAssembly\n"); err != nil {
		return err
	}
	shared := os.Getenv("SWORN_SHARED")
	if shared == "" {
		shared = filepath.Join("..", "shared")
	}
	weights, tokenizer := filepath.Join(shared, "models", "stories260K.bin"), filepath.Join(shared, "models", "tok512.bin")
	for _, file := range []string{weights, tokenizer} {
		if _, err := os.Stat(file); err != nil {
			return b.printf("\nNot measured: the model is not there (%s).\n", filepath.Base(file))
		}
	}
	native, module := filepath.Join(b.dir, "llama"), filepath.Join(b.dir, "llama.wasm")
	for file, env := range map[string][]string{native: {"CGO_ENABLED=0"}, module: {"GOOS=wasip1", "GOARCH=wasm"}} {
		args := append(append([]string{}, env...), "go", "build", "-trimpath", "-o", file, "./examples/llama")
		if _, err := command(ctx, "", "env", args...); err != nil {
			return err
		}
	}
	if err := b.power(ctx); err != nil {
		return err
	}
	files := []string{"--weights", weights, "--config", tokenizer}
	template := []string{"-m", "{weights}", "-z", "{config}", "-n", wasmTokens}
	record := filepath.Join(b.dir, "wasm.cer.json")
	attested := func(record string, job ...string) func(context.Context) (cost, error) {
		return func(ctx context.Context) (cost, error) {
			args := append([]string{"run", "-q", "--tpm", b.tpm, "--state", filepath.Join(b.dir, "state"), "--record", record, "--output", filepath.Join(b.dir, "text")}, files...)
			return command(ctx, "", b.sworn, append(append(args, job...), template...)...)
		}
	}
	contenders := []contender{
		{"bare job: llama, native", func(ctx context.Context) (cost, error) {
			return command(ctx, "", native, "-m", weights, "-z", tokenizer, "-n", wasmTokens)
		}},
		{"`sworn run` of it", attested(filepath.Join(b.dir, "native"), "--", native)},
		{"`sworn run --wasm`", attested(record, "--wasm", module, "--")},
		{"`sworn replay` of that", func(ctx context.Context) (cost, error) {
			if _, err := os.Stat(record); err != nil {
				if _, err := attested(record, "--wasm", module, "--")(ctx); err != nil {
					return cost{}, err
				}
			}
			return command(ctx, "", b.sworn, append([]string{"replay", "-q", record, "--wasm", module}, files...)...)
		}},
	}
	if _, err := b.compare(ctx, b.rounds, contenders); err != nil {
		return err
	}
	// Once: it takes as long as all rounds of the others together.
	c, err := attested(filepath.Join(b.dir, "slow"), "--wasm", module, "--wasm-engine", "interpreter", "--")(ctx)
	if err != nil {
		return err
	}
	return b.printf("\n`sworn run --wasm --wasm-engine interpreter`, once: %s ms.\n", ms(c.wall))
}
