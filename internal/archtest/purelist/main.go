// Command purelist prints the pure packages of the module in the current
// directory, one "./path" on a line: those that must build for js/wasm. With the
// argument "concurrent" it prints those among them that start goroutines.
package main

import (
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/sworn-run/sworn/internal/archtest"
)

func main() {
	if err := run(os.Stdout, slices.Equal(os.Args[1:], []string{"concurrent"})); err != nil {
		fmt.Fprintln(os.Stderr, "purelist: error:", err)
		os.Exit(1)
	}
}

// run lists the pure packages of the tree in the current directory.
func run(stdout io.Writer, concurrent bool) error {
	tree, err := archtest.Load(".")
	if err != nil {
		return fmt.Errorf("listing pure packages: %w", err)
	}
	list, err := archtest.Pure(tree.Packages())
	if err != nil {
		return fmt.Errorf("listing pure packages: %w", err)
	}
	if concurrent {
		list = archtest.Concurrent(tree.Files, list)
	}
	for _, pkg := range list {
		if _, err := io.WriteString(stdout, "./"+pkg+"\n"); err != nil {
			return fmt.Errorf("listing pure packages: %w", err)
		}
	}
	return nil
}
