package tpmdev

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/sworn-run/sworn/attest"
)

// code returns the command code of a command.
func code(command []byte) tpm2.TPMCC {
	return tpm2.TPMCC(binary.BigEndian.Uint32(command[6:]))
}

// bankTPM is a TPM that knows nothing but its banks; each bank is 2 bytes of
// algorithm, and its pcrSelect.
func bankTPM(t *testing.T, banks [][]byte) transport.TPM {
	t.Helper()
	return sendFunc(func(command []byte) ([]byte, error) {
		if code(command) != tpm2.TPMCCGetCapability {
			return answer(tpm2.TPMRCCommandCode), nil
		}
		p := []byte{0, 0, 0, 0, 5} // moreData, TPM_CAP_PCRS
		p = binary.BigEndian.AppendUint32(p, uint32(len(banks)))
		for _, b := range banks {
			p = append(p, b[0], b[1], byte(len(b)-2))
			p = append(p, b[2:]...)
		}
		rsp := append(answer(0), p...)
		binary.BigEndian.PutUint32(rsp[2:], uint32(len(rsp)))
		return rsp, nil
	})
}

// errGotPast is what bankTPM makes of every command but the first.
func isGotPast(err error) bool { return errors.Is(err, tpm2.TPMRCCommandCode) }

func TestBanks(t *testing.T) {
	all := []byte{0xFF, 0xFF, 0xFF}
	bank := func(alg uint16, sel []byte) []byte { return append(binary.BigEndian.AppendUint16(nil, alg), sel...) }
	sha256 := bank(0x000B, all)
	for name, c := range map[string]struct {
		banks [][]byte
		ok    bool
	}{
		"sha256":                       {[][]byte{sha256}, true},
		"sha384":                       {[][]byte{bank(0x000C, all)}, true},
		"sha512":                       {[][]byte{bank(0x000D, all)}, true},
		"sha1 beside sha256":           {[][]byte{bank(0x0004, all), sha256}, true},
		"unknown but inactive":         {[][]byte{sha256, bank(0x0012, []byte{0, 0, 0})}, true},
		"sha1 with the register alone": {[][]byte{bank(0x0004, []byte{0, 0x20, 0}), sha256}, true},
		"32 registers":                 {[][]byte{bank(0x000B, []byte{0xFF, 0xFF, 0xFF, 0xFF})}, true},

		"SM3":                       {[][]byte{sha256, bank(0x0012, all)}, false},
		"SHA3-256":                  {[][]byte{bank(0x0027, all), sha256}, false},
		"unknown, one register":     {[][]byte{sha256, bank(0x0012, []byte{0, 0, 0x80})}, false},
		"unknown, high register":    {[][]byte{sha256, bank(0x0012, []byte{0, 0, 0, 0, 1})}, false},
		"sha1 alone":                {[][]byte{bank(0x0004, all)}, false},
		"none":                      {nil, false},
		"none active":               {[][]byte{bank(0x000B, []byte{0, 0, 0})}, false},
		"twice":                     {[][]byte{sha256, sha256}, false},
		"without a register":        {[][]byte{bank(0x000B, []byte{0xFF, 0xDF, 0xFF})}, false},
		"sha1 without the register": {[][]byte{bank(0x0004, []byte{0xFF, 0xDF, 0xFF}), sha256}, false},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := OpenTransport(t.Context(), bankTPM(t, c.banks), Options{})
			if !errors.Is(err, ErrDevice) || d != nil {
				t.Fatalf("OpenTransport = %v, %v, want ErrDevice", d, err)
			}
			if isGotPast(err) != c.ok {
				t.Errorf("banks accepted: %v, want %v (%v)", !c.ok, c.ok, err)
			}
		})
	}
}

// TestForeignTransport: a transport that breaks the frame of a response.
func TestForeignTransport(t *testing.T) {
	broken := errors.New("broken")
	for name, send := range map[string]sendFunc{
		"fails":         func([]byte) ([]byte, error) { return nil, broken },
		"empty":         func([]byte) ([]byte, error) { return nil, nil },
		"trailing byte": func([]byte) ([]byte, error) { return append(answer(0), 0), nil },
		"cut short":     func([]byte) ([]byte, error) { return answer(0)[:9], nil },
		"no parameters": func([]byte) ([]byte, error) { return answer(0), nil },
		"always retry":  func([]byte) ([]byte, error) { return answer(tpm2.TPMRCRetry), nil },
	} {
		t.Run(name, func(t *testing.T) {
			d, err := OpenTransport(t.Context(), send, Options{Timeout: 50e6})
			if !errors.Is(err, ErrDevice) || d != nil {
				t.Errorf("OpenTransport = %v, %v, want ErrDevice", d, err)
			}
		})
	}
}

