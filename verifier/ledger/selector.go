package ledger

import (
	"encoding/hex"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/sworn-run/sworn/cer"
)

// maxValues bounds each list of a [Selector].
const maxValues = 4096

// WeaknessROCA is the weakness of RSA keys that Infineon's library made (CVE-2017-15361):
// their primes come from a small set, so that they can be factored. It shows in the
// public key itself.
const WeaknessROCA = "roca"

// The values of [Selector.KeyTypes].
const (
	// KeyRSA is an RSA key.
	KeyRSA = "rsa"
	// KeyECDSA is an ECDSA key on any curve.
	KeyECDSA = "ecdsa"
)

// Selector says which evidence an entry is about. Every member that is there must hold; of
// a list it is enough that one value does. What evidence does not state holds for no
// value: an entry speaks of what is certain. A Selector without any member is refused, so
// that nothing speaks of everything by oversight.
type Selector struct {
	// Formats are names of evidence formats, such as "sev-snp".
	Formats []string `json:"formats,omitzero"`
	// Roots are keys of the root that the chain was established to end in, as "sha256:" and
	// 64 lower-case hexadecimal digits of SHA-256 of its SubjectPublicKeyInfo.
	Roots []string `json:"roots,omitzero"`
	// Keys are such digests of the key that quoted, or of any key in the chain above it.
	Keys []string `json:"keys,omitzero"`
	// KeyIDs are the manifest's names of quoting keys or instances, in 64 hexadecimal
	// digits (docs/SPEC.md, section 4.1, field 16).
	KeyIDs []string `json:"key_ids,omitzero"`
	// Devices are names of TPMs in 64 hexadecimal digits ([attest.Claims.Device]).
	Devices []string `json:"devices,omitzero"`
	// Products are what the vendor's certificate calls the hardware: of AMD "Milan", of
	// Intel an FMSPC. "?" stands for any one character.
	Products []string `json:"products,omitzero"`
	// Manufacturers are TCG vendor ids without trailing blanks, such as "STM", where the
	// TPM's certificate shows one.
	Manufacturers []string `json:"manufacturers,omitzero"`
	// Firmware are ranges of a TPM's firmware version, which it signs with every quote.
	Firmware []FirmwareRange `json:"firmware,omitzero"`
	// Versions are ranges of security versions, by the format's names; every one must hold.
	Versions []Range `json:"versions,omitzero"`
	// Attributes are ranges of numbers that evidence states, by the format's names; every
	// one must hold.
	Attributes []Range `json:"attributes,omitzero"`
	// Measurements are digests that evidence states, by the format's names, such as
	// "chip_id"; every one named must have one of its values.
	Measurements []Digests `json:"measurements,omitzero"`
	// KeyTypes are KeyRSA or KeyECDSA: of the key that quoted.
	KeyTypes []string `json:"key_types,omitzero"`
	// Weaknesses are properties of keys that show in them: WeaknessROCA of any key that the
	// evidence rests on.
	Weaknesses []string `json:"weaknesses,omitzero"`
}

// Range is a closed range of a number with a name.
type Range struct {
	// Name is the format's name of the number.
	Name string `json:"name"`
	// Min and Max are the first and the last value, in plain decimal digits; empty is
	// without an end. One of them is there.
	Min string `json:"min,omitzero"`
	// Max is the last value.
	Max string `json:"max,omitzero"`
}

// FirmwareRange is a closed range of firmware versions, each 16 lower-case hexadecimal
// digits of the number that the TPM signs: "0049000800000000" is 73.8.0.0 of the makers
// that read it as four numbers of 16 bits.
type FirmwareRange struct {
	// Min and Max are the first and the last version.
	Min string `json:"min"`
	// Max is the last version.
	Max string `json:"max"`
}

// Digests are values of one measurement.
type Digests struct {
	// Name is the format's name of the measurement.
	Name string `json:"name"`
	// Values are in lower-case hexadecimal digits; any one.
	Values []string `json:"values"`
}

