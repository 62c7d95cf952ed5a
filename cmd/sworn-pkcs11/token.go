package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	_ "crypto/sha256" // SHA-256 of digests
	_ "crypto/sha512" // SHA-384 and SHA-512
	"crypto/x509"
	"encoding/asn1"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strings"

	"github.com/miekg/pkcs11"
)

// errToken is a token that has no such key, or does not do what is asked.
var errToken = errors.New("token")

// mechEdDSA is CKM_EDDSA (PKCS #11 3.0).
const mechEdDSA = 0x1057

// maxRequest is the largest request that is read, in bytes.
const maxRequest = 64 << 10

// request is what is asked.
type request struct {
	Op   string `json:"op"`
	URI  string `json:"uri"`
	PIN  string `json:"pin"`
	Hash string `json:"hash"`
	Data []byte `json:"data"`
}

// answer is what is answered.
type answer struct {
	Login        bool     `json:"login,omitempty"`
	Public       []byte   `json:"public,omitempty"`
	Certificates [][]byte `json:"certificates,omitempty"`
	Signature    []byte   `json:"signature,omitempty"`
}

// serve answers one request.
func serve(in io.Reader, out io.Writer) error {
	b, err := io.ReadAll(io.LimitReader(in, maxRequest+1))
	if err != nil {
		return err
	}
	if len(b) > maxRequest {
		return fmt.Errorf("a request of more than %d bytes", maxRequest)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var q request
	if err := d.Decode(&q); err != nil {
		return fmt.Errorf("the request: %w", err)
	}
	u, err := parseURI(q.URI)
	if err != nil {
		return err
	}
	if q.PIN == "" {
		if q.PIN, err = u.pin(); err != nil {
			return err
		}
	}
	a, err := u.answer(&q)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(a)
}

// answer opens the token and does what is asked.
func (u *keyURI) answer(q *request) (*answer, error) {
	s, err := u.open(q.PIN)
	if s != nil {
		defer s.close()
	}
	if errors.Is(err, errLogin) {
		return &answer{Login: true}, nil
	}
	if err != nil {
		return nil, err
	}
	key, err := s.privateKey(u)
	if err != nil {
		return nil, err
	}
	switch q.Op {
	case "key":
		return s.describe(key)
	case "sign":
		sig, err := s.sign(key, q.Hash, q.Data, q.PIN)
		if err != nil {
			return nil, err
		}
		return &answer{Signature: sig}, nil
	default:
		return nil, fmt.Errorf("unknown operation %.100q", q.Op)
	}
}

// errLogin: the token wants a PIN, and none was given.
var errLogin = errors.New("the token wants a PIN")

// session is one with a token.
type session struct {
	*pkcs11.Ctx
	handle pkcs11.SessionHandle
	open   bool
}

// open loads the module, finds the one token, and logs in.
func (u *keyURI) open(pin string) (*session, error) {
	s := &session{Ctx: pkcs11.New(u.module)}
	if s.Ctx == nil {
		return nil, fmt.Errorf("%w: no module at %s", errToken, u.module)
	}
	if err := s.Initialize(); err != nil {
		return s, fmt.Errorf("%w: starting %s: %w", errToken, u.module, err)
	}
	slots, err := s.GetSlotList(true)
	if err != nil {
		return s, fmt.Errorf("%w: %w", errToken, err)
	}
	var found []uint
	var info pkcs11.TokenInfo
	for _, slot := range slots {
		t, err := s.GetTokenInfo(slot)
		if err == nil && u.is(slot, &t) {
			found, info = append(found, slot), t
		}
	}
	if len(found) != 1 {
		return s, fmt.Errorf("%w: the URI leaves %d tokens of %d, want one", errToken, len(found), len(slots))
	}
	if s.handle, err = s.OpenSession(found[0], pkcs11.CKF_SERIAL_SESSION); err != nil {
		return s, fmt.Errorf("%w: %w", errToken, err)
	}
	s.open = true
	if info.Flags&pkcs11.CKF_LOGIN_REQUIRED == 0 {
		return s, nil
	}
	// Where the token has keys of its own to type it, none is given.
	if pin == "" && info.Flags&pkcs11.CKF_PROTECTED_AUTHENTICATION_PATH == 0 {
		return s, errLogin
	}
	if err := s.Login(s.handle, pkcs11.CKU_USER, pin); err != nil && !errors.Is(err, pkcs11.Error(pkcs11.CKR_USER_ALREADY_LOGGED_IN)) {
		return s, fmt.Errorf("%w: logging in: %w", errToken, err)
	}
	return s, nil
}

// is reports whether a token is the one that the URI names.
func (u *keyURI) is(slot uint, t *pkcs11.TokenInfo) bool {
	if u.slot != nil && *u.slot != slot || t.Flags&pkcs11.CKF_TOKEN_INITIALIZED == 0 {
		return false
	}
	for _, x := range [][2]string{{u.token, t.Label}, {u.manufacturer, t.ManufacturerID}, {u.model, t.Model}, {u.serial, t.SerialNumber}} {
		if x[0] != "" && x[0] != strings.TrimRight(x[1], " \x00") {
			return false
		}
	}
	return true
}

// close gives the token back.
func (s *session) close() {
	if s.open {
		_ = s.CloseSession(s.handle)
	}
	_ = s.Finalize()
	s.Destroy()
}

// find returns the objects that have all of the attributes.
func (s *session) find(template ...*pkcs11.Attribute) ([]pkcs11.ObjectHandle, error) {
	if err := s.FindObjectsInit(s.handle, template); err != nil {
		return nil, fmt.Errorf("%w: %w", errToken, err)
	}
	found, _, err := s.FindObjects(s.handle, 64)
	if end := s.FindObjectsFinal(s.handle); err == nil {
		err = end
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errToken, err)
	}
	return found, nil
}

