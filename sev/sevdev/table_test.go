//go:build linux

package sevdev_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"testing"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/sev/sevdev"
	"github.com/sworn-run/sworn/simulator/kernel"
)

// The GUIDs of the tables of these tests.
const (
	vcek = "63da758de6644564adc5f4b93be8accd"
	ark  = "c0b406a4a803495297433fb6014cd0ae"
	crl  = "92f81bc358114d3d97ffd19f88dc67ea"
)

// entry is one entry of a table.
type entry struct {
	guid string
	data []byte
}

// der returns a sequence of one byte.
func der(b byte) []byte { return []byte{0x30, 0x03, 0x04, 0x01, b} }

// table encodes a table.
func table(entries ...entry) []byte {
	head := make([]byte, 24*(len(entries)+1))
	for i, e := range entries {
		guid, _ := hex.DecodeString(e.guid)
		copy(head[24*i:], guid)
		binary.LittleEndian.PutUint32(head[24*i+16:], uint32(len(head)))
		binary.LittleEndian.PutUint32(head[24*i+20:], uint32(len(e.data)))
		head = append(head, e.data...)
	}
	return head
}

// read has a device read a table that its host gives.
func read(t *testing.T, host []byte) ([]attest.Collateral, error) {
	t.Helper()
	d := open(t, options(start(t, kernel.Options{Provider: kernel.SEVGuest, Report: func(in []byte, level uint) (_, _ []byte, _ error) {
		return report(in, level), host, nil
	}})))
	return d.Collateral(t.Context())
}

func TestTable(t *testing.T) {
	block := func(b []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: b}) }
	whole := table(entry{vcek, der(1)}, entry{ark, bytes.Join([][]byte{block(der(2)), block(der(3))}, nil)},
		entry{hex.EncodeToString(make([]byte, 15)) + "77", []byte("the host's own")},
		entry{crl, append(der(4), 0, 0, 0)}, entry{ark, der(2)})
	items, err := read(t, append(whole, make([]byte, 4096)...))
	if err != nil || len(items) != 4 {
		t.Fatalf("%v, %v", items, err)
	}
	for i, item := range items {
		kind := attest.CollateralCertificate
		if i == 3 {
			kind = attest.CollateralCRL
		}
		if item.Kind != kind || !bytes.Equal(item.Data, der(byte(i+1))) {
			t.Errorf("%d: %+v", i, item)
		}
	}
	if items, err := read(t, make([]byte, 24)); items != nil || err != nil {
		t.Errorf("an empty table: %v, %v", items, err)
	}
	beyond := table(entry{vcek, der(1)})
	binary.LittleEndian.PutUint32(beyond[16:], 0xffffffff)
	many := bytes.Repeat(bytes.Repeat([]byte{7}, 16), 65*2)
	for name, bad := range map[string][]byte{
		"no end": whole[:24], "half an entry": whole[:30], "data beyond it": beyond, "too many": many,
		"not DER": table(entry{vcek, []byte("certificate")}), "half a PEM": table(entry{vcek, block(der(1))[:20]}),
		"cut DER": table(entry{vcek, der(1)[:4]}), "a surplus": table(entry{vcek, append(der(1), 9)}),
	} {
		if items, err := read(t, bad); !errors.Is(err, sevdev.ErrDevice) || items != nil {
			t.Errorf("%s: %v, %v", name, items, err)
		}
	}
}
