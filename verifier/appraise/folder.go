package appraise

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/bootlog/ima"
	"github.com/sworn-run/sworn/tpm"
)

// sort puts the files of a folder into a bundle. It returns the names of those that
// are of no use.
func (b *bundle) sort(files []File) (unused []string, err error) {
	var quotes, signatures, values []*File
	for i := range files {
		f := &files[i]
		switch c := contentOf(f); c {
		case isQuote:
			quotes = append(quotes, f)
		case isSignature:
			signatures = append(signatures, f)
		case isJSON:
			err = b.sortJSON(f, &values, &unused)
		case isValues:
			values = append(values, f)
		case isAttestation, isTextAttestation:
			err = b.sortAttestation(f, c)
		case isLog:
			b.logs = append(b.logs, *f)
		case isList, isASCIIList:
			b.lists = append(b.lists, *f)
		case isNonce:
			b.nonces = append(b.nonces, *f)
		case isDocument:
			err = b.addDocument(*f)
		case isArea, isParent, isKey, isCertificate:
			if !b.sortKey(f, c) {
				unused = append(unused, f.Name)
			}
		default:
			unused = append(unused, f.Name)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	rest, err := b.pair(quotes, signatures, values, files)
	return slices.DeleteFunc(unused, func(n string) bool { return slices.Contains(rest, n) }), err
}

// sortJSON takes a form of evidence, or registers.
func (b *bundle) sortJSON(f *File, values *[]*File, unused *[]string) error {
	m, err := object(f.Data)
	if err == nil && jsonForm(m) != "" {
		return b.fromJSON(m)
	}
	_, err = ParseRegisters(f.Data)
	if known := err == nil; known {
		*values = append(*values, f)
	} else {
		*unused = append(*unused, f.Name)
	}
	return nil
}

func (b *bundle) sortAttestation(f *File, c content) error {
	parse := parseAttestation
	if c == isTextAttestation {
		parse = parseTextAttestation
	}
	a, err := parse(f.Data)
	if err != nil {
		return err
	}
	return b.fromAttestation(a)
}

// sortKey takes a key or certificates; false if there is one already or it is of
// something else.
func (b *bundle) sortKey(f *File, c content) bool {
	switch c {
	case isArea:
		area, _ := publicArea(f.Data)
		if b.public != nil {
			return false
		}
		b.public = area
	case isParent:
		b.parents = append(b.parents, parentName(f.Data))
	case isKey:
		der := f.Data
		if block, _ := pem.Decode(der); block != nil {
			der = block.Bytes
		}
		k, err := x509.ParsePKIXPublicKey(der)
		// Beside an AK's key there may be an endorsement key's.
		if err != nil || strings.Contains(strings.ToLower(f.Name), "ek") && !strings.Contains(strings.ToLower(f.Name), "ak") || b.key != nil {
			return false
		}
		b.key = k
	default:
		return b.sortCertificates(f)
	}
	return true
}

// sortCertificates takes certificates that can be the AK's: a chain in PEM, or DER
// with or without the zeros that fill an NV index. Which of them are
// the AK's, split finds out.
func (b *bundle) sortCertificates(f *File) bool {
	b.akNamed = b.akNamed || strings.Contains(strings.ToLower(f.Name), "ak")
	if bytes.HasPrefix(f.Data, beginPEM) {
		return b.addPEM(f.Data) == nil
	}
	return b.addCertificate(unfilled(f.Data)) == nil
}

// pair puts each quote together with its signature and its registers.
func (b *bundle) pair(quotes, signatures, values []*File, all []File) (used []string, err error) {
	for _, f := range quotes {
		q := rawQuote{name: f.Name, quote: f.Data}
		if !bytes.HasPrefix(q.quote, beginQuote) {
			if q.quote = unsized(f.Data); q.quote == nil {
				return nil, fmt.Errorf("%s: TPM2B_ATTEST of another size than its file: %w", f.Name, attest.ErrForm)
			}
		}
		s := partner(f, signatures)
		if s == nil {
			if s = plain(f, all); s == nil {
				return nil, fmt.Errorf("%s: no signature, or several that could belong to it: %w", f.Name, attest.ErrForm)
			}
			used = append(used, s.Name)
		}
		q.sig = s.Data
		if q.registers, err = valuesFor(q.quote, values, all); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		if err := b.addQuote(q); err != nil {
			return nil, err
		}
	}
	return used, nil
}

// partner returns the file whose name has the longest beginning in common with that
// of f; nil if none or several have.
func partner(f *File, list []*File) *File {
	var best *File
	longest, tie := -1, false
	for _, o := range list {
		n := 0
		for n < min(len(f.Name), len(o.Name)) && f.Name[n] == o.Name[n] {
			n++
		}
		if n > longest {
			best, longest, tie = o, n, false
		} else if n == longest {
			tie = true
		}
	}
	if tie {
		return nil
	}
	return best
}

// plain returns the one file beside a quote that can only be a bare signature: it
// is named as such, and is no structure of a TPM.
func plain(f *File, all []File) *File {
	var list []*File
	for i := range all {
		o := &all[i]
		if strings.Contains(strings.ToLower(o.Name), "sig") && len(o.Data) <= 1024 && o.Name != f.Name && contentOf(o) != isQuote {
			list = append(list, o)
		}
	}
	return partner(f, list)
}

// valuesFor returns the registers that were recorded for a quote: those of all
// files that agree, or of the one file with nothing but the selected digests.
func valuesFor(quote []byte, files []*File, all []File) ([]attest.RegisterValue, error) {
	selection, err := tpm.QuoteSelection(quote)
	if err != nil {
		return nil, err
	}
	size, wanted := 0, map[attest.Alg]bool{}
	for _, s := range selection {
		wanted[s.Bank] = true
		size += len(s.Indices) * s.Bank.Size()
	}
	var out []attest.RegisterValue
	for _, f := range files {
		list, err := toolValues(f.Data)
		if err != nil {
			if list, err = ParseRegisters(f.Data); err != nil {
				return nil, err
			}
		}
		for _, v := range list {
			if wanted[v.Bank] && !slices.ContainsFunc(out, func(o attest.RegisterValue) bool {
				return o.Bank == v.Bank && o.Index == v.Index && bytes.Equal(o.Value, v.Value)
			}) {
				out = append(out, v)
			}
		}
	}
	if len(out) > 0 || len(files) > 0 {
		return sorted(out)
	}
	for i := range all {
		if f := &all[i]; len(f.Data) == size && strings.Contains(strings.ToLower(f.Name), "pcr") && size > 0 {
			return concatenated(selection, f.Data), nil
		}
	}
	return nil, fmt.Errorf("the values of the quoted registers are not there: %w", attest.ErrForm)
}

// concatenated cuts the digests of a selection.
func concatenated(selection []tpm.Selection, b []byte) (out []attest.RegisterValue) {
	for _, s := range selection {
		for _, index := range s.Indices {
			out = append(out, attest.RegisterValue{Bank: s.Bank, Index: index, Value: b[:s.Bank.Size()]})
			b = b[s.Bank.Size():]
		}
	}
	return out
}

// asList parses an IMA list in either form.
func asList(f *File) (*ima.List, error) {
	if contentOf(f) == isASCIIList {
		return ima.ParseASCII(f.Data)
	}
	return ima.Parse(f.Data)
}
