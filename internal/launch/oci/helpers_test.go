//go:build linux

package oci

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
)

// classes are the errors of this package.
var classes = []error{ErrUsage, ErrDigest, ErrFormat, ErrLimit, ErrUnsafe, ErrIO}

// oneClass checks that an error is of exactly one class.
func oneClass(tb testing.TB, err error) {
	tb.Helper()
	n := 0
	for _, class := range classes {
		if errors.Is(err, class) {
			n++
		}
	}
	if n != 1 {
		tb.Errorf("error %v is of %d classes", err, n)
	}
}

// epoch is when the files of test layers were written.
var epoch = time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)

// The kinds of entries.
func file(name, content string) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(content)), Uname: content}
}

func dir(name string) tar.Header {
	return tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o700}
}

func symlink(name, to string) tar.Header {
	return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to, Mode: 0o777}
}

func hardlink(name, to string) tar.Header {
	return tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: to, Mode: 0o644}
}

// with returns a header that was changed.
func with(h tar.Header, change func(*tar.Header)) tar.Header {
	change(&h)
	return h
}

// tarOf writes entries; the content of a file stands in Uname.
func tarOf(tb testing.TB, entries ...tar.Header) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		content := h.Uname
		h.Uname = ""
		if h.Typeflag != tar.TypeXGlobalHeader {
			h.ModTime = epoch
		}
		if err := w.WriteHeader(&h); err != nil {
			tb.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// packedLayer is a layer whose blob is not its tar.
type packedLayer struct {
	v1.Layer
	raw    []byte
	diffID v1.Hash
}

func (l packedLayer) DiffID() (v1.Hash, error) { return l.diffID, nil }
func (l packedLayer) Uncompressed() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(l.raw)), nil
}

// packed returns a layer of this media type over a tar.
func packed(tb testing.TB, raw []byte, mediaType types.MediaType) v1.Layer {
	tb.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	switch mediaType {
	case types.OCILayer, types.DockerLayer:
		w = gzip.NewWriter(&b)
	case types.OCILayerZStd:
		z, err := zstd.NewWriter(&b)
		if err != nil {
			tb.Fatal(err)
		}
		w = z
	default:
		return static.NewLayer(raw, mediaType)
	}
	if _, err := w.Write(raw); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	diffID, _, err := v1.SHA256(bytes.NewReader(raw))
	if err != nil {
		tb.Fatal(err)
	}
	return packedLayer{static.NewLayer(b.Bytes(), mediaType), raw, diffID}
}

// imageOf makes an image for this machine.
func imageOf(tb testing.TB, layers ...v1.Layer) v1.Image {
	tb.Helper()
	return imageFor(tb, runtime.GOARCH, layers...)
}

// imageFor makes an image for a processor.
func imageFor(tb testing.TB, arch string, layers ...v1.Layer) v1.Image {
	tb.Helper()
	img, err := mutate.ConfigFile(mutate.MediaType(empty.Image, types.OCIManifestSchema1), &v1.ConfigFile{
		OS: "linux", Architecture: arch, RootFS: v1.RootFS{Type: "layers"},
		Config: v1.Config{
			Entrypoint: []string{"/bin/busybox"}, Cmd: []string{"echo", "hello"},
			Env: []string{"PATH=/bin", "A=b=c"}, WorkingDir: "/tmp", User: "1000:1000",
			Healthcheck: &v1.HealthConfig{Interval: time.Second},
		},
	})
	if err != nil {
		tb.Fatal(err)
	}
	img = mutate.ConfigMediaType(img, types.OCIConfigJSON)
	if img, err = mutate.AppendLayers(img, layers...); err != nil {
		tb.Fatal(err)
	}
	return img
}

// plainImage makes an image of uncompressed layers.
func plainImage(tb testing.TB, layers ...[]byte) v1.Image {
	tb.Helper()
	var list []v1.Layer
	for _, raw := range layers {
		list = append(list, packed(tb, raw, types.OCIUncompressedLayer))
	}
	return imageOf(tb, list...)
}

// layoutOf writes a layout of one image, without a platform in its index.
func layoutOf(tb testing.TB, img v1.Image) string {
	tb.Helper()
	dir := filepath.Join(tb.TempDir(), "layout")
	p, err := layout.Write(dir, empty.Index)
	if err == nil {
		err = p.AppendImage(img)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return dir
}

// options returns usable options.
func options(tb testing.TB) Options {
	tb.Helper()
	return Options{Private: tb.TempDir(), MaxBytes: 64 << 20}
}

// unpack opens and unpacks, and checks what holds for every outcome.
func unpack(t *testing.T, ref string, o Options) (string, *Image, Summary, error) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "root")
	img, err := Open(t.Context(), ref, o)
	if (img == nil) == (err == nil) {
		t.Fatalf("image %v beside error %v", img, err)
	}
	var sum Summary
	if err == nil {
		sum, err = img.Unpack(t.Context(), dir)
	}
	if err != nil {
		oneClass(t, err)
		if _, stat := os.Lstat(dir); !errors.Is(stat, fs.ErrNotExist) || sum.Files != 0 || sum.Dropped != nil {
			t.Errorf("a root or a summary beside error %v", err)
		}
	}
	left, readErr := os.ReadDir(o.Private)
	if readErr != nil || len(left) > 0 {
		t.Errorf("%d files left in the private folder, %v", len(left), readErr)
	}
	return dir, img, sum, err
}

// mustUnpack unpacks what can be unpacked.
func mustUnpack(t *testing.T, img v1.Image) (string, Summary) {
	t.Helper()
	dir, _, sum, err := unpack(t, "oci:"+layoutOf(t, img), options(t))
	if err != nil {
		t.Fatal(err)
	}
	return dir, sum
}

// contents returns what a root holds: the content of files, "-> " and the target
// of links, "/" for folders.
func contents(t *testing.T, root string) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		name := strings.TrimPrefix(path, root+"/")
		switch d.Type() {
		case fs.ModeDir:
			got[name] = "/"
		case fs.ModeSymlink:
			to, err := os.Readlink(path)
			got[name] = "-> " + to
			return err
		default:
			b, err := os.ReadFile(path)
			got[name] = string(b)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// busybox returns the layer of a root with Debian's static busybox.
func busybox(tb testing.TB) []byte {
	tb.Helper()
	b, err := os.ReadFile("/bin/busybox")
	if err != nil {
		tb.Fatal(err)
	}
	return tarOf(tb, dir("bin/"), with(file("bin/busybox", string(b)), func(h *tar.Header) { h.Mode = 0o755 }),
		symlink("bin/sh", "busybox"), hardlink("bin/cat", "bin/busybox"), dir("etc"), file("etc/motd", "hello\n"))
}
