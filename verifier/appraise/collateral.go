package appraise

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sworn-run/sworn/attest"
)

// vendorFiles is what vendors signed, among the files of a set.
type vendorFiles struct {
	collateral []attest.Collateral
	// from has for each item of the collateral the name of its file.
	from []string
}

// addCollateral takes the items of a file in the form of [quoteCollateral].
func (b *vendorFiles) addCollateral(f *File, m map[string]jsontext.Value) error {
	items, err := quoteCollateral(m)
	if err != nil {
		return err
	}
	for _, c := range items {
		b.add(f.Name, c)
	}
	return nil
}

// add adds an item of collateral, unless it is there.
func (b *vendorFiles) add(name string, c attest.Collateral) {
	same := func(o attest.Collateral) bool { return o.Kind == c.Kind && bytes.Equal(o.Data, c.Data) }
	if !slices.ContainsFunc(b.collateral, same) {
		b.collateral, b.from = append(b.collateral, c), append(b.from, name)
	}
}

// addCertificates takes the certificates of a file, or its revocation list.
func (b *vendorFiles) addCertificates(f *File) error {
	list := [][]byte{unfilled(f.Data)}
	if bytes.HasPrefix(f.Data, beginPEM) {
		list = certificatesOf(f.Data)
	}
	kind := attest.CollateralCertificate
	if len(list) == 1 {
		if _, err := x509.ParseRevocationList(list[0]); err == nil {
			kind = attest.CollateralCRL
		}
	}
	for _, der := range list {
		if len(b.collateral) == maxIssuers {
			return fmt.Errorf("more than %d items of collateral: %w", maxIssuers, attest.ErrForm)
		}
		b.add(f.Name, attest.Collateral{Kind: kind, Data: der})
	}
	return nil
}

// quoteCollateral reads the form in which the libraries of Intel's DCAP keep collateral:
// the texts of the bodies and, apart from them, their signatures in hexadecimal, lists of
// revoked certificates in hexadecimal, chains in PEM. It returns the items as Intel's
// service has them. Members that are not there are left out.
func quoteCollateral(m map[string]jsontext.Value) ([]attest.Collateral, error) {
	var out []attest.Collateral
	for _, s := range []struct{ member, name, kind string }{
		{"tcb_info", "tcbInfo", attest.CollateralTCBInfo}, {"qe_identity", "enclaveIdentity", attest.CollateralQEIdentity},
	} {
		body, err := member[string](m, s.member)
		if err != nil {
			return nil, err
		}
		sig, err := member[string](m, s.member+"_signature")
		if err != nil {
			return nil, err
		}
		if _, err := hex.DecodeString(sig); err != nil {
			return nil, fmt.Errorf("%s_signature is not hexadecimal: %w", s.member, attest.ErrForm)
		}
		if body != "" && jsontext.Value(body).Kind() != '{' {
			return nil, fmt.Errorf("%s is no JSON object: %w", s.member, attest.ErrForm)
		}
		if body != "" {
			// The text is what is signed, to the byte.
			out = append(out, attest.Collateral{Kind: s.kind, Data: fmt.Appendf(nil, `{"%s":%s,"signature":"%s"}`, s.name, body, sig)})
		}
	}
	for _, name := range []string{"root_ca_crl", "pck_crl"} {
		text, err := member[string](m, name)
		if err != nil {
			return nil, err
		}
		der, err := hex.DecodeString(text)
		if err != nil {
			return nil, fmt.Errorf("%s is not hexadecimal: %w", name, attest.ErrForm)
		}
		if len(der) > 0 {
			out = append(out, attest.Collateral{Kind: attest.CollateralCRL, Data: der})
		}
	}
	for _, name := range []string{"pck_crl_issuer_chain", "tcb_info_issuer_chain", "qe_identity_issuer_chain"} {
		text, err := member[string](m, name)
		if err != nil {
			return nil, err
		}
		// Some keep the certificates of a chain without a line between them.
		text = strings.ReplaceAll(text, "----------BEGIN", "-----\n-----BEGIN")
		for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
			out = append(out, attest.Collateral{Kind: attest.CollateralCertificate, Data: block.Bytes})
		}
	}
	return out, nil
}
