//go:build vm

package machine_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sworn-run/sworn/simulator/machine"
)

// The tests run one after another: starved of its processor, a machine's kernel
// gives up waiting for the TPM.

// bootLimit bounds one boot: it takes 10 s on an idle processor, and minutes on a
// busy one.
const bootLimit = 240 * time.Second

// TestMain makes the folder of what the tests build once.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "vm")
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	programDir = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// programDir holds the programs that the tests build.
var programDir string

// program builds a program of this module once.
func program(name, pkg string) func() (string, error) {
	return sync.OnceValues(func() (string, error) {
		file := filepath.Join(programDir, name)
		return file, machine.Build(context.Background(), pkg, file)
	})
}

var (
	guest = program("guest", machine.Guest)
	sworn = program("sworn", "github.com/sworn-run/sworn/cmd/sworn")
	llama = program("llama", "github.com/sworn-run/sworn/examples/llama")
)

// built returns a program's path.
func built(t *testing.T, build func() (string, error)) string {
	t.Helper()
	file, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// folder makes a folder with a short path, for a socket's sake.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "vm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// describe returns the description of a machine that holds sworn, the engine,
// and a model.
func describe(t *testing.T, boot machine.Boot) machine.Config {
	t.Helper()
	model, tokenizer := modelFiles(t)
	return machine.Config{
		Dir: filepath.Join(folder(t), "m"), Boot: boot, Init: built(t, guest), IMAPolicy: machine.IMAPolicy, Timeout: bootLimit,
		Files: []machine.File{
			{Path: "/bin/sworn", Mode: 0o755, Source: built(t, sworn)},
			{Path: "/bin/llama", Mode: 0o755, Source: built(t, llama)},
			{Path: "/model/model.bin", Mode: 0o644, Source: model},
			{Path: "/model/tokenizer.bin", Mode: 0o644, Source: tokenizer},
		},
	}
}

// boot boots a machine that ends with the test, or with ctx. Where the processor
// is so busy that firmware gives up on the TPM, the boot is tried again, twice.
func boot(ctx context.Context, t *testing.T, c machine.Config) *machine.Machine {
	t.Helper()
	m, err := machine.Start(ctx, c)
	for try := 0; try < 2 && errors.Is(err, machine.ErrBoot) && !errors.Is(err, machine.ErrSecureBoot); try++ {
		t.Logf("trying again: %v", err)
		m, err = machine.Start(ctx, c)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			b, _ := os.ReadFile(m.Console())
			t.Logf("console:\n%s", b)
		}
	})
	t.Logf("booted in %.1f s", m.Took().Seconds())
	return m
}

