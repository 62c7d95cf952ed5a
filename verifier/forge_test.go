package verifier_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"encoding/hex"
	"math/big"
	"slices"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/tpm"
	"github.com/sworn-run/sworn/verifier"
)

// forger makes whole records that are right in every respect but those that a
// test asks for: it holds a TPM's attestation key in software, the CA that
// certifies it, and the launch key. To a relying party that trusts its root it
// is a TPM maker whose TPM says what it is told; to any other, the attacker who
// has everything but a key that somebody trusts.
type forger struct {
	root   *authority
	ak     *ecdsa.PrivateKey
	akCert []byte
	public []byte // TPMT_PUBLIC
	launch ed25519.PrivateKey
}

// forgery is what a test changes of the record that a forger makes; nil
// functions change nothing. They are called in this order.
type forgery struct {
	// events changes the log before its commit; indices are made anew after.
	events func(l *attest.Log)
	// runtime and snapshot change the record before it is sealed.
	runtime  func(r *cer.Runtime)
	snapshot func(s *cer.Snapshot)
	// created replaces the record's createdAt.
	created string
	// statement changes the statement before it is committed and signed.
	statement func(s *attest.Statement)
	// tail changes the log after the commit.
	tail func(l *attest.Log)
	// quote changes what the TPM signs.
	quote func(q *quoted)
	// capsule changes the file's parts.
	capsule func(c *cer.Capsule)
}

// quoted is what a TPM signs (TPM 2.0 Part 2, 10.12.12).
type quoted struct {
	extraData    []byte
	clock        uint64
	reset        uint32
	restart      uint32
	firmware     uint64
	banks        []attest.Alg
	registers    map[attest.Alg]map[uint32][]byte
	signedBy     *ecdsa.PrivateKey
	certificates [][]byte
	// counter is certified beside it; nil for none.
	counter *certified
}

// certified is what a TPM signs of an NV index (TPM 2.0 Part 2, 10.12.8).
type certified struct {
	quoted
	public []byte
	value  uint64
}

// newForger makes the keys; the certificates are valid at the golden time.
func newForger(tb testing.TB) *forger {
	tb.Helper()
	f := &forger{}
	at := goldenTime(tb)
	f.root = issue(tb, "FORGED TPM maker", newKey(tb), nil, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = at.AddDate(-1, 0, 0), at.AddDate(10, 0, 0)
	})
	var err error
	if f.ak, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		tb.Fatal(err)
	}
	f.akCert, err = x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "FORGED AK"},
		NotBefore: at.AddDate(-1, 0, 0), NotAfter: at.AddDate(1, 0, 0), KeyUsage: x509.KeyUsageDigitalSignature,
		UnknownExtKeyUsage: []asn1.ObjectIdentifier{{2, 23, 133, 8, 3}}, BasicConstraintsValid: true,
	}, f.root.cert, f.ak.Public(), f.root.key)
	if err != nil {
		tb.Fatal(err)
	}
	f.public = akPublic(tb, &f.ak.PublicKey)
	if _, f.launch, err = ed25519.GenerateKey(rand.Reader); err != nil {
		tb.Fatal(err)
	}
	return f
}

// akPublic returns the TPMT_PUBLIC of a restricted ECDSA signing key (TPM 2.0
// Part 2, 12.2.4): fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth,
// restricted, sign.
func akPublic(tb testing.TB, k *ecdsa.PublicKey) []byte {
	tb.Helper()
	point, err := k.Bytes()
	if err != nil {
		tb.Fatal(err)
	}
	b := []byte{0, 0x23, 0, 0x0B, 0, 0x05, 0, 0x72, 0, 0, 0, 0x10, 0, 0x18, 0, 0x0B, 0, 3, 0, 0x10}
	b = append(append(b, 0, 32), point[1:33]...)
	return append(append(b, 0, 32), point[33:]...)
}

