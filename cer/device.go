package cer

import (
	"fmt"
	"strconv"
	"strings"
)

// Device is one of the devices that a job could open.
type Device struct {
	// Name is the node's name below /dev.
	Name string
	// Kind is 'c' for a character and 'b' for a block device.
	Kind byte
	// Major and Minor are the node's number, which says to the kernel what it is
	// whatever it is called.
	Major, Minor uint32
}

// Number returns the device's number as the fact "device_numbers" has it, such as
// "c195:0".
func (d *Device) Number() string {
	return string(d.Kind) + strconv.FormatUint(uint64(d.Major), 10) + ":" + strconv.FormatUint(uint64(d.Minor), 10)
}

// everyJob reports whether every job has the device, so that no number stands for
// it.
func everyJob(name string) bool { return name == "null" || name == "urandom" }

// NamedDevices returns the devices of an isolation that not every job has, from
// its facts "devices" and "device_numbers" (SPEC, section 5.5), of which the second
// has one number for each of these devices and is empty if there is none. The error
// wraps ErrSchema.
func NamedDevices(devices, numbers string) ([]Device, error) {
	var out []Device
	for _, name := range Devices(devices) {
		if !everyJob(name) {
			out = append(out, Device{Name: name})
		}
	}
	words := Devices(numbers)
	if len(words) != len(out) {
		return nil, fmt.Errorf("%d device numbers for %d devices: %w", len(words), len(out), ErrSchema)
	}
	for i, word := range words {
		if err := out[i].setNumber(word); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// setNumber reads a number in its one spelling.
func (d *Device) setNumber(word string) error {
	bad := func() error { return fmt.Errorf("device %q: number %q: %w", d.Name, word, ErrSchema) }
	if word == "" || word[0] != 'c' && word[0] != 'b' {
		return bad()
	}
	major, minor, _ := strings.Cut(word[1:], ":")
	a, errA := strconv.ParseUint(major, 10, 32)
	b, errB := strconv.ParseUint(minor, 10, 32)
	if errA != nil || errB != nil {
		return bad()
	}
	d.Kind, d.Major, d.Minor = word[0], uint32(a), uint32(b)
	if d.Number() != word {
		return bad()
	}
	return nil
}

// Launcher reports whether the device is one that a job must not have, by its name
// ([LauncherDevice]) or by a number that Linux gives to no other: the first TPM, or
// the machine's memory (admin-guide/devices.txt).
func (d *Device) Launcher() bool {
	number := d.Number()
	return LauncherDevice(d.Name) || number == "c10:224" || number == "c1:1" || number == "c1:2" || number == "c1:4"
}

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
