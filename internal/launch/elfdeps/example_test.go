package elfdeps_test

import (
	"fmt"
	"log"

	"github.com/sworn-run/sworn/internal/launch/elfdeps"
)

// A dynamic program needs its loader first of all.
func ExampleClosure() {
	res, err := elfdeps.Closure("/bin/bash", elfdeps.Options{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.Deps[0].Role)
	// Output: interpreter
}
