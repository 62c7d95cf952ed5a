//go:build linux

package oci

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
)

// Layers that no root may be made of.
func TestUnsafe(t *testing.T) {
	long := strings.Repeat("n", 256)
	deep := strings.Repeat("d/", 257) + "f"
	sized := func(h tar.Header) []byte { return rewrite(tarOf(t, h, file("b", "c")), 124, "00000001000") }
	for name, test := range map[string]struct {
		layer []byte
		err   error
	}{
		"traversal":                 {tarOf(t, file("../a", "b")), ErrUnsafe},
		"traversal inside":          {tarOf(t, file("a/../../b", "c")), ErrUnsafe},
		"traversal that comes back": {tarOf(t, file("a/../b", "c")), ErrUnsafe},
		"absolute":                  {tarOf(t, file("/a", "b")), ErrUnsafe},
		"empty":                     {tarOf(t, dir("")), ErrUnsafe},
		"root as a file":            {tarOf(t, file(".", "")), ErrUnsafe},
		"root as a link":            {tarOf(t, symlink("./", "/")), ErrUnsafe},
		"root twice":                {tarOf(t, dir("./"), dir(".")), ErrUnsafe},
		"character device":          {tarOf(t, tar.Header{Typeflag: tar.TypeChar, Name: "null", Devmajor: 1, Devminor: 3}), ErrUnsafe},
		"block device":              {tarOf(t, tar.Header{Typeflag: tar.TypeBlock, Name: "sda", Devmajor: 8}), ErrUnsafe},
		"pipe":                      {tarOf(t, tar.Header{Typeflag: tar.TypeFifo, Name: "pipe"}), ErrUnsafe},
		"twice":                     {tarOf(t, file("a", "b"), file("a", "c")), ErrUnsafe},
		"twice, spelled otherwise":  {tarOf(t, file("a", "b"), symlink(".//a", "c")), ErrUnsafe},
		"folder twice":              {tarOf(t, dir("a"), dir("a/")), ErrUnsafe},
		"below a link":              {tarOf(t, symlink("a", "/etc"), file("a/b", "c")), ErrUnsafe},
		"a link, later":             {tarOf(t, file("a/b", "c"), symlink("a", "/etc")), ErrUnsafe},
		"below a file":              {tarOf(t, file("a", ""), dir("a/b")), ErrUnsafe},
		"hard link up":              {tarOf(t, hardlink("a", "../../etc/passwd")), ErrUnsafe},
		"absolute hard link":        {tarOf(t, hardlink("a", "/etc/passwd")), ErrUnsafe},
		"hard link to nothing":      {tarOf(t, hardlink("a", "b")), ErrUnsafe},
		"hard link to itself":       {tarOf(t, hardlink("a", "a")), ErrUnsafe},
		"hard link to later":        {tarOf(t, hardlink("a", "b"), file("b", "")), ErrUnsafe},
		"hard link to a folder":     {tarOf(t, dir("b"), hardlink("a", "b")), ErrUnsafe},
		"hard link to a link":       {tarOf(t, symlink("b", "/etc/passwd"), hardlink("a", "b")), ErrUnsafe},
		"hard link to a whiteout":   {tarOf(t, file(".wh.b", ""), hardlink("a", ".wh.b")), ErrUnsafe},
		"hard link to a path":       {tarOf(t, hardlink("a", "b/c")), ErrUnsafe},
		"symbolic link to nothing":  {tarOf(t, symlink("a", "")), ErrUnsafe},
		"hard link with content":    {sized(hardlink("a", "b")), ErrUnsafe},
		"folder with content":       {sized(dir("a")), ErrUnsafe},
		"file as a folder":          {rewrite(tarOf(t, file("ab", "c")), 1, "/"), ErrUnsafe},
		"whiteout of nothing":       {tarOf(t, file("a/.wh.", "")), ErrUnsafe},
		"whiteout of the folder":    {tarOf(t, file("a/.wh..", "")), ErrUnsafe},
		"whiteout of the parent":    {tarOf(t, file(".wh...", "")), ErrUnsafe},
		"whiteout with content":     {tarOf(t, file(".wh.a", "b")), ErrUnsafe},
		"whiteout as a folder":      {tarOf(t, dir(".wh.a")), ErrUnsafe},
		"below a whiteout":          {tarOf(t, file("a/.wh.b/c", "")), ErrUnsafe},
		"whiteout twice":            {tarOf(t, file(".wh.a", ""), file(".wh.a", "")), ErrUnsafe},
		"global header":             {tarOf(t, tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"path": "x"}}), ErrUnsafe},
		"sparse":                    {sparseTar(t), ErrUnsafe},
		"long name":                 {tarOf(t, file(long, "")), ErrLimit},
		"deep path":                 {tarOf(t, file(deep, "")), ErrLimit},
		"long path":                 {tarOf(t, file(strings.Repeat(long[:200]+"/", 21)+"a", "")), ErrLimit},
		"cut":                       {tarOf(t, file("a", strings.Repeat("b", 2000)))[:1024], ErrFormat},
		"no tar":                    {bytes.Repeat([]byte("no tar "), 1000), ErrFormat},
		"more after the end":        {append(tarOf(t, file("a", "b")), tarOf(t, file("c", "d"))...), ErrFormat},
	} {
		t.Run(name, func(t *testing.T) {
			folder := layoutOf(t, plainImage(t, tarOf(t, file("lower", "")), test.layer))
			if _, _, _, err := unpack(t, "oci:"+folder, options(t)); !errors.Is(err, test.err) {
				t.Error(err)
			}
		})
	}
}

