package bootlog

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sworn-run/sworn/attest"
)

// same reports how two appraisals differ.
func same(a, b *Facts) string {
	if reflect.DeepEqual(a, b) {
		return ""
	}
	return "differs: " + cmp.Diff(a, b, cmp.AllowUnexported(Facts{}))
}

// digests returns the digests of images, without what the log says of them.
func digests(list []Measured) [][]byte {
	var out [][]byte
	for _, m := range list {
		out = append(out, m.Digest)
	}
	return out
}

// TestTypesDecideNothing changes every event's type, one at a time and all at once:
// no fact may change, because no digest covers a type.
func TestTypesDecideNothing(t *testing.T) {
	for _, run := range runs() {
		quoted := pcrs(t, run, attest.SHA256)
		want := appraise(t, parse(t, read(t, run, "eventlog"), PCRs), quoted, Options{})
		types := []uint32{0, 1, 4, 5, 6, 8, 0xA, 0xD, 0x80000001, 0x80000002, 0x80000003, 0x80000006, 0x800000E0, 0xFFFFFFFF}
		for _, kind := range types {
			l := parse(t, read(t, run, "eventlog"), PCRs)
			for i := range l.Events {
				l.Events[i].Type = kind
			}
			if d := same(want, appraise(t, l, quoted, Options{})); d != "" {
				t.Errorf("%s: with type 0x%x: %s", run, kind, d)
			}
		}
		l := parse(t, read(t, run, "eventlog"), PCRs)
		for i := range l.Events {
			was := l.Events[i].Type
			// The last type says that the event was not extended: that is a
			// change of the digests, and the quote shows it.
			for _, kind := range append(types, NoAction) {
				l.Events[i].Type = kind
				f := appraise(t, l, quoted, Options{})
				if kind == NoAction {
					if err := Require(f.Registers, l.Events[i].Index); !errors.Is(err, ErrReplay) {
						t.Errorf("%s: event %d not extended: %v", run, i, err)
					}
				} else if d := same(want, f); d != "" {
					t.Errorf("%s: event %d with type 0x%x: %s", run, i, kind, d)
				}
			}
			l.Events[i].Type = was
		}
	}
}

// TestDataDecidesNothingElse changes a byte of each event's data: what no digest
// covers changes no fact, and what one covers can make a fact disappear, never another
// one appear.
func TestDataDecidesNothingElse(t *testing.T) {
	for _, run := range runs() {
		quoted := pcrs(t, run, attest.SHA256)
		genuine := parse(t, read(t, run, "eventlog"), PCRs)
		want := appraise(t, genuine, quoted, Options{})
		for i := range genuine.Events {
			covered, _ := genuine.Events[i].Covered(attest.SHA256)
			for at := range genuine.Events[i].Data {
				raw := genuine.Events[i].Data
				genuine.Events[i].Data = bytes.Clone(raw)
				genuine.Events[i].Data[at] ^= 0x41
				f := appraise(t, genuine, quoted, Options{})
				genuine.Events[i].Data = raw
				if covered == CoversNothing {
					if d := same(want, f); d != "" {
						t.Fatalf("%s: event %d byte %d: %s", run, i, at, d)
					}
				}
				if want.SecureBoot != f.SecureBoot || !reflect.DeepEqual(digests(want.Images), digests(f.Images)) ||
					f.Variables.Established && !reflect.DeepEqual(want.Variables, f.Variables) ||
					f.Authorities.Established && !reflect.DeepEqual(want.Authorities, f.Authorities) ||
					f.Sections.Established && !reflect.DeepEqual(want.Sections, f.Sections) ||
					len(f.Disks) > 0 && !reflect.DeepEqual(want.Disks, f.Disks) {
					t.Fatalf("%s: event %d byte %d establishes another fact", run, i, at)
				}
				// The rest of a long event is like its beginning.
				if at > 100 {
					break
				}
			}
		}
	}
}

