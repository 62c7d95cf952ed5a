package ledger

import (
	"errors"
	"maps"
	"testing"
)

// TestMatchesMember tries each member of a selector by itself: a value that is the
// subject's, one that is not, and a subject that does not state it.
func TestMatchesMember(t *testing.T) {
	for name, tc := range map[string]struct {
		hit, miss Selector
		strip     func(*Subject)
	}{
		"formats": {Selector{Formats: []string{"sgx", "tpm"}}, Selector{Formats: []string{"sgx"}}, func(x *Subject) { x.Format = "" }},
		"roots":   {Selector{Roots: []string{spkiText("0"), spkiText("a")}}, Selector{Roots: []string{spkiText("b")}}, func(x *Subject) { x.Root = "" }},
		"keys":    {Selector{Keys: []string{spkiText("c")}}, Selector{Keys: []string{spkiText("a")}}, func(x *Subject) { x.Keys = nil }},
		"key_ids": {Selector{KeyIDs: []string{hexText("d")}}, Selector{KeyIDs: []string{hexText("e")}}, func(x *Subject) { x.KeyID = "" }},
		"devices": {Selector{Devices: []string{hexText("e")}}, Selector{Devices: []string{hexText("d")}}, func(x *Subject) { x.Device = "" }},
		"products": {
			Selector{Products: []string{"Genoa", "M?l?n"}},
			Selector{Products: []string{"Mila", "Milan?", "milan", "?????x"}},
			func(x *Subject) { x.Product = "" },
		},
		"manufacturers": {Selector{Manufacturers: []string{"STM"}}, Selector{Manufacturers: []string{"STMX", "ST"}}, func(x *Subject) { x.Manufacturer = "" }},
		"firmware": {
			Selector{Firmware: []FirmwareRange{{"0000000000000000", "0000000000000001"}, {"0049000800010002", "0049000800010002"}}},
			Selector{Firmware: []FirmwareRange{{"0000000000000000", "0049000800010001"}, {"0049000800010003", "ffffffffffffffff"}}},
			func(x *Subject) { x.Firmware = "" },
		},
		"versions": {
			Selector{Versions: []Range{{"snp", "20", "20"}, {"tee", "", "0"}}},
			Selector{Versions: []Range{{"snp", "20", "20"}, {"tee", "1", ""}}},
			func(x *Subject) { delete(x.Versions, "tee") },
		},
		"attributes": {Selector{Attributes: []Range{{"vmpl", "1", ""}}}, Selector{Attributes: []Range{{"vmpl", "2", ""}}}, func(x *Subject) { x.Attributes = nil }},
		"measurements": {
			Selector{Measurements: []Digests{{"chip_id", []string{"00", "0102"}}}},
			Selector{Measurements: []Digests{{"chip_id", []string{"0103", "01"}}}},
			func(x *Subject) { x.Measurements = nil },
		},
		"key_types":  {Selector{KeyTypes: []string{KeyECDSA}}, Selector{KeyTypes: []string{KeyRSA}}, func(x *Subject) { x.KeyType = "" }},
		"weaknesses": {Selector{Weaknesses: []string{WeaknessROCA}}, Selector{Weaknesses: []string{"another"}}, func(x *Subject) { x.Weaknesses = nil }},
	} {
		t.Run(name, func(t *testing.T) {
			if !tc.hit.Matches(subject()) {
				t.Error("its own value does not match")
			}
			if tc.miss.Matches(subject()) {
				t.Error("another value matches")
			}
			x := subject()
			tc.strip(x)
			if tc.hit.Matches(x) {
				t.Error("what is not stated matches")
			}
			both := tc.hit
			if name != "formats" {
				both.Formats = []string{"another"}
				if both.Matches(subject()) {
					t.Error("one member of two suffices")
				}
			}
			if err := tc.hit.check("match"); err != nil {
				t.Error(err)
			}
		})
	}
	var zero Selector
	if zero.Matches(subject()) || zero.Matches(&Subject{}) || (*Selector)(nil).Matches(subject()) || (&Selector{Formats: []string{""}}).Matches(&Subject{}) {
		t.Error("nothing matches something")
	}
	if (&Selector{Formats: []string{"tpm"}}).Matches(nil) {
		t.Error("nil matches")
	}
}

// TestRangeEdges goes over both ends of a range.
func TestRangeEdges(t *testing.T) {
	for _, tc := range []struct {
		r    Range
		v    uint64
		want bool
	}{
		{Range{"n", "5", "9"}, 4, false},
		{Range{"n", "5", "9"}, 5, true},
		{Range{"n", "5", "9"}, 9, true},
		{Range{"n", "5", "9"}, 10, false},
		{Range{"n", "5", ""}, 4, false},
		{Range{"n", "5", ""}, ^uint64(0), true},
		{Range{"n", "", "5"}, 0, true},
		{Range{"n", "", "5"}, 5, true},
		{Range{"n", "", "5"}, 6, false},
		{Range{"n", "0", "18446744073709551615"}, ^uint64(0), true},
		{Range{"n", "18446744073709551615", ""}, ^uint64(0) - 1, false},
	} {
		s := Selector{Versions: []Range{tc.r}}
		if err := s.check("match"); err != nil {
			t.Fatal(err)
		}
		if got := s.Matches(&Subject{Versions: map[string]uint64{"n": tc.v}}); got != tc.want {
			t.Errorf("%+v of %d: %v", tc.r, tc.v, got)
		}
		s = Selector{Attributes: []Range{tc.r}}
		if got := s.Matches(&Subject{Attributes: map[string]uint64{"n": tc.v}}); got != tc.want {
			t.Errorf("attribute %+v of %d: %v", tc.r, tc.v, got)
		}
	}
}

