package modelfile_test

import (
	"bytes"
	"fmt"

	"github.com/sworn-run/sworn/internal/launch/modelfile"
)

// A safetensors file is a length, a header in JSON, and the tensors' bytes.
func ExampleRead() {
	header := `{"bias":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`
	file := append([]byte{byte(len(header)), 0, 0, 0, 0, 0, 0, 0}, header...)
	file = append(file, make([]byte, 8)...)
	info, err := modelfile.Read(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(info.Format, info.Facts)
	// Output: safetensors [{parameters 2} {tensor-types F32 1} {tensors 1}]
}
