package appraise

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/nitro"
	"github.com/sworn-run/sworn/tpm"
)

// hasDocument reports whether a form of a TPM's evidence holds a NitroTPM's document.
func hasDocument(m map[string]jsontext.Value) bool {
	all, err := member[map[string]jsontext.Value](m, "attestation")
	return err == nil && all["nitro"] != nil
}

// documentKind tells whose document a file has. A broken one is told by the member
// that tells a genuine one, and appraised to say why it is none.
func documentKind(f *File) Kind {
	kind, err := nitro.KindOf(f.Data)
	if kind == nitro.TPM || err != nil && bytes.Contains(f.Data, []byte("nitrotpm_pcrs")) {
		return NitroTPM
	}
	return Nitro
}

// addDocument adds a document once, up to the bound.
func (b *bundle) addDocument(f File) error {
	if slices.ContainsFunc(b.documents, func(o File) bool { return bytes.Equal(o.Data, f.Data) }) {
		return nil
	}
	if len(b.documents) == maxQuotes {
		return fmt.Errorf("more than %d documents: %w", maxQuotes, attest.ErrForm)
	}
	b.documents = append(b.documents, f)
	return nil
}

// nitro appraises documents of enclaves.
func (a *appraisal) nitro() error {
	b := &bundle{form: formFiles}
	unused, err := b.sort(a.in.Files)
	a.report.Form = b.form
	if err != nil {
		return fmt.Errorf("reading the evidence: %w", err)
	}
	if len(b.documents) == 0 {
		return fmt.Errorf("no document in the evidence, an untagged COSE_Sign1 under ES384: %w", attest.ErrForm)
	}
	for i := range b.documents {
		d, err := a.document(b, &b.documents[i], nitro.Enclave)
		if err != nil {
			return err
		}
		// Those of several enclaves are no one's registers.
		if len(b.documents) == 1 {
			a.report.Quoted = d.Registers
		}
	}
	for _, q := range b.quotes {
		unused = append(unused, q.name)
	}
	a.unread(unused)
	return nil
}

// nitroTPM appraises the document of a NitroTPM, and the quotes beside it.
func (a *appraisal) nitroTPM() error {
	b := &bundle{form: formFiles, withDocument: true}
	unused, err := b.sort(a.in.Files)
	a.report.Form = b.form
	if err != nil {
		return fmt.Errorf("reading the evidence: %w", err)
	}
	if len(b.documents) != 1 {
		return fmt.Errorf("%d different documents in the evidence, want one, an untagged COSE_Sign1 under ES384: %w", len(b.documents), attest.ErrForm)
	}
	d, err := a.document(b, &b.documents[0], nitro.TPM)
	if err != nil {
		return err
	}
	// Whose the AK is, the document says or nobody.
	b.certificates = nil
	for i := range b.quotes {
		if err := a.stated(b, &b.quotes[i], d); err != nil {
			return err
		}
	}
	a.report.Quoted = d.Registers
	if err := a.booted(b); err != nil {
		return err
	}
	a.unread(unused)
	return nil
}

// document appraises one document, of that kind.
func (a *appraisal) document(b *bundle, f *File, kind nitro.Kind) (*nitro.Appraisal, error) {
	lists, names := a.revocationLists()
	d, err := nitro.Appraise(f.Data, lists, a.in.Anchors, a.in.At)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name, err)
	}
	if d.Kind != kind {
		return nil, fmt.Errorf("%s: the document is of kind %s: %w", f.Name, documentKind(f), attest.ErrForm)
	}
	a.proven(f.Name, "signature", "ES384 by the key of the certificate in the document, of module %s", d.ModuleID)
	a.proven(f.Name, "registers", "%d of bank sha384, as signed", len(d.Registers))
	if kind == nitro.Enclave {
		a.proven(f.Name, "mode", "registers 0 to 2 state what was launched: the enclave is not in debug mode")
	}
	a.open(f.Name, "time", "made at %s, by the word of the key that signed", d.Time.Format("2006-01-02T15:04:05.000Z07:00"))
	a.find(f.Name, "identity", d.Identity.Finding)
	a.find(f.Name, "revocation", d.Revocation)
	for _, u := range d.Used {
		a.proven(names[u.Index], "used", "%s, of %s, until %s", u.What, u.From.UTC().Format("2006-01-02"), u.Until.UTC().Format("2006-01-02"))
	}
	switch {
	case d.Identity.Status == attest.Failed:
		return nil, fmt.Errorf("%s: identity: %s: %w", f.Name, d.Identity.Detail, ErrRefused)
	case d.Revocation.Status == attest.Failed:
		return nil, fmt.Errorf("%s: revocation: %s: %w", f.Name, d.Revocation.Detail, ErrRefused)
	case a.in.Strict && d.Identity.Status != attest.Passed:
		return nil, fmt.Errorf("%s: nobody who is trusted vouches for the key: %s: %w", f.Name, d.Identity.Detail, ErrRefused)
	}
	return d, a.asked(b, f.Name, d)
}

