// Package sevdev is the device side of package sev: inside an AMD SEV-SNP guest, it has the
// secure processor report on a statement. What it produces, package sev appraises.
//
// # The interface
//
// Reports come from the kernel's folder of requests in configfs (Linux 6.7), together with
// the certificates that the host has for the key that signs; on older kernels from the
// device /dev/sev-guest. Both need root, and the module sev-guest.
//
// # What can be reported on
//
// A statement, and nothing else: no function here takes report data. [Open] asks for one
// report more, to learn the guest's REPORT_ID, over a random value under a label of its own
// (docs/SPEC.md, section 2), which can never be taken for a statement. A guest has no
// register that it can extend: what happened is anchored by the statement alone
// ([attest.AnchorStatementOnly]).
//
// Clauses are those of the SEV Secure Nested Paging Firmware ABI Specification, revision
// 1.58 ("ABI, table 23"), and of the GHCB Specification, revision 2.03.
package sevdev

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/internal/tsm"
)

// The sentinels of this package. Every error wraps one of them, or is that of the context
// that ended the call.
var (
	// ErrAbsent: the machine is no SEV-SNP guest, or its kernel has no interface for
	// reports; the error says what to do.
	ErrAbsent = tsm.ErrAbsent
	// ErrDenied: this process may not ask for reports: root may. It comes with
	// fs.ErrPermission.
	ErrDenied = tsm.ErrDenied
	// ErrBusy: another process kept writing into the requests for reports, or the device
	// refused for now, until it was enough.
	ErrBusy = tsm.ErrBusy
	// ErrDevice: the device failed, or gave what is not the report asked for.
	ErrDevice = tsm.ErrDevice
	// ErrUsage: the caller's mistake: an option that cannot be, a statement that does not
	// encode or is for another slot, a closed device.
	ErrUsage = tsm.ErrUsage
)

// Format is the evidence format of this device (docs/SPEC.md, section 3).
const Format attest.Format = 2

// PartReport is the name of the one part of the evidence: the report, 1184 bytes.
const PartReport = "report"

// DefaultDevice is the device of kernels without reports in configfs.
const DefaultDevice = "/dev/sev-guest"

// labelProbe begins what the report covers by which Open learns the REPORT_ID
// (docs/SPEC.md, section 2).
const labelProbe = "sworn.run/probe/v1\x00"

// maxTable bounds the table of certificates in bytes; the host may give 16 KiB to most
// kernels.
const maxTable = 1 << 20

// The fields of a report (ABI, table 23). Package sev reads the others.
const (
	reportSize   = 1184
	reportDataAt = 0x50
	reportIDAt   = 0x140
)

// Options are the choices of [Open]. The zero value takes the defaults.
type Options struct {
	// ConfigFS is where configfs is mounted; empty is /sys/kernel/config.
	ConfigFS string
	// Device is the device of older kernels; empty is [DefaultDevice].
	Device string
	// VMPL is the privilege level to report from, 0 to 3; nil is the kernel's own, or 0
	// where it does not tell. A guest below a paravisor or an SVSM cannot report from 0.
	VMPL *uint
}

// Device is the secure processor as one guest sees it. It is safe for concurrent use: one
// request runs at a time. The zero Device refuses.
type Device struct {
	mu sync.Mutex
	// ask makes a report; nil if the device is closed.
	ask asker
	// id is SHA-256 of the guest's REPORT_ID.
	id [32]byte
	// table holds the certificates as the host gave them.
	table []byte
}

// asker makes a report over 64 bytes and returns it with the table of certificates, nil
// for none.
type asker func(ctx context.Context, data [64]byte) (report, table []byte, err error)

var (
	_ attest.Attester         = (*Device)(nil)
	_ attest.CollateralReader = (*Device)(nil)
)

// Open finds the interface and has one report made, to learn the guest's REPORT_ID and the
// certificates that the host has. The caller must Close it. The error wraps [ErrAbsent],
// [ErrDenied], [ErrBusy], [ErrDevice] or [ErrUsage], or is the context's.
func Open(ctx context.Context, o Options) (*Device, error) {
	if o.VMPL != nil && *o.VMPL > tsm.MaxPrivLevel {
		return nil, fmt.Errorf("opening the SEV-SNP guest device: VMPL %d, want 0 to %d: %w", *o.VMPL, tsm.MaxPrivLevel, ErrUsage)
	}
	var random [32]byte
	rand.Read(random[:])
	probe := sha512.Sum512(append([]byte(labelProbe), random[:]...))
	d := &Device{ask: o.configFS()}
	report, table, err := d.report(ctx, probe)
	if errors.Is(err, ErrAbsent) {
		d.ask = o.ioctl()
		first := err
		report, table, err = d.report(ctx, probe)
		if errors.Is(err, fs.ErrNotExist) {
			err = first // what is missing on a kernel of today
		}
	}
	if err != nil {
		return nil, fmt.Errorf("opening the SEV-SNP guest device: %w", err)
	}
	d.id, d.table = keyID(report), table
	return d, nil
}

// configFS makes reports through configfs.
func (o *Options) configFS() asker {
	client := o.client()
	level := o.VMPL
	return func(ctx context.Context, data [64]byte) (report, table []byte, err error) {
		rsp, err := client.Report(ctx, &tsm.Request{InBlob: data, PrivLevel: level, MaxOut: limits.EvidencePart, MaxAux: maxTable})
		if err != nil {
			return nil, nil, err
		}
		return rsp.Out, rsp.Aux, nil
	}
}

