package tpmdev

import (
	"fmt"
	"os"
	"syscall"
)

// openDevice opens a TPM device for blocking calls: in that mode a write runs
// the command and the read after it has the response, on every kernel. A file
// that is no character device is refused with ErrUsage.
func openDevice(path string) (*os.File, error) {
	fd, err := syscall.Open(path, syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	info, err := f.Stat()
	if err == nil && info.Mode()&os.ModeCharDevice == 0 {
		err = fmt.Errorf("not a character device: %w", ErrUsage)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}
