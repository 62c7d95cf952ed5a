package tpmdev

import (
	"bytes"
	"encoding/binary"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/tpm"
)

// counting are the options of a launch that counts.
func counting() Options { return Options{Counter: new(DefaultCounter)} }

// restart ends the TPM and starts it again over its state, as a reset does.
func (s *softTPM) restart(t *testing.T) {
	t.Helper()
	s.kill()
	sock := filepath.Join(s.dir, "s")
	s.start(t, s.dir, "type=unixio,path="+sock)
	waitFor(t, "unix", sock)
}

// increment counts a launch.
func increment(t *testing.T, d *TPM) *attest.Counter {
	t.Helper()
	c, err := d.Increment(t.Context())
	if err != nil {
		t.Fatalf("Increment: %v", err)
	}
	return c
}

// certified attests a statement with the counter and returns what was claimed.
func certified(t *testing.T, d *TPM, c *attest.Counter) (*attest.Evidence, *attest.Statement) {
	t.Helper()
	st := statement(t, d)
	st.Body = c.Body()
	ev, err := d.Attest(t.Context(), 0, st)
	if err != nil {
		t.Fatalf("Attest: %v", err)
	}
	claims, err := tpm.Scheme{}.Verify(ev, nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	b, err := st.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if got := claims.Counter; got == nil || got.Counter != *c || !bytes.Equal(got.Quoted, attest.QuotedCounter(b)) {
		t.Fatalf("certified %+v, want %+v", got, c)
	}
	if got, q := claims.Counter.Counters, claims.Counters; got.ResetCount != q.ResetCount || got.Firmware != q.Firmware || got.Clock < q.Clock {
		t.Errorf("counters %+v beside a quote with %+v", got, q)
	}
	return ev, st
}

// undefine removes the counter, as the TPM's owner may at any time.
func undefine(t *testing.T, d *TPM) {
	t.Helper()
	l := d.on(t.Context())
	rsp, err := tpm2.NVReadPublic{NVIndex: tpm2.TPMHandle(DefaultCounter)}.Execute(l)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (tpm2.NVUndefineSpace{
		AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)},
		NVIndex:    tpm2.NamedHandle{Handle: tpm2.TPMHandle(DefaultCounter), Name: rsp.NVName},
	}).Execute(l); err != nil {
		t.Fatal(err)
	}
}

// define defines the index of the counter as something else.
func define(t *testing.T, d *TPM, change func(*tpm2.TPMSNVPublic)) {
	t.Helper()
	p := counterPublic(DefaultCounter)
	change(&p)
	if _, err := (tpm2.NVDefineSpace{
		AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)},
		PublicInfo: tpm2.New2B(p),
	}).Execute(d.on(t.Context())); err != nil {
		t.Fatal(err)
	}
}

// nvExtend extends the index of the counter as the owner (Part 3, 31.9,
// TPM2_NV_Extend), which go-tpm does not know.
func nvExtend(t *testing.T, l *link, data string) {
	t.Helper()
	b := []byte{0x80, 0x02, 0, 0, 0, 0, 0, 0, 0x01, 0x36, 0x40, 0, 0, 0x01}
	b = binary.BigEndian.AppendUint32(b, DefaultCounter)
	b = append(b, 0, 0, 0, 9, 0x40, 0, 0, 0x09, 0, 0, 0, 0, 0) // the empty password
	b = append(binary.BigEndian.AppendUint16(b, uint16(len(data))), data...)
	binary.BigEndian.PutUint32(b[2:], uint32(len(b)))
	response, err := l.Send(b)
	if err != nil {
		t.Fatal(err)
	}
	if rc := binary.BigEndian.Uint32(response[6:]); rc != 0 {
		t.Fatalf("TPM2_NV_Extend: 0x%x", rc)
	}
}

