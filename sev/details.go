package sev

import (
	"crypto/x509"
	"encoding/hex"
	"fmt"

	"github.com/sworn-run/sworn/attest"
)

// Details returns the decoded fields of a report by itself, of exactly [ReportSize]
// bytes, under the names of Table 23 and in its order. Nothing is verified. The error
// wraps [attest.ErrForm].
func Details(report []byte) ([]attest.Detail, error) {
	p, err := parseReport(report)
	if err != nil {
		return nil, fmt.Errorf("parsing a report: %w", err)
	}
	return append(p.details(p.line()),
		attest.Detail{Name: "SIGNATURE R", Value: hex.EncodeToString(p.r[:])},
		attest.Detail{Name: "SIGNATURE S", Value: hex.EncodeToString(p.s[:])}), nil
}

// line returns the product by what the report says of the processor; "" if it is of none
// that is known here. Version 2 does not say, and is of Milan or Genoa, whose security
// versions have one layout.
func (p *report) line() product {
	if !p.hasCPU() {
		return milan
	}
	line, _ := productOfCPU(p.family, p.model)
	return line
}

// CertificateDetails returns the decoded values of AMD's own extensions in a certificate
// of a VCEK or VLEK, in their order and under the names that 57230 has for them; nil for
// a certificate without any. A value that is not of the form that it should have is shown
// in hexadecimal. Nothing is verified. The error wraps [attest.ErrForm] if AMD's
// extensions are unknown, empty, too long or there twice.
func CertificateDetails(c *x509.Certificate) ([]attest.Detail, error) {
	e, err := splitExtensions(c.Extensions)
	if err != nil {
		return nil, err
	}
	var out []attest.Detail
	add := func(name string, der []byte, read func([]byte) (string, error)) {
		if der == nil {
			return
		}
		value, err := read(der)
		if err != nil {
			value = hex.EncodeToString(der) + ", not of the form that it should have"
		}
		out = append(out, attest.Detail{Name: name, Value: value})
	}
	integer := func(der []byte) (string, error) {
		n, err := asn1Byte(der)
		return fmt.Sprint(n), err
	}
	add("structVersion", e.values[arcStruct], integer)
	add("productName", e.values[arcProduct], asn1Name)
	names := [maxSPL + 1]string{splBootloader: "blSPL", splTEE: "teeSPL", splSNP: "snpSPL", splMicrocode: "ucodeSPL", splFMC: "fmcSPL"}
	for n := 1; n <= maxSPL; n++ {
		name := names[n]
		if name == "" {
			name = fmt.Sprintf("spl%d", n)
		}
		add(name, e.spl[n], integer)
	}
	add("hwID", e.values[arcHWID], func(der []byte) (string, error) { return hex.EncodeToString(der), nil })
	add("cspID", e.values[arcCSP], asn1Name)
	return out, nil
}
