//go:build vm

package machine_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/sworn-run/sworn/simulator/machine"
)

// engineImage writes the layout of an image of Debian's static busybox with a large
// file.
func engineImage(t *testing.T, dir, motd string, large []byte) {
	t.Helper()
	program, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatalf("package busybox-static: %v", err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range []struct {
		name, link string
		content    []byte
		mode       int64
	}{
		{"bin/busybox", "", program, 0o4755},
		{"bin/cat", "busybox", nil, 0},
		{"etc/motd", "", []byte(motd), 0o644},
		{"data/large.bin", "", large, 0o644},
		{"mnt/inner", "", []byte("inner\n"), 0o644},
		{"usr/lib/x", "", []byte("library\n"), 0o644},
		{"lib", "usr/lib", nil, 0},
		{"top", "", []byte("top\n"), 0o644},
		{"dev/null", "", []byte("not the device"), 0o666},
		{"scratch", "/etc", nil, 0},
	} {
		h := tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.content))}
		if f.link != "" {
			h.Typeflag, h.Linkname = tar.TypeSymlink, f.link
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(f.content); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "layer.tar")
	if err := errors.Join(w.Close(), os.WriteFile(file, b.Bytes(), 0o600)); err != nil {
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
	img, err = mutate.ConfigFile(img, configOf(t, img))
	if err != nil {
		t.Fatal(err)
	}
	l, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.AppendImage(img); err != nil {
		t.Fatal(err)
	}
}

// configOf returns the image's configuration, completed.
func configOf(t *testing.T, img v1.Image) *v1.ConfigFile {
	t.Helper()
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c.OS, c.Architecture = "linux", "amd64"
	c.Config = v1.Config{Env: []string{"PATH=/bin", "GREETING=hello"}, Cmd: []string{"cat", "motd"}, WorkingDir: "/etc"}
	return c
}

