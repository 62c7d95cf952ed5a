package verifier_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/signer"
	"github.com/sworn-run/sworn/verifier"
)

// person is somebody who signs records.
type person struct {
	key *authority
	// chain is what goes with an X.509 signature; nil for one who signs as SSH does.
	chain []*x509.Certificate
}

// newPerson makes one with an SSH key.
func newPerson(t *testing.T) *person {
	t.Helper()
	return &person{key: modelLeaf(t, nil, nil)}
}

// withCertificate makes one with a certificate for documents below an authority.
func withCertificate(t *testing.T, below *authority, change func(*x509.Certificate)) *person {
	t.Helper()
	leaf := modelLeaf(t, below, func(c *x509.Certificate) {
		c.Subject.CommonName, c.ExtKeyUsage = "Anna Prüferin", []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}
		if change != nil {
			change(c)
		}
	})
	return &person{leaf, []*x509.Certificate{leaf.cert}}
}

// names are the two names of the person's key.
func (p *person) names(t *testing.T) (fingerprint, spki string) {
	t.Helper()
	k, err := signer.NewKey(p.key.cert.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return k.Fingerprint(), k.SPKI()
}

// sign makes the person's signature over a record.
func (p *person) sign(t *testing.T, role string, c *cer.Capsule) attest.Collateral {
	t.Helper()
	claim := &signer.Claim{Role: role, Evidence: c.EvidenceDigest(), Time: goldenTime(t).Truncate(time.Millisecond), Comment: "seen"}
	var item attest.Collateral
	var err error
	if p.chain == nil {
		item, err = signer.SignSSH(rand.Reader, claim, p.key.key)
	} else {
		item, err = signer.SignX509(rand.Reader, claim, p.key.key, p.chain)
	}
	if err != nil {
		t.Fatal(err)
	}
	return item
}

// signedBy returns the golden page with signatures, each in its place.
func signedBy(t *testing.T, role string, people ...*person) *cer.Capsule {
	t.Helper()
	c := goldenCapsule(t, "page")
	for _, p := range people {
		addSignature(t, c, p.sign(t, role, c))
	}
	return c
}

func addSignature(t *testing.T, c *cer.Capsule, item attest.Collateral) {
	t.Helper()
	all, err := signer.Insert(c.Collateral, item)
	if err != nil {
		t.Fatal(err)
	}
	c.Collateral = all
}

// asking is the golden input by one who wants signers.
func asking(t *testing.T, wanted ...verifier.RecordSigner) verifier.Input {
	t.Helper()
	in := goldenInput(t, "page")
	in.Policy.Signers = wanted
	return in
}

// withAuthority adds an authority of role signer to the golden roots.
func withAuthority(t *testing.T, in verifier.Input, authorities ...*authority) verifier.Input {
	t.Helper()
	var files []verifier.RootFile
	for i, r := range in.Roots.Anchors().Roots {
		files = append(files, verifier.RootFile{Path: fmt.Sprintf("%s/%d.der", r.Role, i), Data: r.Certificate.Raw})
	}
	for i, a := range authorities {
		files = append(files, verifier.RootFile{Path: fmt.Sprintf("signer/%d.der", i), Data: a.cert.Raw})
	}
	in.Roots = modelStore(t, files...)
	return in
}

// TestSignaturesInform: signatures change no verdict by themselves, and are listed.
func TestSignaturesInform(t *testing.T) {
	in := goldenInput(t, "page")
	before := verify(t, golden(t, "page.cer.json"), in)
	c := signedBy(t, signer.RoleOperator, newPerson(t))
	ca := modelAuthority(t, "Auditors", nil)
	addSignature(t, c, withCertificate(t, ca, nil).sign(t, signer.RoleCountersigner, c))
	after := verify(t, encodeCapsule(t, c), in)
	if !after.Trusted || after.Headline != before.Headline || !slices.Equal(after.Assuming, before.Assuming) {
		t.Errorf("%q became %q", before.Headline, after.Headline)
	}
	s := after.Summary.Signatures
	if len(s) != 2 || !s[0].Valid || !s[1].Valid || s[0].Role != signer.RoleOperator || s[0].Kind != signer.KindSSH ||
		s[1].Subject != "CN=Anna Prüferin" || s[1].Issuer != "CN=Auditors" || s[1].Comment != "seen" || s[1].Time != cer.FormatTime(goldenTime(t)) {
		t.Errorf("signatures %+v", s)
	}
	for _, id := range []string{"signer.signature", "evidence.set"} {
		if x := find(t, after, id); x.Status != "passed" {
			t.Errorf("%s: %s", id, x.Detail)
		}
	}
	if x := find(t, after, "signer.match"); x.Status != "not applicable" {
		t.Errorf("signer.match: %s", x.Status)
	}
	var text bytes.Buffer
	if err := after.WriteText(&text, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"signed by", "operator ECDSA P-256 " + s[0].Fingerprint, `whose certificate says "CN=Anna Prüferin"`, "by their own word", "named by no policy"} {
		if !strings.Contains(strings.Join(strings.Fields(text.String()), " "), want) { // Lines are broken anywhere.
			t.Errorf("%q is not in:\n%s", want, text.String())
		}
	}
	reportJSON(t, reportSchema(t), after)
	if x := find(t, before, "signer.signature"); x.Status != "passed" || before.Summary.Signatures != nil {
		t.Errorf("without signatures: %+v", x)
	}
}

// TestSignerAsked: what the policy asks for, and what answers it.
func TestSignerAsked(t *testing.T) {
	anna, other := newPerson(t), newPerson(t)
	fingerprint, spki := anna.names(t)
	otherPrint, _ := other.names(t)
	ca, stranger := modelAuthority(t, "Auditors", nil), modelAuthority(t, "Auditors", nil)
	below := withCertificate(t, ca, nil)
	late := withCertificate(t, ca, func(c *x509.Certificate) { c.NotAfter = goldenTime(t).Add(-time.Minute) })
	server := withCertificate(t, ca, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	belowPrint, _ := below.names(t)
	operator := func(ids ...string) verifier.RecordSigner {
		return verifier.RecordSigner{Role: signer.RoleOperator, Keys: ids}
	}
	authorities := func(all ...*authority) (s verifier.RecordSigner) {
		s.Role = signer.RoleOperator
		for _, a := range all {
			s.Authorities = append(s.Authorities, keyID(a))
		}
		return s
	}
	for _, c := range []struct {
		name   string
		by     []*person
		role   string
		wanted []verifier.RecordSigner
		roots  []*authority
		status string
	}{
		{"fingerprint", []*person{anna}, signer.RoleOperator, []verifier.RecordSigner{operator(fingerprint)}, nil, "passed"},
		{"SubjectPublicKeyInfo", []*person{anna}, signer.RoleOperator, []verifier.RecordSigner{operator(spki)}, nil, "passed"},
		{"one of two", []*person{anna}, signer.RoleOperator, []verifier.RecordSigner{operator(otherPrint, fingerprint)}, nil, "passed"},
		{"both", []*person{anna, other}, signer.RoleOperator, []verifier.RecordSigner{operator(fingerprint), operator(otherPrint)}, nil, "passed"},
		{"one more", []*person{anna, other}, signer.RoleOperator, []verifier.RecordSigner{operator(fingerprint)}, nil, "passed"},
		{"another key", []*person{other}, signer.RoleOperator, []verifier.RecordSigner{operator(fingerprint)}, nil, "failed"},
		{"one of both", []*person{anna}, signer.RoleOperator, []verifier.RecordSigner{operator(fingerprint), operator(otherPrint)}, nil, "failed"},
		{"nobody", nil, signer.RoleOperator, []verifier.RecordSigner{operator(fingerprint)}, nil, "not established"},
		{"another role", []*person{anna}, signer.RoleCountersigner, []verifier.RecordSigner{operator(fingerprint)}, nil, "not established"},
		{"a key with a certificate", []*person{below}, signer.RoleOperator, []verifier.RecordSigner{operator(belowPrint)}, nil, "passed"},
		{"authority", []*person{below}, signer.RoleOperator, []verifier.RecordSigner{authorities(ca)}, []*authority{ca}, "passed"},
		{"one of two authorities", []*person{below}, signer.RoleOperator, []verifier.RecordSigner{authorities(stranger, ca)}, []*authority{stranger, ca}, "passed"},
		{"authority not given", []*person{below}, signer.RoleOperator, []verifier.RecordSigner{authorities(ca)}, nil, "not established"},
		{"authority not listed", []*person{below}, signer.RoleOperator, []verifier.RecordSigner{authorities(stranger)}, []*authority{ca, stranger}, "failed"},
		{"a stranger of its name", []*person{below}, signer.RoleOperator, []verifier.RecordSigner{authorities(stranger)}, []*authority{stranger}, "failed"},
		{"an SSH key", []*person{anna}, signer.RoleOperator, []verifier.RecordSigner{authorities(ca)}, []*authority{ca}, "failed"},
		{"expired", []*person{late}, signer.RoleOperator, []verifier.RecordSigner{authorities(ca)}, []*authority{ca}, "failed"},
		{"a server's", []*person{server}, signer.RoleOperator, []verifier.RecordSigner{authorities(ca)}, []*authority{ca}, "failed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := withAuthority(t, asking(t, c.wanted...), c.roots...)
			r := verify(t, encodeCapsule(t, signedBy(t, c.role, c.by...)), in)
			x := find(t, r, "signer.match")
			if x.Status != c.status || r.Trusted != (c.status == "passed") {
				t.Errorf("%s (%s), want %s: %s", x.Status, x.Detail, c.status, r.Headline)
			}
			if !r.Trusted {
				wantRefused(t, r, "signer.match")
			}
			assumes := strings.Contains(r.Headline, `user-supplied signer authority "Auditors"`)
			if assumes != (r.Trusted && c.roots != nil) {
				t.Errorf("headline %q", r.Headline)
			}
			in.Policy.Waive = append(in.Policy.Waive, verifier.Waiver{Check: "signer.match", Reason: "a test"})
			if r := verify(t, encodeCapsule(t, signedBy(t, c.role, c.by...)), in); !r.Trusted || strings.Contains(r.Headline, "signer.match") != (c.status != "passed") {
				t.Errorf("waived: %s", r.Headline)
			}
		})
	}
}

// TestWrongSignatures: a signature that is wrong, or out of place, is no record's.
func TestWrongSignatures(t *testing.T) {
	in := goldenInput(t, "page")
	anna, other := newPerson(t), newPerson(t)
	replayed := anna.sign(t, signer.RoleOperator, goldenCapsule(t, "full"))
	own := anna.sign(t, signer.RoleOperator, goldenCapsule(t, "page"))
	again := anna.sign(t, signer.RoleOperator, goldenCapsule(t, "page"))
	second := other.sign(t, signer.RoleOperator, goldenCapsule(t, "page"))
	if signerOrder(t, second, own) < 0 {
		own, second = second, own
	}
	boot := attest.Collateral{Kind: verifier.CollateralEventLog, Data: []byte{1}}
	for _, c := range []struct {
		name  string
		items []attest.Collateral
		check string
	}{
		{"of another record", []attest.Collateral{replayed}, "signer.signature"},
		{"beside a right one", []attest.Collateral{other.sign(t, signer.RoleOperator, goldenCapsule(t, "page")), anna.sign(t, signer.RoleCountersigner, goldenCapsule(t, "full"))}, "signer.signature"},
		{"twice", []attest.Collateral{own, own}, "evidence.set"},
		{"twice by one key", []attest.Collateral{again, anna.sign(t, signer.RoleOperator, goldenCapsule(t, "page"))}, "evidence.set"},
		{"in another order", []attest.Collateral{second, own}, "evidence.set"},
		{"before a log", []attest.Collateral{own, boot}, "evidence.set"},
		{"garbage", []attest.Collateral{{Kind: signer.KindSSH, Data: []byte("x")}}, "evidence.set"},
		{"of the other kind", []attest.Collateral{{Kind: signer.KindX509, Data: own.Data}}, "evidence.set"},
		{"of an unknown kind", []attest.Collateral{{Kind: "pgp-signature", Data: own.Data}}, "evidence.set"},
	} {
		t.Run(c.name, func(t *testing.T) {
			capsule := goldenCapsule(t, "page")
			capsule.Collateral = append(capsule.Collateral, c.items...)
			file := encodeCapsule(t, capsule)
			r := verify(t, file, in)
			wantRefused(t, r, c.check)
			if err := r.Genuine(); !errors.Is(err, verifier.ErrRecord) {
				t.Errorf("genuine: %v", err)
			}
			reportJSON(t, reportSchema(t), r)
			var text bytes.Buffer
			if err := r.WriteText(&text, true); err != nil || strings.Contains(c.name, "record") && !strings.Contains(text.String(), "WRONG") {
				t.Errorf("%v:\n%s", err, text.String())
			}
			if _, err := verifier.PolicyFromRecord(file, in.Roots, in.Now, "", nil); !errors.Is(err, verifier.ErrRecord) {
				t.Errorf("a policy is made of it: %v", err)
			}
		})
	}
}

// signerOrder compares two signatures.
func signerOrder(t *testing.T, a, b attest.Collateral) int {
	t.Helper()
	x, err := signer.Parse(a.Kind, a.Data)
	if err != nil {
		t.Fatal(err)
	}
	y, err := signer.Parse(b.Kind, b.Data)
	if err != nil {
		t.Fatal(err)
	}
	return signer.Compare(x, y)
}

// TestSignatureFlips: whatever is changed of a signature, the record is refused.
func TestSignatureFlips(t *testing.T) {
	in := goldenInput(t, "page")
	step := 1
	if testing.Short() {
		step = 97
	}
	ca := modelAuthority(t, "Auditors", nil)
	for name, p := range map[string]*person{"ssh": newPerson(t), "x509": withCertificate(t, ca, nil)} {
		c := signedBy(t, signer.RoleOperator, p)
		n := len(c.Collateral) - 1
		data := slices.Clone(c.Collateral[n].Data)
		for bit := 0; bit < 8*len(data); bit += 8*step + 1 {
			changed := slices.Clone(data)
			changed[bit/8] ^= 1 << (bit % 8)
			c.Collateral[n].Data = changed
			r := verify(t, encodeCapsule(t, c), in)
			if id := named(r); r.Trusted || id != "signer.signature" && id != "evidence.set" {
				t.Fatalf("%s, bit %d: %s", name, bit, r.Headline)
			}
		}
	}
}

// TestSignersFromRecord: the operator is asked for, a countersigner is not.
func TestSignersFromRecord(t *testing.T) {
	anna, auditor := newPerson(t), newPerson(t)
	c := signedBy(t, signer.RoleOperator, anna)
	addSignature(t, c, auditor.sign(t, signer.RoleCountersigner, c))
	in := goldenInput(t, "page")
	p, err := verifier.PolicyFromRecord(encodeCapsule(t, c), in.Roots, in.Now, "", in.Policy.Waive)
	if err != nil {
		t.Fatal(err)
	}
	fingerprint, _ := anna.names(t)
	if len(p.Signers) != 1 || p.Signers[0].Role != signer.RoleOperator || !slices.Equal(p.Signers[0].Keys, []string{fingerprint}) {
		t.Errorf("signers %+v", p.Signers)
	}
	in.Policy = p
	if r := verify(t, golden(t, "page.cer.json"), in); named(r) != "signer.match" {
		t.Errorf("without the signature: %s", r.Headline)
	}
}

// TestPolicySigners: what a policy may say of signers.
func TestPolicySigners(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k, err := signer.NewKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	s := policySchema(t)
	entry := func(pairs ...any) []any {
		m := map[string]any{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i].(string)] = pairs[i+1]
		}
		return []any{m}
	}
	keys := []any{k.Fingerprint(), k.SPKI()}
	good := edit(t, func(p map[string]any) {
		p["signers"] = entry("role", "operator", "keys", keys, "authorities", []any{hexDigest(1)})
	})
	p := parsePolicy(t, good)
	if problem := s.judge(t, good); problem != "" || len(p.Signers) != 1 {
		t.Errorf("the schema refuses it: %s", problem)
	}
	again := parsePolicy(t, mustEncode(t, p))
	if x := again.Signers; len(x) != 1 || !slices.Equal(x[0].Keys, p.Signers[0].Keys) || !slices.Equal(x[0].Authorities, p.Signers[0].Authorities) {
		t.Errorf("written and read again: %+v", x)
	}
	beyond := []string{"a key in two entries"} // The schema sees one place at a time.
	for name, value := range map[string]any{
		"no role":              entry("keys", keys),
		"another role":         entry("role", "owner", "keys", keys),
		"nobody":               entry("role", "operator"),
		"empty lists":          entry("role", "operator", "keys", []any{}, "authorities", []any{}),
		"no key":               entry("role", "operator", "keys", []any{"MD5:aa"}),
		"a short one":          entry("role", "operator", "keys", []any{k.Fingerprint()[:40]}),
		"another spelling":     entry("role", "operator", "keys", []any{"SHA256:" + strings.Repeat("A", 42) + "B"}),
		"a key twice":          entry("role", "operator", "keys", []any{hexDigest(1), hexDigest(1)}),
		"an authority twice":   entry("role", "operator", "authorities", []any{hexDigest(1), hexDigest(1)}),
		"a fingerprint":        entry("role", "operator", "authorities", []any{k.Fingerprint()}),
		"a further member":     entry("role", "operator", "keys", keys, "name", "x"),
		"a key in two entries": append(entry("role", "operator", "keys", keys), entry("role", "operator", "keys", keys)...),
		"too many":             slices.Repeat(entry("role", "operator", "authorities", []any{hexDigest(1)}), 17),
	} {
		b := edit(t, func(p map[string]any) { p["signers"] = value })
		if p, err := verifier.ParsePolicy(b); p != nil || !errors.Is(err, verifier.ErrPolicy) {
			t.Errorf("%s: %v", name, err)
		}
		if (s.judge(t, b) == "") != slices.Contains(beyond, name) {
			t.Errorf("%s: the schema says otherwise", name)
		}
	}
	for name, value := range map[string][]any{
		"two keys":      entry("role", "operator", "keys", keys),
		"authority":     entry("role", "operator", "authorities", []any{hexDigest(1)}),
		"countersigner": entry("role", "countersigner", "keys", keys[:1]),
	} {
		b := edit(t, func(p map[string]any) { p["signers"] = value })
		if !slices.ContainsFunc(parsePolicy(t, b).Lint(), func(l string) bool { return strings.HasPrefix(l, "signers[0]") }) {
			t.Errorf("%s: lint says nothing", name)
		}
	}
	p.Waive = append(p.Waive, verifier.Waiver{Check: "signer.match", Reason: "a test"})
	if !slices.ContainsFunc(p.Lint(), func(l string) bool { return strings.Contains(l, "signer.match is waived") }) {
		t.Error("lint does not say that the check is waived")
	}
}

