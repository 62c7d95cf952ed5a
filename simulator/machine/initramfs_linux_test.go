package machine

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/simulator"
)

// entry is an entry of an archive, as the kernel reads it.
type entry struct {
	Name       string
	Mode, Time uint64
	Data       string
}

// unpack reads an initramfs.
func unpack(t *testing.T, b []byte) []entry {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if b, err = io.ReadAll(z); err != nil {
		t.Fatal(err)
	}
	if !z.ModTime.IsZero() || z.Name != "" {
		t.Errorf("compressed with time %v, name %q", z.ModTime, z.Name)
	}
	var list []entry
	at := 0
	for {
		if len(b)-at < 110 || string(b[at:at+6]) != "070701" {
			t.Fatalf("no header at %d", at)
		}
		field := func(i int) uint64 {
			v, err := strconv.ParseUint(string(b[at+6+8*i:at+14+8*i]), 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		start := at
		size, nameSize := int(field(6)), int(field(11))
		e := entry{Mode: field(1), Time: field(5), Name: string(b[at+110 : at+110+nameSize-1])}
		at = (start + 110 + nameSize + 3) &^ 3
		e.Data = string(b[at : at+size])
		at = (at + size + 3) &^ 3
		if e.Name == "TRAILER!!!" {
			if at != len(b) {
				t.Errorf("%d bytes behind the end", len(b)-at)
			}
			return list
		}
		list = append(list, e)
	}
}

func TestInitramfs(t *testing.T) {
	source := filepath.Join(t.TempDir(), "source")
	if err := os.WriteFile(source, []byte("from a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	files := []File{
		{Path: "/init", Mode: 0o755, Data: []byte("1")},
		{Path: "/a/b/c", Mode: 0o600, Source: source},
		{Path: "/a-b", Mode: 0o644},
		{Path: "/a/b/d", Mode: 0o644, Data: []byte("12345")},
	}
	one, err := Initramfs(files)
	if err != nil {
		t.Fatal(err)
	}
	want := []entry{
		{"a", 0o040755, 0, ""},
		{"a-b", 0o100644, 0, ""},
		{"a/b", 0o040755, 0, ""},
		{"a/b/c", 0o100600, 0, "from a file"},
		{"a/b/d", 0o100644, 0, "12345"},
		{"init", 0o100755, 0, "1"},
	}
	if diff := cmp.Diff(want, unpack(t, one)); diff != "" {
		t.Error(diff)
	}
	slices.Reverse(files)
	two, err := Initramfs(files)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one, two) {
		t.Error("two archives of the same files differ")
	}
}

func TestInitramfsRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		files []File
		want  error
	}{
		"relative":     {[]File{{Path: "a"}}, attest.ErrArgument},
		"not clean":    {[]File{{Path: "/a/../b"}}, attest.ErrArgument},
		"root":         {[]File{{Path: "/"}}, attest.ErrArgument},
		"twice":        {[]File{{Path: "/a"}, {Path: "/a"}}, attest.ErrArgument},
		"below a file": {[]File{{Path: "/a"}, {Path: "/a/b"}}, attest.ErrArgument},
		"mode":         {[]File{{Path: "/a", Mode: fs.ModeSymlink}}, attest.ErrArgument},
		"two contents": {[]File{{Path: "/a", Source: "x", Data: []byte{1}}}, attest.ErrArgument},
		"missing":      {[]File{{Path: "/a", Source: filepath.Join(t.TempDir(), "none")}}, ErrFiles},
		"not a file":   {[]File{{Path: "/a", Source: t.TempDir()}}, ErrFiles},
	} {
		t.Run(name, func(t *testing.T) {
			if b, err := Initramfs(c.files); !errors.Is(err, c.want) || b != nil {
				t.Errorf("%d bytes, %v", len(b), err)
			}
		})
	}
}

