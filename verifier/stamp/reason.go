package stamp

import (
	"errors"
	"fmt"

	"github.com/sworn-run/sworn/attest"
)

var (
	// ErrAlgorithm is a token or a reply with an algorithm that is never accepted, SHA-1
	// above all, or that is not known here. Such an error wraps [attest.ErrForm] too.
	ErrAlgorithm = errors.New("algorithm not accepted")
	// ErrReply is an authority's answer that is not the token that was asked for.
	ErrReply = errors.New("not the token that was asked for")
)

// Reason tells what is wrong with a token, a request or a reply. The empty Reason is
// none.
type Reason string

// The reasons. They are the last column of docs/SPEC.md, section 6.7: by
// [Parse], that the bytes are no token; by [Token.Verify], that it is not to be relied on.
const (
	// ReasonForm: not the DER that RFC 3161 and RFC 5652 want, or over a bound.
	ReasonForm Reason = "form"
	// ReasonAlgorithm: a hash or a signature algorithm that is not accepted.
	ReasonAlgorithm Reason = "algorithm"
	// ReasonSigners: not signed by exactly one signer (RFC 3161, 2.4.2).
	ReasonSigners Reason = "signers"
	// ReasonAttributes: a signed attribute is missing, stands twice, or is of another
	// content than TSTInfo (RFC 5652, 5.3 and 11).
	ReasonAttributes Reason = "attributes"

	// ReasonArgument: the caller gave no token or no time.
	ReasonArgument Reason = "argument"
	// ReasonCritical: a critical extension of TSTInfo or of a certificate is not known.
	ReasonCritical Reason = "critical extension"
	// ReasonNoCertificate: the signer's certificate is not in the token.
	ReasonNoCertificate Reason = "no certificate"
	// ReasonSigningCertificate: the signed attribute names another certificate than the
	// one that the token says is the signer's, or names it by SHA-1 alone (RFC 5035).
	ReasonSigningCertificate Reason = "signing certificate"
	// ReasonMessageDigest: the signed digest is not that of TSTInfo (RFC 5652, 5.4).
	ReasonMessageDigest Reason = "message digest"
	// ReasonSignature: the signature is not the key's over the signed attributes.
	ReasonSignature Reason = "signature"
	// ReasonPurpose: the certificate is not for time-stamping alone, or does not say so
	// critically (RFC 3161, 2.3).
	ReasonPurpose Reason = "purpose"
	// ReasonKeyUsage: the certificate is a CA's, or its key usage is not for signatures
	// alone.
	ReasonKeyUsage Reason = "key usage"
	// ReasonKey: a key of another kind or size than those accepted.
	ReasonKey Reason = "key"
	// ReasonName: TSTInfo names another authority than the certificate (RFC 3161, 2.4.2).
	ReasonName Reason = "name"
	// ReasonValidity: a certificate was not valid at the token's time.
	ReasonValidity Reason = "validity"
	// ReasonChain: the certificates lead to a trusted root, and not as RFC 5280, section
	// 6, wants it.
	ReasonChain Reason = "chain"
	// ReasonNoRoots: no root of role tsa is trusted.
	ReasonNoRoots Reason = "no roots"
	// ReasonUntrusted: the certificates lead to no trusted root.
	ReasonUntrusted Reason = "untrusted"
	// ReasonRevoked: a certificate of the chain is revoked.
	ReasonRevoked Reason = "revoked"

	// ReasonStatus: the authority did not grant the request.
	ReasonStatus Reason = "status"
	// ReasonImprint: the token is over another digest.
	ReasonImprint Reason = "imprint"
	// ReasonNonce: the token does not have the request's nonce.
	ReasonNonce Reason = "nonce"
	// ReasonPolicy: the token is under another policy than was asked for.
	ReasonPolicy Reason = "policy"
)

// Error is every error of this package. It wraps [attest.ErrForm] for bytes that are no
// token, request or reply, [ErrAlgorithm] besides where that is the reason, and
// [ErrReply] for a reply to another request.
type Error struct {
	// Reason is what is wrong.
	Reason Reason
	// Detail is one line for people.
	Detail string
}

// Error returns the detail.
func (e *Error) Error() string { return e.Detail }

// Unwrap returns the sentinels.
func (e *Error) Unwrap() []error {
	switch e.Reason {
	case ReasonStatus, ReasonImprint, ReasonNonce, ReasonPolicy:
		return []error{ErrReply}
	case ReasonAlgorithm:
		return []error{attest.ErrForm, ErrAlgorithm}
	default:
		return []error{attest.ErrForm}
	}
}

// fault returns an error.
func fault(reason Reason, format string, args ...any) *Error {
	return &Error{Reason: reason, Detail: fmt.Sprintf(format, args...)}
}
