package appraise

import (
	"encoding/hex"
	"encoding/pem"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sworn-run/sworn/attest"
)

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
		for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
			out = append(out, attest.Collateral{Kind: attest.CollateralCertificate, Data: block.Bytes})
		}
	}
	return out, nil
}
