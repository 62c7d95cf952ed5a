package tsa

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"slices"
	"time"
)

// The object identifiers of what tokens are made of.
//
//nolint:gochecknoglobals // constants
var (
	oidSignedData    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidTSTInfo       = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 4}
	oidContentType   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	oidMessageDigest = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	oidSigningCertV2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 47}

	oidRSA     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
	oidPSS     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10}
	oidMGF1    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 8}
	oidEd25519 = asn1.ObjectIdentifier{1, 3, 101, 112}

	oidPolicy = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}
)

// hashID returns the object identifier of a hash, SHA-256 if it is not known.
func hashID(h crypto.Hash) asn1.ObjectIdentifier {
	switch h {
	case crypto.SHA1:
		return asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}
	case crypto.SHA384:
		return asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}
	case crypto.SHA512:
		return asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3}
	default:
		return asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	}
}

// Order is a token that is asked for.
type Order struct {
	// Hash is the hash of Imprint, which is taken as it is.
	Hash    crypto.Hash
	Imprint []byte
	// Time is what the token says.
	Time time.Time
	// Nonce is put in, if there is one.
	Nonce *big.Int
	// Accuracy is put in, to the microsecond, unless it is 0.
	Accuracy time.Duration
	// Bare leaves the certificates out.
	Bare bool
	// Lists are put in, in DER.
	Lists [][]byte
	// By is the hash of the signature: SHA-256 if 0, SHA-512 with Ed25519.
	By crypto.Hash
	// PSS signs by RSASSA-PSS with an RSA key.
	PSS bool
	// Edit changes the parts before they are signed; nil changes nothing.
	Edit func(*Parts)
}

// Parts is what a token is put together from, right before it is signed.
type Parts struct {
	// Version is that of TSTInfo, Policy its policy.
	Version int
	Policy  asn1.ObjectIdentifier
	// Time is genTime as it will stand there.
	Time string
	// Serial is its serial number.
	Serial *big.Int
	// Name is TSA, a GeneralName in DER.
	Name []byte
	// Extensions are those of TSTInfo.
	Extensions []pkix.Extension
	// Content is put in the place of TSTInfo, if there is any.
	Content []byte
	// Digest is signed as the digest of TSTInfo, unless it is nil.
	Digest []byte
	// Attributes are the signed ones, but for messageDigest; they are put into order.
	Attributes []Attribute
	// Shuffled leaves the attributes in another order than that of DER.
	Shuffled bool
	// Unsigned leaves the signed attributes out, and signs TSTInfo itself.
	Unsigned bool
	// Certificates are those in the token, in DER.
	Certificates [][]byte
	// Signers is how many signers there are, all the same but for their version.
	Signers int
	// KeyID names the signer's certificate by its key.
	KeyID bool
}

// Attribute is a signed attribute with one value, in DER.
type Attribute struct {
	// Type is the attribute's type.
	Type asn1.ObjectIdentifier
	// Value is its value in DER.
	Value []byte
}

// CertID returns the attribute signingCertificateV2 with SHA-256 of a certificate (RFC
// 5035, 3).
func CertID(der []byte) (Attribute, error) {
	w := crypto.SHA256.New()
	_, _ = w.Write(der)
	type id struct{ Hash []byte }
	v, err := asn1.Marshal(struct{ Certs []id }{[]id{{w.Sum(nil)}}})
	if err != nil {
		return Attribute{}, fmt.Errorf("naming a certificate: %w: %w", ErrIssue, err)
	}
	return Attribute{oidSigningCertV2, v}, nil
}

// Token returns a TimeStampToken in DER. The error wraps [ErrIssue].
func (a *Authority) Token(o Order) ([]byte, error) {
	if a.signer == nil {
		return nil, fmt.Errorf("a token of no authority: %w", ErrIssue)
	}
	der, err := a.token(&o)
	if err != nil {
		return nil, fmt.Errorf("making a token: %w: %w", ErrIssue, err)
	}
	return der, nil
}

