package launch_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/launch"
	"github.com/sworn-run/sworn/internal/launch/verity"
)

// describeImage writes the description of an image's volume that is not there.
func describeImage(t *testing.T, dir, more string) string {
	t.Helper()
	text := `{"type":"sworn.dm-verity/v1","image":"gone.img","filesystem":"erofs","data_blocks":3,"hash_offset":16384,"salt":"5eed","root":"` +
		strings.Repeat("ab", 32) + `"` + more + "}"
	file := filepath.Join(dir, "d.json")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

const said = `,"oci":{"manifest":"sha256:0000000000000000000000000000000000000000000000000000000000000000","entrypoint":["/app"],"cmd":["-v"],"env":["A=1","B=2"],"working_dir":"/srv"}`

// A plan from a volume takes command and variables from its description, and names the
// volume by its root digest.
func TestImageVolumePlan(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	job := launch.Job{ImageVolume: describeImage(t, t.TempDir(), said), Env: []string{"B=3"}, Launcher: self}
	p, err := launch.NewPlan(job)
	if err != nil {
		t.Fatal(err)
	}
	components, err := p.Measure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range components[1:] {
		got = append(got, strings.Join([]string{c.Role, c.Name, strings.Join(c.Digest, " "), c.Size, c.Protection, string(c.Value)}, "|"))
		if _, err := c.Encode(); err != nil {
			t.Error(err)
		}
	}
	root := [32]byte{}
	for i := range root {
		root[i] = 0xab
	}
	want := []string{
		"image|image|" + cer.DMVerityDigest(root, []byte{0x5e, 0xed}) + "|12288|dm-verity|",
		`argv|||||["/app","-v"]`, `env|A||||"1"`, `env|B||||"3"`, `env|PATH||||"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("components\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestImageVolumeRefused(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	image, weights := describeImage(t, t.TempDir(), said), describeImage(t, t.TempDir(), "")
	for name, c := range map[string]struct {
		change func(*launch.Job)
		want   error
	}{
		"two images":          {func(j *launch.Job) { j.Image = "oci:/x" }, launch.ErrUsage},
		"copied":              {func(j *launch.Job) { j.Protect = launch.ProtectSealed }, launch.ErrUsage},
		"weights as an image": {func(j *launch.Job) { j.ImageVolume = weights }, verity.ErrKind},
		"an image as weights": {func(j *launch.Job) { j.Weights = []launch.Named{{Path: "verity:" + image}} }, verity.ErrKind},
		"not there":           {func(j *launch.Job) { j.ImageVolume = image + "x" }, os.ErrNotExist},
		"a folder":            {func(j *launch.Job) { j.ImageVolume = filepath.Dir(image) }, verity.ErrVolume},
		"the program itself":  {func(j *launch.Job) { j.ImageVolume = self }, launch.ErrUsage},
	} {
		job := launch.Job{ImageVolume: image, Launcher: self}
		c.change(&job)
		if p, err := launch.NewPlan(job); p != nil || !errors.Is(err, c.want) || !errors.Is(err, launch.ErrUsage) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}
