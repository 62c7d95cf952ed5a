package tsa

import (
	"bytes"
	"crypto"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"io"
	"math/big"
	"net/http"
	"time"
)

// The paths of the service.
const (
	// PathStamp is where a request is posted.
	PathStamp = "/tsa"
	// PathRootList and PathIssuerList are where the revocation lists are.
	PathRootList   = "/root.crl"
	PathIssuerList = "/issuer.crl"
)

// Fault is a way in which the service fails.
type Fault string

// The faults.
const (
	// Rejects answers every request with a rejection.
	Rejects Fault = "rejection"
	// Garbage answers with bytes that are no DER.
	Garbage Fault = "garbage"
	// Huge answers with more than any token has.
	Huge Fault = "huge"
	// Slow does not answer until the client has gone.
	Slow Fault = "slow"
	// HTTPError answers with status 500.
	HTTPError Fault = "http-error"
	// OtherImprint stamps another digest.
	OtherImprint Fault = "other-imprint"
	// OtherNonce returns another nonce.
	OtherNonce Fault = "other-nonce"
	// WrongType answers with a token under another content type.
	WrongType Fault = "wrong-type"
	// Expired stamps at a time at which the certificate is not valid.
	Expired Fault = "expired"
	// Busy answers every request with a rejection for a while.
	Busy Fault = "busy"
	// NoSigner leaves the certificates out.
	NoSigner Fault = "no-certificate"
	// BadSignature answers with a token whose signature is none.
	BadSignature Fault = "bad-signature"
)

// Faults returns all faults, for completion and help.
func Faults() []Fault {
	return []Fault{Rejects, Garbage, Huge, Slow, HTTPError, OtherImprint, OtherNonce, WrongType, Expired, Busy, NoSigner, BadSignature}
}

// Service is the authority's HTTP service (RFC 3161, 3.4): an [http.Handler] that stamps
// what is posted to [PathStamp], and serves the revocation lists. Its fields must not be
// changed while it serves; the zero value knows no authority.
type Service struct {
	// Authority stamps.
	Authority *Authority
	// Now is the clock; [time.Now] if nil.
	Now func() time.Time
	// Accuracy is what tokens say of it; 0 for nothing.
	Accuracy time.Duration
	// Fault is how it fails; empty for not at all.
	Fault Fault
	// Revoked are the entries of the list about the signer.
	Revoked []Revoked
}

// maxRequest bounds a request.
const maxRequest = 64 << 10

// ServeHTTP implements [http.Handler].
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case s.Authority == nil:
		http.NotFound(w, r)
	case r.URL.Path == PathRootList && r.Method == http.MethodGet:
		publish(w, s.RootList)
	case r.URL.Path == PathIssuerList && r.Method == http.MethodGet:
		publish(w, s.IssuerList)
	case r.URL.Path != PathStamp:
		http.NotFound(w, r)
	case r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/timestamp-query":
		http.Error(w, "want a POST of application/timestamp-query", http.StatusBadRequest)
	default:
		s.stamp(w, r)
	}
}

// now returns the service's time.
func (s *Service) now() time.Time {
	if s.Now == nil {
		return time.Now()
	}
	return s.Now()
}

// RootList returns the root's list, as of the service's clock, in DER. The error wraps
// [ErrIssue].
func (s *Service) RootList() ([]byte, error) { return s.list(nil).sign(s.Authority.root) }

// IssuerList returns the list about the signer, as of the service's clock, in DER. The
// error wraps [ErrIssue].
func (s *Service) IssuerList() ([]byte, error) { return s.list(s.Revoked).sign(s.Authority.issuer) }

// list returns a list of now.
func (s *Service) list(revoked []Revoked) List {
	now := s.now()
	return List{ThisUpdate: now.Add(-time.Hour), NextUpdate: now.AddDate(0, 0, listDays), Number: now.Unix(), Revoked: revoked}
}

// publish answers with a revocation list.
func publish(w http.ResponseWriter, list func() ([]byte, error)) {
	der, err := list()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/pkix-crl")
	_, _ = w.Write(der)
}

