package verifier_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/tpm"
)

// logEdit is a change of a log whose digests are made to fit.
type logEdit struct {
	name string
	edit func(l *attest.Log)
}

// logEdits returns every change of one event of a log of n events.
func logEdits(l *attest.Log) []logEdit {
	var out []logEdit
	add := func(name string, i int, edit func(l *attest.Log)) {
		out = append(out, logEdit{fmt.Sprintf("event %d (%v) %s", i, l.Events[i].Type, name), edit})
	}
	for i := range l.Events {
		add("dropped", i, func(l *attest.Log) { l.Events = slices.Delete(l.Events, i, i+1) })
		add("twice", i, func(l *attest.Log) { l.Events = slices.Insert(l.Events, i, l.Events[i]) })
		add("and all after dropped", i, func(l *attest.Log) { l.Events = l.Events[:i] })
		add("and all before dropped", i, func(l *attest.Log) { l.Events = l.Events[i+1:] })
		if i > 0 {
			add("swapped with the one before", i, func(l *attest.Log) {
				l.Events[i-1], l.Events[i] = l.Events[i], l.Events[i-1]
			})
		}
		for typ := attest.EventOrigin; typ <= attest.EventEnd; typ++ {
			if typ != l.Events[i].Type {
				add(fmt.Sprintf("as %v", typ), i, func(l *attest.Log) { l.Events[i].Type = typ })
			}
		}
		for _, tag := range [][32]byte{{}, {1}, l.Events[1].Launch, l.Events[len(l.Events)-1].Launch} {
			if tag != l.Events[i].Launch {
				add(fmt.Sprintf("of launch %x", tag[:2]), i, func(l *attest.Log) { l.Events[i].Launch = tag })
			}
		}
		if !l.Events[i].Disclosed {
			add("with another hash", i, func(l *attest.Log) { l.Events[i].DataHash[0]++ })
			add("disclosed as nothing", i, func(l *attest.Log) { setData(l, i, nil) })
			continue
		}
		add("withheld", i, func(l *attest.Log) { l.Events[i] = l.Events[i].Withhold() })
		add("with another salt", i, func(l *attest.Log) { l.Events[i].Salt[0]++ })
		add("with a byte more", i, func(l *attest.Log) { setData(l, i, append(bytes.Clone(l.Events[i].Data), ' ')) })
		for at := range l.Events[i].Data {
			add(fmt.Sprintf("with byte %d changed", at), i, func(l *attest.Log) {
				data := bytes.Clone(l.Events[i].Data)
				data[at] ^= 1
				setData(l, i, data)
			})
		}
	}
	return append(out,
		logEdit{"of another register", func(l *attest.Log) { l.Register = 12 }},
		logEdit{"without the second bank", func(l *attest.Log) { l.Banks = l.Banks[:1] }},
		logEdit{"without the first bank", func(l *attest.Log) { l.Banks = l.Banks[1:] }},
		logEdit{"with a bank more", func(l *attest.Log) { l.Banks = append(slices.Clone(l.Banks), attest.SHA512) }},
		logEdit{"with SHA-1 too", func(l *attest.Log) { l.Banks = append([]attest.Alg{attest.SHA1}, l.Banks...) }},
		logEdit{"with an end", func(l *attest.Log) {
			l.Events = append(l.Events, attest.NewEvent(0, attest.EventEnd, l.Events[len(l.Events)-1].Launch, [32]byte{}, []byte(attest.EndCompleted)))
		}},
		logEdit{"without the earlier launch", func(l *attest.Log) {
			begin := lastOf(l, attest.EventLaunchBegin)
			l.Events = append(l.Events[:1:1], l.Events[begin:]...)
		}},
		logEdit{"without any event", func(l *attest.Log) { l.Events = nil }},
	)
}

