//go:build linux

package machine

import (
	"bufio"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/simulator"
)

// kernelPackage is the Debian package that depends on the newest kernel for
// virtual machines.
const kernelPackage = "linux-image-cloud-amd64"

// Kernel is a kernel and its modules, as Debian's packages hold them.
type Kernel struct {
	// Release is what uname -r prints.
	Release string
	// Image is the path of the kernel, an UEFI application.
	Image string
	// Modules is the folder lib/modules/RELEASE.
	Modules string
}

// FindKernel returns Debian's kernel for virtual machines from a cache folder,
// and fetches it there first, by apt-get, if it holds none; nothing is
// installed. "" is the folder that the environment variable SWORN_VM_CACHE
// names, or else sworn-vm in the user's cache folder. The error wraps
// [simulator.ErrNotInstalled] where apt-get and dpkg are not there, else
// [ErrFiles].
func FindKernel(ctx context.Context, cache string) (*Kernel, error) {
	k, err := findKernel(ctx, cache)
	if err != nil {
		return nil, fmt.Errorf("finding a kernel: %w", err)
	}
	return k, nil
}

// findKernel is FindKernel.
func findKernel(ctx context.Context, cache string) (*Kernel, error) {
	if cache == "" {
		cache = os.Getenv("SWORN_VM_CACHE")
	}
	if cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrFiles, err)
		}
		cache = filepath.Join(dir, "sworn-vm")
	}
	if k := cached(cache); k != nil {
		return k, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil { //nolint:gosec // G301: a cache of public files.
		return nil, fmt.Errorf("%w: %w", ErrFiles, err)
	}
	if err := fetchKernel(ctx, cache); err != nil {
		return nil, err
	}
	k := cached(cache)
	if k == nil {
		return nil, fmt.Errorf("the package holds no kernel: %w", ErrFiles)
	}
	return k, nil
}

// cached returns the newest kernel of a cache; nil if there is none.
func cached(cache string) *Kernel {
	images, _ := filepath.Glob(filepath.Join(cache, "linux-*", "boot", "vmlinuz-*"))
	for _, image := range slices.Backward(images) {
		release := strings.TrimPrefix(filepath.Base(image), "vmlinuz-")
		modules := filepath.Join(filepath.Dir(filepath.Dir(image)), "lib", "modules", release)
		if info, err := os.Stat(modules); err == nil && info.IsDir() {
			return &Kernel{Release: release, Image: image, Modules: modules}
		}
	}
	return nil
}

// fetchKernel downloads the package and unpacks it into the cache. The kernel
// gets its name when it is complete.
func fetchKernel(ctx context.Context, cache string) error {
	text, err := tool(ctx, "", "apt-cache", "depends", kernelPackage)
	if err != nil {
		return err
	}
	name := regexp.MustCompile(`Depends: (linux-image-[0-9][0-9A-Za-z.+-]*)`).FindStringSubmatch(text)
	if name == nil {
		return fmt.Errorf("apt knows no package %s, try apt-get update: %w", kernelPackage, ErrFiles)
	}
	part, err := os.MkdirTemp(cache, "new-*")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFiles, err)
	}
	defer os.RemoveAll(part)
	if _, err := tool(ctx, part, "apt-get", "-q", "download", name[1]); err != nil {
		return fmt.Errorf("downloading %s (apt-get update may help): %w", name[1], err)
	}
	debs, err := filepath.Glob(filepath.Join(part, "*.deb"))
	if err != nil || len(debs) != 1 {
		return fmt.Errorf("apt-get left %d packages: %w", len(debs), ErrFiles)
	}
	if _, err := tool(ctx, part, "dpkg", "-x", filepath.Base(debs[0]), "tree"); err != nil {
		return err
	}
	final := filepath.Join(cache, strings.Replace(name[1], "linux-image-", "linux-", 1))
	if err := os.Rename(filepath.Join(part, "tree"), final); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: %w", ErrFiles, err)
	}
	return nil
}

// tool runs a program without input and returns what it prints.
func tool(ctx context.Context, dir, name string, args ...string) (string, error) {
	return feed(ctx, dir, "", name, args...)
}

