package tpmdev

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/sworn-run/sworn/internal/bootlog/ima"
	"github.com/sworn-run/sworn/internal/limits"
)

// TestChip: the kernel's logs are read of the TPM that is open, whatever its node is
// called, and of none that is no TPM.
func TestChip(t *testing.T) {
	for node, want := range map[string]string{
		"tpm0": "tpm0", "tpmrm0": "tpm0", "tpm12": "tpm12", "tpmrm3": "tpm3",
		"tpm": "", "tpmrm": "", "tpmx": "", "vtpmx": "", "null": "", "tpm0x": "", "tpm../0": "",
	} {
		if got := chip(node); got != want {
			t.Errorf("%s: %q, want %q", node, got, want)
		}
	}
	f, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got := kernelTPM(f); got != "" {
		t.Errorf("/dev/null is %q", got)
	}
}

// TestEventLog reads the firmware's log of a TPM of the kernel's; there is none of
// another TPM, and one that is too long is an error.
func TestEventLog(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "tpm0", logName)
	if err := os.Mkdir(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		content []byte
		want    []byte
		err     error
	}{
		{[]byte("log"), []byte("log"), nil},
		{nil, nil, nil},
		{make([]byte, limits.CollateralItem), make([]byte, limits.CollateralItem), nil},
		{make([]byte, limits.CollateralItem+1), nil, ErrDevice},
	} {
		if err := os.WriteFile(name, c.content, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := (&TPM{chip: "tpm0", security: dir}).EventLog(t.Context())
		if !bytes.Equal(got, c.want) || !errors.Is(err, c.err) {
			t.Errorf("%d bytes: %d bytes, %v", len(c.content), len(got), err)
		}
	}
	for _, other := range []*TPM{{security: dir}, {chip: "tpm1", security: dir}} {
		if got, err := other.EventLog(t.Context()); got != nil || err != nil {
			t.Errorf("TPM %q: %d bytes, %v", other.chip, len(got), err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (&TPM{chip: "tpm0", security: dir}).EventLog(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestCarried: what a rule of the kernel's policy had measured into another register is
// not carried, because nothing would say whether it is so.
func TestCarried(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "internal", "bootlog", "testdata", "run-llm", "ima_binary"))
	if err != nil {
		t.Fatal(err)
	}
	list, err := ima.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if got := carried(list.Entries); !bytes.Equal(got, b) {
		t.Errorf("%d bytes of %d", len(got), len(b))
	}
	foreign := list.Entries[1]
	foreign.Index = 11
	if got := carried(slices.Insert(slices.Clone(list.Entries), 1, foreign)); !bytes.Equal(got, b) {
		t.Errorf("with another register's: %d bytes of %d", len(got), len(b))
	}
	if got := carried([]ima.Entry{foreign}); got != nil {
		t.Errorf("of another register alone: %d bytes", len(got))
	}
	if got := carried(nil); got != nil {
		t.Errorf("of nothing: %d bytes", len(got))
	}
}
