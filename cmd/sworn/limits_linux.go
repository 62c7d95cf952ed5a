package main

import (
	"strconv"
	"strings"

	"github.com/sworn-run/sworn/internal/launch/jail"
)

// parseLimits parses NAME=NUMBER flags.
func parseLimits(flags []string) (jail.Limits, error) {
	var l jail.Limits
	names := map[string]*uint64{
		"address-space": &l.AddressSpace, "file-size": &l.FileSize, "open-files": &l.OpenFiles,
		"processes": &l.Processes, "cpu": &l.CPUSeconds, "memory": &l.Memory,
	}
	for _, s := range flags {
		n, v, _ := strings.Cut(s, "=")
		x, err := strconv.ParseUint(v, 10, 63)
		if names[n] == nil || err != nil || x == 0 {
			return l, usage("--limit open-files=256", "limit %q: want NAME=NUMBER of address-space, file-size, memory, open-files, processes, cpu", s)
		}
		*names[n] = x
	}
	return l, nil
}
