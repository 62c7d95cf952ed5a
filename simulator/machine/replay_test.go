//go:build vm

package machine_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"testing"

	"github.com/sworn-run/sworn/simulator/machine"
)

// checkReplay extends the digests of the event log, in SHA-256, and wants what
// the registers 0 to 9 hold: then the log is whole. An event is register, type,
// count of digests, digests, size and data (TCG PC Client Platform Firmware
// Profile, 10.2.2); the first one is of the older kind, with one SHA-1.
func checkReplay(t *testing.T, e *machine.Evidence) {
	t.Helper()
	r := bytes.NewReader(e.EventLog)
	number := func() (v uint32) {
		if err := binary.Read(r, binary.LittleEndian, &v); err != nil {
			t.Fatalf("the event log ends within an event: %v", err)
		}
		return v
	}
	skip := func(n uint32) {
		if int64(n) > int64(r.Len()) {
			t.Fatalf("%d bytes of an event, %d are left", n, r.Len())
		}
		_, _ = r.Seek(int64(n), 1)
	}
	skip(4 + 4 + 20)
	skip(number())
	sizes := map[uint16]uint32{0x4: 20, 0xb: 32, 0xc: 48} // SHA-1, -256, -384
	var values [24][32]byte
	events := 0
	for ; r.Len() > 0; events++ {
		register, kind := number(), number()
		for range number() {
			var algorithm uint16
			if err := binary.Read(r, binary.LittleEndian, &algorithm); err != nil || sizes[algorithm] == 0 {
				t.Fatalf("event %d: algorithm %#x, %v", events, algorithm, err)
			}
			digest := make([]byte, min(int(sizes[algorithm]), r.Len()))
			_, _ = r.Read(digest)
			if algorithm == 0xb && kind != 3 && register < 24 { // EV_NO_ACTION is not extended
				values[register] = sha256.Sum256(append(values[register][:], digest...))
			}
		}
		skip(number())
	}
	for i := range 10 {
		if got := e.PCRs["sha256"][i]; !bytes.Equal(got, values[i][:]) {
			t.Errorf("register %d is %x, %d events give %x", i, got, events, values[i])
		}
	}
	t.Logf("%d events, %d bytes", events, len(e.EventLog))
}
