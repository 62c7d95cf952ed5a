package stamp

import (
	"crypto"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/sworn-run/sworn/internal/limits"
)

// Request is TimeStampReq (RFC 3161, 2.4.1): what an authority is asked.
type Request struct {
	// Hash is the hash of Imprint: SHA-256, SHA-384 or SHA-512.
	Hash crypto.Hash
	// Imprint is the digest to stamp.
	Imprint []byte
	// Policy is the object identifier of the policy that is asked for; empty for any.
	Policy string
	// Nonce must come back in the token; nil for none.
	Nonce *big.Int
	// Certificates asks for the signer's certificate in the token.
	Certificates bool
}

// hashID returns the object identifier of a hash that is accepted; nil for another.
func hashID(h crypto.Hash) asn1.ObjectIdentifier {
	last, ok := map[crypto.Hash]int{crypto.SHA256: 1, crypto.SHA384: 2, crypto.SHA512: 3}[h]
	if !ok {
		return nil
	}
	return asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, last}
}

// Marshal returns the request in DER. The error is an [*Error]: a hash that is not
// accepted, a digest of another length, a nonce or a policy that is none.
func (q *Request) Marshal() ([]byte, error) {
	id := hashID(q.Hash)
	switch {
	case id == nil:
		return nil, fault(ReasonAlgorithm, "a time stamp by %v, want SHA-256, SHA-384 or SHA-512", q.Hash)
	case len(q.Imprint) != q.Hash.Size():
		return nil, fault(ReasonForm, "a digest of %d bytes to stamp, want %d", len(q.Imprint), q.Hash.Size())
	case q.Nonce != nil && (q.Nonce.Sign() < 0 || len(q.Nonce.Bytes()) >= maxInteger):
		return nil, fault(ReasonForm, "a nonce that is negative or longer than %d bytes", maxInteger-1)
	}
	var wire struct {
		Version int
		Imprint struct {
			Algorithm pkix.AlgorithmIdentifier
			Digest    []byte
		}
		Policy  asn1.ObjectIdentifier `asn1:"optional"`
		Nonce   *big.Int              `asn1:"optional"`
		CertReq bool                  `asn1:"optional"`
	}
	wire.Version, wire.Imprint.Digest, wire.Nonce, wire.CertReq = 1, q.Imprint, q.Nonce, q.Certificates
	// RFC 5754, 2, wants the parameters absent; authorities compare with NULL.
	wire.Imprint.Algorithm = pkix.AlgorithmIdentifier{Algorithm: id, Parameters: asn1.NullRawValue}
	for arc := range strings.SplitSeq(q.Policy, ".") {
		n, ok := new(big.Int).SetString(arc, 10)
		if q.Policy == "" {
			break
		}
		if !ok || !n.IsInt64() || n.Sign() < 0 || n.Int64() > 1<<31-1 {
			return nil, fault(ReasonForm, "the policy %q is no object identifier", q.Policy)
		}
		wire.Policy = append(wire.Policy, int(n.Int64()))
	}
	der, err := asn1.Marshal(wire)
	if err != nil {
		return nil, fault(ReasonForm, "encoding a time stamp request: %v", err)
	}
	return der, nil
}

// ParseRequest reads TimeStampReq in DER, without anything after it. The error is an
// [*Error] that wraps [attest.ErrForm]. Extensions are refused: none is known.
func ParseRequest(der []byte) (*Request, error) {
	if len(der) > limits.Token {
		return nil, fault(ReasonForm, "the request has %d bytes, limit %d", len(der), limits.Token)
	}
	q := &Request{}
	outer, err := newReader(slices.Clone(der))
	r := outer.open(tagSequence, "TimeStampReq")
	outer.end("the request")
	if v := r.small(tagInteger, 255, "version"); v != 1 {
		r.fail(ReasonForm, "TimeStampReq is of version %d, want 1", v)
	}
	q.Hash, q.Imprint = readImprint(r)
	if r.at(tagOID) {
		q.Policy = r.oid("reqPolicy")
	}
	if r.at(tagInteger) {
		q.Nonce = r.natural(tagInteger, "nonce")
	}
	if r.at(tagBoolean) {
		q.Certificates = r.truth("certReq")
	}
	r.end("TimeStampReq")
	if *err != nil {
		return nil, *err
	}
	return q, nil
}

