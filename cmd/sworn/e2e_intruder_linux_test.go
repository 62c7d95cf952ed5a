package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/tpm"
)

// intruder is another process that reaches the TPM, with root's rights: it reads
// the state folder, extends registers, and quotes with whatever key it can get.
type intruder struct {
	t   *testing.T
	tpm transport.TPM
	m   *machine
}

// key is a loaded key of the intruder.
type key struct {
	handle tpm2.TPMHandle
	name   tpm2.TPM2BName
	public []byte
	parent []byte
}

// providerTemplate is the template that the maker left in the TPM.
func (x *intruder) providerTemplate() tpm2.TPM2BPublic {
	x.t.Helper()
	b := x.readNV(0x01c10003)
	p, err := tpm2.Unmarshal[tpm2.TPMTPublic](b)
	if err != nil {
		x.t.Fatal(err)
	}
	return tpm2.New2B(*p)
}

// readNV reads an NV index with its empty authorization.
func (x *intruder) readNV(index tpm2.TPMHandle) []byte {
	x.t.Helper()
	rsp, err := tpm2.NVReadPublic{NVIndex: index}.Execute(x.tpm)
	if err != nil {
		x.t.Fatal(err)
	}
	public, err := rsp.NVPublic.Contents()
	if err != nil {
		x.t.Fatal(err)
	}
	var out []byte
	for len(out) < int(public.DataSize) {
		part, err := tpm2.NVRead{
			AuthHandle: tpm2.AuthHandle{Handle: index, Name: rsp.NVName, Auth: tpm2.PasswordAuth(nil)},
			NVIndex:    tpm2.NamedHandle{Handle: index, Name: rsp.NVName},
			Size:       uint16(min(512, int(public.DataSize)-len(out))), Offset: uint16(len(out)),
		}.Execute(x.tpm)
		if err != nil {
			x.t.Fatal(err)
		}
		out = append(out, part.Data.Buffer...)
	}
	return out
}

// primary makes a primary key of the endorsement hierarchy; the same template
// always gives the same key.
func (x *intruder) primary(template tpm2.TPM2BPublic) *key {
	x.t.Helper()
	rsp, err := tpm2.CreatePrimary{
		PrimaryHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHEndorsement, Auth: tpm2.PasswordAuth(nil)},
		InPublic:      template,
	}.Execute(x.tpm)
	if err != nil {
		x.t.Fatal(err)
	}
	return &key{handle: rsp.ObjectHandle, name: rsp.Name, public: rsp.OutPublic.Bytes()}
}

// provider re-creates the machine's AK: its authorization value is empty, so
// everybody who reaches the TPM has it.
func (x *intruder) provider() *key { return x.primary(x.providerTemplate()) }

// stranger makes an AK of the same kind that nobody has certified.
func (x *intruder) stranger() *key {
	x.t.Helper()
	template := x.providerTemplate()
	p, err := template.Contents()
	if err != nil {
		x.t.Fatal(err)
	}
	p.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
		X: tpm2.TPM2BECCParameter{Buffer: bytes.Repeat([]byte{7}, 32)},
		Y: tpm2.TPM2BECCParameter{Buffer: make([]byte, 32)},
	})
	return x.primary(tpm2.New2B(*p))
}

