//go:build linux

package sevdev_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/sev/sevdev"
	"github.com/sworn-run/sworn/simulator/kernel"
)

// reportID is the REPORT_ID of the guest of these tests.
var reportID = bytes.Repeat([]byte{0x1d}, 32)

// report returns a report that nobody signed.
func report(data []byte, level uint) []byte {
	b := make([]byte, 1184)
	binary.LittleEndian.PutUint32(b, 3)
	binary.LittleEndian.PutUint32(b[0x30:], uint32(level))
	copy(b[0x50:], data)
	copy(b[0x140:], reportID)
	return b
}

// answer is the usual function of the simulated kernel.
func answer(in []byte, level uint) (out, aux []byte, err error) {
	return report(in, level), table(entry{vcek, der(1)}, entry{ark, der(2)}), nil
}

// start simulates the kernel of an SEV-SNP guest.
func start(t *testing.T, o kernel.Options) *kernel.Kernel {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("FUSE is mounted by root")
	}
	if o.Report == nil {
		o.Report = answer
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

// guest simulates the usual one.
func guest(t *testing.T) *kernel.Kernel {
	t.Helper()
	return start(t, kernel.Options{Provider: kernel.SEVGuest})
}

// options point the device at the simulated kernel, and at no other.
func options(k *kernel.Kernel) sevdev.Options {
	return sevdev.Options{ConfigFS: k.ConfigFS(), Device: "/no/such/device"}
}

// open opens the device.
func open(t *testing.T, o sevdev.Options) *sevdev.Device {
	t.Helper()
	d, err := sevdev.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// statement returns a statement with the slot of the device.
func statement(t *testing.T, d *sevdev.Device) *attest.Statement {
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

func TestAttest(t *testing.T) {
	k := guest(t)
	d := open(t, options(k))
	st := statement(t, d)
	want := attest.Slot{Format: 2, Mode: attest.ModeDirect, Anchor: attest.AnchorStatementOnly, KeyID: sha256.Sum256(reportID)}
	if st.Manifest[0] != want {
		t.Errorf("slot %+v", st.Manifest[0])
	}
	encoded, err := st.Encode()
	if err != nil {
		t.Fatal(err)
	}
	ev, err := d.Attest(t.Context(), 0, st)
	if err != nil {
		t.Fatal(err)
	}
	quoted := attest.Quoted(attest.SHA512, 0, 2, encoded)
	if ev.Format != 2 || len(ev.Parts) != 1 || ev.Parts[0].Name != sevdev.PartReport || !bytes.Equal(ev.Parts[0].Data, report(quoted, 0)) {
		t.Errorf("evidence %+v", ev)
	}
	items, err := d.Collateral(t.Context())
	if err != nil || len(items) != 2 || items[0].Kind != attest.CollateralCertificate || !bytes.Equal(items[1].Data, der(2)) {
		t.Errorf("collateral %v, %v", items, err)
	}
	checkNothingLeft(t, k)
	for range 2 {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	_, err1 := d.Attest(t.Context(), 0, st)
	_, err2 := d.Manifest(t.Context())
	_, err3 := d.Collateral(t.Context())
	_, err4 := new(sevdev.Device).Manifest(t.Context())
	for i, err := range []error{err1, err2, err3, err4} {
		if !errors.Is(err, sevdev.ErrUsage) {
			t.Errorf("closed, %d: %v", i, err)
		}
	}
}

// TestProbeIsNoStatement: what Open has reported on is a digest under a label that no
// statement has, and another one each time.
func TestProbeIsNoStatement(t *testing.T) {
	var mu sync.Mutex
	var seen [][]byte
	k := start(t, kernel.Options{Provider: kernel.SEVGuest, Report: func(in []byte, level uint) (_, _ []byte, _ error) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, bytes.Clone(in))
		return report(in, level), nil, nil
	}})
	open(t, options(k))
	d := open(t, options(k))
	mu.Lock()
	defer mu.Unlock()
	if len(seen) != 2 || bytes.Equal(seen[0], seen[1]) {
		t.Errorf("reported on %x", seen)
	}
	if items, err := d.Collateral(t.Context()); items != nil || err != nil {
		t.Errorf("certificates of a host that has none: %v, %v", items, err)
	}
}

func TestVMPL(t *testing.T) {
	k := start(t, kernel.Options{Provider: kernel.SEVGuest, PrivLevelFloor: 1})
	for name, c := range map[string]struct {
		vmpl *uint
		want uint32
		err  error
	}{
		"the kernel's own":  {nil, 1, nil},
		"another":           {new(uint(3)), 3, nil},
		"below its own":     {new(uint(0)), 0, sevdev.ErrUsage},
		"not a level":       {new(uint(4)), 0, sevdev.ErrUsage},
		"its own, by name":  {new(uint(1)), 1, nil},
		"between the other": {new(uint(2)), 2, nil},
	} {
		o := options(k)
		o.VMPL = c.vmpl
		d, err := sevdev.Open(t.Context(), o)
		if !errors.Is(err, c.err) || (err == nil) != (d != nil) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil || d == nil {
			continue
		}
		ev, err := d.Attest(t.Context(), 0, statement(t, d))
		if err != nil || binary.LittleEndian.Uint32(ev.Parts[0].Data[0x30:]) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	checkNothingLeft(t, k)
}

// TestAttestRefuses: a statement that does not encode, or whose slot is not this guest's.
func TestAttestRefuses(t *testing.T) {
	d := open(t, options(guest(t)))
	for name, change := range map[string]func(st *attest.Statement){
		"no time":        func(st *attest.Statement) { st.Time = 0 },
		"another guest":  func(st *attest.Statement) { st.Manifest[0].KeyID[0]++ },
		"another format": func(st *attest.Statement) { st.Manifest[0].Format = 3 },
		"another mode":   func(st *attest.Statement) { st.Manifest[0].Mode = attest.ModeViaAK },
		"a register": func(st *attest.Statement) {
			st.Manifest[0].Anchor = attest.AnchorRegister
			st.Manifest[0].Register = &attest.RegisterDescriptor{Bank: attest.SHA384, Index: 3, Value: make([]byte, 48)}
		},
	} {
		st := statement(t, d)
		change(st)
		if ev, err := d.Attest(t.Context(), 0, st); !errors.Is(err, sevdev.ErrUsage) || ev != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := d.Attest(t.Context(), 1, statement(t, d)); !errors.Is(err, sevdev.ErrUsage) {
		t.Errorf("a slot that is not there: %v", err)
	}
	if _, err := d.Attest(t.Context(), 0, nil); !errors.Is(err, attest.ErrArgument) {
		t.Errorf("no statement: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Attest(ctx, 0, statement(t, d)); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that ended: %v", err)
	}
}

// TestBadReports: what a driver must not answer.
func TestBadReports(t *testing.T) {
	for name, c := range map[string]struct {
		answer kernel.Report
		want   error
	}{
		"cut":        {func(in []byte, _ uint) (_, _ []byte, _ error) { return report(in, 0)[:1183], nil, nil }, sevdev.ErrDevice},
		"longer":     {func(in []byte, _ uint) (_, _ []byte, _ error) { return append(report(in, 0), 0), nil, nil }, sevdev.ErrDevice},
		"huge":       {func([]byte, uint) (_, _ []byte, _ error) { return make([]byte, 8<<20), nil, nil }, sevdev.ErrDevice},
		"huge table": {func(in []byte, _ uint) (_, _ []byte, _ error) { return report(in, 0), make([]byte, 8<<20), nil }, sevdev.ErrDevice},
		"empty":      {func([]byte, uint) (_, _ []byte, _ error) { return nil, nil, nil }, sevdev.ErrDevice},
		"other data": {func(in []byte, _ uint) (_, _ []byte, _ error) {
			in = bytes.Clone(in)
			in[63]++
			return report(in, 0), nil, nil
		}, sevdev.ErrDevice},
		"EIO":         {func([]byte, uint) (_, _ []byte, _ error) { return nil, nil, errors.New("the firmware") }, sevdev.ErrDevice},
		"always busy": {func([]byte, uint) (_, _ []byte, _ error) { return nil, nil, syscall.EBUSY }, sevdev.ErrBusy},
		"gone":        {func([]byte, uint) (_, _ []byte, _ error) { return nil, nil, syscall.ENXIO }, sevdev.ErrAbsent},
	} {
		k := start(t, kernel.Options{Provider: kernel.SEVGuest, Report: c.answer})
		patience := 30 * time.Second
		if name == "always busy" {
			patience = time.Second
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		d, err := sevdev.Open(ctx, options(k))
		if !errors.Is(err, c.want) || d != nil || errors.Is(err, context.DeadlineExceeded) != (name == "always busy") {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
		checkNothingLeft(t, k)
	}
}

// TestNotRemoved: a request that cannot be removed is an error, even after a report.
func TestNotRemoved(t *testing.T) {
	k := start(t, kernel.Options{Provider: kernel.SEVGuest, Interfere: func(_, attribute string) syscall.Errno {
		if attribute == "rmdir" {
			return syscall.EBUSY
		}
		return 0
	}})
	if d, err := sevdev.Open(t.Context(), options(k)); !errors.Is(err, sevdev.ErrDevice) || d != nil {
		t.Errorf("%v", err)
	}
}

// TestOtherGuest: the guest goes on elsewhere, under another REPORT_ID.
func TestOtherGuest(t *testing.T) {
	var moved atomic.Bool
	k := start(t, kernel.Options{Provider: kernel.SEVGuest, Report: func(in []byte, level uint) (_, _ []byte, _ error) {
		out := report(in, level)
		if moved.Load() {
			out[0x140]++
		}
		return out, nil, nil
	}})
	d := open(t, options(k))
	st := statement(t, d)
	moved.Store(true)
	if ev, err := d.Attest(t.Context(), 0, st); !errors.Is(err, sevdev.ErrDevice) || ev != nil {
		t.Errorf("%v", err)
	}
}

// TestConcurrentWriter: another process writes into the request before it is read. That is
// seen, and asked again; one that never stops ends it.
func TestConcurrentWriter(t *testing.T) {
	for _, c := range []struct {
		when  string
		times int32
		want  error
	}{
		{"outblob", 1, nil},
		{"outblob", 4, nil},
		{"outblob", 1000, sevdev.ErrBusy},
		{"auxblob", 2, nil},
		{"auxblob", 1000, sevdev.ErrBusy},
		{"inblob", 1, nil},
	} {
		var mounted string
		var left atomic.Int32
		var once sync.Mutex
		k := start(t, kernel.Options{Provider: kernel.SEVGuest, Interfere: func(request, attribute string) syscall.Errno {
			if attribute != c.when || left.Load() <= 0 || !once.TryLock() {
				return 0
			}
			defer once.Unlock()
			left.Add(-1)
			other := bytes.Repeat([]byte{0x66}, 64)
			if err := os.WriteFile(filepath.Join(mounted, request, "inblob"), other, 0); err != nil {
				t.Error(err)
			}
			return 0
		}})
		mounted = filepath.Dir(k.ConfigFS())
		d := open(t, options(k))
		st := statement(t, d)
		left.Store(c.times)
		ev, err := d.Attest(t.Context(), 0, st)
		if !errors.Is(err, c.want) || (err == nil) != (ev != nil) {
			t.Errorf("%s, %d times: %v", c.when, c.times, err)
		}
		encoded, _ := st.Encode()
		if ev != nil && !bytes.Equal(ev.Parts[0].Data[0x50:0x90], attest.Quoted(attest.SHA512, 0, 2, encoded)) {
			t.Errorf("%s, %d times: somebody else's report", c.when, c.times)
		}
		checkNothingLeft(t, k)
	}
}

// TestAtOnce: many requests, of one device and of others, do not disturb each other.
func TestAtOnce(t *testing.T) {
	k := guest(t)
	devices := []*sevdev.Device{open(t, options(k)), open(t, options(k))}
	st := statement(t, devices[0])
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			d := devices[i%2]
			_, err1 := d.Attest(t.Context(), 0, st)
			_, err2 := d.Collateral(t.Context())
			if err := errors.Join(err1, err2); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	checkNothingLeft(t, k)
}

// TestAbsent: what can be missing, each with its sentinel.
func TestAbsent(t *testing.T) {
	denied := func(string, string) syscall.Errno { return syscall.EACCES }
	mounted := filepath.Join(t.TempDir(), "other")
	if err := os.MkdirAll(filepath.Join(mounted, "iscsi"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		configFS string
		want     error
	}{
		"no configfs":    {"/no/such/folder", sevdev.ErrAbsent},
		"not mounted":    {t.TempDir(), sevdev.ErrAbsent},
		"kernel too old": {mounted, sevdev.ErrAbsent},
		"no driver":      {start(t, kernel.Options{}).ConfigFS(), sevdev.ErrAbsent},
		"a TD":           {start(t, kernel.Options{Provider: kernel.TDXGuest}).ConfigFS(), sevdev.ErrAbsent},
		"not root":       {start(t, kernel.Options{Provider: kernel.SEVGuest, Interfere: denied}).ConfigFS(), sevdev.ErrDenied},
	} {
		o := sevdev.Options{ConfigFS: c.configFS, Device: "/no/such/device"}
		d, err := sevdev.Open(t.Context(), o)
		if !errors.Is(err, c.want) || d != nil {
			t.Errorf("%s: %v", name, err)
		}
		if errors.Is(err, sevdev.ErrDenied) != errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s: %v", name, err)
		}
		ok, detail := sevdev.Probe(t.Context(), o)
		if ok || detail == "" {
			t.Errorf("%s: found, %q", name, detail)
		}
		t.Logf("%s: %v", name, err)
	}
	ok, detail := sevdev.Probe(t.Context(), options(guest(t)))
	if !ok {
		t.Errorf("not found: %s", detail)
	}
}
