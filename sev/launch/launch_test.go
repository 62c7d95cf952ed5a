package launch

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"
)

// entry is one of an image's table.
type entry struct {
	guid string
	data []byte
}

// le32 returns a number in 4 bytes.
func le32(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }

// metadataAt is where the tests' images have their metadata, from the end.
const metadataAt = 1000

// newImage makes an image of n pages with the sections and the entries.
func newImage(tb testing.TB, n int, sections []section, entries ...entry) []byte {
	tb.Helper()
	b := make([]byte, n*pageSize)
	for i := range b {
		b[i] = byte(i * 7)
	}
	var table []byte
	for _, e := range append(entries, entry{guidMetadata, le32(metadataAt)}) {
		table = append(table, e.data...)
		table = append(table, header(e.guid, uint16(entrySize+len(e.data)))[16:]...)
		table = append(table, header(e.guid, 0)[:16]...)
	}
	size := uint16(entrySize + len(table))
	table = append(append(table, header(guidFooter, size)[16:]...), header(guidFooter, 0)[:16]...)
	copy(b[len(b)-tailSize-len(table):], table)
	m := append([]byte("ASEV"), le32(uint32(16+12*len(sections)))...)
	m = append(append(m, le32(1)...), le32(uint32(len(sections)))...)
	for _, s := range sections {
		m = append(append(append(m, le32(uint32(s.address))...), le32(uint32(s.size))...), le32(uint32(s.kind))...)
	}
	copy(b[len(b)-metadataAt:], m)
	return b
}

// amdSev are the sections of OVMF's build AmdSev, which takes hashes of a kernel.
func amdSev() []section {
	return []section{
		{0x800000, 0x9000, sectionMemory},
		{0x80A000, 0x3000, sectionMemory},
		{0x80D000, 0x1000, sectionSecrets},
		{0x80E000, 0x1000, sectionCPUID},
		{0x80F000, 0x1000, sectionCAA},
		{0x810000, 0x1000, sectionHashes},
		{0x811000, 0xF000, sectionMemory},
	}
}

// amdSevImage is an image that asks for the same as OVMF's build AmdSev.
func amdSevImage(tb testing.TB) []byte {
	tb.Helper()
	return newImage(tb, 2, amdSev(), entry{guidHashes, append(le32(0x810C00), le32(0x400)...)}, entry{guidReset, le32(0x80B004)})
}

// empty is what a kernel and an initial file system of no bytes are.
func empty(cmdline string) *Boot {
	return &Boot{Kernel: sha256.Sum256(nil), Initrd: NoInitrd(), Cmdline: cmdline}
}

// published is what sev-snp-measure 0.0.13 computes for the last page of a build of
// OVMF (its tests/test_guest.py), whose own digest it gives as ovmfDigest: of the
// image itself nothing else is needed than what amdSevImage has too.
const ovmfDigest = "086e2e9149ebf45abdc3445fba5b2da8270bdbb04094d7a2c37faaa4b24af3aa16aff8c374c2a55c467a50da6d466b74"