// rewrite changes the first header of a tar to what the library would not write.
func rewrite(b []byte, at int, text string) []byte {
	b = bytes.Clone(b)
	copy(b[at:], text)
	copy(b[148:156], "        ")
	sum := 0
	for _, c := range b[:512] {
		sum += int(c)
	}
	copy(b[148:], strconv.FormatInt(1<<18|int64(sum), 8)[1:]+"\x00 ")
	return b
}

// sparseTar writes one block that claims to be an exabyte, in the GNU form that
// stands in PAX records.
func sparseTar(t *testing.T) []byte {
	t.Helper()
	b := tarOf(t, with(file("a", strings.Repeat("\x00", 512)), func(h *tar.Header) {
		h.PAXRecords = map[string]string{"XXX.sparse.size": "1000000000000000000", "XXX.sparse.map": "0,0", "XXX.sparse.numblocks": "1"}
	}))
	b = bytes.ReplaceAll(b, []byte("XXX.sparse"), []byte("GNU.sparse"))
	return b
}

// A layer goes through the links of lower layers, and stays inside.
func TestLinksAcrossLayers(t *testing.T) {
	outside := t.TempDir()
	victim := filepath.Join(outside, "victim")
	if err := os.WriteFile(victim, []byte("as it was"), 0o600); err != nil {
		t.Fatal(err)
	}
	up := strings.Repeat("../", 30) + outside[1:]
	root, _ := mustUnpack(t, plainImage(t,
		tarOf(t, symlink("abs", outside), symlink("up", up), dir("d"), symlink("d/l", "../e"), dir("e"), symlink("victim", victim),
			dir(outside[1:]), file(victim[1:], "inside")),
		tarOf(t, file("abs/new", "1"), file("up/more", "2"), file("d/l/f", "3"), file("victim", "4"), hardlink("h", "abs/victim")),
		tarOf(t, file("abs/.wh.victim", ""), file("d/l/.wh..wh..opq", "")),
	))
	got := contents(t, root)
	for name, want := range map[string]string{
		outside[1:] + "/new": "1", outside[1:] + "/more": "2", "victim": "4", "h": "inside",
		"abs": "-> " + outside, "e": "/", "e/f": "", victim[1:]: "",
	} {
		if got[name] != want {
			t.Errorf("%s: %q, want %q", name, got[name], want)
		}
	}
	b, err := os.ReadFile(victim)
	left, dirErr := os.ReadDir(outside)
	if err != nil || dirErr != nil || string(b) != "as it was" || len(left) != 1 {
		t.Errorf("outside: %q, %d files, %v, %v", b, len(left), err, dirErr)
	}
}

