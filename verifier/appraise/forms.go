package appraise

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/tpm"
)

// bundle is one TPM's evidence, whatever kept it.
type bundle struct {
	form   string
	quotes []rawQuote
	// public is the AK's TPMT_PUBLIC, key its bare key: at most one of them is
	// needed.
	public []byte
	key    crypto.PublicKey
	// parents are Names of keys that may be the AK's parent.
	parents      [][]byte
	certificates [][]byte
	logs, lists  []File
	// nonces are what the evidence says was asked for.
	nonces []File
	// notes are what is there and was not read, aside what is of no use.
	notes, aside []string
	// others are certificates that are not of the AK's chain.
	others []*x509.Certificate
	// documents are those of AWS Nitro; withDocument is true where one may stand in
	// a form that is a TPM's.
	documents    []File
	withDocument bool
	// akNamed is true if a certificate is there for the AK by its name.
	akNamed bool
}

// rawQuote is one quote of it.
type rawQuote struct {
	name      string
	quote     []byte
	sig       []byte
	registers []attest.RegisterValue
}

// addQuote adds a quote, up to the bound.
func (b *bundle) addQuote(q rawQuote) error {
	if len(b.quotes) == maxQuotes {
		return fmt.Errorf("more than %d quotes: %w", maxQuotes, attest.ErrForm)
	}
	b.quotes = append(b.quotes, q)
	return nil
}

// fromAttestation takes go-tpm-tools' attestation.
func (b *bundle) fromAttestation(a *attestation) error {
	b.form, b.public = formAttestation, a.akPub
	for i, q := range a.quotes {
		if err := b.addQuote(rawQuote{fmt.Sprintf("quote %d", i+1), q.quote, q.sig, q.registers}); err != nil {
			return err
		}
	}
	if a.akCert != nil {
		b.certificates = append(b.certificates, a.akCert)
		b.certificates = append(b.certificates, a.intermediates...)
	} else if len(a.intermediates) > 0 {
		b.notes = append(b.notes, "intermediate_certs without ak_cert")
	}
	if len(a.eventLog) > 0 {
		b.logs = append(b.logs, File{"event log", a.eventLog})
	}
	b.notes = append(b.notes, a.unread...)
	return nil
}

// object decodes a JSON object's members.
func object(b []byte) (map[string]jsontext.Value, error) {
	if err := cer.Strict(b, jsonDepth); err != nil {
		return nil, fmt.Errorf("%v: %w", err, attest.ErrForm)
	}
	var m map[string]jsontext.Value
	if err := json.Unmarshal(b, &m); err != nil || m == nil {
		return nil, fmt.Errorf("JSON that is no object: %w", attest.ErrForm)
	}
	return m, nil
}

// members decodes one member of a checked object into a value.
func member[T any](m map[string]jsontext.Value, name string) (v T, err error) {
	if m[name] == nil {
		return v, nil
	}
	if err := json.Unmarshal(m[name], &v); err != nil {
		return v, fmt.Errorf("member %q: %v: %w", name, err, attest.ErrForm)
	}
	return v, nil
}

// fromJSON takes the forms of evidence in JSON.
func (b *bundle) fromJSON(m map[string]jsontext.Value) error {
	switch jsonForm(m) {
	case formDump:
		return b.fromDump(m)
	case formVaportpm:
		return b.fromVaportpm(m)
	case formTrustee:
		return b.fromTrustee(m)
	case formAttestation:
		a, err := jsonAttestation(m)
		if err != nil {
			return err
		}
		return b.fromAttestation(a)
	default:
		return fmt.Errorf("JSON of no form that is known: %w", attest.ErrForm)
	}
}

// The forms: files with one structure each, and those in JSON, by their members.
const (
	formFiles    = "files"
	formDump     = "go-attestation dump"
	formVaportpm = "vaportpm evidence"
	formTrustee  = "trustee TPM evidence"
	// formAttestation is the one that is also there in binary and text.
	formAttestation = "go-tpm-tools attest.Attestation"
)

func jsonForm(m map[string]jsontext.Value) string {
	switch {
	case m["AK"] != nil && m["Quote"] != nil:
		return formDump
	case m["attestation"] != nil && (m["ak_pubkeys"] != nil || m["pcrs"] != nil):
		return formVaportpm
	case m["tpm_quote"] != nil:
		return formTrustee
	case m["akPub"] != nil && m["quotes"] != nil:
		return formAttestation
	default:
		return ""
	}
}

