package main

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/sworn-run/sworn/internal/limits"
)

// errNoStamp is DER that is not of RFC 3161.
var errNoStamp = errors.New("not an RFC 3161 structure")

// algorithm is an AlgorithmIdentifier (RFC 5280, 4.1.1.2).
type algorithm struct {
	ID         asn1.ObjectIdentifier
	Parameters asn1.RawValue `asn1:"optional"`
}

// imprint is a MessageImprint (RFC 3161, 2.4.1).
type imprint struct {
	HashAlgorithm algorithm
	HashedMessage []byte
}

// stampInfo is a TSTInfo (RFC 3161, 2.4.2).
type stampInfo struct {
	Version  int
	Policy   asn1.ObjectIdentifier
	Imprint  imprint
	Serial   *big.Int
	Time     time.Time     `asn1:"generalized"`
	Accuracy accuracy      `asn1:"optional"`
	Ordering bool          `asn1:"optional"`
	Nonce    *big.Int      `asn1:"optional"`
	TSA      asn1.RawValue `asn1:"optional,tag:0"`
	// Extensions are not decoded.
	Extensions []pkix.Extension `asn1:"optional,tag:1"`
}

// accuracy is an Accuracy (RFC 3161, 2.4.2).
type accuracy struct {
	Seconds int `asn1:"optional"`
	Millis  int `asn1:"optional,tag:0"`
	Micros  int `asn1:"optional,tag:1"`
}

// String writes the accuracy as a duration.
func (a accuracy) String() string {
	if a == (accuracy{}) {
		return "not stated"
	}
	return fmt.Sprintf("± %d s, %d ms, %d µs", a.Seconds, a.Millis, a.Micros)
}

// contentInfo is a ContentInfo (RFC 5652, 3).
type contentInfo struct {
	Type    asn1.ObjectIdentifier
	Content asn1.RawValue `asn1:"explicit,tag:0"`
}

// signedData is a SignedData (RFC 5652, 5.1).
type signedData struct {
	Version      int
	Algorithms   []algorithm `asn1:"set"`
	Content      contentInfo
	Certificates asn1.RawValue   `asn1:"optional,tag:0"`
	CRLs         asn1.RawValue   `asn1:"optional,tag:1"`
	Signers      []asn1.RawValue `asn1:"set"`
}

// stampView is a time stamp token, with the status of the response it came in.
type stampView struct {
	status string // empty: no response around the token
	token  bool
	data   signedData
	info   stampInfo
	size   int // of TSTInfo, in bytes
}

// whole decodes DER that holds one value and nothing after it.
func whole(der []byte, v any) error {
	rest, err := asn1.Unmarshal(der, v)
	if err != nil || len(rest) > 0 {
		return errNoStamp
	}
	return nil
}

// parseStamp reads a TimeStampResp or a TimeStampToken.
func parseStamp(der []byte) (*stampView, error) {
	s := &stampView{}
	token := der
	var resp struct {
		Status struct {
			Code int
			Text []string       `asn1:"optional,utf8"`
			Fail asn1.BitString `asn1:"optional"`
		}
		Token asn1.RawValue `asn1:"optional"`
	}
	if whole(der, &resp) == nil {
		names := []string{"granted", "grantedWithMods", "rejection", "waiting", "revocationWarning", "revocationNotification"}
		s.status = fmt.Sprint(resp.Status.Code)
		if resp.Status.Code >= 0 && resp.Status.Code < len(names) {
			s.status += " (" + names[resp.Status.Code] + ")"
		}
		for _, text := range resp.Status.Text {
			s.status += fmt.Sprintf(" %q", text)
		}
		if len(resp.Token.FullBytes) == 0 {
			return s, nil
		}
		token = resp.Token.FullBytes
	}
	var outer contentInfo
	var octets []byte
	if err := whole(token, &outer); err != nil {
		return nil, err
	}
	for _, step := range []func() error{
		func() error { return isType(outer.Type, 1, 2, 840, 113549, 1, 7, 2) }, // id-signedData
		func() error { return whole(outer.Content.Bytes, &s.data) },
		func() error { return isType(s.data.Content.Type, 1, 2, 840, 113549, 1, 9, 16, 1, 4) }, // id-ct-TSTInfo
		func() error { return whole(s.data.Content.Content.Bytes, &octets) },
		func() error { return whole(octets, &s.info) },
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	s.token, s.size = true, len(octets)
	return s, nil
}

func isType(got asn1.ObjectIdentifier, want ...int) error {
	if !got.Equal(want) {
		return errNoStamp
	}
	return nil
}

// hashName names a hash by the name it has in RFC 5754, 2.
func hashName(id asn1.ObjectIdentifier) string {
	for name, oid := range map[string]asn1.ObjectIdentifier{
		"SHA-1": {1, 3, 14, 3, 2, 26}, "SHA-256": {2, 16, 840, 1, 101, 3, 4, 2, 1},
		"SHA-384": {2, 16, 840, 1, 101, 3, 4, 2, 2}, "SHA-512": {2, 16, 840, 1, 101, 3, 4, 2, 3},
	} {
		if id.Equal(oid) {
			return name
		}
	}
	return id.String()
}

// showStamp shows a time stamp by the names of RFC 3161, 2.4.2.
func showStamp(t *treeWriter, der []byte) error {
	s, err := parseStamp(der)
	if err != nil {
		return err
	}
	if s.status != "" {
		t.head("time stamp response", fmt.Sprintf("TimeStampResp, RFC 3161, 2.4.2, %d bytes", len(der)))
		t.row(1, "status", s.status)
		t.row(1, "timeStampToken", map[bool]string{true: "below", false: "none"}[s.token])
	}
	if !s.token {
		return nil
	}
	t.head("time stamp", fmt.Sprintf("TSTInfo, RFC 3161, 2.4.2, %d bytes; its signature was not checked", s.size))
	return treeStamp(t, s, "a stamp of a record covers its evidence digest")
}

// treeStamp shows a token below the head that is open; covers says what the digest is.
func treeStamp(t *treeWriter, s *stampView, covers string) error {
	t.rows([][2]string{
		{"version", fmt.Sprint(s.info.Version)},
		{"policy", s.info.Policy.String()},
		{"messageImprint", fmt.Sprintf("%s %x (%s)", hashName(s.info.Imprint.HashAlgorithm.ID), s.info.Imprint.HashedMessage, covers)},
		{"serialNumber", fmt.Sprintf("%x", s.info.Serial)},
		{"genTime", s.info.Time.UTC().Format(time.RFC3339Nano)},
		{"accuracy", s.info.Accuracy.String()},
		{"ordering", fmt.Sprint(s.info.Ordering)},
		{"nonce", numberOrNone(s.info.Nonce)},
		{"tsa", generalName(s.info.TSA.Bytes)},
	})
	for _, e := range s.info.Extensions {
		t.row(1, "extension", extensionText(e.Id, len(e.Value), e.Critical))
	}
	t.row(1, "signerInfos", fmt.Sprint(len(s.data.Signers)))
	for i := range s.data.Signers {
		treeStampSigner(t, s.data.Signers[i].FullBytes)
	}
	if err := treeStampLists(t, s.data.CRLs.Bytes); err != nil {
		return err
	}
	return treeStampCertificates(t, s.data.Certificates.Bytes)
}

// treeStampLists shows the revocation lists that came with a token.
func treeStampLists(t *treeWriter, rest []byte) error {
	for n := 0; len(rest) > 0; n++ {
		var one asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &one); err != nil || n == limits.Certificates {
			return fmt.Errorf("revocation lists of the token: %w", errNoStamp)
		}
		if one.Class == asn1.ClassContextSpecific {
			t.row(1, "crls", fmt.Sprintf("%d bytes in another form (RFC 5652, 10.2.1), which is not read", len(one.FullBytes)))
			continue
		}
		if err := showCRL(t, one.FullBytes); err != nil {
			return fmt.Errorf("revocation lists of the token: %w", err)
		}
	}
	return nil
}

