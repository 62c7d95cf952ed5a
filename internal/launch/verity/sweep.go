//go:build linux

package verity

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	devicePrefix = "sworn-"
	nodePrefix   = "sworn-verity-"
	// leftAfter is the age at which a device that nothing has open is no longer one
	// that is being made.
	leftAfter = 10 * time.Minute
)

// deviceName names a device after the time when it is made, and by chance.
func deviceName(made time.Time, id [8]byte) string {
	return fmt.Sprintf(devicePrefix+"%x-%x", made.Unix(), id)
}

// old reports whether a device's name is one of ours, made long ago.
func old(name string, now time.Time) bool {
	rest, ok := strings.CutPrefix(name, devicePrefix)
	seconds, id, both := strings.Cut(rest, "-")
	made, err := strconv.ParseInt(seconds, 16, 64)
	return ok && both && err == nil && len(id) == 16 && now.Sub(time.Unix(made, 0)) > leftAfter
}

// Sweep takes away the devices of launchers that were killed, with their nodes. The
// kernel keeps a device that is mounted, or that its launcher has open. Where there
// is no device mapper, or it may not be used, nothing is done.
func Sweep() {
	// In this order: a folder is made after its device.
	nodes, _ := filepath.Glob("/dev/" + nodePrefix + "*")
	reply, err := dm(dmList, "", 0, nil)
	if err != nil {
		return
	}
	names, whole := deviceNames(reply)
	if !whole {
		return
	}
	var live []string
	for _, name := range names {
		if old(name, time.Now()) {
			if _, err := dm(dmRemove, name, 0, nil); err == nil {
				continue
			}
		}
		live = append(live, name)
	}
	for _, dir := range orphans(nodes, live) {
		_ = os.RemoveAll(dir)
	}
}

// orphans returns the folders of nodes whose devices are gone.
func orphans(dirs, live []string) []string {
	return slices.DeleteFunc(slices.Clone(dirs), func(dir string) bool {
		return slices.Contains(live, strings.TrimPrefix(filepath.Base(dir), nodePrefix))
	})
}

// deviceNames reads the names of a list of devices (struct dm_name_list), and
// reports whether these are all.
func deviceNames(reply []byte) (names []string, whole bool) {
	const head, full = 12, 1 << 8 // DM_BUFFER_FULL_FLAG
	if len(reply) < dmHeader || binary.LittleEndian.Uint32(reply[dmOffFlags:])&full != 0 {
		return nil, false
	}
	at := uint64(binary.LittleEndian.Uint32(reply[dmOffStart:]))
	for {
		if at+head > uint64(len(reply)) {
			return nil, false
		}
		item := reply[at:]
		if binary.LittleEndian.Uint64(item) == 0 && names == nil {
			return nil, true // there is none
		}
		next := uint64(binary.LittleEndian.Uint32(item[8:]))
		end := uint64(len(item))
		if next != 0 {
			end = next
		}
		if end < head || end > uint64(len(item)) {
			return nil, false
		}
		names = append(names, cstring(item[head:end]))
		if next == 0 {
			return names, true
		}
		at += next
	}
}
