package cer_test

import (
	"errors"
	"fmt"

	"github.com/sworn-run/sworn/cer"
)

// A record is sealed, read back, and no longer intact after one edit.
func Example() {
	input, err := cer.TextValue("What is 2+2?")
	if err != nil {
		fmt.Println(err)
		return
	}
	output, err := cer.TextValue("The answer is 4.")
	if err != nil {
		fmt.Println(err)
		return
	}
	record, err := cer.Seal(cer.Snapshot{
		ProtocolVersion: cer.Protocol120,
		ExecutionID:     "example",
		Timestamp:       "2026-02-12T00:00:00.000Z",
		Provider:        "self-hosted",
		Model:           "adder",
		Prompt:          "sworn:none",
		Input:           input,
		Output:          output,
	}, "2026-02-12T00:00:01.000Z")
	if err != nil {
		fmt.Println(err)
		return
	}
	integrity, err := cer.VerifyIntegrity(record)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(integrity.Code, integrity.Projection)

	record[len(record)/2] ^= 1
	_, err = cer.VerifyIntegrity(record)
	refused, ok := errors.AsType[*cer.IntegrityError](err)
	fmt.Println(ok, refused.Code)
	// Output:
	// OK four-members
	// true CERTIFICATE_HASH_MISMATCH
}

// Two spellings of one value have one canonical form; a number that no double
// holds has none.
func ExampleCanonical() {
	for _, text := range []string{`{"b": 1E2, "a": "\u0041"}`, `{"n": 9007199254740993}`} {
		b, err := cer.Canonical([]byte(text))
		fmt.Printf("%s %v\n", b, errors.Is(err, cer.ErrStrict))
	}
	// Output:
	// {"a":"A","b":100} false
	//  true
}

// The record at index 1 of a batch of three is proved to be under its root.
func ExampleVerifyInclusion() {
	batch := [][32]byte{{1}, {2}, {3}}
	tree, err := cer.NewTree(batch)
	if err != nil {
		fmt.Println(err)
		return
	}
	path, err := tree.Inclusion(1)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(path), cer.VerifyInclusion(batch[1], 1, tree.Size(), path, tree.Root()))
	fmt.Println(errors.Is(cer.VerifyInclusion(batch[2], 1, tree.Size(), path, tree.Root()), cer.ErrHash))
	// Output:
	// 2 <nil>
	// true
}
