//go:build linux

package verity

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func goodImage() *Image {
	return &Image{
		Manifest: "sha256:" + root, Entrypoint: []string{"/bin/cat"}, Cmd: []string{"<motd>"}, Env: []string{"PATH=/bin"}, WorkingDir: "/etc",
	}
}

// imageFolder makes the tree of an image, as unpacked at a time.
func imageFolder(t *testing.T, when time.Time) string {
	t.Helper()
	folder := t.TempDir()
	tree := filepath.Join(folder, ImageTree)
	file := filepath.Join(tree, "etc", "motd")
	err := errors.Join(
		os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, bytes.Repeat([]byte("text\n"), 9999), 0o644), os.Symlink("/nowhere", filepath.Join(tree, "link")),
		os.Chtimes(file, time.Unix(1e9, 0), time.Unix(1e9, 0)), os.Chtimes(filepath.Dir(file), when, when), os.Chtimes(tree, when, when),
	)
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(tree, "link")
	if _, err := tool(t.Context(), "touch", "-h", "-d", "@5", link); err != nil {
		t.Fatal(err)
	}
	return folder
}

// The same image and salt give the same volume, whenever it was unpacked, and what it
// says of itself stands in it and in its description.
func TestMakeImage(t *testing.T) {
	dir := t.TempDir()
	volume := func(name string, when time.Time, image *Image) ([]byte, *Volume) {
		t.Helper()
		out := filepath.Join(dir, name)
		v, err := MakeImage(t.Context(), out, imageFolder(t, when), image, []byte{1})
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(out + ".json")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ParseVolume(text); err != nil || !cmp.Equal(got, v) || !cmp.Equal(got.OCI, image) {
			t.Errorf("%s: the description reads %+v, %v", name, got, err)
		}
		return b, v
	}
	a, v := volume("a.img", time.Unix(2e9, 0), goodImage())
	b, _ := volume("b.img", time.Unix(1.5e9, 7), goodImage())
	if !bytes.Equal(a, b) {
		t.Error("the volumes of one image differ")
	}
	text, err := v.OCI.Encode()
	if err != nil || !bytes.Contains(a, text) {
		t.Errorf("the volume does not hold %s, %v", text, err)
	}
	other := goodImage()
	other.WorkingDir = "/"
	if _, w := volume("c.img", time.Unix(2e9, 0), other); w.Root == v.Root {
		t.Error("another working folder does not change the root")
	}
	if dump, err := tool(t.Context(), "dump.erofs", "--path=/root/etc/motd", filepath.Join(dir, "a.img")); err != nil || !strings.Contains(dump, "2001-09-09") {
		t.Errorf("the file's time is lost: %s, %v", dump, err)
	}
}

func TestMakeImageRefused(t *testing.T) {
	out := filepath.Join(t.TempDir(), "a.img")
	long := goodImage()
	long.Env = []string{"X=" + strings.Repeat("x", maxDescription)}
	for name, image := range map[string]*Image{"nothing": {}, "long": long} {
		if v, err := MakeImage(t.Context(), out, imageFolder(t, time.Unix(0, 0)), image, nil); v != nil || !errors.Is(err, ErrVolume) {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
	}
	left, err := filepath.Glob(out + "*")
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

func TestParseImage(t *testing.T) {
	for name, change := range map[string]func(*Volume){
		"nothing":                 func(*Volume) {},
		"no manifest":             func(v *Volume) { v.OCI.Manifest = "" },
		"manifest in capitals":    func(v *Volume) { v.OCI.Manifest = strings.ToUpper(v.OCI.Manifest) },
		"manifest cut":            func(v *Volume) { v.OCI.Manifest = v.OCI.Manifest[:70] },
		"no working folder":       func(v *Volume) { v.OCI.WorkingDir = "" },
		"working folder relative": func(v *Volume) { v.OCI.WorkingDir = "etc" },
		"working folder unclean":  func(v *Volume) { v.OCI.WorkingDir = "/etc/.." },
		"working folder NUL":      func(v *Volume) { v.OCI.WorkingDir = "/e\x00" },
		"command with NUL":        func(v *Volume) { v.OCI.Cmd = []string{"a", "\x00"} },
		"variable with NUL":       func(v *Volume) { v.OCI.Env = []string{"A=\x00"} },
		"on ext4":                 func(v *Volume) { v.Filesystem = "ext4" },
	} {
		v := good()
		v.OCI = goodImage()
		change(&v)
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseVolume(b)
		switch {
		case name == "nothing" && (err != nil || !cmp.Equal(*got, v)):
			t.Errorf("%s: %+v, %v", name, got, err)
		case name != "nothing" && (got != nil || !errors.Is(err, ErrVolume)):
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}
