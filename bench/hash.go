//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// hashing measures how fast a file in the page cache is hashed, and in how much
// memory.
func (b *bench) hashing(ctx context.Context) error {
	for _, tool := range [][2]string{{"sha256sum", "coreutils"}, {"openssl", "openssl"}, {"fsverity", "fsverity"}} {
		if err := installed(tool[0], tool[1]); err != nil {
			return err
		}
	}
	name := filepath.Join(b.dir, "weights")
	if err := fill(name, b.mib); err != nil {
		return err
	}
	defer os.Remove(name)
	if err := b.printf("\n### Hashing\n\nA file of %d MiB in the page cache, %d rounds:\n", b.mib, b.hashRounds); err != nil {
		return err
	}
	turn := func(label, program string, args ...string) contender {
		return contender{label, func(ctx context.Context) (cost, error) {
			return command(ctx, "", program, append(args, name)...)
		}}
	}
	costs, err := b.compare(ctx, b.hashRounds, []contender{
		turn("`sworn measure --method fsverity-sha256`", b.sworn, "measure", "--method", "fsverity-sha256"),
		turn("`fsverity digest`", "fsverity", "digest"),
		turn("`openssl dgst -sha256`", "openssl", "dgst", "-sha256"),
		turn("`sworn measure --method sha256`", b.sworn, "measure", "--method", "sha256"),
		turn("`sworn measure --flat`: both digests", b.sworn, "measure", "--flat"),
		turn("`sha256sum`", "sha256sum"),
	})
	if err != nil {
		return err
	}
	kib, err := peak(ctx, b.sworn, "measure", "--flat", name)
	if err != nil {
		return err
	}
	took := slices.Min(walls(costs[0]))
	return b.printf("\nIts fastest round reads %.2f GB/s. `sworn measure --flat` holds %.0f MiB of memory at most.\n", float64(b.mib)*(1<<20)/1e9/took.Seconds(), float64(kib)/1024)
}

// peak runs a program and returns the most memory that it held, in KiB. It asks
// the kernel while the program runs: what the kernel tells at the end counts
// the memory of the process that started it, too.
func peak(ctx context.Context, name string, args ...string) (kib int, err error) {
	cmd := exec.CommandContext(ctx, name, args...)
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			if err == nil && kib == 0 {
				err = errors.New("the program ended before its memory could be looked at")
			}
			return kib, err
		case <-tick.C:
			status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
			if err != nil {
				continue // It has just ended.
			}
			if _, after, ok := strings.Cut(string(status), "VmHWM:"); ok {
				value, _, _ := strings.Cut(after, "kB")
				if n, err := strconv.Atoi(strings.TrimSpace(value)); err == nil {
					kib = max(kib, n)
				}
			}
		}
	}
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
