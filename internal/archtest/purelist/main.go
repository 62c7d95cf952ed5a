// Command purelist prints the pure packages of the module in the current
// directory, one "./path" on a line: those that must build for js/wasm.
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/sworn-run/sworn/internal/archtest"
)

func main() {
	if err := run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "purelist: error:", err)
		os.Exit(1)
	}
}

// run lists the pure packages of the tree in the current directory.
func run(stdout io.Writer) error {
	tree, err := archtest.Load(".")
	if err != nil {
		return fmt.Errorf("listing pure packages: %w", err)
	}
	pure, err := archtest.Pure(tree.Packages())
	if err != nil {
		return fmt.Errorf("listing pure packages: %w", err)
	}
	for _, pkg := range pure {
		if _, err := io.WriteString(stdout, "./"+pkg+"\n"); err != nil {
			return fmt.Errorf("listing pure packages: %w", err)
		}
	}
	return nil
}