// Links that lead nowhere are not gone through, nor are files.
func TestNoFolder(t *testing.T) {
	lower := tarOf(t, symlink("nowhere", "gone/away"), symlink("loop", "loop"), file("file", ""), symlink("proc", "/proc/self/root/tmp"))
	for _, upper := range [][]byte{
		tarOf(t, file("nowhere/a", "")), tarOf(t, file("loop/a", "")), tarOf(t, file("file/a", "")), tarOf(t, dir("proc/a/b")),
		tarOf(t, hardlink("a", "nowhere/b")), tarOf(t, hardlink("a", "nowhere")), tarOf(t, hardlink("a", "loop/b")),
	} {
		folder := layoutOf(t, plainImage(t, lower, upper))
		if _, _, _, err := unpack(t, "oci:"+folder, options(t)); !errors.Is(err, ErrUnsafe) {
			t.Error(err)
		}
	}
	// To remove what is not there is no error.
	mustUnpack(t, plainImage(t, lower, tarOf(t, file("nowhere/.wh.a", ""), file("file/.wh.a", ""), file("x/y/.wh..wh..opq", ""), file("loop/.wh.b", ""))))
}

func TestWhiteouts(t *testing.T) {
	lower := tarOf(t, dir("a"), file("a/1", "1"), file("a/2", "2"), dir("a/b"), file("a/b/3", "3"), file("c", "c"), symlink("l", "a"), dir("k"))
	for name, test := range map[string]struct {
		upper []byte
		want  map[string]string
	}{
		"file and link": {
			tarOf(t, file("a/.wh.1", ""), file(".wh.l", "")),
			map[string]string{"a": "/", "a/2": "2", "a/b": "/", "a/b/3": "3", "c": "c", "k": "/"},
		},
		"folder": {
			tarOf(t, file(".wh.a", "")),
			map[string]string{"c": "c", "l": "-> a", "k": "/"},
		},
		"opaque, whatever comes first": {
			tarOf(t, dir("a"), file("a/new", "n"), file("a/.wh..wh..opq", ""), file("a/b/new", "n")),
			map[string]string{"a": "/", "a/new": "n", "a/b": "/", "a/b/new": "n", "c": "c", "l": "-> a", "k": "/"},
		},
		"the lower one only": {
			tarOf(t, file("c", "new"), file(".wh.c", ""), file(".wh.a", ""), file("a/4", "4")),
			map[string]string{"a": "/", "a/4": "4", "c": "new", "l": "-> a", "k": "/"},
		},
		"opaque root": {
			tarOf(t, file(".wh..wh..opq", ""), file("n", "n")),
			map[string]string{"n": "n"},
		},
		"replaced": {
			tarOf(t, file("a", "file"), dir("c"), dir("l"), symlink("k", "c")),
			map[string]string{"a": "file", "c": "/", "l": "/", "k": "-> c"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			root, sum := mustUnpack(t, plainImage(t, lower, test.upper))
			got := contents(t, root)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if n := sum.Files + sum.Folders + sum.Links; n != len(got) {
				t.Errorf("summary %+v of %d names", sum, len(got))
			}
		})
	}
}