// TestPublished computes digests that others have published.
func TestPublished(t *testing.T) {
	epyc, ok := CPU("EPYC")
	if !ok {
		t.Fatal("no EPYC")
	}
	const console = "console=ttyS0 loglevel=7"
	swap := SNPActive | DebugSwap
	f, err := parseImage(amdSevImage(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		machine Machine
		want    string
	}{
		"hash_gen_default": {
			Machine{Host: QEMU, Boot: empty(""), CPUs: 1, Signature: epyc, Features: swap},
			"329c8ce0972ae52343b64d34a434a86f245dfd74f5ed7aae15d22efc78fb9683632b9b50e4e1d7fa41179ef98a7ef198",
		},
		"hash_gen_feature_snp_only": {
			Machine{Host: QEMU, Boot: empty(""), CPUs: 1, Signature: epyc, Features: SNPActive},
			"ddc5224521617a536ee7ce9dd6224d1b58a8d4fda1c741f3ac99fc4bfa04ba6e9fc98646d4a07a9079397fa3852819b5",
		},
		"default": {
			Machine{Host: QEMU, Boot: empty(console), CPUs: 1, Signature: epyc, Features: swap},
			"803f691094946e42068aaa3a8f9e26a5c89f36f7b73ecfb28c653360fe4b3aba7e534442e7e1e17895dfe778d0228977",
		},
		"guest_feature_snp_only": {
			Machine{Host: QEMU, Boot: empty(console), CPUs: 1, Signature: epyc, Features: SNPActive},
			"6d287813eb5222d770f75005c664e34c204f385ce832cc2ce7d0d6f354454362f390ef83a92046c042e706363b4b08fa",
		},
		"ec2_default": {
			Machine{Host: EC2, Boot: empty(""), CPUs: 1, Signature: epyc, Features: swap},
			"0ce9ccc06bab55eebe8abc234f3df6514883977a68a591b71052498ab52b2f1aa415db338033946ef93aa8278c0d67fb",
		},
		"ec2_feature_snp_only": {
			Machine{Host: EC2, Boot: empty(""), CPUs: 1, Signature: epyc, Features: SNPActive},
			"0883bd0eeb716e65b7b977a321c278d1e51b33b5c655fab985443bbcc65c086b9c15e8a0bd8811050dec7e24964e5056",
		},
		"gce_default": {
			Machine{Host: GCE, Boot: empty(""), CPUs: 1, Features: SNPActive},
			"5da7106cf14cf46b1725ebab123eb9e53bd46a1e9f400cd0c08e7827b04b688ea8b4e403c8404efed4397ea5d5d0722e",
		},
		"gce_with_multiple_vcpus_default": {
			Machine{Host: GCE, Boot: empty(""), CPUs: 4, Features: SNPActive},
			"5c5debf100fc339f90276e761ee1f1658d08922c3b20e2a2e6c7a6c3370b2452a15a00eae11886a93d6fd1e7ab81e29d",
		},
		"without_kernel_default": {
			Machine{Host: QEMU, CPUs: 1, Signature: epyc, Features: swap},
			"e1e1ca029dd7973ab9513295be68198472dcd4fc834bd9af9b63f6e8a1674dbf281a9278a4a2ebe0eed9f22adbcd0e2b",
		},
		"without_kernel_feature_snp_only": {
			Machine{Host: QEMU, CPUs: 1, Signature: epyc, Features: SNPActive},
			"19358ba9a7615534a9a1e2f0dfc29384dcd4dcb7062ff9c6013b26869a5fc6ecabe033c48dd6f6db5d6d76e7c5df632d",
		},
		"with_multiple_vcpus_default": {
			Machine{Host: QEMU, Boot: empty(""), CPUs: 4, Signature: epyc, Features: swap},
			"4953b1fb416fa874980e8442b3706d345926d5f38879134e00813c5d7abcbe78eafe7b422907be0b4698e2414a631942",
		},
		"with_multiple_vcpus_feature_snp_only": {
			Machine{Host: QEMU, Boot: empty(""), CPUs: 4, Signature: epyc, Features: SNPActive},
			"5061fffb019493a903613d56d54b94912a1a2f9e4502385f5c194616753720a92441310ba6c4933de877c36e23046ad5",
		},
	} {
		var d digest
		seed, err := hex.DecodeString(ovmfDigest)
		if err != nil || copy(d.sum[:], seed) != Size {
			t.Fatal(err)
		}
		if err := d.launch(&test.machine, f); err != nil || hex.EncodeToString(d.sum[:]) != test.want {
			t.Errorf("%s: %x, want %s, %v", name, d.sum, test.want, err)
		}
	}
}

// good is a machine that can be launched.
func good(tb testing.TB) *Machine {
	tb.Helper()
	return &Machine{Host: QEMU, Firmware: amdSevImage(tb), Boot: empty("a"), CPUs: 2, Signature: Signature(25, 1, 1), Features: SNPActive}
}

// TestDigest: everything that is launched counts.
func TestDigest(t *testing.T) {
	seen := map[[Size]byte]string{}
	for name, change := range map[string]func(*Machine){
		"nothing":        func(*Machine) {},
		"a byte":         func(m *Machine) { m.Firmware[0] ^= 1 },
		"another page":   func(m *Machine) { m.Firmware[pageSize-1] ^= 1 },
		"a longer image": func(m *Machine) { m.Firmware = append(make([]byte, pageSize), m.Firmware...) },
		"the kernel":     func(m *Machine) { m.Boot.Kernel[0] ^= 1 },
		"the initrd":     func(m *Machine) { m.Boot.Initrd[0] ^= 1 },
		"the cmdline":    func(m *Machine) { m.Boot.Cmdline = "b" },
		"no kernel":      func(m *Machine) { m.Boot = nil },
		"one processor":  func(m *Machine) { m.CPUs = 1 },
		"three":          func(m *Machine) { m.CPUs = 3 },
		"another kind":   func(m *Machine) { m.Signature = Signature(25, 17, 0) },
		"features":       func(m *Machine) { m.Features |= DebugSwap },
		"EC2":            func(m *Machine) { m.Host = EC2 },
		"GCE":            func(m *Machine) { m.Host = GCE },
		"the reset": func(m *Machine) {
			m.Firmware = newImage(t, 2, amdSev(), entry{guidHashes, le32(0x810C00)}, entry{guidReset, le32(0x80B008)})
		},
	} {
		m := good(t)
		change(m)
		d, err := Digest(m)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if other, ok := seen[d]; ok {
			t.Errorf("%s is as %s", name, other)
		}
		seen[d] = name
	}
	// The whole is the image's pages and what follows.
	m := good(t)
	want, err := Digest(m)
	if err != nil {
		t.Fatal(err)
	}
	var d digest
	for i := 0; i < len(m.Firmware); i += pageSize {
		d.pages(pageNormal, 1<<32-uint64(len(m.Firmware)-i), m.Firmware[i:i+pageSize])
	}
	f, err := parseImage(m.Firmware)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.launch(m, f); err != nil || d.sum != want {
		t.Errorf("%x, want %x, %v", d.sum, want, err)
	}
}

// TestRefused refuses what cannot be launched.
func TestRefused(t *testing.T) {
	without := func(kind sectionKind) []section {
		return slices.DeleteFunc(amdSev(), func(s section) bool { return s.kind == kind })
	}
	hashes, reset := entry{guidHashes, le32(0x810C00)}, entry{guidReset, le32(0x80B004)}
	image := func(sections []section, entries ...entry) func(*Machine) {
		return func(m *Machine) { m.Firmware = newImage(t, 2, sections, entries...) }
	}
	with := func(s section) []section { return append(amdSev(), s) }
	metadata := func(at int, v uint32) func(*Machine) {
		return func(m *Machine) { copy(m.Firmware[len(m.Firmware)-metadataAt+at:], le32(v)) }
	}
	for name, test := range map[string]struct {
		change func(*Machine)
		want   error
	}{
		"no host":               {func(m *Machine) { m.Host = 0 }, ErrArgument},
		"an unknown host":       {func(m *Machine) { m.Host = 4 }, ErrArgument},
		"no processor":          {func(m *Machine) { m.CPUs = 0 }, ErrArgument},
		"too many":              {func(m *Machine) { m.CPUs = MaxCPUs + 1 }, ErrArgument},
		"no SNP":                {func(m *Machine) { m.Features = DebugSwap }, ErrArgument},
		"a NUL":                 {func(m *Machine) { m.Boot.Cmdline = "a\x00b" }, ErrArgument},
		"a long command line":   {func(m *Machine) { m.Boot.Cmdline = strings.Repeat("a", MaxCmdline+1) }, ErrArgument},
		"no image":              {func(m *Machine) { m.Firmware = nil }, ErrImage},
		"half a page":           {func(m *Machine) { m.Firmware = m.Firmware[pageSize/2:] }, ErrImage},
		"a large image":         {func(m *Machine) { m.Firmware = make([]byte, MaxImage+pageSize) }, ErrImage},
		"no table":              {func(m *Machine) { m.Firmware = make([]byte, pageSize) }, ErrImage},
		"a table of no size":    {func(m *Machine) { copy(m.Firmware[len(m.Firmware)-tailSize-entrySize:], []byte{0, 0}) }, ErrImage},
		"a table of all":        {func(m *Machine) { copy(m.Firmware[len(m.Firmware)-tailSize-entrySize:], []byte{0xFF, 0xFF}) }, ErrImage},
		"an entry twice":        {image(amdSev(), hashes, hashes, reset), ErrImage},
		"a short entry":         {image(amdSev(), entry{guidHashes, []byte{1}}, reset), ErrImage},
		"no place for hashes":   {image(amdSev(), reset), ErrImage},
		"hashes past the page":  {image(amdSev(), entry{guidHashes, le32(0x810FF0)}, reset), ErrImage},
		"no section for hashes": {image(without(sectionHashes), hashes, reset), ErrImage},
		"no reset":              {image(amdSev(), hashes), ErrImage},
		"an unknown section":    {image(with(section{0x900000, 0x1000, 5}), hashes, reset), ErrImage},
		"an odd section":        {image(with(section{0x900000, 0x1001, 1}), hashes, reset), ErrImage},
		"an odd address":        {image(with(section{0x900001, 0x1000, 1}), hashes, reset), ErrImage},
		"an empty section":      {image(with(section{0x900000, 0, 1}), hashes, reset), ErrImage},
		"too much memory":       {image(with(section{0x900000, 1 << 30, 1}), hashes, reset), ErrImage},
		"two pages of hashes":   {image(append(without(sectionHashes), section{0x810000, 0x2000, sectionHashes}), hashes, reset), ErrImage},
		"other metadata":        {metadata(0, 0), ErrImage},
		"metadata of a size":    {metadata(4, 17), ErrImage},
		"version 2":             {metadata(8, 2), ErrImage},
		"many sections":         {metadata(12, 0xFFFFFFFF), ErrImage},
	} {
		m := good(t)
		test.change(m)
		if d, err := Digest(m); !errors.Is(err, test.want) || d != [Size]byte{} {
			t.Errorf("%s: %x, %v", name, d, err)
		}
	}
	if _, err := Digest(nil); !errors.Is(err, ErrArgument) {
		t.Errorf("nil: %v", err)
	}
}

func TestSignature(t *testing.T) {
	for name, want := range map[string]uint32{
		"EPYC": 0x800F12, "EPYC-IBPB": 0x800F12, "EPYC-Rome": 0x830F10, "EPYC-Milan": 0xA00F11, "EPYC-Genoa": 0xA10F10, "EPYC-Turin": 0xB00F00,
	} {
		if got, ok := CPU(name); !ok || got != want {
			t.Errorf("%s: %x, %v", name, got, ok)
		}
	}
	if got, ok := CPU("EPYC-Milan-v2"); ok || got != 0 {
		t.Errorf("a version: %x", got)
	}
	if got := Signature(6, 0x55, 4); got != 0x50654 {
		t.Errorf("%x", got)
	}
}

// FuzzDigest: whatever the image, there is a digest or an error of this package.
func FuzzDigest(f *testing.F) {
	f.Add(amdSevImage(f), 1)
	f.Add(newImage(f, 1, nil), 2)
	f.Fuzz(func(t *testing.T, b []byte, cpus int) {
		m := &Machine{Host: QEMU, Firmware: b, Boot: empty("x"), CPUs: cpus % 8, Features: SNPActive}
		before := bytes.Clone(b)
		d, err := Digest(m)
		if err != nil && !errors.Is(err, ErrImage) && !errors.Is(err, ErrArgument) || (err == nil) == (d == [Size]byte{}) {
			t.Fatalf("%x, %v", d, err)
		}
		if !bytes.Equal(b, before) {
			t.Fatal("the image was changed")
		}
	})
}
