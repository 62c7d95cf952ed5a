package sevdev

import (
	"encoding/binary"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// guestRequest has the kernel send one request to the firmware (SNP_GET_EXT_REPORT if
// there is a table to be filled, whose address and length it puts into the request). The
// status is the firmware's in the lower half, the host's in the upper.
func guestRequest(f *os.File, request, response, table []byte) (status uint64, err error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	address := func(b []byte) uint64 {
		p := unsafe.SliceData(b)
		pin.Pin(p)
		return uint64(uintptr(unsafe.Pointer(p)))
	}
	op := uintptr(snpGetReport)
	if table != nil {
		op = snpGetExtReport
		binary.NativeEndian.PutUint64(request[requestSize:], address(table))
		binary.NativeEndian.PutUint32(request[requestSize+8:], uint32(len(table)))
	}
	arg := make([]byte, 32)
	arg[0] = messageVersion
	binary.NativeEndian.PutUint64(arg[8:], address(request))
	binary.NativeEndian.PutUint64(arg[16:], address(response))
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	var errno unix.Errno
	err = raw.Control(func(fd uintptr) {
		_, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, op, uintptr(unsafe.Pointer(unsafe.SliceData(arg))))
	})
	status = binary.NativeEndian.Uint64(arg[24:])
	if err == nil && errno != 0 {
		err = errno
	}
	return status, err
}
