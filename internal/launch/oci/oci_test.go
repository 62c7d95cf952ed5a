//go:build linux

package oci

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
)

// tarFolder writes a folder as a tar.
func tarFolder(t *testing.T, folder string) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.AddFS(os.DirFS(folder)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return write(t, b.Bytes())
}

// write writes a file.
func write(t *testing.T, b []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "image.tar")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// savedArchive writes what docker save wrote before version 25: uncompressed
// layers, one of them a link.
func savedArchive(t *testing.T, layers ...[]byte) string {
	t.Helper()
	img := plainImage(t, slices.Concat(layers, layers[:1])...)
	config, err := img.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	id := digest.FromBytes(config).Encoded() + ".json"
	var entries []tar.Header
	var names []string
	for i, raw := range layers {
		at := string(rune('a' + i))
		entries = append(entries, dir(at+"/"), file(at+"/VERSION", "1.0"), file(at+"/layer.tar", string(raw)))
		names = append(names, `"`+at+`/layer.tar"`)
	}
	names = append(names, `"z/layer.tar"`)
	entries = append(entries, dir("z"), symlink("z/layer.tar", "../a/layer.tar"), file(id, string(config)),
		file("manifest.json", `[{"Config":"`+id+`","RepoTags":["a:b"],"Layers":[`+strings.Join(names, ",")+`]}]`))
	return write(t, tarOf(t, entries...))
}

func TestForms(t *testing.T) {
	first := busybox(t)
	second := tarOf(t, file("etc/.wh.motd", ""), file("etc/issue", "there\n"))
	img := imageOf(t, packed(t, first, types.OCILayer), packed(t, second, types.OCILayerZStd))
	want, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	folder := layoutOf(t, img)
	docker := filepath.Join(t.TempDir(), "docker.tar")
	if err := tarball.WriteToFile(docker, name.MustParseReference("busybox:latest"), img); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, ref string
		made      bool
	}{
		{"layout", "oci:" + folder, false},
		{"layout by digest", "oci:" + folder + "@" + want.String(), false},
		{"layout in a tar", tarFolder(t, folder), false},
		{"docker archive, packed", docker, true},
		{"docker archive", savedArchive(t, first, second), true},
	} {
		t.Run(test.name, func(t *testing.T) {
			root, got, sum, err := unpack(t, test.ref, options(t))
			if err != nil {
				t.Fatal(err)
			}
			if got.Made != test.made || string(digest.FromBytes(got.Manifest)) != got.ManifestDigest ||
				!test.made && got.ManifestDigest != want.String() {
				t.Errorf("manifest %s, made: %v", got.ManifestDigest, got.Made)
			}
			config := Config{[]string{"/bin/busybox"}, []string{"echo", "hello"}, []string{"PATH=/bin", "A=b=c"}, "/tmp", "1000:1000"}
			if diff := cmp.Diff(config, got.Config); diff != "" {
				t.Error(diff)
			}
			size := int64(len(contents(t, root)["bin/busybox"]))
			if sum.Files < 3 || sum.Folders != 2 || sum.Links != 1 || sum.Bytes < size || sum.Bytes > size+100 {
				t.Errorf("summary %+v, busybox %d", sum, size)
			}
			out, err := exec.Command(filepath.Join(root, "bin/sh"), "-c", "echo hello").Output()
			if err != nil || string(out) != "hello\n" {
				t.Errorf("busybox: %q, %v", out, err)
			}
			// The digest that was measured is the one to name the image by.
			if _, err := Open(t.Context(), strings.SplitN(test.ref, "@", 2)[0]+"@"+got.ManifestDigest, options(t)); err != nil {
				t.Error(err)
			}
			other := "@sha256:" + strings.Repeat("0", 64)
			if img, err := Open(t.Context(), strings.SplitN(test.ref, "@", 2)[0]+other, options(t)); err == nil {
				t.Errorf("another digest gives %+v", img)
			}
		})
	}
}

