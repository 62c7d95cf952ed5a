package wasm_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/sworn-run/sworn/internal/launch/wasm"
	"github.com/sworn-run/sworn/internal/limits"
)

// wasi is what modules import from.
const wasi = "wasi_snapshot_preview1"

// Types of functions, by their place in the modules that the tests make: of no
// parameter, of one number, and of four with a result, as fd_write has them.
const (
	typeNone = iota
	typeOne
	typeFour
)

// imported is one import of a function.
type imported struct {
	module, name string
	kind, typ    byte
}

// section encodes a section.
func section(id byte, body ...[]byte) []byte {
	b := slices.Concat(body...)
	return append(binary.AppendUvarint([]byte{id}, uint64(len(b))), b...)
}

// vector encodes a vector of elements.
func vector(elements ...[]byte) []byte {
	return append(binary.AppendUvarint(nil, uint64(len(elements))), slices.Concat(elements...)...)
}

func name(s string) []byte { return append(binary.AppendUvarint(nil, uint64(len(s))), s...) }

// module makes a command of WASI that has a memory of one page and the given code as
// its _start.
func module(code []byte, imports ...imported) []byte {
	var list [][]byte
	for _, i := range imports {
		list = append(list, slices.Concat(name(i.module), name(i.name), []byte{i.kind, i.typ}))
	}
	start := byte(len(imports))
	body := slices.Concat([]byte{0}, code, []byte{0x0b})
	return slices.Concat([]byte("\x00asm\x01\x00\x00\x00"),
		section(1, vector([]byte{0x60, 0, 0}, []byte{0x60, 1, 0x7f, 0}, []byte{0x60, 4, 0x7f, 0x7f, 0x7f, 0x7f, 1, 0x7f})),
		section(2, vector(list...)),
		section(3, vector([]byte{typeNone})),
		section(5, vector([]byte{0, 1})),
		section(7, vector(append(name("_start"), 0, start), append(name("memory"), 2, 0))),
		section(10, vector(append(binary.AppendUvarint(nil, uint64(len(body))), body...))),
	)
}

// A command with what is offered is accepted, and one with anything else refused,
// with its name.
func TestCheckImports(t *testing.T) {
	good := module(nil, imported{wasi, "proc_exit", 0, typeOne}, imported{wasi, "fd_write", 0, typeFour})
	if err := wasm.Check(good, 1); err != nil {
		t.Fatal(err)
	}
	for what, i := range map[string]imported{
		"socket":        {wasi, "sock_accept", 0, typeNone},
		"signal":        {wasi, "proc_raise", 0, typeNone},
		"another host":  {"env", "fd_write", 0, typeFour},
		"older preview": {"wasi_unstable", "fd_write", 0, typeFour},
		"no such":       {wasi, "fd_write2", 0, typeFour},
		"table":         {wasi, "fd_write", 1, typeFour},
		"global":        {"env", "g", 3, 0},
	} {
		if err := wasm.Check(module(nil, imported{wasi, "fd_read", 0, typeFour}, i), 1); !errors.Is(err, wasm.ErrImport) {
			t.Errorf("%s: %v, want ErrImport", what, err)
		}
	}
}

