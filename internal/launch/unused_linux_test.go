package launch_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/sworn-run/sworn/internal/launch"
)

// A command that does not name what was given is found, by placeholder and by
// path; braces that are no placeholders are told from somebody's code.
func TestUnused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		command          []string
		unused, literals []string
	}{
		{[]string{"cat"}, []string{"--weights default", "--weights other", "--config default"}, nil},
		{[]string{"cat", "{weights}", "{weights:other}", "{config}"}, nil, nil},
		{[]string{"cat", "x={weights.dir}/", "{weights.dir:other}", "{config:default}"}, nil, nil},
		{[]string{"cat", "/model/default/file", "/model/other", "/config/file"}, nil, nil},
		{[]string{"cat", "{weights}", "{config}"}, []string{"--weights other"}, nil},
		{
			[]string{"cat", "{weights:other}", "{weightz}", `{"a": {}}`, "{print $1}", "{}", "{", "{conf", "{Config:x}{config}"},
			[]string{"--weights default"},
			[]string{"{weightz}", "{Config:x}"},
		},
	} {
		p, err := launch.NewPlan(launch.Job{
			Command: test.command, Weights: []launch.Named{{Path: file}, {Name: "other", Path: file}},
			Config: []launch.Named{{Name: "default", Path: file}}, Launcher: self,
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Unused(); !slices.Equal(got, test.unused) {
			t.Errorf("%q: unused %q, want %q", test.command, got, test.unused)
		}
		if got := p.Literals(); !slices.Equal(got, test.literals) {
			t.Errorf("%q: literals %q, want %q", test.command, got, test.literals)
		}
	}
}