// A manifest that is made must never change its form: it is measured.
func TestMadeManifest(t *testing.T) {
	img, err := Open(t.Context(), savedArchive(t, tarOf(t, file("a", "b"))), options(t))
	if err != nil {
		t.Fatal(err)
	}
	config := img.Manifest[bytes.Index(img.Manifest, []byte("sha256:")):][:71]
	size := string(img.Manifest[bytes.Index(img.Manifest, []byte(`"size":`))+7:][:3])
	l := `{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"` + img.Layers[0].DiffID + `","size":2048}`
	want := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":` +
		`{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"` + string(config) + `","size":` + size + `},` +
		`"layers":[` + l + `,` + l + `]}`
	if string(img.Manifest) != want {
		t.Errorf("manifest %s\nwant %s", img.Manifest, want)
	}
}

// Another implementation flattens the same layers to the same root.
func TestAgainstOracle(t *testing.T) {
	img := imageOf(t,
		packed(t, busybox(t), types.DockerLayer),
		packed(t, tarOf(t, dir("a"), file("a/x", "x"), file("a/y", "y"), dir("a/d"), file("a/d/z", "z"), file("n", "n")), types.OCILayer),
		packed(t, tarOf(t, dir("a"), file("a/.wh.x", ""), file("a/.wh.d", ""), file("a/w", "w"), file("n", "m"), file(".wh.etc", "")), types.OCILayerZStd),
		packed(t, tarOf(t, dir("o"), file("o/1", "1"), hardlink("o/2", "o/1"), symlink("o/3", "../../a")), types.OCIUncompressedLayer),
	)
	root, _ := mustUnpack(t, img)
	flat := mutate.Extract(img)
	defer flat.Close()
	want := map[string]string{}
	for r := tar.NewReader(flat); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		switch h.Typeflag {
		case tar.TypeDir:
			want[path.Clean(h.Name)] = "/"
		case tar.TypeSymlink:
			want[h.Name] = "-> " + h.Linkname
		case tar.TypeLink:
			want[h.Name] = "link"
		default:
			want[h.Name] = string(b)
		}
	}
	for name, to := range map[string]string{"bin/cat": "bin/busybox", "o/2": "o/1"} {
		if want[name] == "link" {
			want[name] = want[to]
		}
	}
	if diff := cmp.Diff(want, contents(t, root)); diff != "" || len(want) < 10 {
		t.Errorf("%d names: %s", len(want), diff)
	}
}