// TestLogEdited: an attacker edits the log and recomputes every digest in it;
// record, statement and quote are the genuine ones.
func TestLogEdited(t *testing.T) {
	c := goldenCapsule(t, "page")
	log, err := attest.ParseLog(c.Log)
	if err != nil {
		t.Fatal(err)
	}
	var mutants []mutant
	for i, x := range logEdits(log) {
		if i%mutantStride() != 0 {
			continue
		}
		l := &attest.Log{Register: log.Register, Banks: slices.Clone(log.Banks), Events: slices.Clone(log.Events)}
		x.edit(l)
		reindex(l)
		var raw []byte
		for e := range l.Events { // Encode would refuse some of what an attacker writes
			raw = l.AppendRecord(raw, &l.Events[e])
		}
		if bytes.Equal(raw, c.Log) {
			t.Fatalf("%s changes nothing", x.name)
		}
		mutants = append(mutants, mutant{name: x.name, file: encodeCapsule(t, &cer.Capsule{
			CER: c.CER, Statement: c.Statement, Signature: c.Signature, Inclusion: c.Inclusion, Evidence: c.Evidence, Log: raw,
		})})
	}
	refuseAll(t, goldenInput(t, "page"), mutants, func(m mutant) []string {
		switch {
		case strings.HasSuffix(m.name, "withheld"):
			// Nothing is false in what is left; what is missing is missing.
			return []string{"log.launch", "log.commit", "slot.counters", "statement.signature", "log.sole"}
		case strings.Contains(m.name, "(origin) with byte"), strings.Contains(m.name, "(launch-begin) with byte"):
			// Counters and clocks are compared before the log is replayed.
			return []string{"log.replay", "log.launch", "slot.counters"}
		default:
			return []string{"log.replay", "log.launch", "statement.signature", "log.commit"}
		}
	})
}

// TestLogForged: the attacker also has a launch key of its own, seals the
// record anew, makes a statement that fits and signs it. What it has not is the
// TPM's quote over that statement: it keeps the genuine one.
func TestLogForged(t *testing.T) {
	f := newForger(t)
	page := goldenCapsule(t, "page")
	genuine, err := attest.ParseStatement(page.Statement)
	if err != nil {
		t.Fatal(err)
	}
	keepQuote := forgery{
		statement: func(s *attest.Statement) { s.Manifest[0].KeyID = genuine.Manifest[0].KeyID },
		capsule:   func(c *cer.Capsule) { c.Evidence = page.Evidence },
	}
	in := goldenInput(t, "page")
	wantRefused(t, verify(t, f.record(t, keepQuote), in), "slot.binding")
	for _, d := range recordDeeds() {
		x := keepQuote
		x.runtime, x.snapshot, x.created = d.x.runtime, d.x.snapshot, d.x.created
		if r := verify(t, f.record(t, x), in); r.Trusted || r.Genuine() == nil {
			t.Errorf("%s: %s", d.name, r.Headline)
		}
	}
	for _, d := range launchDeeds(t) {
		x := keepQuote
		x.events = d.x.events
		if r := verify(t, f.record(t, x), in); r.Trusted || find(t, r, "slot.binding").Status != "failed" || find(t, r, "log.replay").Status != "failed" {
			t.Errorf("%s: %s", d.name, r.Headline)
		}
	}
}

