package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/cer"
)

// ggufFile is a model of one tensor, with the header of a GGUF file, version 3.
func ggufFile(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	put := func(values ...any) {
		for _, v := range values {
			if s, ok := v.(string); ok {
				v = append(binary.LittleEndian.AppendUint64(nil, uint64(len(s))), s...)
			}
			if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
				t.Fatal(err)
			}
		}
	}
	const text, u32, q8 = 8, 4, 8
	b.WriteString("GGUF")
	put(uint32(3), uint64(1), uint64(3))
	put("general.architecture", uint32(text), "llama")
	put("general.name", uint32(text), "a model \x1b[31m of the tests")
	put("general.file_type", uint32(u32), uint32(7)) // mostly Q8_0
	put("w", uint32(1), uint64(64), uint32(q8), uint64(0))
	b.Write(make([]byte, (32-b.Len()%32)%32))
	b.Write(make([]byte, 2*34)) // 64 weights in two blocks
	return b.String()
}

// A record of a GGUF file names architecture and quantisation, as what the file
// says of itself. No check relies on it, and a policy says nothing of it.
func TestGGUF(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	weights := m.write(t, "model.gguf", ggufFile(t))
	flags := []string{"--weights", weights, "--output", m.path("out")}
	p := m.policy(t, m.run(t, "golden", flags, "/bin/cat", "{weights}"))
	record := m.run(t, "record", flags, "/bin/cat", "{weights}")
	r := m.verify(t, record, p)
	trusted(t, r)
	want := map[string]string{"format": "gguf", "architecture": "llama", "quantisation": "Q8_0", "parameters": "64", "tensors": "1"}
	for _, c := range r.Summary.Components {
		if c.Role != cer.RoleWeights {
			continue
		}
		got := map[string]string{}
		for _, f := range c.Described {
			got[f.Name] = f.Value
		}
		for name, value := range want {
			if !strings.EqualFold(got[name], value) {
				t.Errorf("%s is %q, want %q", name, got[name], value)
			}
		}
		if strings.Contains(got["name"], "\x1b") || !strings.Contains(got["name"], "of the tests") {
			t.Errorf("the name is %q", got["name"])
		}
	}
	var text bytes.Buffer
	if err := r.WriteText(&text, false); err != nil {
		t.Fatal(err)
	}
	if s := text.String(); !strings.Contains(s, `architecture="llama"`) || !strings.Contains(s, "the file's own word, checked by nobody") {
		t.Errorf("the report says:\n%s", s)
	}
	b, err := json.Marshal(p)
	if err != nil || bytes.Contains(b, []byte("llama")) {
		t.Errorf("the policy asks for what the file says of itself: %v", err)
	}

	// A header that lies describes nothing; the file runs all the same.
	lying := m.write(t, "lying.gguf", strings.Replace(ggufFile(t), "general.name", "general\x00name", 1)[:80])
	r = m.verify(t, m.run(t, "lying", []string{"--weights", lying, "--output", m.path("out2")}, "/bin/cat", "{weights}"), p)
	refused(t, "a header that lies", r, "components.match")
	for _, c := range r.Summary.Components {
		if len(c.Described) > 0 {
			t.Errorf("it is described as %v", c.Described)
		}
	}
}