func TestModulesInOrder(t *testing.T) {
	files := map[string]string{"a": "k/a.ko", "b": "k/b.ko", "c_d": "k/c-d.ko", "e": ""}
	needs := map[string][]string{"k/a.ko": {"b", "c-d", "e"}, "k/b.ko": {"c_d"}}
	depends := func(file string) ([]string, error) { return needs[file], nil }
	got, err := order([]string{"e", "a", "c-d"}, files, depends)
	if want := []string{"k/c-d.ko", "k/b.ko", "k/a.ko"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := order([]string{"none"}, files, depends); !errors.Is(err, attest.ErrArgument) {
		t.Errorf("a module that is not there: %v", err)
	}
	needs["k/b.ko"] = []string{"none"}
	if _, err := order([]string{"a"}, files, depends); !errors.Is(err, attest.ErrArgument) {
		t.Errorf("a module that is not there, needed by another: %v", err)
	}
	if got := infoDepends("license=GPL\x00depends=x,y\x00name=z\x00"); !slices.Equal(got, []string{"x", "y"}) {
		t.Errorf("%q", got)
	}
	if got := infoDepends("depends=\x00"); got != nil {
		t.Errorf("%q", got)
	}
}

func TestConfigRefused(t *testing.T) {
	good := Config{Dir: t.TempDir(), Boot: Direct, Init: "init"}
	if c, err := good.filled(); err != nil || c.Memory != defaultMemory || c.Timeout != defaultTimeout {
		t.Fatalf("%+v, %v", c, err)
	}
	for name, change := range map[string]func(*Config){
		"zero":         func(c *Config) { *c = Config{} },
		"no folder":    func(c *Config) { c.Dir = "" },
		"no boot":      func(c *Config) { c.Boot = 0 },
		"unknown boot": func(c *Config) { c.Boot = SecureBootUnsigned + 1 },
		"no init":      func(c *Config) { c.Init = "" },
		"little":       func(c *Config) { c.Memory = 96 },
		"much":         func(c *Config) { c.Memory = 1 << 20 },
		"time":         func(c *Config) { c.Timeout = -1 },
		"command line": func(c *Config) { c.Cmdline = "a\nb" },
		"file":         func(c *Config) { c.Files = []File{{Path: "x"}} },
		"disks":        func(c *Config) { c.Disks = make([]Disk, 17) },
	} {
		t.Run(name, func(t *testing.T) {
			c := good
			change(&c)
			if m, err := Start(t.Context(), c); !errors.Is(err, attest.ErrArgument) || m != nil {
				t.Errorf("%v, %v", m, err)
			}
		})
	}
}

// TestArguments looks at what must be so for the firmware to protect anything.
func TestArguments(t *testing.T) {
	for boot := Direct; boot <= SecureBootUnsigned; boot++ {
		c := Config{Dir: "m", Boot: boot, Kernel: &Kernel{Image: "/vmlinuz"}, Memory: 512, Disks: []Disk{{Path: "/a,b", ReadOnly: true}}}
		args, err := c.qemuArgs()
		if err != nil {
			t.Fatal(err)
		}
		has := func(arg string) bool { return slices.Contains(args, arg) }
		if has("driver=cfi.pflash01,property=secure,value=on") != boot.secure() || has("q35,smm=on") != boot.secure() ||
			has("-kernel") == boot.uki() || !has("tcg,thread=multi") {
			t.Errorf("boot %d: %q", boot, args)
		}
		want := `{"driver":"raw","node-name":"disk0","read-only":true,"file":{"driver":"file","filename":"/a,b","read-only":true}}`
		if !has(want) {
			t.Errorf("boot %d: no disk: %q", boot, args)
		}
	}
}

func TestNoSigner(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := lookTool("no-such-program"); !errors.Is(err, simulator.ErrNotInstalled) {
		t.Errorf("a program that is not there: %v", err)
	}
}

func TestRefusalIsSeen(t *testing.T) {
	said := []byte("BdsDxe: failed to load Boot0001 \"UEFI Misc Device\" from PciRoot(0x0)/Pci(0x2,0x0): Access Denied\r\n")
	if !refusedBySecureBoot(said) || refusedBySecureBoot([]byte("EFI stub: UEFI Secure Boot is enabled.\r\n")) {
		t.Error("a refusal is not told from a boot")
	}
}