// token makes a token.
func (a *Authority) token(o *Order) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	c := a.signer.Certificate
	id, err := CertID(c.Raw)
	if err != nil {
		return nil, err
	}
	contentType, err := asn1.Marshal(oidTSTInfo)
	if err != nil {
		return nil, err
	}
	p := &Parts{
		Version: 1, Policy: oidPolicy, Time: o.Time.UTC().Format("20060102150405.999999999Z"), Serial: serial,
		Attributes: []Attribute{{oidContentType, contentType}, id}, Signers: 1,
	}
	if p.Name, err = asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: c.RawSubject}); err != nil {
		return nil, err
	}
	if !o.Bare {
		p.Certificates = [][]byte{c.Raw, a.issuer.Certificate.Raw}
	}
	if o.Edit != nil {
		o.Edit(p)
	}
	if len(p.Content) == 0 {
		if p.Content, err = p.info(o); err != nil {
			return nil, err
		}
	}
	signer, err := a.sign(o, p)
	if err != nil {
		return nil, err
	}
	return p.assemble(o, signer)
}

// raw wraps DER that is ready.
func raw(der []byte) asn1.RawValue { return asn1.RawValue{FullBytes: der} }

// context returns a context-specific value around what is inside; nothing around nothing.
func context(tag int, inside ...[]byte) asn1.RawValue {
	b := slices.Concat(inside...)
	if len(b) == 0 {
		return asn1.RawValue{}
	}
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, IsCompound: true, Bytes: b}
}

// algorithm returns an AlgorithmIdentifier.
type algorithm struct {
	ID         asn1.ObjectIdentifier
	Parameters asn1.RawValue `asn1:"optional"`
}

// info encodes TSTInfo (RFC 3161, 2.4.2).
func (p *Parts) info(o *Order) ([]byte, error) {
	type accuracy struct {
		Seconds int `asn1:"optional"`
		Millis  int `asn1:"optional,tag:0"`
		Micros  int `asn1:"optional,tag:1"`
	}
	var extensions [][]byte
	for _, x := range p.Extensions {
		der, err := asn1.Marshal(x)
		if err != nil {
			return nil, err
		}
		extensions = append(extensions, der)
	}
	type imprint struct {
		Algorithm algorithm
		Digest    []byte
	}
	return asn1.Marshal(struct {
		Version    int
		Policy     asn1.ObjectIdentifier
		Imprint    imprint
		Serial     *big.Int
		Time       asn1.RawValue
		Accuracy   accuracy      `asn1:"optional"`
		Nonce      *big.Int      `asn1:"optional"`
		Name       asn1.RawValue `asn1:"optional"`
		Extensions asn1.RawValue `asn1:"optional"`
	}{
		p.Version, p.Policy,
		imprint{algorithm{hashID(o.Hash), asn1.NullRawValue}, o.Imprint},
		p.Serial,
		asn1.RawValue{Tag: asn1.TagGeneralizedTime, Bytes: []byte(p.Time)},
		accuracy{int(o.Accuracy / time.Second), int(o.Accuracy % time.Second / time.Millisecond), int(o.Accuracy % time.Millisecond / time.Microsecond)},
		o.Nonce, context(0, p.Name), context(1, extensions...),
	})
}

// by returns the hash of the signature.
func (a *Authority) by(o *Order) crypto.Hash {
	if _, ok := a.signer.Key.(ed25519.PrivateKey); ok {
		return crypto.SHA512
	}
	if o.By == 0 {
		return crypto.SHA256
	}
	return o.By
}

// attributes returns the contents of SignedAttributes.
func (p *Parts) attributes(h crypto.Hash) ([]byte, error) {
	digest := p.Digest
	if digest == nil {
		w := h.New()
		_, _ = w.Write(p.Content)
		digest = w.Sum(nil)
	}
	octets, err := asn1.Marshal(digest)
	if err != nil {
		return nil, err
	}
	var all [][]byte
	for _, x := range append(slices.Clone(p.Attributes), Attribute{oidMessageDigest, octets}) {
		der, err := asn1.Marshal(struct {
			Type   asn1.ObjectIdentifier
			Values asn1.RawValue
		}{x.Type, asn1.RawValue{Tag: asn1.TagSet, IsCompound: true, Bytes: x.Value}})
		if err != nil {
			return nil, err
		}
		all = append(all, der)
	}
	slices.SortFunc(all, bytes.Compare)
	if p.Shuffled {
		slices.Reverse(all)
	}
	return slices.Concat(all...), nil
}