// check enforces the rules of a selector.
func (s *Selector) check(at string) error {
	if reflect.ValueOf(*s).IsZero() {
		return wrong(at, "says nothing, want at least one member")
	}
	word := func(v string) bool { return isName(v) }
	spki := func(v string) bool {
		rest, ok := strings.CutPrefix(v, "sha256:")
		return ok && isHex(rest, 64)
	}
	digest := func(v string) bool { return isHex(v, 64) }
	one := func(of ...string) func(string) bool {
		return func(v string) bool { return slices.Contains(of, v) }
	}
	for _, list := range []struct {
		name   string
		values []string
		ok     func(string) bool
		want   string
	}{
		{"formats", s.Formats, word, "names of evidence formats"},
		{"roots", s.Roots, spki, "sha256: and 64 lower-case hexadecimal digits"},
		{"keys", s.Keys, spki, "sha256: and 64 lower-case hexadecimal digits"},
		{"key_ids", s.KeyIDs, digest, "64 lower-case hexadecimal digits"},
		{"devices", s.Devices, digest, "64 lower-case hexadecimal digits"},
		{"products", s.Products, word, "names of products"},
		{"manufacturers", s.Manufacturers, word, "TCG vendor ids without blanks"},
		{"key_types", s.KeyTypes, one(KeyRSA, KeyECDSA), KeyRSA + " or " + KeyECDSA},
		{"weaknesses", s.Weaknesses, one(WeaknessROCA), WeaknessROCA},
	} {
		if err := checkList(at+"."+list.name, list.values, list.ok, list.want); err != nil {
			return err
		}
	}
	return s.checkRanges(at)
}

// checkList checks a list that, where it is there, has values, each once and of a form.
func checkList(at string, values []string, ok func(string) bool, want string) error {
	if values == nil {
		return nil
	}
	if n := len(values); n == 0 || n > maxValues {
		return wrong(at, "has %d values, want 1 to %d", n, maxValues)
	}
	seen := make(map[string]bool, len(values))
	for i, v := range values {
		switch {
		case !ok(v):
			return wrong(fmt.Sprintf("%s[%d]", at, i), "is %.160q, want %s", v, want)
		case seen[v]:
			return wrong(fmt.Sprintf("%s[%d]", at, i), "%s stands twice", v)
		}
		seen[v] = true
	}
	return nil
}

// checkRanges checks the members that are no lists of words.
func (s *Selector) checkRanges(at string) error {
	if s.Firmware != nil && (len(s.Firmware) == 0 || len(s.Firmware) > maxValues) {
		return wrong(at+".firmware", "has %d ranges, want 1 to %d", len(s.Firmware), maxValues)
	}
	for i, r := range s.Firmware {
		if !isHex(r.Min, 16) || !isHex(r.Max, 16) || r.Min > r.Max {
			return wrong(fmt.Sprintf("%s.firmware[%d]", at, i), "want min and max in 16 lower-case hexadecimal digits, in this order")
		}
	}
	if err := checkNumbers(at+".versions", s.Versions); err != nil {
		return err
	}
	if err := checkNumbers(at+".attributes", s.Attributes); err != nil {
		return err
	}
	if s.Measurements != nil && (len(s.Measurements) == 0 || len(s.Measurements) > maxValues) {
		return wrong(at+".measurements", "has %d names, want 1 to %d", len(s.Measurements), maxValues)
	}
	for i, m := range s.Measurements {
		at := fmt.Sprintf("%s.measurements[%d]", at, i)
		if !isName(m.Name) || slices.ContainsFunc(s.Measurements[:i], func(o Digests) bool { return o.Name == m.Name }) {
			return wrong(at+".name", "is %.160q, want the name of a measurement, once", m.Name)
		}
		ok := func(v string) bool { return v != "" && len(v)%2 == 0 && len(v) <= 256 && isHex(v, len(v)) }
		if m.Values == nil {
			return wrong(at+".values", "is missing")
		}
		if err := checkList(at+".values", m.Values, ok, "lower-case hexadecimal digits"); err != nil {
			return err
		}
	}
	return nil
}