// TestCounterNeverGoesBack: not over launches, not over resets, and not if the
// owner removes the counter and defines it again, by which its Name stays.
func TestCounterNeverGoesBack(t *testing.T) {
	s := startTPM(t)
	var seen []attest.Counter
	launch := func(between func(d *TPM)) {
		t.Helper()
		d := open(t, s.unix, counting())
		c := increment(t, d)
		certified(t, d, c)
		seen = append(seen, *c)
		if between != nil {
			between(d)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	launch(nil)
	launch(nil)
	s.restart(t)
	launch(func(d *TPM) { undefine(t, d) })
	launch(nil)
	s.restart(t)
	launch(nil)
	for i := range seen {
		if seen[i].Name != seen[0].Name || seen[i].Value != seen[0].Value+uint64(i) {
			t.Errorf("launch %d counted %+v, the first %+v", i, seen[i], seen[0])
		}
	}
	if want, err := tpm.CounterName(DefaultCounter); err != nil || seen[0].Name != want {
		t.Errorf("Name %x, want %x (%v)", seen[0].Name, want, err)
	}
}

// TestExtendIndexIsNoCounter: an extend index is no better than a PCR that its
// owner can reset: undefined, defined and extended again, it has the Name and
// the value that it had. So it is refused, like everything else that is not
// exactly a launch counter, by the device and by whoever verifies.
func TestExtendIndexIsNoCounter(t *testing.T) {
	s := startTPM(t)
	d := open(t, s.unix, Options{})
	extend := func() ([]byte, []byte) {
		t.Helper()
		define(t, d, func(p *tpm2.TPMSNVPublic) { p.Attributes.NT, p.DataSize = tpm2.TPMNTExtend, 32 })
		l, index := d.on(t.Context()), tpm2.TPMHandle(DefaultCounter)
		nvExtend(t, l, "a launch")
		rsp, err := tpm2.NVReadPublic{NVIndex: index}.Execute(l)
		if err != nil {
			t.Fatal(err)
		}
		value, err := l.readNV(DefaultCounter)
		if err != nil {
			t.Fatal(err)
		}
		return rsp.NVName.Buffer, value
	}
	name, value := extend()
	undefine(t, d)
	name2, value2 := extend()
	if !bytes.Equal(name, name2) || !bytes.Equal(value, value2) {
		t.Error("this TPM does not show why an extend index is refused")
	}
	for what, change := range map[string]func(*tpm2.TPMSNVPublic){
		"extend":         func(p *tpm2.TPMSNVPublic) { p.Attributes.NT, p.DataSize = tpm2.TPMNTExtend, 32 },
		"ordinary":       func(p *tpm2.TPMSNVPublic) { p.Attributes.NT = tpm2.TPMNTOrdinary },
		"orderly":        func(p *tpm2.TPMSNVPublic) { p.Attributes.Orderly = true },
		"auth may write": func(p *tpm2.TPMSNVPublic) { p.Attributes.AuthWrite = true },
		"SHA-384":        func(p *tpm2.TPMSNVPublic) { p.NameAlg = tpm2.TPMAlgSHA384 },
	} {
		undefine(t, d)
		define(t, d, change)
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if c, err := Open(t.Context(), s.unix, counting()); c != nil || !errors.Is(err, ErrCounter) || !errors.Is(err, ErrDevice) {
			t.Errorf("%s: opened %v, %v", what, c, err)
		}
		d = open(t, s.unix, Options{})
	}
	// Put in its place after Open, it is refused as well.
	undefine(t, d)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = open(t, s.unix, counting())
	increment(t, d)
	undefine(t, d)
	define(t, d, func(p *tpm2.TPMSNVPublic) { p.Attributes.NT, p.DataSize = tpm2.TPMNTExtend, 32 })
	if c, err := d.Increment(t.Context()); c != nil || !errors.Is(err, ErrCounter) {
		t.Errorf("counted %v, %v", c, err)
	}
}

// TestCounterIsTheStatements: a certification is for one statement, one value,
// one counter and one key; another in its place is refused or claims what the
// statement does not say.
func TestCounterIsTheStatements(t *testing.T) {
	s := startTPM(t)
	d := open(t, s.unix, counting())
	first := increment(t, d)
	old, oldSt := certified(t, d, first)
	second := increment(t, d)
	now, st := certified(t, d, second)
	parts := func(ev *attest.Evidence) []attest.Part {
		i := slices.IndexFunc(ev.Parts, func(p attest.Part) bool { return p.Name == tpm.PartNVPublic })
		return ev.Parts[i : i+3]
	}
	mixed := *now
	mixed.Parts = slices.Clone(now.Parts)
	copy(parts(&mixed), parts(old))
	claims, err := tpm.Scheme{}.Verify(&mixed, nil, time.Now())
	if err != nil {
		t.Fatalf("a genuine certification of the same key: %v", err)
	}
	b, err := st.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if claims.Counter.Value != first.Value || bytes.Equal(claims.Counter.Quoted, attest.QuotedCounter(b)) {
		t.Errorf("an old certification claims %+v", claims.Counter)
	}
	// A number that has passed cannot be certified any more.
	if ev, err := d.Attest(t.Context(), 0, oldSt); ev != nil || !errors.Is(err, ErrDevice) {
		t.Errorf("an old number: %v, %v", ev, err)
	}
	other := *second
	other.Name[5]++
	st.Body = other.Body()
	if ev, err := d.Attest(t.Context(), 0, st); ev != nil || !errors.Is(err, ErrUsage) {
		t.Errorf("another counter: %v, %v", ev, err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = open(t, s.unix, counting())
	third := increment(t, d)
	ev, _ := certified(t, d, third)
	copy(parts(&mixed), parts(ev))
	if claims, err := (tpm.Scheme{}).Verify(&mixed, nil, time.Now()); claims != nil || !errors.Is(err, attest.ErrSignature) {
		t.Errorf("another AK's certification: %v, %v", claims, err)
	}
}

func TestCounterUsage(t *testing.T) {
	s := startTPM(t)
	for _, index := range []uint32{0, 0x01500016, tpm.FirstCounterIndex - 1, tpm.LastCounterIndex + 1} {
		if d, err := Open(t.Context(), s.unix, Options{Counter: &index}); d != nil || !errors.Is(err, ErrUsage) {
			t.Errorf("index 0x%08x: %v, %v", index, d, err)
		}
	}
	d := open(t, s.unix, Options{})
	if c, err := d.Increment(t.Context()); c != nil || !errors.Is(err, ErrUsage) {
		t.Errorf("without a counter: %v, %v", c, err)
	}
	st := statement(t, d)
	st.Body = (&attest.Counter{Name: [34]byte{0, 0x0B}, Value: 1}).Body()
	if ev, err := d.Attest(t.Context(), 0, st); ev != nil || !errors.Is(err, ErrUsage) {
		t.Errorf("a statement with a counter: %v, %v", ev, err)
	}
}
