//go:build linux

package main

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// hashing measures how fast a file in the page cache is hashed.
func (b *bench) hashing(ctx context.Context) error {
	for _, tool := range [][2]string{{"sha256sum", "coreutils"}, {"openssl", "openssl"}} {
		if err := installed(tool[0], tool[1]); err != nil {
			return err
		}
	}
	name := filepath.Join(b.dir, "weights")
	if err := fill(name, b.mib); err != nil {
		return err
	}
	if err := b.printf("\n### Hashing\n\nSHA-256 of a file of %d MiB in the page cache:\n", b.mib); err != nil {
		return err
	}
	costs, err := b.compare(ctx, b.rounds, []contender{
		{"`openssl dgst -sha256`", func(ctx context.Context) (cost, error) { return command(ctx, "", "openssl", "dgst", "-sha256", name) }},
		{"`sworn measure`", func(ctx context.Context) (cost, error) { return command(ctx, "", b.sworn, "measure", name) }},
		{"`sha256sum`", func(ctx context.Context) (cost, error) { return command(ctx, "", "sha256sum", name) }},
	})
	if err != nil {
		return err
	}
	took := median(walls(costs[1]))
	return b.printf("\n`sworn measure` reads %.2f GB/s.\n", float64(b.mib)*(1<<20)/1e9/took.Seconds())
}

// fill writes a file of numbers that no two places share.
func fill(name string, mib int) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	from := rand.NewChaCha8([32]byte{1})
	block := make([]byte, 1<<20)
	for range mib {
		_, _ = from.Read(block)
		if _, err := f.Write(block); err != nil {
			return err
		}
	}
	return f.Close()
}
