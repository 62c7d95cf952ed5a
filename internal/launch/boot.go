//go:build linux

package launch

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/limits"
)

// The kinds of collateral that tell what booted (SPEC, section 5.5).
const (
	collateralEventLog = "eventlog"
	collateralIMA      = "ima"
)

// maxFirstList is the longest list of measured files at the beginning of a launch
// for which the launch announces that it will carry the list: it grows meanwhile,
// and what is longer than a collateral item cannot be carried.
const maxFirstList = limits.CollateralItem / 4

// boot is what a launch carries of what booted.
type boot struct {
	// log is the firmware's event log; nil if there is none.
	log []byte
	// list announces the kernel's list of measured files.
	list bool
	// ccel is the log of a confidential VM's firmware; nil if there is none.
	ccel []byte
	// listed is the list of measured files as it was read last, carried or not.
	listed []byte
}

// readBoot reads the firmware's log, and finds out whether the kernel's list of files
// explains its register as it stands: a record that announces the list has to carry
// it.
func (l *launch) readBoot(ctx context.Context) error {
	var err error
	for _, a := range l.o.Device.attesters() {
		r, ok := a.(attest.FirmwareLogReader)
		if !ok {
			continue
		}
		if l.boot.ccel, err = l.readable(r.FirmwareLog(ctx)); err != nil {
			return err
		}
	}
	r := l.o.Device.Boot
	if r == nil {
		return nil
	}
	if l.boot.log, err = l.readable(r.EventLog(ctx)); err != nil {
		return err
	}
	list, err := l.readable(r.FileList(ctx, nil))
	if err != nil {
		return err
	}
	l.boot.listed = list
	if l.boot.list = len(list) > 0 && len(list) <= maxFirstList; len(list) > maxFirstList && l.o.Log != nil {
		l.o.Log.Warn(fmt.Sprintf("the kernel's list of measured files has %d bytes already: the record is made without it", len(list)))
	}
	return nil
}

// readable takes a log that this user may not read for one that is not there, and says
// so: the record then has less to say of the boot.
func (l *launch) readable(b []byte, err error) ([]byte, error) {
	switch {
	case errors.Is(err, fs.ErrPermission):
		if l.o.Log != nil {
			l.o.Log.Warn("made without a log of what booted, which root alone may read: " + err.Error())
		}
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrDevice, err)
	}
	return b, nil
}

// environment returns the event that names what is carried; nil for nothing.
func (b *boot) environment() *cer.Environment {
	if b.log == nil && !b.list && b.ccel == nil {
		return nil
	}
	log, list := cer.NoBootLog, cer.NoBootLog
	if b.log != nil {
		log = cer.SHA256Digest(sha256.Sum256(b.log))
	}
	if b.list {
		list = cer.CarriedIMA
	}
	facts := []cer.Fact{{Name: cer.FactEventLog, Value: log}, {Name: cer.FactIMA, Value: list}}
	if b.ccel != nil {
		facts = append([]cer.Fact{{Name: cer.FactCCEL, Value: cer.SHA256Digest(sha256.Sum256(b.ccel))}}, facts...)
	}
	return cer.NewEnvironment(cer.KindBoot, facts)
}

// bootCollateral returns what the launch has announced. A list that no longer
// explains the quoted register is an error: no verifier would accept the record.
func (l *launch) bootCollateral(ctx context.Context, ev *attest.Evidence) ([]attest.Collateral, error) {
	var out []attest.Collateral
	if l.boot.ccel != nil {
		out = append(out, attest.Collateral{Kind: attest.CollateralCCEL, Data: l.boot.ccel})
	}
	if l.boot.log != nil {
		out = append(out, attest.Collateral{Kind: collateralEventLog, Data: l.boot.log})
	}
	if !l.boot.list {
		return out, nil
	}
	list, err := l.o.Device.Boot.FileList(ctx, ev)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDevice, err)
	}
	if list == nil {
		return nil, fmt.Errorf("the kernel's list of measured files does not explain its register any more: %w", ErrDevice)
	}
	l.boot.listed = list
	return append(out, attest.Collateral{Kind: collateralIMA, Data: list}), nil
}