// stamp answers a request.
func (s *Service) stamp(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequest))
	if err != nil {
		http.Error(w, "the request did not arrive", http.StatusBadRequest)
		return
	}
	kind := "application/timestamp-reply"
	var reply []byte
	switch s.Fault {
	case Slow:
		<-r.Context().Done()
		return
	case HTTPError:
		http.Error(w, "out of order", http.StatusInternalServerError)
		return
	case Garbage:
		reply = []byte("no DER")
	case Huge:
		reply = make([]byte, 1<<20)
	case WrongType:
		kind = "text/html"
		reply = s.Respond(body)
	default:
		reply = s.Respond(body)
	}
	w.Header().Set("Content-Type", kind)
	_, _ = w.Write(reply)
}

// request is TimeStampReq (RFC 3161, 2.4.1).
type request struct {
	Version int
	Imprint struct {
		Algorithm pkix.AlgorithmIdentifier
		Digest    []byte
	}
	Policy     asn1.ObjectIdentifier `asn1:"optional"`
	Nonce      *big.Int              `asn1:"optional"`
	CertReq    bool                  `asn1:"optional"`
	Extensions []pkix.Extension      `asn1:"optional,tag:0"`
}

// The bits of PKIFailureInfo that are used (RFC 3161, 2.4.2).
const (
	badAlgorithm     = 0
	badRequest       = 2
	badDataFormat    = 5
	timeNotAvailable = 14
	systemFailure    = 25
)

// Respond answers a TimeStampReq with a TimeStampResp, both in DER. It always answers.
func (s *Service) Respond(query []byte) []byte {
	var q request
	rest, err := asn1.Unmarshal(query, &q)
	var h crypto.Hash
	for _, x := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		if q.Imprint.Algorithm.Algorithm.Equal(hashID(x)) {
			h = x
		}
	}
	switch {
	case err != nil || len(rest) > 0:
		return refuse(badDataFormat, "no TimeStampReq")
	case q.Version != 1 || len(q.Extensions) > 0 || q.Policy != nil && !q.Policy.Equal(oidPolicy):
		return refuse(badRequest, "a version, an extension or a policy that is not known")
	case h == 0 || len(q.Imprint.Digest) != h.Size():
		return refuse(badAlgorithm, "a hash that is not accepted")
	case s.Fault == Rejects:
		return refuse(badRequest, "SIMULATED: nothing is stamped here")
	case s.Fault == Busy:
		return refuse(timeNotAvailable, "SIMULATED: ask again")
	}
	token, err := s.Authority.Token(s.order(&q, h))
	if err != nil {
		return refuse(systemFailure, "no token could be made")
	}
	if s.Fault == BadSignature {
		token[len(token)-1] ^= 1
	}
	return grant(token)
}

// order returns what is to be stamped, with the service's faults.
func (s *Service) order(q *request, h crypto.Hash) Order {
	o := Order{Hash: h, Imprint: q.Imprint.Digest, Nonce: q.Nonce, Time: s.now(), Accuracy: s.Accuracy, Bare: !q.CertReq}
	switch s.Fault {
	case OtherImprint:
		o.Imprint = bytes.Clone(o.Imprint)
		o.Imprint[0] ^= 1
	case NoSigner:
		o.Bare = true
	case OtherNonce:
		o.Nonce = big.NewInt(1)
	case Expired:
		o.Time = s.Authority.Signer().NotAfter.Add(time.Hour)
	default: // not in what is stamped
	}
	return o
}

// grant returns a TimeStampResp with a token.
func grant(token []byte) []byte {
	der, err := asn1.Marshal(struct {
		Status struct{ Status int }
		Token  asn1.RawValue
	}{Token: raw(token)})
	return must(der, err)
}

// refuse returns a TimeStampResp without a token, with one bit of PKIFailureInfo.
func refuse(bit int, text string) []byte {
	info := asn1.BitString{Bytes: make([]byte, bit/8+1), BitLength: bit + 1}
	info.Bytes[bit/8] = 0x80 >> (bit % 8)
	type status struct {
		Status int
		Text   []asn1.RawValue
		Info   asn1.BitString
	}
	words := []asn1.RawValue{{Tag: asn1.TagUTF8String, Bytes: []byte(text)}}
	der, err := asn1.Marshal(struct{ Status status }{status{2, words, info}})
	return must(der, err)
}

// errEncode cannot happen: what is encoded here is of types that can be.
var errEncode = errors.New("encoding a reply")

// must returns DER whose making cannot fail.
func must(der []byte, err error) []byte {
	if err != nil {
		panic(errors.Join(errEncode, err))
	}
	return der
}
