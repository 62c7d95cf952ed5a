package wasm

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/sworn-run/sworn/internal/limits"
)

// The sections of a module whose sizes are looked at.
const (
	sectionType  = 1
	sectionTable = 4
	sectionCode  = 10
)

// functionType is the form of a type (core specification 2.0, section 5.3.6), and
// the reference types are those of tables (section 5.3.3).
const (
	functionType   = 0x60
	functionTable  = 0x70
	referenceTable = 0x6F
)

// types looks at how much a function takes and returns. Forms that are unknown are left
// to the engine.
func (m *checker) types(r *reader) {
	for range r.uint32() {
		if r.byte() != functionType {
			r.b = nil
			return
		}
		for range 2 {
			if n := r.bytes(); len(n) > limits.WasmParameters {
				r.fail(fmt.Sprintf("%d parameters or results, at most %d", len(n), limits.WasmParameters))
			}
		}
		if r.err != nil {
			return
		}
	}
}

// code looks at the sizes of functions and how many variables they have, for which an
// engine makes room before it knows whether the code is valid.
func (m *checker) code(r *reader) {
	for range r.uint32() {
		body := reader{b: r.bytes()}
		if n := len(body.b); n > limits.WasmFunction {
			r.fail(fmt.Sprintf("a function of %d bytes, at most %d", n, limits.WasmFunction))
		}
		locals := uint64(0)
		for range body.uint32() {
			locals += uint64(body.uint32())
			body.byte() // their type
			if body.err != nil {
				break
			}
		}
		if body.err != nil || locals > limits.WasmLocals {
			r.fail(fmt.Sprintf("a function with malformed variables, or more than %d", limits.WasmLocals))
		}
		if r.err != nil {
			return
		}
	}
}

// table is what a module says of one table.
type table struct {
	kind     byte
	min, max uint32
}

// readTables reads the section of tables. One that has no bound, or a higher one, gets
// that of this package.
func readTables(r *reader) []table {
	var out []table
	n := r.uint32()
	if n > limits.WasmTables {
		r.fail(fmt.Sprintf("%d tables, at most %d", n, limits.WasmTables))
		return nil
	}
	for range n {
		t := table{kind: r.byte(), max: limits.WasmTable}
		flags := r.byte()
		t.min = r.uint32()
		if flags == 1 {
			t.max = min(t.max, r.uint32())
		}
		if t.kind != functionTable && t.kind != referenceTable || flags > 1 || t.min > t.max {
			r.fail(fmt.Sprintf("a table of another kind, or that begins with more than its bound or %d", limits.WasmTable))
			return nil
		}
		out = append(out, t)
	}
	return out
}

// bounded returns a module that Check has accepted, with a bound for each table: an engine
// would let one grow until the process has no more memory. A table that does not grow any
// more says so to the module, as the specification has it.
func bounded(module []byte) []byte {
	const header = 8
	r := reader{b: module[header:]}
	for len(r.b) > 0 {
		at := len(module) - len(r.b)
		id := r.byte()
		section := reader{b: r.bytes()}
		if id != sectionTable || r.err != nil {
			continue
		}
		tables := readTables(&section)
		body := binary.AppendUvarint(nil, uint64(len(tables)))
		for _, t := range tables {
			body = append(body, t.kind, 1)
			body = binary.AppendUvarint(binary.AppendUvarint(body, uint64(t.min)), uint64(t.max))
		}
		out := append(bytes.Clone(module[:at]), sectionTable)
		out = append(binary.AppendUvarint(out, uint64(len(body))), body...)
		return append(out, r.b...)
	}
	return module
}