// asked reports what whoever asked for a document had it say.
func (a *appraisal) asked(b *bundle, name string, d *nitro.Appraisal) error {
	for _, x := range []struct {
		name string
		data []byte
	}{{"user_data", d.UserData}, {"public_key", d.PublicKey}} {
		if x.data != nil {
			a.proven(name, x.name, "%s, as whoever asked for the document had it say", hex.EncodeToString(x.data))
		}
	}
	if d.Nonce == nil {
		a.open(name, "freshness", "the document has no nonce")
		return nil
	}
	for _, n := range b.nonces {
		text, err := hex.DecodeString(string(bytes.TrimSpace(n.Data)))
		if !bytes.Equal(n.Data, d.Nonce) && (err != nil || !bytes.Equal(text, d.Nonce)) {
			return a.against(name, n.Name, "%x is in the document, %x was asked for", d.Nonce, n.Data)
		}
		a.proven(name, n.Name, "%x is in the document, as the evidence says was asked for", d.Nonce)
	}
	if len(b.nonces) == 0 {
		a.open(name, "freshness", "nonce %x; whether somebody asked for that is not in the evidence", d.Nonce)
	}
	return nil
}

// stated appraises a quote of the TPM whose registers a document states. Strictly it
// must be by the key that the document names, and of registers that it states.
func (a *appraisal) stated(b *bundle, q *rawQuote, d *nitro.Appraisal) error {
	a.report.Quoted = nil
	// The document vouches, no certificate of the AK.
	apart := &appraisal{in: a.in, report: a.report}
	apart.in.Strict = false
	ok, err := apart.quote(b, q)
	if err != nil || !ok {
		return err
	}
	compared := 0
	for _, v := range a.report.Quoted {
		if v.Bank != attest.SHA384 {
			continue
		}
		at := slices.IndexFunc(d.Registers, func(r attest.RegisterValue) bool { return r.Index == v.Index })
		if at < 0 || !bytes.Equal(d.Registers[at].Value, v.Value) {
			return a.against(q.name, "document", "register %d is not as the document states it", v.Index)
		}
		compared++
	}
	named := named(b.ak(), d.PublicKey)
	switch {
	case compared > 0:
		a.proven(q.name, "document", "states the same values of %d registers", compared)
	case a.in.Strict:
		return a.against(q.name, "document", "states none of the quoted registers")
	default:
		a.open(q.name, "document", "states none of the quoted registers")
	}
	switch {
	case named:
		a.proven(q.name, "AK", "is the key that the document names, because who asked for it had it name that one; that the TPM holds it, nothing shows")
	case d.PublicKey != nil || a.in.Strict:
		return a.against(q.name, "AK", "is not the key that the document names")
	default:
		a.open(q.name, "AK", "the document names no key")
	}
	return nil
}

// named reports whether the key in a document is the AK's: SubjectPublicKeyInfo, a
// TPM's public area, or a point of P-256 or P-384.
func named(ak crypto.PublicKey, text []byte) bool {
	key, ok := ak.(interface{ Equal(x crypto.PublicKey) bool })
	if !ok || len(text) == 0 {
		return false
	}
	if k, err := x509.ParsePKIXPublicKey(text); err == nil {
		return key.Equal(k)
	}
	for _, c := range []elliptic.Curve{elliptic.P256(), elliptic.P384()} {
		if k, err := ecdsa.ParseUncompressedPublicKey(c, text); err == nil {
			return key.Equal(k)
		}
	}
	area, ok := publicArea(text)
	if !ok {
		return false
	}
	k, err := tpm.PublicKey(area)
	return err == nil && key.Equal(k)
}

// revocationLists returns the files that are revocation lists, in DER or PEM, and their
// names.
func (a *appraisal) revocationLists() (out []attest.Collateral, names []string) {
	for _, f := range a.in.Files {
		der := f.Data
		if block, _ := pem.Decode(der); block != nil && block.Type == "X509 CRL" {
			der = block.Bytes
		}
		if len(der) == 0 || der[0] != 0x30 {
			continue
		}
		if _, err := x509.ParseRevocationList(der); err == nil {
			out = append(out, attest.Collateral{Kind: attest.CollateralCRL, Data: der})
			names = append(names, f.Name)
		}
	}
	return out, names
}
