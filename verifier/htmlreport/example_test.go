package htmlreport_test

import (
	"bytes"
	"fmt"
	"log"
	"time"

	"github.com/sworn-run/sworn/testdata"
	"github.com/sworn-run/sworn/verifier"
	"github.com/sworn-run/sworn/verifier/htmlreport"
)

// A report to file away. Whoever serves the document sends its policy as a header too.
func ExampleRender() {
	record, err := testdata.Golden.ReadFile("golden/page.cer.json")
	if err != nil {
		log.Fatal(err)
	}
	report, err := verifier.Verify(record, verifier.Input{Now: time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)})
	if err != nil {
		log.Fatal(err)
	}
	document := htmlreport.Render(htmlreport.Record{File: "page.cer.json", Report: report})
	title, _, _ := bytes.Cut(document[bytes.Index(document, []byte("<title>")):], []byte("\n"))
	fmt.Printf("%s\n", title)
	fmt.Println(bytes.Contains(document, []byte("<script")), htmlreport.Policy()[:18])
	// Output:
	// <title>Sworn: not trusted: page.cer.json</title>
	// false default-src 'none'
}
