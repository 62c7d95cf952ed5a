package verifier_test

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/simulator/amd"
	"github.com/sworn-run/sworn/simulator/tsa"
	"github.com/sworn-run/sworn/verifier"
)

// stampScene is a record of a confidential VM, and authorities that can stamp it.
type stampScene struct {
	*teeForger
	file []byte
	tsa  *tsa.Authority
	in   verifier.Input
}

// newStampScene makes a record of SEV-SNP that is trusted now, and an authority whose root
// is trusted too.
func newStampScene(tb testing.TB) *stampScene {
	tb.Helper()
	s := &stampScene{teeForger: newTEEForger(tb)}
	s.file = s.snp(tb, nil, nil)
	s.tsa = newTSA(tb, s.at, tsa.Options{})
	s.in = s.trusting(tb, s.tsa)
	return s
}

func newTSA(tb testing.TB, at time.Time, o tsa.Options) *tsa.Authority {
	tb.Helper()
	a, err := tsa.New(at.Add(-time.Hour), o)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// trusting is the input that trusts the vendor and these authorities.
func (s *stampScene) trusting(tb testing.TB, authorities ...*tsa.Authority) verifier.Input {
	tb.Helper()
	in := s.input(tb, "sev-snp", nil)
	files := []verifier.RootFile{{Path: "amd-ark/Milan/root.pem", Data: pemOf(s.amd.Vendor().ARK())}}
	for i, a := range authorities {
		files = append(files, verifier.RootFile{Path: "tsa/" + string(rune('a'+i)) + ".pem", Data: pemOf(a.Root())})
	}
	var err error
	if in.Roots, err = verifier.NewTrustStore(files); err != nil {
		tb.Fatal(err)
	}
	in.Now = s.at.Add(2 * time.Hour)
	return in
}

func pemOf(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

// order is a token over the evidence of a record.
func order(tb testing.TB, file []byte, at time.Time) tsa.Order {
	tb.Helper()
	c, err := cer.ParseCapsule(file)
	if err != nil {
		tb.Fatal(err)
	}
	e := c.EvidenceDigest()
	return tsa.Order{Hash: crypto.SHA256, Imprint: e[:], Time: at}
}

// archiveOrder is one over all of a record.
func archiveOrder(tb testing.TB, file []byte, h crypto.Hash, at time.Time) tsa.Order {
	tb.Helper()
	c, err := cer.ParseCapsule(file)
	if err != nil {
		tb.Fatal(err)
	}
	d, err := c.ArchiveDigest(h, len(c.Tokens))
	if err != nil {
		tb.Fatal(err)
	}
	return tsa.Order{Hash: h, Imprint: d, Time: at}
}

// stamp adds a token to a record.
func stamp(tb testing.TB, file []byte, a *tsa.Authority, o tsa.Order) []byte {
	tb.Helper()
	token, err := a.Token(o)
	if err != nil {
		tb.Fatal(err)
	}
	c, err := cer.ParseCapsule(file)
	if err != nil {
		tb.Fatal(err)
	}
	c.Tokens = append(c.Tokens, token)
	return encodeCapsule(tb, c)
}

// years later, at the same time of day.
func (s *stampScene) later(in verifier.Input, years int) verifier.Input {
	in.Now = s.at.AddDate(years, 0, 0)
	return in
}

// statuses of the two verdicts, and whether the record is trusted.
func wantVerdicts(tb testing.TB, r *verifier.Report, trusted bool, now, record string) {
	tb.Helper()
	if r.Trusted != trusted || r.Now.Status != now || r.Record.Status != record {
		tb.Errorf("trusted %v, now %s, then %s; want %v, %s, %s\n%s\n%s\n%+v", r.Trusted, r.Now.Status, r.Record.Status,
			trusted, now, record, r.Headline, r.Record.Headline, r.TimeStamps)
	}
}

// recordCheck is the status of a check as of the record's time.
func recordCheck(r *verifier.Report, id string) string {
	for i := range r.RecordChecks {
		if r.RecordChecks[i].ID == id {
			return r.RecordChecks[i].Status
		}
	}
	return ""
}

// TestTwoVerdicts: what expires changes the verdict as of now and not the one as of the
// record's time, which a token alone gives.
func TestTwoVerdicts(t *testing.T) {
	s := newStampScene(t)
	at := s.at.Add(time.Hour)
	stamped := stamp(t, s.file, s.tsa, order(t, s.file, at))

	r := verify(t, stamped, s.in)
	wantVerdicts(t, r, true, "trusted", "trusted")
	if r.Record.Time != at.Format(time.RFC3339) || len(r.Changes) != 0 || len(r.RecordChecks) != len(r.Checks) {
		t.Errorf("record verdict %+v, changes %+v", r.Record, r.Changes)
	}
	if slices.ContainsFunc(r.Assuming, func(s string) bool { return strings.Contains(s, "time-stamping") }) {
		t.Errorf("a verdict as of now rests on no authority: %q", r.Assuming)
	}

	r = verify(t, stamped, s.later(s.in, 9))
	wantVerdicts(t, r, true, "not trusted", "trusted")
	if !strings.HasPrefix(r.Headline, `trusted as of `+at.Format(time.RFC3339)+` (time stamp of "Time Stamp Signer SIMULATED")`) ||
		!strings.Contains(r.Headline, `user-supplied time-stamping root "Time Stamp Root CA SIMULATED"`) ||
		!strings.Contains(r.Headline, "; as of now not trusted: ") {
		t.Errorf("headline %q", r.Headline)
	}
	changed := map[string]string{}
	for _, c := range r.Changes {
		changed[c.ID] = c.Then + " " + c.Now
	}
	if changed["slot.revocation"] != "passed not established" || changed["cer.hash"] != "" {
		t.Errorf("changes %v", changed)
	}
	wantVerdicts(t, verify(t, s.file, s.later(s.in, 9)), false, "not trusted", "not established")

	// The clock of another year is hypothetical, unless the policy lets it decide.
	in := s.in
	in.At = s.at.AddDate(9, 0, 0)
	if r = verify(t, stamped, in); !r.Trusted || strings.Contains(r.Headline, "as of now not") || r.Hypothetical == nil || r.Hypothetical.Status != "not trusted" {
		t.Errorf("hypothetically: %s, %+v", r.Headline, r.Hypothetical)
	}
	in.Policy.AllowAt = true
	if r = verify(t, stamped, in); !r.Trusted || !strings.Contains(r.Headline, "as of now not trusted") || len(r.Changes) == 0 || r.Record.Status != "trusted" {
		t.Errorf("allowed: %s, %+v", r.Headline, r.Record)
	}

	// No policy, no trust, stamped or not.
	in = s.in
	in.Policy = nil
	wantVerdicts(t, verify(t, stamped, in), false, "not trusted", "not trusted")
}

// TestWrongTokens: a token that is not right, or is over anything but the evidence, fails
// by name, and what is right without it is not trusted with it.
func TestWrongTokens(t *testing.T) {
	s := newStampScene(t)
	good := order(t, s.file, s.at.Add(time.Hour))
	c, err := cer.ParseCapsule(s.file)
	if err != nil {
		t.Fatal(err)
	}
	over := func(b []byte) tsa.Order {
		sum := sha256.Sum256(b)
		return tsa.Order{Hash: crypto.SHA256, Imprint: sum[:], Time: good.Time}
	}
	plain := func(x *x509.Certificate) { x.ExtraExtensions[0].Critical = false }
	for name, x := range map[string]struct {
		by    tsa.Options
		order tsa.Order
	}{
		"over the statement alone":       {tsa.Options{}, over(c.Statement)},
		"over the statement's signature": {tsa.Options{}, over(c.Signature)},
		"over the evidence alone":        {tsa.Options{}, over(c.Items[0])},
		"over the file":                  {tsa.Options{}, over(s.file)},
		"over the record":                {tsa.Options{}, over(c.CER)},
		"made before the quote": {tsa.Options{}, func() tsa.Order {
			o := good
			e := attest.EvidenceDigest(c.Statement, c.Signature, nil)
			o.Imprint = e[:]
			return o
		}()},
		"by another hash":                          {tsa.Options{}, tsa.Order{Hash: crypto.SHA512, Imprint: bytes.Repeat([]byte{1}, 64), Time: good.Time}},
		"certificate run out before":               {tsa.Options{From: s.at.AddDate(-2, 0, 0), Until: s.at}, good},
		"for another purpose":                      {tsa.Options{Edit: func(x *x509.Certificate) { x.ExtraExtensions = nil }}, good},
		"for a purpose that it need not look at":   {tsa.Options{Edit: plain}, good},
		"with two signers":                         {tsa.Options{}, func() tsa.Order { o := good; o.Edit = func(p *tsa.Parts) { p.Signers = 2 }; return o }()},
		"that signs another digest than it states": {tsa.Options{}, func() tsa.Order { o := good; o.Edit = func(p *tsa.Parts) { p.Digest = make([]byte, 32) }; return o }()},
		"of another policy's content": {tsa.Options{}, func() tsa.Order {
			o := good
			o.Edit = func(p *tsa.Parts) { p.Policy = asn1.ObjectIdentifier{1, 2}; p.Version = 2 }
			return o
		}()},
	} {
		a := newTSA(t, s.at, x.by)
		in := s.trusting(t, a, s.tsa)
		r := verify(t, stamp(t, s.file, a, x.order), in)
		wantVerdicts(t, r, false, "not trusted", "not established")
		wantRefused(t, r, "time.token")
		if t.Failed() {
			t.Fatal(name)
		}
		// Not even beside a good one.
		r = verify(t, stamp(t, stamp(t, s.file, s.tsa, good), a, x.order), in)
		if r.Trusted {
			t.Errorf("%s, beside a good one: %s", name, r.Headline)
		}
	}
}

// TestUntrustedAuthority: a stranger's token changes nothing for who does not ask for one.
func TestUntrustedAuthority(t *testing.T) {
	s := newStampScene(t)
	stamped := stamp(t, s.file, newTSA(t, s.at, tsa.Options{}), order(t, s.file, s.at.Add(time.Hour)))
	wantVerdicts(t, verify(t, stamped, s.in), true, "trusted", "not established")
	wantVerdicts(t, verify(t, stamped, s.later(s.in, 9)), false, "not trusted", "not established")
	in := s.in
	in.Policy.Time.Token = true
	wantRefused(t, verify(t, stamped, in), "time.token")
	wantRefused(t, verify(t, s.file, in), "time.token")
	r := verify(t, stamp(t, stamped, s.tsa, order(t, s.file, s.at.Add(time.Hour))), in)
	wantVerdicts(t, r, true, "trusted", "trusted")
	if !strings.Contains(r.Headline, "user-supplied time-stamping root") {
		t.Errorf("a verdict that asks for a token rests on its authority: %s", r.Headline)
	}
}

// TestTimeOrder: the launcher's clock may be a minute ahead of the stamp and no more, and
// a token from the future is none.
func TestTimeOrder(t *testing.T) {
	s := newStampScene(t)
	c, err := cer.ParseCapsule(s.file)
	if err != nil {
		t.Fatal(err)
	}
	st, err := attest.ParseStatement(c.Statement)
	if err != nil {
		t.Fatal(err)
	}
	claimed := time.UnixMilli(int64(st.Time)).UTC()
	for name, x := range map[string]struct {
		at      time.Time
		trusted bool
	}{
		"years before":         {claimed.AddDate(-3, 0, 0), false},
		"two minutes before":   {claimed.Add(-2 * time.Minute), false},
		"half a minute before": {claimed.Add(-30 * time.Second), true},
		"after":                {claimed.Add(time.Hour), true},
	} {
		a := newTSA(t, s.at.AddDate(-4, 0, 0), tsa.Options{})
		r := verify(t, stamp(t, s.file, a, order(t, s.file, x.at)), s.trusting(t, a))
		if got := r.Record.Status == "trusted"; got != x.trusted {
			t.Errorf("%s: %s; %+v", name, r.Record.Headline, r.TimeStamps)
		}
	}
	r := verify(t, stamp(t, s.file, s.tsa, order(t, s.file, s.in.Now.AddDate(1, 0, 0))), s.in)
	wantVerdicts(t, r, true, "trusted", "not established")
}

// TestSeveralTokens: of several authorities any suffices, and the earliest bounds the age.
func TestSeveralTokens(t *testing.T) {
	s := newStampScene(t)
	other := newTSA(t, s.at, tsa.Options{})
	file := stamp(t, s.file, s.tsa, order(t, s.file, s.at.Add(90*time.Minute)))
	file = stamp(t, file, other, order(t, s.file, s.at.Add(time.Hour)))
	r := verify(t, file, s.trusting(t, s.tsa, other))
	wantVerdicts(t, r, true, "trusted", "trusted")
	if r.Record.Time != s.at.Add(time.Hour).Format(time.RFC3339) || len(r.TimeStamps) != 2 {
		t.Errorf("%+v", r.Record)
	}
	if r = verify(t, file, s.in); r.Record.Time != s.at.Add(90*time.Minute).Format(time.RFC3339) {
		t.Errorf("%+v", r.Record)
	}
	// A token is no record's but its own.
	tdx := s.tdx(t, nil, nil)
	r = verify(t, stamp(t, tdx, s.tsa, order(t, s.file, s.at.Add(time.Hour))), s.in)
	if got := recordCheck(r, "time.token"); got != "" || r.Record.Status != "not established" {
		t.Errorf("%s, %s", got, r.Record.Headline)
	}
}

// TestArchiveTokens: a token lives as long as its authority's certificate, and longer with
// an archive token over it that was made before.
func TestArchiveTokens(t *testing.T) {
	s := newStampScene(t)
	short := newTSA(t, s.at, tsa.Options{From: s.at.AddDate(0, 0, -1), Until: s.at.AddDate(2, 0, 0)})
	in := s.trusting(t, short, s.tsa)
	first := stamp(t, s.file, short, order(t, s.file, s.at.Add(time.Hour)))
	wantVerdicts(t, verify(t, first, s.later(in, 1)), true, "not trusted", "trusted")
	wantVerdicts(t, verify(t, first, s.later(in, 3)), false, "not trusted", "not established")

	renewed := stamp(t, first, s.tsa, archiveOrder(t, first, crypto.SHA512, s.at.AddDate(1, 6, 0)))
	r := verify(t, renewed, s.later(in, 9))
	wantVerdicts(t, r, true, "not trusted", "trusted")
	if r.Record.Time != s.at.Add(time.Hour).Format(time.RFC3339) || r.TimeStamps[1].Covers != "archive" || r.TimeStamps[0].Covers != "evidence" {
		t.Errorf("%+v, %+v", r.Record, r.TimeStamps)
	}
	// Made too late it shows that the record was there then, and nothing of before: by then
	// the collateral had run out.
	late := stamp(t, first, s.tsa, archiveOrder(t, first, crypto.SHA512, s.at.AddDate(2, 6, 0)))
	r = verify(t, late, s.later(in, 9))
	wantVerdicts(t, r, false, "not trusted", "not trusted")
	if r.Record.Time != s.at.AddDate(2, 6, 0).Format(time.RFC3339) || recordCheck(r, "time.token") != "passed" {
		t.Errorf("%+v", r.Record)
	}
	// What it covers cannot be changed after it, not even by what vendors sign.
	c, err := cer.ParseCapsule(renewed)
	if err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(*cer.Capsule){
		"collateral gone":  func(c *cer.Capsule) { c.Collateral = c.Collateral[1:] },
		"collateral moved": func(c *cer.Capsule) { slices.Reverse(c.Collateral) },
		"first token gone": func(c *cer.Capsule) { c.Tokens = c.Tokens[1:] },
		"tokens moved":     func(c *cer.Capsule) { slices.Reverse(c.Tokens) },
	} {
		changed := *c
		changed.Collateral, changed.Tokens = slices.Clone(c.Collateral), slices.Clone(c.Tokens)
		edit(&changed)
		if r := verify(t, encodeCapsule(t, &changed), s.later(in, 9)); r.Trusted || r.Record.Status == "trusted" {
			t.Errorf("%s: %s", name, r.Headline)
		}
	}
	// Neither the hash of the first token nor its signature is needed any more.
	wantVerdicts(t, verify(t, renewed, s.later(s.in, 9)), false, "not trusted", "not trusted")
}

// TestRevokedSince: a certificate that its vendor revoked after the stamp was good then.
func TestRevokedSince(t *testing.T) {
	s := newStampScene(t)
	stamped := stamp(t, s.file, s.tsa, order(t, s.file, s.at.Add(time.Hour)))
	revoked := func(at time.Time) []attest.Collateral {
		der, err := s.amd.Vendor().CRL(amd.CRL{ThisUpdate: at, Number: 9, Revoked: []*x509.Certificate{s.amd.Vendor().ASK()}}, at)
		if err != nil {
			t.Fatal(err)
		}
		return []attest.Collateral{{Kind: attest.CollateralCRL, Data: der}}
	}
	in := s.in
	in.Now, in.Collateral = s.at.Add(3*time.Hour), revoked(s.at.Add(2*time.Hour))
	r := verify(t, stamped, in)
	wantVerdicts(t, r, true, "not trusted", "trusted")
	if len(r.Changes) == 0 || r.Changes[0].ID != "slot.revocation" || r.Changes[0].Now != "failed" || !strings.Contains(r.Headline, "as of now not trusted: slot.revocation") {
		t.Errorf("%s, %+v", r.Headline, r.Changes)
	}
	wantVerdicts(t, verify(t, s.file, in), false, "not trusted", "not established")
	in.Collateral = revoked(s.at.Add(30 * time.Minute))
	r = verify(t, stamped, in)
	wantVerdicts(t, r, false, "not trusted", "not trusted")
	if got := recordCheck(r, "slot.revocation"); got != "failed" {
		t.Errorf("slot.revocation then: %s", got)
	}
	// More than a record may carry is not looked at.
	in.Collateral = slices.Repeat(in.Collateral, 257)
	if r, err := verifier.Verify(stamped, in); r != nil || err == nil {
		t.Errorf("%v, %v", r, err)
	}
}

// TestRevokedAuthority: a compromised key takes its tokens with it, but for those that an
// archive token shows to be older.
func TestRevokedAuthority(t *testing.T) {
	s := newStampScene(t)
	archive := newTSA(t, s.at, tsa.Options{})
	in := s.trusting(t, s.tsa, archive)
	stamped := stamp(t, s.file, s.tsa, order(t, s.file, s.at.Add(time.Hour)))
	renewed := stamp(t, stamped, archive, archiveOrder(t, stamped, crypto.SHA256, s.at.AddDate(0, 1, 0)))
	list := func(reason int) []attest.Collateral {
		der, err := s.tsa.IssuerList(tsa.List{
			ThisUpdate: s.at.AddDate(0, 3, 0), NextUpdate: s.at.AddDate(5, 0, 0), Number: 1,
			Revoked: []tsa.Revoked{{Serial: s.tsa.Signer().SerialNumber, At: s.at.AddDate(0, 2, 0), Reason: reason}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return []attest.Collateral{{Kind: attest.CollateralCRL, Data: der}}
	}
	in = s.later(in, 2)
	in.Collateral = list(1) // keyCompromise
	wantVerdicts(t, verify(t, stamped, in), false, "not trusted", "not established")
	wantVerdicts(t, verify(t, renewed, in), true, "not trusted", "trusted")
	in.Collateral = list(4) // superseded
	wantVerdicts(t, verify(t, stamped, in), true, "not trusted", "trusted")
	in.Collateral = nil
	wantVerdicts(t, verify(t, stamped, in), true, "not trusted", "trusted")
}

// TestTokenBits: whatever bit of a token is flipped, the record is not trusted as of
// another time, and a token never makes worse what is trusted as of now unless it is wrong.
func TestTokenBits(t *testing.T) {
	s := newStampScene(t)
	stamped := stamp(t, s.file, s.tsa, order(t, s.file, s.at.Add(time.Hour)))
	in := s.later(s.in, 9)
	want := verify(t, stamped, in)
	c, err := cer.ParseCapsule(stamped)
	if err != nil {
		t.Fatal(err)
	}
	token, refused := c.Tokens[0], 0
	for i := 0; i < 8*len(token); i += 41 { // a bit of nearly every byte
		c.Tokens = [][]byte{bytes.Clone(token)}
		c.Tokens[0][i/8] ^= 1 << (i % 8)
		r := verify(t, encodeCapsule(t, c), in)
		if r.Trusted && r.Record.Time != want.Record.Time {
			t.Fatalf("bit %d: %s", i, r.Headline)
		}
		if !r.Trusted {
			refused++
		}
	}
	if refused < len(token)*8/41*9/10 {
		t.Errorf("%d of %d refused", refused, len(token)*8/41)
	}
}
