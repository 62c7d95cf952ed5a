package verifier_test

import (
	"encoding/json"
	"fmt"
	"log"
	"strings"
	"time"

	"github.com/sworn-run/sworn/testdata"
	"github.com/sworn-run/sworn/verifier"
)

// load returns a file of the golden records.
func load(name string) []byte {
	b, err := testdata.Golden.ReadFile("golden/" + name)
	if err != nil {
		log.Fatal(err)
	}
	return b
}

// maker returns the roots that the golden records' relying party trusts.
func maker() *verifier.TrustStore {
	name := "tpm-ak/SIMULATED-tpm-maker.pem"
	roots, err := verifier.NewTrustStore([]verifier.RootFile{{Path: name, Data: load("roots/" + name)}})
	if err != nil {
		log.Fatal(err)
	}
	return roots
}

// A relying party holds a record against its policy and its roots, at a time
// that it says, with the nonce that it chose.
func ExampleVerify() {
	policy, err := verifier.ParsePolicy(load("policy.json"))
	if err != nil {
		log.Fatal(err)
	}
	in := verifier.Input{
		Policy: policy,
		Roots:  maker(),
		Now:    time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC),
		Nonce:  []byte("\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff"),
	}
	report, err := verifier.Verify(load("page.cer.json"), in)
	if err != nil {
		log.Fatal(err) // the input's fault, never the record's
	}
	fmt.Println(report.Trusted)
	for _, basis := range report.Assuming {
		fmt.Println("assuming", basis)
	}

	// The same record, by one who does not know that maker of TPMs.
	in.Roots = nil
	report, err = verifier.Verify(load("page.cer.json"), in)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(report.Headline)
	// Output:
	// true
	// assuming user-supplied root "SIMULATED TPM maker" bf2517761ba4d34b
	// assuming slot.measurement
	// assuming launcher.rooted
	// not trusted: slot.identity: no root of role tpm-ak is trusted
}

// Without a policy the answer is never "trusted"; it says whether the evidence
// is genuine.
func ExampleReport_WriteText() {
	report, err := verifier.Verify(load("page.cer.json"), verifier.Input{
		Roots: maker(), Now: time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC),
	})
	if err != nil {
		log.Fatal(err)
	}
	var text strings.Builder
	if err := report.WriteText(&text, false); err != nil {
		log.Fatal(err)
	}
	for _, line := range strings.Split(text.String(), "\n")[:5] {
		fmt.Println(line)
	}
	// Output:
	// not trusted: no policy given; evidence genuine, assuming: user-supplied root "SIMULATED TPM maker" bf2517761ba4d34b
	//
	// What is proven
	//   record           Record, log and statement are, byte for byte, what the launch key signed, and the
	//                    quote covers that statement.
}

// A launcher asks this of its own record before it releases it; whose key
// signed is the relying party's question.
func ExampleReport_Genuine() {
	report, err := verifier.Verify(load("page.cer.json"), verifier.Input{Now: time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(report.Genuine())
	report, err = verifier.Verify([]byte("{}\n"), verifier.Input{Now: time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(report.Genuine() != nil)
	// Output:
	// <nil>
	// true
}

// A policy can be made of a record that is known to be good. What nothing
// establishes on a software TPM has to be waived, with a reason.
func ExamplePolicyFromRecord() {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	_, err := verifier.PolicyFromRecord(load("golden.cer.json"), maker(), now, "golden job", nil)
	fmt.Println(err != nil)
	policy, err := verifier.PolicyFromRecord(load("golden.cer.json"), maker(), now, "golden job", []verifier.Waiver{
		{Check: "slot.measurement", Reason: "software TPM: nothing was booted"},
		{Check: "launcher.rooted", Reason: "software TPM: nothing was booted"},
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, c := range policy.Components {
		fmt.Printf("%s %q\n", c.Role, c.Name)
	}
	// Output:
	// true
	// launcher "sworn"
	// binary "/usr/bin/cat"
	// interpreter "/lib64/ld-linux-x86-64.so.2"
	// library "libc.so.6"
	// weights "default"
	// argv ""
	// env "SWORN_GOLDEN"
}

// Every check has an id, an order and a class; only required ones can be waived.
func ExampleCheckClass() {
	for _, id := range verifier.CheckIDs()[14:17] {
		class, _ := verifier.CheckClass(id)
		fmt.Println(id, class)
	}
	_, ok := verifier.CheckClass("slot.beauty")
	fmt.Println(ok)
	// Output:
	// slot.signature core
	// slot.identity required
	// slot.revocation required
	// false
}

// Reports are JSON by encoding/json; the schema says of what shape.
func ExampleReportSchema() {
	var schema struct {
		Title string `json:"title"`
	}
	if err := json.Unmarshal(verifier.ReportSchema(), &schema); err != nil {
		log.Fatal(err)
	}
	fmt.Println(schema.Title)
	// Output:
	// Sworn report, version 1
}