// child makes an AK as sworn's own are, under the same storage key.
func (x *intruder) child() *key {
	x.t.Helper()
	storage := x.primary(tpm2.New2B(tpm2.TPMTPublic{
		Type: tpm2.TPMAlgECC, NameAlg: tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{
			FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true,
			UserWithAuth: true, NoDA: true, Restricted: true, Decrypt: true,
		},
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{
			Symmetric: tpm2.TPMTSymDefObject{
				Algorithm: tpm2.TPMAlgAES,
				KeyBits:   tpm2.NewTPMUSymKeyBits(tpm2.TPMAlgAES, tpm2.TPMKeyBits(128)),
				Mode:      tpm2.NewTPMUSymMode(tpm2.TPMAlgAES, tpm2.TPMAlgCFB),
			},
			CurveID: tpm2.TPMECCNistP256,
		}),
		Unique: tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
			X: tpm2.TPM2BECCParameter{Buffer: make([]byte, 32)}, Y: tpm2.TPM2BECCParameter{Buffer: make([]byte, 32)},
		}),
	}))
	defer x.flush(storage)
	template, err := tpm2.Unmarshal[tpm2.TPMTPublic](x.readNV(0x01c10003))
	if err != nil {
		x.t.Fatal(err)
	}
	parent := tpm2.AuthHandle{Handle: storage.handle, Name: storage.name, Auth: tpm2.PasswordAuth(nil)}
	created, err := tpm2.Create{ParentHandle: parent, InPublic: tpm2.New2B(*template)}.Execute(x.tpm)
	if err != nil {
		x.t.Fatal(err)
	}
	loaded, err := tpm2.Load{ParentHandle: parent, InPrivate: created.OutPrivate, InPublic: created.OutPublic}.Execute(x.tpm)
	if err != nil {
		x.t.Fatal(err)
	}
	return &key{handle: loaded.ObjectHandle, name: loaded.Name, public: created.OutPublic.Bytes(), parent: storage.name.Buffer}
}

func (x *intruder) flush(k *key) {
	x.t.Helper()
	if _, err := (tpm2.FlushContext{FlushHandle: k.handle}).Execute(x.tpm); err != nil {
		x.t.Fatal(err)
	}
}

// extend extends register 13 by an event, in both banks.
func (x *intruder) extend(e *attest.Event) {
	x.t.Helper()
	x.extendBytes(e.Preimage())
}

// extendBytes extends register 13 by the digest of anything.
func (x *intruder) extendBytes(b []byte) {
	x.t.Helper()
	command := tpm2.PCRExtend{PCRHandle: tpm2.AuthHandle{Handle: 13, Auth: tpm2.PasswordAuth(nil)}}
	for _, bank := range []attest.Alg{attest.SHA256, attest.SHA384} {
		command.Digests.Digests = append(command.Digests.Digests, tpm2.TPMTHA{HashAlg: tpm2.TPMIAlgHash(bank), Digest: bank.Sum(b)})
	}
	if _, err := command.Execute(x.tpm); err != nil {
		x.t.Fatal(err)
	}
}

// selected is what a quote selects: registers of a bank.
type selected struct {
	bank      attest.Alg
	registers []byte
}

// everything is what sworn's quotes select: registers 0 to 15 of both banks.
func everything() []selected {
	all := []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	return []selected{{attest.SHA256, all}, {attest.SHA384, all}}
}

// quote quotes any data at all and returns it as evidence for slot 0.
func (x *intruder) quote(k *key, extra []byte, certificates [][]byte, sel []selected) attest.Evidence {
	x.t.Helper()
	var list tpm2.TPMLPCRSelection
	var values []byte
	for _, s := range sel {
		mask := make([]byte, 3)
		for _, r := range s.registers {
			mask[r/8] |= 1 << (r % 8)
			one := make([]byte, 3)
			one[r/8] = 1 << (r % 8)
			rsp, err := tpm2.PCRRead{PCRSelectionIn: tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{
				{Hash: tpm2.TPMIAlgHash(s.bank), PCRSelect: one},
			}}}.Execute(x.tpm)
			if err != nil {
				x.t.Fatal(err)
			}
			values = append(values, rsp.PCRValues.Digests[0].Buffer...)
		}
		list.PCRSelections = append(list.PCRSelections, tpm2.TPMSPCRSelection{Hash: tpm2.TPMIAlgHash(s.bank), PCRSelect: mask})
	}
	rsp, err := tpm2.Quote{
		SignHandle:     tpm2.AuthHandle{Handle: k.handle, Name: k.name, Auth: tpm2.PasswordAuth(nil)},
		QualifyingData: tpm2.TPM2BData{Buffer: extra},
		InScheme:       tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull},
		PCRSelect:      list,
	}.Execute(x.tpm)
	if err != nil {
		x.t.Fatal(err)
	}
	ev, err := tpm.NewEvidence(0, &tpm.Parts{
		Attest: rsp.Quoted.Bytes(), Signature: tpm2.Marshal(rsp.Signature), Public: k.public, Parent: k.parent,
		PCRs: values, Certificates: certificates,
	})
	if err != nil {
		x.t.Fatal(err)
	}
	return *ev
}

