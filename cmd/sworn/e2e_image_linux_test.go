package main

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/verifier"
)

// busyboxImage makes an image of Debian's static busybox, with a file of text.
func busyboxImage(t *testing.T, text string, more ...tar.Header) v1.Image {
	t.Helper()
	program, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatalf("package busybox-static: %v", err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	type entry struct {
		tar.Header
		content string
	}
	entries := []entry{
		{tar.Header{Name: "bin/", Typeflag: tar.TypeDir, Mode: 0o755}, ""},
		{tar.Header{Name: "bin/busybox", Mode: 0o4755}, string(program)},
		{tar.Header{Name: "bin/cat", Typeflag: tar.TypeSymlink, Linkname: "busybox"}, ""},
		{tar.Header{Name: "bin/ls", Typeflag: tar.TypeSymlink, Linkname: "busybox"}, ""},
		{tar.Header{Name: "dev/", Typeflag: tar.TypeDir, Mode: 0o755}, ""},
		{tar.Header{Name: "dev/null", Mode: 0o666}, "not the device"},
		{tar.Header{Name: "etc/", Typeflag: tar.TypeDir, Mode: 0o755}, ""},
		{tar.Header{Name: "etc/motd", Mode: 0o644}, text},
		{tar.Header{Name: "scratch", Typeflag: tar.TypeSymlink, Linkname: "/etc"}, ""},
	}
	for _, h := range more {
		entries = append(entries, entry{h, ""})
	}
	for _, f := range entries {
		f.Size = int64(len(f.content))
		if err := w.WriteHeader(&f.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "layer.tar")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	layer, err := tarball.LayerFromFile(file)
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		t.Fatal(err)
	}
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c.OS, c.Architecture = "linux", "amd64"
	c.Config.Env = []string{"PATH=/bin", "GREETING=hello"}
	c.Config.Cmd = []string{"cat", "/etc/motd"}
	c.Config.WorkingDir = "/etc"
	if img, err = mutate.ConfigFile(img, c); err != nil {
		t.Fatal(err)
	}
	return img
}

// layoutOf writes an image into a layout and returns its reference.
func layoutOf(t *testing.T, m *machine, name string, img v1.Image) string {
	t.Helper()
	l, err := layout.Write(m.path(name), empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.AppendImage(img); err != nil {
		t.Fatal(err)
	}
	return "oci:" + m.path(name)
}

// A container image runs attested: its digest is what was measured, weights and
// input stand in it, and another digest is refused.
func TestImage(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.env = []string{"HOME=" + m.dir}
	img := busyboxImage(t, "the text\n")
	ref := layoutOf(t, m, "layout", img)
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	weights := m.write(t, "w.bin", "weights\n")
	flags := func(name, ref string) []string {
		return []string{"--image", ref, "--weights", weights, "--output", m.path(name + ".txt")}
	}
	command := []string{"cat", "motd", "{weights}"}
	p := m.policy(t, m.run(t, "golden", flags("golden", ref), command...))
	i := slices.IndexFunc(p.Components, func(c verifier.PolicyComponent) bool { return c.Role == cer.RoleImage })
	if i < 0 || !slices.Equal(p.Components[i].Digest, []string{digest.String()}) {
		t.Fatalf("the policy lists %+v, want image %s", p.Components, digest)
	}
	record := m.run(t, "record", flags("record", ref+"@"+digest.String()), command...)
	trusted(t, m.verify(t, record, p))
	if out := m.read(t, "record.txt"); string(out) != "the text\nweights\n" {
		t.Errorf("the job wrote %q", out)
	}

	// The same layout as an archive of docker save has the same files, and a
	// manifest of its own.
	other := layoutOf(t, m, "other", busyboxImage(t, "another text\n"))
	refused(t, "another image", m.verify(t, m.run(t, "other-record", flags("other", other), command...), p), "components.match")
	own := m.run(t, "own", []string{"--image", ref, "--output", m.path("own.txt")})
	if out := m.read(t, "own.txt"); string(out) != "the text\n" {
		t.Errorf("the image's own command wrote %q", out)
	}
	refused(t, "the image's own command", m.verify(t, own, p), "components.match")

	m.run(t, "shell", []string{"--image", ref, "--output", m.path("shell.txt")}, "/bin/busybox", "sh", "-c",
		`echo "$GREETING"; echo x >/dev/null && echo null; echo y >/scratch/y && echo scratch; echo z >/etc/z || echo sealed; ls -l /bin/busybox | busybox cut -c1-10`)
	if out := m.read(t, "shell.txt"); string(out) != "hello\nnull\nscratch\nsealed\n-rwxr-xr-x\n" {
		t.Errorf("in the image: %q", out)
	}

	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	blob, err := layers[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	file := m.path(filepath.Join("layout", "blobs", "sha256", blob.Hex))
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
	args := func(ref string, more ...string) []string {
		return m.runArgs("refused", append([]string{"--image", ref}, more...), command[:2]...)
	}
	m.refuse(t, "refused.cer.json", args(ref, "--image-store", "none"), "digest")
	m.refuse(t, "refused.cer.json", args(ref+"@sha256:"+strings.Repeat("0", 64)), "image")
	m.refuse(t, "refused.cer.json", args("oci:"+m.path("nothing")), "image")
	m.refuse(t, "refused.cer.json", args(m.path("layout")), "oci:DIR")
	m.refuse(t, "refused.cer.json", m.runArgs("refused", []string{"--image", other}, "no-such-program"), "no-such-program")
}

// An image cannot lead what the launcher puts beside it somewhere else: a link in
// the way of weights, configuration or a mount stops the launch, and nothing is
// written where it leads.
func TestImageLinks(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.env = []string{"HOME=" + m.dir}
	outside := m.path("outside")
	if err := os.Mkdir(outside, 0o777); err != nil {
		t.Fatal(err)
	}
	config := m.write(t, "c.txt", "config\n")
	link := func(name, to string) tar.Header {
		return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to}
	}
	folder := func(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755} }
	// What is added stands in the job's root at its own path.
	top := strings.Split(config, "/")[1]
	for i, more := range [][]tar.Header{
		{link(top, outside)},
		{link(top, "../../../.."+outside)},
		{folder(top + "/"), link(strings.Join(strings.Split(config, "/")[1:3], "/"), outside)},
	} {
		name := "links" + string(rune('a'+i))
		ref := layoutOf(t, m, name, busyboxImage(t, "text\n", more...))
		m.refuse(t, "refused.cer.json", m.runArgs("refused", []string{"--image", ref, "--add", config}, "cat", config), "making ")
	}
	// In the places that the launcher keeps for itself, whatever the image has is
	// taken out, and not followed.
	ref := layoutOf(t, m, "reserved", busyboxImage(t, "text\n", link("proc", outside), link("input", outside)))
	m.run(t, "reserved", []string{"--image", ref, "--proc", "--input", config, "--output", m.path("reserved.txt")}, "cat", "{input}", "/proc/self/comm")
	if out := m.read(t, "reserved.txt"); string(out) != "config\ncat\n" {
		t.Errorf("the job wrote %q", out)
	}
	if names, err := os.ReadDir(outside); err != nil || len(names) > 0 {
		t.Errorf("outside holds %v, %v", names, err)
	}
	left, err := filepath.Glob(filepath.Join(m.state, "image-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

// An image has nothing where weights and configuration stand: the job would see it
// among the measured files.
func TestImagePlaces(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.env = []string{"HOME=" + m.dir}
	weights := m.write(t, "w.bin", "weights\n")
	link := func(name, to string) tar.Header {
		return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to}
	}
	folder := func(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755} }
	file := func(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644} }
	for i, x := range []struct {
		more  []tar.Header
		place string
	}{
		{[]tar.Header{folder("model/"), folder("model/default/"), file("model/default/adapter.bin")}, "/model"},
		{[]tar.Header{folder("model/"), folder("model/other/"), file("model/other/w.bin")}, "/model"},
		{[]tar.Header{folder("model/")}, "/model"},
		{[]tar.Header{file("model")}, "/model"},
		{[]tar.Header{link("model", "/etc")}, "/model"},
		{[]tar.Header{link("model", "/nowhere")}, "/model"},
		{[]tar.Header{folder("config/"), file("config/c.txt")}, "/config"},
		{[]tar.Header{link("config", "/etc")}, "/config"},
	} {
		ref := layoutOf(t, m, "places"+string(rune('a'+i)), busyboxImage(t, "text\n", x.more...))
		for _, flags := range [][]string{{"--weights", weights}, nil} {
			m.refuse(t, "refused.cer.json", m.runArgs("refused", append([]string{"--image", ref}, flags...), "cat", "/etc/motd"), "the image has "+x.place+":")
		}
	}
	// Elsewhere it may have these names.
	ref := layoutOf(t, m, "elsewhere", busyboxImage(t, "text\n", folder("etc/model/"), file("etc/model/x"), folder("models/"), folder("usr/"), folder("usr/config/")))
	m.run(t, "elsewhere", []string{"--image", ref, "--weights", weights}, "cat", "/etc/motd", "{weights}")
}
