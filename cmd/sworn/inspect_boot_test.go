package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestInspectBootLogs shows the logs of a machine that booted: what digests cover as
// text, and the replay. Cut short, they are refused.
func TestInspectBootLogs(t *testing.T) {
	dir := filepath.Join("..", "..", "internal", "bootlog", "testdata", "run-llmsb")
	for name, want := range map[string][]string{
		"eventlog": {
			"its digest covers    \"Calling EFI Application from Boot Option\"", "called type 0x80000008", "replay of PCR 9 ",
		},
		"ima_binary": {"\"boot_aggregate\"", "replay of PCR 10", "\"/lib/modules/virtio.ko\""},
	} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		a := &app{stdout: &out}
		if err := a.inspectFile(b, false); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, w := range want {
			if !strings.Contains(out.String(), w) {
				t.Errorf("%s: %q is not in\n%s", name, w, out.String())
			}
		}
		if err := a.inspectFile(b[:len(b)-1], false); err == nil {
			t.Errorf("%s: shown, cut short", name)
		}
	}
}