// TestStatementEdited: an attacker edits one field of the genuine statement,
// leaves the signature or signs with a key of its own, and keeps all else.
func TestStatementEdited(t *testing.T) {
	page := goldenCapsule(t, "page")
	other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	in := goldenInput(t, "page")
	n := 0
	for _, d := range statementDeeds(newForger(t)) {
		if d.x.statement == nil {
			continue
		}
		st, err := attest.ParseStatement(page.Statement)
		if err != nil {
			t.Fatal(err)
		}
		d.x.statement(st)
		c := goldenCapsule(t, "page")
		if c.Statement, err = st.Encode(); err != nil {
			t.Fatal(err)
		}
		for _, signature := range [][]byte{page.Signature, ed25519.Sign(other, attest.SignedBytes(c.Statement)), make([]byte, 64), nil} {
			c.Signature = signature
			r := verify(t, encodeCapsule(t, c), in)
			n++
			if r.Trusted || find(t, r, "statement.signature").Status != "failed" {
				t.Errorf("%s, signature %.4x: %s", d.name, signature, r.Headline)
			}
			if s := find(t, r, "log.commit").Status; s != "failed" {
				t.Errorf("%s: log.commit %s", d.name, s)
			}
		}
	}
	if n == 0 {
		t.Fatal("no statement edited")
	}
	// What the encoder refuses to write: every byte, one at a time.
	for i := 0; i < len(page.Statement); i += mutantStride() {
		c := goldenCapsule(t, "page")
		c.Statement[i] ^= 0xFF
		if r := verify(t, encodeCapsule(t, c), in); r.Trusted || r.Genuine() == nil {
			t.Errorf("byte %d: %s", i, r.Headline)
		}
	}
	for _, edit := range []func([]byte) []byte{
		func(b []byte) []byte { return append(b, 0) }, func(b []byte) []byte { return b[:len(b)-1] },
		func([]byte) []byte { return nil }, func(b []byte) []byte { return append(b, b...) },
	} {
		c := goldenCapsule(t, "page")
		c.Statement = edit(c.Statement)
		wantRefused(t, verify(t, encodeCapsule(t, c), in), "statement.form")
	}
}

// TestEvidenceEdited: parts of the quote exchanged for others that fit in form.
func TestEvidenceEdited(t *testing.T) {
	page, gold := goldenCapsule(t, "page"), goldenCapsule(t, "golden")
	f := newForger(t)
	in := goldenInput(t, "page")
	part := func(c *cer.Capsule, name string) *attest.Part {
		for i := range c.Evidence[0].Parts {
			if c.Evidence[0].Parts[i].Name == name {
				return &c.Evidence[0].Parts[i]
			}
		}
		t.Fatalf("no part %s", name)
		return nil
	}
	for _, x := range []struct {
		name, check string
		edit        func(c *cer.Capsule)
	}{
		{"the quote of another record", "slot.binding", func(c *cer.Capsule) { c.Evidence = gold.Evidence }},
		{"the attest of another record", "slot.signature", func(c *cer.Capsule) { part(c, tpm.PartAttest).Data = part(gold, tpm.PartAttest).Data }},
		{"the signature of another record", "slot.signature", func(c *cer.Capsule) { part(c, tpm.PartSignature).Data = part(gold, tpm.PartSignature).Data }},
		{"the registers of another record", "slot.signature", func(c *cer.Capsule) { part(c, tpm.PartPCRs).Data = part(gold, tpm.PartPCRs).Data }},
		{"another's public key", "slot.signature", func(c *cer.Capsule) { part(c, tpm.PartPublic).Data = f.public }},
		{"another's quote", "slot.binding", func(c *cer.Capsule) {
			log, err := attest.ParseLog(c.Log)
			if err != nil {
				t.Fatal(err)
			}
			c.Evidence = []attest.Evidence{*f.quote(t, forgery{}, log, c.Statement)}
		}},
		{"another's certificate", "slot.identity", func(c *cer.Capsule) {
			c.Evidence[0].Parts = append(c.Evidence[0].Parts[:4:4], attest.Part{Name: tpm.PartCertificate, Data: f.akCert})
		}},
		{"a certificate for this key by another", "slot.identity", func(c *cer.Capsule) {
			c.Evidence[0].Parts = append(c.Evidence[0].Parts[:4:4], attest.Part{Name: tpm.PartCertificate, Data: f.certify(t, part(c, tpm.PartPublic).Data)})
		}},
		{"no certificate", "slot.identity", func(c *cer.Capsule) { c.Evidence[0].Parts = c.Evidence[0].Parts[:4] }},
		{"a parent", "slot.mode", func(c *cer.Capsule) {
			name, err := tpm.Name(f.public)
			if err != nil {
				t.Fatal(err)
			}
			c.Evidence[0].Parts = slices.Insert(c.Evidence[0].Parts, 3, attest.Part{Name: tpm.PartParent, Data: name})
		}},
		{"an unknown part", "slot.form", func(c *cer.Capsule) {
			c.Evidence[0].Parts = append(c.Evidence[0].Parts, attest.Part{Name: "note", Data: []byte("x")})
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			c := goldenCapsule(t, "page")
			x.edit(c)
			wantRefused(t, verify(t, encodeCapsule(t, c), in), x.check)
		})
	}
	if len(page.Evidence[0].Parts) != 6 {
		t.Errorf("%d parts", len(page.Evidence[0].Parts))
	}
}

