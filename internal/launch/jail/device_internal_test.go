//go:build linux

package jail

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sworn-run/sworn/cer"
)

// TestKernelName: a node is known by its number, whatever it is called.
func TestKernelName(t *testing.T) {
	dir := t.TempDir()
	for number, name := range map[string]string{"10:123": "sev-guest", "10:124": "tdx_guest", "1:3": "null"} {
		if err := os.Symlink("../../devices/virtual/misc/"+name, filepath.Join(dir, number)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		kind, major, minor uint32
		want               string
		launcher           bool
	}{
		{unix.S_IFCHR, 10, 123, "sev-guest", true},
		{unix.S_IFCHR, 10, 124, "tdx_guest", true},
		{unix.S_IFCHR, 1, 3, "null", false},
		{unix.S_IFBLK, 10, 123, "", false},
		{unix.S_IFCHR, 10, 125, "", false}, // of no device
	} {
		got := kernelName(dir, &unix.Stat_t{Mode: c.kind | 0o666, Rdev: unix.Mkdev(c.major, c.minor)})
		if got != c.want || cer.LauncherDevice(got) != c.launcher {
			t.Errorf("%d:%d: %q, want %q", c.major, c.minor, got, c.want)
		}
	}
}