// One byte of any blob is changed: nothing of the image is accepted.
func TestChangedByte(t *testing.T) {
	img := imageOf(t, packed(t, tarOf(t, file("e", "f")), types.OCILayer),
		packed(t, tarOf(t, file("a", "b")), types.OCILayerZStd), packed(t, tarOf(t, file("c", "d")), types.OCIUncompressedLayer))
	folder := layoutOf(t, img)
	blobs, err := filepath.Glob(filepath.Join(folder, "blobs/sha256/*"))
	if err != nil || len(blobs) != 5 {
		t.Fatal(blobs, err)
	}
	for _, blob := range blobs {
		good, err := os.ReadFile(blob)
		if err != nil {
			t.Fatal(err)
		}
		changed := slices.Collect(maps.Values(map[string][]byte{
			"short": good[:len(good)-1], "long": append(bytes.Clone(good), 0), "empty": nil,
		}))
		for _, at := range []int{0, len(good) / 3, len(good) / 2, len(good) - 1} {
			b := bytes.Clone(good)
			b[at] ^= 0x20
			changed = append(changed, b)
		}
		for i, b := range changed {
			if err := os.WriteFile(blob, b, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, _, _, err := unpack(t, "oci:"+folder, options(t)); !errors.Is(err, ErrDigest) {
				t.Errorf("change %d of %s: %v", i, filepath.Base(blob), err)
			}
			if _, _, _, err := unpack(t, tarFolder(t, folder), options(t)); !errors.Is(err, ErrDigest) {
				t.Errorf("change %d of %s in a tar: %v", i, filepath.Base(blob), err)
			}
		}
		if err := os.WriteFile(blob, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, _, err := unpack(t, "oci:"+folder, options(t)); err != nil {
		t.Errorf("the image as it was: %v", err)
	}
}

// The same for an archive that has no manifest.
func TestChangedByteSaved(t *testing.T) {
	name := savedArchive(t, tarOf(t, file("file", "content of the file")))
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"content of the file", "/bin/busybox", `"rootfs"`} {
		b := bytes.Clone(good)
		b[bytes.Index(b, []byte(text))+3] ^= 1
		if _, _, _, err := unpack(t, write(t, b), options(t)); !errors.Is(err, ErrDigest) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// What changes between Open and Unpack is noticed as well.
func TestChangedLater(t *testing.T) {
	folder := layoutOf(t, imageOf(t, packed(t, busybox(t), types.OCILayer)))
	img, err := Open(t.Context(), "oci:"+folder, options(t))
	if err != nil {
		t.Fatal(err)
	}
	blob := filepath.Join(folder, blobName(digest.Digest(img.Layers[0].Digest)))
	for _, target := range []string{"/dev/zero", "/bin/busybox"} {
		if err := errors.Join(os.RemoveAll(blob), os.Symlink(target, blob)); err != nil {
			t.Fatal(err)
		}
		if _, err := img.Unpack(t.Context(), filepath.Join(t.TempDir(), "root")); !errors.Is(err, ErrIO) {
			t.Errorf("a link to %s: %v", target, err)
		}
	}
	if err := errors.Join(os.Remove(blob), syscall.Mkfifo(blob, 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := img.Unpack(t.Context(), filepath.Join(t.TempDir(), "root")); !errors.Is(err, ErrIO) {
		t.Errorf("a pipe: %v", err)
	}
}

// indexOf writes a layout whose index.json leads to an index, to an index, and
// so on.
func indexOf(t *testing.T, depth int, adds ...mutate.IndexAddendum) (string, v1.ImageIndex) {
	t.Helper()
	index := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), adds...)
	inner := index
	for range depth {
		index = mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), mutate.IndexAddendum{Add: index})
	}
	folder := filepath.Join(t.TempDir(), "layout")
	if _, err := layout.Write(folder, index); err != nil {
		t.Fatal(err)
	}
	return folder, inner
}

// platform adds an image for a platform.
func platform(img v1.Image, os, arch, variant string) mutate.IndexAddendum {
	return mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{
		MediaType: types.OCIManifestSchema1,
		Platform:  &v1.Platform{OS: os, Architecture: arch, Variant: variant},
	}}
}

func TestPlatforms(t *testing.T) {
	raw := func(s string) v1.Layer { return packed(t, tarOf(t, file("a", s)), types.OCILayer) }
	mine, other := imageOf(t, raw("mine")), imageFor(t, "m68k", raw("other"))
	special := imageOf(t, raw("special"))
	want, err := mine.Digest()
	if err != nil {
		t.Fatal(err)
	}
	unknown := platform(imageFor(t, "unknown", raw("attestation")), "unknown", "unknown", "")
	all := []mutate.IndexAddendum{
		platform(other, "linux", "m68k", ""), platform(special, "linux", runtime.GOARCH, "v9"),
		platform(mine, "linux", runtime.GOARCH, ""), unknown,
	}
	for _, test := range []struct {
		name  string
		depth int
		adds  []mutate.IndexAddendum
		err   error
	}{
		{"the right one", 0, all, nil},
		{"one index below", 1, all, nil},
		{"two indexes below", 2, all, nil},
		{"too many indexes", 3, all, ErrLimit},
		{"none", 0, all[:1], ErrUsage},
		{"nothing", 0, nil, ErrUsage},
		{"the sole variant", 0, all[:2], nil},
		{"two", 0, append(slices.Clone(all), platform(special, "linux", runtime.GOARCH, "")), ErrUsage},
		{"a false platform", 0, []mutate.IndexAddendum{platform(other, "linux", runtime.GOARCH, "")}, ErrUsage},
		{"no platform", 0, []mutate.IndexAddendum{{Add: mine}}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			folder, inner := indexOf(t, test.depth, test.adds...)
			_, img, _, err := unpack(t, "oci:"+folder, options(t))
			if !errors.Is(err, test.err) {
				t.Fatal(err)
			}
			if err != nil {
				return
			}
			if img.ManifestDigest != want.String() && test.name != "the sole variant" {
				t.Errorf("manifest %s", img.ManifestDigest)
			}
			if test.depth == 0 {
				return
			}
			at, err := inner.Digest()
			if err != nil {
				t.Fatal(err)
			}
			if _, _, _, err := unpack(t, "oci:"+folder+"@"+at.String(), options(t)); err != nil {
				t.Errorf("by the index's digest: %v", err)
			}
		})
	}
}

