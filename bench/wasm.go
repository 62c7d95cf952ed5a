//go:build linux

package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
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
	vendors := filepath.Join(b.dir, "vendors")
	if _, err := command(ctx, "", b.sworn, "simulate", "vendor", "--dir", vendors, "--intel"); err != nil {
		return err
	}
	enclave := []string{"--tee", "sgx", "--sgx", "simulator:" + vendors}
	on := func(evidence []string, record string, job ...string) func(context.Context) (cost, error) {
		return func(ctx context.Context) (cost, error) {
			args := append(append([]string{"run", "-q"}, evidence...), "--state", filepath.Join(b.dir, "state"), "--record", record, "--output", filepath.Join(b.dir, "text"))
			return command(ctx, "", b.sworn, slices.Concat(args, files, job, template)...)
		}
	}
	attested := func(record string, job ...string) func(context.Context) (cost, error) {
		return on([]string{"--tpm", b.tpm}, record, job...)
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
	contenders = append(contenders, contender{"the same within the launcher", on(enclave, filepath.Join(b.dir, "inside"), "--wasm", module, "--")})
	if _, err := b.compare(ctx, b.rounds, contenders); err != nil {
		return err
	}
	// Once: these take as long as all rounds of the others together.
	if err := b.printf("\nInterpreted, once, processor time in ms:\n\n"); err != nil {
		return err
	}
	interpreted := []string{"--wasm", module, "--wasm-engine", "interpreter", "--"}
	for _, c := range []contender{
		{"`sworn run --wasm`", attested(filepath.Join(b.dir, "slow"), interpreted...)},
		{"within the launcher", on(enclave, filepath.Join(b.dir, "slower"), interpreted...)},
	} {
		spent, err := c.turn(ctx)
		if err != nil {
			return err
		}
		if err := b.printf("- %s: %s\n", c.name, ms(spent.cpu)); err != nil {
			return err
		}
	}
	return nil
}
