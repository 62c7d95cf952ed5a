package ima_test

import (
	"encoding/hex"
	"fmt"
	"os"

	"github.com/sworn-run/sworn/internal/bootlog/ima"
)

func Example() {
	raw, err := os.ReadFile("../testdata/run-llm/ima_binary")
	if err != nil {
		fmt.Println(err)
		return
	}
	list, err := ima.Parse(raw)
	if err != nil {
		fmt.Println(err)
		return
	}
	// The value comes from a quote whose signature was verified.
	value, err := hex.DecodeString("648a2609a07c5a4217a3b0785d4f281bd8c54be1004d37bfb5fd4972e3d9d84c")
	if err != nil {
		fmt.Println(err)
		return
	}
	n, err := list.Confirmed(ima.Register, value)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, e := range list.Entries[:n] {
		fmt.Printf("%s %x\n", e.Path, e.Digest[:4])
	}
	// Output:
	// boot_aggregate 4f840e66
	// /bin/busybox 3d9f2889
	// /model.bin b0a507e7
	// /bin/tinyllm 17a851dc
	// /tok.bin 037cb335
}
