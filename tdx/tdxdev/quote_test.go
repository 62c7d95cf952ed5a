package tdxdev

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// FuzzExact: what is returned is a prefix of what came, over the data asked for, and is
// found whole again; else the error is ErrDevice.
func FuzzExact(f *testing.F) {
	data := bytes.Repeat([]byte{7}, 64)
	for _, version := range []uint16{4, 5} {
		b := make([]byte, 48+6+584+4+10)
		binary.LittleEndian.PutUint16(b, version)
		b[4] = 0x81
		at := 48
		if version == 5 {
			binary.LittleEndian.PutUint32(b[50:], 584)
			at += 6
		}
		copy(b[at+520:], data)
		b[at+584] = 3
		if _, err := exact(b, data); err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(append(b, 1))
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := exact(b, data)
		if err != nil {
			if got != nil || !errors.Is(err, ErrDevice) {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
			return
		}
		if !bytes.HasPrefix(b, got) || !bytes.Contains(got, data) {
			t.Fatalf("not a quote: %x", got)
		}
		if again, err := exact(got, data); err != nil || !bytes.Equal(again, got) {
			t.Fatalf("not the same again: %v", err)
		}
	})
}

// TestRealQuotes: genuine quotes are found to end where they end.
func TestRealQuotes(t *testing.T) {
	found := 0
	err := filepath.WalkDir("../../../shared/evidence/tdx", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil || len(b) < 700 || b[4] != 0x81 || b[5]|b[6]|b[7] != 0 || b[0] != 4 && b[0] != 5 {
			return err
		}
		found++
		at := 48 + 520
		if b[0] == 5 {
			at += 6
		}
		got, err := exact(b, b[at:at+64])
		if err != nil || len(got) < 4900 || len(got) > 5100 {
			t.Errorf("%s: %d of %d bytes, %v", path, len(got), len(b), err)
		}
		return nil
	})
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("no evidence beside the repository")
	}
	if err != nil || found < 3 {
		t.Errorf("%d quotes, %v", found, err)
	}
}
