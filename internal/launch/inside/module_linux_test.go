package inside_test

import (
	"encoding/binary"
	"slices"
)

// Types of functions, by their place in the modules that the tests make: of numbers of 32
// bits, but for path_open, which has two of 64.
const (
	typeNone = iota
	typeOne
	typeFour
	typeOpen
)

// parts is a module of WASI with a memory and functions of type typeNone, of which the
// first is _start.
type parts struct {
	imports [][2]any // names of WASI's functions, and their types
	funcs   [][]byte // code without its end
	locals  uint64   // variables of each function
	table   []byte   // the table, as its section has it
	start   bool     // has the first function run before _start, as the module begins
	data    []byte   // memory from 0 on
	pages   byte
}

func section(id byte, body ...[]byte) []byte {
	b := slices.Concat(body...)
	return append(binary.AppendUvarint([]byte{id}, uint64(len(b))), b...)
}

func vector(elements ...[]byte) []byte {
	return append(binary.AppendUvarint(nil, uint64(len(elements))), slices.Concat(elements...)...)
}

func name(s string) []byte { return append(binary.AppendUvarint(nil, uint64(len(s))), s...) }

// encode encodes it.
func (p *parts) encode() []byte {
	const i32, i64 = 0x7f, 0x7e
	var imports, types, bodies [][]byte
	for _, i := range p.imports {
		imports = append(imports, slices.Concat(name("wasi_snapshot_preview1"), name(i[0].(string)), []byte{0, byte(i[1].(int))}))
	}
	for _, code := range p.funcs {
		vars := []byte{0}
		if p.locals > 0 {
			vars = append(binary.AppendUvarint([]byte{1}, p.locals), i64)
		}
		body := slices.Concat(vars, code, []byte{0x0b})
		bodies = append(bodies, append(binary.AppendUvarint(nil, uint64(len(body))), body...))
		types = append(types, []byte{typeNone})
	}
	first := byte(len(imports))
	out := slices.Concat([]byte("\x00asm\x01\x00\x00\x00"),
		section(1, vector([]byte{0x60, 0, 0}, []byte{0x60, 1, i32, 0}, []byte{0x60, 4, i32, i32, i32, i32, 1, i32},
			[]byte{0x60, 9, i32, i32, i32, i32, i32, i64, i64, i32, i32, 1, i32})),
		section(2, vector(imports...)), section(3, vector(types...)))
	if p.table != nil {
		out = append(out, section(4, vector(p.table))...)
	}
	out = slices.Concat(out, section(5, vector([]byte{0, max(p.pages, 1)})),
		section(7, vector(append(name("_start"), 0, first), append(name("memory"), 2, 0))))
	if p.start {
		out = append(out, section(8, []byte{first})...)
	}
	out = append(out, section(10, vector(bodies...))...)
	if p.data != nil {
		out = append(out, section(11, vector(slices.Concat([]byte{0, 0x41, 0, 0x0b}, name(string(p.data)))))...)
	}
	return out
}

// i32 is code that gives a number.
func i32(n int32) []byte {
	out := []byte{0x41}
	for {
		b := byte(n & 0x7f)
		if n >>= 7; n == 0 && b&0x40 == 0 || n == -1 && b&0x40 != 0 {
			return append(out, b)
		}
		out = append(out, b|0x80)
	}
}

// call is code that calls the first function with numbers.
func call(args ...int32) []byte {
	var out []byte
	for _, a := range args {
		out = append(out, i32(a)...)
	}
	return append(out, 0x10, 0)
}

// loop is code that runs code for ever.
func loop(code ...[]byte) []byte {
	return slices.Concat([]byte{0x03, 0x40}, slices.Concat(code...), []byte{0x0c, 0, 0x0b})
}

// while is code that runs code as long as it gives a number that is not 0.
func while(code ...[]byte) []byte {
	return slices.Concat([]byte{0x03, 0x40}, slices.Concat(code...), []byte{0x0d, 0, 0x0b})
}

// words are numbers in memory.
func words(n ...uint32) []byte {
	var out []byte
	for _, w := range n {
		out = binary.LittleEndian.AppendUint32(out, w)
	}
	return out
}