// quotedBy returns the qualifying data of a quote command that was overheard
// (Part 3, 18.4): after the header, the key's handle and its authorization.
func quotedBy(command []byte) []byte {
	at := 14
	at += 4 + int(binary.BigEndian.Uint32(command[at:]))
	n := int(binary.BigEndian.Uint16(command[at:]))
	return bytes.Clone(command[at+2 : at+2+n])
}

// log returns the log of the machine's TPM as it stands in the state folder.
func (x *intruder) log() *attest.Log {
	x.t.Helper()
	return x.m.log(x.t)
}

// logFile returns the path of the machine's log.
func (m *machine) logFile(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(m.state, "*", "log"))
	if err != nil || len(files) != 1 {
		t.Fatalf("logs in the state folder: %v, %v", files, err)
	}
	return files[0]
}

// log returns the machine's log.
func (m *machine) log(t *testing.T) *attest.Log {
	t.Helper()
	b, err := os.ReadFile(m.logFile(t))
	if err != nil {
		t.Fatal(err)
	}
	l, err := attest.ParseLog(b)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// launchKey is a launch key that an intruder has made.
type launchKey struct {
	private ed25519.PrivateKey
	spki    []byte
}

// newKey makes a launch key.
func (x *intruder) newKey() launchKey {
	x.t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		x.t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		x.t.Fatal(err)
	}
	return launchKey{private, spki}
}

// own returns the last launch of a log.
func own(t *testing.T, l *attest.Log) *attest.Segment {
	t.Helper()
	s, err := l.Structure()
	if err != nil {
		t.Fatal(err)
	}
	return &s.Segments[len(s.Segments)-1]
}

// forge makes a record of the last launch of a log, with another output, after
// the model of a genuine record: consistent in everything, signed with the
// intruder's key. The log is that before the commit; keyID is the key that the
// statement names.
func (x *intruder) forge(model []byte, before *attest.Log, keyID [32]byte, k launchKey) *cer.Capsule {
	x.t.Helper()
	c := open(x.t, model)
	st, err := attest.ParseStatement(c.Statement)
	if err != nil {
		x.t.Fatal(err)
	}
	seg := own(x.t, before)
	ended := time.Now()
	bundle, series := x.forgeBundle(c.CER, seg, keyID, ended)
	n := uint64(len(before.Events))
	st.Launch, st.KeyID, st.Time, st.Series = seg.Launch, keyID, uint64(ended.UnixMilli()), series
	st.LogSize, st.LogRoot = n, cer.LogRoot(before.Digests(n))
	b, err := cer.ParseBundle(bundle)
	if err != nil {
		x.t.Fatal(err)
	}
	leaf, err := cer.ParseHash(b.CertificateHash)
	if err != nil {
		x.t.Fatal(err)
	}
	st.TreeRoot = cer.Root([][32]byte{leaf})
	o, err := cer.ParseOrigin(before.Events[0].Data)
	if err != nil {
		x.t.Fatal(err)
	}
	_, start, err := o.StartValue(0)
	if err != nil {
		x.t.Fatal(err)
	}
	st.Manifest[0].Register.Value = before.Replay(attest.SHA256, start, n)
	statement, err := st.Encode()
	if err != nil {
		x.t.Fatal(err)
	}
	return &cer.Capsule{
		CER: bundle, Statement: statement, Signature: ed25519.Sign(k.private, attest.SignedBytes(statement)),
		Inclusion: cer.Inclusion{Size: 1},
	}
}

