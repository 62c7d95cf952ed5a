package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/verifier"
)

// entry is an entry of a cpio archive.
type entry struct {
	name, content string
	mode, links   int
}

// cpio writes an archive in format newc.
func cpio(entries ...entry) []byte {
	var b bytes.Buffer
	pad := func() { b.Write(make([]byte, -b.Len()&3)) }
	for _, e := range append(entries, entry{name: "TRAILER!!!", links: 1}) {
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
			0, e.mode, 0, 0, max(e.links, 1), 0, len(e.content), 0, 0, 0, 0, len(e.name)+1, 0)
		b.WriteString(e.name + "\x00")
		pad()
		b.WriteString(e.content)
		pad()
	}
	return b.Bytes()
}

func zipped(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(b)
	_ = z.Close()
	return out.Bytes()
}

func zstded(b []byte) []byte {
	z, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	return z.EncodeAll(b, nil)
}

func digestOf(s string) string { return cer.SHA256Digest(sha256.Sum256([]byte(s))) }

// TestLookInto finds a file by its digest in every form of an initial file system, and
// not one that a later file has taken the place of.
func TestLookInto(t *testing.T) {
	const file = 0o100755
	early := cpio(entry{name: "kernel/x86/microcode", content: "microcode", mode: 0o100644})
	sworn := cpio(entry{name: "bin", mode: 0o40755}, entry{name: "bin/sworn", content: "launcher", mode: file})
	other := cpio(entry{name: "./bin/sworn", content: "another", mode: file})
	link := cpio(entry{name: "bin/sworn", content: "launcher", mode: 0o120777})
	for name, c := range map[string]struct {
		initrd []byte
		found  bool
	}{
		"plain":             {sworn, true},
		"gzip":              {zipped(sworn), true},
		"zstd":              {zstded(sworn), true},
		"early, then gzip":  {slices.Concat(early, make([]byte, 512), zipped(sworn)), true},
		"early, then zstd":  {slices.Concat(early, zstded(sworn)), true},
		"two in one stream": {zipped(slices.Concat(early, sworn)), true},
		"replaced":          {slices.Concat(zipped(sworn), other), false},
		"replacing":         {slices.Concat(other, zipped(sworn)), true},
		"a link's target":   {link, false},
		"not there":         {early, false},
		"nothing":           {nil, false},
	} {
		got, err := lookInto(c.initrd, []string{digestOf("launcher"), digestOf("x")})
		want := map[string]string{}
		if c.found {
			want["/bin/sworn"] = digestOf("launcher")
		}
		if err != nil || !maps.Equal(got, want) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	for name, b := range map[string][]byte{
		"text":         []byte("hello"),
		"one byte":     []byte("0"),
		"cut":          sworn[:len(sworn)-40],
		"cut gzip":     zipped(sworn)[:30],
		"cut zstd":     zstded(sworn)[:30],
		"xz":           {0xfd, '7', 'z', 'X', 'Z', 0},
		"no name":      bytes.Replace(sworn, []byte("0000000400000000bin"), []byte("0000000000000000bin"), 1),
		"another form": bytes.Replace(sworn, []byte("070701"), []byte("070707"), 1),
		"no number":    append([]byte("070701"), bytes.Repeat([]byte{'x'}, 120)...),
	} {
		if got, err := lookInto(b, []string{digestOf("launcher")}); !errors.Is(err, errInitrd) || got != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// FuzzLookInto: whatever it is given, it ends with an answer or its error.
func FuzzLookInto(f *testing.F) {
	plain := cpio(entry{name: "bin/sworn", content: "launcher", mode: 0o100755})
	f.Add(plain)
	f.Add(zipped(plain))
	f.Add(zstded(plain))
	want := []string{digestOf("launcher")}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := lookInto(b, want)
		if (got == nil) == (err == nil) || err != nil && !errors.Is(err, errInitrd) {
			t.Fatalf("%v, %v", got, err)
		}
		for path, d := range got {
			if d != want[0] || path == "" {
				t.Fatalf("%q: %q", path, d)
			}
		}
	})
}

// TestAddImage: an image that differs in anything but its name is another, and the
// policy gets it; the same one stands once.
func TestAddImage(t *testing.T) {
	image := func(change func(x *verifier.BootImage)) *verifier.BootImage {
		x := &verifier.BootImage{
			Name: "a", Loaded: []string{"aa"}, Stub: [][]string{{"bb"}, {"cc"}}, Cmdline: "quiet", Launchers: []string{"dd"},
		}
		change(x)
		return x
	}
	var b verifier.BootPolicy
	for i, c := range []struct {
		change func(x *verifier.BootImage)
		want   int
	}{
		{func(*verifier.BootImage) {}, 1},
		{func(x *verifier.BootImage) { x.Name = "b" }, 1},
		{func(x *verifier.BootImage) { x.Stub[1][0] = "ce" }, 2},
		{func(x *verifier.BootImage) { x.Phases = []string{"enter-initrd"} }, 3},
		{func(x *verifier.BootImage) { x.Launchers[0] = "de" }, 4},
	} {
		addImage(&b, image(c.change))
		if len(b.Images) != c.want {
			t.Errorf("%d: %d images, want %d", i, len(b.Images), c.want)
		}
	}
}
