package appraise

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/bootlog"
	"github.com/sworn-run/sworn/tpm"
)

// tpm appraises quotes and what came with them.
func (a *appraisal) tpm() error {
	b := &bundle{form: formFiles}
	unused, err := b.sort(a.in.Files)
	a.report.Form = b.form
	if err != nil {
		return fmt.Errorf("reading the evidence: %w", err)
	}
	if len(b.quotes) == 0 {
		return fmt.Errorf("no quote in the evidence: %w", attest.ErrForm)
	}
	b.split()
	accepted := 0
	for i := range b.quotes {
		ok, err := a.quote(b, &b.quotes[i])
		if err != nil {
			return err
		}
		if ok {
			accepted++
		}
	}
	if accepted == 0 {
		return fmt.Errorf("every quote selects SHA-1 or nothing, which proves nothing: %w", ErrRefused)
	}
	if err := a.booted(b); err != nil {
		return err
	}
	for _, n := range b.notes {
		a.open(n, "not read", "this version reads quotes, keys, certificates and the firmware's log")
	}
	a.endorsement(b)
	for _, n := range b.aside {
		a.open(n, "not used", "it says nothing of the key that signed")
	}
	for _, f := range b.documents {
		unused = append(unused, f.Name)
	}
	a.unread(unused)
	return nil
}

// booted compares logs and lists with the quoted registers.
func (a *appraisal) booted(b *bundle) error {
	for i := range b.logs {
		if err := a.quotedLog(&b.logs[i]); err != nil {
			return err
		}
	}
	for i := range b.lists {
		if err := a.quotedList(&b.lists[i]); err != nil {
			return err
		}
	}
	return nil
}

// split keeps of the certificates the AK's and those that follow from it, issuer by
// issuer: that of an endorsement key or a platform, which may lie beside it, says
// nothing of the AK.
func (b *bundle) split() {
	key, ok := b.ak().(interface{ Equal(x crypto.PublicKey) bool })
	if !ok || len(b.certificates) == 0 {
		return
	}
	var chain, rest []*x509.Certificate
	for _, der := range b.certificates {
		c, err := x509.ParseCertificate(der)
		switch {
		case err != nil && (b.form != formFiles || b.akNamed):
			return // The quote's appraisal says why.
		case err != nil:
			b.aside = append(b.aside, "a certificate that is malformed")
		case len(chain) == 0 && key.Equal(c.PublicKey):
			chain = append(chain, c)
		default:
			rest = append(rest, c)
		}
	}
	if len(chain) == 0 && (b.form != formFiles || b.akNamed) {
		return // It is for another key, and that counts against it.
	}
	for i := 0; i < len(chain); i++ {
		at := slices.IndexFunc(rest, func(c *x509.Certificate) bool { return bytes.Equal(c.RawSubject, chain[i].RawIssuer) })
		if at >= 0 {
			chain = append(chain, rest[at])
			rest = slices.Delete(rest, at, at+1)
		}
	}
	b.certificates = nil
	for _, c := range chain {
		b.certificates = append(b.certificates, c.Raw)
	}
	b.others = rest
}

// endorsement reports the certificates beside the AK's: which are of endorsement keys
// that a maker certified. That the AK is in the same TPM, none of them says.
func (a *appraisal) endorsement(b *bundle) {
	for _, c := range b.others {
		subject := fmt.Sprintf("certificate of %.80q", c.Subject.String())
		ek, err := tpm.VerifyEK([][]byte{c.Raw}, a.in.Anchors, a.in.At)
		if err != nil {
			a.open(subject, "endorsement key", "%v", err)
			continue
		}
		a.proven(subject, "endorsement key", "of a TPM %s %s %s, under %q", ek.Vendor, ek.Model, ek.Version, ek.Root.Certificate.Subject.String())
		a.open(subject, "endorsement key", "that the key which signed is in that TPM is not shown by anything here")
	}
}

// ak returns the AK's key; nil if only a certificate has it.
func (b *bundle) ak() crypto.PublicKey {
	if b.public != nil {
		k, err := tpm.PublicKey(b.public)
		if err != nil {
			return nil // The quote's appraisal says why.
		}
		return k
	}
	return b.key
}

// quote appraises one quote. It is false for one that selects SHA-1 or nothing.
func (a *appraisal) quote(b *bundle, q *rawQuote) (bool, error) {
	selection, err := tpm.QuoteSelection(q.quote)
	if err != nil {
		return false, fmt.Errorf("%s: %w", q.name, err)
	}
	for _, s := range selection {
		if s.Bank == attest.SHA1 {
			a.open(q.name, "bank", "selects SHA-1, which proves nothing: not looked at")
			return false, nil
		}
	}
	sig := q.sig
	if key := b.ak(); key != nil && !typedSignature(sig) {
		if sig, err = tpm.PlainSignature(q.quote, sig, key); err != nil {
			return false, fmt.Errorf("%s: %w", q.name, err)
		}
	}
	c, err := tpm.AppraiseQuote(&tpm.RawQuote{
		Attest: q.quote, Signature: sig, Public: b.public, Key: b.key, Parents: b.parents,
		Registers: q.registers, Certificates: b.certificates,
	}, a.in.Anchors, a.in.At)
	if err != nil {
		return false, fmt.Errorf("%s: %w", q.name, err)
	}
	if err := a.claims(q.name, c); err != nil {
		return false, err
	}
	return true, a.nonce(b, q.name, c.Quoted)
}

