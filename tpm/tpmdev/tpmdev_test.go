package tpmdev

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-tpm/tpm2"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/tpm"
)

func TestQuote(t *testing.T) {
	d := open(t, startTPM(t).unix, Options{})
	banks, err := d.Banks(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]attest.Alg{attest.SHA256, attest.SHA384}, banks); diff != "" {
		t.Fatalf("banks (-want +got):\n%s", diff)
	}
	if err := d.Extend(t.Context(), digests(t, d, "event")); err != nil {
		t.Fatalf("Extend: %v", err)
	}
	values, err := d.Read(t.Context())
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	if len(values) != len(banks) {
		t.Fatalf("%d values for %d banks", len(values), len(banks))
	}
	for i, b := range banks {
		want := b.Sum(make([]byte, b.Size()), b.Sum([]byte("event")))
		if values[i].Bank != b || values[i].Index != DefaultRegister || !bytes.Equal(values[i].Value, want) {
			t.Errorf("register %+v, want %x", values[i], want)
		}
	}
	st := statement(t, d)
	if r := st.Manifest[0].Register; r.Bank != attest.SHA256 || r.Index != DefaultRegister || !bytes.Equal(r.Value, values[0].Value) {
		t.Errorf("register descriptor %+v, want %+v", r, values[0])
	}
	ev, claims := attestOne(t, d)
	encoded, err := st.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if want := attest.Quoted(attest.SHA256, 0, tpm.Format, encoded); !bytes.Equal(claims.Quoted, want) {
		t.Errorf("quoted %x, want %x", claims.Quoted, want)
	}
	if claims.KeyID != st.Manifest[0].KeyID {
		t.Errorf("key id %x, the manifest says %x", claims.KeyID, st.Manifest[0].KeyID)
	}
	checkRegisters(t, claims.Registers, values)
	parent := 0
	for _, p := range ev.Parts {
		switch p.Name {
		case tpm.PartParent:
			parent++
		case tpm.PartCertificate:
			t.Error("a child AK has a certificate")
		}
	}
	if parent != 1 {
		t.Errorf("%d parts %q, want one", parent, tpm.PartParent)
	}
}

// checkRegisters compares the registers that a quote covers with those read.
func checkRegisters(t *testing.T, got, read []attest.RegisterValue) {
	t.Helper()
	if len(got) != 16*len(read) {
		t.Fatalf("%d registers are quoted, want 16 in each of %d banks", len(got), len(read))
	}
	for i, v := range read {
		for j, r := range got[16*i : 16*i+16] {
			if r.Bank != v.Bank || r.Index != uint32(j) {
				t.Errorf("register %d of bank %v stands where %d of %v belongs", r.Index, r.Bank, j, v.Bank)
			}
			if r.Index == v.Index && !bytes.Equal(r.Value, v.Value) {
				t.Errorf("register %d of bank %v is quoted as %x, read as %x", r.Index, r.Bank, r.Value, v.Value)
			}
		}
	}
}

func TestQuoteOverTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	_ = l.Close()
	s := &softTPM{}
	s.start(t, manufacture(t), "type=tcp,bindaddr=127.0.0.1,port="+port)
	waitFor(t, "tcp", "127.0.0.1:"+port)
	d := open(t, "tcp:127.0.0.1:"+port, Options{Register: new(uint32(0)), Bank: attest.SHA384})
	if r := statement(t, d).Manifest[0].Register; r.Index != 0 || r.Bank != attest.SHA384 {
		t.Errorf("register descriptor %+v, want register 0 in sha384", r)
	}
	attestOne(t, d)
}

func TestLifeIsWhatQuotesCarry(t *testing.T) {
	d := open(t, startTPM(t).unix, Options{})
	before, err := d.Life(t.Context())
	if err != nil {
		t.Fatalf("Life: %v", err)
	}
	_, claims := attestOne(t, d)
	after, err := d.Life(t.Context())
	if err != nil {
		t.Fatalf("Life: %v", err)
	}
	got := *claims.Counters
	if got.Clock < before.Counters.Clock || got.Clock > after.Counters.Clock {
		t.Errorf("the quote's clock %d is not between %d and %d", got.Clock, before.Counters.Clock, after.Counters.Clock)
	}
	got.Clock = before.Counters.Clock
	if diff := cmp.Diff(before.Counters, got); diff != "" {
		t.Errorf("counters (-read +quoted):\n%s", diff)
	}
	if before.Counters.Firmware>>32 == 0 || before.Counters.ResetCount == 0 {
		t.Errorf("counters %+v are not a TPM's", before.Counters)
	}
	if before.Identity != after.Identity || before.Identity == [32]byte{} {
		t.Errorf("identity %x, then %x", before.Identity, after.Identity)
	}
}

