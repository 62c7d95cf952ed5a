// Package stamp reads and verifies time-stamp tokens of RFC 3161: a time-stamping
// authority's signed word that a digest existed at a time.
//
// [Parse] reads a token: CMS SignedData (RFC 5652) around TSTInfo, in DER, to the byte,
// bounded before anything is allocated. [Token.Verify] says whether it can be relied on:
// signature, certificates, purpose and revocation. Everything is verified over the bytes
// received, and nothing is trusted because a token says so: certificates in it are
// candidates on the way to a root of role tsa, which the relying party brings. Whether the
// token covers what the caller wants stamped is the caller's to compare ([Token.Covers]).
//
// A token's bytes are not unique: certificates, revocation lists and unsigned attributes
// in it are signed by nobody, and can be taken out or added to. What it states cannot.
//
// [Request] and [ParseResponse] are the exchange with an authority.
//
// The package is pure: no device, no file, no network, no clock. docs/SPEC.md, section
// 6.7, has the rules, and docs/decisions/0028-time-stamps.md why they are these.
package stamp

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"math/big"
	"time"

	"github.com/sworn-run/sworn/internal/limits"
)

// Role is the role of the roots that an authority's certificate must lead to.
const Role = "tsa"

// Token is a time-stamp token that was read. Nothing in it counts before [Token.Verify]
// passed. It does not change, and is safe for concurrent use.
type Token struct {
	// Time is genTime, in UTC.
	Time time.Time
	// Accuracy is by how much Time may be off; 0 if the token does not say.
	Accuracy time.Duration
	// Policy is the object identifier of the policy under which the authority works.
	Policy string
	// Serial is the token's serial number in hexadecimal.
	Serial string
	// Hash is the hash of Imprint: SHA-256, SHA-384 or SHA-512.
	Hash crypto.Hash
	// Imprint is the digest that was stamped, as long as Hash makes it.
	Imprint []byte
	// Nonce is that of the request; nil if the token has none.
	Nonce *big.Int
	// Ordering: tokens of the authority can be ordered by Time alone.
	Ordering bool

	size       int
	tsa        value // the GeneralName in TSTInfo; zero if there is none
	extensions []extension
	content    []byte // TSTInfo
	certs      []*x509.Certificate
	lists      [][]byte
	unread     int // what is in there of revocation, and in no form that is read
	signer     signerInfo
}

// extension is an X.509 extension (RFC 5280, 4.1.2.9).
type extension struct {
	id       string
	critical bool
	value    []byte
}

// Parse reads a TimeStampToken in DER, at most limits.Token bytes, without anything after
// it. The error is an [*Error] that wraps [attest.ErrForm]; token and error exclude each
// other. A signature by SHA-1, or over an imprint by SHA-1, is refused here.
func Parse(der []byte) (*Token, error) {
	if len(der) > limits.Token {
		return nil, fault(ReasonForm, "the token has %d bytes, limit %d", len(der), limits.Token)
	}
	t := &Token{size: len(der)}
	r, err := newReader(bytes.Clone(der))
	outer := r.open(tagSequence, "ContentInfo")
	r.end("the token")
	if id := outer.oid("contentType"); id != oidSignedData {
		r.fail(ReasonForm, "contentType is %s, want SignedData", id)
	}
	content := outer.open(tagExplicit0, "content")
	outer.end("ContentInfo")
	t.readSignedData(content.open(tagSequence, "SignedData"))
	content.end("content")
	t.readInfo(r.inside(t.content))
	if *err != nil {
		return nil, *err
	}
	return t, nil
}