// forgeBundle seals a record about the launch of a segment with another output,
// and returns the segment's series.
func (x *intruder) forgeBundle(model []byte, seg *attest.Segment, keyID [32]byte, ended time.Time) (bundle []byte, series [32]byte) {
	x.t.Helper()
	b, err := cer.ParseBundle(model)
	if err != nil {
		x.t.Fatal(err)
	}
	rt, err := cer.ParseRuntime(b.Snapshot.Runtime)
	if err != nil {
		x.t.Fatal(err)
	}
	begin, err := cer.ParseBegin(seg.Begin.Data)
	if err != nil {
		x.t.Fatal(err)
	}
	var components []*cer.Component
	for _, e := range seg.Components {
		c, err := cer.ParseComponent(e.Data)
		if err != nil {
			x.t.Fatal(err)
		}
		components = append(components, c)
	}
	for _, e := range seg.Environments {
		env, err := cer.ParseEnvironment(e.Data)
		if err != nil {
			x.t.Fatal(err)
		}
		if env.Kind == cer.KindIsolation {
			rt.Isolation = env.Facts
		}
	}
	rt.Series, rt.Launch, rt.Key = begin.Series, cer.SHA256Digest(seg.Launch), cer.SHA256Digest(keyID)
	rt.Output = cer.NewStream(sha256.Sum256([]byte("forged")), 6, true)
	forced := cer.ForcedSnapshot(rt.Parameters, components, seg.Launch, 0)
	s := b.Snapshot
	s.ExecutionID, s.Model, s.InputHash, s.OutputHash = forced.ExecutionID, forced.Model, "", ""
	s.Timestamp = cer.FormatTime(ended)
	if s.Runtime, err = rt.Encode(); err != nil {
		x.t.Fatal(err)
	}
	raw, err := cer.ContentHash(rt.Output)
	if err != nil {
		x.t.Fatal(err)
	}
	if s.Output, err = cer.RawToValue(raw); err != nil {
		x.t.Fatal(err)
	}
	if bundle, err = cer.Seal(s, cer.FormatTime(ended)); err != nil {
		x.t.Fatal(err)
	}
	if _, err := hex.Decode(series[:], []byte(begin.Series)); err != nil {
		x.t.Fatal(err)
	}
	return bundle, series
}

// commit returns the log with the commit of a statement as its last event.
func commit(before *attest.Log, statement []byte) *attest.Log {
	sum := sha256.Sum256(statement)
	last := &before.Events[len(before.Events)-1]
	e := attest.NewEvent(uint64(len(before.Events)), attest.EventCommit, last.Launch, [32]byte{1}, sum[:])
	return &attest.Log{Register: before.Register, Banks: before.Banks, Events: append(slices.Clone(before.Events), e)}
}

// finish gives a forged record its log and evidence, and returns the file.
func finish(t *testing.T, c *cer.Capsule, l *attest.Log, ev attest.Evidence) []byte {
	t.Helper()
	b, err := l.Encode()
	if err != nil {
		t.Fatal(err)
	}
	c.Log, c.Evidence = b, []attest.Evidence{ev}
	return encode(t, c)
}

// quoted is what a quote over a statement must carry.
func quoted(statement []byte) []byte { return attest.Quoted(attest.SHA256, 0, tpm.Format, statement) }

// open parses a capsule.
func open(t *testing.T, file []byte) *cer.Capsule {
	t.Helper()
	c, err := cer.ParseCapsule(file)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// encode writes a capsule file.
func encode(t *testing.T, c *cer.Capsule) []byte {
	t.Helper()
	b, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// certificates are those that a record's evidence carries.
func certificates(c *cer.Capsule) [][]byte {
	var out [][]byte
	for _, p := range c.Evidence[0].Parts {
		if p.Name == tpm.PartCertificate {
			out = append(out, p.Data)
		}
	}
	return out
}