// TestChildIsAnotherKeyEachTime: nobody can make the AK of a launch again, not
// even this package on the same TPM; the TPM's identity stays.
func TestChildIsAnotherKeyEachTime(t *testing.T) {
	s := startTPM(t)
	keys, identities := map[[32]byte]bool{}, map[[32]byte]bool{}
	for range 3 {
		d := open(t, s.unix, Options{AK: Child})
		life, err := d.Life(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		keys[statement(t, d).Manifest[0].KeyID] = true
		identities[life.Identity] = true
		if err := d.Close(); err != nil {
			t.Fatalf("Close: %v", err)
		}
	}
	if len(keys) != 3 || len(identities) != 1 {
		t.Errorf("%d keys and %d identities, want 3 and 1", len(keys), len(identities))
	}
	other := open(t, startTPM(t).unix, Options{})
	life, err := other.Life(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if identities[life.Identity] {
		t.Error("another TPM has the same identity")
	}
}

// checkHandles wants one transient object in the TPM, the AK, and no session.
func checkHandles(t *testing.T, d *TPM) {
	t.Helper()
	loaded := 1
	if d.ak.handle>>24 == persistent {
		loaded = 0
	}
	for _, c := range []struct {
		name  string
		first uint32
		want  int
	}{{"transient objects", 0x80000000, loaded}, {"HMAC sessions", 0x02000000, 0}, {"saved sessions", 0x03000000, 0}} {
		rsp, err := tpm2.GetCapability{Capability: tpm2.TPMCapHandles, Property: c.first, PropertyCount: 64}.Execute(d.on(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		list, err := rsp.CapabilityData.Data.Handles()
		if err != nil {
			t.Fatal(err)
		}
		if len(list.Handle) != c.want {
			t.Errorf("%d %s in the TPM, want %d", len(list.Handle), c.name, c.want)
		}
	}
}

// TestNothingIsLeftBehind opens more often than the TPM has room for keys.
func TestNothingIsLeftBehind(t *testing.T) {
	s := startTPM(t)
	for range 5 {
		d := open(t, s.unix, Options{})
		attestOne(t, d)
		checkHandles(t, d)
		if err := d.Close(); err != nil {
			t.Fatalf("Close: %v", err)
		}
	}
	// Nor by an Open that fails after it has made keys.
	for range 5 {
		if _, err := Open(t.Context(), s.unix, Options{AK: Provider}); !errors.Is(err, ErrAbsent) {
			t.Fatalf("Open without a provider's AK = %v, want ErrAbsent", err)
		}
	}
	checkHandles(t, open(t, s.unix, Options{}))
}

// TestCancelledOpen ends the context before each command of Open in turn.
func TestCancelledOpen(t *testing.T) {
	s := startTPM(t)
	rw, err := Dial(t.Context(), s.unix)
	if err != nil {
		t.Fatal(err)
	}
	defer rw.Close()
	refused := 0
	for n := range 32 {
		ctx, cancel := context.WithCancel(t.Context())
		left := n
		d, err := OpenTransport(ctx, sendFunc(func(command []byte) ([]byte, error) {
			if left == 0 {
				cancel()
			}
			left--
			return rw.Send(command)
		}), Options{})
		cancel()
		if err == nil {
			if err := d.Close(); err != nil {
				t.Fatalf("Close: %v", err)
			}
			continue
		}
		refused++
		if !errors.Is(err, context.Canceled) {
			t.Errorf("ended at command %d: %v, want the context's error", n, err)
		}
	}
	if refused == 0 {
		t.Error("no Open was cancelled")
	}
	d, err := OpenTransport(t.Context(), rw, Options{})
	if err != nil {
		t.Fatal(err)
	}
	checkHandles(t, d)
}

// sendFunc is a transport.TPM of one function.
type sendFunc func(command []byte) ([]byte, error)

func (f sendFunc) Send(command []byte) ([]byte, error) { return f(command) }

func TestBusy(t *testing.T) {
	t.Parallel()
	s := startTPM(t)
	first := open(t, s.unix, Options{})
	start := time.Now()
	if _, err := Open(t.Context(), s.unix, Options{}); !errors.Is(err, ErrBusy) {
		t.Fatalf("second Open = %v, want ErrBusy", err)
	}
	if took := time.Since(start); took < busyTimeout-time.Second || took > busyTimeout+late {
		t.Errorf("it took %v, want about %v", took, busyTimeout)
	}
	attestOne(t, first)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	attestOne(t, open(t, s.unix, Options{}))
}

func TestDeathMidRun(t *testing.T) {
	s := startTPM(t)
	d := open(t, s.unix, Options{})
	st, sums := statement(t, d), digests(t, d, "event")
	s.kill()
	start := time.Now()
	for name, call := range map[string]func() error{
		"Extend":   func() error { return d.Extend(t.Context(), sums) },
		"Read":     func() error { _, err := d.Read(t.Context()); return err },
		"Manifest": func() error { _, err := d.Manifest(t.Context()); return err },
		"Attest":   func() error { _, err := d.Attest(t.Context(), 0, st); return err },
		"Life":     func() error { _, err := d.Life(t.Context()); return err },
		"Close":    d.Close,
	} {
		if name == "Close" {
			defer func() {
				if err := call(); !errors.Is(err, ErrDevice) {
					t.Errorf("Close = %v, want ErrDevice", err)
				}
			}()
			continue
		}
		if err := call(); !errors.Is(err, ErrDevice) {
			t.Errorf("%s = %v, want ErrDevice", name, err)
		}
	}
	if took := time.Since(start); took > late {
		t.Errorf("it took %v", took)
	}
}

// TestReset: a reset takes the AK with it, so that no quote of another life of
// the register can pass for this launch's.
func TestReset(t *testing.T) {
	s := startTPM(t)
	rw, err := Dial(t.Context(), s.unix)
	if err != nil {
		t.Fatal(err)
	}
	defer rw.Close()
	d, err := OpenTransport(t.Context(), rw, Options{})
	if err != nil {
		t.Fatal(err)
	}
	st := statement(t, d)
	control(t, s, "-i")
	if _, err := (tpm2.Startup{StartupType: tpm2.TPMSUClear}).Execute(rw); err != nil {
		t.Fatalf("Startup: %v", err)
	}
	if ev, err := d.Attest(t.Context(), 0, st); !errors.Is(err, ErrDevice) || ev != nil {
		t.Errorf("Attest after a reset = %v, %v, want ErrDevice", ev, err)
	}
}

func TestOptions(t *testing.T) {
	for name, o := range map[string]Options{
		"register 16":        {Register: new(uint32(16))},
		"register 23":        {Register: new(uint32(23))},
		"register 17":        {Register: new(uint32(17))},
		"register 24":        {Register: new(uint32(24))},
		"register 2^32-1":    {Register: new(^uint32(0))},
		"bank SHA-1":         {Bank: attest.SHA1},
		"bank SM3":           {Bank: 0x0012},
		"source 4 of the AK": {AK: 4},
		"negative timeout":   {Timeout: -1},
	} {
		t.Run(name, func(t *testing.T) {
			if d, err := Open(t.Context(), "unix:/nowhere", o); !errors.Is(err, ErrUsage) || d != nil {
				t.Errorf("Open = %v, %v, want ErrUsage", d, err)
			}
			never := sendFunc(func([]byte) ([]byte, error) {
				t.Error("a command was sent")
				return nil, errors.New("refused")
			})
			if d, err := OpenTransport(t.Context(), never, o); !errors.Is(err, ErrUsage) || d != nil {
				t.Errorf("OpenTransport = %v, %v, want ErrUsage", d, err)
			}
		})
	}
	if d, err := OpenTransport(t.Context(), nil, Options{}); !errors.Is(err, ErrUsage) || d != nil {
		t.Errorf("OpenTransport(nil) = %v, %v, want ErrUsage", d, err)
	}
	s := startTPM(t)
	if d, err := Open(t.Context(), s.unix, Options{Bank: attest.SHA512}); !errors.Is(err, ErrDevice) || d != nil {
		t.Errorf("Open with an inactive bank = %v, %v, want ErrDevice", d, err)
	}
	for _, r := range []uint32{0, 15} {
		d := open(t, s.unix, Options{Register: &r})
		if err := d.Extend(t.Context(), digests(t, d, "event")); err != nil {
			t.Errorf("Extend of register %d: %v", r, err)
		}
		attestOne(t, d)
		_ = d.Close()
	}
}

func TestStatementsRefused(t *testing.T) {
	d := open(t, startTPM(t).unix, Options{})
	for name, edit := range map[string]func(st *attest.Statement){
		"does not encode":  func(st *attest.Statement) { st.Time = 0 },
		"no manifest":      func(st *attest.Statement) { st.Manifest = nil },
		"another format":   func(st *attest.Statement) { st.Manifest[0].Format = tpm.Format + 1 },
		"another mode":     func(st *attest.Statement) { st.Manifest[0].Mode = attest.ModeViaAK },
		"another key":      func(st *attest.Statement) { st.Manifest[0].KeyID[0] ^= 1 },
		"another register": func(st *attest.Statement) { st.Manifest[0].Register.Index++ },
		"inactive bank": func(st *attest.Statement) {
			st.Manifest[0].Register.Bank = attest.SHA512
			st.Manifest[0].Register.Value = make([]byte, 64)
		},
		"no register": func(st *attest.Statement) {
			st.Manifest[0].Anchor, st.Manifest[0].Register = attest.AnchorStatementOnly, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			st := statement(t, d)
			edit(st)
			if ev, err := d.Attest(t.Context(), 0, st); !errors.Is(err, ErrUsage) || ev != nil {
				t.Errorf("Attest = %v, %v, want ErrUsage", ev, err)
			}
		})
	}
	if ev, err := d.Attest(t.Context(), 0, nil); !errors.Is(err, attest.ErrArgument) || ev != nil {
		t.Errorf("Attest(nil) = %v, %v, want attest.ErrArgument", ev, err)
	}
	if ev, err := d.Attest(t.Context(), 1, statement(t, d)); !errors.Is(err, ErrUsage) || ev != nil {
		t.Errorf("Attest for a slot that is not there = %v, %v, want ErrUsage", ev, err)
	}
	for _, sums := range [][][]byte{nil, digests(t, d, "x")[:1], {make([]byte, 32), make([]byte, 32)}, {make([]byte, 48), make([]byte, 32)}} {
		if err := d.Extend(t.Context(), sums); !errors.Is(err, ErrUsage) {
			t.Errorf("Extend with %d digests = %v, want ErrUsage", len(sums), err)
		}
	}
}

func TestClosed(t *testing.T) {
	s := startTPM(t)
	closed := open(t, s.unix, Options{})
	st := statement(t, closed)
	auth := closed.ak.auth
	for range 2 {
		if err := closed.Close(); err != nil {
			t.Fatalf("Close: %v", err)
		}
	}
	if !isZero(auth) {
		t.Error("the authorization value outlives Close")
	}
	for _, d := range []*TPM{closed, {}} {
		for name, call := range map[string]func() error{
			"Extend":   func() error { return d.Extend(t.Context(), nil) },
			"Banks":    func() error { _, err := d.Banks(t.Context()); return err },
			"Read":     func() error { _, err := d.Read(t.Context()); return err },
			"Manifest": func() error { _, err := d.Manifest(t.Context()); return err },
			"Attest":   func() error { _, err := d.Attest(t.Context(), 0, st); return err },
			"Life":     func() error { _, err := d.Life(t.Context()); return err },
		} {
			if err := call(); !errors.Is(err, ErrUsage) {
				t.Errorf("%s = %v, want ErrUsage", name, err)
			}
		}
	}
	if err := new(TPM).Close(); err != nil {
		t.Errorf("Close of a zero TPM: %v", err)
	}
}

func TestConcurrentUse(t *testing.T) {
	d := open(t, startTPM(t).unix, Options{})
	st, sums := statement(t, d), digests(t, d, "event")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := d.Extend(t.Context(), sums); err != nil {
				t.Errorf("Extend: %v", err)
			}
			if _, err := d.Attest(t.Context(), 0, st); err != nil {
				t.Errorf("Attest: %v", err)
			}
		})
	}
	wg.Wait()
	checkHandles(t, d)
}