func TestTags(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "layout")
	p, err := layout.Write(folder, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	for _, tag := range []string{"one", "docker.io/a/two:2"} {
		img := plainImage(t, tarOf(t, file("a", tag)))
		if err := p.AppendImage(img, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": tag})); err != nil {
			t.Fatal(err)
		}
	}
	for tag, want := range map[string]error{":one": nil, ":docker.io/a/two:2": nil, ":three": ErrUsage, "": ErrUsage} {
		root, _, _, err := unpack(t, "oci:"+folder+tag, options(t))
		if !errors.Is(err, want) {
			t.Errorf("tag %q: %v", tag, err)
		}
		if err == nil && contents(t, root)["a"] != tag[1:] {
			t.Errorf("tag %q: %q", tag, contents(t, root))
		}
	}
}

// index.json hangs on no digest: with a digest it is not even read.
func TestPinnedIgnoresIndex(t *testing.T) {
	img := plainImage(t, tarOf(t, file("a", "b")))
	folder := layoutOf(t, img)
	if err := os.WriteFile(filepath.Join(folder, "index.json"), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	want, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := unpack(t, "oci:"+folder+"@"+want.String(), options(t)); err != nil {
		t.Error(err)
	}
	if _, _, _, err := unpack(t, "oci:"+folder, options(t)); !errors.Is(err, ErrFormat) {
		t.Error(err)
	}
	// Not even a parser sees a document that is not the one named.
	blob := filepath.Join(folder, blobName(digest.Digest(want.String())))
	if err := os.WriteFile(blob, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := unpack(t, "oci:"+folder+"@"+want.String(), options(t)); !errors.Is(err, ErrDigest) {
		t.Error(err)
	}
}

func TestUsage(t *testing.T) {
	folder := layoutOf(t, plainImage(t, tarOf(t, file("a", "b"))))
	good := options(t)
	for _, o := range []Options{{}, {Private: good.Private}, {MaxBytes: 1}, {Private: good.Private, MaxBytes: -1}, {Private: good.Private, MaxBytes: 1, Store: &Store{}}} {
		if img, err := Open(t.Context(), "oci:"+folder, o); !errors.Is(err, ErrUsage) || img != nil {
			t.Errorf("%+v: %v", o, err)
		}
	}
	for _, ref := range []string{"", "oci:", "oci::tag", "oci:" + folder + ":", "oci:" + folder + "@sha256:12", "oci:a:b@sha256:" + strings.Repeat("0", 64), "a\x00b"} {
		if img, err := Open(t.Context(), ref, good); !errors.Is(err, ErrUsage) || img != nil {
			t.Errorf("%q: %v", ref, err)
		}
	}
	if _, err := Open(t.Context(), "/nowhere", good); !errors.Is(err, ErrIO) {
		t.Error(err)
	}
	for _, img := range []*Image{nil, {}} {
		if _, err := img.Unpack(t.Context(), filepath.Join(t.TempDir(), "root")); !errors.Is(err, ErrUsage) {
			t.Errorf("zero image: %v", err)
		}
	}
	img, err := Open(t.Context(), "oci:"+folder, good)
	if err != nil {
		t.Fatal(err)
	}
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := img.Unpack(t.Context(), full); !errors.Is(err, ErrUsage) {
		t.Errorf("a folder that is not empty: %v", err)
	}
	if _, err := os.Stat(filepath.Join(full, "mine")); err != nil {
		t.Error(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(t.TempDir(), link); err != nil {
		t.Fatal(err)
	}
	if _, err := img.Unpack(t.Context(), link); !errors.Is(err, ErrIO) {
		t.Errorf("a link: %v", err)
	}
	if _, err := img.Unpack(t.Context(), t.TempDir()); err != nil {
		t.Errorf("an empty folder: %v", err)
	}
}
