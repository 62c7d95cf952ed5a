package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// findWeights says what this machine has for large weights and for limits: no job
// needs it, so nothing of it is missing.
func (d *diagnosis) findWeights() []finding {
	optional := func(name string, ok bool, there, otherwise string) finding {
		if ok {
			return finding{Name: name, OK: true, Found: there}
		}
		return finding{Name: name, Unused: true, Found: otherwise}
	}
	return []finding{
		optional("fs-verity", d.exists("sys/fs/ext4/features/verity"),
			"the kernel's ext4 has it: sworn protect FILE",
			"not seen: the kernel's ext4 has none, so weights are copied into memory unless another file system has it"),
		optional("dm-verity", d.uid == 0 && d.exists("dev/mapper/control") && d.exists("dev/loop-control"),
			"this user can make devices: --weights verity:FILE.json, --image-volume FILE.json",
			"not for this user: it takes root, /dev/mapper/control and /dev/loop-control (modprobe dm-verity loop)"),
		optional("memory limit", d.memoryController(),
			"control groups of version 2 have the memory controller: --limit memory=BYTES",
			"control groups of version 2 have no memory controller: --limit memory is refused"),
	}
}

// exists reports whether something is at a path below the root.
func (d *diagnosis) exists(path string) bool {
	_, err := os.Stat(filepath.Join(d.root, path))
	return err == nil
}

// memoryController reports whether jobs' control groups can bound their memory.
func (d *diagnosis) memoryController() bool {
	for _, mount := range []string{"sys/fs/cgroup", "sys/fs/cgroup/unified"} {
		b, err := os.ReadFile(filepath.Join(d.root, mount, "cgroup.controllers"))
		if err == nil {
			return slices.Contains(strings.Fields(string(b)), "memory")
		}
	}
	return false
}