// fromDump takes what go-attestation's tools write: every []byte in base64.
func (b *bundle) fromDump(m map[string]jsontext.Value) error {
	b.form = formDump
	static, err := member[struct{ TPMVersion int }](m, "Static")
	if err != nil {
		return err
	}
	if static.TPMVersion == 1 {
		return fmt.Errorf("a TPM 1.2, which knows SHA-1 alone: %w", ErrRefused)
	}
	ak, err := member[struct{ Public []byte }](m, "AK")
	if err != nil {
		return err
	}
	q, err := member[struct{ Nonce, Quote, Signature []byte }](m, "Quote")
	if err != nil {
		return err
	}
	log, err := member[struct {
		PCRs []struct {
			Index  uint32
			Digest []byte
		}
		Raw []byte
	}](m, "Log")
	if err != nil {
		return err
	}
	b.public = ak.Public
	raw := rawQuote{name: "quote", quote: q.Quote, sig: q.Signature}
	if len(log.PCRs) > maxValues {
		return fmt.Errorf("more than %d register values: %w", maxValues, attest.ErrForm)
	}
	for _, p := range log.PCRs {
		raw.registers = append(raw.registers, attest.RegisterValue{Bank: bankOfSize(len(p.Digest)), Index: p.Index, Value: p.Digest})
	}
	if raw.registers, err = sorted(raw.registers); err != nil {
		return err
	}
	if len(q.Nonce) > 0 {
		b.nonces = append(b.nonces, File{"nonce", q.Nonce})
	}
	if len(log.Raw) > 0 {
		b.logs = append(b.logs, File{"event log", log.Raw})
	}
	return b.addQuote(raw)
}

// fromVaportpm takes vaportpm's JSON: everything in hexadecimal, the key as a
// point, the signature as DER.
func (b *bundle) fromVaportpm(m map[string]jsontext.Value) error {
	b.form = formVaportpm
	all, err := member[map[string]jsontext.Value](m, "attestation")
	if err != nil {
		return err
	}
	if err := b.vaportpmDocument(all); err != nil {
		return err
	}
	keys, err := member[map[string]struct {
		X string `json:"x"`
		Y string `json:"y"`
		N string `json:"n"`
		E string `json:"e"`
	}](m, "ak_pubkeys")
	if err != nil {
		return err
	}
	quotes, err := member[map[string]map[string]jsontext.Value](all, "tpm")
	if err != nil {
		return err
	}
	if len(quotes) != 1 || len(keys) > 4 {
		return fmt.Errorf("quotes of %d keys, want one: %w", len(quotes), attest.ErrForm)
	}
	raw := rawQuote{name: "quote"}
	if m["pcrs"] != nil {
		if raw.registers, err = ParseRegisters(m["pcrs"]); err != nil {
			return err
		}
	}
	for name, q := range quotes {
		if b.key, err = bareKey(name, keys[name].X, keys[name].Y, keys[name].N, keys[name].E); err != nil {
			return err
		}
		if raw.quote, err = hexMember(q, "attest_data"); err != nil {
			return err
		}
		if raw.sig, err = hexMember(q, "signature"); err != nil {
			return err
		}
	}
	if err := b.vaportpmRest(m, all); err != nil {
		return err
	}
	return b.addQuote(raw)
}

// vaportpmDocument takes the document of a NitroTPM.
func (b *bundle) vaportpmDocument(all map[string]jsontext.Value) error {
	if all["nitro"] == nil {
		return nil
	}
	if !b.withDocument {
		return fmt.Errorf("a NitroTPM's evidence, whose registers an AWS Nitro document states: it is of kind %s: %w", NitroTPM, ErrRefused)
	}
	m, err := member[map[string]jsontext.Value](all, "nitro")
	if err != nil {
		return err
	}
	doc, err := hexMember(m, "document")
	if err != nil {
		return err
	}
	return b.addDocument(File{"document", doc})
}