// TestLogAndQuote takes events away, adds, swaps and moves them: the register is named
// and gives no fact.
func TestLogAndQuote(t *testing.T) {
	quoted := pcrs(t, "run-llmsb", attest.SHA256)
	check := func(what string, l *Log, index uint32) {
		t.Helper()
		f := appraise(t, l, quoted, Options{})
		var m *MismatchError
		if err := Require(f.Registers, index); !errors.As(err, &m) || m.Index != index || !errors.Is(err, ErrReplay) || m.Error() == "" {
			t.Errorf("%s: register %d: %v", what, index, err)
		}
		if index == 7 && (f.SecureBoot.Established || f.SecureBoot.State != Unknown || f.Variables.Established || f.Authorities.Established) {
			t.Errorf("%s: facts of a register that differs: %+v", what, f.SecureBoot)
		}
		if index == 4 && len(f.Images) != 0 {
			t.Errorf("%s: images of a register that differs", what)
		}
	}
	fresh := func() *Log { return parse(t, read(t, "run-llmsb", "eventlog"), PCRs) }
	n := len(fresh().Events)
	for i := range n {
		l := fresh()
		index := l.Events[i].Index
		l.Events[i].Digest(attest.SHA256)[7] ^= 1
		check(fmt.Sprintf("event %d, another digest", i), l, index)

		l = fresh()
		l.Events = slices.Delete(l.Events, i, i+1)
		check(fmt.Sprintf("event %d, taken away", i), l, index)

		l = fresh()
		l.Events = slices.Insert(l.Events, i, l.Events[i])
		check(fmt.Sprintf("event %d, twice", i), l, index)

		l = fresh()
		l.Events[i].Index = (index + 1) % 14
		check(fmt.Sprintf("event %d, moved", i), l, index)
		check(fmt.Sprintf("event %d, moved", i), l, l.Events[i].Index)
	}
	// Longer than the quote covers.
	l := fresh()
	l.Events = append(l.Events, l.Events[n-1])
	check("longer", l, 5)
	// Events of a register in another order.
	l = fresh()
	l.Events[3], l.Events[4] = l.Events[4], l.Events[3]
	check("swapped", l, 7)
	// A register that the quote does not cover.
	f := appraise(t, fresh(), quoted[:7], Options{})
	if err := Require(f.Registers, 6); err != nil {
		t.Error(err)
	}
	var m *MismatchError
	if err := Require(f.Registers, 7); !errors.As(err, &m) || m.Status != NotQuoted || f.SecureBoot.Established {
		t.Errorf("not quoted: %v, %+v", err, f.SecureBoot)
	}
	if err := Require(f.Registers, 20); !errors.As(err, &m) || m.Status != NotQuoted {
		t.Errorf("not in the log: %v", err)
	}
}

// TestFurther gives the digests that the system extended after the log ended.
func TestFurther(t *testing.T) {
	l := of256(t, PCRs, append(secureBoot(7, 1), separator(7), opaque(11, "x"))...)
	later := attest.SHA256.Sum([]byte("phase"))
	quoted := truth(t, l, attest.SHA256)
	quoted[1].Value = attest.SHA256.Sum(quoted[1].Value, later)
	if err := Require(appraise(t, l, quoted, Options{}).Registers, 11); !errors.Is(err, ErrReplay) {
		t.Errorf("a register that was extended later: %v", err)
	}
	f := appraise(t, l, quoted, Options{Further: []Extend{{11, later}}})
	if err := Require(f.Registers, 7, 11); err != nil || f.Registers[1].Events != 2 {
		t.Errorf("with what was extended later: %v, %+v", err, f.Registers)
	}
	for _, x := range []Extend{{24, later}, {11, later[:31]}} {
		if _, err := l.Appraise(attest.SHA256, quoted, Options{Further: []Extend{x}}); !errors.Is(err, attest.ErrArgument) {
			t.Errorf("%v: %v", x, err)
		}
	}
}

