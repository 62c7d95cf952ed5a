package kernel_test

import (
	"bytes"
	"context"
	"crypto/sha512"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/sev/sevdev"
	"github.com/sworn-run/sworn/simulator/kernel"
	"github.com/sworn-run/sworn/tdx/tdxdev"
)

// childVariable is the environment variable that makes this program the machine of
// TestOverlay; its value is the name of the driver.
const childVariable = "SWORN_TEST_KERNEL"

func TestMain(m *testing.M) {
	provider, ok := os.LookupEnv(childVariable)
	if !ok {
		os.Exit(m.Run())
	}
	if err := machine(provider); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// start mounts a simulated kernel.
func start(t *testing.T, o kernel.Options) *kernel.Kernel {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("FUSE is mounted by root")
	}
	k, err := kernel.Start(t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

// echo answers with what it was asked to report on.
func echo(in []byte, level uint) (out, aux []byte, err error) {
	return fmt.Appendf(nil, "report of %d: %x", level, in), []byte("certificates"), nil
}

// get and set read and write an attribute.
func get(t *testing.T, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Errorf("reading %s: %v", name, err)
	}
	return string(b)
}

func set(dir, name string, value []byte) error {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(value)
	return errors.Join(err, f.Close())
}

// TestRequest follows one request as the kernel's documentation has it.
func TestRequest(t *testing.T) {
	k := start(t, kernel.Options{Provider: kernel.SEVGuest, PrivLevelFloor: 1, Report: echo})
	dir := filepath.Join(k.ConfigFS(), "tsm/report/one")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o700); !errors.Is(err, fs.ErrExist) {
		t.Errorf("made twice: %v", err)
	}
	if got := get(t, dir, "generation") + get(t, dir, "provider") + get(t, dir, "privlevel_floor"); got != "0\nsev_guest\n1\n" {
		t.Errorf("%q", got)
	}
	if _, err := os.ReadFile(filepath.Join(dir, "outblob")); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("read before it was written: %v", err)
	}
	in := bytes.Repeat([]byte{5}, 64)
	for _, c := range []struct {
		name, value string
		want        error
	}{
		{"privlevel", "0", syscall.EINVAL},
		{"privlevel", "4", syscall.EINVAL},
		{"privlevel", "x", syscall.EINVAL},
		{"privlevel", "2\n", nil},
		{"inblob", string(in), nil},
		{"inblob", string(in) + "6", syscall.EFBIG},
		{"outblob", "", fs.ErrPermission},
		{"generation", "7", fs.ErrPermission},
	} {
		if err := set(dir, c.name, []byte(c.value)); !errors.Is(err, c.want) {
			t.Errorf("writing %q to %s: %v", c.value, c.name, err)
		}
	}
	if _, err := os.ReadFile(filepath.Join(dir, "inblob")); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("reading inblob: %v", err)
	}
	if got := get(t, dir, "generation"); got != "2\n" {
		t.Errorf("generation %q", got)
	}
	if got := get(t, dir, "outblob") + get(t, dir, "auxblob"); got != fmt.Sprintf("report of 2: %xcertificates", in) {
		t.Errorf("%q", got)
	}
	if err := set(dir, "inblob", in[:63]); err != nil {
		t.Error(err)
	}
	if _, err := os.ReadFile(filepath.Join(dir, "outblob")); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("63 bytes: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "inblob")); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("removing an attribute: %v", err)
	}
	if err := os.Remove(dir); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("still there: %v", err)
	}
}

// TestTDXRequest: a TD's requests have less, and without a driver there are none.
func TestTDXRequest(t *testing.T) {
	k := start(t, kernel.Options{Provider: kernel.TDXGuest, Report: echo})
	dir := filepath.Join(k.ConfigFS(), "tsm/report/one")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadDir(dir)
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	if slices.Sort(names); err != nil || !slices.Equal(names, []string{"generation", "inblob", "outblob", "provider"}) {
		t.Errorf("%v, %v", names, err)
	}
	none := start(t, kernel.Options{})
	if err := os.Mkdir(filepath.Join(none.ConfigFS(), "tsm/report/one"), 0o700); !errors.Is(err, syscall.ENXIO) {
		t.Errorf("no driver: %v", err)
	}
}

