//go:build linux

package oci

import (
	"archive/tar"
	"bytes"
	"errors"
	"maps"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
)

// scanned checks what holds for every layer that a scan accepts.
func scanned(t *testing.T, l *layer) {
	t.Helper()
	kinds := map[string]byte{}
	for _, e := range l.entries {
		if _, twice := kinds[e.path]; twice || e.path == "." || path.IsAbs(e.path) || path.Clean(e.path) != e.path ||
			e.path == ".." || strings.HasPrefix(e.path, "../") || strings.ContainsRune(e.path, 0) {
			t.Errorf("path %q", e.path)
		}
		kinds[e.path] = e.kind
	}
	for _, e := range l.entries {
		for above := path.Dir(e.path); above != "."; above = path.Dir(above) {
			if kind, ok := kinds[above]; ok && kind != tar.TypeDir {
				t.Errorf("%q lies below %q", e.path, above)
			}
		}
		switch e.kind {
		case tar.TypeReg, tar.TypeDir:
		case tar.TypeSymlink, tar.TypeLink:
			if e.link == "" || e.kind == tar.TypeLink && (path.Clean(e.link) != e.link || strings.HasPrefix(e.link, "..")) {
				t.Errorf("%q links to %q", e.path, e.link)
			}
		default:
			t.Errorf("%q is of kind %q", e.path, e.kind)
		}
	}
	for _, name := range append(l.removed, l.opaque...) {
		if path.IsAbs(name) || path.Clean(name) != name || name == ".." || strings.HasPrefix(name, "../") {
			t.Errorf("removes %q", name)
		}
	}
}

// Any bytes as an upper layer: refused, or unpacked within the root.
func FuzzLayer(f *testing.F) {
	lower := tarOf(f, dir("a"), file("a/b", "c"), symlink("up", "../../.."), symlink("abs", "/"), symlink("d", "a"))
	seeds := [][]byte{
		lower, tarOf(f),
		tarOf(f, file("up/victim", "x"), file("abs/victim", "x"), file(".wh.a", ""), file("d/.wh..wh..opq", "")),
		tarOf(f, hardlink("h", "d/b"), symlink("a", ".."), dir("abs"), file("d/e", "f")),
		tarOf(f, file(".wh...", "")), tarOf(f, file("../a", "")),
		tarOf(f, with(file("p", "q"), func(h *tar.Header) { h.PAXRecords = map[string]string{"SCHILY.xattr.a": "b"} })),
	}
	for _, b := range seeds {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		budget := 1000
		var dropped report
		l, err := scan(t.Context(), bytes.NewReader(b), &budget, &dropped)
		if (l == nil) == (err == nil) {
			t.Fatalf("layer %v beside error %v", l, err)
		}
		if err != nil {
			oneClass(t, err)
			return
		}
		scanned(t, l)
		again := 1000
		l2, err := scan(t.Context(), bytes.NewReader(b), &again, &report{})
		if err != nil || len(l2.entries) != len(l.entries) || again != budget || budget < 0 {
			t.Errorf("a second scan differs: %v", err)
		}
		apply(t, lower, b)
	})
}

// entriesOf makes layers of a text: a line is an entry, its kind, name and link
// apart by spaces, and an empty line begins the next layer. What cannot be
// written as a tar is left out.
func entriesOf(text string) (layers [][]byte) {
	for part := range strings.SplitSeq(text, "\n\n") {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for line := range strings.SplitSeq(part, "\n") {
			fields := strings.SplitN(line+"  ", " ", 3)
			h := tar.Header{Name: fields[1], Linkname: strings.TrimSpace(fields[2]), Mode: 0o7777}
			switch fields[0] {
			case "f":
				h.Typeflag, h.Linkname = tar.TypeReg, ""
			case "d":
				h.Typeflag, h.Linkname = tar.TypeDir, ""
			case "l":
				h.Typeflag = tar.TypeSymlink
			case "h":
				h.Typeflag = tar.TypeLink
			default:
				h.Typeflag = tar.TypeFifo
			}
			_ = w.WriteHeader(&h)
		}
		if w.Close() == nil {
			layers = append(layers, b.Bytes())
		}
	}
	return layers
}

// Any entries in any number of layers: each layer is refused, or unpacked within
// the root.
func FuzzEntries(f *testing.F) {
	for _, text := range []string{
		"d a\nf a/b\nl up ../../..\nl abs /\nl d a\n\nf up/victim\nf abs/victim\nf .wh.a\nf d/.wh..wh..opq",
		"f a\nh b a\n\nh c b\nl a b\n\nf .wh.b\nd a\nf a/.wh..wh..opq",
		"l a b\nl b a\n\nf a/c\n\nh d a/c", "f .wh...\n\nf .wh..", "d a/b/c\n\nf a/b\n\nd a/b/c", "p pipe",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		layers := entriesOf(text)
		if len(layers) > 8 {
			return
		}
		for _, b := range layers {
			budget := 1000
			if l, err := scan(t.Context(), bytes.NewReader(b), &budget, &report{}); err == nil {
				scanned(t, l)
			}
		}
		apply(t, layers...)
	})
}

