package predict_test

import (
	"fmt"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/bootlog/predict"
)

func Example() {
	extends, err := predict.MeasureSections([]predict.Section{
		{Name: ".linux", Content: []byte("a kernel")},
		{Name: ".cmdline", Content: []byte("quiet")},
	}, attest.SHA256)
	if err != nil {
		fmt.Println(err)
		return
	}
	value, err := predict.Value(attest.SHA256, extends)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("PCR %d will be %x\n", predict.Kernel, value)
	// Output: PCR 11 will be 8e33c451e03a225c684bb8a8458ff4d8c9868747ba205993aa058971726122b5
}
