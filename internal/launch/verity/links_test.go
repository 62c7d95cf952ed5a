//go:build linux

package verity

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A volume holds files and no links to what is not in it: a link to a file is
// that file, and a folder with a link that leads out of it is refused.
func TestMakeVolumeLinks(t *testing.T) {
	dir := t.TempDir()
	blob, link := filepath.Join(dir, "blob"), filepath.Join(dir, "w.bin")
	if err := errors.Join(os.WriteFile(blob, []byte(strings.Repeat("weights", 9)), 0o644), os.Symlink("blob", link)); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "1.img")
	if _, err := MakeVolume(context.Background(), out, link, nil); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(out); err != nil || !strings.Contains(string(b), "weightsweights") || !strings.Contains(string(b), "w.bin") {
		t.Errorf("the image holds no file w.bin: %v", err)
	}
	for name, to := range map[string]string{
		"out.bin": "../blob", "absolute": blob, "host": "/etc/hostname", "dangling": "nothing", "own": filepath.Join(dir, "own", "w"),
	} {
		folder := filepath.Join(dir, name)
		err := errors.Join(os.Mkdir(folder, 0o755), os.WriteFile(filepath.Join(folder, "w"), []byte("x"), 0o644), os.Symlink(to, filepath.Join(folder, "link")))
		if err != nil {
			t.Fatal(err)
		}
		if v, err := MakeVolume(context.Background(), folder+".img", folder, nil); !errors.Is(err, ErrVolume) || v != nil {
			t.Errorf("a link to %s: %v", to, err)
		}
	}
	inside := filepath.Join(dir, "inside")
	if err := errors.Join(os.Mkdir(inside, 0o755), os.WriteFile(filepath.Join(inside, "w"), []byte("x"), 0o644), os.Symlink("w", filepath.Join(inside, "link"))); err != nil {
		t.Fatal(err)
	}
	if _, err := MakeVolume(context.Background(), inside+".img", inside, nil); err != nil {
		t.Errorf("a link inside: %v", err)
	}
}
