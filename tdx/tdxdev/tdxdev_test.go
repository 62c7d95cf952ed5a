//go:build linux

package tdxdev_test

import (
	"bytes"
	"context"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/simulator/kernel"
	"github.com/sworn-run/sworn/tdx/tdxdev"
)

// mrtd is the MRTD of the TD of these tests.
var mrtd = bytes.Repeat([]byte{0x4d}, 48)

// quote returns a quote that nobody signed, of version 4 or 5, with a signature of 100
// bytes.
func quote(version uint16, data []byte, regs *kernel.Registers) []byte {
	b := make([]byte, 48)
	binary.LittleEndian.PutUint16(b, version)
	binary.LittleEndian.PutUint16(b[2:], 2)
	binary.LittleEndian.PutUint32(b[4:], 0x81)
	body := make([]byte, 584)
	if version == 5 {
		b = append(b, 3, 0, 648&0xff, 648>>8, 0, 0)
		body = make([]byte, 648)
	}
	copy(body[136:], regs.Value("mrtd:sha384"))
	for i := range 4 {
		copy(body[328+48*i:], regs.RTMR(i))
	}
	copy(body[520:], data)
	b = append(b, body...)
	b = append(b, 100, 0, 0, 0)
	return append(b, bytes.Repeat([]byte{0x51}, 100)...)
}

// td is a simulated TD.
type td struct {
	*kernel.Kernel
	regs *kernel.Registers
}

// start simulates a TD; change alters what its kernel answers.
func start(t *testing.T, o kernel.Options, change func(quote []byte) ([]byte, error)) *td {
	t.Helper()
	regs, err := kernel.NewRegisters(map[string][]byte{"mrtd:sha384": mrtd})
	if err != nil {
		t.Fatal(err)
	}
	o.Provider, o.Registers = kernel.TDXGuest, regs
	o.Report = func(in []byte, _ uint) (_, _ []byte, _ error) {
		q := quote(4, in, regs)
		if change == nil {
			return q, nil, nil
		}
		q, err := change(q)
		return q, nil, err
	}
	return &td{mount(t, o), regs}
}

// mount mounts a simulated kernel.
func mount(t *testing.T, o kernel.Options) *kernel.Kernel {
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

// options point the device at a simulated kernel.
func options(k *kernel.Kernel) tdxdev.Options {
	return tdxdev.Options{ConfigFS: k.ConfigFS(), Measurements: k.Measurements(), Tables: filepath.Dir(filepath.Dir(k.CCEL()))}
}

// open opens the device.
func (d *td) open(t *testing.T) *tdxdev.Device {
	t.Helper()
	dev, err := tdxdev.Open(t.Context(), options(d.Kernel))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dev.Close() })
	return dev
}

// statement returns a statement with the slot of the device.
func statement(t *testing.T, d *tdxdev.Device) *attest.Statement {
	t.Helper()
	slot, err := d.Manifest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return &attest.Statement{
		Type: attest.TypeRun, Time: 1700000000000,
		Series: [32]byte{1}, Launch: [32]byte{2}, KeyID: [32]byte{3},
		LogSize: 1, LogRoot: [32]byte{4}, RecordCount: 1, TreeRoot: [32]byte{5},
		Manifest: []attest.Slot{slot},
	}
}

// checkNothingLeft checks that no request is left behind.
func checkNothingLeft(t *testing.T, k *kernel.Kernel) {
	t.Helper()
	left, err := os.ReadDir(filepath.Join(k.ConfigFS(), "tsm", "report"))
	if err != nil || len(left) != 0 {
		t.Errorf("requests left behind: %v, %v", left, err)
	}
}

