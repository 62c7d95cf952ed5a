//go:build linux

// Command peak measures a file, in every way and by every number of workers that
// it is told, and prints the most memory that it ever held, in KiB: the test
// builds it, so that no test's own memory counts, nor the race detector's.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/sworn-run/sworn/internal/launch/measure"
)

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run measures the large file for fs-verity, and copies the small one with all
// digests and all workers there may be.
func run(large, small string) error {
	ctx := context.Background()
	if _, err := measure.Paths(ctx, []string{large}, measure.Wanted{FSVerity: true, Flat: measure.FlatSmall}, measure.Options{}); err != nil {
		return err
	}
	in, err := measure.OpenFile(small)
	if err != nil {
		return err
	}
	out, err := os.Create(small + ".copy")
	if err != nil {
		return err
	}
	w := measure.Wanted{FSVerity: true, Flat: measure.FlatAlways, DMVerity: &measure.DMVerity{Salt: []byte("salt")}}
	if _, err := measure.Copy(ctx, in, out, in.Size(), w, measure.Options{Workers: measure.MaxWorkers}); err != nil {
		return err
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	peak, _, _ = strings.Cut(peak, "kB")
	_, err = fmt.Println(strings.TrimSpace(peak))
	return err
}
