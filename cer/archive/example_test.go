package archive_test

import (
	"bytes"
	"fmt"
	"log"

	"github.com/sworn-run/sworn/cer/archive"
	"github.com/sworn-run/sworn/testdata"
)

// Two records and the policy they were held against become one file, which tells of
// itself before any record is read.
func Example() {
	policy, err := testdata.Golden.ReadFile("golden/policy.json")
	if err != nil {
		log.Fatal(err)
	}
	b, err := archive.NewBuilder(&memory{}, "sworn v0.1.0", []archive.File{{Path: archive.DirPolicies + "policy.json", Data: policy}})
	if err != nil {
		log.Fatal(err)
	}
	for _, name := range []string{"page.cer.json", "golden.cer.json"} {
		capsule, err := testdata.Golden.ReadFile("golden/" + name)
		if err != nil {
			log.Fatal(err)
		}
		if err := b.Add(name, capsule); err != nil {
			log.Fatal(err)
		}
	}
	var file bytes.Buffer
	if err := b.Write(&file); err != nil {
		log.Fatal(err)
	}
	r, err := archive.Open(bytes.NewReader(file.Bytes()), int64(file.Len()))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(r.Head().Records, "records of", r.Head().Sets, "statements, by", r.Head().Verifier)
	fmt.Println(r.Head().Files[0].Path)
	// Output:
	// 2 records of 2 statements, by sworn v0.1.0
	// policies/policy.json
}