// TestLaunch extends the register, describes the slot, and has a statement quoted.
func TestLaunch(t *testing.T) {
	machine := start(t, kernel.Options{}, nil)
	d := machine.open(t)
	banks, err := d.Banks(t.Context())
	if err != nil || !slices.Equal(banks, []attest.Alg{attest.SHA384}) {
		t.Fatalf("banks %v, %v", banks, err)
	}
	want := make([]byte, 48)
	for _, event := range []string{"one", "two"} {
		digest := sha512.Sum384([]byte(event))
		sum := sha512.Sum384(slices.Concat(want, digest[:]))
		want = sum[:]
		if err := d.Extend(t.Context(), [][]byte{digest[:]}); err != nil {
			t.Fatal(err)
		}
		values, err := d.Read(t.Context())
		if err != nil || len(values) != 1 || values[0].Bank != attest.SHA384 || values[0].Index != 3 || !bytes.Equal(values[0].Value, want) {
			t.Fatalf("%+v, %v, want %x", values, err, want)
		}
	}
	st := statement(t, d)
	s := st.Manifest[0]
	if s.Format != 3 || s.Mode != attest.ModeDirect || s.Anchor != attest.AnchorRegister || s.KeyID != [32]byte{} ||
		s.Register == nil || s.Register.Bank != attest.SHA384 || s.Register.Index != 3 || !bytes.Equal(s.Register.Value, want) {
		t.Errorf("slot %+v", s)
	}
	encoded, err := st.Encode()
	if err != nil {
		t.Fatal(err)
	}
	ev, err := d.Attest(t.Context(), 0, st)
	if err != nil {
		t.Fatal(err)
	}
	q := quote(4, attest.Quoted(attest.SHA512, 0, 3, encoded), machine.regs)
	if ev.Format != 3 || len(ev.Parts) != 1 || ev.Parts[0].Name != tdxdev.PartQuote || !bytes.Equal(ev.Parts[0].Data, q) {
		t.Errorf("evidence %+v", ev)
	}
	checkNothingLeft(t, machine.Kernel)
}