// roots returns a trust store with the forger's root.
func (f *forger) roots(tb testing.TB) *verifier.TrustStore {
	tb.Helper()
	s, err := verifier.NewTrustStore([]verifier.RootFile{{Path: "tpm-ak/forged.der", Data: f.root.cert.Raw}})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// spki returns the root's key as policies name it.
func (f *forger) spki() string { return cer.SHA256Digest(verifier.SPKIDigest(f.root.cert)) }

// input returns the input under which an unchanged forgery is trusted: the
// golden policy, by one who trusts the forger.
func (f *forger) input(tb testing.TB, change func(p map[string]any)) verifier.Input {
	tb.Helper()
	in := goldenInput(tb, "page")
	in.Roots = f.roots(tb)
	in.Policy = changedPolicy(tb, func(p map[string]any) {
		object(p, "formats", "tpm", "identity")["spki"] = []any{f.spki()}
		if change != nil {
			change(p)
		}
	})
	return in
}

// changedPolicy returns the golden policy with a change.
func changedPolicy(tb testing.TB, change func(p map[string]any)) *verifier.Policy {
	tb.Helper()
	var m map[string]any
	if err := json.Unmarshal(golden(tb, "policy.json"), &m); err != nil {
		tb.Fatal(err)
	}
	change(m)
	b, err := json.Marshal(m, json.Deterministic(true))
	if err != nil {
		tb.Fatal(err)
	}
	return parsePolicy(tb, b)
}

// record makes a record after the golden page.
func (f *forger) record(tb testing.TB, x forgery) []byte {
	tb.Helper()
	c := goldenCapsule(tb, "page")
	log := f.log(tb, c, x)
	seg := ownSegment(tb, log)
	spki := seg.Key.Data
	bundle := f.bundle(tb, c, x, seg)
	st := f.statement(tb, c, x, log, seg, spki, bundle)
	encoded, err := st.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	commit := sha256.Sum256(encoded)
	log.Events = append(log.Events, attest.NewEvent(uint64(len(log.Events)), attest.EventCommit, seg.Begin.Launch, [32]byte{9}, commit[:]))
	if x.tail != nil {
		x.tail(log)
		reindex(log)
	}
	raw, err := log.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	out := &cer.Capsule{
		CER: bundle, Statement: encoded, Signature: ed25519.Sign(f.launch, attest.SignedBytes(encoded)),
		Inclusion: cer.Inclusion{Size: 1}, Log: raw, Evidence: []attest.Evidence{*f.quote(tb, x, log, encoded)},
	}
	if x.capsule != nil {
		x.capsule(out)
	}
	return encodeCapsule(tb, out)
}

// log returns the golden log up to the commit, with the forger's launch key.
func (f *forger) log(tb testing.TB, c *cer.Capsule, x forgery) *attest.Log {
	tb.Helper()
	log, err := attest.ParseLog(c.Log)
	if err != nil {
		tb.Fatal(err)
	}
	log.Events = log.Events[:len(log.Events)-1]
	spki, err := x509.MarshalPKIXPublicKey(f.launch.Public())
	if err != nil {
		tb.Fatal(err)
	}
	setData(log, lastOf(log, attest.EventKey), spki)
	if x.events != nil {
		x.events(log)
	}
	reindex(log)
	return log
}

// reindex gives every event its index and digest anew.
func reindex(l *attest.Log) {
	for i := range l.Events {
		e := &l.Events[i]
		if e.Disclosed {
			*e = attest.NewEvent(uint64(i), e.Type, e.Launch, e.Salt, e.Data)
		}
		e.Index = uint64(i)
	}
}

// setData gives an event other data.
func setData(l *attest.Log, i int, data []byte) {
	e := &l.Events[i]
	l.Events[i] = attest.NewEvent(e.Index, e.Type, e.Launch, e.Salt, data)
}

// lastOf returns the index of the last event of a type.
func lastOf(l *attest.Log, typ attest.EventType) int {
	for i, v := range slices.Backward(l.Events) {
		if v.Type == typ {
			return i
		}
	}
	return -1
}

// ownSegment returns the last launch of a log.
func ownSegment(tb testing.TB, l *attest.Log) *attest.Segment {
	tb.Helper()
	s, err := l.Structure()
	if err != nil {
		tb.Fatal(err)
	}
	return &s.Segments[len(s.Segments)-1]
}

// bundle seals a record whose claims are those of the log.
func (f *forger) bundle(tb testing.TB, c *cer.Capsule, x forgery, seg *attest.Segment) []byte {
	tb.Helper()
	b, err := cer.ParseBundle(c.CER)
	if err != nil {
		tb.Fatal(err)
	}
	rt, err := cer.ParseRuntime(b.Snapshot.Runtime)
	if err != nil {
		tb.Fatal(err)
	}
	var components []*cer.Component
	for _, e := range seg.Components {
		if c, err := cer.ParseComponent(e.Data); err == nil {
			components = append(components, c)
		}
	}
	for _, e := range seg.Environments {
		if env, err := cer.ParseEnvironment(e.Data); err == nil && env.Kind == cer.KindIsolation {
			rt.Isolation = env.Facts
		}
	}
	rt.Launch, rt.Key = cer.SHA256Digest(seg.Launch), cer.SHA256Digest(sha256.Sum256(seg.Key.Data))
	if x.runtime != nil {
		x.runtime(rt)
	}
	if b.Snapshot.Runtime, err = rt.Encode(); err != nil {
		b.Snapshot.Runtime, err = cer.MarshalCanonical(rt)
	}
	if err != nil {
		tb.Fatal(err)
	}
	forced := cer.ForcedSnapshot(rt.Parameters, components, seg.Launch, 0)
	b.Snapshot.ExecutionID, b.Snapshot.Model, b.Snapshot.Parameters = forced.ExecutionID, forced.Model, forced.Parameters
	b.Snapshot.InputHash, b.Snapshot.OutputHash = "", ""
	b.Snapshot.Input, b.Snapshot.Output = streamValue(tb, rt.Input), streamValue(tb, rt.Output)
	if x.snapshot != nil {
		x.snapshot(&b.Snapshot)
	}
	created := b.CreatedAt
	if x.created != "" {
		created = x.created
	}
	sealed, err := cer.Seal(b.Snapshot, created)
	if err != nil {
		tb.Fatal(err)
	}
	return sealed
}

// streamValue returns the descriptor of a stream.
func streamValue(tb testing.TB, s cer.Stream) cer.Value {
	tb.Helper()
	raw, err := cer.ContentHash(s)
	if s.Commitment != "" {
		raw, err = cer.ContentCommitment(s)
	}
	if err != nil {
		tb.Fatal(err)
	}
	v, err := cer.RawToValue(raw)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

// statement describes the record and the log before the commit.
func (f *forger) statement(tb testing.TB, c *cer.Capsule, x forgery, log *attest.Log, seg *attest.Segment, spki, bundle []byte) *attest.Statement {
	tb.Helper()
	st, err := attest.ParseStatement(c.Statement)
	if err != nil {
		tb.Fatal(err)
	}
	b, err := cer.ParseBundle(bundle)
	if err != nil {
		tb.Fatal(err)
	}
	leaf, err := cer.ParseHash(b.CertificateHash)
	if err != nil {
		tb.Fatal(err)
	}
	n := uint64(len(log.Events))
	st.Launch, st.KeyID, st.TreeRoot = seg.Launch, sha256.Sum256(spki), cer.Root([][32]byte{leaf})
	st.LogSize, st.LogRoot = n, cer.LogRoot(log.Digests(n))
	if st.Manifest[0].KeyID, err = tpm.KeyID(f.public); err != nil {
		tb.Fatal(err)
	}
	st.Manifest[0].Register.Value = log.Replay(attest.SHA256, start(log, attest.SHA256), n)
	if x.statement != nil {
		x.statement(st)
	}
	return st
}

// start returns what a log's origin says of the register in a bank; zeros if it
// says nothing.
func start(l *attest.Log, bank attest.Alg) []byte {
	if o, err := cer.ParseOrigin(l.Events[0].Data); err == nil {
		for i := range o.Start {
			if alg, v, err := o.StartValue(i); err == nil && alg == bank {
				return v
			}
		}
	}
	return make([]byte, bank.Size())
}

// quote makes the evidence of slot 0 over the statement.
func (f *forger) quote(tb testing.TB, x forgery, log *attest.Log, statement []byte) *attest.Evidence {
	tb.Helper()
	q := &quoted{
		extraData: attest.Quoted(attest.SHA256, 0, tpm.Format, statement), clock: 1000, reset: 2,
		firmware: 0x2019102300163636, banks: log.Banks, registers: map[attest.Alg]map[uint32][]byte{},
		signedBy: f.ak, certificates: [][]byte{f.akCert},
	}
	for _, b := range log.Banks {
		q.registers[b] = map[uint32][]byte{log.Register: log.Replay(b, start(log, b), uint64(len(log.Events)))}
	}
	if st, err := attest.ParseStatement(statement); err == nil && st.Counter() != nil {
		public, err := tpm.CounterPublic(forgedIndex)
		if err != nil {
			tb.Fatal(err)
		}
		q.counter = &certified{quoted: *q, public: public, value: st.Counter().Value}
		q.counter.extraData = attest.QuotedCounter(statement)
	}
	if x.quote != nil {
		x.quote(q)
	}
	return f.sign(tb, q)
}

// sized returns b and v as a TPM2B.
func sized(b, v []byte) []byte { return append(binary.BigEndian.AppendUint16(b, uint16(len(v))), v...) }

// header marshals what a TPMS_ATTEST of type 80XX begins with; name is the AK's.
func (q *quoted) header(typ byte, name []byte) []byte {
	signer := attest.SHA256.Sum([]byte{0x40, 0, 0, 0x0B}, name)
	b := sized([]byte{0xFF, 'T', 'C', 'G', 0x80, typ}, append([]byte{0, 0x0B}, signer...))
	b = sized(b, q.extraData)
	b = binary.BigEndian.AppendUint64(b, q.clock)
	b = binary.BigEndian.AppendUint32(b, q.reset)
	b = append(binary.BigEndian.AppendUint32(b, q.restart), 1)
	return binary.BigEndian.AppendUint64(b, q.firmware)
}

// ecdsaSign returns a TPMT_SIGNATURE over b.
func ecdsaSign(tb testing.TB, k *ecdsa.PrivateKey, b []byte) []byte {
	tb.Helper()
	r, s, err := ecdsa.Sign(rand.Reader, k, attest.SHA256.Sum(b))
	if err != nil {
		tb.Fatal(err)
	}
	return sized(sized([]byte{0, 0x18, 0, 0x0B}, r.FillBytes(make([]byte, 32))), s.FillBytes(make([]byte, 32)))
}

// sign marshals and signs a quote.
func (f *forger) sign(tb testing.TB, q *quoted) *attest.Evidence {
	tb.Helper()
	name, err := tpm.Name(f.public)
	if err != nil {
		tb.Fatal(err)
	}
	b := q.header(0x18, name)
	b = binary.BigEndian.AppendUint32(b, uint32(len(q.banks)))
	var pcrs []byte
	for _, bank := range q.banks {
		var bitmap [3]byte
		for i := range uint32(24) {
			if v := q.registers[bank][i]; v != nil {
				bitmap[i/8] |= 1 << (i % 8)
				pcrs = append(pcrs, v...)
			}
		}
		b = append(binary.BigEndian.AppendUint16(b, uint16(bank)), 3)
		b = append(b, bitmap[:]...)
	}
	b = sized(b, attest.SHA256.Sum(pcrs))
	parts := &tpm.Parts{
		Attest: b, Signature: ecdsaSign(tb, q.signedBy, b), Public: f.public, PCRs: pcrs, Certificates: q.certificates,
	}
	if c := q.counter; c != nil {
		b := sized(c.header(0x14, name), append([]byte{0, 0x0B}, attest.SHA256.Sum(c.public)...))
		b = binary.BigEndian.AppendUint64(append(b, 0, 0, 0, 8), c.value)
		parts.NVPublic, parts.NVAttest, parts.NVSignature = c.public, b, ecdsaSign(tb, c.signedBy, b)
	}
	ev, err := tpm.NewEvidence(0, parts)
	if err != nil {
		tb.Fatal(err)
	}
	return ev
}

// editEnvironment changes the facts of the last environment of a kind.
func editEnvironment(tb testing.TB, l *attest.Log, kind string, edit func(facts []cer.Fact) []cer.Fact) {
	tb.Helper()
	for i, v := range slices.Backward(l.Events) {
		env, err := cer.ParseEnvironment(v.Data)
		if v.Type != attest.EventEnvironment || err != nil || env.Kind != kind {
			continue
		}
		b, err := cer.NewEnvironment(kind, edit(env.Facts)).Encode()
		if err != nil {
			tb.Fatal(err)
		}
		setData(l, i, b)
		return
	}
	tb.Fatalf("no environment %s", kind)
}

// setFact gives a fact another value.
func setFact(name, value string) func([]cer.Fact) []cer.Fact {
	return func(facts []cer.Fact) []cer.Fact {
		facts = slices.DeleteFunc(slices.Clone(facts), func(f cer.Fact) bool { return f.Name == name })
		return append(facts, cer.Fact{Name: name, Value: value})
	}
}

// editComponent changes a component of the last launch.
func editComponent(tb testing.TB, l *attest.Log, role string, edit func(c *cer.Component)) {
	tb.Helper()
	for i, v := range slices.Backward(l.Events) {
		c, err := cer.ParseComponent(v.Data)
		if v.Type != attest.EventComponent || err != nil || c.Role != role {
			continue
		}
		edit(c)
		b, err := c.Encode()
		if err != nil {
			tb.Fatal(err)
		}
		setData(l, i, b)
		return
	}
	tb.Fatalf("no component %s", role)
}

// addComponent adds a component to the last launch.
func addComponent(tb testing.TB, l *attest.Log, c *cer.Component) {
	tb.Helper()
	data, err := c.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	at := lastOf(l, attest.EventComponent) + 1
	l.Events = slices.Insert(l.Events, at, attest.NewEvent(0, attest.EventComponent, l.Events[at-1].Launch, [32]byte{8}, data))
}

// TestForgerIsTrusted: what the tests change is changed in a record that is
// trusted by one who trusts the forger, and by nobody else.
func TestForgerIsTrusted(t *testing.T) {
	f := newForger(t)
	file := f.record(t, forgery{})
	if r := verify(t, file, f.input(t, nil)); !r.Trusted {
		t.Fatal(r.Headline)
	}
	wantRefused(t, verify(t, file, goldenInput(t, "page")), "slot.identity")
	if bytes.Contains(file, []byte(hex.EncodeToString(f.launch.Seed()))) {
		t.Error("a forgery holds its key")
	}
}
