//go:build linux

package verity

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"
)

// listOf makes the device mapper's answer with a list of devices.
func listOf(names ...string) []byte {
	b := make([]byte, dmBuffer)
	binary.LittleEndian.PutUint32(b[dmOffStart:], dmHeader)
	at := dmHeader
	for i, name := range names {
		binary.LittleEndian.PutUint64(b[at:], uint64(0xfd00+i))
		copy(b[at+12:], name)
		next := (12 + len(name) + 1 + 7) / 8 * 8
		if i == len(names)-1 {
			return b
		}
		binary.LittleEndian.PutUint32(b[at+8:], uint32(next))
		at += next
	}
	return b
}

func TestDeviceNames(t *testing.T) {
	for _, names := range [][]string{nil, {"a"}, {"root", "sworn-1-2", "swap_1"}} {
		if got, whole := deviceNames(listOf(names...)); !whole || !slices.Equal(got, names) {
			t.Errorf("%q: got %q, %v", names, got, whole)
		}
	}
	for name, change := range map[string]func(b []byte) []byte{
		"empty":         func([]byte) []byte { return nil },
		"a header only": func(b []byte) []byte { return b[:dmHeader] },
		"cut short":     func(b []byte) []byte { return b[:dmHeader+20] },
		"too many":      func(b []byte) []byte { b[dmOffFlags+1] = 1; return b },
		"begins behind": func(b []byte) []byte { binary.LittleEndian.PutUint32(b[dmOffStart:], 1<<31); return b },
		"next is behind": func(b []byte) []byte {
			binary.LittleEndian.PutUint32(b[dmHeader+8:], dmBuffer)
			return b
		},
		"next is in itself": func(b []byte) []byte { binary.LittleEndian.PutUint32(b[dmHeader+8:], 4); return b },
	} {
		if got, whole := deviceNames(change(listOf("one", "two"))); whole || got != nil {
			t.Errorf("%s: got %q, %v", name, got, whole)
		}
	}
}

// TestOld: only devices of ours that were made long ago are taken away.
func TestOld(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	id := [8]byte{1, 2, 3}
	for name, want := range map[string]bool{
		deviceName(now.Add(-time.Hour), id):             true,
		deviceName(now.Add(-leftAfter-time.Second), id): true,
		deviceName(now.Add(-leftAfter), id):             false,
		deviceName(now, id):                             false,
		deviceName(now.Add(time.Hour), id):              false,
		"sworn-0102030000000000":                        false,
		"sworn-1-2":                                     false,
		"sworn--0102030000000000":                       false,
		"root":                                          false,
		"":                                              false,
		"x" + deviceName(now.Add(-time.Hour), id):       false,
	} {
		if got := old(name, now); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

func TestOrphans(t *testing.T) {
	live := []string{"sworn-1-a", "root"}
	dirs := []string{"/dev/sworn-verity-sworn-1-a", "/dev/sworn-verity-sworn-1-b", "/dev/sworn-verity-123"}
	if got := orphans(dirs, live); !slices.Equal(got, dirs[1:]) {
		t.Errorf("got %q", got)
	}
}
