package predict

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/bootlog"
)

// pe describes an image for build.
type pe struct {
	narrow     bool // PE32
	dirs       int
	sections   []Section
	extra      int // virtual size beyond the content, of each section
	trailer    []byte
	table      []byte // certificates
	gap, moved int    // before the first section; of the certificate table
}

// Sizes in the images that build makes.
const (
	stubSize  = 0x80
	alignment = 0x200
)

// padded returns b with zeros up to the alignment.
func padded(b []byte) []byte {
	return append(bytes.Clone(b), make([]byte, -len(b)&(alignment-1))...)
}

// build writes a PE image.
func (p *pe) build() []byte {
	le := binary.LittleEndian
	opt := make([]byte, 112+8*p.dirs)
	le.PutUint16(opt, magic64)
	count := offCount64
	if p.narrow {
		opt = opt[:96+8*p.dirs]
		le.PutUint16(opt, magic32)
		count = offCount32
	}
	le.PutUint32(opt[count:], uint32(p.dirs))
	le.PutUint32(opt[offChecksum:], 0x12345678)
	headers := len(padded(make([]byte, stubSize+sizeCOFF+len(opt)+sizeSection*len(p.sections))))
	le.PutUint32(opt[offSize:], uint32(headers))

	var table, body []byte
	at := headers + p.gap
	body = append(body, make([]byte, p.gap)...)
	for i, s := range p.sections {
		raw := padded(s.Content)
		e := make([]byte, sizeSection)
		copy(e, s.Name)
		le.PutUint32(e[8:], uint32(len(s.Content)+p.extra))
		le.PutUint32(e[12:], uint32(0x1000*(i+1)))
		le.PutUint32(e[16:], uint32(len(raw)))
		le.PutUint32(e[20:], uint32(at))
		table, body = append(table, e...), append(body, raw...)
		at += len(raw)
	}
	body = append(body, p.trailer...)
	at += len(p.trailer)
	if len(p.table) > 0 {
		dir := opt[count+4+8*certificates:]
		le.PutUint32(dir, uint32(at+p.moved))
		le.PutUint32(dir[4:], uint32(len(p.table)))
		body = append(body, p.table...)
	}

	out := make([]byte, stubSize, headers)
	copy(out, "MZ")
	le.PutUint32(out[offPE:], stubSize)
	coff := append([]byte("PE\x00\x00"), make([]byte, 20)...)
	le.PutUint16(coff[4:], 0x8664)
	le.PutUint16(coff[6:], uint16(len(p.sections)))
	le.PutUint16(coff[20:], uint16(len(opt)))
	out = append(append(append(out, coff...), opt...), table...)
	return append(padded(out)[:headers], body...)
}

// kernelImage is an image with the sections of a unified kernel image.
func kernelImage() *pe {
	inner := &pe{dirs: 16, sections: []Section{{".setup", []byte("setup")}, {".text", []byte("text")}}}
	return &pe{dirs: 16, sections: []Section{
		{".text", []byte("stub")},
		{".sbat", []byte("sbat,1")},
		{".osrel", []byte("ID=test\n")},
		{".cmdline", []byte("quiet splash\n")},
		{".linux", inner.build()},
		{".initrd", []byte("an initrd")},
	}}
}

// outside is an image whose last section has no bytes in the file, five in memory, and a
// pointer far beyond the file.
func outside() []byte {
	p := kernelImage()
	last := len(p.sections) - 1
	p.sections[last].Content = nil
	b := p.build()
	e := b[stubSize+sizeCOFF+112+8*p.dirs+last*sizeSection:]
	binary.LittleEndian.PutUint32(e[8:], 5)
	binary.LittleEndian.PutUint32(e[20:], 0x20000)
	return b
}

// digest hashes an image by removing what Authenticode leaves out.
func digest(b []byte, narrow bool, table int) []byte {
	opt := stubSize + sizeCOFF
	dir := opt + offCount64 + 4 + 8*certificates
	if narrow {
		dir = opt + offCount32 + 4 + 8*certificates
	}
	b = slices.Delete(bytes.Clone(b[:len(b)-table]), dir, dir+8)
	return attest.SHA256.Sum(slices.Delete(b, opt+offChecksum, opt+offChecksum+4))
}

