package sev

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"strings"

	"github.com/sworn-run/sworn/attest"
)

// The arcs below AMD's 1.3.6.1.4.1.3704.1 that certificates of VCEK and VLEK use
// (57230, "VCEK and VLEK certificate extensions").
const (
	arcStruct  = 1
	arcProduct = 2
	arcSPL     = 3
	arcHWID    = 4
	arcCSP     = 5
)

// maxSPL bounds the security versions' arcs, 1.3.6.1.4.1.3704.1.3.1 to .9.
const maxSPL = 9

// The numbers of the security versions below 1.3.6.1.4.1.3704.1.3.
const (
	splBootloader = 1
	splTEE        = 2
	splSNP        = 3
	splMicrocode  = 8
	splFMC        = 9
)

// maxStruct is the newest structVersion: 0 of Milan and Genoa, 1 of Turin.
const maxStruct = 1

// maxName is the longest value of an extension of AMD's, in bytes.
const maxName = 129

// vek is a certificate of a versioned endorsement key, VCEK or VLEK, with what its
// extensions say.
type vek struct {
	cert    *x509.Certificate
	key     *ecdsa.PublicKey
	signer  signer
	product product
	// name is productName, with the stepping where it has one.
	name string
	tcb  tcbVersion
	// hwid is the chip's id, 64 bytes or 8, of a VCEK.
	hwid []byte
	// csp names the cloud provider, of a VLEK.
	csp string
}

// vekNames are the common names of the keys' certificates.
const (
	nameVCEK = "SEV-VCEK"
	nameVLEK = "SEV-VLEK"
)

// called reports whether a common name is that of AMD's, with or without something
// after it, as the names of vendors have it that are not AMD. A name tells what a
// certificate is for, and nobody is believed for it: the root decides.
func called(cn, name string) bool {
	rest, ok := strings.CutPrefix(cn, name)
	return ok && (rest == "" || rest[0] == ' ')
}

// parseVEK reads a certificate of a VCEK or VLEK. Its chain is judged elsewhere.
func parseVEK(c *x509.Certificate) (*vek, error) {
	v := &vek{cert: c}
	switch cn := c.Subject.CommonName; {
	case called(cn, nameVCEK):
		v.signer = signerVCEK
	case called(cn, nameVLEK):
		v.signer = signerVLEK
	default:
		return nil, fmt.Errorf("certificate of %s, want %s or %s: %w", subject(c), nameVCEK, nameVLEK, attest.ErrForm)
	}
	key, ok := c.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P384() {
		return nil, fmt.Errorf("certificate of %s is for no P-384 key: %w", subject(c), attest.ErrForm)
	}
	v.key = key
	if c.Version != 3 || c.IsCA || c.KeyUsage&^x509.KeyUsageDigitalSignature != 0 || len(c.UnhandledCriticalExtensions) > 0 {
		return nil, fmt.Errorf("certificate of %s is not one of a key that signs reports alone: %w", subject(c), attest.ErrForm)
	}
	e, err := splitExtensions(c.Extensions)
	if err != nil {
		return nil, err
	}
	return v, v.read(e)
}

// extensions are the values of AMD's own, by what follows 1.3.6.1.4.1.3704.1.
type extensions struct {
	values [arcCSP + 1][]byte
	spl    [maxSPL + 1][]byte
}

// splitExtensions takes AMD's extensions, each at most once, and refuses those of
// AMD's that are not known: what they mean cannot be judged.
func splitExtensions(all []pkix.Extension) (*extensions, error) {
	root := asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 3704, 1}
	e := &extensions{}
	for _, x := range all {
		if len(x.Id) < len(root) || !x.Id[:len(root)].Equal(root) {
			continue
		}
		arc := x.Id[len(root):]
		var to *[]byte
		switch {
		case len(arc) == 2 && arc[0] == arcSPL && arc[1] >= 1 && arc[1] <= maxSPL:
			to = &e.spl[arc[1]]
		case len(arc) == 1 && arc[0] != arcSPL && arc[0] >= arcStruct && arc[0] <= arcCSP:
			to = &e.values[arc[0]]
		}
		if to == nil || *to != nil || len(x.Value) == 0 || len(x.Value) > maxName {
			return nil, fmt.Errorf("AMD's extension %v is unknown, empty, too long or there twice: %w", x.Id, attest.ErrForm)
		}
		*to = x.Value
	}
	return e, nil
}

// read takes the values, and wants exactly those that the kind of key and the
// product have.
func (v *vek) read(e *extensions) error {
	version, err := asn1Byte(e.values[arcStruct])
	if err != nil {
		return fmt.Errorf("structVersion: %w", err)
	}
	if v.name, err = asn1Name(e.values[arcProduct]); err != nil {
		return fmt.Errorf("productName: %w", err)
	}
	var ok bool
	if v.product, ok = productOf(v.name); !ok {
		return fmt.Errorf("productName %q is unknown: %w", v.name, attest.ErrForm)
	}
	if version > maxStruct {
		return fmt.Errorf("structVersion %d, want 0 to %d: %w", version, maxStruct, attest.ErrForm)
	}
	if err := v.readTCB(e); err != nil {
		return err
	}
	hwid, csp := e.values[arcHWID], e.values[arcCSP]
	if v.signer == signerVLEK {
		if hwid != nil {
			return fmt.Errorf("a VLEK's certificate with a chip's id: %w", attest.ErrForm)
		}
		if v.csp, err = asn1Name(csp); err != nil {
			return fmt.Errorf("CSP id: %w", err)
		}
		return nil
	}
	if csp != nil {
		return fmt.Errorf("a VCEK's certificate with a CSP id: %w", attest.ErrForm)
	}
	size := 64
	if v.product == turin {
		size = 8
	}
	// The id stands there bare, and in early certificates as an OCTET STRING.
	if len(hwid) == size+2 && hwid[0] == asn1.TagOctetString && int(hwid[1]) == size {
		hwid = hwid[2:]
	}
	if len(hwid) != size {
		return fmt.Errorf("HWID of %d bytes, want %d for %s: %w", len(hwid), size, v.product, attest.ErrForm)
	}
	v.hwid = hwid
	return nil
}