// vaportpmRest takes the nonce and the certificates.
func (b *bundle) vaportpmRest(m, all map[string]jsontext.Value) error {
	nonce, err := hexMember(m, "nonce")
	if err != nil {
		return err
	}
	if len(nonce) > 0 {
		b.nonces = append(b.nonces, File{"nonce", nonce})
	}
	gcp, err := member[map[string]jsontext.Value](all, "gcp")
	if err != nil {
		return err
	}
	for name := range gcp {
		chain, err := member[string](gcp, name)
		if err == nil && bytes.Contains([]byte(chain), []byte("-----BEGIN CERTIFICATE-----")) {
			err = b.addPEM([]byte(chain))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// hexMember decodes a member in hexadecimal; nil if it is absent.
func hexMember(m map[string]jsontext.Value, name string) ([]byte, error) {
	s, err := member[string](m, name)
	if err != nil || s == "" {
		return nil, err
	}
	return unhex(s)
}

// bareKey makes a key of its numbers in hexadecimal.
func bareKey(name, x, y, n, e string) (crypto.PublicKey, error) {
	if n != "" {
		modulus, err := unhex(n)
		if err != nil || len(modulus) > 1024 {
			return nil, fmt.Errorf("modulus of key %.20q: %w", name, attest.ErrForm)
		}
		exponent := []byte{1, 0, 1}
		if e != "" {
			if exponent, err = unhex(e); err != nil || len(exponent) > 4 {
				return nil, fmt.Errorf("exponent of key %.20q: %w", name, attest.ErrForm)
			}
		}
		return &rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: int(new(big.Int).SetBytes(exponent).Int64())}, nil
	}
	bx, errX := unhex(x)
	by, errY := unhex(y)
	if errX != nil || errY != nil || len(bx) != len(by) {
		return nil, fmt.Errorf("point of key %.20q: %w", name, attest.ErrForm)
	}
	curve := elliptic.P256()
	if len(bx) == 48 {
		curve = elliptic.P384()
	}
	k, err := ecdsa.ParseUncompressedPublicKey(curve, append(append([]byte{4}, bx...), by...))
	if err != nil {
		return nil, fmt.Errorf("key %.20q is no point of its curve: %w", name, attest.ErrForm)
	}
	return k, nil
}

// fromTrustee takes what trustee's attester for bare TPMs writes: bytes in base64,
// registers as a list or a map.
func (b *bundle) fromTrustee(m map[string]jsontext.Value) error {
	b.form = formTrustee
	q, err := member[struct {
		Message   string         `json:"message"`
		Signature string         `json:"signature"`
		PCRs      jsontext.Value `json:"pcrs"`
	}](m, "tpm_quote")
	if err != nil {
		return err
	}
	raw := rawQuote{name: "quote"}
	if raw.quote, err = unbase64(q.Message); err != nil {
		return err
	}
	if raw.sig, err = unbase64(q.Signature); err != nil {
		return err
	}
	if raw.registers, err = ParseRegisters(q.PCRs); err != nil {
		return err
	}
	text, err := member[string](m, "ak_public")
	if err != nil {
		return err
	}
	area, err := unbase64(text)
	if err != nil {
		return err
	}
	if err := b.addKey(area); err != nil {
		return err
	}
	return b.addQuote(raw)
}

// unbase64 decodes base64 in either alphabet, padded or not, without line ends.
func unbase64(s string) ([]byte, error) {
	for _, e := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if b, err := e.Strict().DecodeString(s); err == nil && !bytes.ContainsAny([]byte(s), "\r\n") {
			return b, nil
		}
	}
	return nil, fmt.Errorf("%.20q is not base64: %w", s, attest.ErrForm)
}

// addKey takes the AK's key: a public area with or without its size, or a
// SubjectPublicKeyInfo in DER.
func (b *bundle) addKey(data []byte) error {
	if area, ok := publicArea(data); ok {
		b.public = area
		return nil
	}
	k, err := x509.ParsePKIXPublicKey(data)
	if err != nil {
		return fmt.Errorf("the AK is neither a public area nor a public key: %w", attest.ErrForm)
	}
	b.key = k
	return nil
}

// publicArea returns the TPMT_PUBLIC of a signing key, from that or TPM2B_PUBLIC.
func publicArea(data []byte) ([]byte, bool) {
	for _, area := range [][]byte{data, unsized(data)} {
		if _, err := tpm.Name(area); err == nil {
			return area, true
		}
	}
	return nil, false
}

// unsized returns what a TPM2B holds that is exactly data; nil for anything else.
func unsized(data []byte) []byte {
	if len(data) < 2 || int(data[0])<<8|int(data[1]) != len(data)-2 {
		return nil
	}
	return data[2:]
}

// addPEM takes certificates in PEM, up to the bound.
func (b *bundle) addPEM(text []byte) error {
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		if text = rest; block.Type != "CERTIFICATE" {
			continue
		}
		if err := b.addCertificate(block.Bytes); err != nil {
			return err
		}
	}
	return nil
}

// addCertificate adds a certificate once, up to the bound.
func (b *bundle) addCertificate(der []byte) error {
	if slices.ContainsFunc(b.certificates, func(c []byte) bool { return bytes.Equal(c, der) }) {
		return nil
	}
	if len(b.certificates) == maxCertificates {
		return fmt.Errorf("more than %d certificates: %w", maxCertificates, attest.ErrForm)
	}
	b.certificates = append(b.certificates, der)
	return nil
}
