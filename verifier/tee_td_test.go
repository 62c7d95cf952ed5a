package verifier_test

import (
	"bytes"
	"crypto/x509"
	"testing"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/simulator/intel"
)

// Where fields of a TD stand in its body (TDX DCAP Quoting Library API, A.3.2).
const (
	tdModuleSigner = 64
	tdModule       = 112
	tdAttributes   = 120
	tdMRTD         = 136
	tdMRConfigID   = 184
	tdRTMR         = 328
	tdReportData   = 520
)

// TestTDForged: quotes that Intel's keys vouch for and that are not what the policy wants,
// and collateral that Intel signed for something else.
func TestTDForged(t *testing.T) {
	f := newTEEForger(t)
	body := func(change func(b []byte)) func() []byte {
		return func() []byte { return f.tdx(t, func(q *intel.Quote) { change(q.Body) }, nil) }
	}
	quote := func(change func(q *intel.Quote)) func() []byte {
		return func() []byte { return f.tdx(t, change, nil) }
	}
	info := func(change func(i *intel.TCBInfo)) func() []byte {
		return func() []byte {
			i := f.intel.TCBInfo(intel.TEETDX, f.at)
			change(i)
			b, err := f.vendor.SignTCBInfo(i)
			return f.tdx(t, nil, instead(t, attest.CollateralTCBInfo, nil, b, err))
		}
	}
	identity := func(change func(i *intel.Identity)) func() []byte {
		return func() []byte {
			i := f.intel.Identity(intel.TEETDX, f.at)
			change(i)
			b, err := f.vendor.SignIdentity(i)
			return f.tdx(t, nil, instead(t, attest.CollateralQEIdentity, nil, b, err))
		}
	}
	document := func(edit func(b []byte) []byte) func() []byte {
		return func() []byte {
			b, err := f.vendor.SignTCBInfo(f.intel.TCBInfo(intel.TEETDX, f.at))
			return f.tdx(t, nil, instead(t, attest.CollateralTCBInfo, nil, edit(b), err))
		}
	}
	root := func(c intel.CRL) func() []byte {
		return func() []byte {
			b, err := f.vendor.RootCRL(c, f.at)
			return f.tdx(t, nil, instead(t, attest.CollateralCRL, listOf(f.vendor.Root()), b, err))
		}
	}
	platform := func(c intel.CRL) func() []byte {
		return func() []byte {
			b, err := f.vendor.PCKCRL(intel.PlatformCA, c, f.at)
			return f.tdx(t, nil, instead(t, attest.CollateralCRL, listOf(f.vendor.Issuer(intel.PlatformCA)), b, err))
		}
	}
	leaf, err := f.intel.Certificate(f.at)
	if err != nil {
		t.Fatal(err)
	}
	other, err := f.vendor.Platform("other")
	if err != nil {
		t.Fatal(err)
	}
	others, err := other.TDQuote(other.TD("guest", [64]byte{}), 5, f.at)
	if err != nil {
		t.Fatal(err)
	}
	tcb := func(name string, v any) func(map[string]any) {
		return func(rules map[string]any) { member(rules, "tcb")[name] = v }
	}
	for _, d := range []teeDeed{
		{"nothing", "", "", nil, quote(nil)},
		{"a debug TD", "slot.mode", "failed", nil, body(func(b []byte) { b[tdAttributes] |= 1 })},
		{"a TD that may be migrated", "slot.mode", "failed", nil, body(func(b []byte) { b[tdAttributes+3] |= 1 << 5 })},
		{"a module with attributes", "slot.mode", "failed", nil, body(func(b []byte) { b[tdModule] = 1 })},
		{"a module of another signer", "slot.tcb", "failed", nil, body(func(b []byte) { b[tdModuleSigner] = 1 })},
		{"another image", "slot.measurement", "failed", nil, body(func(b []byte) { b[tdMRTD] ^= 1 })},
		{"another image: the launcher", "launcher.rooted", "not established", nil, body(func(b []byte) { b[tdMRTD] ^= 1 })},
		{"another boot", "slot.measurement", "failed", nil, body(func(b []byte) { b[tdRTMR+2*48] ^= 1 })},
		{"what the host says, where the policy lists it", "slot.measurement", "failed", func(rules map[string]any) {
			member(rules, "measurements")["mrconfigid"] = []any{"01" + hexZeros(47)}
		}, body(func(b []byte) { b[tdMRConfigID] = 2 })},
		{"events in RTMR2", "log.replay", "failed", nil, body(func(b []byte) {
			copy(b[tdRTMR+2*48:tdRTMR+3*48], b[tdRTMR+3*48:])
			clear(b[tdRTMR+3*48 : tdRTMR+4*48])
		})},
		{"one event more in RTMR3", "log.replay", "failed", nil, body(func(b []byte) { b[tdRTMR+3*48] ^= 1 })},
		{"report data that a caller chose", "slot.binding", "failed", nil, body(func(b []byte) { clear(b[tdReportData:]) })},
		{"report data of another record", "slot.binding", "failed", nil, body(func(b []byte) {
			d := quotedAs(t, "tdx.first", 0, tdxFormat)
			copy(b[tdReportData:], d[:])
		})},
		{"report data of another slot", "slot.binding", "failed", nil, body(func(b []byte) {
			d := quotedAs(t, "tdx", 1, tdxFormat)
			copy(b[tdReportData:], d[:])
		})},
		{"the chain of another platform", "slot.signature", "failed", nil, quote(func(q *intel.Quote) { q.Chain = others.Chain })},
		{"the key of another platform", "slot.signature", "failed", nil, quote(func(q *intel.Quote) { q.PCK = others.PCK })},
		{"an attestation key that no enclave vouches for", "slot.signature", "failed", nil, quote(func(q *intel.Quote) { q.ForeignKey = true })},
		{"a quote by another enclave", "slot.identity", "failed", nil, quote(func(q *intel.Quote) { q.QE.MRSIGNER[0] ^= 1 })},
		{"a quote by the enclave in debug mode", "slot.identity", "failed", nil, quote(func(q *intel.Quote) { q.QE.Flags |= intel.EnclaveDebug })},
		{"reserved bytes in the header", "slot.form", "failed", nil, quote(func(q *intel.Quote) { q.Reserved[0] = 1 })},
		{"a quoting enclave of another vendor", "slot.form", "failed", nil, quote(func(q *intel.Quote) { q.QEVendor[0] ^= 1 })},
		{"identity of the enclave for enclaves", "slot.identity", "not established", nil, identity(func(i *intel.Identity) { i.ID = "QE" })},
		{"identity of another signer", "slot.identity", "failed", nil, identity(func(i *intel.Identity) { i.MRSigner[0] ^= 1 })},
		{"identity of last year", "collateral.coherent", "not established", nil, identity(func(i *intel.Identity) { i.Issue, i.Next = f.at.AddDate(-1, 0, 0), f.at.AddDate(-1, 1, 0) })},
		{"TCB info of another platform", "collateral.coherent", "failed", nil, info(func(i *intel.TCBInfo) { i.FMSPC = []byte{9, 9, 9, 9, 9, 9} })},
		{"TCB info of another PCE", "collateral.coherent", "failed", nil, info(func(i *intel.TCBInfo) { i.PCEID = []byte{9, 9} })},
		{"TCB info of enclaves", "collateral.coherent", "failed", nil, info(func(i *intel.TCBInfo) { i.ID = "SGX" })},
		{"TCB info of last year", "collateral.coherent", "not established", nil, info(func(i *intel.TCBInfo) { i.Issue, i.Next = f.at.AddDate(-1, 0, 0), f.at.AddDate(-1, 1, 0) })},
		{"out of date", "slot.tcb", "failed", nil, info(func(i *intel.TCBInfo) { i.Levels[0].Status = intel.OutOfDate })},
		{"out of date, as the policy accepts", "", "", tcb("status", []any{intel.OutOfDate}), info(func(i *intel.TCBInfo) { i.Levels[0].Status = intel.OutOfDate })},
		{"up to date, where the policy wants otherwise", "slot.tcb", "failed", tcb("status", []any{intel.OutOfDate}), quote(nil)},
		{"revoked", "slot.tcb", "failed", nil, info(func(i *intel.TCBInfo) { i.Levels[0].Status = intel.Revoked })},
		{"an advisory", "slot.tcb", "failed", nil, info(func(i *intel.TCBInfo) { i.Levels[0].Advisories = []string{"INTEL-SA-00001"} })},
		{"an advisory that the policy allows", "", "", tcb("advisories_allowed", []any{"INTEL-SA-00001"}), info(func(i *intel.TCBInfo) { i.Levels[0].Advisories = []string{"INTEL-SA-00001"} })},
		{"older evaluation data than the policy wants", "slot.tcb", "failed", tcb("min_evaluation_data_number", 1<<20), quote(nil)},
		{"a higher minimum", "slot.tcb", "failed", tcb("minimum", map[string]any{"pce": 60000}), quote(nil)},
		{"another case of a member", "collateral.coherent", "failed", nil, document(func(b []byte) []byte {
			return bytes.Replace(b, []byte(`"tcbInfo"`), []byte(`"TCBInfo"`), 1)
		})},
		{"a second member in another case", "collateral.coherent", "failed", nil, document(func(b []byte) []byte {
			return append([]byte(`{"TCBInfo":{},`), b[1:]...)
		})},
		{"the same, serialised anew", "collateral.coherent", "failed", nil, document(func(b []byte) []byte {
			return bytes.Replace(b, []byte(`,"version":`), []byte(`, "version":`), 1)
		})},
		{"a revoked platform", "slot.revocation", "failed", nil, platform(intel.CRL{Revoked: []*x509.Certificate{leaf}})},
		{"a revoked CA", "slot.revocation", "failed", nil, root(intel.CRL{Revoked: []*x509.Certificate{f.vendor.Issuer(intel.PlatformCA)}})},
		{"a revoked TCB signer", "slot.revocation", "failed", nil, root(intel.CRL{Revoked: []*x509.Certificate{f.vendor.TCBSigning()}})},
		{"an expired list of platforms", "slot.revocation", "not established", nil, platform(intel.CRL{ThisUpdate: f.at.AddDate(0, -2, 0), NextUpdate: f.at.AddDate(0, -1, 0)})},
		{"an expired list of the root", "slot.revocation", "not established", nil, root(intel.CRL{ThisUpdate: f.at.AddDate(0, -2, 0), NextUpdate: f.at.AddDate(0, -1, 0)})},
		{"a forged list", "slot.revocation", "not established", nil, root(intel.CRL{Forged: true})},
	} {
		d.refuse(t, f.input(t, "tdx", d.policy))
	}
	in := f.input(t, "tdx", nil)
	in.Policy = teePolicy(t, "tdx", func(map[string]any) {})
	wantRefused(t, verify(t, f.tdx(t, nil, nil), in), "slot.identity")
}

func hexZeros(n int) string { return string(bytes.Repeat([]byte("0"), 2*n)) }