// typedSignature reports whether a signature tells its algorithm.
func typedSignature(b []byte) bool { return smallContent(b) == isSignature }

// claims reports what a quote established.
func (a *appraisal) claims(name string, c *tpm.RawClaims) error {
	detail := map[string]string{}
	for _, d := range c.Details {
		detail[d.Name] = d.Value
	}
	a.proven(name, "signature", "%s by the AK, %s", detail["sigAlg"], detail["AK type"])
	uncovered := ""
	if c.Uncovered > 0 {
		uncovered = fmt.Sprintf("; %d more values that came with it are not quoted", c.Uncovered)
	}
	a.proven(name, "registers", "%s, the signed digest is that of their values%s", detail["pcrSelect"], uncovered)
	for _, v := range c.Registers {
		if !slices.ContainsFunc(a.report.Quoted, func(o attest.RegisterValue) bool { return o.Bank == v.Bank && o.Index == v.Index }) {
			a.report.Quoted = append(a.report.Quoted, v)
		}
	}
	a.find(name, "counters", attest.Finding{Status: attest.Passed, Detail: fmt.Sprintf(
		"clock %d ms, reset %d, restart %d, safe %v, firmware 0x%016x, as signed",
		c.Counters.Clock, c.Counters.ResetCount, c.Counters.RestartCount, c.Counters.Safe, c.Counters.Firmware)})
	a.find(name, "key", keyKind(c))
	a.find(name, "identity", c.Identity.Finding)
	a.find(name, "revocation", c.Revocation)
	switch {
	case c.Identity.Status == attest.Failed:
		return fmt.Errorf("%s: identity: %s: %w", name, c.Identity.Detail, ErrRefused)
	case a.in.Strict && c.Identity.Status != attest.Passed:
		return fmt.Errorf("%s: nobody who is trusted vouches for the key: %s: %w", name, c.Identity.Detail, ErrRefused)
	case a.in.Strict && c.Mode.Status != attest.Passed:
		return fmt.Errorf("%s: the kind of key is not established: %s: %w", name, c.Mode.Detail, ErrRefused)
	}
	return nil
}

// keyKind is what is known of the kind of key. A program can say of its key what a
// TPM says: without an issuer who vouches for it, nobody knows that a TPM holds it.
func keyKind(c *tpm.RawClaims) attest.Finding {
	if c.Mode.Status == attest.Passed && c.Identity.Status != attest.Passed {
		return attest.Finding{Detail: "says of itself, and nobody who is trusted vouches for it: " + c.Mode.Detail}
	}
	return c.Mode
}

// nonce compares what was asked for with what was quoted.
func (a *appraisal) nonce(b *bundle, name string, quoted []byte) error {
	for _, n := range b.nonces {
		text, err := hex.DecodeString(strings.TrimSpace(string(n.Data)))
		if !bytes.Equal(n.Data, quoted) && (err != nil || !bytes.Equal(text, quoted)) {
			return a.against(name, n.Name, "%x is quoted, %x was asked for", quoted, n.Data)
		}
		a.proven(name, n.Name, "%x is quoted, as the evidence says was asked for", quoted)
	}
	if len(b.nonces) == 0 {
		value := "empty"
		if len(quoted) > 0 {
			value = hex.EncodeToString(quoted)
		}
		a.open(name, "freshness", "extraData is %s; whether somebody asked for that is not in the evidence", value)
	}
	return nil
}

// lastFirmware is the last of the registers that nothing extends after the firmware's
// log ends.
const lastFirmware = 7

// quotedLog compares a log with the quoted registers.
func (a *appraisal) quotedLog(f *File) error {
	l, err := bootlog.Parse(f.Data, bootlog.PCRs)
	if err != nil {
		return fmt.Errorf("%s: %w", f.Name, err)
	}
	done := false
	for _, bank := range []attest.Alg{attest.SHA256, attest.SHA384, attest.SHA512} {
		if !l.Has(bank) || !slices.ContainsFunc(a.report.Quoted, func(v attest.RegisterValue) bool { return v.Bank == bank }) {
			continue
		}
		facts, err := a.confirm(f, l, bank)
		if err != nil {
			return err
		}
		if !done {
			a.facts(f.Name, facts, true)
		}
		done = true
	}
	if !done {
		a.open(f.Name, "replay", "no bank but SHA-1 is in the log and quoted too")
	}
	return nil
}