// client is the interface in configfs.
func (o *Options) client() *tsm.Client {
	return &tsm.Client{ConfigFS: o.ConfigFS, Provider: "sev_guest", Module: "sev-guest"}
}

// keyID returns what the manifest says of the guest: SHA-256 of its REPORT_ID.
func keyID(report []byte) [32]byte {
	return sha256.Sum256(report[reportIDAt : reportIDAt+32])
}

// report has a report made and refuses one that is not what was asked for.
func (d *Device) report(ctx context.Context, data [64]byte) (report, table []byte, err error) {
	if d.ask == nil {
		return nil, nil, fmt.Errorf("the device is not open: %w", ErrUsage)
	}
	report, table, err = d.ask(ctx, data)
	if err != nil {
		return nil, nil, err
	}
	if len(report) != reportSize {
		return nil, nil, fmt.Errorf("a report of %d bytes, want %d: %w", len(report), reportSize, ErrDevice)
	}
	if !bytes.Equal(report[reportDataAt:reportDataAt+64], data[:]) {
		return nil, nil, fmt.Errorf("a report over other data: %w", ErrDevice)
	}
	return report, table, nil
}

// Manifest describes the slot: the key id is SHA-256 of the guest's REPORT_ID, and there is
// no register. The slot number is the caller's to set. The error wraps [ErrUsage] if d is
// closed, or is the context's.
func (d *Device) Manifest(ctx context.Context) (attest.Slot, error) {
	if err := ctx.Err(); err != nil {
		return attest.Slot{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ask == nil {
		return attest.Slot{}, fmt.Errorf("describing the slot: the device is not open: %w", ErrUsage)
	}
	return attest.Slot{Format: Format, Mode: attest.ModeDirect, Anchor: attest.AnchorStatementOnly, KeyID: d.id}, nil
}

// Attest has the statement reported on for one slot of its manifest: the report data is
// SHA-512 of the statement, its slot and its format ([attest.Quoted]). The slot must be one
// that this guest can fill. The report is checked to carry these data and this guest's
// REPORT_ID; who signed it, the device side does not judge.
//
// The error wraps [ErrUsage] (and [attest.ErrForm] or [attest.ErrArgument] if the statement
// does not encode), [ErrDevice], [ErrBusy], [ErrDenied] or [ErrAbsent], or is the context's.
func (d *Device) Attest(ctx context.Context, slot uint8, st *attest.Statement) (*attest.Evidence, error) {
	encoded, err := st.Encode()
	if err != nil {
		return nil, fmt.Errorf("reporting on a statement: %w: %w", ErrUsage, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.checkSlot(slot, st); err != nil {
		return nil, fmt.Errorf("reporting for slot %d: %w", slot, err)
	}
	quoted := attest.Quoted(attest.SHA512, slot, Format, encoded)
	report, table, err := d.report(ctx, [64]byte(quoted))
	if err != nil {
		return nil, fmt.Errorf("reporting on a statement: %w", err)
	}
	if keyID(report) != d.id {
		return nil, fmt.Errorf("the guest's REPORT_ID has changed, as when it is moved to another machine: %w", ErrDevice)
	}
	if table != nil {
		d.table = table
	}
	return &attest.Evidence{Slot: slot, Format: Format, Parts: []attest.Part{{Name: PartReport, Data: report}}}, nil
}

// checkSlot refuses a statement whose slot this guest cannot fill. The statement has been
// encoded.
func (d *Device) checkSlot(slot uint8, st *attest.Statement) error {
	if int(slot) >= len(st.Manifest) {
		return fmt.Errorf("the manifest has %d slots: %w", len(st.Manifest), ErrUsage)
	}
	s := &st.Manifest[slot]
	switch {
	case s.Format != Format || s.Mode != attest.ModeDirect || s.Anchor != attest.AnchorStatementOnly || s.Register != nil:
		return fmt.Errorf("it is for evidence of another kind: %w", ErrUsage)
	case s.KeyID != d.id:
		return fmt.Errorf("it is for another guest: %w", ErrUsage)
	}
	return nil
}

// Collateral returns what the host gave with the last report: certificates of the key that
// signed it and of its issuers, in DER, and revocation lists, in the order of the host's
// table; nil if it gave none. Nothing of it has been checked but its form. The error wraps
// [ErrDevice] for a table that cannot be read, or [ErrUsage] if d is closed, or is the
// context's.
func (d *Device) Collateral(ctx context.Context) ([]attest.Collateral, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ask == nil {
		return nil, fmt.Errorf("reading certificates: the device is not open: %w", ErrUsage)
	}
	items, err := readTable(d.table)
	if err != nil {
		return nil, fmt.Errorf("reading the host's certificates: %w", err)
	}
	return items, nil
}

// Close forgets the device; it holds nothing open. It returns nil.
func (d *Device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ask = nil
	return nil
}

// Probe tells whether [Open] would find an interface for reports here, and in one line for
// people which, or what is missing. It has no report made.
func Probe(ctx context.Context, o Options) (available bool, detail string) {
	floor, err := o.client().Probe(ctx)
	if err == nil {
		return true, fmt.Sprintf("reports through configfs, from VMPL %d on", floor)
	}
	if errors.Is(err, ErrAbsent) {
		if device, e := o.openDevice(); e == nil {
			_ = device.Close()
			return true, "reports through " + device.Name()
		} else if !errors.Is(e, fs.ErrNotExist) {
			err = e
		}
	}
	return false, err.Error()
}