// TestSignerRoots: authorities of role signer stand in the roots folder, and no keys do.
func TestSignerRoots(t *testing.T) {
	ca, leaf := modelAuthority(t, "Auditors", nil), newPerson(t)
	s := modelStore(t, verifier.RootFile{Path: "signer/ca.pem", Data: asPEM("CERTIFICATE", ca.cert.Raw)})
	if r := s.Anchors().Roots; len(r) != 1 || r[0].Role != "signer" || !r[0].UserSupplied {
		t.Errorf("roots %+v", r)
	}
	for name, f := range map[string]verifier.RootFile{
		"a key":          {Path: "signer/key.pem", Data: asPEM("PUBLIC KEY", leaf.key.cert.RawSubjectPublicKeyInfo)},
		"no authority's": {Path: "signer/leaf.pem", Data: asPEM("CERTIFICATE", leaf.key.cert.Raw)},
		"a folder":       {Path: "signer/x/ca.pem", Data: asPEM("CERTIFICATE", ca.cert.Raw)},
	} {
		if _, err := verifier.NewTrustStore([]verifier.RootFile{f}); !errors.Is(err, verifier.ErrRoots) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSignerBackdated: a time stamp over the evidence does not date a signature, so that a
// certificate that has run out since counts for nothing; one over the whole record does.
func TestSignerBackdated(t *testing.T) {
	s := newStampScene(t)
	ca := issue(t, "Auditors", newKey(t), nil, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = s.at.AddDate(-1, 0, 0), s.at.AddDate(20, 0, 0)
	})
	leaf := issue(t, "Operator", newKey(t), ca, func(c *x509.Certificate) {
		c.IsCA, c.KeyUsage = false, x509.KeyUsageDigitalSignature
		c.NotBefore, c.NotAfter = s.at.Add(-time.Hour), s.at.AddDate(1, 0, 0)
	})
	in := s.trusting(t, s.tsa)
	in.Policy.Signers = []verifier.RecordSigner{{Role: signer.RoleOperator, Authorities: []string{keyID(ca)}}}
	in.Roots = modelStore(t, verifier.RootFile{Path: "amd-ark/Milan/root.pem", Data: pemOf(s.amd.Vendor().ARK())},
		verifier.RootFile{Path: "tsa/a.pem", Data: pemOf(s.tsa.Root())}, verifier.RootFile{Path: "signer/ca.pem", Data: pemOf(ca.cert)})
	stamped := stamp(t, s.file, s.tsa, order(t, s.file, s.at.Add(time.Hour)))
	c, err := cer.ParseCapsule(stamped)
	if err != nil {
		t.Fatal(err)
	}
	addSignature(t, c, (&person{leaf, []*x509.Certificate{leaf.cert}}).sign(t, signer.RoleOperator, c))
	signed := encodeCapsule(t, c)
	wantVerdicts(t, verify(t, signed, in), true, "trusted", "trusted")
	r := verify(t, signed, s.later(in, 9))
	wantVerdicts(t, r, false, "not trusted", "not trusted")
	if got := recordCheck(r, "signer.match"); got != "failed" {
		t.Errorf("signer.match is %s as of the record's time", got)
	}
	archived := stamp(t, signed, s.tsa, archiveOrder(t, signed, crypto.SHA512, s.at.Add(2*time.Hour)))
	wantVerdicts(t, verify(t, archived, s.later(in, 9)), true, "not trusted", "trusted")
	late := stamp(t, signed, s.tsa, archiveOrder(t, signed, crypto.SHA512, s.at.AddDate(2, 0, 0)))
	if r := verify(t, late, s.later(in, 9)); r.Trusted || recordCheck(r, "signer.match") != "failed" {
		t.Errorf("archived after the certificate ran out: %s", r.Headline)
	}
}