// treeStampCertificates shows the certificates that came with a token.
func treeStampCertificates(t *treeWriter, rest []byte) error {
	for n := 0; len(rest) > 0; n++ {
		var one asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &one); err != nil || n == limits.Certificates {
			return fmt.Errorf("certificates of the token: %w", errNoStamp)
		}
		c, err := x509.ParseCertificate(one.FullBytes)
		if err != nil {
			return fmt.Errorf("certificates of the token: %w", err)
		}
		treeCertificate(t, c)
	}
	return nil
}

// generalName shows the name of an authority where it is a directoryName (RFC
// 5280, 4.2.1.6).
func generalName(b []byte) string {
	var name asn1.RawValue
	switch {
	case len(b) == 0:
		return "none"
	case whole(b, &name) != nil || name.Class != asn1.ClassContextSpecific || name.Tag != 4:
		return fmt.Sprintf("%x", b)
	default:
		return rdnText(name.Bytes)
	}
}

// rdnText shows a Name (RFC 5280, 4.1.2.4).
func rdnText(der []byte) string {
	var rdn pkix.RDNSequence
	if whole(der, &rdn) != nil {
		return fmt.Sprintf("%x", der)
	}
	return fmt.Sprintf("%q", rdn.String())
}

// numberOrNone writes a number that may be absent.
func numberOrNone(n *big.Int) string {
	if n == nil {
		return "none"
	}
	return fmt.Sprintf("%x", n)
}

// stampRequest is a TimeStampReq (RFC 3161, 2.4.1).
type stampRequest struct {
	Version int
	Imprint imprint
	Policy  asn1.ObjectIdentifier `asn1:"optional"`
	Nonce   *big.Int              `asn1:"optional"`
	CertReq bool                  `asn1:"optional"`
}

func parseStampRequest(der []byte) (*stampRequest, error) {
	r := &stampRequest{}
	if err := whole(der, r); err != nil {
		return nil, err
	}
	if r.Version != 1 || len(r.Imprint.HashedMessage) == 0 {
		return nil, errNoStamp
	}
	return r, nil
}

// showStampRequest shows what an authority is asked to stamp.
func showStampRequest(t *treeWriter, der []byte) error {
	r, err := parseStampRequest(der)
	if err != nil {
		return err
	}
	policy := "none"
	if len(r.Policy) > 0 {
		policy = r.Policy.String()
	}
	t.head("time stamp request", fmt.Sprintf("TimeStampReq, RFC 3161, 2.4.1, %d bytes", len(der)))
	t.rows([][2]string{
		{"version", fmt.Sprint(r.Version)},
		{"messageImprint", fmt.Sprintf("%s %x", hashName(r.Imprint.HashAlgorithm.ID), r.Imprint.HashedMessage)},
		{"reqPolicy", policy},
		{"nonce", numberOrNone(r.Nonce)},
		{"certReq", fmt.Sprint(r.CertReq)},
	})
	return nil
}
