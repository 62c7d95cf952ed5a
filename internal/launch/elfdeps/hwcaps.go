package elfdeps

import (
	"bytes"
	"slices"
	"strings"
)

// HWCaps returns Options.HWCaps for the processor that a /proc/cpuinfo
// describes: the x86-64 levels it reaches (x86-64 psABI, "Micro-Architecture
// Levels"), best first; none for other processors.
func HWCaps(cpuinfo []byte) []string {
	var flags []string
	for line := range bytes.Lines(cpuinfo) {
		key, value, found := strings.Cut(string(line), ":")
		if found && strings.TrimSpace(key) == "flags" {
			flags = strings.Fields(value)
			break
		}
	}
	var levels []string
	for _, level := range []struct{ name, flags string }{
		{"x86-64-v2", "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3"},
		{"x86-64-v3", "avx avx2 bmi1 bmi2 f16c fma abm movbe xsave"},
		{"x86-64-v4", "avx512f avx512bw avx512cd avx512dq avx512vl"},
	} {
		for flag := range strings.FieldsSeq(level.flags) {
			if !slices.Contains(flags, flag) {
				return levels
			}
		}
		levels = append([]string{level.name}, levels...)
	}
	return levels
}
