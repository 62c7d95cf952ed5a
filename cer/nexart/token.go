package nexart

import (
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"

	"github.com/sworn-run/sworn/cer/internal/canon"
	"github.com/sworn-run/sworn/internal/limits"
)

// The object identifiers of a time stamp token. RFC 5652, 5.1; RFC 3161, 2.4.2;
// RFC 5754, 2.2.
var (
	oidSignedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidTSTInfo    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 4}
	oidSHA256     = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
)

// errToken is what is wrong with a token.
var errToken = errors.New("not an RFC 3161 token")

// timeStampResp is what a time stamping authority answers. RFC 3161, 2.4.2.
type timeStampResp struct {
	Status asn1.RawValue
	Token  asn1.RawValue
}

// contentInfo is RFC 5652, 3.
type contentInfo struct {
	Type    asn1.ObjectIdentifier
	Content asn1.RawValue `asn1:"explicit,tag:0"`
}

// signedData is RFC 5652, 5.1.
type signedData struct {
	Version      int
	Algorithms   asn1.RawValue
	Content      contentInfo
	Certificates asn1.RawValue `asn1:"optional,tag:0"`
	CRLs         asn1.RawValue `asn1:"optional,tag:1"`
	Signers      asn1.RawValue
}

// tstInfo is RFC 3161, 2.4.2, as far as the imprint needs it.
type tstInfo struct {
	Version int
	Policy  asn1.ObjectIdentifier
	Imprint struct {
		Algorithm struct {
			ID         asn1.ObjectIdentifier
			Parameters asn1.RawValue `asn1:"optional"`
		}
		Hash []byte
	}
	Serial asn1.RawValue
	Time   asn1.RawValue
}

// token returns the time stamp token that stands beside the record.
func (c *check) token() canon.Value {
	for _, in := range []canon.Value{c.outer, c.outer.Get("attestation"), c.record, c.record.Get("meta").Get("attestation")} {
		if v := in.Get("timestamp").Get("token"); v.Kind() == '"' {
			return v
		}
	}
	return canon.Value{}
}

// tokens compares the imprint of a time stamp token with the record's hash: the
// 32 bytes themselves, not a hash of its text. The authority is not checked, so
// no token makes a record better; nor does one make it worse, for anybody can
// take it away.
func (c *check) tokens() {
	v := c.token()
	if v.Kind() == 0 {
		return
	}
	imprint, at, err := readToken(v.String())
	switch {
	case err != nil:
		c.note(NoteNoTimestamp, "the token is not one that RFC 3161 describes; it proves nothing")
	case c.claimed == "" || "sha256:"+hex.EncodeToString(imprint) != c.claimed:
		c.note(NoteNoTimestamp, "the token is of something else, sha256:%x; it proves nothing about this record", imprint)
	default:
		c.note(NoteTimestamp, "imprint only, authority not checked: the token is of this record, and says %s", at)
	}
}

// readToken reads the imprint and the time of a token in base64: a
// TimeStampToken, or the response that holds one.
func readToken(text string) (imprint []byte, at string, err error) {
	if len(text) > base64.StdEncoding.EncodedLen(limits.Token) {
		return nil, "", errToken
	}
	der, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, "", errToken
	}
	var info contentInfo
	if !whole(der, &info) {
		var resp timeStampResp
		if !whole(der, &resp) || !whole(resp.Token.FullBytes, &info) {
			return nil, "", errToken
		}
	}
	var data signedData
	var octets []byte
	var tst tstInfo
	switch {
	case !info.Type.Equal(oidSignedData) || !whole(info.Content.Bytes, &data):
	case !data.Content.Type.Equal(oidTSTInfo) || !whole(data.Content.Content.Bytes, &octets) || !whole(octets, &tst):
	case tst.Version != 1 || !tst.Imprint.Algorithm.ID.Equal(oidSHA256) || len(tst.Imprint.Hash) != 32:
	case tst.Time.Class != asn1.ClassUniversal || tst.Time.Tag != asn1.TagGeneralizedTime || !generalizedTime(string(tst.Time.Bytes)):
	default:
		return tst.Imprint.Hash, string(tst.Time.Bytes), nil
	}
	return nil, "", errToken
}

// whole decodes DER that holds one value and nothing after it.
func whole(der []byte, v any) bool {
	rest, err := asn1.Unmarshal(der, v)
	return err == nil && len(rest) == 0
}

// generalizedTime reports whether s is a GeneralizedTime in DER: seconds, and a
// fraction without a zero at its end. RFC 3161, 2.4.2.
func generalizedTime(s string) bool {
	s, ok := strings.CutSuffix(s, "Z")
	digits, fraction, dotted := strings.Cut(s, ".")
	if !ok || len(digits) != 14 || (dotted && (fraction == "" || strings.HasSuffix(fraction, "0"))) {
		return false
	}
	return strings.Trim(digits+fraction, "0123456789") == "" && len(fraction) <= 9
}
