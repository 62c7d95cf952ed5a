//go:build linux

package verity

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const root = "00000000000000000000000000000000000000000000000000000000000000ab"

func good() Volume {
	return Volume{Type: VolumeType, Image: "m.img", Filesystem: "erofs", DataBlocks: 3, HashOffset: 4 * 4096, Root: root, Salt: "00ff"}
}

func TestVolumeTable(t *testing.T) {
	v := good()
	want := "1 7:3 7:3 4096 4096 3 4 sha256 " + root + " 00ff"
	if got := v.table("7:3"); got != want {
		t.Errorf("table is %q, want %q", got, want)
	}
	v.Salt = ""
	if got := v.table("7:3"); !strings.HasSuffix(got, " -") {
		t.Errorf("without salt: %q", got)
	}
	spec := target(&v, "7:3")
	if cstring(spec[24:dmSpec]) != "verity" || cstring(spec[dmSpec:]) != v.table("7:3") || len(spec)%8 != 0 || spec[8] != 24 {
		t.Errorf("target is %x", spec)
	}
}

func TestParseVolume(t *testing.T) {
	for name, change := range map[string]func(*Volume){
		"nothing":           func(*Volume) {},
		"type":              func(v *Volume) { v.Type = "sworn.dm-verity/v2" },
		"no image":          func(v *Volume) { v.Image = "" },
		"file system":       func(v *Volume) { v.Filesystem = "fuse" },
		"no data":           func(v *Volume) { v.DataBlocks = 0 },
		"much data":         func(v *Volume) { v.DataBlocks = 1<<40 + 1; v.HashOffset = 1 << 53 },
		"tree in the data":  func(v *Volume) { v.HashOffset = 2 * 4096 },
		"tree off a block":  func(v *Volume) { v.HashOffset++ },
		"tree far away":     func(v *Volume) { v.HashOffset = 1 << 60 },
		"root cut":          func(v *Volume) { v.Root = v.Root[2:] },
		"root in capitals":  func(v *Volume) { v.Root = strings.ToUpper(v.Root) },
		"salt of half":      func(v *Volume) { v.Salt = "0" },
		"salt in capitals":  func(v *Volume) { v.Salt = "AB" },
		"salt of 257 bytes": func(v *Volume) { v.Salt = strings.Repeat("00", 257) },
		"image with NUL":    func(v *Volume) { v.Image = "a\x00b" },
	} {
		v := good()
		change(&v)
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseVolume(b)
		switch {
		case name == "nothing" && (err != nil || *got != v):
			t.Errorf("%s: %+v, %v", name, got, err)
		case name != "nothing" && (got != nil || !errors.Is(err, ErrVolume)):
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	whole, _ := json.Marshal(good())
	for name, text := range map[string]string{
		"empty": "", "not JSON": "{", "data after it": string(whole) + "{}", "a list": "[]",
		"unknown member": strings.Replace(string(whole), "{", `{"check_at_most_once":true,`, 1),
		"member twice":   strings.Replace(string(whole), "{", `{"root":"`+strings.Repeat("00", 32)+`",`, 1),
		"in capitals":    strings.Replace(string(whole), `"root"`, `"ROOT"`, 1),
		"no UTF-8":       strings.Replace(string(whole), "m.img", "m\xff.img", 1),
		"too long":       string(whole) + strings.Repeat(" ", 64<<10),
	} {
		if v, err := ParseVolume([]byte(text)); v != nil || !errors.Is(err, ErrVolume) {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
	}
}

func FuzzParseVolume(f *testing.F) {
	b, err := json.Marshal(good())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(bytes.Replace(b, []byte("erofs"), []byte("ext4"), 1))
	f.Add(append(b[:len(b)-1], `,"oci":{"manifest":"sha256:`+root+`","cmd":[],"working_dir":"/"}}`...))
	v := good()
	v.OCI = goodImage()
	if b, err = json.Marshal(v); err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := ParseVolume(b)
		if err != nil {
			if v != nil || !errors.Is(err, ErrVolume) {
				t.Fatalf("%+v, %v", v, err)
			}
			return
		}
		again, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		w, err := ParseVolume(again)
		if err != nil || !cmp.Equal(v, w) {
			t.Fatalf("not the same after a round trip: %v", err)
		}
		if v.OCI != nil {
			// What the volume must hold is the same text after a round trip.
			a, err1 := v.OCI.Encode()
			b, err2 := w.OCI.Encode()
			if err := errors.Join(err1, err2); err != nil || !bytes.Equal(a, b) {
				t.Fatalf("%s and %s: %v", a, b, err)
			}
		}
		if _, salt, err := v.Digest(); err != nil || len(salt) > maxSalt {
			t.Fatalf("digest: %v", err)
		}
		if strings.Count(v.table("7:0"), " ") != 9 {
			t.Fatalf("the table has other parameters: %q", v.table("7:0"))
		}
	})
}

// Two images of the same files are the same, and a superblock that says something
// else changes nothing: it is not read.
func TestMakeVolume(t *testing.T) {
	dir, source := t.TempDir(), filepath.Join(t.TempDir(), "model")
	if err := errors.Join(os.Mkdir(source, 0o755), os.WriteFile(filepath.Join(source, "w.bin"), bytes.Repeat([]byte("weights"), 99999), 0o644)); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	one, two := filepath.Join(dir, "1.img"), filepath.Join(dir, "2.img")
	a, err1 := MakeVolume(ctx, one, source, []byte{1, 2})
	b, err2 := MakeVolume(ctx, two, source, []byte{1, 2})
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	x, err1 := os.ReadFile(one)
	y, err2 := os.ReadFile(two)
	if err := errors.Join(err1, err2); err != nil || !bytes.Equal(x, y) || a.Root != b.Root {
		t.Errorf("two images differ: %v", err)
	}
	text, err := os.ReadFile(one + ".json")
	if err != nil {
		t.Fatal(err)
	}
	if v, err := ParseVolume(text); err != nil || !cmp.Equal(v, a) {
		t.Errorf("the description reads %+v, %v", v, err)
	}
	if _, err := tool(ctx, "veritysetup", "verify", "--hash-offset", "0", one, one, a.Root); err == nil {
		t.Error("veritysetup accepts a superblock at the wrong place")
	}
	if st, err := os.Stat(one); err != nil || uint64(st.Size()) < a.HashOffset+BlockSize {
		t.Errorf("the image holds %v, no tree: %v", st, err)
	}
	if _, err := MakeVolume(ctx, one, source, nil); !errors.Is(err, ErrVolume) {
		t.Errorf("an image is overwritten: %v", err)
	}
	if err := os.Chmod(filepath.Join(source, "w.bin"), 0o600); err != nil {
		t.Fatal(err)
	}
	three := filepath.Join(dir, "3.img")
	if v, err := MakeVolume(ctx, three, source, nil); !errors.Is(err, ErrVolume) || v != nil {
		t.Errorf("a file that the job cannot read: %v", err)
	}
	if _, err := os.Lstat(three); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something is left behind: %v", err)
	}
}

