package elfdeps_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sworn-run/sworn/internal/launch/elfdeps"
)

// hostCaps are the hwcaps of this machine.
func hostCaps(t *testing.T) []string {
	t.Helper()
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Fatal(err)
	}
	return elfdeps.HWCaps(b)
}

// The loader of this machine is the oracle: programs of the distribution are
// trusted, so ld.so may be asked.
func TestAgainstLoader(t *testing.T) {
	arrow := regexp.MustCompile(`=> (/\S+)`)
	for _, program := range []string{"tesseract", "bash", "env", "gcc", "swtpm"} {
		t.Run(program, func(t *testing.T) {
			path, err := exec.LookPath(program)
			if err != nil {
				t.Fatal(err)
			}
			res, err := elfdeps.Closure(path, elfdeps.Options{HWCaps: hostCaps(t)})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, d := range res.Deps {
				if d.Role == elfdeps.RoleLibrary {
					got = append(got, d.Target)
				}
			}
			out, err := exec.Command("ldd", path).Output()
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for _, m := range arrow.FindAllSubmatch(out, -1) {
				want = append(want, string(m[1]))
			}
			slices.Sort(got)
			slices.Sort(want)
			if diff := cmp.Diff(want, got); diff != "" || len(want) == 0 {
				t.Errorf("libraries (-ld.so +Closure):\n%s", diff)
			}
			t.Logf("%d libraries, library path %v", len(got), res.LibraryPath)
		})
	}
}

// tree is a root of its own with libraries built for it.
type tree struct {
	t    *testing.T
	root string
}