// What is no command of WASI is refused.
func TestCheckRefuses(t *testing.T) {
	head := []byte("\x00asm\x01\x00\x00\x00")
	good := module(nil)
	replace := func(old, with string) []byte {
		if !bytes.Contains(good, []byte(old)) {
			t.Fatalf("the module has no %q", old)
		}
		return bytes.Replace(good, []byte(old), []byte(with), 1)
	}
	memory := string(section(5, vector([]byte{0, 1})))
	for what, m := range map[string][]byte{
		"empty":             nil,
		"another file":      []byte("#!/bin/sh\n"),
		"component":         []byte("\x00asm\x0d\x00\x01\x00"),
		"nothing in it":     head,
		"no _start":         replace("_start", "_begin"),
		"no memory export":  replace("memory", "memOry"),
		"no memory":         replace(memory, string(section(5, vector()))),
		"two memories":      replace(memory, string(section(5, vector([]byte{0, 1}, []byte{0, 1})))),
		"shared memory":     replace(memory, string(section(5, vector([]byte{3, 1, 1})))),
		"64 bits":           replace(memory, string(section(5, vector([]byte{4, 1})))),
		"too much memory":   replace(memory, string(section(5, vector([]byte{0, 3})))),
		"bytes left over":   replace(memory, string(section(5, vector([]byte{0, 1}), []byte{0}))),
		"unknown section":   append(slices.Clone(good), section(13)...),
		"out of order":      append(slices.Clone(good), section(1, vector())...),
		"twice":             replace(memory, memory+memory),
		"long number":       append(slices.Clone(head), 1, 0x80, 0x80, 0x80, 0x80, 0x80, 0),
		"number over":       append(slices.Clone(head), 1, 0xff, 0xff, 0xff, 0xff, 0x7f),
		"too many imports":  append(slices.Clone(head), section(2, binary.AppendUvarint(nil, limits.WasmImports+1))...),
		"many exports":      append(slices.Clone(head), section(7, binary.AppendUvarint(nil, 1<<32-1))...),
		"name is not UTF-8": module(nil, imported{"\xff", "x", 0, 0}),
		"too large":         append(slices.Clone(good), make([]byte, limits.WasmModule)...),
	} {
		if err := wasm.Check(m, 2); !errors.Is(err, wasm.ErrModule) {
			t.Errorf("%s: %v, want ErrModule", what, err)
		}
	}
	for n := range good {
		if err := wasm.Check(good[:n], 2); err == nil {
			// Nothing of what is looked at stands in the code.
			if !bytes.HasSuffix(good[:n], append(name("memory"), 2, 0)) {
				t.Errorf("cut to %d of %d bytes: accepted", n, len(good))
			}
		}
	}
}

func TestPages(t *testing.T) {
	for memory, want := range map[uint64]uint32{0: wasm.DefaultPages, 65536: 1, 1 << 20: 16, 1<<20 + 65535: 16, 4 << 30: 65536} {
		if got, err := wasm.Pages(memory); err != nil || got != want {
			t.Errorf("%d bytes: %d pages, %v, want %d", memory, got, err, want)
		}
	}
	for _, memory := range []uint64{1, 65535, 4<<30 + 65536} {
		if got, err := wasm.Pages(memory); !errors.Is(err, wasm.ErrOptions) {
			t.Errorf("%d bytes: %d pages, %v, want ErrOptions", memory, got, err)
		}
	}
}

// Whatever is given, the error is of this package, and what is accepted begins as a
// module and names _start.
func FuzzCheck(f *testing.F) {
	seeds := [][]byte{
		module(nil), module([]byte{0x03, 0x40, 0x0c, 0, 0x0b}, imported{wasi, "fd_write", 0, typeFour}),
		module(nil, imported{"env", "x", 2, 0}), []byte("\x00asm\x01\x00\x00\x00"), nil,
	}
	for _, s := range seeds {
		f.Add(s)
	}
	if len(seeds) == 0 {
		f.Fatal("no seeds")
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		err := wasm.Check(b, 2)
		command := bytes.HasPrefix(b, []byte("\x00asm\x01\x00\x00\x00")) && bytes.Contains(b, []byte("\x06_start\x00"))
		switch {
		case err == nil && !command:
			t.Error("accepted, and no command")
		case err != nil && errors.Is(err, wasm.ErrModule) == errors.Is(err, wasm.ErrImport):
			t.Errorf("%v wraps not exactly one of ErrModule and ErrImport", err)
		}
		if again := wasm.Check(b, 2); (again == nil) != (err == nil) {
			t.Errorf("%v, and then %v", err, again)
		}
	})
}
