package sevdev

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// The interface of /dev/sev-guest (Linux, include/uapi/linux/sev-guest.h).
const (
	// snpGetReport and snpGetExtReport are _IOWR('S', 0 and 2, 32 bytes).
	snpGetReport    = 0xC0205300
	snpGetExtReport = 0xC0205302
	// messageVersion is that of MSG_REPORT_REQ (ABI, 7.3).
	messageVersion = 1
	// requestSize is MSG_REPORT_REQ's: report data, VMPL, reserved (ABI, table 22).
	requestSize = 96
	// extendedSize adds where certificates go and how much room there is.
	extendedSize = requestSize + 16
	// responseSize is the kernel's, which holds MSG_REPORT_RSP: status, size, 24 bytes
	// reserved, and the report (ABI, table 25).
	responseSize, responseHeader = 4000, 32
	// certificatesSize is the most that the kernel takes.
	certificatesSize = 16 << 10
)

// openDevice opens the device of older kernels.
func (o *Options) openDevice() (*os.File, error) {
	path := o.Device
	if path == "" {
		path = DefaultDevice
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	switch {
	case err == nil:
		return f, nil
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("opening the device (root may): %w: %w", ErrDenied, err)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENXIO), errors.Is(err, syscall.ENODEV):
		return nil, fmt.Errorf("opening the device (modprobe sev-guest): %w: %w", ErrAbsent, err)
	}
	return nil, fmt.Errorf("opening the device: %w: %w", ErrDevice, err)
}

// ioctl makes reports through the device, from VMPL 0 unless another is named.
func (o *Options) ioctl() asker {
	return func(ctx context.Context, data [64]byte) (report, table []byte, err error) {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		f, err := o.openDevice()
		if err != nil {
			return nil, nil, err
		}
		defer f.Close()
		var vmpl uint32
		if o.VMPL != nil {
			vmpl = uint32(*o.VMPL)
		}
		report, table, err = ask(f, &data, vmpl, true)
		if err != nil && !errors.Is(err, fs.ErrPermission) {
			// A host that has no certificates may refuse to be asked for them.
			report, table, err = ask(f, &data, vmpl, false)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("asking %s: %w", f.Name(), err)
		}
		return report, table, nil
	}
}

// ask makes one request, with certificates or without.
func ask(f *os.File, data *[64]byte, vmpl uint32, extended bool) (report, table []byte, err error) {
	request := make([]byte, requestSize, extendedSize)
	copy(request, data[:])
	binary.LittleEndian.PutUint32(request[64:], vmpl)
	response := make([]byte, responseSize)
	if extended {
		request = request[:extendedSize]
		table = make([]byte, certificatesSize)
	}
	status, err := guestRequest(f, request, response, table)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, nil, fmt.Errorf("%w: %w", ErrDenied, err)
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EBUSY), errors.Is(err, syscall.EINTR):
		return nil, nil, fmt.Errorf("%w: %w", ErrBusy, err)
	case err != nil:
		return nil, nil, fmt.Errorf("%w (status 0x%x of the firmware or the host): %w", ErrDevice, status, err)
	}
	if extended {
		if n := binary.LittleEndian.Uint32(request[requestSize+8:]); n == 0 {
			table = nil
		} else if uint64(n) < uint64(len(table)) {
			table = table[:n]
		}
	}
	return message(response, table)
}

// message reads MSG_REPORT_RSP.
func message(response, table []byte) (report, certificates []byte, err error) {
	status := binary.LittleEndian.Uint32(response)
	size := binary.LittleEndian.Uint32(response[4:])
	if status != 0 || size > uint32(len(response)-responseHeader) {
		return nil, nil, fmt.Errorf("status 0x%x, a report of %d bytes: %w", status, size, ErrDevice)
	}
	if len(bytes.Trim(table, "\x00")) == 0 {
		table = nil
	}
	return response[responseHeader : responseHeader+size], table, nil
}