// sign returns a SignerInfo (RFC 5652, 5.3).
func (a *Authority) sign(o *Order, p *Parts) ([]byte, error) {
	h := a.by(o)
	attributes, err := p.attributes(h)
	if err != nil {
		return nil, err
	}
	message := p.Content
	if p.Unsigned {
		attributes = nil
	} else if message, err = asn1.Marshal(asn1.RawValue{Tag: asn1.TagSet, IsCompound: true, Bytes: attributes}); err != nil {
		return nil, err
	}
	how, signature, err := a.signature(message, h, o.PSS)
	if err != nil {
		return nil, err
	}
	c := a.signer.Certificate
	version := 1
	sid, err := asn1.Marshal(struct {
		Issuer asn1.RawValue
		Serial *big.Int
	}{raw(c.RawIssuer), c.SerialNumber})
	if p.KeyID {
		version = 3
		sid, err = asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Bytes: c.SubjectKeyId})
	}
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(struct {
		Version    int
		SID        asn1.RawValue
		Digest     algorithm
		Attributes asn1.RawValue `asn1:"optional"`
		How        algorithm
		Signature  []byte
	}{version, raw(sid), algorithm{ID: hashID(h)}, context(0, attributes), how, signature})
}

// signature signs a message, and says how.
func (a *Authority) signature(message []byte, h crypto.Hash, pss bool) (algorithm, []byte, error) {
	w := h.New()
	_, _ = w.Write(message)
	digest, opts := w.Sum(nil), crypto.SignerOpts(h)
	var how algorithm
	switch a.signer.Key.(type) {
	case *rsa.PrivateKey:
		how = algorithm{oidRSA, asn1.NullRawValue}
		if pss {
			opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: h}
			parameters, err := pssParameters(h)
			if err != nil {
				return how, nil, err
			}
			how = algorithm{oidPSS, raw(parameters)}
		}
	case *ecdsa.PrivateKey:
		last := map[crypto.Hash]int{crypto.SHA224: 1, crypto.SHA256: 2, crypto.SHA384: 3, crypto.SHA512: 4}[h]
		how = algorithm{ID: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, last}}
		if h == crypto.SHA1 {
			how.ID = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 1}
		}
	case ed25519.PrivateKey:
		how = algorithm{ID: oidEd25519}
		digest, opts = message, crypto.Hash(0)
	default:
		return how, nil, fmt.Errorf("a key of type %T", a.signer.Key)
	}
	signature, err := a.signer.Key.Sign(rand.Reader, digest, opts)
	return how, signature, err
}

// pssParameters encodes RSASSA-PSS-params (RFC 8017, A.2.3).
func pssParameters(h crypto.Hash) ([]byte, error) {
	hash := algorithm{hashID(h), asn1.NullRawValue}
	inner, err := asn1.Marshal(hash)
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(struct {
		Hash algorithm `asn1:"explicit,tag:0"`
		Mask algorithm `asn1:"explicit,tag:1"`
		Salt int       `asn1:"explicit,tag:2"`
	}{hash, algorithm{oidMGF1, raw(inner)}, h.Size()})
}

// assemble returns ContentInfo with SignedData (RFC 5652, 3 and 5.1).
func (p *Parts) assemble(o *Order, signer []byte) ([]byte, error) {
	var head struct {
		Version int
		SID     asn1.RawValue
		Digest  asn1.RawValue
	}
	if _, err := asn1.Unmarshal(signer, &head); err != nil {
		return nil, err
	}
	octets, err := asn1.Marshal(p.Content)
	if err != nil {
		return nil, err
	}
	var signers [][]byte
	for range p.Signers {
		signers = append(signers, signer)
	}
	type content struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue
	}
	set := func(inside ...[]byte) asn1.RawValue {
		return asn1.RawValue{Tag: asn1.TagSet, IsCompound: true, Bytes: slices.Concat(inside...)}
	}
	data, err := asn1.Marshal(struct {
		Version      int
		Digests      asn1.RawValue
		Content      content
		Certificates asn1.RawValue `asn1:"optional"`
		Lists        asn1.RawValue `asn1:"optional"`
		Signers      asn1.RawValue
	}{
		3, set(head.Digest.FullBytes),
		content{oidTSTInfo, context(0, octets)},
		context(0, p.Certificates...), context(1, o.Lists...), set(signers...),
	})
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(content{oidSignedData, context(0, data)})
}
