package tpmdev

import (
	"bytes"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// ekDER is the EK certificate of a captured software TPM.
func ekDER(tb testing.TB) []byte {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join("..", "testdata", "run-llm", "nv_01c00016"))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// header wraps a certificate as older PC Client TPMs do.
func header(der []byte) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{0x10, 0x01, 0x00}, uint16(len(der))), der...)
}

// TestParseEK: what NV memory holds around a certificate.
func TestParseEK(t *testing.T) {
	der := ekDER(t)
	text, err := os.ReadFile(filepath.Join("..", "testdata", "ca", "issuercert.pem"))
	if err != nil {
		t.Fatal(err)
	}
	issuer, _ := pem.Decode(text)
	zeros := make([]byte, 500)
	for name, tc := range map[string]struct {
		nv   []byte
		want int
	}{
		"as it is":         {der, 1},
		"zeros behind":     {append(bytes.Clone(der), zeros...), 1},
		"header":           {header(der), 1},
		"header and zeros": {append(header(der), zeros...), 1},
		"with its issuer":  {append(bytes.Clone(der), issuer.Bytes...), 2},
	} {
		got, err := parseEK(tc.nv)
		if err != nil || len(got) != tc.want || !bytes.Equal(got[0], der) {
			t.Errorf("%s: %d certificates, %v", name, len(got), err)
		}
	}
	// A length in a longer form than it needs: what BER allows and DER does not.
	loose := append([]byte{0x30, 0x83, 0x00}, der[2:]...)
	for name, nv := range map[string][]byte{
		"empty":              nil,
		"zeros":              zeros,
		"truncated":          der[:len(der)-1],
		"other bytes behind": append(bytes.Clone(der), 1),
		"ones behind":        append(bytes.Clone(der), 0xff, 0xff),
		"header alone":       header(nil),
		"header too long":    header(der)[:100],
		"header too short":   append(header(der[:len(der)-1]), der[len(der)-1]),
		"not strict DER":     loose,
		"not a certificate":  {0x30, 0x00},
	} {
		if got, err := parseEK(nv); !errors.Is(err, ErrDevice) || got != nil {
			t.Errorf("%s: %d certificates, %v", name, len(got), err)
		}
	}
}

// FuzzParseEK: what is returned stands in the index, and beside it only a
// header and zeros.
func FuzzParseEK(f *testing.F) {
	der := ekDER(f)
	f.Add(der)
	f.Add(header(der))
	f.Add(append(header(der), 0, 0, 0))
	f.Fuzz(func(t *testing.T, nv []byte) {
		got, err := parseEK(nv)
		if err != nil {
			if got != nil || !errors.Is(err, ErrDevice) {
				t.Fatalf("%v, %v", got, err)
			}
			return
		}
		all := bytes.Join(got, nil)
		rest, ok := bytes.CutPrefix(nv, all)
		if !ok {
			rest, ok = bytes.CutPrefix(nv, header(all))
		}
		if !ok && len(nv) > 5 {
			// The header's size may cover zeros too.
			rest, ok = bytes.CutPrefix(nv[5:], all)
			ok = ok && bytes.HasPrefix(nv, storedHeader[:])
		}
		if !ok || !isZero(rest) || len(got) == 0 {
			t.Fatalf("%d certificates of %d bytes in %d", len(got), len(all), len(nv))
		}
	})
}
