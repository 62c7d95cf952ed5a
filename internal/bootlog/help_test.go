package bootlog

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/sworn-run/sworn/attest"
)

// runs are the captures in testdata.
func runs() []string { return []string{"run-llm", "run-llmsb"} }

// read returns a file of testdata.
func read(tb testing.TB, elem ...string) []byte {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join(append([]string{"testdata"}, elem...)...))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// shared returns the folder of the shared evidence, or skips the test where there is
// none.
func shared(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("SWORN_SHARED")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared")
	}
	dir = filepath.Join(dir, "evidence")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the shared evidence folder is not here: set SWORN_SHARED")
	}
	return dir
}

// decode unmarshals JSON.
func decode(tb testing.TB, b []byte, v any) {
	tb.Helper()
	if err := json.Unmarshal(b, v); err != nil {
		tb.Fatal(err)
	}
}

// pcrs returns the registers of a capture, in order.
func pcrs(tb testing.TB, run string, bank attest.Alg) []attest.RegisterValue {
	tb.Helper()
	var list map[string]string
	decode(tb, read(tb, run, "pcrs_"+bank.String()), &list)
	if len(list) != 24 {
		tb.Fatalf("%d registers", len(list))
	}
	var out []attest.RegisterValue
	for i := range uint32(24) {
		out = append(out, attest.RegisterValue{Bank: bank, Index: i, Value: unhex(tb, list[strconv.Itoa(int(i))])})
	}
	return out
}

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// parse parses a log that is good.
func parse(tb testing.TB, b []byte, kind Registers) *Log {
	tb.Helper()
	l, err := Parse(b, kind)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

// truth is the quote of a machine that extended exactly what the log says.
func truth(tb testing.TB, l *Log, bank attest.Alg) []attest.RegisterValue {
	tb.Helper()
	values, err := l.Replay(bank, nil)
	if err != nil {
		tb.Fatal(err)
	}
	var out []attest.RegisterValue
	for _, v := range values {
		out = append(out, attest.RegisterValue{Bank: bank, Index: v.Index, Value: v.Value})
	}
	return out
}

// appraise appraises a log that is good.
func appraise(tb testing.TB, l *Log, quoted []attest.RegisterValue, o Options) *Facts {
	tb.Helper()
	f, err := l.Appraise(quoted[0].Bank, quoted, o)
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

// made is an event of a synthetic log: the digests are those of covered.
type made struct {
	index, kind uint32
	covered     []byte
	data        []byte
}

// whole is an event whose data is covered.
func whole(index uint32, data []byte) made { return made{index, 0xD, data, data} }

// opaque is an event whose data says nothing.
func opaque(index uint32, covered string) made { return made{index, 0xD, []byte(covered), []byte("?")} }

// separator is a separator.
func separator(index uint32) made { return whole(index, []byte{0, 0, 0, 0}) }

// build writes a crypto-agile log with these events, in some banks.
func build(banks []attest.Alg, events ...made) []byte {
	le := binary.LittleEndian
	spec := append([]byte(signatureAgile), 0, 0, 0, 0, 0, 2, 0, 2)
	spec = le.AppendUint32(spec, uint32(len(banks)))
	for _, a := range banks {
		spec = le.AppendUint16(spec, uint16(a))
		spec = le.AppendUint16(spec, uint16(a.Size()))
	}
	spec = append(spec, 0)
	b := le.AppendUint32(nil, 0)
	b = le.AppendUint32(b, NoAction)
	b = append(b, make([]byte, sizeSHA1)...)
	b = le.AppendUint32(b, uint32(len(spec)))
	b = append(b, spec...)
	for _, e := range events {
		b = le.AppendUint32(b, e.index)
		b = le.AppendUint32(b, e.kind)
		b = le.AppendUint32(b, uint32(len(banks)))
		for _, a := range banks {
			b = le.AppendUint16(b, uint16(a))
			if e.kind == NoAction {
				b = append(b, make([]byte, a.Size())...)
			} else {
				b = append(b, a.Sum(e.covered)...)
			}
		}
		b = le.AppendUint32(b, uint32(len(e.data)))
		b = append(b, e.data...)
	}
	return b
}

// of256 is a log in the bank of SHA-256 alone.
func of256(tb testing.TB, kind Registers, events ...made) *Log {
	tb.Helper()
	return parse(tb, build([]attest.Alg{attest.SHA256}, events...), kind)
}

// variableData is a UEFI_VARIABLE_DATA.
func variableData(namespace GUID, name string, value []byte) []byte {
	return (&variable{namespace, name, value}).marshal()
}

// database is [SecurityDatabase] in memory.
func database() GUID {
	return GUID{0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f}
}

// list is an EFI_SIGNATURE_LIST with one digest in it.
func list(digest []byte) []byte {
	kind := GUID{0x26, 0x16, 0xc4, 0xc1, 0x4c, 0x50, 0x92, 0x40, 0xac, 0xa9, 0x41, 0xf9, 0x36, 0x93, 0x43, 0x28}
	b := slices.Clone(kind[:])
	b = binary.LittleEndian.AppendUint32(b, 28+16+uint32(len(digest)))
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint32(b, 16+uint32(len(digest)))
	return append(append(b, make([]byte, 16)...), digest...)
}

// secureBoot are the events of a firmware with this value of SecureBoot.
func secureBoot(index uint32, value byte) []made {
	return []made{
		whole(index, variableData(globalVariable(), "SecureBoot", []byte{value})),
		whole(index, variableData(globalVariable(), "PK", list(make([]byte, 32)))),
		whole(index, variableData(globalVariable(), "KEK", nil)),
		whole(index, variableData(database(), "db", list(make([]byte, 32)))),
		whole(index, variableData(database(), "dbx", nil)),
	}
}