// readTCB puts the security versions where the product's TCB_VERSION has them. Those
// that a product reserves may be missing, and are zero.
func (v *vek) readTCB(e *extensions) error {
	at := [maxSPL + 1]int{splBootloader: 1, splTEE: 2, splSNP: 7, splMicrocode: 8}
	if v.product == turin {
		at = [maxSPL + 1]int{splFMC: 1, splBootloader: 2, splTEE: 3, splSNP: 4, splMicrocode: 8}
	}
	for n := 1; n <= maxSPL; n++ {
		place := at[n] // From 1; 0 for what the product reserves.
		named := place > 0
		if e.spl[n] == nil && !named {
			continue
		}
		value, err := asn1Byte(e.spl[n])
		if err != nil {
			return fmt.Errorf("security version %d: %w", n, err)
		}
		if !named && value != 0 {
			return fmt.Errorf("security version %d of a %s certificate is reserved: %w", n, v.product, attest.ErrForm)
		}
		if named {
			v.tcb[place-1] = value
		}
	}
	return nil
}

// asn1Byte reads a DER INTEGER of 0 to 255, without a byte after it.
func asn1Byte(der []byte) (uint8, error) {
	switch {
	case len(der) == 3 && der[0] == asn1.TagInteger && der[1] == 1 && der[2] < 0x80:
		return der[2], nil
	case len(der) == 4 && der[0] == asn1.TagInteger && der[1] == 2 && der[2] == 0 && der[3] >= 0x80:
		return der[3], nil
	}
	return 0, fmt.Errorf("%d bytes that are no INTEGER of 0 to 255: %w", len(der), attest.ErrForm)
}

// asn1Name reads a DER IA5String of printable ASCII, without a byte after it.
func asn1Name(der []byte) (string, error) {
	if len(der) < 3 || der[0] != asn1.TagIA5String || der[1] >= 0x80 || int(der[1]) != len(der)-2 {
		return "", fmt.Errorf("%d bytes that are no short string: %w", len(der), attest.ErrForm)
	}
	for _, b := range der[2:] {
		if b < 0x20 || b > 0x7E {
			return "", fmt.Errorf("byte 0x%02x in a string: %w", b, attest.ErrForm)
		}
	}
	return string(der[2:]), nil
}

// signed reports whether the key signed the report.
func (v *vek) signed(p *report) bool {
	digest := sha512.Sum384(p.signed())
	return ecdsa.Verify(v.key, digest[:], new(big.Int).SetBytes(p.r[:]), new(big.Int).SetBytes(p.s[:]))
}

// fits compares CHIP_ID with the chip of the certificate, and what the report says
// of the processor with its product. A VLEK is a provider's and names no chip.
func (v *vek) fits(p *report) attest.Finding {
	if p.hasCPU() {
		switch line, ok := productOfCPU(p.family, p.model); {
		case !ok:
			return attest.Finding{Detail: fmt.Sprintf("processor family 0x%x model 0x%x is of no known product", p.family, p.model)}
		case line != v.product:
			return attest.Finding{Status: attest.Failed, Detail: fmt.Sprintf("the processor is a %s, the %v's certificate is for %s", line, v.signer, v.name)}
		}
	}
	if v.signer == signerVLEK {
		return attest.Finding{Status: attest.Passed, Detail: fmt.Sprintf("the VLEK of %s is for %s", v.csp, v.name)}
	}
	if v.otherChip(p) {
		return attest.Finding{Status: attest.Failed, Detail: "CHIP_ID is not that of the VCEK's certificate"}
	}
	if isZero(p.chipID) {
		return attest.Finding{Detail: "the host masks CHIP_ID, so that it cannot be compared with the VCEK's certificate"}
	}
	return attest.Finding{Status: attest.Passed, Detail: fmt.Sprintf("CHIP_ID and product %s are those of the VCEK's certificate", v.name)}
}

// otherChip reports whether the report names another chip than the certificate.
func (v *vek) otherChip(p *report) bool {
	if v.signer != signerVCEK || isZero(p.chipID) {
		return false
	}
	n := len(v.hwid)
	return !bytes.Equal(p.chipID[:n], v.hwid) || !isZero(p.chipID[n:])
}

// isZero reports whether all bytes are zero.
func isZero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}

// subject returns the subject of c, quoted and cut for one line.
func subject(c *x509.Certificate) string { return fmt.Sprintf("%.160q", c.Subject.String()) }