// apply unpacks layers beside a file that must stay as it is.
func apply(t *testing.T, layers ...[]byte) {
	t.Helper()
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "victim"), []byte("as it was"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(outside, "root"), 0o755); err != nil {
		t.Fatal(err)
	}
	root, err := openTree(filepath.Join(outside, "root"))
	if err != nil {
		t.Fatal(err)
	}
	u, budget := unpacker{root: root, buf: make([]byte, 4096)}, 1000
	for _, b := range layers {
		file, err := private(outside)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.Write(b); err != nil {
			t.Fatal(err)
		}
		if err := rewind(file); err != nil {
			t.Fatal(err)
		}
		if err := u.layer(t.Context(), file, &budget, &report{}); err != nil {
			oneClass(t, err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := root.inspect(t.Context()); err != nil {
		t.Errorf("the root: %v", err)
	}
	if err := root.close(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(outside, "victim"))
	all, dirErr := os.ReadDir(outside)
	if err := errors.Join(err, dirErr); err != nil || string(got) != "as it was" || len(all) != 2 {
		t.Errorf("outside: %q, %d names, %v", got, len(all), err)
	}
}

// Any bytes as a document, in each place that a document can have.
func FuzzDocument(f *testing.F) {
	img := imageOf(f, packed(f, tarOf(f, file("a", "b")), types.OCILayer))
	manifest, err := img.RawManifest()
	if err != nil {
		f.Fatal(err)
	}
	config, err := img.RawConfigFile()
	if err != nil {
		f.Fatal(err)
	}
	index, err := os.ReadFile(filepath.Join(layoutOf(f, img), "index.json"))
	if err != nil || len(index) == 0 || len(manifest) == 0 || len(config) == 0 {
		f.Fatalf("no seed: %v", err)
	}
	for _, b := range [][]byte{manifest, config, index} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseManifest(b, "")
		if (m == nil) == (err == nil) {
			t.Errorf("manifest %v beside error %v", m, err)
		}
		if err != nil {
			oneClass(t, err)
		} else {
			if len(m.Layers) == 0 || len(m.Layers) > maxLayers {
				t.Errorf("%d layers", len(m.Layers))
			}
			for _, d := range append(m.Layers, m.Config) {
				if d.Digest.Validate() != nil || d.Digest.Algorithm() != digest.SHA256 || d.Size < 0 {
					t.Errorf("descriptor %+v", d)
				}
			}
			if d, err := choose(b, "", ""); err == nil {
				t.Errorf("a manifest is an index too: %+v", d)
			}
		}
		c, err := parseConfig(b)
		if (c == nil) == (err == nil) {
			t.Errorf("config %v beside error %v", c, err)
		}
		if err != nil {
			oneClass(t, err)
		}
		d, err := choose(b, "", "")
		if err != nil {
			oneClass(t, err)
		} else if d.Digest.Validate() != nil || d.Size < 0 || !isIndex(d.MediaType) && !isManifest(d.MediaType) {
			t.Errorf("descriptor %+v", d)
		}
	})
}

// Any bytes as an archive.
func FuzzArchive(f *testing.F) {
	seeds := [][]byte{
		tarOf(f, file("manifest.json", "[]"), dir("a"), file("./a/layer.tar", "x"), symlink("b", "a/layer.tar")),
		tarOf(f, file("oci-layout", "{}"), file("index.json", "{}")),
	}
	for _, b := range seeds {
		if len(b) == 0 {
			f.Fatal("an empty seed")
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := listArchive(t.Context(), bytes.NewReader(b))
		if (got == nil) == (err == nil) {
			t.Fatalf("%d members beside error %v", len(got), err)
		}
		if err != nil {
			oneClass(t, err)
			return
		}
		contents := map[string][]byte{}
		for name, m := range got {
			if m.link != "" {
				continue
			}
			if m.offset < 0 || m.size < 0 || m.offset+m.size > int64(len(b)) {
				t.Fatalf("%q: %d bytes at %d of %d", name, m.size, m.offset, len(b))
			}
			contents[name] = b[m.offset : m.offset+m.size]
		}
		again, err := listArchive(t.Context(), bytes.NewReader(b))
		if err != nil || !maps.Equal(got, again) {
			t.Errorf("a second reading differs: %v", err)
		}
		// What the offsets lead to is what the tar reader reads.
		r := tar.NewReader(bytes.NewReader(b))
		for h, err := r.Next(); err == nil; h, err = r.Next() {
			want, ok := contents[path.Clean(h.Name)]
			if h.Typeflag != tar.TypeReg {
				continue
			}
			var all bytes.Buffer
			if _, err := all.ReadFrom(r); err != nil || !ok || !bytes.Equal(all.Bytes(), want) {
				t.Errorf("%q: %d bytes, not %d, %v", h.Name, len(want), all.Len(), err)
			}
		}
	})
}

// Any text as a reference.
func FuzzReference(f *testing.F) {
	seeds := []string{"oci:a", "oci:a:b/c:d", "a.tar", "a@sha256:" + strings.Repeat("0", 64), "oci:@", "oci:a@b:c"}
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := parseReference(s)
		if err != nil {
			oneClass(t, err)
			return
		}
		if !filepath.IsAbs(r.path) || r.tag != "" && (r.digest != "" || !r.layout) || r.digest != "" && !strings.HasSuffix(s, string(r.digest)) {
			t.Errorf("%q is %+v", s, r)
		}
	})
}