func TestExtendRefuses(t *testing.T) {
	machine := start(t, kernel.Options{}, nil)
	d := machine.open(t)
	for name, digests := range map[string][][]byte{
		"none": nil, "two": {make([]byte, 48), make([]byte, 48)}, "short": {make([]byte, 47)}, "long": {make([]byte, 96)},
	} {
		if err := d.Extend(t.Context(), digests); !errors.Is(err, tdxdev.ErrUsage) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !bytes.Equal(machine.regs.RTMR(3), make([]byte, 48)) {
		t.Error("the register was extended")
	}
}

// TestLife: the identity is the same for one boot of one TD, and another for another TD.
func TestLife(t *testing.T) {
	d := start(t, kernel.Options{}, nil).open(t)
	first, err := d.Life(t.Context())
	if err != nil || first.Identity == [32]byte{} || first.Counters != (attest.Counters{}) {
		t.Fatalf("%+v, %v", first, err)
	}
	if err := d.Extend(t.Context(), [][]byte{make([]byte, 48)}); err != nil {
		t.Fatal(err)
	}
	again, err := d.Life(t.Context())
	if err != nil || again != first {
		t.Errorf("%+v, %v", again, err)
	}
	regs, _ := kernel.NewRegisters(map[string][]byte{"mrtd:sha384": bytes.Repeat([]byte{9}, 48)})
	k := mount(t, kernel.Options{Provider: kernel.TDXGuest, Registers: regs, Report: func([]byte, uint) (_, _ []byte, _ error) { return nil, nil, nil }})
	other, err := tdxdev.Open(t.Context(), options(k))
	if err != nil {
		t.Fatal(err)
	}
	if l, err := other.Life(t.Context()); err != nil || l.Identity == first.Identity {
		t.Errorf("another TD: %+v, %v", l, err)
	}
}

func TestEventLog(t *testing.T) {
	log := bytes.Repeat([]byte("log"), 30000)
	d := start(t, kernel.Options{CCEL: log}, nil).open(t)
	if got, err := d.EventLog(t.Context()); err != nil || !bytes.Equal(got, log) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	table, err := d.CCEL(t.Context())
	if err != nil || len(table) != 56 || string(table[:4]) != "CCEL" || binary.LittleEndian.Uint64(table[40:]) != uint64(len(log)) {
		t.Errorf("table %x, %v", table, err)
	}
	if list, err := d.FileList(t.Context(), nil); list != nil || err != nil {
		t.Errorf("a list of files: %v, %v", list, err)
	}
	none := start(t, kernel.Options{}, nil).open(t)
	if got, err := none.EventLog(t.Context()); got != nil || err != nil {
		t.Errorf("no log: %v, %v", got, err)
	}
	long := start(t, kernel.Options{CCEL: make([]byte, 4<<20+1)}, nil).open(t)
	if got, err := long.EventLog(t.Context()); !errors.Is(err, tdxdev.ErrDevice) || got != nil {
		t.Errorf("too long: %d bytes, %v", len(got), err)
	}
}

// TestQuotes: what a host may put around a quote, and what it must not answer.
func TestQuotes(t *testing.T) {
	empty, err := kernel.NewRegisters(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(q []byte) ([]byte, error)
		want   error
	}{
		"filled up":  {func(q []byte) ([]byte, error) { return append(q, make([]byte, 4096)...), nil }, nil},
		"version 5":  {func(q []byte) ([]byte, error) { return quote(5, q[48+520:48+584], empty), nil }, nil},
		"surplus":    {func(q []byte) ([]byte, error) { return append(q, 0, 0, 1), nil }, nil},
		"cut":        {func(q []byte) ([]byte, error) { return q[:len(q)-1], nil }, tdxdev.ErrDevice},
		"headless":   {func(q []byte) ([]byte, error) { return q[:40], nil }, tdxdev.ErrDevice},
		"SGX":        {func(q []byte) ([]byte, error) { q[4] = 0; return q, nil }, tdxdev.ErrDevice},
		"version 3":  {func(q []byte) ([]byte, error) { q[0] = 3; return q, nil }, tdxdev.ErrDevice},
		"other data": {func(q []byte) ([]byte, error) { q[48+520]++; return q, nil }, tdxdev.ErrDevice},
		"huge size":  {func(q []byte) ([]byte, error) { binary.LittleEndian.PutUint32(q[632:], 0xffffffff); return q, nil }, tdxdev.ErrDevice},
		"huge body": {func(q []byte) ([]byte, error) {
			q = quote(5, q[48+520:48+584], empty)
			binary.LittleEndian.PutUint32(q[50:], 0xffffffff)
			return q, nil
		}, tdxdev.ErrDevice},
		"huge":       {func([]byte) ([]byte, error) { return make([]byte, 8<<20), nil }, tdxdev.ErrDevice},
		"empty":      {func([]byte) ([]byte, error) { return nil, nil }, tdxdev.ErrDevice},
		"in flight":  {func([]byte) ([]byte, error) { return nil, syscall.EBUSY }, tdxdev.ErrBusy},
		"no service": {func([]byte) ([]byte, error) { return nil, syscall.EIO }, tdxdev.ErrDevice},
	} {
		machine := start(t, kernel.Options{}, c.change)
		d := machine.open(t)
		st := statement(t, d)
		patience := 30 * time.Second
		if name == "in flight" {
			patience = time.Second
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		ev, err := d.Attest(ctx, 0, st)
		if !errors.Is(err, c.want) || (err == nil) != (ev != nil) || errors.Is(err, context.DeadlineExceeded) != (name == "in flight") {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
		if ev != nil && !bytes.Equal(ev.Parts[0].Data[len(ev.Parts[0].Data)-100:], bytes.Repeat([]byte{0x51}, 100)) {
			t.Errorf("%s: the quote does not end where it ends", name)
		}
		checkNothingLeft(t, machine.Kernel)
	}
}

// TestQuoteNowThenBusy: a quote that the host is still at work on is asked for again.
func TestQuoteNowThenBusy(t *testing.T) {
	var calls atomic.Int32
	d := start(t, kernel.Options{}, func(q []byte) ([]byte, error) {
		if calls.Add(1) < 3 {
			return nil, syscall.EBUSY
		}
		return q, nil
	}).open(t)
	if _, err := d.Attest(t.Context(), 0, statement(t, d)); err != nil || calls.Load() != 3 {
		t.Errorf("%d calls, %v", calls.Load(), err)
	}
}

func TestAttestRefuses(t *testing.T) {
	d := start(t, kernel.Options{}, nil).open(t)
	for name, change := range map[string]func(st *attest.Statement){
		"no time":          func(st *attest.Statement) { st.Time = 0 },
		"a key":            func(st *attest.Statement) { st.Manifest[0].KeyID[0]++ },
		"another format":   func(st *attest.Statement) { st.Manifest[0].Format = 1 },
		"another register": func(st *attest.Statement) { st.Manifest[0].Register.Index = 2 },
		"another bank": func(st *attest.Statement) {
			st.Manifest[0].Register.Bank, st.Manifest[0].Register.Value = attest.SHA256, make([]byte, 32)
		},
		"no register": func(st *attest.Statement) {
			st.Manifest[0].Anchor, st.Manifest[0].Register = attest.AnchorStatementOnly, nil
		},
	} {
		st := statement(t, d)
		change(st)
		if ev, err := d.Attest(t.Context(), 0, st); !errors.Is(err, tdxdev.ErrUsage) || ev != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := d.Attest(t.Context(), 1, statement(t, d)); !errors.Is(err, tdxdev.ErrUsage) {
		t.Errorf("a slot that is not there: %v", err)
	}
	st := statement(t, d)
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	_, err1 := d.Attest(t.Context(), 0, st)
	_, err2 := d.Read(t.Context())
	_, err3 := d.Life(t.Context())
	_, err4 := d.EventLog(t.Context())
	_, err5 := d.FileList(t.Context(), nil)
	_, err6 := new(tdxdev.Device).Manifest(t.Context())
	for i, err := range []error{err1, err2, err3, err4, err5, err6, d.Extend(t.Context(), nil)} {
		if !errors.Is(err, tdxdev.ErrUsage) {
			t.Errorf("closed, %d: %v", i, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Read(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that ended: %v", err)
	}
}

// TestAbsent: what can be missing, each with its sentinel.
func TestAbsent(t *testing.T) {
	whole := start(t, kernel.Options{}, nil)
	denied := start(t, kernel.Options{Interfere: func(string, string) syscall.Errno { return syscall.EPERM }}, nil)
	report := func([]byte, uint) (_, _ []byte, _ error) { return nil, nil, nil }
	readOnly := t.TempDir()
	if err := os.Symlink("/proc/version", filepath.Join(readOnly, "rtmr3:sha384")); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(o *tdxdev.Options)
		want   error
	}{
		"no configfs":    {func(o *tdxdev.Options) { o.ConfigFS = "/no/such/folder" }, tdxdev.ErrAbsent},
		"no registers":   {func(o *tdxdev.Options) { o.Measurements = "/no/such/folder" }, tdxdev.ErrAbsent},
		"not a register": {func(o *tdxdev.Options) { o.Measurements = readOnly }, tdxdev.ErrDevice},
		"not root":       {func(o *tdxdev.Options) { o.ConfigFS = denied.ConfigFS() }, tdxdev.ErrDenied},
		"an SEV-SNP guest": {func(o *tdxdev.Options) {
			o.ConfigFS = mount(t, kernel.Options{Provider: kernel.SEVGuest, Report: report}).ConfigFS()
		}, tdxdev.ErrAbsent},
		"no driver": {func(o *tdxdev.Options) { o.ConfigFS = mount(t, kernel.Options{}).ConfigFS() }, tdxdev.ErrAbsent},
	} {
		o := options(whole.Kernel)
		c.change(&o)
		d, err := tdxdev.Open(t.Context(), o)
		if !errors.Is(err, c.want) || d != nil || errors.Is(err, tdxdev.ErrDenied) != errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s: %v", name, err)
		}
		if ok, detail := tdxdev.Probe(t.Context(), o); ok || detail == "" {
			t.Errorf("%s: found, %q", name, detail)
		}
		t.Logf("%s: %v", name, err)
	}
	if ok, detail := tdxdev.Probe(t.Context(), options(whole.Kernel)); !ok {
		t.Errorf("not found: %s", detail)
	}
	checkNothingLeft(t, whole.Kernel)
}
