package cer

import "strings"

// Devices splits the fact "devices" of an isolation (SPEC, section 5.5): names of
// nodes below /dev with one blank between two. Whatever else a name holds is part
// of it: nothing but a blank ends one.
func Devices(fact string) []string {
	if fact == "" {
		return nil
	}
	return strings.Split(fact, " ")
}

// PlainDevice reports whether a device's name is printable ASCII without blanks,
// so that it can be told from the others of the fact "devices", and read.
func PlainDevice(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' })
}

// LauncherDevice reports whether Linux gives the name, below /dev, to a TPM (tpm0,
// tpmrm0) or to what makes virtual ones (vtpmx), to the guest of a confidential VM
// (sev-guest, tdx_guest), or to the machine's memory (mem, kmem, port). A job that
// may open one can extend and quote as its launcher does, or read its memory.
func LauncherDevice(name string) bool {
	switch name {
	case "sev", "sev-guest", "tdx_guest", "tdx-guest", "mem", "kmem", "port":
		return true
	}
	return strings.HasPrefix(name, "tpm") || strings.HasPrefix(name, "vtpm")
}