// checkNumbers checks ranges of named numbers.
func checkNumbers(at string, list []Range) error {
	if list != nil && (len(list) == 0 || len(list) > maxValues) {
		return wrong(at, "has %d ranges, want 1 to %d", len(list), maxValues)
	}
	for i, r := range list {
		at := fmt.Sprintf("%s[%d]", at, i)
		if !isName(r.Name) || slices.ContainsFunc(list[:i], func(o Range) bool { return o.Name == r.Name }) {
			return wrong(at+".name", "is %.160q, want the name of a number, once", r.Name)
		}
		low, high, ok := r.ends()
		if !ok || r.Min == "" && r.Max == "" || low > high {
			return wrong(at, "want min or max or both in plain digits, in this order")
		}
	}
	return nil
}

// ends returns the range as numbers.
func (r *Range) ends() (low, high uint64, ok bool) {
	high = ^uint64(0)
	var err error
	if r.Min != "" {
		if low, err = cer.ParseUint(r.Min); err != nil {
			return 0, 0, false
		}
	}
	if r.Max != "" {
		if high, err = cer.ParseUint(r.Max); err != nil {
			return 0, 0, false
		}
	}
	return low, high, true
}

// isHex reports whether s is that many lower-case hexadecimal digits.
func isHex(s string, digits int) bool {
	if len(s) != digits {
		return false
	}
	return strings.Trim(s, "0123456789abcdef") == ""
}

// Matches reports whether the selector is about that evidence.
func (s *Selector) Matches(x *Subject) bool {
	if s == nil || x == nil || reflect.ValueOf(*s).IsZero() {
		return false
	}
	has := func(want []string, got ...string) bool {
		return want == nil || slices.ContainsFunc(got, func(g string) bool { return g != "" && slices.Contains(want, g) })
	}
	product := s.Products == nil || x.Product != "" && slices.ContainsFunc(s.Products, func(p string) bool { return like(p, x.Product) })
	return has(s.Formats, x.Format) && has(s.Roots, x.Root) && has(s.Keys, x.Keys...) &&
		has(s.KeyIDs, x.KeyID) && has(s.Devices, x.Device) && product &&
		has(s.Manufacturers, x.Manufacturer) && has(s.KeyTypes, x.KeyType) && has(s.Weaknesses, x.Weaknesses...) &&
		s.firmware(x) && within(s.Versions, x.Versions) && within(s.Attributes, x.Attributes) && s.measured(x)
}

// like reports whether name is that pattern, in which "?" is any one character.
func like(pattern, name string) bool {
	if len(pattern) != len(name) {
		return false
	}
	for i := range len(pattern) {
		if pattern[i] != '?' && pattern[i] != name[i] {
			return false
		}
	}
	return true
}

// firmware reports whether the TPM's version is in one of the ranges.
func (s *Selector) firmware(x *Subject) bool {
	return s.Firmware == nil || x.Firmware != "" &&
		slices.ContainsFunc(s.Firmware, func(r FirmwareRange) bool { return r.Min <= x.Firmware && x.Firmware <= r.Max })
}

// within reports whether every number named is stated and in its range.
func within(want []Range, got map[string]uint64) bool {
	for i := range want {
		v, stated := got[want[i].Name]
		low, high, ok := want[i].ends()
		if !stated || !ok || v < low || v > high {
			return false
		}
	}
	return true
}

// measured reports whether every measurement named has one of its values.
func (s *Selector) measured(x *Subject) bool {
	for _, m := range s.Measurements {
		got, stated := x.Measurements[m.Name]
		if !stated || !slices.Contains(m.Values, hex.EncodeToString(got)) {
			return false
		}
	}
	return true
}

// clone returns a copy that shares nothing with s.
func (s *Selector) clone() Selector {
	out := *s
	for _, l := range []*[]string{
		&out.Formats, &out.Roots, &out.Keys, &out.KeyIDs, &out.Devices, &out.Products, &out.Manufacturers, &out.KeyTypes, &out.Weaknesses,
	} {
		*l = slices.Clone(*l)
	}
	out.Firmware, out.Versions, out.Attributes = slices.Clone(s.Firmware), slices.Clone(s.Versions), slices.Clone(s.Attributes)
	out.Measurements = slices.Clone(s.Measurements)
	for i := range out.Measurements {
		out.Measurements[i].Values = slices.Clone(out.Measurements[i].Values)
	}
	return out
}