// Owners, modes and attributes of the image have no effect, and it is told.
func TestDropped(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	root, sum := mustUnpack(t, plainImage(t, tarOf(t,
		with(file("su", "s"), func(h *tar.Header) { h.Mode, h.Uid, h.Gid = 0o4751, 7, 8 }),
		with(dir("tmp"), func(h *tar.Header) { h.Mode = 0o1777 }),
		with(file("ping", "p"), func(h *tar.Header) {
			h.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": "\x01", "SCHILY.xattr.user.a": "b"}
		}),
		with(file("secret", "s"), func(h *tar.Header) { h.Mode = 0 }),
		with(file("x/y", ""), func(h *tar.Header) { h.Mode = 0o100 }),
		file(".wh..wh.plnk", ""),
	)))
	want := []string{
		`"su": setuid, setgid or sticky in mode 4751`, `"tmp": setuid, setgid or sticky in mode 1777`,
		`"ping": "SCHILY.xattr.security.capability"`, `"ping": "SCHILY.xattr.user.a"`,
		`".wh..wh.plnk": a note of the tool that wrote the layer`,
	}
	if diff := cmp.Diff(want, sum.Dropped); diff != "" || sum.DroppedMore != 0 {
		t.Error(diff, sum.DroppedMore)
	}
	for name, mode := range map[string]fs.FileMode{
		"": fs.ModeDir | 0o755, "su": 0o755, "tmp": fs.ModeDir | 0o755, "ping": 0o644, "secret": 0o644, "x": fs.ModeDir | 0o755, "x/y": 0o755,
	} {
		info, err := os.Lstat(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		st := info.Sys().(*syscall.Stat_t)
		if info.Mode() != mode || int(st.Uid) != os.Geteuid() || int(st.Gid) != os.Getegid() {
			t.Errorf("%s: %v of %d:%d", name, info.Mode(), st.Uid, st.Gid)
		}
		if name != "" && name != "x" && !info.ModTime().Equal(epoch) {
			t.Errorf("%s: of %v", name, info.ModTime())
		}
		if n, err := syscall.Getxattr(filepath.Join(root, name), "security.capability", nil); err == nil {
			t.Errorf("%s has %d bytes of capabilities", name, n)
		}
	}
}

func TestManyDropped(t *testing.T) {
	var list []tar.Header
	for i := range maxDropped + 3 {
		list = append(list, with(file(strconv.Itoa(i), ""), func(h *tar.Header) { h.Mode = 0o4755 }))
	}
	if _, sum := mustUnpack(t, plainImage(t, tarOf(t, list...))); len(sum.Dropped) != maxDropped || sum.DroppedMore != 3 {
		t.Errorf("%d and %d", len(sum.Dropped), sum.DroppedMore)
	}
}

func TestLimits(t *testing.T) {
	big := tarOf(t, file("zeros", strings.Repeat("\x00", 8<<20)))
	large := tarOf(t, file("more", strings.Repeat("\x00", 8<<20)))
	small := packed(t, tarOf(t, file("a", "b")), types.OCIUncompressedLayer)
	many := func(n int) v1.Image {
		return imageOf(t, slices.Repeat([]v1.Layer{small}, n)...)
	}
	for name, test := range map[string]struct {
		img v1.Image
		max int64
		err error
	}{
		"gzip bomb":       {imageOf(t, packed(t, big, types.OCILayer)), 1 << 20, ErrLimit},
		"zstd bomb":       {imageOf(t, packed(t, big, types.OCILayerZStd)), 1 << 20, ErrLimit},
		"one byte less":   {imageOf(t, packed(t, big, types.OCILayer)), int64(len(big)) - 1, ErrLimit},
		"just enough":     {imageOf(t, packed(t, big, types.OCILayer)), int64(len(big)), nil},
		"plain":           {plainImage(t, big), int64(len(big)) - 1, ErrLimit},
		"both together":   {imageOf(t, packed(t, big, types.OCILayer), packed(t, large, types.OCILayerZStd)), int64(len(big)+len(large)) - 1, ErrLimit},
		"512 layers":      {many(512), 64 << 20, nil},
		"513 layers":      {many(513), 64 << 20, ErrLimit},
		"no layers":       {imageOf(t), 64 << 20, ErrFormat},
		"a false gzip":    {imageOf(t, static.NewLayer(big, types.OCILayer)), 64 << 20, ErrFormat},
		"a false zstd":    {imageOf(t, static.NewLayer(big, types.OCILayerZStd)), 64 << 20, ErrFormat},
		"a foreign layer": {imageOf(t, static.NewLayer(big, types.DockerForeignLayer)), 64 << 20, ErrFormat},
		"another layer":   {imageOf(t, static.NewLayer(big, "application/octet-stream")), 64 << 20, ErrFormat},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t)
			o.MaxBytes = test.max
			if _, _, _, err := unpack(t, "oci:"+layoutOf(t, test.img), o); !errors.Is(err, test.err) {
				t.Error(err)
			}
		})
	}
}