// newTree makes a root with this machine's loader and C library.
func newTree(t *testing.T) tree {
	t.Helper()
	tr := tree{t, t.TempDir()}
	res, err := elfdeps.Closure("/bin/bash", elfdeps.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range res.Deps {
		if d.Role == elfdeps.RoleInterpreter || d.Name == "libc.so.6" {
			b, err := os.ReadFile(d.Source)
			if err != nil {
				t.Fatal(err)
			}
			tr.write(d.Target, b)
		}
	}
	return tr
}

// write writes a file below the root.
func (tr tree) write(name string, b []byte) {
	tr.t.Helper()
	p := filepath.Join(tr.root, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		tr.t.Fatal(err)
	}
	if err := os.WriteFile(p, b, 0o755); err != nil {
		tr.t.Fatal(err)
	}
}

// link makes a symbolic link below the root.
func (tr tree) link(to, name string) {
	tr.t.Helper()
	p := filepath.Join(tr.root, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		tr.t.Fatal(err)
	}
	if err := os.Symlink(to, p); err != nil {
		tr.t.Fatal(err)
	}
}

// build compiles an object below the root: a library of that soname, or a
// program if the name has no .so.
func (tr tree) build(name string, args ...string) {
	tr.t.Helper()
	p := filepath.Join(tr.root, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		tr.t.Fatal(err)
	}
	source, base := "int main(void){return 0;}", filepath.Base(name)
	all := []string{"-o", p, "-x", "c", "-", "-x", "none", "-Wl,--no-as-needed"}
	if strings.Contains(base, ".so") {
		source = fmt.Sprintf("int f_%d(void){return 0;}", len(name))
		all = append(all, "-shared", "-fPIC", "-Wl,-soname,"+base)
	}
	for _, a := range args {
		if strings.HasPrefix(a, "/") {
			a = filepath.Join(tr.root, a)
		}
		all = append(all, a)
	}
	// Libraries that are linked to are named with their paths; what those need
	// in turn is not looked at.
	all = append(all, "-Wl,--unresolved-symbols=ignore-all", "-Wl,--allow-shlib-undefined")
	cmd := exec.Command("gcc", all...)
	cmd.Stdin = strings.NewReader(source)
	if out, err := cmd.CombinedOutput(); err != nil {
		tr.t.Fatalf("gcc: %v\n%s", err, out)
	}
}

// closure returns the targets of all libraries but the C library, and the
// library path.
func (tr tree) closure(program string, opts elfdeps.Options) (targets, libraryPath []string, err error) {
	opts.Root = tr.root
	res, err := elfdeps.Closure(program, opts)
	if err != nil && (res.Deps != nil || res.LibraryPath != nil) {
		tr.t.Errorf("a result beside the error %v", err)
	}
	for _, d := range res.Deps {
		if d.Role == elfdeps.RoleLibrary && d.Name != "libc.so.6" {
			targets = append(targets, d.Target)
		}
		if _, err := os.Lstat(d.Source); err != nil || !strings.HasPrefix(d.Source, tr.root) {
			tr.t.Errorf("source %s: %v", d.Source, err)
		}
	}
	return targets, res.LibraryPath, err
}

// searchCase is a program in a root, and what it needs there.
type searchCase struct {
	name  string
	make  func(tree)
	opts  elfdeps.Options
	want  []string
	extra []string
}

// libDirs are folders of a root that hold a liba.so.1 each.
func libDirs() []string { return []string{"/r", "/opt/app/lib", "/usr/lib", "/llp"} }

// lib builds a liba.so.1 in all of libDirs and in more folders.
func lib(tr tree, more ...string) {
	tr.t.Helper()
	for _, dir := range append(libDirs(), more...) {
		tr.build(dir + "/liba.so.1")
	}
}

// check makes the root and compares the closure.
func (tt *searchCase) check(t *testing.T) {
	t.Helper()
	tr := newTree(t)
	tt.make(tr)
	got, extra, err := tr.closure("/app", tt.opts)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(tt.want, got); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(tt.extra, extra); diff != "" {
		t.Errorf("library path (-want +got):\n%s", diff)
	}
}

func TestSearchOrder(t *testing.T) {
	for _, tt := range []searchCase{
		{
			name: "rpath before library path",
			make: func(tr tree) {
				lib(tr)
				tr.build("/app", "/r/liba.so.1", "-Wl,--disable-new-dtags,-rpath,/none:/r")
			},
			opts: elfdeps.Options{LibraryPath: []string{"/llp"}}, want: []string{"/r/liba.so.1"}, extra: []string{"/llp"},
		},
		{
			name: "library path before runpath",
			make: func(tr tree) {
				lib(tr)
				tr.build("/app", "/r/liba.so.1", "-Wl,--enable-new-dtags,-rpath,/r")
			},
			opts: elfdeps.Options{LibraryPath: []string{"/llp"}}, want: []string{"/llp/liba.so.1"}, extra: []string{"/llp"},
		},
		{
			name: "runpath before defaults",
			make: func(tr tree) {
				lib(tr)
				tr.build("/app", "/r/liba.so.1", "-Wl,--enable-new-dtags,-rpath,/r")
			},
			want: []string{"/r/liba.so.1"},
		},
		{
			name: "defaults last",
			make: func(tr tree) { lib(tr); tr.build("/app", "/r/liba.so.1") },
			want: []string{"/usr/lib/liba.so.1"},
		},
		{
			name: "origin of the program, through a link",
			make: func(tr tree) {
				lib(tr)
				tr.build("/opt/app/bin/app", "/r/liba.so.1", "-Wl,-rpath,$ORIGIN/../lib")
				tr.link("/opt/app/bin/app", "/app")
			},
			want: []string{"/opt/app/lib/liba.so.1"}, extra: []string{"/opt/app/lib"},
		},
		{
			name: "origin of a library",
			make: func(tr tree) {
				lib(tr)
				tr.build("/opt/app/libb.so.1", "/r/liba.so.1", "-Wl,-rpath,${ORIGIN}/lib")
				tr.build("/app", "/opt/app/libb.so.1", "-Wl,-rpath,/opt/app")
			},
			want: []string{"/opt/app/libb.so.1", "/opt/app/lib/liba.so.1"},
		},
	} {
		t.Run(tt.name, tt.check)
	}
}

func TestSearchInherits(t *testing.T) {
	for _, tt := range []searchCase{
		{
			name: "rpath is inherited, runpath is not",
			make: func(tr tree) {
				lib(tr)
				tr.build("/r/libb.so.1", "/r/liba.so.1")
				tr.build("/app", "/r/libb.so.1", "-Wl,--disable-new-dtags,-rpath,/r")
			},
			want: []string{"/r/libb.so.1", "/r/liba.so.1"},
		},
		{
			name: "runpath is not inherited",
			make: func(tr tree) {
				lib(tr)
				tr.build("/r/libb.so.1", "/r/liba.so.1")
				tr.build("/app", "/r/libb.so.1", "-Wl,--enable-new-dtags,-rpath,/r")
			},
			want: []string{"/r/libb.so.1", "/usr/lib/liba.so.1"},
		},
		{
			name: "a library with runpath does not take the program's rpath",
			make: func(tr tree) {
				lib(tr)
				tr.build("/r/libb.so.1", "/r/liba.so.1", "-Wl,--enable-new-dtags,-rpath,/opt/app/lib")
				tr.build("/app", "/r/libb.so.1", "-Wl,--disable-new-dtags,-rpath,/r")
			},
			want: []string{"/r/libb.so.1", "/opt/app/lib/liba.so.1"},
		},
		{
			name: "hwcaps before the folder itself, the best first",
			make: func(tr tree) {
				lib(tr, "/usr/lib/glibc-hwcaps/x86-64-v2", "/usr/lib/glibc-hwcaps/x86-64-v4")
				tr.build("/app", "/r/liba.so.1")
			},
			opts: elfdeps.Options{HWCaps: []string{"x86-64-v3", "x86-64-v2"}},
			want: []string{"/usr/lib/glibc-hwcaps/x86-64-v2/liba.so.1"},
		},
		{
			name: "another machine's library is passed over",
			make: func(tr tree) {
				lib(tr)
				tr.build("/app", "/r/liba.so.1", "-Wl,-rpath,/foreign:/r")
				b, err := os.ReadFile(filepath.Join(tr.root, "/r/liba.so.1"))
				if err != nil {
					tr.t.Fatal(err)
				}
				b[18] ^= 0xff // e_machine
				tr.write("/foreign/liba.so.1", b)
			},
			want: []string{"/r/liba.so.1"},
		},
	} {
		t.Run(tt.name, tt.check)
	}
}

// A library that only the cache leads to is found, and its folder reported.
func TestCache(t *testing.T) {
	tr := newTree(t)
	tr.build("/opt/x/liba.so.1")
	tr.build("/opt/x/glibc-hwcaps/x86-64-v2/libb.so.1")
	tr.build("/opt/x/libb.so.1")
	tr.build("/app", "/opt/x/liba.so.1", "/opt/x/libb.so.1")
	tr.write("/etc/ld.so.conf", []byte("/opt/x\n"))
	if _, _, err := tr.closure("/app", elfdeps.Options{}); !errors.Is(err, elfdeps.ErrNotFound) {
		t.Fatalf("without a cache: %v", err)
	}
	if out, err := exec.Command("/sbin/ldconfig", "-r", tr.root).CombinedOutput(); err != nil {
		t.Fatalf("ldconfig: %v\n%s", err, out)
	}
	got, extra, err := tr.closure("/app", elfdeps.Options{HWCaps: []string{"x86-64-v3", "x86-64-v2"}})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"/opt/x/liba.so.1", "/opt/x/glibc-hwcaps/x86-64-v2/libb.so.1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"/opt/x"}, extra); diff != "" {
		t.Errorf("library path (-want +got):\n%s", diff)
	}
}

