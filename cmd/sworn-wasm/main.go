//go:build !js

// Command sworn-wasm is the verifier for a browser: one HTML file that opens from disk
// and reaches no network. Built for js/wasm it is the verifier; built for anything else
// it puts that file together, out of the verifier, Go's loader for it, and the page.
//
//	GOOS=js GOARCH=wasm go build -o verifier.wasm ./cmd/sworn-wasm
//	go run ./cmd/sworn-wasm verifier.wasm "$(go env GOROOT)/lib/wasm/wasm_exec.js" job.cer.json policy.json sworn.html
//
// The record and the policy are those of the page's self-test.
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
	if len(args) != 5 {
		_, _ = fmt.Fprintln(stderr, "error: want five files\nhint: sworn-wasm VERIFIER.wasm wasm_exec.js RECORD POLICY OUT.html")
		return 2
	}
	if err := build(args[:4], args[4]); err != nil {
		_, _ = fmt.Fprintln(stderr, "error:", err)
		return 2
	}
	return 0
}

// parts are what the page is put together of: the verifier, Go's loader for it, and the
// record and the policy of the self-test.
type parts struct{ code, loader, record, policy []byte }

// build writes the page from the files of its parts.
func build(from []string, out string) error {
	p := parts{}
	for i, to := range []*[]byte{&p.code, &p.loader, &p.record, &p.policy} {
		var err error
		if *to, err = os.ReadFile(from[i]); err != nil {
			return fmt.Errorf("reading a part of the page: %w", err)
		}
	}
	page, err := p.assemble()
	if err != nil {
		return err
	}
	if err := os.WriteFile(out, page, 0o644); err != nil { //nolint:gosec // a page to be handed out
		return fmt.Errorf("writing the page: %w", err)
	}
	return nil
}

// assemble returns the page: the same bytes from the same parts.
func (p *parts) assemble() ([]byte, error) {
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return nil, fmt.Errorf("packing the verifier: %w", err)
	}
	if _, err := z.Write(p.code); err != nil {
		return nil, fmt.Errorf("packing the verifier: %w", err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("packing the verifier: %w", err)
	}
	roles := "const swornRoles = [\"" + strings.Join(verifier.RootFolders(), "\", \"") + "\"];\n"
	script := "\n" + string(p.loader) + roles + pageJS
	if strings.Contains(strings.ToLower(script), "</script") || strings.Contains(script, "<!--") {
		return nil, fmt.Errorf("the script would end in the middle: %w", os.ErrInvalid)
	}
	style, plain := "\n"+pageCSS, base64.StdEncoding.EncodeToString
	return []byte(strings.NewReplacer(
		"{{policy}}", contentPolicy(script, style), "{{style}}", style, "{{script}}", script, "{{wasm}}", plain(packed.Bytes()),
		"{{sample-record}}", plain(p.record), "{{sample-policy}}", plain(p.policy),
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