// feed runs a program with that input and returns what it prints.
func feed(ctx context.Context, dir, input, name string, args ...string) (string, error) {
	program, err := lookTool(name)
	if err != nil {
		return "", err
	}
	c := exec.CommandContext(ctx, program, args...)
	c.Dir, c.Stdin = dir, strings.NewReader(input)
	c.Env = append(os.Environ(), "LC_ALL=C")
	var stderr strings.Builder
	c.Stderr = &stderr
	out, err := c.Output()
	if e := ctx.Err(); err != nil && e != nil {
		return "", fmt.Errorf("running %s: %w", name, e)
	}
	if err != nil {
		return "", fmt.Errorf("running %s: %w: %w: %s", name, ErrFiles, err, lastText([]byte(stderr.String())))
	}
	return string(out), nil
}

// lookTool finds a program, in the folders of the system's own too.
func lookTool(name string) (string, error) {
	if file, err := exec.LookPath(name); err == nil {
		return file, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if file, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return file, nil
		}
	}
	return "", fmt.Errorf("%s: %w (bash tools/setup.sh vm)", name, simulator.ErrNotInstalled)
}

// moduleName returns the name of a module as the kernel spells it.
func moduleName(file string) string {
	return strings.ReplaceAll(strings.TrimSuffix(filepath.Base(file), ".ko"), "-", "_")
}

// closure returns the files of these modules and of all that they depend on,
// each after what it depends on. What is built into the kernel needs no file.
func (k *Kernel) closure(names []string) ([]string, error) {
	files := map[string]string{}
	err := filepath.WalkDir(k.Modules, func(file string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(file, ".ko") {
			files[moduleName(file)] = file
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing modules: %w: %w", ErrFiles, err)
	}
	builtin, err := os.Open(filepath.Join(k.Modules, "modules.builtin"))
	if err != nil {
		return nil, fmt.Errorf("listing modules: %w: %w", ErrFiles, err)
	}
	defer builtin.Close()
	for s := bufio.NewScanner(builtin); s.Scan(); {
		files[moduleName(s.Text())] = ""
	}
	return order(names, files, moduleDepends)
}

// order returns the files of modules, each once, in the order of loading;
// files maps a name to a file, or to "" for what is built in.
func order(names []string, files map[string]string, depends func(file string) ([]string, error)) ([]string, error) {
	var list []string
	done := map[string]bool{}
	var visit func(name string) error
	visit = func(name string) error {
		name = moduleName(name)
		file, ok := files[name]
		if !ok {
			return fmt.Errorf("the kernel has no module %q: %w", name, attest.ErrArgument)
		}
		if done[name] || file == "" {
			return nil
		}
		done[name] = true
		needs, err := depends(file)
		if err != nil {
			return err
		}
		for _, n := range needs {
			if err := visit(n); err != nil {
				return err
			}
		}
		list = append(list, file)
		return nil
	}
	for _, n := range names {
		if err := visit(n); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// moduleDepends reads which modules a module's file says that it needs.
func moduleDepends(file string) ([]string, error) {
	f, err := elf.Open(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", file, ErrFiles, err)
	}
	defer f.Close()
	s := f.Section(".modinfo")
	if s == nil {
		return nil, fmt.Errorf("%s is no module: %w", file, ErrFiles)
	}
	info, err := s.Data()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", file, ErrFiles, err)
	}
	return infoDepends(string(info)), nil
}

// infoDepends parses the section .modinfo: NAME=VALUE, each ended by a NUL.
func infoDepends(info string) []string {
	for entry := range strings.SplitSeq(info, "\x00") {
		if list, ok := strings.CutPrefix(entry, "depends="); ok && list != "" {
			return strings.Split(list, ",")
		}
	}
	return nil
}

// lastText returns the end of a text, quoted, for an error message.
func lastText(b []byte) string {
	const most = 1500
	text := strings.TrimSpace(string(b))
	if len(text) > most {
		text = text[len(text)-most:]
	}
	return fmt.Sprintf("%q", text)
}