// roles lists the dependencies as role and target.
func roles(res elfdeps.Result) []string {
	var list []string
	for _, d := range res.Deps {
		if d.Name != "libc.so.6" {
			list = append(list, string(d.Role)+" "+d.Target)
		}
	}
	return list
}

func TestScripts(t *testing.T) {
	tr := newTree(t)
	tr.build("/bin/sh")
	tr.build("/usr/bin/static", "-static")
	tr.link("/bin/sh", "/usr/bin/tool")
	tr.write("/one", []byte("#!/bin/sh -e\nexit 0\n"))
	tr.write("/two", []byte("#! \t/one\n"))
	tr.write("/env", []byte("#!/usr/bin/env -S A=b tool x\n"))
	tr.link("/usr/bin/static", "/usr/bin/env")
	interp := "interpreter /lib64/ld-linux-x86-64.so.2"
	for name, want := range map[string][]string{
		"/usr/bin/static": nil,
		"/one":            {"script-interpreter /bin/sh", interp},
		"/two":            {"script-interpreter /one", "script-interpreter /bin/sh", interp},
		"/env":            {"script-interpreter /usr/bin/env", "script-interpreter /usr/bin/tool", interp},
	} {
		res, err := elfdeps.Closure(name, elfdeps.Options{Root: tr.root})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, roles(res)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestErrors(t *testing.T) {
	tr := newTree(t)
	tr.build("/lib/liba.so.1")
	tr.build("/app", "/lib/liba.so.1", "-Wl,-rpath,/gone")
	if err := os.Remove(filepath.Join(tr.root, "/lib/liba.so.1")); err != nil {
		t.Fatal(err)
	}
	app, err := os.ReadFile(filepath.Join(tr.root, "app"))
	if err != nil {
		t.Fatal(err)
	}
	tr.write("/short", app[:70])
	tr.write("/text", []byte("hello"))
	tr.write("/empty", nil)
	tr.write("/shebang", []byte("#! \n"))
	tr.write("/long", append([]byte("#!/"), bytes.Repeat([]byte("a"), 400)...))
	tr.write("/loop", []byte("#!/loop\n"))
	tr.write("/relative", []byte("#!sh\n"))
	tr.link("/circle", "/circle")
	for name, want := range map[string]error{
		"/app": elfdeps.ErrNotFound, "/none": elfdeps.ErrNotFound, "app": elfdeps.ErrNotFound,
		"/text/x": elfdeps.ErrNotFound,
		"/short":  elfdeps.ErrFormat, "/shebang": elfdeps.ErrFormat,
		"/long": elfdeps.ErrFormat, "/loop": elfdeps.ErrFormat,
		"/empty": elfdeps.ErrUnsupported, "/text": elfdeps.ErrUnsupported,
		"/relative": elfdeps.ErrUnsupported, "/lib": elfdeps.ErrUnsupported, "/circle": elfdeps.ErrRead,
	} {
		if _, _, err := tr.closure(name, elfdeps.Options{}); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", name, err, want)
		}
	}
}

// A link that leads out of the root stays in it.
func TestRootHolds(t *testing.T) {
	tr := newTree(t)
	tr.link("../../../../../../../../etc/hostname", "/out")
	if _, _, err := tr.closure("/out", elfdeps.Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want not found below the root", err)
	}
}

func TestHWCaps(t *testing.T) {
	const v2 = "flags\t\t: fpu cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3"
	const v3 = v2 + " avx avx2 bmi1 bmi2 f16c fma abm movbe xsave"
	const v4 = v3 + " avx512f avx512bw avx512cd avx512dq avx512vl"
	for cpuinfo, want := range map[string][]string{
		"":                               nil,
		"flags : avx512f\n":              nil,
		"processor\t: 0\n" + v2 + "\n":   {"x86-64-v2"},
		v3 + " avx512f\n":                {"x86-64-v3", "x86-64-v2"},
		v4 + "\nflags\t: none\n":         {"x86-64-v4", "x86-64-v3", "x86-64-v2"},
		"Features\t: fp asimd evtstrm\n": nil,
	} {
		if diff := cmp.Diff(want, elfdeps.HWCaps([]byte(cpuinfo))); diff != "" {
			t.Errorf("%q (-want +got):\n%s", cpuinfo, diff)
		}
	}
}
