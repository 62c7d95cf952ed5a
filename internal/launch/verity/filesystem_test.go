//go:build linux

package verity

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestCheckFilesystem(t *testing.T) {
	dir := t.TempDir()
	source, out := filepath.Join(dir, "w"), filepath.Join(dir, "img")
	if err := os.WriteFile(source, []byte("weights"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := MakeVolume(context.Background(), out, source, nil); err != nil {
		t.Fatal(err)
	}
	erofs, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	// What a file's data are is then in another device alone.
	files, blob := t.TempDir(), filepath.Join(dir, "blob")
	if err := os.WriteFile(filepath.Join(files, "w"), bytes.Repeat([]byte("weights\n"), 4096), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := tool(t.Context(), "mkfs.erofs", "--quiet", "--chunksize=4096", "--blobdev="+blob, filepath.Join(dir, "two"), files); err != nil {
		t.Fatal(err)
	}
	two, err := os.ReadFile(filepath.Join(dir, "two"))
	if err != nil {
		t.Fatal(err)
	}
	outer := func(at int) []byte {
		b := make([]byte, BlockSize)
		copy(b[1080:], "\x53\xef")
		b[at] = 8
		return b
	}
	blank := func(at int, magic string) []byte {
		b := make([]byte, BlockSize)
		copy(b[at:], magic)
		return b
	}
	both := func(at int, magic string) []byte {
		b := bytes.Clone(erofs)
		copy(b[at:], magic)
		return b
	}
	for name, c := range map[string]struct {
		data       []byte
		filesystem string
		ok         bool
	}{
		"made here":            {erofs, "erofs", true},
		"on two devices":       {two, "erofs", false},
		"a journal's device":   {outer(1024 + 0x60), "ext4", false},
		"journal elsewhere":    {outer(1024 + 0xe4), "ext4", false},
		"as another":           {erofs, "ext4", false},
		"ext4":                 {blank(1080, "\x53\xef"), "ext4", true},
		"squashfs":             {blank(0, "hsqs"), "squashfs", true},
		"squashfs and erofs":   {both(0, "hsqs"), "erofs", false},
		"erofs and squashfs":   {both(0, "hsqs"), "squashfs", false},
		"ext4 and erofs":       {both(1080, "\x53\xef"), "ext4", false},
		"none":                 {make([]byte, BlockSize), "erofs", false},
		"of an unknown kind":   {make([]byte, BlockSize), "xfs", false},
		"shorter than a block": {erofs[:BlockSize-1], "erofs", false},
	} {
		err := CheckFilesystem(bytes.NewReader(c.data), c.filesystem)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrVolume) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
