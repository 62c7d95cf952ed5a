//go:build vm

package machine_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// modelFiles returns the paths of a model and its tokenizer: those of the folder
// that SWORN_SHARED names, or else random ones, always the same.
func modelFiles(t *testing.T) (model, tokenizer string) {
	t.Helper()
	if shared := os.Getenv("SWORN_SHARED"); shared != "" {
		dir := filepath.Join(shared, "models")
		model, tokenizer = filepath.Join(dir, "stories260K.bin"), filepath.Join(dir, "tok512.bin")
		if _, err := os.Stat(model); err == nil {
			return model, tokenizer
		}
	}
	dir := t.TempDir()
	model, tokenizer = filepath.Join(dir, "model.bin"), filepath.Join(dir, "tokenizer.bin")
	for file, b := range map[string][]byte{model: randomModel(), tokenizer: byteTokenizer()} {
		if err := os.WriteFile(file, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return model, tokenizer
}

// bytesVocabulary is a vocabulary of three marks and every byte.
const bytesVocabulary = 3 + 256

// randomModel returns a model of the format of llama2.c with small weights.
func randomModel() []byte {
	const dim, hidden, layers, heads, kvHeads, context = 64, 172, 5, 8, 4, 64
	const kv = dim * kvHeads / heads
	var b []byte
	for _, v := range []uint32{dim, hidden, layers, heads, kvHeads, bytesVocabulary, context} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	floats := bytesVocabulary*dim + layers*(2*dim+2*dim*dim+2*dim*kv+3*dim*hidden) + dim + context*dim/heads
	random := rand.NewPCG(1, 2)
	for range floats {
		w := float32(int64(random.Uint64()>>40)-1<<23) / (1 << 25)
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(w))
	}
	return b
}

// byteTokenizer returns the tokenizer of that vocabulary.
func byteTokenizer() []byte {
	tokens := []string{"<unk>", "\n<s>\n", "\n</s>\n"}
	for i := range 256 {
		tokens = append(tokens, fmt.Sprintf("<0x%02X>", i))
	}
	b := binary.LittleEndian.AppendUint32(nil, 6)
	for _, text := range tokens {
		b = binary.LittleEndian.AppendUint32(b, 0)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(text)))
		b = append(b, text...)
	}
	return b
}