func TestAuthenticode(t *testing.T) {
	sections := kernelImage().sections
	for name, p := range map[string]*pe{
		"PE32+":        {dirs: 16, sections: sections},
		"PE32":         {dirs: 16, sections: sections, narrow: true},
		"six":          {dirs: 6, sections: sections},
		"trailer":      {dirs: 16, sections: sections, trailer: []byte("appended")},
		"signed":       {dirs: 16, sections: sections, table: []byte("certificates")},
		"both":         {dirs: 16, sections: sections, trailer: []byte("appended"), table: []byte("certificates")},
		"empty one":    {dirs: 16, sections: append(slices.Clone(sections), Section{".bss", nil})},
		"out of order": {dirs: 16, sections: append(slices.Clone(sections[3:]), sections[:3]...)},
	} {
		b := p.build()
		got, err := Authenticode(b, attest.SHA256)
		if want := digest(b, p.narrow, len(p.table)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %x, want %x: %v", name, got, want, err)
		}
	}
	// Without an entry for certificates nothing but the checksum is left out.
	p := &pe{dirs: 4, sections: sections}
	b := p.build()
	at := stubSize + sizeCOFF + offChecksum
	got, err := Authenticode(b, attest.SHA384)
	if want := attest.SHA384.Sum(slices.Delete(bytes.Clone(b), at, at+4)); err != nil || !bytes.Equal(got, want) {
		t.Errorf("four directories: %x, want %x: %v", got, want, err)
	}
	if _, err := Authenticode(b, attest.SHA1); !errors.Is(err, attest.ErrArgument) {
		t.Errorf("SHA-1: %v", err)
	}
}