// endings are what a firmware measures when its services end, which a log read
// before that does not have (PFP, 8.2.4).
func endings(bank attest.Alg) [][]bootlog.Extend {
	at := func(texts ...string) (out []bootlog.Extend) {
		for _, t := range texts {
			out = append(out, bootlog.Extend{Index: 5, Digest: bank.Sum([]byte("Exit Boot Services " + t))})
		}
		return out
	}
	return [][]bootlog.Extend{
		at("Invocation", "Returned with Success"),
		at("Invocation", "Returned with Failure", "Returned with Success"),
		at("Invocation", "Returned with Failure", "Invocation", "Returned with Success"),
	}
}

// confirm wants each register of the firmware confirmed that is quoted and in the
// log. What a later system extends may differ.
func (a *appraisal) confirm(f *File, l *bootlog.Log, bank attest.Alg) (*bootlog.Facts, error) {
	facts, err := l.Appraise(bank, a.report.Quoted, bootlog.Options{})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name, refusal(err))
	}
	for _, further := range endings(bank) {
		r := registerOf(facts, 5)
		if r == nil || r.Status != bootlog.Differs || facts.ExitBootServices.Invoked != 0 {
			break
		}
		with, err := l.Appraise(bank, a.report.Quoted, bootlog.Options{Further: further})
		if r := registerOf(with, 5); err == nil && r != nil && r.Status == bootlog.Confirmed {
			a.proven(f.Name, "end of the firmware's services", "was extended after the log was read: register 5 says so")
			facts = with
		}
	}
	var confirmed, differs, unquoted []string
	for _, r := range facts.Registers {
		name := fmt.Sprint(r.Index)
		switch {
		case r.Status == bootlog.Confirmed:
			confirmed = append(confirmed, name)
		case r.Status == bootlog.NotQuoted:
			unquoted = append(unquoted, name)
		case r.Index <= lastFirmware:
			return nil, a.against(f.Name, "replay "+bank.String(), "the log does not give the quoted value of register %d", r.Index)
		default:
			differs = append(differs, name)
		}
	}
	if len(confirmed) > 0 {
		a.proven(f.Name, "replay "+bank.String(), "gives the quoted registers %s", strings.Join(confirmed, ","))
	}
	if len(differs) > 0 {
		a.open(f.Name, "replay "+bank.String(), "registers %s were extended after the log, or are not this log's: nothing is read from them", strings.Join(differs, ","))
	}
	if len(unquoted) > 0 {
		a.open(f.Name, "replay "+bank.String(), "registers %s are not quoted: nothing is read from them", strings.Join(unquoted, ","))
	}
	return facts, nil
}

// registerOf returns a register of the log; nil if it does not extend it.
func registerOf(f *bootlog.Facts, index uint32) *bootlog.Register {
	if f == nil {
		return nil
	}
	for i := range f.Registers {
		if f.Registers[i].Index == index {
			return &f.Registers[i]
		}
	}
	return nil
}

// refusal makes an error of evidence out of one of an argument: what was compared
// came from the evidence.
func refusal(err error) error {
	if errors.Is(err, attest.ErrArgument) || errors.Is(err, bootlog.ErrReplay) {
		return fmt.Errorf("%v: %w", err, ErrRefused)
	}
	return err
}

// quotedList compares an IMA list with the quoted registers.
func (a *appraisal) quotedList(f *File) error {
	l, err := asList(f)
	if err != nil {
		return fmt.Errorf("%s: %w", f.Name, err)
	}
	values := map[uint32][]byte{}
	for _, v := range a.report.Quoted {
		if v.Bank == attest.SHA256 {
			values[v.Index] = v.Value
		}
	}
	index := l.Entries[0].Index
	if values[index] == nil {
		a.open(f.Name, "replay", "register %d of bank sha256 is not quoted: the list of %d entries proves nothing", index, len(l.Entries))
		return nil
	}
	n, err := l.Confirmed(index, values[index])
	if err != nil {
		return fmt.Errorf("%s: %w", f.Name, refusal(err))
	}
	if n == 0 {
		return a.against(f.Name, "replay sha256", "no beginning of the list gives the quoted value of register %d", index)
	}
	a.proven(f.Name, "replay sha256", "gives the quoted register %d with %d of %d entries", index, n, len(l.Entries))
	var first [][]byte
	for i := range uint32(10) {
		first = append(first, values[i])
	}
	if l.CheckAggregate(first) {
		a.proven(f.Name, "boot aggregate", "is that of the quoted registers")
	} else {
		a.open(f.Name, "boot aggregate", "does not establish that the list is of the quoted boot")
	}
	a.violations(f.Name, l.Entries[:n])
	return nil
}
