//go:build !js

// Command sworn-wasm is the verifier for a browser: one HTML file that opens from disk
// and reaches no network. Built for js/wasm it is the verifier; built for anything else
// it puts that file together, out of the verifier, Go's loader for it, and the page.
//
//	GOOS=js GOARCH=wasm go build -o verifier.wasm ./cmd/sworn-wasm
//	go run ./cmd/sworn-wasm verifier.wasm "$(go env GOROOT)/lib/wasm/wasm_exec.js" sworn.html
package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	_ "embed" // for the page
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/sworn-run/sworn/verifier"
	"github.com/sworn-run/sworn/verifier/htmlreport"
)

//go:embed page/page.html
var pageHTML string

//go:embed page/page.css
var pageCSS string

//go:embed page/page.js
var pageJS string

func main() { os.Exit(run(os.Args[1:], os.Stderr)) }

// run is the program.
func run(args []string, stderr io.Writer) int {
	if len(args) != 3 {
		_, _ = fmt.Fprintln(stderr, "error: want three files\nhint: sworn-wasm VERIFIER.wasm wasm_exec.js OUT.html")
		return 2
	}
	if err := build(args[0], args[1], args[2]); err != nil {
		_, _ = fmt.Fprintln(stderr, "error:", err)
		return 2
	}
	return 0
}

// build writes the page.
func build(wasm, loader, out string) error {
	code, err := os.ReadFile(wasm)
	if err != nil {
		return fmt.Errorf("reading the verifier: %w", err)
	}
	exec, err := os.ReadFile(loader)
	if err != nil {
		return fmt.Errorf("reading Go's loader: %w", err)
	}
	page, err := assemble(code, string(exec))
	if err != nil {
		return err
	}
	if err := os.WriteFile(out, page, 0o644); err != nil { //nolint:gosec // a page to be handed out
		return fmt.Errorf("writing the page: %w", err)
	}
	return nil
}

// assemble returns the page: the same bytes from the same parts.
func assemble(code []byte, loader string) ([]byte, error) {
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return nil, fmt.Errorf("packing the verifier: %w", err)
	}
	if _, err := z.Write(code); err != nil {
		return nil, fmt.Errorf("packing the verifier: %w", err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("packing the verifier: %w", err)
	}
	roles := "const swornRoles = [\"" + strings.Join(verifier.RootFolders(), "\", \"") + "\"];\n"
	script := "\n" + loader + roles + pageJS
	if strings.Contains(strings.ToLower(script), "</script") || strings.Contains(script, "<!--") {
		return nil, fmt.Errorf("the script would end in the middle: %w", os.ErrInvalid)
	}
	style := "\n" + pageCSS
	return []byte(strings.NewReplacer(
		"{{policy}}", contentPolicy(script, style), "{{style}}", style, "{{script}}", script,
		"{{wasm}}", base64.StdEncoding.EncodeToString(packed.Bytes()),
	).Replace(pageHTML)), nil
}

// contentPolicy is the page's content security policy: one script, two style sheets, the
// page's and the reports', and nothing from or to anywhere.
func contentPolicy(script, style string) string {
	report := regexp.MustCompile(`style-src ('sha256-[^']+')`).FindStringSubmatch(htmlreport.Policy())[1]
	return "default-src 'none'; script-src " + source(script) + " 'wasm-unsafe-eval'; style-src " + source(style) + " " + report +
		"; connect-src 'none'; form-action 'none'; base-uri 'none'; img-src data:; require-trusted-types-for 'script'; trusted-types sworn-report"
}

// source names a script or a style by its digest.
func source(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