// certify returns a certificate of the forger's for the key of a TPMT_PUBLIC
// as akPublic writes it.
func (f *forger) certify(tb testing.TB, public []byte) []byte {
	tb.Helper()
	point := append([]byte{4}, public[len(public)-66:len(public)-34]...)
	k, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(point, public[len(public)-32:]...))
	if err != nil {
		tb.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(8), Subject: pkix.Name{CommonName: "FORGED AK"}, KeyUsage: x509.KeyUsageDigitalSignature,
		NotBefore: f.root.cert.NotBefore, NotAfter: f.root.cert.NotAfter, BasicConstraintsValid: true,
		UnknownExtKeyUsage: []asn1.ObjectIdentifier{{2, 23, 133, 8, 3}},
	}, f.root.cert, k, f.root.key)
	if err != nil {
		tb.Fatal(err)
	}
	return der
}

// TestCarriage: the two freedoms of those who carry a record. Neither says
// anything else than the original does: the second form of an ECDSA signature,
// and the certificate of the root itself at the end of a chain that leads to
// it. Both change the evidence digest, which is what a time stamp covers.
func TestCarriage(t *testing.T) {
	page := verify(t, golden(t, "page.cer.json"), goldenInput(t, "page"))
	for name, edit := range map[string]func(c *cer.Capsule){
		"the signature's second form": func(c *cer.Capsule) {
			sig := c.Evidence[0].Parts[1].Data
			s := new(big.Int).SetBytes(sig[len(sig)-32:])
			s.Sub(elliptic.P256().Params().N, s).FillBytes(sig[len(sig)-32:])
		},
		"the root's certificate": func(c *cer.Capsule) {
			root := goldenRoots(t).Anchors().Roots[0].Certificate.Raw
			c.Evidence[0].Parts = append(c.Evidence[0].Parts, attest.Part{Name: tpm.PartCertificate, Data: root})
		},
	} {
		c := goldenCapsule(t, "page")
		edit(c)
		r := verify(t, encodeCapsule(t, c), goldenInput(t, "page"))
		if !r.Trusted || r.Headline != page.Headline {
			t.Errorf("%s: %s", name, r.Headline)
		}
		if r.Capsule == page.Capsule || r.Summary.EvidenceDigest == page.Summary.EvidenceDigest || r.Summary.CertificateHash != page.Summary.CertificateHash {
			t.Errorf("%s: capsule %s, evidence %s, record %s", name, r.Capsule, r.Summary.EvidenceDigest, r.Summary.CertificateHash)
		}
	}
}

// TestLaterLog: a log that went on after the record, as the machine's own file
// has it, is not the record's log, whatever is true in it.
func TestLaterLog(t *testing.T) {
	page, full := goldenCapsule(t, "page"), goldenCapsule(t, "full")
	page.Log = full.Log
	r := verify(t, encodeCapsule(t, page), goldenInput(t, "page"))
	if r.Trusted || find(t, r, "log.replay").Status != "failed" || find(t, r, "log.commit").Status != "failed" {
		t.Errorf("%s", r.Headline)
	}
}
