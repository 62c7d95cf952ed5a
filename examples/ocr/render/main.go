// Render draws the invoice pages of the OCR example.
//
// Usage:
//
//	render -o DIR
//
// It writes golden.png and page.png into DIR. The font is its own, the
// arithmetic is on integers and the PNG encoder is part of it, so that the
// files come out the same, byte for byte, on every machine.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stderr))
}

// page is one image to write.
type page struct {
	name  string
	lines []string
}

// pages returns the invoices: one to make a policy from, one to judge.
func pages() []page {
	return []page{
		{"golden.png", []string{
			"Invoice 2026-0398",
			"Total due: 6,739.20 EUR",
			"Pay within 14 days of receipt.",
		}},
		{"page.png", []string{
			"Invoice 2026-0417",
			"Total due: 1,284.50 EUR",
			"Pay within 30 days of receipt.",
		}},
	}
}

// run is the program; it returns the exit status: 0, or 2 for wrong usage and
// for files that cannot be written.
func run(args []string, stderr io.Writer) int {
	flags := flag.NewFlagSet("render", flag.ContinueOnError)
	flags.SetOutput(stderr)
	dir := flags.String("o", "", "write the pages into this `folder`")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	if *dir == "" || flags.NArg() != 0 {
		fmt.Fprintln(stderr, "error: render wants -o DIR and nothing else")
		return 2
	}
	for _, p := range pages() {
		png, err := render(p.lines)
		if err == nil {
			err = os.WriteFile(filepath.Join(*dir, p.name), png, 0o644)
		}
		if err != nil {
			fmt.Fprintf(stderr, "error: rendering %s: %v\n", p.name, err)
			return 2
		}
	}
	return 0
}

// render returns lines of text as a PNG file.
func render(lines []string) ([]byte, error) {
	width, height, pixels, err := drawPage(lines)
	if err != nil {
		return nil, err
	}
	return encodePNG(width, height, pixels), nil
}
