package main

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"
)

// storiesText is the SHA-256 of the text that the model stories260K gives in 200
// steps at temperature 0, as its publishers state it.
const storiesText = "f5a0e67db7424051520e7d8db9880b3dc2aa13577db570c28805c1b51c42eaf0"

var buildLlama = goBuild("llama", "github.com/sworn-run/sworn/examples/llama")

// A language model runs attested: the text is the published one, and the record
// is trusted under a policy made from the files.
func TestLlamaAttested(t *testing.T) {
	t.Parallel()
	shared := os.Getenv("SWORN_SHARED")
	if shared == "" {
		shared = filepath.Join("..", "..", "..", "shared")
	}
	model, err := filepath.Abs(filepath.Join(shared, "models", "stories260K.bin"))
	if err != nil {
		t.Fatal(err)
	}
	tokenizer := filepath.Join(filepath.Dir(model), "tok512.bin")
	for _, file := range []string{model, tokenizer} {
		if _, err := os.Stat(file); err != nil {
			t.Skipf("models/%s of the shared folder is absent", filepath.Base(file))
		}
	}
	llama, err := buildLlama()
	if err != nil {
		t.Fatal(err)
	}
	m := newMachine(t)
	flags := []string{"--weights", model, "--config", tokenizer, "--param", "temperature=0", "--param", "steps=200"}
	command := []string{llama, "-m", "{weights}", "-z", "{config}", "-n", "{param:steps}"}
	p := m.files(t, flags, command...)
	out := m.path("story.txt")
	file := m.run(t, "story", append(flags, "--nonce", testNonce, "--output", out), command...)
	sum := sha256.Sum256(m.read(t, "story.txt"))
	if got := hex.EncodeToString(sum[:]); got != storiesText {
		t.Errorf("SHA-256 of the text is %s, want %s", got, storiesText)
	}
	r := m.verify(t, file, p)
	trusted(t, r)
	if r.Summary.Output == nil || r.Summary.Output.SHA256 != storiesText {
		t.Errorf("the record's output: %+v", r.Summary.Output)
	}
	b, err := os.ReadFile(model)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] ^= 1
	flags[1] = m.write(t, "stories260K.bin", string(b))
	refused(t, "one bit of the weights", m.verify(t, m.run(t, "altered", append(flags, "--nonce", testNonce), command...), p), "components.match")
}
