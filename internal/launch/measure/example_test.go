package measure_test

import (
	"context"
	"fmt"
	"log"
	"strings"

	"github.com/sworn-run/sworn/internal/launch/measure"
)

// What a policy says of a file that holds one word.
func ExampleCopy() {
	const text = "weights\n"
	w := measure.Wanted{FSVerity: true, Flat: measure.FlatSmall}
	sums, err := measure.Copy(context.Background(), strings.NewReader(text), nil, uint64(len(text)), w, measure.Options{})
	if err != nil {
		log.Fatal(err)
	}
	for _, digest := range sums.Digests() {
		fmt.Println(digest)
	}
	// Output:
	// sha256:1b465fa6b6bcbc06a3199e3d2d8aec35d37494a712f888b6d5536684dd89d0f0
	// fsverity-sha256;block=4096:d5e3180b191e3e13bc813078c39e5aef7fcf23fdfdbfd5c2ce6baffba01764da
}