// imageMachine boots a machine with a disk of volumes: two images, one of them as a
// layout too, and weights.
func imageMachine(t *testing.T) *protected {
	t.Helper()
	p := &protected{dir: folder(t), weights: noise(3<<20 + 17)}
	tree := filepath.Join(p.dir, "tree")
	model := filepath.Join(tree, "model")
	err := errors.Join(os.MkdirAll(model, 0o755), os.WriteFile(filepath.Join(model, "w.bin"), []byte("weights\n"), 0o644), os.WriteFile(filepath.Join(tree, "extra"), []byte("extra\n"), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	engineImage(t, filepath.Join(tree, "layout"), "the text\n", p.weights)
	engineImage(t, filepath.Join(p.dir, "other"), "another text\n", p.weights)
	for name, args := range map[string][]string{
		"engine.img": {"--image", "oci:" + filepath.Join(tree, "layout")},
		"other.img":  {"--image", "oci:" + filepath.Join(p.dir, "other")},
		"model.img":  {model},
	} {
		must(t, built(t, sworn), append([]string{"protect", "--salt", "5eed", "--volume", filepath.Join(tree, name)}, args...)...)
	}
	ext4 := filepath.Join(p.dir, "ext4.img")
	must(t, "mkfs.ext4", "-q", "-b", "4096", "-d", tree, ext4, "96M")
	p.Machine = boot(t.Context(), t, machine.Config{
		Dir: filepath.Join(p.dir, "m"), Boot: machine.Legacy, Init: built(t, guest), Timeout: bootLimit,
		Files: []machine.File{
			{Path: "/bin/sworn", Mode: 0o755, Source: built(t, sworn)},
			{Path: "/bin/busybox", Mode: 0o755, Source: "/bin/busybox"},
		},
		Modules: []string{"ext4", "erofs", "dm-verity", "loop"},
		Disks:   []machine.Disk{{Path: ext4}},
		Memory:  768,
	})
	if err := p.Mount(t.Context(), "/dev/vda", "/mnt", "ext4", 0, ""); err != nil {
		t.Fatal(err)
	}
	return p
}

// fetch copies a record from the machine and returns its path.
func (p *protected) fetch(t *testing.T, name string) string {
	t.Helper()
	b, err := p.ReadFile(t.Context(), "/tmp/"+name+".cer.json")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(p.dir, name+".cer.json")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// waived are the checks that need a boot which somebody appraises.
var waived = []string{"--waive", "slot.measurement=not appraised here", "--waive", "launcher.rooted=as above"}

// A container image served from a dm-verity volume: the job sees it and cannot write to
// it, policies made of it and of the same image unpacked tell the two apart, and nothing
// that is done to the volume makes a record that lies.
func TestImageVolume(t *testing.T) {
	p := imageMachine(t)
	tree, roots := filepath.Join(p.dir, "tree"), p.TPM().RootsDir()
	script := `cat motd; echo "$GREETING"; busybox stat -f -c %t /bin /top /mnt/inner; cat /lib/x /top /mnt/inner {weights.dir}/w.bin;` +
		`for f in /bin/x /etc/motd /top /mnt/inner /mnt/x /x {weights.dir}/x; do echo z 2>/dev/null >$f && echo "wrote $f"; done; echo x >/dev/null && echo y >/scratch/y && cat /scratch/y;` +
		`busybox ls / | busybox tr '\n' ' '; busybox ls /dev /scratch | busybox tr '\n' ' '`
	flags := "--weights verity:/mnt/model.img.json"
	run := func(name, image string) string {
		t.Helper()
		code, out := p.shell(t, fmt.Sprintf("sworn run -q --tpm /dev/tpmrm0 --image%s %s --output /tmp/%[3]s.txt --record /tmp/%[3]s.cer.json -- busybox sh -c '%[4]s'; s=$?; busybox cat /tmp/%[3]s.txt; exit $s",
			image, flags, name, strings.ReplaceAll(script, "'", `'\''`)))
		if code != 0 {
			t.Fatalf("%s: %d: %s", name, code, out)
		}
		return out
	}
	policy := func(name string, image ...string) string {
		t.Helper()
		file := filepath.Join(p.dir, name+".policy.json")
		args := append([]string{"policy", "from-files", "--roots", roots, "-o", file, "--weights", "verity:" + filepath.Join(tree, "model.img.json")}, append(image, waived...)...)
		must(t, built(t, sworn), append(args, "--", "busybox", "sh", "-c", script)...)
		return file
	}
	verdict := func(record, policy, want string) {
		t.Helper()
		code, out := command(t, built(t, sworn), "verify", "--policy", policy, "--roots", roots, record)
		if (code == 0) != (want == "trusted") || !strings.HasPrefix(out, want) {
			t.Errorf("%s under %s: exit status %d: %s", filepath.Base(record), filepath.Base(policy), code, out)
		}
	}

	want := "the text\nhello\ne0f5e1e2\ne0f5e1e2\ne0f5e1e2\nlibrary\ntop\ninner\nweights\ny\nbin data dev etc lib mnt model scratch top usr /dev: null urandom /scratch: output y "
	out := run("mounted", "-volume /mnt/engine.img.json")
	if strings.ReplaceAll(out, "  ", " ") != want && strings.ReplaceAll(out, "  ", " ") != strings.Replace(want, "output ", "", 1) {
		t.Errorf("the job wrote %q, want %q", out, want)
	}
	mounted := p.fetch(t, "mounted")
	volume := policy("volume", "--image-volume", filepath.Join(tree, "engine.img.json"))
	verdict(mounted, volume, "trusted")
	made := filepath.Join(p.dir, "made.policy.json")
	must(t, built(t, sworn), append([]string{"policy", "from-record", mounted, "--roots", roots, "-o", made}, waived...)...)
	verdict(mounted, made, "trusted")

	run("unpacked", " oci:/mnt/layout --image-store none")
	unpacked := p.fetch(t, "unpacked")
	manifest := policy("manifest", "--image", "oci:"+filepath.Join(tree, "layout"))
	verdict(unpacked, manifest, "trusted")
	verdict(mounted, manifest, "not trusted: components.match: ")
	verdict(unpacked, volume, "not trusted: components.match: ")
	run("other", "-volume /mnt/other.img.json")
	verdict(p.fetch(t, "other"), volume, "not trusted: components.match: ")

	// A folder that the image has and something is added to holds both.
	code, out := p.shell(t, "sworn run -q --tpm /dev/tpmrm0 --image-volume /mnt/engine.img.json --add /mnt/extra --record /tmp/added.cer.json -- busybox sh -c 'cat /mnt/*; busybox stat -f -c %t /mnt; echo z >/mnt/x || cat /etc/motd'")
	if code != 0 || !strings.HasPrefix(out, "extra\ninner\n1021994\n") || !strings.Contains(out, "Read-only file system") || !strings.HasSuffix(out, "the text\n") {
		t.Errorf("with a file added: %d: %s", code, out)
	}
	t.Run("attacked", func(t *testing.T) { p.attackImage(t) })
	t.Run("described", func(t *testing.T) { p.describeImage(t) })
	if code, out := p.shell(t, "busybox ls /sys/block | busybox grep -c dm-"); code == 0 {
		t.Errorf("devices are left behind: %s", out)
	}
	if code, out := p.shell(t, "busybox ls -d /run/sworn/image-* /dev/sworn-verity-* 2>/dev/null"); code == 0 {
		t.Errorf("folders are left behind: %s", out)
	}
}

// attackImage attacks the volume while the job runs in it.
func (p *protected) attackImage(t *testing.T) {
	const flags, file = "--image-volume /mnt/engine.img.json", "/data/large.bin"
	image, err := os.ReadFile(filepath.Join(p.dir, "tree", "engine.img"))
	if err != nil {
		t.Fatal(err)
	}
	b, out := p.attackWith(t, "engine-moved", flags, file, "busybox mv /mnt/engine.img /mnt/gone; busybox cp /mnt/other.img /mnt/engine.img")
	p.honest(t, "engine-moved", b, out, false)
	p.shell(t, "busybox mv -f /mnt/gone /mnt/engine.img")
	at := bytes.Index(image, p.weights[:4096]) / 4096
	if at < 0 {
		t.Fatal("the volume does not hold the large file")
	}
	p.shell(t, "busybox cp /mnt/engine.img /mnt/kept.img")
	b, out = p.attackWith(t, "engine-written", flags, file, fmt.Sprintf("busybox dd if=/dev/zero of=/mnt/engine.img bs=4096 seek=%d count=8 conv=notrunc,fsync", at))
	p.honest(t, "engine-written", b, out, true)
	p.shell(t, "busybox mv -f /mnt/kept.img /mnt/engine.img; busybox sync; echo 3 >/proc/sys/vm/drop_caches")
}

// describeImage launches from volumes and descriptions that are not what sworn wrote.
func (p *protected) describeImage(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(p.dir, "tree", "engine.img.json"))
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.ReadFile(filepath.Join(p.dir, "tree", "other.img.json"))
	if err != nil {
		t.Fatal(err)
	}
	member := func(text []byte, name string) string {
		var m map[string]any
		if err := json.Unmarshal(text, &m); err != nil {
			t.Fatal(err)
		}
		return m[name].(string)
	}
	offset := mustOffset(t, filepath.Join(p.dir, "tree", "engine.img")) / 4096
	p.shell(t, "busybox cp /mnt/engine.img /mnt/kept.img")
	for name, c := range map[string]struct {
		old, new string
		damage   string
		code     int
		want     string
	}{
		"as it was":             {"", "", "", 0, "the text"},
		"another root":          {member(text, "root"), member(other, "root"), "", 2, "unusable"},
		"another salt":          {`"5eed"`, `"5eee"`, "", 2, "unusable"},
		"another working dir":   {`"working_dir": "/etc"`, `"working_dir": "/mnt"`, "", 2, "description says another"},
		"another command":       {`"motd"`, `"/top"`, "", 2, "description says another"},
		"another variable":      {"GREETING=hello", "GREETING=hullo", "", 2, "description says another"},
		"another manifest":      {`"manifest": "sha256:`, `"manifest": "sha256:00`, "", 2, "manifest is"},
		"the tree's superblock": {"", "", fmt.Sprintf("busybox dd if=/dev/zero of=/mnt/engine.img bs=4096 seek=%d count=1 conv=notrunc", offset), 0, "the text"},
		"erofs's superblock":    {"", "", "busybox printf x | busybox dd of=/mnt/engine.img bs=1 seek=1100 conv=notrunc", 2, "error: "},
		"the tree":              {"", "", fmt.Sprintf("busybox dd if=/dev/zero of=/mnt/engine.img bs=4096 seek=%d count=8 conv=notrunc", offset+1), 2, "error: "},
		"cut":                   {"", "", "busybox truncate -s 8192 /mnt/engine.img", 2, "hash_offset"},
	} {
		described := strings.Replace(string(text), c.old, c.new, 1)
		if c.old == "" {
			described = string(text)
		} else if described == string(text) {
			t.Fatalf("%s: nothing is changed", name)
		}
		script := fmt.Sprintf(`busybox cat >/mnt/changed.json <<'EOF'
%sEOF
%s
busybox sync; echo 3 >/proc/sys/vm/drop_caches
busybox rm -f /tmp/described.cer.json
sworn run -q --tpm /dev/tpmrm0 --image-volume /mnt/changed.json --record /tmp/described.cer.json; s=$?
[ -e /tmp/described.cer.json ] && echo "a record"
busybox cp /mnt/kept.img /mnt/engine.img; busybox sync; echo 3 >/proc/sys/vm/drop_caches
exit $s
`, described, c.damage)
		code, out := p.shell(t, script)
		if code != c.code || !strings.Contains(out, c.want) || strings.Contains(out, "a record") != (code == 0) {
			t.Errorf("%s: exit status %d: %s", name, code, out)
		}
	}
}