// privateKey returns the one private key that the URI names.
func (s *session) privateKey(u *keyURI) (pkcs11.ObjectHandle, error) {
	template := []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY), pkcs11.NewAttribute(pkcs11.CKA_SIGN, true)}
	if u.object != "" {
		template = append(template, pkcs11.NewAttribute(pkcs11.CKA_LABEL, u.object))
	}
	if u.id != "" {
		template = append(template, pkcs11.NewAttribute(pkcs11.CKA_ID, []byte(u.id)))
	}
	found, err := s.find(template...)
	if err != nil {
		return 0, err
	}
	if len(found) != 1 {
		return 0, fmt.Errorf("%w: the URI leaves %d private keys that sign, want one (object=LABEL, id=%%01)", errToken, len(found))
	}
	return found[0], nil
}

// value returns one attribute of an object; nil if it has none.
func (s *session) value(object pkcs11.ObjectHandle, kind uint) []byte {
	list, err := s.GetAttributeValue(s.handle, object, []*pkcs11.Attribute{pkcs11.NewAttribute(kind, nil)})
	if err != nil || len(list) != 1 {
		return nil
	}
	return list[0].Value
}

// describe returns the public half of a private key, and its certificate.
func (s *session) describe(key pkcs11.ObjectHandle) (*answer, error) {
	id := s.value(key, pkcs11.CKA_ID)
	certificates, err := s.find(pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_CERTIFICATE), pkcs11.NewAttribute(pkcs11.CKA_ID, id))
	if err != nil {
		return nil, err
	}
	if len(certificates) == 1 {
		c, err := x509.ParseCertificate(s.value(certificates[0], pkcs11.CKA_VALUE))
		if err != nil {
			return nil, fmt.Errorf("%w: its certificate: %w", errToken, err)
		}
		return &answer{Public: c.RawSubjectPublicKeyInfo, Certificates: [][]byte{c.Raw}}, nil
	}
	publics, err := s.find(pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PUBLIC_KEY), pkcs11.NewAttribute(pkcs11.CKA_ID, id))
	if err != nil {
		return nil, err
	}
	if len(publics) != 1 {
		return nil, fmt.Errorf("%w: %d certificates and %d public keys have the private key's id, want one of either", errToken, len(certificates), len(publics))
	}
	pub, err := s.public(publics[0])
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, fmt.Errorf("%w: its public key: %w", errToken, err)
	}
	return &answer{Public: der}, nil
}