// readInfo reads TSTInfo (RFC 3161, 2.4.2).
func (t *Token) readInfo(outer *reader) {
	r := outer.open(tagSequence, "TSTInfo")
	outer.end("TSTInfo")
	if v := r.small(tagInteger, 255, "version"); v != 1 {
		r.fail(ReasonForm, "TSTInfo is of version %d, want 1", v)
	}
	t.Policy = r.oid("policy")
	t.Hash, t.Imprint = readImprint(r)
	t.Serial = r.natural(tagInteger, "serialNumber").Text(16)
	t.Time = r.time("genTime")
	if r.at(tagSequence) {
		t.Accuracy = readAccuracy(r.open(tagSequence, "accuracy"))
	}
	if r.at(tagBoolean) {
		t.Ordering = r.truth("ordering")
	}
	if r.at(tagInteger) {
		t.Nonce = r.natural(tagInteger, "nonce")
	}
	if r.at(tagExplicit0) {
		in := r.open(tagExplicit0, "tsa")
		t.tsa = in.any("tsa")
		in.end("tsa")
	}
	if r.at(tagExplicit1) {
		t.extensions = readExtensions(r.open(tagExplicit1, "extensions"))
	}
	r.end("TSTInfo")
}

// readImprint reads a MessageImprint (RFC 3161, 2.4.1).
func readImprint(r *reader) (crypto.Hash, []byte) {
	in := r.open(tagSequence, "messageImprint")
	h := in.hash("the hash of messageImprint")
	digest := in.take(tagOctets, "hashedMessage").body
	in.end("messageImprint")
	if !r.failed() && len(digest) != h.Size() {
		r.fail(ReasonForm, "hashedMessage has %d bytes, want %d", len(digest), h.Size())
	}
	return h, digest
}

// maxAccuracy bounds the accuracy: who does not know the day does not tell the time.
const maxAccuracy = 24 * 60 * 60

// readAccuracy reads an Accuracy (RFC 3161, 2.4.2).
func readAccuracy(r *reader) time.Duration {
	var d time.Duration
	if r.at(tagInteger) {
		d += time.Duration(r.small(tagInteger, maxAccuracy, "seconds")) * time.Second
	}
	if r.at(tagPlain0) {
		d += time.Duration(r.small(tagPlain0, 999, "millis")) * time.Millisecond
	}
	if r.at(tagPlain1) {
		d += time.Duration(r.small(tagPlain1, 999, "micros")) * time.Microsecond
	}
	r.end("accuracy")
	return d
}

// maxExtensions bounds the extensions of a token.
const maxExtensions = 32

// readExtensions reads Extensions, each once.
func readExtensions(r *reader) []extension {
	var out []extension
	seen := map[string]bool{}
	for r.more() {
		in := r.open(tagSequence, "extension")
		x := extension{id: in.oid("extnID")}
		if in.at(tagBoolean) {
			x.critical = in.truth("critical")
		}
		x.value = in.take(tagOctets, "extnValue").body
		in.end("extension")
		if seen[x.id] || len(out) == maxExtensions {
			r.fail(ReasonForm, "extension %s stands twice, or is one of more than %d", x.id, maxExtensions)
		}
		seen[x.id], out = true, append(out, x)
	}
	return out
}

// time reads a GeneralizedTime as RFC 3161, 2.4.2 has it: YYYYMMDDhhmmss, a fraction
// without trailing zeros if there is any, at most nine digits here, and Z. A leap second
// is refused.
func (r *reader) time(what string) time.Time {
	b := string(r.take(tagTime, what).body)
	if r.failed() {
		return time.Time{}
	}
	const layout = "20060102150405.999999999Z"
	t, err := time.Parse("20060102150405Z", b)
	if err != nil || t.Format(layout) != b || t.Year() < firstYear {
		r.fail(ReasonForm, "%s is %.40q, want GeneralizedTime of DER in UTC, since %d", what, b, firstYear)
		return time.Time{}
	}
	return t
}

// firstYear is before every token: RFC 3161 is of 2001. It also keeps Go's zero time,
// which packages of the standard library take for the present, out of what is verified.
const firstYear = 2000

// Covers reports whether the token is over this digest by this hash.
func (t *Token) Covers(h crypto.Hash, digest []byte) bool {
	return t != nil && h != 0 && t.Hash == h && len(digest) == h.Size() && bytes.Equal(t.Imprint, digest)
}

// Latest returns the latest time that the token can mean: genTime and its accuracy.
func (t *Token) Latest() time.Time { return t.Time.Add(t.Accuracy) }

// Certificates returns the certificates in the token, in its order. They are nobody's
// word but that of who sent the token.
func (t *Token) Certificates() []*x509.Certificate {
	return append([]*x509.Certificate(nil), t.certs...)
}