// execute runs a program in a machine and wants exit status 0.
func execute(t *testing.T, m *machine.Machine, argv ...string) []byte {
	t.Helper()
	r, err := m.Exec(t.Context(), machine.Command{Argv: argv, Env: []string{"PATH=/bin"}, Timeout: 10 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if r.Code != 0 {
		t.Fatalf("%q: exit status %d: %s", argv, r.Code, r.Stderr)
	}
	return r.Stdout
}

// command runs a program here and returns its exit status and what it printed.
func command(t *testing.T, name string, args ...string) (int, string) {
	t.Helper()
	c := exec.CommandContext(t.Context(), name, args...)
	c.Env = append(os.Environ(), "LC_ALL=C", "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	if c.Err != nil { // not found without these folders
		c = exec.CommandContext(t.Context(), "/usr/sbin/"+name, args...)
	}
	out, err := c.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", name, err)
	}
	return c.ProcessState.ExitCode(), string(out)
}

// must wants exit status 0 of a program that runs here.
func must(t *testing.T, name string, args ...string) string {
	t.Helper()
	code, out := command(t, name, args...)
	if code != 0 {
		t.Fatalf("%s %q: exit status %d: %s", name, args, code, out)
	}
	return out
}

// attested runs the engine attested in a machine, and returns the path here of
// the record.
func attested(t *testing.T, m *machine.Machine, dir, name, nonce string) string {
	t.Helper()
	file := "/tmp/" + name + ".cer.json"
	execute(t, m, "/bin/sworn", "run", "-q", "--tpm", "/dev/tpmrm0", "--nonce", nonce, "--record", file, "--output", "/tmp/"+name+".txt",
		"--weights", "/model/model.bin", "--config", "/model/tokenizer.bin", "--param", "steps=40", "--",
		"/bin/llama", "-m", "{weights}", "-z", "{config}", "-n", "{param:steps}")
	record, err := m.ReadFile(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	here := filepath.Join(dir, name+".cer.json")
	if err := os.WriteFile(here, record, 0o600); err != nil {
		t.Fatal(err)
	}
	return here
}

// attestAndVerify runs two attested jobs in a machine, and has the second judged
// out here under a policy from the first. One bit of the record changed, it is
// refused. It returns the paths of the policy and the record, and the nonce.
func attestAndVerify(t *testing.T, m *machine.Machine) (policy, record, nonce string) {
	t.Helper()
	nonce = "00112233445566778899aabbccddeeff"
	dir, roots := t.TempDir(), m.TPM().RootsDir()
	golden := attested(t, m, dir, "golden", "ffeeddccbbaa99887766554433221100")
	record = attested(t, m, dir, "record", nonce)
	policy = filepath.Join(dir, "policy.json")
	must(t, built(t, sworn), "policy", "from-record", golden, "--roots", roots, "-o", policy,
		"--waive", "slot.measurement=what booted is not appraised here", "--waive", "launcher.rooted=as above")
	verify := []string{"verify", "--policy", policy, "--roots", roots, "--nonce", nonce}
	t.Log(must(t, built(t, sworn), append(verify, record)...))
	b, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(b, []byte(`"steps"`))
	if at < 0 {
		t.Fatal("the record does not name the parameter")
	}
	b[at+1] ^= 1
	changed := filepath.Join(dir, "changed.cer.json")
	if err := os.WriteFile(changed, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out := command(t, built(t, sworn), append(verify, changed)...); code != 1 {
		t.Errorf("a changed record: exit status %d: %s", code, out)
	}
	return policy, record, nonce
}

// evidence takes the evidence out, saves it where SWORN_VM_EVIDENCE names a
// folder, and checks what does not need an appraisal.
func evidence(t *testing.T, m *machine.Machine) *machine.Evidence {
	t.Helper()
	e, err := m.Evidence(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if dir := os.Getenv("SWORN_VM_EVIDENCE"); dir != "" {
		if err := e.Save(filepath.Join(dir, t.Name())); err != nil {
			t.Fatal(err)
		}
	}
	// The log begins with the event that announces its format (TCG PC Client
	// Platform Firmware Profile, 10.4.5.1).
	if !bytes.Contains(e.EventLog[:min(64, len(e.EventLog))], []byte("Spec ID Event03\x00")) {
		t.Errorf("the event log of %d bytes does not begin as one", len(e.EventLog))
	}
	checkReplay(t, e)
	for _, file := range []string{"boot_aggregate", "/bin/sworn", "/model/model.bin"} {
		if !bytes.Contains(e.IMAText, []byte(" "+file+"\n")) {
			t.Errorf("IMA has not measured %s:\n%s", file, e.IMAText)
		}
	}
	for bank, size := range map[string]int{"sha256": 32, "sha384": 48} {
		if n := len(e.PCRs[bank]); n != 24 {
			t.Fatalf("%d registers of %s", n, bank)
		}
		for _, i := range []int{0, 4, 7, 10, 13} {
			if v := e.PCRs[bank][i]; len(v) != size || bytes.Equal(v, make([]byte, size)) {
				t.Errorf("register %d of %s is %x", i, bank, v)
			}
		}
	}
	return e
}

func TestDirect(t *testing.T) {
	m := boot(t.Context(), t, describe(t, machine.Direct))
	policy, record, nonce := attestAndVerify(t, m)
	predicted(t, m, policy, record, nonce)
	if e := evidence(t, m); e.SecureBoot != 0 {
		t.Errorf("SecureBoot is %d", e.SecureBoot)
	}
	if err := m.PowerOff(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := m.ReadFile(t.Context(), "/proc/cmdline"); !errors.Is(err, machine.ErrGone) {
		t.Errorf("a machine that is off: %v", err)
	}
}

// predicted holds the record of a kernel that QEMU booted against what its files say,
// and against another command line.
func predicted(t *testing.T, m *machine.Machine, policy, record, nonce string) {
	t.Helper()
	media, out := m.Media(), policy+".boot"
	for _, c := range []struct{ cmdline, want string }{{media.Cmdline, ""}, {media.Cmdline + " quiet", "slot.measurement"}} {
		must(t, built(t, sworn), "policy", "from-boot", "--policy", policy, "-o", out, "--kernel", media.Kernel, "--initrd", media.Initrd,
			"--cmdline", c.cmdline, "--qemu-memory", fmt.Sprintf("%dM", media.Memory))
		verify := []string{"verify", "--policy", out, "--roots", m.TPM().RootsDir(), "--nonce", nonce, "--waive", "launcher.rooted=no lockdown", record}
		if c.want == "" {
			t.Log(must(t, built(t, sworn), verify...))
		} else {
			refused(t, verify, c.want)
		}
	}
}

func TestUnsignedIsRefused(t *testing.T) {
	c := describe(t, machine.SecureBootUnsigned)
	began := time.Now()
	m, err := machine.Start(t.Context(), c)
	if err == nil {
		_ = m.Close()
	}
	if !errors.Is(err, machine.ErrSecureBoot) {
		t.Fatalf("an image without a signature: %v", err)
	}
	t.Logf("refused after %.1f s", time.Since(began).Seconds())
}

// TestVerity looks at what protects files and file systems from change: the
// kernel in there agrees with the tools out here, and notices a changed block.
func TestVerity(t *testing.T) {
	dir := folder(t)
	tree := filepath.Join(dir, "tree")
	weights := bytes.Repeat([]byte("weights\n"), 5000)
	if err := os.Mkdir(tree, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(tree, "weights.bin")
	if err := os.WriteFile(file, weights, 0o644); err != nil {
		t.Fatal(err)
	}
	ext4, erofs, hashes := filepath.Join(dir, "ext4.img"), filepath.Join(dir, "erofs.img"), filepath.Join(dir, "hashes.img")
	must(t, "mkfs.ext4", "-q", "-b", "4096", "-O", "verity", "-d", tree, ext4, "16M")
	must(t, "mkfs.erofs", erofs, tree)
	v := formatVerity(t, erofs, hashes)
	v.Name, v.Data, v.Hash = "model", "/dev/vdb", "/dev/vdc"
	bad := filepath.Join(dir, "bad.img")
	b, err := os.ReadFile(erofs)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(b, []byte("weights\nweights\n"))
	if at < 0 {
		t.Fatal("the image does not hold the file")
	}
	b[at] ^= 1
	if err := os.WriteFile(bad, b, 0o600); err != nil {
		t.Fatal(err)
	}

	m := boot(t.Context(), t, machine.Config{
		Dir: filepath.Join(dir, "m"), Boot: machine.Legacy, Init: built(t, guest), Timeout: bootLimit,
		Modules: []string{"ext4", "erofs", "dm-verity", "overlay", "loop", "fuse"},
		Disks:   []machine.Disk{{Path: ext4}, {Path: erofs, ReadOnly: true}, {Path: hashes, ReadOnly: true}, {Path: bad, ReadOnly: true}},
	})
	t.Run("fs-verity", func(t *testing.T) { fsVerity(t, m, file) })
	t.Run("dm-verity", func(t *testing.T) { dmVerity(t, m, v, weights) })
}

// formatVerity makes the hashes of an image.
func formatVerity(t *testing.T, data, hash string) machine.Verity {
	t.Helper()
	out := must(t, "veritysetup", "format", "--salt=00ff", data, hash)
	field := func(name string) string {
		for line := range strings.SplitSeq(out, "\n") {
			if rest, ok := strings.CutPrefix(line, name+":"); ok {
				return strings.TrimSpace(rest)
			}
		}
		t.Fatalf("veritysetup names no %s: %s", name, out)
		return ""
	}
	blocks, err := strconv.ParseUint(field("Data blocks"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return machine.Verity{Blocks: blocks, Root: field("Root hash"), Salt: field("Salt")}
}

// fsVerity puts a file of the disk /dev/vda under fs-verity; file is the same
// here.
func fsVerity(t *testing.T, m *machine.Machine, file string) {
	if err := m.Mount(t.Context(), "/dev/vda", "/mnt/ext4", "ext4", 0, ""); err != nil {
		t.Fatal(err)
	}
	digest, err := m.EnableVerity(t.Context(), "/mnt/ext4/weights.bin")
	if err != nil {
		t.Fatal(err)
	}
	if want := must(t, "fsverity", "digest", file); !strings.HasPrefix(want, "sha256:"+hex.EncodeToString(digest)+" ") {
		t.Errorf("the kernel's digest is %x, that of fsverity %s", digest, want)
	}
	if err := m.WriteFile(t.Context(), "/mnt/ext4/weights.bin", []byte("x"), 0o644); !errors.Is(err, machine.ErrGuest) {
		t.Errorf("writing to a file under fs-verity: %v", err)
	}
}

// dmVerity reads a file of an image under dm-verity, and of one that was
// changed, /dev/vdd.
func dmVerity(t *testing.T, m *machine.Machine, v machine.Verity, want []byte) {
	read := func(v machine.Verity) ([]byte, error) {
		device, err := m.MapVerity(t.Context(), v)
		if err != nil {
			t.Fatal(err)
		}
		const readOnly = 1 // MS_RDONLY
		if err := m.Mount(t.Context(), device, "/mnt/"+v.Name, "erofs", readOnly, ""); err != nil {
			t.Fatal(err)
		}
		return m.ReadFile(t.Context(), "/mnt/"+v.Name+"/weights.bin")
	}
	if b, err := read(v); err != nil || !bytes.Equal(b, want) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	v.Name, v.Data = "bad", "/dev/vdd"
	if b, err := read(v); !errors.Is(err, machine.ErrGuest) {
		t.Errorf("a changed image gave %d bytes, %v", len(b), err)
	}
}

// TestCommands covers what goes wrong with a program in a machine, and that the
// machine ends with its context.
func TestCommands(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := describe(t, machine.Legacy)
	m := boot(ctx, t, c)
	if _, err := machine.Start(t.Context(), c); err == nil {
		t.Fatal("two machines in one folder")
	}
	if r, err := m.Exec(ctx, machine.Command{Argv: []string{"/bin/llama"}}); err != nil || r.Code != 2 || len(r.Stderr) == 0 {
		t.Errorf("a program that fails: %+v, %v", r, err)
	}
	if _, err := m.Exec(ctx, machine.Command{Argv: []string{"/bin/none"}}); !errors.Is(err, machine.ErrGuest) {
		t.Errorf("a program that is not there: %v", err)
	}
	slow := machine.Command{Argv: []string{"/bin/sworn", "simulate", "tpm", "--help"}, Timeout: time.Millisecond}
	if _, err := m.Exec(ctx, slow); !errors.Is(err, machine.ErrGuest) {
		t.Errorf("a program that takes too long: %v", err)
	}
	data := bytes.Repeat([]byte{0, 1, '\n', 255}, 700_000)
	if err := m.WriteFile(ctx, "/tmp/a/b", data, 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := m.ReadFile(ctx, "/tmp/a/b"); err != nil || !bytes.Equal(b, data) {
		t.Errorf("%d bytes of %d, %v", len(b), len(data), err)
	}
	e, err := m.Evidence(ctx)
	if err != nil || e.SecureBoot != -1 {
		t.Fatalf("evidence: %+v, %v", e, err)
	}
	checkReplay(t, e)
	cancel()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		_, err := m.ReadFile(t.Context(), "/proc/version")
		if errors.Is(err, machine.ErrGone) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the machine outlives its context: %v", err)
		}
	}
}