// The bound on entries counts folders that no entry names.
func TestEntryLimit(t *testing.T) {
	b := tarOf(t, file("a/b/c", ""), file("a/b/d", ""))
	for budget, want := range map[int]error{4: nil, 3: ErrLimit, 1: ErrLimit} {
		l, err := scan(t.Context(), bytes.NewReader(b), &budget, &report{})
		if !errors.Is(err, want) || (l == nil) != (err != nil) {
			t.Errorf("%d: %v", budget, err)
		}
	}
}

func TestDocumentLimits(t *testing.T) {
	folder := layoutOf(t, plainImage(t, tarOf(t, file("a", "b"))))
	index := filepath.Join(folder, "index.json")
	for name, test := range map[string]struct {
		text string
		err  error
	}{
		"large":       {strings.Repeat(" ", maxDocument+1), ErrLimit},
		"many values": {`{"schemaVersion":2,"manifests":[` + strings.Repeat("{},", maxValues) + `{}]}`, ErrLimit},
		"both kinds":  {`{"schemaVersion":2,"manifests":[],"layers":[],"config":{}}`, ErrFormat},
		"twice":       {`{"schemaVersion":2,"schemaVersion":2,"manifests":[]}`, ErrFormat},
		"a tail":      {`{"schemaVersion":2,"manifests":[]} {}`, ErrFormat},
		"version":     {`{"schemaVersion":1,"manifests":[]}`, ErrFormat},
		"size": {`{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":4194305,` +
			`"digest":"sha256:` + strings.Repeat("0", 64) + `"}]}`, ErrLimit},
		"sha512": {`{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":4,` +
			`"digest":"sha512:` + strings.Repeat("0", 128) + `"}]}`, ErrFormat},
		"no digest": {`{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":4,` +
			`"digest":"../../../etc/passwd"}]}`, ErrFormat},
		"urls": {`{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":4,` +
			`"urls":["https://example.org/"],"digest":"sha256:` + strings.Repeat("0", 64) + `"}]}`, ErrFormat},
	} {
		if err := os.WriteFile(index, []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, _, err := unpack(t, "oci:"+folder, options(t)); !errors.Is(err, test.err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A config that states other layers than the manifest has.
func TestFalseDiffID(t *testing.T) {
	raw := tarOf(t, file("a", "b"))
	other := packed(t, raw, types.OCILayer).(packedLayer)
	other.diffID.Hex = strings.Repeat("0", 64)
	plain := packedLayer{static.NewLayer(raw, types.OCIUncompressedLayer), raw, other.diffID}
	for _, l := range []v1.Layer{other, plain} {
		if _, _, _, err := unpack(t, "oci:"+layoutOf(t, imageOf(t, l)), options(t)); !errors.Is(err, ErrDigest) {
			t.Error(err)
		}
	}
}

func TestStore(t *testing.T) {
	raw := busybox(t)
	folder := layoutOf(t, imageOf(t, packed(t, raw, types.OCILayer), packed(t, tarOf(t, file("a", "b")), types.OCIUncompressedLayer)))
	o := options(t)
	o.Store = &Store{Dir: filepath.Join(t.TempDir(), "store")}
	kept := filepath.Join(o.Store.Dir, "sha256", digest.FromBytes(raw).Encoded())
	state := func(step string, reused int) {
		t.Helper()
		_, _, sum, err := unpack(t, "oci:"+folder, o)
		if err != nil || sum.Reused != reused {
			t.Fatalf("%s: %d reused, %v", step, sum.Reused, err)
		}
		b, err := os.ReadFile(kept)
		info, statErr := os.Stat(kept)
		all, globErr := filepath.Glob(filepath.Join(o.Store.Dir, "sha256", "*"))
		if err := errors.Join(err, statErr, globErr); err != nil || !bytes.Equal(b, raw) || info.Mode() != 0o600 || len(all) != 1 {
			t.Fatalf("%s: the store has %d files, one of %d bytes, %v", step, len(all), len(b), err)
		}
	}
	state("first", 0)
	state("second", 1)
	changed := bytes.Clone(raw)
	changed[len(changed)/2] ^= 1
	for name, spoil := range map[string]func() error{
		"changed": func() error { return os.WriteFile(kept, changed, 0o600) },
		"cut":     func() error { return os.WriteFile(kept, raw[:1000], 0o600) },
		"folder":  func() error { return errors.Join(os.Remove(kept), os.Mkdir(kept, 0o700)) },
		"link":    func() error { return errors.Join(os.Remove(kept), os.Symlink("/etc/passwd", kept)) },
		"pipe":    func() error { return errors.Join(os.Remove(kept), syscall.Mkfifo(kept, 0o600)) },
		"gone":    func() error { return os.Remove(kept) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(name, err)
		}
		state(name, 0)
	}
	img, err := Open(t.Context(), "oci:"+folder, o)
	if err != nil {
		t.Fatal(err)
	}
	// The blob is not needed again.
	if err := os.Remove(filepath.Join(folder, blobName(digest.Digest(img.Layers[0].Digest)))); err != nil {
		t.Fatal(err)
	}
	state("without the blob", 1)
	o.MaxBytes = int64(len(raw)) - 1
	if _, _, _, err := unpack(t, "oci:"+folder, o); err == nil {
		t.Error("the store leads past the limit")
	}
}

func TestContext(t *testing.T) {
	folder := layoutOf(t, imageOf(t, packed(t, busybox(t), types.OCILayer)))
	img, err := Open(t.Context(), "oci:"+folder, options(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, "oci:"+folder, options(t)); !errors.Is(err, context.Canceled) || !errors.Is(err, ErrIO) {
		t.Error(err)
	}
	root := filepath.Join(t.TempDir(), "root")
	if _, err := img.Unpack(ctx, root); !errors.Is(err, context.Canceled) || !errors.Is(err, ErrIO) {
		t.Error(err)
	}
	if _, err := os.Lstat(root); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// A user without any privilege, in a namespace of its own, gets the same root.
func TestOrdinaryUser(t *testing.T) {
	folder := layoutOf(t, imageOf(t, packed(t, busybox(t), types.OCILayer),
		packed(t, tarOf(t, with(file("su", ""), func(h *tar.Header) { h.Mode, h.Uid = 0o4000, 5 }), file("etc/.wh..wh..opq", "")), types.OCILayer)))
	cmd := exec.Command(os.Args[0], "-test.run=^TestUnpackHelper$")
	cmd.Env = append(os.Environ(), "UNPACK_REF=oci:"+folder, "UNPACK_IN="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 1000, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 1000, HostID: os.Getgid(), Size: 1}},
	}
	cmd.Stderr = t.Output()
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Uid int
		Sum Summary
	}
	line, _, _ := bytes.Cut(out, []byte("\n"))
	if err := json.Unmarshal(line, &got); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	if got.Uid != 1000 || got.Sum.Files != 3 || got.Sum.Folders != 2 || got.Sum.Links != 1 || len(got.Sum.Dropped) != 1 {
		t.Errorf("%+v", got)
	}
}

// TestUnpackHelper is the process that TestOrdinaryUser starts; otherwise it has
// nothing to do.
func TestUnpackHelper(t *testing.T) {
	ref, in := os.Getenv("UNPACK_REF"), os.Getenv("UNPACK_IN")
	if ref == "" {
		return
	}
	img, err := Open(t.Context(), ref, Options{Private: in, MaxBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	sum, err := img.Unpack(t.Context(), filepath.Join(in, "root"))
	if err != nil {
		t.Fatal(err)
	}
	err = json.NewEncoder(os.Stdout).Encode(map[string]any{"Uid": os.Getuid(), "Sum": sum})
	if err != nil {
		t.Fatal(err)
	}
}
