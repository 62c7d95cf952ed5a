package bootlog_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/bootlog"
)

func Example() {
	raw, err := os.ReadFile("testdata/run-llmsb/eventlog")
	if err != nil {
		fmt.Println(err)
		return
	}
	log, err := bootlog.Parse(raw, bootlog.PCRs)
	if err != nil {
		fmt.Println(err)
		return
	}
	// The values come from a quote whose signature was verified.
	facts, err := log.Appraise(attest.SHA256, quoted("testdata/run-llmsb/pcrs_sha256"), bootlog.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := bootlog.Require(facts.Registers, 4, 7, 11); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("Secure Boot", facts.SecureBoot.State)
	fmt.Println(len(facts.Images), "image, verified with", facts.Authorities.List[0].Name)
	for _, s := range facts.Sections.List {
		fmt.Printf("%s %x\n", s.Name, s.Digest[:4])
	}
	// Output:
	// Secure Boot enabled
	// 1 image, verified with db
	// .linux 51349501
	// .osrel ee602487
	// .cmdline a12a3fc5
	// .initrd 9214117a
}

// quoted reads register values.
func quoted(name string) []attest.RegisterValue {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil
	}
	var list map[uint32]string
	if err := json.Unmarshal(b, &list); err != nil {
		return nil
	}
	var out []attest.RegisterValue
	for i, s := range list {
		value, err := hex.DecodeString(s)
		if err != nil {
			return nil
		}
		out = append(out, attest.RegisterValue{Bank: attest.SHA256, Index: i, Value: value})
	}
	return out
}
