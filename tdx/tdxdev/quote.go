package tdxdev

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// The fields of a quote that are read here (DCAP, A.3 and A.4), in little-endian. Package
// tdx reads all of them.
const (
	headerSize   = 48
	teeTypeAt    = 4
	teeTypeTDX   = 0x81
	bodySize     = 584 // of a TD 1.0; others begin with the same fields
	reportDataAt = 520 // in the body

	descriptorSize = 6 // of the body, in version 5: its type and its size
)

// exact returns the quote without what stands after its end, which nobody signed: zeros
// that fill the host's buffer up for the most part, on some machines what was there before.
// It refuses what is no quote over data by a TD. The error wraps ErrDevice.
func exact(b, data []byte) ([]byte, error) {
	const least = headerSize + bodySize + 4
	if len(b) < least || binary.LittleEndian.Uint32(b[teeTypeAt:]) != teeTypeTDX {
		return nil, fmt.Errorf("%d bytes that are no quote of a TD: %w", len(b), ErrDevice)
	}
	body, size := headerSize, uint64(bodySize)
	switch version := binary.LittleEndian.Uint16(b); version {
	case 4:
	case 5:
		size = uint64(binary.LittleEndian.Uint32(b[headerSize+2:]))
		body += descriptorSize
	default:
		return nil, fmt.Errorf("a quote of version %d, want 4 or 5: %w", version, ErrDevice)
	}
	signature := uint64(body) + size
	if size < bodySize || signature+4 > uint64(len(b)) {
		return nil, fmt.Errorf("a quote that is cut in its body: %w", ErrDevice)
	}
	end := signature + 4 + uint64(binary.LittleEndian.Uint32(b[signature:]))
	switch {
	case end > uint64(len(b)):
		return nil, fmt.Errorf("a quote of %d bytes, %d of which are there: %w", end, len(b), ErrDevice)
	case !bytes.Equal(b[body+reportDataAt:body+reportDataAt+len(data)], data):
		return nil, fmt.Errorf("a quote over other data: %w", ErrDevice)
	}
	return b[:end], nil
}