// Response is TimeStampResp (RFC 3161, 2.4.2): what an authority answers.
type Response struct {
	// Status is PKIStatus: 0 for granted, 1 for granted with modifications.
	Status int
	// Text is what the authority says for people, cut to a line; it is whoever answers's
	// word.
	Text string
	// Failure are the numbers of the bits that are set in PKIFailureInfo.
	Failure []int
	// Token is the TimeStampToken in DER as received; nil if there is none.
	Token []byte
}

// ParseResponse reads TimeStampResp in DER, at most limits.TimeStampReply bytes, without
// anything after it. The token in it is not looked at. The error is an [*Error] that wraps
// [attest.ErrForm].
func ParseResponse(der []byte) (*Response, error) {
	if len(der) > limits.TimeStampReply {
		return nil, fault(ReasonForm, "the reply has %d bytes, limit %d", len(der), limits.TimeStampReply)
	}
	a := &Response{}
	outer, err := newReader(slices.Clone(der))
	r := outer.open(tagSequence, "TimeStampResp")
	outer.end("the reply")
	status := r.open(tagSequence, "PKIStatusInfo")
	a.Status = int(status.small(tagInteger, 255, "status"))
	if status.at(tagSequence) {
		var lines []string
		for text := status.open(tagSequence, "statusString"); text.more(); {
			lines = append(lines, string(text.take(tagUTF8, "statusString").body))
		}
		a.Text = fmt.Sprintf("%.200q", strings.Join(lines, "; "))
	}
	if status.at(tagBits) {
		a.Failure = readBits(status, "failInfo")
	}
	status.end("PKIStatusInfo")
	if r.more() {
		a.Token = r.take(tagSequence, "timeStampToken").raw
	}
	r.end("TimeStampResp")
	if *err != nil {
		return nil, *err
	}
	return a, nil
}

// readBits returns which bits of a BIT STRING of up to 64 are set.
func readBits(r *reader, what string) []int {
	b := r.take(tagBits, what).body
	if !r.failed() && (len(b) == 0 || len(b) > 9 || b[0] > 7 || len(b) == 1 && b[0] != 0) {
		r.fail(ReasonForm, "%s is no BIT STRING of up to 64 bits", what)
	}
	if r.failed() {
		return nil
	}
	var out []int
	for i := range 8*(len(b)-1) - int(b[0]) {
		if b[1+i/8]&(0x80>>(i%8)) != 0 {
			out = append(out, i)
		}
	}
	return out
}

// Check returns the token of the reply if it is what was asked for: granted, over the
// digest, with the nonce, under the policy, if one was asked for. Whether the token can be
// relied on is for [Token.Verify]. The error is an [*Error] that wraps [ErrReply], or
// [attest.ErrForm] for a token that is none.
func (a *Response) Check(q *Request) (*Token, error) {
	if a.Status > 1 || len(a.Token) == 0 {
		return nil, fault(ReasonStatus, "the authority did not stamp it: %s", a.why())
	}
	t, err := Parse(a.Token)
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the token: %w", err)
	case !t.Covers(q.Hash, q.Imprint):
		return nil, fault(ReasonImprint, "the token is over another digest than was sent")
	case q.Nonce != nil && (t.Nonce == nil || t.Nonce.Cmp(q.Nonce) != 0):
		return nil, fault(ReasonNonce, "the token does not have the nonce that was sent")
	case q.Policy != "" && q.Policy != t.Policy:
		return nil, fault(ReasonPolicy, "the token is under the policy %s, not %s", t.Policy, q.Policy)
	}
	return t, nil
}

// why says why there is no token.
func (a *Response) why() string {
	status := []string{
		"it granted the request, but sent no token", "it granted the request with modifications, but sent no token",
		"rejection", "waiting", "revocation warning", "revocation notification",
	}
	failures := map[int]string{
		0: "badAlg", 2: "badRequest", 5: "badDataFormat", 14: "timeNotAvailable", 15: "unacceptedPolicy",
		16: "unacceptedExtension", 17: "addInfoNotAvailable", 25: "systemFailure",
	}
	line := fmt.Sprintf("status %d", a.Status)
	if a.Status < len(status) {
		line = status[a.Status]
	}
	for _, bit := range a.Failure {
		if name := failures[bit]; name != "" {
			line += ", " + name
		}
	}
	if a.Text != "" {
		line += ", it says " + a.Text
	}
	return line
}
