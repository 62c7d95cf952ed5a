package sev

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/sworn-run/sworn/attest"
)

// product is a line of processors with keys of its own at AMD.
type product string

// The products whose reports are read.
const (
	milan product = "Milan"
	genoa product = "Genoa"
	turin product = "Turin"
)

// products returns all of them.
func products() []product { return []product{milan, genoa, turin} }

// productOf reads productName of a certificate: a product, or one with its stepping,
// such as "Milan-B0".
func productOf(name string) (product, bool) {
	base, stepping, cut := strings.Cut(name, "-")
	if cut && (len(stepping) != 2 || stepping[0] < 'A' || stepping[0] > 'Z' || stepping[1] < '0' || stepping[1] > '9') {
		return "", false
	}
	for _, p := range products() {
		if base == string(p) {
			return p, true
		}
	}
	return "", false
}

// productOfCPU returns the product of a processor family and model; false for one
// that is not known here. Genoa's keys are those of Bergamo and Siena too.
func productOfCPU(family, model uint8) (product, bool) {
	switch {
	case family == 0x19 && model <= 0x0F:
		return milan, true
	case family == 0x19 && (model >= 0x10 && model <= 0x1F || model >= 0xA0 && model <= 0xAF):
		return genoa, true
	case family == 0x1A && model <= 0x1F:
		return turin, true
	}
	return "", false
}

// tcbVersion is a TCB_VERSION as it stands in reports (Table 3): 8 bytes whose
// meaning the product gives.
type tcbVersion [8]byte

// component is one security version of a TCB_VERSION.
type component struct {
	name string
	at   int
}

// layout returns the components of a product's TCB_VERSION, in the order of the
// bytes. All other bytes are reserved.
func (p product) layout() []component {
	if p == turin {
		return []component{{"fmc", 0}, {"bootloader", 1}, {"tee", 2}, {"snp", 3}, {"microcode", 7}}
	}
	return []component{{"bootloader", 0}, {"tee", 1}, {"snp", 6}, {"microcode", 7}}
}

// check refuses reserved bytes that are not zero.
func (t tcbVersion) check(p product) error {
	for _, c := range p.layout() {
		t[c.at] = 0
	}
	if t != (tcbVersion{}) {
		return fmt.Errorf("reserved bytes of a %s TCB_VERSION: %w", p, attest.ErrForm)
	}
	return nil
}

// text returns the versions for people; of a product that is not known, the bytes.
func (t tcbVersion) text(p product) string {
	if p == "" {
		return hex.EncodeToString(t[:])
	}
	var b strings.Builder
	for i, c := range p.layout() {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s %d", c.name, t[c.at])
	}
	return b.String()
}

// tcbs returns the report's four TCB_VERSIONs.
func (p *report) tcbs() [4]tcbVersion {
	return [4]tcbVersion{p.reportedTCB, p.committedTCB, p.currentTCB, p.launchTCB}
}

// versions returns for every component the least of the four.
func (p *report) versions(line product) []attest.Attribute {
	var out []attest.Attribute
	for _, c := range line.layout() {
		least := uint8(0xFF)
		for _, t := range p.tcbs() {
			least = min(least, t[c.at])
		}
		out = append(out, attest.Attribute{Name: c.name, Value: uint64(least)})
	}
	return out
}

// appraiseTCB compares what the report says of itself with what AMD certified of
// the key that signed it. established tells whether the certificate is AMD's.
func (p *report) appraiseTCB(v *vek, established bool) attest.TCB {
	tcb := attest.TCB{Versions: p.versions(v.product)}
	switch {
	case p.reportedTCB != v.tcb:
		tcb.Finding = attest.Finding{Status: attest.Failed, Detail: fmt.Sprintf("REPORTED_TCB is %s, the %v's certificate is for %s",
			p.reportedTCB.text(v.product), v.signer, v.tcb.text(v.product))}
	case !established:
		tcb.Detail = "no established chain above the certificate that states the versions"
	default:
		tcb.Finding = attest.Finding{Status: attest.Passed, Detail: fmt.Sprintf("REPORTED_TCB is that of the %v's certificate (%s)",
			v.signer, v.tcb.text(v.product))}
	}
	return tcb
}
