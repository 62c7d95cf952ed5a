package appraise

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
)

// maxValues bounds the registers of one file: 5 banks of 32.
const maxValues = 160

// jsonDepth bounds the nesting of evidence in JSON.
const jsonDepth = 16

// bankOfSize returns the hash algorithm with digests of a size; 0 if there is none.
func bankOfSize(size int) attest.Alg {
	for _, a := range []attest.Alg{attest.SHA1, attest.SHA256, attest.SHA384, attest.SHA512} {
		if a.Size() == size {
			return a
		}
	}
	return 0
}

// bankName reads the name of a bank as tools write it: "sha256", "SHA-256",
// "sha2_256", "TPM_ALG_SHA256".
func bankName(s string) (attest.Alg, bool) {
	s = strings.ToLower(s)
	s = strings.TrimPrefix(s, "tpm_alg_")
	s = strings.ReplaceAll(strings.ReplaceAll(s, "-", ""), "_", "")
	if rest, ok := strings.CutPrefix(s, "sha2"); ok && len(rest) == 3 && rest != "256" {
		s = "sha" + rest
	} else if s == "sha2256" {
		s = "sha256"
	}
	a, err := attest.ParseAlg(s)
	return a, err == nil
}

// registerName reads the name of a register: "7", "07", "PCR7", "pcr_7", "RTMR0".
func registerName(s string) (uint32, bool) {
	s = strings.ToLower(strings.TrimSpace(s))
	for _, prefix := range []string{"pcr", "rtmr"} {
		s = strings.TrimPrefix(s, prefix)
	}
	s = strings.TrimLeft(s, "-_ ")
	s = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
	n, err := strconv.ParseUint(s, 10, 5)
	return uint32(n), err == nil
}

// unhex decodes hexadecimal as tools write it: with or without "0x", in either
// case.
func unhex(s string) ([]byte, error) {
	s = strings.TrimSpace(s)
	if len(s) > 1 && (s[:2] == "0x" || s[:2] == "0X") {
		s = s[2:]
	}
	b, err := hex.DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("%.20q is not hexadecimal: %w", s, attest.ErrForm)
	}
	return b, nil
}

// ParseRegisters reads register values in JSON, however the banks and registers are
// spelt: {"sha256": {"0": "…"}}, {"PCR0": "0x…"}, {"replay": {"RTMR0": "…"}} or a list
// in order. Where no bank is named, it is that of the value's size; banks are sorted,
// registers ascending, and none stands twice. The error wraps [attest.ErrForm].
func ParseRegisters(b []byte) ([]attest.RegisterValue, error) {
	if err := cer.Strict(b, jsonDepth); err != nil {
		return nil, fmt.Errorf("register values: %v: %w", err, attest.ErrForm)
	}
	out, err := registers(jsontext.Value(b), 0, 3)
	if err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no register values: %w", attest.ErrForm)
	}
	return sorted(out)
}

// sorted sorts by bank and index, and refuses a register that stands twice.
func sorted(list []attest.RegisterValue) ([]attest.RegisterValue, error) {
	slices.SortFunc(list, func(a, b attest.RegisterValue) int {
		if a.Bank != b.Bank {
			return int(a.Bank) - int(b.Bank)
		}
		return int(a.Index) - int(b.Index)
	})
	for i := range list[:max(len(list)-1, 0)] {
		if list[i].Bank == list[i+1].Bank && list[i].Index == list[i+1].Index {
			return nil, fmt.Errorf("register %d of bank %v is there twice: %w", list[i].Index, list[i].Bank, attest.ErrForm)
		}
	}
	return list, nil
}

// registers reads one level; bank is 0 where none was named yet.
func registers(v jsontext.Value, bank attest.Alg, depth int) ([]attest.RegisterValue, error) {
	if depth == 0 {
		return nil, fmt.Errorf("register values are nested too deep: %w", attest.ErrForm)
	}
	if v.Kind() == '[' {
		var list []jsontext.Value
		if err := json.Unmarshal(v, &list); err != nil || len(list) > 32 {
			return nil, fmt.Errorf("register values are no list, or more than 32: %w", attest.ErrForm)
		}
		var out []attest.RegisterValue
		for i, v := range list {
			r, err := register(uint32(i), bank, v)
			if err != nil {
				return nil, err
			}
			out = append(out, r)
		}
		return out, nil
	}
	var m map[string]jsontext.Value
	if err := json.Unmarshal(v, &m); err != nil || len(m) > maxValues {
		return nil, fmt.Errorf("register values are neither object nor list, or more than %d: %w", maxValues, attest.ErrForm)
	}
	var out []attest.RegisterValue
	for name, v := range m {
		index, isRegister := registerName(name)
		named, isBank := attest.Alg(0), false
		if !isRegister {
			named, isBank = bankName(name)
		}
		var list []attest.RegisterValue
		var err error
		switch {
		case isRegister:
			list = make([]attest.RegisterValue, 1)
			list[0], err = register(index, bank, v)
		case isBank && bank == 0:
			list, err = registers(v, named, depth-1)
		case v.Kind() == '{' && bank == 0:
			list, err = registers(v, 0, depth-1) // A name for all of them.
		default:
			err = fmt.Errorf("%.40q is neither a bank nor a register: %w", name, attest.ErrForm)
		}
		if err != nil {
			return nil, err
		}
		if out = append(out, list...); len(out) > maxValues {
			return nil, fmt.Errorf("more than %d register values: %w", maxValues, attest.ErrForm)
		}
	}
	return out, nil
}

// register reads one value: a text in hexadecimal or base64, or a list of bytes.
func register(index uint32, bank attest.Alg, v jsontext.Value) (attest.RegisterValue, error) {
	b, err := digestValue(v, bank)
	if err != nil {
		return attest.RegisterValue{}, err
	}
	if bank == 0 {
		bank = bankOfSize(len(b))
	}
	if bank == 0 || len(b) != bank.Size() {
		return attest.RegisterValue{}, fmt.Errorf("register %d of %d bytes for bank %v: %w", index, len(b), bank, attest.ErrForm)
	}
	return attest.RegisterValue{Bank: bank, Index: index, Value: b}, nil
}

// digestValue decodes a digest. Base64 of 48 bytes is as long as 32 in hexadecimal, and
// counts only where the bank is named: a slip of the hand is no other bank.
func digestValue(v jsontext.Value, bank attest.Alg) ([]byte, error) {
	if v.Kind() == '[' {
		var list []uint16
		if err := json.Unmarshal(v, &list); err != nil || len(list) > 64 {
			return nil, fmt.Errorf("a register is no list of bytes: %w", attest.ErrForm)
		}
		out := make([]byte, len(list))
		for i, n := range list {
			if n > 0xFF {
				return nil, fmt.Errorf("a register with a byte of %d: %w", n, attest.ErrForm)
			}
			out[i] = byte(n)
		}
		return out, nil
	}
	var s string
	if err := json.Unmarshal(v, &s); err != nil {
		return nil, fmt.Errorf("a register is neither text nor list: %w", attest.ErrForm)
	}
	b, err := unhex(s)
	if err == nil {
		return b, nil
	}
	if other, e := unbase64(s); e == nil && (len(other) == bank.Size() || bank == 0 && len(other) != attest.SHA384.Size()) {
		return other, nil
	}
	return nil, err
}