// TestSelectorRules breaks every rule of a selector once.
func TestSelectorRules(t *testing.T) {
	many := make([]string, maxValues+1)
	for name, s := range map[string]Selector{
		"empty":                      {},
		"empty formats":              {Formats: []string{}},
		"empty firmware":             {Firmware: []FirmwareRange{}},
		"empty versions":             {Versions: []Range{}},
		"empty attributes":           {Attributes: []Range{}},
		"empty measurements":         {Measurements: []Digests{}},
		"many formats":               {Formats: many},
		"blank format":               {Formats: []string{""}},
		"format twice":               {Formats: []string{"tpm", "tpm"}},
		"root without sha256":        {Roots: []string{hexText("a")}},
		"short root":                 {Roots: []string{spkiText("a")[:70]}},
		"upper-case root":            {Roots: []string{spkiText("A")}},
		"key that is no digest":      {Keys: []string{"sha256:"}},
		"key id that is a SPKI":      {KeyIDs: []string{spkiText("a")}},
		"device":                     {Devices: []string{"a"}},
		"product with a blank":       {Products: []string{"a b"}},
		"manufacturer with a blank":  {Manufacturers: []string{"STM "}},
		"short firmware":             {Firmware: []FirmwareRange{{"0", "1"}}},
		"upper-case firmware":        {Firmware: []FirmwareRange{{"000000000000000A", "000000000000000B"}}},
		"firmware the wrong way":     {Firmware: []FirmwareRange{{"0000000000000002", "0000000000000001"}}},
		"firmware without an end":    {Firmware: []FirmwareRange{{Min: "0000000000000002"}}},
		"version without ends":       {Versions: []Range{{Name: "a"}}},
		"version without a name":     {Versions: []Range{{Min: "1"}}},
		"version the wrong way":      {Versions: []Range{{"a", "2", "1"}}},
		"version in other digits":    {Versions: []Range{{"a", "0x1", ""}}},
		"negative version":           {Versions: []Range{{"a", "-1", ""}}},
		"version twice":              {Versions: []Range{{"a", "1", ""}, {"a", "", "2"}}},
		"attribute without ends":     {Attributes: []Range{{Name: "a"}}},
		"measurement without values": {Measurements: []Digests{{Name: "a"}}},
		"measurement of no values":   {Measurements: []Digests{{"a", []string{}}}},
		"measurement without name":   {Measurements: []Digests{{"", []string{"00"}}}},
		"measurement twice":          {Measurements: []Digests{{"a", []string{"00"}}, {"a", []string{"01"}}}},
		"odd measurement":            {Measurements: []Digests{{"a", []string{"0"}}}},
		"upper-case measurement":     {Measurements: []Digests{{"a", []string{"AA"}}}},
		"another key type":           {KeyTypes: []string{"dsa"}},
		"another weakness":           {Weaknesses: []string{"fault"}},
	} {
		if err := s.check("match"); !errors.Is(err, ErrForm) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNarrows: a further member never makes a selector match more.
func TestNarrows(t *testing.T) {
	members := map[string]func(*Selector){
		"formats":       func(s *Selector) { s.Formats = []string{"tpm"} },
		"roots":         func(s *Selector) { s.Roots = []string{spkiText("b")} },
		"products":      func(s *Selector) { s.Products = []string{"Milan"} },
		"firmware":      func(s *Selector) { s.Firmware = []FirmwareRange{{"0000000000000000", "0000000000000000"}} },
		"versions":      func(s *Selector) { s.Versions = []Range{{"snp", "21", ""}} },
		"manufacturers": func(s *Selector) { s.Manufacturers = []string{"STM"} },
	}
	names := make([]string, 0, len(members))
	for n := range maps.Keys(members) {
		names = append(names, n)
	}
	tried := 0
	for set := 1; set < 1<<len(names); set++ {
		var s Selector
		for i, n := range names {
			if set>>i&1 == 1 {
				members[n](&s)
			}
		}
		before := s.Matches(subject())
		for i, n := range names {
			if set>>i&1 == 1 {
				continue
			}
			more := s.clone()
			members[n](&more)
			tried++
			if !before && more.Matches(subject()) {
				t.Errorf("%s widens %+v", n, s)
			}
		}
	}
	if tried == 0 {
		t.Fatal("nothing was tried")
	}
}