// TestAuthenticodeRefuses hands it what is no image, or one that hashes in two ways.
func TestAuthenticodeRefuses(t *testing.T) {
	good := kernelImage().build()
	opt := stubSize + sizeCOFF
	section := opt + 112 + 8*16
	put := func(at int, v uint32) []byte {
		out := bytes.Clone(good)
		binary.LittleEndian.PutUint32(out[at:], v)
		return out
	}
	at := binary.LittleEndian.Uint32(good[section+20:])
	with := func(f func(*pe)) []byte {
		p := kernelImage()
		f(p)
		return p.build()
	}
	for name, b := range map[string][]byte{
		"empty":                     nil,
		"text":                      []byte(strings.Repeat("MZ", 100)),
		"no PE header":              put(stubSize, 0),
		"PE header far away":        put(offPE, 0xFFFFFFF0),
		"PE header in itself":       put(offPE, 4),
		"another magic":             put(opt, 0x107),
		"headers of 4 GiB":          put(opt+offSize, 0xFFFFFFFF),
		"headers of none":           put(opt+offSize, 0),
		"17 directories":            put(opt+offCount64, 17),
		"2^32-1 directories":        put(opt+offCount64, 0xFFFFFFFF),
		"no sections":               with(func(p *pe) { p.sections = nil }),
		"97 sections":               with(func(p *pe) { p.sections = make([]Section, 97) }),
		"a gap":                     with(func(p *pe) { p.gap = 512 }),
		"an overlap":                put(section+20, at-1),
		"a section beyond":          put(section+sizeSection*5+16, 0x10000000),
		"a section of 4 GiB":        put(section+sizeSection*5+16, 0xFFFFFFFF),
		"certificates not at end":   with(func(p *pe) { p.table, p.moved = []byte("x"), -8 }),
		"certificates beyond":       with(func(p *pe) { p.table, p.moved = []byte("x"), 8 }),
		"certificates over section": put(opt+offCount64+4+8*certificates+4, uint32(len(good))),
	} {
		if d, err := Authenticode(b, attest.SHA256); !errors.Is(err, attest.ErrForm) || d != nil {
			t.Errorf("%s: %v", name, err)
		}
		if u, err := UKI(b, attest.SHA256, Stub252()); !errors.Is(err, attest.ErrForm) || u != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for n := range len(good) {
		if _, err := Authenticode(good[:n], attest.SHA256); !errors.Is(err, attest.ErrForm) {
			t.Fatalf("%d bytes of %d: %v", n, len(good), err)
		}
	}
}

// TestMeasureSections holds the sections against values of systemd-measure 252.
func TestMeasureSections(t *testing.T) {
	sections := []Section{
		{".pcrpkey", []byte("key")},
		{".linux", []byte("a kernel")},
		{".initrd", []byte("an initrd")},
		{".osrel", []byte("ID=test\n")},
		{".cmdline", []byte("quiet splash\n")},
		{".splash", []byte("bmp")},
		{".dtb", []byte("dtb")},
	}
	for bank, want := range map[attest.Alg]string{
		attest.SHA256: "c801f1a69e1b3067b2bb680131877586cb4d92bd29b43a1256649b697bb7fe09",
		attest.SHA384: "4f5deae346783eff237d85e6369263ca8258b1f07ed0ec884322d9a413a851f1f8b3583a69e062f0c46eac3e9288eeb9",
	} {
		x, err := MeasureSections(sections, bank)
		if err != nil || len(x) != 14 {
			t.Fatal(len(x), err)
		}
		if v, err := Value(bank, x); err != nil || hex.EncodeToString(v) != want {
			t.Errorf("%v: %x, %v", bank, v, err)
		}
		x[2], x[4] = x[4], x[2]
		if v, err := Value(bank, x); err != nil || hex.EncodeToString(v) == want {
			t.Errorf("%v: another order: %x, %v", bank, v, err)
		}
	}
	for name, list := range map[string][]Section{
		"none":     nil,
		"twice":    {{".linux", nil}, {".linux", nil}},
		"unknown":  {{".text", nil}},
		"unsigned": {{".pcrsig", nil}},
	} {
		if x, err := MeasureSections(list, attest.SHA256); !errors.Is(err, attest.ErrArgument) || x != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := MeasureSections(sections, attest.SHA1); !errors.Is(err, attest.ErrArgument) {
		t.Errorf("SHA-1: %v", err)
	}
	for name, list := range map[string][]bootlog.Extend{
		"none":          nil,
		"two registers": {{Index: 1, Digest: make([]byte, 32)}, {Index: 2, Digest: make([]byte, 32)}},
		"another size":  {{Index: 1, Digest: make([]byte, 48)}},
	} {
		if v, err := Value(attest.SHA256, list); !errors.Is(err, attest.ErrArgument) || v != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUKI(t *testing.T) {
	p := kernelImage()
	b := p.build()
	u, err := UKI(b, attest.SHA256, Stub252())
	if err != nil {
		t.Fatal(err)
	}
	sum := func(s string) []byte { return attest.SHA256.Sum([]byte(s)) }
	outer, err := Authenticode(b, attest.SHA256)
	if err != nil || !bytes.Equal(u.Digest, outer) {
		t.Errorf("%x, %v", u.Digest, err)
	}
	if !bytes.Equal(u.Inner, digest(p.sections[4].Content, false, 0)) || !bytes.Equal(u.Initrd, sum("an initrd")) {
		t.Errorf("%x, %x", u.Inner, u.Initrd)
	}
	var digests [][]byte
	for _, x := range u.Sections {
		if x.Index != Kernel {
			t.Errorf("register %d", x.Index)
		}
		digests = append(digests, x.Digest)
	}
	want := [][]byte{
		sum(".linux\x00"), attest.SHA256.Sum(p.sections[4].Content), sum(".osrel\x00"), sum("ID=test\n"),
		sum(".cmdline\x00"), sum("quiet splash\n"), sum(".initrd\x00"), sum("an initrd"),
	}
	if !slices.EqualFunc(digests, want, bytes.Equal) {
		t.Errorf("%x", digests)
	}
	lines := [][]byte{attest.SHA256.Sum(bootlog.UTF16("quiet splash\n")), attest.SHA256.Sum(bootlog.UTF16("quiet splash"))}
	if !slices.EqualFunc(u.CommandLines, lines, bytes.Equal) {
		t.Errorf("%x", u.CommandLines)
	}
	// A later systemd-stub measures its own .sbat as well.
	later, err := UKI(b, attest.SHA256, bootlog.SectionNames())
	if err != nil || len(later.Sections) != 10 || !bytes.Equal(later.Sections[9].Digest, sum("sbat,1")) {
		t.Errorf("%+v, %v", later, err)
	}
	if _, err := UKI(b, attest.SHA256, []string{".text"}); !errors.Is(err, attest.ErrArgument) {
		t.Errorf("a section that is never measured: %v", err)
	}
	// Memory beyond the file is zeros; what is beyond the image's size is nonsense.
	p.extra = 700
	if u, err = UKI(p.build(), attest.SHA256, Stub252()); err != nil || !bytes.Equal(u.Initrd, sum("an initrd"+strings.Repeat("\x00", 700))) {
		t.Errorf("larger in memory: %v", err)
	}
	p.extra = 1 << 30
	if u, err = UKI(p.build(), attest.SHA256, Stub252()); !errors.Is(err, attest.ErrForm) || u != nil {
		t.Errorf("a section of 1 GiB in memory: %v", err)
	}
	if u, err = UKI(outside(), attest.SHA256, Stub252()); err != nil || !bytes.Equal(u.Initrd, sum(strings.Repeat("\x00", 5))) {
		t.Errorf("a section of memory alone: %v", err)
	}
	p = kernelImage()
	p.sections = append(p.sections, p.sections[3])
	if u, err = UKI(p.build(), attest.SHA256, Stub252()); !errors.Is(err, attest.ErrForm) || u != nil {
		t.Errorf("a section twice: %v", err)
	}
	p.sections = p.sections[:1]
	if u, err = UKI(p.build(), attest.SHA256, Stub252()); !errors.Is(err, attest.ErrForm) || u != nil {
		t.Errorf("no section: %v", err)
	}
	p.sections = []Section{{".linux", []byte("no image")}, {".cmdline", []byte("\xff")}}
	if u, err = UKI(p.build(), attest.SHA256, Stub252()); err != nil || u.Inner != nil || u.CommandLines != nil || u.Initrd != nil {
		t.Errorf("a kernel that is no image: %+v, %v", u, err)
	}
}

// TestQEMUKernel holds what is written into the setup header against what QEMU 7.2 was
// seen to write for a guest of 256 MiB.
func TestQEMUKernel(t *testing.T) {
	kernel := make([]byte, 0x1000)
	copy(kernel[0x202:], "HdrS\x0f\x02")
	kernel[offFlags] = 1
	b, err := QEMUKernel(kernel, 256<<20, 1031818)
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Clone(kernel)
	for at, v := range map[int]string{
		0x210: "b0", 0x211: "81", 0x218: "00c0ed0f", 0x21c: "8abe0f00", 0x224: "00fe", 0x228: "00000200",
	} {
		x, err := hex.DecodeString(v)
		if err != nil {
			t.Fatal(err)
		}
		copy(want[at:], x)
	}
	if !bytes.Equal(b, want) {
		t.Errorf("got %x, want %x", b[0x200:0x230], want[0x200:0x230])
	}
	if b, err = QEMUKernel(kernel, 256<<20, 0); err != nil || !bytes.Equal(b[offInitrd:offInitrd+8], make([]byte, 8)) || kernel[offLoader] != 0 {
		t.Errorf("without an initial file system: %v", err)
	}
	for name, c := range map[string]struct {
		kernel      []byte
		low, initrd uint64
		want        error
	}{
		"short":        {kernel[:0x22B], 256 << 20, 1, attest.ErrForm},
		"no header":    {make([]byte, 0x1000), 256 << 20, 1, attest.ErrForm},
		"old":          {append(append(bytes.Clone(kernel[:offVersion]), 0x0B, 2), kernel[offVersion+2:]...), 256 << 20, 1, attest.ErrForm},
		"small memory": {kernel, 1 << 20, 1, attest.ErrArgument},
		"above 4 GiB":  {kernel, 1<<32 + 1, 1, attest.ErrArgument},
		"too large":    {kernel, 256 << 20, 256 << 20, attest.ErrArgument},
		"far too much": {kernel, 256 << 20, 1 << 63, attest.ErrArgument},
	} {
		if b, err := QEMUKernel(c.kernel, c.low, c.initrd); !errors.Is(err, c.want) || b != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestQEMU predicts the boot of a kernel whose setup header stands, as in a real one, in
// the first section.
func TestQEMU(t *testing.T) {
	setup := make([]byte, alignment)
	copy(setup[2:], "HdrS\x0f\x02")
	kernel := (&pe{dirs: 6, sections: []Section{{".setup", setup}, {".text", []byte("text")}}}).build()
	initrd := []byte("an initrd")
	patched, err := QEMUKernel(kernel, 256<<20, uint64(len(initrd)))
	if err != nil || bytes.Equal(patched, kernel) {
		t.Fatal(err)
	}
	u, err := QEMU(kernel, initrd, "quiet", 256<<20, attest.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(u.Digest, digest(patched, false, 0)) || !bytes.Equal(u.Initrd, attest.SHA256.Sum(initrd)) || u.Sections != nil ||
		len(u.CommandLines) != 1 || !bytes.Equal(u.CommandLines[0], attest.SHA256.Sum(bootlog.UTF16("quiet initrd=initrd"))) {
		t.Errorf("%+v", u)
	}
	if u, err = QEMU(kernel, nil, "quiet", 256<<20, attest.SHA256); err != nil || u.Initrd != nil ||
		!bytes.Equal(u.CommandLines[0], attest.SHA256.Sum(bootlog.UTF16("quiet"))) {
		t.Errorf("without an initial file system: %+v, %v", u, err)
	}
	for name, c := range map[string]struct {
		kernel []byte
		low    uint64
		bank   attest.Alg
		want   error
	}{
		"no kernel":   {kernelImage().build(), 256 << 20, attest.SHA256, attest.ErrForm},
		"no PE image": {append(make([]byte, 0x200), setup...), 256 << 20, attest.SHA256, attest.ErrForm},
		"no memory":   {kernel, 0, attest.SHA256, attest.ErrArgument},
		"SHA-1":       {kernel, 256 << 20, attest.SHA1, attest.ErrArgument},
	} {
		if u, err := QEMU(c.kernel, initrd, "", c.low, c.bank); !errors.Is(err, c.want) || u != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzAuthenticode(f *testing.F) {
	f.Add(kernelImage().build())
	signed := kernelImage()
	signed.narrow, signed.table = true, []byte("certificates")
	f.Add(signed.build())
	f.Add(outside())
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := Authenticode(b, attest.SHA256)
		if err != nil {
			if d != nil || !errors.Is(err, attest.ErrForm) {
				t.Fatalf("%x, %v", d, err)
			}
			return
		}
		m, err := parse(b)
		if err != nil || len(d) != 32 {
			t.Fatal(err)
		}
		other := bytes.Clone(b)
		other[m.checksum] ^= 1
		if x, err := Authenticode(other, attest.SHA256); err != nil || !bytes.Equal(x, d) {
			t.Fatalf("the checksum counts: %v", err)
		}
		other = bytes.Clone(b)
		other[0x40] ^= 1
		if x, err := Authenticode(other, attest.SHA256); err == nil && bytes.Equal(x, d) {
			t.Fatal("a byte of the headers does not count")
		}
		u, err := UKI(b, attest.SHA256, bootlog.SectionNames())
		if err != nil {
			if u != nil || !errors.Is(err, attest.ErrForm) {
				t.Fatalf("%v, %v", u, err)
			}
		} else if !bytes.Equal(u.Digest, d) || len(u.Sections) == 0 || len(u.Sections)%2 != 0 {
			t.Fatalf("%+v", u)
		}
	})
}