// TestSecureBoot tries to pass off one state of Secure Boot for another.
func TestSecureBoot(t *testing.T) {
	on := variableData(globalVariable(), "SecureBoot", []byte{1})
	off := variableData(globalVariable(), "SecureBoot", []byte{0})
	for name, c := range map[string]struct {
		kind   Registers
		events []made
		want   State
		debug  bool
	}{
		"on":                   {PCRs, append(secureBoot(7, 1), separator(7)), Enabled, false},
		"off":                  {PCRs, append(secureBoot(7, 0), separator(7)), Disabled, false},
		"absent":               {PCRs, []made{whole(7, variableData(globalVariable(), "SecureBoot", nil)), separator(7)}, Disabled, false},
		"another value":        {PCRs, append(secureBoot(7, 2), separator(7)), Unknown, false},
		"no separator":         {PCRs, secureBoot(7, 1), Unknown, false},
		"other namespace":      {PCRs, []made{whole(7, variableData(database(), "SecureBoot", []byte{1})), separator(7)}, Unknown, false},
		"after the separator":  {PCRs, append([]made{separator(7)}, secureBoot(7, 1)...), Unknown, false},
		"off, then on later":   {PCRs, append(append(secureBoot(7, 0), separator(7)), whole(7, on)), Disabled, false},
		"both":                 {PCRs, []made{whole(7, off), whole(7, on), separator(7)}, Unknown, false},
		"twice":                {PCRs, []made{whole(7, on), whole(7, on), separator(7)}, Unknown, false},
		"in another register":  {PCRs, []made{whole(1, on), separator(1), separator(7)}, Unknown, false},
		"the firmware failed":  {PCRs, append(secureBoot(7, 1), whole(7, []byte{1, 0, 0, 0})), Unknown, false},
		"failed, then ended":   {PCRs, append(secureBoot(7, 1), whole(7, []byte{1, 0, 0, 0}), separator(7)), Unknown, false},
		"all ones":             {PCRs, append(secureBoot(7, 1), whole(7, []byte{0xFF, 0xFF, 0xFF, 0xFF})), Enabled, false},
		"debug mode":           {PCRs, append([]made{whole(7, []byte("UEFI Debug Mode"))}, append(secureBoot(7, 1), separator(7))...), Enabled, true},
		"debug mode, hidden":   {PCRs, append([]made{opaque(7, "UEFI Debug Mode")}, append(secureBoot(7, 1), separator(7))...), Enabled, true},
		"off, data damaged":    {PCRs, []made{{7, 1, off, []byte("?")}, separator(7)}, Disabled, false},
		"off, data exchanged":  {PCRs, []made{{7, 1, off, on}, separator(7)}, Disabled, false},
		"on, data exchanged":   {PCRs, []made{{7, 1, on, off}, separator(7)}, Enabled, false},
		"MRs: on":              {MRs, append(secureBoot(1, 1), separator(1)), Enabled, false},
		"MRs: host's table on": {MRs, append([]made{whole(1, on)}, append(secureBoot(1, 0), separator(1))...), Unknown, false},
		"MRs: the same, off's data damaged": {
			MRs, []made{{1, 0x8000000B, on, on}, {1, 0x80000001, off, []byte("?")}, separator(1)}, Unknown, false,
		},
		// A boot variable whose value reads as the variable SecureBoot.
		"MRs: boot variable": {
			MRs, append(secureBoot(1, 0), separator(1), made{1, 0x80000001, on, variableData(globalVariable(), "Boot0000", on)}), Disabled, false,
		},
		// A boot order with the bytes of a separator that says failure.
		"MRs: boot order": {
			MRs, append(secureBoot(1, 1), separator(1), made{1, 0x80000002, []byte{1, 0, 0, 0}, variableData(globalVariable(), "BootOrder", []byte{1, 0, 0, 0})}), Enabled, false,
		},
	} {
		l := of256(t, c.kind, c.events...)
		s := appraise(t, l, truth(t, l, attest.SHA256), Options{}).SecureBoot
		if s.State != c.want || s.Established != (c.want != Unknown) || s.Established == (s.Reason != "") || s.Debug != c.debug {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// TestVariables looks at when the databases are established.
func TestVariables(t *testing.T) {
	good := append(secureBoot(7, 1), separator(7))
	db := variableData(database(), "db", list(make([]byte, 32)))
	at := func(i int, e made) []made { return append(slices.Clone(good[:i]), append([]made{e}, good[i:]...)...) }
	instead := func(i int, e made) []made { return append(slices.Clone(good[:i]), append([]made{e}, good[i+1:]...)...) }
	for name, c := range map[string]struct {
		events []made
		known  string
		want   bool
	}{
		"all":                 {good, "", true},
		"one more":            {at(2, whole(7, variableData(database(), "dbt", nil))), "", true},
		"db twice":            {at(2, whole(7, db)), "", false},
		"db later":            {append(slices.Clone(instead(3, whole(7, []byte("x")))), whole(7, db)), "", false},
		"db not covered":      {instead(3, made{7, 1, db, []byte("?")}), "", false},
		"db malformed":        {instead(3, whole(7, variableData(database(), "db", []byte("x")))), "", false},
		"no db":               {instead(3, whole(7, []byte("x"))), "", false},
		"something hidden":    {at(0, opaque(7, "table")), "", false},
		"something known":     {at(0, opaque(7, "table")), "table", true},
		"something else":      {at(0, opaque(7, "table")), "volume", false},
		"in a wrapped form":   {instead(3, made{7, 1, db, variableData(globalVariable(), "Boot0000", db)}), "", true},
		"hidden, in register": {append(slices.Clone(good), opaque(1, "table")), "", true},
	} {
		l := of256(t, PCRs, c.events...)
		f := appraise(t, l, truth(t, l, attest.SHA256), Options{Known: [][]byte{attest.SHA256.Sum([]byte(c.known))}})
		v := f.Variables
		if v.Established != c.want || (len(v.DB) == 1) != c.want || v.Established == (v.Reason != "") {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

// TestAuthorities looks at what follows the separator.
func TestAuthorities(t *testing.T) {
	db := variableData(database(), "db", []byte("certificate"))
	for name, c := range map[string]struct {
		event made
		n     int
		want  bool
	}{
		"genuine":                    {whole(7, db), 1, true},
		"of shim, too long":          {made{7, 1, append(slices.Clone(db), make([]byte, 5)...), append(slices.Clone(db), make([]byte, 6)...)}, 1, true},
		"too long by more":           {whole(7, append(slices.Clone(db), make([]byte, 9)...)), 0, false},
		"hidden":                     {opaque(7, string(db)), 0, false},
		"no variable":                {whole(7, []byte("text")), 0, false},
		"a boot variable":            {whole(7, variableData(globalVariable(), "Boot0001", []byte("path"))), 0, true},
		"separator of another":       {separator(1), 0, true},
		"the register's next closer": {separator(7), 0, true},
	} {
		l := of256(t, PCRs, append(append(secureBoot(7, 1), separator(7)), c.event)...)
		a := appraise(t, l, truth(t, l, attest.SHA256), Options{}).Authorities
		if len(a.List) != c.n || a.Established != c.want || a.Established == (a.Reason != "") {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

// TestImages: every digest in the register of images is one, but for separators, the
// firmware's own words and partition tables; the data of its event says nothing.
func TestImages(t *testing.T) {
	calling := []byte("Calling EFI Application from Boot Option")
	l := of256(t, PCRs, whole(4, calling), separator(4), opaque(4, "one"), whole(4, []byte("two")), opaque(4, "one"), opaque(2, "driver"))
	f := appraise(t, l, truth(t, l, attest.SHA256), Options{})
	if len(f.Images) != 3 || !bytes.Equal(f.Images[1].Digest, attest.SHA256.Sum([]byte("two"))) || len(f.Rest) != 1 {
		t.Errorf("%+v", f.Images)
	}
	if found := f.Find(attest.SHA256.Sum([]byte("one"))); len(found) != 2 || found[0].Event != 2 {
		t.Errorf("%+v", found)
	}
}

// TestTexts looks at what GRUB and systemd-stub measure as text.
func TestTexts(t *testing.T) {
	grub := func(label, text string) made { return made{8, 0xD, []byte(text), []byte(label + text + "\x00")} }
	old := func(label, text string) made {
		return made{8, 0xD, []byte(text + "\x00"), []byte(label + text + "\x00")}
	}
	const line = `/vmlinuz root=/dev/sda "a b=c" console=ttyS0 console=tty1 no-x no_x`
	for name, c := range map[string]struct {
		events []made
		want   string
	}{
		"grub":             {[]made{grub("grub_cmd: ", "set a=b"), grub("grub_cmd: ", `linux /vmlinuz root=/dev/sda a b=c console=ttyS0 console=tty1 no-x no_x`), grub("kernel_cmdline: ", line)}, line},
		"an old grub":      {[]made{old("grub_cmd ", `linux /vmlinuz root=/dev/sda a b=c console=ttyS0 console=tty1 no-x no_x`), old("grub_kernel_cmdline ", line)}, line},
		"relabelled":       {[]made{grub("grub_cmd: ", "set a=b"), grub("kernel_cmdline: ", `linux /vmlinuz root=/dev/sda a b=c console=ttyS0 console=tty1 no-x no_x`), grub("grub_cmd: ", line)}, line},
		"label alone":      {[]made{grub("grub_cmd: ", "set a=b"), grub("kernel_cmdline: ", line)}, ""},
		"another command":  {[]made{grub("grub_cmd: ", "echo "+line), grub("kernel_cmdline: ", line)}, ""},
		"hidden":           {[]made{opaque(8, line)}, ""},
		"stub":             {[]made{whole(12, UTF16("quiet"))}, "quiet"},
		"stub, tagged":     {[]made{{12, 6, UTF16("quiet"), append([]byte{1, 2, 3, 4, 12, 0, 0, 0}, UTF16("quiet")...)}}, "quiet"},
		"credentials":      {[]made{{12, 0xD, []byte("cpio"), UTF16("Credentials initrd")}}, ""},
		"in another":       {[]made{whole(13, UTF16("quiet"))}, ""},
		"lone surrogate":   {[]made{whole(12, []byte{0, 0xD8, 0, 0})}, ""},
		"without its NUL":  {[]made{whole(12, []byte{'a', 0, 'b', 0})}, ""},
		"a NUL in between": {[]made{whole(12, []byte{'a', 0, 0, 0, 'b', 0, 0, 0})}, ""},
	} {
		l := of256(t, PCRs, c.events...)
		f := appraise(t, l, truth(t, l, attest.SHA256), Options{})
		got := ""
		if len(f.CommandLines) == 1 {
			got = f.CommandLines[0].Text.Text
		}
		if got != c.want || len(f.CommandLines) > 1 {
			t.Errorf("%s: %+v", name, f.CommandLines)
		}
		if c.want == line && (f.CommandLines[0].Image != "/vmlinuz" || !slices.Equal(f.CommandLines[0].Duplicates, []string{"console", "no_x"})) {
			t.Errorf("%s: %+v", name, f.CommandLines[0])
		}
	}
	if p := Parameters("a \"b c\"=d\te -- f"); !slices.Equal(p, []string{"a", `"b c"=d`, "e"}) {
		t.Errorf("%q", p)
	}
}

// TestSections looks at pairs of name and content, and what may not stand before or
// between them.
func TestSections(t *testing.T) {
	pair := func(index uint32, name, content string) []made {
		return []made{opaque(index, name+"\x00"), opaque(index, content)}
	}
	for name, c := range map[string]struct {
		kind   Registers
		events []made
		want   int
	}{
		"two":                       {PCRs, append(pair(11, ".linux", "l"), pair(11, ".cmdline", "c")...), 2},
		"then a phase":              {PCRs, append(pair(11, ".linux", "l"), opaque(11, "enter-initrd")), 1},
		"content that is a name":    {PCRs, append(pair(11, ".linux", ".cmdline\x00"), pair(11, ".cmdline", "c")...), 2},
		"something before":          {PCRs, append([]made{opaque(11, "x")}, pair(11, ".linux", "l")...), 0},
		"twice":                     {PCRs, append(pair(11, ".linux", "l"), pair(11, ".linux", "m")...), 0},
		"a name alone":              {PCRs, []made{opaque(11, ".linux\x00")}, 0},
		"in another register":       {PCRs, pair(12, ".linux", "l"), 0},
		"MRs":                       {MRs, pair(3, ".linux", "l"), 1},
		"MRs: after a boot loader":  {MRs, append([]made{opaque(3, "MokList")}, pair(3, ".linux", "l")...), 0},
		"MRs: in another register":  {MRs, pair(2, ".linux", "l"), 0},
		"a name that nobody writes": {PCRs, pair(11, ".text", "l"), 0},
	} {
		l := of256(t, c.kind, c.events...)
		s := appraise(t, l, truth(t, l, attest.SHA256), Options{}).Sections
		if len(s.List) != c.want || s.Established != (c.want > 0) || s.Established == (s.Reason != "") {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// TestLocality: the log says from where the TPM was started, and the quote whether
// that is true.
func TestLocality(t *testing.T) {
	state := func(b byte) made {
		return made{0, NoAction, nil, append([]byte("StartupLocality\x00"), b)}
	}
	values := map[byte]string{}
	for b := range byte(5) {
		l := of256(t, PCRs, state(b), opaque(0, "x"), opaque(1, "x"))
		got := truth(t, l, attest.SHA256)
		start := make([]byte, 32)
		start[31] = b
		if want := attest.SHA256.Sum(start, attest.SHA256.Sum([]byte("x"))); !bytes.Equal(got[0].Value, want) {
			t.Errorf("locality %d: %x", b, got[0].Value)
		}
		if want := attest.SHA256.Sum(make([]byte, 32), attest.SHA256.Sum([]byte("x"))); !bytes.Equal(got[1].Value, want) {
			t.Errorf("locality %d: register 1 is %x", b, got[1].Value)
		}
		values[b] = string(got[0].Value)
	}
	l := of256(t, PCRs, state(3), opaque(0, "x"))
	quoted := []attest.RegisterValue{{Bank: attest.SHA256, Value: []byte(values[0])}}
	if f := appraise(t, l, quoted, Options{}); f.Registers[0].Status != Differs {
		t.Errorf("a locality that is not true: %v", f.Registers[0].Status)
	}
	for name, events := range map[string][]made{
		"above 4": {state(5), opaque(0, "x")},
		"twice":   {state(3), state(3), opaque(0, "x")},
		"late":    {opaque(0, "x"), state(3)},
		"long":    {{0, NoAction, nil, []byte("StartupLocality\x00\x03\x00")}, opaque(0, "x")},
	} {
		if _, err := of256(t, PCRs, events...).Replay(attest.SHA256, nil); !errors.Is(err, attest.ErrForm) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A TD has no locality.
	if v := truth(t, of256(t, MRs, state(3), opaque(1, "x")), attest.SHA256); len(v) != 1 || v[0].Index != 1 {
		t.Errorf("%+v", v)
	}
}
