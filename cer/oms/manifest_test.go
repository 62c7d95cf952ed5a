package oms

import (
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func file(p, content string) File { return File{Path: p, SHA256: sha256.Sum256([]byte(content))} }

func manifest(tb testing.TB, opts Options, files ...File) *Manifest {
	tb.Helper()
	m, err := NewManifest(files, opts)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// The order is the one in which Python sorts PurePosixPath.
func TestOrder(t *testing.T) {
	want := []string{
		"a/b", "a/b-c", "a/c/b", "a b", "a-b", "a.b/c", "z", "é/x", "\uffff", "\U0001F600",
	}
	var files []File
	root := sha256.New()
	for _, p := range want {
		f := file(p, p)
		files = append(files, f)
		root.Write(f.SHA256[:])
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		r.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
		m := manifest(t, Options{}, files...)
		var got []string
		for _, f := range m.Files() {
			got = append(got, f.Path)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("order %q, want %q", got, want)
		}
		if [32]byte(root.Sum(nil)) != m.Root() {
			t.Fatalf("root %x, want %x", m.Root(), root.Sum(nil))
		}
		if err := m.Check(files); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNewManifestRefuses(t *testing.T) {
	long := strings.Repeat("x", 4097)
	for name, paths := range map[string][]string{
		"none":            {},
		"twice":           {"a", "b", "a"},
		"below a file":    {"a", "a-b", "a/b"},
		"absolute":        {"/a"},
		"parent":          {".."},
		"above":           {"../a"},
		"parent inside":   {"a/../b"},
		"empty":           {""},
		"not clean":       {"a//b"},
		"dot inside":      {"./a"},
		"slash at end":    {"a/"},
		"not UTF-8":       {"a\xff"},
		"surrogate":       {"\xed\xa0\x80"},
		"zero byte":       {"a\x00b"},
		"too long":        {long},
		"dot with others": {".", "a"},
	} {
		var files []File
		for _, p := range paths {
			files = append(files, file(p, ""))
		}
		if m, err := NewManifest(files, Options{}); m != nil || !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, %v", name, m, err)
		}
	}
	for name, opts := range map[string]Options{
		"name":          {Name: "\xff"},
		"long name":     {Name: long},
		"empty ignored": {Ignore: []string{""}},
		"ignored":       {Ignore: []string{"a\xff"}},
		"long ignored":  {Ignore: []string{long}},
		"many ignored":  {Ignore: make([]string, 65537)},
	} {
		if m, err := NewManifest([]File{file("a", "")}, opts); m != nil || !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, %v", name, m, err)
		}
	}
	if m, err := NewManifest(make([]File, 65537), Options{}); m != nil || !errors.Is(err, ErrMalformed) {
		t.Errorf("too many files: %v", err)
	}
	for _, p := range []string{".", "a\nb", `a\b`, "...", "..a", strings.Repeat("x/", 2000) + "x"} {
		if _, err := NewManifest([]File{file(p, "")}, Options{}); err != nil {
			t.Errorf("%q: %v", p, err)
		}
	}
}

func TestCheck(t *testing.T) {
	a, b, c := file("a", "1"), file("b", "2"), file("c", "3")
	m := manifest(t, Options{}, a, b, c)
	for name, files := range map[string][]File{
		"first missing":  {b, c},
		"middle missing": {a, c},
		"last missing":   {a, b},
		"one more":       {a, b, c, file("d", "")},
		"one between":    {a, file("a-b", ""), b, c},
		"other content":  {a, file("b", "x"), c},
		"renamed":        {a, file("bb", "2"), c},
		"swapped":        {file("a", "2"), file("b", "1"), c},
	} {
		if err := m.Check(files); !errors.Is(err, ErrMismatch) {
			t.Errorf("%s: %v", name, err)
		}
		if o, err := NewManifest(files, Options{}); err != nil || m.Equal(o) || o.Equal(m) {
			t.Errorf("%s: equal, or %v", name, err)
		}
	}
	if err := m.Check([]File{c, a, b}); err != nil {
		t.Error(err)
	}
	for _, files := range [][]File{nil, {a, a, b, c}} {
		if err := m.Check(files); !errors.Is(err, ErrMalformed) {
			t.Errorf("%d files: %v", len(files), err)
		}
	}
	renamed := manifest(t, Options{}, file("x", "1"), file("y", "2"), file("z", "3"))
	if renamed.Root() != m.Root() || renamed.Equal(m) {
		t.Error("the root digest does not cover paths, and Equal does")
	}
	if !m.Equal(manifest(t, Options{Name: "n", Symlinks: true}, c, b, a)) {
		t.Error("options make a difference")
	}
}

func TestZeroManifest(t *testing.T) {
	var zero Manifest
	var none *Manifest
	m := manifest(t, Options{}, file("a", ""))
	if zero.Digest() != "" || zero.Equal(&zero) || none.Equal(none) || m.Equal(nil) || m.Equal(&zero) || zero.Equal(m) {
		t.Error("the zero manifest is equal to something")
	}
	for _, z := range []*Manifest{&zero, none} {
		for _, files := range [][]File{nil, {file("a", "")}} {
			if err := z.Check(files); !errors.Is(err, ErrMismatch) {
				t.Errorf("the zero manifest matches %v: %v", files, err)
			}
		}
	}
}

func TestManifestIsACopy(t *testing.T) {
	files, ignore := []File{file("a", "")}, []string{"i"}
	m := manifest(t, Options{Ignore: ignore}, files...)
	files[0].Path, ignore[0] = "x", "x"
	m.Files()[0].Path, m.Ignore()[0] = "x", "x"
	if m.Files()[0].Path != "a" || m.Ignore()[0] != "i" {
		t.Error("a manifest changes behind its back")
	}
}

func TestIgnored(t *testing.T) {
	list := append(GitPaths(), "sub/model.sig", "dir/", "./here")
	for p, want := range map[string]bool{
		".git": true, ".git/HEAD": true, ".github/x/y": true, ".gitignore": true, ".gitattributes": true,
		".gitmodules": false, "a/.git": false, ".gi": false, "git": false,
		"sub/model.sig": true, "sub": false, "model.sig": false, "dir/a": true, "dir": true, "directory": false,
		"here": true, "./here/x": true,
	} {
		if Ignored(p, list) != want {
			t.Errorf("%s: %v", p, !want)
		}
	}
	if !Ignored("a", []string{"."}) || Ignored("a", []string{"/", "/a", "..", "../a"}) || Ignored("a", nil) {
		t.Error("paths that are no usual ones")
	}
}
