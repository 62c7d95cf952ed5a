package tpm

import (
	"fmt"
	"strings"

	"github.com/sworn-run/sworn/attest"
)

// attributes are a TPMA_OBJECT (Part 2, 8.3).
type attributes uint32

// The bits of TPMA_OBJECT (Part 2, 8.3.2).
const (
	attrFixedTPM             attributes = 1 << 1
	attrSTClear              attributes = 1 << 2
	attrFixedParent          attributes = 1 << 4
	attrSensitiveDataOrigin  attributes = 1 << 5
	attrUserWithAuth         attributes = 1 << 6
	attrAdminWithPolicy      attributes = 1 << 7
	attrNoDA                 attributes = 1 << 10
	attrEncryptedDuplication attributes = 1 << 11
	attrRestricted           attributes = 1 << 16
	attrDecrypt              attributes = 1 << 17
	attrSign                 attributes = 1 << 18
	attrX509Sign             attributes = 1 << 19
)

// attrReserved are the bits that revision 1.59 reserves. Bits 8 and 9 are
// firmwareLimited and svnLimited in later revisions; such keys have other
// hierarchy handles and are not this format's.
const attrReserved = ^(attrFixedTPM | attrSTClear | attrFixedParent | attrSensitiveDataOrigin |
	attrUserWithAuth | attrAdminWithPolicy | attrNoDA | attrEncryptedDuplication |
	attrRestricted | attrDecrypt | attrSign | attrX509Sign)

// String returns the names of the bits that are set, in their order.
func (a attributes) String() string {
	var out []string
	for _, bit := range []struct {
		bit  attributes
		name string
	}{
		{attrFixedTPM, "fixedTPM"},
		{attrSTClear, "stClear"},
		{attrFixedParent, "fixedParent"},
		{attrSensitiveDataOrigin, "sensitiveDataOrigin"},
		{attrUserWithAuth, "userWithAuth"},
		{attrAdminWithPolicy, "adminWithPolicy"},
		{attrNoDA, "noDA"},
		{attrEncryptedDuplication, "encryptedDuplication"},
		{attrRestricted, "restricted"},
		{attrDecrypt, "decrypt"},
		{attrSign, "sign"},
		{attrX509Sign, "x509sign"},
	} {
		if a&bit.bit != 0 {
			out = append(out, bit.name)
		}
	}
	return strings.Join(out, ", ")
}

// What an AK's attributes must be. The others (stClear, userWithAuth,
// adminWithPolicy, noDA) say who may use the key and for how long, not what a
// signature of it means; they are reported.
const (
	// restricted (Part 2, 8.3.3.10): it signs no digest of outside data that
	// could be taken for a TPM_GENERATED structure; without it, a quote may
	// have been made up.
	// sign (8.3.3.12): it signs.
	// fixedTPM and fixedParent (8.3.3.2, 8.3.3.4): neither it nor an ancestor
	// can be duplicated into another TPM or into software.
	// sensitiveDataOrigin (8.3.3.5): the TPM made it; nobody has imported it.
	attrWanted = attrRestricted | attrSign | attrFixedTPM | attrFixedParent | attrSensitiveDataOrigin
	// decrypt (8.3.3.11): a key that also decrypts is a storage key or an
	// unrestricted one.
	// encryptedDuplication (8.3.3.9): never together with fixedTPM.
	// x509sign (8.3.3.13): it would sign certificates made outside.
	attrRefused = attrDecrypt | attrEncryptedDuplication | attrX509Sign
)

// checkMode refuses a key that is not a restricted signing key fixed in its
// TPM, with a scheme of its own (Part 2, 12.2.3.5 and 12.2.3.6: a restricted
// signing key has one) and a SHA-256 or SHA-384 Name.
func (p *public) checkMode() error {
	if missing := attrWanted &^ p.attributes; missing != 0 {
		return fmt.Errorf("objectAttributes without %v: %w", missing, attest.ErrMode)
	}
	if surplus := attrRefused & p.attributes; surplus != 0 {
		return fmt.Errorf("objectAttributes with %v: %w", surplus, attest.ErrMode)
	}
	if p.scheme.alg == algNull {
		return fmt.Errorf("restricted key without a signing scheme: %w", attest.ErrMode)
	}
	if p.nameAlg != attest.SHA256 && p.nameAlg != attest.SHA384 {
		return fmt.Errorf("nameAlg %v, want sha256 or sha384: %w", p.nameAlg, attest.ErrMode)
	}
	return nil
}
