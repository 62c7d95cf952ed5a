package launch

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestMakeImageVolumeLeft: what a killed one left beside the volume goes, and what a live
// one works in stays. Nothing stays of one that failed.
func TestMakeImageVolumeLeft(t *testing.T) {
	dir := t.TempDir()
	long := time.Now().Add(-2 * leftAfter)
	for _, name := range []string{"left", "live", "fresh"} {
		path := filepath.Join(dir, unpackPrefix+name)
		if err := os.MkdirAll(filepath.Join(path, "volume"), 0o700); err != nil {
			t.Fatal(err)
		}
		if name == "fresh" {
			continue
		}
		if err := os.Chtimes(path, long, long); err != nil {
			t.Fatal(err)
		}
	}
	live, err := lockFolder(filepath.Join(dir, unpackPrefix+"live"))
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	if _, err := MakeImageVolume(t.Context(), "oci:"+dir, filepath.Join(dir, "out.img"), nil); !errors.Is(err, ErrUsage) {
		t.Fatalf("an image of nothing: %v", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 || entries[0].Name() != unpackPrefix+"fresh" || entries[1].Name() != unpackPrefix+"live" {
		t.Errorf("left: %v, %v", entries, err)
	}
}