// TestRegistersChangeMeanwhile extends another register between the commands of
// a quote: a few times, which is repeated, and always, which is refused.
func TestRegistersChangeMeanwhile(t *testing.T) {
	s := startTPM(t)
	rw, err := Dial(t.Context(), s.unix)
	if err != nil {
		t.Fatal(err)
	}
	defer rw.Close()
	for name, c := range map[string]struct {
		before tpm2.TPMCC
		times  int
		ok     bool
	}{
		"after the quote, twice":     {tpm2.TPMCCPCRRead, 2, true},
		"after the quote, always":    {tpm2.TPMCCPCRRead, 1 << 20, false},
		"before the quote, always":   {tpm2.TPMCCQuote, 1 << 20, true},
		"while reading, three times": {tpm2.TPMCCPCRRead, 3, true},
	} {
		t.Run(name, func(t *testing.T) {
			left := 0
			d, err := OpenTransport(t.Context(), sendFunc(func(command []byte) ([]byte, error) {
				if left > 0 && code(command) == c.before {
					left--
					extend(t, rw, 10)
				}
				return rw.Send(command)
			}), Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			st := statement(t, d)
			left = c.times
			ev, err := d.Attest(t.Context(), 0, st)
			if (err == nil) != c.ok || (ev == nil) == c.ok || err != nil && !errors.Is(err, ErrDevice) {
				t.Errorf("Attest = %v, %v, want success %v", ev, err, c.ok)
			}
			if left == c.times {
				t.Error("no register changed")
			}
		})
	}
}

// extend extends a register, as another program does (the kernel's IMA: 10).
func extend(t *testing.T, rw transport.TPM, register uint32) {
	t.Helper()
	_, err := tpm2.PCRExtend{
		PCRHandle: tpm2.AuthHandle{Handle: tpm2.TPMHandle(register), Auth: tpm2.PasswordAuth(nil)},
		Digests: tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{
			{HashAlg: tpm2.TPMAlgSHA256, Digest: attest.SHA256.Sum([]byte("ima"))},
		}},
	}.Execute(rw)
	if err != nil {
		t.Errorf("extending register %d: %v", register, err)
	}
}

// TestOneMoment: registers that take several commands to read are of one
// moment, or none are returned.
func TestOneMoment(t *testing.T) {
	rw, err := Dial(t.Context(), startTPM(t).unix)
	if err != nil {
		t.Fatal(err)
	}
	defer rw.Close()
	reads, changes := 0, 0
	d, err := OpenTransport(t.Context(), sendFunc(func(command []byte) ([]byte, error) {
		if code(command) == tpm2.TPMCCPCRRead {
			// Register 0 has been read by the first command of four.
			if reads++; reads%4 == 3 && changes > 0 {
				changes--
				extend(t, rw, 0)
			}
		}
		return rw.Send(command)
	}), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	l := d.on(t.Context())
	reads, changes = 0, 3
	got, err := l.readRegisters(d.banks, quoted)
	if err != nil || changes != 0 {
		t.Fatalf("readRegisters: %v, %d changes left", err, changes)
	}
	now, err := l.readRegisters(d.banks, quoted)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(now, got); diff != "" || len(got) != 32 {
		t.Errorf("%d registers (-now +got):\n%s", len(got), diff)
	}
	reads, changes = 0, 1<<20
	if got, err := l.readRegisters(d.banks, quoted); !errors.Is(err, ErrDevice) || got != nil {
		t.Errorf("readRegisters of registers without rest = %d, %v, want ErrDevice", len(got), err)
	}
}

// TestRegistersNotAskedFor: a TPM that returns other registers than those
// asked for, or none.
func TestRegistersNotAskedFor(t *testing.T) {
	s := startTPM(t)
	rw, err := Dial(t.Context(), s.unix)
	if err != nil {
		t.Fatal(err)
	}
	defer rw.Close()
	// The parameters: pcrUpdateCounter, count 1, bank, sizeofSelect 3,
	// pcrSelect, digests.
	byteAt := func(i int, b byte) func([]byte) []byte {
		return func(rsp []byte) []byte { rsp[i] = b; return rsp }
	}
	for name, edit := range map[string]func(rsp []byte) []byte{
		"another register":     byteAt(14+4+3+1, 0x40),
		"two registers":        byteAt(14+4+3+1, 0x60),
		"digest of none":       byteAt(14+4+3+1, 0),
		"another bank":         byteAt(14+4+1, 0x0D),
		"digest of other size": byteAt(14+4+1, 0x0C),
		"none": func(rsp []byte) []byte {
			out := append(rsp[:14:14], make([]byte, 8)...)
			binary.BigEndian.PutUint32(out[2:], uint32(len(out)))
			return out
		},
	} {
		t.Run(name, func(t *testing.T) {
			armed := false
			d, err := OpenTransport(t.Context(), sendFunc(func(command []byte) ([]byte, error) {
				rsp, err := rw.Send(command)
				if err == nil && armed && code(command) == tpm2.TPMCCPCRRead {
					rsp = edit(rsp)
				}
				return rsp, err
			}), Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			armed = true
			if values, err := d.Read(t.Context()); !errors.Is(err, ErrDevice) || values != nil {
				t.Errorf("Read = %v, %v, want ErrDevice", values, err)
			}
			if slot, err := d.Manifest(t.Context()); !errors.Is(err, ErrDevice) {
				t.Errorf("Manifest = %+v, %v, want ErrDevice", slot, err)
			}
		})
	}
}
