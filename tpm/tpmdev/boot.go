package tpmdev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/bootlog/ima"
	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/tpm"
)

// Where the kernel shows its logs (Linux, Documentation/ABI/testing/tpm and
// ima_policy) and what a device number belongs to.
const (
	securityDir = "/sys/kernel/security"
	deviceDir   = "/sys/dev/char"
	logName     = "binary_bios_measurements"
	listName    = "ima/binary_runtime_measurements"
)

// kernelTPM returns the name of the TPM in the kernel, such as "tpm0", that an open
// device node belongs to; "" if it cannot be told. The node's own name says nothing.
func kernelTPM(f *os.File) string {
	info, err := f.Stat()
	if err != nil {
		return ""
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	major, minor := st.Rdev>>8&0xfff, st.Rdev&0xff|st.Rdev>>12&0xfff00
	target, err := os.Readlink(filepath.Join(deviceDir, fmt.Sprintf("%d:%d", major, minor)))
	if err != nil {
		return ""
	}
	return chip(filepath.Base(target))
}

// chip returns the name of the TPM whose node has a name of the driver's: tpmN, or
// tpmrmN with the kernel's resource manager between. "" for any other.
func chip(node string) string {
	number, ok := strings.CutPrefix(node, "tpm")
	if ok {
		number = strings.TrimPrefix(number, "rm")
	}
	if number == "" || !ok || strings.Trim(number, "0123456789") != "" {
		return ""
	}
	return "tpm" + number
}

// EventLog returns the firmware's event log that the kernel keeps for this TPM, at
// most 4 MiB; nil if this is no TPM of the kernel's, or it has no log. The error
// wraps [ErrDevice] for a log that cannot be read or is longer, or is the
// context's.
func (t *TPM) EventLog(ctx context.Context) ([]byte, error) {
	if err := ctx.Err(); err != nil || t.chip == "" {
		return nil, err
	}
	b, err := readLog(filepath.Join(t.security, t.chip, logName))
	if err != nil {
		return nil, fmt.Errorf("reading the firmware's event log: %w", err)
	}
	return b, nil
}

// FileList returns the beginning of the kernel's list of measured files, at most
// 4 MiB, whose digests give the register 10 that ev quotes in the bank of SHA-256; as
// it stands now, for nil. It is nil if this is no TPM of the kernel's, if there is no list, and if no
// beginning does: somebody else extends the register, or the list has been cut. The
// error wraps [ErrDevice], [ErrUsage] for evidence that is not a quote, or is the
// context's.
func (t *TPM) FileList(ctx context.Context, ev *attest.Evidence) ([]byte, error) {
	if err := ctx.Err(); err != nil || t.chip == "" {
		return nil, err
	}
	quoted, err := t.fileRegister(ctx, ev)
	if err != nil {
		return nil, err
	}
	b, err := readLog(filepath.Join(t.security, listName))
	if err != nil {
		return nil, fmt.Errorf("reading the kernel's list of files: %w", err)
	}
	if len(b) == 0 || quoted == nil {
		return nil, nil
	}
	list, err := ima.Parse(b)
	if err != nil {
		return nil, fmt.Errorf("reading the kernel's list of files: %w: %w", ErrDevice, err)
	}
	n, err := list.Confirmed(ima.Register, quoted)
	if err != nil {
		return nil, fmt.Errorf("replaying the kernel's list of files: %w: %w", ErrDevice, err)
	}
	return carried(list.Entries[:n]), nil
}

// carried returns the entries that the register of the list covers; nil for none. A rule
// of the kernel's policy can name another register for what it measures.
func carried(entries []ima.Entry) []byte {
	own := slices.DeleteFunc(slices.Clone(entries), func(e ima.Entry) bool { return e.Index != ima.Register })
	if len(own) == 0 {
		return nil
	}
	return (&ima.List{Entries: own}).Marshal()
}

// fileRegister returns the register of the list, quoted or as it stands; nil if its
// bank is not active.
func (t *TPM) fileRegister(ctx context.Context, ev *attest.Evidence) ([]byte, error) {
	if ev != nil {
		quoted, err := tpm.QuotedRegister(t.bare(ev), attest.SHA256, ima.Register)
		if err != nil {
			return nil, fmt.Errorf("reading register %d of a quote: %w: %w", ima.Register, ErrUsage, err)
		}
		return quoted, nil
	}
	l, release, err := t.acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading register %d: %w", ima.Register, err)
	}
	defer release()
	if !slices.Contains(t.banks, attest.SHA256) {
		return nil, nil
	}
	values, err := l.readRegisters([]attest.Alg{attest.SHA256}, 1<<ima.Register)
	if err != nil {
		return nil, fail("reading the register of the kernel's list", err)
	}
	return values[0].Value, nil
}

// readLog reads a log of the kernel's, whose size is not known before; nil if there
// is none or it is empty.
func readLog(name string) ([]byte, error) {
	f, err := os.Open(name)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrDevice, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limits.CollateralItem+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrDevice, err)
	case len(b) > limits.CollateralItem:
		return nil, fmt.Errorf("%s has more than %d bytes: %w", name, limits.CollateralItem, ErrDevice)
	case len(b) == 0:
		return nil, nil
	}
	return b, nil
}