func TestRegisters(t *testing.T) {
	regs, err := kernel.NewRegisters(nil)
	if err != nil {
		t.Fatal(err)
	}
	k := start(t, kernel.Options{Provider: kernel.TDXGuest, Report: echo, Registers: regs})
	digest := bytes.Repeat([]byte{1}, 48)
	for _, c := range []struct {
		name  string
		value []byte
		want  error
	}{
		{"rtmr3:sha384", digest[:47], syscall.EINVAL},
		{"rtmr3:sha384", append(digest, 1), syscall.EINVAL},
		{"mrtd:sha384", digest, fs.ErrPermission},
		{"rtmr4:sha384", digest, fs.ErrNotExist},
		{"rtmr3:sha384", digest, nil},
	} {
		if err := set(k.Measurements(), c.name, c.value); !errors.Is(err, c.want) {
			t.Errorf("%d bytes to %s: %v", len(c.value), c.name, err)
		}
	}
	want := sha512.Sum384(append(make([]byte, 48), digest...))
	if got := get(t, k.Measurements(), "rtmr3:sha384"); got != string(want[:]) || !bytes.Equal(regs.RTMR(3), want[:]) {
		t.Errorf("%x, want %x", got, want)
	}
	if regs.RTMR(4) != nil || get(t, k.Measurements(), "rtmr2:sha384") != string(make([]byte, 48)) {
		t.Error("another register was extended")
	}
	for name, value := range map[string][]byte{"rtmr4:sha384": digest, "mrtd:sha384": digest[:1]} {
		if r, err := kernel.NewRegisters(map[string][]byte{name: value}); !errors.Is(err, kernel.ErrArgument) || r != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStartRefuses(t *testing.T) {
	for name, o := range map[string]kernel.Options{
		"no function": {Provider: kernel.SEVGuest}, "no level": {Provider: kernel.SEVGuest, Report: echo, PrivLevelFloor: 4},
	} {
		if k, err := kernel.Start(t.TempDir(), o); !errors.Is(err, kernel.ErrArgument) || k != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if k, err := kernel.Start("/no/such/folder", kernel.Options{}); !errors.Is(err, kernel.ErrMount) || k != nil {
		t.Errorf("nowhere: %v", err)
	}
}

// TestOverlay runs machines whose programs find everything where the kernel has it, each
// in a mount namespace of its own. Out of one, nothing of the system's is hidden.
func TestOverlay(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("FUSE is mounted by root")
	}
	for _, provider := range []string{kernel.SEVGuest, kernel.TDXGuest} {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), childVariable+"="+provider)
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", provider, err, out)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(mounts), "/sys/devices/virtual/misc") {
		t.Errorf("a mount of theirs is here: %v", err)
	}
	here, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	if first, err := os.Readlink("/proc/1/ns/mnt"); err == nil && first != here {
		return // these tests run in a namespace of their own themselves
	}
	if err := start(t, kernel.Options{}).Overlay(); !errors.Is(err, kernel.ErrNamespace) {
		t.Errorf("laid over the system's own: %v", err)
	}
}

// machine is what a machine of TestOverlay does: a device with the default options makes
// evidence.
func machine(provider string) (err error) {
	// What is mounted here reaches nobody else.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "kernel")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	regs, err := kernel.NewRegisters(nil)
	if err != nil {
		return err
	}
	o := kernel.Options{Provider: provider, CCEL: []byte("log"), Report: func(in []byte, _ uint) (_, _ []byte, _ error) {
		return evidence(provider, in), nil, nil
	}}
	if provider == kernel.TDXGuest {
		o.Registers = regs
	}
	k, err := kernel.Start(dir, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, k.Close()) }()
	if err := k.Overlay(); err != nil {
		return err
	}
	return launch(provider, regs)
}

// evidence returns a report or a quote that nobody signed.
func evidence(provider string, in []byte) []byte {
	if provider == kernel.SEVGuest {
		return slices.Concat(make([]byte, 0x50), in, make([]byte, 1184-0x90))
	}
	return slices.Concat([]byte{4, 0, 2, 0, 0x81, 0, 0, 0}, make([]byte, 40+520), in, make([]byte, 4))
}

// launch has a statement attested by the device of the machine.
func launch(provider string, regs *kernel.Registers) error {
	ctx := context.Background()
	var d attest.Attester
	var err error
	if provider == kernel.SEVGuest {
		d, err = sevdev.Open(ctx, sevdev.Options{})
	} else {
		d, err = tdxdev.Open(ctx, tdxdev.Options{})
	}
	if err != nil {
		return err
	}
	if td, ok := d.(*tdxdev.Device); ok {
		if err := td.Extend(ctx, [][]byte{make([]byte, 48)}); err != nil {
			return err
		}
		if log, err := td.EventLog(ctx); err != nil || string(log) != "log" {
			return fmt.Errorf("log %q: %w", log, err)
		}
		if want := sha512.Sum384(make([]byte, 96)); !bytes.Equal(regs.RTMR(3), want[:]) {
			return fmt.Errorf("RTMR3 is %x", regs.RTMR(3))
		}
	}
	slot, err := d.Manifest(ctx)
	if err != nil {
		return err
	}
	st := &attest.Statement{
		Type: attest.TypeRun, Time: 1700000000000,
		Series: [32]byte{1}, Launch: [32]byte{2}, KeyID: [32]byte{3},
		LogSize: 1, LogRoot: [32]byte{4}, RecordCount: 1, TreeRoot: [32]byte{5},
		Manifest: []attest.Slot{slot},
	}
	encoded, err := st.Encode()
	if err != nil {
		return err
	}
	ev, err := d.Attest(ctx, 0, st)
	if err != nil {
		return err
	}
	if !bytes.Contains(ev.Parts[0].Data, attest.Quoted(attest.SHA512, 0, slot.Format, encoded)) {
		return errors.New("the evidence does not cover the statement")
	}
	return d.Close()
}