// Without the kernel's dm-verity a volume is refused, and nothing stays behind.
func TestOpenRefused(t *testing.T) {
	dir := t.TempDir()
	v := good()
	if d, err := Open(&v, dir); d != nil || !errors.Is(err, ErrVolume) {
		t.Errorf("no image: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "m.img"), make([]byte, 3*4096), 0o600); err != nil {
		t.Fatal(err)
	}
	if d, err := Open(&v, dir); d != nil || !errors.Is(err, ErrVolume) {
		t.Errorf("an image without its tree: %v", err)
	}
	if d, err := Open(&Volume{}, dir); d != nil || !errors.Is(err, ErrVolume) {
		t.Errorf("the zero volume: %v", err)
	}
	if _, err := os.Stat(dmControl); err == nil {
		return // it would be made
	}
	if err := os.WriteFile(filepath.Join(dir, "m.img"), make([]byte, 5*4096), 0o600); err != nil {
		t.Fatal(err)
	}
	if d, err := Open(&v, dir); d != nil || !errors.Is(err, ErrUnsupported) {
		t.Errorf("without a device mapper: %v", err)
	}
}

// An ordinary file has no fs-verity, wherever it is.
func TestMeasureNone(t *testing.T) {
	for _, dir := range []string{t.TempDir(), "/dev/shm"} {
		f, err := os.CreateTemp(dir, "verity")
		if err != nil {
			t.Fatal(err)
		}
		if d, err := Measure(f); !errors.Is(err, ErrNone) || d != [32]byte{} {
			t.Errorf("%s: %x, %v", dir, d, err)
		}
		if err := errors.Join(f.Close(), os.Remove(f.Name())); err != nil {
			t.Error(err)
		}
	}
}
