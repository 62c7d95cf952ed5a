package main

import (
	"encoding/binary"
	"hash/adler32"
	"hash/crc32"
	"math/bits"
)

// This file writes PNG (W3C PNG, third edition) by itself rather than through
// image/png: what a compressor makes of its input may change from one release
// of Go to the next, and the committed pages must come out the same, byte for
// byte, for years.

// pixelsPerMetre is 300 dots per inch, the resolution that scanners use.
const pixelsPerMetre = 11811

// encodePNG returns an 8 bit greyscale image (PNG, 11.2.1: colour type 0).
func encodePNG(width, height int, pixels []byte) []byte {
	header := binary.BigEndian.AppendUint32(nil, uint32(width))
	header = binary.BigEndian.AppendUint32(header, uint32(height))
	header = append(header, 8, 0, 0, 0, 0) // Depth, colour, compression, filter, interlace.

	physical := binary.BigEndian.AppendUint32(nil, pixelsPerMetre)
	physical = binary.BigEndian.AppendUint32(physical, pixelsPerMetre)
	physical = append(physical, 1) // The unit is the metre.

	out := []byte("\x89PNG\r\n\x1a\n")
	out = appendChunk(out, "IHDR", header)
	out = appendChunk(out, "pHYs", physical)
	out = appendChunk(out, "IDAT", compress(filterUp(width, pixels)))
	return appendChunk(out, "IEND", nil)
}

// appendChunk appends length, type, data and CRC (PNG, 5.3).
func appendChunk(out []byte, kind string, data []byte) []byte {
	out = binary.BigEndian.AppendUint32(out, uint32(len(data)))
	start := len(out)
	out = append(out, kind...)
	out = append(out, data...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out[start:]))
}

// filterUp puts the filter type Up (PNG, 9.2) before each row and stores the
// difference to the row above: mostly zeros on a page of text.
func filterUp(width int, pixels []byte) []byte {
	out := make([]byte, 0, len(pixels)+len(pixels)/width)
	above := make([]byte, width)
	for ; len(pixels) >= width; pixels = pixels[width:] {
		out = append(out, 2)
		for x, v := range pixels[:width] {
			out = append(out, v-above[x])
		}
		above = pixels[:width]
	}
	return out
}

// bitWriter packs bits from the least significant one upwards (RFC 1951, 3.1.1).
type bitWriter struct {
	out  []byte
	acc  uint64
	used int
}

// bits appends the low n bits of v, n being at most 32.
func (w *bitWriter) bits(v uint32, n int) {
	w.acc |= uint64(v) << w.used
	w.used += n
	for w.used >= 8 {
		w.out = append(w.out, byte(w.acc))
		w.acc >>= 8
		w.used -= 8
	}
}

// code appends an n bit Huffman code, most significant bit first.
func (w *bitWriter) code(v uint32, n int) {
	w.bits(bits.Reverse32(v)>>(32-n), n)
}

// symbol appends a literal or length symbol of the fixed code (RFC 1951, 3.2.6).
func (w *bitWriter) symbol(s uint32) {
	switch {
	case s < 144:
		w.code(0x30+s, 8)
	case s < 256:
		w.code(0x190+s-144, 9)
	case s < 280:
		w.code(s-256, 7)
	default:
		w.code(0xc0+s-280, 8)
	}
}

// repeat appends a match at distance 1: n more copies of the last byte, n from
// 3 to 258 (RFC 1951, 3.2.5).
func (w *bitWriter) repeat(n int) {
	switch {
	case n == 258:
		w.symbol(285)
	case n < 11:
		w.symbol(uint32(257 + n - 3))
	default:
		extra := bits.Len(uint(n-3)) - 3
		base := (n - 3) >> extra // 4 to 7.
		w.symbol(uint32(257 + 4*extra + base))
		w.bits(uint32(n-3)&(1<<extra-1), extra)
	}
	w.code(0, 5)
}

// compress returns data as a zlib stream (RFC 1950) of one block with fixed
// codes, in which runs of one byte are shortened and nothing else.
func compress(data []byte) []byte {
	w := bitWriter{out: []byte{0x78, 0x01}}
	w.bits(1, 1) // The last block.
	w.bits(1, 2) // Fixed codes.
	for i := 0; i < len(data); {
		run := 1
		for run < 259 && i+run < len(data) && data[i+run] == data[i] {
			run++
		}
		w.symbol(uint32(data[i]))
		i++
		if run > 3 {
			w.repeat(run - 1)
			i += run - 1
		}
	}
	w.symbol(256)
	if w.used > 0 {
		w.bits(0, 8-w.used)
	}
	return binary.BigEndian.AppendUint32(w.out, adler32.Checksum(data))
}
