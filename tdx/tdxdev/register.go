package tdxdev

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/limits"
)

// The files of the registers (Linux, Documentation/ABI/testing/
// sysfs-devices-virtual-misc-tdx_guest).
const (
	rtmrName = "rtmr3:sha384"
	mrtdName = "mrtd:sha384"
	// registerSize is the size of each in bytes.
	registerSize = 48
)

// labelLife begins what the identity of a register's life is a digest of (docs/SPEC.md,
// section 2).
const labelLife = "sworn.run/tdx-life/v1\x00"

// ccelName is the name of the table of ACPI that tells of the firmware's log, and of the
// log.
const ccelName = "CCEL"

// Banks returns the register's one bank, SHA-384. The error wraps [ErrUsage] if d is
// closed, or is the context's.
func (d *Device) Banks(ctx context.Context) ([]attest.Alg, error) {
	release, err := d.acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("naming the banks: %w", err)
	}
	defer release()
	return []attest.Alg{bank}, nil
}

// Read returns the current value of RTMR3, 48 bytes. The error wraps [ErrDevice],
// [ErrDenied], [ErrAbsent] or [ErrUsage], or is the context's.
func (d *Device) Read(ctx context.Context) ([]attest.RegisterValue, error) {
	release, err := d.acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading RTMR3: %w", err)
	}
	defer release()
	v, err := d.o.read(rtmrName)
	if err != nil {
		return nil, fmt.Errorf("reading RTMR3: %w", err)
	}
	return []attest.RegisterValue{{Bank: bank, Index: Register, Value: v}}, nil
}

// Extend extends RTMR3 with one digest of 48 bytes: its value becomes SHA-384 of what it
// was and the digest. The error wraps [ErrUsage] if that is not what digests holds,
// [ErrDevice], [ErrDenied] or [ErrAbsent], or is the context's; after ErrDevice the
// register's value is unknown.
func (d *Device) Extend(ctx context.Context, digests [][]byte) error {
	release, err := d.acquire(ctx)
	if err != nil {
		return fmt.Errorf("extending RTMR3: %w", err)
	}
	defer release()
	if len(digests) != 1 || len(digests[0]) != registerSize {
		return fmt.Errorf("extending RTMR3 with %d digests, want one of %d bytes: %w", len(digests), registerSize, ErrUsage)
	}
	f, err := os.OpenFile(filepath.Join(d.o.Measurements, rtmrName), os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("extending RTMR3: %w", classify(err))
	}
	// One call: each is an extension.
	_, err = f.Write(digests[0])
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("extending RTMR3: %w", classify(err))
	}
	return nil
}

// Life returns what tells this life of RTMR3 from others: the identity is SHA-256 of a
// label, the TD's MRTD (48 bytes) and the boot id (16 bytes) of its kernel; the counters
// are zero, a TD has none. The error wraps [ErrDevice], [ErrDenied], [ErrAbsent] or
// [ErrUsage], or is the context's.
func (d *Device) Life(ctx context.Context) (attest.Life, error) {
	release, err := d.acquire(ctx)
	if err != nil {
		return attest.Life{}, fmt.Errorf("reading the life of RTMR3: %w", err)
	}
	defer release()
	mrtd, err := d.o.read(mrtdName)
	if err != nil {
		return attest.Life{}, fmt.Errorf("reading MRTD: %w", err)
	}
	text, err := readFile(bootID)
	if err != nil {
		return attest.Life{}, fmt.Errorf("reading the kernel's boot id: %w", err)
	}
	id, err := uuid(string(text))
	if err != nil {
		return attest.Life{}, fmt.Errorf("reading the kernel's boot id: %w", err)
	}
	return attest.Life{Identity: sha256.Sum256(append(append([]byte(labelLife), mrtd...), id...))}, nil
}

// EventLog returns the log of what the firmware extended into RTMR0 to RTMR2, which the
// table CCEL of ACPI tells of, at most 4 MiB; nil if there is none. Its registers are
// numbered as the UEFI specification has them (38.4.1: 0 for MRTD, 1 to 4 for RTMR0 to
// RTMR3). It belongs into a capsule as [attest.CollateralCCEL]. The error wraps
// [ErrDevice], [ErrDenied] or [ErrUsage], or is the context's.
func (d *Device) EventLog(ctx context.Context) ([]byte, error) {
	return d.table(ctx, filepath.Join("data", ccelName))
}

// CCEL returns the table CCEL itself, at most 4 MiB; nil if there is
// none. The error is as that of [Device.EventLog].
func (d *Device) CCEL(ctx context.Context) ([]byte, error) { return d.table(ctx, ccelName) }

// FileList returns nil: Linux extends no register of a TD for the files that it measures.
// The error wraps [ErrUsage] if d is closed, or is the context's.
func (d *Device) FileList(ctx context.Context, _ *attest.Evidence) ([]byte, error) {
	_, err := d.Banks(ctx)
	return nil, err
}

// table reads a file of the tables of ACPI.
func (d *Device) table(ctx context.Context, name string) ([]byte, error) {
	release, err := d.acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the firmware's log: %w", err)
	}
	defer release()
	b, err := readFile(filepath.Join(d.o.Tables, name))
	if errors.Is(err, ErrAbsent) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the firmware's log: %w", err)
	}
	return b, nil
}

// checkRegister looks whether the register is there and may be extended.
func (o *Options) checkRegister() error {
	if _, err := o.read(rtmrName); err != nil {
		return fmt.Errorf("looking for RTMR3: %w", err)
	}
	// Opening extends nothing.
	f, err := os.OpenFile(filepath.Join(o.Measurements, rtmrName), os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("looking for RTMR3: %w", classify(err))
	}
	_ = f.Close()
	return nil
}

// read reads a register.
func (o *Options) read(name string) ([]byte, error) {
	v, err := readFile(filepath.Join(o.Measurements, name))
	switch {
	case errors.Is(err, ErrAbsent):
		return nil, fmt.Errorf("there is no %s: it takes Linux 6.16 with CONFIG_TSM_MEASUREMENTS, and modprobe tdx-guest: %w", filepath.Join(o.Measurements, name), err)
	case err != nil:
		return nil, err
	case len(v) != registerSize:
		return nil, fmt.Errorf("%s has %d bytes, want %d: %w", name, len(v), registerSize, ErrDevice)
	}
	return v, nil
}

// readFile reads a file of at most 4 MiB.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, classify(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limits.CollateralItem+1))
	if err != nil {
		return nil, classify(err)
	}
	if len(b) > limits.CollateralItem {
		return nil, fmt.Errorf("%s has more than %d bytes: %w", path, limits.CollateralItem, ErrDevice)
	}
	return b, nil
}

// classify gives an error of the file system its sentinel.
func classify(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("root may: %w: %w", ErrDenied, err)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("%w: %w", ErrAbsent, err)
	}
	return fmt.Errorf("%w: %w", ErrDevice, err)
}

// uuid returns the 16 bytes of a UUID in text, with a line's end or without.
func uuid(s string) ([]byte, error) {
	id, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSuffix(s, "\n"), "-", ""))
	if err != nil || len(id) != 16 {
		return nil, fmt.Errorf("%.40q is not an id: %w", s, ErrDevice)
	}
	return id, nil
}