// public returns a public key object as package crypto has it.
func (s *session) public(object pkcs11.ObjectHandle) (crypto.PublicKey, error) {
	if n := s.value(object, pkcs11.CKA_MODULUS); len(n) > 0 {
		e := new(big.Int).SetBytes(s.value(object, pkcs11.CKA_PUBLIC_EXPONENT))
		if !e.IsInt64() || e.Int64() > 1<<31-1 {
			return nil, fmt.Errorf("%w: its public key has exponent %v", errToken, e)
		}
		return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(e.Int64())}, nil
	}
	// The specification has a DER OCTET STRING; some tokens have the bare point of Ed25519.
	point := s.value(object, pkcs11.CKA_EC_POINT)
	var inner []byte
	if rest, err := asn1.Unmarshal(point, &inner); err == nil && len(rest) == 0 && len(point) != ed25519.PublicKeySize {
		point = inner
	}
	switch {
	case len(point) == ed25519.PublicKeySize:
		return ed25519.PublicKey(point), nil
	case len(point) == 65:
		return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	case len(point) == 97:
		return ecdsa.ParseUncompressedPublicKey(elliptic.P384(), point)
	default:
		return nil, fmt.Errorf("%w: its public key is on an unknown curve", errToken)
	}
}

// sign signs a digest, or a message without a hash.
func (s *session) sign(key pkcs11.ObjectHandle, hash string, data []byte, pin string) ([]byte, error) {
	mechanism, data, err := s.mechanism(key, hash, data)
	if err != nil {
		return nil, err
	}
	if err := s.SignInit(s.handle, []*pkcs11.Mechanism{pkcs11.NewMechanism(mechanism, nil)}, key); err != nil {
		return nil, fmt.Errorf("%w: %w", errToken, err)
	}
	if again := s.value(key, pkcs11.CKA_ALWAYS_AUTHENTICATE); len(again) == 1 && again[0] == 1 {
		if err := s.Login(s.handle, pkcs11.CKU_CONTEXT_SPECIFIC, pin); err != nil {
			return nil, fmt.Errorf("%w: logging in for this signature: %w", errToken, err)
		}
	}
	sig, err := s.Sign(s.handle, data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errToken, err)
	}
	if mechanism != pkcs11.CKM_ECDSA {
		return sig, nil
	}
	n := len(sig) / 2
	return asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(sig[:n]), new(big.Int).SetBytes(sig[n:])})
}

// mechanism returns what the key signs with, and what it is given: for RSA the digest with
// its algorithm (RFC 8017, 9.2).
func (s *session) mechanism(key pkcs11.ObjectHandle, hash string, data []byte) (uint, []byte, error) {
	var h crypto.Hash
	for _, known := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		if hash == known.String() {
			h = known
		}
	}
	if (h == 0) != (hash == "") || h != 0 && len(data) != h.Size() {
		return 0, nil, fmt.Errorf("%w: %d bytes are no digest by hash %.100q", errToken, len(data), hash)
	}
	switch rsaKey := len(s.value(key, pkcs11.CKA_MODULUS)) > 0; {
	case rsaKey && h != 0:
		info, err := asn1.Marshal(struct {
			Algorithm struct {
				ID   asn1.ObjectIdentifier
				Null asn1.RawValue
			}
			Digest []byte
		}{struct {
			ID   asn1.ObjectIdentifier
			Null asn1.RawValue
		}{map[crypto.Hash]asn1.ObjectIdentifier{
			crypto.SHA256: {2, 16, 840, 1, 101, 3, 4, 2, 1}, crypto.SHA384: {2, 16, 840, 1, 101, 3, 4, 2, 2}, crypto.SHA512: {2, 16, 840, 1, 101, 3, 4, 2, 3},
		}[h], asn1.NullRawValue}, data})
		return pkcs11.CKM_RSA_PKCS, info, err
	case !rsaKey && h != 0:
		return pkcs11.CKM_ECDSA, data, nil
	case !rsaKey:
		return mechEdDSA, data, nil
	default:
		return 0, nil, fmt.Errorf("%w: an RSA key and no hash", errToken)
	}
}
