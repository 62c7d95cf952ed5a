package dcap

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/dcap/dcaptest"
)

// TestArchive reads what Intel signed from 2020 to 2026: every TCB info and QE identity
// has the one form, verifies with the key of its TCB signing certificates, and has its
// levels in the order in which they are looked for.
func TestArchive(t *testing.T) {
	dir := filepath.Join(sharedDir(t), "collateral-archive", "intel-collateral-archive")
	block, _ := pem.Decode(readFile(t, sharedDir(t), "roots", "roots-intel-tcb-signing", "tcb_signing_2018-2025.pem"))
	signer := must(x509.ParseCertificate(block.Bytes))(t)
	infos, identities, lists := 0, 0, 0
	for _, name := range must(filepath.Glob(filepath.Join(dir, "*")))(t) {
		b, base := readFile(t, name), filepath.Base(name)
		kind := attest.CollateralQEIdentity
		switch {
		case strings.HasPrefix(base, "crl_"):
			if l := parseList(b); l == nil {
				t.Errorf("%s cannot be read", base)
			}
			lists++
			continue
		case strings.HasPrefix(base, "tcbinfo_"):
			kind = attest.CollateralTCBInfo
		case !strings.HasPrefix(base, "identity_"):
			continue
		}
		d, err := parseDocument(&attest.Collateral{Kind: kind, Data: b}, 0)
		if strings.HasPrefix(base, "identity_qve") || strings.HasPrefix(base, "identity_qae") {
			if !errors.Is(err, attest.ErrForm) {
				t.Errorf("%s: %v", base, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", base, err)
			continue
		}
		if !verifyRaw(p256(signer), d.raw, d.signature) {
			t.Errorf("%s: not signed", base)
		}
		if d.qe != nil {
			identities++
			continue
		}
		infos++
		if !slices.IsSortedFunc(d.tcb.levels, func(a, b platformLevel) int {
			return cmp.Or(bytes.Compare(b.sgx[:], a.sgx[:]), cmp.Compare(b.pcesvn, a.pcesvn), bytes.Compare(b.tdx[:], a.tdx[:]))
		}) {
			t.Errorf("%s: levels are not in descending order", base)
		}
	}
	if infos < 20 || identities < 20 || lists < 20 {
		t.Fatalf("%d TCB infos, %d identities, %d lists", infos, identities, lists)
	}
}

// TestMalformed reads another project's malformed TCB infos: those it calls negative are
// refused for what is wrong in the signed value, and the others read.
func TestMalformed(t *testing.T) {
	files := must(filepath.Glob(filepath.Join(sharedDir(t), "sgx", "sgx-neg-oe-tcbinfo-malformed", "*.json")))(t)
	if len(files) < 20 {
		t.Fatalf("%d files", len(files))
	}
	for _, name := range files {
		var outer map[string]json.RawMessage
		if err := json.Unmarshal(readFile(t, name), &outer); err != nil {
			t.Logf("%s is no JSON at all", filepath.Base(name))
			continue
		}
		base := strings.TrimSuffix(filepath.Base(name), ".json")
		// They were made before Intel had pceId, and would all be refused for that.
		raw := outer["tcbInfo"]
		if !bytes.Contains(raw, []byte(`"pceId"`)) {
			raw = bytes.Replace(raw, []byte(`"fmspc"`), []byte(`"pceId":"0000","fmspc"`), 1)
		}
		_, err := parseTCBInfo(raw, &document{})
		negative := strings.Contains(base, "Negative")
		switch base {
		case "tcbInfoNegativeSignature", "tcbInfoNegativePropertyMissingLevel0", "tcbInfoNegativePropertyWrongTypeLevel0":
			// What is wrong stands outside of the signed value.
			if _, _, err := split(readFile(t, name), memberTCBInfo); !errors.Is(err, attest.ErrForm) {
				t.Errorf("%s: %v", base, err)
			}
			continue
		}
		if (err != nil) != negative || err != nil && !errors.Is(err, attest.ErrForm) {
			t.Errorf("%s: %v", base, err)
		}
	}
}

// TestKeyCaseForgery: a signed TCB info beside which a forged "TCBInfo" says that the
// platform is up to date. A library in use verifies the one and evaluates the other.
func TestKeyCaseForgery(t *testing.T) {
	f := newFixture(t, true)
	genuine := f.with(t, func(i *dcaptest.TCBInfo, _ *dcaptest.QEIdentity) { i.Levels[0].Status = Revoked })
	forged := f.NewTCBInfo(true).JSON()
	text := strings.TrimSuffix(string(genuine[0].Data), "}")
	genuine[0].Data = []byte(text + `,"TCBInfo":` + forged + `}`)
	if a := f.appraise(t, genuine); a.TCB.Finding.Status == attest.Passed || a.Coherent.Status != attest.Failed {
		t.Errorf("%+v", a)
	}
	// Inside of the signed value, where Intel itself would have to write it, a member of
	// another case is another member.
	inside := f.NewTCBInfo(true)
	inside.Levels[0].Status = OutOfDate
	document := strings.Replace(inside.JSON(), `"tcbLevels"`, `"TCBLevels":[],"tcbStatus":"UpToDate","tcbLevels"`, 1)
	genuine[0].Data = must(dcaptest.Answer(f.Signer, memberTCBInfo, document))(t)
	if a := f.appraise(t, genuine); a.TCB.Status != OutOfDate {
		t.Errorf("%+v", a)
	}
	// None may be there twice.
	twice := strings.Replace(inside.JSON(), `"tcbStatus":"OutOfDate"`, `"tcbStatus":"OutOfDate","tcbStatus":"UpToDate"`, 1)
	genuine[0].Data = must(dcaptest.Answer(f.Signer, memberTCBInfo, twice))(t)
	if a := f.appraise(t, genuine); a.Coherent.Status != attest.Failed || a.TCB.Status != "" {
		t.Errorf("%+v", a)
	}
}

// TestPlatformStatusKept: a platform out of date or revoked stays so, however current
// its TDX module is. A library in use reports the module's status alone.
func TestPlatformStatusKept(t *testing.T) {
	f := newFixture(t, true)
	for status, want := range map[string]attest.Status{OutOfDate: attest.Passed, Revoked: attest.Failed} {
		items := f.with(t, func(i *dcaptest.TCBInfo, _ *dcaptest.QEIdentity) {
			for n := range i.Levels {
				i.Levels[n].Status = status
			}
			i.Modules[1] = []dcaptest.ModuleLevel{{ISVSVN: 1, Status: UpToDate}}
		})
		if a := f.appraise(t, items); a.TCB.Status != status || a.TCB.Finding.Status != want {
			t.Errorf("%+v", a.TCB)
		}
	}
}

// TestDocumentForm refuses documents with a member missing, null, of another type or out
// of its bounds, each in a value that is properly signed.
func TestDocumentForm(t *testing.T) {
	v := must(dcaptest.New(testTime, "Intel"))(t)
	info, qe := v.NewTCBInfo(true).JSON(), v.NewQEIdentity(true).JSON()
	if _, err := parseTCBInfo([]byte(info), &document{}); err != nil {
		t.Fatal(err)
	}
	if _, err := parseQEIdentity([]byte(qe), &document{}); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ of, old, now string }{
		{info, `"version":3`, `"version":4`},
		{info, `"version":3`, `"version":3.0`},
		{info, `"version":3`, `"version":"3"`},
		{info, `"version":3`, `"version":null`},
		{info, `"version":3,`, ``},
		{info, `"version":3,`, `"Version":3,`},
		{info, `"id":"TDX",`, ``},
		{info, `"id":"TDX"`, `"id":"tdx"`},
		{info, `"id":"TDX"`, `"id":"SGX"`},
		{info, `"tcbType":0`, `"tcbType":1`},
		{info, `"tcbType":0,`, ``},
		{info, `"tcbEvaluationDataNumber":18`, `"tcbEvaluationDataNumber":-1`},
		{info, `"tcbEvaluationDataNumber":18`, `"tcbEvaluationDataNumber":4294967296`},
		{info, `"tcbEvaluationDataNumber":18`, `"tcbEvaluationDataNumber":1e1`},
		{info, `"issueDate":"2026-03-14T12:00:00Z"`, `"issueDate":"2026-03-14T12:00:00.5Z"`},
		{info, `"issueDate":"2026-03-14T12:00:00Z"`, `"issueDate":"2026-03-14T12:00:00+00:00"`},
		{info, `"issueDate":"2026-03-14T12:00:00Z"`, `"issueDate":"2026-02-30T12:00:00Z"`},
		{info, `"nextUpdate"`, `"NextUpdate"`},
		{info, `"fmspc":"90C06F000000"`, `"fmspc":"90C06F00000"`},
		{info, `"fmspc":"90C06F000000"`, `"fmspc":"90C06F00000G"`},
		{info, `"pceId":"0000"`, `"pceId":""`},
		{info, `{"svn":3}`, `{"svn":256}`},
		{info, `{"svn":3}`, `{"svn":null}`},
		{info, `{"svn":3}`, `{"SVN":3}`},
		{info, `{"svn":3},`, ``},
		{info, `{"svn":3},`, `{"svn":3},{"svn":3},`},
		{info, `"pcesvn":13`, `"pcesvn":65536`},
		{info, `"pcesvn":13,`, ``},
		{info, `"tdxtcbcomponents"`, `"tdxtcbcomponent"`},
		{info, `"tdxModule":`, `"tdxmodule":`},
		{info, `"id":"TDX_01",`, ``},
		{info, `"isvsvn":5`, `"isvsvn":65536`},
		{info, `"isvsvn":5`, `"isv":5`},
		{info, `"tcbStatus":"UpToDate"`, `"tcbStatus":"uptodate"`},
		{info, `"tcbStatus":"UpToDate"`, `"tcbStatus":"Fine"`},
		{info, `"advisoryIDs":["INTEL-SA-00001"]`, `"advisoryIDs":["<a>"]`},
		{info, `"advisoryIDs":["INTEL-SA-00001"]`, `"advisoryIDs":[""]`},
		{info, `"advisoryIDs":["INTEL-SA-00001"]`, `"advisoryIDs":[null]`},
		{info, `"mrsigner":"00`, `"mrsigner":"0`},
		{info, `"attributesMask"`, `"attributesmask"`},
		{qe, `"version":2`, `"version":1`},
		{qe, `"id":"TD_QE"`, `"id":"QAE"`},
		{qe, `"miscselectMask":"FFFFFFFF"`, `"miscselectMask":"FFFFFF"`},
		{qe, `"isvprodid":2`, `"isvprodid":65536`},
		{qe, `"isvprodid":2,`, ``},
		{qe, `"tcbLevels":[`, `"tcbLevels":[],"other":[`},
		{qe, `"tcbDate"`, `"tcbdate"`},
	} {
		changed := strings.Replace(tc.of, tc.old, tc.now, 1)
		if changed == tc.of {
			t.Fatalf("nothing to change: %s", tc.old)
		}
		var err error
		if strings.Contains(tc.of, "enclave") || tc.of == qe {
			_, err = parseQEIdentity([]byte(changed), &document{})
		} else {
			_, err = parseTCBInfo([]byte(changed), &document{})
		}
		if !errors.Is(err, attest.ErrForm) {
			t.Errorf("%s for %s: %v", tc.now, tc.old, err)
		}
	}
	long := `{"tcbInfo":` + strings.Repeat(" ", maxDocument) + `}`
	if _, _, err := split([]byte(long), memberTCBInfo); !errors.Is(err, attest.ErrForm) {
		t.Errorf("a document too long: %v", err)
	}
}

// TestArchiveRoot: the certificate that the index names is the one that the pin has.
func TestArchiveRoot(t *testing.T) {
	block, _ := pem.Decode(readFile(t, sharedDir(t), "roots", "roots-intel-sgx", "intel_sgx_root_ca.pem"))
	c := must(x509.ParseCertificate(block.Bytes))(t)
	if sum := sha256.Sum256(c.RawSubjectPublicKeyInfo); hex.EncodeToString(sum[:]) != rows()[0].spki {
		t.Errorf("%x", sum)
	}
}
